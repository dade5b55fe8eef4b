//! The command line.

mod data;
mod machine;
mod results;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use burn::tensor::Device;
use clap::{Args, Parser, Subcommand};
use gru_rcn_data::{DecoderKind, Split, ViewRule};

use crate::backend::Backend;
use crate::device_fault;
use crate::fit::Interrupted;
use crate::precision::Precision;
use crate::signals::exit_on_broken_pipe;
use crate::verbs::{Faults, evaluate, features, predict, prepare, train};

/// GRU-RCN: convolutional GRUs over the percepts of a CNN, for recognising actions in video.
#[derive(Parser, Debug)]
#[command(name = "gru-rcn", version, about, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Subcommand, Debug)]
pub enum Verb {
    /// Train a model by a recipe, with its baselines, and report on the test clips.
    Train(TrainArgs),
    /// Score a trained run on the test clips, its own or others of the same classes.
    Evaluate(EvaluateArgs),
    /// Print the most probable classes of video files or folders of frames.
    Predict(PredictArgs),
    /// Write the percepts of a data set, or a run's recurrent encodings of it, as safetensors.
    Features(FeaturesArgs),
    /// Draw the report of a run again.
    Report(results::ReportArgs),
    /// Average the class probabilities of several runs on the same clips, such as those of the RGB and the flow stream.
    Fuse(results::FuseArgs),
    /// Make frames, and optical flow if asked, of a data set's videos, with a manifest.
    Prepare(data::PrepareArgs),
    /// Join the manifests of a folder that was prepared in shards.
    Merge(data::MergeArgs),
    /// Check every file of a prepared folder, or of one that other tools made.
    Verify(data::VerifyArgs),
    /// Compute the optical flow between two images.
    Flow(data::FlowArgs),
    /// Say what this program can do on this machine, and test its backends.
    Doctor(machine::DoctorArgs),
    /// Train the same small recipe on every backend and compare the losses, step by step.
    CompareBackends(machine::CompareBackendsArgs),
    /// Let other processes compute on a device of this machine, by --backend remote:ADDRESS:PORT.
    #[cfg(feature = "remote")]
    Serve(machine::ServeArgs),
}

/// Options of every verb that computes.
#[derive(Args, Debug)]
pub struct DeviceArgs {
    /// Where to compute: cpu, ndarray, wgpu, vulkan, metal, `cuda:N` or `remote:ADDRESS:PORT`.
    #[arg(long, default_value = "cpu", value_parser = parse_backend)]
    pub backend: Backend,
}

/// The precision of verbs that run a model.
#[derive(Args, Debug)]
pub struct PrecisionArgs {
    /// What convolutions and gates are computed in; weights, normalisation, softmax and loss are f32 always.
    #[arg(long, value_enum, default_value_t)]
    pub dtype: Precision,
}

impl PrecisionArgs {
    /// The device, if it can compute in this precision.
    fn device(&self, backend: Backend) -> Result<Device> {
        let device = backend.device()?;
        self.dtype.check(backend, &device)?;
        Ok(device)
    }
}

fn parse_backend(text: &str) -> Result<Backend, String> {
    text.parse()
}

/// Options that name a run.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// The run folder. Without it, `train` takes a new one and the other verbs the newest.
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
    /// Where runs are kept.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub runs: PathBuf,
}

