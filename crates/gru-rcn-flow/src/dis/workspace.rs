//! Buffers that are reused from pair to pair, and the loop over the scales.

use super::Dis;
use super::densify::densify;
#[cfg(target_arch = "x86_64")]
use super::lanes::avx2::Avx2;
use super::lanes::{LANES, Lanes, Portable};
use super::patch::Grid;
use super::pyramid::Pyramid;
use super::refine::Refiner;
use crate::error::FlowError;
use crate::field::Flow;
use crate::image::Image;

/// [`Dis`] with its buffers, for many pairs one after another on one thread.
///
/// For consecutive frames of a video, [`DisWorkspace::push`] keeps the pyramid of the frame that two
/// pairs share. The flow is that of [`Dis::flow`], bit for bit.
///
/// ```
/// use gru_rcn_flow::{Dis, DisWorkspace, Image};
///
/// let mut video = DisWorkspace::new(Dis::fast())?;
/// for number in 0..3 {
///     let frame = Image::new(64, 48, (0..64 * 48).map(|i| ((i + number) % 64) as f32).collect())?;
///     let flow = video.push(&frame)?;
///     assert_eq!(flow.is_some(), number > 0);
/// }
/// # Ok::<(), gru_rcn_flow::FlowError>(())
/// ```
#[derive(Clone, Debug)]
pub struct DisWorkspace {
    dis: Dis,
    /// Width and height of the frame in `first`, if it holds one.
    held: Option<(usize, usize)>,
    first: Pyramid,
    second: Pyramid,
    scales: Scales,
}

/// Buffers that the scales share.
#[derive(Clone, Debug, Default)]
struct Scales {
    grid: Grid,
    refiner: Refiner,
    /// The flow of the current scale.
    flow: [Vec<f32>; 2],
    /// The flow of the scale before.
    coarse: [Vec<f32>; 2],
    weights: Vec<f32>,
}

impl DisWorkspace {
    /// An empty workspace.
    ///
    /// # Errors
    /// [`FlowError::Setting`] if a setting is outside its range.
    pub fn new(dis: Dis) -> Result<Self, FlowError> {
        dis.check()?;
        let (first, second, scales) = Default::default();
        Ok(Self { dis, held: None, first, second, scales })
    }

    /// The flow from `first` to `second`, as [`Dis::flow`]. A following [`DisWorkspace::push`] continues
    /// from `second`.
    ///
    /// # Errors
    /// As [`Dis::flow`].
    pub fn flow(&mut self, first: &Image, second: &Image) -> Result<Flow, FlowError> {
        self.restart();
        self.push(first)?;
        self.flow_to(second)
    }

    /// The flow from the previous frame to this one; `None` for the first frame.
    ///
    /// # Errors
    /// As [`Dis::flow`]. The previous frame is kept, so another frame may follow it.
    pub fn push(&mut self, frame: &Image) -> Result<Option<Flow>, FlowError> {
        if self.held.is_some() {
            return self.flow_to(frame).map(Some);
        }
        let [finest, coarsest] = self.span(frame)?;
        self.first.build(frame, finest, coarsest, self.border());
        self.held = Some((frame.width(), frame.height()));
        Ok(None)
    }

    /// Forgets the previous frame: the next one is the first of another video.
    pub fn restart(&mut self) {
        self.held = None;
    }

    /// The flow from the held frame to `second`, which is held afterwards.
    fn flow_to(&mut self, second: &Image) -> Result<Flow, FlowError> {
        let size = (second.width(), second.height());
        if let Some(first) = self.held.filter(|&first| first != size) {
            return Err(FlowError::Sizes { what: "the two images", first, second: size });
        }
        let span = self.span(second)?;
        let (u, v) = self.estimate(second, span);
        std::mem::swap(&mut self.first, &mut self.second);
        Flow::new(size.0, size.1, u, v)
    }

    /// The flow to `second`, by the widest vectors of the processor. All kinds of vectors have the same
    /// values in the same order, and no multiplication is fused with an addition, so the flow is the
    /// same on every machine.
    fn estimate(&mut self, second: &Image, span: [u32; 2]) -> (Vec<f32>, Vec<f32>) {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2, the only requirement of the function.
            return unsafe { self.estimate_avx2(second, span) };
        }
        self.estimate_by::<Portable>(second, span)
    }

    /// [`Self::estimate_by`] of AVX2's vectors, compiled for them throughout.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn estimate_avx2(&mut self, second: &Image, span: [u32; 2]) -> (Vec<f32>, Vec<f32>) {
        self.estimate_by::<Avx2>(second, span)
    }

    // Always inlined, as are all functions that it calls, so that each of the two functions above
    // compiles it for its own vectors.
    #[inline(always)]
    fn estimate_by<V: Lanes>(&mut self, second: &Image, [finest, coarsest]: [u32; 2]) -> (Vec<f32>, Vec<f32>) {
        self.second.build(second, finest, coarsest, self.border());
        self.first.differentiate();
        self.scales.run::<V>(&self.dis, &self.first, &self.second, finest, (second.width(), second.height()))
    }

    /// Width of the border: room for a patch beside the image, with the rest of its last vector and the
    /// next pixel, which interpolation reads.
    fn border(&self) -> usize {
        self.dis.patch_size.next_multiple_of(LANES) + 1
    }

    /// The finest and the coarsest scale for an image.
    fn span(&self, image: &Image) -> Result<[u32; 2], FlowError> {
        let (width, height) = (image.width(), image.height());
        let (finest, size) = (self.dis.finest_scale, self.dis.patch_size);
        let fits = |scale: u32| width.min(height).div_ceil(1 << scale) >= size;
        if !fits(finest) {
            return Err(FlowError::TooSmall { width, height, least: ((size - 1) << finest) + 1 });
        }
        let wanted = self.dis.coarsest_scale.unwrap_or_else(|| self.dis.coarsest_scale_for(width, height));
        let coarsest = (finest..=wanted.max(finest)).rev().find(|&scale| fits(scale)).unwrap_or(finest);
        Ok([finest, coarsest])
    }
}

