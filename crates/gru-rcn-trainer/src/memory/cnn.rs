//! The tapes of the CNNs.

use gru_rcn::backbone::{CnnConfig, SqueezeNetConfig, Vgg16Config};

use super::tape::{Conv, F32, Op, Tape};

/// Bytes that the maximum's indices are computed with, and those that they are kept in.
const INDEX: [usize; 2] = [8, 4];

/// A CNN over a batch of frames, in bytes.
#[derive(Clone, Debug)]
pub(super) struct CnnMemory {
    /// The training step up to the logits of single frames.
    pub(super) tape: Tape,
    /// All weights.
    pub(super) weights: usize,
    /// The largest of its parameters.
    pub(super) largest: usize,
    /// Most that the frozen network holds beside its weights, maps at the taps included.
    pub(super) frozen: usize,
}

/// What the layers add up to.
struct Layers {
    frames: usize,
    threads: usize,
    channels: usize,
    size: [usize; 2],
    tape: Tape,
    weights: usize,
    largest: usize,
    frozen: usize,
    tapped: usize,
    first: bool,
}

impl CnnMemory {
    /// Of `frames` frames at once.
    pub(super) fn new(config: &CnnConfig, frames: usize, threads: usize) -> Self {
        match config {
            CnnConfig::Vgg16(config) => vgg16(config, frames, threads),
            CnnConfig::SqueezeNet(config) => squeezenet(config, frames, threads),
        }
    }
}

impl Layers {
    fn new(frames: usize, threads: usize, channels: usize, size: [usize; 2]) -> Self {
        let (tape, weights, largest, frozen) = (Tape::default(), 0, 0, 0);
        Self { frames, threads, channels, size, tape, weights, largest, frozen, tapped: 0, first: true }
    }

    /// Bytes of the present map.
    fn bytes(&self) -> usize {
        self.frames * self.channels * self.size[0] * self.size[1] * F32
    }

    fn pixels(&self) -> usize {
        self.size[0] * self.size[1]
    }

    fn parameter(&mut self, bytes: usize) {
        self.weights += bytes;
        self.largest = self.largest.max(bytes);
    }

    /// A convolution to maps of `size`, `kept` if what comes next needs its output for a gradient.
    fn conv(&mut self, channels: usize, kernel: usize, size: [usize; 2], kept: bool) -> usize {
        let pixels = [self.pixels(), size[0] * size[1]];
        let conv = Conv {
            frames: self.frames,
            channels: [self.channels, channels],
            pixels,
            kernel,
            bias: true,
            input_gradient: !std::mem::replace(&mut self.first, false),
            threads: self.threads,
        };
        self.frozen = self.frozen.max(self.tapped + conv.input() + conv.copies() + conv.output());
        self.parameter(conv.parameters());
        self.tape.push(conv.op(kept));
        (self.channels, self.size) = (channels, size);
        conv.output()
    }

    /// ReLU keeps its input, which is there already, and the next layer its output.
    fn relu(&mut self) {
        let output = self.bytes();
        self.tape.push(Op { output, backward: 2 * output, ..Op::default() });
    }

    fn pool(&mut self, size: [usize; 2]) {
        let input = self.bytes();
        self.size = size;
        let (output, cells) = (self.bytes(), self.bytes() / F32);
        self.frozen = self.frozen.max(self.tapped + input + output + cells * INDEX[0]);
        let own = cells * INDEX[1];
        self.tape.push(Op { own, output, forward: cells * INDEX[0], backward: input + output, ..Op::default() });
    }

    /// The present map is handed over.
    fn tap(&mut self) {
        self.tapped += self.bytes();
    }

    fn linear(&mut self, outputs: usize) {
        let input = self.bytes();
        let parameters = (self.channels * self.pixels() * outputs + outputs) * F32;
        (self.channels, self.size) = (outputs, [1, 1]);
        let output = self.bytes();
        self.frozen = self.frozen.max(self.tapped + input + output);
        self.parameter(parameters);
        self.tape.push(Op { output, backward: input + output, gradients: parameters, ..Op::default() });
    }

    fn done(self) -> CnnMemory {
        let Self { tape, weights, largest, frozen, .. } = self;
        CnnMemory { tape, weights, largest, frozen }
    }
}

