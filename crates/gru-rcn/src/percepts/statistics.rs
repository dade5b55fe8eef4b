//! Root mean squares of percepts over training clips.

use burn::tensor::Tensor;

use super::Percepts;
use super::norm::{causal_centre, centre, difference};

/// Root mean squares of one level.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LevelRms {
    /// Of the maps as they are.
    pub raw: f64,
    /// Of the maps minus their clip's mean over time.
    pub centred: f64,
    /// Of the maps minus the running mean over the frames seen so far.
    pub causal: f64,
    /// Of the maps minus those of the frame before; the first step, which has none before it,
    /// counts as zero.
    pub difference: f64,
}

/// Accumulates the mean squares that [`PerceptNorm::fit`](super::PerceptNorm::fit) needs.
#[derive(Clone, Debug, Default)]
pub struct PerceptStatistics {
    squares: Vec<LevelRms>,
    clips: usize,
}

impl PerceptStatistics {
    /// Takes in a batch of clips' raw percepts.
    pub fn observe(&mut self, percepts: &Percepts) {
        self.squares.resize(percepts.maps.len(), LevelRms::default());
        let weight = percepts.batch() as f64;
        for (sum, map) in self.squares.iter_mut().zip(&percepts.maps) {
            sum.raw += weight * mean_square(map.clone());
            sum.centred += weight * mean_square(centre(map.clone()));
            sum.causal += weight * mean_square(causal_centre(map.clone()));
            sum.difference += weight * mean_square(difference(map.clone()));
        }
        self.clips += percepts.batch();
    }

    /// Root mean squares per level, bottom up; empty before the first clip.
    pub fn rms(&self) -> Vec<LevelRms> {
        let root = |sum: f64| (sum / self.clips as f64).sqrt();
        self.squares
            .iter()
            .map(|s| LevelRms {
                raw: root(s.raw),
                centred: root(s.centred),
                causal: root(s.causal),
                difference: root(s.difference),
            })
            .collect()
    }
}

fn mean_square(map: Tensor<5>) -> f64 {
    f64::from(map.square().mean().into_scalar::<f32>())
}
