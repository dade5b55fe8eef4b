//! Recipes, and changes of their keys: one a line behind the recipe and a byte 0xff.

#![no_main]

use gru_rcn_fuzz::parts;
use gru_rcn_trainer::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let [recipe, changes] = parts(bytes).map(String::from_utf8_lossy);
    let changes: Vec<String> = changes.lines().map(str::to_owned).collect();
    let _ = fuzzing::recipe(&recipe, &changes);
});
