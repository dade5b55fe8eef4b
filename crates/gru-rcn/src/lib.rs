#![cfg_attr(docsrs, feature(doc_cfg))]
//! GRU-RCN for Burn: convolutional GRUs over the feature maps of every depth of a CNN, for action
//! recognition in video.
//!
//! The model is that of Ballas, Yao, Pal and Courville, *Delving Deeper into Convolutional Networks
//! for Learning Video Representations* (ICLR 2016). A two-dimensional CNN looks at each frame of a
//! clip; its feature maps at several depths are the *percepts*. Each level of percepts has a
//! convolutional GRU of its own. It keeps the spatial layout of the maps and with it the small
//! motions that the top of the CNN has lost. Each level's last hidden state is pooled and
//! classified, and the probabilities of all levels are averaged.
//!
//! ```text
//! frames ─ CNN ─┬ pool2 ─ ConvGru ─ pool ─ dropout ─ linear ─ softmax ┐
//!               ├ pool3 ─ ConvGru ─ pool ─ dropout ─ linear ─ softmax ┤
//!               ├  …                                                  ├ mean ─ class probabilities
//!               └ fc7   ─ FC-GRU  ──────── dropout ─ linear ─ softmax ┘
//! ```
//!
//! # Where things are
//!
//! - [`backbone`]: the CNNs, [`backbone::Vgg16`], [`backbone::SqueezeNet`],
//!   [`backbone::EfficientNetLite0`] and [`backbone::GoogLeNet`], behind the trait
//!   [`backbone::Backbone`].
//! - [`percepts`]: the maps that a backbone returns, and their normalisation,
//!   [`percepts::PerceptNorm`].
//! - [`recurrent`]: the layer [`recurrent::ConvGru`] and [`recurrent::GruRcn`], independent,
//!   stacked or bi-directional.
//! - [`head`]: a classifier per level, their averaged probability and the two losses.
//! - [`classifier`]: percepts to class probabilities, the model that is trained on a frozen CNN.
//! - [`class_activation`]: where and when in a clip a model finds a class.
//! - [`input`]: what models take in, percepts or pixels.
//! - [`recognizer`]: the whole, clip to class probabilities, and opening a trained run.
//! - [`replay`]: computations that a GPU records once, for single clips and streams.
//! - [`baselines`]: the systems that the paper compares with, on percepts or on pixels.
//! - [`captioner`]: videos described in a sentence, and the vocabulary.
//! - [`optim`]: Adadelta, for Burn's optimizers.
//! - [`weights`]: import and export in the keys of PyTorch's networks.
//! - [`prelude`]: the types that most programs need.
//!
//! # Precision
//!
//! Weights are float32. A layer, a backbone or a [`recurrent::GruRcn`] computes in the precision of
//! its *input*: for `input.cast(FloatDType::BF16)` it casts its weights, while gradients and
//! records stay float32. A classifier takes float32 percepts, normalises them in float32, recurs in
//! the precision set by [`classifier::ClipClassifier::computing_in`], and pools, classifies and
//! takes its loss in float32 again.
//!
//! # A layer
//!
//! ```
//! use burn::tensor::{Device, Distribution, Tensor};
//! use gru_rcn::recurrent::ConvGruConfig;
//!
//! let device = Device::flex();
//! let layer = ConvGruConfig::new(8, 4).init(&device);
//! let clip = Tensor::<5>::random([2, 5, 8, 6, 6], Distribution::Default, &device); // [batch, time, channel, height, width]
//! let output = layer.forward(clip, None);
//! assert_eq!(output.sequence.dims(), [2, 5, 4, 6, 6]);
//! assert_eq!(output.last.dims(), [2, 4, 6, 6]);
//! ```
//!
//! # A model over a backbone
//!
//! ```
//! use burn::tensor::{Device, Distribution, Tensor};
//! use gru_rcn::{
//!     backbone::{Backbone, Vgg16Config},
//!     classifier::GruRcnClassifierConfig,
//!     recurrent::{Form, GruRcnConfig},
//! };
//!
//! let device = Device::flex();
//! let cnn = Vgg16Config::small(6, [32, 32]).with_taps(["pool1", "pool3", "fc7"]).init(&device);
//! let recurrent = GruRcnConfig::new(cnn.levels(), vec![8, 8, 16]).with_form(Form::Bidirectional);
//! let model = GruRcnClassifierConfig::new(recurrent, 8).init(&device);
//!
//! let clip = Tensor::<5>::random([1, 4, 3, 32, 32], Distribution::Default, &device);
//! let logits = model.forward(cnn.percepts(clip));
//! assert_eq!(logits.probabilities().dims(), [1, 8]);
//! ```
#![warn(missing_docs)]

pub mod backbone;
pub mod baselines;
pub mod captioner;
pub mod class_activation;
pub mod classifier;
pub mod head;
pub mod input;
#[cfg(feature = "flex")]
mod operator;
#[cfg(not(feature = "flex"))]
#[path = "no_operator.rs"]
mod operator;
pub mod optim;
pub mod percepts;
mod precision;
pub mod prelude;
pub mod recognizer;
pub mod recurrent;
pub mod replay;
#[cfg(test)]
mod testing;
pub mod weights;
