//! `report.html`: the results of a run on one page.
//!
//! The page is one file that contains style, figures and frames. It has no scripts, and its
//! security policy forbids it to load anything, so it looks the same in ten years and on a machine
//! without a network. It adapts to a light or dark theme and to the width of a phone.
//!
//! [`render`] is a pure function of [`RunReport`], plain data that is kept as JSON, so that a report can
//! be made again from the files of a run.

mod calibration;
mod captions;
mod comparison;
mod confusion;
mod curves;
mod format;
mod gallery;
mod page;
#[cfg(test)]
mod tests;
mod verdict;

pub(crate) use calibration::Reliability;
pub(crate) use captions::{CaptionReport, CaptionedClip, DescribedVideo, render_attention};
pub(crate) use comparison::{NLL, TRIVIAL_TOP5};
pub(crate) use format::{counted, percent, percent_range};
pub(crate) use gallery::jpeg_base64;
pub(crate) use page::{document, render};
pub(crate) use verdict::Verdict;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::run::card::SystemResult;
use crate::run::dir::{RunDir, read_json, write_atomically, write_json};

/// A bound on losses and counts: no training has larger ones.
const MOST: f64 = 1e12;

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
    /// Where and when the first system found its class in some test clips.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) explained: Vec<ExplainedClip>,
    /// The resolved recipe, as TOML.
    pub(crate) recipe: String,
    /// The conclusion of the test in one sentence; reports of earlier versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) verdict: Option<Verdict>,
    /// What a reader of the results should know about the data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<String>,
    /// How reliable the probabilities of the first system are; `None` if no temperature was fitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reliability: Option<Reliability>,
}

impl RunReport {
    pub(crate) fn read(dir: &RunDir) -> Result<Self> {
        let path = dir.report_data();
        let report: Self =
            read_json(&path)?.with_context(|| format!("{}: no such file; the run is not finished", path.display()))?;
        report.check().with_context(|| format!("{} is damaged", path.display()))?;
        Ok(report)
    }

    /// Checks the numbers that the page is drawn from.
    fn check(&self) -> Result<()> {
        let fraction = |what: &str, value: f64| {
            ensure!((0.0..=1.0).contains(&value), "{what} is {value}, not between 0 and 1");
            Ok(())
        };
        for system in &self.systems {
            let (name, test) = (&system.name, &system.test);
            for (what, value) in [("top1", test.top1), ("top5", test.top5), ("mean_class", test.mean_class)] {
                fraction(&format!("{what} of {name}"), value)?;
            }
            if let Some(means) = &system.mean_of_probabilities {
                fraction(&format!("top1 by the mean of probabilities of {name}"), means.top1)?;
            }
            ensure!((0.0..MOST).contains(&test.nll), "nll of {name} is {:e}", test.nll);
            system
                .levels
                .iter()
                .try_for_each(|(level, accuracy)| fraction(&format!("{level} of {name}"), *accuracy))?;
            for point in &system.curve {
                let epoch = format!("epoch {} of {name}", point.epoch);
                fraction(&format!("train_accuracy in {epoch}"), point.train_accuracy)?;
                fraction(&format!("validation_accuracy in {epoch}"), point.validation_accuracy)?;
                for (what, loss) in [("train_loss", point.train_loss), ("validation_loss", point.validation_loss)] {
                    ensure!((-MOST..MOST).contains(&loss), "{what} in {epoch} is {loss:e}");
                }
            }
            ensure!(system.curve.is_sorted_by_key(|point| point.epoch), "the epochs of {name} are not in order");
            let last = system.curve.last().map_or(0, |point| point.epoch).max(test.clips);
            ensure!((last as f64) < MOST, "{name} has the epoch or number of clips {last}");
            let calibrations = system.calibration.iter().flat_map(|fitted| [&fitted.validation, &fitted.test]);
            let mut errors = calibrations.flat_map(|error| [error.before, error.after]);
            errors.try_for_each(|error| fraction(&format!("a calibration error of {name}"), error))?;
        }
        let mut reliability = self.reliability.iter().flat_map(Reliability::fractions);
        reliability.try_for_each(|value| fraction("a value of reliability", value))?;
        for count in self.confusion.iter().flatten() {
            ensure!((*count as f64) < MOST, "confusion has the count {count}");
        }
        let clips = self.gallery.iter().chain(self.explained.iter().map(|explained| &explained.clip));
        let mut probabilities = clips.flat_map(|clip| clip.top.iter().map(|(_, p)| f64::from(*p)));
        probabilities.try_for_each(|p| fraction("a probability of the gallery", p))
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

/// A test clip with the maps of the class that the system names.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct ExplainedClip {
    pub(crate) clip: GalleryClip,
    pub(crate) levels: Vec<ExplainedLevel>,
}

/// The maps of one level over frames of the clip, JPEG in Base64.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct ExplainedLevel {
    pub(crate) name: String,
    /// The update gates; empty where the level has none.
    pub(crate) gates_jpeg: Vec<String>,
    pub(crate) class_jpeg: Vec<String>,
}

impl GalleryClip {
    /// Whether the most probable class is the true one.
    pub(crate) fn is_right(&self) -> bool {
        self.top.first().is_some_and(|(class, _)| *class == self.truth)
    }
}
