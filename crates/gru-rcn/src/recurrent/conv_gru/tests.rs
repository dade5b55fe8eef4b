//! The cell by hand, and its properties.

use burn::module::Param;
use burn::nn::gru::GruConfig;
use burn::tensor::{DType, TensorData};

use super::*;
use crate::testing::{assert_numbers, assert_panics, assert_same, device, difference, drawn, numbers, redrawn};

const LN2: f32 = std::f32::consts::LN_2;

fn ln(x: f32) -> f32 {
    x.ln()
}

fn tensor<const D: usize>(values: &[f32], shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), &device())
}

fn weight(values: &[f32], [out, input, kernel]: [usize; 3]) -> Param<Tensor<4>> {
    Param::from_tensor(tensor(values, [out, input, kernel, kernel]))
}

/// A layer with weights of (-0.7, 0.7): large enough for the gates to open and close.
fn layer(config: ConvGruConfig) -> ConvGru {
    redrawn(config.init(&device()), 5, 0.7, DType::F32)
}

/// Biases of all three gates at once, `value` for each hidden channel.
fn set_bias(layer: &mut ConvGru, [z, r, candidate]: [f32; 3]) {
    let device = device();
    let part = |value: f32| Tensor::<1>::full([layer.hidden_channels], value, &device);
    layer.input_to_hidden.bias = Some(Param::from_tensor(Tensor::cat(vec![part(z), part(r), part(candidate)], 0)));
}

/// One input channel, one hidden unit, two steps, weights such that sigmoids and hyperbolic
/// tangents are fractions: sigmoid(ln 3) = 3/4, sigmoid(-ln 4) = 1/5, tanh(ln 2) = 3/5, tanh(ln 3)
/// = 4/5.
///
/// Step 1, x = 1, h = 0: z = sigmoid(W_z) = 3/4, h~ = tanh(W) = 3/5, h = 3/4 * 3/5 = 0.45.
///
/// Step 2, x = 2: z = sigmoid(2 W_z + 0.45 U_z) = sigmoid(-ln 4) = 0.2; r = sigmoid(2 W_r + 0.45
/// U_r) = sigmoid(0) = 0.5; h~ = tanh(2 W + U * 0.5 * 0.45) = tanh(ln 3) = 0.8; h = 0.8 * 0.45 +
/// 0.2 * 0.8 = 0.52.
///
/// Of the first candidate, 0.8 * 0.45 = 0.36 is left in it, of the second 0.16.
#[test]
fn two_steps_by_hand() {
    let mut layer = ConvGruConfig::new(1, 1).with_kernel_size(1).init(&device());
    let (w_z, w_r, w) = (ln(3.0), 1.0, LN2);
    let u_z = (-ln(4.0) - 2.0 * w_z) / 0.45;
    let u_r = -2.0 * w_r / 0.45;
    let u = (ln(3.0) - 2.0 * w) / (0.5 * 0.45);
    layer.input_to_hidden.weight = weight(&[w_z, w_r, w], [3, 1, 1]);
    layer.hidden_to_gates.weight = weight(&[u_z, u_r], [2, 1, 1]);
    layer.hidden_to_candidate.weight = weight(&[u], [1, 1, 1]);
    let output = layer.forward(tensor(&[1.0, 2.0], [1, 2, 1, 1, 1]), None);
    assert_numbers(output.sequence, &[0.45, 0.52]);
    assert_numbers(output.last, &[0.52]);
    let trace = layer.trace(tensor(&[1.0, 2.0], [1, 2, 1, 1, 1]), None);
    assert_numbers(trace.sequence.clone(), &[0.45, 0.52]);
    assert_numbers(trace.update.clone(), &[0.75, 0.2]);
    assert_numbers(trace.kept.clone(), &[0.36, 0.16]);
    assert_numbers(trace.reversed().kept, &[0.16, 0.36]);
}

/// Two hidden units, x = 0, h = (1, 0), all of W and U_z zero: z = 1/2. The reset gate is
/// sigmoid(ln 3) = 3/4 for the first unit and sigmoid(-ln 4) = 1/5 for the second. U has one entry,
/// 4/3 ln 2, from the first to the second. As r scales what U reads, the first unit's counts: h~ =
/// tanh(3/4 * 4/3 ln 2) = 3/5 and h = (1/2, 3/10). Scaling what U gives, by the second unit's 1/5,
/// would leave 0.09.
#[test]
fn the_reset_gate_acts_before_the_product() {
    let mut layer = ConvGruConfig::new(1, 2).with_kernel_size(1).init(&device());
    layer.input_to_hidden.weight = weight(&[0.0; 6], [6, 1, 1]);
    layer.hidden_to_gates.weight = weight(&[0.0, 0.0, 0.0, 0.0, ln(3.0), 0.0, -ln(4.0), 0.0], [4, 2, 1]);
    layer.hidden_to_candidate.weight = weight(&[0.0, 0.0, 4.0 / 3.0 * LN2, 0.0], [2, 2, 1]);
    let state = tensor(&[1.0, 0.0], [1, 2, 1, 1]);
    assert_numbers(layer.step(tensor(&[0.0], [1, 1, 1, 1]), Some(state)), &[0.5, 0.3]);
}

