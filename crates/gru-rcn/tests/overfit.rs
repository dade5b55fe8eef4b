//! Every compared system learns sixteen clips of four classes by heart, at a small width.
//!
//! A clip is a picture of noise of its own with other noise on every frame, so that a system needs
//! its capacity and its gradients and no more, whether it sees single frames or all of them.

use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Int, Tensor, TensorData};
use gru_rcn::baselines::{Baseline, BaselineModel, BaselineOptions, BaselineVisitor, PixelBaseline, PixelOptions};
use gru_rcn::classifier::ClipClassifier;
use gru_rcn::head::LossKind;
use gru_rcn::input::{ClipInput, PixelClips};
use gru_rcn::percepts::{Level, NormRule, PerceptNormConfig, PerceptStatistics, Percepts};
use noise::noise;

mod noise;

const CLIPS: usize = 16;
const CLASSES: usize = 4;
/// Steps after which a system must have learnt.
const STEPS: usize = 300;

/// Clips `[clip, time, channel, height, width]`.
fn clips([time, channels, height, width]: [usize; 4], device: &Device) -> Tensor<5> {
    let pictures = noise(1, [CLIPS, 1, channels, height, width], device);
    pictures + noise(2, [CLIPS, time, channels, height, width], device) * 0.2
}

/// Trains until every clip is classified right; returns the number of steps.
fn steps_to_learn<M: ClipClassifier>(model: M, input: M::Input, rate: f64) -> Option<usize> {
    let device = Device::flex();
    let classes: Vec<i64> = (0..CLIPS).map(|clip| (clip % CLASSES) as i64).collect();
    let classes = Tensor::<1, Int>::from_data(TensorData::new(classes, [CLIPS]), &device);
    let mut model = model.train();
    let mut optimizer = AdamConfig::new().with_epsilon(1e-8).init();
    (1..=STEPS).find(|_| {
        let logits = model.logits(input.clone().autodiff());
        let found = logits.log_probabilities().detach().inner().argmax(1).squeeze_dim::<1>(1);
        let learnt = found.equal(classes.clone()).all().into_scalar::<bool>();
        let loss = model.loss(&logits, classes.clone().autodiff(), LossKind::PerHead);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(rate, model.clone(), gradients);
        learnt
    })
}

struct Overfit(Baseline);

impl BaselineVisitor for Overfit {
    type Output = Option<usize>;

    fn visit<M: BaselineModel>(self) -> Option<usize> {
        let device = Device::flex();
        let percepts = Percepts::new(vec![clips([8, 32, 2, 2], &device)]);
        let mut statistics = PerceptStatistics::default();
        statistics.observe(&M::measured(percepts.clone()));
        let options = BaselineOptions {
            levels: vec![Level::new("top".into(), 32, 2, 2)],
            time: 8,
            // Five layers of fewer units pass too little on.
            hidden: if self.0 == Baseline::LstmStack { 128 } else { 32 },
            num_classes: CLASSES,
            norm: PerceptNormConfig::new().with_rule(NormRule::Scale),
            dropout: 0.0,
        };
        steps_to_learn(M::init_fitted(&options, &statistics, &device), percepts, 0.01)
    }

    fn visit_pixels<M: PixelBaseline>(self) -> Option<usize> {
        let device = Device::flex();
        let frames = if self.0 == Baseline::SlowFusion { 10 } else { 4 };
        let side = 72;
        let options = PixelOptions {
            num_classes: CLASSES,
            in_channels: 3,
            frames,
            input_size: [side, side],
            width: 1.0 / 16.0,
            dropout: Some(0.0),
        };
        let input = PixelClips { pixels: clips([frames, 3, side, side], &device) };
        steps_to_learn(M::from_options(&options, &device).unwrap(), input, 0.002)
    }
}

#[test]
fn every_baseline_learns_sixteen_clips() {
    for &baseline in Baseline::ALL {
        let started = std::time::Instant::now();
        Device::flex().seed(1);
        let steps = baseline.visit(Overfit(baseline));
        println!("{}: {steps:?} steps, {:.1} s", baseline.key(), started.elapsed().as_secs_f64());
        assert!(steps.is_some(), "{}: not learnt in {STEPS} steps", baseline.key());
    }
}
