//! CNN and GRU-RCN trained together, from pixels.

use std::path::Path;

use anyhow::{Result, anyhow};
use burn::module::{Module, ParamGroup};
use gru_rcn::backbone::{Backbone, Cnn};
use gru_rcn::classifier::GruRcnClassifier;
use gru_rcn::recognizer::Recognizer;
use gru_rcn::weights::{export, import};
use gru_rcn_data::Sample;

use super::Run;
use super::stages::Stage;
use crate::backbone;
use crate::initial;
use crate::percepts::Live;
use crate::report::EpochPoint;
use crate::systems::System;

/// The file of the CNN that was trained with GRU-RCN. The frozen one that it started from, which the baselines look
/// through, keeps its own.
pub(in crate::verbs) const JOINT_BACKBONE: &str = "backbone-joint.safetensors";

impl Run {
    /// Trains GRU-RCN together with its CNN, or loads both if an interrupted run had them done. `build` gives the model
    /// on the autodiff device, with the constants of its normalisation as the CNN's maps were before.
    pub(super) fn joint(
        &mut self,
        cnn: &Cnn,
        build: impl FnOnce(&Self) -> GruRcnClassifier,
    ) -> Result<(Cnn, (GruRcnClassifier, Vec<EpochPoint>))> {
        let (key, name) = (System::GruRcn.key(), format!("{} and CNN", System::GruRcn.name(&self.recipe)));
        let classifier = initial::drawn(self.stage_seed(&key), &self.device, || build(self));
        let (weights, backbone) = (self.dir.path(&System::GruRcn.weights()), self.dir.path(JOINT_BACKBONE));
        if let Some(curve) = self.done(&key)? {
            return Ok((self.load_joint(cnn, &backbone)?, (import(classifier.valid(), &weights)?, curve)));
        }
        // Of the CNN's taps only those that are recurred over, so that no level above them is computed in vain.
        let seen = cnn.clone().with_taps(self.recipe.level_names());
        let model = Recognizer { backbone: seen.train(), classifier };
        let training = self.recipe.training.clone();
        let trained = self.timed(&name, |run| {
            let learning = run.reading_for(&training);
            let pixels = |samples: &[Sample], reading| Live::pixels(cnn.pixels(), samples, reading, &run.device);
            let train = pixels(&run.dataset.train, learning);
            let validation = pixels(&run.dataset.validation, run.reading.clone());
            let of_the_cnn = ParamGroup::from_regex(r"^backbone\.").map_err(|error| anyhow!("{error:?}"))?;
            let stage = Stage {
                levels: run.recipe.level_names(),
                rate_factors: vec![(of_the_cnn, run.recipe.model.backbone_rate)],
                ..Stage::new(&key, &name)
            };
            run.fit(stage, &training, model, &train, &validation)
        })?;
        let Recognizer { backbone: tuned, classifier } = trained.model;
        let tuned = tuned.with_taps(self.recipe.backbone.taps.clone());
        backbone::save(&tuned, &backbone)?;
        export(&classifier, &weights, &[("system", key.clone()), ("recipe", self.recipe.name.clone())])?;
        self.finish(&key, &trained.course.curve)?;
        Ok((tuned, (classifier, trained.course.curve)))
    }

    fn load_joint(&self, cnn: &Cnn, file: &Path) -> Result<Cnn> {
        backbone::load(&backbone::config(&self.recipe, cnn.config().num_classes())?, file, &self.device)
    }
}
