//! EfficientNet-Lite0 (Tan and Le 2019, without squeeze-and-excitation and with ReLU6), with taps.

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{Dropout, DropoutConfig, Linear, PaddingConfig2d};
use burn::tensor::{Device, Tensor};

use crate::backbone::batch_norm::fold;
use crate::backbone::graph::{Activation, Compiled, Graph, Value};
use crate::backbone::layers::{LayerShape, Plan, classifier_weight, he_linear, zero_bias};
use crate::backbone::{Backbone, BackboneConfigError, FileTensors, Pixels, error};
use crate::percepts::Level;

/// A stage of inverted residual blocks.
struct Stage {
    kernel: usize,
    /// Of the first block; the others have 1.
    stride: usize,
    expansion: usize,
    channels: usize,
    blocks: usize,
    tapped: bool,
}

const fn stage(kernel: usize, stride: usize, expansion: usize, channels: usize, blocks: usize, tapped: bool) -> Stage {
    Stage { kernel, stride, expansion, channels, blocks, tapped }
}

/// The seven stages; the last of each resolution is tapped, at strides 4, 8, 16 and 32.
const STAGES: [Stage; 7] = [
    stage(3, 1, 1, 16, 1, false),
    stage(3, 2, 6, 24, 2, true),
    stage(5, 2, 6, 40, 2, true),
    stage(3, 2, 6, 80, 3, false),
    stage(5, 1, 6, 112, 3, true),
    stage(5, 2, 6, 192, 4, false),
    stage(3, 1, 6, 320, 1, true),
];

/// Channels after the first convolution, and after the last.
const STEM: usize = 32;
const HEAD: usize = 1280;

/// Configuration of [`EfficientNetLite0`].
#[derive(Config, Debug)]
pub struct EfficientNetLite0Config {
    /// Classes of its own classifier; 1000 for ImageNet.
    #[config(default = 1000)]
    pub num_classes: usize,
    /// Channels of a frame: 3 for RGB, 20 for a stack of ten flow fields.
    #[config(default = 3)]
    pub in_channels: usize,
    /// Height and width of a frame, pixels.
    #[config(default = "[224, 224]")]
    pub input_size: [usize; 2],
    /// Drop probability before the classifier, in training the CNN itself.
    #[config(default = 0.2)]
    pub dropout: f64,
    /// The taps, bottom up, among `stage2`, `stage3`, `stage5` and `stage7`, at strides 4, 8, 16
    /// and 32.
    #[config(default = "[\"stage2\", \"stage3\", \"stage5\", \"stage7\"].map(String::from).to_vec()")]
    pub tap_names: Vec<String>,
    /// Normalisation of 8-bit pixels, that of the ImageNet weights by default: `(v - 127) / 128`.
    #[config(default = "Pixels::new(vec![127.0 / 255.0; 3], vec![128.0 / 255.0; 3])")]
    pub pixels: Pixels,
}

/// An inverted residual block: a 1x1 convolution that expands, a depthwise one, and a 1x1 one that
/// projects, without an activation. The input is added where its shape is the output's.
#[derive(Module, Debug)]
pub struct InvertedResidual {
    /// 1x1 to more channels; none in the first stage.
    pub expand: Option<Conv2d>,
    /// 3x3 or 5x5, channel by channel.
    pub depthwise: Conv2d,
    /// 1x1 to fewer channels.
    pub project: Conv2d,
}

/// EfficientNet-Lite0: 4.65 million parameters, 0.39 billion multiplications a frame of 224x224. A
/// tap `stageN` is the map after the last block of stage N.
///
/// The network has no batch normalisation: importing weights folds it into the convolutions before
/// it, which become `w γ/√(σ² + ε)` with the bias `β - μ γ/√(σ² + ε)` of the running statistics.
/// For a frozen network this is exact. Fine-tuning trains the folded weights; statistics of batches
/// play no part in it, nor does stochastic depth. Exported weights are the folded ones, and import
/// reads both kinds of file.
#[derive(Module, Debug)]
pub struct EfficientNetLite0 {
    /// 3x3 with stride 2.
    pub stem: Conv2d,
    /// The blocks of all stages, bottom up.
    pub blocks: Vec<InvertedResidual>,
    /// 1x1, before the mean over the cells.
    pub head: Conv2d,
    /// The classifier.
    pub classifier: Linear,
    /// Dropout before the classifier.
    pub dropout: Dropout,
    /// Its configuration.
    #[module(skip)]
    pub config: EfficientNetLite0Config,
    #[module(skip)]
    compiled: Compiled,
}

impl EfficientNetLite0Config {
    pub(super) const NAME: &str = "EfficientNet-Lite0";

