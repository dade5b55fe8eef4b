//! All metrics of any captions: a line `CLIP CAPTION` for every reference, then the hypotheses.

#![no_main]

use gru_rcn_fuzz::parts;
use gru_rcn_metrics::caption::{Caption, Corpus, bleu, cider, cider_d, meteor, rouge_l};
use libfuzzer_sys::fuzz_target;

fn captions(bytes: &[u8]) -> Vec<Caption> {
    let text = String::from_utf8_lossy(bytes);
    let caption = |line: &str| line.split_once(' ').map(|(id, text)| Caption { id: id.into(), text: text.into() });
    text.split('\n').filter_map(caption).collect()
}

fuzz_target!(|bytes: &[u8]| {
    let [references, hypotheses, with_meteor] = parts(bytes);
    let Ok(corpus) = Corpus::new(&captions(references), &captions(hypotheses)) else { return };
    let bleu = bleu(&corpus);
    let mut scores = vec![rouge_l(&corpus), cider_d(&corpus), cider(&corpus)];
    // WordNet is unpacked every time.
    if !with_meteor.is_empty() {
        scores.push(meteor(&corpus, None));
    }
    let all = scores.iter().flat_map(|scores| scores.clips.iter().chain([&scores.corpus]));
    assert!(all.chain(bleu.corpus.iter()).all(|score| score.is_finite()));
});
