//! The decoder as the trainer knows it: its batches, and its losses.

use std::rc::Rc;

use burn::module::Module;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use gru_rcn::captioner::{Captioner, Captions, Decoding, EncodedVideos, Penalties, Sentence};
use gru_rcn::classifier::ClipClassifier;
use gru_rcn::head::{EnsembleLogits, LossKind};
use gru_rcn::input::ClipInput;
use gru_rcn_data::epoch_order;

use super::data::Learnt;
use super::features::ClipFeatures;
use crate::percepts::{Batch, Batches, Source, in_batches};

/// Clips that are captioned at once.
const CLIPS: usize = 16;

/// A captioner under training.
#[derive(Module, Debug)]
pub(crate) struct CaptionModel {
    pub(crate) captioner: Captioner,
    #[module(skip)]
    pub(crate) penalties: Penalties,
}

/// Clips with a caption of each.
#[derive(Clone, Debug)]
pub(crate) struct CaptionBatch {
    /// `[batch, segment, feature]`; of clips with fewer segments zero behind them.
    features: Tensor<3>,
    /// Segments of each clip.
    segments: Vec<usize>,
    /// Ids of the words.
    captions: Vec<Vec<usize>>,
}

impl ClipInput for CaptionBatch {
    fn narrow(&self, start: usize, clips: usize) -> Self {
        Self {
            features: self.features.clone().narrow(0, start, clips),
            segments: self.segments[start..start + clips].to_vec(),
            captions: self.captions[start..start + clips].to_vec(),
        }
    }

    fn to_device(self, device: &Device) -> Self {
        Self { features: self.features.to_device(device), ..self }
    }

    fn autodiff(self) -> Self {
        Self { features: self.features.autodiff(), ..self }
    }

    fn device(&self) -> Device {
        self.features.device()
    }
}

impl ClipClassifier for CaptionModel {
    type Input = CaptionBatch;

    const CLASSIFIES: bool = false;

    /// Of each caption the negative log-likelihood and the penalty on its attention, `[2, batch, 1]`.
    fn logits(&self, batch: CaptionBatch) -> EnsembleLogits {
        let device = batch.features.device();
        let videos = encode(&self.captioner, batch.features, &batch.segments);
        let output = self.captioner.forward(&videos, &Captions::new(&batch.captions, &device));
        let losses = [output.negative_log_likelihood(), output.attention_penalty()];
        EnsembleLogits::new(Tensor::stack::<2>(losses.to_vec(), 0).unsqueeze_dim(2))
    }

    fn loss(&self, losses: &EnsembleLogits, _targets: Tensor<1, Int>, _asked: LossKind) -> Tensor<1> {
        let mean = |loss| losses.logits.clone().narrow(0, loss, 1).mean();
        let Penalties { weights, attention } = self.penalties;
        let data = mean(0) + mean(1) * attention;
        // The squares of all weights are a pass of their own.
        if weights > 0.0 { data + self.captioner.weight_penalty() * weights } else { data }
    }
}

fn encode(captioner: &Captioner, features: Tensor<3>, segments: &[usize]) -> EncodedVideos {
    let [batch, most, _] = features.dims();
    let padding: Vec<bool> = segments.iter().flat_map(|&count| (0..most).map(move |at| at >= count)).collect();
    let padding = padding
        .contains(&true)
        .then(|| Tensor::<2, Bool>::from_data(TensorData::new(padding, [batch, most]), &features.device()));
    captioner.encode(features, padding)
}

/// Features of clips `[clip, segment, feature]`, filled up to the most segments.
fn stacked(clips: &[&ClipFeatures], device: &Device) -> Tensor<3> {
    let most = clips.iter().map(|clip| clip.segments).max().unwrap_or(0);
    let size = clips[0].values.len() / clips[0].segments;
    let mut values = Vec::with_capacity(clips.len() * most * size);
    for clip in clips {
        values.extend_from_slice(&clip.values);
        values.resize(values.len() + (most - clip.segments) * size, 0.0);
    }
    Tensor::from_data(TensorData::new(values, [clips.len(), most, size]), device)
}

/// Sentences about clips, the most probable of each first, from a captioner on the plain device.
pub(crate) fn describe(
    captioner: &Captioner,
    clips: &[ClipFeatures],
    decoding: &Decoding,
    device: &Device,
) -> Vec<Vec<Sentence>> {
    let of_clips = |clips: &[ClipFeatures]| {
        let segments: Vec<usize> = clips.iter().map(|clip| clip.segments).collect();
        let features = stacked(&clips.iter().collect::<Vec<_>>(), device);
        captioner.generate(&encode(captioner, features, &segments), decoding)
    };
    clips.chunks(CLIPS).flat_map(of_clips).collect()
}

/// Captions of clips in batches.
pub(crate) struct CaptionSource {
    features: Rc<Vec<ClipFeatures>>,
    captions: Vec<Learnt>,
    /// Names of the clips.
    ids: Vec<String>,
    targets: Vec<usize>,
    /// Captions that an epoch hands out.
    per_epoch: usize,
    device: Device,
}

