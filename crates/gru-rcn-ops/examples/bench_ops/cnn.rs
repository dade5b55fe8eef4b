//! Networks forward.

use std::time::Instant;

use gru_rcn_ops::{
    Activation, Layer, Network,
    gemm::{Packed, Position, Rows, product},
};

use crate::timing::{mean_size, measure, values};

/// Names that `run` knows.
pub(crate) const NAMES: &[&str] = &["vgg8", "vgg1", "squeeze", "eff8", "eff1", "products"];

/// Runs the benchmark `name`; false where it is unknown. With the argument `steps` it prints the
/// least time of every step of a network on one thread instead.
pub(crate) fn run(name: &str, seconds: f64, arguments: &[String]) -> bool {
    if name == "products" {
        products();
        return true;
    }
    let (net, batch, size) = match name {
        "vgg8" => (vgg(), 8, [224, 224]),
        "vgg1" => (vgg(), 1, [224, 224]),
        "squeeze" => (squeeze_net(), 64, [96, 128]),
        "eff8" => (efficient_net_lite0(), 8, [224, 224]),
        "eff1" => (efficient_net_lite0(), 1, [224, 224]),
        _ => return false,
    };
    let tap = net.layers.len();
    let network = Network::new(3, net.layers).expect("the layers fit");
    let plan = network.plan(size, &[tap]).expect("the size fits");
    let frames = values(batch * 3 * size[0] * size[1], 1.0);
    if arguments.first().is_some_and(|argument| argument == "steps") {
        let group = batch.min(4);
        let frames = &frames[..group * frames.len() / batch];
        let runs: Vec<_> = (0..10).map(|_| plan.profile(frames, group)).collect();
        for (i, (name, _)) in runs[0].iter().enumerate() {
            let least = runs.iter().map(|run| run[i].1).min().unwrap_or_default();
            println!("{:8.3} ms a frame  {name}", least.as_secs_f64() * 1e3 / group as f64);
        }
        return true;
    }
    let mut outputs = vec![Vec::new()];
    let cost = measure(seconds, || plan.run(&frames, batch, &mut outputs));
    cost.print(name, mean_size(&outputs[0]));
    true
}

/// A list of layers that grows at its end.
struct Net {
    layers: Vec<Layer>,
    channels: usize,
}

impl Net {
    fn new() -> Self {
        Self { layers: Vec::new(), channels: 3 }
    }

    /// Weights that keep values in a usual range.
    fn conv(&mut self, input: usize, from: usize, to: usize, kernel: usize, stride: usize, padding: [usize; 4]) {
        self.full(input, from, to, kernel, stride, padding, 1, Activation::Relu, None);
    }

    #[allow(clippy::too_many_arguments)]
    fn full(
        &mut self,
        input: usize,
        from: usize,
        to: usize,
        kernel: usize,
        stride: usize,
        padding: [usize; 4],
        groups: usize,
        activation: Activation,
        add: Option<usize>,
    ) {
        let depth = from / groups * kernel * kernel;
        let scale = (6.0 / depth as f32).sqrt();
        let weight = values(to * depth, scale);
        self.layers.push(Layer::Conv {
            input,
            weight,
            bias: vec![0.01; to],
            out_channels: to,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding,
            groups,
            activation,
            add,
        });
        self.channels = to;
    }

    fn pool(&mut self, kernel: usize, ceil: bool) {
        let input = self.layers.len();
        self.layers.push(Layer::MaxPool { input, kernel: [kernel; 2], stride: [2; 2], padding: [0; 4], ceil });
    }
}

/// The convolutions of VGG-16.
fn vgg() -> Net {
    let mut net = Net::new();
    for (channels, count) in [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)] {
        for _ in 0..count {
            net.conv(net.layers.len(), net.channels, channels, 3, 1, [1; 4]);
        }
        net.pool(2, false);
    }
    net
}

/// SqueezeNet 1.0 without its classifier.
fn squeeze_net() -> Net {
    let mut net = Net::new();
    net.conv(0, 3, 96, 7, 2, [0; 4]);
    for (i, (squeeze, expand)) in
        [(16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256)].into_iter().enumerate()
    {
        if [0, 3, 7].contains(&i) {
            net.pool(3, true);
        }
        let last = net.layers.len();
        net.conv(last, net.channels, squeeze, 1, 1, [0; 4]);
        net.conv(last + 1, squeeze, expand, 1, 1, [0; 4]);
        net.conv(last + 1, squeeze, expand, 3, 1, [1; 4]);
        net.layers.push(Layer::Concat { inputs: vec![last + 2, last + 3] });
        net.channels = 2 * expand;
    }
    net
}

