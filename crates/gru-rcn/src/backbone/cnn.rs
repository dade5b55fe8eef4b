//! The crate's backbones, and each of them behind one type.
//!
//! A new backbone is a file in `cnn/` and a line in the table `backbones!` below. The file defines
//! a configuration with the public fields `num_classes`, `in_channels`, `input_size`, `tap_names`
//! and `pixels`, the constant `NAME` and the methods `build`, `plan`, `drop_probabilities` and
//! `check_architecture`; and a module with the fields `config` and `compiled` and the method `graph`,
//! which lists its layers over its weights, that implements [`Backbone`].

use std::fmt;
use std::str::FromStr;

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::{Backbone, BackboneConfigError, FileTensors, LayerShape, Pixels, error};
use crate::percepts::Level;

/// Options of [`Network::config`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkOptions {
    /// Classes of the network's own classifier.
    pub num_classes: usize,
    /// Channels of a frame: 3 for RGB; any other number is a stack of flow fields, two channels
    /// each, with the normalisation of [`Backbone::across_modality`].
    pub in_channels: usize,
    /// Height and width of a frame, pixels.
    pub input_size: [usize; 2],
    /// Names of the taps.
    pub taps: Vec<String>,
}

/// The methods of [`Backbone`] that a network answers from its configuration, from its list of
/// layers and from the field of its first convolution.
macro_rules! shared_methods {
    ($($first:tt)+) => {
        fn levels(&self) -> Vec<Level> {
            self.config.levels()
        }

        fn pixels(&self) -> Pixels {
            self.config.pixels.clone()
        }

        fn num_classes(&self) -> usize {
            self.config.num_classes
        }

        fn layers(&self) -> Vec<LayerShape> {
            self.config.layers()
        }

        fn dropout(&self) -> Vec<f64> {
            self.config.drop_probabilities()
        }

        fn set_taps<S: AsRef<str>>(&mut self, taps: &[S]) -> Result<(), BackboneConfigError> {
            let config = self.config.clone().with_taps(taps.iter().map(AsRef::as_ref));
            config.validate()?;
            self.config = config;
            Ok(())
        }

        fn taps(&self, frames: Tensor<4>) -> Vec<Tensor<4>> {
            let known = self.config.known_taps();
            let taps: Vec<usize> =
                (0..known.len()).filter(|&tap| self.config.tap_names.contains(&known[tap])).collect();
            self.graph().maps(frames, &taps, &self.compiled)
        }

        fn forward(&self, frames: Tensor<4>) -> Tensor<2> {
            self.graph().logits(frames, &self.compiled)
        }

        fn classify_top(&self, top: Tensor<4>) -> Tensor<2> {
            let known = self.config.known_taps();
            let tap = known.iter().rposition(|tap| self.config.tap_names.contains(tap)).expect("a network has a tap");
            self.graph().logits_above(tap, top)
        }

        fn across_modality(mut self, channels: usize) -> Self {
            let first = &mut self.$($first)+;
            let mean = first.weight.val().mean_dim(1);
            first.weight = burn::module::Param::from_tensor(mean.repeat_dim(1, channels));
            self.config.pixels = self.config.pixels.for_flow(channels);
            self.config.in_channels = channels;
            self
        }
    };
}

