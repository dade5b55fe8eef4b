//! A network as a list of layers, written once and run in two ways: by Burn's operators on every
//! device, and as one operator of `gru-rcn-ops` on the CPU, for a network that is not trained.

use std::fmt;
#[cfg(feature = "flex")]
use std::sync::{Arc, Mutex};

use burn::nn::conv::Conv2d;
use burn::nn::{Dropout, Linear};
use burn::tensor::activation::relu;
use burn::tensor::module::{adaptive_avg_pool2d, max_pool2d};
use burn::tensor::{Tensor, ops::MaxPoolOptions};
pub(super) use gru_rcn_ops::Activation;

use crate::head::average_pool;
use crate::{operator, precision};

/// A map of the network: 0 is the frames, `n + 1` the output of layer `n`.
pub(super) type Value = usize;

/// One layer.
enum Layer<'a> {
    /// A convolution with its activation; `add` is added before the activation.
    Conv { input: Value, layer: &'a Conv2d, activation: Activation, add: Option<Value> },
    /// The maximum over square windows; padding never wins. With `ceil`, the last window may extend past
    /// the edge.
    MaxPool { input: Value, kernel: usize, stride: usize, padding: usize, ceil: bool },
    /// The mean over equal parts of the map.
    AverageTo { input: Value, size: [usize; 2] },
    /// Maps side by side.
    Concat(Vec<Value>),
    /// A fully connected layer on all numbers of a frame; its output is a map of 1x1 cells.
    Linear { input: Value, layer: &'a Linear, activation: Activation },
    /// Active only in training.
    Dropout { input: Value, layer: &'a Dropout },
}

/// The layers of a network over its weights. The last layer is the classifier.
#[derive(Default)]
pub(super) struct Graph<'a> {
    layers: Vec<Layer<'a>>,
    taps: Vec<Value>,
}

impl<'a> Graph<'a> {
    fn push(&mut self, layer: Layer<'a>) -> Value {
        self.layers.push(layer);
        self.layers.len()
    }

    pub(super) fn conv(&mut self, input: Value, layer: &'a Conv2d, activation: Activation) -> Value {
        self.push(Layer::Conv { input, layer, activation, add: None })
    }

    /// The convolution of one map plus another map.
    pub(super) fn conv_add(&mut self, input: Value, layer: &'a Conv2d, add: Value) -> Value {
        self.push(Layer::Conv { input, layer, activation: Activation::None, add: Some(add) })
    }

    /// The maximum over windows with kernel, stride and padding.
    pub(super) fn max_pool(&mut self, input: Value, [kernel, stride, padding]: [usize; 3], ceil: bool) -> Value {
        self.push(Layer::MaxPool { input, kernel, stride, padding, ceil })
    }

    pub(super) fn average_to(&mut self, input: Value, size: [usize; 2]) -> Value {
        self.push(Layer::AverageTo { input, size })
    }

    pub(super) fn concat(&mut self, inputs: Vec<Value>) -> Value {
        self.push(Layer::Concat(inputs))
    }

    pub(super) fn linear(&mut self, input: Value, layer: &'a Linear, activation: Activation) -> Value {
        self.push(Layer::Linear { input, layer, activation })
    }

    pub(super) fn dropout(&mut self, input: Value, layer: &'a Dropout) -> Value {
        self.push(Layer::Dropout { input, layer })
    }

    /// Makes a map the next tap.
    pub(super) fn tap(&mut self, value: Value) {
        self.taps.push(value);
    }

    /// The maps at some of the taps, by their numbers from the bottom, without dropout. No layer is
    /// computed that none of them needs.
    pub(super) fn maps(&self, frames: Tensor<4>, taps: &[usize], compiled: &Compiled) -> Vec<Tensor<4>> {
        let wanted: Vec<Value> = taps.iter().map(|&tap| self.taps[tap]).collect();
        self.run(frames, &wanted, false, compiled)
    }

    /// The output of the last layer, `[batch, class]`.
    pub(super) fn logits(&self, frames: Tensor<4>, compiled: &Compiled) -> Tensor<2> {
        rows(self.run(frames, &[self.classifier()], true, compiled).remove(0))
    }

    /// The output of the last layer, `[batch, class]`, from the map at a tap, which every path to it
    /// goes through.
    pub(super) fn logits_above(&self, tap: usize, map: Tensor<4>) -> Tensor<2> {
        rows(self.complete(vec![(self.taps[tap], map)], &[self.classifier()], true).remove(0))
    }

    /// The output of the last layer, which is a classifier unless it is the topmost tap.
    fn classifier(&self) -> Value {
        let last = self.layers.len();
        assert!(self.taps.last() != Some(&last), "this network has no layers above its topmost tap to classify with");
        last
    }

    fn run(&self, frames: Tensor<4>, wanted: &[Value], dropout: bool, compiled: &Compiled) -> Vec<Tensor<4>> {
        let mut known = compiled.run(self, &frames, wanted);
        known.push((0, frames));
        self.complete(known, wanted, dropout)
    }

    /// The wanted maps, from those that are known.
    fn complete(&self, known: Vec<(Value, Tensor<4>)>, wanted: &[Value], dropout: bool) -> Vec<Tensor<4>> {
        let mut values: Vec<Option<Tensor<4>>> = vec![None; self.layers.len() + 1];
        for (value, map) in known {
            values[value] = Some(map);
        }
        let last_uses = self.last_uses(wanted, |value| values[value].is_some());
        for (index, layer) in self.layers.iter().enumerate() {
            let value = index + 1;
            if values[value].is_none() && last_uses[value].is_some() {
                let map = |input: Value| values[input].clone().expect("a layer's inputs come before it");
                values[value] = Some(layer.forward(map, dropout));
            }
            for input in layer.inputs() {
                if last_uses[input] == Some(value) {
                    values[input] = None;
                }
            }
        }
        wanted.iter().map(|&value| values[value].clone().expect("every wanted map is computed")).collect()
    }

    /// For every map that the wanted ones depend on, the last layer that reads it, by the number of the
    /// layer's output; one past the last layer for the wanted maps themselves. `known` maps depend on no
    /// others.
    fn last_uses(&self, wanted: &[Value], known: impl Fn(Value) -> bool) -> Vec<Option<Value>> {
        let mut last_uses = vec![None; self.layers.len() + 1];
        for &value in wanted {
            last_uses[value] = Some(self.layers.len() + 1);
        }
        for (index, layer) in self.layers.iter().enumerate().rev() {
            let value = index + 1;
            if last_uses[value].is_some() && !known(value) {
                for input in layer.inputs() {
                    last_uses[input] = last_uses[input].max(Some(value));
                }
            }
        }
        last_uses
    }
}

impl Layer<'_> {
    fn inputs(&self) -> Vec<Value> {
        match self {
            Self::Conv { input, add, .. } => std::iter::once(*input).chain(*add).collect(),
            Self::Concat(inputs) => inputs.clone(),
            Self::MaxPool { input, .. }
            | Self::AverageTo { input, .. }
            | Self::Linear { input, .. }
            | Self::Dropout { input, .. } => vec![*input],
        }
    }

    fn forward(&self, map: impl Fn(Value) -> Tensor<4>, dropout: bool) -> Tensor<4> {
        match self {
            Self::Conv { input, layer, activation, add } => {
                let input = map(*input);
                if operator::serves_layer(&input, layer) && add.is_none() && *activation != Activation::Relu6 {
                    return operator::conv_layer(input, layer, *activation == Activation::Relu);
                }
                let output = precision::conv(layer, input);
                let output = match add {
                    Some(add) => output + map(*add),
                    None => output,
                };
                activate(output, *activation)
            }
            &Self::MaxPool { input, kernel, stride, padding, ceil } => {
                let options = MaxPoolOptions::new([kernel; 2]).with_stride([stride; 2]).with_padding([padding; 2]);
                max_pool2d(map(input), options.with_ceil_mode(ceil))
            }
            &Self::AverageTo { input, size: [1, 1] } => {
                let mean = average_pool(map(input));
                let [batch, channels] = mean.dims();
                mean.reshape([batch, channels, 1, 1])
            }
            &Self::AverageTo { input, size } => {
                let map = map(input);
                if map.dims()[2..] == size { map } else { adaptive_avg_pool2d(map, size) }
            }
            Self::Concat(inputs) => Tensor::cat(inputs.iter().map(|&input| map(input)).collect(), 1),
            Self::Linear { input, layer, activation } => {
                let output = activate(precision::linear(layer, map(*input).flatten::<2>(1, 3)), *activation);
                let [batch, features] = output.dims();
                output.reshape([batch, features, 1, 1])
            }
            Self::Dropout { input, layer } if dropout => layer.forward(map(*input)),
            Self::Dropout { input, .. } => map(*input),
        }
    }
}

