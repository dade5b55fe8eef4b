//! The second training, on the validation clips too.

use std::time::Duration;

use serde_json::Value;

use crate::harness::{assert_same_files, metrics, run, temporary, timeless_metrics};
use crate::tiny;

/// Epochs of a stage, and the clips of its first one.
fn course(lines: &[Value], stage: &str) -> (usize, Option<u64>) {
    let lines: Vec<&Value> = lines.iter().filter(|line| line["stage"] == stage).collect();
    (lines.len(), lines.first().and_then(|line| line["train"]["clips"].as_u64()))
}

/// 72 training and 16 validation clips are 88, whether their percepts are kept in memory or not.
#[test]
fn the_second_training_includes_the_validation_clips() {
    for cached in ["features.cache=true", "features.cache=false"] {
        let (folder, plain) = (temporary(), temporary());
        let outcome = tiny::train(folder.path(), &["refit.epochs=2", cached]).run().succeeds();
        outcome.says(&["training again, on the validation clips too"]);
        let lines = metrics(&folder.path().join("run"));
        for system in ["top_rnn", "gru_rcn"] {
            assert_eq!(course(&lines, &format!("{system}-refit")), (2, Some(88)), "{system}, {cached}");
        }
        // It does not change the first training.
        tiny::train(plain.path(), &[cached]).run().succeeds();
        let mut first = timeless_metrics(&folder.path().join("run"));
        first.retain(|line| !line["stage"].as_str().unwrap_or("").ends_with("-refit"));
        assert_eq!(first, timeless_metrics(&plain.path().join("run")), "{cached}");
    }
}

#[cfg(unix)]
#[test]
fn a_run_killed_in_refit_resumes_to_the_same_bytes() {
    let (whole, killed) = (temporary(), temporary());
    tiny::train(whole.path(), &["refit.epochs=3"]).run().succeeds();
    let mut running = tiny::train(killed.path(), &["refit.epochs=3"]).start();
    for stage in ["top_rnn-refit", "gru_rcn-refit"] {
        let root = killed.path().join("run");
        running.wait_until("an epoch of it", || course(&metrics(&root), stage).0 > 0);
        std::thread::sleep(Duration::from_millis(30));
        running.stop_by("KILL");
        running = tiny::resume(killed.path()).start();
    }
    running.finish().succeeds();
    let outcome = ["model.safetensors", "baselines/top_rnn.safetensors", "scores-test.safetensors"];
    assert_same_files(&killed.path().join("run"), &whole.path().join("run"), &outcome);
}

#[test]
fn refit_refuses_joint_training() {
    let folder = temporary();
    let train = |changes: &[&str]| tiny::train(folder.path(), changes).run();
    train(&["refit.epochs=0"]).refuses(&["refit.epochs is 0"]);
    train(&["refit.epochs=2", "model.finetune_backbone=true"]).refuses(&["refit", "model.finetune_backbone"]);
    run(folder.path(), ["train", "motion-tiny", "--set", "refit.steps=2"]).refuses(&["steps"]);
}
