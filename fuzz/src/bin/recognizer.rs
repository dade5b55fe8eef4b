//! The description in a recognizer's weight file.

#![no_main]

use burn::tensor::Device;
use gru_rcn::recognizer::{Recognizer, RecognizerDescription};
use gru_rcn_fuzz::put;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|description: &str| {
    if RecognizerDescription::parse(description).is_err() {
        return;
    }
    // One that is accepted, in a file without a tensor.
    let header = format!("{{\"__metadata__\":{{\"recognizer\":{}}}}}", json_text(description));
    let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
    let path = put("run/model.safetensors", &file);
    put("run/backbone.safetensors", &file);
    put("run/backbone-joint.safetensors", &file);
    let error = Recognizer::open(path.parent().expect("a run"), &Device::flex()).expect_err("it has no weights");
    assert!(!error.to_string().is_empty());
});

/// A text in JSON.
fn json_text(text: &str) -> String {
    text.chars().fold("\"".to_owned(), |text, c| text + &format!("\\u{:04x}", c as u32)) + "\""
}
