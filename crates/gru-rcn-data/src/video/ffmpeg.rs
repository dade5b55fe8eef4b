//! Decoding of videos by the `ffmpeg` program.
//!
//! FFmpeg runs as a child process, once per file, with an argument vector: no shell ever sees a
//! file name. It may open only local files (`-protocol_whitelist file,pipe`), and only container
//! formats that hold their own pictures: no playlists that name other files, and no text files.
//! Rotation metadata is applied, as FFmpeg does by default; non-square pixels are not stretched.
//! `-fps_mode passthrough` keeps FFmpeg from doubling or dropping frames for a constant rate.
//!
//! Pictures come through the standard output as PPM images, whose headers state the size of each
//! frame. Time stamps and the rate come from the log of the same run: the filter `showinfo`, last in
//! the chain, writes one line per frame before that frame is encoded. The n-th line belongs to the
//! n-th picture.
//!
//! Scaling and the conversion to RGB are FFmpeg's, bicubic with its flags for exact rounding. FFmpeg
//! widens the filter when it shrinks an image, so nothing aliases. Each file is decoded by one thread:
//! clips are read in parallel, and a damaged file gives the same frames each time.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded, unbounded};

use super::{DecoderId, FrameSource, VideoDecoder, VideoFrame, VideoFrames, check_file};
use crate::base::{DataError, DecodeLimits, printable};
use crate::image::SizeRule;

const PROGRAM_VARIABLE: &str = "GRU_RCN_FFMPEG";
/// The oldest version with all options used here: `-fps_mode` came with 5.1, the next newest, the
/// demuxer `obu`, with 4.3.
const OLDEST: [u32; 2] = [5, 1];
/// Longest time for the answer to `-version`.
const VERSION_TIME: Duration = Duration::from_secs(20);
/// Most bytes of an answer that are read.
const ANSWER_BYTES: u64 = 1 << 16;

/// FFmpeg's demuxers for files that hold their own pictures.
const FORMATS: &str = "3gp,asf,avi,dv,flv,gif,h264,hevc,ivf,m4v,matroska,mjpeg,mov,mp4,mpeg,mpegts,mpegvideo,mxf,nut,\
                       obu,ogg,rm,webm,wtv,yuv4mpegpipe";

/// FFmpeg's message if `-map` finds no stream.
const NO_STREAM: &str = "matches no streams";
/// FFmpeg's message on an unknown option.
const NO_OPTION: &str = "Error splitting the argument list";

/// Pictures that are read ahead.
const AHEAD: usize = 4;
/// Error messages of FFmpeg that are kept: the last ones.
const LINES: usize = 5;
/// Bytes of a log line that are read at once.
const LINE_BYTES: u64 = 300;
/// Longest wait for the log line of a picture, which FFmpeg writes before the picture.
const LOG_DELAY: Duration = Duration::from_secs(30);

/// The `ffmpeg` program, 5.1 or newer, as a decoder.
#[derive(Clone, Debug)]
pub struct Ffmpeg {
    program: PathBuf,
    version: String,
    limits: DecodeLimits,
    /// Damaged videos of which FFmpeg gave frames all the same, with its messages.
    damaged: Arc<Mutex<BTreeMap<PathBuf, String>>>,
}

impl Ffmpeg {
    /// Finds the program: the path in the environment variable `GRU_RCN_FFMPEG` if set, otherwise
    /// `ffmpeg` on `PATH`. Its version is asked for once per process.
    ///
    /// # Errors
    /// [`DataError::FfmpegMissing`], with the command that installs it; [`DataError::FfmpegTooOld`].
    pub fn locate() -> Result<Self, DataError> {
        static FOUND: OnceLock<Ffmpeg> = OnceLock::new();
        if let Some(found) = FOUND.get() {
            return Ok(found.clone());
        }
        let program = std::env::var_os(PROGRAM_VARIABLE).filter(|value| !value.is_empty());
        let found = Self::at(Path::new(&program.unwrap_or_else(|| "ffmpeg".into())))?;
        Ok(FOUND.get_or_init(|| found).clone())
    }

