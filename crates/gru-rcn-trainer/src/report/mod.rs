//! `report.html`: the results of a run on one page.
//!
//! The page is one file that contains style, figures and frames. It has no scripts, and its
//! security policy forbids it to load anything, so it looks the same in ten years and on a machine
//! without a network. It adapts to a light or dark theme and to the width of a phone.
//!
//! [`render`] is a pure function of [`RunReport`], which is plain data that can be written to
//! JSON and read back, so that a report can be made again from the files of a run.

mod comparison;
mod confusion;
mod curves;
mod format;
mod gallery;
mod page;
#[cfg(test)]
mod tests;
mod verdict;

pub(crate) use comparison::{NLL, TRIVIAL_TOP5};
pub(crate) use gallery::jpeg_base64;
pub(crate) use page::render;
pub(crate) use verdict::Verdict;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::run::card::SystemResult;
use crate::run::dir::{RunDir, read_json, write_atomically, write_json};

/// Everything a report shows.
#[derive(Serialize, Deserialize, Clone, Debug, Default)]
pub(crate) struct RunReport {
    pub(crate) title: String,
    /// One or two sentences on the task and the data; may be empty.
    #[serde(default)]
    pub(crate) subtitle: String,
    /// Names and values needed to reproduce the result: versions, seed, device, data.
    pub(crate) run_card: Vec<(String, String)>,
    /// The names of the classes, in the order of the labels.
    pub(crate) classes: Vec<String>,
    /// The compared systems. The report is about the first.
    pub(crate) systems: Vec<SystemResult>,
    /// Counts of test clips of the first system, `confusion[truth][predicted]`.
    pub(crate) confusion: Vec<Vec<usize>>,
    /// Some test clips with the predictions of the first system.
    pub(crate) gallery: Vec<GalleryClip>,
    /// The resolved recipe, as TOML.
    pub(crate) recipe: String,
    /// What the test says in one sentence; reports of earlier versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) verdict: Option<Verdict>,
    /// What a reader of the results should know of the data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<String>,
}

impl RunReport {
    pub(crate) fn read(dir: &RunDir) -> Result<Self> {
        read_json(&dir.report_data())?
            .with_context(|| format!("{}: no such file; the run is not finished", dir.report_data().display()))
    }

    /// Writes the report and the data that it is drawn from.
    pub(crate) fn write(&self, dir: &RunDir) -> Result<()> {
        write_json(&dir.report_data(), self)?;
        write_atomically(&dir.report(), render(self).as_bytes())
    }
}

/// One test clip with the predictions of the system.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct GalleryClip {
    pub(crate) id: String,
    pub(crate) truth: String,
    /// The most probable classes with their probabilities, the most probable first.
    pub(crate) top: Vec<(String, f32)>,
    /// Frames in order, JPEG in Base64, as [`jpeg_base64`] makes them.
    pub(crate) frames_jpeg: Vec<String>,
}

impl GalleryClip {
    /// Whether the most probable class is the true one.
    pub(crate) fn is_right(&self) -> bool {
        self.top.first().is_some_and(|(class, _)| *class == self.truth)
    }
}
