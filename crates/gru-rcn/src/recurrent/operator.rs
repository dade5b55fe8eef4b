//! The ConvGRU over a clip as two operators of `gru-rcn-ops` for Burn's CPU backend, each with its
//! gradients: the convolution of all time steps, and the recurrence. Their reference are the
//! tensor operations of [`ConvGru`](super::ConvGru), which every other backend runs.
//!
//! Maps pass between the two as the operators keep them, channels last; to Burn they are tensors of
//! the usual shape with other strides.

use std::sync::LazyLock;

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, DispatchTensor, Flex, backend_extension};
use burn::nn::conv::Conv2d;
use burn::tensor::{Bytes, DType, Device, Shape, Tensor};
use gru_rcn_ops::conv_gru::{ConvGruClip, ConvGruTrace, ConvGruWeights, StateGradient};
use gru_rcn_ops::square::{SquareWeights, weight_gradient};
use gru_rcn_ops::winograd::{Finish, Map, Workspaces};
use gru_rcn_ops::{channels_last, conv3x3};

use super::ConvGru;

/// Whether a clip is the operators' to compute: in float32 on the CPU backend.
pub(super) fn serves<const D: usize>(clip: &Tensor<D>) -> bool {
    gru_rcn_ops::enabled() && clip.dtype() == DType::F32 && clip.device() == Device::flex()
}

/// A convolution of all frames of clips, with stride 1 and zero padding that keeps the size.
///
/// # Shapes
///
/// - clips: `[batch, time, in, height, width]`
/// - output: `[time * batch, out, height, width]`
pub(super) fn conv(clips: Tensor<5>, layer: &Conv2d) -> Tensor<4> {
    let bias = layer.bias.as_ref().map_or_else(none, |bias| bias.val().into_dispatch());
    Tensor::from_dispatch(Dispatch::conv_clips(clips.into_dispatch(), layer.weight.val().into_dispatch(), bias))
}

/// The recurrence from the projected input.
///
/// # Shapes
///
/// - projected: `[time * batch, 3 * hidden, height, width]`
/// - state: `[batch, hidden, height, width]`, zeros if `None`
/// - output: `[batch, time, hidden, height, width]` if `all`, else `[batch, 1, hidden, height,
///   width]`, the last step
pub(super) fn conv_gru(
    projected: Tensor<4>,
    layer: &ConvGru,
    state: Option<Tensor<4>>,
    batch: usize,
    all: bool,
) -> Tensor<5> {
    let weight = |conv: &Conv2d| conv.weight.val().into_dispatch();
    let (states, _, _) = Dispatch::conv_gru_clips(
        projected.into_dispatch(),
        weight(&layer.hidden_to_gates),
        weight(&layer.hidden_to_candidate),
        state.map_or_else(none, Tensor::into_dispatch),
        batch,
        all,
    );
    Tensor::from_dispatch(states)
}

/// What stands for a tensor that is not there: one without elements.
fn none() -> DispatchTensor {
    Tensor::<1>::empty([0], &Device::flex()).into_dispatch()
}

