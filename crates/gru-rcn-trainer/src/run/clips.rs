//! `clips.json`: which clips a run was trained, validated and tested on.

use std::collections::HashSet;

use anyhow::Result;
use gru_rcn_data::{Dataset, Sample, without_extension};
use serde::{Deserialize, Serialize};

use super::dir::{RunDir, read_json, write_json};

/// The ids of the clips of every part.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct RunClips {
    train: Vec<String>,
    validation: Vec<String>,
    test: Vec<String>,
}

impl RunClips {
    pub(crate) fn of(dataset: &Dataset) -> Self {
        let ids = |part: &[Sample]| part.iter().map(|sample| sample.id.clone()).collect();
        Self { train: ids(&dataset.train), validation: ids(&dataset.validation), test: ids(&dataset.test) }
    }

    /// The clips of a run; nothing if an earlier version trained it.
    pub(crate) fn read(dir: &RunDir) -> Result<Option<Self>> {
        read_json(&dir.clips_file())
    }

    pub(crate) fn write(&self, dir: &RunDir) -> Result<()> {
        write_json(&dir.clips_file(), self)
    }

    /// Tells clips that the model has seen in training from others; those are the validation clips
    /// too if it was trained again on all.
    pub(crate) fn seen(&self, refit: bool) -> SeenClips<'_> {
        let (mut seen, mut unseen): (Vec<&String>, Vec<&String>) = (self.train.iter().collect(), Vec::new());
        if refit { &mut seen } else { &mut unseen }.extend(&self.validation);
        unseen.extend(&self.test);
        SeenClips {
            names: seen.iter().map(|id| name(id)).collect(),
            ids: seen.into_iter().map(String::as_str).collect(),
            unseen: unseen.into_iter().map(String::as_str).collect(),
        }
    }
}

/// Clips by their ids, and by what an id is without the folder of its part and the extension of a
/// video: frames that were prepared of a video are the same clip, and so is one in a folder of a
/// part that is given by itself.
pub(crate) struct SeenClips<'a> {
    ids: HashSet<&'a str>,
    names: HashSet<&'a str>,
    unseen: HashSet<&'a str>,
}

impl SeenClips<'_> {
    /// Whether the clip was trained on. An id of the run decides; otherwise a clip with the name of
    /// one that was trained on counts as that clip.
    pub(crate) fn has(&self, id: &str) -> bool {
        self.ids.contains(id) || !self.unseen.contains(id) && self.names.contains(name(id))
    }
}

/// `Class/clip`, the last two parts of an id without the extension of a video.
fn name(id: &str) -> &str {
    let start = id.rmatch_indices('/').nth(1).map_or(0, |(at, _)| at + 1);
    without_extension(&id[start..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clips(parts: [&[&str]; 3]) -> RunClips {
        let [train, validation, test] = parts.map(|part| part.iter().map(ToString::to_string).collect());
        RunClips { train, validation, test }
    }

    #[test]
    fn trained_clips_are_known_by_id_and_by_name() {
        let run = clips([&["train/a/1.avi", "train/b/x.v2"], &["val/a/2.avi"], &["test/a/1.avi"]]);
        let seen = run.seen(false);
        // The folder of training clips given by itself, and frames prepared from a training clip.
        for id in ["train/a/1.avi", "a/1.avi", "a/1", "b/x.v2"] {
            assert!(seen.has(id), "{id}");
        }
        for id in ["test/a/1.avi", "val/a/2.avi", "a/2.avi", "a/3", "b/1.avi", "b/x"] {
            assert!(!seen.has(id), "{id}");
        }
        // With a second training on all clips, validation clips are trained on as well.
        assert!(run.seen(true).has("val/a/2.avi") && run.seen(true).has("a/2"));
    }
}
