//! The second training, which includes the validation clips.

use std::time::Duration;

use crate::harness::{assert_same_files, run, stage_metrics, temporary, timeless_metrics};
use crate::tiny;

/// 72 training and 16 validation clips are 88, whether their percepts are kept in memory or not.
#[test]
fn the_second_training_includes_the_validation_clips() {
    for cached in ["features.cache=true", "features.cache=false"] {
        let (folder, plain) = (temporary(), temporary());
        let outcome = tiny::train(&folder, &["refit.epochs=2", cached]).run().succeeds();
        outcome.says(&["training again, on the validation clips too"]);
        for stage in ["top_rnn-refit", "gru_rcn-refit"] {
            let lines = stage_metrics(&folder.join("run"), stage);
            assert!(lines.len() == 2 && lines[0]["train"]["clips"] == 88, "{stage}, {cached}: {lines:?}");
        }
        // It does not change the first training.
        tiny::train(&plain, &[cached]).run().succeeds();
        let mut first = timeless_metrics(&folder.join("run"));
        first.retain(|line| !line["stage"].as_str().unwrap_or("").ends_with("-refit"));
        assert_eq!(first, timeless_metrics(&plain.join("run")), "{cached}");
    }
}

#[cfg(unix)]
#[test]
fn a_run_killed_in_refit_resumes_to_the_same_bytes() {
    let (whole, killed) = (temporary(), temporary());
    tiny::train(&whole, &["refit.epochs=3"]).run().succeeds();
    let mut running = tiny::train(&killed, &["refit.epochs=3"]).start();
    for stage in ["top_rnn-refit", "gru_rcn-refit"] {
        let root = killed.join("run");
        running.wait_until("an epoch of it", || !stage_metrics(&root, stage).is_empty());
        std::thread::sleep(Duration::from_millis(30));
        running.stop_by("KILL");
        running = tiny::resume(&killed).start();
    }
    running.finish().succeeds();
    let outcome = ["model.safetensors", "baselines/top_rnn.safetensors", "scores-test.safetensors"];
    assert_same_files(&killed.join("run"), &whole.join("run"), &outcome);
}

#[test]
fn refit_refuses_joint_training() {
    let folder = temporary();
    let train = |changes: &[&str]| tiny::train(&folder, changes).run();
    train(&["refit.epochs=0"]).refuses(&["refit.epochs is 0"]);
    train(&["refit.epochs=2", "model.finetune_backbone=true"]).refuses(&["refit", "model.finetune_backbone"]);
    run(&folder, "train motion-tiny --set refit.steps=2").refuses(&["steps"]);
}
