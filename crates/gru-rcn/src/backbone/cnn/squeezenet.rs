//! SqueezeNet 1.0 (Iandola et al. 2016), with taps: pretrained percepts at a twentieth of VGG-16's
//! cost.

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{Dropout, DropoutConfig};
use burn::tensor::{Device, Tensor};

use crate::backbone::graph::{Activation, Compiled, Graph};
use crate::backbone::layers::{LayerShape, Plan, classifier_weight, zero_bias, zeros};
use crate::backbone::{Backbone, BackboneConfigError, Pixels, error};
use crate::percepts::Level;

/// Squeeze and expand channels of fire2 to fire9; each expands to twice the second number.
const FIRES: [[usize; 2]; 8] = [[16, 64], [16, 64], [32, 128], [32, 128], [48, 192], [48, 192], [64, 256], [64, 256]];

/// Fire modules before each tap: `pool1` after conv1, `pool4` after fire4, `pool8` after fire8,
/// `fire9` at the top.
const TAPS: [(&str, usize); 4] = [("pool1", 0), ("pool4", 3), ("pool8", 7), ("fire9", 8)];

/// Pixels of which the last pooling stage leaves one cell.
const LEAST_SIDE: usize = 21;

/// Channels after conv1.
const STEM: usize = 96;

/// Configuration of [`SqueezeNet`].
#[derive(Config, Debug)]
pub struct SqueezeNetConfig {
    /// Classes of its own classifier, conv10; 1000 for ImageNet.
    #[config(default = 1000)]
    pub num_classes: usize,
    /// Channels of a frame: 3 for RGB, 20 for a stack of ten flow fields.
    #[config(default = 3)]
    pub in_channels: usize,
    /// Height and width of a frame, pixels; at least 21, of which the last pooling stage leaves one
    /// cell.
    #[config(default = "[224, 224]")]
    pub input_size: [usize; 2],
    /// Drop probability before conv10, in training the CNN itself.
    #[config(default = 0.5)]
    pub dropout: f64,
    /// The taps, bottom up, among `pool1`, `pool4`, `pool8` and `fire9`.
    #[config(default = "[\"pool1\", \"pool4\", \"pool8\", \"fire9\"].map(String::from).to_vec()")]
    pub tap_names: Vec<String>,
    /// Normalisation of 8-bit pixels, that of torchvision's weights by default.
    #[config(default = "Pixels::imagenet()")]
    pub pixels: Pixels,
}

/// A fire module: a 1x1 convolution that squeezes, then 1x1 and 3x3 ones that expand, side by side.
#[derive(Module, Debug)]
pub struct Fire {
    /// 1x1, fewer channels.
    pub squeeze: Conv2d,
    /// 1x1, half of the output's channels.
    pub expand1x1: Conv2d,
    /// 3x3, the other half.
    pub expand3x3: Conv2d,
}

/// SqueezeNet 1.0. A tap `poolN` is the map after that 3x3 maximum with stride 2 (rounded up, as
/// torchvision does), the tap `fire9` the last map before the classifier.
#[derive(Module, Debug)]
pub struct SqueezeNet {
    /// 7x7 with stride 2, no padding.
    pub conv1: Conv2d,
    /// fire2 to fire9.
    pub fires: Vec<Fire>,
    /// The classifier, 1x1.
    pub conv10: Conv2d,
    /// Dropout before the classifier.
    pub dropout: Dropout,
    /// Its configuration.
    #[module(skip)]
    pub config: SqueezeNetConfig,
    #[module(skip)]
    compiled: Compiled,
}

impl SqueezeNetConfig {
    pub(super) const NAME: &str = "SqueezeNet";

