//! The flows of many frames on all cores.

use rayon::prelude::*;

use crate::error::FlowError;
use crate::field::Flow;
use crate::image::Image;

/// Most pairs of frames that a thread gets at a time: few enough for an even share of the work, and
/// enough that few pyramids are built twice.
const PAIRS_AT_A_TIME: usize = 8;

/// The flow from each frame to the next, in order, or the error of the first pair that fails.
///
/// `run` computes the flows of a few consecutive frames, with buffers from `new` that are reused.
pub(crate) fn flows<B>(
    frames: &[Image],
    new: impl Fn() -> B + Send + Sync,
    run: impl Fn(&mut B, &[Image]) -> Result<Vec<Flow>, FlowError> + Send + Sync,
) -> Result<Vec<Flow>, FlowError> {
    let pairs = frames.len().saturating_sub(1);
    // At least two shares for each thread, so that none waits long for the last one.
    let share = (pairs / (2 * rayon::current_num_threads())).clamp(1, PAIRS_AT_A_TIME);
    let starts: Vec<usize> = (0..pairs).step_by(share).collect();
    let run = |buffers: &mut B, start: usize| run(buffers, &frames[start..=(start + share).min(pairs)]);
    let runs: Vec<_> = starts.into_par_iter().map_init(new, run).collect();
    let runs: Vec<Vec<Flow>> = runs.into_iter().collect::<Result<_, _>>()?;
    Ok(runs.into_iter().flatten().collect())
}
