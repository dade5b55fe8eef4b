//! GoogLeNet (Szegedy et al. 2015, Inception v1) with batch normalisation, as torchvision has it, with
//! taps.

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{Dropout, DropoutConfig, Linear};
use burn::tensor::{Device, Tensor};

use crate::backbone::batch_norm::fold;
use crate::backbone::graph::{Activation, Compiled, Graph, Value};
use crate::backbone::layers::{LayerShape, Plan, classifier_weight, he_linear, zero_bias, zeros};
use crate::backbone::{Backbone, BackboneConfigError, FileTensors, Pixels, error};
use crate::percepts::Level;

/// Name of each inception module, and the channels of its six convolutions: 1x1, the two before and at
/// the first 3x3, the two before and at the second 3x3, and after the maximum.
const INCEPTIONS: [(&str, [usize; 6]); 9] = [
    ("inception3a", [64, 96, 128, 16, 32, 32]),
    ("inception3b", [128, 128, 192, 32, 96, 64]),
    ("inception4a", [192, 96, 208, 16, 48, 64]),
    ("inception4b", [160, 112, 224, 24, 64, 64]),
    ("inception4c", [128, 128, 256, 24, 64, 64]),
    ("inception4d", [112, 144, 288, 32, 64, 64]),
    ("inception4e", [256, 160, 320, 32, 128, 128]),
    ("inception5a", [256, 160, 320, 32, 128, 128]),
    ("inception5b", [384, 192, 384, 48, 128, 128]),
];

/// Side of the maximum with stride 2 after a module, if there is one.
fn pool_after(module: &str) -> Option<usize> {
    match module {
        "inception3b" => Some(3),
        "inception4e" => Some(2),
        _ => None,
    }
}

/// Channels of the first three convolutions, and of the last map.
const STEM: [usize; 3] = [64, 64, 192];
const TOP: usize = 1024;

/// Pixels of which every stage leaves a map that is as large as the next stage's window.
const LEAST_SIDE: usize = 31;

/// Configuration of [`GoogLeNet`].
#[derive(Config, Debug)]
pub struct GoogLeNetConfig {
    /// Classes of its own classifier; 1000 for ImageNet.
    #[config(default = 1000)]
    pub num_classes: usize,
    /// Channels of a frame: 3 for RGB, 20 for a stack of ten flow fields.
    #[config(default = 3)]
    pub in_channels: usize,
    /// Height and width of a frame, pixels; at least 31.
    #[config(default = "[224, 224]")]
    pub input_size: [usize; 2],
    /// Drop probability before the classifier, in training the CNN itself.
    #[config(default = 0.2)]
    pub dropout: f64,
    /// The taps, bottom up, among `inception3a` to `inception5b` and `pool5`.
    #[config(default = "[\"inception3b\", \"inception4e\", \"inception5b\", \"pool5\"].map(String::from).to_vec()")]
    pub tap_names: Vec<String>,
    /// Normalisation of 8-bit pixels, that of torchvision's ImageNet weights by default: to -1 to 1.
    /// torchvision gets there in two steps, by the mean and deviation of ImageNet and by the model's
    /// `transform_input`. A model with `transform_input=False` takes [`Pixels::imagenet`].
    #[config(default = "Pixels::symmetric(3)")]
    pub pixels: Pixels,
}

/// An inception module: four branches side by side.
#[derive(Module, Debug)]
pub struct Inception {
    /// 1x1.
    pub branch1: Conv2d,
    /// 1x1, then 3x3.
    pub branch2: [Conv2d; 2],
    /// 1x1, then 3x3, where the paper has 5x5; torchvision's weights are those of 3x3.
    pub branch3: [Conv2d; 2],
    /// 1x1 after a 3x3 maximum with stride 1.
    pub branch4: Conv2d,
}

