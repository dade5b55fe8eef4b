//! Flow by dense inverse search (DIS).
//!
//! Kroeger, Timofte, Dai, Van Gool, *Fast Optical Flow using Dense Inverse Search*, ECCV 2016. From
//! the coarsest scale of an image pyramid to `finest_scale`:
//!
//! 1. a grid of overlapping patches of the first image is searched for in the second by
//!    inverse-compositional descent (§2.1, equations 1 and 2), from the flow of the previous scale and
//!    the results of neighbouring patches;
//! 2. the displacements of the patches are averaged into a flow per pixel, each weighted by its match
//!    at the pixel (§2.2, equation 3);
//! 3. a variational refinement improves the field as a whole (§2.3, equation 4).
//!
//! The flow of the finest scale is then enlarged to the size of the image. [`Dis::ultrafast`],
//! [`Dis::fast`] and [`Dis::medium`] are the presets of OpenCV's `DISOpticalFlow`. The spatial
//! propagation, the mean-normalised patches and the rule for the coarsest scale are OpenCV's too.
//!
//! # Cost
//! Time and memory are proportional to the number of pixels. A scale costs a quarter of the next finer
//! one.
//!
//! One evaluation of all patches of a scale reads `(patch_size / patch_stride)²` patch pixels per pixel
//! of the scale: seven with the medium preset. There a patch is evaluated at most 29 times, and 11 to
//! 15 times on photographs, because descent stops when the match no longer improves. Each iteration of
//! the refinement linearises every pixel once and relaxes it five times. By additions and memory reads
//! alone, a 640x480 pair would take about 12 million cycles on a processor with vectors of eight floats.
//! It takes about four times as many, because the steps of a patch depend on each other and rows are
//! short.

mod densify;
mod lanes;
mod lattice;
mod patch;
mod pyramid;
mod refine;
mod relax;
mod workspace;

use crate::error::{FlowError, ensure};
use crate::field::Flow;
use crate::image::Image;
use crate::parallel;

pub use workspace::DisWorkspace;

/// Settings of dense inverse search. The names are those of OpenCV's `DISOpticalFlow`.
///
/// ```
/// use gru_rcn_flow::{Dis, Image};
///
/// let image = Image::new(32, 32, (0..1024).map(|i| ((i * i) % 251) as f32).collect())?;
/// let flow = Dis::medium().flow(&image, &image)?;
/// assert!(flow.u.iter().chain(&flow.v).all(|component| component.abs() < 1e-3));
/// # Ok::<(), gru_rcn_flow::FlowError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Dis {
    /// The last scale of the computation, from which the flow is enlarged: 0 is the image itself, and
    /// each further scale has half the sides of the previous one (θ_sf in the paper). At most 16.
    pub finest_scale: u32,
    /// The first scale of the search, which starts with no motion (θ_ss). `None` is the rule
    /// [`Dis::coarsest_scale_for`].
    pub coarsest_scale: Option<u32>,
    /// Side of a patch (θ_ps), in pixels of its scale, 4 to 64. The code is fastest at 8.
    pub patch_size: usize,
    /// Distance between neighbouring patches, in pixels of their scale; 1 to `patch_size`. The paper
    /// states the overlap θ_ov = 1 - stride / size.
    pub patch_stride: usize,
    /// Most steps of descent per patch and scale (θ_it), over both passes of the propagation.
    pub gradient_descent_iterations: usize,
    /// Linearisations of the variational refinement (θ_vi) per scale, at most 1000; 0 for no refinement.
    pub variational_refinement_iterations: usize,
    /// Weight α of the smoothness term of equation 4; above 0.
    pub variational_refinement_alpha: f32,
    /// Weight δ of the brightness term (σ in the paper).
    pub variational_refinement_delta: f32,
    /// Weight γ of the gradient term.
    pub variational_refinement_gamma: f32,
    /// ε of the robust norm sqrt(x² + ε²) of all three terms; above 0.
    pub variational_refinement_epsilon: f32,
    /// Whether the mean difference of two patches is subtracted, so that a change of brightness does not
    /// matter.
    pub use_mean_normalization: bool,
    /// Whether patches also try the displacements that their neighbours have found: two passes over the
    /// grid in opposite directions, each with half of the descent steps.
    pub use_spatial_propagation: bool,
}

impl Default for Dis {
    fn default() -> Self {
        Self::medium()
    }
}

impl Dis {
    /// The fastest preset: a seventh of the patches of [`Dis::medium`] and no refinement.
    pub fn ultrafast() -> Self {
        Self {
            finest_scale: 2,
            patch_stride: 4,
            gradient_descent_iterations: 12,
            variational_refinement_iterations: 0,
            ..Self::medium()
        }
    }

