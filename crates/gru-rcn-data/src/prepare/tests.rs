//! Runs that are stopped at every stage, with a decoder that draws its frames.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use super::*;
use crate::base::{DataError, DecodeLimits, FolderLock};
use crate::manifest::{MANIFEST, Manifest};
use crate::testing::{GO, files_below, put, refused, temporary};
use crate::verify::{FaultKind, VerifyOptions, VerifyReport, verify};
use crate::video::{DecoderId, FrameSource, VideoDecoder, VideoFrame};

/// Decodes a file with the content `<frames> <width> <height>` to moving stripes; other files are
/// broken.
#[derive(Debug)]
struct Drawing {
    limits: DecodeLimits,
    version: &'static str,
    /// Number of videos until the simulated machine fails.
    left: AtomicUsize,
    decoded: AtomicUsize,
}

impl Drawing {
    fn new() -> Self {
        let limits = DecodeLimits { max_frames: 50, ..DecodeLimits::default() };
        Self { limits, version: "1", left: AtomicUsize::new(usize::MAX), decoded: AtomicUsize::new(0) }
    }

    fn failing_after(clips: usize) -> Self {
        Self { left: AtomicUsize::new(clips), ..Self::new() }
    }

    fn decoded(&self) -> usize {
        self.decoded.load(Ordering::SeqCst)
    }
}

impl VideoDecoder for Drawing {
    fn id(&self) -> DecoderId {
        DecoderId { name: "drawing".to_owned(), version: self.version.to_owned() }
    }

    fn limits(&self) -> &DecodeLimits {
        &self.limits
    }

    fn start(&self, path: &Path, size: SizeRule) -> Result<Box<dyn FrameSource>, DataError> {
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        left.map_err(|_| DataError::setting("machine", "off", "the power failed"))?;
        self.decoded.fetch_add(1, Ordering::SeqCst);
        let text = fs::read_to_string(path).unwrap();
        let numbers: Vec<usize> = text.split(' ').filter_map(|number| number.parse().ok()).collect();
        let [frames, width, height] = numbers[..] else {
            return Err(DataError::NotVideo { path: path.to_owned(), words: "no drawing".to_owned() });
        };
        let warnings = if text.ends_with("damaged") { "a torn stripe" } else { "" };
        Ok(Box::new(Stripes { frames, size: size.of(height, width), t: 0, warnings }))
    }
}

struct Stripes {
    frames: usize,
    size: [usize; 2],
    t: usize,
    warnings: &'static str,
}

impl FrameSource for Stripes {
    fn warnings(&self) -> &str {
        self.warnings
    }

    fn next_frame(&mut self, _: Instant) -> Result<Option<VideoFrame>, DataError> {
        let (t, [height, width]) = (self.t, self.size);
        if t == self.frames {
            return Ok(None);
        }
        self.t += 1;
        let value = |i: usize| ((i / 3 % width + i / (3 * width) + 2 * t) * 13 % 256) as u8;
        let pixels = (0..width * height * 3).map(value).collect();
        Ok(Some(VideoFrame { time: None, height, width, pixels }))
    }

    fn rate(&self) -> Option<f64> {
        Some(12.5)
    }
}

/// A source of seven clips in two classes, one of them broken if asked for, and settings to prepare it.
fn setting(broken: bool) -> (tempfile::TempDir, Prepare) {
    let folder = temporary();
    for (class, clips) in [("a", 4), ("b", 3)] {
        for clip in 0..clips {
            let sound = format!("{} 40 30", 3 + clip);
            let text = if broken && (class, clip) == ("a", 2) { "broken".to_owned() } else { sound };
            put(folder.path(), &format!("source/{class}/{clip}.avi"), text);
        }
    }
    let options = Prepare {
        source: folder.path().join("source"),
        output: folder.path().join("out"),
        size: SizeRule::ShortSide { pixels: 24 },
        flow: Some(FlowOptions::new(FlowMethod::Dis)),
        workers: 2,
        ..Prepare::default()
    };
    (folder, options)
}

fn run(options: &Prepare, decoder: &Drawing) -> Result<PrepareOutcome, DataError> {
    options.run(decoder, &GO, &mut |_| ())
}

fn decodes(options: &Prepare) -> usize {
    let drawing = Drawing::new();
    run(options, &drawing).unwrap();
    drawing.decoded()
}

