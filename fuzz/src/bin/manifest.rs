//! Manifests, journals and lists of failures of prepared folders. A manifest that was read and
//! written is read again as the same.

#![no_main]

use gru_rcn_data::{Manifest, fuzzing};
use gru_rcn_fuzz::put;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let path = put("manifest.jsonl", bytes);
    fuzzing::journal_and_failures(&path);
    if let Ok(manifest) = Manifest::read(&path) {
        manifest.write(&path).expect("what was read can be written");
        assert_eq!(Manifest::read(&path).expect("what was written can be read"), manifest);
    }
});
