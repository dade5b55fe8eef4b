//! Arguments of the commands that look at what runs have left.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use gru_rcn_data::Split;

use super::{DeviceArgs, RunArgs};
use crate::verbs::{fuse, report};

/// Arguments of `report`.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// Finished runs to show beside each other on one page, the one it is about first; without them, `--run` alone.
    #[arg(value_name = "RUN", conflicts_with = "run")]
    pub compared: Vec<PathBuf>,
    /// Where that page is written.
    #[arg(long, value_name = "FILE", default_value = "comparison.html", requires = "compared")]
    pub out: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub run: RunArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub device: DeviceArgs,
}

impl ReportArgs {
    pub(super) fn run(&self) -> Result<()> {
        match &self.compared[..] {
            [] => report::run(self.run.run.as_deref(), &self.run.runs),
            compared => report::compare(compared, &self.out),
        }
    }
}

/// Arguments of `fuse`.
#[derive(Args, Debug)]
pub struct FuseArgs {
    /// Finished runs, or files of scores, each with its weight if it is not 1: `runs/rgb runs/flow=2` is the paper's fusion.
    #[arg(value_name = "RUN[=WEIGHT]", required = true)]
    pub streams: Vec<fuse::Stream>,
    /// Which scores of the runs: those of test, or what `evaluate --split` wrote.
    #[arg(long, default_value_t = Split::Test)]
    pub split: Split,
    /// Write the averaged probabilities to this file, which has the form of the runs' own.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

impl FuseArgs {
    pub(super) fn run(&self) -> Result<()> {
        fuse::run(&fuse::Options {
            streams: &self.streams,
            split: self.split,
            out: self.out.as_deref(),
            json: self.json,
        })
    }
}