    /// Uses the program at `path`; a bare name is looked up on `PATH`.
    ///
    /// A version without a number, such as that of a build from FFmpeg's repository, is accepted.
    ///
    /// # Errors
    /// [`DataError::FfmpegMissing`] if it cannot be run, does not answer like FFmpeg or does not answer
    /// within 20 seconds; [`DataError::FfmpegTooOld`] for a version before 5.1.
    pub fn at(path: &Path) -> Result<Self, DataError> {
        Self::ask(path, VERSION_TIME)
    }

    pub(super) fn ask(path: &Path, time: Duration) -> Result<Self, DataError> {
        let missing = |reason: String| DataError::FfmpegMissing { program: path.to_owned(), reason };
        let mut command = Command::new(path);
        command.args(["-nostdin", "-hide_banner", "-version"]);
        let answer = answer(command, time).map_err(|error| missing(error.to_string()))?;
        let Some((answer, status)) = answer else {
            return Err(missing(format!("it did not answer `-version` within {time:?}")));
        };
        let answer = String::from_utf8_lossy(&answer);
        let first = answer.lines().next().unwrap_or_default();
        let version = first.strip_prefix("ffmpeg version ").and_then(|rest| rest.split_whitespace().next());
        let Some(version) = version.filter(|_| status.success()).map(str::to_owned) else {
            return Err(missing(format!("`-version` answered `{first}`, {status}")));
        };
        if is_too_old(&version) {
            return Err(DataError::FfmpegTooOld { program: path.to_owned(), version });
        }
        let (program, limits) = (path.to_owned(), DecodeLimits::default());
        Ok(Self { program, version, limits, damaged: Arc::default() })
    }

    /// The same program with other limits and an empty list of damaged videos.
    pub fn with_limits(self, limits: DecodeLimits) -> Self {
        Self { limits, damaged: Arc::default(), ..self }
    }

