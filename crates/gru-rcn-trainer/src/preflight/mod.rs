//! What is checked before the first step: better said now than after an hour of training.

pub(crate) mod machine;
pub(crate) mod memory;

use anyhow::{Result, bail};
use gru_rcn_data::{ClipSource, Dataset, Modality, Sample};

use crate::recipe::Recipe;
use crate::run::card::RunCard;
use crate::run::dir::RunDir;

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

fn samples(dataset: &Dataset) -> impl Iterator<Item = &Sample> {
    dataset.train.iter().chain(&dataset.validation).chain(&dataset.test)
}

/// Checks that a resumed run is given the clips that it was started with.
pub(crate) fn check_same_data(resumed: Option<&RunDir>, card: &RunCard) -> Result<()> {
    let Some(dir) = resumed else { return Ok(()) };
    let Some(before) = dir.read_card()? else { return Ok(()) };
    if before.classes != card.classes {
        bail!("{dir} was made for other classes: {}", before.classes.join(", "));
    }
    if before.data.fingerprint != card.data.fingerprint {
        bail!(
            "{dir} was started on other clips ({} then, {} now); a run cannot change its data half-way",
            before.data.fingerprint,
            card.data.fingerprint
        );
    }
    Ok(())
}
