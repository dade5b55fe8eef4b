//! Training of a classifier of single numbers, small enough to follow by hand.

use std::cell::Cell;
use std::fs;

use burn::module::Module;
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::tensor::{Tensor, TensorData};
use gru_rcn::head::LevelLogits;
use gru_rcn::percepts::Percepts;
use gru_rcn_data::DataError;
use serde_json::Value;

use super::*;
use crate::parallel::Replicas;
use crate::percepts::{BadClips, Batch};
use crate::progress::StepReport;
use crate::recipe::OptimizerName;

/// Two classes by one number.
#[derive(Module, Debug)]
struct Line {
    linear: Linear,
}

impl ClipClassifier for Line {
    fn logits(&self, percepts: Percepts) -> LevelLogits {
        let clips = percepts.batch();
        LevelLogits { logits: self.linear.forward(percepts.top().reshape([clips, 1])).unsqueeze() }
    }
}

/// Weights and biases of 0: both classes are as probable.
fn line() -> Line {
    let config = LinearConfig::new(1, 2).with_initializer(Initializer::Zeros);
    Line { linear: config.init(&Device::flex().autodiff()) }
}

/// Clips of one number each.
struct Numbers {
    values: Vec<f32>,
    classes: Vec<usize>,
    /// Of these, none is handed out.
    bad: Vec<usize>,
}

fn numbers(values: &[f32], classes: &[usize]) -> Numbers {
    Numbers { values: values.to_vec(), classes: classes.to_vec(), bad: Vec::new() }
}

impl Source for Numbers {
    fn classes(&self) -> &[usize] {
        &self.classes
    }

    fn batches<'a>(
        &'a self,
        order: Vec<usize>,
        _epoch: Option<u64>,
        batch: usize,
    ) -> Box<dyn Iterator<Item = Result<Batch>> + 'a> {
        let parts: Vec<Vec<usize>> = order.chunks(batch).map(<[usize]>::to_vec).collect();
        Box::new(parts.into_iter().map(|part| {
            let clips: Vec<usize> = part.iter().copied().filter(|clip| !self.bad.contains(clip)).collect();
            let values: Vec<f32> = clips.iter().map(|&clip| self.values[clip]).collect();
            let shape = [clips.len(), 1, 1, 1, 1];
            let map = || Tensor::from_data(TensorData::new(values, shape), &Device::flex());
            Ok(Batch {
                percepts: Percepts { maps: if clips.is_empty() { Vec::new() } else { vec![map()] } },
                classes: clips.iter().map(|&clip| self.classes[clip]).collect(),
                bad: part.len() - clips.len(),
                clips,
            })
        }))
    }
}

/// Somebody who asks for a stop after so many steps.
#[derive(Default)]
struct Impatient {
    steps: usize,
    patience: Cell<Option<usize>>,
    told: Vec<String>,
}

impl Progress for Impatient {
    fn start(&mut self, _: &StagePlan) {}
    fn step(&mut self, _: &StepReport) {
        self.steps += 1;
    }
    fn epoch(&mut self, _: &EpochReport) {}
    fn message(&mut self, text: &str) {
        self.told.push(text.into());
    }
    fn finish(&mut self) {}
    fn should_stop(&self) -> bool {
        self.patience.get().is_some_and(|patience| self.steps >= patience)
    }
}

struct Bench {
    folder: tempfile::TempDir,
    training: TrainingSection,
    replicas: Replicas,
}

impl Bench {
    fn new(training: TrainingSection) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), training, replicas: Replicas::new(Device::flex(), Vec::new()) }
    }

    /// Trains, or goes on with it, until `steps` more are done.
    fn train(&self, train: &Numbers, steps: Option<usize>) -> (Result<Trained<Line>>, Vec<String>) {
        let run = match self.folder.path().join("recipe.toml").exists() {
            true => RunDir::open(self.folder.path()).unwrap(),
            false => RunDir::create(self.folder.path()).unwrap(),
        };
        run.write("recipe.toml", b"").unwrap();
        let (stop, device) = (StopFlag::default(), Device::flex());
        let mut progress = Impatient { patience: Cell::new(steps), ..Impatient::default() };
        let validation = numbers(&[-1.0, 1.0, 2.0], &[0, 1, 1]);
        let trained = self.fit(&run, &stop, &device).run(line(), train, &validation, &mut progress);
        (trained, progress.told)
    }

    fn fit<'a>(&'a self, run: &'a RunDir, stop: &'a StopFlag, device: &'a Device) -> Fit<'a> {
        let (key, name, levels, loss) = ("line", "Line", Vec::new(), LossKind::PerHead);
        Fit {
            key,
            name,
            levels,
            training: &self.training,
            keep: Keep::Best,
            loss,
            rate_factors: Vec::new(),
            seed: 1,
            device,
            replicas: &self.replicas,
            run,
            stop,
        }
    }

    fn lines(&self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// What `metrics.jsonl` tells, but for times.
    fn metrics(&self) -> Vec<Value> {
        let mut lines = self.lines("metrics.jsonl");
        for line in &mut lines {
            for key in ["seconds", "data_wait_seconds"] {
                assert!(line.as_object_mut().unwrap().remove(key).is_some(), "{key}");
            }
        }
        lines
    }
}

