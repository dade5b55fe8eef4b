//! The estimate of memory against what the program takes.

use crate::harness::{Outcome, temporary};
use crate::{captions, tiny};

/// Stages of three kinds, at sizes that take more than the program itself: a CNN in training, GRU-RCN
/// on percepts in memory, GRU-RCN together with its CNN.
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
        check(&tiny::train(&folder, &changes).run().succeeds());
    }
}

/// The same of a captioner, whose decoder has six million weights: two steps and short captions.
#[test]
fn the_estimate_of_a_captioner_is_within_a_quarter_of_the_peak() {
    let folder = temporary();
    captions::write(&folder);
    let changes = [
        "decoder.hidden=1000",
        "decoder.embedding=300",
        "decoding.beam=1",
        "decoding.max_length=8",
        "training.batch=192",
        "training.epochs=96",
        "training.validate_every=2",
    ];
    check(&captions::train(&folder, "run").set(changes).run().succeeds());
}

/// Compares the numbers of `memory: about X GiB at most, in the stage …` and `memory: Y GiB at most were taken`.
#[track_caller]
fn check(outcome: &Outcome) {
    let number =
        |line: &str, end: &str| line.trim_start_matches("about ").split_once(end)?.0.trim().parse::<f64>().ok();
    let lines = || outcome.stderr.lines().filter_map(|line| line.split_once("memory: ").map(|(_, rest)| rest));
    let estimated = lines().find_map(|line| number(line, " GiB at most, in the stage")).expect(&outcome.stderr);
    let taken = lines().find_map(|line| number(line, " GiB at most were taken")).expect(&outcome.stderr);
    let ratio = estimated / taken;
    assert!((0.75..=1.25).contains(&ratio), "{estimated} GiB estimated, {taken} taken:\n{}", outcome.stderr);
}
