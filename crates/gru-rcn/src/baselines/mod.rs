//! The systems that the paper compares GRU-RCN with.
//!
//! Some work on the percepts of the same frozen CNN ([`BaselineModel`]); others are networks of
//! their own on the pixels of a clip ([`PixelBaseline`]). Each is one file with its configuration,
//! its model and one of these two traits, and one line of the table below. A trainer that goes
//! through [`Baseline::ALL`] needs to know no more.
//!
//! Defaults of the configurations are the authors' sizes. Weights are drawn when they are first
//! used, so that a network can be built to count its parameters without the memory for them.

mod c3d;
mod composite_lstm;
mod conv_pooling;
mod error;
mod features;
mod frame;
mod karpathy;
mod linear_svm;
mod lrcn;
mod lstm;
mod lstm_stack;
mod pooling;
mod top_rnn;
mod two_stream;
mod very_deep;

pub use c3d::{C3d, C3dConfig};
pub use composite_lstm::{
    CompositeLstm, CompositeLstmConfig, CompositeOutput, Decoder, LstmClassifier, LstmClassifierConfig, PerceptLstm,
};
pub use conv_pooling::{ConvPooling, ConvPoolingConfig};
pub use error::BaselineError;
use error::no_zeros;
pub use features::{FeatureLayer, FeaturePadding, Features};
pub use frame::{FrameClassifier, FrameClassifierConfig};
pub use karpathy::{EarlyFusion, Fusion, Karpathy, KarpathyConfig, LateFusion, SingleFrame, SlowFusion};
pub use linear_svm::{LinearSvm, LinearSvmConfig};
pub use lrcn::{Lrcn, LrcnConfig};
pub use lstm::{Lstm, LstmConfig, LstmState};
pub use lstm_stack::{LstmStack, LstmStackConfig};
pub use pooling::{
    LatePooling, LocalPooling, PoolingNetwork, PoolingNetworkConfig, SlowPooling, TemporalPooling, TimeConvolution,
    Windows,
};
pub use top_rnn::{TopRnn, TopRnnConfig};
pub use two_stream::{TwoStream, TwoStreamConfig};
pub use very_deep::VeryDeep;

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::backbone::{LayerShape, Pixels};
use crate::classifier::ClipClassifier;
use crate::head::{EnsembleLogits, average_pool};
use crate::input::PixelClips;
use crate::percepts::{Level, PerceptNorm, PerceptNormConfig, PerceptStatistics, Percepts, per_frame};

/// What a baseline on percepts is built from.
#[derive(Clone, Debug)]
pub struct BaselineOptions {
    /// The levels of the backbone, bottom up; at least one.
    pub levels: Vec<Level>,
    /// Time steps of a clip.
    pub time: usize,
    /// Hidden units, for baselines that have some.
    pub hidden: usize,
    /// Number of classes.
    pub num_classes: usize,
    /// Normalisation of the percepts, for baselines that do not have a rule of their own.
    pub norm: PerceptNormConfig,
    /// Drop probability on the classifiers' inputs.
    pub dropout: f64,
}

impl BaselineOptions {
    /// The top level of the backbone.
    fn top(&self) -> Level {
        self.levels.last().expect("a baseline needs a level").clone()
    }
}

/// A baseline on percepts, as a trainer sees it.
pub trait BaselineModel: ClipClassifier<Input = Percepts> + 'static {
    /// Display name.
    const NAME: &'static str;

    /// A few words on what it is, to follow the name.
    const ABOUT: &'static str;

    /// The percepts that its normalisation is measured on; by default the top level.
    fn measured(percepts: Percepts) -> Percepts {
        Percepts { maps: vec![percepts.top()] }
    }

    /// A model with freshly drawn weights whose normalisation fits `statistics` of what
    /// [`measured`](Self::measured) returns.
    fn init_fitted(options: &BaselineOptions, statistics: &PerceptStatistics, device: &Device) -> Self;
}

