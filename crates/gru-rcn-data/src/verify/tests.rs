//! Every kind of fault is planted and found.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use ::image::{GrayImage, Luma, RgbImage};

use super::*;
use crate::dataset::read_quarantine;
use crate::manifest::tests::{flow_format, header, record};
use crate::manifest::{ClipRecord, ContentHash, Header, Manifest};
use crate::testing::{GO, huge_images, put, refused, save_frame, temporary};

fn report(root: &Path) -> VerifyReport {
    verify(root, &VerifyOptions::default(), &GO, &mut |_, _| ()).unwrap()
}

/// The only kind of fault that is found, and the clips that have it.
fn only(root: &Path) -> (FaultKind, Vec<String>) {
    let report = report(root);
    let kinds: std::collections::BTreeSet<FaultKind> = report.faults.iter().map(|fault| fault.kind).collect();
    assert_eq!(kinds.len(), 1, "{}", report.table());
    (report.faults[0].kind, report.faults.into_iter().map(|fault| fault.clip).collect())
}

fn frame(path: &Path, width: u32) {
    save_frame(path, [16, width], 1);
}

fn flow(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    GrayImage::from_fn(24, 16, |x, y| Luma([(x * y % 256) as u8])).save(path).unwrap();
}

/// Three clips of four frames with flow, and their manifest.
fn prepared() -> tempfile::TempDir {
    let folder = temporary();
    let root = folder.path();
    let mut clips = Vec::new();
    for id in ["a/one", "a/two", "b/three"] {
        let mut hash = ContentHash::default();
        for t in 0..4 {
            let path = root.join(format!("frames/{id}/{t:06}.jpg"));
            frame(&path, 24);
            hash.file(&fs::read(path).unwrap());
            for component in ["x", "y"].into_iter().filter(|_| t > 0) {
                let path = root.join(format!("flow/{id}/{component}/{:06}.png", t - 1));
                flow(&path);
                hash.file(&fs::read(path).unwrap());
            }
        }
        clips.push(ClipRecord { frames: 4, width: 24, height: 16, flow: 3, sha256: hash.finish(), ..record(id) });
    }
    let header = Header { flow: Some(flow_format()), ..header() };
    Manifest::of(header, clips).write(&root.join(MANIFEST)).unwrap();
    put(root, "splits/train.txt", "a/one\nb/three\n");
    folder
}

fn cut(root: &Path, file: &str, by: usize) {
    let bytes = fs::read(root.join(file)).unwrap();
    put(root, file, &bytes[..bytes.len() - by]);
}

/// Plants one fault in a sound folder. Then only `kind` is found, and only in `clip`.
#[track_caller]
fn planted(kind: FaultKind, clip: &str, plant: impl FnOnce(&Path)) {
    let folder = prepared();
    assert!(report(folder.path()).is_sound(), "{}", report(folder.path()).table());
    plant(folder.path());
    assert_eq!(only(folder.path()), (kind, vec![clip.to_owned()]));
}

