//! A folder of films and a weight file, as a user with own videos has them.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use gru_rcn_tests::films;

use crate::harness::{Call, FinishedRun, clips_below, ids_below, shared, write_squeezenet};

pub(crate) struct Clips {
    /// The folder with a folder per class.
    pub(crate) root: PathBuf,
    /// All clips, files and one folder of frames.
    pub(crate) paths: Vec<PathBuf>,
    pub(crate) weights: PathBuf,
}

impl Clips {
    /// The path of the folder as text.
    pub(crate) fn name(&self) -> &str {
        self.root.to_str().expect("UTF-8")
    }

    /// The path of a film as text.
    pub(crate) fn film(&self) -> &str {
        self.paths[0].to_str().expect("UTF-8")
    }
}

/// The films that all tests share; tests read them and never change them.
pub(crate) fn clips() -> &'static Clips {
    static CLIPS: LazyLock<Clips> = LazyLock::new(|| {
        let folder = shared("clips");
        let (root, weights) = (folder.join("films"), folder.join("squeezenet.safetensors"));
        let paths = films::draw_classes(&root);
        write_squeezenet(&weights);
        Clips { root, paths, weights }
    });
    &CLIPS
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
    Call::new(folder, "train folder --data").arg(data).arg("--weights").arg(&clips().weights).set(changes)
}

/// The run on these films that all tests share.
pub(crate) fn reference() -> &'static FinishedRun {
    static RUN: LazyLock<FinishedRun> =
        LazyLock::new(|| FinishedRun::of("folder-run", |folder| train(folder, &clips().root)));
    &RUN
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

/// The same clips by names that no run knows.
pub(crate) fn others(folder: &Path, count: usize) -> PathBuf {
    let root = some(folder, count);
    for clip in clips_below(&root) {
        let name = clip.file_name().expect("a name").display();
        std::fs::rename(&clip, clip.with_file_name(format!("other-{name}"))).expect("another name");
    }
    root
}

/// Writes a list of the clips whose names have a text in them, for all classes.
pub(crate) fn list(root: &Path, file: &str, text: &str) {
    let ids: Vec<String> = ids_below(root).into_iter().filter(|id| id.contains(text)).collect();
    std::fs::write(root.join(file), ids.join("\n")).expect("a list");
}

/// Writes lists by which the clips with the number 2 are for validation, those with 3 for testing,
/// and all others for training; returns the changes of the recipe that name them.
pub(crate) fn lists(root: &Path) -> [&'static str; 2] {
    list(root, "val.txt", "clip-2");
    list(root, "test.txt", "clip-3");
    ["data.folder.validation_list=val.txt", "data.folder.test_list=test.txt"]
}

/// Draws a clip as a folder of frames.
pub(crate) fn draw(clip: &Path) {
    std::fs::create_dir_all(clip).expect("a folder");
    films::draw(&clip.join("%06d.png"), &films::source("zoom", 9), "png");
}

/// The same with frames that cannot be read but the first, so that the clip breaks in training.
pub(crate) fn draw_torn(clip: &Path) {
    draw(clip);
    for frame in 2..=films::FRAMES {
        std::fs::write(clip.join(format!("{frame:06}.png")), "torn").expect("a frame");
    }
}