/// What a baseline on pixels is built from.
#[derive(Clone, Debug)]
pub struct PixelOptions {
    /// Number of classes.
    pub num_classes: usize,
    /// Channels of a time step: 3 for RGB, 20 for a stack of ten flow fields.
    pub in_channels: usize,
    /// Time steps of a clip.
    pub frames: usize,
    /// Height and width of a frame, pixels.
    pub input_size: [usize; 2],
    /// Factor of all channels and units; 1 for the authors' network.
    pub width: f64,
    /// Drop probability wherever the network drops; the authors' if not given.
    pub dropout: Option<f64>,
}

/// A baseline on the pixels of a clip, as a trainer sees it.
pub trait PixelBaseline: ClipClassifier<Input = PixelClips> + 'static {
    /// Display name.
    const NAME: &'static str;

    /// A few words on what it is, to follow the name.
    const ABOUT: &'static str;

    /// The normalisation of 8-bit pixels that it is trained with.
    fn pixels(channels: usize) -> Pixels {
        Pixels::symmetric(channels)
    }

    /// A model with freshly drawn weights.
    ///
    /// # Errors
    ///
    /// If the network cannot take clips of these sizes.
    fn from_options(options: &PixelOptions, device: &Device) -> Result<Self, BaselineError>;

    /// The layers of the same model for a whole clip, from input to classifier, for an estimate of
    /// memory or cost. Channels of all steps of a clip are counted together.
    ///
    /// # Errors
    ///
    /// As [`from_options`](Self::from_options).
    fn layers(options: &PixelOptions) -> Result<Vec<LayerShape>, BaselineError>;
}

/// An operation on the model of a baseline that is chosen at run time.
pub trait BaselineVisitor: Sized {
    /// Result of the operation.
    type Output;

    /// Called with the model of a baseline on percepts.
    fn visit<M: BaselineModel>(self) -> Self::Output;

    /// Called with the model of a baseline on pixels.
    fn visit_pixels<M: PixelBaseline>(self) -> Self::Output;
}

macro_rules! takes_pixels {
    (visit) => {
        false
    };
    (visit_pixels) => {
        true
    };
}

macro_rules! baselines {
    ($($(#[$doc:meta])* $name:ident $key:literal $visit:ident $model:ident,)*) => {
        /// The baselines by name.
        #[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Baseline {
            $($(#[$doc])* #[serde(rename = $key)] $name,)*
        }

        impl Baseline {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name in recipes and files, such as `top_rnn`.
            pub fn key(self) -> &'static str {
                match self { $(Self::$name => $key,)* }
            }

            /// Display name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $model::NAME,)* }
            }

            /// A few words on what it is, to follow the name.
            pub fn about(self) -> &'static str {
                match self { $(Self::$name => $model::ABOUT,)* }
            }

            /// Whether it sees pixels instead of percepts.
            pub fn takes_pixels(self) -> bool {
                match self { $(Self::$name => takes_pixels!($visit),)* }
            }

            /// Calls the visitor with the model of this baseline.
            pub fn visit<V: BaselineVisitor>(self, visitor: V) -> V::Output {
                match self { $(Self::$name => visitor.$visit::<$model>(),)* }
            }
        }
    };
}

