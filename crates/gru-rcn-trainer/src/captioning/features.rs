//! Features of clips: computed once, kept on disk clip by clip, and in memory.
//!
//! ```text
//! FOLDER/FINGERPRINT/00000.safetensors   some clips, in the order in which they were computed:
//!                                        tensors named by clip, float32 [segment, feature]
//! ```

use std::cell::OnceCell;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::{Device, Tensor};
use gru_rcn_data::base::{Fnv64, if_there, write_atomically};
use gru_rcn_data::{Frames, Sample};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use super::encoder::Encoder;
use crate::observe::Pace;
use crate::signals::StopFlag;

/// Clips of a file: what is lost at most when the program is killed.
const CLIPS: usize = 16;

/// The features of a clip, row by row; a short clip has fewer segments.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClipFeatures {
    pub(crate) segments: usize,
    pub(crate) values: Vec<f32>,
}

/// What computes features, and where they are kept.
pub(crate) struct FeatureMaker<'a> {
    pub(crate) encoders: &'a [Encoder],
    /// Most segments of a clip.
    segments: usize,
    device: &'a Device,
    /// Computed once: it takes a pass over the weights of all encoders.
    fingerprint: OnceCell<String>,
}

impl<'a> FeatureMaker<'a> {
    pub(crate) fn new(encoders: &'a [Encoder], segments: usize, device: &'a Device) -> Self {
        Self { encoders, segments, device, fingerprint: OnceCell::new() }
    }

    /// Features of a segment.
    pub(crate) fn size(&self) -> usize {
        self.encoders.iter().map(Encoder::size).sum()
    }

    /// A hash of all that features depend on, the clips apart.
    pub(crate) fn fingerprint(&self) -> Result<&str> {
        if let Some(known) = self.fingerprint.get() {
            return Ok(known);
        }
        let mut hash = Fnv64::default().number(self.segments as u64);
        for encoder in self.encoders {
            hash = hash.text(&encoder.fingerprint()?);
        }
        Ok(self.fingerprint.get_or_init(|| format!("{:016x}", hash.finish())))
    }

    /// Its features that the folder has.
    pub(crate) fn kept(&self, folder: &Path) -> Result<Kept> {
        Kept::open(folder.join(self.fingerprint()?))
    }

    /// The features of these clips in their order; those that are not kept are computed and kept.
    pub(crate) fn of_clips(
        &self,
        samples: &[Sample],
        kept: &mut Kept,
        stop: &StopFlag,
        message: impl Fn(String),
    ) -> Result<Vec<ClipFeatures>> {
        let missing: Vec<Sample> =
            samples.iter().filter(|sample| !kept.clips.contains_key(&sample.id)).cloned().collect();
        let mut pace = Pace::new(missing.len());
        for (number, clips) in missing.chunks(CLIPS).enumerate() {
            let computed = self.compute(clips)?;
            kept.add(clips, computed)?;
            let done = number * CLIPS + clips.len();
            if let Some(line) = pace.line(done, "clips have features") {
                message(line);
            }
            if stop.is_set() && done < missing.len() {
                bail!(stop.interrupted());
            }
        }
        samples.iter().map(|sample| Ok(kept.clips[&sample.id].clone())).collect()
    }

    /// The features of clips in their order, encoder after encoder.
    pub(crate) fn compute(&self, clips: &[Sample]) -> Result<Vec<ClipFeatures>> {
        let mut of_clips: Vec<Vec<Tensor<2>>> = vec![Vec::new(); clips.len()];
        for encoder in self.encoders {
            let segments = self.segments;
            let read = encoder.loader.in_order(clips.to_vec(), segments, move |loader, sample| {
                let read = || Encoder::read(loader, sample, segments);
                read().or_else(|_| read())
            });
            for (clip, frames) in read.enumerate() {
                let frames: Vec<Frames> = frames.with_context(|| {
                    format!("the clip {} cannot be read; repair it, or remove it from the data", clips[clip].id)
                })?;
                of_clips[clip].push(encoder.features(&frames, self.device));
            }
        }
        of_clips.into_iter().map(|features| host(Tensor::cat(features, 1))).collect()
    }
}

/// One factor for each encoder, whose features are so many: the inverse of their root mean square over
/// all segments of the clips.
pub(crate) fn scales(encoders: &[Encoder], clips: &[ClipFeatures]) -> Vec<f32> {
    let sizes: Vec<usize> = encoders.iter().map(Encoder::size).collect();
    scales_of(&sizes, clips)
}

/// Multiplies the features of every encoder by its factor.
pub(crate) fn scale(encoders: &[Encoder], scales: &[f32], clips: &mut [ClipFeatures]) {
    let sizes: Vec<usize> = encoders.iter().map(Encoder::size).collect();
    for row in clips.iter_mut().flat_map(|clip| clip.values.chunks_mut(sizes.iter().sum())) {
        let mut rest = row;
        for (&size, factor) in sizes.iter().zip(scales) {
            let (own, others) = rest.split_at_mut(size);
            own.iter_mut().for_each(|value| *value *= factor);
            rest = others;
        }
    }
}