/// The operators, for the CPU backend and for its autodiff. A bias or state without elements is
/// none.
#[backend_extension(Flex, Autodiff)]
pub(super) trait ClipOps: Backend {
    fn conv_clips(clips: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self>;

    /// The gradients of clips, weight and bias, those that are `asked` for.
    fn conv_clips_backward(
        grad: FloatTensor<Self>,
        clips: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        asked: [bool; 3],
    ) -> Vec<FloatTensor<Self>>;

    /// The states that are asked for; and for the backward pass, all states and all gates.
    fn conv_gru_clips(
        projected: FloatTensor<Self>,
        gates: FloatTensor<Self>,
        candidate: FloatTensor<Self>,
        state: FloatTensor<Self>,
        batch: usize,
        all: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// The gradients of projected input, both weights, and the initial state, if there is one, from
    /// that of the states that were asked for.
    fn conv_gru_clips_backward(
        grad: FloatTensor<Self>,
        states: FloatTensor<Self>,
        opened: FloatTensor<Self>,
        gates: FloatTensor<Self>,
        candidate: FloatTensor<Self>,
        state: FloatTensor<Self>,
    ) -> Vec<FloatTensor<Self>>;
}

/// Memory of the operators, reused from call to call.
static WORKSPACES: LazyLock<Workspaces> = LazyLock::new(Workspaces::default);

impl ClipOps for Flex {
    fn conv_clips(clips: FlexTensor, weight: FlexTensor, bias: FlexTensor) -> FlexTensor {
        let [out, input, kernel, _] = weight.layout().shape().dims();
        let (clips, shape) = time_major(&clips);
        let [frames, height, width, _] = shape;
        let bias = bias.to_contiguous();
        let finish = Finish { bias: floats(&bias), ..Finish::NONE };
        let mut sums = vec![0.0; frames * height * width * out];
        let weights = SquareWeights::new(floats(&weight.to_contiguous()), [out, input, kernel]);
        weights.forward(Map::dense(&clips, shape), &mut sums, out, finish, &WORKSPACES);
        channels_first(sums, [frames, height, width, out])
    }

    fn conv_clips_backward(
        grad: FlexTensor,
        clips: FlexTensor,
        weight: FlexTensor,
        [to_clips, to_weight, to_bias]: [bool; 3],
    ) -> Vec<FlexTensor> {
        let [out, input, kernel, _] = weight.layout().shape().dims();
        let [batch, time, ..] = clips.layout().shape().dims::<5>();
        let (grad, shape) = frames(grad);
        let grad = Map::dense(&grad, shape);
        let [n, height, width, _] = shape;
        let mut found = Vec::new();
        if to_clips {
            let weights = SquareWeights::transposed(floats(&weight.to_contiguous()), [out, input, kernel]);
            let mut gradient = vec![0.0; n * height * width * input];
            weights.forward(grad, &mut gradient, input, Finish::NONE, &WORKSPACES);
            found.push(batch_major(gradient, [batch, time, input, height, width]));
        }
        if to_weight {
            let (clips, shape) = time_major(&clips);
            let gradient = weight_gradient(&[(Map::dense(&clips, shape), grad)], kernel, &WORKSPACES);
            found.push(tensor(gradient, [out, input, kernel, kernel]));
        }
        if to_bias {
            found.push(tensor(conv3x3::bias_gradient(grad), [out]));
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
        let clip = layer([count / batch, batch, height, width], &candidate);
        let state = some(state).map(|state| frames(state).0);
        let (gates, candidate) = (gates.to_contiguous(), candidate.to_contiguous());
        let weights = ConvGruWeights { hidden_to_gates: floats(&gates), hidden_to_candidate: floats(&candidate) };
        let ConvGruTrace { sequence, gates } = clip.forward(projected, state.as_deref(), weights, &WORKSPACES);
        let &ConvGruClip { time, hidden, .. } = &clip;
        let opened = channels_first(gates, [count, height, width, 3 * hidden]);
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
        let clip = layer([time, batch, height, width], &candidate);
        let [_, asked, ..] = grad.layout().shape().dims::<5>();
        let (grad, _) = time_major(&grad);
        let trace = ConvGruTrace { sequence: time_major(&states).0, gates: frames(opened).0 };
        let state = some(state).map(|state| frames(state).0);
        let (gates, candidate) = (gates.to_contiguous(), candidate.to_contiguous());
        let weights = ConvGruWeights { hidden_to_gates: floats(&gates), hidden_to_candidate: floats(&candidate) };
        let gradient = if asked == time { StateGradient::Sequence(&grad) } else { StateGradient::Last(&grad) };
        let found = clip.backward(trace, state.as_deref(), weights, gradient, &WORKSPACES);
        let kernel = clip.kernel;
        let mut gradients = vec![
            channels_first(found.projected, [time * batch, height, width, 3 * hidden]),
            tensor(found.hidden_to_gates, [2 * hidden, hidden, kernel, kernel]),
            tensor(found.hidden_to_candidate, [hidden, hidden, kernel, kernel]),
        ];
        gradients.extend(found.state.map(|state| channels_first(state, [batch, height, width, hidden])));
        gradients
    }
}

/// None for a tensor without elements.
fn some(tensor: FlexTensor) -> Option<FlexTensor> {
    Some(tensor).filter(|tensor| tensor.layout().num_elements() > 0)
}

fn layer([time, batch, height, width]: [usize; 4], candidate: &FlexTensor) -> ConvGruClip {
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
fn channels_first(values: Vec<f32>, shape: [usize; 4]) -> FlexTensor {
    tensor(values, shape).permute(&[0, 3, 1, 2])
}

/// Clips that lie `[time, batch, height, width, channel]` as a tensor of this shape, `[batch, time,
/// channel, height, width]`.
fn batch_major(values: Vec<f32>, [batch, time, channels, height, width]: [usize; 5]) -> FlexTensor {
    tensor(values, [time, batch, height, width, channels]).permute(&[1, 0, 4, 2, 3])
}

/// The inverse of [`channels_first`], without a copy where nobody else holds the tensor.
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
    let clips = clips.to_contiguous();
    let frame = channels * height * width;
    let starts: Vec<usize> = (0..time).flat_map(|t| (0..batch).map(move |b| (b * time + t) * frame)).collect();
    (channels_last(floats(&clips), &starts, [channels, height * width]), shape)
}

impl<B: ClipOps, C: CheckpointStrategy> ClipOps for Autodiff<B, C> {
    fn conv_clips(clips: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct ConvClips;
        impl<B: ClipOps> Backward<B, 3> for ConvClips {
            /// Clips and weight.
            type State = (FloatTensor<B>, FloatTensor<B>);

            fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
                let (clips, weight) = ops.state;
                let asked = ops.parents.each_ref().map(Option::is_some);
                let found = B::conv_clips_backward(grads.consume::<B>(&ops.node), clips, weight, asked);
                for (parent, gradient) in ops.parents.into_iter().flatten().zip(found) {
                    grads.register::<B>(parent.id, gradient);
                }
            }
        }
        let nodes = [clips.node(), weight.node(), bias.node()];
        let prepared = ConvClips.prepare::<C>(nodes).compute_bound().stateful();
        let (clips, weight, bias) = (clips.into_primitive(), weight.into_primitive(), bias.into_primitive());
        match prepared {
            OpsKind::Tracked(prepared) => {
                let kept = (clips.clone(), weight.clone());
                prepared.finish(kept, B::conv_clips(clips, weight, bias))
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::conv_clips(clips, weight, bias)),
        }
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

    fn conv_clips_backward(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: [bool; 3],
    ) -> Vec<FloatTensor<Self>> {
        panic!("Burn's autodiff is of the first order")
    }

    fn conv_gru_clips_backward(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
    ) -> Vec<FloatTensor<Self>> {
        panic!("Burn's autodiff is of the first order")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Module;

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
        found.into_iter().map(|data| data.convert::<f64>().try_into_vec().unwrap()).collect()
    }

    /// The reference computes in float64. Winograd's transforms lose a digit and a half.
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
                assert_eq!(found.len(), expected.len());
                for (tensor, (found, expected)) in found.iter().zip(&expected).enumerate() {
                    assert_eq!(found.len(), expected.len());
                    let largest = expected.iter().fold(0f64, |largest, value| largest.max(value.abs()));
                    for (f, e) in found.iter().zip(expected) {
                        let case = format!("{config} at {size:?}, {all} {stateful}, tensor {tensor}");
                        assert!((f - e).abs() <= 2e-5 * largest.max(1e-3), "{case}: {f} instead of {e}");
                    }
                }
            }
        }
    }
}
