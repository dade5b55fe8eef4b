//! What a training step holds at each point of its forward and backward pass, told from the shapes of its tensors.
//!
//! The rules are those of Burn 0.22 on its CPU backend. Autodiff keeps what an operation's gradient needs until that
//! gradient has been computed: the inputs of convolutions, linear layers, ReLU, sigmoid and tanh, both factors of a
//! product, the indices of a maximum. A convolution copies its input to channels-last order and its kernels to rows, and
//! gathers patches tile by tile; the gradient of its kernels is a convolution of the transposed input with the transposed
//! gradient, for which both are copied twice. The gradient of its input takes a buffer of at most 8 MiB a thread.

/// Bytes of a float32.
pub(super) const F32: usize = 4;

/// Output pixels that a convolution computes at once.
const TILE: usize = 512;

/// Most bytes of the columns from which the gradient of a convolution's input is added up, per thread.
const COLUMNS: usize = 8 << 20;

/// One operation, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Op {
    /// Kept from the forward to the end of the operation's own backward pass: what its gradient needs and nothing else
    /// keeps.
    pub(super) own: usize,
    /// Kept for the operations that come after it: its output, where the gradient of the next one needs it. It is given
    /// back before the operation's own backward pass.
    pub(super) output: usize,
    /// Beside what is kept, while it is computed.
    pub(super) forward: usize,
    /// Beside what is kept, while its gradients are computed: gradients of output and input, copies.
    pub(super) backward: usize,
    /// Gradients of its parameters, kept until the optimizer has used them.
    pub(super) gradients: usize,
}

/// A forward pass in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Tape {
    ops: Vec<Op>,
}

/// The most that forward and backward pass hold at once beside weights and optimizer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Peak {
    /// Activations, their gradients and copies.
    pub(super) activations: usize,
    /// Gradients of parameters at that moment.
    pub(super) gradients: usize,
}

impl Peak {
    pub(super) fn bytes(self) -> usize {
        self.activations + self.gradients
    }
}

impl Tape {
    pub(super) fn push(&mut self, op: Op) {
        self.ops.push(op);
    }

    pub(super) fn extend(&mut self, other: Self) {
        self.ops.extend(other.ops);
    }

    /// The same operations, each changed.
    pub(super) fn map(self, change: impl FnMut(Op) -> Op) -> Self {
        Self { ops: self.ops.into_iter().map(change).collect() }
    }

    /// Gradients of all parameters.
    pub(super) fn gradients(&self) -> usize {
        self.ops.iter().map(|op| op.gradients).sum()
    }

    /// Kept at the end of the forward pass.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.ops.iter().map(|op| op.own + op.output).sum()
    }

    /// The highest point.
    pub(super) fn peak(&self) -> Peak {
        let mut peak = Peak::default();
        let mut seen = |activations, gradients| {
            let now = Peak { activations, gradients };
            if now.bytes() > peak.bytes() {
                peak = now;
            }
        };
        let mut kept = 0;
        for op in &self.ops {
            kept += op.own + op.output;
            seen(kept + op.forward, 0);
        }
        let mut gradients = 0;
        for op in self.ops.iter().rev() {
            kept -= op.output;
            gradients += op.gradients;
            seen(kept + op.backward, gradients);
            kept -= op.own;
        }
        peak
    }
}

/// A convolution with padding over `frames` frames, or steps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conv {
    pub(super) frames: usize,
    /// Input channels and those of the output.
    pub(super) channels: [usize; 2],
    /// Pixels of an input map and of an output map.
    pub(super) pixels: [usize; 2],
    /// Side of the kernel.
    pub(super) kernel: usize,
    pub(super) bias: bool,
    /// Whether a gradient of the input is wanted too.
    pub(super) input_gradient: bool,
    pub(super) threads: usize,
}

impl Conv {
    /// Bytes of the input.
    pub(super) fn input(&self) -> usize {
        self.frames * self.channels[0] * self.pixels[0] * F32
    }

    /// Bytes of the output.
    pub(super) fn output(&self) -> usize {
        self.frames * self.channels[1] * self.pixels[1] * F32
    }

