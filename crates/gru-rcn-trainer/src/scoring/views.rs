//! Several views of each test clip.
//!
//! The paper's 250 views of 10 frames are 2,500 frames through the CNN for one clip. Here a clip is
//! decoded once, equal views are computed once, and views with the same crop share the maps of the
//! frames that they have in common: neighbouring starts are taken together, as many as keep a
//! bounded number of frames in memory.

use anyhow::Result;
use burn::tensor::{Device, Int, Tensor, TensorData};
use gru_rcn::backbone::Pixels;
use gru_rcn::input::PixelClips;
use gru_rcn::percepts::Percepts;
use gru_rcn_data::{ClipPlan, ClipViews, Frames, Sample, TestViews};

use super::{View, ViewBatch};
use crate::percepts::{ClipLoader, FrozenCnn, chunk_of, pixels_of, workers};

/// Most views whose maps are given to a model at once.
const VIEWS_AT_ONCE: usize = 16;

/// The CNN that makes percepts of views.
#[derive(Clone, Copy)]
pub(crate) struct ViewPercepts<'a> {
    /// The CNN, on the plain device.
    pub(crate) cnn: &'a FrozenCnn,
    pub(crate) loader: &'a ClipLoader,
    pub(crate) device: &'a Device,
}

/// What the views of a clip are for a model, in batches.
type Views<'a, I> = Box<dyn Iterator<Item = Result<ViewBatch<I>>> + 'a>;

/// The views of clips by a rule, in the order of the clips, without those that the loader skips.
fn of_readable<'a, I: 'a>(
    loader: &'a ClipLoader,
    samples: &[Sample],
    rule: TestViews,
    of_clip: impl Fn(usize, ClipViews) -> Views<'a, I> + 'a,
) -> Views<'a, I> {
    let read =
        move |loader: &ClipLoader, sample: &Sample| loader.reader.read_views(&sample.source, &loader.planner, rule);
    let clips = loader.in_order(samples.to_vec(), 1, read);
    let ids: Vec<String> = samples.iter().map(|sample| sample.id.clone()).collect();
    Box::new(clips.enumerate().flat_map(move |(clip, views)| -> Views<'a, I> {
        match loader.or_skip(&ids[clip], views) {
            Ok(Some(views)) => of_clip(clip, views),
            Ok(None) => Box::new(std::iter::empty()),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }))
}

/// The pixels of views, for networks of their own.
#[derive(Clone, Copy)]
pub(crate) struct ViewPixels<'a> {
    /// The normalisation.
    pub(crate) pixels: &'a Pixels,
    pub(crate) loader: &'a ClipLoader,
    pub(crate) device: &'a Device,
}

impl<'a> ViewPixels<'a> {
    /// The views of clips by a rule, in the order of the clips, without those that the loader skips.
    pub(crate) fn of_clips(
        self,
        samples: &[Sample],
        rule: TestViews,
    ) -> impl Iterator<Item = Result<ViewBatch<PixelClips>>> + use<'a> {
        of_readable(self.loader, samples, rule, move |clip, views| self.of_clip(clip, &views))
    }

    fn of_clip(self, clip: usize, views: &ClipViews) -> Views<'a, PixelClips> {
        let batch = |plans: &[(ClipPlan, usize)]| -> Result<ViewBatch<PixelClips>> {
            let frames = plans.iter().map(|(plan, _)| views.cut(plan)).collect::<Result<Vec<_>, _>>()?;
            let input = pixels_of(self.pixels, &frames, self.device, self.loader.dtype);
            Ok(ViewBatch { input, rows: plans.iter().map(|&(_, times)| View { clip, times }).collect() })
        };
        let batches: Vec<_> = views.plans().chunks(VIEWS_AT_ONCE).map(batch).collect();
        Box::new(batches.into_iter())
    }
}

/// Views with the same crop and some frames in common.
struct Piece {
    /// All their frames, each once.
    frames: ClipPlan,
    /// Positions of each view's frames among these, and how often the view occurs.
    views: Vec<(Vec<i32>, usize)>,
}

impl<'a> ViewPercepts<'a> {
    /// The views of clips by a rule, in the order of the clips, without those that the loader skips.
    pub(crate) fn of_clips(
        self,
        samples: &[Sample],
        rule: TestViews,
    ) -> impl Iterator<Item = Result<ViewBatch<Percepts>>> + use<'a> {
        of_readable(self.loader, samples, rule, move |clip, views| self.of_clip(clip, views))
    }

    pub(crate) fn of_clip(self, clip: usize, views: ClipViews) -> Views<'a, Percepts> {
        let mut left = pieces(views.plans(), self.frames_at_once());
        // On the CPU as many pieces as there are workers go through the CNN side by side.
        let groups = std::iter::from_fn(move || {
            let rest = left.split_off(left.len().min(workers(self.loader)));
            let group = std::mem::replace(&mut left, rest);
            (!group.is_empty()).then(|| self.batches(clip, &views, &group))
        });
        Box::new(groups.flat_map(|group| match group {
            Ok(batches) => batches.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        }))
    }

    fn batches(self, clip: usize, views: &ClipViews, pieces: &[Piece]) -> Result<Vec<ViewBatch<Percepts>>> {
        let clips = pieces.iter().map(|piece| views.cut(&piece.frames)).collect::<Result<Vec<_>, _>>()?;
        let parts: Vec<&[Frames]> = clips.chunks(1).collect();
        let percepts = self.cnn.side_by_side(&parts, self.device, self.loader.dtype);
        let batch = |(piece, percepts): (&Piece, Percepts)| ViewBatch {
            input: piece.select(&percepts, self.device),
            rows: piece.views.iter().map(|&(_, times)| View { clip, times }).collect(),
        };
        Ok(pieces.iter().zip(percepts).map(batch).collect())
    }

    /// Frames whose maps are in memory together, for each worker that runs the CNN.
    fn frames_at_once(self) -> usize {
        let [height, width] = self.loader.planner.input_size;
        chunk_of(height * width).max(self.loader.planner.temporal.frames())
    }
}

