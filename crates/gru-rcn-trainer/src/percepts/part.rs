//! Some of the clips of a source.

use std::ops::Range;
use std::rc::Rc;

use anyhow::Result;

use super::{Batch, Source};

/// Hands out a stretch of another source's list of clips, as if there were no others.
pub struct Part {
    source: Rc<dyn Source>,
    clips: Range<usize>,
}

impl Part {
    /// The clips at these places.
    pub fn new(source: Rc<dyn Source>, clips: Range<usize>) -> Self {
        Self { source, clips }
    }
}

impl Source for Part {
    fn classes(&self) -> &[usize] {
        &self.source.classes()[self.clips.clone()]
    }

    fn id(&self, clip: usize) -> String {
        self.source.id(self.clips.start + clip)
    }

    fn batches<'a>(
        &'a self,
        mut order: Vec<usize>,
        epoch: Option<u64>,
        batch: usize,
    ) -> Box<dyn Iterator<Item = Result<Batch>> + 'a> {
        let first = self.clips.start;
        order.iter_mut().for_each(|clip| *clip += first);
        Box::new(self.source.batches(order, epoch, batch).map(move |batch| {
            let mut batch = batch?;
            batch.clips.iter_mut().for_each(|clip| *clip -= first);
            Ok(batch)
        }))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};
    use gru_rcn::percepts::Percepts;

    use super::*;

    /// Ten clips of class 0 to 9, each of one percept of its own number.
    struct Numbers(Vec<usize>);

    impl Source for Numbers {
        fn classes(&self) -> &[usize] {
            &self.0
        }

        fn batches<'a>(
            &'a self,
            order: Vec<usize>,
            _: Option<u64>,
            batch: usize,
        ) -> Box<dyn Iterator<Item = Result<Batch>> + 'a> {
            let batches: Vec<Vec<usize>> = order.chunks(batch).map(<[usize]>::to_vec).collect();
            Box::new(batches.into_iter().map(|clips| {
                let values: Vec<f32> = clips.iter().map(|&clip| clip as f32).collect();
                let map = Tensor::<1>::from_floats(values.as_slice(), &Device::flex());
                let percepts = Percepts { maps: vec![map.reshape([clips.len(), 1, 1, 1, 1])] };
                Ok(Batch { percepts, classes: clips.clone(), clips, bad: 0 })
            }))
        }
    }

    #[test]
    fn clips_are_counted_from_its_own_first() {
        let part = Part::new(Rc::new(Numbers((0..10).collect())), 6..9);
        assert_eq!((part.len(), part.classes(), part.id(1)), (3, &[6, 7, 8][..], "clip 7".to_owned()));
        let batch = part.batches(vec![2, 0], Some(1), 4).next().unwrap().unwrap();
        assert_eq!((batch.clips, batch.classes), (vec![2, 0], vec![8, 6]));
        let values: Vec<f32> = batch.percepts.maps[0].clone().into_data().try_into_vec().unwrap();
        assert_eq!(values, [8.0, 6.0]);
        let mut seen: Vec<usize> = part.epoch(3, 1, 2, 0).flat_map(|batch| batch.unwrap().clips).collect();
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2]);
    }
}
