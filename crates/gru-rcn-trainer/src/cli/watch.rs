//! `watch`: events in a long video, a pipe of frames or a camera.

use std::collections::VecDeque;
use std::iter::once;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Error, Result, bail, ensure};
use clap::Args;
use gru_rcn_data::{ClipPlan, Frames, StreamInput, TemporalSampling, VideoFrame};

use super::shared::{ModelArgs, probability};
use crate::experiment::TrainedRun;
use crate::output::{note, say};
use crate::percepts::{FrozenCnn, workers};
use crate::preflight;
use crate::report::jpeg_base64;
use crate::signals::StopFlag;
use crate::stream::{Answer, BACKGROUND, Event, Events, Moments, Outputs, Pass, Rule, Taps, Watcher, clock};

/// Frames of a file that go through the CNN together.
const AT_ONCE: usize = 16;

#[derive(Args, Debug)]
pub(super) struct WatchArgs {
    /// A video file; `-` for raw frames on standard input (rgb24, with --size and --fps); or a
    /// device by FFmpeg's names, such as /dev/video0, v4l2:/dev/video0 or avfoundation:0.
    #[arg(value_name = "VIDEO|-|DEVICE")]
    input: PathBuf,
    /// Columns and rows of the frames on standard input.
    #[arg(long, value_name = "WxH", value_parser = size, requires = "fps")]
    size: Option<[usize; 2]>,
    /// Frames per second on standard input.
    #[arg(long, value_name = "F", requires = "size")]
    fps: Option<f64>,
    /// Probability at which an event of a class begins.
    #[arg(long, value_name = "P", default_value_t = 0.5, value_parser = probability)]
    threshold: f32,
    /// Probability below which an event ends; by default 0.8 times the threshold.
    #[arg(long, value_name = "P", value_parser = probability)]
    go_on: Option<f32>,
    /// Shortest event, seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 0.5)]
    least: f64,
    /// Length of a clip in seconds; its frames are spread equally over it. Needed if the recipe spreads
    /// frames over whole clips; give the usual length of these.
    #[arg(long, value_name = "SECONDS")]
    window: Option<f64>,
    /// Frames between two answers; by default 1 with `--by frames`, and an eighth of a clip with
    /// `--by windows`.
    #[arg(long, value_name = "FRAMES")]
    stride: Option<usize>,
    /// Whether the model carries its state from frame to frame or sees windows of the last frames; by
    /// default frames if the model was trained for them (model.context).
    #[arg(long, value_enum)]
    by: Option<By>,
    /// Print events as JSON, an object per line.
    #[arg(long)]
    json: bool,
    /// Write the events as CSV.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write the events as subtitles.
    #[arg(long, value_name = "FILE")]
    srt: Option<PathBuf>,
    /// Write a page with a time line and a picture of each event; for files.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write every answer, the probabilities of all classes over time, as CSV.
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
    #[command(flatten)]
    pub(super) model: ModelArgs,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Frames,
    Windows,
}

/// The path of a regular file without links, whether it exists or not; none of a device or of a file in a
/// folder that does not exist.
fn place(file: &Path) -> Option<PathBuf> {
    match file.canonicalize() {
        Ok(place) => place.is_file().then_some(place),
        Err(_) => Some(std::path::absolute(file).ok()?.parent()?.canonicalize().ok()?.join(file.file_name()?)),
    }
}

fn size(text: &str) -> Result<[usize; 2], String> {
    let sides = text.split_once('x').and_then(|(width, height)| Some([width.parse().ok()?, height.parse().ok()?]));
    sides.ok_or_else(|| "it is WIDTHxHEIGHT, such as 320x240".to_owned())
}

/// A frame that the model takes in.
struct Step {
    time: f64,
    /// How often the model takes it in.
    times: usize,
    /// The frame cut and resized for the CNN.
    clip: Frames,
    /// The frame as it was decoded.
    picture: Frames,
}

