use super::*;
use crate::testing::{put, refused, temporary};

fn known(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

fn files(contents: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = temporary();
    contents.iter().for_each(|(name, text)| put(folder.path(), name, text));
    folder
}

fn named<'a>(lists: &'a [SplitList], name: &str) -> (&'a [String], &'a [String]) {
    let list = lists.iter().find(|list| list.name == name).unwrap();
    (&list.clips, &list.absent)
}

#[test]
fn ucf101_lists_are_read() {
    let folder = files(&[
        ("classInd.txt", "1 Archery\r\n2 Diving\r\n"),
        ("trainlist01.txt", "Archery/v_Archery_g08_c01.avi 1\r\nDiving/v_Diving_g09_c02.avi 2\r\n\r\n"),
        ("testlist01.txt", "Archery/v_Archery_g01_c01.avi\nDiving/v_Diving_g01_c01.avi\n"),
        ("trainlist03.txt", "Diving/v_Diving_g01_c01.avi 2\n"),
        ("testlist03.txt", "Archery/v_Archery_g08_c01.avi\n"),
    ]);
    let clips = known(&["Archery/v_Archery_g08_c01", "Diving/v_Diving_g01_c01", "Diving/v_Diving_g09_c02"]);
    let lists = official(Layout::Ucf101, folder.path(), &clips).unwrap();
    let names: Vec<&str> = lists.iter().map(|list| list.name.as_str()).collect();
    assert_eq!(names, ["train01", "test01", "train03", "test03"]);
    assert_eq!(named(&lists, "train01").0, ["Archery/v_Archery_g08_c01", "Diving/v_Diving_g09_c02"]);
    let (test, absent) = named(&lists, "test01");
    assert_eq!((test.len(), absent), (1, &["Archery/v_Archery_g01_c01".to_owned()][..]));
}

#[test]
fn ucf101_faults_are_named() {
    let has = |contents: &[(&str, &str)], words: &[&str]| {
        refused(official(Layout::Ucf101, files(contents).path(), &known(&[])), words);
    };
    has(&[], &["trainlist01.txt", "does not exist"]);
    has(&[("trainlist01.txt", "A/x.avi 1\n")], &["testlist01.txt"]);
    has(&[("testlist02.txt", "A/x.avi\n")], &["trainlist02.txt"]);
    let test = ("testlist01.txt", "A/y.avi\n");
    has(&[("trainlist01.txt", "A/x.avi\n"), test], &["trainlist01.txt", "line 1", "number"]);
    has(&[("trainlist01.txt", "A/x.avi 1\nA/z.avi 2\n"), test], &["line 2", "label 2"]);
    has(&[("trainlist01.txt", "A/x.avi 1\n../x.avi 1\n"), test], &["line 2", "`..`"]);
    has(&[("trainlist01.txt", "/A/x.avi 1\n"), test], &["line 1", "absolute"]);
    has(&[("trainlist01.txt", "x.avi 1\n"), test], &["line 1", "Class/clip"]);
    has(&[("trainlist01.txt", "A/y.avi 1\n"), test], &["testlist01.txt", "named before"]);
    has(&[("classInd.txt", "2 A\n"), ("trainlist01.txt", "A/x.avi 1\n"), test], &["classInd", "number 2"]);
    has(&[("classInd.txt", "A\n"), ("trainlist01.txt", "A/x.avi 1\n"), test], &["classInd.txt", "line 1"]);
}

#[test]
fn hmdb51_marks_divide_the_clips() {
    let folder = files(&[
        ("wave_test_split1.txt", "m_wave_u_cm_np1_ri_bad_0.avi 1 \nm_wave_u_cm_np1_ri_bad_1.avi 2 \nn.avi 0 \n"),
        ("climb_stairs_test_split1.txt", "[x]!;_(1).avi 2 \n"),
        ("class_list.txt", "wave\n"),
    ]);
    let clips = known(&["wave/m_wave_u_cm_np1_ri_bad_0", "wave/m_wave_u_cm_np1_ri_bad_1", "climb_stairs/[x]!;_(1)"]);
    let lists = official(Layout::Hmdb51, folder.path(), &clips).unwrap();
    assert_eq!(named(&lists, "train01").0, ["wave/m_wave_u_cm_np1_ri_bad_0"]);
    assert_eq!(named(&lists, "test01").0, ["climb_stairs/[x]!;_(1)", "wave/m_wave_u_cm_np1_ri_bad_1"]);
    for (text, word) in [
        ("a.avi 3\n", "mark"),
        ("a.avi 1\na.avi 2\n", "line 2"),
        ("a.avi\n", "line 1"),
        ("../a.avi 1\n", "`..`"),
        ("b/a.avi 1\n", "name of a clip"),
    ] {
        refused(official(Layout::Hmdb51, files(&[("wave_test_split2.txt", text)]).path(), &clips), &[word]);
    }
}

