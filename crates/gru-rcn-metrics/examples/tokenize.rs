//! Tokenises captions: reads one JSON string per line and writes its tokens, separated by spaces.
//!
//!     cargo run --release -p gru-rcn-metrics --example tokenize < captions.jsonl

use std::io::{BufWriter, Write, stdin, stdout};

use gru_rcn_metrics::caption::tokenize_lines;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let read = |line: std::io::Result<String>| Ok(serde_json::from_str(&line?)?);
    let captions = stdin().lines().map(read).collect::<Result<Vec<String>, Box<dyn std::error::Error>>>()?;
    let mut out = BufWriter::new(stdout().lock());
    for tokens in tokenize_lines(captions.iter().map(String::as_str)) {
        writeln!(out, "{}", tokens.join(" "))?;
    }
    Ok(())
}
