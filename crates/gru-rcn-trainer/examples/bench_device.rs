//! Time of the model's parts on one device, at the paper's sizes, for comparison with PyTorch:
//! `tests/peers/device_bench.py` runs both.
//!
//! ```sh
//! bench_device WORKLOAD [--dtype f32|bf16] [--batch 1] [--frames 10] [--rounds 10] [--device cpu|gpu]
//! ```
//!
//! `gpu` is the first device of CUDA and needs the feature `cuda`. The workloads:
//!
//! - `cnn`: percepts of pool2 to fc7 of VGG-16 at 224×224, `batch` clips of `frames` frames
//! - `cnn-train`: the same with the backward pass to all weights
//! - `gru`: the independent GRU-RCN of the paper's five levels on given percepts
//! - `gru-train`: the same with the backward pass to all weights
//! - `recognizer`: clip to class probabilities, both together
//! - `recognizer-graph`: the same recorded once and replayed, where the backend can
//!
//! Prints one line of JSON: `ms`, the median of the rounds after two for warming up, with the least
//! and the greatest; `first_ms`, the first of those two, with compiling and tuning the kernels;
//! `graph`, whether a record was replayed; `sum` of the output.

use std::error::Error;
use std::time::Instant;

use burn::tensor::{Device, Distribution, FloatDType, Tensor};
use gru_rcn::prelude::*;
use gru_rcn::replay::Replay;

const HIDDEN: [usize; 5] = [64, 128, 256, 256, 512];
const CLASSES: usize = 101;

struct Options {
    workload: String,
    dtype: FloatDType,
    batch: usize,
    frames: usize,
    rounds: usize,
    device: Device,
}

impl Options {
    fn given() -> Result<Self, Box<dyn Error>> {
        let mut words = std::env::args().skip(1);
        let workload = words.next().ok_or("which workload?")?;
        let dtype = FloatDType::F32;
        let mut options = Self { workload, dtype, batch: 1, frames: 10, rounds: 10, device: Device::flex() };
        while let Some(flag) = words.next() {
            let value = words.next().ok_or_else(|| format!("{flag} needs a value"))?;
            match (&*flag, &*value) {
                ("--dtype", "bf16") => options.dtype = FloatDType::BF16,
                ("--dtype", "f32") => {}
                ("--batch", _) => options.batch = value.parse()?,
                ("--frames", _) => options.frames = value.parse()?,
                ("--device", "cpu") => options.device = Device::flex(),
                ("--device", "gpu") => options.device = gpu().ok_or("this build has no GPU")?,
                ("--rounds", _) => options.rounds = value.parse()?,
                _ => return Err(format!("{flag} {value}: no such option").into()),
            }
        }
        Ok(options)
    }
}

#[cfg(feature = "cuda")]
fn gpu() -> Option<Device> {
    Some(Device::cuda(0))
}

#[cfg(not(feature = "cuda"))]
fn gpu() -> Option<Device> {
    None
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::given()?;
    let plain = options.device.clone();
    let train = options.workload.ends_with("-train");
    let device = if train { plain.clone().autodiff() } else { plain.clone() };
    let random = |shape: [usize; 5]| -> Tensor<5> {
        Tensor::<5>::random(shape, Distribution::Normal(0.0, 1.0), &plain).cast(options.dtype)
    };
    let pixels = || random([options.batch, options.frames, 3, 224, 224]);
    let levels = CnnConfig::Vgg16(Vgg16Config::new()).levels();
    let recurrent = GruRcnConfig::new(levels.clone(), HIDDEN.to_vec());
    // The classifier takes float32 percepts and computes its recurrence in `dtype`.
    let classifier =
        || GruRcnClassifierConfig::new(recurrent.clone(), CLASSES).init(&plain).computing_in(options.dtype);

    let mut clock = Clock { rounds: options.rounds, times: Vec::new(), sum: 0.0, graph: false };
    match &*options.workload {
        "cnn" | "cnn-train" => {
            let (cnn, input) = (Vgg16Config::new().init(&device), pixels());
            clock.run(|| {
                let clips = if train { input.clone().autodiff() } else { input.clone() };
                finish(cnn.percepts(clips).top().sum(), train)
            });
        }
        "gru" | "gru-train" => {
            let model = recurrent.init(&device);
            let shape = |level: &Level| [options.batch, options.frames, level.channels, level.height, level.width];
            let percepts = Percepts::new(levels.iter().map(|level| random(shape(level))).collect());
            clock.run(|| {
                let percepts = percepts.clone();
                let last = model.forward(if train { percepts.autodiff() } else { percepts });
                finish(last.into_iter().map(Tensor::sum).reduce(|a, b| a + b).expect("five levels"), train)
            });
        }
        "recognizer" => {
            let (cnn, classifier, input) = (Vgg16Config::new().init(&plain), classifier(), pixels());
            clock.run(|| {
                let logits = classifier.forward(cnn.percepts(input.clone()).cast(FloatDType::F32));
                finish(logits.probabilities().sum(), false)
            });
        }
        "recognizer-graph" => {
            let (cnn, classifier, input) = (Vgg16Config::new().init(&plain), classifier(), pixels());
            let shape = input.dims();
            let mut replay = Replay::new(move |mut planes| {
                let clips = planes.remove(0).reshape(shape);
                let logits = classifier.forward(cnn.percepts(clips).cast(FloatDType::F32));
                vec![logits.probabilities().unsqueeze()]
            });
            clock.run(|| finish(replay.call(vec![input.clone().flatten(1, 2)]).remove(0).sum(), false));
            clock.graph = replay.is_recorded();
        }
        other => return Err(format!("{other}: no such workload").into()),
    }
    println!("{}", clock.json(&options.workload));
    Ok(())
}

/// The value of `loss`, after its backward pass where one is asked for.
fn finish(loss: Tensor<1>, train: bool) -> f32 {
    let gradients = train.then(|| loss.backward());
    let device = loss.device();
    let value = loss.cast(FloatDType::F32).into_scalar::<f32>();
    device.sync().expect("the device computes");
    drop(gradients);
    value
}

struct Clock {
    rounds: usize,
    times: Vec<f64>,
    sum: f32,
    graph: bool,
}

impl Clock {
    /// Times `work`, which ends when its value has been read from the device.
    fn run(&mut self, mut work: impl FnMut() -> f32) {
        for _ in 0..self.rounds.max(1) + 2 {
            let start = Instant::now();
            self.sum = work();
            self.times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }

    fn json(&self, workload: &str) -> String {
        let mut times = self.times[2..].to_vec();
        times.sort_by(f64::total_cmp);
        format!(
            "{{\"workload\": \"{workload}\", \"ms\": {:.3}, \"first_ms\": {:.1}, \"least\": {:.3}, \"greatest\": {:.3}, \
             \"graph\": {}, \"sum\": {}}}",
            times[times.len() / 2],
            self.times[0],
            times[0],
            times[times.len() - 1],
            self.graph,
            self.sum
        )
    }
}
