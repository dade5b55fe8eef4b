//! Event files for TensorBoard: scalars only, written without its libraries.
//!
//! A file is a sequence of records in TFRecord's framing: the length as eight bytes, a checksum of
//! these, an `Event` message in the wire format of protocol buffers, and a checksum of the message.
//! All numbers are little-endian. An event holds
//!
//! ```text
//! Event      1 wall_time: double   2 step: int64   3 file_version: string   5 summary: Summary   7 session_log: SessionLog
//! Summary    1 value: repeated Value
//! Value      1 tag: string   2 simple_value: float
//! SessionLog 1 status: enum, START = 1
//! ```

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};

use super::{Event, Interval, Observer};
use crate::output::describe;
use crate::run::dir::RunDir;

/// Seconds between two points of the curves over steps.
const INTERVAL: u64 = 10;

/// Writes event files, one folder per stage.
pub(crate) struct TensorBoard {
    dir: RunDir,
    /// `None` before the first stage, and after a failure, which is reported once.
    events: Option<File>,
    steps: Interval,
}

impl TensorBoard {
    pub(crate) fn new(dir: RunDir) -> Self {
        Self { dir, events: None, steps: Interval::new(INTERVAL) }
    }

    fn scalars(&mut self, step: u64, scalars: &[(&str, f64)]) -> Result<()> {
        let Some(events) = &mut self.events else { return Ok(()) };
        write_scalars(events, step, scalars).map_err(|error| {
            self.events = None;
            anyhow!("no more events for TensorBoard: {}", describe(&error))
        })
    }
}

impl Observer for TensorBoard {
    fn observe(&mut self, event: &Event) -> Result<()> {
        match event {
            Event::StageStarted(stage) => {
                let first = if stage.steps_done > 0 { stage.steps_done + 1 } else { 0 };
                self.steps = Interval::new(INTERVAL);
                self.events = None;
                let events = create(&self.dir.tensorboard(&stage.stage), first);
                self.events = Some(events.map_err(|error| anyhow!("no events for TensorBoard: {}", describe(&error)))?);
                Ok(())
            }
            Event::Step(step) if self.steps.is_over() => {
                let scalars = [
                    ("step/loss", step.loss),
                    ("step/gradient_norm", f64::from(step.gradient_norm)),
                    ("step/learning_rate", step.learning_rate),
                    ("step/clips_per_second", step.clips_per_second),
                    ("step/data_wait", step.data_wait),
                ];
                self.scalars(step.steps, &scalars)
            }
            Event::Epoch(epoch) => {
                let mut scalars = vec![
                    ("epoch/train_loss", epoch.train.loss),
                    ("epoch/train_accuracy", epoch.train.accuracy),
                    ("epoch/validation_loss", epoch.validation.loss),
                    ("epoch/validation_accuracy", epoch.validation.accuracy),
                ];
                scalars.extend(epoch.validation.score.map(|score| ("epoch/validation_score", score)));
                let levels = epoch.validation.levels.iter();
                let levels: Vec<(String, f64)> = levels.map(|l| (format!("level/{}", l.level), l.accuracy)).collect();
                scalars.extend(levels.iter().map(|(tag, accuracy)| (tag.as_str(), *accuracy)));
                self.scalars(epoch.steps, &scalars)
            }
            _ => Ok(()),
        }
    }
}

/// Starts a new file in a folder. It voids the points of earlier files from `first_step` on, which a
/// killed process wrote after its last checkpoint.
fn create(folder: &Path, first_step: u64) -> Result<File> {
    let now = seconds();
    // TensorBoard reads files by name; the process id distinguishes two of the same second.
    let name = format!("events.out.tfevents.{:010}.gru-rcn.{}", now as u64, std::process::id());
    let path = folder.join(name);
    let create = || fs::create_dir_all(folder).and_then(|()| File::create(&path));
    let mut file = create().with_context(|| format!("could not write {}", path.display()))?;
    write(&mut file, &event(now, 0, 3, b"brain.Event:2"))?;
    if first_step > 0 {
        write(&mut file, &event(now, first_step, 7, &[0x08, 1]))?;
    }
    Ok(file)
}

