//! What is left of a training run: scores, report, and the table on standard output.

use anyhow::Result;
use gru_rcn_data::Frames;
use gru_rcn_flow::{Flow, FlowCoding, colour};
use gru_rcn_metrics::{WILSON_95, wilson_interval};
use serde_json::{Map, Value, json};

use super::Run;
use super::stages::Tested;
use crate::recipe::to_toml;
use crate::report::{GalleryClip, RunReport, jpeg_base64};
use crate::run_card::RunCard;
use crate::verbs::{predict::best, report};

/// Clips shown in the report, wrong ones first among them.
const GALLERY: usize = 16;

/// Frames shown of each.
const STRIP: usize = 8;

/// Writes scores and report.
pub(super) fn save(run: &Run, card: &RunCard, tested: &[Tested]) -> Result<()> {
    let ids: Vec<String> = run.dataset.test.iter().map(|sample| sample.id.clone()).collect();
    for system in tested {
        let name = match system.result.key.as_str() {
            "gru_rcn" => "scores-test.safetensors".to_string(),
            key => format!("baselines/scores-test-{key}.safetensors"),
        };
        system.scores.save(&run.dir.path(&name), &ids, &card.classes)?;
    }
    let main = &tested[0];
    let report = RunReport {
        title: format!("{} on {}", main.result.name, card.data.name),
        subtitle: run.recipe.about.clone(),
        run_card: card.entries(),
        classes: card.classes.clone(),
        systems: card.systems.clone(),
        confusion: main.scores.predictions()?.confusion().rows().to_vec(),
        gallery: gallery(run, main)?,
        recipe: to_toml(&run.recipe)?,
    };
    report::write(&run.dir, &report)
}

/// Some test clips, up to half of them wrong ones, the rest one of each class in turn.
fn gallery(run: &Run, main: &Tested) -> Result<Vec<GalleryClip>> {
    let predictions = main.scores.predictions()?;
    let guesses = predictions.predicted();
    let (right, wrong): (Vec<usize>, Vec<usize>) =
        (0..guesses.len()).partition(|&clip| guesses[clip] == main.scores.targets[clip]);
    let mut chosen: Vec<usize> = wrong.into_iter().take(GALLERY / 2).collect();
    let classes = run.dataset.classes.len();
    let mut by_class: Vec<Vec<usize>> = vec![Vec::new(); classes];
    for clip in right {
        by_class[main.scores.targets[clip]].push(clip);
    }
    let longest = by_class.iter().map(Vec::len).max().unwrap_or(0);
    let in_turn = (0..longest).flat_map(|n| by_class.iter().filter_map(move |clips| clips.get(n).copied()));
    chosen.extend(in_turn.take(GALLERY - chosen.len()));
    chosen.into_iter().map(|clip| gallery_clip(run, main, clip)).collect()
}

fn gallery_clip(run: &Run, main: &Tested, clip: usize) -> Result<GalleryClip> {
    let sample = &run.dataset.test[clip];
    let frames = run.reading.evaluated(sample)?;
    let (probabilities, classes) = (&main.scores.probabilities, main.scores.classes);
    let row = &probabilities[clip * classes..(clip + 1) * classes];
    Ok(GalleryClip {
        id: sample.id.clone(),
        truth: run.dataset.classes[sample.class].clone(),
        top: best(row, &run.dataset.classes, 3).into_iter().map(|c| (c.class, c.probability)).collect(),
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

/// A step as RGB: a frame as it is, of a stack of flow the first field in the colours of its directions.
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

/// Prints the results.
pub(super) fn print(card: &RunCard, run: &Run, as_json: bool) -> Result<()> {
    if as_json {
        let mut baselines = Map::new();
        for system in &card.systems[1..] {
            baselines.insert(system.key.clone(), json!(system.test));
        }
        let mut document = json!({ "run": run.dir.root(), "test": card.systems[0].test });
        if !baselines.is_empty() {
            document["baselines"] = Value::Object(baselines);
        }
        println!("{}", serde_json::to_string_pretty(&document)?);
        return Ok(());
    }
    println!();
    println!("{} test clips of {} classes, top-1 accuracy", card.data.test, card.classes.len());
    for system in &card.systems {
        let test = &system.test;
        let (low, high) = wilson_interval(test.correct(), test.clips, WILSON_95);
        println!(
            "  {:<24}{:6.1} %   (95 % interval {:.1} to {:.1} %)",
            system.name,
            100.0 * test.top1,
            100.0 * low,
            100.0 * high
        );
        for (level, accuracy) in &system.levels {
            println!("    level {level:<16}{:6.1} %", 100.0 * accuracy);
        }
    }
    println!();
    println!("model   {}", run.dir.path("model.safetensors").display());
    println!("report  {}", run.dir.path("report.html").display());
    Ok(())
}