/// The same files with the same bytes; the message names those that differ.
fn assert_same(found: &BTreeMap<String, Vec<u8>>, expected: &BTreeMap<String, Vec<u8>>, when: &str) {
    let all = found.keys().chain(expected.keys());
    let differing: Vec<&String> = all.filter(|name| found.get(*name) != expected.get(*name)).collect();
    assert!(differing.is_empty(), "{when}: {differing:?}");
}

fn verified(options: &Prepare) -> VerifyReport {
    verify(&options.output, &VerifyOptions::default(), &GO, &mut |_, _| ()).unwrap()
}

/// The result of an uninterrupted run.
fn whole(broken: bool) -> BTreeMap<String, Vec<u8>> {
    let (_folder, options) = setting(broken);
    run(&options, &Drawing::new()).unwrap();
    files_below(&options.output)
}

#[test]
fn frames_flow_lists_and_manifest() {
    let (_folder, options) = setting(false);
    let mut last = None;
    let outcome = options.run(&Drawing::new(), &GO, &mut |progress| last = Some(progress)).unwrap();
    assert_eq!((outcome.clips, outcome.prepared, outcome.kept), (7, 7, 0));
    // 3 + 4 + 5 + 6 frames in a, 3 + 4 + 5 in b.
    assert_eq!(outcome.frames, 30);
    let last = last.unwrap();
    assert_eq!((last.done, last.total, last.failed, last.frames), (7, 7, 0, 30));
    assert_eq!(last.remaining, Some(Duration::ZERO));
    let manifest = Manifest::read(&outcome.manifest).unwrap();
    let clip = manifest.get("a/1").unwrap();
    assert_eq!((clip.frames, clip.flow, clip.height, clip.width, clip.fps), (4, 3, 24, 32, Some(12.5)));
    let files = files_below(&options.output);
    // Frames, two flow images for each but the first of a clip, the manifest and the groups.
    assert_eq!(files.len(), 30 + 2 * (30 - 7) + 2, "{:?}", files.keys());
    for file in ["frames/a/1/000003.jpg", "flow/a/1/x/000002.jpg", "flow/a/1/y/000000.jpg", "splits/groups.json"] {
        assert!(files.contains_key(file), "{file}");
    }
    let images = files.iter().filter(|(name, _)| name.ends_with(".jpg"));
    assert_eq!(outcome.bytes, images.map(|(_, bytes)| bytes.len() as u64).sum::<u64>());
    assert!(verified(&options).is_sound(), "{}", verified(&options).table());
    // One thread gives the same bytes as several.
    let (_folder, options) = setting(false);
    run(&Prepare { workers: 1, ..options.clone() }, &Drawing::new()).unwrap();
    assert_same(&files_below(&options.output), &files, "one thread");
}

#[test]
fn a_run_that_is_stopped_anywhere_resumes_to_the_same_bytes() {
    let expected = whole(true);
    for clips in 0..7 {
        let (_folder, options) = setting(true);
        // The machine fails in the middle, which cuts off the clips under way.
        assert!(run(&options, &Drawing::failing_after(clips)).is_err());
        assert!(!options.output.join(MANIFEST).exists());
        // Remains of clips: hidden folders, renamed folders without a line in the journal, a torn line.
        let journal = options.output.join("manifest.partial.jsonl");
        let noted = fs::read_to_string(&journal).unwrap();
        for id in ["a/0", "a/3", "b/2"].into_iter().filter(|id| !noted.contains(&format!("\"{id}\""))) {
            let (class, clip) = id.split_once('/').unwrap();
            for place in [format!("frames/{class}/.{clip}.partial"), format!("flow/{id}/x"), format!("frames/{id}")] {
                put(&options.output, &format!("{place}/000077.jpg"), "half");
            }
        }
        fs::write(&journal, format!("{noted}{{\"id\":\"b/2\",\"cla")).unwrap();
        let again = Drawing::new();
        let outcome = run(&options, &again).unwrap();
        let kept = noted.lines().count() - 1;
        assert_eq!((outcome.kept, again.decoded()), (kept, 7 - kept));
        assert_eq!(outcome.failures.len(), 1);
        assert_same(&files_below(&options.output), &expected, &format!("after {clips}"));
    }
}

