//! Tests of folders of clips. Nothing is decoded, so the clips are files of one byte.

use std::fs;

use super::*;
use crate::base::Split;
use crate::dataset::ClipSource;
use crate::testing::{put, refused, temporary};

/// Two classes with `n` clips each, `a/0.avi` and so on, none a copy of another.
fn small(n: usize) -> tempfile::TempDir {
    let folder = temporary();
    for (class, i) in ["a", "b"].iter().flat_map(|class| (0..n).map(move |i| (class, i))) {
        put(folder.path(), &format!("{class}/{i}.avi"), format!("{class} {i}"));
    }
    folder
}

fn options(root: &Path) -> FolderOptions {
    FolderOptions { root: root.to_owned(), ..FolderOptions::default() }
}

/// Writes the three lists, and the options that name them.
fn listed(root: &Path, lists: [&str; 3]) -> FolderOptions {
    ["train.txt", "val.txt", "test.txt"].iter().zip(lists).for_each(|(name, lines)| put(root, name, lines));
    FolderOptions {
        train_list: Some("train.txt".into()),
        validation_list: Some("val.txt".into()),
        test_list: Some("test.txt".into()),
        ..options(root)
    }
}

fn ids(samples: &[Sample]) -> Vec<&str> {
    samples.iter().map(|sample| sample.id.as_str()).collect()
}

#[track_caller]
fn fails(options: &FolderOptions, words: &[&str]) {
    refused(Dataset::from_folder(options), words);
}

// 20 clips of each class, each its own group: 0.15 of 20 is 3, for test and for validation.
#[test]
fn without_lists_the_parts_are_drawn() {
    let folder = small(20);
    let set = Dataset::from_folder(&options(folder.path())).unwrap();
    assert_eq!(set.classes, ["a", "b"]);
    assert_eq!((set.train.len(), set.validation.len(), set.test.len()), (28, 6, 6));
    for split in [Split::Validation, Split::Test] {
        assert_eq!(set.split(split).iter().filter(|sample| sample.class == 0).count(), 3);
    }
    let mut all: Vec<&str> = [&set.train, &set.validation, &set.test].into_iter().flat_map(|part| ids(part)).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 40);
    assert_eq!(set, Dataset::from_folder(&options(folder.path())).unwrap());
    let other = Dataset::from_folder(&FolderOptions { seed: 1, ..options(folder.path()) }).unwrap();
    assert_ne!(set.fingerprint(), other.fingerprint());
}

#[test]
fn lists_give_the_parts_in_their_order() {
    let folder = small(3);
    let lists = ["b/0.avi 2\na/1.avi 1\r\n\n./a/0.avi 1\n", "a/2.avi\n", "b/2.avi\n"];
    let set = Dataset::from_folder(&listed(folder.path(), lists)).unwrap();
    assert_eq!(ids(&set.train), ["b/0.avi", "a/1.avi", "a/0.avi"]);
    assert_eq!(set.train[0].class, 1);
    assert_eq!((ids(&set.validation), ids(&set.test)), (vec!["a/2.avi"], vec!["b/2.avi"]));
    assert!(matches!(&set.test[0].source, ClipSource::Video(path) if path.ends_with("b/2.avi")));
}

#[test]
fn validation_is_held_out_of_the_train_list_by_group() {
    let folder = temporary();
    for class in ["Diving", "Rowing"] {
        for (group, clip) in (1..=5).flat_map(|group| (1..=4).map(move |clip| (group, clip))) {
            put(folder.path(), &format!("{class}/v_{class}_g{group:02}_c{clip:02}.avi"), "x");
        }
    }
    put(folder.path(), "test.txt", "Diving/v_Diving_g01_c01.avi\nRowing/v_Rowing_g01_c01.avi\n");
    let choice =
        FolderOptions { test_list: Some("test.txt".into()), validation_fraction: 0.2, ..options(folder.path()) };
    let set = Dataset::from_folder(&choice).unwrap();
    let group = |sample: &Sample| sample.id.rsplit_once("_c").unwrap().0.to_owned();
    let held: BTreeSet<String> = set.validation.iter().map(group).collect();
    assert_eq!(held.len(), 2, "{held:?}");
    assert!(set.train.iter().all(|sample| !held.contains(&group(sample))));
    assert_eq!(set.train.len() + set.validation.len() + set.test.len(), 40);
}

