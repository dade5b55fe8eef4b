//! The processor's peak: multiply-adds on registers alone.

use std::hint::black_box;

use pulp::{Arch, Simd, WithSimd};

use crate::timing::measure;

/// More than the latency of a multiply-add times the number that start in a cycle, and few enough
/// for the registers.
const SUMS: usize = 12;
const ROUNDS: usize = 10_000_000;

struct Fma;

impl WithSimd for Fma {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f32 {
        let [x, y] = [0.5, 1.0].map(|value| simd.splat_f32s(black_box(value)));
        let mut sums = [y; SUMS];
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = simd.mul_add_f32s(*sum, x, y);
            }
        }
        sums.into_iter().map(|sum| simd.reduce_sum_f32s(sum)).sum()
    }
}

/// All threads at once. The number printed is the GFLOP of a repetition.
pub(crate) fn run(seconds: f64) {
    let flop = 2 * rayon::current_num_threads() * ROUNDS * SUMS * gru_rcn_ops::lanes();
    let cost = measure(seconds, || {
        black_box(rayon::broadcast(|_| Arch::new().dispatch(Fma)));
    });
    cost.print("peak", flop as f64 * 1e-9);
}