/// One line per backbone: `file: Module, Configuration { Network "name in recipes" "name for people"
/// constructor, … }`, where the constructor takes the number of classes and the frame size. It declares the
/// module, re-exports its types and generates the enums [`Cnn`], [`CnnConfig`] and [`Network`], the
/// methods that all configurations share, and the macro `each!` that applies an expression to any
/// variant.
macro_rules! backbones {
    ($d:tt $($file:ident: $cnn:ident, $config:ident { $($network:ident $name:literal $title:literal $new:ident),+ })+) => {
        $(mod $file; pub use $file::*;)+

        /// Configuration of [`Cnn`].
        #[derive(Config, Debug)]
        pub enum CnnConfig {
            $(#[doc = concat!("Of [`", stringify!($cnn), "`].")] $cnn($config),)+
        }

        /// A backbone chosen at run time.
        #[derive(Module, Debug)]
        // A program has one or two of them; some hundred bytes do not matter beside their weights.
        #[allow(clippy::large_enum_variant)]
        pub enum Cnn {
            $(#[doc = concat!("[`", stringify!($cnn), "`].")] $cnn($cnn),)+
        }

        /// The networks by name.
        #[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Network {
            $($(
                #[doc = concat!("`", $name, "`: [`", stringify!($config), "::", stringify!($new), "`].")]
                #[serde(rename = $name)]
                $network,
            )+)+
        }

        impl Network {
            /// Every network.
            pub const ALL: &[Self] = &[$($(Self::$network),+),+];

            /// Name in recipes and files.
            pub fn name(self) -> &'static str {
                match self { $($(Self::$network => $name,)+)+ }
            }

            /// Name for people.
            pub fn title(self) -> &'static str {
                match self { $($(Self::$network => $title,)+)+ }
            }

            /// The configuration of the network, not validated.
            pub fn config(self, options: &NetworkOptions) -> CnnConfig {
                let NetworkOptions { num_classes, in_channels, input_size, taps } = options.clone();
                let config = match self {
                    $($(Self::$network => CnnConfig::$cnn($config::$new(num_classes, input_size).with_taps(taps)),)+)+
                };
                if in_channels == 3 { config } else { config.across_modality(in_channels) }
            }
        }

        $(impl $config {
            /// The full network for frames of another size.
            pub fn full(num_classes: usize, input_size: [usize; 2]) -> Self {
                Self::new().with_num_classes(num_classes).with_input_size(input_size)
            }

            /// A network with freshly drawn weights (He's normal distribution, zero biases).
            ///
            /// # Panics
            ///
            /// If the configuration is wrong; [`validate`](Self::validate) says so without a panic.
            pub fn init(&self, device: &Device) -> $cnn {
                if let Err(error) = self.validate() {
                    panic!("{error}");
                }
                self.build(device)
            }

            /// The same network with other taps.
            pub fn with_taps(self, taps: impl IntoIterator<Item = impl Into<String>>) -> Self {
                self.with_tap_names(taps.into_iter().map(Into::into).collect())
            }

            /// Names of all taps of the architecture, bottom up.
            pub fn known_taps(&self) -> Vec<String> {
                self.plan().levels.into_iter().map(|level| level.name).collect()
            }

            /// The levels of the configured taps, bottom up whatever order they are listed in.
            pub fn levels(&self) -> Vec<Level> {
                let mut levels = self.plan().levels;
                levels.retain(|level| self.tap_names.contains(&level.name));
                levels
            }

            /// The layers from input to classifier, at the configured frame size.
            pub fn layers(&self) -> Vec<LayerShape> {
                self.plan().layers
            }

            /// Checks that every tap exists, that frames are large enough, that neither channels
            /// nor classes are zero, and that drop probabilities are below one.
            pub fn validate(&self) -> Result<(), BackboneConfigError> {
                for (what, count) in [("classes", self.num_classes), ("input channels", self.in_channels)] {
                    if count == 0 {
                        return Err(BackboneConfigError::Zero { backbone: Self::NAME, what });
                    }
                }
                self.check_architecture()?;
                let drop_probabilities = self.drop_probabilities();
                error::check_dropout(&drop_probabilities, drop_probabilities.len())?;
                error::check_taps(Self::NAME, &self.plan(), &self.tap_names)
            }
        })+

        impl CnnConfig {
            /// A network with freshly drawn weights.
            ///
            /// # Panics
            ///
            /// If [`validate`](Self::validate) fails.
            pub fn init(&self, device: &Device) -> Cnn {
                match self { $(Self::$cnn(config) => Cnn::$cnn(config.init(device)),)+ }
            }
        }

        $(impl From<$cnn> for Cnn {
            fn from(cnn: $cnn) -> Self {
                Self::$cnn(cnn)
            }
        })+

        impl Cnn {
            /// The configuration it was built from, with all changes since.
            pub fn config(&self) -> CnnConfig {
                match self { $(Self::$cnn(cnn) => CnnConfig::$cnn(cnn.config.clone()),)+ }
            }
        }

        /// Applies an expression to the value inside any variant; with `wrap`, puts the result back
        /// into the same variant.
        macro_rules! each {
            ($d kind:ident, $d value:expr, $d inner:ident => wrap $d result:expr) => {
                match $d value { $($d kind::$cnn($d inner) => $d kind::$cnn($d result),)+ }
            };
            ($d kind:ident, $d value:expr, $d inner:ident => $d result:expr) => {
                match $d value { $($d kind::$cnn($d inner) => $d result,)+ }
            };
        }
    };
}

backbones! { $
    vgg16: Vgg16, Vgg16Config { Vgg16 "vgg16" "VGG-16" full, Small "small" "Small VGG" small }
    squeezenet: SqueezeNet, SqueezeNetConfig { Squeezenet "squeezenet" "SqueezeNet 1.0" full }
    efficientnet: EfficientNetLite0, EfficientNetLite0Config { EfficientnetLite0 "efficientnet-lite0" "EfficientNet-Lite0" full }
    googlenet: GoogLeNet, GoogLeNetConfig { Googlenet "googlenet" "GoogLeNet" full }
}