/// Like THUMOS'14's validation videos beside UCF-101: a list anywhere, whose entries are paths in another
/// folder. Clips of the same name in the two folders are different clips.
#[test]
fn validation_clips_may_lie_in_another_folder() {
    let (folder, other, lists) = (small(3), temporary(), temporary());
    for (id, bytes) in [("a/0.avi", "p"), ("a/9.avi", "q"), ("b/9.avi", "r"), ("c/9.avi", "s")] {
        put(other.path(), id, bytes);
    }
    put(folder.path(), "test.txt", "a/2.avi\nb/2.avi\n");
    put(lists.path(), "val.txt", "b/9.avi 2\na/0.avi 1\n");
    let list = lists.path().join("val.txt");
    let choice = FolderOptions {
        test_list: Some("test.txt".into()),
        validation_root: Some(other.path().to_owned()),
        validation_list: Some(list.clone()),
        ..options(folder.path())
    };
    let set = Dataset::from_folder(&choice).unwrap();
    assert_eq!(ids(&set.train), ["a/0.avi", "a/1.avi", "b/0.avi", "b/1.avi"]);
    assert_eq!(ids(&set.validation), ["validation/b/9.avi", "validation/a/0.avi"]);
    assert_eq!(set.validation.iter().map(|sample| sample.class).collect::<Vec<_>>(), [1, 0]);
    let root = fs::canonicalize(other.path()).unwrap();
    assert!(matches!(&set.validation[0].source, ClipSource::Video(path) if *path == root.join("b/9.avi")));
    // Errors name the list and the line.
    put(lists.path(), "val.txt", "a/9.avi\nc/9.avi\n");
    fails(&choice, &["val.txt, line 2", "class `c`", "a, b"]);
    put(lists.path(), "val.txt", "a/9.avi\n\nb/1.avi\n");
    fails(&choice, &["val.txt, line 3", "b/1.avi", "no such clip"]);
    // Without a list, all clips are validation clips, except those in quarantine.
    put(other.path(), QUARANTINE, "a/9.avi\nc/9.avi\n");
    let all = FolderOptions { validation_list: None, ..choice };
    let set = Dataset::from_folder(&all).unwrap();
    assert_eq!(ids(&set.validation), ["validation/a/0.avi", "validation/b/9.avi"]);
    assert_eq!(set.skipped, ["validation/a/9.avi", "validation/c/9.avi"]);
    fails(&FolderOptions { validation_root: Some("../nowhere".into()), ..all }, &["nowhere"]);
}

#[test]
fn the_json_map_gives_groups() {
    let folder = small(8);
    let map: Vec<String> = (0..8).map(|i| format!("\"{i}\": \"scene{}\"", i / 2)).collect();
    put(folder.path(), "groups.json", format!("{{{}}}", map.join(",")));
    let choice = FolderOptions { groups: Some("groups.json".into()), test_fraction: 0.25, ..options(folder.path()) };
    let set = Dataset::from_folder(&choice).unwrap();
    // A scene is two clips of each class; 0.25 of 8 is one scene.
    assert_eq!(set.test.len(), 4);
    put(folder.path(), "groups.json", "[1]");
    fails(&choice, &["groups.json"]);
}

#[test]
fn split_folders_are_used() {
    let folder = temporary();
    for (part, n) in [("train", 10), ("val", 2), ("test", 3)] {
        for (class, i) in ["a", "b"].iter().flat_map(|class| (0..n).map(move |i| (class, i))) {
            put(folder.path(), &format!("{part}/{class}/{i}.mp4"), "x");
        }
    }
    let set = Dataset::from_folder(&options(folder.path())).unwrap();
    assert_eq!((set.train.len(), set.validation.len(), set.test.len()), (20, 4, 6));
    assert_eq!(set.test[0].id, "test/a/0.mp4");
    fs::remove_dir_all(folder.path().join("val")).unwrap();
    let set = Dataset::from_folder(&options(folder.path())).unwrap();
    assert_eq!((set.train.len() + set.validation.len(), set.test.len()), (20, 6));
    put(folder.path(), "test/c/0.mp4", "x");
    fails(&options(folder.path()), &["`c`"]);
}

