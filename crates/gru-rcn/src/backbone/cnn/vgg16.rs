//! VGG-16 (Simonyan and Zisserman 2014), with taps.

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{Dropout, DropoutConfig, Linear};
use burn::tensor::{Device, Tensor};

use crate::backbone::graph::{Activation, Compiled, Graph};
use crate::backbone::layers::{LayerKind, LayerShape, Plan, classifier_weight, he_linear, zero_bias, zeros};
use crate::backbone::{Backbone, BackboneConfigError, Pixels, error};
use crate::percepts::Level;

/// Most convolutions of a configuration; the full network has 13.
const MOST_CONVOLUTIONS: usize = 1000;

/// Configuration of [`Vgg16`]: the full network by default, any other depth and width as data.
#[derive(Config, Debug)]
pub struct Vgg16Config {
    /// Classes of its own classifier, fc-8; 1000 for ImageNet.
    #[config(default = 1000)]
    pub num_classes: usize,
    /// Channels of a frame: 3 for RGB, 20 for a stack of ten flow fields.
    #[config(default = 3)]
    pub in_channels: usize,
    /// Height and width of a frame, pixels.
    #[config(default = "[224, 224]")]
    pub input_size: [usize; 2],
    /// Stages, bottom up: `[convolutions, channels]`, each closed by a 2x2 maximum.
    #[config(default = "vec![[2, 64], [2, 128], [3, 256], [3, 512], [3, 512]]")]
    pub stages: Vec<[usize; 2]>,
    /// With the fully connected layers fc-6 to fc-8 (124 of the 138 million parameters).
    #[config(default = true)]
    pub fully_connected: bool,
    /// Cells to which the top map is averaged before fc-6; 7x7, which at 224x224 changes nothing.
    #[config(default = "[7, 7]")]
    pub grid: [usize; 2],
    /// Width of fc-6 and fc-7.
    #[config(default = 4096)]
    pub fc_width: usize,
    /// Drop probabilities after fc-6 and after fc-7, in training the CNN itself and never in its
    /// taps. The paper's CNNs were fine-tuned with 0.9 and 0.9 on RGB, 0.9 and 0.8 on flow (Wang et
    /// al. 2015).
    #[config(default = "[0.5, 0.5]")]
    pub dropout: [f64; 2],
    /// The taps, bottom up, among `pool1` … and `fc7`; the paper's by default.
    #[config(default = "[\"pool2\", \"pool3\", \"pool4\", \"pool5\", \"fc7\"].map(String::from).to_vec()")]
    pub tap_names: Vec<String>,
    /// Normalisation of 8-bit pixels, that of torchvision's weights by default.
    #[config(default = "Pixels::imagenet()")]
    pub pixels: Pixels,
}

/// VGG-16. Convolutions 3x3 with zero padding and ReLU; a tap `poolN` is the map after stage N's
/// maximum, the tap `fc7` is fc-7 after its ReLU, a map of 1x1 cells, without dropout.
#[derive(Module, Debug)]
pub struct Vgg16 {
    /// All convolutions, bottom up.
    pub convs: Vec<Conv2d>,
    /// fc-6, fc-7 and fc-8; empty without the fully connected layers.
    pub fcs: Vec<Linear>,
    /// Dropout after fc-6 and after fc-7; active only in training.
    pub dropout: [Dropout; 2],
    /// Its configuration.
    #[module(skip)]
    pub config: Vgg16Config,
    #[module(skip)]
    compiled: Compiled,
}

impl Vgg16Config {
    pub(super) const NAME: &str = "VGG-16";

    /// The small network for the built-in motion data: four stages of one convolution each, 8 to 32
    /// channels.
    pub fn small(num_classes: usize, input_size: [usize; 2]) -> Self {
        Self::full(num_classes, input_size)
            .with_stages(vec![[1, 8], [1, 16], [1, 32], [1, 32]])
            .with_grid([input_size[0] / 16, input_size[1] / 16])
            .with_fc_width(64)
            .with_dropout([0.1, 0.1])
            .with_taps(["pool1", "pool2", "pool3", "pool4", "fc7"])
            .with_pixels(Pixels::symmetric(3))
    }

