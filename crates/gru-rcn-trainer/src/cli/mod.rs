//! The command line: one file per verb, with its arguments and what it does.

mod caption;
mod compare_backends;
mod doctor;
mod evaluate;
mod explain;
mod features;
mod flow;
mod fuse;
mod generate;
mod merge;
mod predict;
mod prepare;
mod report;
mod results;
mod score_captions;
mod search;
#[cfg(feature = "remote")]
mod serve;
mod shared;
mod table1;
mod table2;
mod train;
mod verify;
mod watch;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use gru_rcn_data::printable;

use crate::device::backend::Backend;
use crate::device::fault;
use crate::output::{describe, note};
use crate::signals::{Faults, Interrupted, exit_on_broken_pipe};

/// GRU-RCN: convolutional GRUs over the percepts of a CNN, for recognising actions in video.
#[derive(Parser, Debug)]
#[command(name = "gru-rcn", version, about, max_term_width = 100)]
struct Cli {
    /// What to do.
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Train a model by a recipe, with its baselines, or a captioner, and report on the test clips.
    Train(train::TrainArgs),
    /// Score a trained run on the test clips, its own or others of the same classes.
    Evaluate(evaluate::EvaluateArgs),
    /// Print the most probable classes of video files or folders of frames.
    Predict(predict::PredictArgs),
    /// Show the regions and time steps of a video that support a class, as pictures and numbers.
    Explain(explain::ExplainArgs),
    /// Detect events in a long video, a pipe of frames or a camera.
    Watch(watch::WatchArgs),
    /// Describe video files or folders of frames in sentences, by a trained captioner.
    Caption(caption::CaptionArgs),
    /// Train captioners of random sizes, and rank them by their validation results.
    Search(search::SearchArgs),
    /// Write the percepts of a data set, or a run's recurrent encodings of it, as safetensors.
    Features(features::FeaturesArgs),
    /// Write the report of a run again, or compare several runs on one page.
    Report(report::ReportArgs),
    /// Average the class probabilities of several runs on the same clips, such as RGB and flow.
    Fuse(fuse::FuseArgs),
    /// Train and test every row of the paper's first table, on a folder of UCF-101 that `prepare` made
    /// with flow, with the pretrained weights of VGG-16.
    Table1(table1::Table1Args),
    /// Train and test the authors' own rows of the paper's second table, on a folder of MSVD that
    /// `prepare msvd` made with captions, with GoogLeNet's weights of ImageNet.
    Table2(table2::Table2Args),
    /// Score captions against references by BLEU, METEOR, ROUGE-L and CIDEr, as coco-caption does.
    ScoreCaptions(score_captions::ScoreCaptionsArgs),
    /// Extract frames, and optical flow if asked, from a data set's videos, with a manifest.
    Prepare(prepare::PrepareArgs),
    /// Join the manifests of a folder that was prepared in shards.
    Merge(merge::MergeArgs),
    /// Check every file of a prepared folder, or of a folder that other tools made.
    Verify(verify::VerifyArgs),
    /// Compute the optical flow between two images.
    Flow(flow::FlowArgs),
    /// Check this machine: backends, devices, FFmpeg and memory.
    Doctor(doctor::DoctorArgs),
    /// Write man pages and shell completions.
    #[command(hide = true)]
    Generate(generate::GenerateArgs),
    /// Train the same small recipe on every backend and compare the losses, step by step.
    CompareBackends(compare_backends::CompareBackendsArgs),
    /// Let other processes compute on a device of this machine, by --backend remote:ADDRESS:PORT.
    #[cfg(feature = "remote")]
    Serve(serve::ServeArgs),
}

impl Verb {
    /// The devices that the verb computes on. The first becomes Burn's default device.
    fn backends(&self) -> Vec<Backend> {
        match self {
            Self::Train(args) => args.backends(),
            Self::Evaluate(args) => vec![args.model.device.backend],
            Self::Predict(args) => vec![args.model.device.backend],
            Self::Explain(args) => vec![args.model.device.backend],
            Self::Watch(args) => vec![args.model.device.backend],
            Self::Caption(args) => vec![args.model.device.backend],
            Self::Search(args) => vec![args.series.device.backend],
            Self::Features(args) => vec![args.device.backend],
            Self::Table1(args) => vec![args.series.device.backend],
            Self::Table2(args) => vec![args.series.device.backend],
            Self::Doctor(args) => vec![args.backend()],
            #[cfg(feature = "remote")]
            Self::Serve(args) => vec![args.device.backend],
            _ => vec![Backend::Cpu],
        }
    }

    fn run(&self) -> Result<()> {
        match self {
            Self::Train(args) => args.run(),
            Self::Evaluate(args) => args.run(),
            Self::Predict(args) => args.run(),
            Self::Explain(args) => args.run(),
            Self::Watch(args) => args.run(),
            Self::Caption(args) => args.run(),
            Self::Search(args) => args.run(),
            Self::Features(args) => args.run(),
            Self::Report(args) => args.run(),
            Self::Fuse(args) => args.run(),
            Self::Table1(args) => args.run(),
            Self::Table2(args) => args.run(),
            Self::ScoreCaptions(args) => args.run(),
            Self::Prepare(args) => args.run(),
            Self::Merge(args) => args.run(),
            Self::Verify(args) => args.run(),
            Self::Flow(args) => args.run(),
            Self::Doctor(args) => args.run(),
            Self::Generate(args) => args.run(),
            Self::CompareBackends(args) => args.run(),
            #[cfg(feature = "remote")]
            Self::Serve(args) => args.run(),
        }
    }
}

/// Runs the program. Exit codes: 0 done, 1 the work found faults, 2 wrong usage or input or a
/// failure, 130 and 143 stopped by a signal after saving.
///
/// # Safety
///
/// As [`Backend::make_default`].
pub(crate) unsafe fn main() -> ExitCode {
    let verb = Cli::parse().verb;
    let backends = verb.backends();
    // SAFETY: the caller guarantees it; nothing above starts a thread.
    unsafe { backends[0].make_default() };
    let work = || exit_on_broken_pipe().and_then(|()| verb.run());
    let done = match backends.iter().find(|backend| **backend != Backend::Cpu) {
        None => work(),
        Some(device) => fault::catch(&device.to_string(), work),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let stopped = error.downcast_ref::<Interrupted>();
            // A requested stop is no error. File names may hold control characters of terminals.
            let start = if stopped.is_some() { "" } else { "error: " };
            note!("{start}{}", printable(&describe(&error)));
            ExitCode::from(match stopped {
                Some(interrupted) => interrupted.exit_code,
                None if error.is::<Faults>() => 1,
                None => 2,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn train_needs_no_arguments() {
        let verb = Cli::parse_from(["gru-rcn", "train"]).verb;
        assert!(matches!(&verb, Verb::Train(args) if args.recipe == "motion"), "{verb:?}");
        assert_eq!(verb.backends(), [Backend::Cpu]);
    }
}
