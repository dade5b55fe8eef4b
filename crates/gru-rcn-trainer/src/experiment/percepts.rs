//! The percepts that the systems of a run are trained on.

use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Result, bail};
use gru_rcn::backbone::{Backbone, Cnn};
use gru_rcn::percepts::Percepts;
use gru_rcn_data::Sample;

use super::backbone;
use super::data::Clips;
use crate::context::Context;
use crate::percepts::{
    ClipLoader, FrozenCnn, Kept, KeptPercepts, Live, MEASURED_CLIPS, MOST_BYTES, Source, Store, Work, bytes_of_clips,
    versions,
};
use crate::preflight::samples;
use crate::recipe::Recipe;

/// Training and validation clips as percepts of all levels.
pub(crate) struct Sources {
    pub(crate) train: Rc<dyn Source<Percepts>>,
    pub(crate) validation: Rc<dyn Source<Percepts>>,
    /// Both together, where systems are trained again.
    pub(crate) all: Rc<dyn Source<Percepts>>,
    /// Training clips in memory, to measure the normalisation's constants on.
    pub(crate) measured: Store,
}

/// Makes percepts of clips by a CNN, or reads those at hand.
#[derive(Clone, Copy)]
pub(crate) struct PerceptMaker<'a> {
    pub(crate) context: &'a Context,
    pub(crate) cnn: &'a Cnn,
    /// Percepts on disk, if they are kept there.
    pub(crate) kept: Option<&'a Arc<KeptPercepts>>,
    /// Whether percepts are computed once and kept in memory, or whenever a batch is requested.
    pub(crate) in_memory: bool,
}

/// Whether percepts are computed once and kept.
fn computed_once(recipe: &Recipe) -> bool {
    recipe.features.cache && recipe.uses_percepts()
}

/// The percepts on disk, if the run may keep some there. Reports which clips are at hand and makes room for
/// the others.
pub(crate) fn open_kept(context: &Context, clips: &Clips, cnn: &Cnn) -> Result<Option<Arc<KeptPercepts>>> {
    let (recipe, dataset, loader) = (&context.recipe, &clips.dataset, &clips.loader);
    let Some(folder) = context.percepts.as_ref().filter(|_| computed_once(recipe)) else { return Ok(None) };
    let message = |line| context.message(line);
    let work = Work { device: &context.device, stop: &context.stop, message: &message };
    // The percepts of this run have room in any case.
    let kept = Kept::new(folder, &context.device, MOST_BYTES.max((recipe.features.max_mib as u64) << 21));
    let (network, weights) = (recipe.backbone.network.name(), backbone::fingerprint(cnn));
    let kept = KeptPercepts::new(kept, cnn, [network, &weights], loader, samples(dataset), &work)?;
    let all = versions(recipe.features.copies);
    let again = if recipe.refit.is_some() { &all[..] } else { &all[..1] };
    let test = if recipe.views().is_single() { &dataset.test[..] } else { &[] };
    let parts = [(&dataset.train[..], &all[..]), (&dataset.validation, again), (test, &all[..1])];
    kept.prepare(parts.iter().flat_map(|(samples, versions)| samples.iter().map(|sample| (sample, *versions))), &work);
    Ok(Some(Arc::new(kept)))
}

/// At most `most` places of a list, spread evenly over all of it: lists are often sorted by class.
fn spread(length: usize, most: usize) -> impl Iterator<Item = usize> {
    let count = length.min(most);
    (0..count).map(move |n| n * length / count)
}

impl<'a> PerceptMaker<'a> {
    pub(crate) fn new(context: &'a Context, cnn: &'a Cnn, kept: Option<&'a Arc<KeptPercepts>>) -> Self {
        Self { context, cnn, kept, in_memory: computed_once(&context.recipe) }
    }

    /// Percepts of training and validation clips.
    pub(crate) fn training_sources(self, clips: &Clips) -> Result<Sources> {
        let (recipe, dataset) = (&self.context.recipe, &clips.dataset);
        let (train, validation) = (&dataset.train, &dataset.validation);
        let mut all = train.clone();
        if recipe.refit.is_some() {
            all.extend(validation.iter().cloned());
        }
        let training = clips.training_loader(&self.context.dir, &recipe.training);
        if self.in_memory {
            let bytes = self.bytes(all.len(), recipe.features.copies).saturating_add(self.bytes(validation.len(), 0));
            let mib = self.check_size(bytes, "these")?;
            self.context.message(format!("the percepts of training and validation clips take {mib} MiB of memory"));
            return self.context.clock.time("Percepts", || {
                let store = self.store(&all, recipe.features.copies, &training)?;
                // A store of its own, also where `all` has them: here a clip that cannot be read is
                // an error, there it is skipped.
                let validation = Rc::new(self.store(validation, 0, &clips.loader)?);
                let train = store.part(0..train.len());
                Ok(Sources { measured: train.clone(), train: Rc::new(train), validation, all: Rc::new(store) })
            });
        }
        // A few clips are enough for a handful of constants, and none where no system has any.
        let most = if recipe.model.train || recipe.uses_percepts() { MEASURED_CLIPS } else { 0 };
        let measured: Vec<Sample> = spread(train.len(), most).map(|clip| train[clip].clone()).collect();
        let measured = self.store(&measured, 0, &training)?;
        Ok(Sources {
            train: self.live(train, &training),
            validation: self.live(validation, &clips.loader),
            all: self.live(&all, &training),
            measured,
        })
    }

    pub(crate) fn scoring_source(self, samples: &[Sample], loader: &ClipLoader) -> Result<Rc<dyn Source<Percepts>>> {
        Ok(if self.in_memory { Rc::new(self.store(samples, 0, loader)?) } else { self.live(samples, loader) })
    }

    fn live(self, samples: &[Sample], loader: &ClipLoader) -> Rc<dyn Source<Percepts>> {
        Rc::new(Live::new(FrozenCnn::new(self.cnn), samples, loader.clone(), &self.context.device))
    }

    fn store(self, samples: &[Sample], copies: usize, loader: &ClipLoader) -> Result<Store> {
        self.check_size(self.bytes(samples.len(), copies), &samples.len().to_string())?;
        Store::fill(self.context, &FrozenCnn::new(self.cnn), samples, copies, loader, self.kept)
    }

    fn bytes(self, clips: usize, copies: usize) -> usize {
        bytes_of_clips(&self.cnn.levels(), self.context.recipe.clip.temporal.frames(), clips, copies)
    }

    /// The size of percepts in memory, MiB, if the recipe allows it.
    fn check_size(self, bytes: usize, clips: &str) -> Result<usize> {
        let (mib, most) = (bytes.div_ceil(1 << 20), self.context.recipe.features.max_mib);
        if mib > most {
            bail!(
                "the percepts of {clips} clips take {mib} MiB, more than features.max_mib = {most}; raise it, take fewer \
                 levels or copies, or set features.cache=false"
            );
        }
        Ok(mib)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of 3 classes of 5 clips, one after the other, six places: two of each.
    #[test]
    fn measured_clips_are_spread_over_the_whole_list() {
        assert_eq!(spread(15, 6).collect::<Vec<_>>(), [0, 2, 5, 7, 10, 12]);
        assert_eq!(spread(3, 6).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(spread(0, 6).count(), 0);
    }
}