/// A map of one row, (1, 0). The candidate's kernel has one tap, ln 3 on the left neighbour, and
/// W_z = 0. The right cell sees the 1: h = 1/2 * tanh(ln 3) = 0.4; the left cell sees the padding:
/// 0. A kernel turned over would swap them.
#[test]
fn kernels_are_not_turned_over() {
    let mut layer = ConvGruConfig::new(1, 1).init(&device());
    let mut taps = [0.0; 27];
    // Third gate, second row, first column.
    taps[18 + 3] = ln(3.0);
    layer.input_to_hidden.weight = weight(&taps, [3, 1, 3]);
    assert_numbers(layer.step(tensor(&[1.0, 0.0], [1, 1, 1, 2]), None), &[0.0, 0.4]);
}

/// The bottom-up input, from the zero state with x = 0 and all bottom-up weights ln 3: z =
/// sigmoid(ln 3) = 3/4. In the paper's form the candidate is tanh(0) = 0, and so is h; with
/// `below_to_candidate` it is 4/5 and h = 0.6.
#[test]
fn bottom_up_by_hand() {
    let device = device();
    let config = ConvGruConfig::new(1, 1).with_kernel_size(1).with_below_channels(Some(1));
    let (zero, one) = (Tensor::<4>::zeros([1, 1, 1, 1], &device), Tensor::<4>::ones([1, 1, 1, 1], &device));
    for (to_candidate, expected) in [(false, 0.0), (true, 0.6)] {
        let mut layer = config.clone().with_below_to_candidate(to_candidate).init(&device);
        let gates = if to_candidate { 3 } else { 2 };
        layer.below_to_hidden.as_mut().unwrap().weight = weight(&vec![ln(3.0); gates], [gates, 1, 1]);
        assert_numbers(layer.step_stacked(zero.clone(), Some(one.clone()), None), &[expected]);
    }
    // With x such that the candidate is tanh(W x) = tanh(ln 2) = 3/5 the gate's 3/4 shows in the
    // paper's form too: 0.45.
    let mut layer = config.init(&device);
    layer.input_to_hidden.weight = weight(&[0.0, 0.0, LN2], [3, 1, 1]);
    layer.below_to_hidden.as_mut().unwrap().weight = weight(&[ln(3.0); 2], [2, 1, 1]);
    assert_numbers(layer.step_stacked(one.clone(), Some(one), None), &[0.45]);
}

/// On maps of 1x1 cells zero padding leaves the centre taps alone: a 3x3 layer is the fully
/// connected GRU of its centres.
#[test]
fn one_cell_sees_the_centre_taps_only() {
    let device = device();
    let config = ConvGruConfig::new(3, 4).with_bias(true).with_below_channels(Some(2));
    let wide = layer(config.clone());
    let mut dense = config.with_kernel_size(1).init(&device);
    let centre = |conv: &Conv2d| Param::from_tensor(conv.weight.val().narrow(2, 1, 1).narrow(3, 1, 1));
    dense.input_to_hidden.weight = centre(&wide.input_to_hidden);
    dense.input_to_hidden.bias = wide.input_to_hidden.bias.clone();
    dense.hidden_to_gates.weight = centre(&wide.hidden_to_gates);
    dense.hidden_to_candidate.weight = centre(&wide.hidden_to_candidate);
    dense.below_to_hidden.as_mut().unwrap().weight = centre(wide.below_to_hidden.as_ref().unwrap());
    let clip = drawn::<5>(1, [2, 4, 3, 1, 1], &device);
    let below = drawn::<5>(2, [2, 4, 2, 1, 1], &device);
    assert_same(
        wide.forward_stacked(clip.clone(), Some(below.clone()), None).sequence,
        dense.forward_stacked(clip, Some(below), None).sequence,
    );
}

