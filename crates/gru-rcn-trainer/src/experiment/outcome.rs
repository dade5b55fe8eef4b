//! The results of a run: its card, scores, report, and the table on standard output.

use anyhow::Result;
use gru_rcn::backbone::{Backbone, Cnn};
use gru_rcn::baselines::Baseline;
use gru_rcn_data::{Dataset, Frames};
use gru_rcn_flow::{Flow, FlowCoding, colour};
use image::RgbImage;

use super::data::Clips;
use super::plan::Plan;
use super::system::{System, TrainedModel, TrainedSystem};
use super::test::TestedSystem;
use super::{backbone, cnn};
use crate::context::Context;
use crate::explain::{LevelMaps, explain};
use crate::output::say;
use crate::percepts::FrozenCnn;
use crate::preflight;
use crate::recipe::{Recipe, to_toml};
use crate::report::{ExplainedClip, ExplainedLevel, GalleryClip, Reliability, RunReport, Verdict, jpeg_base64};
use crate::run::card::{DataCard, RunCard, SystemResult};
use crate::run::dir::RunDir;
use crate::run::scores::{ScoreLabels, top_classes};

/// Clips shown in the report, wrong ones first among them.
const GALLERY: usize = 16;

/// Frames shown of each clip.
const STRIP: usize = 8;

/// The card of a new run.
pub(super) fn new_card(plan: &Plan<Recipe>, dataset: &Dataset) -> Result<RunCard> {
    let recipe = &plan.recipe;
    let weights = cnn::weights_file(plan.folder.resumed(), recipe);
    let weights = weights.as_deref();
    // What is wrong with the recipe comes before what is wrong with the file.
    backbone::config(recipe, dataset.classes.len())?;
    // A fine-tuned CNN starts from its recipe's file, whatever an earlier session has made of it.
    let origin = if recipe.backbone.finetune.is_some() { recipe.backbone.weights.as_deref() } else { weights };
    let origin = origin.filter(|file| recipe.uses_cnn() && file.is_file());
    let mut notes = preflight::notes(dataset);
    notes.extend(origin.and_then(|file| backbone::note_on_labels(dataset, file)));
    let data = DataCard::new(dataset, dataset.fingerprint());
    Ok(RunCard {
        classes: dataset.classes.clone(),
        cnn_classes: backbone::classes(recipe, dataset, weights)?,
        cnn_is_system: backbone::classifies_clips(recipe, dataset, weights),
        notes,
        ..RunCard::new(&recipe.name, recipe.seed, &plan.options.device_names, plan.options.precision.name(), data)
    })
}

/// Lines that describe what is trained.
pub(super) fn lines(recipe: &Recipe, card: &RunCard) -> Vec<String> {
    let mut lines = vec![format!("{} of {} classes", card.data.line(), card.classes.len())];
    let mut relation = "system";
    if recipe.model.train {
        lines.push(format!(
            "{} takes in percepts, the maps that the CNN makes of single frames, at the levels {}: a level is a depth of \
             the CNN, and each has a classifier of its own",
            System::GruRcn.name(recipe),
            recipe.level_names().join(", ")
        ));
        relation = "it is compared with";
    }
    if card.cnn_is_system {
        let name = System::Cnn.name(recipe);
        lines.push(format!("{relation}: {name}, the CNN's own classifier, its logits averaged over frames and views"));
    }
    let baselines = recipe.baselines.systems().into_iter();
    lines.extend(baselines.map(|baseline| format!("{relation}: {}, {}", baseline.name(), baseline.about())));
    lines
}

/// Whether nothing is left to compute of a resumed run. One whose test clips could not all be read is
/// tested again.
pub(super) fn finished(dir: &RunDir, card: &RunCard, recipe: &Recipe) -> Result<bool> {
    let systems = System::of_run(recipe, card);
    let mut files = vec![dir.report(), dir.report_data()];
    files.extend(recipe.uses_cnn().then(|| dir.backbone()));
    files.extend(systems.iter().flat_map(|system| [system.weights(dir), dir.scores_of(&system.key(), "test")]));
    if recipe.model.finetune_backbone {
        files.push(dir.joint_backbone());
    }
    let mut finished = card.systems.len() == systems.len() && card.failed_test_clips.is_empty();
    finished = finished && files.iter().all(|file| file.is_file());
    for system in systems.iter().filter(|system| system.is_trained()) {
        finished = finished && dir.done(&system.key())?.is_some();
    }
    Ok(finished)
}

