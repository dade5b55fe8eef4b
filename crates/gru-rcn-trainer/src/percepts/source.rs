//! Sources of batches for training and scoring.

use std::rc::Rc;

use anyhow::Result;
use burn::tensor::Tensor;
use gru_rcn::percepts::Percepts;
use gru_rcn_data::epoch_order;

/// A batch of clips on the plain device.
#[derive(Clone, Debug)]
pub(crate) struct Batch<I> {
    /// The input of a model; nothing if no clip of the batch could be read.
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

/// The batches that `make` makes of `batch` clips each, in this order.
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

/// Changes the percepts of a batch of these clips; the last argument says whether they are for training.
type Change = Box<dyn Fn(Percepts, &[usize], bool) -> Percepts>;

/// Another source with changed percepts.
pub(crate) struct Changed {
    source: Rc<dyn Source<Percepts>>,
    change: Change,
}

impl Changed {
    /// Only the levels at these positions among those of the CNN.
    pub(crate) fn of_levels(source: Rc<dyn Source<Percepts>>, levels: Vec<usize>) -> Self {
        Self { source, change: Box::new(move |percepts, _, _| percepts.select(&levels)) }
    }

    /// In half of the training batches, this number of other clips before each clip, as a stream has. A
    /// model learns from them to let go of a state that is not zero.
    ///
    /// The clips before are others of the same batch: whether a batch has them, and which, follows from
    /// the batch alone.
    pub(crate) fn with_context(source: Rc<dyn Source<Percepts>>, before: usize) -> Self {
        let change = move |percepts, clips: &[usize], training| match clips.first() {
            // The order of an epoch is drawn, and so is its parity.
            Some(clip) if training => preceded(&percepts, if clip % 2 == 1 { before } else { 0 }),
            _ => percepts,
        };
        Self { source, change: Box::new(change) }
    }
}

impl Source<Percepts> for Changed {
    fn targets(&self) -> &[usize] {
        self.source.targets()
    }

    fn id(&self, clip: usize) -> String {
        self.source.id(clip)
    }

    fn batches(&self, order: Vec<usize>, epoch: Option<u64>, batch: usize) -> Batches<'_, Percepts> {
        Box::new(self.source.batches(order, epoch, batch).map(move |batch| {
            let batch = batch?;
            let input = batch.input.map(|percepts| (self.change)(percepts, &batch.clips, epoch.is_some()));
            Ok(Batch { input, ..batch })
        }))
    }
}

/// Each clip with `before` others before it, those that follow it in the batch.
fn preceded(percepts: &Percepts, before: usize) -> Percepts {
    let batch = percepts.batch();
    let turned = |map: &Tensor<5>, by: usize| match by % batch {
        0 => map.clone(),
        by => Tensor::cat(vec![map.clone().narrow(0, by, batch - by), map.clone().narrow(0, 0, by)], 0),
    };
    let map = |map: &Tensor<5>| Tensor::cat((0..=before).rev().map(|by| turned(map, by)).collect(), 1);
    Percepts::new(percepts.maps.iter().map(map).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    /// Three clips of one step, 0, 1 and 2. Two before each: of 0 the clips 2 and 1, of 1 the clips 0
    /// and 2, of 2 the clips 1 and 0, the next one last.
    #[test]
    fn other_clips_precede_each() {
        let data = TensorData::new(vec![0f32, 1.0, 2.0], [3, 1, 1, 1, 1]);
        let percepts = Percepts::new(vec![Tensor::from_data(data, &Device::flex())]);
        let values = |before: usize| preceded(&percepts, before).top().into_data().try_into_vec::<f32>().unwrap();
        assert_eq!(values(2), [2.0, 1.0, 0.0, 0.0, 2.0, 1.0, 1.0, 0.0, 2.0]);
        assert_eq!(values(0), [0.0, 1.0, 2.0]);
        // More clips than the batch has begin again.
        assert_eq!(values(3)[..4], [0.0, 2.0, 1.0, 0.0]);
    }
}