    pub(super) fn plan(&self) -> Plan {
        let pooled = |size: [usize; 2]| size.map(|side| side.saturating_sub(3).div_ceil(2) + 1);
        let mut plan = Plan::new(self.in_channels, self.input_size);
        plan.conv("conv1", STEM, 7, 2, plan.size().map(|side| side.saturating_sub(7) / 2 + 1));
        plan.activation("relu_conv1");
        let mut done = 0;
        for (name, fires) in TAPS {
            for (index, &[squeeze, expand]) in FIRES.iter().enumerate().take(fires).skip(done) {
                let fire = format!("fire{}", index + 2);
                plan.conv(format!("{fire}.squeeze"), squeeze, 1, 1, plan.size());
                plan.activation(format!("{fire}.relu_squeeze"));
                let squeezed = plan.shape;
                plan.conv(format!("{fire}.expand1x1"), expand, 1, 1, plan.size());
                plan.shape = squeezed;
                plan.conv(format!("{fire}.expand3x3"), expand, 3, 1, plan.size());
                plan.concat(format!("{fire}.concat"), expand);
                plan.activation(format!("{fire}.relu"));
            }
            done = fires;
            if name.starts_with("pool") {
                plan.pool(name, pooled(plan.size()));
            }
            plan.tap(name);
        }
        plan.conv("conv10", self.num_classes, 1, 1, plan.size());
        plan.activation("relu_conv10");
        plan.pool("average", [1, 1]);
        plan
    }

    pub(super) fn drop_probabilities(&self) -> Vec<f64> {
        vec![self.dropout]
    }

    pub(super) fn check_architecture(&self) -> Result<(), BackboneConfigError> {
        error::check_size(Self::NAME, self.input_size, LEAST_SIDE)
    }

    pub(super) fn build(&self, device: &Device) -> SqueezeNet {
        let plan = self.plan();
        // 3x3 kernels are padded, the 7x7 of the stem is not.
        let mut convs = plan.convs(|kernel| zeros(usize::from(kernel == 3)), device);
        let mut conv = || convs.next().expect("the plan has every convolution");
        SqueezeNet {
            conv1: conv(),
            fires: FIRES.map(|_| Fire { squeeze: conv(), expand1x1: conv(), expand3x3: conv() }).into(),
            conv10: conv(),
            dropout: DropoutConfig::new(self.dropout).init(),
            config: self.clone(),
            compiled: Compiled::default(),
        }
    }
}

impl SqueezeNet {
    fn graph(&self) -> Graph<'_> {
        let mut graph = Graph::default();
        let mut x = graph.conv(0, &self.conv1, Activation::Relu);
        let mut done = 0;
        for (name, fires) in TAPS {
            for fire in &self.fires[done..fires] {
                let squeezed = graph.conv(x, &fire.squeeze, Activation::Relu);
                let expanded =
                    [&fire.expand1x1, &fire.expand3x3].map(|expand| graph.conv(squeezed, expand, Activation::Relu));
                x = graph.concat(expanded.to_vec());
            }
            done = fires;
            if name.starts_with("pool") {
                x = graph.max_pool(x, [3, 2, 0], true);
            }
            graph.tap(x);
        }
        x = graph.dropout(x, &self.dropout);
        x = graph.conv(x, &self.conv10, Activation::Relu);
        graph.average_to(x, [1, 1]);
        graph
    }
}

impl Backbone for SqueezeNet {
    shared_methods!(conv1);

    fn replace_classifier(&mut self, classes: usize, std: f64, device: &Device) {
        let width = self.conv10.weight.dims()[1];
        self.conv10.weight = classifier_weight([classes, width, 1, 1], std, device);
        self.conv10.bias = zero_bias(classes, device);
        self.config.num_classes = classes;
    }

    fn set_dropout(&mut self, probabilities: &[f64]) -> Result<(), BackboneConfigError> {
        error::check_dropout(probabilities, self.dropout().len())?;
        self.config.dropout = probabilities[0];
        self.dropout = DropoutConfig::new(self.config.dropout).init();
        Ok(())
    }

    /// torchvision's `squeezenet1_0`: conv1, ReLU, maximum, three fires, maximum, four fires,
    /// maximum, one fire.
    fn key_prefixes(&self) -> Vec<(String, String)> {
        const FIRES: [usize; 8] = [3, 4, 5, 7, 8, 9, 10, 12];
        let mut pairs = vec![("features.0".to_string(), "conv1".to_string())];
        for (ours, theirs) in FIRES.into_iter().enumerate() {
            for part in ["squeeze", "expand1x1", "expand3x3"] {
                pairs.push((format!("features.{theirs}.{part}"), format!("fires.{ours}.{part}")));
            }
        }
        pairs.push(("classifier.1".into(), "conv10".into()));
        pairs
    }

    fn classifier_key(&self) -> &'static str {
        "classifier.1"
    }
}