/// A map of one cell as a row of numbers.
fn rows(map: Tensor<4>) -> Tensor<2> {
    let [batch, classes, ..] = map.dims();
    map.reshape([batch, classes])
}

fn activate<const D: usize>(map: Tensor<D>, activation: Activation) -> Tensor<D> {
    match activation {
        Activation::None => map,
        Activation::Relu => relu(map),
        Activation::Relu6 => map.clamp(0.0, 6.0),
    }
}

/// The convolutions, pools and concatenations of a network as one operator, which a module keeps
/// from call to call and makes anew when a weight has changed.
///
/// It serves frames in float32 on Burn's CPU backend, where neither frames nor weights are in an autodiff
/// graph. Everything else goes through Burn's operators.
#[derive(Clone, Default)]
pub(super) struct Compiled {
    #[cfg(feature = "flex")]
    plans: Arc<Mutex<cpu::Plans>>,
}

impl fmt::Debug for Compiled {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("Compiled")
    }
}

#[cfg(not(feature = "flex"))]
impl Compiled {
    fn run(&self, _graph: &Graph, _frames: &Tensor<4>, _wanted: &[Value]) -> Vec<(Value, Tensor<4>)> {
        Vec::new()
    }
}

#[cfg(feature = "flex")]
mod cpu {
    use burn::backend::Flex;
    use burn::backend::flex::{FlexTensor, Layout};
    use burn::module::Param;
    use burn::nn::PaddingConfig2d;
    use burn::tensor::{Bytes, DType, Shape};
    use gru_rcn_ops::{self as ops, Network, Plan};

