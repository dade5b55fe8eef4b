//! bfloat16 has eight significant bits: a value is off by up to 2^-9, 0.2 %, and sums of many of
//! them by a few times that.

use burn::module::Module;
use burn::nn::conv::Conv3dConfig;
use burn::tensor::{DType, Device, FloatDType, Int, Tensor, TensorData};

use crate::backbone::{Backbone, SqueezeNetConfig, Vgg16Config};
use crate::classifier::{ClipClassifier, GruRcnClassifier, GruRcnClassifierConfig, StreamState};
use crate::head::LossKind;
use crate::percepts::{Level, NormRule, NormState, PerceptNormConfig, Percepts};
use crate::recurrent::{ConvGruConfig, Form, GruRcnConfig};
use crate::testing::{assert_same, difference, drawn, parameters, redrawn};

fn classifier(form: Form, device: &Device) -> GruRcnClassifier {
    let level = |name: &str, channels, side| Level::new(name.into(), channels, side, side);
    let levels = vec![level("low", 3, 6), level("middle", 4, 3), level("top", 5, 1)];
    let recurrent = GruRcnConfig::new(levels, vec![4, 4, 6]).with_form(form);
    let norm = PerceptNormConfig::new().with_rule(NormRule::CausalCentre).with_gain(0.7);
    let config = GruRcnClassifierConfig::new(recurrent, 3).with_norm(norm).with_dropout(0.0);
    redrawn(config.init(device), 5, 0.5, DType::F32)
}

fn percepts(device: &Device) -> Percepts {
    let map = |seed, channels, side| drawn::<5>(seed, [2, 4, channels, side, side], device);
    Percepts::new(vec![map(1, 3, 6), map(2, 4, 3), map(3, 5, 1)])
}

fn loss_and_gradients(model: &GruRcnClassifier) -> (f32, Vec<(DType, Vec<f32>)>) {
    let device = Device::flex().autodiff();
    let targets = Tensor::<1, Int>::from_ints([2, 0], &device);
    let loss = model.logits(percepts(&device)).loss(targets, LossKind::Mixture);
    assert_eq!(loss.dtype(), DType::F32);
    let value = loss.clone().into_scalar::<f32>();
    let gradients = loss.backward();
    let number = |(_, data): (_, TensorData)| (data.dtype(), data.convert::<f32>().try_into_vec::<f32>().unwrap());
    (value, parameters(model, Some(&gradients)).into_iter().map(number).collect())
}

/// The loss differs by less than a hundredth, and every gradient is float32 and of the exact one's
/// direction.
#[test]
fn a_classifier_trains_in_bf16() {
    for form in [Form::Independent, Form::Stacked, Form::Bidirectional] {
        let model = classifier(form, &Device::flex().autodiff());
        let (expected, exact) = loss_and_gradients(&model);
        let model = model.computing_in(FloatDType::BF16);
        let (found, rounded) = loss_and_gradients(&model);
        assert!(
            found != expected && (found - expected).abs() < 0.01 * expected,
            "{form:?}: {found} against {expected}"
        );
        assert_eq!(rounded.len(), exact.len());
        for (n, ((dtype, rounded), (_, exact))) in rounded.iter().zip(&exact).enumerate() {
            assert_eq!(*dtype, DType::F32);
            let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
            let cosine = product(rounded, exact) / (product(rounded, rounded) * product(exact, exact)).sqrt();
            assert!(cosine > 0.999, "{form:?}: gradient {n} is turned away, cosine {cosine}");
        }
        assert!(parameters(&model, None).iter().all(|(_, data)| data.dtype() == DType::F32));
    }
}

/// A CNN that computes in bfloat16 hands out bfloat16 maps. They are normalised in float32: the
/// result is that of the same maps in float32, whichever rule.
#[test]
fn percepts_of_a_bf16_cnn_are_normalised_in_float32() {
    use NormRule::{AbsDifference, CausalCentre, Centre, Difference, Identity, Scale};
    let device = Device::flex();
    let rounded = percepts(&device).cast(FloatDType::BF16);
    for rule in [Identity, Scale, Centre, CausalCentre, Difference, AbsDifference] {
        let norm = PerceptNormConfig::new().with_rule(rule).with_gain(0.5).init(rounded.maps.len(), &device);
        let found = norm.forward(rounded.clone());
        let expected = norm.forward(rounded.clone().cast(FloatDType::F32));
        for (found, expected) in found.maps.into_iter().zip(expected.maps) {
            assert_eq!(found.dtype(), DType::F32, "{rule:?}");
            assert_same(found, expected);
        }
        if rule != Centre {
            let frame = rounded.maps.iter().map(|map| map.clone().narrow(1, 0, 1).squeeze_dim(1)).collect();
            let maps = norm.step(frame, &mut NormState::default());
            assert!(maps.iter().all(|map| map.dtype() == DType::F32), "{rule:?}");
        }
    }
}

