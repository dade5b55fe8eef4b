//! Arguments of the commands that make and check data sets.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use gru_rcn_data::{
    DecodeLimits, DecoderKind, FlowMethod, FlowOptions, ImageCoding, Layout, OwnLists, Prepare, Shard, SizeRule,
    VerifyOptions,
};

use crate::verbs::{flow, prepare, verify};

/// Arguments of `prepare`.
#[derive(Args, Debug)]
pub struct PrepareArgs {
    /// How the videos are laid out: ucf101, hmdb51, msvd or folder (a folder per class).
    pub layout: Layout,
    /// The folder of videos.
    #[arg(value_name = "VIDEOS")]
    pub source: PathBuf,
    /// The folder to make.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Folder of the data set's official lists.
    #[arg(long, value_name = "DIR")]
    pub lists: Option<PathBuf>,
    /// List of training clips, for the layout folder.
    #[arg(long, value_name = "FILE")]
    pub train_list: Option<PathBuf>,
    /// List of validation clips, for the layout folder.
    #[arg(long, value_name = "FILE")]
    pub validation_list: Option<PathBuf>,
    /// List of test clips, for the layout folder.
    #[arg(long, value_name = "FILE")]
    pub test_list: Option<PathBuf>,
    /// JSON map from clip to group, for the layout folder.
    #[arg(long, value_name = "FILE")]
    pub groups: Option<PathBuf>,
    /// Size of the frames: pixels of the shorter side, HEIGHTxWIDTH, or `source`; by default 256, and 256x340 for UCF-101.
    #[arg(long, value_parser = parse_size)]
    pub size: Option<SizeRule>,
    /// Quality of the JPEG frames, 1 to 100.
    #[arg(long, default_value_t = 95)]
    pub quality: u8,
    /// Optical flow too: tvl1 as in the paper, or dis, many times as fast.
    #[arg(long, value_name = "METHOD")]
    pub flow: Option<FlowMethod>,
    /// Displacement of the largest 8-bit code, pixels.
    #[arg(long, default_value_t = 20.0)]
    pub bound: f32,
    /// How flow is stored.
    #[arg(long, value_enum, default_value_t = FlowImage::Jpeg)]
    pub flow_format: FlowImage,
    /// What decodes the videos: ffmpeg, or pure, which reads the XviD files of UCF-101 with nothing installed.
    #[arg(long, default_value_t = DecoderKind::Ffmpeg)]
    pub decoder: DecoderKind,
    /// Clips at once; 0 is one for each processor.
    #[arg(long, default_value_t = 0)]
    pub workers: usize,
    /// Prepare only this part of the clips, such as 1/4; `merge` joins the parts.
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// How fields of flow are stored.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowImage {
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
    /// Runs the command.
    pub fn run(&self) -> Result<()> {
        let image = match self.flow_format {
            FlowImage::Jpeg => ImageCoding::Jpeg { quality: 95 },
            FlowImage::Png => ImageCoding::Png,
        };
        let options = Prepare {
            layout: self.layout,
            source: self.source.clone(),
            output: self.out.clone(),
            lists: self.lists.clone(),
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
        };
        prepare::run(&options, &*self.decoder.open(DecodeLimits::default())?, self.json)
    }
}

/// Arguments of `merge`.
#[derive(Args, Debug)]
pub struct MergeArgs {
    /// The prepared folder whose shards are all done.
    pub root: PathBuf,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `verify`.
#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// A prepared folder, or one that other tools made: a folder of images per clip.
    pub root: PathBuf,
    /// Folder of optical flow that lies elsewhere.
    #[arg(long, value_name = "DIR")]
    pub flow: Option<PathBuf>,
    /// A list whose lines must name clips; may be given several times.
    #[arg(long, value_name = "FILE")]
    pub list: Vec<PathBuf>,
    /// Write the clips with faults to a list that training leaves out; by default `quarantine.jsonl` in the folder.
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    pub quarantine: Option<Option<PathBuf>>,
    /// Clips at once; 0 is one for each processor.
    #[arg(long, default_value_t = 0)]
    pub workers: usize,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
}

impl VerifyArgs {
    /// Runs the command.
    pub fn run(&self) -> Result<()> {
        let verify = VerifyOptions {
            flow: self.flow.clone(),
            lists: self.list.clone(),
            workers: self.workers,
            ..VerifyOptions::default()
        };
        let options =
            verify::Options { root: &self.root, verify, quarantine: self.quarantine.as_ref(), json: self.json };
        verify::run(&options)
    }
}

/// Arguments of `flow`.
#[derive(Args, Debug)]
pub struct FlowArgs {
    /// The first image.
    pub first: PathBuf,
    /// The second image, of the same size.
    pub second: PathBuf,
    /// The field, a .flo file.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// The algorithm: tvl1 or dis.
    #[arg(long, default_value = "tvl1")]
    pub method: FlowMethod,
    /// Also a picture of the field in the colours of its directions, PNG or JPEG.
    #[arg(long, value_name = "FILE")]
    pub picture: Option<PathBuf>,
    /// The true field, to print the endpoint error.
    #[arg(long, value_name = "FILE")]
    pub truth: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

impl FlowArgs {
    /// Runs the command.
    pub fn run(&self) -> Result<()> {
        flow::run(&flow::Options {
            images: [&self.first, &self.second],
            method: self.method,
            out: &self.out,
            picture: self.picture.as_deref(),
            truth: self.truth.as_deref(),
            json: self.json,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(parse_size("256"), Ok(SizeRule::ShortSide { pixels: 256 }));
        assert_eq!(parse_size("256x340"), Ok(SizeRule::Exact { height: 256, width: 340 }));
        assert_eq!(parse_size("source"), Ok(SizeRule::Source));
        assert!(parse_size("256x").unwrap_err().contains("not a number"));
    }
}
