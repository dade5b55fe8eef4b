//! From videos to a prepared folder, to training on flow, to percepts on disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use gru_rcn_tests::films::{CLASSES, FRAMES};
use gru_rcn_tests::needs_ffmpeg;
use gru_rcn_tests::tensors::Tensors;

use crate::clips::{clips, reference, some, train};
use crate::harness::{Call, Folder, assert_same_files, copy_folder, read_json, run, shared, temporary};

/// Clips of each class in the prepared folder.
const CLIPS: usize = 4;

/// `prepare` from `films` to `out`.
fn prepare(folder: &Path) -> Call {
    Call::new(folder, "prepare folder films --out out --size 48 --flow dis --workers 1")
}

/// The prepared folder that all tests share; tests read it and never change it.
fn prepared() -> &'static Path {
    static PREPARED: LazyLock<PathBuf> = LazyLock::new(|| {
        let folder = shared("prepared");
        some(&folder, CLIPS);
        let document = prepare(&folder).arg("--json").run().succeeds().json();
        assert_eq!(document["clips"], CLIPS * CLASSES.len());
        assert_eq!(document["frames"], CLIPS * CLASSES.len() * FRAMES);
        folder.join("out")
    });
    &PREPARED
}

/// A copy for a test that changes it.
fn copy() -> (Folder, PathBuf) {
    let folder = temporary();
    let root = folder.join("out");
    copy_folder(prepared(), &root);
    (folder, root)
}

#[test]
fn a_prepared_folder_passes_verify() {
    needs_ffmpeg!();
    let report = run(prepared(), "verify . --json").succeeds().json();
    assert_eq!((&report["clips"], &report["faults"]), (&(CLIPS * CLASSES.len()).into(), &serde_json::json!([])));
    let clip = prepared().join("flow/life/clip-0");
    for component in ["x", "y"] {
        assert_eq!(fs::read_dir(clip.join(component)).unwrap().count(), FRAMES - 1);
    }
}

/// `prepare` is killed and started again: the manifest is that of an uninterrupted run. In the same
/// folder other settings are refused.
#[test]
fn a_killed_prepare_continues_to_the_same_manifest() {
    needs_ffmpeg!();
    let folder = temporary();
    some(&folder, CLIPS);
    let root = folder.join("out");
    let journal = root.join("manifest.partial.jsonl");
    for clips in [1, 4, 7] {
        let lines = || fs::read_to_string(&journal).map_or(0, |text| text.lines().count());
        let mut running = prepare(&folder).start();
        // The journal has a header line.
        running.wait_until("some clips are done", || lines() > clips);
        assert_ne!(running.stop_by("KILL").code, Some(0));
        assert!(!root.join("manifest.jsonl").exists());
    }
    prepare(&folder).run().succeeds();
    run(&root, "verify .").succeeds();
    assert_same_files(&root, prepared(), &["manifest.jsonl"]);
    run(&folder, "prepare folder films --out out --size 64 --flow dis").refuses(&["size"]);
}

#[test]
fn merged_shards_give_the_whole_manifest() {
    needs_ffmpeg!();
    let folder = temporary();
    some(&folder, CLIPS);
    for shard in ["1/2", "2/2"] {
        prepare(&folder).args(["--shard", shard]).run().succeeds();
    }
    let document = run(&folder, "merge out --json").succeeds().json();
    assert_eq!((&document["shards"], &document["clips"]), (&2.into(), &(CLIPS * CLASSES.len()).into()));
    assert_same_files(&folder.join("out"), prepared(), &["manifest.jsonl"]);
}

/// `verify` lists the clips with faults, with exit code 1. Training skips them and says so.
#[test]
fn clips_with_faults_are_skipped_in_training() {
    needs_ffmpeg!();
    let (folder, root) = copy();
    let frames = root.join("frames");
    fs::remove_file(frames.join("life/clip-0/000003.jpg")).unwrap();
    fs::write(frames.join("scroll/clip-1/000005.jpg"), b"").unwrap();
    let cut = frames.join("zoom/clip-2/000007.jpg");
    let bytes = fs::read(&cut).unwrap();
    fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    fs::remove_file(root.join("flow/zoom/clip-3/y/000018.jpg")).unwrap();

    run(&folder, "verify out --json --quarantine").exits(1).says(&["4 clips"]);
    train(&folder, &root).args(["--run", "run", "--plain"]).run().succeeds().says(&["4 clips are in quarantine"]);
}

/// The header of an image announces 10.8 GB, and the program may take 2 GiB.
#[cfg(target_os = "linux")]
#[test]
fn a_huge_image_is_a_fault_and_takes_no_memory() {
    needs_ffmpeg!();
    let (folder, root) = copy();
    let image = root.join("frames/zoom/clip-0/000001.jpg");
    // Height and width, big-endian, after the frame header's marker, length and precision: 60,000 is
    // 0xea60.
    let mut header = fs::read(&image).unwrap();
    let frame = header.windows(2).position(|marker| marker == [0xff, 0xc0]).expect("a baseline JPEG");
    header[frame + 5..frame + 9].copy_from_slice(&[0xea, 0x60, 0xea, 0x60]);
    fs::write(&image, header).unwrap();
    let verify = Call::by_script(&folder, "ulimit -v 2097152 && exec \"$0\" \"$@\"", "verify out --json");
    let report = verify.run().exits(1).json();
    let faults = report["faults"].as_array().unwrap();
    assert!(faults.iter().all(|fault| fault["clip"] == "zoom/clip-0"), "{report}");
    assert!(faults.iter().any(|fault| fault["kind"] == "too_large"), "{report}");
}