// `visit` for a `BaselineModel`, `visit_pixels` for a `PixelBaseline`.
baselines! {
    /// Every frame on its own.
    Frame "frame" visit FrameClassifier,
    /// A fully connected GRU on the pooled top level.
    TopRnn "top_rnn" visit TopRnn,
    /// The maximum over time of the top level, then fully connected layers.
    ConvPooling "conv_pooling" visit ConvPooling,
    /// Fully connected layers on the top level of every frame, then the maximum over time.
    LatePooling "late_pooling" visit LatePooling,
    /// The maximum over windows, and over all of them after a fully connected layer.
    SlowPooling "slow_pooling" visit SlowPooling,
    /// The maximum over windows, classified side by side.
    LocalPooling "local_pooling" visit LocalPooling,
    /// A convolution over space and time on the top level, then the maximum over time.
    TimeConvolution "time_convolution" visit TimeConvolution,
    /// Five layers of LSTMs on the pooled top level.
    LstmStack "lstm_stack" visit LstmStack,
    /// Two layers of LSTMs on the pooled top level.
    LstmClassifier "lstm_classifier" visit LstmClassifier,
    /// CNN-M-2048 on single frames or stacks of flow.
    TwoStream "two_stream" visit_pixels TwoStream,
    /// VGG-16 on single frames or stacks of flow.
    VeryDeep "very_deep" visit_pixels VeryDeep,
    /// A CNN and an LSTM.
    Lrcn "lrcn" visit_pixels Lrcn,
    /// The network of Karpathy et al. on single frames.
    SingleFrame "single_frame" visit_pixels SingleFrame,
    /// The same on all frames at once.
    EarlyFusion "early_fusion" visit_pixels EarlyFusion,
    /// Two of them, on the first and the last frame.
    LateFusion "late_fusion" visit_pixels LateFusion,
    /// The same with first layers that extend in time.
    SlowFusion "slow_fusion" visit_pixels SlowFusion,
    /// Convolutions over space and time.
    C3d "c3d" visit_pixels C3d,
}

/// The top level averaged over its cells, of shape `[batch, time, channel, 1, 1]`.
fn pooled_top(percepts: Percepts) -> Percepts {
    let pooled = per_frame(percepts.top(), |maps| average_pool(maps).unsqueeze_dims(&[2, 3]));
    Percepts { maps: vec![pooled] }
}

/// The top level averaged over its cells and normalised, `[batch, time, channel]`.
fn pooled_vectors(norm: &PerceptNorm, percepts: Percepts) -> Tensor<3> {
    norm.forward(pooled_top(percepts)).top().flatten(2, 4)
}

/// Logits of every time step, `[batch, time, class]`, as an ensemble of the steps.
fn step_members(logits: Tensor<3>) -> EnsembleLogits {
    EnsembleLogits::new(logits.swap_dims(0, 1))
}

/// Logits of a classifier of single frames, for all frames of clips.
fn each_frame(clips: PixelClips, classify: impl FnOnce(Tensor<4>) -> Tensor<2>) -> EnsembleLogits {
    let [batch, time, channels, height, width] = clips.pixels.dims();
    let logits = classify(clips.pixels.reshape([batch * time, channels, height, width]));
    let classes = logits.dims()[1];
    step_members(logits.reshape([batch, time, classes]))
}

/// A number of channels or units times a factor: even, so that it can be divided into two groups,
/// and at least 2.
fn scaled(count: usize, width: f64) -> usize {
    2 * ((count as f64 * width / 2.0).round() as usize).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The layers that memory is estimated by have all weights of the model.
    #[test]
    fn layers_have_the_parameters_of_the_model() {
        struct Compare;
        impl BaselineVisitor for Compare {
            type Output = ();

            fn visit<M: BaselineModel>(self) {}

            fn visit_pixels<M: PixelBaseline>(self) {
                let options = PixelOptions {
                    num_classes: 7,
                    in_channels: 20,
                    frames: 10,
                    input_size: [99, 120],
                    width: 0.25,
                    dropout: None,
                };
                let layers = M::layers(&options).unwrap();
                let model = M::from_options(&options, &Device::flex()).unwrap();
                let counted: usize = layers.iter().map(|layer| layer.parameters).sum();
                assert_eq!(counted, model.num_params(), "{}", M::NAME);
            }
        }
        for baseline in Baseline::ALL {
            baseline.visit(Compare);
        }
    }

    #[test]
    fn widths_stay_even() {
        assert_eq!(
            [(96, 1.0), (96, 0.1), (2, 0.01), (101, 1.0)].map(|(count, width)| scaled(count, width)),
            [96, 10, 2, 102]
        );
    }
}