#[test]
fn each_planted_fault_is_named() {
    use FaultKind::*;
    let [huge, _] = huge_images();
    for (kind, file, content) in [
        (ExtraFile, "frames/a/two/notes.txt", &b"x"[..]),
        (EmptyFile, "frames/a/two/000002.jpg", b""),
        (BadImage, "frames/a/two/000002.jpg", b"hello"),
        (TooLarge, "frames/a/two/000002.jpg", &huge),
    ] {
        planted(kind, "a/two", |root| put(root, file, content));
    }
    for (kind, clip, file, content) in [
        (Unfinished, "", "manifest.partial.jsonl", ""),
        (ExtraFile, "", "frames/readme", "x"),
        (NotPrepared, "a/x", "failures.jsonl", "{\"clip\":\"a/x\",\"error\":\"torn\"}\n"),
        (List, "a/gone", "splits/test.txt", "a/two.avi 1\na/gone\n"),
        (List, "a/../../etc/passwd", "splits/test.txt", "a/../../etc/passwd\n"),
    ] {
        planted(kind, clip, |root| put(root, file, content));
    }
    for (kind, clip, folder) in [(ExtraFile, "a/two", "flow/a/two/z"), (Unfinished, "", "frames/a/.two.partial")] {
        planted(kind, clip, |root| fs::create_dir(root.join(folder)).unwrap());
    }
    for (kind, file) in [(MissingImage, "frames/a/two/000001.jpg"), (FlowCount, "flow/a/two/y/000002.png")] {
        planted(kind, "a/two", |root| fs::remove_file(root.join(file)).unwrap());
    }
    for folder in ["flow/a/two/y", "frames/a/two"] {
        planted(MissingClip, "a/two", |root| fs::remove_dir_all(root.join(folder)).unwrap());
    }
    for (file, by) in [("frames/a/two/000002.jpg", 30), ("frames/a/two/000002.jpg", 1), ("flow/a/two/x/000002.png", 20)]
    {
        planted(Truncated, "a/two", |root| cut(root, file, by));
    }
    planted(Manifest, "", |root| cut(root, MANIFEST, 1));
    planted(ExtraFile, "a/two", |root| frame(&root.join("frames/a/two/000004.jpg"), 24));
    planted(UnlistedClip, "a/four", |root| frame(&root.join("frames/a/four/000000.jpg"), 24));
    planted(WrongSize, "a/two", |root| frame(&root.join("frames/a/two/000002.jpg"), 23));
    planted(ExtraFile, "a/two", |root| flow(&root.join("flow/a/two/y/000003.png")));
    // Another sound image of the right size.
    planted(Hash, "a/two", |root| RgbImage::new(24, 16).save(root.join("frames/a/two/000002.jpg")).unwrap());
}

#[cfg(unix)]
#[test]
fn links_out_and_names_that_are_not_utf_8_are_faults() {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    let other = temporary();
    frame(&other.path().join("000000.jpg"), 24);
    let file = |root: &Path| root.join("frames/a/two/000000.jpg");
    let folder = prepared();
    fs::remove_file(file(folder.path())).unwrap();
    symlink(other.path().join("000000.jpg"), file(folder.path())).unwrap();
    let found = report(folder.path());
    assert!(found.faults.iter().any(|fault| fault.kind == FaultKind::Link), "{}", found.table());
    // A link within the data set is as good as the file.
    let folder = prepared();
    fs::rename(file(folder.path()), folder.path().join("kept.jpg")).unwrap();
    symlink(folder.path().join("kept.jpg"), file(folder.path())).unwrap();
    assert!(report(folder.path()).is_sound());
    let folder = prepared();
    fs::remove_dir_all(folder.path().join("frames/a/two")).unwrap();
    symlink(other.path(), folder.path().join("frames/a/two")).unwrap();
    let faults = report(folder.path()).faults;
    assert_eq!(faults[0].kind, FaultKind::Link);
    assert!(faults.iter().all(|fault| fault.clip == "a/two" || fault.clip.is_empty()), "{faults:?}");
    if cfg!(target_os = "linux") {
        let name = std::ffi::OsStr::from_bytes(b"\xff.jpg");
        planted(FaultKind::Name, "a/two", |root| fs::write(root.join("frames/a/two").join(name), "x").unwrap());
    }
}

// A count that no folder can have is a fault of the folder, and takes no memory.
#[test]
fn a_huge_count_is_a_fault() {
    let folder = prepared();
    let path = folder.path().join(MANIFEST);
    let text = fs::read_to_string(&path).unwrap();
    let text = text.replacen("\"frames\":4", "\"frames\":1000000000000", 1);
    fs::write(&path, text.replacen("\"flow\":3", "\"flow\":999999999999", 1)).unwrap();
    let faults = report(folder.path()).faults;
    let words = "4 images, the manifest says 1000000000000: 000004.jpg";
    assert!(faults.iter().any(|fault| fault.detail.contains(words)), "{faults:?}");
    assert!(faults.iter().all(|fault| fault.clip == "a/one"), "{faults:?}");
}