/// Divides views among pieces of at most `most` frames, each with one crop; no view is divided.
fn pieces(plans: &[(ClipPlan, usize)], most: usize) -> Vec<Piece> {
    let mut crops: Vec<Vec<&(ClipPlan, usize)>> = Vec::new();
    for view in plans {
        let same = |other: &Vec<&(ClipPlan, usize)>| (other[0].0.crop, other[0].0.flip) == (view.0.crop, view.0.flip);
        match crops.iter_mut().find(|other| same(other)) {
            Some(crop) => crop.push(view),
            None => crops.push(vec![view]),
        }
    }
    let mut pieces = Vec::new();
    for crop in crops {
        let mut left = crop.as_slice();
        while let [first, rest @ ..] = left {
            let (mut union, mut taken) = (union_of(&[], &first.0.frames), 1);
            for (plan, _) in rest {
                let more = union_of(&union, &plan.frames);
                if more.len() > most || taken == VIEWS_AT_ONCE {
                    break;
                }
                (union, taken) = (more, taken + 1);
            }
            let place = |t: &usize| union.partition_point(|other| other < t) as i32;
            let views = left[..taken].iter().map(|(plan, times)| (plan.frames.iter().map(place).collect(), *times));
            let views = views.collect();
            pieces.push(Piece { frames: ClipPlan { frames: union, ..first.0.clone() }, views });
            left = &left[taken..];
        }
    }
    pieces
}

/// The numbers of both, ascending, each once.
fn union_of(a: &[usize], b: &[usize]) -> Vec<usize> {
    let mut all = [a, b].concat();
    all.sort_unstable();
    all.dedup();
    all
}

impl Piece {
    /// From the maps of all frames `[1, frame, …]` to those of the views `[view, time, …]`.
    fn select(&self, percepts: &Percepts, device: &Device) -> Percepts {
        let (views, time) = (self.views.len(), self.views[0].0.len());
        let indices: Vec<i32> = self.views.iter().flat_map(|(frames, _)| frames.iter().copied()).collect();
        let indices = Tensor::<1, Int>::from_data(TensorData::new(indices, [views * time]), device);
        let maps = percepts.maps.iter().map(|map| {
            let [_, frames, channels, height, width] = map.dims();
            let frames = map.clone().reshape([frames, channels, height, width]);
            frames.select(0, indices.clone()).reshape([views, time, channels, height, width])
        });
        Percepts::new(maps.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gru_rcn_data::{Crop, Modality, PhotometricDraw};

    fn view(first: usize, time: usize, flip: bool) -> (ClipPlan, usize) {
        let (crop, photometric) = (Crop::whole(4, 4), PhotometricDraw::IDENTITY);
        let frames = (first..first + time).collect();
        (ClipPlan { modality: Modality::Rgb, frames, crop, flip, photometric, output: [4, 4] }, 1)
    }

    /// Clips of 4 frames from 0, 2, 4, 6, 8, at most 8 frames together: 0 to 7 holds three of them
    /// (0, 2, 4), 6 to 11 the other two; and the same for the mirror images.
    #[test]
    fn neighbouring_views_share_their_frames() {
        let mut plans: Vec<(ClipPlan, usize)> = Vec::new();
        for first in [0, 2, 4, 6, 8] {
            plans.extend([view(first, 4, false), view(first, 4, true)]);
        }
        let found = pieces(&plans, 8);
        let frames: Vec<(usize, usize, bool, usize)> =
            found.iter().map(|p| (p.frames.frames[0], p.frames.frames.len(), p.frames.flip, p.views.len())).collect();
        assert_eq!(frames, [(0, 8, false, 3), (6, 6, false, 2), (0, 8, true, 3), (6, 6, true, 2)]);
        // The view from 8 on lies behind the two frames 6 and 7.
        assert_eq!(found[1].views[1], (vec![2, 3, 4, 5], 1));
        // A view longer than the bound is a piece of its own.
        assert_eq!(pieces(&plans, 1).len(), 10);
        // Frames that repeat are held once.
        let mut short = view(0, 4, false);
        short.0.frames = vec![0, 1, 1, 1];
        let found = pieces(&[short], 8);
        assert_eq!((&found[0].frames.frames, &found[0].views[0].0), (&vec![0, 1], &vec![0, 1, 1, 1]));
    }
}