/// A bias of -1000 shuts the update gate: sigmoid is exactly 0 and the state comes back bit by bit.
/// In the opposite convention it would be replaced. With the update gate open and the reset gate
/// shut, nothing of the state is left: h = tanh(W * x + b).
#[test]
fn the_update_gate_keeps_the_state_or_takes_the_candidate() {
    let device = device();
    let mut layer = layer(ConvGruConfig::new(2, 3).with_bias(true));
    let (x, state) = (drawn::<4>(4, [2, 2, 4, 5], &device), drawn::<4>(3, [2, 3, 4, 5], &device));
    set_bias(&mut layer, [-1000.0, 0.0, 0.3]);
    assert_eq!(difference(layer.step(x.clone(), Some(state.clone())), state.clone()), 0.0);
    set_bias(&mut layer, [1000.0, -1000.0, 0.3]);
    let candidate = tanh(layer.input_to_hidden.forward(x.clone()).narrow(1, 6, 3));
    assert_same(layer.step(x, Some(state)), candidate);
}

/// Two windows of one scene, offset by one row and two columns, agree where they overlap and the
/// border cannot be felt. It is felt 1 cell further in after the first step, and 3 and 5 after the
/// next ones: each step's candidate sees the state 1 cell away, through a reset gate that saw it 1
/// cell further, and the input convolution adds nothing to that (1, then 1 + 2, then 1 + 2 + 2).
#[test]
fn interior_cells_move_with_the_picture() {
    let device = device();
    let layer = layer(ConvGruConfig::new(2, 3));
    let scene = drawn::<5>(6, [1, 3, 2, 20, 20], &device);
    let window = |y: usize, x: usize| layer.last(scene.clone().narrow(3, y, 14).narrow(4, x, 14), None);
    let cells = |map: &Tensor<4>, y: usize, x: usize, margin: usize| {
        let side = 14 - 2 * margin;
        map.clone().narrow(2, y + margin, side - 1).narrow(3, x + margin, side - 2)
    };
    let (a, b) = (window(3, 3), window(4, 5));
    assert_same(cells(&a, 1, 2, 5), cells(&b, 0, 0, 5));
    let nearer = difference(cells(&a, 1, 2, 3), cells(&b, 0, 0, 3));
    assert!(nearer > 1e-5, "the border should be felt three cells in: {nearer}");
}

/// Streaming, the sequence, its last map and `last` are one computation. Without a state, the first
/// step skips the convolutions of a zero state, which changes nothing.
#[test]
fn steps_equal_the_clip() {
    let device = device();
    let layer = layer(ConvGruConfig::new(2, 3).with_bias(true));
    let clip = drawn::<5>(7, [2, 5, 2, 4, 3], &device);
    let zeros = Tensor::zeros([2, 3, 4, 3], &device);
    assert_same(layer.forward(clip.clone(), Some(zeros)).sequence, layer.forward(clip.clone(), None).sequence);
    for state in [None, Some(drawn::<4>(8, [2, 3, 4, 3], &device))] {
        let output = layer.forward(clip.clone(), state.clone());
        assert_same(layer.last(clip.clone(), state.clone()), output.last.clone());
        let mut streamed = state;
        for t in 0..5 {
            let next = layer.step(clip.clone().narrow(1, t, 1).squeeze_dim(1), streamed);
            assert_same(next.clone(), output.sequence.clone().narrow(1, t, 1).squeeze_dim(1));
            streamed = Some(next);
        }
        assert_same(streamed.unwrap(), output.last);
    }
}

/// `burn::nn::Gru` keeps the state where this layer takes the candidate: sigmoid(-a) = 1 -
/// sigmoid(a), so the two agree when the weights of its update gate are negated and its reset gate
/// is made to act before the product. With either left as it is, they do not.
#[test]
fn burn_s_gru_has_the_opposite_update_gate() {
    let device = device();
    let (inputs, hidden) = (3, 4);
    let ours = layer(ConvGruConfig::new(inputs, hidden).with_kernel_size(1));
    let clip = drawn::<3>(10, [2, 4, inputs], &device);
    let expected = ours.forward(clip.clone().reshape([2, 4, inputs, 1, 1]), None).sequence.reshape([2, 4, hidden]);

    let theirs = |negate: bool, reset_after: bool| {
        let mut gru = GruConfig::new(inputs, hidden, false).with_reset_after(reset_after).init(&device);
        // Gate n of a fused convolution as the [in, out] matrix of a linear layer.
        let matrix = |conv: &Conv2d, n: usize| {
            let rows = conv.weight.val().narrow(0, n * hidden, hidden);
            let columns = rows.dims()[1];
            rows.reshape([hidden, columns]).transpose()
        };
        let sign = if negate { -1.0 } else { 1.0 };
        gru.update_gate.input_transform.weight = Param::from_tensor(matrix(&ours.input_to_hidden, 0) * sign);
        gru.update_gate.hidden_transform.weight = Param::from_tensor(matrix(&ours.hidden_to_gates, 0) * sign);
        gru.reset_gate.input_transform.weight = Param::from_tensor(matrix(&ours.input_to_hidden, 1));
        gru.reset_gate.hidden_transform.weight = Param::from_tensor(matrix(&ours.hidden_to_gates, 1));
        gru.new_gate.input_transform.weight = Param::from_tensor(matrix(&ours.input_to_hidden, 2));
        gru.new_gate.hidden_transform.weight = Param::from_tensor(matrix(&ours.hidden_to_candidate, 0));
        gru.forward(clip.clone(), None)
    };
    assert_same(theirs(true, false), expected.clone());
    assert!(difference(theirs(false, false), expected.clone()) > 0.01);
    assert!(difference(theirs(true, true), expected) > 1e-3);
}

