//! `explain`: the regions and time steps of a video that support a class.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use gru_rcn::backbone::Backbone;
use gru_rcn_data::{TestViews, source_of};
use gru_rcn_metrics::at_temperature;
use image::RgbImage;
use serde_json::json;

use super::shared::{ModelArgs, probabilities};
use crate::experiment::{System, TrainedModel};
use crate::explain::{LevelMaps, draw, explain, remove_pictures};
use crate::output::say;
use crate::percepts::FrozenCnn;
use crate::run::dir::write_json;
use crate::run::scores::top_classes;
use crate::scoring::{View, ViewBatch};

#[derive(Args, Debug)]
pub(super) struct ExplainArgs {
    /// A video file, or a folder of frames.
    video: PathBuf,
    /// System to explain, by its key: gru_rcn, frame, cnn or another form or normalisation of GRU-RCN;
    /// by default the main system of the run.
    #[arg(long, value_name = "KEY")]
    system: Option<String>,
    /// Folder for the pictures and numbers.
    #[arg(long, value_name = "DIR", default_value = "explain")]
    out: PathBuf,
    #[command(flatten)]
    pub(super) model: ModelArgs,
}

impl ExplainArgs {
    pub(super) fn run(&self) -> Result<()> {
        let trained = self.model.open_on_rgb("which a video does not have; its report shows where it finds classes")?;
        let mut systems = trained.systems();
        let keys = systems.iter().map(System::key).collect::<Vec<_>>().join(", ");
        let system = match &self.system {
            Some(key) => &trained.system(key)?,
            None => &systems.swap_remove(0),
        };
        let TrainedModel::Percepts { model, cnn } = trained.load(system)?.model else {
            bail!("{} classifies by no maps of the CNN; take another --system of {keys}", system.key());
        };
        let cnn = cnn.as_deref().unwrap_or(&trained.cnn);
        if self.video.is_file() {
            trained.loader.reader.require_decoder()?;
        }
        let loader = &trained.loader;
        let views = loader.reader.read_views(&source_of(&self.video)?, &loader.planner, TestViews::default())?;
        let plan = &views.plans()[0].0;
        let clip = views.cut(plan)?;
        let percepts = FrozenCnn::new(cnn).percepts(std::slice::from_ref(&clip), &trained.device, loader.dtype);

        let view = ViewBatch { input: percepts.clone(), rows: vec![View { clip: 0, times: 1 }] };
        let probabilities = probabilities(&*model, std::iter::once(Ok(view)))?;
        let probabilities = at_temperature(&probabilities, trained.temperature_of(system));
        let classes = &trained.card.classes;
        let (class, probability) = top_classes(&probabilities, classes, 1).next().context("a run has classes")?;
        let index = classes.iter().position(|other| other == class).context("a class of the run")?;

        let levels = explain(&*model, &cnn.levels(), percepts, index)?;
        ensure!(!levels.is_empty(), "{} has no maps of a class; take another --system of {keys}", system.key());
        let seconds = |frame: &usize| views.rate().map(|rate| *frame as f64 / rate);
        let document = json!({
            "file": self.video.display().to_string(), "system": system.key(), "class": class, "probability": probability,
            "frames": plan.frames, "seconds": plan.frames.iter().map(seconds).collect::<Option<Vec<_>>>(),
            "levels": levels,
        });
        remove_pictures(&self.out)?;
        write_json(&self.out.join("explain.json"), &document)?;
        say!("{}: {:.1} %  {class}, by {}", self.video.display(), 100.0 * probability, system.name(&trained.recipe))?;
        levels.iter().try_for_each(|level| say!("  {}", line(level)))?;
        let shown: Vec<&LevelMaps> = levels.iter().filter(|level| level.has_places()).collect();
        if shown.is_empty() {
            say!("no pictures: the levels have one cell each, which shows when but not where")?;
        } else {
            let pixels = |t: usize| RgbImage::from_raw(clip.width as u32, clip.height as u32, clip.frame(t).to_vec());
            let frames: Option<Vec<RgbImage>> = (0..clip.time).map(pixels).collect();
            draw(&self.out, &frames.context("frames are RGB")?, &shown)?;
        }
        say!("written to {}", self.out.display())
    }
}

fn line(maps: &LevelMaps) -> String {
    let LevelMaps { level, rows, columns, bias, .. } = maps;
    let sum = maps.sum();
    let gates =
        maps.gate_range().map_or(String::new(), |(least, most)| format!(", update gate {least:.2} to {most:.2}"));
    let logit = bias.map_or(String::new(), |bias| format!(", with the bias {bias:.2}"));
    format!("{level:<8} {rows}×{columns} cells, {} steps, sum {sum:.2}{logit}{gates}", maps.activation.len())
}
