//! Benchmarks of the 3×3 convolution and of the ConvGRU.

use gru_rcn_ops::conv_gru::{ConvGruClip, ConvGruWeights, StateGradient};
use gru_rcn_ops::square::{self, SquareWeights};
use gru_rcn_ops::winograd::{Finish, Map, WinogradWeights, Workspaces};

use crate::timing::measure;

/// Names that `run` knows.
pub const NAMES: &[&str] = &["winograd", "gru"];

/// Runs the benchmark `name`; false where it is unknown.
pub fn run(name: &str, arguments: &[String]) -> bool {
    match name {
        "winograd" => winograd(arguments),
        "gru" => gru(arguments),
        _ => return false,
    }
    true
}

/// Values in ±`scale`, the same in every run.
fn noise(len: usize, scale: f32) -> Vec<f32> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 8) as f32 / (1 << 23) as f32 - 1.0) * scale
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
        let values = noise(frames * side * side * input, 1.0);
        let weights = WinogradWeights::new(&noise(output * input * 9, 0.1), output, input);
        let mut sums = vec![0.0; frames * side * side * output];
        let giga = 2e-9 * 9.0 * (input * output * side * side * frames) as f64;
        measure(&format!("{input}-{output}@{side} b{frames}, {giga:.2} GFLOP"), 5, || {
            let map = Map::dense(&values, [frames, side, side, input]);
            weights.forward(map, [1; 4], &mut sums, output, Finish::NONE, &workspaces);
        });
    }
}

/// A recurrent layer: channels of input and state, side of the kernel, height and width, clips,
/// steps, directions.
type Level = (&'static str, [usize; 3], [usize; 2], [usize; 2], usize);

/// `gru [REPETITIONS] [LEVEL…]`: input convolution and recurrence, forward and with the gradients to
/// all weights.
fn gru(arguments: &[String]) {
    let repetitions = arguments.first().map_or(5, |count| count.parse().expect("a number of repetitions"));
    let levels: [Level; 6] = [
        ("pool2", [128, 64, 3], [56, 56], [4, 10], 1),
        ("pool3", [256, 128, 3], [28, 28], [4, 10], 1),
        ("pool4", [512, 256, 3], [14, 14], [4, 10], 1),
        ("pool5", [512, 256, 3], [7, 7], [4, 10], 1),
        ("fc7", [4096, 512, 1], [1, 1], [4, 10], 1),
        ("ego", [512, 32, 3], [5, 7], [16, 16], 2),
    ];
    let workspaces = Workspaces::default();
    for (name, [input, hidden, kernel], [height, width], [batch, time], directions) in levels {
        if arguments.len() > 1 && !arguments[1..].iter().any(|wanted| wanted == name) {
            continue;
        }
        let taps = kernel * kernel;
        let pixels = time * batch * height * width;
        let values = noise(pixels * input, 1.0);
        let map = Map::dense(&values, [time * batch, height, width, input]);
        let to_hidden = noise(3 * hidden * input * taps, 0.02);
        let (to_gates, to_candidate) = (noise(2 * hidden * hidden * taps, 0.02), noise(hidden * hidden * taps, 0.02));
        let weights = ConvGruWeights { hidden_to_gates: &to_gates, hidden_to_candidate: &to_candidate };
        let gradient = vec![1.0; pixels * hidden];
        let forward = |reversed| {
            let clip = ConvGruClip { time, batch, height, width, hidden, kernel, reversed };
            let mut projected = vec![0.0; pixels * 3 * hidden];
            SquareWeights::new(&to_hidden, [3 * hidden, input, kernel]).forward(
                map,
                &mut projected,
                3 * hidden,
                Finish::NONE,
                &workspaces,
            );
            let trace = clip.forward(projected, None, weights, &workspaces);
            (clip, trace)
        };
        measure(&format!("{name} fwd"), repetitions, || {
            (0..directions).for_each(|direction| drop(forward(direction == 1)));
        });
        measure(&format!("{name} f+b"), repetitions, || {
            for direction in 0..directions {
                let (clip, trace) = forward(direction == 1);
                let gradients = clip.backward(trace, None, weights, StateGradient::Sequence(&gradient), &workspaces);
                let projected = Map::dense(&gradients.projected, [time * batch, height, width, 3 * hidden]);
                square::weight_gradient(&[(map, projected)], kernel, &workspaces);
            }
        });
    }
}