impl WatchArgs {
    pub(super) fn run(&self) -> Result<()> {
        let input = self.input()?;
        self.check(&input)?;
        let mut trained = self.model.open_on_rgb("which a stream does not have; choose a run on RGB")?;
        let (cnn, model) = trained.gru_rcn()?;
        trained.dir.release_built_in();
        let (cnn, (pass, every, stride)) = (FrozenCnn::new(&cnn), self.pass(&trained)?);
        let (loader, classes) = (&trained.loader, &trained.card.classes);
        let stop = StopFlag::install("the events so far are written")?;
        let began = Instant::now();
        let mut frames = loader.reader.stream(&input, loader.planner.frame_size.into())?;
        let (at_once, parts) = match input {
            StreamInput::File(_) => (AT_ONCE, workers(loader)),
            // Each frame is answered before the next one comes.
            StreamInput::Pipe { .. } | StreamInput::Device { .. } => (1, 1),
        };
        // The files are created once there is a frame.
        let Some(first) = frames.next().transpose()? else { bail!(stop.interrupted()) };
        let mut watch = Watch {
            taps: Taps {
                cnn: &cnn,
                levels: trained.recipe.levels(),
                device: &trained.device,
                dtype: loader.dtype,
                parts,
            },
            watcher: Watcher::new(model, trained.temperature(), pass, stride),
            waiting: Vec::new(),
            at_once,
            events: Events::new(self.rule(classes), classes),
            outputs: Outputs::create(self.outputs().map(|(_, file)| file), classes)?,
            json: self.json,
            pictures: VecDeque::new(),
            shown: String::new(),
        };
        // One plan for all frames, each as a video of its own.
        let plan = ClipPlan { frames: vec![0], ..loader.planner.at_rate(1.0).evaluation(1)? };
        let (mut moments, most) = (Moments::new(every), trained.recipe.clip.temporal.frames());
        let rate = frames.rate();
        watch.watcher.expect_interval(every.or(rate.map(|rate| 1.0 / rate)).unwrap_or(0.0));
        let mut broken = None;
        for frame in once(Ok(first)).chain(frames).take_while(|frame| frame.is_err() || !stop.is_set()) {
            match frame.map_err(Error::from).and_then(|frame| Ok((moments.take(frame.time)?, frame))) {
                Ok(((_, 0), _)) => {}
                Ok(((time, times), VideoFrame { pixels, height, width, .. })) => {
                    let picture = Frames::new(pixels, 1, height, width, 3)?;
                    watch.take(Step { time, times: times.min(most), clip: plan.apply(&picture)?, picture })?;
                }
                Err(error) => {
                    broken = Some(error);
                    break;
                }
            }
        }
        watch.finish(moments.end(rate))?;
        let name = self.input.file_name().unwrap_or_default().to_string_lossy();
        watch.outputs.finish(&format!("What happens in {name}"), moments.time())?;
        let (seconds, shown) = (began.elapsed().as_secs_f64(), moments.time());
        let memory = preflight::machine::peak().map_or(String::new(), |peak| format!(", {} MiB at most", peak >> 20));
        note!(
            "{} frames of {}, {} events; {seconds:.1} s, {:.1} times as fast as the video{memory}",
            moments.frames,
            clock(shown),
            watch.outputs.events,
            shown / seconds.max(1e-9)
        );
        match broken {
            Some(error) => bail!("{error}; the events before that are written"),
            None if stop.is_set() => bail!(stop.interrupted()),
            None => Ok(()),
        }
    }

    fn rule(&self, classes: &[String]) -> Rule {
        Rule {
            begin: self.threshold,
            go_on: self.go_on.unwrap_or(0.8 * self.threshold),
            least: self.least,
            background: classes.iter().position(|class| class == BACKGROUND),
        }
    }

    fn input(&self) -> Result<StreamInput> {
        let name = self.input.to_str().unwrap_or_default();
        if name == "-" {
            let (Some([width, height]), Some(fps)) = (self.size, self.fps) else {
                bail!("frames on standard input are raw, rgb24: give their size and rate with --size WxH --fps F");
            };
            return Ok(StreamInput::Pipe { width, height, fps });
        }
        ensure!(self.size.is_none(), "--size and --fps are for frames on standard input, `-`");
        if let Some((kind, name)) = name.split_once(':').filter(|(kind, _)| StreamInput::DEVICES.contains(kind)) {
            return Ok(StreamInput::Device { kind: kind.into(), name: name.into() });
        }
        if name.starts_with("/dev/video") {
            return Ok(StreamInput::Device { kind: "v4l2".into(), name: name.into() });
        }
        Ok(StreamInput::File(self.input.clone()))
    }

    fn check(&self, input: &StreamInput) -> Result<()> {
        if let Some(go_on) = self.go_on {
            ensure!(go_on <= self.threshold, "--go-on is {go_on}, above the threshold, {}", self.threshold);
        }
        ensure!(self.least >= 0.0 && self.least.is_finite(), "--least is {}; it is 0 or more seconds", self.least);
        ensure!(self.window.is_none_or(|window| window > 0.0 && window.is_finite()), "--window is above 0 seconds");
        ensure!(
            self.html.is_none() || matches!(input, StreamInput::File(_)),
            "--html is a page of a whole file; for a stream take --csv or --srt"
        );
        let outputs = self.outputs();
        let named: Vec<(&str, PathBuf)> =
            outputs.iter().filter_map(|(name, file)| Some((*name, place(file.as_ref()?)?))).collect();
        for (index, (name, file)) in named.iter().enumerate() {
            ensure!(place(&self.input).as_ref() != Some(file), "{name} would overwrite the video, {}", file.display());
            if let Some((other, _)) = named[..index].iter().find(|(_, other)| other == file) {
                bail!("{other} and {name} are the same file, {}", file.display());
            }
        }
        Ok(())
    }

