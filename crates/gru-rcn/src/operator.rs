//! Operators of `gru-rcn-ops` for Burn's CPU backend, each with its gradients: the convolution of
//! all frames of clips, and the recurrence of a ConvGRU over clips. Their reference are the tensor
//! operations of [`ConvGru`](crate::recurrent::ConvGru) and of Burn's convolution, which every
//! other backend runs.
//!
//! Maps pass between the two as the operators keep them, channels last; to Burn they are tensors of
//! the usual shape with other strides.

use std::sync::LazyLock;

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, DispatchTensor, Flex, TensorMetadata, backend_extension};
use burn::nn::PaddingConfig2d;
use burn::nn::conv::Conv2d;
use burn::tensor::{Bytes, DType, Device, Shape, Tensor};
use gru_rcn_ops::conv_gru::{ConvGruClip, ConvGruTrace, ConvGruWeights, StateGradient};
use gru_rcn_ops::square::{SquareWeights, bias_gradient, weight_gradient};
use gru_rcn_ops::winograd::{Finish, Map, Workspaces};
use gru_rcn_ops::{channels_first, channels_last};
use rayon::prelude::*;

/// Whether the operators compute a clip: if it is in float32 on the CPU backend.
pub(crate) fn serves<const D: usize>(clip: &Tensor<D>) -> bool {
    gru_rcn_ops::enabled() && clip.dtype() == DType::F32 && clip.device() == Device::flex()
}

/// A convolution of all frames of clips, with stride 1 and zero padding that keeps the size.
///
/// # Shapes
///
/// - clips: `[batch, time, in, height, width]`
/// - output: `[time * batch, out, height, width]`
pub(crate) fn conv(clips: Tensor<5>, layer: &Conv2d) -> Tensor<4> {
    convolve(clips, layer, false, false)
}

/// Whether the operator computes a layer of a network in training: if it is a convolution of odd kernel,
/// stride 1 and one group that keeps the size, of maps in float32 on the CPU backend.
pub(crate) fn serves_layer(maps: &Tensor<4>, layer: &Conv2d) -> bool {
    let [_, _, height, width] = layer.weight.dims();
    let half = height / 2;
    let keeps = [PaddingConfig2d::Same, PaddingConfig2d::Explicit(half, half, half, half)].contains(&layer.padding);
    let plain = layer.stride == [1, 1] && layer.dilation == [1, 1] && layer.groups == 1;
    serves(maps) && plain && keeps && height == width && height % 2 == 1 && layer.weight.val().dtype() == DType::F32
}

/// A layer that [`serves_layer`] accepts, with its ReLU if it has one.
///
/// # Shapes
///
/// - maps: `[batch, in, height, width]`
/// - output: `[batch, out, height, width]`
pub(crate) fn conv_layer(maps: Tensor<4>, layer: &Conv2d, relu: bool) -> Tensor<4> {
    convolve(maps.unsqueeze_dim(1), layer, relu, true)
}

/// With `planes`, the output lies in planes, as Burn's operators want it, because they follow.
fn convolve(clips: Tensor<5>, layer: &Conv2d, relu: bool, planes: bool) -> Tensor<4> {
    let bias = layer.bias.as_ref().map_or_else(none, |bias| bias.val().into_dispatch());
    let weight = layer.weight.val().into_dispatch();
    Tensor::from_dispatch(Dispatch::conv_clips(clips.into_dispatch(), weight, bias, relu, planes).0)
}

/// The recurrence from the projected input.
///
/// # Shapes
///
/// - projected: `[time * batch, 3 * hidden, height, width]`
/// - state: `[batch, hidden, height, width]`, zeros if `None`
/// - output: `[batch, time, hidden, height, width]` if `all`, else `[batch, 1, hidden, height,
///   width]`, the last step
pub(crate) fn conv_gru(
    projected: Tensor<4>,
    [gates, candidate]: [&Conv2d; 2],
    state: Option<Tensor<4>>,
    batch: usize,
    all: bool,
) -> Tensor<5> {
    let weight = |conv: &Conv2d| conv.weight.val().into_dispatch();
    let (states, _, _) = Dispatch::conv_gru_clips(
        projected.into_dispatch(),
        weight(gates),
        weight(candidate),
        state.map_or_else(none, Tensor::into_dispatch),
        batch,
        all,
    );
    Tensor::from_dispatch(states)
}