impl CaptionSource {
    /// An epoch is a part of the stream of all captions, pass after pass: `per_epoch` captions.
    pub(crate) fn new(
        features: &Rc<Vec<ClipFeatures>>,
        captions: Vec<Learnt>,
        ids: Vec<String>,
        per_epoch: usize,
        device: &Device,
    ) -> Self {
        let targets = vec![0; captions.len()];
        Self { features: features.clone(), captions, ids, targets, per_epoch, device: device.clone() }
    }
}

impl Source<CaptionBatch> for CaptionSource {
    fn targets(&self) -> &[usize] {
        &self.targets
    }

    fn id(&self, caption: usize) -> String {
        self.ids[self.captions[caption].0].clone()
    }

    fn len(&self) -> usize {
        self.per_epoch
    }

    fn evaluation(&self, batch: usize) -> Batches<'_, CaptionBatch> {
        self.batches((0..self.captions.len()).collect(), None, batch)
    }

    fn epoch(&self, seed: u64, epoch: u64, batch: usize, skip: usize) -> Batches<'_, CaptionBatch> {
        let mut order = stream(seed, self.captions.len(), (epoch - 1) * self.per_epoch as u64, self.per_epoch);
        order.drain(..(skip * batch).min(order.len()));
        self.batches(order, Some(epoch), batch)
    }

    fn batches(&self, order: Vec<usize>, _epoch: Option<u64>, batch: usize) -> Batches<'_, CaptionBatch> {
        in_batches(&order, batch, |places| {
            let requested = places.len();
            let captions: Vec<&Learnt> = places.iter().map(|&place| &self.captions[place]).collect();
            let clips: Vec<&ClipFeatures> = captions.iter().map(|(clip, _)| &self.features[*clip]).collect();
            Ok(Batch::new(places, requested, &self.targets, || CaptionBatch {
                features: stacked(&clips, &self.device),
                segments: clips.iter().map(|clip| clip.segments).collect(),
                captions: captions.iter().map(|(_, words)| words.clone()).collect(),
            }))
        })
    }
}

/// `count` places from `start` on in a stream that goes through all `captions` in another order in
/// each pass.
fn stream(seed: u64, captions: usize, start: u64, count: usize) -> Vec<usize> {
    let mut order = Vec::with_capacity(count);
    let (mut pass, mut at) = (start / captions as u64, (start % captions as u64) as usize);
    while order.len() < count {
        let all = epoch_order(seed, pass + 1, captions);
        order.extend(all[at..].iter().take(count - order.len()));
        (pass, at) = (pass + 1, 0);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Result;
    use gru_rcn::captioner::CaptionerConfig;

    /// Seven captions in rounds of three: the first seven places are each of them once, and so are
    /// the next seven, in another order.
    #[test]
    fn rounds_continue_one_stream() {
        let rounds: Vec<usize> = (0..5).flat_map(|round| stream(3, 7, round * 3, 3)).collect();
        assert_eq!(rounds, stream(3, 7, 0, 15));
        for pass in [&rounds[..7], &rounds[7..14]] {
            let mut sorted = pass.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4, 5, 6]);
        }
        assert_ne!(rounds[..7], rounds[7..14]);
    }

    /// Of clips of two and one segments, the losses of a batch are those of each alone, and the loss
    /// is the mean of the first with the factors of the penalties.
    #[test]
    fn losses_do_not_depend_on_the_batch() {
        let device = Device::flex();
        device.seed(1);
        let captioner = CaptionerConfig::new(3, 6).with_embedding(4).with_hidden(5).init(&device);
        let penalties = Penalties { weights: 0.5, attention: 0.25 };
        let weights = captioner.weight_penalty().into_scalar::<f32>();
        let model = CaptionModel { captioner, penalties };
        let clip = |segments, from: f32| ClipFeatures {
            segments,
            values: (0..3 * segments).map(|n| from + n as f32).collect(),
        };
        let features = Rc::new(vec![clip(2, 0.5), clip(1, -1.0)]);
        let captions = vec![(0, vec![2, 3]), (1, vec![4, 5, 2]), (0, vec![5])];
        let source = CaptionSource::new(&features, captions, vec!["a".into(), "b".into()], 3, &device);
        let losses = |batch| -> Vec<[f32; 2]> {
            let of_batch = |batch: Result<Batch<CaptionBatch>>| {
                let losses = model.logits(batch.unwrap().input.unwrap()).logits;
                let count = losses.dims()[1];
                let values = losses.into_data().try_into_vec::<f32>().unwrap();
                (0..count).map(|n| [values[n], values[count + n]]).collect::<Vec<_>>()
            };
            source.evaluation(batch).flat_map(of_batch).collect()
        };
        let (alone, together) = (losses(1), losses(3));
        assert_eq!(together.len(), 3);
        for (alone, together) in alone.iter().zip(&together) {
            assert!(alone.iter().zip(together).all(|(a, b)| (a - b).abs() < 1e-5), "{alone:?} {together:?}");
        }
        assert_eq!((source.id(1), source.len()), ("b".to_owned(), 3));
        let batch = source.evaluation(3).next().unwrap().unwrap().input.unwrap();
        let loss =
            model.loss(&model.logits(batch), Tensor::zeros([3], &device), LossKind::Mixture).into_scalar::<f32>();
        let mean = |n: usize| together.iter().map(|losses| losses[n]).sum::<f32>() / 3.0;
        assert!((loss - (mean(0) + 0.25 * mean(1) + 0.5 * weights)).abs() < 1e-4, "{loss}");
    }
}
