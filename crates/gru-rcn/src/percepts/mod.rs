//! Percepts: the feature maps of a CNN at several depths, over time.

mod norm;
mod statistics;

pub use norm::{NormRule, NormState, PerceptNorm, PerceptNormConfig};
pub use statistics::{LevelRms, PerceptStatistics};

use burn::config::Config;
use burn::tensor::{FloatDType, Tensor};

/// One depth of a CNN whose maps a recurrent layer takes in: its name and the shape of its maps.
#[derive(Config, Debug, PartialEq)]
pub struct Level {
    /// The backbone's own name of the level, e.g. `pool3` or `fc7`.
    pub name: String,
    /// Channels of the map.
    pub channels: usize,
    /// Height of the map in cells; 1 for a fully connected level.
    pub height: usize,
    /// Width of the map in cells; 1 for a fully connected level.
    pub width: usize,
}

impl Level {
    /// True for a level without spatial extent, such as fc-7, on which a convolution is a fully
    /// connected layer.
    pub fn is_vector(&self) -> bool {
        self.height == 1 && self.width == 1
    }
}

/// Applies a function of single frames to all frames of clips in one batch; clips in and out are `[batch,
/// time, channel, height, width]`.
pub(crate) fn per_frame(clips: Tensor<5>, function: impl FnOnce(Tensor<4>) -> Tensor<4>) -> Tensor<5> {
    let [batch, time, channels, height, width] = clips.dims();
    let maps = function(clips.reshape([batch * time, channels, height, width]));
    let [_, channels, height, width] = maps.dims();
    maps.reshape([batch, time, channels, height, width])
}

/// The percepts of a batch of clips, one tensor per level, bottom up.
#[derive(Clone, Debug)]
pub struct Percepts {
    /// Per level `[batch, time, channel, height, width]`.
    pub maps: Vec<Tensor<5>>,
}

impl Percepts {
    /// Wraps maps of shape `[batch, time, channel, height, width]`, bottom up.
    ///
    /// # Panics
    ///
    /// If there is no level, or if levels differ in batch or time.
    pub fn new(maps: Vec<Tensor<5>>) -> Self {
        assert!(!maps.is_empty(), "percepts need at least one level");
        let [batch, time, ..] = maps[0].dims();
        for (level, map) in maps.iter().enumerate() {
            let [b, t, ..] = map.dims();
            assert!(
                b == batch && t == time,
                "percepts of level {level} are of {b} clips x {t} steps, those of level 0 of {batch} x {time}"
            );
        }
        Self { maps }
    }

    /// The percepts of clips by a function of their frames, which gets all frames in one batch.
    ///
    /// # Shapes
    ///
    /// - clips, and per level the percepts: `[batch, time, channel, height, width]`
    /// - `taps`, in and out: `[batch * time, channel, height, width]`
    pub fn of_clips(clips: Tensor<5>, taps: impl FnOnce(Tensor<4>) -> Vec<Tensor<4>>) -> Self {
        let [batch, time, channels, height, width] = clips.dims();
        let maps = taps(clips.reshape([batch * time, channels, height, width]));
        let unfold = |map: Tensor<4>| {
            let [_, c, h, w] = map.dims();
            map.reshape([batch, time, c, h, w])
        };
        Self::new(maps.into_iter().map(unfold).collect())
    }

    /// Clips in the batch.
    pub fn batch(&self) -> usize {
        self.maps[0].dims()[0]
    }

    /// Time steps per clip.
    pub fn time(&self) -> usize {
        self.maps[0].dims()[1]
    }

    /// The top level alone.
    pub fn top(&self) -> Tensor<5> {
        self.maps[self.maps.len() - 1].clone()
    }

    /// Some of the levels, by their positions, bottom up.
    pub fn select(&self, levels: &[usize]) -> Self {
        Self::new(levels.iter().map(|&level| self.maps[level].clone()).collect())
    }

    /// The same percepts entering the autodiff graph as constants; a frozen CNN's percepts are
    /// computed outside it.
    pub fn autodiff(self) -> Self {
        Self { maps: self.maps.into_iter().map(Tensor::autodiff).collect() }
    }

    /// The same percepts in another precision.
    pub fn cast(self, dtype: FloatDType) -> Self {
        Self { maps: self.maps.into_iter().map(|map| map.cast(dtype)).collect() }
    }

    /// The same percepts in reverse temporal order.
    pub fn reversed(&self) -> Self {
        Self { maps: self.maps.iter().map(|map| map.clone().flip([1])).collect() }
    }
}
