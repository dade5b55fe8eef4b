//! The verbs of the program `gru-rcn`: build it with the requested backend, and run it.

use std::ffi::OsString;

use anyhow::Result;

use crate::backend::Build;
use crate::cargo::{cargo, replace_process};
use crate::offline;

pub(crate) const VERBS: [(&str, &str); 20] = [
    ("train", "train the systems of a recipe"),
    ("evaluate", "score a finished run on a split"),
    ("predict", "name the class of video files or frame folders"),
    ("watch", "say what happens when in a long video, a pipe of frames or a camera"),
    ("explain", "show where and when in a video a system finds its class"),
    ("caption", "describe video files or frame folders in sentences"),
    ("report", "write the report of a run again"),
    ("fuse", "average the scores of several runs"),
    ("table1", "train and test every row of the paper's first table"),
    ("table2", "train and test the authors' rows of the paper's second table"),
    ("score-captions", "score captions as coco-caption does"),
    ("search", "train captioners of sizes drawn at random"),
    ("features", "write percepts or encodings as safetensors"),
    ("prepare", "turn videos into frames and optical flow"),
    ("merge", "join the manifests of shards"),
    ("verify", "check a folder of frames and flow"),
    ("flow", "compute the flow between two images"),
    ("doctor", "show what works on this machine; tests the backends"),
    ("compare-backends", "train the same recipe on cpu and wgpu, or on those of --backends and --serve"),
    ("serve", "let other processes compute on this machine"),
];

/// Becomes `cargo run`, which builds the program and becomes it. The current folder stays the same,
/// since the arguments may hold relative paths.
pub(crate) fn run(verb: &str, arguments: Vec<OsString>) -> Result<()> {
    let build = Build::parse(verb, arguments)?;
    let mut command = cargo();
    command.args(["run", "--release"]);
    if build.nvrtc {
        command.arg("--manifest-path").arg(offline::workspace()?.join("Cargo.toml")).args(offline::patch()?);
    }
    command.args(["--package", "gru-rcn-trainer", "--bin", "gru-rcn"]);
    if !build.features.is_empty() {
        command.args(["--features", &build.features.join(",")]);
    }
    replace_process(command.arg("--").arg(verb).args(build.arguments))
}
