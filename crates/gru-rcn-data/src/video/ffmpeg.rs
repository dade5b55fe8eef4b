//! Video files to frames, by the `ffmpeg` program.
//!
//! FFmpeg runs as a child process, once per file, with an argument vector: no shell ever sees a
//! file name. It may open nothing but local files (`-protocol_whitelist file,pipe`) and only
//! container formats that hold their own pictures, so no playlist that names other files and no
//! text file. Rotation metadata is applied, as FFmpeg does by default; non-square pixels are not
//! stretched. `-fps_mode passthrough` keeps FFmpeg from doubling or dropping frames to hold a
//! constant rate.
//!
//! Pictures come through the standard output as PPM images, whose headers state each frame's size.
//! Time stamps and the rate come from the log of the same run: the filter `showinfo`, last in the
//! chain, writes one line per frame before that frame is encoded. The n-th line belongs to the n-th
//! picture.
//!
//! Scaling and the conversion to RGB are FFmpeg's, bicubic with its exact-rounding flags. FFmpeg
//! widens the filter when an image shrinks, so nothing aliases. One thread decodes a file: clips
//! are read in parallel, and a damaged file then comes out the same each time.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded, unbounded};

use super::{DecoderId, FrameSource, VideoDecoder, VideoFrame};
use crate::base::{DataError, DecodeLimits};
use crate::image::SizeRule;

const PROGRAM_VARIABLE: &str = "GRU_RCN_FFMPEG";

/// FFmpeg's demuxers for files that hold their own pictures.
const FORMATS: &str = "3gp,asf,avi,dv,flv,gif,h264,hevc,ivf,m4v,matroska,mjpeg,mov,mp4,mpeg,mpegts,mpegvideo,mxf,nut,\
                       obu,ogg,rm,webm,wtv,yuv4mpegpipe";

const AHEAD: usize = 4;
/// FFmpeg's last error messages that are kept, and bytes of each.
const LINES: usize = 5;
const LINE_BYTES: u64 = 300;
/// Longest time from a picture to the log line that belongs to it, which was written before it.
const LOG_DELAY: Duration = Duration::from_secs(30);

/// The `ffmpeg` program, 5.1 or newer, as a decoder.
#[derive(Clone, Debug)]
pub struct Ffmpeg {
    program: PathBuf,
    version: String,
    limits: DecodeLimits,
}

impl Ffmpeg {
    /// Finds the program: the path in the environment variable `GRU_RCN_FFMPEG` if set, else
    /// `ffmpeg` on `PATH`.
    ///
    /// # Errors
    /// [`DataError::FfmpegMissing`], with the line that installs it.
    pub fn locate() -> Result<Self, DataError> {
        match std::env::var_os(PROGRAM_VARIABLE).filter(|value| !value.is_empty()) {
            Some(program) => Self::at(Path::new(&program)),
            None => Self::at(Path::new("ffmpeg")),
        }
    }

