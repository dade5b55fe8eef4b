//! What preparing will take, before it begins.

use super::Prepare;
use super::clip::Fault;
use super::decoder::Decoder;
use super::lay_out::Plan;
use super::source::SourceClip;
use crate::disk::free_bytes;
use crate::error::DataError;
use crate::parallel::threads;

/// Clips that are tried.
const PROBES: usize = 3;
/// Frames of each that are coded; flow of a long clip would take minutes.
const FRAMES: usize = 16;

/// What is left to do, reckoned from a few clips by the size of the videos. Good for choosing a disk and a lunch break:
/// clips differ, and waiting for the disk is not in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// Clips left to prepare.
    pub clips: usize,
    /// Clips that are there from earlier runs.
    pub kept: usize,
    /// Clips that were tried for this. 0 where nothing is left or all that were tried are broken; the estimates are then 0.
    pub probed: usize,
    /// Time with the workers asked for.
    pub seconds: f64,
    /// Bytes of the images.
    pub bytes: u64,
    /// Bytes free on the output's disk, where the system tells.
    pub free: Option<u64>,
}

impl Estimate {
    /// Whether the images will fit, with a tenth to spare. `true` where the free space is not known.
    pub fn fits(&self) -> bool {
        self.free.is_none_or(|free| self.bytes.saturating_add(self.bytes / 10) <= free)
    }
}

pub(super) fn estimate(options: &Prepare, decoder: &dyn Decoder) -> Result<Estimate, DataError> {
    let plan = Plan::new(options, decoder)?;
    let mut clips = plan.to_do();
    clips.sort_by_key(|clip| clip.bytes);
    let free = free_bytes(&plan.place.root);
    let mut result = Estimate { clips: clips.len(), kept: plan.done.len(), probed: 0, seconds: 0.0, bytes: 0, free };
    let (mut seconds, mut bytes, mut probed) = (0.0, 0.0, 0);
    for clip in chosen(&clips) {
        match plan.maker.probe(clip, FRAMES) {
            Ok(probe) => {
                (seconds, bytes) = (seconds + probe.seconds, bytes + probe.bytes);
                probed += clip.bytes.max(1);
                result.probed += 1;
            }
            Err(Fault::Clip(_)) => {} // the run will tell of it
            Err(Fault::Run(error)) => return Err(error),
        }
    }
    if probed > 0 {
        let all: u64 = clips.iter().map(|clip| clip.bytes.max(1)).sum();
        let times = all as f64 / probed as f64;
        let workers = threads(options.workers).min(clips.len().max(1));
        result.seconds = seconds * times / workers as f64;
        result.bytes = (bytes * times) as u64;
    }
    Ok(result)
}

/// A small, a middling and a large one of clips sorted by size.
fn chosen<'c>(clips: &[&'c SourceClip]) -> Vec<&'c SourceClip> {
    let n = clips.len();
    let mut places: Vec<usize> =
        (0..PROBES).map(|i| n * (2 * i + 1) / (2 * PROBES)).filter(|&place| place < n).collect();
    places.dedup();
    places.into_iter().map(|place| clips[place]).collect()
}
