//! `prepare`: videos to folders of frames and optical flow with a manifest; generated clips with
//! captions.

use std::collections::HashSet;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand, ValueEnum};
use gru_rcn_data::{
    CaptionedPart, Estimate, Failure, Ffmpeg, FilmedMotion, FlowMethod, FlowOptions, ImageCoding, Layout,
    MotionCaptions, MotionConfig, MotionFilm, OwnLists, Prepare, PrepareOutcome, Progress, Shard, SizeRule, printable,
};
use gru_rcn_metrics::caption::tokenize_lines;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::shared::{at_least_one, print_json};
use crate::observe::{Interval, duration};
use crate::output::{note, say};
use crate::signals::{Faults, StopFlag};
use crate::stream::clock;

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct PrepareArgs {
    #[command(subcommand)]
    generated: Option<Generated>,
    #[command(flatten)]
    videos: Option<VideosArgs>,
}

/// Clips that are generated.
#[derive(Subcommand, Debug)]
enum Generated {
    /// Draw clips of a coloured shape that moves, with captions: a folder of PNG frames and a file
    /// of captions in COCO's format for each part. Test clips show new pairs of shape and colour.
    MotionCaptions(MotionCaptionsArgs),
    /// Draw a film in which shapes move and pause, to try out `watch`: an uncompressed video, and a line
    /// with beginning, end and name of each motion.
    MotionFilm(MotionFilmArgs),
}

#[derive(Args, Debug)]
struct MotionFilmArgs {
    /// Output file, FILE.y4m.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Motions in it; each takes about 8 s with its pauses.
    #[arg(long, default_value_t = MotionFilm::default().scenes, value_parser = at_least_one)]
    motions: usize,
    /// Seed of the scenes.
    #[arg(long, default_value_t = MotionFilm::default().seed)]
    seed: u64,
}

#[derive(Args, Debug)]
struct MotionCaptionsArgs {
    /// Output folder.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Seed of the clips and of their captions.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Height and width of a frame, pixels.
    #[arg(long, default_value_t = MotionCaptions::default().clips.size)]
    size: usize,
    /// Frames of a clip.
    #[arg(long, default_value_t = MotionCaptions::default().clips.frames)]
    frames: usize,
    /// Training clips.
    #[arg(long, default_value_t = MotionCaptions::default().clips.train)]
    train: usize,
    /// Validation clips.
    #[arg(long, default_value_t = MotionCaptions::default().clips.validation)]
    validation: usize,
    /// Test clips.
    #[arg(long, default_value_t = MotionCaptions::default().clips.test)]
    test: usize,
    /// Captions of each clip.
    #[arg(long, default_value_t = MotionCaptions::default().captions)]
    captions: usize,
}

