//! The types that most programs need: `use gru_rcn::prelude::*`.

pub use crate::backbone::{Backbone, Cnn, CnnConfig, Network, NetworkOptions, Pixels, SqueezeNetConfig, Vgg16Config};
pub use crate::baselines::{FrameClassifier, FrameClassifierConfig, TopRnn, TopRnnConfig};
pub use crate::classifier::{ClipClassifier, GruRcnClassifier, GruRcnClassifierConfig, StreamState};
pub use crate::head::{EnsembleLogits, LossKind, Pooling};
pub use crate::percepts::{Level, NormRule, PerceptNorm, PerceptNormConfig, PerceptStatistics, Percepts};
pub use crate::recognizer::{
    Recognizer, RecognizerDescription, RecognizerError, RecognizerInput, Stream, TrainedRecognizer,
};
pub use crate::recurrent::{ConvGru, ConvGruConfig, Form, GruRcn, GruRcnConfig};
pub use crate::weights::{export_torchvision, import_torchvision};