    /// The damaged videos that were read to their end so far, of which FFmpeg gave frames all the same,
    /// with its messages.
    pub fn damaged(&self) -> Vec<(PathBuf, String)> {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner).clone().into_iter().collect()
    }

    fn missing(&self, reason: String) -> DataError {
        DataError::FfmpegMissing { program: self.program.clone(), reason }
    }

    /// Whether one run of the program can decode the first frame of each of these files. If not,
    /// [`VideoDecoder::open`] of each says why.
    ///
    /// Most of the time of a probe goes into starting the program: 80 ms for Debian's, with its 200
    /// libraries, against 10 ms for a frame.
    pub(crate) fn all_begin(&self, paths: &[&Path]) -> bool {
        if paths.iter().any(|path| check_file(path).is_err()) {
            return false;
        }
        let mut command = Command::new(&self.program);
        command.args(["-nostdin", "-hide_banner", "-v", "quiet"]);
        for path in paths {
            self.add_input(&mut command, &file_input(path));
        }
        // One tiny frame of each file, one after the other.
        let first = |n| format!("[{n}:V:0]trim=end_frame=1,scale=2:2,format=rgb24,setsar=1[{n}];");
        let firsts: String = (0..paths.len()).map(first).collect();
        let names: String = (0..paths.len()).map(|n| format!("[{n}]")).collect();
        command
            .args(["-filter_complex", &format!("{firsts}{names}concat=n={}[all]", paths.len())])
            .args("-map [all] -fps_mode passthrough -f rawvideo pipe:1".split(' '));
        let answer = answer(command, self.limits.timeout);
        matches!(answer, Ok(Some((bytes, status))) if status.success() && bytes.len() == paths.len() * 2 * 2 * 3)
    }

    /// Opens a stream, with its frames resized to `size`. The limit `timeout` applies to each frame, and
    /// `max_frames` does not apply.
    ///
    /// # Errors
    /// As [`VideoDecoder::open`]; [`DataError::Setting`] for a pipe of frames without pixels or
    /// without time, and for an unknown kind of device.
    pub fn stream(&self, input: &StreamInput, size: SizeRule) -> Result<VideoFrames, DataError> {
        let (shown, options) = match input {
            StreamInput::File(path) => return Ok(self.open(path, size)?.of_any_length()),
            StreamInput::Pipe { width, height, fps } => {
                let shown = PathBuf::from("standard input");
                if width.min(height) == &0 {
                    return Err(DataError::setting("size", format!("{width}x{height}"), "sides are at least 1 pixel"));
                }
                self.limits.check_size(&shown, *height, *width)?;
                if !(1e-3..=1e4).contains(fps) {
                    return Err(DataError::setting("fps", fps, "frames per second are 0.001 to 10000"));
                }
                let (sides, fps) = (format!("{width}x{height}"), fps.to_string());
                let format = ["-protocol_whitelist", "pipe", "-f", "rawvideo", "-pixel_format", "rgb24"];
                let frames = ["-video_size", &sides, "-framerate", &fps, "-i", "pipe:0"];
                (shown, format.iter().chain(&frames).map(OsString::from).collect())
            }
            StreamInput::Device { kind, name } => {
                if !StreamInput::DEVICES.contains(&kind.as_str()) {
                    let reason = format!("devices are of the kinds {}", StreamInput::DEVICES.join(", "));
                    return Err(DataError::setting("device", kind, &reason));
                }
                (PathBuf::from(format!("{kind}:{name}")), ["-f", kind, "-i", name].map(OsString::from).to_vec())
            }
        };
        size.validate(&shown, &self.limits)?;
        let mut command = self.command(&options, size);
        if matches!(input, StreamInput::Pipe { .. }) {
            command.stdin(Stdio::inherit());
        }
        let decoding = Decoding::start(command, &shown, self)?;
        Ok(VideoFrames::new(&shown, self.limits, Box::new(decoding)).of_any_length())
    }

    /// FFmpeg with an input. It writes pictures to its standard output, and a log with their times to its
    /// standard error.
    fn command(&self, input: &[OsString], size: SizeRule) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["-nostdin", "-hide_banner", "-nostats", "-v", "level+info"]);
        self.add_input(&mut command, input);
        command
            // With a capital V, the cover picture of a sound file is no video.
            .args(["-map", "0:V:0", "-fps_mode", "passthrough", "-vf"])
            .arg(format!("{},showinfo=checksum=0", scale_filter(size)))
            .args(["-flush_packets", "1", "-f", "image2pipe", "-c:v", "ppm", "pipe:1"])
            .stdin(Stdio::null());
        command
    }

    fn add_input(&self, command: &mut Command, input: &[OsString]) {
        // FFmpeg's limit on areas before scaling. Its decoders count their margins of up to 64 pixels a
        // side, so it is a little looser than the limit, which is checked on the decoded frames.
        let side = self.limits.max_pixels.isqrt().saturating_add(128);
        let most = side.saturating_mul(side).min(i32::MAX as usize).to_string();
        command.args(["-threads", "1", "-max_pixels", &most]).args(input);
    }
}

/// Runs a program and returns its standard output and exit status; `None` if it takes longer than
/// `time`.
fn answer(mut command: Command, time: Duration) -> io::Result<Option<(Vec<u8>, ExitStatus)>> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    own_group(&mut command);
    let (deadline, mut child) = (Instant::now() + time, command.spawn()?);
    let (sender, answer) = bounded(1);
    if let Some(stdout) = child.stdout.take() {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let read = stdout.take(ANSWER_BYTES).read_to_end(&mut bytes);
            let _ = sender.send(read.map(|_| bytes));
        });
    }
    let answer = answer.recv_deadline(deadline);
    let ended = if answer.is_ok() { wait(&mut child, deadline) } else { Ok(None) };
    // An error means that it has ended already.
    let _ = child.kill();
    let _ = child.wait();
    match (answer, ended?) {
        (Ok(answer), Some(status)) => Ok(Some((answer?, status))),
        _ => Ok(None),
    }
}

