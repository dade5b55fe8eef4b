//! What a run leaves behind: its card, scores, report, and the table on standard output.

use std::path::Path;

use anyhow::Result;
use gru_rcn_data::{Dataset, Frames};
use gru_rcn_flow::{Flow, FlowCoding, colour};

use super::backbone;
use super::data::Clips;
use super::test::TestedSystem;
use crate::context::Context;
use crate::device::precision::Precision;
use crate::preflight::memory::Memory;
use crate::recipe::{Recipe, to_toml};
use crate::report::{GalleryClip, RunReport, jpeg_base64};
use crate::run::card::{BURN, DataCard, RunCard, VERSION};
use crate::run::dir::RunDir;
use crate::run::scores::top_classes;

/// Clips shown in the report, wrong ones first among them.
const GALLERY: usize = 16;

/// Frames shown of each.
const STRIP: usize = 8;

/// The card of a run that is to begin on these devices, whose CNN is read from `weights` if it is not
/// trained.
pub(super) fn new_card(
    recipe: &Recipe,
    dataset: &Dataset,
    weights: Option<&Path>,
    devices: &str,
    precision: Precision,
) -> Result<RunCard> {
    // What is wrong with the recipe comes before what is wrong with the file.
    backbone::config(recipe, dataset.classes.len())?;
    Ok(RunCard {
        version: VERSION,
        program: env!("CARGO_PKG_VERSION").into(),
        burn: BURN.into(),
        recipe: recipe.name.clone(),
        seed: recipe.seed,
        backend: devices.into(),
        dtype: precision.name(),
        earlier_devices: Vec::new(),
        data: DataCard {
            name: dataset.name.clone(),
            fingerprint: dataset.fingerprint(),
            train: dataset.train.len(),
            validation: dataset.validation.len(),
            test: dataset.test.len(),
        },
        classes: dataset.classes.clone(),
        cnn_classes: backbone::classes(recipe, dataset, weights)?,
        seconds: Vec::new(),
        bad_clips: Vec::new(),
        systems: Vec::new(),
    })
}

pub(super) fn announce(context: &Context, dataset: &Dataset, card: &RunCard, memory: &Memory) {
    context.message(format!(
        "{}: {} training, {} validation and {} test clips of {} classes; run folder {}",
        dataset.name,
        card.data.train,
        card.data.validation,
        card.data.test,
        card.classes.len(),
        context.dir
    ));
    if let Some(first) = dataset.skipped.first() {
        let clips = dataset.skipped.len();
        context.message(format!("{clips} clips are in quarantine and skipped, {first} the first of them"));
    }
    if let Some(before) = card.earlier_devices.last() {
        context.message(format!(
            "the run was on {before} before, and is on {} now; the run card names both",
            card.devices()
        ));
    }
    if let Some(line) = memory.line() {
        context.message(line);
    }
}

/// Writes scores, card and report of a run whose systems are tested; returns the card.
pub(super) fn write(context: &Context, clips: &Clips, mut card: RunCard, tested: &[TestedSystem]) -> Result<RunCard> {
    let dir = &context.dir;
    dir.check_there()?;
    card.seconds = context.clock.take();
    card.bad_clips = clips.skipped();
    if let Some(first) = card.bad_clips.first() {
        context.message(format!(
            "{} of {} training clips could not be read and were skipped, {first} the first of them; see {}",
            card.bad_clips.len(),
            card.data.train,
            dir.quarantine().display()
        ));
    }
    card.systems = tested.iter().map(|tested| tested.result.clone()).collect();
    dir.write_card(&card)?;
    let ids: Vec<String> = clips.dataset.test.iter().map(|sample| sample.id.clone()).collect();
    for tested in tested {
        tested.scores.save(&tested.system.scores(dir), &ids, &card.classes)?;
    }
    let main = &tested[0];
    let report = RunReport {
        title: format!("{} on {}", main.result.name, card.data.name),
        subtitle: context.recipe.about.clone(),
        run_card: card.entries(),
        classes: card.classes.clone(),
        systems: card.systems.clone(),
        confusion: main.scores.predictions()?.confusion().rows().to_vec(),
        gallery: gallery(clips, main)?,
        recipe: to_toml(&context.recipe)?,
    };
    report.write(dir)?;
    Ok(card)
}

/// Some test clips, up to half of them wrong ones, the rest one of each class in turn.
fn gallery(clips: &Clips, main: &TestedSystem) -> Result<Vec<GalleryClip>> {
    let predictions = main.scores.predictions()?;
    let guesses = predictions.predicted();
    let (right, wrong): (Vec<usize>, Vec<usize>) =
        (0..guesses.len()).partition(|&clip| guesses[clip] == main.scores.targets[clip]);
    let mut chosen: Vec<usize> = wrong.into_iter().take(GALLERY / 2).collect();
    let classes = clips.dataset.classes.len();
    let mut by_class: Vec<Vec<usize>> = vec![Vec::new(); classes];
    for clip in right {
        by_class[main.scores.targets[clip]].push(clip);
    }
    let longest = by_class.iter().map(Vec::len).max().unwrap_or(0);
    let in_turn = (0..longest).flat_map(|n| by_class.iter().filter_map(move |clips| clips.get(n).copied()));
    chosen.extend(in_turn.take(GALLERY - chosen.len()));
    chosen.into_iter().map(|clip| gallery_clip(clips, main, clip)).collect()
}

fn gallery_clip(clips: &Clips, main: &TestedSystem, clip: usize) -> Result<GalleryClip> {
    let sample = &clips.dataset.test[clip];
    let frames = clips.loader.read_one(sample, None)?;
    let (probabilities, classes) = (&main.scores.probabilities, main.scores.classes);
    let row = &probabilities[clip * classes..(clip + 1) * classes];
    Ok(GalleryClip {
        id: sample.id.clone(),
        truth: clips.dataset.classes[sample.class].clone(),
        top: top_classes(row, &clips.dataset.classes, 3).map(|(class, p)| (class.to_owned(), p)).collect(),
        frames_jpeg: strip(&frames)?,
    })
}

/// Up to [`STRIP`] frames spread over a clip, its first and last among them.
fn strip(frames: &Frames) -> Result<Vec<String>> {
    let shown = frames.time.min(STRIP);
    (0..shown)
        .map(|n| {
            let t = if shown > 1 { n * (frames.time - 1) / (shown - 1) } else { 0 };
            jpeg_base64(&picture(frames, t), frames.height, frames.width)
        })
        .collect()
}

/// A frame as RGB; of a stack of flow the first field, in the colours of its directions.
fn picture(frames: &Frames, t: usize) -> Vec<u8> {
    let pixels = frames.frame(t);
    if frames.channels == 3 {
        return pixels.to_vec();
    }
    let coding = FlowCoding::default();
    let component =
        |c: usize| coding.decode(&pixels.iter().skip(c).step_by(frames.channels).copied().collect::<Vec<_>>());
    match Flow::new(frames.width, frames.height, component(0), component(1)) {
        Ok(flow) => colour::draw(&flow, None),
        Err(_) => vec![0; frames.width * frames.height * 3],
    }
}

pub(crate) fn print(dir: &RunDir, card: &RunCard) {
    println!();
    println!("{} test clips of {} classes, top-1 accuracy", card.data.test, card.classes.len());
    for system in &card.systems {
        let test = &system.test;
        println!("  {:<24} {}", system.name, test.top1_line());
        for (level, accuracy) in &system.levels {
            println!("    level {level:<16}{:6.1} %", 100.0 * accuracy);
        }
    }
    println!();
    println!("model   {}", dir.model().display());
    println!("report  {}", dir.report().display());
}