/// An absent tensor, as the operators below expect it: one without elements.
fn none() -> DispatchTensor {
    Tensor::<1>::empty([0], &Device::flex()).into_dispatch()
}

/// The operators, for the CPU backend and for its autodiff. A bias or state without elements is
/// none.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait ClipOps: Backend {
    /// The sums; and for the backward pass, the clips as frames, time outermost.
    fn conv_clips(
        clips: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        relu: bool,
        planes: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// The gradients to clips, weight and bias, those that are `asked` for. `output` is that of the
    /// layer if it has a ReLU, else without elements. Burn's autodiff is of the first order and has none.
    #[allow(unused_variables)]
    fn conv_clips_backward(
        grad: FloatTensor<Self>,
        output: FloatTensor<Self>,
        frames: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        batch: usize,
        asked: [bool; 3],
        planes: bool,
    ) -> Vec<FloatTensor<Self>> {
        panic!("Burn's autodiff is of the first order")
    }

    /// The states that are asked for; and for the backward pass, all states and all gates.
    fn conv_gru_clips(
        projected: FloatTensor<Self>,
        gates: FloatTensor<Self>,
        candidate: FloatTensor<Self>,
        state: FloatTensor<Self>,
        batch: usize,
        all: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// The gradients to projected input, both weights, and the initial state, if there is one, from
    /// the gradient to the states that were asked for. Burn's autodiff has none.
    #[allow(unused_variables)]
    fn conv_gru_clips_backward(
        grad: FloatTensor<Self>,
        states: FloatTensor<Self>,
        opened: FloatTensor<Self>,
        gates: FloatTensor<Self>,
        candidate: FloatTensor<Self>,
        state: FloatTensor<Self>,
    ) -> Vec<FloatTensor<Self>> {
        panic!("Burn's autodiff is of the first order")
    }
}

/// Numbers of a gradient that one task masks.
const MASKED: usize = 1 << 16;

/// Memory of the operators, reused from call to call.
static WORKSPACES: LazyLock<Workspaces> = LazyLock::new(Workspaces::default);

impl ClipOps for Flex {
    fn conv_clips(
        clips: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        relu: bool,
        planes: bool,
    ) -> (FlexTensor, FlexTensor) {
        let [out, input, kernel, _] = weight.layout().shape().dims();
        let (clips, shape) = time_major(&clips);
        let [frames, height, width, _] = shape;
        let bias = bias.to_contiguous();
        let least = if relu { 0.0 } else { f32::NEG_INFINITY };
        let finish = Finish { bias: floats(&bias), range: [least, f32::INFINITY], ..Finish::NONE };
        let mut sums = vec![0.0; frames * height * width * out];
        let weights = SquareWeights::new(floats(&weight.to_contiguous()), [out, input, kernel]);
        weights.forward(Map::dense(&clips, shape), &mut sums, out, finish, &WORKSPACES);
        let sums = match planes {
            true => tensor(channels_first(&sums, [height * width, out]), [frames, out, height, width]),
            false => frames_of(sums, [frames, height, width, out]),
        };
        (sums, frames_of(clips, shape))
    }

    fn conv_clips_backward(
        grad: FlexTensor,
        output: FlexTensor,
        clips: FlexTensor,
        weight: FlexTensor,
        batch: usize,
        [to_clips, to_weight, to_bias]: [bool; 3],
        planes: bool,
    ) -> Vec<FlexTensor> {
        let [out, input, kernel, _] = weight.layout().shape().dims();
        // Maps lie the same way in both, so they are not brought to channels-last for this.
        let grad = match some(output) {
            Some(output) => masked(&grad.to_contiguous(), &output.to_contiguous()),
            None => grad,
        };
        let (grad, shape) = frames(grad);
        let grad = Map::dense(&grad, shape);
        let [n, height, width, _] = shape;
        let time = n / batch;
        let mut found = Vec::new();
        if to_clips {
            let weights = SquareWeights::transposed(floats(&weight.to_contiguous()), [out, input, kernel]);
            let mut gradient = vec![0.0; n * height * width * input];
            weights.forward(grad, &mut gradient, input, Finish::NONE, &WORKSPACES);
            found.push(match planes {
                // One time step per clip, as `conv_layer` has it.
                true => tensor(channels_first(&gradient, [height * width, input]), [batch, time, input, height, width]),
                false => batch_major(gradient, [batch, time, input, height, width]),
            });
        }
        if to_weight {
            let (clips, shape) = frames(clips);
            let gradient = weight_gradient(&[(Map::dense(&clips, shape), grad)], kernel, &WORKSPACES);
            found.push(tensor(gradient, [out, input, kernel, kernel]));
        }
        if to_bias {
            found.push(tensor(bias_gradient(grad), [out]));
        }
        found
    }

    fn conv_gru_clips(
        projected: FlexTensor,
        gates: FlexTensor,
        candidate: FlexTensor,
        state: FlexTensor,
        batch: usize,
        all: bool,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let (projected, [count, height, width, _]) = frames(projected);
        let clip = clip_of([count / batch, batch, height, width], &candidate);
        let state = some(state).map(|state| frames(state).0);
        let (gates, candidate) = (gates.to_contiguous(), candidate.to_contiguous());
        let weights = ConvGruWeights { hidden_to_gates: floats(&gates), hidden_to_candidate: floats(&candidate) };
        let ConvGruTrace { sequence, gates } = clip.forward(projected, state.as_deref(), weights, &WORKSPACES);
        let &ConvGruClip { time, hidden, .. } = &clip;
        let opened = frames_of(gates, [count, height, width, 3 * hidden]);
        let states = batch_major(sequence, [batch, time, hidden, height, width]);
        let asked = if all { states.clone() } else { states.narrow(1, time - 1, 1) };
        (asked, states, opened)
    }

    fn conv_gru_clips_backward(
        grad: FlexTensor,
        states: FlexTensor,
        opened: FlexTensor,
        gates: FlexTensor,
        candidate: FlexTensor,
        state: FlexTensor,
    ) -> Vec<FlexTensor> {
        let [batch, time, hidden, height, width] = states.layout().shape().dims();
        let clip = clip_of([time, batch, height, width], &candidate);
        let [_, asked, ..] = grad.layout().shape().dims::<5>();
        let (grad, _) = time_major(&grad);
        let states = states.permute(&[1, 0, 3, 4, 2]);
        let state = some(state).map(|state| frames(state).0);
        let (gates, candidate) = (gates.to_contiguous(), candidate.to_contiguous());
        let weights = ConvGruWeights { hidden_to_gates: floats(&gates), hidden_to_candidate: floats(&candidate) };
        let gradient = if asked == time { StateGradient::Sequence(&grad) } else { StateGradient::Last(&grad) };
        let opened = frames(opened).0;
        let found = clip.backward(opened, floats(&states), state.as_deref(), weights, gradient, &WORKSPACES);
        let kernel = clip.kernel;
        let mut gradients = vec![
            frames_of(found.projected, [time * batch, height, width, 3 * hidden]),
            tensor(found.hidden_to_gates, [2 * hidden, hidden, kernel, kernel]),
            tensor(found.hidden_to_candidate, [hidden, hidden, kernel, kernel]),
        ];
        gradients.extend(found.state.map(|state| frames_of(state, [batch, height, width, hidden])));
        gradients
    }
}

/// The gradient to the input of a ReLU from that to its output.
fn masked(grad: &FlexTensor, output: &FlexTensor) -> FlexTensor {
    let mut masked = floats(grad).to_vec();
    masked.par_chunks_mut(MASKED).zip(floats(output).par_chunks(MASKED)).for_each(|(grad, output)| {
        for (grad, &output) in grad.iter_mut().zip(output) {
            *grad = if output <= 0.0 { 0.0 } else { *grad };
        }
    });
    tensor(masked, grad.layout().shape().dims::<4>())
}

/// The tensor, or `None` if it has no elements.
fn some(tensor: FlexTensor) -> Option<FlexTensor> {
    Some(tensor).filter(|tensor| tensor.layout().num_elements() > 0)
}

/// The operator for clips of these sizes.
fn clip_of([time, batch, height, width]: [usize; 4], candidate: &FlexTensor) -> ConvGruClip {
    let [hidden, _, kernel, _] = candidate.layout().shape().dims();
    ConvGruClip { time, batch, height, width, hidden, kernel, reversed: false }
}

fn floats(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().expect("a contiguous tensor in float32")
}

fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(values), Layout::contiguous(Shape::from(shape)), DType::F32)
}

