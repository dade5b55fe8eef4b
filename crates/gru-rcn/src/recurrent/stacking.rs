//! Fitting a lower level's hidden maps to the level above it.

use burn::tensor::{Tensor, module::max_pool2d, ops::MaxPoolOptions};

/// Max-pools maps to `[height, width]`, "for the compatibility of the spatial dimensions" (section
/// 3.2 of the paper).
///
/// Stride `floor(in / out)`, kernel `in - (out - 1) * stride`: every cell is covered and the size
/// comes out exactly. From 56 to 28 that is 2x2 with stride 2, from 7 to 1 it is 7x7; from
/// SqueezeNet's 11 to 5 it is 3x3 with stride 2.
///
/// # Shapes
///
/// - input: `[batch, channel, height_in, width_in]`
/// - output: `[batch, channel, height, width]`
///
/// # Panics
///
/// If the maps are smaller than that size.
pub fn pool_to(maps: Tensor<4>, [height, width]: [usize; 2]) -> Tensor<4> {
    let [_, _, h, w] = maps.dims();
    assert!(h >= height && w >= width, "maps of {h}x{w} cells cannot be pooled to {height}x{width}");
    if (h, w) == (height, width) {
        return maps;
    }
    let stride = [h / height, w / width];
    let kernel = [h - (height - 1) * stride[0], w - (width - 1) * stride[1]];
    max_pool2d(maps, MaxPoolOptions::new(kernel).with_stride(stride))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::device;
    use burn::tensor::Int;

    /// Rows of 1..=5 pooled to 2 cells: stride 2, kernel 3, so the windows are [1,2,3] and [3,4,5].
    #[test]
    fn five_to_two() {
        let row = Tensor::<1, Int>::arange(1..6, &device()).float().reshape([1, 1, 1, 5]);
        let pooled = pool_to(row, [1, 2]).into_data().try_into_vec::<f32>().unwrap();
        assert_eq!(pooled, [3.0, 5.0]);
    }
}