fn vgg16(config: &Vgg16Config, frames: usize, threads: usize) -> CnnMemory {
    let mut layers = Layers::new(frames, threads, config.in_channels, config.input_size);
    for (stage, &[convs, channels]) in config.stages.iter().enumerate() {
        for _ in 0..convs {
            layers.conv(channels, 3, layers.size, true);
            layers.relu();
        }
        layers.pool(layers.size.map(|side| side / 2));
        if config.taps.contains(&format!("pool{}", stage + 1)) {
            layers.tap();
        }
    }
    if config.fully_connected {
        layers.size = config.grid;
        for outputs in [config.fc_width, config.fc_width, config.num_classes] {
            layers.linear(outputs);
            layers.relu();
        }
    }
    layers.done()
}

/// Squeeze and expand channels of the fire modules, and whether a maximum follows.
const FIRES: [(usize, usize, bool); 8] = [
    (16, 64, false),
    (16, 64, false),
    (32, 128, true),
    (32, 128, false),
    (48, 192, false),
    (48, 192, false),
    (64, 256, true),
    (64, 256, false),
];

fn squeezenet(config: &SqueezeNetConfig, frames: usize, threads: usize) -> CnnMemory {
    let mut layers = Layers::new(frames, threads, config.in_channels, config.input_size);
    let halved = |size: [usize; 2]| size.map(|side| side.saturating_sub(3).div_ceil(2) + 1);
    layers.conv(96, 7, config.input_size.map(|side| side.saturating_sub(7) / 2 + 1), true);
    layers.relu();
    layers.pool(halved(layers.size));
    for (squeeze, expand, pooled) in FIRES {
        layers.conv(squeeze, 1, layers.size, true);
        layers.relu();
        // Both expansions see the squeezed map, and nothing keeps them but the map that they are joined to.
        let narrow = layers.conv(expand, 1, layers.size, false);
        layers.channels = squeeze;
        let wide = layers.conv(expand, 3, layers.size, false);
        layers.channels = 2 * expand;
        let output = layers.bytes();
        layers.tape.push(Op { output, forward: narrow + wide, backward: 2 * output, ..Op::default() });
        layers.relu();
        if pooled {
            layers.pool(halved(layers.size));
        }
    }
    layers.conv(config.num_classes, 1, layers.size, true);
    layers.relu();
    layers.done()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 138,357,544 parameters of VGG-16, of which fc-6 has 25,088 · 4,096 + 4,096; 1,248,424 of SqueezeNet 1.0.
    #[test]
    fn weights_are_the_published_counts() {
        let vgg = CnnMemory::new(&CnnConfig::Vgg16(Vgg16Config::new()), 1, 2);
        assert_eq!((vgg.weights, vgg.largest), (4 * 138_357_544, 4 * (25_088 * 4_096 + 4_096)));
        assert_eq!(vgg.tape.gradients(), vgg.weights);
        let squeezenet = CnnMemory::new(&CnnConfig::SqueezeNet(SqueezeNetConfig::new()), 1, 2);
        assert_eq!(squeezenet.weights, 4 * 1_248_424);
    }

    /// VGG-16's convolutions at 224x224 make 2·64·224² + 2·128·112² + 3·256·56² + 3·512·28² + 3·512·14² = 13,547,520
    /// numbers, kept before and after ReLU; its maxima 64·112² + 128·56² + 256·28² + 512·14² + 512·7² = 1,530,368, kept
    /// with indices of the same size; the fully connected layers 4,096 twice and 1,000, before and after ReLU.
    #[test]
    fn a_frame_keeps_what_gradients_need() {
        let kept = |frames| CnnMemory::new(&CnnConfig::Vgg16(Vgg16Config::new()), frames, 2).tape.kept();
        assert_eq!(kept(1), 4 * (2 * 13_547_520 + 2 * 1_530_368 + 2 * 9_192));
        assert_eq!(kept(3), 3 * kept(1));
    }

    /// The frozen network's top is conv1_2 at any number of frames: 64·224² numbers of input, of its copy and of output,
    /// 9·64·64 + 64 kernels, and on two threads a tile of 512 patches of 576 with 64 results.
    #[test]
    fn the_frozen_network_keeps_nothing() {
        let frozen = CnnMemory::new(&CnnConfig::Vgg16(Vgg16Config::new()), 4, 2).frozen;
        assert_eq!(frozen, 4 * (3 * 4 * 64 * 224 * 224 + 9 * 64 * 64 + 64 + 2 * 512 * (576 + 64)));
    }
}
