//! The LSTM of the compared systems, with or without peepholes.
//!
//! Burn's LSTM has two biases per gate and no peepholes; the networks compared here have one bias
//! per gate, and some have peepholes.

use burn::config::Config;
use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::activation::{sigmoid, tanh};
use burn::tensor::{Device, Tensor};

/// Bound of freshly drawn peepholes (Srivastava et al. 2015, released code).
const PEEPHOLE_BOUND: f64 = 0.1;

/// The bound 1/√units for the weights of an LSTM, which suits any width.
pub(super) fn bound_of(hidden: usize) -> f64 {
    1.0 / (hidden as f64).sqrt()
}

/// Configuration of [`Lstm`].
#[derive(Config, Debug)]
pub struct LstmConfig {
    /// Size of an input vector; 0 for a layer that has no input but its state.
    pub inputs: usize,
    /// Units.
    pub hidden: usize,
    /// Diagonal weights from the cell to the gates.
    #[config(default = false)]
    pub peepholes: bool,
    /// Weights are drawn from U(-bound, bound), biases are zero. 0.01 is what the released code of
    /// LRCN and of Srivastava et al. has; narrow layers need more.
    #[config(default = 0.01)]
    pub bound: f64,
}

/// One layer:
///
/// ```text
/// i = σ(W_i x + U_i h₋ + w_i ⊙ c₋ + b_i)      f = σ(W_f x + U_f h₋ + w_f ⊙ c₋ + b_f)
/// a = tanh(W_a x + U_a h₋ + b_a)              c = f ⊙ c₋ + i ⊙ a
/// o = σ(W_o x + U_o h₋ + w_o ⊙ c + b_o)       h = o ⊙ tanh(c)
/// ```
///
/// Without peepholes there are no terms with w. The output gate sees the new cell. The first state is
/// zero.
#[derive(Module, Debug)]
pub struct Lstm {
    /// W, `[input, 4 * hidden]`, the gates in the order i, f, a, o; none for a layer without input.
    pub input: Option<Param<Tensor<2>>>,
    /// U, `[hidden, 4 * hidden]`.
    pub recurrent: Param<Tensor<2>>,
    /// w, `[3, hidden]`, in the order i, f, o.
    pub peepholes: Option<Param<Tensor<2>>>,
    /// b, `[4 * hidden]`.
    pub bias: Param<Tensor<1>>,
}

/// State of a layer between two steps.
#[derive(Clone, Debug)]
pub struct LstmState {
    /// h, `[batch, hidden]`.
    pub hidden: Tensor<2>,
    /// c, `[batch, hidden]`.
    pub cell: Tensor<2>,
}

impl LstmConfig {
    /// A layer with freshly drawn weights.
    pub fn init(&self, device: &Device) -> Lstm {
        let Self { inputs, hidden, .. } = *self;
        let weights = self.initializer();
        let peepholes = Initializer::Uniform { min: -PEEPHOLE_BOUND, max: PEEPHOLE_BOUND };
        Lstm {
            input: (inputs > 0).then(|| weights.init([inputs, 4 * hidden], device)),
            recurrent: weights.init([hidden, 4 * hidden], device),
            peepholes: self.peepholes.then(|| peepholes.init([3, hidden], device)),
            bias: Initializer::Zeros.init([4 * hidden], device),
        }
    }

    /// The distribution of its weights.
    pub(super) fn initializer(&self) -> Initializer {
        Initializer::Uniform { min: -self.bound, max: self.bound }
    }

    /// A number of layers, each on the hidden states of the one below.
    pub fn stack(&self, layers: usize, device: &Device) -> Vec<Lstm> {
        let above = Self { inputs: self.hidden, ..self.clone() };
        (0..layers).map(|layer| if layer == 0 { self.init(device) } else { above.init(device) }).collect()
    }
}

impl Lstm {
    /// Units.
    pub fn hidden(&self) -> usize {
        self.recurrent.lazy_shape()[0]
    }

    /// All hidden states, and the last state.
    ///
    /// # Shapes
    ///
    /// - input: `[batch, time, input]`
    /// - output: `[batch, time, hidden]`
    pub fn forward(&self, input: Tensor<3>, state: Option<LstmState>) -> (Tensor<3>, LstmState) {
        let [batch, time, inputs] = input.dims();
        let gates = 4 * self.hidden();
        // Of all steps at once.
        let weight = self.input.as_ref().expect("this layer has no input").val();
        let projected = input.reshape([batch * time, inputs]).matmul(weight).reshape([batch, time, gates]);
        let (mut state, mut hidden) = (state, Vec::with_capacity(time));
        for t in 0..time {
            let next = self.cell(Some(projected.clone().narrow(1, t, 1).squeeze_dim(1)), state, batch);
            hidden.push(next.hidden.clone());
            state = Some(next);
        }
        (Tensor::stack(hidden, 1), state.expect("a clip has a time step"))
    }

