//! Every fault is planted, and found by its name.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use ::image::{GrayImage, Luma, Rgb, RgbImage};

use super::*;
use crate::dataset::read_quarantine;
use crate::manifest::tests::header;
use crate::manifest::{ClipRecord, ContentHash, FlowFormat, ImageCoding, Manifest};
use crate::testing::{refused, temporary};

static GO: AtomicBool = AtomicBool::new(false);

fn report(root: &Path) -> VerifyReport {
    verify(root, &VerifyOptions::default(), &GO, &mut |_, _| ()).unwrap()
}

/// The one kind of fault that is found, and the clips that have it.
fn only(root: &Path) -> (FaultKind, Vec<String>) {
    let report = report(root);
    let kinds: std::collections::BTreeSet<FaultKind> = report.faults.iter().map(|fault| fault.kind).collect();
    assert_eq!(kinds.len(), 1, "{}", report.table());
    (report.faults[0].kind, report.faults.into_iter().map(|fault| fault.clip).collect())
}

fn frame(path: &Path, width: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    RgbImage::from_fn(width, 16, |x, y| Rgb([(x * 9) as u8, (y * 9) as u8, 7])).save(path).unwrap();
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
        let class = id.split('/').next().unwrap().to_owned();
        let (sha256, fps) = (hash.finish(), None);
        clips.push(ClipRecord {
            id: id.into(),
            class,
            group: id.into(),
            frames: 4,
            width: 24,
            height: 16,
            fps,
            flow: 3,
            sha256,
        });
    }
    let format = FlowFormat {
        algorithm: "dis".to_owned(),
        parameters: Default::default(),
        bound: 20.0,
        coding: String::new(),
        image: ImageCoding::Png,
    };
    Manifest::of(crate::manifest::Header { flow: Some(format), ..header() }, clips)
        .write(&root.join(MANIFEST))
        .unwrap();
    fs::create_dir(root.join("splits")).unwrap();
    fs::write(root.join("splits/train.txt"), "a/one\nb/three\n").unwrap();
    folder
}

/// Plants one fault in a sound folder and says what is found.
fn planted(plant: impl FnOnce(&Path)) -> (FaultKind, Vec<String>) {
    let folder = prepared();
    assert!(report(folder.path()).is_sound(), "{}", report(folder.path()).table());
    plant(folder.path());
    only(folder.path())
}

fn cut(path: &Path, by: usize) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() - by]).unwrap();
}

