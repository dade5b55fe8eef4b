//! The convolutional GRU, equations 5 to 8 of the paper, and with a bottom-up input equations 9 to
//! 12.

use std::borrow::Cow;

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Initializer, PaddingConfig2d};
use burn::tensor::activation::{sigmoid, tanh};
use burn::tensor::{DType, Device, Tensor};

use super::initial::fused;
use crate::operator;
use crate::precision::conv_in;

/// Configuration of a [`ConvGru`].
#[derive(Config, Debug)]
pub struct ConvGruConfig {
    /// Channels of the input maps.
    pub in_channels: usize,
    /// Channels of the hidden maps.
    pub hidden_channels: usize,
    /// Side of the square kernels, odd; 3 in the paper. With 1 on maps of 1x1 cells the layer is a
    /// fully connected GRU.
    #[config(default = 3)]
    pub kernel_size: usize,
    /// Biases on the two gates and the candidate. The paper's equations have none.
    #[config(default = false)]
    pub bias: bool,
    /// Channels of the hidden maps of the level below, in a stacked model.
    #[config(default = "None")]
    pub below_channels: Option<usize>,
    /// Let the bottom-up input enter the candidate too. Equation 11 has it in the two gates only.
    #[config(default = false)]
    pub below_to_candidate: bool,
    /// Initializer of the input-to-hidden and bottom-up kernels, applied gate by gate; Xavier's uniform
    /// distribution by default. The paper does not name its own.
    #[config(default = "Initializer::XavierUniform { gain: 1.0 }")]
    pub initializer: Initializer,
    /// Initializer of the hidden-to-hidden kernels, applied gate by gate; orthogonal by default.
    #[config(default = "Initializer::Orthogonal { gain: 1.0 }")]
    pub recurrent_initializer: Initializer,
}

/// A GRU whose products are 2-D convolutions that keep the spatial size (zero padding, stride 1).
///
/// ```text
/// z  = sigmoid(W_z * x + U_z * h)          update gate
/// r  = sigmoid(W_r * x + U_r * h)          reset gate
/// h~ = tanh   (W   * x + U * (r . h))      candidate; r acts before U
/// h' = (1 - z) . h + z . h~                z admits the candidate
/// ```
///
/// **Note the gate convention.** `burn::nn::Gru`, PyTorch and cuDNN write `h' = (1 - z) . h~ + z .
/// h` and let `r` act after the product with `U`; this layer follows the paper, so their weights
/// cannot be carried over unchanged.
///
/// It computes in the precision of its input and casts its weights where theirs is another.
///
/// The six convolutions are computed as three: all input convolutions of all time steps in one
/// call, and per step one convolution of the state for both gates and one for the candidate.
#[derive(Module, Debug)]
pub struct ConvGru {
    /// `W_z, W_r, W` stacked: weight `[3 * hidden, in, kernel, kernel]`.
    pub input_to_hidden: Conv2d,
    /// `U_z, U_r` stacked: weight `[2 * hidden, hidden, kernel, kernel]`.
    pub hidden_to_gates: Conv2d,
    /// `U`: weight `[hidden, hidden, kernel, kernel]`.
    pub hidden_to_candidate: Conv2d,
    /// Bottom-up weights of a stacked model for `z, r` (and the candidate, if configured):
    /// `[2 or 3 * hidden, below, kernel, kernel]`.
    pub below_to_hidden: Option<Conv2d>,
    /// Channels of the hidden maps.
    pub hidden_channels: usize,
}

/// Output of [`ConvGru::forward`].
#[derive(Clone, Debug)]
pub struct ConvGruOutput {
    /// The hidden maps of all time steps, `[batch, time, hidden, height, width]`.
    pub sequence: Tensor<5>,
    /// The hidden map after the last step, `[batch, hidden, height, width]`.
    pub last: Tensor<4>,
}

/// Record of a layer's run over a clip; see [`ConvGru::trace`]. All tensors are
/// `[batch, time, hidden, height, width]`.
#[derive(Clone, Debug)]
pub struct ConvGruTrace {
    /// The hidden maps `h` after every step.
    pub sequence: Tensor<5>,
    /// The update gates `z`: 1 where a step replaces the state, 0 where it keeps it.
    pub update: Tensor<5>,
    /// The share of every step's candidate in the last hidden map, which is the sum of the shares over
    /// time.
    pub kept: Tensor<5>,
}

