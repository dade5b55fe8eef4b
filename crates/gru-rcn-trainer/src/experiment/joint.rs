//! GRU-RCN trained together with its CNN, from pixels.

use anyhow::{Result, anyhow};
use burn::module::{Module, ParamGroup};
use gru_rcn::backbone::{Backbone, Cnn};
use gru_rcn::classifier::{ClipClassifier, GruRcnClassifier};
use gru_rcn::recognizer::{Recognizer, RecognizerDescription};
use gru_rcn::weights::{export, export_torchvision, import};
use gru_rcn_data::Sample;

use super::backbone;
use super::data::Clips;
use super::system::{System, TrainedSystem};
use crate::context::Context;
use crate::device::initial;
use crate::percepts::{ClipLoader, Live};
use crate::train::{Stage, Trainer};

/// Trains GRU-RCN together with its CNN, or loads both if an interrupted run has trained them. The
/// constants of the normalisation fit the maps of the CNN before.
pub(super) fn train(
    context: &Context,
    clips: &Clips,
    cnn: &Cnn,
    build: impl FnOnce() -> GruRcnClassifier,
) -> Result<TrainedSystem> {
    let (recipe, dataset, device) = (&context.recipe, &clips.dataset, &context.device);
    let (key, name) = (System::GruRcn.key(), format!("{} and CNN", System::GruRcn.name(recipe)));
    let classifier = initial::drawn(context.stage_seed(&key), device, build);
    let classifier = classifier.computing_in(clips.loader.dtype);
    let (weights, backbone_file) = (context.dir.model(), context.dir.joint_backbone());
    let of_cnn = backbone::fingerprint(cnn);
    if let Some(curve) = context.finished(&key, &name, &of_cnn, &[weights.clone(), backbone_file.clone()])? {
        let config = backbone::config(recipe, cnn.num_classes())?;
        let tuned = backbone::load(&config, &backbone_file, device)?;
        let classifier = import(classifier.valid(), &weights)?;
        return Ok(TrainedSystem::new(recipe, System::GruRcn, classifier, Some(tuned), curve));
    }
    // Only those taps that are recurred over, so that no level above them is computed in vain.
    let mut tapped = cnn.clone();
    tapped.set_taps(&recipe.level_names())?;
    let model = Recognizer { backbone: tapped.train(), classifier };
    let trained = context.clock.time(&name, || {
        let pixels = |samples: &[Sample], loader: ClipLoader| Live::new(cnn.pixels(), samples, loader, device);
        let train = pixels(&dataset.train, clips.training_loader(&context.dir, &recipe.training));
        let validation = pixels(&dataset.validation, clips.loader.clone());
        let of_the_cnn = ParamGroup::from_regex(r"^backbone\.").map_err(|error| anyhow!("{error:?}"))?;
        let stage = Stage {
            loss: recipe.model.loss,
            classes: dataset.classes.clone(),
            levels: recipe.level_names(),
            lr_factors: vec![(of_the_cnn, recipe.model.backbone_lr_factor)],
            ..Stage::new(&key, &name, &recipe.training)
        };
        Trainer::new(context, stage).run(model, &train, &validation)
    })?;
    let Recognizer { backbone: mut tuned, classifier } = trained.model;
    tuned.set_taps(&recipe.backbone.taps)?;
    context.dir.check_there()?;
    export_torchvision(&tuned, &backbone_file)?;
    let description = RecognizerDescription::new(&tuned, true, &classifier, dataset.classes.clone())?;
    export(&classifier, &weights, &System::GruRcn.metadata(recipe, Some(&description)))?;
    context.dir.mark_done(&key, &trained.position.curve, &of_cnn)?;
    Ok(TrainedSystem::new(recipe, System::GruRcn, classifier, Some(tuned), trained.position.curve))
}
