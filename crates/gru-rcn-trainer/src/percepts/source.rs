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

/// Batches in their order.
pub(crate) type Batches<'a, I> = Box<dyn Iterator<Item = Result<Batch<I>>> + 'a>;

impl<I> Batch<I> {
    /// The batch of those of `requested` clips that could be read.
    pub(crate) fn new(clips: Vec<usize>, requested: usize, targets: &[usize], input: impl FnOnce() -> I) -> Self {
        Self {
            input: (!clips.is_empty()).then(input),
            targets: clips.iter().map(|&clip| targets[clip]).collect(),
            bad: requested - clips.len(),
            clips,
        }
    }
}

/// What `make` makes of `batch` clips each, in this order.
pub(crate) fn in_batches<'a, I>(
    order: &[usize],
    batch: usize,
    make: impl FnMut(Vec<usize>) -> Result<Batch<I>> + 'a,
) -> Batches<'a, I> {
    let parts: Vec<Vec<usize>> = order.chunks(batch).map(<[usize]>::to_vec).collect();
    Box::new(parts.into_iter().map(make))
}

/// Hands out batches of clips.
pub(crate) trait Source<I> {
    /// Targets of all clips, in the order of the list.
    fn targets(&self) -> &[usize];

    fn id(&self, clip: usize) -> String;

    /// Batches of `batch` clips each, in this order; the last one holds the rest. With an epoch,
    /// clips are augmented by (seed, epoch, clip); without one, they are as they are evaluated.
    fn batches(&self, order: Vec<usize>, epoch: Option<u64>, batch: usize) -> Batches<'_, I>;

    fn len(&self) -> usize {
        self.targets().len()
    }

    /// All clips in the order of the list, as they are evaluated.
    fn evaluation(&self, batch: usize) -> Batches<'_, I> {
        self.batches((0..self.len()).collect(), None, batch)
    }

    /// One epoch of training, in the order of (seed, epoch), without its first `skip` batches.
    fn epoch(&self, seed: u64, epoch: u64, batch: usize, skip: usize) -> Batches<'_, I> {
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

    fn batches(&self, order: Vec<usize>, epoch: Option<u64>, batch: usize) -> Batches<'_, Percepts> {
        Box::new(self.source.batches(order, epoch, batch).map(|batch| {
            let batch = batch?;
            Ok(Batch { input: batch.input.map(|percepts| percepts.select(&self.levels)), ..batch })
        }))
    }
}
