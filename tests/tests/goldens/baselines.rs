//! The compared systems at small widths against networks written with PyTorch's own layers: logits,
//! probabilities, loss, and the gradients of all parameters.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Int, Tensor};
use gru_rcn::baselines::{
    C3dConfig, CompositeLstmConfig, Fusion, KarpathyConfig, LrcnConfig, LstmClassifierConfig, LstmStackConfig,
    PoolingNetworkConfig, TemporalPooling, TwoStreamConfig, Windows,
};
use gru_rcn::classifier::ClipClassifier;
use gru_rcn::head::{EnsembleLogits, LossKind};
use gru_rcn::input::PixelClips;
use gru_rcn::percepts::{Level, NormRule, PerceptNormConfig, Percepts};

use crate::counter;
use crate::golden::{Golden, Worst, keys};

const SEED: u64 = 14_062_199;
const CLASSES: usize = 5;
const BATCH: usize = 2;

pub(crate) fn drawn<const D: usize>(key: &str, shape: [usize; D], bound: f64, device: &Device) -> Tensor<D> {
    counter::drawn(SEED, key, shape, bound, device)
}

/// Walks over the parameters of a system by the names that the reference gives them; those of the
/// normalisation, which it does not have, are skipped.
pub(crate) struct Names {
    system: &'static str,
    path: Vec<String>,
}

impl Names {
    pub(crate) fn of(system: &'static str) -> Self {
        Self { system, path: Vec::new() }
    }

    fn name(&self) -> Option<String> {
        let path = self.path.join(".");
        (!path.starts_with("norm")).then_some(path)
    }
}

/// Draws every weight by He's bound for its inputs, biases up to 0.1.
pub(crate) struct Draw(pub(crate) Names);

impl ModuleMapper for Draw {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.0.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.0.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(name) = self.0.name() else { return param };
        let key = format!("{}.{name}", self.0.system);
        param.map(|weight| {
            let shape = weight.dims();
            let bound = match D {
                1 => 0.1,
                2 => (6.0 / shape[0] as f64).sqrt(),
                _ => (6.0 / shape[1..].iter().product::<usize>() as f64).sqrt(),
            };
            drawn(&key, shape, bound, &weight.device()).require_grad()
        })
    }
}

struct Check<'a, 'g> {
    names: Names,
    worst: &'a mut Worst<'g>,
    gradients: &'a Gradients,
    checked: usize,
}

impl ModuleVisitor for Check<'_, '_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.names.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.names.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(name) = self.names.name() else { return };
        let gradient = param.val().grad(self.gradients).unwrap_or_else(|| panic!("{name} has no gradient"));
        self.worst.check(gradient, &[format!("{}.grad.{name}", self.names.system)]);
        self.checked += 1;
    }
}

/// The loss and all gradients of a model; `parameters` counts its tensors, so that none is missing.
pub(crate) fn check_gradients<M: Module>(
    model: &M,
    system: &'static str,
    parameters: usize,
    loss: Tensor<1>,
    worst: &mut Worst<'_>,
) -> Gradients {
    worst.check(loss.clone(), &keys(system, &["loss"]));
    let gradients = loss.backward();
    let mut check = Check { names: Names::of(system), worst, gradients: &gradients, checked: 0 };
    model.visit(&mut check);
    assert_eq!(check.checked, parameters, "{system}");
    gradients
}

fn compare<M: ClipClassifier>(
    system: &'static str,
    parameters: usize,
    clip: [usize; 4],
    build: impl FnOnce(&Device) -> M,
    input: impl FnOnce(Tensor<5>) -> M::Input,
) {
    let device = Device::flex().autodiff();
    let golden = Golden::open("baselines.safetensors");
    let mut worst = Worst::of(system, &golden);
    let model = build(&device).map(&mut Draw(Names::of(system)));
    let [time, channels, height, width] = clip;
    let clips = drawn(&format!("{system}.clip"), [BATCH, time, channels, height, width], 1.0, &device);
    let logits: EnsembleLogits = model.logits(input(clips));
    worst.check(logits.logits.clone(), &keys(system, &["logits"]));
    worst.check(logits.probabilities(), &keys(system, &["probabilities"]));
    let targets = Tensor::<1, Int>::from_ints([0, 1], &device);
    // The systems with one classifier are trained with either loss, the others with this one.
    let loss = model.loss(&logits, targets, LossKind::PerHead);
    check_gradients(&model, system, parameters, loss, &mut worst);
}

fn pixels<M: ClipClassifier<Input = PixelClips>>(
    system: &'static str,
    parameters: usize,
    clip: [usize; 4],
    build: impl FnOnce(&Device) -> M,
) {
    compare(system, parameters, clip, build, |pixels| PixelClips { pixels });
}

