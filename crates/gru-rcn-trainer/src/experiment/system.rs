//! The systems that a run trains: GRU-RCN and what it is compared with.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use gru_rcn::backbone::{Cnn, Pixels};
use gru_rcn::baselines::{Baseline, BaselineModel, BaselineOptions, BaselineVisitor, PixelBaseline, PixelOptions};
use gru_rcn::classifier::{ClipClassifier, GruRcnClassifierConfig};
use gru_rcn::head::EnsembleLogits;
use gru_rcn::input::PixelClips;
use gru_rcn::percepts::{Level, Percepts};
use gru_rcn::recognizer::RecognizerDescription;
use gru_rcn::recurrent::{Form, GruRcnConfig};

use crate::device::initial;
use crate::recipe::{NormSection, Recipe, SvmSection};
use crate::run::card::EpochPoint;
use crate::run::dir::RunDir;
use crate::scoring::Scorable;

/// Something that can be trained.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum System {
    /// GRU-RCN in the recipe's form: what the run is about.
    GruRcn,
    /// A system of the model crate to compare it with.
    Baseline(Baseline),
    /// A linear SVM on the descriptors of C3D.
    C3dSvm(SvmSection),
    /// GRU-RCN under another normalisation of its percepts.
    Norm(NormSection),
}

impl System {
    /// Those of a recipe, in the order in which they are trained.
    pub(crate) fn of_recipe(recipe: &Recipe) -> Vec<Self> {
        let svm = recipe.baselines.c3d_svm.clone().map(Self::C3dSvm);
        let baselines = recipe.baselines.systems().into_iter().map(Self::Baseline).chain(svm);
        let norms = recipe.baselines.norms.iter().cloned().map(Self::Norm);
        baselines.chain(recipe.model.train.then_some(Self::GruRcn)).chain(norms).collect()
    }

    /// The name in files and in JSON.
    pub(crate) fn key(&self) -> String {
        match self {
            Self::GruRcn => "gru_rcn".into(),
            Self::Baseline(baseline) => baseline.key().into(),
            Self::C3dSvm(_) => "c3d_svm".into(),
            Self::Norm(norm) => format!("norm_{}", norm.key()),
        }
    }

    /// The key of the initial weights: normalisations are compared from the same ones.
    pub(crate) fn initial_key(&self) -> String {
        if let Self::Norm(_) = self { Self::GruRcn.key() } else { self.key() }
    }

    /// The name for people.
    pub(crate) fn name(&self, recipe: &Recipe) -> String {
        match (self, recipe.model.form) {
            (Self::Norm(norm), _) => format!("… percepts: {}", norm.key()),
            (Self::Baseline(baseline), _) => baseline.name().into(),
            (Self::C3dSvm(_), _) => "C3D, fc-6 + linear SVM".into(),
            (Self::GruRcn, Form::Independent) => "GRU-RCN".into(),
            (Self::GruRcn, Form::Stacked) => "Stacked GRU-RCN".into(),
            (Self::GruRcn, Form::Bidirectional) => "Bi-directional GRU-RCN".into(),
        }
    }

    /// The names of its classifiers; empty if it has one only.
    pub(crate) fn classifiers(&self, recipe: &Recipe) -> Vec<String> {
        if let Self::Baseline(_) | Self::C3dSvm(_) = self { Vec::new() } else { recipe.level_names() }
    }

    /// The positions of the levels that it takes in, of all taps; none for all.
    pub(crate) fn levels(&self, recipe: &Recipe) -> Option<Vec<usize>> {
        if let Self::Baseline(_) | Self::C3dSvm(_) = self { None } else { Some(recipe.levels()) }
    }

    /// What is written beside its weights; the description makes a recognizer of the file.
    pub(crate) fn metadata(
        &self,
        recipe: &Recipe,
        description: Option<&RecognizerDescription>,
    ) -> Vec<(&'static str, String)> {
        let mut metadata = vec![("system", self.key()), ("recipe", recipe.name.clone())];
        metadata.extend(description.map(RecognizerDescription::metadata));
        metadata
    }

    pub(crate) fn weights(&self, dir: &RunDir) -> PathBuf {
        if let Self::GruRcn = self { dir.model() } else { dir.baseline(&self.key()) }
    }

    pub(crate) fn scores(&self, dir: &RunDir) -> PathBuf {
        if let Self::GruRcn = self { dir.scores("test") } else { dir.baseline_scores(&self.key()) }
    }
}