#[test]
fn msvd_lists_by_name_or_number() {
    let folder = files(&[
        ("train_list.txt", "-a_1_2\n_b_3_4\n"),
        ("val_list.txt", "c_5_6\n"),
        ("test_list.txt", "d_7_8\n"),
        ("youtube_mapping.txt", "-a_1_2 vid1\n_b_3_4 vid2\nc_5_6 vid3\nd_7_8 vid4\n"),
    ]);
    let by_name = official(Layout::Msvd, folder.path(), &known(&["msvd/-a_1_2", "msvd/d_7_8"])).unwrap();
    assert_eq!(named(&by_name, "train"), (&["msvd/-a_1_2".to_owned()][..], &["msvd/_b_3_4".to_owned()][..]));
    assert_eq!(named(&by_name, "validation").0, [] as [&str; 0]);
    let by_number = official(Layout::Msvd, folder.path(), &known(&["msvd/vid1", "msvd/vid3"])).unwrap();
    assert_eq!(named(&by_number, "train").0, ["msvd/vid1"]);
    assert_eq!(named(&by_number, "validation").0, ["msvd/vid3"]);
    fs::write(folder.path().join("test_list.txt"), "-a_1_2\n").unwrap();
    refused(official(Layout::Msvd, folder.path(), &known(&[])), &["test_list.txt", "named before"]);
    fs::remove_file(folder.path().join("test_list.txt")).unwrap();
    refused(official(Layout::Msvd, folder.path(), &known(&[])), &["test_list.txt"]);
}

#[test]
fn own_lists_name_every_clip() {
    let folder = files(&[("train.txt", "a/one two.avi 1\nb/x\n"), ("test.txt", "a/three.mp4\n")]);
    let clips = known(&["a/one two", "a/three", "b/x"]);
    let lists = [("train", Some("train.txt".into())), ("validation", None), ("test", Some("test.txt".into()))];
    let read = own(folder.path(), &lists, &clips).unwrap();
    assert_eq!(read.len(), 2);
    assert_eq!(named(&read, "train").0, ["a/one two", "b/x"]);
    fs::write(folder.path().join("test.txt"), "a/three.mp4\na/four.mp4\n").unwrap();
    refused(own(folder.path(), &lists, &clips), &["line 2", "a/four"]);
    assert!(official(Layout::Folder, folder.path(), &clips).is_err());
}

#[test]
fn written_lists_are_plain_ids() {
    let folder = temporary();
    let clips = known(&["a/x", "b/y"]);
    let list = SplitList::of("train01", ["b/y", "a/x", "c/z"].map(|id| (1, id.to_owned())).into(), &clips);
    let groups = BTreeMap::from([("a/x".to_owned(), "g".to_owned())]);
    write(folder.path(), &[list], &groups).unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("splits/train01.txt")).unwrap(), "b/y\na/x\n");
    let text = fs::read_to_string(folder.path().join("splits/groups.json")).unwrap();
    assert_eq!(serde_json::from_str::<BTreeMap<String, String>>(&text).unwrap(), groups);
}

#[test]
fn absent_entries_are_written_beside_their_list() {
    let folder = temporary();
    let list = |absent: &[&str]| SplitList {
        name: "test01".to_owned(),
        clips: vec!["a/1".to_owned()],
        absent: absent.iter().map(|id| (*id).to_owned()).collect(),
    };
    let path = folder.path().join("splits/test01.absent");
    write(folder.path(), &[list(&["a/2", "a/3"])], &BTreeMap::new()).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "a/2\na/3\n");
    write(folder.path(), &[list(&[])], &BTreeMap::new()).unwrap();
    assert!(!path.exists());
}
