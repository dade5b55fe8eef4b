//! Learning, without pretrained weights: a bar that sweeps to the left or to the right.
//!
//! The bar wraps around and in eight steps of two pixels visits the same eight places in either
//! direction. So every frame of one class occurs in the other, and even the set of a clip's frames
//! is the same. A classifier of single frames can only guess, and a model of their order has all it
//! needs.

use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Int, Tensor, TensorData};
use gru_rcn::backbone::{Backbone, Vgg16, Vgg16Config};
use gru_rcn::baselines::FrameClassifierConfig;
use gru_rcn::classifier::{ClipClassifier, GruRcnClassifierConfig};
use gru_rcn::head::LossKind;
use gru_rcn::percepts::{PerceptNorm, PerceptStatistics, Percepts};
use gru_rcn::recurrent::GruRcnConfig;

const SIDE: usize = 16;
const TIME: usize = 8;

/// Pseudo-random bytes; a linear congruential generator suffices for noise.
struct Noise(u64);

impl Noise {
    fn byte(&mut self) -> u8 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 56) as u8
    }
}

/// Difference between the two classes.
#[derive(Clone, Copy, PartialEq)]
enum Task {
    /// Whether the bar moves to the left or to the right, from anywhere.
    Direction,
    /// Whether the bar, at rest, stands in the left or in the right half.
    Place,
}

/// Clips `[clips, time, side, side, 3]` and their classes, 0 and 1 in turn. The bar is four pixels
/// wide and brighter by 128 to 191 than a noisy background of up to 63.
fn clips(task: Task, count: usize, seed: u64, device: &Device) -> (Tensor<5, Int>, Tensor<1, Int>) {
    let mut noise = Noise(seed);
    let mut pixels = Vec::with_capacity(count * TIME * SIDE * SIDE * 3);
    let classes: Vec<usize> = (0..count).map(|clip| clip % 2).collect();
    for &class in &classes {
        let (start, bright) = (usize::from(noise.byte()), 128 + i64::from(noise.byte() / 4));
        for t in 0..TIME {
            let left = match task {
                Task::Direction => start + 2 * if class == 1 { t } else { TIME - t },
                Task::Place => SIDE / 2 * class + start % (SIDE / 2 - 3),
            };
            for pixel in 0..SIDE * SIDE {
                let in_bar = (pixel % SIDE + 256 * SIDE - left) % SIDE < 4;
                let value = if in_bar { bright } else { 0 } + i64::from(noise.byte() / 4);
                pixels.extend([value; 3]);
            }
        }
    }
    let clips = TensorData::new(pixels, [count, TIME, SIDE, SIDE, 3]);
    let classes = classes.into_iter().map(|class| class as i64).collect();
    (Tensor::from_data(clips, device), Tensor::from_data(TensorData::new::<i64, _>(classes, [count]), device))
}

fn percepts(cnn: &Vgg16, clips: Tensor<5, Int>) -> Percepts {
    cnn.percepts(cnn.pixels().normalise(clips))
}

/// Trains on all clips at once and returns the accuracy on others.
fn accuracy<C: ClipClassifier<Input = Percepts>>(model: C, [train, test]: &[(Percepts, Tensor<1, Int>); 2]) -> f64 {
    let mut model = model.train();
    let mut optimizer = AdamConfig::new().with_epsilon(1e-8).init();
    let classes = train.1.clone().autodiff();
    for _ in 0..40 {
        let logits = model.logits(train.0.clone().autodiff());
        let loss = model.loss(&logits, classes.clone(), LossKind::PerHead);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(0.01, model, gradients);
    }
    let found = model.valid().logits(test.0.clone()).log_probabilities().argmax(1).squeeze_dim::<1>(1);
    f64::from(found.equal(test.1.clone()).float().mean().into_scalar::<f32>())
}

/// All models see the percepts of one CNN with fixed random weights. The frame classifier learns
/// the bar's place, so its failure at the direction is not one of training.
#[test]
fn direction_is_learnt_by_recurrence_only() {
    let device = Device::flex();
    device.seed(7);
    let config = Vgg16Config::small(2, [SIDE, SIDE]).with_taps(["pool1", "pool2", "fc7"]);
    let cnn = config.init(&device);
    let data = |task| {
        [(64, 1), (100, 2)].map(|(count, seed)| {
            let (clips, classes) = clips(task, count, seed, &device);
            (percepts(&cnn, clips), classes)
        })
    };
    let (direction, place) = (data(Task::Direction), data(Task::Place));

    let mut statistics = PerceptStatistics::default();
    statistics.observe(&direction[0].0);
    let recurrent = GruRcnConfig::new(cnn.levels(), vec![6, 6, 12]);
    let model = GruRcnClassifierConfig::new(recurrent, 2).with_dropout(0.2).init_fitted(&statistics, &device);
    let found = accuracy(model, &direction);
    println!("direction by GRU-RCN: {found:.2}");
    assert!(found > 0.95);

    let by_frame = |data: &[(Percepts, Tensor<1, Int>); 2]| {
        let mut top = PerceptStatistics::default();
        top.observe(&Percepts::new(vec![data[0].0.top()]));
        let mut model = FrameClassifierConfig::new(cnn.levels().pop().unwrap(), 2).with_dropout(0.2).init(&device);
        model.norm = PerceptNorm::fit(FrameClassifierConfig::norm(), &top, &device);
        accuracy(model, data)
    };
    let (found, control) = (by_frame(&direction), by_frame(&place));
    println!("direction frame by frame: {found:.2}, place: {control:.2}");
    assert!(control > 0.95);
    // A hundred tosses of a coin: three standard deviations are 15.
    assert!((0.35..=0.65).contains(&found));
}
