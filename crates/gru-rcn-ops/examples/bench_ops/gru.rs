//! Benchmarks of the 3×3 convolution and of the ConvGRU.

use gru_rcn_ops::winograd::{Finish, Map, WinogradWeights, Workspaces};

use crate::timing::measure;

/// Names that `run` knows.
pub const NAMES: &[&str] = &["winograd"];

/// Runs the benchmark `name`; false where it is unknown.
pub fn run(name: &str, arguments: &[String]) -> bool {
    match name {
        "winograd" => winograd(arguments),
        _ => return false,
    }
    true
}

/// Values in ±1, the same in every run.
fn noise(len: usize) -> Vec<f32> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// `winograd [FRAMES]`: the convolutions of VGG-16, each at its size.
fn winograd(arguments: &[String]) {
    let frames = arguments.first().map_or(8, |frames| frames.parse().expect("a number of frames"));
    let layers = [
        (64, 64, 224),
        (64, 128, 112),
        (128, 128, 112),
        (128, 256, 56),
        (256, 256, 56),
        (256, 512, 28),
        (512, 512, 28),
        (512, 512, 14),
    ];
    let workspaces = Workspaces::default();
    for (input, output, side) in layers {
        let values = noise(frames * side * side * input);
        let weights = WinogradWeights::new(&noise(output * input * 9), output, input);
        let mut sums = vec![0.0; frames * side * side * output];
        let giga = 2e-9 * 9.0 * (input * output * side * side * frames) as f64;
        measure(&format!("{input}-{output}@{side} b{frames}, {giga:.2} GFLOP"), 5, || {
            let map = Map::dense(&values, [frames, side, side, input]);
            weights.forward(map, [1; 4], &mut sums, output, Finish::NONE, &workspaces);
        });
    }
}