    pub(super) fn plan(&self) -> Plan {
        let strided = |size: [usize; 2], stride: usize| size.map(|side| side.div_ceil(stride));
        let mut plan = Plan::new(self.in_channels, self.input_size);
        plan.conv("stem", STEM, 3, 2, strided(plan.size(), 2));
        plan.activation("stem.relu6");
        for (index, stage) in STAGES.iter().enumerate() {
            for block in 0..stage.blocks {
                let name = |part: &str| format!("stage{}.{block}.{part}", index + 1);
                let input = plan.shape;
                if stage.expansion > 1 {
                    plan.conv(name("expand"), input[0] * stage.expansion, 1, 1, plan.size());
                    plan.activation(name("expand.relu6"));
                }
                let (channels, stride) = (plan.shape[0], if block == 0 { stage.stride } else { 1 });
                plan.grouped_conv(
                    name("depthwise"),
                    channels,
                    [stage.kernel, stride, channels],
                    strided(plan.size(), stride),
                );
                plan.activation(name("depthwise.relu6"));
                plan.conv(name("project"), stage.channels, 1, 1, plan.size());
                if stride == 1 && input == plan.shape {
                    plan.add(name("add"));
                }
            }
            if stage.tapped {
                plan.tap(format!("stage{}", index + 1));
            }
        }
        plan.conv("head", HEAD, 1, 1, plan.size());
        plan.activation("head.relu6");
        plan.pool("average", [1, 1]);
        plan.linear("classifier", self.num_classes);
        plan
    }

    pub(super) fn drop_probabilities(&self) -> Vec<f64> {
        vec![self.dropout]
    }

    pub(super) fn check_architecture(&self) -> Result<(), BackboneConfigError> {
        error::check_size(Self::NAME, self.input_size, 1)
    }

    pub(super) fn build(&self, device: &Device) -> EfficientNetLite0 {
        let plan = self.plan();
        // TensorFlow's padding: the output has `⌈side / stride⌉` cells, and where the padding is
        // odd, its larger half is below and to the right.
        let mut convs = plan.convs(|_| PaddingConfig2d::Same, device);
        let mut conv = || convs.next().expect("the plan has every convolution");
        let blocks = STAGES.iter().flat_map(|stage| std::iter::repeat_n(stage, stage.blocks));
        EfficientNetLite0 {
            stem: conv(),
            blocks: blocks
                .map(|stage| InvertedResidual {
                    expand: (stage.expansion > 1).then(&mut conv),
                    depthwise: conv(),
                    project: conv(),
                })
                .collect(),
            head: conv(),
            classifier: he_linear(HEAD, self.num_classes, device),
            dropout: DropoutConfig::new(self.dropout).init(),
            config: self.clone(),
            compiled: Compiled::default(),
        }
    }
}

impl InvertedResidual {
    fn add_to<'a>(&'a self, graph: &mut Graph<'a>, input: Value) -> Value {
        let wide = self.expand.as_ref().map_or(input, |expand| graph.conv(input, expand, Activation::Relu6));
        let filtered = graph.conv(wide, &self.depthwise, Activation::Relu6);
        let in_channels = match &self.expand {
            Some(expand) => expand.weight.dims()[1],
            None => self.depthwise.weight.dims()[0],
        };
        if self.depthwise.stride == [1, 1] && self.project.weight.dims()[0] == in_channels {
            graph.conv_add(filtered, &self.project, input)
        } else {
            graph.conv(filtered, &self.project, Activation::None)
        }
    }
}

impl EfficientNetLite0 {
    fn graph(&self) -> Graph<'_> {
        let mut graph = Graph::default();
        let mut x = graph.conv(0, &self.stem, Activation::Relu6);
        let mut blocks = self.blocks.iter();
        for stage in &STAGES {
            for block in blocks.by_ref().take(stage.blocks) {
                x = block.add_to(&mut graph, x);
            }
            if stage.tapped {
                graph.tap(x);
            }
        }
        x = graph.conv(x, &self.head, Activation::Relu6);
        x = graph.average_to(x, [1, 1]);
        x = graph.dropout(x, &self.dropout);
        graph.linear(x, &self.classifier, Activation::None);
        graph
    }
}

impl Backbone for EfficientNetLite0 {
    shared_methods!(stem);

    fn replace_classifier(&mut self, classes: usize, std: f64, device: &Device) {
        self.classifier.weight = classifier_weight([HEAD, classes], std, device);
        self.classifier.bias = zero_bias(classes, device);
        self.config.num_classes = classes;
    }

    fn set_dropout(&mut self, probabilities: &[f64]) -> Result<(), BackboneConfigError> {
        error::check_dropout(probabilities, self.dropout().len())?;
        self.config.dropout = probabilities[0];
        self.dropout = DropoutConfig::new(self.config.dropout).init();
        Ok(())
    }

    /// The keys of the port `efficientnet_lite_pytorch`, which are those of `efficientnet_pytorch`.
    fn key_prefixes(&self) -> Vec<(String, String)> {
        let pair = |theirs: &str, ours: &str| (theirs.to_string(), ours.to_string());
        let mut pairs = vec![pair("_conv_stem", "stem"), pair("_conv_head", "head"), pair("_fc", "classifier")];
        for block in 0..self.blocks.len() {
            for part in ["expand", "depthwise", "project"] {
                pairs.push((format!("_blocks.{block}._{part}_conv"), format!("blocks.{block}.{part}")));
            }
        }
        pairs
    }

    fn classifier_key(&self) -> &'static str {
        "_fc"
    }

    /// Folds every batch normalisation into the convolution before it.
    fn convert_weights(&self, tensors: &mut FileTensors) {
        fold(tensors, "_conv_stem", "_bn0");
        fold(tensors, "_conv_head", "_bn1");
        for block in 0..self.blocks.len() {
            for (conv, norm) in [("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")] {
                fold(tensors, &format!("_blocks.{block}.{conv}"), &format!("_blocks.{block}.{norm}"));
            }
        }
    }
}
