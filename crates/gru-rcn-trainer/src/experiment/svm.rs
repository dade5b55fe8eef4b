//! The linear SVM on the descriptors of a C3D that the run has trained, as Tran et al. use it.
//!
//! The descriptor of a video is the mean of those of its clips, each of length 1; Tran et al. divide by
//! the length after the mean. The probabilities of a test video are the softmax of the mean margins of its
//! views.

use anyhow::{Result, bail};
use burn::module::Module;
use burn::tensor::Device;
use gru_rcn::baselines::{Baseline, C3d, LinearSvm, LinearSvmConfig, PixelBaseline};
use gru_rcn::head::EnsembleLogits;
use gru_rcn::input::PixelClips;
use gru_rcn::weights::{export, import};

use super::data::Clips;
use super::system::{System, TrainedModel, TrainedSystem};
use crate::context::Context;
use crate::observe::Pace;
use crate::recipe::{Recipe, SvmSection};
use crate::run::dir::RunDir;
use crate::scoring::views::ViewPixels;
use crate::scoring::{MeanOf, Scorable};

/// Margins of clips by their descriptors.
struct SvmOnC3d {
    c3d: C3d,
    svm: LinearSvm,
}

impl Scorable<PixelClips> for SvmOnC3d {
    fn logits(&self, clips: PixelClips) -> EnsembleLogits {
        EnsembleLogits::new(self.svm.forward(self.c3d.descriptors(clips.pixels)).unsqueeze_dim(0))
    }

    /// The mean of the margins is the margin of the mean descriptor.
    fn mean_of(&self) -> MeanOf {
        MeanOf::Logits
    }
}

/// Trains the SVM, or loads it if an interrupted run has trained it.
pub(super) fn train(context: &Context, clips: &Clips, section: &SvmSection, checksum: &str) -> Result<TrainedSystem> {
    let (recipe, device, classes) = (&context.recipe, &context.device, clips.dataset.classes.len());
    let system = System::C3dSvm(section.clone());
    let (key, name, weights) = (system.key(), system.name(recipe), system.weights(&context.dir));
    if context.finished(&key, &name, checksum, std::slice::from_ref(&weights))?.is_none() {
        context.clock.time(&name, || {
            let c3d = trained_c3d(&context.dir, recipe, classes, device)?;
            let (examples, targets) = descriptors(context, clips, &c3d, section)?;
            let svm = LinearSvmConfig::new().with_cost(section.cost).fit(&examples, &targets, classes, device);
            context.dir.check_there()?;
            export(&svm, &weights, &system.metadata(recipe, None))?;
            context.dir.mark_done(&key, &[], checksum)
        })?;
    }
    load(&context.dir, recipe, system, classes, device)
}

/// The trained SVM of a run on its C3D.
pub(super) fn load(
    dir: &RunDir,
    recipe: &Recipe,
    system: System,
    classes: usize,
    device: &Device,
) -> Result<TrainedSystem> {
    let c3d = trained_c3d(dir, recipe, classes, device)?;
    let svm = LinearSvmConfig::new().init(c3d.fc6.weight.dims()[1], classes, device);
    let svm = import(svm, &system.weights(dir))?;
    let (parameters, pixels) = (svm.num_params(), C3d::pixels(recipe.clip.modality.channels()));
    let model = TrainedModel::Pixels { model: Box::new(SvmOnC3d { c3d, svm }), pixels };
    Ok(TrainedSystem { system, model, curve: Vec::new(), parameters })
}

fn trained_c3d(dir: &RunDir, recipe: &Recipe, classes: usize, device: &Device) -> Result<C3d> {
    let drawn = C3d::from_options(&recipe.pixel_options(classes), device)?;
    Ok(import(drawn, &System::Baseline(Baseline::C3d).weights(dir))?)
}

/// The descriptors of all training videos that can be read, one after the other, and their classes; of
/// validation videos too where systems are trained again on both.
fn descriptors(context: &Context, clips: &Clips, c3d: &C3d, section: &SvmSection) -> Result<(Vec<f32>, Vec<usize>)> {
    let (recipe, dataset) = (&context.recipe, &clips.dataset);
    let mut samples = dataset.train.clone();
    if recipe.refit.is_some() {
        samples.extend(dataset.validation.iter().cloned());
    }
    let loader = clips.training_loader(&context.dir, &recipe.training);
    let pixels = C3d::pixels(recipe.clip.modality.channels());
    let views = ViewPixels { pixels: &pixels, loader: &loader, device: &context.device };
    let mut pace = Pace::new(samples.len());
    // Of each clip the sum of the descriptors of its views, and their number.
    let mut sums: Vec<(Vec<f64>, usize)> = vec![(Vec::new(), 0); samples.len()];
    for batch in views.of_clips(&samples, section.views()) {
        if context.stop.is_set() {
            bail!(context.stop.interrupted());
        }
        let batch = batch?;
        let descriptors = c3d.descriptors(batch.input.pixels);
        let units = descriptors.dims()[1];
        let values = descriptors.try_into_data()?.try_into_vec::<f32>()?;
        for (row, values) in batch.rows.iter().zip(values.chunks(units)) {
            let (sum, count) = &mut sums[row.clip];
            sum.resize(units, 0.0);
            sum.iter_mut().zip(values).for_each(|(sum, &value)| *sum += row.times as f64 * f64::from(value));
            *count += row.times;
        }
        let done = batch.rows.last().map_or(0, |row| row.clip + 1);
        if let Some(line) = pace.line(done, "training clips have descriptors") {
            context.message(line);
        }
    }
    let (mut examples, mut targets) = (Vec::new(), Vec::new());
    for ((sum, count), sample) in sums.iter().zip(&samples).filter(|((_, count), _)| *count > 0) {
        examples.extend(sum.iter().map(|sum| (sum / *count as f64) as f32));
        targets.push(sample.class);
    }
    if targets.is_empty() {
        bail!("none of the {} training clips could be read; see {}", samples.len(), context.dir.quarantine().display());
    }
    Ok((examples, targets))
}
