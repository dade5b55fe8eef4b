//! The scheme from the coarsest scale to the finest.

use super::TvL1;
use super::grid::Grid;
use super::iterate::{State, Steps};
use super::linearise::Linearised;
use super::median::Median;
use super::packed::Packed;
use super::pyramid::Pyramid;
use super::resize::Resize;

/// The buffers of the computation between two pyramids. They grow to the size of the images and are
/// then reused.
#[derive(Clone, Debug)]
pub(super) struct Solver {
    state: State,
    data: Linearised,
    packed: Packed,
    median: Median,
    enlarged: [Grid; 2],
    initial: Vec<[Grid; 2]>,
}

impl Default for Solver {
    fn default() -> Self {
        let (state, data, packed, median, initial) = Default::default();
        // These change places with the flow, as the median's does.
        let enlarged = [11, 12].map(Grid::staggered);
        Self { state, data, packed, median, enlarged, initial }
    }
}

impl Solver {
    /// Computes the flow between two images of one size, from zero or from `initial`, rows of `u`
    /// and of `v`.
    pub(super) fn run(
        &mut self,
        settings: &TvL1,
        first: &Pyramid,
        second: &Pyramid,
        initial: Option<[&[f32]; 2]>,
        resize: &mut Resize,
    ) -> &[Grid; 2] {
        let (first, second) = (first.levels(), second.levels());
        let coarsest = first.len() - 1;
        self.start(settings, first, initial, resize);
        for level in (0..=coarsest).rev() {
            if level < coarsest {
                self.enlarge(settings, &first[level], resize);
            }
            self.solve_scale(settings, &first[level], &second[level]);
        }
        &self.state.u
    }

    /// The initial flow, at the coarsest scale.
    fn start(&mut self, settings: &TvL1, levels: &[Grid], initial: Option<[&[f32]; 2]>, resize: &mut Resize) {
        let Some(initial) = initial else {
            let coarsest = &levels[levels.len() - 1];
            self.state.u.iter_mut().for_each(|u| u.reshape(coarsest.width(), coarsest.height()));
            return;
        };
        self.initial.resize_with(levels.len(), Default::default);
        for d in 0..2 {
            self.initial[0][d].load_rows(levels[0].width(), levels[0].height(), initial[d]);
            for level in 1..levels.len() {
                let (finer, coarser) = self.initial.split_at_mut(level);
                let (from, to) = (&finer[level - 1][d], &mut coarser[0][d]);
                to.reshape(levels[level].width(), levels[level].height());
                resize.run(from, to, (1.0 / settings.scale_step, 1.0 / settings.scale_step));
                to.scale(settings.scale_step as f32);
            }
            self.state.u[d].clone_from(&self.initial[levels.len() - 1][d]);
            self.state.u[d].close_rows();
        }
    }

    /// Takes the flow to the next finer scale.
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

    /// Warps, and between two warps iterates until the flow moves little.
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