// Classes may themselves be called `train` and `test`.
#[test]
fn a_class_may_be_called_train() {
    let folder = temporary();
    for (class, i) in ["train", "test"].iter().flat_map(|class| (0..8).map(move |i| (class, i))) {
        put(folder.path(), &format!("{class}/clip{i}/0.jpg"), "x");
    }
    let set = Dataset::from_folder(&options(folder.path())).unwrap();
    assert_eq!(set.classes, ["test", "train"]);
    assert!(matches!(set.train[0].source, ClipSource::FrameFolder(_)));
}

// UCF-101's lists name videos; the frames of a video lie in a folder of its name.
#[test]
fn a_list_of_videos_finds_folders_of_frames() {
    let folder = temporary();
    for clip in ["a/0", "a/1", "b/0", "b/1", "b/2"] {
        put(folder.path(), &format!("{clip}/000000.png"), "x");
    }
    let lists = ["a/0.avi 1\nb/0.avi 2\n", "a/1.avi 1\n", "b/1.avi 2\n"];
    let set = Dataset::from_folder(&listed(folder.path(), lists)).unwrap();
    assert_eq!(ids(&set.train), ["a/0", "b/0"]);
}

#[test]
fn bad_lists_name_list_line_and_clip() {
    let folder = small(3);
    for (line, reason) in [
        ("a/9.avi", "no such clip"),
        ("../a/0.avi", "`..`"),
        ("/etc/passwd", "absolute"),
        ("C:\\a\\0.avi", "absolute"),
        ("a/\0.avi", "NUL"),
        ("b/1.avi 1", "label 1"),
        ("a/1.avi 3", "label 3"),
        ("b/2.avi", "named before"),
        ("b/0.avi", "named before"),
        ("a/0.avi x", "no such clip"),
        ("a/1.avi,1", "after the clip `a/1.avi` comes `,1`"),
        ("a/1.avi 25 1", "after the clip `a/1.avi` comes `25 1`"),
        ("a/1.avi 0 25 1", "one label number"),
        ("\"a/1.avi\";1", "after the clip `a/1.avi` comes `\";1`"),
        // A million columns, each of which could end the name of a clip.
        (&"a,".repeat(1_000_000), "no such clip"),
    ] {
        let train = format!("a/0.avi 1\nb/0.avi 2\n{line}\n");
        fails(&listed(folder.path(), [&train, "a/2.avi\n", "b/2.avi\n"]), &[reason, "line", ".txt"]);
    }
    let choice = listed(folder.path(), ["a/0.avi\nb/0.avi\n", "a/2.avi\n", "\n"]);
    fails(&choice, &["the test part holds no clip"]);
    fs::remove_file(folder.path().join("test.txt")).unwrap();
    fails(&choice, &["test.txt: no such file"]);
}