/// Options that complete or change a recipe.
#[derive(Args, Debug)]
pub struct RecipeArgs {
    /// Folder of the clips, for recipes that need one: a folder per class.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Pretrained weights of the CNN in torchvision's layout (.safetensors, .pth).
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// What decodes video files: ffmpeg, or pure, which reads the XviD files of UCF-101 with nothing installed. By default
    /// what the recipe says.
    #[arg(long)]
    pub decoder: Option<DecoderKind>,
    /// Change one key of the recipe; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// Arguments of `train`.
#[derive(Args, Debug)]
pub struct TrainArgs {
    /// A built-in recipe (motion, folder, egogestar, egogestar-flow, fight-surv,
    /// fight-surv-flow, ucf101-rgb, ucf101-flow) or a TOML file.
    #[arg(default_value = "motion")]
    pub recipe: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub change: RecipeArgs,
    /// Seed of everything random; the same as --set seed=N.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Most memory that the run may take, GiB; what the machine has if not given.
    #[arg(long, value_name = "GIB")]
    pub max_memory: Option<f64>,
    /// Go on with an interrupted run.
    #[arg(long)]
    pub resume: bool,
    /// Train on several devices at once, each taking a part of every batch, such as `cuda:0,cuda:1`; instead of --backend.
    #[arg(long, value_delimiter = ',', value_parser = parse_backend, conflicts_with = "backend")]
    pub devices: Vec<Backend>,
    /// Plain lines even on a terminal.
    #[arg(long)]
    pub plain: bool,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub run: RunArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub device: DeviceArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub precision: PrecisionArgs,
}

impl TrainArgs {
    /// The first device, which holds the model.
    fn backend(&self) -> Backend {
        self.devices.first().copied().unwrap_or(self.device.backend)
    }
}

/// Arguments of `evaluate`.
#[derive(Args, Debug)]
pub struct EvaluateArgs {
    /// Another folder of clips than the run was trained on.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// List of the clips to score, relative to the folder; without it, all clips of another folder.
    #[arg(long, value_name = "FILE")]
    pub list: Option<PathBuf>,
    /// Which part of the data: train, validation or test.
    #[arg(long, default_value = "test", value_parser = parse_split)]
    pub split: Split,
    /// The views of each clip, whose probabilities are averaged: STARTSxCROPS with 1, 5 or 10 crops, 25x10 in the paper. By
    /// default what the run's recipe says.
    #[arg(long, value_name = "NxM")]
    pub views: Option<ViewRule>,
    /// What decodes video files: ffmpeg, or pure, which reads the XviD files of UCF-101 with nothing installed. By default
    /// what the run's recipe says.
    #[arg(long)]
    pub decoder: Option<DecoderKind>,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub run: RunArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub device: DeviceArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub precision: PrecisionArgs,
}

fn parse_split(text: &str) -> Result<Split, String> {
    text.parse().map_err(|error| format!("{error}"))
}

/// Arguments of `predict`.
#[derive(Args, Debug)]
pub struct PredictArgs {
    /// Video files, or folders of frames.
    #[arg(required = true, value_name = "VIDEO")]
    pub videos: Vec<PathBuf>,
    /// How many classes to print of each.
    #[arg(long, default_value_t = 5)]
    pub top: usize,
    /// The views of each file, whose probabilities are averaged: STARTSxCROPS with 1, 5 or 10 crops, 25x10 in the paper.
    #[arg(long, value_name = "NxM", default_value_t)]
    pub views: ViewRule,
    /// What decodes video files: ffmpeg, or pure, which reads the XviD files of UCF-101 with nothing installed. By default
    /// what the run's recipe says.
    #[arg(long)]
    pub decoder: Option<DecoderKind>,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub run: RunArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub device: DeviceArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub precision: PrecisionArgs,
}

/// Arguments of `features`.
#[derive(Args, Debug)]
pub struct FeaturesArgs {
    /// A built-in recipe or a TOML file; without it, the recipe and the CNN of a run.
    pub recipe: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub change: RecipeArgs,
    /// The last hidden maps of the run's GRU-RCN instead of percepts.
    #[arg(long)]
    pub encodings: bool,
    /// The folder to write.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub run: RunArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub device: DeviceArgs,
}

/// Runs the program. Exit codes: 0 done, 1 the work found faults, 2 wrong usage or input or a failure, 130 and 143
/// interrupted after saving.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let backend = match &cli.verb {
        Verb::Train(args) => args.backend(),
        Verb::Evaluate(args) => args.device.backend,
        Verb::Predict(args) => args.device.backend,
        Verb::Features(args) => args.device.backend,
        Verb::Report(args) => args.device.backend,
        Verb::Doctor(args) => args.backend(),
        #[cfg(feature = "remote")]
        Verb::Serve(args) => args.device.backend,
        Verb::Prepare(_) | Verb::Merge(_) | Verb::Verify(_) | Verb::Flow(_) => Backend::Cpu,
        Verb::Fuse(_) | Verb::CompareBackends(_) => Backend::Cpu,
    };
    backend.make_default();
    let others = if let Verb::Train(args) = &cli.verb { &args.devices[..] } else { &[] };
    let foreign = std::iter::once(&backend).chain(others).find(|device| **device != Backend::Cpu);
    let work = || exit_on_broken_pipe().and_then(|()| dispatch(&cli.verb, backend));
    let done = match foreign {
        None => work(),
        Some(device) => device_fault::named(&device.to_string(), work),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(match error.downcast_ref::<Interrupted>() {
                Some(interrupted) => interrupted.exit_code,
                None if error.is::<Faults>() => 1,
                None => 2,
            })
        }
    }
}

