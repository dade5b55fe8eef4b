//! Percepts that one run leaves on disk for the next.

use std::fs;
use std::path::{Path, PathBuf};

use gru_rcn_tests::needs_ffmpeg;

use crate::clips::{some, train};
use crate::harness::{Call, assert_same_files, temporary, timeless_metrics};
use crate::tiny;

const OUTCOME: [&str; 4] =
    ["model.safetensors", "baselines/top_rnn.safetensors", "scores-test.safetensors", "clips.json"];

#[track_caller]
fn assert_same(run: &Path, other: &Path) {
    assert_same_files(run, other, &OUTCOME);
    assert_eq!(timeless_metrics(run), timeless_metrics(other));
}

/// The files of percepts in a folder, with their content.
fn kept(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder).map(|entries| entries.map(|entry| entry.unwrap().path()).collect::<Vec<_>>());
    let mut files = entries.unwrap_or_default();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read(&path).unwrap())).collect()
}

/// Four clips of each of two classes, then of three. Of a class one clip is for validation and one for
/// the test, and each of the two for training has a copy: 2 · 6 files, and 6 of the third class.
#[test]
fn a_run_with_one_more_class_computes_its_clips_alone() {
    needs_ffmpeg!();
    let folder = temporary();
    let (root, data) = (&*folder, some(&folder, 4));
    let more = |run: &str, changes: &[&str]| train(root, &data).set(changes).args(["--run", run]).run().succeeds();
    fs::rename(data.join("zoom"), root.join("zoom")).unwrap();
    more("first", &[]).says(&["percepts: 0 of 8 clips at hand, 8 to compute; 1 MiB more in percepts"]);
    let before = kept(&root.join("percepts"));
    assert_eq!(before.len(), 12);
    more("again", &["model.form=stacked", "model.hidden=[3, 5]"])
        .says(&["percepts: 8 of 8 clips at hand, 0 to compute"]);
    assert!(kept(&root.join("percepts")) == before);

    fs::rename(root.join("zoom"), data.join("zoom")).unwrap();
    more("three", &[]).says(&["percepts: 8 of 12 clips at hand, 4 to compute"]);
    let all = kept(&root.join("percepts"));
    assert!(all.len() == 18 && before.iter().all(|file| all.contains(file)));
    let without = train(root, &data).args(["--run", "without", "--percepts", "none"]).run().succeeds();
    assert!(!without.stderr.contains("at hand"), "{}", without.stderr);
    assert_same(&root.join("three"), &root.join("without"));

    // Clips under other names and in another place: those that are evaluated are the same.
    fs::rename(data.join("zoom"), data.join("zoomed")).unwrap();
    fs::rename(&data, root.join("moved")).unwrap();
    let moved = train(root, &root.join("moved")).args(["--run", "moved-run"]).run().succeeds();
    moved.says(&["percepts: 10 of 12 clips at hand, 2 to compute"]);
}

/// More clips; another seed, which draws other copies; no use of the folder.
#[test]
fn runs_on_generated_clips_share_their_percepts() {
    let folder = temporary();
    let weights = tiny::reference().join("backbone.safetensors");
    let train = |line: &str| {
        let call = Call::new(&folder, &format!("train motion-tiny --run {line} --weights")).arg(&weights);
        call.set(["features={ cache = true, copies = 1 }", "training.epochs=2"]).run().succeeds()
    };
    train("a").says(&["percepts: 0 of 104 clips at hand, 104 to compute"]);
    train("b --set data.motion.train=80").says(&["percepts: 104 of 112 clips at hand, 8 to compute"]);
    train("c --seed 2").says(&["percepts: 32 of 104 clips at hand, 72 to compute"]);
    train("b-without --set data.motion.train=80 --percepts none");
    train("c-without --seed 2 --percepts none");
    for run in ["b", "c"] {
        assert_same(&folder.join(run), &folder.join(format!("{run}-without")));
    }
    // A place that cannot be written to costs the run nothing.
    fs::write(folder.join("file"), "").unwrap();
    train("d --percepts file/x").says(&["0 of 104 clips at hand", "warning: no more is kept for other runs"]);
}

/// A run is killed while it computes percepts, a file is damaged, and two runs fill a folder at once.
#[test]
fn percepts_survive_kills_damage_and_a_second_run() {
    let folder = temporary();
    let root = &*folder;
    let weights = tiny::reference().join("backbone.safetensors");
    let train = |run: &str, percepts: &str| {
        let call = Call::new(root, &format!("train motion-tiny --run {run} --percepts {percepts} --weights"));
        let changes = ["features={ cache = true, copies = 3 }", "training.epochs=1", "baselines.top_rnn=4"];
        call.arg(&weights).set(changes)
    };
    let [one, other] = ["one", "other"].map(|run| train(run, "company").start());
    one.finish().succeeds();
    other.finish().succeeds();
    let whole = kept(&root.join("company"));
    // The original and three copies of 72 clips, and the others once.
    assert_eq!(whole.len(), 4 * 72 + 32);

    let mut killed = train("killed", "percepts").start();
    killed.wait_until("some percepts", || kept(&root.join("percepts")).len() >= 9);
    killed.stop_by("KILL");
    let files = kept(&root.join("percepts"));
    let in_company = |path: &Path| fs::read(root.join("company").join(path.file_name().unwrap())).unwrap();
    assert!(files.len() < whole.len() && files.iter().all(|(path, bytes)| in_company(path) == *bytes));
    let mut flipped = files[3].1.clone();
    *flipped.last_mut().unwrap() ^= 1;
    fs::write(&files[3].0, flipped).unwrap();
    fs::write(&files[5].0, &files[5].1[..100]).unwrap();
    let resumed = Call::new(root, "train --resume --run killed --percepts percepts").run().succeeds();
    resumed.says(&["is damaged and computed again: its values are not as they were written"]);
    assert_eq!(resumed.stderr.matches("is damaged and computed again").count(), 2, "{}", resumed.stderr);
    assert!(kept(&root.join("percepts")).iter().map(|file| &file.1).eq(whole.iter().map(|file| &file.1)));
    train("without", "none").run().succeeds();
    for run in ["one", "other", "killed"] {
        assert_same(&root.join(run), &root.join("without"));
    }
}
