//! Some levels of a source.

use std::rc::Rc;

use anyhow::Result;

use super::{Batch, Source};

/// Hands out some of the levels of another source.
pub struct View {
    source: Rc<dyn Source>,
    levels: Vec<usize>,
}

impl View {
    /// The levels at these positions.
    pub fn new(source: Rc<dyn Source>, levels: Vec<usize>) -> Self {
        Self { source, levels }
    }
}

impl Source for View {
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
            let batch = batch?;
            // No clip of it could be read: it has no levels to choose from.
            if batch.clips.is_empty() {
                return Ok(batch);
            }
            Ok(Batch { percepts: batch.percepts.select(&self.levels), ..batch })
        }))
    }
}