// A folder with the classes of a model: all its clips, whatever folders of parts it has, or the clips of
// a list.
#[test]
fn clips_of_a_folder_are_all_or_those_of_a_list() {
    let folder = small(2);
    let classes = ["a", "b", "c"].map(str::to_owned);
    let set = Dataset::clips_of(&options(folder.path()), &classes).unwrap();
    assert_eq!((ids(&set.test), set.train.len()), (vec!["a/0.avi", "a/1.avi", "b/0.avi", "b/1.avi"], 0));
    put(folder.path(), "bad.jsonl", "a/1.avi\nb/1.avi\n");
    let with = |list: &str| FolderOptions {
        quarantine: Some("bad.jsonl".into()),
        test_list: Some(list.into()),
        ..options(folder.path())
    };
    put(folder.path(), "list.txt", "b/0.avi\na/1.avi\na/0.avi\n");
    let set = Dataset::clips_of(&with("list.txt"), &classes).unwrap();
    assert_eq!((ids(&set.test), set.skipped), (vec!["b/0.avi", "a/0.avi"], vec!["a/1.avi".to_owned()]));
    for clip in ["b/0.avi", "a/1.avi"] {
        put(folder.path(), "twice.txt", format!("{clip}\na/0.avi\n{clip}\n"));
        refused(Dataset::clips_of(&with("twice.txt"), &classes), &["twice.txt, line 3", clip, "line 1"]);
    }
    refused(Dataset::clips_of(&options(folder.path()), &classes[1..]), &["class `a`", "b, c"]);
    let parts = temporary();
    ["train/a/0.avi", "train/b/0.avi", "test/a/0.avi"].iter().for_each(|clip| put(parts.path(), clip, "x"));
    let set = Dataset::clips_of(&options(parts.path()), &classes).unwrap();
    assert_eq!(ids(&set.test), ["test/a/0.avi", "train/a/0.avi", "train/b/0.avi"]);
    put(parts.path(), "list.txt", "test/a/0.avi\n");
    let listed = FolderOptions { test_list: Some("list.txt".into()), ..options(parts.path()) };
    assert_eq!(ids(&Dataset::clips_of(&listed, &classes).unwrap().test), ["test/a/0.avi"]);
}

#[test]
fn clips_without_labels_may_be_of_one_class() {
    let folder = temporary();
    (0..3).for_each(|clip| put(folder.path(), &format!("a/{clip}.avi"), clip.to_string()));
    fails(&options(folder.path()), &["only one class, `a`"]);
    let set = Dataset::from_unlabelled_folder(&options(folder.path())).unwrap();
    assert_eq!([set.train.len(), set.validation.len(), set.test.len()], [1; 3]);
}

#[test]
fn bad_folders_say_what_to_do() {
    let folder = temporary();
    let root = folder.path();
    fails(&options(&root.join("none")), &["no such file or folder"]);
    fails(&options(root), &["no class folder"]);
    put(root, "a/0.avi", "x");
    put(root, "a/1.avi", "x");
    fails(&options(root), &["only one class, `a`"]);
    put(root, "b/notes.txt", "x");
    fails(&options(root), &["holds no clip"]);
    put(root, "b/deep/deeper/0.avi", "x");
    fails(&options(root), &["deep"]);
    fs::remove_dir_all(root.join("b")).unwrap();
    put(root, "b/0.avi", "x");
    assert!(Dataset::from_folder(&options(root)).is_err(), "two clips and one cannot make three parts");
    fails(&FolderOptions { test_fraction: 0.9, ..options(root) }, &["sum"]);
    fails(&FolderOptions { test_fraction: f32::NAN, ..options(root) }, &["test_fraction"]);
}

#[cfg(unix)]
#[test]
fn links_out_of_the_root_are_refused() {
    let (folder, outside) = (small(8), temporary());
    put(outside.path(), "secret.avi", "x");
    std::os::unix::fs::symlink(folder.path().join("a/0.avi"), folder.path().join("a/copy.avi")).unwrap();
    assert!(Dataset::from_folder(&options(folder.path())).is_ok());
    std::os::unix::fs::symlink(outside.path().join("secret.avi"), folder.path().join("a/link.avi")).unwrap();
    fails(&options(folder.path()), &["link.avi", "leads out"]);
}

