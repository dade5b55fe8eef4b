//! One run of FFmpeg: its pictures, its words, its end.
//!
//! A thread reads the pictures and hands them over through a short channel, another keeps the last of what FFmpeg says.
//! The caller waits on the channel with a deadline, so a program that hangs without writing is stopped as well as one
//! that never ends. Dropping a [`Decoding`] kills the child.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use super::DecodeLimits;
use super::collect::Flow;
use super::ppm::{Picture, read_picture};
use crate::error::DataError;

/// Frames decoded ahead of the caller.
const AHEAD: usize = 4;
/// Lines of FFmpeg's messages that are kept, and bytes of each.
const LINES: usize = 5;
const LINE_BYTES: u64 = 300;

/// A running FFmpeg.
pub(super) struct Decoding {
    path: PathBuf,
    child: Child,
    pictures: Receiver<Result<Picture, std::io::Error>>,
    words: Receiver<String>,
    frames: usize,
    deadline: Instant,
    limits: DecodeLimits,
}

impl Decoding {
    pub(super) fn start(mut command: Command, path: &Path, limits: &DecodeLimits) -> Result<Self, DataError> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        own_group(&mut command);
        let program = PathBuf::from(command.get_program());
        let missing = |reason: String| DataError::FfmpegMissing { program: program.clone(), reason };
        let mut child = command.spawn().map_err(|error| missing(error.to_string()))?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(missing("its output cannot be read".to_owned()));
        };
        Ok(Self {
            path: path.to_owned(),
            child,
            pictures: read_pictures(stdout, limits.max_side),
            words: read_words(stderr),
            frames: 0,
            deadline: Instant::now() + limits.timeout,
            limits: *limits,
        })
    }

    /// Gives each frame to `take` until the stream ends or `take` has enough; returns which of the two it was.
    pub(super) fn for_each(
        &mut self,
        mut take: impl FnMut(Picture) -> Result<Flow, DataError>,
    ) -> Result<Flow, DataError> {
        loop {
            match self.pictures.recv_deadline(self.deadline) {
                Ok(Ok(picture)) => {
                    self.frames += 1;
                    if take(picture)? == Flow::Stop {
                        return Ok(Flow::Stop);
                    }
                }
                // The exit status and FFmpeg's words tell more than "the pipe ended".
                Ok(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => return Ok(Flow::Continue),
                Ok(Err(error)) if error.kind() == ErrorKind::FileTooLarge => return Err(self.too_wide()),
                Ok(Err(error)) => return Err(self.broken(error.to_string())),
                Err(RecvTimeoutError::Disconnected) => return Ok(Flow::Continue),
                Err(RecvTimeoutError::Timeout) => return Err(self.late()),
            }
        }
    }

    /// Waits for the end of a stream read to its end and checks how the program left. Returns the last of its complaints,
    /// empty where all was well.
    pub(super) fn finish(&mut self) -> Result<String, DataError> {
        let status = self.wait()?;
        let words = self.words.recv_timeout(Duration::from_secs(1)).unwrap_or_default();
        let path = self.path.clone();
        match (status.success(), self.frames) {
            (true, 0) => Err(DataError::NoFrames { path, words }),
            (true, _) => Ok(words),
            (false, 0) => Err(DataError::NotVideo { path, words: ending(status, words) }),
            (false, _) => Err(self.broken(ending(status, words))),
        }
    }

    fn wait(&mut self) -> Result<ExitStatus, DataError> {
        let mut pause = Duration::from_micros(200);
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) if Instant::now() >= self.deadline => return Err(self.late()),
                Ok(None) => thread::sleep(pause),
                Err(error) => return Err(DataError::io(&self.path, error)),
            }
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    fn broken(&self, words: String) -> DataError {
        DataError::BrokenVideo { path: self.path.clone(), frames: self.frames, words }
    }

    fn too_wide(&self) -> DataError {
        DataError::TooLarge { path: self.path.clone(), limit: "max_side", allowed: self.limits.max_side }
    }

    fn late(&self) -> DataError {
        DataError::Timeout { path: self.path.clone(), limit: self.limits.timeout }
    }
}

impl Drop for Decoding {
    fn drop(&mut self) {
        // Errors mean that it has ended already. The reading threads end with the pipes.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process group of its own keeps the terminal's Ctrl-C from FFmpeg: the program that reads the clip decides what an
/// interrupt means, and it may want to finish its step.
fn own_group(command: &mut Command) {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    #[cfg(not(unix))]
    let _ = command;
}

fn read_pictures(stdout: ChildStdout, max_side: usize) -> Receiver<Result<Picture, std::io::Error>> {
    let (sender, receiver) = bounded(AHEAD);
    thread::spawn(move || {
        let mut stream = BufReader::with_capacity(1 << 16, stdout);
        while let Some(picture) = read_picture(&mut stream, max_side).transpose() {
            let last = picture.is_err();
            if sender.send(picture).is_err() || last {
                return;
            }
        }
    });
    receiver
}

/// Reads all that the child says, so that it never blocks, and sends the last lines when it ends.
fn read_words(stderr: ChildStderr) -> Receiver<String> {
    let (sender, receiver) = bounded(1);
    thread::spawn(move || {
        let mut stream = BufReader::new(stderr);
        let mut lines = VecDeque::new();
        let mut line = Vec::new();
        while stream.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            let text = without_addresses(String::from_utf8_lossy(&line).trim());
            if !text.is_empty() {
                lines.push_back(text);
            }
            if lines.len() > LINES {
                lines.pop_front();
            }
            line.clear();
        }
        let _ = sender.send(Vec::from(lines).join("; "));
    });
    receiver
}

/// `[avi @ 0x5600]` becomes `[avi]`: the same fault should read the same each time.
fn without_addresses(line: &str) -> String {
    let mut parts = line.split(" @ 0x");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.trim_start_matches(|c: char| c.is_ascii_hexdigit()))
}

fn ending(status: ExitStatus, words: String) -> String {
    if words.is_empty() { format!("nothing, {status}") } else { words }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_left_out() {
        let line = "[mpeg4 @ 0x56b0fd00] [IMGUTILS @ 0x7ffd] Picture size";
        assert_eq!(without_addresses(line), "[mpeg4] [IMGUTILS] Picture size");
        assert_eq!(without_addresses("a @ home"), "a @ home");
    }
}
