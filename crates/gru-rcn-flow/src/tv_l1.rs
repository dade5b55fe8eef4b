//! TV-L1 optical flow by a primal-dual scheme.
//!
//! The flow `u` minimises `∫ |∇u₁| + |∇u₂| + λ |I₁(x + u) − I₀(x)|` (C. Zach, T. Pock, H. Bischof:
//! *A Duality Based Approach for Realtime TV-L1 Optical Flow*, DAGM 2007), from coarse to fine,
//! with several warps per scale (J. Sánchez, E. Meinhardt-Llopis, G. Facciolo: *TV-L1 Optical Flow
//! Estimation*, Image Processing On Line 3, 2013). The parameters, their defaults and the median
//! filter of the flow are those of OpenCV's `DualTVL1OpticalFlow`. At every stage the numbers are those
//! of OpenCV 5 up to the rounding of f32. Results are the same, bit for bit, on every processor and for
//! any number of threads.
//!
//! ```
//! use gru_rcn_flow::{Image, TvL1};
//!
//! # fn main() -> Result<(), gru_rcn_flow::FlowError> {
//! let wave = |shift: f32| (0..32 * 24).map(|i| 99.0 + 40.0 * (0.4 * ((i % 32) as f32 - shift)).sin()).collect();
//! let (first, second) = (Image::new(32, 24, wave(0.0))?, Image::new(32, 24, wave(1.0))?);
//! let flow = TvL1::default().flow(&first, &second)?;
//! assert!((flow.u[12 * 32 + 16] - 1.0).abs() < 0.1); // the wave has moved a pixel to the right
//! # Ok(())
//! # }
//! ```

mod dispatch;
mod grid;
mod iterate;
mod linearise;
mod median;
mod packed;
mod pyramid;
mod resize;
mod sequence;
mod solver;

use crate::error::{FlowError, ensure};
use crate::field::Flow;
use crate::image::Image;
use crate::parallel;

pub use sequence::TvL1Sequence;

/// Settings of TV-L1.
#[derive(Clone, Debug, PartialEq)]
pub struct TvL1 {
    /// Step of the dual variable, above 0; the scheme is known to converge up to 0.25. Default
    /// 0.25.
    pub tau: f32,
    /// Weight of the data term, above 0, for intensities of 0 to 255: a smaller weight makes a smoother
    /// flow. Default 0.15.
    pub lambda: f32,
    /// Tightness of the coupling between the two halves of the scheme, above 0. Default 0.3.
    pub theta: f32,
    /// Most levels of the pyramid, 1 to 64; levels with a side below 16 pixels are left out. Default 5.
    pub scales: usize,
    /// Warps on each scale, at least 1. Default 5.
    pub warps: usize,
    /// The iterations of a warp end when the root mean square change of the flow in one of them is no
    /// larger than this, in pixels. Not negative; with 0 all iterations run. Default 0.01.
    pub epsilon: f32,
    /// Most iterations between two median filters, at least 1. Default 30.
    pub inner_iterations: usize,
    /// Most rounds of median filter and iterations in a warp, at least 1. Default 10.
    pub outer_iterations: usize,
    /// Side of a level over the side of the next finer one, between 0 and 1. Default 0.8.
    pub scale_step: f64,
    /// Side of the window of the median filter on the flow: 5, or 1 for none. Default 5.
    pub median_filtering: usize,
}

impl Default for TvL1 {
    fn default() -> Self {
        Self {
            tau: 0.25,
            lambda: 0.15,
            theta: 0.3,
            scales: 5,
            warps: 5,
            epsilon: 0.01,
            inner_iterations: 30,
            outer_iterations: 10,
            scale_step: 0.8,
            median_filtering: 5,
        }
    }
}

impl TvL1 {
    /// The flow from the first image to the second.
    ///
    /// # Errors
    /// [`FlowError::Setting`] for a setting outside its range, [`FlowError::Sizes`] if the images
    /// differ in size, [`FlowError::TooSmall`] if they have no pixels, [`FlowError::NotFinite`] if
    /// an intensity is not a finite number.
    pub fn flow(&self, first: &Image, second: &Image) -> Result<Flow, FlowError> {
        let mut sequence = self.sequence()?;
        sequence.push(first)?;
        sequence.push(second)?;
        Ok(sequence.flow)
    }

    /// The flows from each frame to the next, in order, one fewer than there are frames. Pairs are
    /// computed in parallel on rayon's threads; the values do not depend on their number.
    ///
    /// # Errors
    /// As [`TvL1::flow`].
    pub fn flows(&self, frames: &[Image]) -> Result<Vec<Flow>, FlowError> {
        self.check()?;
        let new = || TvL1Sequence::new(self.clone());
        parallel::flows(frames, new, |sequence, frames| {
            sequence.restart();
            frames.iter().filter_map(|frame| sequence.push(frame).map(|flow| flow.cloned()).transpose()).collect()
        })
    }

    /// A [`TvL1Sequence`] with these settings, for frames that arrive one at a time.
    ///
    /// # Errors
    /// [`FlowError::Setting`] for a setting outside its range.
    pub fn sequence(&self) -> Result<TvL1Sequence, FlowError> {
        self.check()?;
        Ok(TvL1Sequence::new(self.clone()))
    }

    fn check(&self) -> Result<(), FlowError> {
        for (setting, value) in [("tau", self.tau), ("lambda", self.lambda), ("theta", self.theta)] {
            ensure(value > 0.0 && value.is_finite(), setting, value, "must be finite and above 0")?;
        }
        let Self { epsilon, scale_step, scales, median_filtering, .. } = *self;
        ensure(epsilon >= 0.0 && epsilon.is_finite(), "epsilon", epsilon, "must be finite and not negative")?;
        ensure(scale_step > 0.0 && scale_step < 1.0, "scale_step", scale_step, "must be between 0 and 1")?;
        ensure((1..=64).contains(&scales), "scales", scales, "must be 1 to 64")?;
        for (setting, value) in [
            ("warps", self.warps),
            ("inner_iterations", self.inner_iterations),
            ("outer_iterations", self.outer_iterations),
        ] {
            ensure(value > 0, setting, value, "must be at least 1")?;
        }
        ensure([1, 5].contains(&median_filtering), "median_filtering", median_filtering, "must be 5, or 1 for none")
    }
}
