//! Training of a classifier of single numbers, small enough to follow by hand.

use std::cell::RefCell;
use std::fs;
use std::rc::Rc;

use burn::module::Module;
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};
use gru_rcn::head::{EnsembleLogits, LossKind};
use gru_rcn::percepts::Percepts;
use gru_rcn_data::DataError;
use serde_json::Value;

use super::*;
use crate::device::replicas::Replicas;
use crate::observe::{JsonLines, Observer, Observers};
use crate::percepts::{Batch, Batches, SkippedClips, in_batches};
use crate::recipe::{ClassWeights, OptimizerName, Sampling, SelectWeights, TrainingSection};
use crate::run::dir::RunDir;
use crate::run::fingerprint::RunFingerprint;
use crate::signals::StopFlag;

/// Two classes by one number.
#[derive(Module, Debug)]
struct Line {
    linear: Linear,
}

impl ClipClassifier for Line {
    type Input = Percepts;

    fn logits(&self, percepts: Percepts) -> EnsembleLogits {
        let clips = percepts.batch();
        EnsembleLogits::new(self.linear.forward(percepts.top().reshape([clips, 1])).unsqueeze())
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
    targets: Vec<usize>,
    /// These are not handed out.
    bad: Vec<usize>,
    /// Called before each batch, with the number of those before it.
    before: Box<dyn Fn(usize) -> Result<()>>,
}

fn numbers(values: &[f32], targets: &[usize]) -> Numbers {
    Numbers { values: values.to_vec(), targets: targets.to_vec(), bad: Vec::new(), before: Box::new(|_| Ok(())) }
}

impl Source<Percepts> for Numbers {
    fn targets(&self) -> &[usize] {
        &self.targets
    }

    fn id(&self, clip: usize) -> String {
        format!("clip {clip}")
    }

    fn batches(&self, order: Vec<usize>, _epoch: Option<u64>, batch: usize) -> Batches<'_, Percepts> {
        let mut count = 0;
        in_batches(&order, batch, move |part| {
            (self.before)(count)?;
            count += 1;
            let clips: Vec<usize> = part.iter().copied().filter(|clip| !self.bad.contains(clip)).collect();
            let values: Vec<f32> = clips.iter().map(|&clip| self.values[clip]).collect();
            let shape = [clips.len(), 1, 1, 1, 1];
            let map = || Tensor::from_data(TensorData::new(values, shape), &Device::flex());
            Ok(Batch::new(clips, part.len(), &self.targets, || Percepts::new(vec![map()])))
        })
    }
}

/// Requests a stop after some steps, and keeps the messages.
struct Impatient {
    steps_left: Option<usize>,
    stop: StopFlag,
    messages: Rc<RefCell<Vec<String>>>,
}

