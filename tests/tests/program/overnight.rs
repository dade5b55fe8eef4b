//! Unattended runs: without room on the disk, with broken clips, with numbers that are not finite.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use gru_rcn_tests::{needs_ffmpeg, skip};

use crate::harness::{Call, card, ids_below, metrics, run, stage_metrics, temporary};
use crate::tiny::{self, assert_same_outcome, resume, start_until};
use crate::{clips, micro};

/// The next training removes the files of killed processes, and `latest` names the newest checkpoint
/// again.
#[cfg(unix)]
#[test]
fn a_resumed_run_tidies_up_after_killed_processes() {
    let folder = temporary();
    start_until(&folder, &[], "gru_rcn", 1).stop_by("TERM").exits(143);
    let root = folder.join("run");
    let left = ["model.safetensors.4711-0.tmp", ".run.json.partial", "checkpoints/gru_rcn/.step-00000099.tmp"];
    left.iter().for_each(|name| std::fs::write(root.join(name), "half").unwrap());
    std::fs::write(root.join("checkpoints/gru_rcn/latest"), "step-00000001\n").unwrap();
    resume(&folder).run().succeeds();
    left.iter().for_each(|name| assert!(!root.join(name).exists(), "{name}"));
    let latest = std::fs::read_to_string(root.join("checkpoints/gru_rcn/latest")).unwrap();
    assert!(root.join("checkpoints/gru_rcn").join(latest.trim_end()).is_dir(), "{latest}");
    assert_same_outcome(&root);
}

/// The folder is renamed during a run: nothing more is written under the old name.
#[cfg(unix)]
#[test]
fn a_run_whose_folder_is_gone_stops() {
    let folder = temporary();
    let root = folder.join("run");
    let mut running = tiny::train(&folder, &[]).start();
    running.wait_until("epoch 1 of top_rnn", || metrics(&root).iter().any(|line| line["stage"] == "top_rnn"));
    std::fs::rename(&root, folder.join("elsewhere")).unwrap();
    running.finish().refuses(&["run was removed or renamed", "--resume --run NEW_NAME"]);
    assert!(!root.exists(), "half a run was left");
    run(&folder, "train --resume --run elsewhere").succeeds();
    assert_same_outcome(&folder.join("elsewhere"));
}

/// Weights of finished stages are gone: the stages are trained again, and end in the same bytes.
#[cfg(unix)]
#[test]
fn weights_that_are_gone_are_trained_again() {
    let folder = temporary();
    start_until(&folder, &[], "gru_rcn", 1).stop_by("TERM").exits(143);
    let root = folder.join("run");
    for name in ["backbone.safetensors", "baselines/top_rnn.safetensors"] {
        std::fs::remove_file(root.join(name)).unwrap();
    }
    let outcome = resume(&folder).run().succeeds();
    outcome.says(&[
        "backbone.safetensors is gone; the CNN is made again",
        "top_rnn.safetensors is gone; it is trained again",
    ]);
    assert_same_outcome(&root);

    // Another CNN in its place has other percepts.
    std::fs::remove_file(root.join("report.html")).unwrap();
    let other = micro::reference().root.join("backbone.safetensors");
    std::fs::copy(other, root.join("backbone.safetensors")).unwrap();
    std::fs::remove_file(root.join("model.safetensors")).unwrap();
    resume(&folder).run().exits(2);
}

/// Something mounted, as long as the value exists.
struct Mount<'a>(&'a Path);

