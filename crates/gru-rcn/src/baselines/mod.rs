//! The systems that the paper compares GRU-RCN with, on the same frozen CNN.
//!
//! Each is one file with its configuration, its model and its [`BaselineModel`], and one line of the
//! table below. A trainer that goes through [`Baseline::ALL`] needs to know no more.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::classifier::ClipClassifier;
use crate::percepts::{Level, PerceptNormConfig, PerceptStatistics, Percepts};

/// What a baseline is built from.
#[derive(Clone, Debug)]
pub struct BaselineOptions {
    /// The levels of the backbone, bottom up; at least one.
    pub levels: Vec<Level>,
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

/// A system to compare with, as a trainer sees it.
pub trait BaselineModel: ClipClassifier<Input = Percepts> + 'static {
    /// Its name for people.
    const NAME: &'static str;

    /// What it is, in a few words that complete the name.
    const ABOUT: &'static str;

    /// What of the backbone's percepts its normalisation is measured on: the top level.
    fn measured(percepts: Percepts) -> Percepts {
        Percepts { maps: vec![percepts.top()] }
    }

    /// A model with freshly drawn weights whose normalisation fits `statistics` of what
    /// [`measured`](Self::measured) returns.
    fn init_fitted(options: &BaselineOptions, statistics: &PerceptStatistics, device: &Device) -> Self;
}

/// Something to do with the model of a baseline that is known at run time.
pub trait BaselineVisitor {
    /// What is returned.
    type Output;

    /// Called with the model of the baseline.
    fn visit<M: BaselineModel>(self) -> Self::Output;
}

macro_rules! baselines {
    ($($(#[$doc:meta])* $name:ident: $module:ident::{$model:ident, $config:ident},)*) => {
        $(mod $module;)*
        $(pub use $module::{$model, $config};)*

        /// The baselines by name.
        #[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
        #[serde(rename_all = "snake_case")]
        pub enum Baseline {
            $($(#[$doc])* $name,)*
        }

        impl Baseline {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name in files, such as `top_rnn`.
            pub fn key(self) -> &'static str {
                match self { $(Self::$name => stringify!($module),)* }
            }

            /// The name for people.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $model::NAME,)* }
            }

            /// What it is, in a few words that complete the name.
            pub fn about(self) -> &'static str {
                match self { $(Self::$name => $model::ABOUT,)* }
            }

            /// Calls the visitor with the model of this baseline.
            pub fn visit<V: BaselineVisitor>(self, visitor: V) -> V::Output {
                match self { $(Self::$name => visitor.visit::<$model>(),)* }
            }
        }
    };
}

baselines! {
    /// Every frame on its own.
    Frame: frame::{FrameClassifier, FrameClassifierConfig},
    /// A fully connected GRU on the pooled top level.
    TopRnn: top_rnn::{TopRnn, TopRnnConfig},
    /// The maximum over time of the top level, then fully connected layers.
    ConvPooling: conv_pooling::{ConvPooling, ConvPoolingConfig},
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_the_names_in_files() {
        for &baseline in Baseline::ALL {
            assert_eq!(serde_json::to_value(baseline).unwrap(), baseline.key());
        }
    }
}
