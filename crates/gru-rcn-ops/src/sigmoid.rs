//! Sigmoid and hyperbolic tangent of vectors.

use pulp::Simd;

/// `expm1(r)` and `2^n` with `x = n ln 2 + r`, |r| at most half of ln 2, so that `exp(x)` is
/// `2^n (1 + expm1(r))`. For x between -87 and 88.
#[inline(always)]
fn split_exp<S: Simd>(simd: S, x: S::f32s) -> [S::f32s; 2] {
    let splat = |value: f32| simd.splat_f32s(value);
    // Added to a number below 2^22 it leaves the nearest integer in the last bits.
    let magic = splat(12_582_912.0);
    let shifted = simd.mul_add_e_f32s(x, splat(std::f32::consts::LOG2_E), magic);
    let n = simd.sub_f32s(shifted, magic);
    // ln 2 in two parts, the first of few bits.
    let r = simd.mul_add_e_f32s(n, splat(-0.693_359_4), x);
    let r = simd.mul_add_e_f32s(n, splat(2.121_944_4e-4), r);
    let bits = simd.add_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(127));
    let power = simd.transmute_f32s_u32s(simd.wrapping_dyn_shl_u32s(bits, simd.splat_u32s(23)));
    // Coefficients of Cephes' expf.
    let mut series = splat(1.987_569_1e-4);
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        series = simd.mul_add_e_f32s(series, r, splat(coefficient));
    }
    [simd.mul_add_e_f32s(simd.mul_f32s(r, r), series, r), power]
}

/// `1 / (1 + exp(-x))`, within 2e-7 of the exact value relative to it for x above -87; not below
/// 1e-38. NaN stays NaN.
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    // The second operand wins where one is NaN.
    let x = simd.max_f32s(simd.splat_f32s(-87.0), simd.min_f32s(simd.splat_f32s(87.0), x));
    let [rest, power] = split_exp(simd, simd.neg_f32s(x));
    let one = simd.splat_f32s(1.0);
    simd.div_f32s(one, simd.add_f32s(one, simd.mul_add_e_f32s(power, rest, power)))
}

/// Hyperbolic tangent, within 2e-7 of the exact value relative to it. NaN stays NaN.
#[inline(always)]
pub(crate) fn tanh<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    // From 9.1 on the nearest number is 1.
    let x = simd.max_f32s(simd.splat_f32s(-10.0), simd.min_f32s(simd.splat_f32s(10.0), x));
    // With t = expm1(2x) it is t / (t + 2); 1 is taken off before the sum, so that nothing is lost
    // near 0.
    let [rest, power] = split_exp(simd, simd.add_f32s(x, x));
    let t = simd.mul_add_e_f32s(power, rest, simd.sub_f32s(power, simd.splat_f32s(1.0)));
    simd.div_f32s(t, simd.add_f32s(t, simd.splat_f32s(2.0)))
}

#[cfg(test)]
mod tests {
    use pulp::{Arch, WithSimd};

    use super::*;
    use crate::simd::{load, store};

    struct Both<'a>(&'a mut [[f32; 2]]);

    impl WithSimd for Both<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            for pair in self.0.chunks_mut(S::F32_LANES) {
                let x: Vec<f32> = pair.iter().map(|pair| pair[0]).collect();
                let x = load(simd, &x, x.len());
                let mut found = [[0.0; 64]; 2];
                store(simd, &mut found[0], S::F32_LANES, sigmoid(simd, x));
                store(simd, &mut found[1], S::F32_LANES, tanh(simd, x));
                for (i, pair) in pair.iter_mut().enumerate() {
                    *pair = [found[0][i], found[1][i]];
                }
            }
        }
    }

    #[test]
    fn are_exact_to_a_few_units_in_the_last_place() {
        let steps = if cfg!(debug_assertions) { 20_000 } else { 2_000_000 };
        let mut points: Vec<f32> = (0..=steps).map(|i| (i as f32 / steps as f32 - 0.5) * 172.0).collect();
        points.extend((0..=steps).map(|i| (i as f32 / steps as f32 - 0.5) * 4.0));
        points.extend((0..=120).map(|i| 2.0_f32.powi(-i)));
        let mut values: Vec<[f32; 2]> = points.iter().map(|&x| [x; 2]).collect();
        Arch::new().dispatch(Both(&mut values));
        let mut worst = [0.0_f64; 2];
        for (&x, found) in points.iter().zip(&values) {
            let x = f64::from(x);
            let exact = [1.0 / (1.0 + (-x).exp()), x.tanh()];
            for i in 0..2 {
                let scale = exact[i].abs().max(1e-37);
                worst[i] = worst[i].max((f64::from(found[i]) - exact[i]).abs() / scale);
            }
        }
        assert!(worst[0] < 2e-7 && worst[1] < 2e-7, "{worst:?}");
    }

    #[test]
    fn saturate_and_pass_nan() {
        let mut values = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0].map(|x| [x; 2]);
        Arch::new().dispatch(Both(&mut values));
        assert!(values[0].iter().all(|x| x.is_nan()), "{values:?}");
        assert_eq!(values[1], [1.0, 1.0]);
        assert!(values[2][0] < 1e-37 && values[2][1] == -1.0, "{values:?}");
        assert_eq!(values[3], [0.5, 0.0]);
    }
}