impl ConvGruTrace {
    /// The same in reverse temporal order, which for a layer that reads a clip backwards is the order of
    /// the frames.
    pub fn reversed(self) -> Self {
        let [sequence, update, kept] = [self.sequence, self.update, self.kept].map(|steps| steps.flip([1]));
        Self { sequence, update, kept }
    }
}

impl ConvGruConfig {
    /// A layer with freshly drawn weights.
    ///
    /// # Panics
    ///
    /// If the kernel size is even, for then no padding keeps the spatial size, and if a number of
    /// channels is zero.
    pub fn init(&self, device: &Device) -> ConvGru {
        assert!(self.kernel_size % 2 == 1, "ConvGru: the kernel size must be odd, not {}", self.kernel_size);
        assert!(
            self.in_channels > 0 && self.hidden_channels > 0 && self.below_channels != Some(0),
            "ConvGru: zero channels in {self}"
        );
        let (input, recurrent) = (&self.initializer, &self.recurrent_initializer);
        let below_gates = if self.below_to_candidate { 3 } else { 2 };
        ConvGru {
            input_to_hidden: self.conv(self.in_channels, 3, input, self.bias, device),
            hidden_to_gates: self.conv(self.hidden_channels, 2, recurrent, false, device),
            hidden_to_candidate: self.conv(self.hidden_channels, 1, recurrent, false, device),
            below_to_hidden: self.below_channels.map(|below| self.conv(below, below_gates, input, false, device)),
            hidden_channels: self.hidden_channels,
        }
    }

    fn conv(&self, input: usize, gates: usize, initializer: &Initializer, bias: bool, device: &Device) -> Conv2d {
        let (hidden, kernel, pad) = (self.hidden_channels, self.kernel_size, self.kernel_size / 2);
        let mut conv = Conv2dConfig::new([input, gates * hidden], [kernel, kernel])
            .with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad))
            .with_bias(bias)
            .with_initializer(Initializer::Zeros)
            .init(device);
        conv.weight = fused(initializer.clone(), gates, [hidden, input, kernel], device);
        conv
    }
}

impl ConvGru {
    /// Runs over a clip.
    ///
    /// # Shapes
    ///
    /// - input: `[batch, time, in, height, width]`
    /// - state: `[batch, hidden, height, width]`, zeros if `None`
    /// - output: `sequence` `[batch, time, hidden, height, width]`, `last` `[batch, hidden, height,
    ///   width]`
    pub fn forward(&self, input: Tensor<5>, state: Option<Tensor<4>>) -> ConvGruOutput {
        self.forward_stacked(input, None, state)
    }

    /// Runs over a clip with the hidden maps of the level below, of the same time steps, as a
    /// second input.
    ///
    /// # Shapes
    ///
    /// - input: `[batch, time, in, height, width]`
    /// - below: `[batch, time, below, height, width]`, already pooled to this level's size
    /// - state: `[batch, hidden, height, width]`, zeros if `None`
    ///
    /// # Panics
    ///
    /// If `below` is given to a layer without bottom-up weights or missing for a layer with them,
    /// and if a shape does not fit.
    pub fn forward_stacked(
        &self,
        input: Tensor<5>,
        below: Option<Tensor<5>>,
        state: Option<Tensor<4>>,
    ) -> ConvGruOutput {
        let (sequence, last) = self.scan(input, below, state, true);
        ConvGruOutput { sequence: sequence.expect("all steps were asked for"), last }
    }

    /// The hidden map after the last step; as [`forward`](Self::forward) without keeping the
    /// sequence.
    ///
    /// # Shapes
    ///
    /// - input: `[batch, time, in, height, width]`
    /// - output: `[batch, hidden, height, width]`
    pub fn last(&self, input: Tensor<5>, state: Option<Tensor<4>>) -> Tensor<4> {
        self.scan(input, None, state, false).1
    }

    /// One time step of a stream: constant cost per frame. A loop over steps equals
    /// [`forward`](Self::forward).
    ///
    /// # Shapes
    ///
    /// - input: `[batch, in, height, width]`
    /// - state, and output: `[batch, hidden, height, width]`
    pub fn step(&self, input: Tensor<4>, state: Option<Tensor<4>>) -> Tensor<4> {
        self.step_stacked(input, None, state)
    }