/// Whether a version such as `5.1.9-0+deb12u1`, `n4.4` or `4.4.2-0ubuntu0.22.04.1` is older than
/// [`OLDEST`]. Builds between two versions have no number at the start.
fn is_too_old(version: &str) -> bool {
    let mut numbers = version.trim_start_matches(['n', 'v']).split(['.', '-', '+', '~', '_']).map(str::parse);
    let Some(Ok(major)) = numbers.next() else { return false };
    let minor = numbers.next().and_then(Result::ok).unwrap_or(if major == OLDEST[0] { OLDEST[1] } else { 0 });
    [major, minor] < OLDEST
}

/// Waits for the end of a child; `None` if it does not end before `deadline`.
fn wait(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    let mut pause = Duration::from_micros(200);
    loop {
        match child.try_wait()? {
            None if Instant::now() < deadline => thread::sleep(pause),
            ended => return Ok(ended),
        }
        pause = (pause * 2).min(Duration::from_millis(20));
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
        Ok(Box::new(Decoding::start(self.command(&file_input(path), size), path, self)?))
    }
}

/// A source of frames without a known end.
#[derive(Clone, Debug, PartialEq)]
pub enum StreamInput {
    /// A video file of any length.
    File(PathBuf),
    /// Raw frames on the standard input of this process: one byte each for red, green and blue of every
    /// pixel, without headers.
    Pipe {
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
        /// Frames per second.
        fps: f64,
    },
    /// A device, such as `/dev/video0` of the kind `v4l2`.
    Device {
        /// One of [`StreamInput::DEVICES`].
        kind: String,
        /// FFmpeg's name of the device.
        name: String,
    },
}

impl StreamInput {
    /// FFmpeg's names for kinds of devices: cameras on Linux, macOS and Windows, and FFmpeg's own
    /// generated pictures, for trying out.
    pub const DEVICES: [&str; 4] = ["v4l2", "avfoundation", "dshow", "lavfi"];
}

/// The arguments for a file as an input, by which FFmpeg can open nothing else.
fn file_input(path: &Path) -> Vec<OsString> {
    let mut name = OsString::from("file:");
    name.push(path);
    let options = ["-protocol_whitelist", "file,pipe", "-format_whitelist", FORMATS, "-i"];
    options.iter().map(OsString::from).chain([name]).collect()
}

/// The filters that resize frames and convert them to RGB.
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
/// One thread reads the pictures and passes them on through a short channel, another reads the log.
/// The caller waits with a deadline, so a program that hangs without writing is stopped, and so is
/// one that never ends. Dropping the value kills the child.
struct Decoding {
    path: PathBuf,
    ffmpeg: Ffmpeg,
    child: Child,
    pictures: Receiver<io::Result<VideoFrame>>,
    log: Receiver<LogLine>,
    rate: Option<f64>,
    warnings: String,
    frames: usize,
}

