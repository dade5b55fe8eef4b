//! The CNN of a run: read from a file, pretrained by appearances, fine-tuned on the classes; then
//! frozen.

use std::path::PathBuf;
use std::rc::Rc;

use anyhow::{Context as _, Result, bail};
use burn::module::Module;
use burn::tensor::Device;
use gru_rcn::backbone::{Backbone, Cnn};
use gru_rcn::input::PixelClips;
use gru_rcn::weights::export_torchvision_with;
use gru_rcn_data::Sample;

use super::backbone::{self, ClassifierLabels, FrameCnn};
use super::data::Clips;
use super::system::System;
use crate::context::Context;
use crate::device::initial;
use crate::percepts::{ClipLoader, Live, PixelStore, Source, appearances};
use crate::recipe::{FinetuneSection, Recipe, TrainingSection};
use crate::run::card::{EpochPoint, RunCard};
use crate::run::dir::RunDir;
use crate::train::{Stage, Trainer};

/// The file that the CNN of a run is read from, if any: that of an earlier session comes first.
pub(super) fn weights_file(resumed: Option<&RunDir>, recipe: &Recipe) -> Option<PathBuf> {
    let kept = resumed.map(RunDir::backbone).filter(|path| path.is_file());
    kept.or_else(|| recipe.backbone.weights.clone())
}

/// The CNN of the recipe's file, if it names one. A resumed run has a copy of its own instead.
pub(super) fn pretrained(resumed: Option<&RunDir>, recipe: &Recipe, device: &Device) -> Result<Option<Cnn>> {
    match &recipe.backbone.weights {
        Some(weights) if recipe.uses_cnn() && !resumed.is_some_and(|dir| dir.backbone().is_file()) => {
            Ok(Some(backbone::pretrained(recipe, weights, device)?))
        }
        _ => Ok(None),
    }
}

/// Key of the stage of fine-tuning in files.
const FINETUNING: &str = "cnn_finetune";

/// The frozen CNN on the plain device, as the card says: as saved with the run, from a file, or
/// trained here. One that no system needs has no weights drawn.
pub(super) fn obtain(context: &Context, clips: &Clips, pretrained: Option<Cnn>, card: &RunCard) -> Result<Cnn> {
    let (recipe, kept, classes) = (&context.recipe, context.dir.backbone(), card.cnn_classes);
    if !recipe.uses_cnn() {
        return Ok(backbone::config(recipe, classes)?.init(&context.device));
    }
    if kept.is_file() {
        return backbone::load(&backbone::config(recipe, classes)?, &kept, &context.device);
    }
    let trained = |system: &System| context.dir.done_file(&system.key()).is_file();
    if System::of_run(recipe, card).iter().any(trained) {
        context.message(format!("warning: {} is gone; the CNN is made again", kept.display()));
    }
    let cnn = match (pretrained, &recipe.backbone.pretrain) {
        (Some(cnn), _) => cnn,
        (None, Some(training)) => context.clock.time("CNN", || pretrain(context, clips, training))?,
        (None, None) => bail!("the recipe gives the CNN neither weights nor training"),
    };
    let (cnn, labels) = match &recipe.backbone.finetune {
        Some(section) => {
            let tuned = context.clock.time("CNN fine-tuning", || finetune(context, clips, cnn, section))?;
            (tuned, Some(ClassifierLabels::of(&clips.dataset)))
        }
        None => (cnn, recipe.backbone.weights.as_deref().and_then(ClassifierLabels::read)),
    };
    context.dir.check_there()?;
    let labels = labels.map(|labels| labels.metadata()).transpose()?;
    export_torchvision_with(&cnn, &kept, labels.as_ref().map_or(&[][..], |labels| labels))?;
    // As a resumed run has it: without the dropout of its training.
    backbone::load(&backbone::config(recipe, classes)?, &kept, &context.device)
}

/// Trains a new CNN on single frames, by the clips' appearances.
fn pretrain(context: &Context, clips: &Clips, training: &TrainingSection) -> Result<Cnn> {
    let (recipe, dataset, device) = (&context.recipe, &clips.dataset, &context.device);
    let config = backbone::config(recipe, backbone::appearances(recipe, dataset)?)?;
    let stage = Stage::new("cnn", "CNN on single frames", training);
    let seed = context.stage_seed(&stage.key);
    let model = initial::drawn(seed, device, || FrameCnn { cnn: config.init(&initial::device()) });
    let store = |samples: &[Sample], frames, loader: &ClipLoader| {
        PixelStore::fill(samples, appearances(samples)?, frames, loader, model.cnn.pixels(), device)
    };
    let training_loader = clips.training_loader(&context.dir, training);
    let train = store(&dataset.train, recipe.backbone.pretrain_frames, &training_loader)?;
    let validation = store(&dataset.validation, None, &clips.loader)?;
    Ok(Trainer::new(context, stage).run(model, &train, &validation)?.model.cnn)
}

/// The learning curve of the fine-tuning in this run; empty without one, and in runs of earlier
/// versions.
pub(super) fn finetuning_curve(dir: &RunDir) -> Result<Vec<EpochPoint>> {
    Ok(dir.done(FINETUNING)?.map_or_else(Vec::new, |done| done.curve))
}

/// Fine-tunes a CNN on single frames, or stacks of flow, by the clips' classes.
fn finetune(context: &Context, clips: &Clips, mut cnn: Cnn, section: &FinetuneSection) -> Result<Cnn> {
    let (dataset, device) = (&clips.dataset, &context.device);
    let (before, classes) = (cnn.num_classes(), dataset.classes.len());
    context.message(format!(
        "fine-tuning the CNN: its classifier {} of {before} classes is replaced by a new one of {classes}, all other \
         weights are kept to start from",
        cnn.classifier_key()
    ));
    let stage =
        Stage { classes: dataset.classes.clone(), ..Stage::new(FINETUNING, "CNN fine-tuning", &section.training) };
    device.seed(context.stage_seed(&stage.key));
    cnn.replace_classifier(classes, section.classifier_std, device);
    if !section.dropout.is_empty() {
        cnn.set_dropout(&section.dropout).context("recipe: backbone.finetune.dropout")?;
    }
    let cnn = initial::materialized(cnn);
    let frames =
        |samples: &[Sample], drawn: Option<usize>, loader: &ClipLoader| -> Result<Rc<dyn Source<PixelClips>>> {
            Ok(if section.cache {
                let classes = samples.iter().map(|sample| sample.class).collect();
                Rc::new(PixelStore::fill(samples, classes, drawn, loader, cnn.pixels(), device)?)
            } else {
                Rc::new(Live::new(cnn.pixels(), samples, loader.single_frames(section.frames), device))
            })
        };
    let training_loader = clips.training_loader(&context.dir, &section.training);
    let train = frames(&dataset.train, Some(section.frames), &training_loader)?;
    let validation = frames(&dataset.validation, None, &clips.loader)?;
    let model = FrameCnn { cnn }.train();
    let trained = Trainer::new(context, stage).run(model, &*train, &*validation)?;
    let cnn = trained.model.cnn;
    // Before the CNN is saved, with which the stage counts as done.
    context.dir.mark_done(FINETUNING, &trained.position.curve, &backbone::fingerprint(&cnn))?;
    Ok(cnn)
}