/// Frames that lie `[frame, height, width, channel]` as a tensor `[frame, channel, height, width]`.
fn frames_of(values: Vec<f32>, shape: [usize; 4]) -> FlexTensor {
    tensor(values, shape).permute(&[0, 3, 1, 2])
}

/// Clips that lie `[time, batch, height, width, channel]` as a tensor of this shape, `[batch, time,
/// channel, height, width]`.
fn batch_major(values: Vec<f32>, [batch, time, channels, height, width]: [usize; 5]) -> FlexTensor {
    tensor(values, [time, batch, height, width, channels]).permute(&[1, 0, 4, 2, 3])
}

/// The inverse of [`frames_of`], without a copy where nobody else holds the tensor.
fn frames(tensor: FlexTensor) -> (Vec<f32>, [usize; 4]) {
    let [frames, channels, height, width] = tensor.layout().shape().dims();
    let shape = [frames, height, width, channels];
    let last = tensor.permute(&[0, 2, 3, 1]);
    drop(tensor);
    if last.is_contiguous() {
        return (last.into_data().try_into_vec().expect("float32"), shape);
    }
    let first = last.permute(&[0, 3, 1, 2]).to_contiguous();
    let starts: Vec<usize> = (0..frames).map(|frame| frame * channels * height * width).collect();
    (channels_last(floats(&first), &starts, [channels, height * width]), shape)
}

