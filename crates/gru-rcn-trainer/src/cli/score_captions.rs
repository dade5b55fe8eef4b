//! `score-captions`: BLEU, ROUGE-L, CIDEr and METEOR of captions in COCO's format, equal to those of
//! coco-caption.

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use clap::Args;
use gru_rcn_metrics::caption::{CaptionError, Corpus, Scores, Side};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::shared::print_json;
use crate::captioning::coco;
use crate::captioning::metrics::{Metric, metrics, paraphrases};
use crate::output::{note, say};
use crate::report::counted;

#[derive(Args, Debug)]
pub(super) struct ScoreCaptionsArgs {
    /// The references: `{"annotations": [{"image_id": ID, "caption": TEXT}, …]}`.
    references: PathBuf,
    /// The captions to score, one for every id: `[{"image_id": ID, "caption": TEXT}, …]`.
    hypotheses: PathBuf,
    /// METEOR's folder, that of meteor-1.5.jar and data/paraphrase-en.gz, such as pycocoevalcap/meteor.
    /// Without it METEOR is computed without paraphrases, and its name says so. The table is converted
    /// once and kept beside the original.
    #[arg(long, value_name = "DIR")]
    meteor: Option<PathBuf>,
    /// Print the scores of every caption too; JSON always has them.
    #[arg(long)]
    per_caption: bool,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// What `score-captions --json` prints.
#[derive(Serialize)]
struct Report {
    corpus: Map<String, Value>,
    captions: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    image_id: Value,
    /// The tokens that were scored.
    tokens: String,
    #[serde(flatten)]
    scores: Map<String, Value>,
}

impl ScoreCaptionsArgs {
    pub(super) fn run(&self) -> Result<()> {
        let corpus = self.corpus()?;
        let table = self.meteor.as_deref().map(paraphrases).transpose()?;
        if corpus.clips().len() == 1 {
            note!("note: CIDEr of a single clip is 0: it weighs words by the clips that have them");
        }
        let metrics = metrics(&corpus, table.as_ref());
        if self.json {
            return print_json(&report(&corpus, &metrics)?);
        }
        let references: usize = corpus.clips().iter().map(|clip| clip.references.len()).sum();
        say!("{}, {}", counted(corpus.clips().len(), "caption"), counted(references, "reference"))?;
        for metric in &metrics {
            say!("  {:28} {:8.4}", metric.name, metric.scores.corpus)?;
        }
        if self.per_caption {
            self.print_captions(&corpus, &metrics)?;
        }
        Ok(())
    }

    fn corpus(&self) -> Result<Corpus> {
        let references = coco::captions(coco::references(&self.references)?)?;
        let hypotheses = coco::captions(coco::hypotheses(&self.hypotheses)?)?;
        Corpus::new(&references, &hypotheses).map_err(|error| self.name_file(error))
    }

    fn name_file(&self, error: CaptionError) -> anyhow::Error {
        match error.side() {
            Some(Side::References) => anyhow!(error).context(self.references.display().to_string()),
            Some(Side::Hypotheses) => anyhow!(error).context(self.hypotheses.display().to_string()),
            None => anyhow!(error),
        }
    }

