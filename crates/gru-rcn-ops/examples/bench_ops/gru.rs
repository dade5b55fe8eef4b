//! Benchmarks.

/// Names that `run` knows.
pub const NAMES: &[&str] = &[];

/// Runs the benchmark `name`; false where it is unknown.
pub fn run(_name: &str, _arguments: &[String]) -> bool {
    false
}
