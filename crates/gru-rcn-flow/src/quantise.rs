//! Coding of flow with one byte per value.
//!
//! The interval from `−bound` to `bound` has 256 codes. In exact arithmetic, which is rounded once:
//!
//! ```text
//! code(v)  = clamp(⌊255 · (v + bound) / (2 · bound) + ½⌋, 0, 255)      halves are rounded up
//! value(c) = c · 2 · bound / 255 − bound
//! ```
//!
//! - **No motion is code 128.** 0 lies midway between the codes 127 and 128, at 127.5, and halves are
//!   rounded up, so it becomes 128 for any bound. Training on flow images subtracts 128 as the mean,
//!   which makes no motion exactly 0. Decoding inverts the scale but not the rounding: `value(128)` is
//!   `bound / 255`, half a step.
//! - **The error** of `value(code(v))` is at most half a step, `bound / 255`, for `|v| ≤ bound`:
//!   0.0784 pixels for 20. Beyond the bound the value saturates.
//! - **A mirrored image** has the horizontal flow of opposite sign, and `255 − c` is its code,
//!   because `value(255 − c) = −value(c)`. It equals the code of `−v` except where `v` lies midway
//!   between two codes, as 0 does: its mirrored code is 127.
//! - **NaN** has the code of no motion. Infinities and Middlebury's unknown flow, above 1e9,
//!   saturate.

use crate::error::{FlowError, ensure};

/// The code of no motion.
pub const ZERO: u8 = 128;

/// The linear coding of displacements by bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FlowCoding {
    bound: f32,
}

impl Default for FlowCoding {
    /// A bound of 20 pixels, usual for two-stream networks.
    fn default() -> Self {
        Self { bound: 20.0 }
    }
}

impl FlowCoding {
    /// The coding of displacements from `−bound` to `bound` pixels.
    ///
    /// # Errors
    /// [`FlowError::Setting`] unless the bound is a finite number above 0.
    pub fn new(bound: f32) -> Result<Self, FlowError> {
        ensure(bound > 0.0 && bound.is_finite(), "bound", bound, "must be finite and above 0")?;
        Ok(Self { bound })
    }

    /// The largest displacement, in pixels.
    pub fn bound(&self) -> f32 {
        self.bound
    }

    /// The codes of displacements in pixels.
    pub fn encode(&self, values: &[f32]) -> Vec<u8> {
        // f64 is exact enough that only true halves are rounded as halves.
        let scale = 127.5 / f64::from(self.bound);
        let code = |&value: &f32| {
            if value.is_nan() {
                return ZERO;
            }
            (f64::from(value) * scale + 128.0).floor().clamp(0.0, 255.0) as u8
        };
        values.iter().map(code).collect()
    }

    /// The displacements that codes stand for, in pixels.
    pub fn decode(&self, codes: &[u8]) -> Vec<f32> {
        let bound = f64::from(self.bound);
        codes.iter().map(|&code| (f64::from(code) * 2.0 * bound / 255.0 - bound) as f32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bound 20: 255·(v + 20)/40 is 0 at −20, 255 at 20, 127.5 at 0, and 127.5 + 6.375 = 133.875 at
    /// 1.
    #[test]
    fn encodes_values_derived_by_hand() {
        let coding = FlowCoding::default();
        let values = [-20.0, 20.0, 0.0, -0.0, 1.0, -1.0, 1e-6, -1e-6, 25.0, -25.0];
        assert_eq!(coding.encode(&values), [0, 255, 128, 128, 134, 121, 128, 127, 255, 0]);
        assert_eq!(coding.encode(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.67e9]), [128, 255, 0, 255]);
    }

    /// A step of bound 127.5 is one pixel, so halves are visible: 0.5 is at 128.0, −0.5 at 127.0,
    /// 1.0 at 128.5.
    #[test]
    fn halves_are_rounded_up() {
        let coding = FlowCoding::new(127.5).unwrap();
        assert_eq!(coding.encode(&[0.5, -0.5, 1.0, -1.0]), [128, 127, 129, 127]);
        assert_eq!(coding.decode(&[0, 127, 128, 255]), [-127.5, -0.5, 0.5, 127.5]);
    }

    #[test]
    fn no_motion_is_128_for_any_bound_above_zero() {
        for bound in [f32::MIN_POSITIVE, 0.1, 1.0 / 3.0, 7.3, 15.0, 20.0, 1e30, f32::MAX] {
            assert_eq!(FlowCoding::new(bound).unwrap().encode(&[0.0]), [ZERO]);
        }
        for bound in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert!(FlowCoding::new(bound).is_err(), "{bound}");
        }
    }

    /// Every code decodes to a value that has this code, and its negative to the negative value.
    #[test]
    fn decoding_inverts_encoding() {
        let coding = FlowCoding::new(15.0).unwrap();
        let codes: Vec<u8> = (0..=255).collect();
        let values = coding.decode(&codes);
        assert_eq!(coding.encode(&values), codes);
        // `values` in reverse are those of the codes 255 − c.
        assert!(values.iter().zip(values.iter().rev()).all(|(value, opposite)| (value + opposite).abs() < 1e-5));
    }
}
