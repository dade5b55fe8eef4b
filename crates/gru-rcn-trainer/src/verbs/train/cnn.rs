//! The CNN of a run: read from a file, trained by appearances, fine-tuned on the classes; then frozen.

use std::path::PathBuf;
use std::rc::Rc;

use anyhow::{Result, bail};
use burn::module::Module;
use burn::tensor::Device;
use gru_rcn::backbone::{Backbone, Cnn};
use gru_rcn_data::Sample;

use super::Run;
use super::stages::Stage;
use crate::backbone::{self, FrameCnn};
use crate::initial;
use crate::percepts::{Live, PixelStore, Reading, Source, appearances};
use crate::recipe::{FinetuneSection, Recipe, TrainingSection};
use crate::run_dir::RunDir;

/// The CNN's file in the run folder.
const BACKBONE: &str = "backbone.safetensors";

/// The file that a run's CNN is read from, if it is: its own of an earlier session, or the one that the recipe names.
pub(super) fn weights(resumed: Option<&RunDir>, recipe: &Recipe) -> Option<PathBuf> {
    let kept = resumed.map(|dir| dir.path(BACKBONE)).filter(|path| path.is_file());
    kept.or_else(|| recipe.backbone.weights.clone())
}

/// The CNN that the recipe names a file for. A run that is gone on with has a copy of its own and needs the file no more.
///
/// # Errors
///
/// Also if the recipe's CNN cannot be built or must be trained but has nothing to be trained by.
pub(super) fn pretrained(resumed: Option<&RunDir>, recipe: &Recipe, device: &Device) -> Result<Option<Cnn>> {
    match &recipe.backbone.weights {
        Some(weights) if !resumed.is_some_and(|dir| dir.path(BACKBONE).is_file()) => {
            Ok(Some(backbone::pretrained(recipe, weights, device)?))
        }
        _ => Ok(None),
    }
}

impl Run {
    /// The frozen CNN on the plain device, of so many classes: as saved with the run, from a file, or trained here.
    pub(super) fn cnn(&mut self, pretrained: Option<Cnn>, classes: usize) -> Result<Cnn> {
        let kept = self.dir.path(BACKBONE);
        if kept.is_file() {
            return backbone::load(&backbone::config(&self.recipe, classes)?, &kept, &self.device);
        }
        let section = self.recipe.backbone.clone();
        let cnn = match (pretrained, &section.pretrain) {
            (Some(cnn), _) => cnn,
            (None, Some(training)) => self.timed("CNN", |run| run.pretrain(training))?,
            (None, None) => bail!("the recipe gives the CNN neither weights nor training"),
        };
        let cnn = match &section.finetune {
            Some(finetune) => self.timed("CNN fine-tuning", |run| run.finetune(cnn, finetune))?,
            None => cnn,
        };
        backbone::save(&cnn, &kept)?;
        Ok(cnn)
    }

    /// Trains a new CNN on single frames, by the clips' appearances.
    fn pretrain(&mut self, training: &TrainingSection) -> Result<Cnn> {
        let config = backbone::config(&self.recipe, backbone::appearances(&self.recipe, &self.dataset)?)?;
        let stage = Stage::new("cnn", "CNN on single frames");
        let seed = self.stage_seed(stage.key);
        let model = initial::drawn(seed, &self.device, || FrameCnn { cnn: config.init(&initial::device()) });
        let learning = self.reading_for(training);
        let store = |samples: &[Sample], frames, reading: &Reading| {
            PixelStore::fill(samples, appearances(samples)?, frames, reading, model.cnn.pixels(), &self.device)
        };
        let train = store(&self.dataset.train, self.recipe.backbone.pretrain_frames, &learning)?;
        let validation = store(&self.dataset.validation, 0, &self.reading)?;
        Ok(self.fit(stage, training, model, &train, &validation)?.model.cnn)
    }

    /// Fine-tunes a CNN on single frames, or stacks of flow, by the clips' classes.
    fn finetune(&mut self, cnn: Cnn, section: &FinetuneSection) -> Result<Cnn> {
        let (before, classes) = (cnn.config().num_classes(), self.dataset.classes.len());
        self.tell(&format!(
            "fine-tuning the CNN: its classifier {} of {before} classes is replaced by a new one of {classes}, all other \
             weights are kept to start from",
            backbone::classifier_key(&self.recipe)
        ));
        let stage = Stage::new("cnn_finetune", "CNN fine-tuning");
        self.device.seed(self.stage_seed(stage.key));
        let cnn = initial::at_once(backbone::to_finetune(cnn, section, classes, &self.device));
        let learning = self.reading_for(&section.training);
        let train = self.frames(&cnn, section, &self.dataset.train, section.frames, &learning)?;
        let validation = self.frames(&cnn, section, &self.dataset.validation, 0, &self.reading)?;
        let model = FrameCnn { cnn }.train();
        Ok(self.fit(stage, &section.training, model, &*train, &*validation)?.model.cnn)
    }

    /// Single frames of clips: read anew in every epoch, or all kept in memory, of which `drawn` are drawn (all if zero).
    fn frames(
        &self,
        cnn: &Cnn,
        section: &FinetuneSection,
        samples: &[Sample],
        drawn: usize,
        reading: &Reading,
    ) -> Result<Rc<dyn Source>> {
        let (pixels, device) = (cnn.pixels(), &self.device);
        Ok(if section.cache {
            let classes = samples.iter().map(|sample| sample.class).collect();
            Rc::new(PixelStore::fill(samples, classes, drawn, reading, pixels, device)?)
        } else {
            Rc::new(Live::pixels(pixels, samples, reading.single_frames(section.frames), device))
        })
    }
}
