//! The loop from the coarsest scale to the finest.

use super::TvL1;
use super::grid::Grid;
use super::iterate::{State, Steps};
use super::linearise::Linearised;
use super::median::Median;
use super::packed::Packed;
use super::pyramid::Pyramid;
use super::resize::Resize;

/// The buffers for the flow between two pyramids, which are reused from pair to pair.
#[derive(Clone, Debug)]
pub(super) struct Solver {
    state: State,
    data: Linearised,
    packed: Packed,
    median: Median,
    enlarged: [Grid; 2],
}

impl Default for Solver {
    fn default() -> Self {
        let (state, data, packed, median) = Default::default();
        // These are swapped with the flow, like the plane of the median filter.
        let enlarged = [11, 12].map(Grid::staggered);
        Self { state, data, packed, median, enlarged }
    }
}

impl Solver {
    /// Computes the flow between two images of one size.
    pub(super) fn run(
        &mut self,
        settings: &TvL1,
        first: &Pyramid,
        second: &Pyramid,
        resize: &mut Resize,
    ) -> &[Grid; 2] {
        let (first, second) = (first.levels(), second.levels());
        let coarsest = first.len() - 1;
        let (width, height) = (first[coarsest].width(), first[coarsest].height());
        self.state.u.iter_mut().for_each(|u| u.reshape(width, height));
        for level in (0..=coarsest).rev() {
            if level < coarsest {
                self.enlarge(settings, &first[level], resize);
            }
            self.solve_scale(settings, &first[level], &second[level]);
        }
        &self.state.u
    }

    /// Enlarges the flow to the next finer scale.
    fn enlarge(&mut self, settings: &TvL1, finer: &Grid, resize: &mut Resize) {
        for (u, larger) in self.state.u.iter_mut().zip(&mut self.enlarged) {
            larger.reshape(finer.width(), finer.height());
            let step = |from: usize, to: usize| from as f64 / to as f64;
            resize.run(u, larger, (step(u.width(), finer.width()), step(u.height(), finer.height())));
            larger.scale((1.0 / settings.scale_step) as f32);
            larger.close_rows();
            std::mem::swap(u, larger);
        }
    }

    /// Runs all warps. After each one it iterates until the flow changes little.
    fn solve_scale(&mut self, settings: &TvL1, first: &Grid, second: &Grid) {
        let (width, height) = (first.width(), first.height());
        let steps = Steps {
            threshold: settings.lambda * settings.theta,
            tau: settings.tau,
            shrink: settings.tau / settings.theta,
        };
        let enough = f64::from(settings.epsilon).powi(2) * (width * height) as f64;
        self.packed.pack(second);
        self.data.reshape(width, height);
        self.state.reset_dual(width, height);
        for _ in 0..settings.warps {
            self.data.run(first, &self.packed, &self.state.u);
            let mut change = f64::INFINITY;
            for _ in 0..settings.outer_iterations {
                if change <= enough {
                    break;
                }
                if settings.median_filtering > 1 {
                    self.state.u.iter_mut().for_each(|u| self.median.run(u));
                }
                for _ in 0..settings.inner_iterations {
                    change = self.state.iterate(&self.data, steps);
                    if change <= enough || change.is_nan() {
                        break;
                    }
                }
            }
        }
    }
}