// Five clips of one recording in each of three classes: no group can be held out without emptying its
// class.
#[test]
fn an_empty_part_says_what_was_grouped_and_what_is_needed() {
    let folder = temporary();
    for class in ["a", "b", "c"] {
        (1..6).for_each(|n| put(folder.path(), &format!("{class}/v_{class}_g01_c0{n}.avi"), "x"));
    }
    let words = [
        "part holds no clip",
        "15 clips of 3 groups, by names as UCF-101 has them: a/v_a_g01_c01.avi is of v_a_g01",
        "needs 3 groups to be in 3 parts, and the class `a` has 1 group",
        "data.folder.groups",
    ];
    fails(&options(folder.path()), &words);
    fails(&options(small(2).path()), &["each clip is a group of its own", "the class `a` has 2 groups"]);
    let listed = small(4);
    let groups: Vec<String> = (0..4).map(|n| format!(r#""a/{n}.avi": "m", "b/{n}.avi": "n""#)).collect();
    put(listed.path(), "groups.json", format!("{{{}}}", groups.join(", ")));
    let groups = FolderOptions { groups: Some("groups.json".into()), ..options(listed.path()) };
    fails(&groups, &["8 clips of 2 groups, by the groups given for the clips: a/0.avi is of m"]);
}

#[test]
fn notes_count_groups_quarantined_clips_and_absent_entries() {
    let folder = small(20);
    assert!(Dataset::from_folder(&options(folder.path())).unwrap().notes.is_empty());
    let groups = r#"{"a/0.avi": "m", "a/1.avi": "m"}"#;
    put(folder.path(), "groups.json", groups);
    let drawn = FolderOptions { groups: Some("groups.json".into()), ..options(folder.path()) };
    let notes = Dataset::from_folder(&drawn).unwrap().notes;
    assert!(notes[0].contains("drawn by group") && notes[0].contains("40 clips of 39 groups"), "{notes:?}");

    put(folder.path(), "test.absent", "c/7\nc/8\n");
    put(folder.path(), "skip.txt", "b/3.avi\n");
    let lists = ["a/0.avi\nb/0.avi\n", "a/1.avi\n", "a/2.avi\nb/2.avi\nb/3.avi\n"];
    let listed = FolderOptions { quarantine: Some("skip.txt".into()), ..listed(folder.path(), lists) };
    let set = Dataset::from_folder(&listed).unwrap();
    assert_eq!(set.test.len(), 2);
    assert_eq!(
        set.notes,
        [
            "2 of 5 entries of the test list test.txt are not in the source that was prepared and are in no part, the \
             first c/7",
            "1 test clips are in quarantine and skipped, the first b/3.avi",
            "34 of 40 clips are in no list and so in no part, the first a/10.avi"
        ]
    );
    let set =
        Dataset::from_folder(&FolderOptions { train_list: None, validation_list: None, test_list: None, ..listed });
    assert_eq!(set.unwrap().notes, ["1 clips are in quarantine and skipped, the first b/3.avi"]);
}

/// Asserts that one of the notes on the data set has all of `words`.
#[track_caller]
fn noted(options: &FolderOptions, words: &[&str]) -> Dataset {
    let set = Dataset::from_folder(options).unwrap();
    assert!(set.notes.iter().any(|note| words.iter().all(|word| note.contains(word))), "{:?}", set.notes);
    set
}

#[test]
fn keys_of_groups_name_clips_once() {
    let folder = small(8);
    let choice = FolderOptions { groups: Some("groups.json".into()), ..options(folder.path()) };
    let write = |text: &str| put(folder.path(), "groups.json", text);
    write(r#"{"clips/a/0.avi": "m", "clips/a/1.avi": "m"}"#);
    fails(&choice, &["groups.json", "2 of 2 keys name no clip", "clips/a/0.avi"]);
    write(r#"{"a/0.avi": "m", "a\\1.avi": "m", "a/9.avi": "m"}"#);
    noted(&choice, &["1 of 3 keys name no clip", "a/9.avi"]);
    write(r#"{"a/0.avi": "m", "b/0.avi": "n", "a/0.avi": "n"}"#);
    fails(&choice, &["groups.json", "`a/0.avi` occurs twice", "`m`", "`n`"]);
    write("\u{feff}{\"a/0.avi\": \"m\", \"1\": \"m\"}");
    assert_eq!(Dataset::from_folder(&choice).unwrap().notes.len(), 1);
}

#[test]
fn parts_that_share_a_group_or_bytes_are_noted() {
    let folder = small(3);
    let listed = listed(folder.path(), ["a/0.avi\nb/0.avi\n", "a/1.avi\nb/1.avi\n", "a/2.avi\nb/2.avi\n"]);
    assert!(Dataset::from_folder(&listed).unwrap().notes.is_empty());
    put(folder.path(), "groups.json", r#"{"a/0.avi": "m", "a/2.avi": "m", "b/0.avi": "n"}"#);
    let groups = FolderOptions { groups: Some("groups.json".into()), ..listed.clone() };
    noted(&groups, &["1 test clips are of a group that has train clips too", "a/2.avi of m"]);
    fs::copy(folder.path().join("b/0.avi"), folder.path().join("b/2.avi")).unwrap();
    noted(&listed, &["1 test clips are train clips too, byte for byte", "b/2.avi", "b/0.avi"]);
}

#[test]
fn two_files_of_one_clip_are_refused() {
    for other in ["a/0.mkv", "a/0/000000.jpg"] {
        let folder = small(8);
        put(folder.path(), other, "x");
        fails(&options(folder.path()), &["would both be the clip a/0", "0.avi"]);
    }
}

#[test]
fn valid_is_the_validation_part_and_other_folders_are_named() {
    let folder = temporary();
    for (part, i) in ["train", "valid", "test"].iter().flat_map(|part| (0..4).map(move |i| (part, i))) {
        ["a", "b"]
            .iter()
            .for_each(|class| put(folder.path(), &format!("{part}/{class}/{i}.mp4"), format!("{part}{class}{i}")));
    }
    let set = Dataset::from_folder(&options(folder.path())).unwrap();
    assert_eq!((set.validation.len(), set.validation[0].id.as_str()), (8, "valid/a/0.mp4"));
    assert!(set.notes.is_empty(), "{:?}", set.notes);
    put(folder.path(), "extra/a/0.mp4", "x");
    put(folder.path(), "more/readme.txt", "x");
    noted(&options(folder.path()), &["2 folders beside `train/` are passed over, the first extra"]);
    put(folder.path(), "val/a/0.mp4", "x");
    fails(&options(folder.path()), &["`val`", "`valid`"]);
}

#[test]
fn files_passed_over_are_counted() {
    let folder = small(8);
    for name in ["x.m2ts", "x2.vob", "x3.m2v", "x4.3g2", "x5.qt", "x6.MPE"] {
        put(folder.path(), &format!("a/{name}"), name);
    }
    let set = Dataset::from_folder(&options(folder.path())).unwrap();
    assert_eq!((set.train.len() + set.validation.len() + set.test.len(), set.notes.len()), (22, 0));
    put(folder.path(), "a/y.divx", "x");
    put(folder.path(), "b/notes.txt", "x");
    put(folder.path(), "loose.mp4", "x");
    noted(&options(folder.path()), &["3 files are passed over, the first a/y.divx"]);
}

#[test]
fn clips_and_classes_in_no_list_are_counted() {
    let folder = small(4);
    put(folder.path(), "c/0.avi", "c");
    let lists = ["a/0.avi\nb/0.avi\n", "a/1.avi\nb/1.avi\n", "a/2.avi\nb/2.avi\n"];
    let words = ["3 of 9 clips are in no list", "the first a/3.avi", "of 1 classes", "`c`"];
    noted(&listed(folder.path(), lists), &words);
}

#[test]
fn lists_may_have_the_line_ends_of_any_system() {
    let folder = small(3);
    for end in ["\n", "\r\n", "\r"] {
        let train = format!("a/0.avi 1{end}b/0.avi 2{end}");
        let choice = listed(folder.path(), [&train, "a/2.avi\n", "b/2.avi\n"]);
        assert_eq!(Dataset::from_folder(&choice).unwrap().train.len(), 2);
    }
}

#[cfg(unix)]
#[test]
fn control_characters_and_frames_that_are_links_are_refused() {
    let folder = small(8);
    put(folder.path(), "a/red\u{1b}[31m.avi", "x");
    let error = Dataset::from_folder(&options(folder.path())).unwrap_err().to_string();
    assert!(error.contains("red\\u{1b}[31m.avi") && error.contains("control character"), "{error}");
    assert!(!error.contains('\u{1b}'));
    let (folder, outside) = (small(8), temporary());
    put(outside.path(), "1.png", "x");
    put(folder.path(), "a/frames/0.png", "x");
    std::os::unix::fs::symlink(outside.path().join("1.png"), folder.path().join("a/frames/1.png")).unwrap();
    fails(&options(folder.path()), &["1.png", "leads out"]);
}
