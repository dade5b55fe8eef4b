//! Training by Burn's own learner, here on a bar that sweeps to the left or to the right.
//!
//!     cargo run --release -p gru-rcn --example learner --features train

use burn::data::dataloader::DataLoaderBuilder;
use burn::data::dataloader::batcher::Batcher;
use burn::data::dataset::InMemDataset;
use burn::module::Module;
use burn::optim::AdamConfig;
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn::train::metric::{AccuracyMetric, LossMetric};
use burn::train::{Learner, SupervisedTraining};
use gru_rcn::backbone::Vgg16;
use gru_rcn::classifier::PerceptBatch;
use gru_rcn::prelude::*;

const SIDE: usize = 16;
const TIME: usize = 8;

/// A clip `[time, height, width, channel]` of one class, and the class.
fn sweep(index: usize) -> (Vec<u8>, i32) {
    let class = index % 2;
    let left = |t: usize| index / 2 + 2 * if class == 1 { t } else { TIME - t };
    let byte = |t: usize, pixel: usize| if (pixel % SIDE + 4 * SIDE - left(t)) % SIDE < 4 { 200 } else { 30 };
    let frame = |t: usize| (0..SIDE * SIDE).flat_map(move |pixel| [byte(t, pixel); 3]);
    ((0..TIME).flat_map(frame).collect(), class as i32)
}

/// Makes percepts of clips. The CNN is on the plain device, so it is frozen.
struct ToPercepts {
    cnn: Vgg16,
    training: bool,
}

impl Batcher<(Vec<u8>, i32), PerceptBatch> for ToPercepts {
    fn batch(&self, clips: Vec<(Vec<u8>, i32)>, _: &Device) -> PerceptBatch {
        let device = Device::flex();
        let (pixels, classes): (Vec<_>, Vec<_>) = clips.into_iter().unzip();
        let shape = [classes.len(), TIME, SIDE, SIDE, 3];
        let pixels = Tensor::<5, Int>::from_data(TensorData::new(pixels.concat(), shape), &device);
        let percepts = self.cnn.percepts(self.cnn.pixels().normalise(pixels));
        let targets = Tensor::from_ints(classes.as_slice(), &device);
        match self.training {
            true => PerceptBatch { percepts: percepts.autodiff(), targets: targets.autodiff() },
            false => PerceptBatch { percepts, targets },
        }
    }
}

fn main() {
    let device = Device::flex();
    device.seed(1);
    let cnn = Vgg16Config::small(2, [SIDE, SIDE]).with_taps(["pool1", "pool2", "fc7"]).init(&device);
    let recurrent = GruRcnConfig::new(cnn.levels(), vec![6, 6, 12]);
    let model = GruRcnClassifierConfig::new(recurrent, 2).init(&device).train(); // onto the autodiff device
    let loader = |training, clips: std::ops::Range<usize>| {
        let data = InMemDataset::new(clips.map(sweep).collect());
        DataLoaderBuilder::new(ToPercepts { cnn: cnn.clone(), training }).batch_size(8).shuffle(1).build(data)
    };
    let artifacts = std::env::temp_dir().join(format!("gru-rcn-learner-{}", std::process::id()));
    let result = SupervisedTraining::new(&artifacts, loader(true, 0..48), loader(false, 48..64))
        .metrics((AccuracyMetric::new(), LossMetric::new()))
        .num_epochs(10)
        .summary()
        .launch(Learner::new(model, AdamConfig::new().init(), 1e-2));
    println!("{} parameters trained", result.model.num_params());
}
