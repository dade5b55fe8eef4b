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
//! - `pool2`, `pool3`, `pool4`, `pool5`, `fc7`: the paper's ConvGRU of that level on given percepts,
//!   forward, then with the backward pass to its weights
//! - `recognizer`: clip to class probabilities, CNN and five levels together, then the same recorded
//!   once and replayed, where the backend can
//! - `small`: the same with a small CNN at 32×32 and two levels, for a first look
//!
//! Prints a line of JSON for each measurement: `ms`, the median of the rounds after two for warming
//! up, with the least and the greatest; `first_ms`, the first of those two, with compiling and tuning
//! the kernels; `graph`, whether a record was replayed; `sum` of the output.

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
    let random = |shape: [usize; 5]| -> Tensor<5> {
        Tensor::<5>::random(shape, Distribution::Normal(0.0, 1.0), &plain).cast(options.dtype)
    };
    let pixels = || random([options.batch, options.frames, 3, 224, 224]);
    let levels = CnnConfig::Vgg16(Vgg16Config::new()).levels();

    match &*options.workload {
        "cnn" | "cnn-train" => {
            let train = options.workload == "cnn-train";
            let device = if train { plain.clone().autodiff() } else { plain.clone() };
            let (cnn, input) = (Vgg16Config::new().init(&device), pixels());
            time(&options, &options.workload, || {
                let clips = if train { input.clone().autodiff() } else { input.clone() };
                (finish(cnn.percepts(clips).top().sum(), train), false)
            });
        }
        "recognizer" | "small" => {
            let (config, hidden, size) = match &*options.workload {
                "small" => {
                    (CnnConfig::Vgg16(Vgg16Config::small(8, [32, 32]).with_taps(["pool3", "fc7"])), vec![32; 2], 32)
                }
                _ => (CnnConfig::Vgg16(Vgg16Config::new()), HIDDEN.to_vec(), 224),
            };
            // The classifier takes float32 percepts and computes its recurrence in `dtype`.
            let recurrent = GruRcnConfig::new(config.levels(), hidden);
            let classifier = GruRcnClassifierConfig::new(recurrent, CLASSES).init(&plain).computing_in(options.dtype);
            let (cnn, input) = (config.init(&plain), random([options.batch, options.frames, 3, size, size]));
            let shape = input.dims();
            let probabilities =
                move |clips: Tensor<5>| classifier.forward(cnn.percepts(clips).cast(FloatDType::F32)).probabilities();
            time(&options, &options.workload, || (finish(probabilities(input.clone()).sum(), false), false));
            let mut replay =
                Replay::new(move |mut planes| vec![probabilities(planes.remove(0).reshape(shape)).unsqueeze()]);
            time(&options, &format!("{}-graph", options.workload), || {
                let found = replay.call(vec![input.clone().flatten(1, 2)]).remove(0);
                (finish(found.sum(), false), replay.is_recorded())
            });
            if let Some(reason) = replay.refusal() {
                eprintln!("{}: not replayed: {reason}", options.workload);
            }
        }
        name => {
            let Some(level) = levels.iter().position(|level| level.name == name) else {
                return Err(format!("{name}: no such workload").into());
            };
            let hidden = vec![HIDDEN[level]];
            let level = levels[level].clone();
            let shape = [options.batch, options.frames, level.channels, level.height, level.width];
            let (config, percepts) = (GruRcnConfig::new(vec![level], hidden), Percepts::new(vec![random(shape)]));
            let model = config.init(&plain);
            time(&options, name, || (finish(model.forward(percepts.clone()).remove(0).sum(), false), false));
            let model = config.init(&plain.autodiff());
            time(&options, &format!("{name}-train"), || {
                (finish(model.forward(percepts.clone().autodiff()).remove(0).sum(), true), false)
            });
        }
    }
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

/// Times `work`, which ends when its value has been read from the device, and says whether it was
/// replayed.
fn time(options: &Options, workload: &str, mut work: impl FnMut() -> (f32, bool)) {
    let mut times = Vec::new();
    let (mut sum, mut graph) = (0.0, false);
    for _ in 0..options.rounds.max(1) + 2 {
        let start = Instant::now();
        (sum, graph) = work();
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let first = times[0];
    times.drain(..2);
    times.sort_by(f64::total_cmp);
    println!(
        "{{\"workload\": \"{workload}\", \"ms\": {:.3}, \"first_ms\": {first:.1}, \"least\": {:.3}, \"greatest\": {:.3}, \
         \"graph\": {graph}, \"sum\": {sum}}}",
        times[times.len() / 2],
        times[0],
        times[times.len() - 1],
    );
}
