//! `caption`: sentences about any video file.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::Args;
use gru_rcn::captioner::{Decoding, DecodingMethod, Sentence};
use serde::Serialize;

use super::shared::{FilesArgs, ModelArgs, Tally, each_file, print_json};
use crate::captioning::{Caption, TrainedCaptioner, beam};
use crate::output::{note, say};
use crate::report::{DescribedVideo, render_attention};
use crate::run::dir::write_atomically;

#[derive(Args, Debug)]
pub(super) struct CaptionArgs {
    #[command(flatten)]
    files: FilesArgs,
    /// Width of the beam; by default that of the run's recipe.
    #[arg(long, value_name = "WIDTH", value_parser = clap::value_parser!(u16).range(1..=1000))]
    beam: Option<u16>,
    /// Choose the most probable word each time, without a beam.
    #[arg(long, conflicts_with = "beam")]
    greedy: bool,
    /// Draw the words at this temperature: at 1 by their probabilities, below 1 with more weight on
    /// probable words.
    #[arg(long, value_name = "TEMPERATURE", conflicts_with_all = ["beam", "greedy"])]
    sample: Option<f64>,
    /// Seed of the draws.
    #[arg(long, default_value_t = 0, requires = "sample")]
    seed: u64,
    /// Write a page that shows the attention of each word to the segments.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) model: ModelArgs,
}

/// What `caption --json` prints for a file that it captioned.
#[derive(Serialize)]
struct CaptionEntry {
    /// The file as it was named.
    file: String,
    caption: String,
    /// Sum of the logarithms of the words' probabilities.
    log_probability: f64,
    /// Whether the caption ended before it was cut.
    finished: bool,
    alternatives: Vec<Alternative>,
    /// Number of segments of the video.
    segments: usize,
    /// Attention of each word to each segment, `[word][segment]`.
    attention: Vec<Vec<f32>>,
}

#[derive(Serialize)]
struct Alternative {
    caption: String,
    log_probability: f64,
}

impl CaptionArgs {
    /// Files that cannot be captioned are exit code 1, or an error if there are no others.
    pub(super) fn run(&self) -> Result<()> {
        let files = self.files.files()?;
        let captioner = self.model.open_captioner(self.model.dir()?)?;
        let decoding = self.decoding(&captioner)?;
        let mut tally = Tally { all: files.len(), failed: 0, done: "captioned", kept: false };
        let (mut pages, mut entries) = (Vec::new(), Vec::new());
        let captioned = |video: &Path| {
            let (entry, page) = self.caption(&captioner, &decoding, video)?;
            if !self.json {
                say!("{}: {}", entry.file, entry.caption)?;
                for Alternative { caption, log_probability } in &entry.alternatives {
                    say!("  {log_probability:8.2}  {caption}")?;
                }
            }
            pages.extend(page);
            Ok(entry)
        };
        each_file(&files, &mut tally, captioned, |entry| {
            entries.push(entry);
            Ok(())
        })?;
        if let Some(path) = &self.html {
            write_atomically(path, render_attention(&pages).as_bytes())?;
            note!("page: {}", path.display());
        }
        if self.json {
            print_json(&entries)?;
        }
        tally.exit("")
    }

    fn decoding(&self, captioner: &TrainedCaptioner) -> Result<Decoding> {
        let of_recipe = beam(&captioner.recipe);
        Ok(match (self.greedy, self.sample, self.beam) {
            (true, ..) => of_recipe.with_method(DecodingMethod::Greedy),
            (_, Some(temperature), _) => {
                ensure!(temperature > 0.0, "--sample {temperature}: a temperature is positive");
                of_recipe.with_method(DecodingMethod::Sample { seed: self.seed, temperature })
            }
            (.., Some(width)) => of_recipe.with_method(DecodingMethod::Beam { width: width.into() }),
            _ => of_recipe,
        })
    }

    /// The entry of a video, and its part of the page if one was asked for.
    fn caption(
        &self,
        captioner: &TrainedCaptioner,
        decoding: &Decoding,
        video: &Path,
    ) -> Result<(CaptionEntry, Option<DescribedVideo>)> {
        let caption = captioner.caption(video, decoding)?;
        let (text, best) = &caption.sentences[0];
        ensure!(
            best.log_probability.is_finite(),
            "{}: the captioner gives no finite probabilities for it; the weights of {} are damaged",
            video.display(),
            captioner.dir
        );
        let alternative = |(caption, sentence): &(String, Sentence)| Alternative {
            caption: caption.clone(),
            log_probability: sentence.log_probability,
        };
        let entry = CaptionEntry {
            file: video.display().to_string(),
            caption: text.clone(),
            log_probability: best.log_probability,
            finished: best.finished,
            alternatives: caption.sentences[1..].iter().map(alternative).collect(),
            segments: caption.segments,
            attention: best.attention.clone(),
        };
        let page = self.html.as_ref().map(|_| page(captioner, &caption, video)).transpose()?;
        Ok((entry, page))
    }
}

fn page(captioner: &TrainedCaptioner, caption: &Caption, video: &Path) -> Result<DescribedVideo> {
    let (_, best) = &caption.sentences[0];
    let words = captioner.words(best).zip(&best.attention);
    Ok(DescribedVideo {
        file: video.display().to_string(),
        sentences: caption.sentences.iter().map(|(text, s)| (text.clone(), s.log_probability)).collect(),
        words: words.map(|(word, weights)| (word.to_owned(), weights.clone())).collect(),
        pictures: captioner.pictures(caption)?,
    })
}