impl Decoding {
    fn start(mut command: Command, path: &Path, ffmpeg: &Ffmpeg) -> Result<Self, DataError> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        own_group(&mut command);
        let mut child = command.spawn().map_err(|error| ffmpeg.missing(error.to_string()))?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(ffmpeg.missing("its output cannot be read".to_owned()));
        };
        Ok(Self {
            path: path.to_owned(),
            ffmpeg: ffmpeg.clone(),
            child,
            pictures: read_pictures(stdout, path.to_owned(), ffmpeg.limits),
            log: read_log(stderr),
            rate: None,
            warnings: String::new(),
            frames: 0,
        })
    }

    /// The time stamp of the picture that has just arrived.
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
        let ended = wait(&mut self.child, deadline).map_err(|error| DataError::io(&self.path, error))?;
        let Some(status) = ended else { return Err(self.late()) };
        let until = Instant::now() + Duration::from_secs(1);
        while let Ok(line) = self.log.recv_deadline(until) {
            if let LogLine::Error(text) = line {
                self.warnings = text;
            }
        }
        let words = if self.warnings.is_empty() { format!("nothing, {status}") } else { self.warnings.clone() };
        if let (0, Some([width, height])) = (self.frames, refused_size(&words)) {
            self.ffmpeg.limits.check_size(&self.path, height, width)?;
        }
        match (status.success(), self.frames) {
            (true, _) => {
                if !self.warnings.is_empty() {
                    let mut damaged = self.ffmpeg.damaged.lock().unwrap_or_else(PoisonError::into_inner);
                    damaged.insert(self.path.clone(), printable(&self.warnings));
                }
                Ok(())
            }
            (false, 0) if words.contains(NO_STREAM) => Err(DataError::NoVideoStream(self.path.clone())),
            (false, 0) if words.contains(NO_OPTION) => {
                Err(self.ffmpeg.missing(format!("it does not know an option that is needed: {words}")))
            }
            (false, 0) => Err(DataError::NotVideo { path: self.path.clone(), words }),
            (false, _) => Err(self.broken(words)),
        }
    }

    fn broken(&self, words: String) -> DataError {
        DataError::BrokenVideo { path: self.path.clone(), frames: self.frames, words }
    }

    fn late(&self) -> DataError {
        DataError::Timeout { path: self.path.clone(), limit: self.ffmpeg.limits.timeout }
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
            // The exit status and FFmpeg's messages say more than "the pipe ended".
            Ok(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => self.finish(deadline).map(|()| None),
            Err(RecvTimeoutError::Disconnected) => self.finish(deadline).map(|()| None),
            Ok(Err(error)) => Err(error.downcast().unwrap_or_else(|error| self.broken(error.to_string()))),
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
        // An error means that it has ended already. The reading threads end with the pipes.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Puts the child into its own process group, so that Ctrl-C in the terminal does not stop FFmpeg: the
/// program that reads the clip may want to finish its step first.
fn own_group(command: &mut Command) {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    #[cfg(not(unix))]
    let _ = command;
}

fn read_pictures(stdout: ChildStdout, path: PathBuf, limits: DecodeLimits) -> Receiver<io::Result<VideoFrame>> {
    let (sender, receiver) = bounded(AHEAD);
    thread::spawn(move || {
        let mut stream = BufReader::with_capacity(1 << 16, stdout);
        while let Some(picture) = read_picture(&mut stream, &path, &limits).transpose() {
            let last = picture.is_err();
            if sender.send(picture).is_err() || last {
                return;
            }
        }
    });
    receiver
}

/// Reads the next binary PPM image: `P6`, width, height, `255`, then the pixels. `None` at the end of
/// the stream.
///
/// Errors are `UnexpectedEof` for a stream that ends within an image, `FileTooLarge`, which wraps the
/// [`DataError`], for a size above the limits, checked before memory is allocated, and `InvalidData`
/// for anything else that is not such an image.
fn read_picture(stream: &mut impl BufRead, path: &Path, limits: &DecodeLimits) -> io::Result<Option<VideoFrame>> {
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
    limits.check_size(path, height, width).map_err(|error| io::Error::new(ErrorKind::FileTooLarge, error))?;
    let mut pixels = vec![0; width * height * 3];
    stream.read_exact(&mut pixels)?;
    Ok(Some(VideoFrame { time: None, height, width, pixels }))
}

fn number(stream: &mut impl BufRead) -> io::Result<usize> {
    token(stream)?.parse().map_err(|_| invalid("a PPM header without a number"))
}

/// The bytes up to the next white space, which is consumed: in PPM, one byte of it ends each field.
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

/// Reads the whole log, so that the child never blocks. Error messages are sent at the end of the log.
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
                    // The log is read to its end even if the receiver is gone.
                    other => drop(sender.send(other)),
                }
            }
            line.clear();
        }
        let _ = sender.send(LogLine::Error(Vec::from(errors).join("; ")));
    });
    receiver
}