#[test]
fn both_two_stream_nets_match() {
    let sizes = |config: TwoStreamConfig| {
        config.with_num_classes(CLASSES).with_input_size([99, 75]).with_channels([6, 8, 7, 6, 8]).with_units([12, 10])
    };
    let dropped = |config: TwoStreamConfig| sizes(config).with_dropout(0.0);
    pixels("spatial", 16, [2, 3, 99, 75], |device| dropped(TwoStreamConfig::new()).init(device));
    pixels("temporal", 16, [2, 20, 99, 75], |device| dropped(TwoStreamConfig::temporal()).init(device));
}

#[test]
fn lrcn_matches() {
    let config = LrcnConfig::new()
        .with_num_classes(CLASSES)
        .with_input_size([83, 99])
        .with_channels([6, 8, 10, 8, 6])
        .with_units(12)
        .with_hidden(7)
        .with_dropout([0.0, 0.0]);
    pixels("lrcn", 17, [3, 3, 83, 99], |device| config.init(device));
}

#[test]
fn all_fusions_match() {
    for (system, fusion, frames) in [
        ("single", Fusion::Single, 2),
        ("early", Fusion::Early, 3),
        ("late", Fusion::Late, 4),
        ("slow", Fusion::Slow, 10),
    ] {
        let config = KarpathyConfig::new(fusion)
            .with_num_classes(CLASSES)
            .with_frames(frames)
            .with_input_size([40, 52])
            .with_channels([6, 7, 8, 6, 5])
            .with_units(12)
            .with_dropout(0.0);
        pixels(system, 16, [frames, 3, 40, 52], |device| config.init(device));
    }
}

#[test]
fn c3d_matches() {
    let config = C3dConfig::new()
        .with_num_classes(CLASSES)
        .with_frames(5)
        .with_input_size([36, 22])
        .with_channels([4, 5, 6, 5, 6, 7, 5, 6])
        .with_units(12)
        .with_dropout(0.0);
    pixels("c3d", 22, [5, 3, 36, 22], |device| config.init(device));
}

fn percepts(clips: Tensor<5>) -> Percepts {
    Percepts::new(vec![clips])
}

#[test]
fn all_poolings_match() {
    let windows = Windows::new(4, 3);
    for (system, parameters, pooling) in [
        ("late_pooling", 6, TemporalPooling::Late),
        ("slow_pooling", 6, TemporalPooling::Slow(windows)),
        ("local_pooling", 6, TemporalPooling::Local(windows)),
        ("convolution_pooling", 8, TemporalPooling::TimeConvolution(windows)),
    ] {
        let config = PoolingNetworkConfig::new(pooling, Level::new("top".into(), 4, 3, 2), 10, CLASSES)
            .with_hidden(9)
            .with_kernels(6)
            .with_dropout(0.0);
        compare(system, parameters, [10, 4, 3, 2], |device| config.init(device), percepts);
    }
}

#[test]
fn lstms_on_percepts_match() {
    let identity = PerceptNormConfig::new().with_rule(NormRule::Identity);
    let stack = LstmStackConfig::new(Level::new("top".into(), 5, 2, 2), CLASSES)
        .with_layers(3)
        .with_hidden(6)
        .with_norm(identity.clone());
    compare("lstm_stack", 11, [4, 5, 2, 2], |device| stack.init(device), percepts);
    let classifier = LstmClassifierConfig::new()
        .with_num_classes(CLASSES)
        .with_inputs(5)
        .with_hidden(6)
        .with_dropout(0.0)
        .with_norm(identity);
    compare("lstm_classifier", 10, [4, 5, 2, 2], |device| classifier.init(device), percepts);
}

/// Four vectors are read, three follow.
#[test]
fn the_composite_lstm_matches() {
    for (system, conditional, parameters) in [("conditional", true, 28), ("unconditional", false, 26)] {
        let device = Device::flex().autodiff();
        let golden = Golden::open("baselines.safetensors");
        let config = CompositeLstmConfig::new().with_inputs(5).with_hidden(6).with_conditional(conditional);
        let model = config.init(&device).map(&mut Draw(Names::of(system)));
        let sequence: Tensor<3> = drawn(&format!("{system}.clip"), [BATCH, 7, 5], 1.0, &device);
        let (input, future) = (sequence.clone().narrow(1, 0, 4), sequence.narrow(1, 4, 3));
        let mut worst = Worst::of(system, &golden);
        let output = model.forward(input.clone(), future.clone());
        worst.check(output.reconstruction, &keys(system, &["reconstruction"]));
        worst.check(output.prediction, &keys(system, &["prediction"]));
        check_gradients(&model, system, parameters, model.loss(input, future), &mut worst);
    }
}