/// 3 * 9 * (2 * 3 + 3 * 3) = 405 without biases, 9 more with; below 5 channels, 2 * 9 * 5 * 3 = 270
/// more for two gates and 405 more for three.
#[test]
fn parameter_counts() {
    let config = ConvGruConfig::new(2, 3);
    let below = config.clone().with_below_channels(Some(5));
    for (config, expected) in [
        (config.clone(), 405),
        (config.with_bias(true), 414),
        (below.clone(), 675),
        (below.clone().with_below_to_candidate(true), 810),
        (below.with_kernel_size(1), 75),
    ] {
        assert_eq!(config.init(&device()).num_params(), expected);
    }
}

/// Each gate's `U` has orthonormal rows of its own, 8 of length 72; each gate's `W` is within
/// Xavier's bound for one gate, sqrt(6 / (9 * 6 + 9 * 8)) = 0.218, and comes near to it, which a
/// bound for three fused gates (0.142) would not allow.
#[test]
fn every_gate_is_drawn_on_its_own() {
    let device = device();
    let layer = ConvGruConfig::new(6, 8).with_bias(true).init(&device);
    for (conv, gates) in [(&layer.hidden_to_gates, 2), (&layer.hidden_to_candidate, 1)] {
        for gate in 0..gates {
            let u = conv.weight.val().narrow(0, 8 * gate, 8).reshape([8, 72]);
            let unit = Tensor::<2>::eye(8, &device);
            assert!(difference(u.clone().matmul(u.transpose()), unit) < 1e-5);
        }
    }
    let bound = (6.0f32 / (54.0 + 72.0)).sqrt();
    for gate in 0..3 {
        let w = layer.input_to_hidden.weight.val().narrow(0, 8 * gate, 8).abs().max().into_scalar::<f32>();
        assert!(w <= bound && w > 0.9 * bound, "gate {gate}: {w} of {bound}");
    }
    let biases = numbers(layer.input_to_hidden.bias.unwrap().val());
    assert!(biases.iter().all(|&bias| bias == 0.0), "{biases:?}");
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let device = device();
    let zeros = |channels, side| Tensor::<4>::zeros([1, channels, side, side], &device);
    let config = ConvGruConfig::new(2, 3);
    let layer = config.init(&device);
    let stacked = config.clone().with_below_channels(Some(2)).init(&device);
    assert_panics("must be odd, not 2", || config.with_kernel_size(2).init(&device));
    assert_panics("no bottom-up weights", || layer.step_stacked(zeros(2, 3), Some(zeros(2, 3)), None));
    assert_panics("give it the hidden maps", || stacked.step(zeros(2, 3), None));
    let message = "ConvGru: an input of shape [1, 1, 5, 3, 3], expected [_, _, 2, _, _]";
    assert_panics(message, || layer.step(zeros(5, 3), None));
    let message = "ConvGru: a state of shape [1, 3, 2, 2], expected [1, 3, 3, 3]";
    assert_panics(message, || layer.step(zeros(2, 3), Some(zeros(3, 2))));
}

#[test]
fn kernels_are_drawn_by_the_configured_initializers() {
    let layer = ConvGruConfig::new(2, 3)
        .with_below_channels(Some(2))
        .with_initializer(Initializer::Constant { value: 0.5 })
        .with_recurrent_initializer(Initializer::Constant { value: -1.0 })
        .init(&device());
    let all = |conv: &Conv2d, value: f32| numbers(conv.weight.val()).iter().all(|&w| w == value);
    assert!(all(&layer.input_to_hidden, 0.5) && all(layer.below_to_hidden.as_ref().unwrap(), 0.5));
    assert!(all(&layer.hidden_to_gates, -1.0) && all(&layer.hidden_to_candidate, -1.0));
}
