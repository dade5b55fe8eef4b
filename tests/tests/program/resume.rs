//! Stopping and killing runs, and resuming them.

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use gru_rcn_tests::needs_ffmpeg;

use crate::clips::{self, clips};
use crate::harness::{Call, copy_folder, ids_below, metrics, run, temporary};
use crate::tiny::{self, assert_same_outcome, resume, start, start_until};

/// What the program prints when it resumes within an epoch.
const WITHIN_EPOCH: &str = "batches of the next";

/// Numbers spread evenly over [0, 1), the same in every test: multiples of the golden ratio.
pub(crate) fn moment(count: usize) -> f64 {
    (count as f64 * 0.618_033_988_749_895).fract()
}

/// Kills runs with a number of reading threads at moments within `seconds`, `kills` times in all,
/// and resumes each to its end.
#[cfg(unix)]
pub(crate) fn kill_and_resume(workers: usize, kills: usize, seconds: f64) {
    let change = format!("features.workers={workers}");
    let (mut killed, mut within, mut runs) = (0, 0, 0);
    while killed < kills {
        let folder = temporary();
        runs += 1;
        while killed < kills {
            let running = start(&folder, &[&change]);
            sleep(Duration::from_secs_f64(seconds * moment(runs + killed + workers)));
            let outcome = running.stop_by("KILL");
            if outcome.code.is_some() {
                outcome.succeeds();
                break;
            }
            killed += 1;
            within += usize::from(outcome.stderr.contains(WITHIN_EPOCH));
        }
        let outcome = resume(&folder).run().succeeds();
        assert!(!outcome.stderr.contains("warning"), "{}", outcome.stderr);
        assert_same_outcome(&folder.join("run"));
    }
    println!(
        "{killed} kills with {workers} reading threads in {runs} runs, {within} of them after resuming within an epoch"
    );
}

/// The short form of `cargo xtask soak kills`, with any number of reading threads.
#[cfg(unix)]
#[test]
fn a_run_killed_anywhere_resumes_to_the_same_bytes() {
    for workers in [0, 1, 4] {
        kill_and_resume(workers, 4, 1.6);
    }
}

/// The signal comes within an epoch, between micro-batches of one step. The step is finished first.
/// The result is that of a run that was not stopped.
#[cfg(unix)]
#[test]
fn a_signal_finishes_the_step_and_saves() {
    let folder = temporary();
    let root = folder.join("run");
    let mut within = 0;
    // An epoch has three steps in the CNN's stage and five in the others; there every second step
    // is saved.
    for (signal, code, stage, step) in
        [("TERM", 143, "cnn", 2), ("TERM", 143, "top_rnn", 2), ("INT", 130, "gru_rcn", 8), ("TERM", 143, "gru_rcn", 12)]
    {
        let mut running = start(&folder, &[]);
        let saved = root.join(format!("checkpoints/{stage}/step-{step:08}"));
        running.wait_until("a step within an epoch", || saved.exists());
        let outcome = running.stop_by(signal).exits(code);
        outcome.says(&["stopped as requested; resume with --resume"]);
        assert!(!outcome.stderr.contains("error:"), "{}", outcome.stderr);
        assert_eq!(outcome.stdout, "");
        within += usize::from(outcome.stderr.contains(WITHIN_EPOCH));
        assert!(!root.join("report.html").exists());
        // An unfinished run cannot be used, and the message says how to finish it.
        run(&folder, "evaluate --run run").refuses(&["is not finished", "train --resume --run run"]);
        run(&folder, "report --run run").refuses(&["not finished", "report.json"]);
    }
    let outcome = resume(&folder).arg("--json").run().succeeds();
    outcome.says(&["resuming after epoch"]);
    within += usize::from(outcome.stderr.contains(WITHIN_EPOCH));
    assert!(within > 0, "no stop within an epoch");
    assert_same_outcome(&root);
    // A finished run has nothing left to do.
    let report = std::fs::metadata(root.join("report.html")).unwrap().modified().unwrap();
    let again = resume(&folder).arg("--json").run().succeeds();
    again.says(&["run is done already"]);
    assert_eq!(again.json(), outcome.json());
    assert_eq!(std::fs::metadata(root.join("report.html")).unwrap().modified().unwrap(), report);
    assert_same_outcome(&root);
    // Without one of its files it is not finished.
    std::fs::remove_file(root.join("scores-test.safetensors")).unwrap();
    let mended = resume(&folder).arg("--json").run().succeeds();
    assert!(!mended.stderr.contains("done already"), "{}", mended.stderr);
    assert_same_outcome(&root);
}

/// The newest checkpoint of a killed run is damaged as well: truncated, then a bit is flipped.
#[cfg(unix)]
#[test]
fn a_killed_run_resumes_to_the_same_bytes_despite_damaged_checkpoints() {
    let folder = temporary();
    let root = folder.join("run");
    for (stage, epoch, truncate) in [("top_rnn", 3, true), ("gru_rcn", 2, false)] {
        assert_eq!(start_until(&folder, &[], stage, epoch).stop_by("KILL").code, None);
        let model = newest_checkpoint(&root.join("checkpoints").join(stage)).unwrap().join("model.bpk");
        let mut bytes = std::fs::read(&model).unwrap();
        let middle = bytes.len() / 2;
        if truncate {
            bytes.truncate(middle);
        } else {
            bytes[middle] ^= 1;
        }
        std::fs::write(&model, bytes).unwrap();
    }
    let outcome = resume(&folder).run().succeeds();
    outcome.says(&["warning: skipping the checkpoint", "model.bpk is not"]);
    assert_same_outcome(&root);
}

