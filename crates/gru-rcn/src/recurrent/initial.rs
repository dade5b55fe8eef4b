//! Initial values of fused weights, drawn gate by gate.

use burn::module::{Param, ParamId};
use burn::nn::Initializer;
use burn::tensor::{Device, Distribution, Shape, Tensor, TensorData};
use nalgebra::DMatrix;

/// Rows of the largest block whose orthogonal weights Burn draws itself, on the CPU. Its QR
/// decomposition takes one tensor operation after another for every row: [512, 4608] takes minutes.
/// Blocks of up to this size keep the bits that Burn gives them there. On wgpu, Burn 0.22.1 gives
/// rows that are not orthogonal, off by 0.1 to 2 in blocks of 8 and 16 rows.
const BURN_ROWS: usize = 64;

#[cfg(feature = "flex")]
fn on_cpu(device: &Device) -> bool {
    *device == Device::flex()
}

#[cfg(not(feature = "flex"))]
fn on_cpu(_: &Device) -> bool {
    false
}

/// A convolution weight `[gates * out, in, kernel, kernel]` whose `gates` blocks are drawn one by
/// one, each as the weight `[out, in, kernel, kernel]` of a convolution of its own: fusing gates
/// into one convolution must not change the distribution that they are drawn from.
pub(super) fn fused(
    initializer: Initializer,
    gates: usize,
    [out, input, kernel]: [usize; 3],
    device: &Device,
) -> Param<Tensor<4>> {
    drawn_when_used([gates * out, input, kernel, kernel], device, move |device| {
        let blocks = (0..gates).map(|_| block(&initializer, [out, input, kernel, kernel], device)).collect();
        Tensor::cat(blocks, 0)
    })
}

/// A matrix `[rows, blocks * columns]` whose blocks are drawn one by one, each as the authors of the
/// soft-attention LSTM draw theirs: a square one orthogonal, any other from N(0, 0.01²).
pub(crate) fn square_orthogonal([rows, columns]: [usize; 2], blocks: usize, device: &Device) -> Param<Tensor<2>> {
    let initializer = match rows == columns {
        true => Initializer::Orthogonal { gain: 1.0 },
        false => Initializer::Normal { mean: 0.0, std: 0.01 },
    };
    drawn_when_used([rows, blocks * columns], device, move |device| {
        let draw = |_| block(&initializer, [rows, columns, 1, 1], device).reshape([rows, columns]);
        Tensor::cat((0..blocks).map(draw).collect(), 1)
    })
}

/// A parameter that is drawn when its value is first asked for, as Burn's own are.
fn drawn_when_used<const D: usize>(
    shape: [usize; D],
    device: &Device,
    draw: impl FnOnce(&Device) -> Tensor<D> + Send + Sync + 'static,
) -> Param<Tensor<D>> {
    let init = move |device: &Device, require_grad| {
        // Detached: a parameter must be a leaf of the autodiff graph.
        let weight = draw(device).detach();
        if require_grad { weight.require_grad() } else { weight }
    };
    Param::uninitialized(ParamId::new(), init, device.clone(), true, Shape::new(shape))
}

/// The weights of one gate.
fn block(initializer: &Initializer, shape: [usize; 4], device: &Device) -> Tensor<4> {
    let [out, input, height, width] = shape;
    match initializer {
        Initializer::Orthogonal { gain } if (out > BURN_ROWS || !on_cpu(device)) && out <= input * height * width => {
            let normal = Tensor::<2>::random([out, input * height * width], Distribution::Normal(0.0, 1.0), device);
            let (dtype, values) = (normal.dtype(), normal.into_data().convert::<f64>().try_into_vec::<f64>());
            let rows = orthonormal_rows(values.expect("values were converted to float64"), out);
            Tensor::from_data(TensorData::new(rows, shape), (device, dtype)) * *gain
        }
        _ => {
            let (fan_in, fan_out) = (input * height * width, out * height * width);
            initializer.init_with::<4, _>(shape, Some(fan_in), Some(fan_out), device).val()
        }
    }
}

/// Orthonormalises the rows of a row-major matrix with no more rows than columns. Of normal values
/// it makes a draw from the uniform distribution over all such matrices (Saxe et al. 2013): the Q
/// of the QR decomposition whose R has a positive diagonal, as nalgebra's has.
fn orthonormal_rows(values: Vec<f64>, rows: usize) -> Vec<f64> {
    // Rows of a row-major matrix are the columns of nalgebra's column-major one.
    DMatrix::from_vec(values.len() / rows, rows, values).qr().q().data.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{device, difference, values};

    fn assert_orthonormal(weight: Tensor<4>) {
        let [out, ..] = weight.dims();
        let rows = weight.flatten::<2>(1, 3);
        assert!(difference(rows.clone().matmul(rows.transpose()), Tensor::eye(out, &device())) < 1e-5);
    }

    /// The least size that Burn does not draw itself, and the greatest that it does, with 3x3 and
    /// 1x1 kernels. The gain is a factor.
    #[test]
    fn rows_are_orthonormal_on_both_paths() {
        for (out, kernel) in [(BURN_ROWS, 3), (BURN_ROWS + 1, 3), (BURN_ROWS, 1), (BURN_ROWS + 1, 1), (128, 3)] {
            let orthogonal = Initializer::Orthogonal { gain: 2.0 };
            assert_orthonormal(block(&orthogonal, [out, out, kernel, kernel], &device()) / 2.0);
        }
    }

    /// Two blocks beside each other, each orthogonal of its own draw; or not square, of the standard
    /// deviation 0.01 within a tenth (six standard errors of 2,000 draws are 9.5 %).
    #[test]
    fn square_blocks_are_orthogonal() {
        let fused = square_orthogonal([6, 6], 2, &device()).val();
        let [left, right] = [0, 6].map(|at| fused.clone().narrow(1, at, 6));
        for block in [left.clone(), right.clone()] {
            assert!(difference(block.clone().matmul(block.transpose()), Tensor::eye(6, &device())) < 1e-5);
        }
        assert!(difference(left, right) > 0.1);
        let oblong = square_orthogonal([20, 50], 2, &device()).val();
        assert_eq!(oblong.dims(), [20, 100]);
        let deviation = oblong.square().mean().sqrt().into_scalar::<f32>();
        assert!((0.009..0.011).contains(&deviation), "{deviation}");
    }

    /// The draw is a lower triangle with a positive diagonal times the result, which makes the
    /// result unique.
    #[test]
    fn the_decomposition_is_the_unique_one() {
        let device = device();
        for shape in [[32, 32, 3, 3], [48, 48, 1, 1]] {
            let [out, input, height, width] = shape;
            let normal = values(7, out * input * height * width);
            let found = orthonormal_rows(normal.clone(), out);
            assert_eq!(found, orthonormal_rows(normal.clone(), out));
            let found = Tensor::<2>::from_data(TensorData::new(found, [out, input * height * width]), &device);
            let draw = Tensor::<2>::from_data(TensorData::new(normal, [out, input * height * width]), &device);
            let triangle = draw.matmul(found.transpose());
            assert!(triangle.clone().triu(1).abs().max().into_scalar::<f32>() < 1e-4);
            assert!((triangle * Tensor::eye(out, &device)).sum_dim(1).min().into_scalar::<f32>() > 0.0);
        }
    }
}