/// Parses a log written with `-v level+info`, line by line.
#[derive(Default)]
struct Log {
    /// Seconds of one tick of the filters' clock.
    tick: f64,
    /// Whether the rate is known or the description of the input has ended.
    described: bool,
    /// Whether the previous line was an error, which a line without a level continues.
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
            // Another thread may have written an error into the middle of this line.
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

/// The text after `mark` in a line, without leading blanks.
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

/// Width and height in FFmpeg's messages `Picture size 8192x8192 exceeds specified max pixel count`
/// and `Picture size … is invalid`.
fn refused_size(words: &str) -> Option<[usize; 2]> {
    let size = after(words, "Picture size")?.split_whitespace().next()?;
    let (width, height) = size.split_once('x')?;
    Some([width.parse().ok()?, height.parse().ok()?])
}

/// Turns `[avi @ 0x5600]` into `[avi]`, so that a message is the same each time.
fn without_addresses(line: &str) -> String {
    let mut parts = line.split(" @ 0x");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.trim_start_matches(|c: char| c.is_ascii_hexdigit()))
}

/// Parses any bytes as FFmpeg's log and pictures.
#[cfg(fuzzing)]
pub fn ffmpeg_output(log: &[u8], mut pictures: &[u8], limits: &DecodeLimits) {
    let mut state = Log::default();
    for line in log.split(|&byte| byte == b'\n') {
        let line = String::from_utf8_lossy(line);
        let _ = (state.line(line.trim()), refused_size(&line));
    }
    while let Ok(Some(_)) = read_picture(&mut pictures, Path::new("pictures"), limits) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a picture of at most 9 pixels a side.
    fn small(stream: &mut &[u8]) -> io::Result<Option<VideoFrame>> {
        read_picture(stream, Path::new("clip.avi"), &DecodeLimits { max_side: 9, ..DecodeLimits::default() })
    }

    // 5.1 is the oldest that is accepted. Builds of FFmpeg's repository have a number of commits or
    // a date, those of Arch an `n` before the number.
    #[test]
    fn versions_before_5_1_are_too_old() {
        for old in ["4.4.2-0ubuntu0.22.04.1", "n4.4", "5.0", "5.0.1-static", "0.8.17-4:0.8.17-0ubuntu", "4", "2.8"] {
            assert!(is_too_old(old), "{old}");
        }
        let new = ["5.1", "5.1.9-0+deb12u1", "5", "5.10", "6.0", "n7.1.1", "8.0-full_build-www.gyan.dev", "10.0"];
        let unnumbered = ["N-12345-g0123abc", "git-2020-01-15-0dc0837", "2024-10-02-git-358fdf3083", "dev", ""];
        new.iter().chain(&unnumbered).for_each(|version| assert!(!is_too_old(version), "{version}"));
    }

    #[test]
    fn a_picture_that_ffmpeg_refuses_has_a_size() {
        let words = "[png] Picture size 9000x8000 exceeds specified max pixel count 17842176, see the documentation";
        assert_eq!(refused_size(words), Some([9000, 8000]));
        assert_eq!(refused_size("[IMGUTILS] Picture size 90000x80000 is invalid"), Some([90_000, 80_000]));
        assert_eq!(refused_size("Picture size 0 is invalid"), None);
        assert_eq!(refused_size("Invalid data"), None);
    }

    #[test]
    fn images_follow_one_another() {
        let mut stream: &[u8] = b"P6\n2 1\n255\nabcdefP6\n1 1\n255\nxyz";
        let first = small(&mut stream).unwrap().unwrap();
        assert_eq!((first.width, first.height, &first.pixels[..]), (2, 1, &b"abcdef"[..]));
        assert_eq!(small(&mut stream).unwrap().unwrap().pixels, b"xyz");
        assert!(small(&mut stream).unwrap().is_none());
    }

    #[test]
    fn a_stream_that_is_no_image_is_an_error() {
        let kind = |mut bytes: &[u8]| small(&mut bytes).err().map(|error| error.kind());
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