fn scales_of(sizes: &[usize], clips: &[ClipFeatures]) -> Vec<f32> {
    let all: usize = sizes.iter().sum();
    let mut start = 0;
    let scale = |&size: &usize| {
        let rows = || clips.iter().flat_map(|clip| clip.values.chunks(all));
        let squares: f64 = rows().flat_map(|row| &row[start..start + size]).map(|v| f64::from(*v).powi(2)).sum();
        start += size;
        let rms = (squares / (rows().count() * size) as f64).sqrt();
        // Features that are all zero stay as they are.
        if rms > 0.0 { (1.0 / rms) as f32 } else { 1.0 }
    };
    sizes.iter().map(scale).collect()
}

fn host(features: Tensor<2>) -> Result<ClipFeatures> {
    let segments = features.dims()[0];
    Ok(ClipFeatures { segments, values: features.try_into_data()?.try_into_vec::<f32>()? })
}

/// The features that a folder has.
pub(crate) struct Kept {
    folder: PathBuf,
    clips: HashMap<String, ClipFeatures>,
    files: usize,
}

impl Kept {
    fn open(folder: PathBuf) -> Result<Self> {
        let mut kept = Self { clips: HashMap::new(), files: 0, folder };
        let Some(entries) = if_there(&kept.folder, fs::read_dir(&kept.folder))? else { return Ok(kept) };
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "safetensors") {
                continue;
            }
            let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<usize>().ok());
            let damaged = || format!("{} is damaged; remove it, and its clips are computed again", path.display());
            kept.files = kept.files.max(number.with_context(damaged)? + 1);
            kept.read(&path).with_context(damaged)?;
        }
        Ok(kept)
    }

    fn read(&mut self, path: &Path) -> Result<()> {
        let bytes = fs::read(path)?;
        for (id, tensor) in SafeTensors::deserialize(&bytes)?.iter() {
            let &[segments, _] = tensor.shape() else { bail!("{id} has the shape {:?}", tensor.shape()) };
            ensure!(tensor.dtype() == Dtype::F32, "{id} is {:?}", tensor.dtype());
            let values = tensor.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            self.clips.insert(id.to_owned(), ClipFeatures { segments, values });
        }
        Ok(())
    }

    fn add(&mut self, samples: &[Sample], computed: Vec<ClipFeatures>) -> Result<()> {
        let bytes = |clip: &ClipFeatures| clip.values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        let rows: Vec<Vec<u8>> = computed.iter().map(bytes).collect();
        let views = samples.iter().zip(computed.iter().zip(&rows)).map(|(sample, (clip, bytes))| {
            let shape = vec![clip.segments, clip.values.len() / clip.segments];
            TensorView::new(Dtype::F32, shape, bytes).map(|view| (sample.id.as_str(), view))
        });
        let file = safetensors::serialize(views.collect::<Result<Vec<_>, _>>()?, None)?;
        let path = self.folder.join(format!("{:05}.safetensors", self.files));
        fs::create_dir_all(&self.folder).with_context(|| format!("could not write {}", path.display()))?;
        write_atomically(&path, &file).context("could not write the features")?;
        self.files += 1;
        self.clips.extend(samples.iter().map(|sample| sample.id.clone()).zip(computed));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gru_rcn_data::ClipSource;

    fn sample(id: &str) -> Sample {
        Sample { id: id.into(), class: 0, appearance: None, source: ClipSource::Video(id.into()) }
    }

    /// Two encoders of one and two features, three segments in two clips: 2, 2, 2 and 0, 6, 0, 0, 6, 0,
    /// of root mean squares 2 and √(72 / 6); a third encoder has zeros.
    #[test]
    fn every_encoder_has_its_own_scale() {
        let clips = [
            ClipFeatures { segments: 2, values: vec![2.0, 0.0, 6.0, 0.0, 2.0, 0.0, 0.0, 0.0] },
            ClipFeatures { segments: 1, values: vec![2.0, 6.0, 0.0, 0.0] },
        ];
        let scales = scales_of(&[1, 2, 1], &clips);
        assert!((scales[0] - 0.5).abs() < 1e-6 && (scales[1] - 1.0 / 12f32.sqrt()).abs() < 1e-6, "{scales:?}");
        assert_eq!(scales[2], 1.0);
    }

    #[test]
    fn features_are_kept_file_by_file() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("features/abc");
        let clip = |segments, from: f32| ClipFeatures {
            segments,
            values: (0..3 * segments).map(|n| from + n as f32).collect(),
        };
        let mut kept = Kept::open(folder.clone()).unwrap();
        kept.add(&[sample("a/1.avi"), sample("b/2")], vec![clip(2, 0.5), clip(1, -7.0)]).unwrap();
        kept.add(&[sample("c")], vec![clip(2, 9.0)]).unwrap();
        let again = Kept::open(folder.clone()).unwrap();
        assert_eq!((again.files, &again.clips), (2, &kept.clips));
        assert_eq!(again.clips["b/2"], clip(1, -7.0));
        fs::write(folder.join("00001.safetensors"), b"words").unwrap();
        let damaged = format!("{:#}", Kept::open(folder).err().unwrap());
        assert!(damaged.contains("00001.safetensors is damaged; remove it"), "{damaged}");
    }
}