/// Training on stacks of ten fields, with weights for RGB, writes scores that can be fused. Videos
/// have no flow.
#[test]
fn trains_on_flow() {
    needs_ffmpeg!();
    let folder = temporary();
    let train = |data: &Path| {
        let changes = ["clip.stream=flow", "clip.photometric={}"];
        train(&folder, data).set(changes).args(["--run", "run", "--json"]).run()
    };
    train(&clips().root).refuses(&["no optical flow", "prepare"]);
    let document = train(prepared()).succeeds().json();
    assert_eq!(document["test"]["clips"], CLASSES.len());
    let root = folder.join("run");
    let scores = Tensors::read(&root.join("scores-test.safetensors"));
    assert_eq!(scores.metadata("clips").as_array().unwrap().len(), CLASSES.len());
    let outcome = run(&folder, "evaluate --run run --json").succeeds();
    assert_eq!(outcome.json()["test"]["top1"], document["test"]["top1"]);
    Call::new(&folder, "predict --run run").arg(clips().film()).run().refuses(&["flow"]);
}

/// Percepts that `features` wrote are those that training computes, as long as clips and settings are
/// the same.
#[test]
fn trains_from_percepts_on_disk() {
    needs_ffmpeg!();
    let folder = temporary();
    let features = || {
        let call = Call::new(&folder, "features folder --out percepts --json --data").arg(prepared());
        let sizes = ["clip.temporal.spread.frames=4", "clip.frame_size=[36, 48]", "clip.input_size=[32, 40]"];
        call.arg("--weights").arg(&clips().weights).set(sizes).run().succeeds().json()
    };
    assert_eq!(features()["clips"], CLIPS * CLASSES.len());
    let index = read_json(&folder.join("percepts/index.json"));
    let clip = &index["clips"][0];
    let file = folder.join("percepts").join(clip["file"].as_str().unwrap());
    let level = &index["levels"][0];
    let side = |name: &str| level[name].as_u64().unwrap();
    let shape = vec![4, side("channels"), side("height"), side("width")];
    assert_eq!(Tensors::read(&file).shape(level["name"].as_str().unwrap()), ("F32", shape));
    // Written again, a damaged file is mended.
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(features()["clips"], CLIPS * CLASSES.len());
    assert!(fs::read(&file).unwrap() == whole && read_json(&folder.join("percepts/index.json")) == index);

    let train = |data: &Path, run: &str, percepts: &str, changes: &[&str]| {
        let call = train(&folder, data).args(["--run", run, "--percepts", percepts]);
        call.set(["features.copies=0"]).set(changes)
    };
    train(prepared(), "live", "none", &[]).run().succeeds();
    let cached = train(prepared(), "cached", "percepts", &[]).run().succeeds();
    cached.says(&["percepts: 12 of 12 clips at hand, 0 to compute; 0 MiB more in percepts"]);
    let root = |run| folder.join(run);
    assert_same_files(&root("cached"), &root("live"), &["model.safetensors", "scores-test.safetensors"]);
    let otherwise = train(prepared(), "otherwise", "percepts", &["clip.temporal.spread.frames=5"]);
    otherwise.run().succeeds().says(&["percepts: 0 of 12 clips at hand"]);

    let other = folder.join("other");
    copy_folder(prepared(), &other);
    let manifest = fs::read_to_string(other.join("manifest.jsonl")).unwrap();
    let (head, hash) = manifest.split_once("\"sha256\":\"").unwrap();
    let hash = format!("{}{}", if hash.starts_with('0') { '1' } else { '0' }, &hash[1..]);
    fs::write(other.join("manifest.jsonl"), format!("{head}\"sha256\":\"{hash}")).unwrap();
    train(&other, "a", "percepts", &[]).run().succeeds().says(&["percepts: 11 of 12 clips at hand, 1 to compute"]);
    let earlier = train(&other, "b", "none", &["features.from=percepts"]);
    earlier.run().refuses(&["features.from is a key of earlier versions", "`--percepts percepts`"]);
}

#[test]
fn writes_encodings_of_a_run() {
    needs_ffmpeg!();
    let folder = temporary();
    Call::new(&folder, "features --encodings --out codes --run").arg(reference().name()).run().succeeds();
    let index = read_json(&folder.join("codes/index.json"));
    assert_eq!(index["kind"], "encodings");
    // Two directions of four channels.
    assert_eq!(index["levels"][0]["channels"], 8);
}

#[test]
fn computes_flow_between_two_images() {
    needs_ffmpeg!();
    let folder = temporary();
    for image in ["000000.jpg", "000001.jpg"] {
        fs::copy(prepared().join("frames/scroll/clip-0").join(image), folder.join(image)).unwrap();
    }
    for method in ["tvl1", "dis"] {
        let flow = format!("flow 000000.jpg 000001.jpg --json --method {method}");
        let document = run(&folder, &format!("{flow} --out f.flo --picture f.png")).succeeds().json();
        assert_eq!(document["height"], 48);
        let again = run(&folder, &format!("{flow} --out g.flo --truth f.flo")).succeeds().json();
        assert_eq!(again["endpoint_error"], 0.0);
    }
    run(&folder, "flow 000000.jpg missing.png --out f.flo").refuses(&["missing.png"]);
    run(&folder, "flow 000000.jpg 000001.jpg --out f.png").refuses(&[".flo"]);
}
