//! Benchmarks of the 3×3 convolution and of the ConvGRU.

use gru_rcn_ops::conv_gru::{ConvGruClip, ConvGruWeights, StateGradient};
use gru_rcn_ops::square::{self, SquareWeights};
use gru_rcn_ops::winograd::{Finish, Map, WinogradWeights, Workspaces};

use crate::timing::{mean_size, measure, values};

/// Names that `run` knows, besides those of levels.
pub(crate) const NAMES: &[&str] = &["winograd"];

/// Runs the benchmark `name`; false where it is unknown.
pub(crate) fn run(name: &str, seconds: f64, arguments: &[String]) -> bool {
    if name == "winograd" {
        winograd(seconds, arguments);
        return true;
    }
    let (name, train) = name.strip_suffix("-train").map_or((name, false), |name| (name, true));
    let level = LEVELS.iter().find(|level| level.name == name);
    level.inspect(|level| gru(level, train, seconds)).is_some()
}

/// `winograd [FRAMES]`: the convolutions of VGG-16, each at its size.
fn winograd(seconds: f64, arguments: &[String]) {
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
        let pixels = values(frames * side * side * input, 1.0);
        let weights = WinogradWeights::new(&values(output * input * 9, 0.1), output, input);
        let mut sums = vec![0.0; frames * side * side * output];
        let giga = 2e-9 * 9.0 * (input * output * side * side * frames) as f64;
        let cost = measure(seconds, || {
            let map = Map::dense(&pixels, [frames, side, side, input]);
            weights.forward(map, [1; 4], &mut sums, output, Finish::NONE, &workspaces);
        });
        cost.print(&format!("{input}-{output}@{side} b{frames}, {giga:.2} GFLOP"), mean_size(&sums));
    }
}

/// A recurrent layer on clips.
pub(crate) struct Level {
    pub(crate) name: &'static str,
    channels: usize,
    hidden: usize,
    kernel: usize,
    size: [usize; 2],
    batch: usize,
    time: usize,
    directions: usize,
}

/// Five levels of VGG-16 on four clips of ten frames, and the recurrent layer of `egogestar`.
pub(crate) const LEVELS: [Level; 6] = [
    level("pool2", [128, 64, 3], [56, 56]),
    level("pool3", [256, 128, 3], [28, 28]),
    level("pool4", [512, 256, 3], [14, 14]),
    level("pool5", [512, 256, 3], [7, 7]),
    level("fc7", [4096, 512, 1], [1, 1]),
    Level { batch: 16, time: 16, directions: 2, ..level("ego", [512, 32, 3], [5, 7]) },
];

const fn level(name: &'static str, [channels, hidden, kernel]: [usize; 3], size: [usize; 2]) -> Level {
    Level { name, channels, hidden, kernel, size, batch: 4, time: 10, directions: 1 }
}

/// Input convolution and recurrence, forward or, to `train`, with the gradients to all weights. The
/// value printed is of the last direction's states, or of its gradient to the input's weights.
fn gru(level: &Level, train: bool, seconds: f64) {
    let &Level { channels, hidden, kernel, size: [height, width], batch, time, directions, .. } = level;
    let workspaces = Workspaces::default();
    let taps = kernel * kernel;
    let pixels = time * batch * height * width;
    let input = values(pixels * channels, 1.0);
    let map = Map::dense(&input, [time * batch, height, width, channels]);
    let to_hidden = values(3 * hidden * channels * taps, 0.02);
    let (to_gates, to_candidate) = (values(2 * hidden * hidden * taps, 0.02), values(hidden * hidden * taps, 0.02));
    let weights = ConvGruWeights { hidden_to_gates: &to_gates, hidden_to_candidate: &to_candidate };
    let gradient = vec![1.0; if train { pixels * hidden } else { 0 }];
    let run = |reversed| {
        let clip = ConvGruClip { time, batch, height, width, hidden, kernel, reversed };
        let mut projected = vec![0.0; pixels * 3 * hidden];
        SquareWeights::new(&to_hidden, [3 * hidden, channels, kernel]).forward(
            map,
            &mut projected,
            3 * hidden,
            Finish::NONE,
            &workspaces,
        );
        let trace = clip.forward(projected, None, weights, &workspaces);
        if !train {
            return trace.sequence;
        }
        let gradients =
            clip.backward(trace.gates, &trace.sequence, None, weights, StateGradient::Sequence(&gradient), &workspaces);
        let projected = Map::dense(&gradients.projected, [time * batch, height, width, 3 * hidden]);
        square::weight_gradient(&[(map, projected)], kernel, &workspaces)
    };
    let name = if train { format!("{}-train", level.name) } else { level.name.to_owned() };
    let mut last = Vec::new();
    let cost = measure(seconds, || {
        for direction in 0..directions {
            last.clear();
            last.shrink_to_fit();
            last = run(direction == 1);
        }
    });
    cost.print(&name, mean_size(&last));
}
