//! `merge`: joins the manifests of a folder that was prepared in shards.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use gru_rcn_data::merge;

use super::prepare::check_complete;
use super::shared::print_json;
use crate::output::say;

#[derive(Args, Debug)]
pub(super) struct MergeArgs {
    /// The prepared folder whose shards are all done.
    root: PathBuf,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

impl MergeArgs {
    pub(super) fn run(&self) -> Result<()> {
        let merged = merge(&self.root)?;
        if self.json {
            print_json(&merged)?;
        } else {
            say!("{} clips of {} shards in {}", merged.clips, merged.shards, merged.manifest.display())?;
        }
        check_complete(&merged.failures)
    }
}
