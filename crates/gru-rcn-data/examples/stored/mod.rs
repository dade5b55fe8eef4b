//! Common code of the measurements with stored frames.

use std::error::Error;
use std::path::PathBuf;
use std::str::FromStr;

use gru_rcn_data::{ClipPlanner, ClipSource, CropRule, Modality, Photometric, Sample, TemporalSampling};

/// The arguments of the program: options with values, and a folder.
pub(crate) struct Arguments(Vec<String>);

impl Arguments {
    pub(crate) fn given() -> Self {
        Self(std::env::args().skip(1).collect())
    }

    /// The value of an option, which is removed, or `default`.
    pub(crate) fn option<T: FromStr<Err: Error + 'static>>(
        &mut self,
        name: &str,
        default: T,
    ) -> Result<T, Box<dyn Error>> {
        let Some(place) = self.0.iter().position(|word| word == name) else { return Ok(default) };
        self.0.remove(place);
        if place == self.0.len() {
            return Err(format!("{name} needs a value").into());
        }
        Ok(self.0.remove(place).parse()?)
    }

    /// A sample for each folder of frames in the remaining argument, sorted by name.
    pub(crate) fn samples(self) -> Result<Vec<Sample>, Box<dyn Error>> {
        let [root] = &self.0[..] else {
            return Err("one folder, please: frames/<class> of a prepared data set".into());
        };
        let entries = std::fs::read_dir(root)?.map(|entry| entry.map(|entry| entry.path()));
        let mut folders: Vec<PathBuf> = entries.collect::<Result<_, _>>()?;
        folders.retain(|path| path.is_dir());
        folders.sort();
        if folders.is_empty() {
            return Err(format!("{root} holds no folders of frames").into());
        }
        let sample = |path: PathBuf| {
            let (id, source) = (path.display().to_string(), ClipSource::FrameFolder(path));
            Sample { id, class: 0, appearance: None, source }
        };
        Ok(folders.into_iter().map(sample).collect())
    }
}

/// A planner of neighbouring frames of 256×340 pixels; `side` is the side of the clips.
pub(crate) fn planner(frames: usize, side: usize, crop: CropRule, flip: bool) -> ClipPlanner {
    let (temporal, photometric) = (TemporalSampling::Consecutive { frames }, Photometric::default());
    let (frame_size, input_size) = ([256, 340], [side, side]);
    ClipPlanner { modality: Modality::Rgb, temporal, frame_size, input_size, crop, flip, photometric }
}

/// Processor time of this thread in nanoseconds, without that of other programs; known on Linux only.
pub(crate) fn processor_ns() -> Option<u64> {
    let line = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    line.split_whitespace().next()?.parse().ok()
}
