//! Flow fields.

use crate::error::FlowError;
use crate::image::check;

/// A dense displacement field: the pixel `(x, y)` of the first image is found at `(x + u, y + v)`
/// in the second.
///
/// Pixels; `u` grows to the right, `v` downwards.
#[derive(Clone, Debug, PartialEq)]
pub struct Flow {
    width: usize,
    height: usize,
    /// Horizontal displacements, row after row.
    pub u: Vec<f32>,
    /// Vertical displacements, row after row.
    pub v: Vec<f32>,
}

impl Flow {
    /// A field from its two components.
    ///
    /// # Errors
    /// [`FlowError::Length`] if a component does not have `width * height` values.
    pub fn new(width: usize, height: usize, u: Vec<f32>, v: Vec<f32>) -> Result<Self, FlowError> {
        let flow = Self { width, height, u, v };
        flow.check()?;
        Ok(flow)
    }

    /// Checks the lengths of the components again: they are public, so callers may have changed them.
    pub(crate) fn check(&self) -> Result<(), FlowError> {
        check(self.width, self.height, 1, "the horizontal flow", self.u.len())?;
        check(self.width, self.height, 1, "the vertical flow", self.v.len())
    }

    /// No motion anywhere.
    pub fn zero(width: usize, height: usize) -> Self {
        Self { width, height, u: vec![0.0; width * height], v: vec![0.0; width * height] }
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Average endpoint error against the truth, in pixels, over the pixels whose true flow is known;
    /// `None` if there are none. Unknown flow is above 1e9, as Middlebury marks it, or not finite.
    ///
    /// # Errors
    /// [`FlowError::Sizes`] if the two differ in size, [`FlowError::Length`] if the length of a component
    /// was changed.
    pub fn endpoint_error(&self, truth: &Flow) -> Result<Option<f64>, FlowError> {
        self.check()?;
        truth.check()?;
        if (self.width, self.height) != (truth.width, truth.height) {
            return Err(FlowError::Sizes {
                what: "the flow and its truth",
                first: (self.width, self.height),
                second: (truth.width, truth.height),
            });
        }
        let known = |value: f32| value.abs() < 1e9; // false for NaN
        let mut sum = 0.0;
        let mut count = 0u64;
        for i in 0..self.u.len() {
            if known(truth.u[i]) && known(truth.v[i]) {
                let (du, dv) = (f64::from(self.u[i] - truth.u[i]), f64::from(self.v[i] - truth.v[i]));
                sum += du.hypot(dv);
                count += 1;
            }
        }
        Ok((count > 0).then(|| sum / count as f64))
    }
}
