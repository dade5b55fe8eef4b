//! From videos to a prepared folder, to training on flow, to percepts on disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use gru_rcn_tests::films::{CLASSES, FRAMES};
use gru_rcn_tests::needs_ffmpeg;
use gru_rcn_tests::tensors::Tensors;

use crate::clips::{clips, reference, some, train};
use crate::harness::{Call, assert_same_files, copy_folder, read_json, run, shared, temporary};

/// Clips of each class in the prepared folder.
const CLIPS: usize = 4;

fn prepare(folder: &Path, out: &str) -> Call {
    Call::new(folder, ["prepare", "folder", "films", "--out", out, "--size", "48", "--flow", "dis", "--workers", "1"])
}

/// The prepared folder that all tests share; tests read it and never change it.
fn prepared() -> &'static Path {
    static PREPARED: OnceLock<PathBuf> = OnceLock::new();
    PREPARED.get_or_init(|| {
        let folder = shared("prepared");
        some(&folder, CLIPS);
        let document = prepare(&folder, "out").args(["--json"]).run().succeeds().json();
        assert_eq!(document["clips"], CLIPS * CLASSES.len());
        assert_eq!(document["frames"], CLIPS * CLASSES.len() * FRAMES);
        folder.join("out")
    })
}

/// A copy for a test that changes it.
fn copy() -> (tempfile::TempDir, PathBuf) {
    let folder = temporary();
    let root = folder.path().join("out");
    copy_folder(prepared(), &root);
    (folder, root)
}

#[test]
fn a_prepared_folder_passes_verify() {
    needs_ffmpeg!();
    let report = run(prepared(), ["verify", ".", "--json"]).succeeds().json();
    assert_eq!((&report["clips"], &report["faults"]), (&(CLIPS * CLASSES.len()).into(), &serde_json::json!([])));
    let clip = prepared().join("flow/life/clip-0");
    for component in ["x", "y"] {
        assert_eq!(fs::read_dir(clip.join(component)).unwrap().count(), FRAMES - 1);
    }
}

/// `prepare` is killed and started again: the manifest is that of an uninterrupted run.
#[test]
fn a_killed_prepare_continues_to_the_same_manifest() {
    needs_ffmpeg!();
    let folder = temporary();
    some(folder.path(), CLIPS);
    let root = folder.path().join("out");
    let journal = root.join("manifest.partial.jsonl");
    for clips in [1, 4, 7] {
        let lines = || fs::read_to_string(&journal).map_or(0, |text| text.lines().count());
        let mut running = prepare(folder.path(), "out").start();
        // The journal has a header line.
        running.wait_until("some clips are done", || lines() > clips);
        assert_ne!(running.stop_by("KILL").code, Some(0));
        assert!(!root.join("manifest.jsonl").exists());
    }
    prepare(folder.path(), "out").run().succeeds();
    run(&root, ["verify", "."]).succeeds();
    let manifests = [&root, prepared()].map(|root| fs::read_to_string(root.join("manifest.jsonl")).unwrap());
    assert_eq!(manifests[0], manifests[1]);
}

#[test]
fn merged_shards_give_the_whole_manifest() {
    needs_ffmpeg!();
    let folder = temporary();
    some(folder.path(), CLIPS);
    for shard in ["1/2", "2/2"] {
        prepare(folder.path(), "out").args(["--shard", shard]).run().succeeds();
    }
    let document = run(folder.path(), ["merge", "out", "--json"]).succeeds().json();
    assert_eq!((&document["shards"], &document["clips"]), (&2.into(), &(CLIPS * CLASSES.len()).into()));
    let read = |root: &Path| fs::read_to_string(root.join("manifest.jsonl")).unwrap();
    assert_eq!(read(&folder.path().join("out")), read(prepared()));
}

#[test]
fn other_settings_are_refused_in_the_same_folder() {
    needs_ffmpeg!();
    let (folder, _) = copy();
    some(folder.path(), CLIPS);
    let outcome = run(folder.path(), ["prepare", "folder", "films", "--out", "out", "--size", "64", "--flow", "dis"]);
    outcome.refuses(&["size"]);
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

    run(folder.path(), ["verify", "out", "--json", "--quarantine"]).exits(1).says(&["4 clips"]);
    train(folder.path(), &root).args(["--run", "run", "--plain"]).run().succeeds().says(&["4 clips are in quarantine"]);
}