fn values(model: &Line) -> Vec<f32> {
    let linear = &model.linear;
    let mut values = linear.weight.val().into_data().try_into_vec::<f32>().unwrap();
    values.extend(linear.bias.as_ref().unwrap().val().into_data().try_into_vec::<f32>().unwrap());
    values
}

fn sgd() -> TrainingSection {
    TrainingSection {
        epochs: 1,
        batch: 2,
        accumulate: 2,
        optimizer: OptimizerName::Sgd,
        momentum: 0.0,
        learning_rate: 1.0,
        patience: 99,
        ..Default::default()
    }
}

/// Both probabilities are ½, so the gradient by the logit of class 0 is −½ for a clip of class 0 and ½ for one of class 1.
/// Over the clips 1 and 2 of class 0 and 6 of class 1 the weight's mean is (−½ − 1 + 3) / 3 = ½, the bias's
/// (−½ − ½ + ½) / 3 = −⅙, and class 1 has the opposite. One step of rate 1 takes these away from 0. It is the same for one
/// batch of three and for two of which the last is ragged, in whatever order; averages of averages would differ.
#[test]
fn a_step_of_several_batches_averages_over_clips() {
    let clips = numbers(&[1.0, 2.0, 6.0], &[0, 0, 1]);
    for (batch, accumulate) in [(3, 1), (2, 2), (1, 3), (1, 7)] {
        let bench = Bench::new(TrainingSection { batch, accumulate, ..sgd() });
        let trained = bench.train(&clips, None).0.unwrap();
        let expected = [-0.5, 0.5, 1.0 / 6.0, -1.0 / 6.0];
        for (value, expected) in values(&trained.model).into_iter().zip(expected) {
            assert!((value - expected).abs() < 1e-6, "{batch} x {accumulate}: {value} instead of {expected}");
        }
        assert_eq!(trained.course.steps, 1);
        // The loss of both was ln 2.
        let line = &bench.metrics()[0];
        assert!((line["train"]["loss"].as_f64().unwrap() - std::f64::consts::LN_2).abs() < 1e-6, "{line}");
    }
}

/// A clip that cannot be read has no part in the average: of 1 and 2, both of class 0, it is −¾.
#[test]
fn bad_clips_are_left_out_of_the_average_and_counted() {
    let clips = Numbers { bad: vec![2], ..numbers(&[1.0, 2.0, 6.0], &[0, 0, 1]) };
    for (batch, accumulate) in [(3, 1), (1, 3)] {
        let bench = Bench::new(TrainingSection { batch, accumulate, ..sgd() });
        let trained = bench.train(&clips, None).0.unwrap();
        assert!((values(&trained.model)[0] - 0.75).abs() < 1e-6);
        let line = &bench.metrics()[0];
        assert_eq!((line["bad_clips"].as_u64(), line["train"]["clips"].as_u64()), (Some(1), Some(2)));
    }
}