    fn area(&self) -> usize {
        self.kernel * self.kernel
    }

    /// Bytes of its parameters.
    pub(super) fn parameters(&self) -> usize {
        let [input, output] = self.channels;
        (self.area() * input * output + if self.bias { output } else { 0 }) * F32
    }

    /// Bytes that come and go in its forward pass beside input and output.
    pub(super) fn copies(&self) -> usize {
        if self.kernel == 1 {
            return 0;
        }
        let tile = TILE.min(self.pixels[1]) * (self.area() * self.channels[0] + self.channels[1]) * F32;
        self.input() + self.parameters() + self.threads.min(self.frames.max(2)) * tile
    }

    /// Bytes that come and go in its backward pass, gradients of input and output among them.
    fn backward(&self) -> usize {
        let (input, output) = (self.input(), self.output());
        let columns = if self.kernel == 1 { 0 } else { self.threads * COLUMNS.min(self.area() * input / self.frames) };
        let patches = self.threads.min(self.channels[0]) * self.frames * self.pixels[1] * self.area() * F32;
        let kernels = 2 * input + 2 * output + patches;
        let of_input = if self.input_gradient { input } else { 0 };
        output + of_input + kernels.max(if self.input_gradient { columns } else { 0 })
    }

    /// The operation; `output` says whether what comes next keeps its output.
    pub(super) fn op(&self, output: bool) -> Op {
        let made = self.output();
        Op {
            own: 0,
            output: if output { made } else { 0 },
            forward: self.copies() + if output { 0 } else { made },
            backward: self.backward(),
            gradients: self.parameters(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two operations: forward 5 + 1, then 5 + 7 + 2 = 14; backward of the second, whose output of 4 has gone, 5 + 3 + 6 +
    /// 10 of parameters = 24; of the first, 20 more parameters and 0 kept, 8 + 30 = 38 in all.
    #[test]
    fn the_highest_point_by_hand() {
        let first = Op { own: 0, output: 5, forward: 1, backward: 8, gradients: 20 };
        let second = Op { own: 3, output: 4, forward: 2, backward: 6, gradients: 10 };
        let mut tape = Tape::default();
        tape.push(first);
        tape.push(second);
        assert_eq!(tape.peak(), Peak { activations: 8, gradients: 30 });
        assert_eq!((tape.kept(), tape.gradients()), (12, 30));
        // Without parameters the top is 14: the end of the forward pass, and of the backward pass of the second too.
        let mut bare = Tape::default();
        bare.push(Op { gradients: 0, ..first });
        bare.push(Op { gradients: 0, ..second });
        assert_eq!(bare.peak(), Peak { activations: 14, gradients: 0 });
    }

    /// 2 frames of 3 channels to 4, 8x8 pixels, 3x3 kernels: input 2·3·64 = 384 numbers, output 512, kernels 108 and 4
    /// biases. Forward: input and kernels copied, and on two threads a tile of 64 patches of 27 with 4 results. Backward:
    /// the gradient of the output, of the input; both twice more, and on two threads 2·64·9 patches.
    #[test]
    fn a_convolution_by_hand() {
        let (frames, channels, pixels) = (2, [3, 4], [64, 64]);
        let conv = Conv { frames, channels, pixels, kernel: 3, bias: true, input_gradient: true, threads: 2 };
        assert_eq!((conv.input(), conv.output(), conv.parameters()), (4 * 384, 4 * 512, 4 * 112));
        assert_eq!(conv.copies(), 4 * (384 + 112 + 2 * 64 * (27 + 4)));
        let op = conv.op(true);
        assert_eq!(op.backward, 4 * (512 + 384 + 2 * (384 + 512) + 2 * 2 * 64 * 9));
        assert_eq!((op.output, op.gradients), (4 * 512, 4 * 112));
        // The first layer's input has no gradient.
        let first = Conv { input_gradient: false, ..conv }.op(true);
        assert_eq!(op.backward - first.backward, 4 * 384);
    }
}