impl<'a> Mount<'a> {
    /// `None` where mounting is not allowed.
    fn new(at: &'a Path, arguments: &[&str]) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount").args(arguments).arg(at).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(at))
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

/// A disk of 3 MiB is filled after training has begun, and emptied again. The last checkpoint stays
/// and training continues. The program reports the failure at once and by its exit code.
#[cfg(unix)]
#[test]
fn a_full_disk_costs_checkpoints_only() {
    let folder = temporary();
    let disk = folder.join("disk");
    let Some(_mount) = Mount::new(&disk, &["-t", "tmpfs", "-o", "size=3m", "none"]) else { skip!("cannot mount") };
    let root = disk.join("run");
    let running = tiny::start_until(&disk, &["training.epochs=40", "training.patience=40"], "top_rnn", 1);
    let filler = disk.join("filler");
    // Up to the last byte, so that there is no room for the smallest file.
    let full = std::fs::write(&filler, vec![1; 8 << 20]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    let before = metrics(&root).len();
    std::thread::sleep(Duration::from_millis(1500));
    // The state saved before is whole: a copy of the folder can be resumed.
    let newest = std::fs::read_to_string(root.join("checkpoints/top_rnn/latest")).unwrap();
    assert!(root.join("checkpoints/top_rnn").join(newest.trim()).join("MANIFEST.json").is_file());
    std::fs::remove_file(&filler).unwrap();
    let outcome = running.finish().exits(1);
    outcome.says(&["could not save the checkpoint", "No space left", "Training continues"]);
    outcome.says(&["error: the run is done, but not all could be kept"]);
    assert!(root.join("model.safetensors").is_file() && before < 40);
    // Lines that had to wait for room were written later: none is missing or repeated.
    let lines = stage_metrics(&root, "gru_rcn");
    assert!(lines.iter().map(|line| line["epoch"].as_u64().unwrap()).eq(1..=lines.len() as u64), "{lines:?}");
}

#[cfg(unix)]
#[test]
fn a_disk_without_room_for_checkpoints_is_refused_at_the_start() {
    let folder = temporary();
    let disk = folder.join("disk");
    let Some(_mount) = Mount::new(&disk, &["-t", "tmpfs", "-o", "size=160k", "none"]) else { skip!("cannot mount") };
    tiny::train(&disk, &[]).run().refuses(&["a checkpoint of CNN on single frames takes about", "left on the disk"]);
}

/// Root ignores permissions, so the test uses a disk that is mounted read-only.
#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_written_is_refused() {
    let folder = temporary();
    tiny::start_until(&folder, &[], "gru_rcn", 1).stop_by("TERM").exits(143);
    let (run_folder, seen) = (folder.join("run"), folder.join("seen"));
    let bound = ["--bind", run_folder.to_str().unwrap()];
    let Some(_bound) = Mount::new(&seen, &bound) else { skip!("cannot mount") };
    let remounted = Command::new("mount").args(["-o", "remount,ro,bind"]).arg(&seen).status();
    if !remounted.is_ok_and(|status| status.success()) {
        skip!("cannot mount read-only");
    }
    run(&folder, "train --resume --run seen").refuses(&["could not write", "seen", "Read-only"]);
    run(&folder, "train motion-tiny --run seen/run").refuses(&["could not create the run folder"]);
}

/// Training skips as many broken clips as the recipe allows; validation and testing skip none.
#[cfg(unix)]
#[test]
fn skips_broken_training_clips_if_the_recipe_allows_it() {
    needs_ffmpeg!();
    let folder = temporary();
    let root = clips::some(&folder, 6);
    // The training clips are drawn at random; breaking clips one by one finds one of them.
    let mut tried = Vec::new();
    for name in ids_below(&root).into_iter().filter(|id| id.starts_with("zoom")) {
        let film = root.join(&name);
        let whole = std::fs::read(&film).unwrap();
        std::fs::write(&film, "not a film").unwrap();
        let call = clips::train(&folder, &root).set(["training.max_bad_fraction=0.2"]);
        let outcome = call.args(["--run", "run"]).run();
        if outcome.code == Some(0) {
            outcome.says(&["1 of ", "could not be read and were skipped"]);
            let record = std::fs::read_to_string(folder.join("run/quarantine.jsonl")).unwrap();
            assert!(record.lines().count() == 1 && record.contains(&name), "{record}");
            assert!(metrics(&folder.join("run")).iter().all(|line| line["bad_clips"] == 1));
            let bad = card(&folder.join("run"))["bad_clips"].to_string();
            assert!(bad.contains(&name), "{bad}");
            // Without permission it is an error that names the clip.
            let strict = clips::train(&folder, &root).args(["--run", "strict"]).run();
            strict.refuses(&[&name, "training.max_bad_fraction = 0 allows", "not a video"]);
            return;
        }
        // It is a validation or test clip, none of which may be skipped.
        outcome.refuses(&[&name]);
        std::fs::write(&film, whole).unwrap();
        let _ = std::fs::remove_dir_all(folder.join("run"));
        tried.push(name);
    }
    panic!("none of {tried:?} is a training clip");
}

/// The learning rate is far too large: the step is not taken, and the state before it is saved.
#[test]
fn a_nonfinite_step_stops_the_run() {
    let folder = temporary();
    let changes = ["training.learning_rate=1e38", "training.clip_norm=0.0", "training.optimizer=sgd"];
    let outcome = tiny::train(&folder, &changes).run();
    outcome.refuses(&["nonfinite.jsonl names the clips", "the step was not taken", "training.learning_rate"]);
    let record = std::fs::read_to_string(folder.join("run/nonfinite.jsonl")).unwrap();
    assert!(record.contains("\"clips\":[\"") && record.contains("\"losses\":["), "{record}");
    let other = temporary();
    let changes = [&changes[..], &["training.nonfinite={ skip = 2 }"]].concat();
    let outcome = tiny::train(&other, &changes).run().refuses(&["after 2 such steps that were skipped"]);
    assert_eq!(outcome.stderr.matches("is skipped, its loss").count(), 2, "{}", outcome.stderr);
}

#[test]
fn every_stage_is_logged_for_tensorboard() {
    let root = tiny::reference();
    for stage in ["cnn", "top_rnn", "gru_rcn"] {
        let folder = root.join("tensorboard").join(stage);
        let events: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap()).collect();
        assert!(events.len() == 1 && events[0].file_name().to_string_lossy().starts_with("events.out.tfevents."));
        assert!(events[0].metadata().unwrap().len() > 200);
    }
}

/// Two runs on one page; runs on different clips are not compared.
#[test]
fn the_report_compares_runs() {
    let folder = temporary();
    // A run folder may be named from another one.
    let inside = folder.join("inside");
    std::fs::create_dir(&inside).unwrap();
    let changes = ["training.epochs=1", "baselines.top_rnn=none", "model.hidden=[4, 4]"];
    Call::new(&inside, "train motion-tiny --run ../run").set(changes).run().succeeds();
    let reference = tiny::reference();
    let shown = Call::new(&folder, "report run --out both.html").arg(reference).run().succeeds();
    assert_eq!(shown.stdout.trim_end(), "both.html");
    let page = std::fs::read_to_string(folder.join("both.html")).unwrap();
    assert!(page.contains("2 runs on ") && page.matches("run: GRU-RCN").count() >= 2, "{page}");
    let other = Call::new(&folder, "report run").arg(micro::reference().name());
    other.run().refuses(&["tested on other clips"]);
}