impl Observer for Impatient {
    fn observe(&mut self, event: &Event) -> Result<()> {
        match event {
            Event::Message(text) => self.messages.borrow_mut().push(text.clone()),
            Event::Step(_) => {
                if let Some(left) = &mut self.steps_left {
                    *left -= 1;
                    if *left == 0 {
                        self.stop.set();
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

struct Bench {
    folder: tempfile::TempDir,
    training: TrainingSection,
}

impl Bench {
    fn new(training: TrainingSection) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), training }
    }

    /// A run in the folder that is stopped after `steps` steps, and its messages.
    fn context(&self, steps: Option<usize>) -> (Session, Rc<RefCell<Vec<String>>>) {
        let dir = match self.folder.path().join("recipe.toml").exists() {
            true => RunDir::open_at(self.folder.path()).unwrap(),
            false => RunDir::create(self.folder.path()).unwrap(),
        };
        fs::write(dir.recipe_file(), b"").unwrap();
        let (stop, messages) = (StopFlag::default(), Rc::new(RefCell::new(Vec::new())));
        let impatient = Impatient { steps_left: steps, stop: stop.clone(), messages: messages.clone() };
        let session = Session {
            observers: Observers::new(vec![Box::new(JsonLines::new(dir.clone())), Box::new(impatient)]),
            _lock: dir.lock().unwrap(),
            dir,
            fingerprint: RunFingerprint::default(),
            percepts: None,
            seed: 1,
            device: Device::flex(),
            replicas: Replicas::new(Device::flex(), Vec::new()),
            stop,
            clock: Default::default(),
        };
        (session, messages)
    }

    fn trainer<'a>(&self, context: &'a Session) -> Trainer<'a> {
        let classes = vec!["a".to_owned(), "b".to_owned()];
        Trainer::new(context, Stage { loss: LossKind::PerHead, classes, ..Stage::new("line", "Line", &self.training) })
    }

    /// Trains, or resumes, until `steps` more steps are done.
    fn train(&self, train: &Numbers, steps: Option<usize>) -> (Result<Trained<Line>>, Vec<String>) {
        self.train_on(train, &numbers(&[-1.0, 1.0, 2.0], &[0, 1, 1]), steps)
    }

    fn train_on(
        &self,
        train: &Numbers,
        validation: &Numbers,
        steps: Option<usize>,
    ) -> (Result<Trained<Line>>, Vec<String>) {
        let (context, messages) = self.context(steps);
        let trained = self.trainer(&context).run(line(), train, validation);
        drop(context);
        let messages = messages.take();
        (trained, messages)
    }

    fn lines(&self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The lines of `metrics.jsonl` without times.
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

fn weight_of_b(weight: f64) -> ClassWeights {
    ClassWeights::ByClass([("b".to_owned(), weight)].into())
}

/// Both probabilities are ½, so the gradient by the logit of class 0 is −½ for a clip of class 0
/// and ½ for one of class 1. Over the clips 1 and 2 of class 0 and 6 of class 1 the weight's mean
/// is (−½ − 1 + 3) / 3 = ½, the bias's (−½ − ½ + ½) / 3 = −⅙, and class 1 has the opposite. One
/// step of rate 1 takes these away from 0. It is the same for one batch of three and for two of
/// which the last is ragged, in whatever order; averages of averages would differ.
///
/// The weights 1 and 2.5 have the mean 3/2 over these clips, so that they count as 2/3 and 5/3. The
/// weight's mean is (−½ · 2/3 · (1 + 2) + ½ · 5/3 · 6) / 3 = 4/3, the bias's (−½ · 2/3 · 2 + ½ · 5/3) / 3 =
/// 1/18.
#[test]
fn a_step_of_several_batches_averages_over_clips() {
    let clips = numbers(&[1.0, 2.0, 6.0], &[0, 0, 1]);
    let shapes = [(3, 1), (2, 2), (1, 3), (1, 7)].into_iter();
    for ((batch, accumulate), weighted) in shapes.flat_map(|shape| [(shape, false), (shape, true)]) {
        let class_weights = if weighted { weight_of_b(2.5) } else { ClassWeights::None };
        let bench = Bench::new(TrainingSection { batch, accumulate, class_weights, ..sgd() });
        let trained = bench.train(&clips, None).0.unwrap();
        let expected = match weighted {
            true => [-4.0 / 3.0, 4.0 / 3.0, -1.0 / 18.0, 1.0 / 18.0],
            false => [-0.5, 0.5, 1.0 / 6.0, -1.0 / 6.0],
        };
        for (value, expected) in values(&trained.model).into_iter().zip(expected) {
            assert!((value - expected).abs() < 1e-6, "{batch} x {accumulate}: {value} instead of {expected}");
        }
        assert_eq!(trained.position.steps, 1);
        // The loss of both was ln 2.
        let line = &bench.metrics()[0];
        assert!((line["train"]["loss"].as_f64().unwrap() - std::f64::consts::LN_2).abs() < 1e-6, "{line}");
    }
}

/// A clip that cannot be read has no part in the average: of 1 and 2, both of class 0, it is −¾.
#[test]
fn unreadable_clips_are_skipped_and_counted() {
    let clips = Numbers { bad: vec![2], ..numbers(&[1.0, 2.0, 6.0], &[0, 0, 1]) };
    for (batch, accumulate) in [(3, 1), (1, 3)] {
        let bench = Bench::new(TrainingSection { batch, accumulate, ..sgd() });
        let trained = bench.train(&clips, None).0.unwrap();
        assert!((values(&trained.model)[0] - 0.75).abs() < 1e-6);
        let line = &bench.metrics()[0];
        assert_eq!((line["bad_clips"].as_u64(), line["train"]["clips"].as_u64()), (Some(1), Some(2)));
    }
}

/// Stopped after every step of three epochs, within and between them, and resumed.
#[test]
fn a_resumed_training_ends_like_an_uninterrupted_one() {
    let clips = numbers(&[1.0, 2.0, 6.0, -3.0, 0.5, -1.0, -2.0], &[0, 1, 1, 0, 1, 0, 0]);
    let adam = TrainingSection { optimizer: OptimizerName::Adam, weight_decay: 0.01, clip_norm: Some(0.3), ..sgd() };
    let balanced = TrainingSection { sampling: Sampling::Balanced, class_weights: weight_of_b(0.5), ..adam.clone() };
    for training in [sgd(), TrainingSection { momentum: 0.9, ..sgd() }, adam, balanced] {
        let training = TrainingSection { epochs: 3, learning_rate: 0.1, final_lr_factor: 0.1, ..training };
        let (whole, pieces) = (Bench::new(training.clone()), Bench::new(training));
        let expected = whole.train(&clips, None).0.unwrap();
        let mut stops = 0;
        let trained = loop {
            let (trained, messages) = pieces.train(&clips, Some(1));
            match trained {
                Ok(trained) => break trained,
                Err(error) => assert_eq!(error.downcast_ref::<Interrupted>().unwrap().exit_code, 130),
            }
            stops += 1;
            let resumed = format!("step {}", stops - 1);
            assert!(stops == 1 || messages.iter().any(|line| line.ends_with(&resumed)), "{stops}: {messages:?}");
        };
        // Seven clips are four batches and two steps.
        assert_eq!((stops, trained.position.steps), (6, 6));
        assert_eq!(values(&trained.model), values(&expected.model));
        assert_eq!(pieces.metrics(), whole.metrics());
        assert_eq!(trained.position.curve, expected.position.curve);
    }
}

/// Of 20 clips of class 0, 16 are at −1 and 4 at 1, where both clips of class 1 are. At 1 the most likely
/// probability of class 1 is 2/6, of logits ln ½ apart: the mean class accuracy is (1 + 0) / 2. With the
/// weights 0.55 and 5.5 it is 11 / (2.2 + 11) = 5/6, of logits ln 5 apart, and the mean class accuracy
/// (16/20 + 1) / 2. Balanced epochs have 11 clips of class 1 and 11 of class 0, of which 2.2 are at 1 on
/// average.
#[test]
fn class_weights_and_balanced_epochs_raise_the_mean_class_accuracy() {
    let clips = numbers(&[vec![-1.0; 16], vec![1.0; 6]].concat(), &[vec![0; 20], vec![1; 2]].concat());
    let train = |class_weights: ClassWeights, sampling: Sampling| {
        let keep = SelectWeights::Last;
        let training = TrainingSection { epochs: 40, batch: 22, accumulate: 1, keep, class_weights, sampling, ..sgd() };
        let model = Bench::new(training).train(&clips, None).0.unwrap().model;
        let (models, stop) = ([&model as &dyn Scorable<_>], StopFlag::default());
        let scores = score(&models, single_view(&clips, 22), &clips.targets, &stop, |_| ()).unwrap().swap_remove(0);
        let [of_0, of_1, bias_0, bias_1] = values(&model)[..] else { panic!("two weights and two biases") };
        (scores.predictions().unwrap().summary().mean_class, of_1 + bias_1 - of_0 - bias_0)
    };
    let (accuracy, apart) = train(ClassWeights::None, Sampling::Shuffled);
    assert!(accuracy == 0.5 && (apart - 0.5f32.ln()).abs() < 0.01, "{accuracy} {apart}");
    let (accuracy, apart) = train(ClassWeights::Auto, Sampling::Shuffled);
    assert!(accuracy == 0.9 && (apart - 5f32.ln()).abs() < 0.01, "{accuracy} {apart}");
    let (accuracy, apart) = train(ClassWeights::None, Sampling::Balanced);
    assert!(accuracy == 0.9 && (apart - 5f32.ln()).abs() < 0.6, "{accuracy} {apart}");
}

/// Killed between two steps: what was logged after the last checkpoint is logged again, once.
#[test]
fn a_torn_checkpoint_falls_back_to_the_one_before() {
    let clips = numbers(&[1.0, 2.0, 6.0, -3.0, 0.5, -1.0, -2.0], &[0, 1, 1, 0, 1, 0, 0]);
    let training = TrainingSection { epochs: 3, checkpoint_steps: Some(1), ..sgd() };
    let (whole, torn) = (Bench::new(training.clone()), Bench::new(training));
    let expected = whole.train(&clips, None).0.unwrap();
    torn.train(&clips, Some(5)).0.err().unwrap();
    let newest = torn.folder.path().join("checkpoints/line/step-00000005");
    fs::write(newest.join("best.bpk"), "torn").unwrap();
    let (trained, messages) = torn.train(&clips, None);
    assert!(messages[0].contains("best.bpk has 4 bytes"), "{messages:?}");
    assert_eq!(values(&trained.unwrap().model), values(&expected.model));
    assert_eq!(torn.metrics(), whole.metrics());
}

/// Three steps of two a epoch: the second epoch is cut short, and validated.
#[test]
fn training_may_be_measured_in_steps() {
    let clips = numbers(&[1.0, 2.0, 6.0, -3.0, 0.5, -1.0, -2.0], &[0, 1, 1, 0, 1, 0, 0]);
    let bench = Bench::new(TrainingSection { steps: Some(3), ..sgd() });
    let trained = bench.train(&clips, None).0.unwrap();
    assert_eq!((trained.position.steps, trained.position.epochs), (3, 2));
    let clips: Vec<u64> = bench.metrics().iter().map(|line| line["train"]["clips"].as_u64().unwrap()).collect();
    assert_eq!(clips, [7, 4]);
}

/// One clip of class 0: from the first step on both its class and, in validation, class 1 become
/// more certain, so that validation, on a clip of class 1, is best after the first epoch. With
/// patience of two epochs training ends after three, with at least five steps after five, although
/// the recipe has four epochs.
#[test]
fn a_least_number_of_steps_holds_off_early_stopping() {
    let (train, validation) = (numbers(&[1.0], &[0]), numbers(&[1.0], &[1]));
    for (min_steps, epochs) in [(None, 3), (Some(2), 3), (Some(5), 5)] {
        let training = TrainingSection { epochs: 4, patience: 2, min_steps, ..sgd() };
        let trained = Bench::new(training).train_on(&train, &validation, None).0.unwrap();
        assert_eq!((trained.position.epochs, trained.position.best_epoch), (epochs, 1), "{min_steps:?}");
    }
}

/// Validation is best after the first epoch, as above. The best weights are those of a training of
/// one epoch, the last ones those after all four: patience of two epochs ends nothing. Stopped and
/// resumed it is the same.
#[test]
fn the_best_or_the_last_weights_are_kept() {
    let (train, validation) = (numbers(&[1.0], &[0]), numbers(&[1.0], &[1]));
    let trained = |epochs: usize, keep: SelectWeights, stops: bool| {
        let bench = Bench::new(TrainingSection { epochs, keep, patience: 2, ..sgd() });
        let run = |steps| bench.train_on(&train, &validation, steps).0;
        if stops {
            assert!(run(Some(2)).err().unwrap().is::<Interrupted>());
        }
        let trained = run(None).unwrap();
        (trained.position.epochs, trained.position.best_epoch, values(&trained.model))
    };
    let (_, _, first) = trained(1, SelectWeights::Best, false);
    assert_eq!(trained(4, SelectWeights::Best, false), (3, 1, first.clone()));
    let (epochs, kept, last) = trained(4, SelectWeights::Last, false);
    assert_eq!((epochs, kept), (4, 4));
    // Every step pulls further from 0.
    assert!(last[0].abs() > first[0].abs(), "{last:?} after {first:?}");
    assert_eq!(trained(4, SelectWeights::Last, true), (epochs, kept, last));
}

/// Validation is best after the first epoch, as above. The first weight is 0.5 after the first epoch,
/// 0.5 + σ(-2) = 0.619 after the second and more after the others, so that a score of the distance to
/// 0.62 is highest after the second: its weights are kept, and patience of three counts from the
/// first. Stopped and resumed it is the same.
#[test]
fn the_weights_of_the_highest_score_are_kept() {
    let (train, validation) = (numbers(&[1.0], &[0]), numbers(&[1.0], &[1]));
    for stops in [None, Some(3)] {
        let bench = Bench::new(TrainingSection { epochs: 9, patience: 3, ..sgd() });
        let run = |steps| {
            let (context, _) = bench.context(steps);
            let score = |model: &Line| Ok(Some(-f64::from((values(model)[0] - 0.62).abs())));
            bench.trainer(&context).run_selecting(line(), &train, &validation, score)
        };
        if stops.is_some() {
            assert!(run(stops).err().unwrap().is::<Interrupted>());
        }
        let Trained { model, position } = run(None).unwrap();
        assert_eq!((position.epochs, position.best_epoch), (4, 1));
        assert!((values(&model)[0] - 0.619_203).abs() < 1e-5, "{:?}", values(&model));
        assert_eq!(position.curve.iter().map(|point| point.best).collect::<Vec<_>>(), [true, true, false, false]);
    }
}

/// Learns without labels to make w x + b small.
#[derive(Module, Debug)]
struct Unlabelled {
    linear: Linear,
}

impl ClipClassifier for Unlabelled {
    type Input = Percepts;

    const CLASSIFIES: bool = false;

    fn logits(&self, percepts: Percepts) -> EnsembleLogits {
        let clips = percepts.batch();
        EnsembleLogits::new(self.linear.forward(percepts.top().reshape([clips, 1])).square().unsqueeze())
    }

    fn loss(&self, losses: &EnsembleLogits, _: Tensor<1, Int>, _: LossKind) -> Tensor<1> {
        losses.logits.clone().mean()
    }
}

/// From w = 1 and b = 0 on a clip of 1: the loss is 1 and both gradients are 2, so at a rate of 0.1 w
/// becomes 0.8 and b -0.2. Clips of -1, 1 and 2 then give -1, 0.6 and 1.4, of mean square 3.32 / 3.
/// The labels, which no class is for, have no part in it.
#[test]
fn a_model_without_labels_is_validated_by_its_loss() {
    let bench = Bench::new(TrainingSection { learning_rate: 0.1, ..sgd() });
    let (context, _) = bench.context(None);
    let device = Device::flex().autodiff();
    let mut linear = LinearConfig::new(1, 1).with_initializer(Initializer::Ones).init(&device);
    linear.bias = Some(Initializer::Zeros.init([1], &device));
    let (train, validation) = (numbers(&[1.0], &[7]), numbers(&[-1.0, 1.0, 2.0], &[7, 8, 9]));
    bench.trainer(&context).run(Unlabelled { linear }, &train, &validation).unwrap();
    let line = &bench.metrics()[0];
    let near = |value: &Value, expected: f64| (value.as_f64().unwrap() - expected).abs() < 1e-6;
    assert!(near(&line["train"]["loss"], 1.0) && near(&line["validation"]["loss"], 3.32 / 3.0), "{line}");
    assert!(near(&line["train"]["accuracy"], 0.0) && near(&line["validation"]["accuracy"], 0.0), "{line}");
}

/// The clip that is not a number spoils its step in each epoch. The others are trained on.
#[test]
fn skips_at_most_n_nonfinite_steps() {
    let clips = numbers(&[1.0, f32::NAN, 2.0, -3.0], &[1, 1, 1, 0]);
    let training = TrainingSection { epochs: 2, batch: 1, accumulate: 2, ..sgd() };
    let bench = Bench::new(training.clone());
    let message = bench.train(&clips, None).0.err().unwrap().to_string();
    assert!(message.contains("the loss is NaN at epoch 1") && message.contains("nonfinite.jsonl"), "{message}");
    let line = &bench.lines("nonfinite.jsonl")[0];
    let named = line["clips"].as_array().unwrap();
    assert!(named.len() == 2 && named.contains(&"clip 1".into()), "{line}");
    assert!(line["losses"].as_array().unwrap().contains(&"NaN".into()), "{line}");

    // Once is not enough for two epochs; the limit may be changed when the run is resumed.
    let once = Bench::new(TrainingSection { nonfinite: Nonfinite::Skip(1), ..training.clone() });
    let message = once.train(&clips, None).0.err().unwrap().to_string();
    assert!(message.contains("epoch 2") && message.contains("after 1 such steps"), "{message}");
    let training = TrainingSection { nonfinite: Nonfinite::Skip(2), ..training.clone() };
    let more = Bench { training, ..once };
    let trained = more.train(&clips, None).0.unwrap();
    let twice = Bench::new(more.training.clone());
    let (expected, messages) = twice.train(&clips, None);
    let expected = expected.unwrap();
    assert_eq!(messages.iter().filter(|line| line.contains("is skipped")).count(), 2, "{messages:?}");
    assert_eq!((expected.position.skipped, expected.position.steps), (2, 4));
    assert!(values(&expected.model).iter().all(|value| value.is_finite()));
    assert_eq!(values(&trained.model), values(&expected.model));
    for line in twice.metrics() {
        assert_eq!((line["nonfinite_steps"].as_u64(), line["train"]["clips"].as_u64()), (Some(1), Some(2)), "{line}");
    }
}

/// A stop while the validation clips are scored: only they are scored again.
#[test]
fn a_stop_during_validation_saves_the_epoch() {
    let clips = numbers(&[1.0, 2.0, 6.0], &[0, 0, 1]);
    let bench = Bench::new(sgd());
    let (context, _) = bench.context(None);
    let stop = context.stop.clone();
    let stopping = Box::new(move |_| {
        stop.set();
        Ok(())
    });
    let slow = Numbers { before: stopping, ..numbers(&[1.0], &[0]) };
    let stopped = bench.trainer(&context).run(line(), &clips, &slow);
    assert!(stopped.err().unwrap().is::<Interrupted>());
    drop(context);
    let (trained, messages) = bench.train(&clips, None);
    assert!(messages[0].contains("after epoch 0 and 2 batches of the next, step 1"), "{messages:?}");
    let whole = Bench::new(sgd());
    assert_eq!(values(&trained.unwrap().model), values(&whole.train(&clips, None).0.unwrap().model));
    assert_eq!(bench.metrics(), whole.metrics());
}

/// The checkpoint folder is a file: nothing can be saved, and the run notes the loss.
#[test]
fn a_training_that_cannot_be_saved_continues() {
    let clips = numbers(&[1.0, 2.0, 6.0], &[0, 0, 1]);
    let bench = Bench::new(sgd());
    let (context, messages) = bench.context(None);
    fs::write(bench.folder.path().join("checkpoints"), b"in the way").unwrap();
    let validation = numbers(&[1.0], &[0]);
    let trained = bench.trainer(&context).run(line(), &clips, &validation).unwrap();
    assert_eq!(trained.position.steps, 1);
    let messages = messages.borrow();
    assert!(messages.iter().any(|line| line.contains("could not save the checkpoint")), "{messages:?}");
    assert_eq!(context.dir.losses(), ["the checkpoint of Line after step 1"]);
}

/// A full disk in the place of a log: lines wait for the next one, and the rest is lost at the end.
#[cfg(unix)]
#[test]
fn lines_that_cannot_be_written_are_reported() {
    let clips = numbers(&[1.0, 2.0, 6.0], &[0, 0, 1]);
    let bench = Bench::new(TrainingSection { epochs: 2, ..sgd() });
    let (context, messages) = bench.context(None);
    // The link leads nowhere: the log can be neither read nor created.
    std::os::unix::fs::symlink("nowhere/metrics.jsonl", bench.folder.path().join("metrics.jsonl")).unwrap();
    bench.trainer(&context).run(line(), &clips, &numbers(&[1.0], &[0])).unwrap();
    let messages = messages.borrow();
    assert!(messages[0].contains("metrics.jsonl") && messages[0].contains("tried again"), "{messages:?}");
    assert_eq!(context.dir.losses(), ["2 lines of metrics.jsonl, stage line"]);
}

/// The error of too many unreadable clips comes through unchanged, after the state is saved.
#[test]
fn too_many_unreadable_clips_stop_the_training_with_its_state_saved() {
    let bench = Bench::new(TrainingSection { batch: 1, accumulate: 2, ..sgd() });
    let (context, _) = bench.context(None);
    let skipped = SkippedClips::new(context.dir.quarantine(), 4, 0.0);
    let broken = Box::new(move |batch| match batch {
        2 => skipped.skip("some clip", DataError::EmptyFile("some clip".into())),
        _ => Ok(()),
    });
    let clips = Numbers { before: broken, ..numbers(&[1.0, 2.0, 6.0, 3.0], &[0, 0, 1, 1]) };
    let stopped = bench.trainer(&context).run(line(), &clips, &numbers(&[1.0], &[0]));
    let message = format!("{:#}", stopped.err().unwrap());
    assert!(message.contains("some clip") && message.contains("max_bad_fraction"), "{message}");
    assert!(bench.folder.path().join("checkpoints/line/step-00000001/MANIFEST.json").is_file());
}