    pub(super) fn plan(&self) -> Plan {
        let mut plan = Plan::new(self.in_channels, self.input_size);
        for (stage, &[convs, channels]) in self.stages.iter().enumerate() {
            let stage = stage + 1;
            for conv in 1..=convs {
                plan.conv(format!("conv{stage}_{conv}"), channels, 3, 1, plan.size());
                plan.activation(format!("relu{stage}_{conv}"));
            }
            plan.pool(format!("pool{stage}"), plan.size().map(|side| side / 2));
            plan.tap(format!("pool{stage}"));
        }
        if self.fully_connected {
            if plan.size() != self.grid {
                plan.pool("grid", self.grid);
            }
            for name in ["fc6", "fc7"] {
                plan.linear(name, self.fc_width);
                plan.activation(format!("relu_{name}"));
            }
            plan.tap("fc7");
            plan.linear("fc8", self.num_classes);
        }
        plan
    }

    pub(super) fn drop_probabilities(&self) -> Vec<f64> {
        self.dropout.to_vec()
    }

    pub(super) fn check_architecture(&self) -> Result<(), BackboneConfigError> {
        let layers = self.stages.iter().fold(0usize, |sum, [convs, _]| sum.saturating_add(*convs));
        if layers > MOST_CONVOLUTIONS || self.stages.len() > MOST_CONVOLUTIONS {
            return Err(BackboneConfigError::TooDeep { backbone: Self::NAME, layers, most: MOST_CONVOLUTIONS });
        }
        // Every stage halves a frame.
        let least = 1usize.checked_shl(self.stages.len() as u32).unwrap_or(usize::MAX);
        error::check_size(Self::NAME, self.input_size, least)
    }

    pub(super) fn build(&self, device: &Device) -> Vgg16 {
        let plan = self.plan();
        let linears = plan.layers.iter().filter(|layer| layer.kind == LayerKind::Linear);
        Vgg16 {
            convs: plan.convs(|_| zeros(1), device).collect(),
            fcs: linears.map(|layer| he_linear(layer.input.iter().product(), layer.output[0], device)).collect(),
            dropout: self.dropout.map(|drop| DropoutConfig::new(drop).init()),
            config: self.clone(),
            compiled: Compiled::default(),
        }
    }
}

impl Vgg16 {
    fn graph(&self) -> Graph<'_> {
        let mut graph = Graph::default();
        let mut x = 0;
        let mut convs = self.convs.iter();
        for [count, _] in &self.config.stages {
            for layer in convs.by_ref().take(*count) {
                x = graph.conv(x, layer, Activation::Relu);
            }
            x = graph.max_pool(x, [2, 2, 0], false);
            graph.tap(x);
        }
        if let [fc6, fc7, fc8] = &self.fcs[..] {
            let [after_fc6, after_fc7] = &self.dropout;
            x = graph.average_to(x, self.config.grid);
            x = graph.linear(x, fc6, Activation::Relu);
            x = graph.dropout(x, after_fc6);
            x = graph.linear(x, fc7, Activation::Relu);
            graph.tap(x);
            x = graph.dropout(x, after_fc7);
            graph.linear(x, fc8, Activation::None);
        }
        graph
    }
}

impl Backbone for Vgg16 {
    shared_methods!(convs[0]);

    fn replace_classifier(&mut self, classes: usize, std: f64, device: &Device) {
        let fc8 = self.fcs.last_mut().expect("a VGG-16 without fully connected layers has no classifier to replace");
        fc8.weight = classifier_weight([fc8.weight.dims()[0], classes], std, device);
        fc8.bias = zero_bias(classes, device);
        self.config.num_classes = classes;
    }

    fn set_dropout(&mut self, probabilities: &[f64]) -> Result<(), BackboneConfigError> {
        error::check_dropout(probabilities, self.dropout().len())?;
        self.config.dropout.copy_from_slice(probabilities);
        self.dropout = self.config.dropout.map(|p| DropoutConfig::new(p).init());
        Ok(())
    }

    /// torchvision's `features.N` counts convolutions, ReLUs and maxima alike; `classifier.{0,3,6}`
    /// are fc-6 to fc-8.
    fn key_prefixes(&self) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        let (mut theirs, mut ours) = (0, 0);
        for [convs, _] in &self.config.stages {
            for _ in 0..*convs {
                pairs.push((format!("features.{theirs}"), format!("convs.{ours}")));
                theirs += 2;
                ours += 1;
            }
            theirs += 1;
        }
        for fc in 0..self.fcs.len() {
            pairs.push((format!("classifier.{}", 3 * fc), format!("fcs.{fc}")));
        }
        pairs
    }

    fn classifier_key(&self) -> &'static str {
        "classifier.6"
    }
}
