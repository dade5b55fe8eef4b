//! A finished run of a captioner, opened for use.

use std::path::Path;

use anyhow::{Context, Result, bail};
use burn::tensor::{Device, FloatDType};
use gru_rcn::captioner::{Captioner, Decoding, Sentence, Vocabulary};
use gru_rcn::weights::import;
use gru_rcn_data::{ClipSource, Sample, Split, source_of};
use gru_rcn_metrics::caption::ParaphraseTable;

use super::beam;
use super::data::CaptionedClips;
use super::encoder::Encoder;
use super::features::{ClipFeatures, FeatureMaker, scale};
use super::model::describe;
use super::outcome::{Scorer, Tested};
use crate::experiment::unfinished;
use crate::output::note;
use crate::percepts::ClipLoader;
use crate::recipe::CaptionRecipe;
use crate::report::jpeg_base64;
use crate::run::card::RunCard;
use crate::run::dir::{RunDir, read_json};
use crate::signals::StopFlag;

pub(crate) struct TrainedCaptioner {
    pub(crate) dir: RunDir,
    pub(crate) recipe: CaptionRecipe,
    pub(crate) card: RunCard,
    vocabulary: Vocabulary,
    captioner: Captioner,
    encoders: Vec<Encoder>,
    /// Factors of their features, if they are scaled.
    scales: Option<Vec<f32>>,
    device: Device,
}

/// A video in words.
pub(crate) struct Caption {
    /// The most probable sentence, and others.
    pub(crate) sentences: Vec<(String, Sentence)>,
    pub(crate) segments: usize,
    /// Where its pictures come from.
    sample: Sample,
}

impl TrainedCaptioner {
    pub(crate) fn open(dir: RunDir, device: &Device, dtype: FloatDType) -> Result<Self> {
        if !dir.captions_videos()? {
            bail!("{dir} trains classifiers of clips, no captioner; name the run of a captioner with --run");
        }
        let (recipe, card): (CaptionRecipe, _) = (dir.read_recipe_as()?, dir.card()?);
        if !dir.model().is_file() {
            return Err(unfinished(&dir, &dir.model()));
        }
        let vocabulary = Vocabulary::open(&dir.vocabulary())?;
        let encoders = Encoder::open_all(&recipe, Some(&dir), device, dtype)?;
        let features = FeatureMaker::new(&encoders, recipe.segments, device).size();
        let config = recipe.decoder.config(features, vocabulary.len());
        let captioner = import(config.init(device), &dir.model())?;
        let scales = match recipe.features.scale {
            true => {
                Some(read_json(&dir.scales())?.with_context(|| format!("{}: no such file", dir.scales().display()))?)
            }
            false => None,
        };
        Ok(Self { dir, recipe, card, vocabulary, captioner, encoders, scales, device: device.clone() })
    }

    fn maker(&self) -> FeatureMaker<'_> {
        FeatureMaker::new(&self.encoders, self.recipe.segments, &self.device)
    }

    fn scaled(&self, mut clips: Vec<ClipFeatures>) -> Vec<ClipFeatures> {
        if let Some(scales) = &self.scales {
            scale(&self.maker().sizes(), scales, &mut clips);
        }
        clips
    }

    /// Describes a video file or a folder of frames.
    pub(crate) fn caption(&self, video: &Path, decoding: &Decoding) -> Result<Caption> {
        let source = source_of(video)?;
        if matches!(source, ClipSource::Video(_)) {
            self.encoders[0].loader.reader.require_decoder()?;
        }
        let sample = Sample { id: video.display().to_string(), class: 0, appearance: None, source };
        let features = self.scaled(self.maker().compute(std::slice::from_ref(&sample))?);
        let sentences = describe(&self.captioner, &features, decoding, &self.device).swap_remove(0);
        let sentences =
            sentences.into_iter().map(|sentence| (self.vocabulary.text(&sentence.words), sentence)).collect();
        Ok(Caption { sentences, segments: features[0].segments, sample })
    }

    /// The words of a sentence.
    pub(crate) fn words<'a>(&'a self, sentence: &'a Sentence) -> impl Iterator<Item = &'a str> {
        sentence.words.iter().map(|&word| self.vocabulary.word(word).unwrap_or_default())
    }

    /// A picture of each segment that was described.
    pub(crate) fn pictures(&self, caption: &Caption) -> Result<Vec<String>> {
        cut_pictures(&self.encoders[0].loader, &caption.sample, self.recipe.segments)
    }

    /// Captions and scores of a part of the run's clips.
    pub(crate) fn test(&self, clips: &CaptionedClips, split: Split, table: Option<&ParaphraseTable>) -> Result<Tested> {
        let stop = StopFlag::install("run the command again")?;
        let samples = clips.dataset.split(split);
        let kept = self.dir.percepts();
        let kept = kept.is_dir().then_some(&*kept);
        let features = self.maker().of_clips(samples, kept, &stop, &|line| note!("{line}"))?;
        let features = self.scaled(features);
        let (captioner, vocabulary, device) = (&self.captioner, &self.vocabulary, &self.device);
        Scorer { captioner, vocabulary, decoding: beam(&self.recipe), table, device }.test(clips, split, &features)
    }

    /// An error unless these are the clips and captions that the run was trained on.
    pub(crate) fn check_same(&self, clips: &CaptionedClips) -> Result<()> {
        let trained_on = self.card.data.fingerprint.split('-').next().unwrap_or_default();
        if clips.fingerprint() != trained_on {
            bail!(
                "{} was trained on other clips or captions of {} ({trained_on} then, {} now), so its parts are not the same \
                 any more",
                self.dir,
                clips.dataset.name,
                clips.fingerprint()
            );
        }
        Ok(())
    }
}

/// The first frame of each of at most `segments` segments of a clip, JPEG in Base64.
pub(crate) fn cut_pictures(loader: &ClipLoader, sample: &Sample, segments: usize) -> Result<Vec<String>> {
    let segments = Encoder::read(loader, sample, segments)?;
    segments.iter().map(|frames| jpeg_base64(frames.frame(0), frames.height, frames.width)).collect()
}