fn dispatch(verb: &Verb, backend: Backend) -> Result<()> {
    match verb {
        Verb::Train(args) => {
            let mut set = args.change.set.clone();
            set.extend(args.seed.map(|seed| format!("seed={seed}")));
            let options = train::Options {
                recipe: &args.recipe,
                data: args.change.data.as_deref(),
                weights: args.change.weights.as_deref(),
                decoder: args.change.decoder,
                set: &set,
                run: args.run.run.as_deref(),
                runs: &args.run.runs,
                max_memory: args.max_memory,
                resume: args.resume,
                plain: args.plain,
                json: args.json,
                backend,
                others: args.devices.get(1..).unwrap_or_default(),
                precision: args.precision.dtype,
            };
            train::run(&options, &args.precision.device(backend)?)
        }
        Verb::Evaluate(args) => {
            let options = evaluate::Options {
                run: args.run.run.as_deref(),
                runs: &args.run.runs,
                data: args.data.as_deref(),
                list: args.list.as_deref(),
                split: args.split,
                views: args.views,
                decoder: args.decoder,
                json: args.json,
                precision: args.precision.dtype,
            };
            evaluate::run(&options, &args.precision.device(backend)?)
        }
        Verb::Predict(args) => {
            let options = predict::Options {
                run: args.run.run.as_deref(),
                runs: &args.run.runs,
                videos: &args.videos,
                top: args.top,
                views: args.views,
                decoder: args.decoder,
                json: args.json,
                precision: args.precision.dtype,
            };
            predict::run(&options, &args.precision.device(backend)?)
        }
        Verb::Features(args) => {
            let options = features::Options {
                recipe: args.recipe.as_deref(),
                data: args.change.data.as_deref(),
                weights: args.change.weights.as_deref(),
                decoder: args.change.decoder,
                set: &args.change.set,
                run: args.run.run.as_deref(),
                runs: &args.run.runs,
                encodings: args.encodings,
                out: &args.out,
                json: args.json,
            };
            features::run(&options, &backend.device()?)
        }
        Verb::Report(args) => args.run(),
        Verb::Fuse(args) => args.run(),
        Verb::Prepare(args) => args.run(),
        Verb::Merge(args) => prepare::merge(&args.root, args.json),
        Verb::Verify(args) => args.run(),
        Verb::Flow(args) => args.run(),
        Verb::Doctor(args) => args.run(),
        Verb::CompareBackends(args) => args.run(),
        #[cfg(feature = "remote")]
        Verb::Serve(args) => args.run(),
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
    fn train_needs_nothing() {
        let verb = Cli::parse_from(["gru-rcn", "train"]).verb;
        assert!(
            matches!(&verb, Verb::Train(a) if a.recipe == "motion" && a.device.backend == Backend::Cpu),
            "{verb:?}"
        );
    }
}
