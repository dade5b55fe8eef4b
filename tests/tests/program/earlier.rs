//! Runs and checkpoints that an earlier version made are still read. They lie in
//! `tests/data/earlier`: `train motion-tiny`, finished, and stopped in its last stage.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::{card, copied, run, stage_metrics};

pub(crate) fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/earlier").join(name)
}

/// Other processors sum in another order; a step that is done right is off by rounding alone.
#[track_caller]
fn assert_close(found: &Value, expected: &Value, tolerance: f64) {
    let (found, expected) = (found.as_f64().expect("a number"), expected.as_f64().expect("a number"));
    assert!((found - expected).abs() < tolerance, "{found} instead of {expected}");
}

#[test]
fn an_earlier_run_is_evaluated_to_the_same_scores() {
    let copy = copied(&folder("finished"));
    let expected = &card(&copy.join("run"))["systems"][0]["test"];
    let found = &run(&copy, "evaluate --run run --json").succeeds().json()["test"];
    assert_close(&found["nll"], &expected["nll"], 1e-4);
    assert_eq!(found["top1"], expected["top1"]);
    run(&copy, "report --run run").succeeds();
    assert!(copy.join("run/report.html").is_file());
}

/// With the names of an earlier recipe in its folder and in its checkpoint.
#[test]
fn an_earlier_checkpoint_is_resumed_to_the_same_metrics() {
    let copy = copied(&folder("interrupted"));
    let root = copy.join("run");
    assert!(std::fs::read_to_string(root.join("recipe.toml")).unwrap().contains("bias_learning_rate"));
    run(&copy, "train --resume --run run").succeeds().says(&["batches of the next, step 5"]);
    let [found, expected] = [root, folder("finished")].map(|root| stage_metrics(&root, "gru_rcn"));
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert_close(&found["train"]["loss"], &expected["train"]["loss"], 1e-3);
        assert_close(&found["validation"]["loss"], &expected["validation"]["loss"], 1e-3);
    }
}