    /// Uses the program at `path`; a bare name is looked up on `PATH`.
    ///
    /// # Errors
    /// [`DataError::FfmpegMissing`] when it cannot be run or does not answer as FFmpeg does.
    pub fn at(path: &Path) -> Result<Self, DataError> {
        let missing = |reason: String| DataError::FfmpegMissing { program: path.to_owned(), reason };
        let output = Command::new(path)
            .args(["-nostdin", "-hide_banner", "-version"])
            .stdin(Stdio::null())
            .output()
            .map_err(|error| missing(error.to_string()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let first = text.lines().next().unwrap_or_default();
        let version = first.strip_prefix("ffmpeg version ").and_then(|rest| rest.split_whitespace().next());
        match version {
            Some(version) if output.status.success() => {
                Ok(Self { program: path.to_owned(), version: version.to_owned(), limits: DecodeLimits::default() })
            }
            _ => Err(missing(format!("`-version` answered `{first}`, {}", output.status))),
        }
    }

    /// The same program with other limits.
    pub fn with_limits(mut self, limits: DecodeLimits) -> Self {
        self.limits = limits;
        self
    }
}

impl VideoDecoder for Ffmpeg {
    fn id(&self) -> DecoderId {
        DecoderId { name: "ffmpeg".to_owned(), version: self.version.clone() }
    }

    fn limits(&self) -> &DecodeLimits {
        &self.limits
    }

    fn start(&self, path: &Path, size: SizeRule) -> Result<Box<dyn FrameSource>, DataError> {
        let mut input = OsString::from("file:");
        input.push(path);
        // FFmpeg's own limit on areas. It counts a decoder's margins too, so it is looser than
        // `max_side`, which is checked on the frames that come out.
        let side = self.limits.max_side.saturating_add(512);
        let most_pixels = side.saturating_mul(side).min(i32::MAX as usize).to_string();
        let mut command = Command::new(&self.program);
        command
            .args(["-nostdin", "-hide_banner", "-nostats", "-v", "level+info", "-protocol_whitelist", "file,pipe"])
            .args(["-format_whitelist", FORMATS, "-threads", "1"])
            .args(["-max_pixels", &most_pixels, "-i"])
            .arg(input)
            // Capital V: a cover picture of a sound file is not a video.
            .args(["-map", "0:V:0", "-fps_mode", "passthrough", "-vf"])
            .arg(format!("{},showinfo=checksum=0", scale_filter(size)))
            .args(["-f", "image2pipe", "-c:v", "ppm", "pipe:1"]);
        Ok(Box::new(Decoding::start(command, path, &self.limits)?))
    }
}

/// The filters that bring frames to their size and to RGB.
fn scale_filter(size: SizeRule) -> String {
    let flags = "flags=bicubic+accurate_rnd+full_chroma_int+bitexact,format=rgb24";
    match size {
        SizeRule::Source => format!("scale={flags}"),
        SizeRule::Exact { height, width } => format!("scale={width}:{height}:{flags}"),
        SizeRule::ShortSide { pixels: n } => format!(
            "scale='if(lt(iw,ih),{n},max(1,round(iw*{n}/ih)))':'if(lt(iw,ih),max(1,round(ih*{n}/iw)),{n})':{flags}"
        ),
    }
}

/// A running FFmpeg.
///
/// One thread reads the pictures and hands them over through a short channel, another reads the
/// log. The caller waits with a deadline, so a program that hangs without writing is stopped as
/// well as one that never ends. Dropping the value kills the child.
struct Decoding {
    path: PathBuf,
    child: Child,
    pictures: Receiver<io::Result<VideoFrame>>,
    log: Receiver<LogLine>,
    rate: Option<f64>,
    warnings: String,
    frames: usize,
    limits: DecodeLimits,
}

impl Decoding {
    fn start(mut command: Command, path: &Path, limits: &DecodeLimits) -> Result<Self, DataError> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // In a process group of its own, so that the terminal's Ctrl-C does not reach FFmpeg: the
        // program that reads the clip decides what an interrupt means, and it may want to finish
        // its step.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
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
            log: read_log(stderr),
            rate: None,
            warnings: String::new(),
            frames: 0,
            limits: *limits,
        })
    }

    /// The time stamp of the picture that has just come.
    fn time(&mut self, deadline: Instant) -> Result<Option<f64>, DataError> {
        let until = deadline.min(Instant::now() + LOG_DELAY);
        loop {
            match self.log.recv_deadline(until) {
                Ok(LogLine::Rate(rate)) => self.rate = Some(rate),
                Ok(LogLine::Frame(time)) => return Ok(time),
                Err(RecvTimeoutError::Timeout) if until == deadline => return Err(self.late()),
                Ok(LogLine::Error(_)) | Err(_) => {
                    return Err(self.broken("its filter `showinfo` did not state a frame's time".to_owned()));
                }
            }
        }
    }

    /// Checks how the program ended, after the last picture.
    fn finish(&mut self, deadline: Instant) -> Result<(), DataError> {
        let status = self.wait(deadline)?;
        let until = Instant::now() + Duration::from_secs(1);
        while let Ok(line) = self.log.recv_deadline(until) {
            if let LogLine::Error(text) = line {
                self.warnings = text;
            }
        }
        let words = if self.warnings.is_empty() { format!("nothing, {status}") } else { self.warnings.clone() };
        match (status.success(), self.frames) {
            (true, _) => Ok(()),
            (false, 0) => Err(DataError::NotVideo { path: self.path.clone(), words }),
            (false, _) => Err(self.broken(words)),
        }
    }

    fn wait(&mut self, deadline: Instant) -> Result<ExitStatus, DataError> {
        let mut pause = Duration::from_micros(200);
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) if Instant::now() >= deadline => return Err(self.late()),
                Ok(None) => thread::sleep(pause),
                Err(error) => return Err(DataError::io(&self.path, error)),
            }
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    fn broken(&self, words: String) -> DataError {
        DataError::BrokenVideo { path: self.path.clone(), frames: self.frames, words }
    }

    fn late(&self) -> DataError {
        DataError::Timeout { path: self.path.clone(), limit: self.limits.timeout }
    }
}

