//! All metrics of captions, and the table that METEOR reads.

use std::panic::resume_unwind;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result, ensure};
use gru_rcn_data::base::{open_file, read_file};
use gru_rcn_metrics::caption::{Corpus, ParaphraseTable, Scores, bleu, cider, cider_d, meteor, rouge_l};

use crate::output::{describe, note};
use crate::recipe::Select;
use crate::run::dir::write_atomically;

/// METEOR's table of paraphrases, in the folder of its jar.
const PARAPHRASES: &str = "data/paraphrase-en.gz";
/// The table in the form that is searched quickly.
const CONVERTED: &str = "data/paraphrase-en.gru-rcn";
/// Most bytes of that: METEOR's own has 54 million.
const MOST_CONVERTED: u64 = 4 << 30;

/// A metric under its name in JSON and its name in print.
pub(crate) struct Metric {
    pub(crate) key: &'static str,
    pub(crate) name: &'static str,
    pub(crate) scores: Scores,
}

/// All metrics. METEOR takes as long as the others together and is computed beside them.
pub(crate) fn metrics(corpus: &Corpus, table: Option<&ParaphraseTable>) -> Vec<Metric> {
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

/// The corpus' score of one metric; none for the likelihood, which is not a metric of captions.
pub(crate) fn selected(corpus: &Corpus, select: Select, table: Option<&ParaphraseTable>) -> Option<f64> {
    match select {
        Select::Bleu4 => Some(bleu(corpus).corpus[3]),
        Select::Meteor => Some(meteor(corpus, table).corpus),
        Select::Cider => Some(cider_d(corpus).corpus),
        Select::Nll => None,
    }
}

/// METEOR's paraphrases, from the converted table if it is there and newer than the original.
pub(crate) fn paraphrases(folder: &Path) -> Result<ParaphraseTable> {
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
