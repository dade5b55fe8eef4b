//! Fusion: the scores of several runs, averaged.

use gru_rcn_tests::tensors::Tensors;
use serde_json::{Value, json};

use crate::harness::{Call, copy_folder, run, temporary};
use crate::{earlier, tiny};

fn document(call: Call) -> Value {
    call.arg("--json").run().succeeds().json()
}

#[test]
fn runs_are_averaged_clip_by_clip() {
    let folder = temporary();
    tiny::train(&folder, &["seed=9"]).run().succeeds();
    let (first, second) = (tiny::reference().to_str().unwrap(), "run");
    let call = |members: &[&str]| Call::new(&folder, "fuse").args(members);

    // A run fused with itself keeps its scores.
    let itself = document(call(&[first, first]));
    assert_eq!(itself["fused"], itself["streams"][0]["test"]);
    assert_eq!(itself["fused"]["clips"], 16);
    let compared = &itself["streams"][0]["fused"];
    assert_eq!([&compared["first_only"], &compared["second_only"]], [0, 0]);
    assert_eq!([&compared["difference"], &compared["p_value"]], [0.0, 1.0]);
    // With nearly all of the weight on one run, the result is nearly that run.
    let heavy = document(call(&[&format!("{first}=1e9"), second]));
    assert_eq!(heavy["fused"]["top1"], heavy["streams"][0]["test"]["top1"]);
    // The written scores can be fused again.
    document(call(&[first, second, "--out", "both.safetensors"]));
    let again = document(call(&["both.safetensors", "both.safetensors=2"]));
    assert_eq!(again["fused"], again["streams"][0]["test"]);
    let text = call(&[first, &format!("{second}=2")]).run().succeeds().stdout;
    assert!(text.contains("run × 2") && text.contains("fused against run × 2"), "{text}");
}

/// Clips that differ in the extension alone are different clips.
#[test]
fn a_file_fused_with_itself_keeps_its_scores() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/data/scores/same-stem.safetensors");
    let folder = temporary();
    let fused = document(Call::new(&folder, "fuse --out out.safetensors").args([file, file]));
    assert_eq!(fused["fused"], fused["streams"][0]["test"]);
    let [found, expected] = [folder.join("out.safetensors"), file.into()].map(|path| Tensors::read(&path));
    assert_eq!(found.floats("probabilities"), expected.floats("probabilities"));
    assert_eq!(found.metadata("clips"), json!(["a/x.avi", "a/x.mp4"]));
}

/// Weights are chosen on validation clips and applied to the test clips.
#[test]
fn weights_are_swept_on_validation_scores() {
    let folder = temporary();
    for name in ["a", "b"] {
        copy_folder(tiny::reference(), &folder.join(name));
    }
    let fuse = |members: &str| run(&folder, &format!("fuse --sweep --json {members}"));
    fuse("a b:top_rnn").refuses(&["a/scores-validation.safetensors", "evaluate --run a --split validation"]);
    run(&folder, "evaluate --run a --split validation").succeeds();
    fuse("a b:top_rnn").refuses(&["b/baselines/scores-validation-top_rnn", "evaluate --run b --split validation"]);
    run(&folder, "evaluate --run b --split validation").succeeds();
    let swept = fuse("a b:top_rnn").succeeds().json();
    let tried = swept["sweep"]["tried"].as_array().unwrap();
    assert_eq!(tried.len(), 12);
    let best = tried.iter().map(|pair| pair[1].as_f64().unwrap()).fold(0.0, f64::max);
    assert_eq!(swept["sweep"]["validation"]["top1"], best);
    // The test scores are fused by these weights, as if they were given.
    let weights = [0, 1].map(|member| swept["sweep"]["weights"][member].as_f64().unwrap());
    if weights.iter().all(|&weight| weight > 0.0) {
        let line = format!("fuse a={} b:top_rnn={}", weights[0], weights[1]);
        let given = document(Call::new(&folder, &line));
        assert_eq!([&given["fused"], &given["streams"]], [&swept["fused"], &swept["streams"]]);
    }
    // A run beside itself: every pair is as good, and the paper's is taken.
    let same = fuse("a a").succeeds().json();
    assert!((same["sweep"]["weights"][1].as_f64().unwrap() - 2.0 / 3.0).abs() < 1e-12, "{same}");
    fuse("a=1 b").refuses(&["--sweep chooses the weights"]);
    fuse("a b a").refuses(&["--sweep weighs two members"]);
    fuse("a/scores-test.safetensors b").refuses(&["--sweep takes runs"]);
    fuse("a b:mean").refuses(&["b has no system mean; it has gru_rcn, top_rnn"]);
    fuse("a b --split test").exits(2);
}

#[test]
fn scores_by_different_views_are_not_mixed() {
    let folder = temporary();
    for name in ["a", "b"] {
        copy_folder(tiny::reference(), &folder.join(name));
    }
    let evaluate = |name| run(&folder, &format!("evaluate --run {name} --views 2x1")).succeeds();
    let fuse = |members: &str| run(&folder, &format!("fuse --json {members}"));
    let views = |document: &Value| [0, 1].map(|stream| document["streams"][stream]["views"].clone());
    evaluate("a");
    let outcome = fuse("a b").succeeds();
    outcome.says(&["a also has scores by 2x1 views"]);
    assert_eq!(views(&outcome.json()), ["1x1", "1x1"]);
    fuse("a/scores-test-2x1.safetensors b").refuses(&["b was scored by 1x1 views, not by 2x1"]);
    fuse("a b --views 2x1").refuses(&["b/scores-test-2x1.safetensors", "evaluate --run b --split test --views 2x1"]);
    evaluate("b");
    assert_eq!(views(&fuse("a b --views 2x1").succeeds().json()), ["2x1", "2x1"]);
    // Scores of an earlier version do not name their views; the run's recipe does.
    copy_folder(&earlier::folder("finished"), &folder.join("earlier"));
    assert_eq!(views(&fuse("earlier b").succeeds().json()), ["1x1", "1x1"]);
    fuse("earlier/scores-test.safetensors b").succeeds().says(&["1 files do not say by which views"]);
}

#[test]
fn other_clips_and_files_are_refused() {
    let folder = temporary();
    tiny::train(&folder, &["data.motion.test=8"]).run().succeeds();
    copy_folder(tiny::reference(), &folder.join("reference"));
    let refused = |members, words| run(&folder, &format!("fuse reference {members}")).refuses(&[words]);
    refused("run", "run/scores-test.safetensors").refuses(&["8 clips, not 16"]);
    refused("", "name two or more");
    refused("nowhere", "nowhere");
    refused("run/recipe.toml", "not a file of scores");
    refused("run=0", "a weight is a number above 0");
    refused("reference --split validation", "scores-validation");
}