impl FrameSource for Decoding {
    fn next_frame(&mut self, deadline: Instant) -> Result<Option<VideoFrame>, DataError> {
        match self.pictures.recv_deadline(deadline) {
            Ok(Ok(frame)) => {
                let time = self.time(deadline)?;
                self.frames += 1;
                Ok(Some(VideoFrame { time, ..frame }))
            }
            // The exit status and FFmpeg's words say more than "the pipe ended".
            Ok(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => self.finish(deadline).map(|()| None),
            Err(RecvTimeoutError::Disconnected) => self.finish(deadline).map(|()| None),
            Ok(Err(error)) if error.kind() == ErrorKind::FileTooLarge => {
                self.limits.check_side(&self.path, usize::MAX, usize::MAX).map(|()| None)
            }
            Ok(Err(error)) => Err(self.broken(error.to_string())),
            Err(RecvTimeoutError::Timeout) => Err(self.late()),
        }
    }

    fn rate(&self) -> Option<f64> {
        self.rate
    }

    fn warnings(&self) -> &str {
        &self.warnings
    }
}

impl Drop for Decoding {
    fn drop(&mut self) {
        // Errors mean that it has ended already. The reading threads end with the pipes.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_pictures(stdout: ChildStdout, max_side: usize) -> Receiver<io::Result<VideoFrame>> {
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

/// Reads the next binary PPM image: `P6`, width, height, `255`, then the pixels. `None` at a clean
/// end of the stream.
///
/// A stream that ends within an image is `UnexpectedEof`, a side above `max_side` is `FileTooLarge`
/// (checked before memory is taken), everything else that is not such an image is `InvalidData`.
fn read_picture(stream: &mut impl BufRead, max_side: usize) -> io::Result<Option<VideoFrame>> {
    if stream.fill_buf()?.is_empty() {
        return Ok(None);
    }
    if token(stream)? != "P6" {
        return Err(invalid("FFmpeg's output is not a PPM image"));
    }
    let (width, height) = (number(stream)?, number(stream)?);
    if number(stream)? != 255 {
        return Err(invalid("FFmpeg's output is not 8 bits deep"));
    }
    if width == 0 || height == 0 {
        return Err(invalid("a PPM image without pixels"));
    }
    if width.max(height) > max_side {
        return Err(ErrorKind::FileTooLarge.into());
    }
    let mut pixels = vec![0; width * height * 3];
    stream.read_exact(&mut pixels)?;
    Ok(Some(VideoFrame { time: None, height, width, pixels }))
}

fn number(stream: &mut impl BufRead) -> io::Result<usize> {
    token(stream)?.parse().map_err(|_| invalid("a PPM header without a number"))
}

/// The bytes up to the next white space, which is consumed: PPM has exactly one byte of it after
/// each field.
fn token(stream: &mut impl BufRead) -> io::Result<String> {
    let mut text = String::new();
    for byte in stream.by_ref().bytes() {
        match byte? {
            b' ' | b'\n' | b'\t' | b'\r' => return Ok(text),
            byte if text.len() < 10 && byte.is_ascii_graphic() => text.push(byte as char),
            _ => return Err(invalid("FFmpeg's output is not a PPM image")),
        }
    }
    Err(ErrorKind::UnexpectedEof.into())
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, reason)
}

#[derive(Debug, PartialEq)]
enum LogLine {
    /// Frames per second of the input.
    Rate(f64),
    /// A frame left the filters, with its time in seconds.
    Frame(Option<f64>),
    /// An error message; at the end of a log the last few of them.
    Error(String),
}

/// Reads the whole log, so that the child never blocks. Error messages are kept until its end.
fn read_log(stderr: ChildStderr) -> Receiver<LogLine> {
    let (sender, receiver) = unbounded();
    thread::spawn(move || {
        let (mut stream, mut line, mut log) = (BufReader::new(stderr), Vec::new(), Log::default());
        let mut errors = VecDeque::new();
        while stream.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            for found in log.line(String::from_utf8_lossy(&line).trim()) {
                match found {
                    LogLine::Error(text) => {
                        errors.push_back(text);
                        if errors.len() > LINES {
                            errors.pop_front();
                        }
                    }
                    // When the receiver is gone, the rest is read all the same.
                    other => drop(sender.send(other)),
                }
            }
            line.clear();
        }
        let _ = sender.send(LogLine::Error(Vec::from(errors).join("; ")));
    });
    receiver
}

/// Understands a log written with `-v level+info`, line by line.
#[derive(Default)]
struct Log {
    /// Seconds of one tick of the filters' clock.
    tick: f64,
    /// Whether the rate is known, or the description of the input is over.
    described: bool,
    /// Whether the line before was an error, which a line without a level continues.
    error: bool,
}

impl Log {
    fn line(&mut self, line: &str) -> Vec<LogLine> {
        const ERRORS: [&str; 3] = ["[error] ", "[fatal] ", "[panic] "];
        let mut found = Vec::new();
        let mut rest = line;
        if line.starts_with("[Parsed_showinfo_") {
            if let Some(base) = after(line, "config in time_base:") {
                let fraction = base.split(',').next().and_then(|base| base.split_once('/'));
                let fraction = fraction.and_then(|(n, d)| Some((n.parse::<f64>().ok()?, d.parse::<f64>().ok()?)));
                self.tick = fraction.map_or(f64::NAN, |(n, d)| n / d);
            } else if let (Some(_), Some(pts)) = (after(line, " n:"), after(line, " pts:")) {
                let ticks = pts.split_whitespace().next().and_then(|ticks| ticks.parse::<i64>().ok());
                let time = ticks.map(|ticks| ticks as f64 * self.tick).filter(|time| time.is_finite());
                found.push(LogLine::Frame(time));
            }
            // An error of another thread may be written into the middle of this line.
            let level = ERRORS.iter().filter_map(|level| line.find(level)).min();
            rest = level.map_or("", |level| &line[level..]);
        }
        let level = ["[error] ", "[fatal] ", "[panic] ", "[warning] ", "[info] "].iter();
        let level = level.filter_map(|level| Some((rest.find(level)?, *level))).min();
        let text = match level {
            Some((at, level)) => format!("{}{}", &rest[..at], &rest[at + level.len()..]),
            None => rest.to_owned(),
        };
        self.error = level.map_or(self.error && !rest.is_empty(), |(_, level)| ERRORS.contains(&level));
        if self.error && !text.is_empty() {
            found.push(LogLine::Error(without_addresses(&text)));
        } else if text.trim_start().starts_with("Output #") {
            self.described = true;
        } else if let Some(rate) = rate_in(text.trim_start()).filter(|_| !self.described) {
            self.described = true;
            found.push(LogLine::Rate(rate));
        }
        found
    }
}

/// What follows `mark` in a line, without the blanks before it.
fn after<'a>(line: &'a str, mark: &str) -> Option<&'a str> {
    line.split_once(mark).map(|(_, rest)| rest.trim_start())
}