#[test]
fn faulty_clips_are_quarantined() {
    let folder = prepared();
    cut(folder.path(), "frames/a/two/000002.jpg", 9);
    put(folder.path(), "splits/test.txt", "a/gone\n");
    let report = report(folder.path());
    assert_eq!(report.faults.len(), 2);
    let path = folder.path().join("quarantine.jsonl");
    assert_eq!(write_quarantine(&path, &report).unwrap(), 1);
    assert_eq!(read_quarantine(&path).unwrap().into_iter().collect::<Vec<_>>(), ["a/two"]);
    let options = crate::FolderOptions {
        root: folder.path().to_owned(),
        quarantine: Some("quarantine.jsonl".into()),
        ..Default::default()
    };
    // Without the broken clip, two clips in two classes are left: too few for three parts.
    refused(crate::Dataset::from_folder(&options), &["part holds no clip"]);
}

#[test]
fn an_interrupt_is_reported() {
    let folder = prepared();
    let cancel = AtomicBool::new(true);
    let report = verify(folder.path(), &VerifyOptions::default(), &cancel, &mut |_, _| ()).unwrap();
    assert!(report.interrupted && !report.is_sound() && report.clips == 0);
    let mut seen = Vec::new();
    let options = VerifyOptions { workers: 1, ..VerifyOptions::default() };
    verify(folder.path(), &options, &GO, &mut |over, all| seen.push((over, all))).unwrap();
    assert_eq!(seen, [(1, 3), (2, 3), (3, 3)]);
}

/// Layouts of other tools: the paths of the frames and of both components of flow, by class, clip and
/// number.
const LAYOUTS: [[&str; 3]; 5] = [
    ["C/K/img_%5.jpg", "C/K/flow_x_%5.jpg", "C/K/flow_y_%5.jpg"],
    ["C/K/img_%4.png", "C/K/x/%6.png", "C/K/y/%6.png"],
    ["frames/C/K/%6.jpg", "flow/C/K/x/%6.jpg", "flow/C/K/y/%6.jpg"],
    ["jpegs/K/frame%6.jpg", "tvl1_flow/u/K/frame%6.jpg", "tvl1_flow/v/K/frame%6.jpg"],
    ["rgb/C/K/%6.png", "flow/C/K/flow_x_%4.png", "flow/C/K/flow_y_%4.png"],
];

fn name(pattern: &str, clip: &str, number: usize) -> String {
    let (before, after) = pattern.split_once('%').unwrap();
    let width: usize = after[..1].parse().unwrap();
    format!("{before}{number:0width$}{}", &after[1..]).replace("C/", "class/").replace("K/", &format!("{clip}/"))
}

/// Two clips of five frames in a layout, frames counted from one base and flow from another.
fn foreign(layout: [&str; 3], bases: [usize; 2]) -> tempfile::TempDir {
    let folder = temporary();
    for clip in ["one", "two"] {
        for t in 0..5 {
            frame(&folder.path().join(name(layout[0], clip, bases[0] + t)), 24);
        }
        for t in 0..4 {
            flow(&folder.path().join(name(layout[1], clip, bases[1] + t)));
            flow(&folder.path().join(name(layout[2], clip, bases[1] + t)));
        }
    }
    folder
}

#[test]
fn layouts_of_other_tools_are_recognised() {
    for layout in LAYOUTS {
        for bases in [[0, 0], [1, 1], [1, 0], [0, 1]] {
            let folder = foreign(layout, bases);
            let report = report(folder.path());
            assert!(report.is_sound() && report.clips == 2, "{layout:?} {bases:?}\n{}", report.table());
        }
    }
}

