//! METEOR's table of paraphrases: any text packed, any packed file, and a converted table with any
//! bytes in it.

#![no_main]

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use gru_rcn_fuzz::parts;
use gru_rcn_metrics::caption::{CaptionedClip, Corpus, ParaphraseTable, meteor};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let [text, changes] = parts(bytes);
    let _ = ParaphraseTable::convert(bytes);
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    let _ = packed.write_all(text);
    let Ok(table) = ParaphraseTable::convert(packed.finish().expect("memory does not fail").as_slice()) else { return };
    let mut converted = table.as_bytes().to_vec();
    for change in changes.chunks_exact(5) {
        let place = u32::from_le_bytes([change[0], change[1], change[2], change[3]]) as usize % converted.len();
        converted[place] = change[4];
    }
    let Ok(table) = ParaphraseTable::from_bytes(converted) else { return };
    // Three lines a pair: a number and two phrases.
    let text = String::from_utf8_lossy(text);
    let phrases = || text.lines().filter(|line| !line.is_empty()).map(str::to_owned);
    let clip = CaptionedClip {
        id: "x".into(),
        hypothesis: phrases().last().unwrap_or_default(),
        references: phrases().collect(),
    };
    if let Ok(corpus) = Corpus::from_tokens(vec![clip]) {
        meteor(&corpus, Some(&table));
    }
});
