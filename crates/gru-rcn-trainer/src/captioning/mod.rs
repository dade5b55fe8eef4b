//! Captions: from a recipe to a captioner, its test results and a report.
//!
//! [`train`] tells the story: clips with their captions, frozen encoders that describe the segments of
//! a clip in features, the words, the decoder, the test. The training loop is that of all systems.

pub(crate) mod coco;
mod data;
mod encoder;
mod features;
pub(crate) mod metrics;
mod model;
mod outcome;
mod trained;

pub(crate) use data::CaptionedClips;
use outcome::Scorer;
pub(crate) use outcome::print_result;
pub(crate) use trained::{Caption, TrainedCaptioner};

use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use burn::module::Module;
use gru_rcn::captioner::{Captioner, Decoding, DecodingMethod, Vocabulary};
use gru_rcn::weights::{export, import};
use gru_rcn_data::{Ffmpeg, Split};
use gru_rcn_metrics::caption::ParaphraseTable;

use crate::context::Session;
use crate::device::initial;
use crate::experiment::data::{absolute, place};
use crate::experiment::{Plan, RunOptions, end};
use crate::preflight;
use crate::preflight::memory::{CaptionerParts, Memory};
use crate::recipe::{self, CaptionRecipe, EncoderSection, Select};
use crate::run::card::{CaptionerCard, CaptionerResult, DataCard, EpochPoint, RunCard};
use crate::run::dir::{RunDir, write_json};
use crate::train::{Stage, Trainer};
use data::{Learnt, learnt};
use encoder::Encoder;
use features::{ClipFeatures, FeatureMaker};
use model::{CaptionModel, CaptionSource};

/// Key and name of the one training stage.
const KEY: &str = "captioner";
const NAME: &str = "Captioner";

/// A captioning recipe with the values of the command line, its paths absolute.
pub(crate) fn resolve(
    name: &str,
    set: &[String],
    root: Option<&Path>,
    weights: Option<&Path>,
) -> Result<CaptionRecipe> {
    let mut recipe: CaptionRecipe = recipe::load(name, set)?;
    let used = locate(&mut recipe, root, weights)?;
    ensure!(
        used || weights.is_none(),
        "--weights has no meaning for the recipe {}: no encoder `cnn` of it lacks weights",
        recipe.name
    );
    Ok(recipe)
}

/// Makes all paths of a recipe absolute and puts in those of the command line. Returns whether an encoder
/// lacked the weights.
pub(crate) fn locate(recipe: &mut CaptionRecipe, root: Option<&Path>, weights: Option<&Path>) -> Result<bool> {
    place(recipe, root)?;
    recipe.meteor = recipe.meteor.take().map(|folder| absolute(&folder));
    let mut given = weights.map(absolute);
    for encoder in &mut recipe.encoders {
        match encoder {
            EncoderSection::GruRcn(run) => *run = absolute(run),
            EncoderSection::Cnn(cnn) => {
                cnn.run = cnn.run.take().map(|run| absolute(&run));
                let own = cnn.weights.take().map(|weights| absolute(&weights));
                cnn.weights = if cnn.run.is_none() { own.or_else(|| given.take()) } else { own };
            }
        }
    }
    Ok(given.is_none())
}

/// Makes or resumes a run and returns its card. The error [`Interrupted`](crate::signals::Interrupted) means that everything is saved.
pub(crate) fn train(plan: Plan<CaptionRecipe>) -> Result<(RunDir, RunCard)> {
    let (recipe, resumed) = (&plan.recipe, plan.folder.resumed());
    let RunOptions { device, precision, .. } = &plan.options.clone();
    let clips = CaptionedClips::of_recipe(recipe)?;
    if preflight::holds_videos(&clips.dataset) {
        Ffmpeg::locate()?;
    }
    let table = recipe.meteor.as_deref().map(metrics::paraphrases).transpose()?;
    let words = Words::new(recipe, &clips)?;
    let encoders = Encoder::open_all(recipe, resumed, device, precision.dtype())?;
    let maker = FeatureMaker::new(&encoders, recipe.segments, device);
    let card = new_card(&plan, &clips, &maker, &words)?;
    let memory = Memory::of_captioner(&CaptionerParts {
        recipe,
        dataset: &clips.dataset,
        encoders: encoders.iter().map(|encoder| (encoder.cnn().config(), &encoder.loader)).collect(),
        features: maker.size(),
        vocabulary: words.vocabulary.len(),
        longest: words.train.iter().map(|(_, words)| words.len()).max().unwrap_or(0),
    });
    let opening = plan.check(card, &clips.dataset, memory)?;
    if let Some(done) = plan.done(&opening, |dir, card| Ok(outcome::finished(dir, card)))? {
        return Ok(done);
    }

    let lines = lines(&opening.card);
    let (session, recipe, card) = plan.open(opening, &clips.dataset, lines)?;
    for (number, encoder) in encoders.iter().enumerate() {
        encoder.keep(&session.dir.encoder(&number.to_string()))?;
    }
    words.vocabulary.save(&session.dir.vocabulary())?;
    let run = Run { session: &session, recipe: &recipe, clips: &clips, table: table.as_ref(), maker, words: &words };
    let card = run.finish(card);
    end(session, card)
}

