//! Stopping and killing runs, and resuming them.

use std::path::Path;

use gru_rcn_tests::films;
use gru_rcn_tests::needs_ffmpeg;

use crate::clips::{self, clips};
use crate::harness::{Call, Running, clips_below, copy_folder, run, temporary};
use crate::micro::{self, all_epochs, assert_same_outcome, epochs};

/// Starts the small experiment, or resumes it.
fn start(folder: &Path, resume: bool) -> Running {
    let call = if resume { Call::new(folder, ["train", "--resume"]) } else { micro::train(folder) };
    call.args(["--run", "run", "--json"]).start()
}

/// Waits until a stage has logged an epoch.
fn wait_for(running: &mut Running, run: &Path, stage: &str, epoch: u64) {
    let logged = || epochs(run).contains(&(stage.to_string(), epoch));
    running.wait_until(&format!("epoch {epoch} of {stage}"), logged);
}

/// Each signal stops the run in another stage. The result is that of a run that was not stopped.
#[cfg(unix)]
#[test]
fn a_stopped_run_resumes_to_the_same_bytes() {
    let folder = temporary();
    let root = folder.path().join("run");
    for (signal, code, stage, resume) in [("TERM", 143, "cnn", false), ("INT", 130, "gru_rcn", true)] {
        let mut running = start(folder.path(), resume);
        wait_for(&mut running, &root, stage, 1);
        let outcome = running.stop_by(signal).exits(code);
        outcome.says(&["resume with --resume"]);
        assert_eq!(outcome.stdout, "");
        assert!(!root.join("report.html").exists());
        // An unfinished run cannot be used, and the message says how to finish it.
        run(folder.path(), ["evaluate", "--run", "run"]).refuses(&["is not finished", "train --resume --run run"]);
        run(folder.path(), ["report", "--run", "run"]).refuses(&["not finished", "report.json"]);
    }
    let outcome = start(folder.path(), true).finish().succeeds();
    outcome.says(&["resuming after epoch"]);
    assert_eq!(outcome.json()["test"], micro::reference().document["test"]);
    assert_same_outcome(&root);
    assert_eq!(epochs(&root), all_epochs());
    // A finished run has nothing left to do.
    assert_eq!(start(folder.path(), true).finish().succeeds().json()["test"], outcome.json()["test"]);
    assert_same_outcome(&root);
}

/// The newest checkpoint of a killed run is damaged as well: truncated, then a bit is flipped.
#[cfg(unix)]
#[test]
fn a_killed_run_resumes_to_the_same_bytes_despite_damaged_checkpoints() {
    let folder = temporary();
    let root = folder.path().join("run");
    for (stage, epoch, resume) in [("top_rnn", 3, false), ("gru_rcn", 2, true)] {
        let mut running = start(folder.path(), resume);
        wait_for(&mut running, &root, stage, epoch);
        assert_eq!(running.stop_by("KILL").code, None);
        let model = newest_checkpoint(&root.join("checkpoints").join(stage)).join("model.bpk");
        let mut bytes = std::fs::read(&model).unwrap();
        let middle = bytes.len() / 2;
        if resume {
            bytes[middle] ^= 1;
        } else {
            bytes.truncate(middle);
        }
        std::fs::write(&model, bytes).unwrap();
    }
    let outcome = start(folder.path(), true).finish().succeeds();
    outcome.says(&["warning: skipping the checkpoint", "model.bpk is not"]);
    assert_same_outcome(&root);
    assert_eq!(epochs(&root), all_epochs());
}

#[cfg(unix)]
fn newest_checkpoint(folder: &Path) -> std::path::PathBuf {
    let names = std::fs::read_dir(folder).expect("checkpoints").map(|entry| entry.expect("an entry").path());
    let whole =
        |path: &std::path::PathBuf| path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.'));
    names.filter(whole).max().expect("a checkpoint")
}

#[cfg(unix)]
#[test]
fn a_folder_belongs_to_one_run() {
    let folder = temporary();
    let root = folder.path().join("run");
    let mut running = start(folder.path(), false);
    wait_for(&mut running, &root, "cnn", 1);
    let resume = ["train", "--resume", "--run", "run"];
    run(folder.path(), resume).refuses(&["another process is training in run"]);
    let again = || micro::train(folder.path()).args(["--run", "run"]).run();
    again().refuses(&["run already holds a run", "--resume", "--run"]);
    assert_eq!(running.stop_by("KILL").code, None);
    // The operating system releases the lock of a dead process.
    again().refuses(&["run already holds a run"]);
    let changed = ["train", "--resume", "--run", "run", "--seed", "3"];
    run(folder.path(), changed).refuses(&["--resume keeps the run's own recipe", "--seed"]);
}

/// The data set is in another place: `--data` names it, if every clip is the same.
#[cfg(unix)]
#[test]
fn a_run_resumes_on_a_data_set_that_was_moved() {
    needs_ffmpeg!();
    let folder = temporary();
    let (here, there) = (clips::some(folder.path(), 4), folder.path().join("moved"));
    let root = folder.path().join("run");
    let mut running = clips::train(folder.path(), &here).set(["training.epochs=2000"]).args(["--run", "run"]).start();
    running.wait_until("an epoch", || !epochs(&root).is_empty());
    running.stop_by("TERM").exits(143);
    copy_folder(&here, &there);
    std::fs::remove_dir_all(&here).unwrap();
    let resume = |data: &str| Call::new(folder.path(), ["train", "--resume", "--run", "run", "--data", data]);
    let clip = clips_below(&there).remove(0);
    let name = clip.strip_prefix(&there).unwrap().to_str().unwrap();
    let whole = std::fs::read(&clip).unwrap();
    let mut other = whole.clone();
    other[whole.len().min(64 << 10) / 2] ^= 1;
    std::fs::write(&clip, other).unwrap();
    resume("moved").run().refuses(&["1 clip is not what run was started on, the first", name]);
    std::fs::remove_file(&clip).unwrap();
    resume("moved").run().refuses(&["run was started on other clips", name, "is not there now"]);
    resume("nowhere").run().refuses(&["nowhere"]);
    std::fs::write(&clip, whole).unwrap();
    let mut running = resume("moved").start();
    let recipe = || std::fs::read_to_string(root.join("recipe.toml")).unwrap();
    running.wait_until("the new place in the recipe", || recipe().contains("moved"));
    running.stop_by("TERM").exits(143);
}

/// A clip that cannot be decoded stops the run, which resumes after the clip is replaced.
#[test]
fn a_run_resumes_after_a_broken_clip_is_replaced() {
    needs_ffmpeg!();
    let folder = temporary();
    let root = clips::some(folder.path(), 4);
    let clip = root.join("zoom/clip-9.avi");
    std::fs::write(&clip, "not a film").unwrap();
    let broken = clips::train(folder.path(), &root).args(["--run", "run", "--json"]).run();
    broken.refuses(&["zoom/clip-9.avi", "not a video that FFmpeg can decode"]);

    films::draw(&clip, &films::source("zoom", 9), "mjpeg");
    let document = run(folder.path(), ["train", "--resume", "--run", "run", "--json"]).succeeds().json();
    assert!(document["test"]["clips"].as_u64().is_some_and(|clips| clips > 0), "{document}");

    // Another clip is another data set.
    std::fs::copy(&clips().paths[0], root.join("zoom/clip-10.mp4")).unwrap();
    run(folder.path(), ["train", "--resume", "--run", "run"]).refuses(&["run was started on other clips"]);
}