#[derive(Args, Debug)]
struct VideosArgs {
    /// Layout of the videos: ucf101, hmdb51, msvd or folder (a folder per class).
    layout: Layout,
    /// The folder of videos.
    #[arg(value_name = "VIDEOS")]
    source: PathBuf,
    /// Output folder.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Folder of the data set's official lists.
    #[arg(long, value_name = "DIR")]
    lists: Option<PathBuf>,
    /// MSVD's captions: JSON {PART: {CLIP: [CAPTION, …], …}, …}, or a .txt file of lines CLIP
    /// CAPTION; the clips of --lists get files of captions in COCO's format.
    #[arg(long, value_name = "FILE")]
    captions: Option<PathBuf>,
    /// List of training clips, for the layout folder.
    #[arg(long, value_name = "FILE")]
    train_list: Option<PathBuf>,
    /// List of validation clips, for the layout folder.
    #[arg(long, value_name = "FILE")]
    validation_list: Option<PathBuf>,
    /// List of test clips, for the layout folder.
    #[arg(long, value_name = "FILE")]
    test_list: Option<PathBuf>,
    /// JSON map from clip to group, for the layout folder.
    #[arg(long, value_name = "FILE")]
    groups: Option<PathBuf>,
    /// Size of the frames: pixels of the shorter side, HEIGHTxWIDTH, or `source`; by default 256,
    /// and 256x340 for UCF-101.
    #[arg(long, value_parser = parse_size)]
    size: Option<SizeRule>,
    /// Quality of the JPEG frames, 1 to 100.
    #[arg(long, default_value_t = 95)]
    quality: u8,
    /// Compute optical flow too: tvl1 as in the paper, or dis, several times as fast.
    #[arg(long, value_name = "METHOD")]
    flow: Option<FlowMethod>,
    /// Displacement in pixels that maps to the largest 8-bit code.
    #[arg(long, default_value_t = 20.0)]
    bound: f32,
    /// Image format of the stored flow.
    #[arg(long, value_enum, default_value_t = FlowImage::Jpeg)]
    flow_format: FlowImage,
    /// Number of clips processed in parallel; 0 is one per processor.
    #[arg(long, default_value_t = 0)]
    workers: usize,
    /// Prepare only this part of the clips, such as 1/4; `merge` joins the parts.
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Image formats of stored flow.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum FlowImage {
    /// JPEG of quality 95, as is usual.
    Jpeg,
    /// PNG, without loss, about three times as large.
    Png,
}

fn parse_size(text: &str) -> Result<SizeRule, String> {
    let pixels = |text: &str| text.parse::<usize>().map_err(|_| format!("{text:?} is not a number of pixels"));
    match text.split_once('x') {
        Some((height, width)) => Ok(SizeRule::Exact { height: pixels(height)?, width: pixels(width)? }),
        None if text == "source" => Ok(SizeRule::Source),
        None => Ok(SizeRule::ShortSide { pixels: pixels(text)? }),
    }
}

impl PrepareArgs {
    pub(super) fn run(&self) -> Result<()> {
        match (&self.generated, &self.videos) {
            (Some(Generated::MotionCaptions(args)), _) => args.run(),
            (Some(Generated::MotionFilm(args)), _) => args.run(),
            (None, Some(args)) => args.run(),
            (None, None) => bail!("say what to prepare; --help has the forms"),
        }
    }
}

impl MotionFilmArgs {
    fn run(&self) -> Result<()> {
        let film = MotionFilm { scenes: self.motions, seed: self.seed, ..MotionFilm::default() };
        for FilmedMotion { start, end, class } in film.write(&self.out)? {
            say!("{}  {}  {class}", clock(start), clock(end))?;
        }
        Ok(())
    }
}

impl MotionCaptionsArgs {
    fn run(&self) -> Result<()> {
        let &Self { seed, size, frames, train, validation, test, captions, .. } = self;
        let clips = MotionConfig { size, frames, train, validation, test, seed, background: false };
        MotionCaptions { clips, captions }.write(&self.out)?;
        let clips = train + validation + test;
        say!("{clips} clips of {frames} frames with {captions} captions each; {}", self.out.display())
    }
}

impl VideosArgs {
    fn run(&self) -> Result<()> {
        let (options, decoder) = (self.options(), Ffmpeg::locate()?);
        let stop = StopFlag::install("the same command continues where it stopped")?;
        let estimate = options.estimate(&decoder)?;
        print_estimate(&estimate);
        ensure!(
            estimate.fits(),
            "{} needs about {} and its disk has {} free; make room, or give a smaller --size",
            options.output.display(),
            size(estimate.bytes),
            size(estimate.free.unwrap_or(0))
        );
        let mut bar = Bar::new()?;
        let outcome = options.run(&decoder, stop.flag(), &mut |progress| bar.show(&progress))?;
        bar.finish();
        print_outcome(&outcome, self.json)?;
        ensure!(!outcome.interrupted, stop.interrupted());
        check_complete(&outcome.failures)
    }

