//! Plans of clips: which frames, which crop, mirrored or not, decided before any pixel is read.
//!
//! A [`ClipPlan`] is a pure function of its key (seed, epoch, sample id), so it does not depend on the
//! number of workers, the order of loading or a resume. Crop, mirroring and change of light are drawn
//! per clip, never per frame: all motion in the result is motion of the scene.

mod crop;
mod modality;
mod segments;
mod temporal;
mod test_views;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::{Deserialize, Serialize};

pub use crop::CropRule;
pub use modality::{FLOW_STACK, Modality};
pub use segments::Segments;
pub use temporal::{SAME_MOMENT, TemporalSampling};
pub(crate) use test_views::distinct_views;
pub use test_views::{TestCrops, TestViews};

use crate::base::{DataError, Draws, Fnv64, Frames};
use crate::image::{Crop, Rectangle, resize_into};

/// Random changes of light, the same for all frames of a clip.
///
/// Each number is the half-width of a uniform range around 1; 0 is off. A value v becomes
/// `((v − mean) · contrast + mean) · brightness · tint`, where mean is the clip's mean over all its
/// values and tint has one factor per colour channel.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Photometric {
    /// Half-width of the brightness factor, 0 to 1.
    pub brightness: f32,
    /// Half-width of the contrast factor, 0 to 1.
    pub contrast: f32,
    /// Half-width of each channel's own factor, 0 to 1.
    pub tint: f32,
}

/// The factors drawn for one clip.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct PhotometricDraw {
    /// Factor of all values.
    pub brightness: f32,
    /// Factor of the distance to the clip's mean.
    pub contrast: f32,
    /// Factors of red, green and blue.
    pub tint: [f32; 3],
}

impl PhotometricDraw {
    /// No change.
    pub const IDENTITY: Self = Self { brightness: 1.0, contrast: 1.0, tint: [1.0; 3] };

    /// Applies the factors to a whole RGB clip in place.
    fn apply(&self, data: &mut [u8]) {
        if *self == Self::IDENTITY || data.is_empty() {
            return;
        }
        let mean = data.iter().map(|&v| u64::from(v)).sum::<u64>() as f32 / data.len() as f32;
        // Tables, because a clip has far more than 3 × 256 values.
        let tables = self.tint.map(|tint| {
            std::array::from_fn::<u8, 256, _>(|v| {
                let contrasted = (v as f32 - mean) * self.contrast + mean;
                (contrasted * self.brightness * tint).round().clamp(0.0, 255.0) as u8
            })
        });
        for pixel in data.chunks_exact_mut(3) {
            for (value, table) in pixel.iter_mut().zip(&tables) {
                *value = table[usize::from(*value)];
            }
        }
    }
}

impl Photometric {
    fn draw(&self, draws: &mut Draws) -> PhotometricDraw {
        let mut factor = |half: f32| 1.0 + half * draws.range(-1.0, 1.0) as f32;
        PhotometricDraw {
            brightness: factor(self.brightness),
            contrast: factor(self.contrast),
            tint: std::array::from_fn(|_| factor(self.tint)),
        }
    }
}

/// The key of one training draw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanKey {
    /// The run's seed.
    pub seed: u64,
    /// The epoch. The program `gru-rcn` counts from 1.
    pub epoch: u64,
    /// The sample's id.
    pub sample: String,
}

impl PlanKey {
    /// A number in `0..n` drawn from the key: which of `n` stored versions of a clip an epoch uses.
    pub fn choice(&self, n: usize) -> usize {
        let key = Fnv64::default().text("version").number(self.seed).number(self.epoch).text(&self.sample);
        Draws::new(key).below(n)
    }

    fn draws(&self) -> Draws {
        Draws::new(Fnv64::default().text("clip plan").number(self.seed).number(self.epoch).text(&self.sample))
    }
}

/// How clips are cut out of videos; part of a recipe.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ClipPlanner {
    /// RGB frames or stacks of optical flow.
    #[serde(rename = "stream", default)]
    pub modality: Modality,
    /// Which frames.
    pub temporal: TemporalSampling,
    /// Height and width to which videos are decoded, in pixels: `[256, 340]` in the paper.
    pub frame_size: [usize; 2],
    /// Height and width of the network's input, in pixels: `[224, 224]` in the paper.
    pub input_size: [usize; 2],
    /// Which part of the frame.
    pub crop: CropRule,
    /// Whether half of the training clips are mirrored left to right. To be off if classes differ in
    /// left and right.
    pub flip: bool,
    /// Random changes of light in training.
    pub photometric: Photometric,
}