/// GoogLeNet without its auxiliary classifiers: 6.6 million parameters, 1.5 billion multiplications a
/// frame of 224x224. A tap `inceptionNx` is the output of that module, at strides 8 (3a, 3b),
/// 16 (4a to 4e) and 32 (5a, 5b); `pool5` is the mean of the last one over its cells, 1,024 numbers.
///
/// The network has no batch normalisation: importing weights folds it into the convolutions before
/// it, which is exact for a frozen network. Fine-tuning trains the folded weights; statistics of
/// batches play no part in it. Exported weights are the folded ones, and import reads both kinds of
/// file. The auxiliary classifiers in a file (`aux1`, `aux2`) are not read: they serve training from
/// scratch alone.
#[derive(Module, Debug)]
pub struct GoogLeNet {
    /// 7x7 with stride 2.
    pub conv1: Conv2d,
    /// 1x1.
    pub conv2: Conv2d,
    /// 3x3.
    pub conv3: Conv2d,
    /// The inception modules 3a to 5b, bottom up.
    pub inceptions: Vec<Inception>,
    /// The classifier.
    pub classifier: Linear,
    /// Dropout before the classifier.
    pub dropout: Dropout,
    /// Its configuration.
    #[module(skip)]
    pub config: GoogLeNetConfig,
    #[module(skip)]
    compiled: Compiled,
}

impl GoogLeNetConfig {
    pub(super) const NAME: &str = "GoogLeNet";

    pub(super) fn plan(&self) -> Plan {
        fn conv(plan: &mut Plan, name: String, channels: usize, kernel: usize) {
            plan.conv(&name, channels, kernel, 1, plan.size());
            plan.activation(name + ".relu");
        }
        let pool = |plan: &mut Plan, name: String, kernel: usize| {
            plan.pool(name, plan.size().map(|side| side.saturating_sub(kernel).div_ceil(2) + 1));
        };
        let mut plan = Plan::new(self.in_channels, self.input_size);
        plan.conv("conv1", STEM[0], 7, 2, plan.size().map(|side| side.saturating_sub(1) / 2 + 1));
        plan.activation("conv1.relu");
        pool(&mut plan, "maxpool1".into(), 3);
        conv(&mut plan, "conv2".into(), STEM[1], 1);
        conv(&mut plan, "conv3".into(), STEM[2], 3);
        pool(&mut plan, "maxpool2".into(), 3);
        for (module, [ours, reduce, wide, reduce_again, wide_again, pooled]) in INCEPTIONS {
            let name = |part: &str| format!("{module}.{part}");
            let (input, size) = (plan.shape, plan.size());
            conv(&mut plan, name("branch1"), ours, 1);
            for (branch, channels) in [("branch2", [reduce, wide]), ("branch3", [reduce_again, wide_again])] {
                plan.shape = input;
                conv(&mut plan, name(&format!("{branch}.0")), channels[0], 1);
                conv(&mut plan, name(&format!("{branch}.1")), channels[1], 3);
            }
            plan.shape = input;
            plan.pool(name("branch4.0"), size);
            conv(&mut plan, name("branch4.1"), pooled, 1);
            plan.shape[0] = ours;
            plan.concat(name("concat"), wide + wide_again + pooled);
            plan.tap(module);
            if let Some(kernel) = pool_after(module) {
                pool(&mut plan, format!("{module}.maxpool"), kernel);
            }
        }
        plan.pool("pool5", [1, 1]);
        plan.tap("pool5");
        plan.linear("classifier", self.num_classes);
        plan
    }

    pub(super) fn drop_probabilities(&self) -> Vec<f64> {
        vec![self.dropout]
    }

    pub(super) fn check_architecture(&self) -> Result<(), BackboneConfigError> {
        error::check_size(Self::NAME, self.input_size, LEAST_SIDE)
    }

    pub(super) fn build(&self, device: &Device) -> GoogLeNet {
        let plan = self.plan();
        let mut convs = plan.convs(|kernel| zeros(kernel / 2), device);
        let mut conv = || convs.next().expect("the plan has every convolution");
        GoogLeNet {
            conv1: conv(),
            conv2: conv(),
            conv3: conv(),
            inceptions: INCEPTIONS
                .map(|_| Inception {
                    branch1: conv(),
                    branch2: [conv(), conv()],
                    branch3: [conv(), conv()],
                    branch4: conv(),
                })
                .into(),
            classifier: he_linear(TOP, self.num_classes, device),
            dropout: DropoutConfig::new(self.dropout).init(),
            config: self.clone(),
            compiled: Compiled::default(),
        }
    }
}