    fn options(&self) -> Prepare {
        let image = match self.flow_format {
            FlowImage::Jpeg => ImageCoding::Jpeg { quality: 95 },
            FlowImage::Png => ImageCoding::Png,
        };
        Prepare {
            layout: self.layout,
            source: self.source.clone(),
            output: self.out.clone(),
            lists: self.lists.clone(),
            captions: self.captions.clone(),
            own_lists: OwnLists {
                train: self.train_list.clone(),
                validation: self.validation_list.clone(),
                test: self.test_list.clone(),
                groups: self.groups.clone(),
            },
            size: self.size.unwrap_or(Prepare::size_for(self.layout)),
            quality: self.quality,
            flow: self.flow.map(|method| FlowOptions { method, bound: self.bound, image }),
            workers: self.workers,
            shard: self.shard,
        }
    }
}

/// Clips that could not be prepared are faults.
pub(super) fn check_complete(failures: &[Failure]) -> Result<()> {
    let count = failures.len();
    ensure!(count == 0, Faults(format!("{count} clips could not be prepared; they are named in failures.jsonl")));
    Ok(())
}

fn print_estimate(estimate: &Estimate) {
    let kept = if estimate.kept > 0 { format!(", {} are there already", estimate.kept) } else { String::new() };
    if estimate.probed == 0 {
        note!("{} clips to prepare{kept}", estimate.clips);
        return;
    }
    let free = estimate.free.map_or(String::new(), |free| format!(" ({} free)", size(free)));
    note!(
        "{} clips to prepare{kept}: about {} and {}{free}",
        estimate.clips,
        duration(estimate.seconds),
        size(estimate.bytes)
    );
}

/// Reports the number of clips and the first of them in one line, if there are any.
fn name_first(kind: &str, clips: &[String], what: &str) {
    if let Some(first) = clips.first() {
        note!("{kind}: {} {what}, the first {first}", clips.len());
    }
}

fn print_outcome(outcome: &PrepareOutcome, as_json: bool) -> Result<()> {
    for failure in &outcome.failures {
        note!("failed: {}: {}", failure.clip, printable(&failure.error));
    }
    outcome.notes.iter().for_each(|note| note!("note: {note}"));
    name_first("note", &outcome.changed, "clips were prepared of other videos before and are made anew");
    name_first("note", &outcome.without_source, "prepared clips have no video in the source any more and stay");
    name_first("warning", &outcome.damaged, "clips are of damaged videos, their readable frames were used");
    for list in outcome.lists.iter().filter(|list| !list.absent.is_empty()) {
        note!("note: {} names {} clips that are not in the source", list.name, list.absent.len());
    }
    let captions: Vec<CaptionCounts> = outcome.captions.iter().map(CaptionCounts::of).collect();
    if as_json {
        #[derive(Serialize)]
        struct Printed<'a> {
            #[serde(flatten)]
            outcome: &'a PrepareOutcome,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            captions: Vec<CaptionCounts<'a>>,
        }
        return print_json(&Printed { outcome, captions });
    }
    for CaptionCounts { part, listed, captioned, captions, words, in_source } in captions {
        say!(
            "captions, {part}: {captioned} of {listed} clips have some, {captions} in all, {words} different words; \
             {in_source} of these clips are in the source"
        )?;
    }
    say!(
        "{} clips, {} of them new ({} frames, {}); manifest {}",
        outcome.clips,
        outcome.prepared,
        outcome.frames,
        size(outcome.bytes),
        outcome.manifest.display()
    )
}

/// Counts of the captions of one part, whether its clips are in the source or not.
#[derive(Serialize)]
struct CaptionCounts<'a> {
    part: &'a str,
    /// Clips that the part's list names.
    listed: usize,
    /// Those with captions.
    captioned: usize,
    captions: usize,
    /// Different words, in lower case as the metrics see them.
    words: usize,
    /// Clips with captions that are in the source.
    in_source: usize,
}

impl<'a> CaptionCounts<'a> {
    fn of(part: &'a CaptionedPart) -> Self {
        let captions: Vec<&str> = part.clips.iter().flat_map(|clip| clip.captions.iter().map(String::as_str)).collect();
        let words: HashSet<String> = tokenize_lines(captions.iter().copied()).into_iter().flatten().collect();
        Self {
            part: &part.name,
            listed: part.clips.len() + part.without.len(),
            captioned: part.clips.len(),
            captions: captions.len(),
            words: words.len(),
            in_source: part.clips.iter().filter(|clip| clip.file.is_some()).count(),
        }
    }
}

/// A bar on a terminal; elsewhere a line every few seconds.
struct Bar {
    bar: ProgressBar,
    interval: Option<Interval>,
}

impl Bar {
    fn new() -> Result<Self> {
        let style = ProgressStyle::with_template("{bar:24} {wide_msg}").context("the progress bar's template")?;
        let bar = ProgressBar::no_length().with_style(style.progress_chars("██░"));
        Ok(Self { bar, interval: None })
    }

    fn show(&mut self, progress: &Progress) {
        let left = progress.remaining.map_or(String::new(), |left| format!(", {} left", duration(left.as_secs_f64())));
        let failed = if progress.failed > 0 { format!(", {} failed", progress.failed) } else { String::new() };
        let line = format!("{} of {} clips, {}{failed}{left}", progress.done, progress.total, size(progress.bytes));
        if !self.bar.is_hidden() {
            self.bar.set_length(progress.total as u64);
            self.bar.set_position(progress.done as u64);
            self.bar.set_message(line);
        } else if self.interval.as_mut().is_none_or(Interval::is_over) {
            note!("{line}");
        }
        self.interval.get_or_insert_default();
    }

    fn finish(&self) {
        if self.interval.is_some() {
            self.bar.abandon();
        }
    }
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.0} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.0} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_forms() {
        assert_eq!(parse_size("256"), Ok(SizeRule::ShortSide { pixels: 256 }));
        assert_eq!(parse_size("256x340"), Ok(SizeRule::Exact { height: 256, width: 340 }));
        assert_eq!(parse_size("source"), Ok(SizeRule::Source));
        assert!(parse_size("256x").unwrap_err().contains("not a number"));
    }
}
