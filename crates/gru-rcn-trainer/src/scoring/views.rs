//! Several views of each test clip.
//!
//! The paper's 250 views of 10 frames are 2,500 frames through the CNN for one clip. Here a clip is
//! decoded once, equal views are computed once, and every frame goes through the CNN once for each
//! crop: neighbouring starts are taken together, as many as keep a bounded number of frames in
//! memory, and the maps of frames that later starts need are held until then.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

use anyhow::Result;
use burn::tensor::{Device, Int, Tensor, TensorData};
use gru_rcn::backbone::Pixels;
use gru_rcn::input::PixelClips;
use gru_rcn::percepts::Percepts;
use gru_rcn_data::{ClipPlan, ClipViews, Frames, Sample, TestViews};

use super::{View, ViewBatch};
use crate::output::note;
use crate::percepts::{ClipLoader, FrozenCnn, chunk_of, joined, pixels_of, workers};

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

    pub(crate) fn of_clip(self, clip: usize, views: &ClipViews) -> Views<'a, PixelClips> {
        let batch = |plans: &[(ClipPlan, usize)]| -> Result<ViewBatch<PixelClips>> {
            let frames = plans.iter().map(|(plan, _)| views.cut(plan)).collect::<Result<Vec<_>, _>>()?;
            let input = pixels_of(self.pixels, &frames, self.device, self.loader.dtype);
            Ok(ViewBatch { input, rows: plans.iter().map(|&(_, times)| View { clip, times }).collect() })
        };
        let batches: Vec<_> = views.plans().chunks(VIEWS_AT_ONCE).map(batch).collect();
        Box::new(batches.into_iter())
    }
}

/// Views with the same crop that are scored together.
struct Piece {
    /// The frames that have not gone through the CNN in this crop, each once.
    new: ClipPlan,
    /// Places of each view's frames among those that are held and then the new ones, and how often the
    /// view occurs.
    views: Vec<(Vec<i32>, usize)>,
    /// Places, among the same, of the frames that are held for the next piece.
    kept: Vec<i32>,
}

/// The pieces that are left of one crop, and the maps that are held for the first of them.
struct CropPieces {
    pieces: VecDeque<Piece>,
    held: Option<Percepts>,
}

impl<'a> ViewPercepts<'a> {
    /// The views of clips by a rule, in the order of the clips, without those that the loader skips.
    /// After the last clip a line says how many frames have gone through the CNN.
    pub(crate) fn of_clips(
        self,
        samples: &[Sample],
        rule: TestViews,
    ) -> impl Iterator<Item = Result<ViewBatch<Percepts>>> + use<'a> {
        let (seen, shown) = (self.cnn.frames(), Rc::new(Cell::new(0)));
        let sum = shown.clone();
        let batches = of_readable(self.loader, samples, rule, move |clip, views| {
            sum.update(|sum| sum + views.plans().iter().map(|(plan, times)| times * plan.frames.len()).sum::<usize>());
            self.of_clip(clip, views)
        });
        batches.chain(std::iter::from_fn(move || {
            let (frames, shown) = (self.cnn.frames() - seen, shown.take());
            if shown > 0 {
                note!("{frames} frames went through the CNN, each once for every crop; the views show {shown}");
            }
            None
        }))
    }

    pub(crate) fn of_clip(self, clip: usize, views: ClipViews) -> Views<'a, Percepts> {
        self.in_pieces(clip, views, self.frames_at_once())
    }

    /// The views of a clip, with the maps of at most `most` frames together.
    fn in_pieces(self, clip: usize, views: ClipViews, most: usize) -> Views<'a, Percepts> {
        let mut left = pieces(views.plans(), most);
        // On the CPU as many crops as there are workers go through the CNN side by side.
        let groups = std::iter::from_fn(move || {
            left.retain(|crop| !crop.pieces.is_empty());
            let at_work = left.len().min(workers(self.loader));
            (at_work > 0).then(|| self.batches(clip, &views, &mut left[..at_work]))
        });
        Box::new(groups.flat_map(|group| match group {
            Ok(batches) => batches.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        }))
    }

    /// The next piece of each of these crops.
    fn batches(self, clip: usize, views: &ClipViews, crops: &mut [CropPieces]) -> Result<Vec<ViewBatch<Percepts>>> {
        let pieces: Vec<Piece> = crops.iter_mut().filter_map(|crop| crop.pieces.pop_front()).collect();
        let cut = |piece: &Piece| (!piece.new.frames.is_empty()).then(|| views.cut(&piece.new)).transpose();
        let clips = pieces.iter().map(cut).collect::<Result<Vec<_>, _>>()?;
        let parts: Vec<&[Frames]> = clips.iter().flatten().map(std::slice::from_ref).collect();
        let mut computed = self.cnn.side_by_side(&parts, self.device, self.loader.dtype).into_iter();
        let mut batches = Vec::new();
        for ((piece, crop), clip_of_new) in pieces.iter().zip(crops).zip(&clips) {
            let new = clip_of_new.as_ref().and_then(|_| computed.next());
            let all = joined(crop.held.take().into_iter().chain(new).collect(), 1);
            let frames: Vec<&[i32]> = piece.views.iter().map(|(frames, _)| &frames[..]).collect();
            let rows = piece.views.iter().map(|&(_, times)| View { clip, times }).collect();
            batches.push(ViewBatch { input: select(&all, &frames, self.device), rows });
            crop.held = (!piece.kept.is_empty()).then(|| select(&all, &[&piece.kept], self.device));
        }
        Ok(batches)
    }

    /// Frames whose maps are in memory together, for each worker that runs the CNN.
    fn frames_at_once(self) -> usize {
        let [height, width] = self.loader.planner.input_size;
        chunk_of(height * width).max(self.loader.planner.temporal.frames())
    }
}