/// Methods of an enum of backbones, each an expression of the value inside.
macro_rules! delegate {
    ($kind:ident $inner:ident: $(
        $(#[$doc:meta])*
        $vis:vis fn $name:ident(&$self:ident $(, $argument:ident: $type:ty)*) $(-> $output:ty)? = $value:expr;
    )+) => {
        $($(#[$doc])* $vis fn $name(&$self, $($argument: $type),*) $(-> $output)? {
            each!($kind, $self, $inner => $value)
        })+
    };
}

impl CnnConfig {
    delegate! { CnnConfig config:
        /// Checks the configuration; see the networks' own `validate`.
        pub fn validate(&self) -> Result<(), BackboneConfigError> = config.validate();
        /// Classes of the network's own classifier.
        pub fn num_classes(&self) -> usize = config.num_classes;
        /// Channels of a frame.
        pub fn in_channels(&self) -> usize = config.in_channels;
        /// Height and width of a frame, pixels.
        pub fn input_size(&self) -> [usize; 2] = config.input_size;
        /// Normalisation of 8-bit pixels.
        pub fn pixels(&self) -> &Pixels = &config.pixels;
        /// Names of all taps of the architecture, bottom up.
        pub fn known_taps(&self) -> Vec<String> = config.known_taps();
        /// The levels of the configured taps, bottom up whatever order they are listed in.
        pub fn levels(&self) -> Vec<Level> = config.levels();
        /// The layers from input to classifier, at the configured frame size.
        pub fn layers(&self) -> Vec<LayerShape> = config.layers();
        /// Drop probabilities in training the network itself, bottom up.
        pub fn dropout(&self) -> Vec<f64> = config.drop_probabilities();
    }

    /// The same network with another number of classes.
    pub fn with_num_classes(self, classes: usize) -> Self {
        each!(CnnConfig, self, config => wrap config.with_num_classes(classes))
    }

    /// The same network with other taps.
    pub fn with_taps(self, taps: impl IntoIterator<Item = impl Into<String>>) -> Self {
        each!(CnnConfig, self, config => wrap config.with_taps(taps))
    }

    /// The configuration of [`Backbone::across_modality`]'s result.
    pub fn across_modality(self, channels: usize) -> Self {
        let pixels = self.pixels().for_flow(channels);
        each!(CnnConfig, self, config => wrap config.with_in_channels(channels).with_pixels(pixels))
    }
}

impl Backbone for Cnn {
    delegate! { Cnn cnn:
        fn levels(&self) -> Vec<Level> = cnn.levels();
        fn pixels(&self) -> Pixels = cnn.pixels();
        fn taps(&self, frames: Tensor<4>) -> Vec<Tensor<4>> = cnn.taps(frames);
        fn num_classes(&self) -> usize = cnn.num_classes();
        fn forward(&self, frames: Tensor<4>) -> Tensor<2> = Backbone::forward(cnn, frames);
        fn classify_top(&self, top: Tensor<4>) -> Tensor<2> = cnn.classify_top(top);
        fn dropout(&self) -> Vec<f64> = Backbone::dropout(cnn);
        fn layers(&self) -> Vec<LayerShape> = cnn.layers();
        fn key_prefixes(&self) -> Vec<(String, String)> = cnn.key_prefixes();
        fn classifier_key(&self) -> &'static str = cnn.classifier_key();
        fn convert_weights(&self, tensors: &mut FileTensors) = cnn.convert_weights(tensors);
    }

    fn set_taps<S: AsRef<str>>(&mut self, taps: &[S]) -> Result<(), BackboneConfigError> {
        each!(Cnn, self, cnn => cnn.set_taps(taps))
    }

    fn replace_classifier(&mut self, classes: usize, std: f64, device: &Device) {
        each!(Cnn, self, cnn => cnn.replace_classifier(classes, std, device))
    }

    fn set_dropout(&mut self, probabilities: &[f64]) -> Result<(), BackboneConfigError> {
        each!(Cnn, self, cnn => cnn.set_dropout(probabilities))
    }

    fn across_modality(self, channels: usize) -> Self {
        each!(Cnn, self, cnn => wrap cnn.across_modality(channels))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Network {
    type Err = BackboneConfigError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|network| network.name() == name).ok_or_else(|| {
            let known = Self::ALL.iter().map(|network| network.name()).collect();
            BackboneConfigError::UnknownNetwork { name: name.into(), known }
        })
    }
}