#[test]
fn a_kill_between_manifest_and_journal_resumes_to_the_same_bytes() {
    let (_folder, options) = setting(false);
    assert!(run(&options, &Drawing::failing_after(5)).is_err());
    let journal = fs::read(options.output.join("manifest.partial.jsonl")).unwrap();
    run(&options, &Drawing::new()).unwrap();
    fs::write(options.output.join("manifest.partial.jsonl"), journal).unwrap();
    assert_eq!(decodes(&options), 0);
    assert_same(&files_below(&options.output), &whole(false), "journal left over");
}

#[test]
fn an_interrupt_keeps_what_is_done() {
    let (_folder, options) = setting(false);
    let cancel = AtomicBool::new(false);
    let mut stop = |progress: Progress| cancel.store(progress.done >= 2, Ordering::Relaxed);
    let one = Prepare { workers: 1, ..options.clone() };
    let outcome = one.run(&Drawing::new(), &cancel, &mut stop).unwrap();
    assert!(outcome.interrupted && outcome.prepared < 7 && !outcome.manifest.exists());
    assert_eq!(verified(&options).faults[0].kind, FaultKind::Unfinished);
    let again = run(&options, &Drawing::new()).unwrap();
    assert_eq!((again.kept, again.prepared), (outcome.prepared, 7 - outcome.prepared));
    assert_same(&files_below(&options.output), &whole(false), "interrupted");
}

#[test]
fn a_broken_clip_is_recorded_and_tried_again() {
    let (_folder, options) = setting(true);
    let outcome = run(&options, &Drawing::new()).unwrap();
    assert_eq!((outcome.clips, outcome.failures.len()), (6, 1));
    assert!(outcome.failures[0].clip == "a/2" && outcome.failures[0].error.contains("2.avi"));
    assert!(!options.output.join("frames/a/2").exists());
    let report = verified(&options);
    assert_eq!(report.faults.len(), 1);
    assert_eq!((&*report.faults[0].clip, report.faults[0].kind), ("a/2", FaultKind::NotPrepared));
    // The video is mended: the next run prepares it, and only it.
    fs::write(options.source.join("a/2.avi"), "5 40 30").unwrap();
    let again = Drawing::new();
    assert_eq!(run(&options, &again).unwrap().clips, 7);
    assert_eq!(again.decoded(), 1);
    assert_same(&files_below(&options.output), &whole(false), "mended");
}

#[test]
fn a_missing_clip_is_prepared_again() {
    let (_folder, options) = setting(false);
    run(&options, &Drawing::new()).unwrap();
    fs::remove_dir_all(options.output.join("flow/b/1")).unwrap();
    assert_eq!(decodes(&options), 1);
    assert_same(&files_below(&options.output), &whole(false), "made again");
    // If the video is gone, its clip stays and is counted.
    fs::remove_file(options.source.join("b/1.avi")).unwrap();
    let outcome = run(&options, &Drawing::new()).unwrap();
    assert_eq!((outcome.clips, &outcome.without_source[..]), (7, &["b/1".to_owned()][..]));
}

#[test]
fn a_changed_video_is_prepared_again() {
    let (_folder, options) = setting(false);
    run(&options, &Drawing::new()).unwrap();
    // Another video with the same number of bytes.
    put(&options.source, "a/1.avi", "5 40 30");
    let again = Drawing::new();
    let outcome = run(&options, &again).unwrap();
    assert_eq!((again.decoded(), outcome.prepared, outcome.kept), (1, 1, 6));
    assert_eq!(outcome.changed, ["a/1"]);
    let manifest = Manifest::read(&outcome.manifest).unwrap();
    assert_eq!(manifest.get("a/1").unwrap().frames, 5);
    assert!(verified(&options).is_sound(), "{}", verified(&options).table());
    assert_eq!(decodes(&options), 0);
    // A manifest of an earlier version has no hashes of videos, so its clips stay.
    let clips = manifest.clips.into_iter().map(|clip| crate::ClipRecord { source: None, ..clip });
    Manifest::of(manifest.header, clips).write(&outcome.manifest).unwrap();
    put(&options.source, "a/1.avi", "6 40 30");
    assert_eq!(decodes(&options), 0);
}