#[test]
fn faults_in_layouts_of_other_tools_are_named() {
    use FaultKind::*;
    for layout in LAYOUTS {
        let [rgb, x, y] = layout;
        let planted = |plant: &dyn Fn(&Path)| {
            let folder = foreign(layout, [1, 1]);
            plant(folder.path());
            let (kind, clips) = only(folder.path());
            assert!(clips.iter().all(|clip| clip.ends_with("two")), "{layout:?} {clips:?}");
            kind
        };
        let of = |pattern: &str, number: usize| name(pattern, "two", number);
        let gap = |root: &Path| {
            // One flow field is removed as well, so that the gap is the only fault.
            fs::remove_file(root.join(of(rgb, 3))).unwrap();
            [x, y].into_iter().for_each(|component| fs::remove_file(root.join(of(component, 4))).unwrap());
        };
        assert_eq!(planted(&gap), MissingImage, "{layout:?}");
        assert_eq!(planted(&|root| fs::remove_file(root.join(of(rgb, 5))).unwrap()), FlowCount);
        assert_eq!(planted(&|root| fs::remove_file(root.join(of(y, 4))).unwrap()), FlowCount);
        assert_eq!(planted(&|root| frame(&root.join(of(rgb, 2)), 20)), WrongSize);
        assert_eq!(planted(&|root| cut(root, &of(rgb, 2), 2)), Truncated);
        assert_eq!(planted(&|root| fs::write(root.join(of(x, 2)), "").unwrap()), EmptyFile);
    }
}

#[test]
fn broken_numbering_is_a_fault() {
    for (kind, names) in [
        (FaultKind::MissingImage, &["5.jpg", "6.jpg"][..]),
        (FaultKind::Numbering, &["1.jpg", "01.jpg", "2.jpg"]),
        (FaultKind::Numbering, &["1.jpg", "1.png", "2.jpg"]),
        (FaultKind::Numbering, &["a_1.jpg", "b_1.jpg"]),
        (FaultKind::Numbering, &["cover.jpg", "1.jpg"]),
        (FaultKind::MissingImage, &["0.jpg", "18446744073709551615.jpg"]),
        (FaultKind::Numbering, &["0.jpg", "99999999999999999999999.jpg"]),
    ] {
        let folder = temporary();
        names.iter().for_each(|name| frame(&folder.path().join("a/x").join(name), 24));
        assert_eq!(only(folder.path()).0, kind, "{names:?}");
    }
}

#[test]
fn flow_may_lie_elsewhere_and_lists_are_checked() {
    let (frames, flows) = (temporary(), temporary());
    for t in 1..=3 {
        frame(&frames.path().join(format!("a/x/img_{t:05}.jpg")), 24);
        flow(&flows.path().join(format!("a/x/flow_x_{t:05}.jpg")));
        flow(&flows.path().join(format!("a/x/flow_y_{t:05}.jpg")));
    }
    put(frames.path(), "list.txt", "a/x.avi 1\na/y.avi 1\na/x\n");
    let lists = vec!["list.txt".into()];
    let options = VerifyOptions { flow: Some(flows.path().to_owned()), lists, ..VerifyOptions::default() };
    let report = verify(frames.path(), &options, &GO, &mut |_, _| ()).unwrap();
    let found: Vec<(FaultKind, &str)> = report.faults.iter().map(|fault| (fault.kind, &*fault.clip)).collect();
    assert_eq!(found, [(FaultKind::FlowCount, "a/x"), (FaultKind::List, "a/x"), (FaultKind::List, "a/y.avi 1")]);
    assert!(report.faults[1].detail.contains("named before, in line 1"), "{}", report.faults[1].detail);
}

#[test]
fn a_folder_without_images_is_an_error() {
    let folder = temporary();
    fs::write(folder.path().join("a.txt"), "x").unwrap();
    refused(verify(folder.path(), &VerifyOptions::default(), &GO, &mut |_, _| ()), &["neither a manifest nor"]);
    let none = folder.path().join("none");
    assert!(matches!(verify(&none, &VerifyOptions::default(), &GO, &mut |_, _| ()), Err(DataError::NotFound(_))));
}

#[cfg(unix)]
#[test]
fn links_in_a_circle_end() {
    let folder = foreign(LAYOUTS[0], [1, 1]);
    std::os::unix::fs::symlink(folder.path(), folder.path().join("class/one/loop")).unwrap();
    assert_eq!(report(folder.path()).clips, 2);
}