/// The rate in a line such as `Stream #0:0: Video: mpeg4, yuv420p, 320x240, 29.97 fps, 29.97 tbr`.
fn rate_in(line: &str) -> Option<f64> {
    if !line.starts_with("Stream #") || !line.contains("Video:") || line.contains("(attached pic)") {
        return None;
    }
    let rate = line.split(", ").find_map(|part| part.trim().strip_suffix(" fps"))?;
    rate.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0)
}

/// `[avi @ 0x5600]` becomes `[avi]`: the same fault should read the same each time.
fn without_addresses(line: &str) -> String {
    let mut parts = line.split(" @ 0x");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.trim_start_matches(|c: char| c.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_follow_one_another() {
        let mut stream: &[u8] = b"P6\n2 1\n255\nabcdefP6\n1 1\n255\nxyz";
        let first = read_picture(&mut stream, 9).unwrap().unwrap();
        assert_eq!((first.width, first.height, &first.pixels[..]), (2, 1, &b"abcdef"[..]));
        assert_eq!(read_picture(&mut stream, 9).unwrap().unwrap().pixels, b"xyz");
        assert!(read_picture(&mut stream, 9).unwrap().is_none());
    }

    #[test]
    fn a_stream_that_is_no_image_is_an_error() {
        let kind = |mut bytes: &[u8]| read_picture(&mut bytes, 9).err().map(|error| error.kind());
        assert_eq!(kind(b"P6\n2 1\n255\nabc"), Some(ErrorKind::UnexpectedEof));
        assert_eq!(kind(b"P6\n2"), Some(ErrorKind::UnexpectedEof));
        assert_eq!(kind(b"P6\n10 1\n255\nab"), Some(ErrorKind::FileTooLarge));
        for wrong in
            [&b"P5\n2 1\n255\nab"[..], b"P6\n2 1\n65535\nab", b"P6\n0 1\n255\nab", b"P6\nx 1\n255\n", b"\0\0\0\0"]
        {
            assert_eq!(kind(wrong), Some(ErrorKind::InvalidData));
        }
    }

    #[test]
    fn the_log_states_rate_times_and_errors() {
        let mut log = Log::default();
        let mut line = |text| log.line(text);
        let avi =
            "[info]   Stream #0:0: Video: mpeg4 (xvid / 0x64697678), yuv420p, 320x240, 524 kb/s, 29.97 fps, 29.97 tbr";
        assert_eq!(line(avi), [LogLine::Rate(29.97)]);
        let none = [
            "",
            "[info]   Stream #0:0: Audio: mp3, 25 fps",
            "[info]   Stream #0:1: Video: png, 25 tbr",
            "[info]   Stream #0:1: Video: mjpeg, 90k tbr, 25 fps (attached pic)",
            "[info]     title           : Video: 60 fps, [error] of no kind",
            "[mpeg4 @ 0x7f] [warning] a detail",
            "[Parsed_showinfo_2 @ 0x55] [info] config in time_base: 1001/30000, frame_rate: 30000/1001",
            "[Parsed_showinfo_2 @ 0x55] [info] config out time_base: 0/0, frame_rate: 0/0",
            "[Parsed_showinfo_2 @ 0x55] [info] color_range:pc color_space:gbr",
            "[info] Output #0, image2pipe, to 'pipe:1':",
            "[info]   Stream #0:0: Video: ppm, rgb24, 96x64, 25 fps, 25 tbn",
        ];
        none.iter().for_each(|text| assert_eq!(line(text), [], "{text}"));
        let frame = "[Parsed_showinfo_2 @ 0x55] [info] n:   3 pts:     30 pts_time:1.001   pos: 9 fmt:rgb24 ";
        assert_eq!(line(frame), [LogLine::Frame(Some(30.0 * (1001.0 / 30_000.0)))]);
        let lost =
            "[Parsed_showinfo_2 @ 0x55] [info] n:   4 pts: NOPTS pts_time:NOPTS pos: 9 [mpeg4 @ 0x9] [error] torn";
        assert_eq!(line(lost), [LogLine::Frame(None), LogLine::Error("torn".to_owned())]);
        let error = "[mpeg4 @ 0x56b0fd00] [IMGUTILS @ 0x7ffd] [error] Picture size";
        assert_eq!(line(error), [LogLine::Error("[mpeg4] [IMGUTILS] Picture size".to_owned())]);
        assert_eq!(line("goes on @ home"), [LogLine::Error("goes on @ home".to_owned())]);
        assert_eq!(line("[info] fine"), []);
    }
}
