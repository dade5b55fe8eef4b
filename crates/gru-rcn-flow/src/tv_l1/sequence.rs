//! The flow of the frames of a video, one after another.

use super::TvL1;
use super::pyramid::Pyramid;
use super::resize::Resize;
use super::solver::Solver;
use crate::error::FlowError;
use crate::field::Flow;
use crate::image::Image;

/// Computes the flow from each frame of a video to the next.
///
/// The pyramid of a frame is used for both of its pairs, and all memory is reused: from the third frame
/// on, nothing is allocated as long as frames have the same size.
#[derive(Clone, Debug)]
pub struct TvL1Sequence {
    settings: TvL1,
    before: Pyramid,
    now: Pyramid,
    size: Option<(usize, usize)>,
    solver: Solver,
    resize: Resize,
    /// The last flow.
    pub(super) flow: Flow,
}

impl TvL1Sequence {
    pub(super) fn new(settings: TvL1) -> Self {
        let (before, now, solver, resize) = Default::default();
        Self { settings, before, now, size: None, solver, resize, flow: Flow::zero(0, 0) }
    }

    /// The flow from the previous frame to this one; `None` for the first frame.
    ///
    /// # Errors
    /// [`FlowError::TooSmall`] if the frame has no pixels, [`FlowError::NotFinite`] if an intensity is not
    /// a finite number, [`FlowError::Sizes`] if the frame differs in size from the previous one. An error
    /// leaves the sequence unchanged.
    pub fn push(&mut self, frame: &Image) -> Result<Option<&Flow>, FlowError> {
        let size = (frame.width(), frame.height());
        if size.0 == 0 || size.1 == 0 {
            return Err(FlowError::TooSmall { width: size.0, height: size.1, least: 1 });
        }
        if let Some(before) = self.size
            && before != size
        {
            return Err(FlowError::Sizes { what: "two consecutive frames", first: before, second: size });
        }
        if !frame.data().iter().all(|value| value.is_finite()) {
            return Err(FlowError::NotFinite);
        }
        std::mem::swap(&mut self.before, &mut self.now);
        self.now.build(frame, self.settings.scales, self.settings.scale_step, &mut self.resize);
        if self.size.replace(size).is_none() {
            return Ok(None);
        }
        let [u, v] = self.solver.run(&self.settings, &self.before, &self.now, &mut self.resize);
        if (self.flow.width(), self.flow.height()) != size {
            self.flow = Flow::zero(size.0, size.1);
        }
        u.store(&mut self.flow.u);
        v.store(&mut self.flow.v);
        Ok(Some(&self.flow))
    }

    /// Forgets the last frame: the next one begins a new video. The memory is kept.
    pub fn restart(&mut self) {
        self.size = None;
    }
}