#[test]
fn damage_is_recorded_and_verifying_lists_it() {
    let (_folder, options) = setting(false);
    put(&options.source, "b/0.avi", "4 40 30 damaged");
    let outcome = run(&options, &Drawing::new()).unwrap();
    assert_eq!((outcome.clips, &outcome.damaged[..]), (7, &["b/0".to_owned()][..]));
    let faults = verified(&options).faults;
    assert_eq!((faults.len(), &*faults[0].clip, faults[0].kind), (1, "b/0", FaultKind::Damaged));
    assert!(faults[0].detail.contains("4 frames: a torn stripe"), "{faults:?}");
}

#[test]
fn a_name_too_long_fails_alone() {
    let (_folder, options) = setting(false);
    put(&options.source, &format!("a/{}.avi", "n".repeat(250)), "3 40 30");
    let outcome = run(&options, &Drawing::new()).unwrap();
    assert_eq!((outcome.clips, outcome.failures.len()), (7, 1));
    assert!(outcome.failures[0].error.contains("too long"), "{:?}", outcome.failures);
}

#[test]
fn shards_merge_to_the_same_manifest() {
    let (_folder, options) = setting(true);
    let shard = |index| Prepare { shard: Some(Shard { index, of: 3 }), ..options.clone() };
    let mut clips = 0;
    for index in [2, 1] {
        clips += run(&shard(index), &Drawing::new()).unwrap().prepared;
    }
    refused(merge(&options.output), &["shard 3/3 is missing"]);
    let before = run(&shard(3), &Drawing::failing_after(0));
    if before.is_err() {
        // The shard has clips, and none of them is done.
        refused(merge(&options.output), &["not finished"]);
    }
    clips += run(&shard(3), &Drawing::new()).unwrap().prepared;
    assert_eq!(clips, 6);
    assert!(verified(&options).faults[0].detail.contains("merge"), "{}", verified(&options).table());
    let merged = merge(&options.output).unwrap();
    assert_eq!((merged.shards, merged.clips, merged.failures.len()), (3, 6, 1));
    assert_same(&files_below(&options.output), &whole(true), "merged");
    refused(merge(&options.output), &["no shards"]);
    // The shards run once more with a mended video; then a whole run finds nothing to do.
    fs::write(options.source.join("a/2.avi"), "5 40 30").unwrap();
    for index in 1..=3 {
        run(&shard(index), &Drawing::new()).unwrap();
        assert_eq!(merge(&options.output).unwrap().shards, 1);
    }
    assert_eq!(decodes(&options), 0);
    assert_same(&files_below(&options.output), &whole(false), "merged again");
}

#[test]
fn other_settings_are_refused_by_name() {
    let refused = |options: Prepare, decoder: &Drawing, words: &[&str]| refused(run(&options, decoder), words);
    let (_folder, options) = setting(false);
    assert!(run(&options, &Drawing::failing_after(3)).is_err());
    for finished in [false, true] {
        if finished {
            run(&options, &Drawing::new()).unwrap();
        }
        let drawing = Drawing::new();
        refused(Prepare { quality: 80, ..options.clone() }, &drawing, &["`frames.image.quality` = 95", "has 80"]);
        refused(Prepare { size: SizeRule::Source, ..options.clone() }, &drawing, &["frames.size"]);
        refused(Prepare { flow: None, ..options.clone() }, &drawing, &["`flow`"]);
        let flow = FlowOptions { bound: 15.0, ..FlowOptions::new(FlowMethod::Dis) };
        refused(Prepare { flow: Some(flow), ..options.clone() }, &drawing, &["`flow.bound`", "20", "15"]);
        refused(Prepare { flow: Some(FlowOptions::new(FlowMethod::TvL1)), ..options.clone() }, &drawing, &["flow."]);
        refused(options.clone(), &Drawing { version: "2", ..Drawing::new() }, &["`decoder.version`"]);
        assert_eq!(drawing.decoded(), 0);
    }
    let (_folder, options) = setting(false);
    let shard = |index, of| Prepare { shard: Some(Shard { index, of }), ..options.clone() };
    run(&shard(1, 2), &Drawing::new()).unwrap();
    refused(shard(1, 3), &Drawing::new(), &["shard", "…/2"]);
    refused(options.clone(), &Drawing::new(), &["shard", "merge"]);
}

