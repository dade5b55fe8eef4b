//! The estimate of memory against what the program takes.

use crate::harness::{Outcome, temporary};
use crate::{captions, tiny};

/// The number of GiB after some words.
#[track_caller]
fn gib(stderr: &str, words: &str, end: &str) -> f64 {
    let (_, rest) = stderr.split_once(words).unwrap_or_else(|| panic!("no `{words}` in\n{stderr}"));
    rest.split_once(end).and_then(|(number, _)| number.trim().parse().ok()).unwrap_or_else(|| panic!("{stderr}"))
}

/// Stages of three kinds at sizes that leave the program itself behind: a CNN in training, GRU-RCN
/// on percepts in memory, GRU-RCN together with its CNN.
#[cfg(target_os = "linux")]
#[test]
fn the_estimate_is_within_a_quarter_of_the_peak() {
    let cnn: &[&str] = &["backbone.pretrain.batch=256", "training.batch=4"];
    let recurrent: &[&str] = &["model.hidden=[96, 96]", "backbone.taps=[\"pool1\", \"pool2\"]", "training.batch=48"];
    let joint: &[&str] = &[
        "model.finetune_backbone=true",
        "training.batch=96",
        "baselines.top_rnn=0",
        "backbone.taps=[\"pool2\", \"fc7\"]",
    ];
    let common = [
        "data.motion.size=64",
        "clip.frame_size=[64, 64]",
        "clip.input_size=[64, 64]",
        "data.motion.train=256",
        "data.motion.frames=8",
        "clip.temporal={ consecutive = { frames = 8 } }",
        "backbone.pretrain_frames=4",
        "backbone.pretrain.epochs=1",
        "backbone.pretrain.batch=16",
        "backbone.pretrain.accumulate=1",
        "features.cache=true",
        "training.epochs=1",
        "training.accumulate=1",
        "training.steps=2",
    ];
    for changes in [cnn, recurrent, joint] {
        let folder = temporary();
        let changes = [&common[..], changes].concat();
        check(&tiny::train(folder.path(), &changes).run().succeeds());
    }
}

/// The same of a captioner, whose decoder has six million weights: two steps and short captions.
#[cfg(target_os = "linux")]
#[test]
fn the_estimate_of_a_captioner_is_within_a_quarter_of_the_peak() {
    let folder = temporary();
    captions::write(folder.path());
    let changes = [
        "decoder.hidden=1000",
        "decoder.embedding=300",
        "decoding.beam=1",
        "decoding.max_length=8",
        "training.batch=192",
        "training.epochs=96",
        "training.validate_every=2",
    ];
    check(&captions::train(folder.path(), "run").set(changes).run().succeeds());
}

#[track_caller]
fn check(outcome: &Outcome) {
    let estimated = gib(&outcome.stderr, "memory: about ", " GiB at most, in the stage");
    let taken =
        gib(&outcome.stderr[outcome.stderr.rfind("memory: ").unwrap()..], "memory: ", " GiB at most were taken");
    let ratio = estimated / taken;
    assert!((0.75..=1.25).contains(&ratio), "{estimated} GiB estimated, {taken} taken:\n{}", outcome.stderr);
}
