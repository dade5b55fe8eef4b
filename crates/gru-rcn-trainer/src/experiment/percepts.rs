//! The percepts that the systems of a run are trained on.

use std::rc::Rc;

use anyhow::{Result, bail};
use gru_rcn::backbone::{Backbone, Cnn};
use gru_rcn::percepts::{PerceptStatistics, Percepts};
use gru_rcn_data::{Dataset, Sample};

use super::backbone;
use super::data::Clips;
use crate::context::Context;
use crate::percepts::{Cache, ClipLoader, FrozenCnn, Live, MEASURED_CLIPS, Source, Store, bytes_of_clips};
use crate::preflight::samples;

/// Training and validation clips as percepts of all levels.
pub(crate) struct Sources {
    pub(crate) train: Rc<dyn Source<Percepts>>,
    pub(crate) validation: Rc<dyn Source<Percepts>>,
    /// Both together, where systems are trained again.
    pub(crate) all: Rc<dyn Source<Percepts>>,
    /// Training clips in memory, to measure the normalisation's constants on.
    measured: Store,
}

impl Sources {
    /// Mean squares of training clips; `view` says what of the percepts is measured.
    pub(crate) fn statistics(&self, view: impl Fn(Percepts) -> Percepts) -> PerceptStatistics {
        self.measured.statistics(view)
    }
}

/// Makes percepts of clips by a CNN, or reads those on disk.
#[derive(Clone, Copy)]
pub(crate) struct PerceptMaker<'a> {
    pub(crate) context: &'a Context,
    pub(crate) cnn: &'a Cnn,
    pub(crate) cache: Option<&'a Cache>,
    /// Whether percepts are computed once and kept in memory, or whenever a batch is requested.
    pub(crate) in_memory: bool,
}

/// The percepts on disk that the recipe starts from, if any; they must be those of the CNN and of the clips.
pub(crate) fn open_cache(context: &Context, dataset: &Dataset, cnn: &Cnn) -> Result<Option<Cache>> {
    let recipe = &context.recipe;
    let Some(folder) = &recipe.features.from else { return Ok(None) };
    let cache = Cache::open(folder)?;
    cache.check(recipe, &backbone::fingerprint(cnn), &cnn.levels())?;
    if let Some(warning) = cache.check_clips(samples(dataset))? {
        context.message(warning);
    }
    Ok(Some(cache))
}

/// At most `most` places of a list, spread evenly over all of it: lists are often sorted by class.
fn spread(length: usize, most: usize) -> impl Iterator<Item = usize> {
    let count = length.min(most);
    (0..count).map(move |n| n * length / count)
}

impl<'a> PerceptMaker<'a> {
    pub(crate) fn new(context: &'a Context, cnn: &'a Cnn, cache: Option<&'a Cache>) -> Self {
        Self { context, cnn, cache, in_memory: context.recipe.features.cache && context.recipe.uses_percepts() }
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
            self.context.message(match &recipe.features.from {
                Some(folder) => format!("reading percepts from {}, {mib} MiB in memory", folder.display()),
                None => format!("computing the percepts of all clips, {mib} MiB in memory"),
            });
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
        match self.cache {
            Some(cache) => Store::read(cache, self.cnn.levels(), samples, loader, &self.context.device),
            None => Store::fill(self.context, &FrozenCnn::new(self.cnn), samples, copies, loader),
        }
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
