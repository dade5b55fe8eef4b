//! Fusion: the scores of several runs, averaged.

use serde_json::Value;

use crate::harness::{Call, run, temporary};
use crate::tiny;

fn document(call: Call) -> Value {
    call.args(["--json"]).run().succeeds().json()
}

#[test]
fn runs_are_averaged_clip_by_clip() {
    let folder = temporary();
    tiny::train(folder.path(), &["seed=9"]).run().succeeds();
    let (first, second) = (tiny::reference().to_str().unwrap(), "run");
    let call = |streams: &[&str]| Call::new(folder.path(), ["fuse"]).args(streams);

    // A run fused with itself keeps its scores.
    let itself = document(call(&[first, first]));
    assert_eq!(itself["fused"], itself["streams"][0]["test"]);
    assert_eq!(itself["fused"]["clips"], 16);
    // With nearly all of the weight on one run, the result is nearly that run.
    let heavy = document(call(&[&format!("{first}=1e9"), second]));
    assert_eq!(heavy["fused"]["top1"], heavy["streams"][0]["test"]["top1"]);
    // The written scores can be fused again.
    document(call(&[first, second, "--out", "both.safetensors"]));
    let again = document(call(&["both.safetensors", "both.safetensors=2"]));
    assert_eq!(again["fused"], again["streams"][0]["test"]);
    let text = call(&[first, &format!("{second}=2")]).run().succeeds().stdout;
    assert!(text.contains("run × 2") && text.contains("fused"), "{text}");
}

#[test]
fn other_clips_and_files_are_refused() {
    let folder = temporary();
    tiny::train(folder.path(), &["data.motion.test=8"]).run().succeeds();
    let reference = tiny::reference().to_str().unwrap();
    run(folder.path(), ["fuse", reference, "run"]).refuses(&["run/scores-test.safetensors", "8 clips, not 16"]);
    run(folder.path(), ["fuse", reference]).refuses(&["name two or more"]);
    run(folder.path(), ["fuse", reference, "nowhere"]).refuses(&["nowhere"]);
    run(folder.path(), ["fuse", reference, "run/recipe.toml"]).refuses(&["not a file of scores"]);
    run(folder.path(), ["fuse", reference, "run=0"]).refuses(&["a weight is a number above 0"]);
    run(folder.path(), ["fuse", reference, reference, "--split", "validation"]).refuses(&["scores-validation"]);
}