/// The precision of computation is no part of a model's record.
#[test]
fn the_precision_is_no_part_of_the_record() {
    let model = classifier(Form::Stacked, &Device::flex());
    let bytes = |model: GruRcnClassifier| model.into_record().into_bytes().unwrap().to_vec();
    assert_eq!(bytes(model.clone().computing_in(FloatDType::BF16)), bytes(model));
}

#[test]
fn a_stream_in_bf16_equals_the_clip() {
    let device = Device::flex();
    let model = classifier(Form::Stacked, &device).computing_in(FloatDType::BF16);
    let clip = percepts(&device);
    let mut state = StreamState::default();
    for t in 0..4 {
        let frame = clip.maps.iter().map(|map| map.clone().narrow(1, t, 1).squeeze_dim(1)).collect();
        let until = Percepts::new(clip.maps.iter().map(|map| map.clone().narrow(1, 0, t + 1)).collect());
        let (found, expected) = (model.step(frame, &mut state).logits, model.forward(until).logits);
        assert_eq!(found.dtype(), DType::F32);
        assert!(difference(found, expected) < 2e-3, "step {t}");
    }
}

#[test]
fn a_layer_computes_in_the_precision_of_its_input() {
    let device = Device::flex();
    let layer = ConvGruConfig::new(3, 4).with_bias(true).init(&device);
    let clip = drawn::<5>(1, [2, 3, 3, 5, 5], &device);
    let exact = layer.forward(clip.clone(), None);
    // A state that was carried over in float32 is taken as well.
    let rounded = layer.forward(clip.clone().cast(FloatDType::BF16), Some(Tensor::zeros([2, 4, 5, 5], &device)));
    assert_eq!(rounded.sequence.dtype(), DType::BF16);
    let off = difference(rounded.sequence.cast(FloatDType::F32), exact.sequence);
    assert!(off > 0.0 && off < 0.02, "off by {off}");
}

#[test]
fn backbones_compute_in_the_precision_of_the_frames() {
    let device = Device::flex();
    let frames = drawn::<4>(1, [2, 3, 32, 32], &device);
    let check = |exact: Vec<Tensor<4>>, rounded: Vec<Tensor<4>>| {
        for (exact, rounded) in exact.into_iter().zip(rounded) {
            assert_eq!(rounded.dtype(), DType::BF16);
            let largest = exact.clone().abs().max().into_scalar::<f32>();
            let off = difference(rounded.cast(FloatDType::F32), exact);
            assert!(off < 0.05 * largest, "off by {off} of {largest}");
        }
    };
    let vgg = Vgg16Config::small(3, [32, 32]).init(&device);
    check(vgg.taps(frames.clone()), vgg.taps(frames.clone().cast(FloatDType::BF16)));
    let squeezenet = SqueezeNetConfig::new().with_num_classes(3).with_input_size([32, 32]).init(&device);
    check(squeezenet.taps(frames.clone()), squeezenet.taps(frames.cast(FloatDType::BF16)));
}

/// A convolution over space and time of 108 products computes in the precision of its input.
#[test]
fn a_3d_convolution_follows_its_input() {
    let device = Device::flex();
    let layer = redrawn(Conv3dConfig::new([4, 3], [3, 3, 3]).init(&device), 6, 0.5, DType::F32);
    let clips = drawn::<5>(7, [1, 4, 3, 5, 4], &device);
    let exact = super::conv3d(&layer, clips.clone());
    assert_eq!(exact.dtype(), DType::F32);
    let rounded = super::conv3d(&layer, clips.cast(FloatDType::BF16));
    assert_eq!(rounded.dtype(), DType::BF16);
    let worst = difference(rounded.cast(FloatDType::F32), exact.clone());
    assert!(worst < 0.02 * exact.abs().max().into_scalar::<f32>(), "they differ by {worst}");
}
