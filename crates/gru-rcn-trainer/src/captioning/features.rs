//! Features of clips: computed once, kept on disk clip by clip, and in memory.

use std::cell::OnceCell;
use std::path::Path;

use anyhow::{Context, Result, bail};
use burn::tensor::{Device, Tensor};
use gru_rcn_data::base::Fnv64;
use gru_rcn_data::{Frames, Sample};
use serde_json::json;

use super::encoder::Encoder;
use crate::observe::Pace;
use crate::percepts::{Kept, Key, MOST_BYTES};
use crate::signals::StopFlag;

/// Clips that are computed at once: what is lost at most when the program is killed.
const CLIPS: usize = 16;

/// Name of the tensor of a clip on disk, float32 `[segment, feature]`.
const TENSOR: &str = "features";

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
        self.sizes().iter().sum()
    }

    /// Features of a segment, by encoder.
    pub(crate) fn sizes(&self) -> Vec<usize> {
        self.encoders.iter().map(Encoder::size).collect()
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

    /// The features of these clips in their order; those that the folder lacks are computed and kept
    /// there, if there is one.
    pub(crate) fn of_clips(
        &self,
        samples: &[Sample],
        folder: Option<&Path>,
        stop: &StopFlag,
        message: &dyn Fn(String),
    ) -> Result<Vec<ClipFeatures>> {
        let kept = folder.map(|folder| Kept::new(folder, self.device, MOST_BYTES));
        let key = |sample: &Sample| -> Result<Option<(&Kept, Key)>> {
            let Some((kept, content)) = kept.as_ref().zip(sample.content().ok()) else { return Ok(None) };
            Ok(Some((kept, kept.key(&json!({ "clip": content, "encoders": self.fingerprint()? })))))
        };
        let keys = samples.iter().map(key).collect::<Result<Vec<_>>>()?;
        let read = |(kept, key): &(&Kept, Key)| {
            let (shape, values) = kept.has(key).then(|| kept.read(key, &[TENSOR]))??.swap_remove(0);
            Some(ClipFeatures { segments: shape[0], values })
        };
        let mut features: Vec<Option<ClipFeatures>> = keys.iter().map(|key| key.as_ref().and_then(read)).collect();
        let missing: Vec<usize> = (0..samples.len()).filter(|&clip| features[clip].is_none()).collect();
        if let Some(kept) = &kept {
            let bytes = missing.len() * self.segments * self.size() * size_of::<f32>();
            kept.prepare("features", [samples.len(), missing.len()], bytes, message);
        }
        let mut pace = Pace::new(missing.len());
        for (number, clips) in missing.chunks(CLIPS).enumerate() {
            let computed = self.compute(&clips.iter().map(|&clip| samples[clip].clone()).collect::<Vec<_>>())?;
            for (&clip, computed) in clips.iter().zip(computed) {
                let damaged = self.encoders.iter().any(|encoder| encoder.loader.found_damage(&samples[clip]));
                // A clip that was changed meanwhile has another key.
                let as_read =
                    key(&samples[clip])?.filter(|(_, key)| keys[clip].as_ref().is_some_and(|(_, k)| k == key));
                if let Some((kept, key)) = as_read.as_ref().filter(|_| !damaged) {
                    kept.keep(key, &[(TENSOR, vec![computed.segments, self.size()], &computed.values)], message);
                }
                features[clip] = Some(computed);
            }
            let done = number * CLIPS + clips.len();
            if let Some(line) = pace.line(done, "clips have features") {
                message(line);
            }
            if stop.is_set() && done < missing.len() {
                bail!(stop.interrupted());
            }
        }
        Ok(features.into_iter().flatten().collect())
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
        let clip = |features: Vec<Tensor<2>>| {
            let features = Tensor::cat(features, 1);
            let segments = features.dims()[0];
            Ok(ClipFeatures { segments, values: features.try_into_data()?.try_into_vec::<f32>()? })
        };
        of_clips.into_iter().map(clip).collect()
    }
}

/// Multiplies the features of encoders of these sizes by the factor of each.
pub(crate) fn scale(sizes: &[usize], scales: &[f32], clips: &mut [ClipFeatures]) {
    for row in clips.iter_mut().flat_map(|clip| clip.values.chunks_mut(sizes.iter().sum())) {
        let mut rest = row;
        for (&size, factor) in sizes.iter().zip(scales) {
            let (own, others) = rest.split_at_mut(size);
            own.iter_mut().for_each(|value| *value *= factor);
            rest = others;
        }
    }
}

/// A factor for each encoder, of these sizes: the inverse of the root mean square of its features over all
/// segments of the clips.
pub(crate) fn scales(sizes: &[usize], clips: &[ClipFeatures]) -> Vec<f32> {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Two encoders of one and two features, three segments in two clips: 2, 2, 2 and 0, 6, 0, 0, 6, 0,
    /// of root mean squares 2 and √(72 / 6); a third encoder has zeros.
    #[test]
    fn every_encoder_has_its_own_scale() {
        let clips = [
            ClipFeatures { segments: 2, values: vec![2.0, 0.0, 6.0, 0.0, 2.0, 0.0, 0.0, 0.0] },
            ClipFeatures { segments: 1, values: vec![2.0, 6.0, 0.0, 0.0] },
        ];
        let scales = scales(&[1, 2, 1], &clips);
        assert!((scales[0] - 0.5).abs() < 1e-6 && (scales[1] - 1.0 / 12f32.sqrt()).abs() < 1e-6, "{scales:?}");
        assert_eq!(scales[2], 1.0);
    }
}
