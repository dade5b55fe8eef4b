//! What hands out batches to training and scoring.

use std::rc::Rc;

use anyhow::Result;
use gru_rcn::percepts::Percepts;
use gru_rcn_data::epoch_order;

/// A batch of clips on the plain device.
#[derive(Clone, Debug)]
pub(crate) struct Batch<I> {
    /// What a model takes in; nothing if no clip of the batch could be read.
    pub(crate) input: Option<I>,
    /// Target of each clip: its class, or what a CNN is pretrained on.
    pub(crate) targets: Vec<usize>,
    /// Places of the clips in the list.
    pub(crate) clips: Vec<usize>,
    /// Clips that belong to the batch but could not be read.
    pub(crate) bad: usize,
}

/// Hands out batches of clips.
pub(crate) trait Source<I: 'static> {
    /// Targets of all clips, in the order of the list.
    fn targets(&self) -> &[usize];

    /// The name of a clip.
    fn id(&self, clip: usize) -> String;

    /// Batches of `batch` clips each, in this order; the last one holds the rest. With an epoch, each
    /// clip is augmented as (seed, epoch, clip) say; without one, clips are as they are evaluated.
    fn batches<'a>(
        &'a self,
        order: Vec<usize>,
        epoch: Option<u64>,
        batch: usize,
    ) -> Box<dyn Iterator<Item = Result<Batch<I>>> + 'a>;

    /// Number of clips.
    fn len(&self) -> usize {
        self.targets().len()
    }

    /// All clips in the order of the list, as they are evaluated.
    fn evaluation<'a>(&'a self, batch: usize) -> Box<dyn Iterator<Item = Result<Batch<I>>> + 'a> {
        self.batches((0..self.len()).collect(), None, batch)
    }

    /// One epoch of training, in the order that (seed, epoch) say, without its first `skip` batches,
    /// which cost nothing.
    fn epoch<'a>(
        &'a self,
        seed: u64,
        epoch: u64,
        batch: usize,
        skip: usize,
    ) -> Box<dyn Iterator<Item = Result<Batch<I>>> + 'a> {
        let mut order = epoch_order(seed, epoch, self.len());
        order.drain(..(skip * batch).min(order.len()));
        self.batches(order, Some(epoch), batch)
    }
}

/// Another source with only the levels that a model recurs over.
pub(crate) struct Levels {
    source: Rc<dyn Source<Percepts>>,
    levels: Vec<usize>,
}

impl Levels {
    /// The levels at these positions among those of the CNN.
    pub(crate) fn new(source: Rc<dyn Source<Percepts>>, levels: Vec<usize>) -> Self {
        Self { source, levels }
    }
}

impl Source<Percepts> for Levels {
    fn targets(&self) -> &[usize] {
        self.source.targets()
    }

    fn id(&self, clip: usize) -> String {
        self.source.id(clip)
    }

    fn batches<'a>(
        &'a self,
        order: Vec<usize>,
        epoch: Option<u64>,
        batch: usize,
    ) -> Box<dyn Iterator<Item = Result<Batch<Percepts>>> + 'a> {
        Box::new(self.source.batches(order, epoch, batch).map(|batch| {
            let batch = batch?;
            Ok(Batch { input: batch.input.map(|percepts| percepts.select(&self.levels)), ..batch })
        }))
    }
}