    /// The files to write, with their options.
    fn outputs(&self) -> [(&'static str, Option<&Path>); 4] {
        let named = [("--csv", &self.csv), ("--srt", &self.srt), ("--answers", &self.answers), ("--html", &self.html)];
        named.map(|(name, file)| (name, file.as_deref()))
    }

    /// How the model goes through the stream, the seconds from one frame that it takes in to the next if
    /// it does not take in all, and the steps from answer to answer.
    fn pass(&self, trained: &TrainedRun) -> Result<(Pass, Option<f64>, usize)> {
        let rule = trained.recipe.clip.temporal;
        let steps = rule.frames();
        let every = match (self.window, rule) {
            (Some(window), _) => Some(window / steps as f64),
            (None, TemporalSampling::Consecutive { .. }) => None,
            (None, TemporalSampling::Every { every, .. }) => Some(every.as_secs_f64()),
            (None, TemporalSampling::Spread { .. }) => bail!(
                "{} was trained on {steps} frames spread over whole clips; give their usual length with --window SECONDS",
                trained.dir
            ),
        };
        // About half of a clip is needed to change the verdict of a model.
        let (model, frames) = (&trained.recipe.model, Pass::FrameByFrame { lag: steps / 2 });
        let pass = match self.by {
            Some(By::Frames) if !model.takes_streams() => bail!(
                "{} cannot go frame by frame: its form or its normalisation needs the whole clip; take --by windows",
                trained.dir
            ),
            Some(By::Frames) => frames,
            None if model.context.is_some() => frames,
            Some(By::Windows) | None => Pass::Windows(steps),
        };
        let (stride, most) = match pass {
            Pass::FrameByFrame { .. } => (self.stride.unwrap_or(1), usize::MAX),
            Pass::Windows(_) => (self.stride.unwrap_or(steps.div_ceil(8)), steps),
        };
        ensure!((1..=most).contains(&stride), "--stride is {stride}; a window has {steps} frames");
        Ok((pass, every, stride))
    }
}

/// A stream under way.
struct Watch<'a> {
    taps: Taps<'a>,
    watcher: Watcher,
    /// Frames that are to go through the CNN together with later ones.
    waiting: Vec<Step>,
    at_once: usize,
    events: Events<'a>,
    outputs: Outputs,
    json: bool,
    /// The pictures of the steps of a window, if events are shown.
    pictures: VecDeque<Frames>,
    /// The picture of the current event, JPEG in Base64.
    shown: String,
}

impl Watch<'_> {
    fn take(&mut self, step: Step) -> Result<()> {
        self.waiting.push(step);
        if self.waiting.len() < self.at_once { Ok(()) } else { self.flush() }
    }

    /// Gives the waiting frames to the model.
    fn flush(&mut self) -> Result<()> {
        let (clips, rest): (Vec<Frames>, Vec<_>) =
            self.waiting.drain(..).map(|step| (step.clip, (step.time, step.times, step.picture))).unzip();
        for (maps, (time, times, picture)) in self.taps.maps(&clips)?.into_iter().zip(rest) {
            if self.outputs.shows_pictures() {
                self.pictures.push_back(picture);
                if self.pictures.len() > self.watcher.window() {
                    self.pictures.pop_front();
                }
            }
            for _ in 0..times {
                if let Some(answer) = self.watcher.step(time, maps.clone())? {
                    self.answer(&answer)?;
                }
            }
        }
        Ok(())
    }

    /// Answers for the rest of a stream of `end` seconds, and ends its event.
    fn finish(&mut self, end: f64) -> Result<()> {
        self.flush()?;
        if let Some(answer) = self.watcher.finish(end)? {
            self.answer(&answer)?;
        }
        self.events.finish().map_or(Ok(()), |event| self.event(event))
    }

    fn answer(&mut self, answer: &Answer) -> Result<()> {
        self.outputs.answer(answer)?;
        if let Some(event) = self.events.add(answer) {
            self.event(event)?;
        }
        if self.events.is_highest()
            && let Some(picture) = self.pictures.get(self.pictures.len() / 2)
        {
            self.shown = jpeg_base64(&picture.data, picture.height, picture.width)?;
        }
        Ok(())
    }

    fn event(&mut self, event: Event) -> Result<()> {
        if self.json {
            say!("{}", serde_json::to_string(&event)?)?;
        } else {
            let (from, to) = (clock(event.start), clock(event.end));
            say!("{from}  {to}  {:3.0} %  {}", 100.0 * event.probability, event.class)?;
        }
        self.outputs.event(event, std::mem::take(&mut self.shown))
    }
}