impl ClipPlanner {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`DataError::Setting`] naming the first one that is out of range.
    pub fn validate(&self) -> Result<(), DataError> {
        if self.temporal.frames() == 0 {
            return Err(DataError::setting("temporal.frames", 0, "a clip has at least one frame"));
        }
        for (key, [height, width]) in [("frame_size", self.frame_size), ("input_size", self.input_size)] {
            if height.min(width) == 0 || height.max(width) > 8192 {
                let value = format!("[{height}, {width}]");
                return Err(DataError::setting(key, value, "height and width are 1 to 8192 pixels"));
            }
        }
        let Photometric { brightness, contrast, tint } = self.photometric;
        for (key, value) in [("brightness", brightness), ("contrast", contrast), ("tint", tint)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(DataError::setting(&format!("photometric.{key}"), value, "half-widths are 0 to 1"));
            }
        }
        if self.modality == Modality::Flow && self.photometric != Photometric::default() {
            let value = format!("{:?}", self.photometric);
            return Err(DataError::setting("photometric", value, "flow has no light to change; leave all of it 0"));
        }
        self.crop.validate()
    }

    /// The plan of a training clip from `frames` frames or fields of flow.
    ///
    /// # Errors
    /// [`DataError::Setting`] as [`ClipPlanner::validate`], [`DataError::Shape`] for a video
    /// without frames.
    pub fn training(&self, key: &PlanKey, frames: usize) -> Result<ClipPlan, DataError> {
        self.check(frames)?;
        let mut draws = key.draws();
        Ok(ClipPlan {
            modality: self.modality,
            frames: self.temporal.training(self.modality.positions(frames), &mut draws),
            crop: self.crop.training(self.frame_size, self.input_size, &mut draws),
            flip: draws.coin() && self.flip,
            photometric: self.photometric.draw(&mut draws),
            output: self.input_size,
        })
    }

    /// The plan of an evaluation clip, in which nothing is random.
    ///
    /// # Errors
    /// As [`ClipPlanner::training`].
    pub fn evaluation(&self, frames: usize) -> Result<ClipPlan, DataError> {
        self.check(frames)?;
        Ok(ClipPlan {
            modality: self.modality,
            frames: self.temporal.evaluation(self.modality.positions(frames)),
            crop: self.crop.evaluation(self.frame_size, self.input_size),
            flip: false,
            photometric: PhotometricDraw::IDENTITY,
            output: self.input_size,
        })
    }

    /// The plans of all views of an evaluation clip, start by start: at each one the corners (upper
    /// left, upper right, lower left, lower right) and the middle, then the mirror images in the same
    /// order. Nothing in them is random. In short clips and small frames, plans may be equal.
    ///
    /// # Errors
    /// As [`ClipPlanner::evaluation`] and [`TestViews::validate`]; [`DataError::Setting`] for
    /// mirror images where [`flip`](ClipPlanner::flip) is off (see [`TestViews::allowed`]).
    pub fn test_views(&self, views: TestViews, frames: usize) -> Result<Vec<ClipPlan>, DataError> {
        views.validate()?;
        if views.crops == TestCrops::Ten && !self.flip {
            let reason = "ten crops have mirror images among them, and `flip` is off: take five";
            return Err(DataError::setting("views", views, reason));
        }
        let plain = self.evaluation(frames)?;
        let positions = self.modality.positions(frames);
        let crops = match views.crops {
            TestCrops::Centre => vec![plain.crop],
            TestCrops::Five | TestCrops::Ten => self.crop.five(self.frame_size, self.input_size).to_vec(),
        };
        let mirrored: &[bool] = if views.crops == TestCrops::Ten { &[false, true] } else { &[false] };
        let mut plans = Vec::with_capacity(views.count());
        for view in 0..views.starts {
            let frames = self.temporal.view(positions, view, views.starts);
            for &flip in mirrored {
                plans.extend(crops.iter().map(|&crop| ClipPlan {
                    frames: frames.clone(),
                    crop,
                    flip,
                    ..plain.clone()
                }));
            }
        }
        Ok(plans)
    }

    /// The planner for videos of `rate` frames per second, which sampling by time needs.
    pub fn at_rate(&self, rate: f64) -> Self {
        Self { temporal: self.temporal.at_rate(rate), ..self.clone() }
    }

    /// The plans of the segments of a clip, in their order. Each is the plan of the evaluation with the
    /// segment's frames.
    ///
    /// # Errors
    /// As [`ClipPlanner::evaluation`] and [`Segments::validate`].
    pub fn segments(&self, segments: Segments, frames: usize) -> Result<Vec<ClipPlan>, DataError> {
        segments.validate()?;
        let plain = self.evaluation(frames)?;
        let chosen = segments.of(self.modality.positions(frames)).into_iter();
        Ok(chosen.map(|frames| ClipPlan { frames, ..plain.clone() }).collect())
    }

    fn check(&self, frames: usize) -> Result<(), DataError> {
        self.validate()?;
        if let TemporalSampling::Every { every, rate, .. } = self.temporal
            && !rate.is_some_and(|rate| rate.is_finite() && rate > 0.0)
        {
            let reason = "frames are taken by time, and the video's frame rate is not known";
            return Err(DataError::setting("temporal.every", format!("{every:?}"), reason));
        }
        if frames == 0 {
            return Err(DataError::Shape("a clip cannot be planned for a video without frames".to_owned()));
        }
        Ok(())
    }
}