/// Divides the views of each crop among pieces of at most `most` frames; no view is divided.
fn pieces(plans: &[(ClipPlan, usize)], most: usize) -> Vec<CropPieces> {
    let mut crops: Vec<Vec<&(ClipPlan, usize)>> = Vec::new();
    for view in plans {
        let same = |other: &Vec<&(ClipPlan, usize)>| (other[0].0.crop, other[0].0.flip) == (view.0.crop, view.0.flip);
        match crops.iter_mut().find(|other| same(other)) {
            Some(crop) => crop.push(view),
            None => crops.push(vec![view]),
        }
    }
    crops.iter().map(|crop| CropPieces { pieces: pieces_of_crop(crop, most), held: None }).collect()
}

fn pieces_of_crop(views: &[&(ClipPlan, usize)], most: usize) -> VecDeque<Piece> {
    let (mut left, mut held, mut pieces) = (views, Vec::<usize>::new(), VecDeque::new());
    while let [first, rest @ ..] = left {
        let (mut union, mut taken) = (union_of(&[], &first.0.frames), 1);
        for (plan, _) in rest {
            let more = union_of(&union, &plan.frames);
            if more.len() > most || taken == VIEWS_AT_ONCE {
                break;
            }
            (union, taken) = (more, taken + 1);
        }
        let new: Vec<usize> = union.iter().copied().filter(|frame| !held.contains(frame)).collect();
        let all = [&held[..], &new].concat();
        let place = |frame: &usize| all.iter().position(|other| other == frame).map(|place| place as i32);
        let views = left[..taken].iter();
        let views = views.map(|(plan, times)| (plan.frames.iter().filter_map(place).collect(), *times)).collect();
        left = &left[taken..];
        let later = |frame: &usize| left.iter().any(|(plan, _)| plan.frames.contains(frame));
        held = all.iter().copied().filter(later).collect();
        let kept = held.iter().filter_map(place).collect();
        pieces.push_back(Piece { new: ClipPlan { frames: new, ..first.0.clone() }, views, kept });
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

/// From the maps of all frames `[1, frame, …]` to those of views of as many frames each,
/// `[view, time, …]`.
fn select(percepts: &Percepts, views: &[&[i32]], device: &Device) -> Percepts {
    let (count, time) = (views.len(), views[0].len());
    let indices = Tensor::<1, Int>::from_data(TensorData::new(views.concat(), [count * time]), device);
    let maps = percepts.maps.iter().map(|map| {
        let [_, frames, channels, height, width] = map.dims();
        let frames = map.clone().reshape([frames, channels, height, width]);
        frames.select(0, indices.clone()).reshape([count, time, channels, height, width])
    });
    Percepts::new(maps.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::FloatDType;
    use gru_rcn::backbone::{Network, NetworkOptions};
    use gru_rcn_data::{Crop, Modality, PhotometricDraw, TestCrops};

    use crate::recipe::{DataSection, changed};

    fn view(first: usize, time: usize, flip: bool) -> (ClipPlan, usize) {
        let (crop, photometric) = (Crop::whole(4, 4), PhotometricDraw::IDENTITY);
        let frames = (first..first + time).collect();
        (ClipPlan { modality: Modality::Rgb, frames, crop, flip, photometric, output: [4, 4] }, 1)
    }

    /// Clips of 4 frames from 0, 2, 4, 6, 8, at most 8 frames together: 0 to 7 holds three of them
    /// (0, 2, 4), 6 to 11 the other two, of which 6 and 7 are held; and the same for the mirror
    /// images.
    #[test]
    fn neighbouring_views_share_their_frames() {
        let mut plans: Vec<(ClipPlan, usize)> = Vec::new();
        for first in [0, 2, 4, 6, 8] {
            plans.extend([view(first, 4, false), view(first, 4, true)]);
        }
        let crops = pieces(&plans, 8);
        assert_eq!(crops.len(), 2);
        for (crop, flip) in crops.iter().zip([false, true]) {
            let [first, second] = [&crop.pieces[0], &crop.pieces[1]];
            assert_eq!((&first.new.frames[..], first.new.flip), (&[0, 1, 2, 3, 4, 5, 6, 7][..], flip));
            assert_eq!((first.views.len(), &first.kept[..]), (3, &[6, 7][..]));
            assert_eq!((&second.new.frames[..], second.new.flip), (&[8, 9, 10, 11][..], flip));
            // The view from 8 on lies behind the two frames 6 and 7.
            assert_eq!(second.views, [(vec![0, 1, 2, 3], 1), (vec![2, 3, 4, 5], 1)]);
            assert!(second.kept.is_empty() && crop.pieces.len() == 2);
        }
        // A view longer than the bound is a piece of its own, and has two new frames.
        let crops = pieces(&plans, 1);
        let new = |crop: &CropPieces| crop.pieces.iter().map(|piece| piece.new.frames.len()).collect::<Vec<_>>();
        assert_eq!(crops.iter().map(new).collect::<Vec<_>>(), [[4, 2, 2, 2, 2], [4, 2, 2, 2, 2]]);
        // Frames that repeat are held once.
        let mut short = view(0, 4, false);
        short.0.frames = vec![0, 1, 1, 1];
        let found = pieces(&[short], 8);
        let piece = &found[0].pieces[0];
        assert_eq!((&piece.new.frames, &piece.views[0].0), (&vec![0, 1], &vec![0, 1, 1, 1]));
    }

    /// A number for each view that all its maps have a part in.
    fn numbers(percepts: &Percepts) -> Vec<f32> {
        let [views, ..] = percepts.top().dims();
        let of = |map: &Tensor<5>| map.clone().reshape([views as i32, -1]).square().mean_dim(1);
        let sum = percepts.maps.iter().map(of).reduce(|sum, map| sum * 3.0 + map).unwrap();
        sum.into_data().try_into_vec().unwrap()
    }

    /// A clip of 24 frames in 11 starts of ten crops, four frames each: 440 frames are shown, and 24
    /// in each crop go through the CNN, however few are in memory together. The maps are those of each
    /// view by itself.
    #[test]
    fn every_frame_goes_through_the_cnn_once_for_each_crop() {
        let changes =
            ["data.motion.frames=24", "clip.flip=true", "clip.crop={five_point={ratios=[1.0, 0.75], max_distort=0}}"];
        let recipe = changed("motion-tiny", &changes).unwrap();
        let DataSection::Motion(config) = &recipe.data else { unreachable!() };
        let sample = &config.dataset().unwrap().test[0];
        let (device, taps) = (Device::flex(), vec!["pool2".into(), "fc7".into()]);
        device.seed(5);
        let options = NetworkOptions { num_classes: 2, in_channels: 3, input_size: [32, 32], taps };
        let cnn = Network::Small.config(&options).init(&device);
        let loader = ClipLoader::new(&recipe, &device, FloatDType::F32);
        let rule = TestViews { starts: 11, crops: TestCrops::Ten };
        let read = || loader.reader.read_views(&sample.source, &loader.planner, rule).unwrap();
        let sorted = |mut values: Vec<f32>| {
            values.sort_by(f32::total_cmp);
            values
        };
        let views = read();
        let naive = FrozenCnn::new(&cnn);
        let single = |(plan, _): &(ClipPlan, usize)| {
            numbers(&naive.percepts(&[views.cut(plan).unwrap()], &device, FloatDType::F32))
        };
        let expected = sorted(views.plans().iter().flat_map(single).collect());
        assert_eq!((expected.len(), naive.frames()), (110, 440));
        for most in [1, 8, 1000] {
            let shared = FrozenCnn::new(&cnn);
            let batches = ViewPercepts { cnn: &shared, loader: &loader, device: &device }.in_pieces(0, read(), most);
            let found = sorted(batches.flat_map(|batch| numbers(&batch.unwrap().input)).collect());
            assert_eq!(shared.frames(), 240, "at most {most} together");
            let near = |(found, expected): (&f32, &f32)| (found - expected).abs() <= 1e-5 * expected;
            assert!(found.len() == 110 && found.iter().zip(&expected).all(near), "at most {most} together");
        }
    }
}