#[test]
fn outputs_that_would_overwrite_the_source_are_refused() {
    let (folder, options) = setting(false);
    let refused = |options: Prepare, word: &str| refused(run(&options, &Drawing::new()), &[word]);
    let strange = folder.path().join("strange");
    fs::create_dir_all(strange.join("frames/a/0")).unwrap();
    put(folder.path(), "file", "x");
    for (output, word) in [
        (options.source.clone(), "lies in the source"),
        (options.source.join("out"), "lies in the source"),
        (folder.path().join("gone/../source/out"), "`..`"),
        ("".into(), "must be given"),
        (strange.clone(), "neither manifest nor journal"),
        (folder.path().join("file"), "a file of that name"),
    ] {
        refused(Prepare { output, ..options.clone() }, word);
    }
    assert!(!options.source.join("out").exists());
    refused(Prepare { quality: 0, ..options.clone() }, "quality");
    refused(Prepare { size: SizeRule::ShortSide { pixels: 0 }, ..options.clone() }, "size");
    refused(Prepare { shard: Some(Shard { index: 3, of: 2 }), ..options.clone() }, "shard");
    fs::rename(&options.source, strange.join("frames/source")).unwrap();
    refused(Prepare { source: strange.join("frames/source"), output: strange, ..options.clone() }, "written over");
    assert!("1/4".parse::<Shard>().is_ok() && "0/4".parse::<Shard>().is_err() && "5/4".parse::<Shard>().is_err());
}

#[test]
fn an_output_beside_an_existing_folder_may_be_named_from_it() {
    let (folder, options) = setting(false);
    let options = Prepare { output: options.source.join("../beside/out"), ..options };
    assert_eq!(run(&options, &Drawing::new()).unwrap().clips, 7);
    assert!(folder.path().join("beside/out/manifest.jsonl").is_file());
}

#[test]
fn two_runs_in_one_folder_are_refused() {
    let (_folder, options) = setting(false);
    fs::create_dir(&options.output).unwrap();
    let lock = FolderLock::whole(&options.output).unwrap();
    refused(run(&options, &Drawing::new()), &["another process"]);
    assert!(merge(&options.output).is_err());
    drop(lock);
    run(&options, &Drawing::new()).unwrap();
}

#[test]
fn long_and_tiny_clips_are_errors_of_their_own() {
    let (folder, options) = setting(false);
    fs::write(options.source.join("a/0.avi"), "51 40 30").unwrap();
    fs::write(options.source.join("a/1.avi"), "0 40 30").unwrap();
    // 8 rows: too few for a patch of the flow.
    let small = Prepare { size: SizeRule::ShortSide { pixels: 8 }, ..options.clone() };
    let outcome = run(&small, &Drawing::new()).unwrap();
    assert!(outcome.failures.iter().any(|failure| failure.error.contains("flow")), "{:?}", outcome.failures);
    let other = Prepare { output: folder.path().join("other"), ..options.clone() };
    let outcome = run(&other, &Drawing::new()).unwrap();
    let errors: Vec<&str> = outcome.failures.iter().map(|failure| failure.error.as_str()).collect();
    assert!(errors[0].contains("`max_frames` of 50") && errors[0].contains("0.avi"), "{errors:?}");
    assert!(errors[1].contains("no frame") && errors.len() == 2, "{errors:?}");
}

#[test]
fn one_frame_has_no_flow() {
    let (_folder, options) = setting(false);
    fs::write(options.source.join("a/0.avi"), "1 40 30").unwrap();
    let outcome = run(&options, &Drawing::new()).unwrap();
    let manifest = Manifest::read(&outcome.manifest).unwrap();
    assert_eq!((manifest.get("a/0").unwrap().frames, manifest.get("a/0").unwrap().flow), (1, 0));
    assert!(verified(&options).is_sound(), "{}", verified(&options).table());
    assert_eq!(decodes(&options), 0);
}

#[test]
fn an_estimate_writes_nothing_and_is_within_a_factor_of_two() {
    let (_folder, options) = setting(true);
    let estimate = options.estimate(&Drawing::new()).unwrap();
    assert!(!options.output.exists());
    assert!((1..=3).contains(&estimate.probed) && estimate.clips == 7 && estimate.seconds > 0.0);
    let outcome = run(&options, &Drawing::new()).unwrap();
    let ratio = estimate.bytes as f64 / outcome.bytes as f64;
    assert!((0.5..2.0).contains(&ratio), "{ratio}");
    let full = Estimate { free: Some(estimate.bytes), ..estimate };
    assert!(!full.fits() && Estimate { free: None, ..full }.fits());
    assert_eq!(options.estimate(&Drawing::new()).unwrap().clips, 1);
}
