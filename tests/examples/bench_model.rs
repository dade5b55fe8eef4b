//! Times two things that a user waits for, on the CPU: `bench_model step|stream [--seconds S]`
//! repeats one of them for a second or `S` and prints what it costs as a line of JSON.
//!
//! - `step`: a training step of the recipe `egogestar` on percepts: the bi-directional GRU-RCN
//!   with its loss, gradients and Adam
//! - `stream`: one frame through SqueezeNet and one step of an independent GRU-RCN
//!
//! `tests/peers/ops_bench.py` does the same with PyTorch, from the same weights and inputs.

#[path = "../../crates/gru-rcn-ops/examples/bench_ops/timing.rs"]
mod timing;

use burn::module::{Module, ModuleMapper, Param};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Int, Tensor, TensorData};
use gru_rcn::prelude::*;

use timing::{mean_size, measure, values};

const CLASSES: usize = 10;
const HIDDEN: usize = 32;
const FRAME: [usize; 2] = [96, 128];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (name, seconds) = match words[..] {
        [name] => (name, 1.0),
        [name, "--seconds", seconds] => (name, seconds.parse().expect("--seconds needs a number")),
        _ => ("", 0.0),
    };
    match name {
        "step" => step(seconds),
        "stream" => stream(seconds),
        _ => {
            eprintln!("usage: bench_model step|stream [--seconds S]");
            std::process::exit(2);
        }
    }
}

fn step(seconds: f64) {
    const CLIPS: usize = 16;
    const TIME: usize = 16;
    let device = Device::flex();
    let level = cnn(&device).levels()[0].clone();
    let shape = [CLIPS, TIME, level.channels, level.height, level.width];
    let recurrent = GruRcnConfig::new(vec![level], vec![HIDDEN]).with_form(Form::Bidirectional);
    let config = GruRcnClassifierConfig::new(recurrent, CLASSES).with_dropout(0.0);
    let mut model = redrawn(config.init(&device)).train();
    let mut optimizer = AdamConfig::new().with_epsilon(1e-8).init();
    let targets: Vec<i64> = (0..CLIPS as i64).map(|clip| clip % CLASSES as i64).collect();
    let targets: Tensor<1, Int> = Tensor::from_data(targets.as_slice(), &device.clone().autodiff());
    let percepts = Percepts::new(vec![drawn(shape, &device)]);
    let mut first = None;
    let cost = measure(seconds, || {
        let loss = model.loss(&model.forward(percepts.clone().autodiff()), targets.clone(), LossKind::PerHead);
        first.get_or_insert_with(|| loss.clone().into_scalar::<f32>());
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(1e-3, model.clone(), gradients);
    });
    cost.print("step", first.expect("a step was taken").into());
}

fn stream(seconds: f64) {
    let device = Device::flex();
    let cnn = cnn(&device);
    let recurrent = GruRcnConfig::new(cnn.levels(), vec![HIDDEN]);
    let norm = PerceptNormConfig::new().with_rule(NormRule::Identity);
    let model = redrawn(GruRcnClassifierConfig::new(recurrent, CLASSES).with_norm(norm).init(&device));
    let frame: Tensor<4> = drawn([1, 3, FRAME[0], FRAME[1]], &device);
    let (mut state, mut first) = (StreamState::default(), None);
    let cost = measure(seconds, || {
        let logits: Vec<f32> =
            model.step(cnn.taps(frame.clone()), &mut state).logits.into_data().try_into_vec().unwrap();
        first.get_or_insert(mean_size(&logits));
    });
    cost.print("stream", first.expect("a frame was seen"));
}

/// SqueezeNet up to its last pool, biases 0.01.
fn cnn(device: &Device) -> Cnn {
    let options =
        NetworkOptions { num_classes: CLASSES, in_channels: 3, input_size: FRAME, taps: vec!["pool8".into()] };
    let cnn = Network::Squeezenet.config(&options).init(device);
    cnn.map(&mut Redraw(|fan_in| (6.0 / fan_in as f32).sqrt()))
}

/// A model with other weights, the constants of its normalisation kept.
fn redrawn(model: GruRcnClassifier) -> GruRcnClassifier {
    let redraw = &mut Redraw(|_| 0.02);
    GruRcnClassifier { recurrent: model.recurrent.map(redraw), heads: model.heads.map(redraw), ..model }
}

fn drawn<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values(shape.iter().product(), 1.0), shape), device)
}

/// Gives every weight the values that the script gives it, with the scale of its inputs' number;
/// biases become 0.01.
struct Redraw(fn(usize) -> f32);

impl ModuleMapper for Redraw {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|weight| {
            let (shape, device) = (weight.dims(), weight.device());
            if D == 1 {
                return weight.zeros_like() + 0.01;
            }
            let scale = self.0(shape[1..].iter().product());
            Tensor::from_data(TensorData::new(values(shape.iter().product(), scale), shape), &device)
        })
    }
}