    use super::*;

    /// The operator for the weights of the last call, for one frame size and set of maps each.
    #[derive(Default)]
    pub(super) struct Plans {
        /// The tensors of all weights. [`same`] compares addresses, so they are kept: no other tensor can
        /// take the address of one of them.
        weights: Vec<FlexTensor>,
        plans: Vec<Planned>,
    }

    struct Planned {
        /// Height and width of the frames.
        frame: [usize; 2],
        maps: Vec<Value>,
        network: Network,
        plan: Arc<Plan>,
    }

    /// Frame sizes and sets of maps whose plans are kept.
    const MOST_PLANS: usize = 4;

    impl Compiled {
        /// The wanted maps that the operator can compute, and the maps from which Burn's operators
        /// compute the others; empty if the operator does not apply.
        pub(super) fn run(&self, graph: &Graph, frames: &Tensor<4>, wanted: &[Value]) -> Vec<(Value, Tensor<4>)> {
            let Some(frames) = plain(frames.clone()).filter(|_| gru_rcn_ops::enabled()) else { return Vec::new() };
            let outputs = graph.cut(wanted);
            let [batch, _, height, width] = frames.layout().shape().dims::<4>();
            let Some(plan) = self.plan(graph, [height, width], &outputs) else { return Vec::new() };
            let mut maps: Vec<Vec<f32>> = vec![Vec::new(); outputs.len()];
            let frames = frames.to_contiguous();
            plan.run(frames.as_slice().expect("contiguous float32"), batch, &mut maps);
            let shapes = plan.tap_shapes();
            let tensor = |(map, [height, width, channels]): (Vec<f32>, [usize; 3])| {
                let layout = Layout::contiguous(Shape::from([batch, channels, height, width]));
                Tensor::from_primitive::<Flex>(FlexTensor::new(Bytes::from_elems(map), layout, DType::F32))
            };
            outputs.into_iter().zip(maps.into_iter().zip(shapes).map(tensor)).collect()
        }

        /// The operator for the present weights; `None` if one of them is trained, on another device, or
        /// in another precision.
        fn plan(&self, graph: &Graph, frame: [usize; 2], maps: &[Value]) -> Option<Arc<Plan>> {
            let weights = graph.weights()?;
            let mut plans = self.plans.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            if !same(&plans.weights, &weights) {
                *plans = Plans { weights, plans: Vec::new() };
            }
            let of_size = |planned: &&Planned| planned.frame == frame;
            if let Some(planned) = plans.plans.iter().filter(of_size).find(|planned| planned.maps == maps) {
                return Some(planned.plan.clone());
            }
            let network = match plans.plans.iter().find(of_size) {
                Some(planned) => planned.network.clone(),
                None => graph.network(frame)?,
            };
            let plan = Arc::new(network.plan(frame, maps).ok()?);
            if plans.plans.len() == MOST_PLANS {
                plans.plans.remove(0);
            }
            plans.plans.push(Planned { frame, maps: maps.to_vec(), network, plan: plan.clone() });
            Some(plan)
        }
    }

    /// A tensor of the CPU backend, in float32 and outside of any graph.
    fn plain<const D: usize>(tensor: Tensor<D>) -> Option<FlexTensor> {
        tensor.try_into_primitive::<Flex>().ok().filter(|tensor| tensor.dtype() == DType::F32)
    }

    fn same(kept: &[FlexTensor], present: &[FlexTensor]) -> bool {
        let same =
            |(a, b): (&FlexTensor, &FlexTensor)| Arc::ptr_eq(&a.data_arc(), &b.data_arc()) && a.layout() == b.layout();
        kept.len() == present.len() && kept.iter().zip(present).all(same)
    }

    fn values<const D: usize>(weight: &Param<Tensor<D>>) -> Vec<f32> {
        weight.val().into_data().try_to_vec().expect("float32")
    }