/// A trained system.
pub(crate) struct TrainedSystem {
    /// Which one.
    pub(crate) system: System,
    /// The model.
    pub(crate) model: TrainedModel,
    /// Its learning curve.
    pub(crate) curve: Vec<EpochPoint>,
    /// Number of trained parameters: all but the factors of the normalisation, one per level.
    pub(crate) parameters: usize,
}

/// The model of a trained system, by what it takes in.
pub(crate) enum TrainedModel {
    /// Percepts of all levels of a CNN.
    Percepts {
        model: Box<dyn Scorable<Percepts>>,
        /// The CNN that was trained together with it; none where it shares the frozen CNN of the run.
        cnn: Option<Box<Cnn>>,
    },
    /// Pixels, normalised like this.
    Pixels { model: Box<dyn Scorable<PixelClips>>, pixels: Pixels },
}

impl TrainedSystem {
    /// A system on percepts.
    pub(crate) fn new<M>(recipe: &Recipe, system: System, model: M, cnn: Option<Cnn>, curve: Vec<EpochPoint>) -> Self
    where
        M: ClipClassifier<Input = Percepts> + 'static,
    {
        let levels = system.levels(recipe);
        let parameters = model.num_params() - levels.as_ref().map_or(1, Vec::len);
        let model = TrainedModel::Percepts { model: Box::new(OfLevels { model, levels }), cnn: cnn.map(Box::new) };
        Self { system, model, curve, parameters }
    }

    /// A system on pixels.
    pub(crate) fn of_pixels<M>(system: System, model: M, pixels: Pixels, curve: Vec<EpochPoint>) -> Self
    where
        M: ClipClassifier<Input = PixelClips> + 'static,
    {
        let parameters = model.num_params();
        Self { system, model: TrainedModel::Pixels { model: Box::new(model), pixels }, curve, parameters }
    }
}

/// A model that takes in some of the levels.
#[derive(Clone)]
pub(crate) struct OfLevels<M> {
    /// The model.
    pub(crate) model: M,
    /// Positions of the levels; none for all.
    pub(crate) levels: Option<Vec<usize>>,
}

impl<M: Scorable<Percepts>> Scorable<Percepts> for OfLevels<M> {
    fn logits(&self, percepts: Percepts) -> EnsembleLogits {
        match &self.levels {
            Some(levels) => self.model.logits(percepts.select(levels)),
            None => self.model.logits(percepts),
        }
    }
}

/// The recipe's GRU-RCN over its levels of the backbone's.
pub(crate) fn gru_rcn(recipe: &Recipe, levels: &[Level], classes: usize, norm: &NormSection) -> GruRcnClassifierConfig {
    let model = &recipe.model;
    let levels = recipe.levels().into_iter().map(|level| levels[level].clone()).collect();
    let recurrent = GruRcnConfig::new(levels, model.hidden.clone())
        .with_form(model.form)
        .with_kernel_size(model.kernel_size)
        .with_bias(model.bias);
    GruRcnClassifierConfig::new(recurrent, classes)
        .with_norm(norm.config())
        .with_dropout(model.dropout)
        .with_pooling(model.pooling)
}

/// What a baseline of the recipe is built from, if it sees percepts.
pub(crate) fn baseline_options(recipe: &Recipe, system: &System, levels: &[Level], classes: usize) -> BaselineOptions {
    let top_rnn = *system == System::Baseline(Baseline::TopRnn);
    BaselineOptions {
        levels: levels.to_vec(),
        time: recipe.clip.temporal.frames(),
        hidden: if top_rnn { recipe.baselines.top_rnn_hidden() } else { recipe.baselines.hidden() },
        num_classes: classes,
        norm: recipe.model.norm.config(),
        dropout: recipe.model.dropout,
    }
}

/// Whether the recipe's clips suit every baseline on pixels.
pub(crate) fn check_baselines(recipe: &Recipe, classes: usize) -> Result<()> {
    struct Check(PixelOptions);
    impl BaselineVisitor for Check {
        type Output = Result<()>;

        fn visit<M: BaselineModel>(self) -> Result<()> {
            Ok(())
        }

        // Weights are drawn when they are first used, so that this costs nothing.
        fn visit_pixels<M: PixelBaseline>(self) -> Result<()> {
            M::from_options(&self.0, &initial::device())
                .context("recipe: baselines.others, clip or baselines.width")?;
            Ok(())
        }
    }
    recipe.baselines.systems().into_iter().try_for_each(|baseline| {
        let options = recipe.pixel_options(classes);
        baseline.visit(Check(options))
    })
}