    /// One step; without an input there is no term W x.
    ///
    /// # Shapes
    ///
    /// - input: `[batch, input]`
    pub fn step(&self, input: Option<Tensor<2>>, state: LstmState) -> LstmState {
        let batch = state.cell.dims()[0];
        let projected = input.zip(self.input.as_ref()).map(|(input, weight)| input.matmul(weight.val()));
        self.cell(projected, Some(state), batch)
    }

    fn cell(&self, projected: Option<Tensor<2>>, state: Option<LstmState>, batch: usize) -> LstmState {
        let hidden = self.hidden();
        let bias = self.bias.val().unsqueeze::<2>().expand([batch, 4 * hidden]);
        let mut gates = match projected {
            Some(projected) => projected + bias,
            None => bias,
        };
        if let Some(state) = &state {
            gates = gates + state.hidden.clone().matmul(self.recurrent.val());
        }
        let gate = |index: usize| gates.clone().narrow(1, index * hidden, hidden);
        let peephole = |index: usize, gate: Tensor<2>, cell: Option<&Tensor<2>>| match (&self.peepholes, cell) {
            (Some(weights), Some(cell)) => gate + weights.val().narrow(0, index, 1) * cell.clone(),
            _ => gate,
        };
        let before = state.as_ref().map(|state| &state.cell);
        let input_gate = sigmoid(peephole(0, gate(0), before));
        let forget_gate = sigmoid(peephole(1, gate(1), before));
        let added = input_gate * tanh(gate(2));
        let cell = match before {
            Some(before) => forget_gate * before.clone() + added,
            None => added,
        };
        let output_gate = sigmoid(peephole(2, gate(3), Some(&cell)));
        LstmState { hidden: output_gate * tanh(cell.clone()), cell }
    }
}

/// Runs a stack of layers: all hidden states of the topmost, and the last states of all layers, bottom
/// up. `between` is applied to the hidden states that go from one layer to the next.
pub(super) fn stack(
    layers: &[Lstm],
    input: Tensor<3>,
    between: impl Fn(Tensor<3>) -> Tensor<3>,
) -> (Tensor<3>, Vec<LstmState>) {
    let (mut sequence, mut states) = (input, Vec::with_capacity(layers.len()));
    for (index, layer) in layers.iter().enumerate() {
        let input = if index > 0 { between(sequence) } else { sequence };
        let (hidden, last) = layer.forward(input, None);
        sequence = hidden;
        states.push(last);
    }
    (sequence, states)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::assert_numbers;

    fn constant<const D: usize>(shape: [usize; D], value: f64) -> Param<Tensor<D>> {
        Param::from_tensor(Tensor::full(shape, value, &Device::flex()))
    }

    /// One unit, all weights ½, all peepholes 1, biases 0, inputs 2 and 0. First step: all gates
    /// see 1, so c = σ(1) tanh(1) = 0.556770, the output gate sees 1 + c: h = σ(1.556770) tanh(c) =
    /// 0.417551. Second step: gates see h/2 = 0.208775 and with the peephole 0.765545: i = f =
    /// 0.682556, a = tanh(0.208775) = 0.205794, c = 0.380027 + 0.140466 = 0.520493; o = σ(h/2 + c)
    /// = 0.674645; h = o tanh(c) = 0.322534.
    #[test]
    fn two_steps_by_hand() {
        let layer = Lstm {
            input: Some(constant([1, 4], 0.5)),
            recurrent: constant([1, 4], 0.5),
            peepholes: Some(constant([3, 1], 1.0)),
            bias: constant([4], 0.0),
        };
        let input = Tensor::<3>::from_data([[[2.0f32], [0.0]]], &Device::flex());
        let (hidden, last) = layer.forward(input.clone(), None);
        assert_numbers(hidden, &TWO_STEPS);
        // Step by step it is the same, and a layer without input has the bias in its place.
        let first = layer.forward(input.narrow(1, 0, 1), None).1;
        let second = layer.step(None, first);
        assert_numbers(second.hidden, &TWO_STEPS[1..]);
        assert_numbers(second.cell - last.cell, &[0.0]);
    }

    const TWO_STEPS: [f32; 2] = [0.417_550_6, 0.322_534_4];
}