/// Stopped after every single step of three epochs, within and between them, and gone on with by what is saved.
#[test]
fn a_training_in_pieces_ends_as_one_that_was_not_stopped() {
    let clips = numbers(&[1.0, 2.0, 6.0, -3.0, 0.5, -1.0, -2.0], &[0, 1, 1, 0, 1, 0, 0]);
    let adam = TrainingSection { optimizer: OptimizerName::Adam, weight_decay: 0.01, clip_norm: 0.3, ..sgd() };
    for training in [sgd(), TrainingSection { momentum: 0.9, ..sgd() }, adam] {
        let training = TrainingSection { epochs: 3, learning_rate: 0.1, final_learning_rate: 0.1, ..training };
        let (whole, pieces) = (Bench::new(training.clone()), Bench::new(training));
        let expected = whole.train(&clips, None).0.unwrap();
        let mut stops = 0;
        let trained = loop {
            let (trained, told) = pieces.train(&clips, Some(1));
            match trained {
                Ok(trained) => break trained,
                Err(error) => assert_eq!(error.downcast_ref::<Interrupted>().unwrap().exit_code, 130),
            }
            stops += 1;
            let gone_on = format!("step {}", stops - 1);
            assert!(stops == 1 || told.iter().any(|line| line.ends_with(&gone_on)), "{stops}: {told:?}");
        };
        // Seven clips are four batches and two steps.
        assert_eq!((stops, trained.course.steps), (6, 6));
        assert_eq!(values(&trained.model), values(&expected.model));
        assert_eq!(pieces.metrics(), whole.metrics());
        assert_eq!(trained.course.curve, expected.course.curve);
    }
}

/// Killed between two steps: what was told after the last checkpoint is told again, once.
#[test]
fn without_a_last_checkpoint_it_goes_on_from_the_one_before() {
    let clips = numbers(&[1.0, 2.0, 6.0, -3.0, 0.5, -1.0, -2.0], &[0, 1, 1, 0, 1, 0, 0]);
    let training = TrainingSection { epochs: 3, checkpoint_steps: 1, ..sgd() };
    let (whole, torn) = (Bench::new(training.clone()), Bench::new(training));
    let expected = whole.train(&clips, None).0.unwrap();
    torn.train(&clips, Some(5)).0.err().unwrap();
    let newest = torn.folder.path().join("checkpoints/line/step-00000005");
    fs::write(newest.join("best.bpk"), "torn").unwrap();
    let (trained, told) = torn.train(&clips, None);
    assert!(told[0].contains("best.bpk has 4 bytes"), "{told:?}");
    assert_eq!(values(&trained.unwrap().model), values(&expected.model));
    assert_eq!(torn.metrics(), whole.metrics());
}

/// Three steps of two a epoch: the second epoch is cut short, and validated.
#[test]
fn training_may_be_measured_in_steps() {
    let clips = numbers(&[1.0, 2.0, 6.0, -3.0, 0.5, -1.0, -2.0], &[0, 1, 1, 0, 1, 0, 0]);
    let bench = Bench::new(TrainingSection { steps: Some(3), ..sgd() });
    let trained = bench.train(&clips, None).0.unwrap();
    assert_eq!((trained.course.steps, trained.course.epochs), (3, 2));
    let clips: Vec<u64> = bench.metrics().iter().map(|line| line["train"]["clips"].as_u64().unwrap()).collect();
    assert_eq!(clips, [7, 4]);
}

/// The clip that is no number spoils the step that it is in, in each epoch. The others are learnt from.
#[test]
fn what_is_not_finite_is_not_learnt() {
    let clips = numbers(&[1.0, f32::NAN, 2.0, -3.0], &[1, 1, 1, 0]);
    let training = TrainingSection { epochs: 2, batch: 1, accumulate: 2, ..sgd() };
    let bench = Bench::new(training.clone());
    let message = bench.train(&clips, None).0.err().unwrap().to_string();
    assert!(message.contains("the loss is NaN at epoch 1") && message.contains("nonfinite.jsonl"), "{message}");
    let line = &bench.lines("nonfinite.jsonl")[0];
    let named = line["clips"].as_array().unwrap();
    assert!(named.len() == 2 && named.contains(&"clip 1".into()), "{line}");
    assert!(line["losses"].as_array().unwrap().contains(&"NaN".into()), "{line}");

    // Once is not enough for two epochs; what is put up with may be changed on the way.
    let once = Bench::new(TrainingSection { nonfinite: Nonfinite::Skip(1), ..training.clone() });
    let message = once.train(&clips, None).0.err().unwrap().to_string();
    assert!(message.contains("epoch 2") && message.contains("after 1 such steps"), "{message}");
    let training = TrainingSection { nonfinite: Nonfinite::Skip(2), ..training.clone() };
    let more = Bench { training, ..once };
    let trained = more.train(&clips, None).0.unwrap();
    let twice = Bench::new(more.training.clone());
    let (expected, told) = twice.train(&clips, None);
    let expected = expected.unwrap();
    assert_eq!(told.iter().filter(|line| line.contains("is left out")).count(), 2, "{told:?}");
    assert_eq!((expected.course.skipped, expected.course.steps), (2, 4));
    assert!(values(&expected.model).iter().all(|value| value.is_finite()));
    assert_eq!(values(&trained.model), values(&expected.model));
    for line in twice.metrics() {
        assert_eq!((line["nonfinite_steps"].as_u64(), line["train"]["clips"].as_u64()), (Some(1), Some(2)), "{line}");
    }
}

