//! Trains a CNN and GRU-RCN together on a folder of class folders, and saves both for
//! `Recognizer::open`. With ImageNet weights the CNN is SqueezeNet, without a small network that
//! learns from nothing.
//!
//!     cargo run --release -p gru-rcn --example fine_tune -- CLIPS OUT [squeezenet1_0-b66bff10.pth]

use std::error::Error;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Int, Tensor, TensorData};
use gru_rcn::input::{ClipInput, PixelClips};
use gru_rcn::prelude::*;
use gru_rcn_data::{
    ClipPlanner, ClipReader, CropRule, Dataset, FolderOptions, Modality, Photometric, PlanKey, Sample,
    TemporalSampling, epoch_order,
};

/// Clips of the same length as normalised pixels, and their classes. With an epoch they are cut out at
/// random, a new way in every epoch.
fn read(samples: &[&Sample], planner: &ClipPlanner, epoch: Option<u64>, cnn: &Cnn) -> Result<Batch, Box<dyn Error>> {
    let (reader, device, mut bytes) = (ClipReader::default(), Device::flex(), Vec::new());
    for sample in samples {
        let key = epoch.map(|epoch| PlanKey { seed: 1, epoch, sample: sample.id.clone() });
        bytes.append(&mut reader.read_clips(sample, planner, &[key])?[0].data);
    }
    let [height, width] = planner.input_size;
    let shape = [samples.len(), planner.temporal.frames(), height, width, 3];
    let pixels = cnn.pixels().normalise(Tensor::<5, Int>::from_data(TensorData::new(bytes, shape), &device));
    let classes: Vec<i32> = samples.iter().map(|sample| sample.class as i32).collect();
    Ok((PixelClips { pixels }, Tensor::from_ints(classes.as_slice(), &device)))
}

type Batch = (PixelClips, Tensor<1, Int>);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [clips, out, weights @ ..] = &arguments[..] else { return Err("give CLIPS OUT [WEIGHTS]".into()) };
    let dataset = Dataset::from_folder(&FolderOptions { root: clips.clone(), ..FolderOptions::default() })?;
    let device = Device::flex();
    device.seed(1);
    let (cnn, size) = match weights.first() {
        Some(file) => (import_torchvision(SqueezeNetConfig::new().init(&device), file)?.into(), [224, 224]),
        None => (Cnn::from(Vgg16Config::small(8, [32, 32]).with_taps(["pool2", "fc7"]).init(&device)), [32, 32]),
    };
    let planner = ClipPlanner {
        modality: Modality::Rgb,
        temporal: TemporalSampling::Consecutive { frames: 8 },
        frame_size: size,
        input_size: size,
        crop: CropRule::Uniform { min_scale: 0.8 },
        flip: false, // left and right may be classes
        photometric: Photometric::default(),
    };
    let train: Vec<&Sample> = dataset.train.iter().collect();
    let recurrent = GruRcnConfig::new(cnn.levels(), vec![16; cnn.levels().len()]);
    let norm = PerceptNormConfig::new().with_rule(NormRule::CausalCentre); // takes streams, too
    let mut statistics = PerceptStatistics::default();
    statistics.observe(&cnn.percepts(read(&train[..train.len().min(8)], &planner, None, &cnn)?.0.pixels));
    let classifier = GruRcnClassifierConfig::new(recurrent, dataset.classes.len()).with_norm(norm);
    let classifier = classifier.init_fitted(&statistics, &device);

    let mut model = Recognizer { backbone: cnn.clone(), classifier }.train();
    let mut optimizer = AdamConfig::new().init();
    for epoch in 0..10 {
        for batch in epoch_order(1, epoch, train.len()).chunks(4) {
            let samples: Vec<&Sample> = batch.iter().map(|&index| train[index]).collect();
            let (clips, classes) = read(&samples, &planner, Some(epoch), &cnn)?;
            let logits = model.logits(clips.autodiff());
            let loss = model.loss(&logits, classes.autodiff(), LossKind::PerHead);
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            model = optimizer.step(3e-3, model, gradients);
        }
    }
    let model = model.valid();
    let test: Vec<&Sample> = dataset.test.iter().collect();
    let (clips, classes) = read(&test, &planner, None, &cnn)?;
    let found = model.logits(clips).probabilities().argmax(1).squeeze_dim::<1>(1).equal(classes);
    println!("{} of {} test clips correct", found.int().sum().into_scalar::<i64>(), test.len());
    std::fs::create_dir_all(out)?;
    model.save(Path::new(out), dataset.classes)?;
    Ok(())
}