/// The result of the run in this folder, made or resumed.
pub(crate) fn result(recipe: CaptionRecipe, run: &Path, options: &RunOptions) -> Result<CaptionerResult> {
    let (dir, card) = train(options.plan(recipe, run)?)?;
    card.captioner.and_then(|captioner| captioner.result).with_context(|| format!("{dir} has no result"))
}

/// What is learnt of the captions.
struct Words {
    vocabulary: Vocabulary,
    train: Vec<Learnt>,
    validation: Vec<Learnt>,
    /// Training and validation captions that are too long, or have no word.
    left_out: usize,
}

impl Words {
    fn new(recipe: &CaptionRecipe, clips: &CaptionedClips) -> Result<Self> {
        let (train, validation) = (clips.tokens(Split::Train), clips.tokens(Split::Validation));
        let vocabulary = Vocabulary::build(train.iter().map(|(_, words)| words), recipe.text.threshold)?;
        let most = recipe.text.max_words;
        let all = train.len() + validation.len();
        let train = learnt(&train, &vocabulary, most, "training")?;
        let validation = learnt(&validation, &vocabulary, most, "validation")?;
        Ok(Self { left_out: all - train.len() - validation.len(), vocabulary, train, validation })
    }
}

fn new_card(
    plan: &Plan<CaptionRecipe>,
    clips: &CaptionedClips,
    maker: &FeatureMaker,
    words: &Words,
) -> Result<RunCard> {
    let (recipe, dataset) = (&plan.recipe, &clips.dataset);
    let mut notes = clips.notes.clone();
    if words.left_out > 0 {
        let most = recipe.text.max_words;
        let left_out = words.left_out;
        notes.push(format!("{left_out} captions are longer than {most} words or have none, and are not learnt"));
    }
    if recipe.training.select == Select::Meteor && recipe.meteor.is_none() {
        notes.push(
            "the weights are chosen by METEOR without paraphrases; `meteor` names the folder of its tables".into(),
        );
    }
    // Features are a part of the data that the decoder sees.
    let data = DataCard::new(dataset, format!("{}-{}", clips.fingerprint(), maker.fingerprint()?));
    Ok(RunCard {
        notes,
        captioner: Some(CaptionerCard {
            encoders: maker.encoders.iter().map(|encoder| encoder.name.clone()).collect(),
            features: maker.size(),
            segments: recipe.segments,
            vocabulary: words.vocabulary.len(),
            captions: words.train.len(),
            select: recipe.training.select.name().into(),
            result: None,
        }),
        ..RunCard::new(&recipe.name, recipe.seed, &plan.options.device_names, plan.options.precision.name(), data)
    })
}

/// Lines on what is trained.
fn lines(card: &RunCard) -> Vec<String> {
    let mut lines = vec![format!("{} with captions", card.data.line())];
    if let Some(CaptionerCard { encoders, features, segments, vocabulary, captions, .. }) = &card.captioner {
        let encoders = encoders.join(" and ");
        lines.push(format!("encoders: {encoders}; {features} features of each of {segments} segments"));
        lines.push(format!("the decoder learns {captions} captions of {vocabulary} words"));
    }
    lines
}

/// A run under way.
struct Run<'a> {
    session: &'a Session,
    recipe: &'a CaptionRecipe,
    clips: &'a CaptionedClips,
    table: Option<&'a ParaphraseTable>,
    maker: FeatureMaker<'a>,
    words: &'a Words,
}