/// The newest complete checkpoint of a stage.
#[cfg(unix)]
pub(crate) fn newest_checkpoint(stage: &Path) -> Option<PathBuf> {
    let paths = std::fs::read_dir(stage).into_iter().flatten().map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.is_dir() && !path.to_string_lossy().ends_with(".tmp")).max()
}

#[cfg(unix)]
#[test]
fn a_resumed_run_must_match_its_fingerprint() {
    let folder = temporary();
    start_until(&folder, &[], "gru_rcn", 1).stop_by("TERM").exits(143);
    let path = folder.join("run/recipe.toml");
    let recipe = std::fs::read_to_string(&path).unwrap();
    let edit = |from: &str, to: &str| {
        assert!(recipe.contains(from), "{from}\n{recipe}");
        std::fs::write(&path, recipe.replace(from, to)).unwrap();
    };
    edit("\nbatch = 5\n", "\nbatch = 6\n");
    resume(&folder).run().refuses(&["another recipe", "training.batch was 5 and is 6", "recipe.toml"]);
    // The refused run is unchanged.
    edit("\nbatch = 5\n", "\nbatch = 7\n");
    resume(&folder).run().refuses(&["training.batch was 5 and is 7"]);
    edit("\ntrain = 72\n", "\ntrain = 73\n");
    resume(&folder).run().refuses(&["other clips"]);
    std::fs::write(&path, &recipe).unwrap();
    resume(&folder).args(["--dtype", "bf16"]).run().refuses(&["with --dtype f32", "resume with `--dtype f32`"]);

    // A manifest that was edited no longer has its checksum, so the checkpoint counts as damaged. The one
    // before is loaded.
    let newest = newest_checkpoint(&folder.join("run/checkpoints/gru_rcn")).unwrap().join("MANIFEST.json");
    let manifest = std::fs::read_to_string(&newest).unwrap();
    std::fs::write(&newest, manifest.replace("\"version\": 2", "\"version\": 3")).unwrap();
    let outcome = resume(&folder).run().succeeds();
    outcome.says(&["MANIFEST.json is not as it was written"]);
    assert_same_outcome(&folder.join("run"));
}

#[cfg(unix)]
#[test]
fn a_folder_belongs_to_one_run() {
    let folder = temporary();
    let running = start_until(&folder, &["training.epochs=40", "training.patience=40"], "cnn", 1);
    resume(&folder).run().refuses(&["another process is training in run"]);
    let again = || tiny::train(&folder, &[]).run();
    again().refuses(&["run already holds a run", "--resume", "--run"]);
    assert_eq!(running.stop_by("KILL").code, None);
    // The operating system releases the lock of a dead process.
    again().refuses(&["run already holds a run"]);
    resume(&folder).args(["--seed", "3"]).run().refuses(&["--resume keeps the run's own recipe", "--seed"]);
}

/// The data set is in another place: `--data` names it, if every clip is the same.
#[cfg(unix)]
#[test]
fn a_run_resumes_on_a_data_set_that_was_moved() {
    needs_ffmpeg!();
    let folder = temporary();
    let (here, there) = (clips::some(&folder, 4), folder.join("moved"));
    let root = folder.join("run");
    let mut running = clips::train(&folder, &here).set(["training.epochs=2000"]).args(["--run", "run"]).start();
    running.wait_until("an epoch", || !metrics(&root).is_empty());
    running.stop_by("TERM").exits(143);
    copy_folder(&here, &there);
    std::fs::remove_dir_all(&here).unwrap();
    let resume = |data| Call::new(&folder, "train --resume --run run --data").arg(data);
    let name = &ids_below(&there)[0];
    let clip = there.join(name);
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

/// A clip that cannot be decoded beyond its first frame stops the run, which resumes after the clip
/// is replaced.
#[test]
fn a_run_resumes_after_a_broken_clip_is_replaced() {
    needs_ffmpeg!();
    let folder = temporary();
    let root = clips::some(&folder, 4);
    let lists = clips::lists(&root);
    let clip = root.join("zoom/clip-9");
    clips::draw_torn(&clip);
    let broken = clips::train(&folder, &root).set(lists).args(["--run", "run", "--json"]).run();
    broken.refuses(&["zoom/clip-9", "not a readable JPEG or PNG image"]);

    clips::draw(&clip);
    let document = run(&folder, "train --resume --run run --json").succeeds().json();
    assert!(document["test"]["clips"].as_u64().is_some_and(|clips| clips > 0), "{document}");

    // Another clip is another data set.
    std::fs::copy(&clips().paths[0], root.join("zoom/clip-10.mp4")).unwrap();
    run(&folder, "train --resume --run run").refuses(&["run was started on other clips"]);
}