impl Scales {
    /// From the coarsest scale to the finest, and on to the `size` of the images.
    #[inline(always)]
    fn run<V: Lanes>(
        &mut self,
        dis: &Dis,
        first: &Pyramid,
        second: &Pyramid,
        finest: u32,
        size: (usize, usize),
    ) -> (Vec<f32>, Vec<f32>) {
        let Self { grid, refiner, flow, coarse, weights } = self;
        let mut before = None;
        for (first, second) in first.levels.iter().zip(&second.levels).rev() {
            let (width, height) = (first.width, first.height);
            for (coarse, flow) in coarse.iter_mut().zip(flow.iter_mut()) {
                coarse.resize(width * height, 0.0);
                match before {
                    None => coarse.fill(0.0),
                    Some(before) => double(flow, before, coarse, (width, height)),
                }
                // Vectors may reach past the last pixel.
                flow.resize(width * height + LANES, 0.0);
            }
            weights.resize(width * height + LANES, 0.0);
            grid.lay_out(width, height, dis.patch_size, dis.patch_stride);
            grid.search::<V>(dis, first, second, coarse.each_ref().map(Vec::as_slice));
            let [u, v] = flow;
            densify::<V>(grid, dis.patch_size, first, second, [u, v], weights);
            if dis.variational_refinement_iterations > 0 {
                refiner.refine(dis, first, second, [u, v]);
            }
            before = Some((width, height));
        }
        for scale in (0..finest).rev() {
            let smaller = (size.0.div_ceil(2 << scale), size.1.div_ceil(2 << scale));
            let larger = (size.0.div_ceil(1 << scale), size.1.div_ceil(1 << scale));
            for (coarse, flow) in coarse.iter_mut().zip(flow.iter_mut()) {
                coarse.resize(larger.0 * larger.1, 0.0);
                double(flow, smaller, coarse, larger);
                std::mem::swap(coarse, flow);
            }
        }
        let [u, v] = flow.each_ref().map(|component| component[..size.0 * size.1].to_vec());
        (u, v)
    }
}

/// Enlarges one component of the flow to the next finer scale: bilinear interpolation between the
/// centres of pixels, and twice the displacement, because pixels are half as long there.
#[inline(always)]
fn double(from: &[f32], (width, height): (usize, usize), to: &mut [f32], (to_width, to_height): (usize, usize)) {
    // A centre of the finer scale lies a quarter of a coarse pixel off a coarse centre: 3/4 and
    // 1/4, times two.
    let mut between = vec![0.0; width + 2];
    for y in 0..to_height {
        let near = &from[(y / 2) * width..][..width];
        let far = if y % 2 == 0 { (y / 2).saturating_sub(1) } else { (y / 2 + 1).min(height - 1) };
        let far = &from[far * width..][..width];
        for ((value, near), far) in between[1..=width].iter_mut().zip(near).zip(far) {
            *value = 1.5 * near + 0.5 * far;
        }
        (between[0], between[width + 1]) = (between[1], between[width]);
        let row = &mut to[y * to_width..][..to_width];
        for (pair, values) in row.chunks_exact_mut(2).zip(between.windows(3)) {
            pair[0] = 0.75 * values[1] + 0.25 * values[0];
            pair[1] = 0.75 * values[1] + 0.25 * values[2];
        }
        if to_width % 2 == 1 {
            row[to_width - 1] = 0.75 * between[width] + 0.25 * between[width - 1];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubling_interpolates_between_centres() {
        // Centres of the finer row lie at -1/4, 1/4, 3/4, ... of the coarse one: 4 3/4 + 8/4 = 5
        // and so on, times two.
        let mut fine = [0.0; 4];
        double(&[4.0, 8.0], (2, 1), &mut fine, (4, 1));
        assert_eq!(fine, [8.0, 10.0, 14.0, 16.0]);
        let mut odd = [0.0; 9];
        double(&[4.0, 8.0, 4.0, 8.0], (2, 2), &mut odd, (3, 3));
        assert_eq!(odd, [8.0, 10.0, 14.0, 8.0, 10.0, 14.0, 8.0, 10.0, 14.0]);
    }

    #[test]
    fn every_processor_finds_the_same_flow() {
        let image = |shift: usize| {
            let pixels = (0..61 * 47).map(|i| (((i + shift) * 2654435761) >> 7) % 251).map(|value| value as f32);
            Image::new(61, 47, pixels.collect()).unwrap()
        };
        for dis in [Dis::medium(), Dis { finest_scale: 0, patch_size: 11, ..Dis::fast() }] {
            let mut workspace = DisWorkspace::new(dis.clone()).unwrap();
            workspace.push(&image(0)).unwrap();
            let second = image(1);
            let span = workspace.span(&second).unwrap();
            let portable = workspace.estimate_by::<Portable>(&second, span);
            let dispatched = dis.flow(&image(0), &second).unwrap();
            assert!(portable == (dispatched.u, dispatched.v));
        }
    }
}
