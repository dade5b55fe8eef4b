//! The soft-attention LSTM against a transcription of its equations: logits, attention, the parts of
//! the loss and all gradients.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use gru_rcn::captioner::{Captioner, CaptionerConfig, CaptionerOutput, Captions, EncodedVideos, Penalties};

use crate::baselines::{Draw, Names, check_gradients, drawn};
use crate::golden::{Golden, Worst, keys};

const SYSTEM: &str = "captioner";
/// Segments of each video.
const SEGMENTS: [usize; 3] = [4, 2, 3];

fn model(dropout: f64, device: &Device) -> Captioner {
    let config = CaptionerConfig::new(5, 9).with_embedding(6).with_hidden(7).with_dropout(dropout);
    config.init(device).map(&mut Draw(Names::of(SYSTEM)))
}

fn features(device: &Device) -> Tensor<3> {
    drawn("captioner.features", [3, 4, 5], 1.0, device)
}

fn encode(model: &Captioner, features: Tensor<3>) -> EncodedVideos {
    let padding: Vec<bool> = SEGMENTS.iter().flat_map(|&count| (0..4).map(move |at| at >= count)).collect();
    let padding = Tensor::from_data(TensorData::new(padding, [3, 4]), &features.device());
    model.encode(features, Some(padding))
}

fn captions(device: &Device) -> Captions {
    Captions::new(&[vec![2, 8, 3], vec![5, 1, 2, 2], vec![7]], device)
}

/// Logits and attention of the words of each sentence and its end.
fn check_words(output: &CaptionerOutput, keep: &str, worst: &mut Worst<'_>) {
    for (video, words) in [4, 5, 2].into_iter().enumerate() {
        let logits = output.logits.clone().narrow(0, video, 1).narrow(1, 0, words);
        worst.check(logits, &keys(SYSTEM, &[&format!("keep_{keep}.logits.{video}")]));
        let attention = output.attention.clone().narrow(0, video, 1).narrow(1, 0, words);
        let attention = attention.narrow(2, 0, SEGMENTS[video]);
        worst.check(attention, &keys(SYSTEM, &[&format!("keep_{keep}.attention.{video}")]));
    }
}

#[test]
fn the_captioner_and_its_gradients_match() {
    let device = Device::flex().autodiff();
    let golden = Golden::open("captioner.safetensors");
    let mut worst = Worst::of(SYSTEM, &golden);
    let model = model(0.0, &device);
    let features = features(&device).require_grad();
    let output = model.forward(&encode(&model, features.clone()), &captions(&device));
    check_words(&output, "1.0", &mut worst);
    worst.check(output.negative_log_likelihood(), &keys(SYSTEM, &["negative_log_likelihood"]));
    worst.check(output.attention_penalty(), &keys(SYSTEM, &["attention_penalty"]));
    worst.check(model.weight_penalty(), &keys(SYSTEM, &["weight_penalty"]));
    let loss = model.loss(&output, &Penalties { weights: 1e-2, attention: 0.7 });
    let gradients = check_gradients(&model, SYSTEM, 21, loss, &mut worst);
    worst.check(features.grad(&gradients).unwrap(), &keys(SYSTEM, &["grad_features"]));
}

/// Outside of training, gates and outputs are halved where half of them are dropped in training.
#[test]
fn the_captioner_with_dropout_matches() {
    let device = Device::flex();
    let golden = Golden::open("captioner.safetensors");
    let model = model(0.5, &device.clone().autodiff()).valid();
    let output = model.forward(&encode(&model, features(&device)), &captions(&device));
    check_words(&output, "0.5", &mut Worst::of("captioner with dropout", &golden));
}
