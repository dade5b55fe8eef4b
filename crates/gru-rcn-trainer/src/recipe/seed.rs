//! Every number that is derived from a recipe's seed.
//!
//! | what | from |
//! |---|---|
//! | seed of a stage | [`stage_seed`] of the recipe's seed and the stage's key |
//! | initial weights of a stage | the seed of the stage |
//! | order of the clips in an epoch | seed of the stage, epoch |
//! | crop, mirroring, light of a clip | the recipe's seed, epoch, name of the clip |
//! | dropout of a batch | [`batch_seed`] of the seed of the stage, step, place of the batch in its step |
//! | clips of the parts of a folder | `data.folder.seed` and the names of the clips |
//! | generated clips | `data.motion.seed` |
//! | sizes of a trial of `search` | the recipe's seed, number of the trial |
//!
//! Nothing depends on time, on the number of threads or on what was computed before. Each stage has
//! a stream of its own, so that skipping one does not change another.

use gru_rcn_data::base::SplitMix64;

/// The seed of a training stage, by the key that it has in files.
pub(crate) fn stage_seed(seed: u64, key: &str) -> u64 {
    key.bytes().fold(seed, |seed, byte| SplitMix64::at(seed, u64::from(byte)))
}

/// The seed of the dropout of one micro-batch. It depends on nothing that a resumed run would not
/// know: `steps` are the steps before this one, `micro_batch` the place in the step.
pub(crate) fn batch_seed(stage_seed: u64, steps: u64, micro_batch: usize) -> u64 {
    let step_seed = SplitMix64::at(stage_seed, steps);
    if micro_batch == 0 { step_seed } else { SplitMix64::at(step_seed, micro_batch as u64) }
}