impl Run<'_> {
    fn finish(&self, card: RunCard) -> Result<RunCard> {
        let session = self.session;
        let [train, validation, test] = session.clock.time("Features", || {
            let of_part = |split| {
                let samples = self.clips.dataset.split(split);
                let message = |line| session.message(format!("{split}: {line}"));
                self.maker.of_clips(samples, session.percepts.as_deref(), &session.stop, &message)
            };
            Ok([of_part(Split::Train)?, of_part(Split::Validation)?, of_part(Split::Test)?])
        })?;
        let [train, validation, test] = self.scaled([train, validation, test])?;
        let (model, curve) = self.train_or_load(&train, &validation)?;
        let tested = session.clock.time("Test", || self.scorer(&model).test(self.clips, Split::Test, &test))?;
        let validation_nll = curve.iter().map(|point| point.validation_loss).fold(f64::INFINITY, f64::min);
        let result = CaptionerResult { parameters: model.num_params(), validation_nll, curve, test: tested.result() };
        outcome::write(session, self.recipe, self.clips, self.maker.encoders, card, &tested, result)
    }

    /// The features of the three parts as the decoder sees them.
    fn scaled(&self, parts: [Vec<ClipFeatures>; 3]) -> Result<[Rc<Vec<ClipFeatures>>; 3]> {
        if !self.recipe.features.scale {
            return Ok(parts.map(Rc::new));
        }
        let sizes = self.maker.sizes();
        let scales = features::scales(&sizes, &parts[0]);
        write_json(&self.session.dir.scales(), &scales)?;
        Ok(parts.map(|mut clips| {
            features::scale(&sizes, &scales, &mut clips);
            Rc::new(clips)
        }))
    }

    fn train_or_load(
        &self,
        train: &Rc<Vec<ClipFeatures>>,
        validation: &Rc<Vec<ClipFeatures>>,
    ) -> Result<(Captioner, Vec<EpochPoint>)> {
        let (session, training) = (self.session, &self.recipe.training);
        let config = self.recipe.decoder.config(self.maker.size(), self.words.vocabulary.len());
        let (weights, encoders) = (session.dir.model(), self.maker.fingerprint()?);
        if let Some(curve) = session.finished(KEY, NAME, encoders, std::slice::from_ref(&weights))? {
            return Ok((import(config.init(&session.device), &weights)?, curve));
        }
        let build = || CaptionModel { captioner: config.init(&initial::device()), penalties: training.penalties() };
        let model = initial::drawn(session.stage_seed(KEY), &session.device, build);
        let source = |features, captions: &[Learnt], split, per_epoch| {
            let ids = self.clips.dataset.split(split).iter().map(|sample| sample.id.clone()).collect();
            CaptionSource::new(features, captions.to_vec(), ids, per_epoch, &session.device)
        };
        let (captions, validated) = (&self.words.train, &self.words.validation);
        let per_round = training.captions_per_round(captions.len());
        let train = source(train, captions, Split::Train, per_round);
        let validation_source = source(validation, validated, Split::Validation, validated.len());
        let score = |model: &CaptionModel| self.score(model, validation);
        let stage = Stage::new(KEY, NAME, &training.section(captions.len()));
        let trained = session
            .clock
            .time(NAME, || Trainer::new(session, stage).run_selecting(model, &train, &validation_source, score))?;
        session.dir.check_there()?;
        let captioner = trained.model.captioner;
        let metadata = [("system", NAME.to_owned()), ("recipe", self.recipe.name.clone())];
        export(&captioner, &weights, &metadata)?;
        session.dir.mark_done(KEY, &trained.position.curve, encoders)?;
        Ok((captioner, trained.position.curve))
    }

    fn scorer<'m>(&'m self, captioner: &'m Captioner) -> Scorer<'m> {
        Scorer {
            captioner,
            vocabulary: &self.words.vocabulary,
            decoding: beam(self.recipe),
            table: self.table,
            device: &self.session.device,
        }
    }

    /// The metric of the validation captions that the weights are chosen by; none for the likelihood.
    fn score(&self, model: &CaptionModel, validation: &[ClipFeatures]) -> Result<Option<f64>> {
        let select = self.recipe.training.select;
        if select == Select::Nll {
            // Saves writing the captions.
            return Ok(None);
        }
        let captions = self.scorer(&model.captioner).captions(validation);
        let corpus = self.clips.corpus(Split::Validation, &captions)?;
        Ok(metrics::selected(&corpus, select, self.table))
    }
}

/// How captions are written that are scored.
pub(crate) fn beam(recipe: &CaptionRecipe) -> Decoding {
    Decoding::new()
        .with_method(DecodingMethod::Beam { width: recipe.decoding.beam })
        .with_max_length(recipe.decoding.max_length)
}
