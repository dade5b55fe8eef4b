//! The systems that a run trains: GRU-RCN and what it is compared with.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use burn::module::Module;
use gru_rcn::backbone::{Cnn, Pixels};
use gru_rcn::baselines::{Baseline, BaselineModel, BaselineOptions, BaselineVisitor, PixelBaseline, PixelOptions};
use gru_rcn::class_activation::ClassActivation;
use gru_rcn::classifier::{ClipClassifier, GruRcnClassifierConfig};
use gru_rcn::head::EnsembleLogits;
use gru_rcn::input::PixelClips;
use gru_rcn::percepts::{Level, Percepts};
use gru_rcn::recognizer::RecognizerDescription;
use gru_rcn::recurrent::{Form, GruRcnConfig};
use gru_rcn_data::Modality;

use super::backbone::OwnClassifier;
use crate::device::initial;
use crate::recipe::{NormSection, Recipe, SvmSection};
use crate::run::card::{EpochPoint, RunCard};
use crate::run::dir::{GRU_RCN, RunDir};
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
    /// The CNN's own classifier of single frames, where it is one of the clips' classes. It is trained
    /// with the CNN.
    Cnn,
    /// GRU-RCN in another form.
    Form(Form),
    /// GRU-RCN under another normalisation of its percepts.
    Norm(NormSection),
}

impl System {
    /// Those of a run, in the order in which they are trained.
    pub(crate) fn of_run(recipe: &Recipe, card: &RunCard) -> Vec<Self> {
        let svm = recipe.baselines.c3d_svm.clone().map(Self::C3dSvm);
        let baselines = recipe.baselines.systems().into_iter().map(Self::Baseline).chain(svm);
        let forms = recipe.baselines.forms.iter().copied().map(Self::Form);
        let norms = recipe.baselines.norms.iter().cloned().map(Self::Norm);
        let models =
            card.cnn_is_system.then_some(Self::Cnn).into_iter().chain(recipe.model.train.then_some(Self::GruRcn));
        baselines.chain(models).chain(forms).chain(norms).collect()
    }

    /// Puts the system that the run is about first: GRU-RCN where it is trained.
    pub(crate) fn sort<T>(systems: &mut [T], system: impl Fn(&T) -> &Self) {
        systems.sort_by_key(|other| *system(other) != Self::GruRcn);
    }

    /// The name in files and in JSON.
    pub(crate) fn key(&self) -> String {
        match self {
            Self::GruRcn => GRU_RCN.into(),
            Self::Baseline(baseline) => baseline.key().into(),
            Self::C3dSvm(_) => "c3d_svm".into(),
            Self::Cnn => "cnn".into(),
            Self::Form(form) => format!("form_{form}"),
            Self::Norm(norm) => format!("norm_{}", norm.key()),
        }
    }

    /// The key of the initial weights: normalisations are compared from the same ones.
    pub(crate) fn initial_key(&self) -> String {
        if let Self::Norm(_) = self { Self::GruRcn.key() } else { self.key() }
    }

    /// The name for people.
    pub(crate) fn name(&self, recipe: &Recipe) -> String {
        let form = match self {
            Self::Norm(norm) => return format!("… percepts: {}", norm.key()),
            Self::Baseline(baseline) => return baseline.name().into(),
            Self::C3dSvm(_) => return "C3D, fc-6 + linear SVM".into(),
            Self::Cnn => {
                let input = if recipe.clip.modality == Modality::Flow { "stacks of flow" } else { "frames" };
                return format!("{}, single {input}", recipe.backbone.network.title());
            }
            Self::GruRcn => recipe.model.form,
            Self::Form(form) => *form,
        };
        match form {
            Form::Independent => "GRU-RCN".into(),
            Form::Stacked => "Stacked GRU-RCN".into(),
            Form::Bidirectional => "Bi-directional GRU-RCN".into(),
        }
    }

    /// Whether it is a GRU-RCN, with a classifier at each of the recipe's levels.
    fn is_gru_rcn(&self) -> bool {
        matches!(self, Self::GruRcn | Self::Form(_) | Self::Norm(_))
    }

    /// The names of its classifiers; empty if it has one only.
    pub(crate) fn classifiers(&self, recipe: &Recipe) -> Vec<String> {
        if self.is_gru_rcn() { recipe.level_names() } else { Vec::new() }
    }

    /// The positions of the levels that it takes in, of all taps; none for all.
    pub(crate) fn levels(&self, recipe: &Recipe) -> Option<Vec<usize>> {
        self.is_gru_rcn().then(|| recipe.levels())
    }

    /// Metadata of its weight file. With the description, `Recognizer::open` can read the run.
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
        match self {
            Self::GruRcn => dir.model(),
            Self::Cnn => dir.backbone(),
            _ => dir.baseline(&self.key()),
        }
    }

    /// Whether it has a training of its own, which leaves a mark in the run folder.
    pub(crate) fn is_trained(&self) -> bool {
        *self != Self::Cnn
    }
}

/// A trained system.
pub(crate) struct TrainedSystem {
    pub(crate) system: System,
    pub(crate) model: TrainedModel,
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

    /// The CNN's own classifier, with the learning curve of the CNN's fine-tuning.
    pub(crate) fn of_cnn(cnn: Cnn, curve: Vec<EpochPoint>) -> Self {
        let parameters = cnn.num_params();
        let model = TrainedModel::Percepts { model: Box::new(OwnClassifier(cnn)), cnn: None };
        Self { system: System::Cnn, model, curve, parameters }
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

/// A model that takes in the levels at these positions; all of them if none are given.
struct OfLevels<M> {
    model: M,
    levels: Option<Vec<usize>>,
}

impl<M: Scorable<Percepts>> Scorable<Percepts> for OfLevels<M> {
    fn logits(&self, percepts: Percepts) -> EnsembleLogits {
        match &self.levels {
            Some(levels) => self.model.logits(percepts.select(levels)),
            None => self.model.logits(percepts),
        }
    }

    fn class_activation(&self, percepts: Percepts, class: usize) -> Vec<ClassActivation> {
        let Some(levels) = &self.levels else { return self.model.class_activation(percepts, class) };
        let found = self.model.class_activation(percepts.select(levels), class).into_iter();
        found.map(|found| ClassActivation { level: levels[found.level], ..found }).collect()
    }
}

/// The recipe's GRU-RCN over its levels of the backbone's, or that system's variant of it.
pub(crate) fn gru_rcn(recipe: &Recipe, levels: &[Level], classes: usize, system: &System) -> GruRcnClassifierConfig {
    let model = &recipe.model;
    let levels = recipe.levels().into_iter().map(|level| levels[level].clone()).collect();
    let form = if let System::Form(form) = system { *form } else { model.form };
    let norm = if let System::Norm(norm) = system { norm } else { &model.norm };
    let recurrent = GruRcnConfig::new(levels, model.hidden.clone())
        .with_form(form)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::changed;

    #[test]
    fn cnns_are_named_after_the_network_and_its_input() {
        let name = |recipe: &str, changes: &[&str]| System::Cnn.name(&changed(recipe, changes).unwrap());
        assert_eq!(name("ucf101/rgb", &[]), "VGG-16, single frames");
        assert_eq!(name("ucf101/flow", &[]), "VGG-16, single stacks of flow");
        assert_eq!(name("folder", &["backbone.network=squeezenet"]), "SqueezeNet 1.0, single frames");
    }
}
