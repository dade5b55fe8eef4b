//! Scores captions as coco-caption does. Each line of both files is the id of a video, a tab and a
//! caption; a video has one candidate and any number of references.
//!
//!     cargo run --release -p gru-rcn-metrics --example score_captions -- REFERENCES CANDIDATES

use gru_rcn_metrics::caption::{Caption, Corpus, bleu, cider_d, meteor, rouge_l};

fn read(path: &str) -> Result<Vec<Caption>, Box<dyn std::error::Error>> {
    let caption = |line: &str| {
        let (id, text) = line.split_once('\t').ok_or_else(|| format!("{path}: no tab in the line {line:?}"))?;
        Ok(Caption { id: id.into(), text: text.into() })
    };
    std::fs::read_to_string(path)?.lines().map(caption).collect()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [references, candidates] = &arguments[..] else { return Err("give REFERENCES CANDIDATES".into()) };
    let corpus = Corpus::new(&read(references)?, &read(candidates)?)?;
    println!("BLEU-4   {:.4}", bleu(&corpus).corpus[3]);
    println!("ROUGE-L  {:.4}", rouge_l(&corpus).corpus);
    println!("CIDEr-D  {:.4}", cider_d(&corpus).corpus);
    // Lower than published numbers: its table of paraphrases is not part of the crate.
    println!("METEOR without paraphrases  {:.4}", meteor(&corpus, None).corpus);
    Ok(())
}
