//! Checks before the first step: a fault that is found here does not cost an hour of training.

pub(crate) mod machine;
pub(crate) mod memory;

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use gru_rcn_data::{ClipSource, DataError, Dataset, Ffmpeg, LoaderConfig, Modality, Sample, Split, ordered};

use crate::observe::Pace;
use crate::output::note;
use crate::percepts::ClipLoader;
use crate::recipe::Recipe;
use crate::run::card::RunCard;
use crate::run::dir::{RunDir, read_json};
use crate::signals::StopFlag;

/// Unreadable clips that an error lists one by one.
const LISTED: usize = 10;

/// Clips that one run of FFmpeg looks at.
const PROBED_TOGETHER: usize = 32;

/// Checks that the clips are what the recipe needs.
pub(crate) fn check_clips(recipe: &Recipe, dataset: &Dataset) -> Result<()> {
    for (part, clips) in [("training", &dataset.train), ("validation", &dataset.validation), ("test", &dataset.test)] {
        if clips.is_empty() {
            bail!("{}: there are no {part} clips; give a list of them or more clips", dataset.name);
        }
    }
    recipe.check_classes(&dataset.classes)?;
    if holds_videos(dataset) {
        Ffmpeg::locate()?;
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

/// Notes on the data for readers of the results: how the parts came about, and classes without a clip in a
/// part.
pub(crate) fn notes(dataset: &Dataset) -> Vec<String> {
    let mut notes = dataset.notes.clone();
    for split in [Split::Validation, Split::Test] {
        let has = |class: usize| dataset.split(split).iter().any(|sample| sample.class == class);
        let without: Vec<&str> =
            (0..dataset.classes.len()).filter(|&class| !has(class)).map(|class| &*dataset.classes[class]).collect();
        if let Some(first) = without.first() {
            let all = dataset.classes.len();
            notes.push(format!("{} of {all} classes have no {split} clip, the first `{first}`", without.len()));
        }
    }
    notes
}

/// Opens every clip of every part and looks at its first frame, several clips at a time, so that one that
/// cannot be read is found now and not after hours of training.
///
/// Training clips may be unreadable as far as the recipe allows. In a run that is `resumed`, so may
/// test clips: its results are written without them.
pub(crate) fn probe_clips(
    recipe: &Recipe,
    dataset: &Dataset,
    loader: &ClipLoader,
    resumed: bool,
    stop: &StopFlag,
) -> Result<()> {
    let faults = faults(recipe, dataset, loader, || {
        if stop.is_set() {
            let stopped = stop.interrupted();
            bail!(if resumed { stopped } else { stopped.advising("nothing was begun; run the command again") });
        }
        Ok(())
    })?;
    let stages = [recipe.backbone.pretrain.as_ref(), recipe.backbone.finetune.as_ref().map(|f| &f.training)];
    let stages = stages.into_iter().flatten().chain([&recipe.training]);
    let fraction = stages.map(|training| training.max_bad_fraction).fold(1.0, f64::min);
    let bad = faults.iter().filter(|(split, _)| *split == Split::Train).count();
    let allowed = |split: Split| match split {
        Split::Train => bad as f64 <= fraction * dataset.train.len() as f64,
        Split::Validation => false,
        Split::Test => resumed,
    };
    let (tolerated, fatal): (Vec<_>, Vec<_>) = faults.into_iter().partition(|(split, _)| allowed(*split));
    if let Some((_, first)) = tolerated.first() {
        note!("warning: {} clips cannot be read and are skipped, the first {first}", tolerated.len());
    }
    if fatal.is_empty() {
        return Ok(());
    }
    let lines: String = fatal.iter().take(LISTED).map(|(_, fault)| format!("\n  {fault}")).collect();
    let more = fatal.len().saturating_sub(LISTED);
    let mut more = if more > 0 { format!("\n  and {more} more") } else { String::new() };
    if !allowed(Split::Train) {
        let all = dataset.train.len();
        more += &format!("\n{bad} of {all} training clips are more than training.max_bad_fraction = {fraction} allows");
    }
    let remedy = match resumed {
        true => "put whole files in their places, under the same names: a run cannot change its clips half-way",
        false => {
            "make them whole, remove them, or name them in the list `quarantine.jsonl` of the folder, so that they are \
             skipped"
        }
    };
    bail!("{} clips cannot be read:{lines}{more}\n{remedy}", fatal.len())
}

/// The clips that cannot be read: the part of each, and what is wrong with it. `go_on` is called now and then;
/// its error ends the search.
fn faults(
    recipe: &Recipe,
    dataset: &Dataset,
    loader: &ClipLoader,
    go_on: impl Fn() -> Result<()>,
) -> Result<Vec<(Split, String)>> {
    let parts = Split::ALL;
    let clips = parts.into_iter().flat_map(|split| dataset.split(split).iter().map(move |clip| (split, clip.clone())));
    let clips: Vec<(Split, Sample)> = clips.filter(|(_, clip)| !matches!(clip.source, ClipSource::Motion(_))).collect();
    let (reader, planner) = (loader.reader.clone(), recipe.clip.clone());
    let probe = move |sources: &Vec<ClipSource>| {
        let results = reader.probe_all(&sources.iter().collect::<Vec<_>>(), &planner);
        let again = |(result, source): (Result<(), _>, _)| result.or_else(|_| reader.probe(source, &planner));
        Ok(results.into_iter().zip(sources).map(again).collect::<Vec<_>>())
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let together = clips.chunks(PROBED_TOGETHER);
    let sources = together.clone().map(|part| part.iter().map(|(_, clip)| clip.source.clone()).collect()).collect();
    let looked_at = ordered(sources, |_| 0, LoaderConfig { workers, max_bytes: usize::MAX }, probe);
    let (mut faults, mut pace, mut done) = (Vec::new(), Pace::new(clips.len()), 0);
    for (results, part) in looked_at.zip(together) {
        for (result, (split, clip)) in results?.into_iter().zip(part) {
            match result {
                Err(error @ DataError::FfmpegMissing { .. }) => bail!(error),
                Err(error) => faults.push((*split, format!("{split} clip {}: {error}", clip.id))),
                Ok(()) => {}
            }
        }
        done += part.len();
        if let Some(line) = pace.line(done, "clips are looked at before the first step") {
            note!("{line}");
        }
        go_on()?;
    }
    Ok(faults)
}

/// Whether any clip is a video file, which takes FFmpeg to read.
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
    // Reading a clip without a digest fails too, and names the fault.
    files.map(|sample| (sample.id.clone(), sample.digest().unwrap_or_else(|_| "unreadable".into()))).collect()
}

/// Checks that a resumed run is given the clips that it was started with. In a data set that was
/// `moved` every clip must be the same; a clip that was changed in place, as one that was broken, is
/// a warning, which is returned.
pub(crate) fn check_same_data(
    dir: &RunDir,
    before: &RunCard,
    card: &RunCard,
    digests: &BTreeMap<String, String>,
    moved: bool,
) -> Result<Option<String>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_without_clips_in_a_part_are_noted() {
        let clip = |class: usize| Sample {
            id: class.to_string(),
            class,
            appearance: None,
            source: ClipSource::Video("x.avi".into()),
        };
        let mut dataset = Dataset {
            classes: ["clap", "run", "wave"].map(str::to_owned).to_vec(),
            validation: (0..3).map(clip).collect(),
            test: vec![clip(1)],
            notes: vec!["a note".into()],
            ..Dataset::default()
        };
        assert_eq!(notes(&dataset), ["a note", "2 of 3 classes have no test clip, the first `clap`"]);
        dataset.test.extend([clip(0), clip(2)]);
        dataset.validation.pop();
        assert_eq!(notes(&dataset)[1..], ["1 of 3 classes have no validation clip, the first `wave`"]);
    }
}