#[test]
fn each_planted_fault_is_named() {
    use FaultKind::*;
    let two = |kind| (kind, vec!["a/two".to_owned()]);
    let no_clip = |kind| (kind, vec![String::new()]);
    assert_eq!(planted(|root| fs::remove_file(root.join("frames/a/two/000001.jpg")).unwrap()), two(MissingImage));
    assert_eq!(planted(|root| frame(&root.join("frames/a/two/000004.jpg"), 24)), two(ExtraFile));
    assert_eq!(planted(|root| fs::write(root.join("frames/a/two/notes.txt"), "x").unwrap()), two(ExtraFile));
    assert_eq!(planted(|root| fs::create_dir(root.join("flow/a/two/z")).unwrap()), two(ExtraFile));
    assert_eq!(planted(|root| fs::write(root.join("frames/a/two/000002.jpg"), "").unwrap()), two(EmptyFile));
    assert_eq!(planted(|root| cut(&root.join("frames/a/two/000002.jpg"), 30)), two(Truncated));
    assert_eq!(planted(|root| cut(&root.join("frames/a/two/000002.jpg"), 1)), two(Truncated));
    assert_eq!(planted(|root| cut(&root.join("flow/a/two/x/000002.png"), 20)), two(Truncated));
    assert_eq!(planted(|root| fs::write(root.join("frames/a/two/000002.jpg"), "hello").unwrap()), two(BadImage));
    assert_eq!(planted(|root| frame(&root.join("frames/a/two/000002.jpg"), 23)), two(WrongSize));
    assert_eq!(planted(|root| fs::remove_file(root.join("flow/a/two/y/000002.png")).unwrap()), two(FlowCount));
    assert_eq!(planted(|root| flow(&root.join("flow/a/two/y/000003.png"))), two(ExtraFile));
    assert_eq!(planted(|root| fs::remove_dir_all(root.join("flow/a/two/y")).unwrap()), two(MissingClip));
    assert_eq!(planted(|root| fs::remove_dir_all(root.join("frames/a/two")).unwrap()), two(MissingClip));
    // A PNG whose header says 60,000 x 60,000 pixels, in the place of a JPEG.
    let huge = |root: &Path| {
        let mut bytes = std::io::Cursor::new(Vec::new());
        RgbImage::new(4, 4).write_to(&mut bytes, ::image::ImageFormat::Png).unwrap();
        let mut bytes = bytes.into_inner();
        bytes[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
        fs::write(root.join("frames/a/two/000002.jpg"), bytes).unwrap();
    };
    assert_eq!(planted(huge), two(TooLarge));
    // A sound image of the right size, but another one.
    let swap = |root: &Path| {
        RgbImage::new(24, 16).save(root.join("frames/a/two/000002.jpg")).unwrap();
    };
    assert_eq!(planted(swap), two(Hash));
    let stranger = |root: &Path| frame(&root.join("frames/a/four/000000.jpg"), 24);
    assert_eq!(planted(stranger), (UnlistedClip, vec!["a/four".to_owned()]));
    assert_eq!(planted(|root| fs::create_dir(root.join("frames/a/.two.partial")).unwrap()), no_clip(Unfinished));
    assert_eq!(planted(|root| fs::write(root.join("manifest.partial.jsonl"), "").unwrap()), no_clip(Unfinished));
    assert_eq!(planted(|root| cut(&root.join(MANIFEST), 1)), no_clip(Manifest));
    assert_eq!(planted(|root| fs::write(root.join("frames/readme"), "x").unwrap()), no_clip(ExtraFile));
    let failures =
        |root: &Path| fs::write(root.join("failures.jsonl"), "{\"clip\":\"a/x\",\"error\":\"torn\"}\n").unwrap();
    assert_eq!(planted(failures), (NotPrepared, vec!["a/x".to_owned()]));
    let list = |text: &'static str| move |root: &Path| fs::write(root.join("splits/test.txt"), text).unwrap();
    assert_eq!(planted(list("a/two.avi 1\na/gone\n")), (List, vec!["a/gone".to_owned()]));
    assert_eq!(planted(list("a/../../etc/passwd\n")), (List, vec!["a/../../etc/passwd".to_owned()]));
}

#[cfg(unix)]
#[test]
fn links_out_and_names_that_are_not_utf_8_are_faults() {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    let other = temporary();
    frame(&other.path().join("000000.jpg"), 24);
    let two = |kind| (kind, vec!["a/two".to_owned()]);
    let file = |root: &Path| {
        fs::remove_file(root.join("frames/a/two/000000.jpg")).unwrap();
        symlink(other.path().join("000000.jpg"), root.join("frames/a/two/000000.jpg")).unwrap();
    };
    let folder = prepared();
    file(folder.path());
    let report = report(folder.path());
    assert!(report.faults.iter().any(|fault| fault.kind == FaultKind::Link), "{}", report.table());
    // A link within the data set is as good as the file.
    let inner = |root: &Path| {
        fs::rename(root.join("frames/a/two/000000.jpg"), root.join("kept.jpg")).unwrap();
        symlink(root.join("kept.jpg"), root.join("frames/a/two/000000.jpg")).unwrap();
    };
    let folder = prepared();
    inner(folder.path());
    assert!(super::verify(folder.path(), &VerifyOptions::default(), &GO, &mut |_, _| ()).unwrap().is_sound());
    let whole = |root: &Path| {
        fs::remove_dir_all(root.join("frames/a/two")).unwrap();
        symlink(other.path(), root.join("frames/a/two")).unwrap();
    };
    let folder = prepared();
    whole(folder.path());
    let (kind, clips) = {
        let faults = super::verify(folder.path(), &VerifyOptions::default(), &GO, &mut |_, _| ()).unwrap().faults;
        (faults[0].kind, faults.into_iter().map(|fault| fault.clip).collect::<Vec<_>>())
    };
    assert_eq!(kind, FaultKind::Link);
    assert!(clips.iter().all(|clip| clip == "a/two" || clip.is_empty()), "{clips:?}");
    if cfg!(target_os = "linux") {
        let name = std::ffi::OsStr::from_bytes(b"\xff.jpg");
        assert_eq!(planted(|root| fs::write(root.join("frames/a/two").join(name), "x").unwrap()), two(FaultKind::Name));
    }
}

#[test]
fn faulty_clips_are_quarantined() {
    let folder = prepared();
    cut(&folder.path().join("frames/a/two/000002.jpg"), 9);
    fs::write(folder.path().join("splits/test.txt"), "a/gone\n").unwrap();
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
    let clips = crate::Dataset::from_folder(&options);
    // Of three clips in two classes two are left: too few for three parts, but the broken one is
    // out.
    assert!(clips.unwrap_err().to_string().contains("part holds no clip"));
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

/// Clips as others lay them out: where the frames and both components of flow lie, by class, clip
/// and number.
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
fn layouts_of_others_are_understood() {
    for layout in LAYOUTS {
        for bases in [[0, 0], [1, 1], [1, 0], [0, 1]] {
            let folder = foreign(layout, bases);
            let report = report(folder.path());
            assert!(report.is_sound() && report.clips == 2, "{layout:?} {bases:?}\n{}", report.table());
        }
    }
}

#[test]
fn faults_of_others_are_named() {
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
            // The flow has one less as well, so that only the gap is wrong.
            fs::remove_file(root.join(of(rgb, 3))).unwrap();
            [x, y].into_iter().for_each(|component| fs::remove_file(root.join(of(component, 4))).unwrap());
        };
        assert_eq!(planted(&gap), MissingImage, "{layout:?}");
        assert_eq!(planted(&|root| fs::remove_file(root.join(of(rgb, 5))).unwrap()), FlowCount);
        assert_eq!(planted(&|root| fs::remove_file(root.join(of(y, 4))).unwrap()), FlowCount);
        assert_eq!(planted(&|root| frame(&root.join(of(rgb, 2)), 20)), WrongSize);
        assert_eq!(planted(&|root| cut(&root.join(of(rgb, 2)), 2)), Truncated);
        assert_eq!(planted(&|root| fs::write(root.join(of(x, 2)), "").unwrap()), EmptyFile);
    }
}