    fn print_captions(&self, corpus: &Corpus, metrics: &[Metric]) -> Result<()> {
        let width = |metric: &Metric| metric.name.len().max(7);
        let names: Vec<String> = metrics.iter().map(|metric| format!("{:>1$}", metric.name, width(metric))).collect();
        say!("\n{}  clip, tokens", names.join("  "))?;
        for (place, clip) in corpus.clips().iter().enumerate() {
            let score = |metric: &Metric| format!("{:1$.4}", metric.scores.clips[place], width(metric));
            let scores: Vec<String> = metrics.iter().map(score).collect();
            say!("{}  {}  {}", scores.join("  "), clip.id, clip.hypothesis)?;
        }
        Ok(())
    }
}

fn report(corpus: &Corpus, metrics: &[Metric]) -> Result<Report> {
    let scores = |of: &dyn Fn(&Scores) -> f64| -> Map<String, Value> {
        metrics.iter().map(|metric| (metric.key.to_owned(), json!(of(&metric.scores)))).collect()
    };
    let entries = corpus.clips().iter().enumerate().map(|(place, clip)| {
        Ok(Entry {
            image_id: serde_json::from_str(&clip.id)?,
            tokens: clip.hypothesis.clone(),
            scores: scores(&|scores| scores.clips[place]),
        })
    });
    Ok(Report { corpus: scores(&|scores| scores.corpus), captions: entries.collect::<Result<_>>()? })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::output::describe;

    /// Writes both files and reads them as the verb does.
    fn corpus(references: &str, hypotheses: &str) -> Result<Corpus> {
        let folder = tempfile::tempdir()?;
        let args = ScoreCaptionsArgs {
            references: folder.path().join("refs.json"),
            hypotheses: folder.path().join("hyps.json"),
            meteor: None,
            per_caption: false,
            json: true,
        };
        fs::write(&args.references, references)?;
        fs::write(&args.hypotheses, hypotheses)?;
        args.corpus()
    }

    #[track_caller]
    fn fault(references: &str, hypotheses: &str, file: &str, words: &str) {
        let message = describe(&corpus(references, hypotheses).unwrap_err());
        assert!(message.contains(file) && message.contains(words), "{message}");
    }

    const REFERENCES: &str = r#"{"images": [{"id": 2}, {"id": "a"}], "annotations": [
        {"image_id": "a", "id": 1, "caption": "A man sings."}, {"image_id": 2, "id": 2, "caption": "A dog."}]}"#;

    #[test]
    fn clips_are_in_the_order_of_the_images() {
        let hypotheses = r#"[{"image_id": "a", "caption": "a man"}, {"image_id": 2, "caption": "a dog runs"}]"#;
        let corpus = corpus(REFERENCES, hypotheses).unwrap();
        let ids: Vec<&str> = corpus.clips().iter().map(|clip| clip.id.as_str()).collect();
        assert_eq!(ids, ["2", "\"a\""]);
        let report = report(&corpus, &metrics(&corpus, None)).unwrap();
        assert_eq!((&report.captions[0].image_id, &report.captions[1].image_id), (&json!(2), &json!("a")));
        assert!(report.corpus.contains_key("meteor_without_paraphrases") && !report.corpus.contains_key("meteor"));
    }

    #[test]
    fn errors_name_the_file_and_the_id() {
        let one = r#"[{"image_id": "a", "caption": "a man"}, {"image_id": 2, "caption": "b"}]"#;
        fault(REFERENCES, r#"[{"image_id": "a", "caption": "a man"}]"#, "hyps.json", "no hypothesis for 1 clip: 2");
        fault(REFERENCES, &one.replace('2', "\"2\""), "hyps.json", "no hypothesis for 1 clip: 2");
        fault(
            REFERENCES,
            &one.replace(']', r#", {"image_id": 3, "caption": "c"}]"#),
            "refs.json",
            "no references for 1 clip: 3",
        );
        fault(
            REFERENCES,
            &one.replace(']', r#", {"image_id": 2, "caption": "c"}]"#),
            "hyps.json",
            "clip 2 has 2 hypotheses",
        );
        fault(REFERENCES, &one.replace("a man", r"a\rman"), "hyps.json", r#"clip "a" holds a line separator (U+000D)"#);
        fault(&REFERENCES.replace("A dog", "A ||| dog"), one, "refs.json", "clip 2 holds `|||`");
        fault(&REFERENCES.replace("{\"id\": 2}, ", ""), one, "refs.json", "a caption is of 2, which is not among");
        fault(
            &REFERENCES.replace("{\"id\": 2}", "{\"id\": 2}, {\"id\": 5}"),
            one,
            "refs.json",
            "image 5 has no caption",
        );
        fault("[]", one, "refs.json", "is not in COCO's format");
    }
}