fn write_scalars(file: &mut File, step: u64, scalars: &[(&str, f64)]) -> Result<()> {
    let values: Vec<u8> = scalars.iter().flat_map(|(tag, value)| field(1, &scalar(tag, *value as f32))).collect();
    write(file, &event(seconds(), step, 5, &values))
}

fn write(file: &mut File, event: &[u8]) -> Result<()> {
    file.write_all(&record(event)).context("could not write events")
}

fn seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// An event with time, step and one more field.
fn event(time: f64, step: u64, number: u8, content: &[u8]) -> Vec<u8> {
    // Field 1 of wire type 1, eight bytes.
    let mut event = vec![0x09];
    event.extend(time.to_le_bytes());
    if step > 0 {
        // Field 2 of wire type 0, a varint; a missing field is 0.
        event.push(0x10);
        event.extend(varint(step));
    }
    event.extend(field(number, content));
    event
}

/// The `Value` of a summary.
fn scalar(tag: &str, value: f32) -> Vec<u8> {
    let mut message = field(1, tag.as_bytes());
    // Field 2 of wire type 5, four bytes.
    message.push(0x15);
    message.extend(value.to_le_bytes());
    message
}

/// A field of wire type 2: the length, then the bytes.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    field.extend(varint(content.len() as u64));
    field.extend(content);
    field
}

/// A varint: seven bits a byte, the lowest first; the eighth bit marks that more follow.
fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A record in TFRecord's framing.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut record = length.to_vec();
    record.extend(masked(crc32c(&length)).to_le_bytes());
    record.extend(data);
    record.extend(masked(crc32c(data)).to_le_bytes());
    record
}

/// The checksum in its stored form, which stays strong over data that contains checksums.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), bit by bit; a few hundred bytes at a time need no table.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value of the algorithm's catalogue, and two of RFC 3720, B.4: 32 zeros and ones.
    #[test]
    fn checksums_have_their_published_values() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        // Rotated right by 15 the bits 0x0000_8000 are 1.
        assert_eq!(masked(0x0000_8000), 0xa282_ead9);
    }

    /// Time 1.0 is 0x3ff0 and zeros. Step 300 = 0b10_0101100 is 10 ac 02: seven bits 0101100 with the
    /// flag, then 10. The summary (field 5: 2a) has a value (field 1: 0a) of a tag (0a, 1 byte, "x")
    /// and 0.5 (15, 0x3f000000): 3 + 5 = 8 bytes, so the summary has 10.
    #[test]
    fn an_event_by_hand() {
        let expected = [
            0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0x10, 0xac, 0x02, 0x2a, 10, 0x0a, 8, 0x0a, 1, b'x', 0x15, 0, 0, 0, 0x3f,
        ];
        assert_eq!(event(1.0, 300, 5, &field(1, &scalar("x", 0.5))), expected);
    }

    /// The version takes 9 + 2 + 13 = 24 bytes. A resumed training marks the step that it starts
    /// from.
    #[test]
    fn a_file_holds_version_start_and_values() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = create(&folder.path().join("a"), 7).unwrap();
        write_scalars(&mut file, 7, &[("loss", 1.5), ("accuracy", 0.25)]).unwrap();
        let path = fs::read_dir(folder.path().join("a")).unwrap().next().unwrap().unwrap().path();
        let bytes = fs::read(path).unwrap();
        let mut records = Vec::new();
        let mut rest = &bytes[..];
        while let Some((header, tail)) = rest.split_at_checked(12) {
            let length = u64::from_le_bytes(header[..8].try_into().unwrap()) as usize;
            assert_eq!(header[8..], masked(crc32c(&header[..8])).to_le_bytes());
            let (data, tail) = tail.split_at(length);
            assert_eq!(tail[..4], masked(crc32c(data)).to_le_bytes());
            records.push(data);
            rest = &tail[4..];
        }
        assert_eq!((records.len(), records[0].len()), (3, 24));
        assert_eq!(records[0][9..], *b"\x1a\x0dbrain.Event:2");
        assert_eq!(records[1][9..], [0x10, 7, 0x3a, 2, 0x08, 1]);
        // Two values: 2 + 6 + 5 = 13 and 2 + 10 + 5 = 17 bytes.
        assert_eq!(records[2][9..13], [0x10, 7, 0x2a, 30]);
    }
}