/// A folder has all kinds of faults at once. Each is found at its clip, in little memory, although
/// the header of an image announces 10.8 GB.
#[cfg(target_os = "linux")]
#[test]
fn faults_of_every_kind_are_found_in_bounded_memory() {
    needs_ffmpeg!();
    use std::os::unix::ffi::OsStrExt;
    let (folder, root) = copy();
    let (frames, flow) = (root.join("frames"), root.join("flow"));
    let image = |clip: &str, t: usize| frames.join(clip).join(format!("{t:06}.jpg"));

    fs::remove_file(image("life/clip-0", 3)).unwrap();
    fs::copy(image("life/clip-1", 0), image("life/clip-1", FRAMES)).unwrap();
    let bytes = fs::read(image("life/clip-2", 7)).unwrap();
    fs::write(image("life/clip-2", 7), &bytes[..bytes.len() / 2]).unwrap();
    fs::write(image("life/clip-3", 5), b"").unwrap();
    image::RgbImage::new(7, 5).save(image("scroll/clip-0", 2)).unwrap();
    for component in ["x", "y"] {
        fs::remove_file(flow.join("scroll/clip-1").join(component).join(format!("{:06}.jpg", FRAMES - 2))).unwrap();
    }
    fs::write(frames.join("scroll/clip-2").join(std::ffi::OsStr::from_bytes(b"\xff\xfe.jpg")), "x").unwrap();
    fs::write(folder.path().join("outside.jpg"), &bytes).unwrap();
    fs::remove_file(image("scroll/clip-3", 4)).unwrap();
    std::os::unix::fs::symlink(folder.path().join("outside.jpg"), image("scroll/clip-3", 4)).unwrap();
    // Height and width, big-endian, after the frame header's marker, length and precision: 60,000 is
    // 0xea60.
    let mut header = fs::read(image("zoom/clip-0", 1)).unwrap();
    let frame = header.windows(2).position(|marker| marker == [0xff, 0xc0]).expect("a baseline JPEG");
    header[frame + 5..frame + 9].copy_from_slice(&[0xea, 0x60, 0xea, 0x60]);
    fs::write(image("zoom/clip-0", 1), header).unwrap();
    fs::create_dir_all(root.join("splits")).unwrap();
    fs::write(root.join("splits/test.txt"), "zoom/clip-1\n../outside.jpg\n").unwrap();

    let outcome = Call::within(folder.path(), 2048, ["verify", "out", "--json"]).run().exits(1);
    let report = outcome.json();
    let planted = [
        ("life/clip-0", "missing_image"),
        ("life/clip-1", "extra_file"),
        ("life/clip-2", "truncated"),
        ("life/clip-3", "empty_file"),
        ("scroll/clip-0", "wrong_size"),
        ("scroll/clip-1", "flow_count"),
        ("scroll/clip-2", "name"),
        ("scroll/clip-3", "link"),
        ("zoom/clip-0", "too_large"),
        ("../outside.jpg", "list"),
    ];
    let faults = report["faults"].as_array().unwrap();
    for (clip, kind) in planted {
        assert!(faults.iter().any(|fault| fault["clip"] == clip && fault["kind"] == kind), "{clip} {kind}: {report}");
    }
    // Clips without a fault are not mentioned.
    for fault in faults {
        let clip = fault["clip"].as_str().unwrap();
        assert!(planted.iter().any(|(known, _)| *known == clip), "{fault}");
    }
}

/// Training on stacks of ten fields, with weights for RGB, writes scores that can be fused.
#[test]
fn trains_on_flow() {
    needs_ffmpeg!();
    let folder = temporary();
    let changes = ["--set", "clip.stream=flow", "--set", "clip.photometric={}", "--run", "run", "--json"];
    let document = train(folder.path(), prepared()).args(changes).run().succeeds().json();
    assert_eq!(document["test"]["clips"], CLASSES.len());
    let root = folder.path().join("run");
    let scores = Tensors::read(&root.join("scores-test.safetensors"));
    assert_eq!(scores.metadata("clips").as_array().unwrap().len(), CLASSES.len());
    let outcome = run(folder.path(), ["evaluate", "--run", "run", "--json"]).succeeds();
    assert_eq!(outcome.json()["test"]["top1"], document["test"]["top1"]);
    // The network of the run takes flow, which a video does not contain.
    let video = clips().paths[0].to_str().unwrap();
    run(folder.path(), ["predict", "--run", "run", video]).refuses(&["flow"]);
}

#[test]
fn training_on_flow_refuses_videos() {
    needs_ffmpeg!();
    let folder = temporary();
    let changes = ["--set", "clip.stream=flow", "--set", "clip.photometric={}", "--run", "run"];
    train(folder.path(), &clips().root).args(changes).run().refuses(&["no optical flow", "prepare"]);
}