#[test]
fn broken_numbering_is_a_fault() {
    use FaultKind::*;
    let made = |names: &[&str]| {
        let folder = temporary();
        names.iter().for_each(|name| frame(&folder.path().join("a/x").join(name), 24));
        only(folder.path()).0
    };
    assert_eq!(made(&["5.jpg", "6.jpg"]), MissingImage);
    assert_eq!(made(&["1.jpg", "01.jpg", "2.jpg"]), Numbering);
    assert_eq!(made(&["1.jpg", "1.png", "2.jpg"]), Numbering);
    assert_eq!(made(&["a_1.jpg", "b_1.jpg"]), Numbering);
    assert_eq!(made(&["cover.jpg", "1.jpg"]), Numbering);
    assert_eq!(made(&["0.jpg", "18446744073709551615.jpg"]), MissingImage);
    assert_eq!(made(&["0.jpg", "99999999999999999999999.jpg"]), Numbering);
}

#[test]
fn flow_may_lie_elsewhere_and_lists_are_checked() {
    let (frames, flows) = (temporary(), temporary());
    for t in 1..=3 {
        frame(&frames.path().join(format!("a/x/img_{t:05}.jpg")), 24);
    }
    for t in 1..=3 {
        flow(&flows.path().join(format!("a/x/flow_x_{t:05}.jpg")));
        flow(&flows.path().join(format!("a/x/flow_y_{t:05}.jpg")));
    }
    fs::write(frames.path().join("list.txt"), "a/x.avi 1\na/y.avi 1\n").unwrap();
    let lists = vec!["list.txt".into()];
    let options = VerifyOptions { flow: Some(flows.path().to_owned()), lists, ..VerifyOptions::default() };
    let report = verify(frames.path(), &options, &GO, &mut |_, _| ()).unwrap();
    let found: Vec<(FaultKind, &str)> = report.faults.iter().map(|fault| (fault.kind, &*fault.clip)).collect();
    assert_eq!(found, [(FaultKind::FlowCount, "a/x"), (FaultKind::List, "a/y.avi 1")]);
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
