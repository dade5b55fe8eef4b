//! A folder of films and a weight file, as a user with own videos has them.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use gru_rcn_tests::films;

use crate::harness::{Call, FinishedRun, clips_below, shared, write_squeezenet};

pub(crate) struct Clips {
    /// The folder with a folder per class.
    pub(crate) root: PathBuf,
    /// All clips, files and one folder of frames.
    pub(crate) paths: Vec<PathBuf>,
    pub(crate) weights: PathBuf,
}

/// The films that all tests share; tests read them and never change them.
pub(crate) fn clips() -> &'static Clips {
    static CLIPS: OnceLock<Clips> = OnceLock::new();
    CLIPS.get_or_init(|| {
        let folder = shared("clips");
        let (root, weights) = (folder.join("films"), folder.join("squeezenet.safetensors"));
        let paths = films::draw_classes(&root);
        write_squeezenet(&weights);
        Clips { root, paths, weights }
    })
}

/// `train folder` on these clips, with frames so small that it takes a second.
pub(crate) fn train(folder: &Path, data: &Path) -> Call {
    let changes = [
        "clip.temporal.spread.frames=4",
        "clip.frame_size=[36, 48]",
        "clip.input_size=[32, 40]",
        "features.copies=1",
        "model.hidden=[4, 4]",
        "training.epochs=2",
        "baselines.top_rnn=4",
    ];
    let call = Call::new(folder, ["train", "folder", "--data"]).args([data]).set(changes);
    call.args(["--weights".as_ref(), clips().weights.as_os_str()])
}

/// The run on these films that all tests share.
pub(crate) fn reference() -> &'static FinishedRun {
    static RUN: OnceLock<FinishedRun> = OnceLock::new();
    RUN.get_or_init(|| FinishedRun::of("folder-run", |folder| train(folder, &clips().root)))
}

/// A data set of its own for a test that changes it: the first `count` clips of each class.
pub(crate) fn some(folder: &Path, count: usize) -> PathBuf {
    let root = folder.join("films");
    for path in &clips().paths {
        let clip = path.file_name().expect("a name").to_string_lossy().into_owned();
        let number = clip.strip_prefix("clip-").and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
        if path.is_dir() || number.expect("a number") >= count {
            continue;
        }
        let class = root.join(path.parent().and_then(Path::file_name).expect("a class"));
        std::fs::create_dir_all(&class).expect("a folder");
        std::fs::copy(path, class.join(clip)).expect("a copy");
    }
    root
}

/// Writes lists by which the clips with the number 2 are for validation, those with 3 for testing,
/// and all others for training; returns the changes of the recipe that name them.
pub(crate) fn lists(root: &Path) -> [&'static str; 2] {
    let ids = clips_below(root).into_iter().map(|path| path.strip_prefix(root).unwrap().display().to_string());
    let ids: Vec<String> = ids.collect();
    for (file, number) in [("val.txt", "clip-2"), ("test.txt", "clip-3")] {
        let part: Vec<&str> = ids.iter().map(String::as_str).filter(|id| id.contains(number)).collect();
        std::fs::write(root.join(file), part.join("\n")).expect("a list");
    }
    ["data.folder.validation_list=val.txt", "data.folder.test_list=test.txt"]
}

/// The clip of a class with this number.
pub(crate) fn numbered(root: &Path, class: &str, number: usize) -> PathBuf {
    let stem = format!("clip-{number}");
    let mut clips = clips_below(root).into_iter().filter(|path| path.parent() == Some(&root.join(class)));
    clips.find(|path| path.file_stem().is_some_and(|name| name == stem.as_str())).expect("the clip")
}
