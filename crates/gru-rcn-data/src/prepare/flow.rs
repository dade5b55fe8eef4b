//! Optical flow between neighbouring frames, coded as grey images.

use gru_rcn_flow::{Dis, DisWorkspace, Flow, FlowCoding, FlowError, Image, TvL1, TvL1Sequence};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::base::{DataError, named};
use crate::manifest::{FlowFormat, ImageCoding};

/// Algorithm of the optical flow.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum FlowMethod {
    /// Total variation with an L1 data term, the flow of the two-stream literature.
    TvL1,
    /// Dense inverse search, many times faster.
    Dis,
}

named!(FlowMethod, "flow", "it is tvl1, dis or none", TvL1, Dis);

/// How flow is computed and stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FlowOptions {
    /// The algorithm, with its default parameters, which the manifest records.
    pub method: FlowMethod,
    /// Displacement in pixels of the largest code; larger ones are clipped. Default 20.
    pub bound: f32,
    /// How the coded fields are stored.
    pub image: ImageCoding,
}

impl FlowOptions {
    /// The usual bound of 20 pixels and JPEG of quality 95.
    pub fn new(method: FlowMethod) -> Self {
        Self { method, bound: 20.0, image: ImageCoding::Jpeg { quality: 95 } }
    }
}

/// A number as it is written: 0.15, not the f64 value of the nearest f32.
fn number(value: f32) -> Value {
    value.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}

/// The fields of `$settings` by name. The destructuring fails to compile if a field is not listed, so
/// none can be forgotten.
macro_rules! parameters {
    ($settings:expr, $type:ident, [$($number:ident),*], [$($plain:ident),*]) => {{
        let $type { $($number,)* $($plain),* } = $settings;
        let numbers = [$((stringify!($number), number($number))),*];
        let all = numbers.into_iter().chain([$((stringify!($plain), json!($plain))),*]);
        all.map(|(name, value)| (name.to_owned(), value)).collect()
    }};
}

/// Computes and codes flow with one set of options.
pub(crate) struct FlowMaker {
    coding: FlowCoding,
    pub(crate) options: FlowOptions,
}

/// Computes the flow of the frames of one video, one after another. Work shared by neighbouring pairs
/// is done once.
pub(crate) enum FlowRun {
    TvL1(Box<TvL1Sequence>),
    Dis(Box<DisWorkspace>),
}

impl FlowMaker {
    pub(crate) fn new(options: FlowOptions) -> Result<Self, DataError> {
        let reason = "it is a positive number of pixels";
        let coding = FlowCoding::new(options.bound).map_err(|_| DataError::setting("bound", options.bound, reason))?;
        Ok(Self { coding, options })
    }

    pub(crate) fn start(&self) -> Result<FlowRun, FlowError> {
        Ok(match self.options.method {
            FlowMethod::TvL1 => FlowRun::TvL1(Box::new(TvL1::default().sequence()?)),
            FlowMethod::Dis => FlowRun::Dis(Box::new(DisWorkspace::new(Dis::medium())?)),
        })
    }

    pub(crate) fn format(&self) -> FlowFormat {
        FlowFormat {
            algorithm: self.options.method.to_string(),
            parameters: match self.options.method {
                FlowMethod::TvL1 => parameters!(
                    TvL1::default(),
                    TvL1,
                    [tau, lambda, theta],
                    [scales, warps, epsilon, inner_iterations, outer_iterations, scale_step, median_filtering]
                ),
                FlowMethod::Dis => parameters!(
                    Dis::medium(),
                    Dis,
                    [
                        variational_refinement_alpha,
                        variational_refinement_delta,
                        variational_refinement_gamma,
                        variational_refinement_epsilon
                    ],
                    [
                        finest_scale,
                        coarsest_scale,
                        patch_size,
                        patch_stride,
                        gradient_descent_iterations,
                        variational_refinement_iterations,
                        use_mean_normalization,
                        use_spatial_propagation
                    ]
                ),
            },
            bound: self.coding.bound(),
            coding: CODING.to_owned(),
            image: self.options.image,
        }
    }
}

impl FlowRun {
    /// The coded flow from the previous frame to this one, horizontal and vertical; `None` for the
    /// first frame.
    pub(crate) fn push(&mut self, frame: &Image, maker: &FlowMaker) -> Result<Option<[Vec<u8>; 2]>, FlowError> {
        let code = |flow: &Flow| [&flow.u, &flow.v].map(|values| maker.coding.encode(values));
        Ok(match self {
            Self::TvL1(sequence) => sequence.push(frame)?.map(code),
            Self::Dis(workspace) => workspace.push(frame)?.as_ref().map(code),
        })
    }
}

/// The rule of [`FlowCoding`], for readers of the manifest.
const CODING: &str = "code = clamp(floor(255 * (v + bound) / (2 * bound) + 0.5), 0, 255); no motion is 128";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_is_named() {
        for method in [FlowMethod::TvL1, FlowMethod::Dis] {
            let format = FlowMaker::new(FlowOptions::new(method)).unwrap().format();
            assert_eq!(format.algorithm.parse::<FlowMethod>().unwrap(), method);
            assert!(format.parameters.len() >= 10 && format.bound == 20.0);
        }
        let format = FlowMaker::new(FlowOptions::new(FlowMethod::TvL1)).unwrap().format();
        assert_eq!(format.parameters["lambda"].to_string(), "0.15");
        for bound in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let error = FlowMaker::new(FlowOptions { bound, ..FlowOptions::new(FlowMethod::Dis) }).err().unwrap();
            assert!(error.to_string().contains("`bound`"), "{error}");
        }
    }

    // A smooth picture moved by two pixels to the right: with a bound of 4 pixels the code of 2 is
    // floor(255 · 6 / 8 + ½) = 191, and that of no motion is 128.
    #[test]
    fn motion_to_the_right_is_bright_in_x() {
        let picture = |shift: usize| {
            let value = |x: usize, y: usize| {
                128.0 + 60.0 * ((x + 64 - shift) as f32 * 0.35).sin() + 50.0 * ((y as f32) * 0.3).cos()
            };
            Image::new(64, 48, (0..64 * 48).map(|i| value(i % 64, i / 64)).collect()).unwrap()
        };
        for method in [FlowMethod::TvL1, FlowMethod::Dis] {
            let maker = FlowMaker::new(FlowOptions { bound: 4.0, ..FlowOptions::new(method) }).unwrap();
            let mut run = maker.start().unwrap();
            assert!(run.push(&picture(0), &maker).unwrap().is_none());
            let [x, y] = run.push(&picture(2), &maker).unwrap().unwrap();
            let middle = 24 * 64 + 32;
            let codes = [x[middle], y[middle]];
            assert!(codes[0].abs_diff(191) < 12 && codes[1].abs_diff(128) < 12, "{method} {codes:?}");
        }
    }
}
