//! The reference numbers of the tests, computed again.
//!
//! Scripts in `tests/peers` write the goldens of one subject each. They need `python3` with `torch`,
//! `torchvision`, `timm`, `safetensors` and `numpy`, and the flow's OpenCV. The tests need none of
//! these, because the goldens are part of the repository.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::cargo::{root, run};

/// The scripts that write goldens; the others in the folder measure or make tables.
const SCRIPTS: [&str; 11] = [
    "adadelta.py",
    "baselines.py",
    "captioner.py",
    "conv_gru.py",
    "efficientnet.py",
    "flow_golden.py",
    "googlenet.py",
    "gru_rcn.py",
    "squeezenet.py",
    "vgg16.py",
    "vgg_small.py",
];

/// Runs the scripts up to the first that fails.
pub(crate) fn goldens() -> Result<()> {
    let root = root()?;
    SCRIPTS
        .iter()
        .try_for_each(|name| run(Command::new("python3").current_dir(&root).arg(Path::new("tests/peers").join(name))))
}