/// Writes scores, card and report of a run whose systems are tested; returns the card.
pub(super) fn write(
    context: &Context,
    clips: &Clips,
    mut card: RunCard,
    tested: &[TestedSystem],
    trained: &[TrainedSystem],
    cnn: &Cnn,
) -> Result<RunCard> {
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
    card.failed_test_clips = clips.failed();
    if let Some(first) = card.failed_test_clips.first() {
        let failed = format!("{} of {} test clips", card.failed_test_clips.len(), card.data.test);
        let note = format!("{failed} could not be read and are in no result, the first {first}; see quarantine.jsonl");
        context.message(format!("warning: {note}"));
        card.notes.push(note);
        dir.note_loss(format!("the scores of {failed}, which could not be read"));
    }
    card.systems = tested.iter().map(|tested| result(dir, tested)).collect();
    dir.write_card(&card)?;
    let views = context.recipe.views().to_string();
    for tested in tested {
        let ids: Vec<String> = tested.clips.iter().map(|&clip| clips.dataset.test[clip].id.clone()).collect();
        let part = format!("{} test clips of {}", ids.len(), card.data.name);
        let labels = ScoreLabels { ids: &ids, classes: &card.classes, views: &views, part: &part };
        tested.scores.save(&dir.scores_of(&tested.result.key, "test"), &labels)?;
    }
    let main = &tested[0];
    // Comparable on the same clips only.
    let is_frame = |tested: &&TestedSystem| tested.system == System::Baseline(Baseline::Frame);
    let frames = tested.iter().filter(is_frame).find(|frames| frames.clips == main.clips);
    let report = RunReport {
        title: format!("{} on {}", main.result.name, card.data.name),
        subtitle: context.recipe.about.clone(),
        run_card: card.entries(),
        classes: card.classes.clone(),
        systems: card.systems.clone(),
        confusion: main.scores.predictions()?.confusion().rows().to_vec(),
        gallery: gallery(context, clips, main)?,
        explained: explained(context, clips, main, trained, cnn)?,
        verdict: Some(Verdict::new(&main.scores, frames.map(|frames| &frames.scores))?),
        notes: card.notes.clone(),
        recipe: to_toml(&context.recipe)?,
        reliability: match &main.result.calibration {
            Some(calibration) => Some(Reliability::of(&main.scores.predictions()?, calibration)),
            None => None,
        },
    };
    report.write(dir)?;
    Ok(card)
}

/// The result of a system, with the file of its scores.
fn result(dir: &RunDir, tested: &TestedSystem) -> SystemResult {
    let path = dir.scores_of(&tested.result.key, "test");
    let path = path.strip_prefix(dir.root()).unwrap_or(&path);
    SystemResult { scores: Some(path.to_string_lossy().into_owned()), ..tested.result.clone() }
}

/// Some test clips, up to half of them wrong ones, the rest one of each class in turn.
fn gallery(context: &Context, clips: &Clips, main: &TestedSystem) -> Result<Vec<GalleryClip>> {
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
    let show =
        |row: usize| read(context, clips, main, row, "show").map(|frames| gallery_clip(clips, main, row, &frames));
    chosen.into_iter().filter_map(show).collect()
}

/// The frames of a test clip for the report. If they cannot be read any more, a warning says what the report
/// does not do: `show` or `explain` the clip.
fn read(context: &Context, clips: &Clips, main: &TestedSystem, row: usize, verb: &str) -> Option<Frames> {
    let sample = &clips.dataset.test[main.clips[row]];
    let frames = clips.loader.read_one(sample, None);
    frames
        .inspect_err(|error| context.message(format!("warning: the report does not {verb} {}: {error}", sample.id)))
        .ok()
}

fn gallery_clip(clips: &Clips, main: &TestedSystem, row: usize, frames: &Frames) -> Result<GalleryClip> {
    let (sample, all) = (&clips.dataset.test[main.clips[row]], &clips.dataset.classes);
    let probabilities = &main.scores.probabilities[row * main.scores.classes..][..main.scores.classes];
    Ok(GalleryClip {
        id: sample.id.clone(),
        truth: all[sample.class].clone(),
        top: top_classes(probabilities, all, 3).map(|(class, p)| (class.to_owned(), p)).collect(),
        frames_jpeg: strip(frames)?,
    })
}

