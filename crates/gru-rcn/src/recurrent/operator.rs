//! The ConvGRU over a clip as two operators of `gru-rcn-ops` for Burn's CPU backend, each with its
//! gradients: the convolution of all time steps, and the recurrence. Their reference are the
//! tensor operations of [`ConvGru`](super::ConvGru), which every other backend runs.
//!
//! Maps pass between the two as the operators keep them, channels last; to Burn they are tensors of
//! the usual shape with other strides.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::nn::conv::Conv2d;
use burn::tensor::{DType, Device, Tensor};

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
    let bias = layer.bias.as_ref().map(|bias| bias.val().into_dispatch());
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
    let (states, _) = Dispatch::conv_gru_clips(
        projected.into_dispatch(),
        weight(&layer.hidden_to_gates),
        weight(&layer.hidden_to_candidate),
        state.map(Tensor::into_dispatch),
        batch,
        all,
    );
    Tensor::from_dispatch(states)
}

/// The operators, for the CPU backend and for its autodiff.
#[backend_extension(Flex, Autodiff)]
pub(super) trait ClipOps: Backend {
    fn conv_clips(
        clips: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
    ) -> FloatTensor<Self>;

    /// The gradients of clips, weight and bias, those that are `asked` for.
    fn conv_clips_backward(
        grad: FloatTensor<Self>,
        clips: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        asked: [bool; 3],
    ) -> Vec<FloatTensor<Self>>;

    /// The states, and what the backward pass needs.
    fn conv_gru_clips(
        projected: FloatTensor<Self>,
        gates: FloatTensor<Self>,
        candidate: FloatTensor<Self>,
        state: Option<FloatTensor<Self>>,
        batch: usize,
        all: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// The gradients of projected input, both weights, and the state, if there is one.
    fn conv_gru_clips_backward(
        grad: FloatTensor<Self>,
        kept: FloatTensor<Self>,
        gates: FloatTensor<Self>,
        candidate: FloatTensor<Self>,
        state: Option<FloatTensor<Self>>,
        all: bool,
    ) -> Vec<FloatTensor<Self>>;
}

impl<B: ClipOps, C: CheckpointStrategy> ClipOps for Autodiff<B, C> {
    fn conv_clips(
        clips: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct ConvClips;
        impl<B: ClipOps> Backward<B, 3> for ConvClips {
            /// Clips, weight, and whether there is a bias.
            type State = (FloatTensor<B>, FloatTensor<B>, bool);

            fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
                let (clips, weight, biased) = ops.state;
                let mut parents = ops.parents;
                // Without a bias, its place is taken by the clips.
                parents[2] = parents[2].take().filter(|_| biased);
                let asked = parents.each_ref().map(Option::is_some);
                let found = B::conv_clips_backward(grads.consume::<B>(&ops.node), clips, weight, asked);
                for (parent, gradient) in parents.into_iter().flatten().zip(found) {
                    grads.register::<B>(parent.id, gradient);
                }
            }
        }
        let nodes = [clips.node(), weight.node(), bias.as_ref().unwrap_or(&clips).node()];
        let prepared = ConvClips.prepare::<C>(nodes).compute_bound().stateful();
        let (clips, weight, bias) = (clips.into_primitive(), weight.into_primitive(), bias.map(|b| b.into_primitive()));
        match prepared {
            OpsKind::Tracked(prepared) => {
                let kept = (clips.clone(), weight.clone(), bias.is_some());
                prepared.finish(kept, B::conv_clips(clips, weight, bias))
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::conv_clips(clips, weight, bias)),
        }
    }

    fn conv_gru_clips(
        projected: FloatTensor<Self>,
        gates: FloatTensor<Self>,
        candidate: FloatTensor<Self>,
        state: Option<FloatTensor<Self>>,
        batch: usize,
        all: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        #[derive(Debug)]
        struct ConvGruClips;
        impl<B: ClipOps> Backward<B, 4> for ConvGruClips {
            /// What the forward pass kept, both weights, the state, and whether all steps were
            /// asked for.
            type State = (FloatTensor<B>, [FloatTensor<B>; 2], Option<FloatTensor<B>>, bool);

            fn backward(self, ops: Ops<Self::State, 4>, grads: &mut Gradients, _: &mut Checkpointer) {
                let (kept, [gates, candidate], state, all) = ops.state;
                let gradient = grads.consume::<B>(&ops.node);
                let stateful = state.is_some();
                let found = B::conv_gru_clips_backward(gradient, kept, gates, candidate, state, all);
                let parents = ops.parents.into_iter().take(if stateful { 4 } else { 3 });
                for (parent, gradient) in parents.zip(found) {
                    if let Some(parent) = parent {
                        grads.register::<B>(parent.id, gradient);
                    }
                }
            }
        }
        let nodes = [
            projected.node(),
            gates.node(),
            candidate.node(),
            state.as_ref().unwrap_or(&projected).node(),
        ];
        let prepared = ConvGruClips.prepare::<C>(nodes).compute_bound().stateful();
        let (projected, gates, candidate) =
            (projected.into_primitive(), gates.into_primitive(), candidate.into_primitive());
        let state = state.map(|state| state.into_primitive());
        let weights = [gates.clone(), candidate.clone()];
        let (states, kept) = B::conv_gru_clips(projected, gates, candidate, state.clone(), batch, all);
        let states = match prepared {
            OpsKind::Tracked(prepared) => prepared.finish((kept.clone(), weights, state, all), states),
            OpsKind::UnTracked(prepared) => prepared.finish(states),
        };
        (states, Self::FloatTensorPrimitive::new(kept))
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
        _: Option<FloatTensor<Self>>,
        _: bool,
    ) -> Vec<FloatTensor<Self>> {
        panic!("Burn's autodiff is of the first order")
    }
}