    /// One time step with the hidden map of the level below, `[batch, below, height, width]`.
    pub fn step_stacked(&self, input: Tensor<4>, below: Option<Tensor<4>>, state: Option<Tensor<4>>) -> Tensor<4> {
        self.scan(input.unsqueeze_dim(1), below.map(|below| below.unsqueeze_dim(1)), state, false).1
    }

    /// Runs over a clip from the zero state, as [`forward_stacked`](Self::forward_stacked) does, and
    /// records every step. Equation 8, `h_t = (1 - z_t) . h_(t-1) + z_t . h~_t`, acts
    /// on every cell of every channel by itself, so that the last hidden map is a sum over the steps:
    ///
    /// ```text
    /// h_T = sum over t of kept_t,    kept_t = z_t . h~_t . (1 - z_(t+1)) . … . (1 - z_T)
    /// ```
    ///
    /// The sum tells when a value was written, not when its cause was seen: a candidate also depends on
    /// the state before it.
    ///
    /// # Shapes
    ///
    /// - input: `[batch, time, in, height, width]`
    /// - below: `[batch, time, below, height, width]`, for a layer with bottom-up weights
    /// - output: `[batch, time, hidden, height, width]` each
    ///
    /// # Panics
    ///
    /// As [`forward_stacked`](Self::forward_stacked).
    pub fn trace(&self, input: Tensor<5>, below: Option<Tensor<5>>) -> ConvGruTrace {
        let layer = self.in_dtype(input.dtype());
        let below = below.map(|below| below.cast(input.dtype()));
        let sequence = layer.forward_stacked(input.clone(), below.clone(), None).sequence;
        let [batch, time, hidden, height, width] = sequence.dims();
        let first = Tensor::zeros_like(&sequence.clone().narrow(1, 0, 1));
        let before = Tensor::cat(vec![first, sequence.clone()], 1).narrow(1, 0, time);
        let gates = layer.project_input(input, below).narrow(1, 0, hidden)
            + project(&layer.hidden_to_gates, before.clone()).narrow(1, 0, hidden);
        let update = sigmoid(gates).reshape([time, batch, hidden, height, width]).swap_dims(0, 1);
        let stays = update.clone().neg().add_scalar(1.0);
        let written = sequence.clone() - stays.clone() * before;
        // From the last step back, the share that all later steps keep.
        let mut later = Tensor::ones_like(&written.clone().narrow(1, 0, 1));
        let mut kept: Vec<Tensor<5>> = Vec::with_capacity(time);
        for step in (0..time).rev() {
            kept.push(written.clone().narrow(1, step, 1) * later.clone());
            later = later * stays.clone().narrow(1, step, 1);
        }
        kept.reverse();
        ConvGruTrace { sequence, update, kept: Tensor::cat(kept, 1) }
    }