/// A stop while the validation clips are scored: they are scored again, and nothing else is done twice.
#[test]
fn a_stop_during_validation_saves_the_epoch() {
    struct Slow<'a>(Numbers, &'a StopFlag);
    impl Source for Slow<'_> {
        fn classes(&self) -> &[usize] {
            self.0.classes()
        }
        fn batches<'a>(
            &'a self,
            order: Vec<usize>,
            epoch: Option<u64>,
            batch: usize,
        ) -> Box<dyn Iterator<Item = Result<Batch>> + 'a> {
            self.1.set_if_unset();
            self.0.batches(order, epoch, batch)
        }
    }
    let clips = numbers(&[1.0, 2.0, 6.0], &[0, 0, 1]);
    let bench = Bench::new(sgd());
    let run = RunDir::create(bench.folder.path()).unwrap();
    run.write("recipe.toml", b"").unwrap();
    let (stop, device) = (StopFlag::default(), Device::flex());
    let slow = Slow(numbers(&[1.0], &[0]), &stop);
    let stopped = bench.fit(&run, &stop, &device).run(line(), &clips, &slow, &mut Impatient::default());
    assert!(stopped.err().unwrap().is::<Interrupted>());
    let (trained, told) = bench.train(&clips, None);
    assert!(told[0].contains("after epoch 0 and 2 batches of the next, step 1"), "{told:?}");
    let whole = Bench::new(sgd());
    assert_eq!(values(&trained.unwrap().model), values(&whole.train(&clips, None).0.unwrap().model));
    assert_eq!(bench.metrics(), whole.metrics());
}

/// The checkpoint folder is a file: nothing can be saved, all is trained, and the run knows what it lost.
#[test]
fn a_training_that_cannot_be_saved_goes_on() {
    let clips = numbers(&[1.0, 2.0, 6.0], &[0, 0, 1]);
    let bench = Bench::new(sgd());
    let run = RunDir::create(bench.folder.path()).unwrap();
    run.write("checkpoints", b"in the way").unwrap();
    let (stop, device) = (StopFlag::default(), Device::flex());
    let mut progress = Impatient::default();
    let validation = numbers(&[1.0], &[0]);
    let trained = bench.fit(&run, &stop, &device).run(line(), &clips, &validation, &mut progress).unwrap();
    assert_eq!(trained.course.steps, 1);
    assert!(progress.told.iter().any(|line| line.contains("could not save the checkpoint")), "{:?}", progress.told);
    assert_eq!(run.losses(), ["the checkpoint of Line after step 1"]);
}

/// What cannot be read and what is left out meet here once: the error of a clip too many comes through unchanged.
#[test]
fn too_many_bad_clips_stop_the_training_with_its_state_saved() {
    struct Broken(Numbers, BadClips);
    impl Source for Broken {
        fn classes(&self) -> &[usize] {
            self.0.classes()
        }
        fn batches<'a>(
            &'a self,
            order: Vec<usize>,
            epoch: Option<u64>,
            batch: usize,
        ) -> Box<dyn Iterator<Item = Result<Batch>> + 'a> {
            Box::new(self.0.batches(order, epoch, batch).enumerate().map(|(place, batch)| {
                if place == 2 {
                    self.1.leave_out("some clip", DataError::EmptyFile("some clip".into()))?;
                }
                batch
            }))
        }
    }
    let bench = Bench::new(TrainingSection { batch: 1, accumulate: 2, ..sgd() });
    let run = RunDir::create(bench.folder.path()).unwrap();
    let (stop, device) = (StopFlag::default(), Device::flex());
    let bad = BadClips::new(run.path("quarantine.jsonl"), 4, 0.0);
    let clips = Broken(numbers(&[1.0, 2.0, 6.0, 3.0], &[0, 0, 1, 1]), bad);
    let validation = numbers(&[1.0], &[0]);
    let stopped = bench.fit(&run, &stop, &device).run(line(), &clips, &validation, &mut Impatient::default());
    let message = format!("{:#}", stopped.err().unwrap());
    assert!(message.contains("some clip") && message.contains("max_bad_fraction"), "{message}");
    assert!(bench.folder.path().join("checkpoints/line/step-00000001/MANIFEST.json").is_file());
}
