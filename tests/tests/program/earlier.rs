//! Runs and checkpoints that an earlier version made are still read. They lie in
//! `tests/data/earlier`: `train motion-tiny`, finished, and stopped in its last stage.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::{copy_folder, metrics, run, temporary};

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
    let temporary = temporary();
    copy_folder(&folder("finished"), &temporary.path().join("run"));
    let card: Value = serde_json::from_slice(&std::fs::read(temporary.path().join("run/run.json")).unwrap()).unwrap();
    let found = run(temporary.path(), ["evaluate", "--run", "run", "--json"]).succeeds().json();
    assert_close(&found["test"]["nll"], &card["systems"][0]["test"]["nll"], 1e-4);
    assert_eq!(found["test"]["top1"], card["systems"][0]["test"]["top1"]);
    run(temporary.path(), ["report", "--run", "run"]).succeeds();
    assert!(temporary.path().join("run/report.html").is_file());
}

/// With the names of an earlier recipe in its folder and in its checkpoint.
#[test]
fn an_earlier_checkpoint_is_resumed_to_the_same_metrics() {
    let temporary = temporary();
    let root = temporary.path().join("run");
    copy_folder(&folder("interrupted"), &root);
    assert!(std::fs::read_to_string(root.join("recipe.toml")).unwrap().contains("bias_learning_rate"));
    let outcome = run(temporary.path(), ["train", "--resume", "--run", "run"]).succeeds();
    assert!(outcome.stderr.contains("batches of the next, step 5"), "{}", outcome.stderr);
    let of_last_stage =
        |root: &Path| metrics(root).into_iter().filter(|line| line["stage"] == "gru_rcn").collect::<Vec<_>>();
    let (found, expected) = (of_last_stage(&root), of_last_stage(&folder("finished")));
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert_close(&found["train"]["loss"], &expected["train"]["loss"], 1e-3);
        assert_close(&found["validation"]["loss"], &expected["validation"]["loss"], 1e-3);
    }
}
