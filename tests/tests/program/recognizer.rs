//! The library opens what the program has trained.

use burn::tensor::{Device, Distribution, Tensor};
use gru_rcn::recognizer::Recognizer;

use crate::{earlier, micro};

#[test]
fn a_trained_run_is_opened_by_the_library() {
    let device = Device::flex();
    let recognizer = Recognizer::open(&micro::reference().root, &device).unwrap();
    let classes = recognizer.classes();
    assert!(classes.len() == 8 && classes.contains(&"rotate-clockwise".into()), "{classes:?}");
    let input = recognizer.input();
    assert_eq!((input.channels, input.height, input.width), (3, 32, 32));
    let clip = Tensor::<5>::random([2, 4, 3, 32, 32], Distribution::Default, &device);
    let probabilities = recognizer.forward(clip).probabilities();
    assert_eq!(probabilities.dims(), [2, 8]);
    let sum = probabilities.sum().into_scalar::<f32>();
    assert!((sum - 2.0).abs() < 1e-5, "{sum}");
}

/// A run of an earlier version lacks the description; the error says what to do.
#[test]
fn a_run_without_a_description_is_refused() {
    let error = Recognizer::open(&earlier::folder("finished"), &Device::flex()).err().unwrap().to_string();
    assert!(error.contains("model.safetensors") && error.contains("description"), "{error}");
}
