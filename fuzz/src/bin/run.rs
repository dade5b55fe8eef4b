//! Files of a run: scores, JSON files, vocabularies.

#![no_main]

use gru_rcn::captioner::Vocabulary;
use gru_rcn_fuzz::put;
use gru_rcn_trainer::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let path = put("file", bytes);
    let _ = (fuzzing::scores(&path), Vocabulary::open(&path));
    fuzzing::json(&path);
});
