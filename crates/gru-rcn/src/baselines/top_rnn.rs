//! "VGG-16 RNN" in the paper's tables: a fully connected GRU on the top level alone.

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, FloatDType};

use super::{BaselineModel, BaselineOptions, pooled_top};
use crate::classifier::{ClipClassifier, GruRcnClassifier, GruRcnClassifierConfig};
use crate::head::EnsembleLogits;
use crate::percepts::{Level, PerceptNorm, PerceptNormConfig, PerceptStatistics, Percepts};
use crate::recurrent::GruRcnConfig;

/// Configuration of [`TopRnn`].
#[derive(Config, Debug)]
pub struct TopRnnConfig {
    /// The top level of the CNN; pooled to one vector if it has spatial extent.
    pub top: Level,
    /// Hidden units; 512 in the paper, as in GRU-RCN's own top layer.
    pub hidden: usize,
    /// Number of classes.
    pub num_classes: usize,
    /// Normalisation of the pooled percepts.
    #[config(default = "PerceptNormConfig::new()")]
    pub norm: PerceptNormConfig,
    /// Drop probability on the classifier's input.
    #[config(default = 0.7)]
    pub dropout: f64,
}

/// A GRU-RCN whose only level is the pooled top of the CNN, which makes it a fully connected GRU
/// (equations 1 to 4).
#[derive(Module, Debug)]
pub struct TopRnn {
    /// The one-level model.
    pub model: GruRcnClassifier,
}

impl TopRnnConfig {
    /// A model with freshly drawn weights.
    pub fn init(&self, device: &Device) -> TopRnn {
        let pooled = Level::new(self.top.name.clone(), self.top.channels, 1, 1);
        let recurrent = GruRcnConfig::new(vec![pooled], vec![self.hidden]);
        let model = GruRcnClassifierConfig::new(recurrent, self.num_classes)
            .with_norm(self.norm.clone())
            .with_dropout(self.dropout)
            .init(device);
        TopRnn { model }
    }
}

impl ClipClassifier for TopRnn {
    type Input = Percepts;

    fn logits(&self, percepts: Percepts) -> EnsembleLogits {
        self.model.forward(Self::measured(percepts))
    }

    fn computing_in(self, dtype: FloatDType) -> Self {
        Self { model: self.model.computing_in(dtype) }
    }
}

impl BaselineModel for TopRnn {
    const NAME: &'static str = "RNN on the top layer";
    const ABOUT: &'static str = "a fully connected GRU over the topmost map of each frame, averaged over its cells";

    fn measured(percepts: Percepts) -> Percepts {
        pooled_top(percepts)
    }

    fn init_fitted(options: &BaselineOptions, statistics: &PerceptStatistics, device: &Device) -> Self {
        let config = TopRnnConfig::new(options.top(), options.hidden, options.num_classes)
            .with_norm(options.norm.clone())
            .with_dropout(options.dropout);
        let mut rnn = config.init(device);
        rnn.model.norm = PerceptNorm::fit(options.norm.clone(), statistics, device);
        rnn
    }
}