/// Clips `[batch, time, channel, height, width]` as frames `[time * batch, height, width, channel]`.
fn time_major(clips: &FlexTensor) -> (Vec<f32>, [usize; 4]) {
    let [batch, time, channels, height, width] = clips.layout().shape().dims();
    let shape = [time * batch, height, width, channels];
    let last = clips.permute(&[1, 0, 3, 4, 2]);
    if last.is_contiguous() {
        return (last.as_slice::<f32>().expect("float32").to_vec(), shape);
    }
    // Frames may lie in any order: that of a clip turned round in time is.
    let plane = [height * width, width, 1].map(|stride| stride as isize);
    let clips = if clips.layout().strides()[2..] == plane { clips.clone() } else { clips.to_contiguous() };
    let (first, strides) = (clips.layout().start_offset() as isize, clips.layout().strides());
    let start = |t: usize, b: usize| (first + t as isize * strides[1] + b as isize * strides[0]) as usize;
    let starts: Vec<usize> = (0..time).flat_map(|t| (0..batch).map(move |b| start(t, b))).collect();
    (channels_last(clips.storage(), &starts, [channels, height * width]), shape)
}

impl<B: ClipOps, C: CheckpointStrategy> ClipOps for Autodiff<B, C> {
    fn conv_clips(
        clips: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        relu: bool,
        planes: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        #[derive(Debug)]
        struct ConvClips;
        impl<B: ClipOps> Backward<B, 3> for ConvClips {
            /// The output if there is a ReLU, frames and weight; the number of clips; and whether
            /// maps lie in planes.
            type State = ([FloatTensor<B>; 3], usize, bool);

            fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
                let ([output, frames, weight], batch, planes) = ops.state;
                let asked = ops.parents.each_ref().map(Option::is_some);
                let gradient = grads.consume::<B>(&ops.node);
                let found = B::conv_clips_backward(gradient, output, frames, weight, batch, asked, planes);
                for (parent, gradient) in ops.parents.into_iter().flatten().zip(found) {
                    grads.register::<B>(parent.id, gradient);
                }
            }
        }
        let nodes = [clips.node(), weight.node(), bias.node()];
        let prepared = ConvClips.prepare::<C>(nodes).compute_bound().stateful();
        let [clips, weight, bias] = [clips, weight, bias].map(|tensor| tensor.into_primitive());
        let batch = clips.shape()[0];
        let (output, frames) = B::conv_clips(clips, weight.clone(), bias, relu, planes);
        // A view of the output would keep its memory from becoming the recurrence's.
        let mask = if relu { output.clone() } else { B::float_slice(frames.clone(), &[(0..0).into()]) };
        let unused = Self::FloatTensorPrimitive::new(frames.clone());
        let output = match prepared {
            OpsKind::Tracked(prepared) => prepared.finish(([mask, frames, weight], batch, planes), output),
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        };
        (output, unused)
    }

    fn conv_gru_clips(
        projected: FloatTensor<Self>,
        gates: FloatTensor<Self>,
        candidate: FloatTensor<Self>,
        state: FloatTensor<Self>,
        batch: usize,
        all: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        #[derive(Debug)]
        struct ConvGruClips;
        impl<B: ClipOps> Backward<B, 4> for ConvGruClips {
            /// All states, all gates, both weights, and the initial state.
            type State = [FloatTensor<B>; 5];

            fn backward(self, ops: Ops<Self::State, 4>, grads: &mut Gradients, _: &mut Checkpointer) {
                let [states, opened, gates, candidate, state] = ops.state;
                let gradient = grads.consume::<B>(&ops.node);
                let found = B::conv_gru_clips_backward(gradient, states, opened, gates, candidate, state);
                // Without an initial state there is no gradient to it.
                for (parent, gradient) in ops.parents.into_iter().zip(found) {
                    if let Some(parent) = parent {
                        grads.register::<B>(parent.id, gradient);
                    }
                }
            }
        }
        let nodes = [projected.node(), gates.node(), candidate.node(), state.node()];
        let prepared = ConvGruClips.prepare::<C>(nodes).compute_bound().stateful();
        let [projected, gates, candidate, state] =
            [projected, gates, candidate, state].map(|tensor| tensor.into_primitive());
        let (asked, states, opened) =
            B::conv_gru_clips(projected, gates.clone(), candidate.clone(), state.clone(), batch, all);
        let trace = [&states, &opened].map(|tensor| Self::FloatTensorPrimitive::new(tensor.clone()));
        let asked = match prepared {
            OpsKind::Tracked(prepared) => prepared.finish([states, opened, gates, candidate, state], asked),
            OpsKind::UnTracked(prepared) => prepared.finish(asked),
        };
        let [states, opened] = trace;
        (asked, states, opened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Module;
    use burn::nn::conv::Conv2dConfig;
    use burn::tensor::TensorData;

    use crate::recurrent::ConvGruConfig;
    use crate::testing::{drawn_as, parameters, redrawn};

    /// Output, then the gradients to all weights, input, bottom-up input and state, of a loss that
    /// weighs every number of the output differently.
    fn run(
        config: &ConvGruConfig,
        size: [usize; 2],
        time: usize,
        all: bool,
        stateful: bool,
        dtype: DType,
    ) -> Vec<Vec<f64>> {
        let device = Device::flex().autodiff();
        let [height, width] = size;
        let layer = redrawn(config.init(&Device::flex()), 7, 0.3, dtype).train();
        let clip = |seed, channels| drawn_as(seed, [2, time, channels, height, width], dtype, &device).require_grad();
        let input = clip(1, config.in_channels);
        let below = config.below_channels.map(|channels| clip(2, channels));
        let state = drawn_as(3, [2, config.hidden_channels, height, width], dtype, &device).require_grad();
        let used = stateful.then(|| state.clone());
        assert_eq!(serves(&input), dtype == DType::F32);
        let output = layer.forward_stacked(input.clone(), below.clone(), used.clone());
        let output = match all {
            true => output.sequence,
            false if below.is_none() => layer.last(input.clone(), used.clone()).unsqueeze_dim(1),
            false => output.last.unsqueeze_dim(1),
        };
        let gradients = (output.clone() * drawn_as(4, output.dims(), dtype, &device)).sum().backward();
        let mut found = vec![output.into_data()];
        found.extend(parameters(&layer, Some(&gradients)).into_iter().map(|(_, gradient)| gradient));
        found.push(input.grad(&gradients).expect("a gradient to the input").into_data());
        found.extend(below.map(|below| below.grad(&gradients).expect("a gradient to the level below").into_data()));
        found.extend(used.map(|state| state.grad(&gradients).expect("a gradient to the state").into_data()));
        doubles(found)
    }

    /// Asserts that numbers agree to 2e-5 of the largest of their tensor. Winograd's transforms
    /// lose a digit and a half.
    #[track_caller]
    fn assert_close(found: &[Vec<f64>], expected: &[Vec<f64>], case: &str) {
        assert_eq!(found.len(), expected.len(), "{case}");
        for (tensor, (found, expected)) in found.iter().zip(expected).enumerate() {
            assert_eq!(found.len(), expected.len(), "{case}");
            let largest = expected.iter().fold(0f64, |largest, value| largest.max(value.abs()));
            for (f, e) in found.iter().zip(expected) {
                let close = (f - e).abs() <= 2e-5 * largest.max(1e-3);
                assert!(close, "{case}, tensor {tensor}: {f} instead of {e}");
            }
        }
    }

    fn doubles(data: Vec<TensorData>) -> Vec<Vec<f64>> {
        data.into_iter().map(|data| data.convert::<f64>().try_into_vec().unwrap()).collect()
    }

    /// A layer of a network that is trained: output, and gradients to weights and input.
    #[test]
    fn a_layer_equals_the_convolution() {
        if !gru_rcn_ops::enabled() {
            return;
        }
        let device = Device::flex().autodiff();
        for (channels, kernel, relu, biased) in
            [([3, 5], 3, true, true), ([20, 17], 3, false, true), ([4, 6], 1, true, false), ([2, 3], 5, true, true)]
        {
            let config = Conv2dConfig::new(channels, [kernel; 2]).with_padding(PaddingConfig2d::Same).with_bias(biased);
            let run = |dtype| {
                let layer = redrawn(config.init(&Device::flex()), 5, 0.4, dtype).train();
                let maps = drawn_as::<4>(1, [3, channels[0], 6, 7], dtype, &device).require_grad();
                let output = if serves_layer(&maps, &layer) {
                    assert_eq!(dtype, DType::F32);
                    conv_layer(maps.clone(), &layer, relu)
                } else {
                    let output = layer.forward(maps.clone());
                    if relu { burn::tensor::activation::relu(output) } else { output }
                };
                let gradients = (output.clone() * drawn_as(4, output.dims(), dtype, &device)).sum().backward();
                let mut found = vec![output.into_data()];
                found.extend(parameters(&layer, Some(&gradients)).into_iter().map(|(_, gradient)| gradient));
                found.push(maps.grad(&gradients).expect("a gradient to the maps").into_data());
                doubles(found)
            };
            assert_close(&run(DType::F32), &run(DType::F64), &format!("{channels:?}, kernel {kernel}"));
        }
    }

    /// The reference computes in float64.
    #[test]
    fn values_and_gradients_are_those_of_the_tensor_operations() {
        if !gru_rcn_ops::enabled() {
            return;
        }
        let config = |input, hidden| ConvGruConfig::new(input, hidden);
        let cases = [
            (config(3, 5), [4, 6], 3),
            (config(20, 17).with_bias(true), [7, 7], 2),
            (config(4, 8).with_kernel_size(1).with_bias(true), [1, 1], 4),
            (config(3, 2).with_kernel_size(5), [5, 3], 3),
            (config(3, 4).with_below_channels(Some(2)), [3, 5], 3),
            (config(3, 4).with_below_channels(Some(2)).with_below_to_candidate(true).with_bias(true), [4, 4], 2),
            (config(2, 3), [5, 9], 1),
        ];
        for (config, size, time) in cases {
            for (all, stateful) in [(true, true), (true, false), (false, true), (false, false)] {
                // Without a state, a single step has no gradient to the state's weights: to the
                // tensor operations there is none, to the operator it is zero.
                if time == 1 && !stateful {
                    continue;
                }
                let [found, expected] =
                    [DType::F32, DType::F64].map(|dtype| run(&config, size, time, all, stateful, dtype));
                assert_close(&found, &expected, &format!("{config} at {size:?}, {all} {stateful}"));
            }
        }
    }
}
