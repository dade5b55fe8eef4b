//! Lines to standard output and standard error, without the panics of `println!` and `eprintln!`, and
//! the text of errors.

use std::fmt::Arguments;
use std::io::{Write, stderr, stdout};

use anyhow::{Context, Result};

/// Writes a line of the result to standard output, as `println!` does. A result that cannot be
/// written is an error.
macro_rules! say {
    () => { $crate::output::to_stdout(format_args!("")) };
    ($($line:tt)*) => { $crate::output::to_stdout(format_args!($($line)*)) };
}

/// Writes a line to standard error, as `eprintln!` does. A line that cannot be written is dropped:
/// a full disk under a log must not cost the work.
macro_rules! note {
    ($($line:tt)*) => { $crate::output::to_stderr(format_args!($($line)*)) };
}

pub(crate) use {note, say};

pub(crate) fn to_stdout(line: Arguments) -> Result<()> {
    let mut out = stdout().lock();
    // The buffer is emptied here, where a failure can be reported, not at the end of the process.
    out.write_fmt(line)
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush())
        .context("cannot write to standard output")
}

pub(crate) fn to_stderr(line: Arguments) {
    let _ = writeln!(stderr(), "{line}");
}

/// An error with its causes, each once: many state the words of their cause themselves.
pub(crate) fn describe(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn an_error_says_its_words_once() {
        let file = std::io::Error::other("Permission denied");
        let data = gru_rcn_data::DataError::Io { path: "x.avi".into(), source: file };
        let error = anyhow::Error::from(data).context("the clip a/x.avi cannot be read");
        assert_eq!(describe(&error), "the clip a/x.avi cannot be read: x.avi: Permission denied");
        assert_eq!(describe(&anyhow!("inner").context("outer")), "outer: inner");
    }
}