    impl Graph<'_> {
        /// The convolutions' weights and biases, if all are plain.
        fn weights(&self) -> Option<Vec<FlexTensor>> {
            let mut weights = Vec::new();
            for layer in &self.layers {
                if let Layer::Conv { layer, .. } = layer {
                    weights.push(plain(layer.weight.val())?);
                    if let Some(bias) = &layer.bias {
                        weights.push(plain(bias.val())?);
                    }
                }
            }
            Some(weights)
        }

        /// The maps that the operator is asked for: the wanted ones, and for those above a fully
        /// connected layer or a dropout, the inputs of the lowest of these.
        fn cut(&self, wanted: &[Value]) -> Vec<Value> {
            let mut compiled = vec![true; self.layers.len() + 1];
            for (index, layer) in self.layers.iter().enumerate() {
                let own = !matches!(layer, Layer::Linear { .. } | Layer::Dropout { .. });
                compiled[index + 1] = own && layer.inputs().iter().all(|&input| compiled[input]);
            }
            let mut needed = vec![false; self.layers.len() + 1];
            for &value in wanted {
                needed[value] = true;
            }
            for (index, layer) in self.layers.iter().enumerate().rev() {
                if needed[index + 1] && !compiled[index + 1] {
                    for input in layer.inputs() {
                        needed[input] = true;
                    }
                }
            }
            (1..needed.len()).filter(|&value| needed[value] && compiled[value]).collect()
        }

        /// The network for the operator, up to its first fully connected layer or dropout, for frames
        /// of this size; `None` if the frames are too small.
        fn network(&self, frame: [usize; 2]) -> Option<Network> {
            let channels = self.layers.iter().find_map(|layer| match layer {
                Layer::Conv { input: 0, layer, .. } => Some(layer.weight.dims()[1] * layer.groups),
                _ => None,
            })?;
            let mut sizes = vec![frame];
            let mut layers = Vec::new();
            for layer in &self.layers {
                let (layer, size) = match layer {
                    Layer::Conv { input, layer, activation, add } => {
                        let [out_channels, _, kernel_height, kernel_width] = layer.weight.dims();
                        let (kernel, stride) = ([kernel_height, kernel_width], layer.stride);
                        let padding = padding(&layer.padding, sizes[*input], kernel, stride);
                        let [top, left, bottom, right] = padding;
                        let [height, width] = sizes[*input];
                        let side =
                            |padded: usize, axis: usize| Some(padded.checked_sub(kernel[axis])? / stride[axis] + 1);
                        let layer = ops::Layer::Conv {
                            input: *input,
                            weight: values(&layer.weight),
                            bias: layer.bias.as_ref().map_or_else(|| vec![0.0; out_channels], values),
                            out_channels,
                            kernel,
                            stride,
                            padding,
                            groups: layer.groups,
                            activation: *activation,
                            add: *add,
                        };
                        (layer, [side(top + height + bottom, 0)?, side(left + width + right, 1)?])
                    }
                    &Layer::MaxPool { input, kernel, stride, padding, ceil } => {
                        // A window that extends past the edge starts inside the map.
                        let side = |side: usize| {
                            let rest = (side + 2 * padding).checked_sub(kernel)?;
                            Some(if ceil { rest.div_ceil(stride) } else { rest / stride } + 1)
                        };
                        let [height, width] = sizes[input];
                        let layer = ops::Layer::MaxPool {
                            input,
                            kernel: [kernel; 2],
                            stride: [stride; 2],
                            padding: [padding; 4],
                            ceil,
                        };
                        (layer, [side(height)?, side(width)?])
                    }
                    &Layer::AverageTo { input, size } => (ops::Layer::AvgPoolTo { input, size }, size),
                    Layer::Concat(inputs) => (ops::Layer::Concat { inputs: inputs.clone() }, sizes[inputs[0]]),
                    Layer::Linear { .. } | Layer::Dropout { .. } => break,
                };
                layers.push(layer);
                sizes.push(size);
            }
            Network::new(channels, layers).ok()
        }
    }

    /// Zeros at top, left, bottom and right. With `Same`, the output has `⌈side / stride⌉` cells,
    /// and the larger half of an odd number of zeros is below and to the right.
    fn padding(config: &PaddingConfig2d, size: [usize; 2], kernel: [usize; 2], stride: [usize; 2]) -> [usize; 4] {
        match *config {
            PaddingConfig2d::Explicit(top, left, bottom, right) => [top, left, bottom, right],
            PaddingConfig2d::Valid => [0; 4],
            PaddingConfig2d::Same => {
                let [vertical, horizontal] = [0, 1].map(|axis| {
                    let cells = size[axis].div_ceil(stride[axis]);
                    ((cells.max(1) - 1) * stride[axis] + kernel[axis]).saturating_sub(size[axis])
                });
                [vertical / 2, horizontal / 2, vertical - vertical / 2, horizontal - horizontal / 2]
            }
        }
    }
}