/// EfficientNet-Lite0 with its classifier.
fn efficient_net_lite0() -> Net {
    let same = |kernel: usize, stride: usize| {
        let before = (kernel - stride) / 2;
        [before, before, (kernel - stride).div_ceil(2), (kernel - stride).div_ceil(2)]
    };
    let mut net = Net::new();
    net.full(0, 3, 32, 3, 2, same(3, 2), 1, Activation::Relu6, None);
    for (expand, kernel, stride, channels, count) in [
        (1, 3, 1, 16, 1),
        (6, 3, 2, 24, 2),
        (6, 5, 2, 40, 2),
        (6, 3, 2, 80, 3),
        (6, 5, 1, 112, 3),
        (6, 5, 2, 192, 4),
        (6, 3, 1, 320, 1),
    ] {
        for i in 0..count {
            let (start, from) = (net.layers.len(), net.channels);
            let wide = from * expand;
            let stride = if i == 0 { stride } else { 1 };
            if expand > 1 {
                net.full(start, from, wide, 1, 1, [0; 4], 1, Activation::Relu6, None);
            }
            let input = net.layers.len();
            net.full(input, wide, wide, kernel, stride, same(kernel, stride), wide, Activation::Relu6, None);
            net.full(input + 1, wide, channels, 1, 1, [0; 4], 1, Activation::None, (i > 0).then_some(start));
        }
    }
    net.full(net.layers.len(), 320, 1280, 1, 1, [0; 4], 1, Activation::Relu6, None);
    net.layers.push(Layer::AvgPoolTo { input: net.layers.len(), size: [1; 2] });
    net.layers.push(Layer::Linear {
        input: net.layers.len(),
        weight: values(1_280_000, 0.1),
        bias: vec![0.0; 1000],
        activation: Activation::None,
    });
    net
}

/// Products of pixels and packed weights against the `gemm` crate, one thread.
fn products() {
    for [pixels, k, n] in [
        [96, 64, 24],
        [96, 64, 96],
        [96, 256, 96],
        [3136, 64, 64],
        [196, 672, 112],
        [196, 112, 672],
        [49, 1152, 192],
        [49, 192, 1152],
        [660, 128, 32],
        [165, 384, 64],
        [3136, 24, 144],
        [12544, 16, 96],
        [2745, 147, 96],
    ] {
        let x = vec![0.5_f32; pixels * k];
        let weights = vec![0.25_f32; k * n];
        let packed = Packed::new(k, n, |row, column| weights[row * n + column], &vec![0.0; n]);
        let mut out = vec![0.0_f32; pixels * n];
        let positions: Vec<_> = (0..pixels).map(|p| Position { input: p * k, output: p * n, add: 0 }).collect();
        let least = |work: &mut dyn FnMut()| {
            let once = || {
                let start = Instant::now();
                work();
                start.elapsed().as_secs_f64()
            };
            std::iter::repeat_with(once).take(200).fold(f64::INFINITY, f64::min)
        };
        let flop = 2e-9 * (pixels * k * n) as f64;
        let own = least(&mut || {
            product(&packed, Rows { x: &x, runs: &[0], run: k }, &positions, None, Activation::None, &mut out);
        });
        let crate_ = least(&mut || {
            let (i, k_, n_) = (pixels, k as isize, n as isize);
            // SAFETY: the vectors hold pixels × k, k × n and pixels × n numbers.
            unsafe {
                gemm::gemm(
                    n,
                    i,
                    k,
                    out.as_mut_ptr(),
                    n_,
                    1,
                    false,
                    weights.as_ptr(),
                    n_,
                    1,
                    x.as_ptr(),
                    k_,
                    1,
                    0.0,
                    1.0,
                    false,
                    false,
                    false,
                    gemm::Parallelism::None,
                );
            }
        });
        println!("{pixels}×{k}×{n}: own {:.1}, gemm {:.1} GFLOP/s", flop / own, flop / crate_);
    }
}