/// Percepts that `features` wrote are those that training computes, as long as clips and settings are
/// the same.
#[test]
fn trains_from_percepts_on_disk() {
    needs_ffmpeg!();
    let folder = temporary();
    let weights = clips().weights.to_str().unwrap();
    let recipe = "--set clip.temporal.spread.frames=4 --set clip.frame_size=[36,48] --set clip.input_size=[32,40]";
    let line = format!("features folder --data {} --weights {weights} --out percepts {recipe}", prepared().display());
    let features = || run(folder.path(), line.split(' ').chain(["--json"])).succeeds().json();
    assert_eq!(features()["clips"], CLIPS * CLASSES.len());
    let index = read_json(&folder.path().join("percepts/index.json"));
    let clip = &index["clips"][0];
    let file = folder.path().join("percepts").join(clip["file"].as_str().unwrap());
    let level = &index["levels"][0];
    let side = |name: &str| level[name].as_u64().unwrap();
    let shape = vec![4, side("channels"), side("height"), side("width")];
    assert_eq!(Tensors::read(&file).shape(level["name"].as_str().unwrap()), ("F32", shape));
    // Written again, a damaged file is mended.
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(features()["clips"], CLIPS * CLASSES.len());
    assert!(fs::read(&file).unwrap() == whole && read_json(&folder.path().join("percepts/index.json")) == index);

    let train = |data: &Path, run: &str, percepts: &str, more: &[&str]| {
        let call =
            train(folder.path(), data).args(["--set", "features.copies=0", "--run", run, "--percepts", percepts]);
        call.args(more)
    };
    train(prepared(), "live", "none", &[]).run().succeeds();
    let cached = train(prepared(), "cached", "percepts", &[]).run().succeeds();
    cached.says(&["percepts: 12 of 12 clips at hand, 0 to compute; 0 MiB more in percepts"]);
    let root = |run| folder.path().join(run);
    assert_same_files(&root("cached"), &root("live"), &["model.safetensors", "scores-test.safetensors"]);
    let otherwise = train(prepared(), "otherwise", "percepts", &["--set", "clip.temporal.spread.frames=5"]);
    otherwise.run().succeeds().says(&["percepts: 0 of 12 clips at hand"]);

    let other = folder.path().join("other");
    copy_folder(prepared(), &other);
    let manifest = fs::read_to_string(other.join("manifest.jsonl")).unwrap();
    let (head, hash) = manifest.split_once("\"sha256\":\"").unwrap();
    let hash = format!("{}{}", if hash.starts_with('0') { '1' } else { '0' }, &hash[1..]);
    fs::write(other.join("manifest.jsonl"), format!("{head}\"sha256\":\"{hash}")).unwrap();
    train(&other, "a", "percepts", &[]).run().succeeds().says(&["percepts: 11 of 12 clips at hand, 1 to compute"]);
    let earlier = train(&other, "b", "none", &["--set", "features.from=percepts"]);
    earlier.run().refuses(&["features.from is a key of earlier versions", "`--percepts percepts`"]);
}

#[test]
fn writes_encodings_of_a_run() {
    needs_ffmpeg!();
    let folder = temporary();
    let run_folder = reference().root.to_str().unwrap();
    run(folder.path(), ["features", "--run", run_folder, "--encodings", "--out", "codes"]).succeeds();
    let index = read_json(&folder.path().join("codes/index.json"));
    assert_eq!(index["kind"], "encodings");
    // Two directions of four channels.
    assert_eq!(index["levels"][0]["channels"], 8);
}

#[test]
fn computes_flow_between_two_images() {
    needs_ffmpeg!();
    let folder = temporary();
    let frames = prepared().join("frames/scroll/clip-0");
    let [a, b] = ["000000.jpg", "000001.jpg"].map(|name| frames.join(name).to_str().unwrap().to_owned());
    for method in ["tvl1", "dis"] {
        let line = ["flow", &a, &b, "--method", method, "--out", "f.flo", "--picture", "f.png", "--json"];
        let document = run(folder.path(), line).succeeds().json();
        assert_eq!(document["height"], 48);
        let line = ["flow", &a, &b, "--method", method, "--out", "g.flo", "--truth", "f.flo", "--json"];
        assert_eq!(run(folder.path(), line).succeeds().json()["endpoint_error"], 0.0);
    }
    run(folder.path(), ["flow", &a, "missing.png", "--out", "f.flo"]).refuses(&["missing.png"]);
    run(folder.path(), ["flow", &a, &b, "--out", "f.png"]).refuses(&[".flo"]);
}