    /// The preset between the two others.
    pub fn fast() -> Self {
        Self {
            finest_scale: 2,
            patch_stride: 4,
            gradient_descent_iterations: 16,
            variational_refinement_iterations: 5,
            ..Self::medium()
        }
    }

    /// The preset for the best flow, and the default.
    pub fn medium() -> Self {
        Self {
            finest_scale: 1,
            coarsest_scale: None,
            patch_size: 8,
            patch_stride: 3,
            gradient_descent_iterations: 25,
            variational_refinement_iterations: 5,
            variational_refinement_alpha: 20.0,
            variational_refinement_delta: 5.0,
            variational_refinement_gamma: 10.0,
            variational_refinement_epsilon: 0.01,
            use_mean_normalization: true,
            use_spatial_propagation: true,
        }
    }

    /// The displacement, in pixels, of every pixel of `first` in `second`.
    ///
    /// For many pairs of the same size, [`DisWorkspace`] saves the buffers and [`Dis::flows`] uses
    /// all cores.
    ///
    /// # Errors
    /// - [`FlowError::Setting`] if a setting is outside its range;
    /// - [`FlowError::Sizes`] if the images differ in size;
    /// - [`FlowError::TooSmall`] if a patch does not fit into the image at the finest scale, which
    ///   takes `(patch_size - 1) * 2^finest_scale + 1` pixels: 15 for [`Dis::medium`].
    pub fn flow(&self, first: &Image, second: &Image) -> Result<Flow, FlowError> {
        DisWorkspace::new(self.clone())?.flow(first, second)
    }

    /// The flow from each image to the next: one fewer than there are images, in their order.
    ///
    /// The pairs are spread over the threads of rayon's current pool; the result is the same, bit
    /// for bit, whatever their number.
    ///
    /// # Errors
    /// As [`Dis::flow`]: that of the first pair that fails.
    pub fn flows(&self, images: &[Image]) -> Result<Vec<Flow>, FlowError> {
        let fresh = DisWorkspace::new(self.clone())?;
        parallel::flows(
            images,
            || fresh.clone(),
            |workspace, images| {
                workspace.restart();
                images.iter().filter_map(|image| workspace.push(image).transpose()).collect()
            },
        )
    }

    /// The coarsest scale for images of `width` by `height`, if `coarsest_scale` is `None`: the scale at
    /// which the longer side is nearest, in octaves, to four patches (so that motion of about a quarter
    /// of the image is in reach), but not one at which the shorter side is less than one patch. OpenCV
    /// has the same rule.
    ///
    /// If the result is below `finest_scale`, only the finest scale is used.
    pub fn coarsest_scale_for(&self, width: usize, height: usize) -> u32 {
        let octaves = |side: usize, patches: usize| (side as f64 / (patches * self.patch_size.max(1)) as f64).log2();
        let reach = (octaves(width.max(height), 4) + 0.5).floor();
        let fit = octaves(width.min(height), 1).floor();
        reach.min(fit).max(0.0) as u32
    }

    /// Checks every setting.
    fn check(&self) -> Result<(), FlowError> {
        ensure(self.finest_scale <= 16, "finest_scale", self.finest_scale, "0 to 16")?;
        if let Some(coarsest) = self.coarsest_scale {
            let ok = (self.finest_scale..=16).contains(&coarsest);
            ensure(ok, "coarsest_scale", coarsest, "finest_scale to 16")?;
        }
        ensure((4..=64).contains(&self.patch_size), "patch_size", self.patch_size, "4 to 64")?;
        let stride_ok = (1..=self.patch_size).contains(&self.patch_stride);
        ensure(stride_ok, "patch_stride", self.patch_stride, "1 to patch_size, so that patches cover the image")?;
        let iterations = self.variational_refinement_iterations;
        ensure(iterations <= 1000, "variational_refinement_iterations", iterations, "at most 1000")?;
        // Without smoothness, the equations of flat pixels have no solution.
        let alpha = self.variational_refinement_alpha;
        ensure((1e-6..=1e6).contains(&alpha), "variational_refinement_alpha", alpha, "1e-6 to 1e6")?;
        for (setting, value) in [
            ("variational_refinement_delta", self.variational_refinement_delta),
            ("variational_refinement_gamma", self.variational_refinement_gamma),
        ] {
            ensure((0.0..=1e6).contains(&value), setting, value, "0 to 1e6")?;
        }
        let epsilon = self.variational_refinement_epsilon;
        ensure((1e-6..=1e3).contains(&epsilon), "variational_refinement_epsilon", epsilon, "1e-6 to 1e3")
    }
}
