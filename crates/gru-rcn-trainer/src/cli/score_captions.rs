//! `score-captions`: BLEU, ROUGE-L, CIDEr and METEOR of captions in COCO's format, equal to those of
//! coco-caption.

use std::collections::HashMap;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;
use gru_rcn_data::base::{open_file, read_file, read_text};
use gru_rcn_metrics::caption::{
    Caption, CaptionError, Corpus, ParaphraseTable, Scores, Side, bleu, cider, cider_d, meteor, rouge_l,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::shared::print_json;
use crate::output::{describe, note, say};
use crate::report::counted;
use crate::run::dir::write_atomically;

/// METEOR's table of paraphrases, in the folder of its jar.
const PARAPHRASES: &str = "data/paraphrase-en.gz";
/// The same in the form that is searched quickly.
const CONVERTED: &str = "data/paraphrase-en.gru-rcn";
/// Most bytes of that: METEOR's own has 54 million.
const MOST_CONVERTED: u64 = 4 << 30;

#[derive(Args, Debug)]
pub(super) struct ScoreCaptionsArgs {
    /// The references: `{"annotations": [{"image_id": ID, "caption": TEXT}, …]}`.
    references: PathBuf,
    /// The captions to score, one for every id: `[{"image_id": ID, "caption": TEXT}, …]`.
    hypotheses: PathBuf,
    /// METEOR's folder, that of meteor-1.5.jar and data/paraphrase-en.gz, such as pycocoevalcap/meteor.
    /// Without it METEOR knows no paraphrases and is printed as such. The table is converted once
    /// and kept beside the original.
    #[arg(long, value_name = "DIR")]
    meteor: Option<PathBuf>,
    /// Print the scores of every caption too; JSON always has them.
    #[arg(long)]
    per_caption: bool,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// The file of references. COCO's has more keys.
#[derive(Deserialize)]
struct References {
    images: Option<Vec<Image>>,
    annotations: Vec<Annotation>,
}

#[derive(Deserialize)]
struct Image {
    id: Id,
}

#[derive(Deserialize)]
struct Annotation {
    image_id: Id,
    caption: String,
}

/// A clip's id; 1 and "1" are two.
#[derive(Clone, Deserialize, PartialEq, Eq, Hash, Serialize)]
#[serde(untagged)]
enum Id {
    Number(i64),
    Text(String),
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

/// A metric under its name in JSON and its name in print.
struct Metric {
    key: &'static str,
    name: &'static str,
    scores: Scores,
}

impl ScoreCaptionsArgs {
    pub(super) fn run(&self) -> Result<()> {
        let references = self.read_references()?;
        let hypotheses = captions(read_json::<Vec<Annotation>>(&self.hypotheses)?)?;
        let corpus = Corpus::new(&references, &hypotheses).map_err(|error| self.name_file(error))?;
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

    /// The references in the order of the images, if the file lists them.
    fn read_references(&self) -> Result<Vec<Caption>> {
        let path = self.references.display();
        let References { images, mut annotations } = read_json(&self.references)?;
        let Some(images) = images else { return captions(annotations) };
        let places: HashMap<&Id, usize> = images.iter().enumerate().map(|(place, image)| (&image.id, place)).collect();
        let mut captioned = vec![false; images.len()];
        for annotation in &annotations {
            let Some(&place) = places.get(&annotation.image_id) else {
                bail!("{path}: a caption is of {}, which is not among the images", annotation.image_id.text()?);
            };
            captioned[place] = true;
        }
        if let Some(place) = images.iter().position(|image| !places.get(&image.id).is_some_and(|&at| captioned[at])) {
            bail!("{path}: image {} has no caption; remove it or add one", images[place].id.text()?);
        }
        annotations.sort_by_key(|annotation| places[&annotation.image_id]);
        captions(annotations)
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

impl Id {
    /// The id as it stands in the file.
    fn text(&self) -> Result<String> {
        Ok(serde_json::to_string(self)?)
    }
}

fn captions(annotations: Vec<Annotation>) -> Result<Vec<Caption>> {
    let caption = |Annotation { image_id, caption }| Ok(Caption { id: image_id.text()?, text: caption });
    annotations.into_iter().map(caption).collect()
}

fn read_json<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T> {
    serde_json::from_str(&read_text(path)?).with_context(|| format!("{} is not in COCO's format", path.display()))
}

/// All metrics. METEOR takes as long as the others together and is computed beside them.
fn metrics(corpus: &Corpus, table: Option<&ParaphraseTable>) -> Vec<Metric> {
    let (bleus, meteor, others) = thread::scope(|scope| {
        let meteor = scope.spawn(|| meteor(corpus, table));
        let bleus = bleu(corpus);
        let others = [
            Metric { key: "rouge_l", name: "ROUGE-L", scores: rouge_l(corpus) },
            Metric { key: "cider_d", name: "CIDEr-D", scores: cider_d(corpus) },
            Metric { key: "cider", name: "CIDEr", scores: cider(corpus) },
        ];
        (bleus, meteor.join().unwrap_or_else(|panic| resume_unwind(panic)), others)
    });
    let names = [("bleu1", "BLEU-1"), ("bleu2", "BLEU-2"), ("bleu3", "BLEU-3"), ("bleu4", "BLEU-4")];
    let bleu = |(order, (key, name))| {
        let clips = bleus.clips.iter().map(|clip| clip[order]).collect();
        Metric { key, name, scores: Scores { corpus: bleus.corpus[order], clips } }
    };
    let mut metrics: Vec<Metric> = names.into_iter().enumerate().map(bleu).collect();
    let (key, name) = match table {
        Some(_) => ("meteor", "METEOR"),
        None => ("meteor_without_paraphrases", "METEOR without paraphrases"),
    };
    metrics.push(Metric { key, name, scores: meteor });
    metrics.extend(others);
    metrics
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

/// METEOR's paraphrases, from the converted table if it is there and newer than the original.
fn paraphrases(folder: &Path) -> Result<ParaphraseTable> {
    let (original, converted) = (folder.join(PARAPHRASES), folder.join(CONVERTED));
    ensure!(
        original.is_file(),
        "{}: no such file; --meteor is the folder of meteor-1.5.jar with METEOR's data, such as pycocoevalcap/meteor",
        original.display()
    );
    let modified = |path: &Path| path.metadata().and_then(|metadata| metadata.modified());
    if let (Ok(converted_at), Ok(original_at)) = (modified(&converted), modified(&original))
        && converted_at >= original_at
    {
        return ParaphraseTable::from_bytes(read_file(&converted, MOST_CONVERTED)?)
            .with_context(|| format!("{}; delete the file, and it is made again", converted.display()));
    }
    note!("converting METEOR's paraphrases, once");
    let (file, _) = open_file(&original)?;
    let table = ParaphraseTable::convert(file).with_context(|| original.display().to_string())?;
    if let Err(error) = write_atomically(&converted, table.as_bytes()) {
        note!("warning: the converted paraphrases cannot be kept, and are made again next time: {}", describe(&error));
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

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
        let hypotheses = captions(read_json::<Vec<Annotation>>(&args.hypotheses)?)?;
        Corpus::new(&args.read_references()?, &hypotheses).map_err(|error| args.name_file(error))
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