/// The frames, the crop and the changes that turn a video into a clip.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ClipPlan {
    /// RGB frames or stacks of optical flow.
    #[serde(rename = "stream", default)]
    pub modality: Modality,
    /// Indices of the frames, from 0, or of the first field of each stack. Short videos repeat some.
    pub frames: Vec<usize>,
    /// The part of every frame.
    pub crop: Crop,
    /// Whether every frame is mirrored left to right.
    pub flip: bool,
    /// The change of light of every frame.
    pub photometric: PhotometricDraw,
    /// Height and width of the result, in pixels.
    pub output: [usize; 2],
}

impl ClipPlan {
    /// Cuts the clip out of a decoded RGB video `[time, height, width, 3]`, or out of flow
    /// `[time, height, width, 2]`.
    ///
    /// The clip is `[frames, height, width, 3]`, or `[stacks, height, width, 20]` as
    /// [`Modality::Flow`] orders it.
    ///
    /// # Errors
    /// [`DataError::Shape`] if the plan names a frame or a pixel that the video does not have, or the
    /// video has another number of channels.
    pub fn apply(&self, video: &Frames) -> Result<Frames, DataError> {
        let channels = self.modality.stored_channels();
        if video.channels != channels {
            return Err(DataError::Shape(format!(
                "frames have {} channels where the modality {:?} has {channels}",
                video.channels, self.modality
            )));
        }
        self.gather(video.time, |t, target| {
            let (size, crop) = ([video.height, video.width], Rectangle::from(self.crop));
            resize_into(video.frame(t), size, channels, crop, self.output, target)
        })
    }

    /// Assembles the clip from a video of `total` pictures. `picture` cuts and resizes one of them into
    /// a buffer and is called once for each.
    pub(crate) fn gather(
        &self,
        total: usize,
        mut picture: impl FnMut(usize, &mut [u8]) -> Result<(), DataError>,
    ) -> Result<Frames, DataError> {
        let [height, width] = self.output;
        if let Some(t) = self.frames.iter().find(|&&t| t >= total) {
            return Err(DataError::Shape(format!("the plan names frame {t} of a video of {total} frames")));
        }
        let mut pictures: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
        for t in self.frames.iter().flat_map(|&t| self.modality.stack(t, total)) {
            if let Entry::Vacant(place) = pictures.entry(t) {
                let mut pixels = vec![0; height * width * self.modality.stored_channels()];
                picture(t, &mut pixels)?;
                if self.flip {
                    self.modality.mirror(&mut pixels, width);
                }
                place.insert(pixels);
            }
        }
        let mut data = Vec::with_capacity(self.frames.len() * height * width * self.modality.channels());
        for &t in &self.frames {
            let stack: Vec<&[u8]> = self.modality.stack(t, total).map(|t| pictures[&t].as_slice()).collect();
            match stack[..] {
                [picture] => data.extend_from_slice(picture),
                // The fields of a stack are interleaved pixel by pixel.
                _ => (0..height * width)
                    .for_each(|pixel| stack.iter().for_each(|field| data.extend_from_slice(&field[2 * pixel..][..2]))),
            }
        }
        self.photometric.apply(&mut data);
        Frames::new(data, self.frames.len(), height, width, self.modality.channels())
    }
}

/// The order of `len` samples in an epoch: a permutation of `0..len` that depends on seed and epoch
/// alone.
pub fn epoch_order(seed: u64, epoch: u64, len: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    Draws::new(Fnv64::default().text("epoch order").number(seed).number(epoch)).shuffle(&mut order);
    order
}

/// An epoch in which all classes are equally frequent, to within one clip. `classes` has the class of
/// each sample, and the epoch is as long. A sample is repeated only when all others of its class have
/// occurred as often. The order depends on seed, epoch and classes alone.
pub fn balanced_order(seed: u64, epoch: u64, classes: &[usize]) -> Vec<usize> {
    let mut by_class: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for sample in epoch_order(seed, epoch, classes.len()) {
        by_class.entry(classes[sample]).or_default().push(sample);
    }
    let mut draws = Draws::new(Fnv64::default().text("balanced order").number(seed).number(epoch));
    let mut by_class: Vec<Vec<usize>> = by_class.into_values().collect();
    // Shuffled, so that other classes have the one sample more in other epochs.
    draws.shuffle(&mut by_class);
    let place = |place: usize| {
        let (round, class) = (place / by_class.len(), place % by_class.len());
        by_class[class][round % by_class[class].len()]
    };
    let mut order: Vec<usize> = (0..classes.len()).map(place).collect();
    draws.shuffle(&mut order);
    order
}

#[cfg(test)]
mod tests;
