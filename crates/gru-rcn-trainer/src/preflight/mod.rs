//! What is checked before the first step: better said now than after an hour of training.

pub(crate) mod machine;
pub(crate) mod memory;

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use gru_rcn_data::{ClipSource, Dataset, Modality, Sample};

use crate::recipe::Recipe;
use crate::run::card::RunCard;
use crate::run::dir::{RunDir, read_json};

/// Checks that the clips are what the recipe needs.
pub(crate) fn check_clips(recipe: &Recipe, dataset: &Dataset) -> Result<()> {
    for (part, clips) in [("training", &dataset.train), ("validation", &dataset.validation), ("test", &dataset.test)] {
        if clips.is_empty() {
            bail!("{}: there are no {part} clips; give a list of them or more clips", dataset.name);
        }
    }
    if holds_videos(dataset) {
        recipe.decoder().require()?;
    }
    let has_flow = |source: &ClipSource| matches!(source, ClipSource::Prepared(clip) if clip.flow_dir.is_some());
    if recipe.clip.modality == Modality::Flow
        && let Some(sample) = samples(dataset).find(|sample| !has_flow(&sample.source))
    {
        bail!(
            "the clip {} has no optical flow; make a folder of frames and flow with `prepare --flow dis` and give that",
            sample.id
        );
    }
    Ok(())
}

/// Whether any clip is a video file, so that its pixels depend on the decoder.
pub(crate) fn holds_videos(dataset: &Dataset) -> bool {
    samples(dataset).any(|sample| matches!(sample.source, ClipSource::Video(_)))
}

/// All clips of a data set, part after part.
pub(crate) fn samples(dataset: &Dataset) -> impl Iterator<Item = &Sample> {
    dataset.train.iter().chain(&dataset.validation).chain(&dataset.test)
}

/// Digests of the clips' files by the clips' names. Generated clips have no files.
pub(crate) fn digests(dataset: &Dataset) -> BTreeMap<String, String> {
    let files = samples(dataset).filter(|sample| !matches!(sample.source, ClipSource::Motion(_)));
    // What cannot be looked at cannot be read either; that names the fault.
    files
        .map(|sample| {
            (sample.id.clone(), sample.content().map_or_else(|_| "unreadable".into(), |content| content.digest))
        })
        .collect()
}

/// Checks that a resumed run is given the clips that it was started with. In a data set that was
/// `moved` every clip must be the same; a clip that was changed in place, as one that was broken, is
/// a warning, which is returned.
pub(crate) fn check_same_data(
    resumed: Option<&RunDir>,
    card: &RunCard,
    digests: &BTreeMap<String, String>,
    moved: bool,
) -> Result<Option<String>> {
    let Some(dir) = resumed else { return Ok(None) };
    let Some(before) = dir.read_card()? else { return Ok(None) };
    let digests_before: BTreeMap<String, String> = read_json(&dir.clip_digests())?.unwrap_or_default();
    if before.classes != card.classes {
        bail!("{dir} was made for other classes: {}", before.classes.join(", "));
    }
    if before.data.fingerprint != card.data.fingerprint {
        let new = || digests.keys().find(|id| !digests_before.contains_key(*id)).map(|id| format!("; {id} is new"));
        let first = match digests_before.keys().find(|id| !digests.contains_key(*id)) {
            Some(gone) => format!("; {gone} is not there now"),
            None if digests_before.is_empty() => String::new(),
            None => new().unwrap_or_default(),
        };
        bail!(
            "{dir} was started on other clips ({} then, {} now{first}); a run cannot change its data half-way",
            before.data.fingerprint,
            card.data.fingerprint
        );
    }
    if digests_before.is_empty() {
        let unknown = moved.then(|| {
            format!(
                "warning: {dir} was started by an earlier version, which did not record the content of its clips; only \
                 their names are compared"
            )
        });
        return Ok(unknown);
    }
    let changed: Vec<&String> =
        digests_before.iter().filter(|&(id, digest)| digests.get(id) != Some(digest)).map(|(id, _)| id).collect();
    let Some(first) = changed.first() else { return Ok(None) };
    let (clips, were) = (changed.len(), if changed.len() == 1 { "clip is" } else { "clips are" });
    if moved {
        bail!(
            "{clips} {were} not what {dir} was started on, the first {first}: --data with --resume names the same files in \
             another place; copy them again, or train anew in another folder"
        );
    }
    Ok(Some(format!("warning: {clips} {were} not as they were when the run was started, the first {first}")))
}