/// The right and the wrong test clip of which the system is most certain, with its maps of the class
/// that it names; nothing from a system without maps.
fn explained(
    context: &Context,
    clips: &Clips,
    main: &TestedSystem,
    trained: &[TrainedSystem],
    cnn: &Cnn,
) -> Result<Vec<ExplainedClip>> {
    let of_main = trained.iter().find(|trained| trained.system == main.system);
    let Some(TrainedModel::Percepts { model, cnn: own }) = of_main.map(|trained| &trained.model) else {
        return Ok(Vec::new());
    };
    let cnn = own.as_deref().unwrap_or(cnn);
    let (guesses, targets) = (main.scores.predictions()?.predicted(), &main.scores.targets);
    let certainty = |row: usize| main.scores.probabilities[row * main.scores.classes + guesses[row]];
    let most_certain = |right: bool| {
        let rows = (0..guesses.len()).filter(|&row| (guesses[row] == targets[row]) == right);
        rows.max_by(|&a, &b| certainty(a).total_cmp(&certainty(b)))
    };
    let mut explained = Vec::new();
    for row in [true, false].into_iter().filter_map(most_certain) {
        let Some(frames) = read(context, clips, main, row, "explain") else { continue };
        let clip = std::slice::from_ref(&frames);
        let percepts = FrozenCnn::new(cnn).percepts(clip, &context.device, clips.loader.dtype);
        let maps = explain(&**model, &cnn.levels(), percepts, guesses[row])?;
        let shown = maps.iter().filter(|level| level.has_places());
        let levels = shown.map(|level| explained_level(level, &frames)).collect::<Result<Vec<_>>>()?;
        if !levels.is_empty() {
            explained.push(ExplainedClip { clip: gallery_clip(clips, main, row, &frames)?, levels });
        }
    }
    Ok(explained)
}

fn explained_level(maps: &LevelMaps, frames: &Frames) -> Result<ExplainedLevel> {
    let strip = |draw: &dyn Fn(&RgbImage, usize) -> Option<RgbImage>| -> Result<Vec<String>> {
        let pictures = strip_of(frames).filter_map(|t| {
            let frame = RgbImage::from_raw(frames.width as u32, frames.height as u32, picture(frames, t))?;
            draw(&frame, t)
        });
        pictures.map(|picture| jpeg_base64(&picture, frames.height, frames.width)).collect()
    };
    Ok(ExplainedLevel {
        name: maps.level.clone(),
        gates_jpeg: strip(&|frame, t| maps.over_gates(frame, t))?,
        class_jpeg: strip(&|frame, t| Some(maps.over_class(frame, t)))?,
    })
}

/// Up to [`STRIP`] steps spread over a clip, its first and last among them.
fn strip_of(frames: &Frames) -> impl Iterator<Item = usize> + use<> {
    let (time, shown) = (frames.time, frames.time.min(STRIP));
    (0..shown).map(move |n| if shown > 1 { n * (time - 1) / (shown - 1) } else { 0 })
}

fn strip(frames: &Frames) -> Result<Vec<String>> {
    strip_of(frames).map(|t| jpeg_base64(&picture(frames, t), frames.height, frames.width)).collect()
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

pub(crate) fn print(dir: &RunDir, card: &RunCard, verdict: Option<&Verdict>) -> Result<()> {
    say!()?;
    if let Some(verdict) = verdict {
        say!("{}", verdict.sentence)?;
    }
    for note in &card.notes {
        say!("note: {note}")?;
    }
    let clips = card.systems.first().map_or(card.data.test, |system| system.test.clips);
    say!("{clips} test clips of {} classes, top-1 accuracy", card.classes.len())?;
    for system in &card.systems {
        let test = &system.test;
        say!("  {:<24} {}", system.name, test.top1_line())?;
        if let Some(means) = &system.mean_of_probabilities {
            say!("    mean of probabilities {:5.1} %", 100.0 * means.top1)?;
        }
        for (level, accuracy) in &system.levels {
            say!("    level {level:<16}{:6.1} %", 100.0 * accuracy)?;
        }
    }
    say!()?;
    // A run of baselines alone has no model of its own.
    if dir.model().is_file() {
        say!("model   {}", dir.model().display())?;
    }
    say!("report  {}", dir.report().display())
}
