//! A source that gives up when the program is asked to stop.

use anyhow::{Result, bail};

use super::{Batch, Source};
use crate::fit::Interrupted;
use crate::signals::StopFlag;

/// Hands out the batches of another source until a stop is asked for, which is then the error [`Interrupted`]: scoring
/// may take long, and nothing of it is worth waiting for.
pub struct Watched<'a> {
    source: &'a dyn Source,
    stop: &'a StopFlag,
}

impl<'a> Watched<'a> {
    /// Of this source.
    pub fn new(source: &'a dyn Source, stop: &'a StopFlag) -> Self {
        Self { source, stop }
    }
}

impl Source for Watched<'_> {
    fn classes(&self) -> &[usize] {
        self.source.classes()
    }

    fn id(&self, clip: usize) -> String {
        self.source.id(clip)
    }

    fn batches<'a>(
        &'a self,
        order: Vec<usize>,
        epoch: Option<u64>,
        batch: usize,
    ) -> Box<dyn Iterator<Item = Result<Batch>> + 'a> {
        Box::new(self.source.batches(order, epoch, batch).map(|batch| {
            if self.stop.is_set() {
                bail!(Interrupted::training(self.stop.exit_code()));
            }
            batch
        }))
    }
}
