//! Caption metrics.

mod tokenizer;

pub use tokenizer::{tokenize, tokenize_lines};