    /// This layer with its weights in the given precision; cast once for all time steps.
    fn in_dtype(&self, dtype: DType) -> Cow<'_, Self> {
        if self.input_to_hidden.weight.val().dtype() == dtype {
            return Cow::Borrowed(self);
        }
        Cow::Owned(Self {
            input_to_hidden: conv_in(&self.input_to_hidden, dtype).into_owned(),
            hidden_to_gates: conv_in(&self.hidden_to_gates, dtype).into_owned(),
            hidden_to_candidate: conv_in(&self.hidden_to_candidate, dtype).into_owned(),
            below_to_hidden: self.below_to_hidden.as_ref().map(|below| conv_in(below, dtype).into_owned()),
            hidden_channels: self.hidden_channels,
        })
    }

    /// The hidden maps of all time steps, if asked for, and the last of them.
    fn scan(
        &self,
        input: Tensor<5>,
        below: Option<Tensor<5>>,
        state: Option<Tensor<4>>,
        all: bool,
    ) -> (Option<Tensor<5>>, Tensor<4>) {
        let ([batch, time, _, height, width], dtype) = (input.dims(), input.dtype());
        assert!(time > 0, "ConvGru: a clip has at least one step");
        let layer = self.in_dtype(dtype);
        let mut state = state.map(|state| state.cast(dtype));
        if let Some(state) = &state {
            let (expected, found) = ([batch, self.hidden_channels, height, width], state.dims());
            assert!(found == expected, "ConvGru: a state of shape {found:?}, expected {expected:?}");
        }
        let as_operator = operator::serves(&input);
        let projected = layer.project_input(input, below.map(|below| below.cast(dtype)));
        if as_operator {
            let states =
                operator::conv_gru(projected, [&layer.hidden_to_gates, &layer.hidden_to_candidate], state, batch, all);
            let steps = states.dims()[1];
            let last = states.clone().narrow(1, steps - 1, 1).squeeze_dim(1);
            return (all.then_some(states), last);
        }
        let mut steps = Vec::with_capacity(time);
        split_steps(projected, batch, &mut steps);
        let mut states: Vec<Tensor<4>> = Vec::with_capacity(time);
        for step in steps {
            let next = layer.cell(step, state);
            states.push(next.clone());
            state = Some(next);
        }
        let last = state.expect("a clip has at least one step");
        (all.then(|| Tensor::stack(states, 1)), last)
    }

    /// The terms of input and bottom-up input in `z, r, h~` of all steps: `[time * batch, 3 *
    /// hidden, height, width]`. Time is outermost, so that each step is one block of the result.
    fn project_input(&self, input: Tensor<5>, below: Option<Tensor<5>>) -> Tensor<4> {
        let [_, in_channels, ..] = self.input_to_hidden.weight.dims();
        let [batch, time, channels, height, width] = input.dims();
        let found = input.dims();
        assert!(channels == in_channels, "ConvGru: an input of shape {found:?}, expected [_, _, {in_channels}, _, _]");
        let projected = project(&self.input_to_hidden, input);
        match (&self.below_to_hidden, below) {
            (None, None) => projected,
            (Some(conv), Some(below)) => {
                let (expected, found) = ([batch, time, conv.weight.dims()[1], height, width], below.dims());
                assert!(found == expected, "ConvGru: a bottom-up input of shape {found:?}, expected {expected:?}");
                let bottom_up = project(conv, below);
                let gates = bottom_up.dims()[1];
                if gates == projected.dims()[1] {
                    return projected + bottom_up;
                }
                let candidate = projected.clone().narrow(1, gates, self.hidden_channels);
                Tensor::cat(vec![projected.narrow(1, 0, gates) + bottom_up, candidate], 1)
            }
            (Some(_), None) => {
                panic!("ConvGru: this layer has bottom-up weights: give it the hidden maps of the level below")
            }
            (None, Some(_)) => panic!("ConvGru: this layer has no bottom-up weights: configure `below_channels`"),
        }
    }

    /// One step of equations 5 to 8 from the projected input, `[batch, 3 * hidden, height, width]`.
    fn cell(&self, projected: Tensor<4>, state: Option<Tensor<4>>) -> Tensor<4> {
        let n = self.hidden_channels;
        let candidate_input = projected.clone().narrow(1, 2 * n, n);
        let Some(state) = state else {
            // With h = 0 the convolutions of the state vanish, and with them the reset gate.
            return sigmoid(projected.narrow(1, 0, n)) * tanh(candidate_input);
        };
        let gates = sigmoid(projected.narrow(1, 0, 2 * n) + self.hidden_to_gates.forward(state.clone()));
        let update = gates.clone().narrow(1, 0, n);
        let reset = gates.narrow(1, n, n);
        let candidate = tanh(candidate_input + self.hidden_to_candidate.forward(reset * state.clone()));
        state.clone() + update * (candidate - state)
    }
}

/// A convolution of all frames of clips, `[batch, time, …]` to `[time * batch, …]`.
fn project(conv: &Conv2d, clip: Tensor<5>) -> Tensor<4> {
    match operator::serves(&clip) {
        true => operator::conv(clip, conv),
        false => conv.forward(time_major(clip)),
    }
}

/// Cuts `[time * batch, …]` into its time steps, by halves. The gradient of a slice is as large as
/// the tensor it was cut from, so cutting every step from the whole would make the backward pass
/// quadratic in the number of steps.
fn split_steps(block: Tensor<4>, batch: usize, steps: &mut Vec<Tensor<4>>) {
    let time = block.dims()[0] / batch;
    if time == 1 {
        return steps.push(block);
    }
    let half = time / 2;
    split_steps(block.clone().narrow(0, 0, half * batch), batch, steps);
    split_steps(block.narrow(0, half * batch, (time - half) * batch), batch, steps);
}

/// `[batch, time, …]` to `[time * batch, …]`.
fn time_major(clip: Tensor<5>) -> Tensor<4> {
    let [batch, time, channels, height, width] = clip.dims();
    clip.swap_dims(0, 1).reshape([time * batch, channels, height, width])
}

#[cfg(test)]
mod tests;