impl Inception {
    fn add_to<'a>(&'a self, graph: &mut Graph<'a>, input: Value) -> Value {
        let mut conv = |input, layer| graph.conv(input, layer, Activation::Relu);
        let mut branches = vec![conv(input, &self.branch1)];
        for [reduce, wide] in [&self.branch2, &self.branch3] {
            let reduced = conv(input, reduce);
            branches.push(conv(reduced, wide));
        }
        let pooled = graph.max_pool(input, [3, 1, 1], false);
        branches.push(graph.conv(pooled, &self.branch4, Activation::Relu));
        graph.concat(branches)
    }
}

impl GoogLeNet {
    fn graph(&self) -> Graph<'_> {
        let mut graph = Graph::default();
        let mut x = graph.conv(0, &self.conv1, Activation::Relu);
        x = graph.max_pool(x, [3, 2, 0], true);
        x = graph.conv(x, &self.conv2, Activation::Relu);
        x = graph.conv(x, &self.conv3, Activation::Relu);
        x = graph.max_pool(x, [3, 2, 0], true);
        for ((name, _), inception) in INCEPTIONS.iter().zip(&self.inceptions) {
            x = inception.add_to(&mut graph, x);
            graph.tap(x);
            if let Some(kernel) = pool_after(name) {
                x = graph.max_pool(x, [kernel, 2, 0], true);
            }
        }
        x = graph.average_to(x, [1, 1]);
        graph.tap(x);
        x = graph.dropout(x, &self.dropout);
        graph.linear(x, &self.classifier, Activation::None);
        graph
    }

    /// The convolutions by torchvision's names and by ours; their batch normalisation is `THEIRS.bn`.
    fn convolutions(&self) -> Vec<(String, String)> {
        let mut pairs: Vec<_> = ["conv1", "conv2", "conv3"].map(|name| (name.to_owned(), name.to_owned())).into();
        for (index, (module, _)) in INCEPTIONS.iter().enumerate() {
            for part in ["branch1", "branch2.0", "branch2.1", "branch3.0", "branch3.1", "branch4"] {
                // torchvision counts the maximum.
                let theirs = if part == "branch4" { "branch4.1" } else { part };
                pairs.push((format!("{module}.{theirs}"), format!("inceptions.{index}.{part}")));
            }
        }
        pairs
    }
}

impl Backbone for GoogLeNet {
    shared_methods!(conv1);

    fn replace_classifier(&mut self, classes: usize, std: f64, device: &Device) {
        self.classifier.weight = classifier_weight([TOP, classes], std, device);
        self.classifier.bias = zero_bias(classes, device);
        self.config.num_classes = classes;
    }

    fn set_dropout(&mut self, probabilities: &[f64]) -> Result<(), BackboneConfigError> {
        error::check_dropout(probabilities, self.dropout().len())?;
        self.config.dropout = probabilities[0];
        self.dropout = DropoutConfig::new(self.config.dropout).init();
        Ok(())
    }

    /// torchvision's `googlenet`.
    fn key_prefixes(&self) -> Vec<(String, String)> {
        let convolutions = self.convolutions().into_iter().map(|(theirs, ours)| (theirs + ".conv", ours));
        convolutions.chain([("fc".into(), "classifier".into())]).collect()
    }

    fn classifier_key(&self) -> &'static str {
        "fc"
    }

    /// Folds every batch normalisation into the convolution before it, and removes the auxiliary
    /// classifiers.
    fn convert_weights(&self, tensors: &mut FileTensors) {
        for (name, _) in self.convolutions() {
            fold(tensors, &format!("{name}.conv"), &format!("{name}.bn"));
        }
        tensors.retain(|key, _| !key.starts_with("aux1.") && !key.starts_with("aux2."));
    }
}
