//! A convolutional network forward: a list of layers, planned once for a size of frames.
//!
//! Each thread takes a frame through all layers, so that maps stay in its cache; where frames are
//! fewer than threads, the rows of every layer are spread instead. Values share memory once
//! they are no longer read. A concatenation costs nothing: its inputs are written to their channels
//! of the wider map. Results do not depend on the number of threads.

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rayon::prelude::*;

use crate::{
    conv::{Conv, Output, Value, Window},
    gemm::{Packed, Position, Rows, product},
    layout::Layout,
    pool::Pool,
    simd::{Activation, Aligned},
    winograd::{Finish, Map, Workspace as Memory, Workspaces},
};

/// One layer. Values are numbered: 0 is the input, `i + 1` the output of layer `i`.
#[derive(Clone, Debug)]
pub enum Layer {
    /// A convolution, then the addition of a value, then an activation.
    Conv {
        /// Value that is read.
        input: usize,
        /// `[output, input / groups, kernel height, kernel width]`.
        weight: Vec<f32>,
        /// One number per output channel.
        bias: Vec<f32>,
        /// Channels of the output.
        out_channels: usize,
        /// Height and width.
        kernel: [usize; 2],
        /// Vertical and horizontal.
        stride: [usize; 2],
        /// Zeros at top, left, bottom, right.
        padding: [usize; 4],
        /// Groups of channels that do not see each other.
        groups: usize,
        /// Applied last.
        activation: Activation,
        /// Value of the output's shape that is added before the activation.
        add: Option<usize>,
    },
    /// Largest value of each window.
    MaxPool {
        /// Value that is read.
        input: usize,
        /// Height and width.
        kernel: [usize; 2],
        /// Vertical and horizontal.
        stride: [usize; 2],
        /// Pixels at top, left, bottom, right that never win.
        padding: [usize; 4],
        /// Whether a last window may overhang.
        ceil: bool,
    },
    /// Averages of nearly equal parts of the map (adaptive average pool).
    AvgPoolTo {
        /// Value that is read.
        input: usize,
        /// Height and width of the output.
        size: [usize; 2],
    },
    /// Channels of several values, one after another.
    Concat {
        /// Values of one height and width.
        inputs: Vec<usize>,
    },
    /// A fully connected layer. Only fully connected layers may follow it.
    Linear {
        /// Value that is read, flattened in the order channel, row, column.
        input: usize,
        /// `[output, input]`.
        weight: Vec<f32>,
        /// One number per output.
        bias: Vec<f32>,
        /// Applied last.
        activation: Activation,
    },
}

/// What is wrong with a network or a plan.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// A layer reads a value that comes after it or does not exist.
    #[error("layer {layer} reads value {value}, which does not come before it")]
    Order {
        /// The layer.
        layer: usize,
        /// The value.
        value: usize,
    },
    /// A layer's weights or settings do not fit its input.
    #[error("layer {layer}: {what}")]
    Layer {
        /// The layer.
        layer: usize,
        /// What does not fit.
        what: String,
    },
    /// Frames without channels or pixels.
    #[error("frames have no channels or no pixels")]
    Empty,
    /// The network has no value of a tap's number.
    #[error("tap {0} is no value of the network")]
    Tap(usize),
}

/// A network with packed weights. Clones and plans share them.
#[derive(Clone, Debug)]
pub struct Network {
    input_channels: usize,
    layers: Arc<Vec<Operator>>,
}

/// A layer with packed weights.
#[derive(Debug)]
enum Operator {
    Conv { input: usize, add: Option<usize>, conv: Conv },
    Pool { input: usize, pool: Pool },
    Concat { inputs: Vec<usize> },
    Linear { input: usize, linear: Linear },
}

impl Operator {
    /// Packs the weights of layer `index`, for values of these `channels` before it. Also returns the
    /// channels of the output.
    fn pack(layer: Layer, index: usize, channels: &[usize]) -> Result<(Self, usize), NetworkError> {
        let error = |what: String| NetworkError::Layer { layer: index, what };
        let channels_of =
            |value: usize| channels.get(value).copied().ok_or(NetworkError::Order { layer: index, value });
        let window = |kernel: [usize; 2], stride: [usize; 2], padding| {
            if kernel.contains(&0) || stride.contains(&0) {
                return Err(error(format!("kernel {kernel:?} and stride {stride:?} must be positive")));
            }
            Ok(Window { kernel, stride, padding })
        };
        Ok(match layer {
            Layer::Conv { input, weight, bias, out_channels, kernel, stride, padding, groups, activation, add } => {
                let from = channels_of(input)?;
                if groups == 0 || from % groups > 0 || out_channels == 0 || out_channels % groups > 0 {
                    return Err(error(format!("{groups} groups do not divide {from} to {out_channels} channels")));
                }
                let numbers = out_channels * (from / groups) * kernel[0] * kernel[1];
                if weight.len() != numbers || bias.len() != out_channels {
                    return Err(error(format!(
                        "{} weights and {} biases instead of {numbers} and {out_channels}",
                        weight.len(),
                        bias.len()
                    )));
                }
                if let Some(add) = add.filter(|add| channels_of(*add) != Ok(out_channels)) {
                    return Err(error(format!("value {add} has other channels than the output, to which it is added")));
                }
                let window = window(kernel, stride, padding)?;
                let conv = Conv::new(&weight, &bias, [from, out_channels], groups, window, activation);
                (Operator::Conv { input, add, conv }, out_channels)
            }
            Layer::MaxPool { input, kernel, stride, padding, ceil } => {
                let window = window(kernel, stride, padding)?;
                if (0..4).any(|side| padding[side] >= kernel[side % 2]) {
                    return Err(error(format!("padding {padding:?} reaches the kernel {kernel:?}")));
                }
                (Operator::Pool { input, pool: Pool::Max { window, ceil } }, channels_of(input)?)
            }
            Layer::AvgPoolTo { input, size } => {
                (Operator::Pool { input, pool: Pool::AverageTo(size) }, channels_of(input)?)
            }
            Layer::Concat { inputs } => {
                if inputs.is_empty() {
                    return Err(error("nothing to concatenate".into()));
                }
                let sum = inputs.iter().map(|input| channels_of(*input)).sum::<Result<usize, _>>()?;
                (Operator::Concat { inputs }, sum)
            }
            Layer::Linear { input, weight, bias, activation } => {
                let from = channels_of(input)?;
                if bias.is_empty() || weight.is_empty() || weight.len() % (bias.len() * from) > 0 {
                    return Err(error(format!(
                        "{} weights and {} biases for {from} channels",
                        weight.len(),
                        bias.len()
                    )));
                }
                let outputs = bias.len();
                (Operator::Linear { input, linear: Linear::new(&weight, &bias, from, activation) }, outputs)
            }
        })
    }

    /// Values that are read.
    fn inputs(&self) -> Vec<usize> {
        match self {
            Self::Conv { input, add, .. } => std::iter::once(*input).chain(*add).collect(),
            Self::Pool { input, .. } | Self::Linear { input, .. } => vec![*input],
            Self::Concat { inputs } => inputs.clone(),
        }
    }
}

impl Network {
    /// Packs the weights of `layers` for frames of `input_channels`.
    pub fn new(input_channels: usize, layers: Vec<Layer>) -> Result<Self, NetworkError> {
        if input_channels == 0 {
            return Err(NetworkError::Empty);
        }
        let mut channels = vec![input_channels];
        let mut flat = vec![false];
        let mut packed = Vec::with_capacity(layers.len());
        for (i, layer) in layers.into_iter().enumerate() {
            let (layer, width) = Operator::pack(layer, i, &channels)?;
            let linear = matches!(layer, Operator::Linear { .. });
            if !linear && layer.inputs().iter().any(|input| flat[*input]) {
                let what = "only linear layers may follow a linear layer".into();
                return Err(NetworkError::Layer { layer: i, what });
            }
            flat.push(linear);
            channels.push(width);
            packed.push(layer);
        }
        Ok(Self { input_channels, layers: Arc::new(packed) })
    }

    /// Plans frames of a height and width. `taps` are the values that [`Plan::run`] returns; what
    /// they do not need is not computed.
    pub fn plan(&self, frame: [usize; 2], taps: &[usize]) -> Result<Plan, NetworkError> {
        let values = self.layers.len() + 1;
        if let Some(tap) = taps.iter().find(|tap| **tap >= values) {
            return Err(NetworkError::Tap(*tap));
        }
        if frame.contains(&0) {
            return Err(NetworkError::Empty);
        }
        let shapes = self.shapes(frame)?;
        let mut needed = vec![false; values];
        taps.iter().for_each(|tap| needed[*tap] = true);
        for value in (1..values).rev() {
            if needed[value] {
                self.layers[value - 1].inputs().into_iter().for_each(|input| needed[input] = true);
            }
        }
        let places = self.places(&needed, &shapes);
        let winograd = self.winograd(&needed, &shapes, &places);
        for value in (1..values).filter(|value| needed[*value]) {
            if let Operator::Conv { conv, .. } = &self.layers[value - 1] {
                conv.prepare(winograd[value]);
            }
        }
        let mut borders = vec![[0; 4]; values];
        self.add_borders(&needed, &winograd, &places, &mut borders);
        let layout = |value: usize| {
            let ([height, width, channels], (root, first)) = (shapes[value], places[value]);
            Layout { height, width, channels, stride: shapes[root][2], first, border: borders[root] }
        };
        let view = |value: usize| View { root: places[value].0, layout: layout(value) };

        let mut plan = Plan {
            layers: Arc::clone(&self.layers),
            frame_len: self.input_channels * frame[0] * frame[1],
            taps: taps.iter().map(|tap| shapes[*tap]).collect(),
            sinks: Vec::new(),
            tap_sources: Vec::new(),
            steps: vec![Step::Read(view(0))],
            grouped_from: usize::MAX,
            roots: Vec::new(),
            slots: Vec::new(),
            heads: Vec::new(),
            workspaces: Mutex::default(),
            memories: Workspaces::default(),
        };
        for value in (1..values).filter(|value| needed[*value]) {
            match &self.layers[value - 1] {
                Operator::Conv { input, add, .. } => plan.steps.push(Step::Conv {
                    layer: value - 1,
                    input: view(*input),
                    add: add.map(view),
                    output: view(value),
                    winograd: winograd[value],
                }),
                Operator::Pool { input, pool } => {
                    if places[*input] != places[value] {
                        plan.steps.push(Step::Pool { pool: *pool, input: view(*input), output: view(value) });
                    }
                }
                Operator::Concat { inputs } => {
                    let mut slice = layout(value);
                    for input in inputs {
                        slice.channels = shapes[*input][2];
                        if places[*input] != (places[value].0, slice.first) {
                            let output = View { root: places[value].0, layout: slice };
                            plan.steps.push(Step::Pool { pool: Pool::COPY, input: view(*input), output });
                        }
                        slice.first += slice.channels;
                    }
                }
                Operator::Linear { input, .. } => {
                    let source = match plan.heads.iter().position(|head| head.value == *input) {
                        Some(head) => Source::Head(head),
                        None => plan.sink(view(*input), false),
                    };
                    plan.heads.push(Head { layer: value - 1, value, source });
                }
            }
        }
        plan.tap_sources = taps
            .iter()
            .map(|tap| match plan.heads.iter().position(|head| head.value == *tap) {
                Some(head) => Source::Head(head),
                None => plan.sink(view(*tap), true),
            })
            .collect();
        plan.allocate(values);
        Ok(plan)
    }

    /// `[height, width, channels]` of every value.
    fn shapes(&self, [height, width]: [usize; 2]) -> Result<Vec<[usize; 3]>, NetworkError> {
        let mut shapes = vec![[height, width, self.input_channels]];
        for (i, layer) in self.layers.iter().enumerate() {
            let error = |what: String| NetworkError::Layer { layer: i, what };
            let map = |output: Option<[usize; 2]>, input: [usize; 3], channels| match output {
                Some([height, width]) if height > 0 && width > 0 => Ok([height, width, channels]),
                _ => Err(error(format!("its window does not fit a map of {}×{}", input[0], input[1]))),
            };
            let shape = match layer {
                Operator::Conv { input, add, conv, .. } => {
                    let input = shapes[*input];
                    let shape = map(conv.window.output([input[0], input[1]]), input, conv.output)?;
                    if add.is_some_and(|add| shapes[add] != shape) {
                        return Err(error("the value added has another shape than the output".into()));
                    }
                    shape
                }
                Operator::Pool { input, pool } => {
                    let input = shapes[*input];
                    map(pool.output([input[0], input[1]]), input, input[2])?
                }
                Operator::Concat { inputs } => {
                    let [height, width, _] = shapes[inputs[0]];
                    if inputs.iter().any(|input| shapes[*input][..2] != [height, width]) {
                        return Err(error("the inputs have different sizes".into()));
                    }
                    [height, width, inputs.iter().map(|input| shapes[*input][2]).sum()]
                }
                Operator::Linear { input, linear } => {
                    let found = shapes[*input].iter().product::<usize>();
                    if found != linear.inputs {
                        return Err(error(format!("{found} inputs instead of {}", linear.inputs)));
                    }
                    [1, 1, linear.outputs]
                }
            };
            shapes.push(shape);
        }
        Ok(shapes)
    }

    /// The value in whose memory each value lies, and its first channel there. Inputs of a
    /// concatenation lie in it unless the layer that writes them reads from it; a pool to the size
    /// that a map already has is that map.
    fn places(&self, needed: &[bool], shapes: &[[usize; 3]]) -> Vec<(usize, usize)> {
        let mut parents: Vec<Option<(usize, usize)>> = vec![None; shapes.len()];
        for (i, layer) in self.layers.iter().enumerate().filter(|(i, _)| needed[i + 1]) {
            match layer {
                Operator::Pool { input, pool: Pool::AverageTo(size) } if shapes[*input][..2] == *size => {
                    parents[i + 1] = Some((*input, 0));
                }
                Operator::Concat { inputs } => {
                    let mut first = 0;
                    for input in inputs {
                        if *input > 0 && parents[*input].is_none() {
                            parents[*input] = Some((i + 1, first));
                        }
                        first += shapes[*input][2];
                    }
                }
                _ => {}
            }
        }
        loop {
            let places: Vec<(usize, usize)> = (0..shapes.len())
                .map(|value| {
                    let (mut root, mut first) = (value, 0);
                    while let Some((parent, offset)) = parents[root] {
                        (root, first) = (parent, first + offset);
                    }
                    (root, first)
                })
                .collect();
            // A step must not read the memory that it writes.
            let conflict = (1..shapes.len()).find_map(|value| {
                let (root, mut first) = places[value];
                let mut inputs = self.layers[value - 1].inputs().into_iter();
                match &self.layers[value - 1] {
                    Operator::Concat { .. } => inputs.find(|input| {
                        let copied = places[*input].0 == root && places[*input].1 != first;
                        first += shapes[*input][2];
                        copied
                    }),
                    _ if parents[value].is_some_and(|(parent, _)| parent > value) => {
                        inputs.any(|input| places[input].0 == root).then_some(value)
                    }
                    _ => None,
                }
            });
            match conflict {
                Some(value) => parents[value] = None,
                None => return places,
            }
        }
    }

    /// Which values are convolutions by Winograd's method. It takes maps without a border, while all other
    /// convolutions need one as wide as their padding.
    fn winograd(&self, needed: &[bool], shapes: &[[usize; 3]], places: &[(usize, usize)]) -> Vec<bool> {
        let suits = |value: usize| match &self.layers[value - 1] {
            Operator::Conv { conv, .. } => conv.suits_winograd() && shapes[value][0].min(shapes[value][1]) > 2,
            _ => false,
        };
        let mut winograd: Vec<bool> =
            (0..needed.len()).map(|value| value > 0 && needed[value] && suits(value)).collect();
        loop {
            let mut borders = vec![[0; 4]; needed.len()];
            self.add_borders(needed, &winograd, places, &mut borders);
            let bordered = |value: usize| borders[places[value].0] != [0; 4];
            let conflict = (1..needed.len()).find(|value| {
                winograd[*value] && (bordered(*value) || self.layers[value - 1].inputs().into_iter().any(bordered))
            });
            match conflict {
                Some(value) => winograd[value] = false,
                None => return winograd,
            }
        }
    }

    /// Widens `borders`, by root, to the padding of all convolutions that need one.
    fn add_borders(&self, needed: &[bool], winograd: &[bool], places: &[(usize, usize)], borders: &mut [[usize; 4]]) {
        for value in (1..needed.len()).filter(|value| needed[*value] && !winograd[*value]) {
            if let Operator::Conv { input, conv, .. } = &self.layers[value - 1] {
                let border = &mut borders[places[*input].0];
                *border = std::array::from_fn(|side| border[side].max(conv.window.padding[side]));
            }
        }
    }
}

/// A fully connected layer with packed weights.
#[derive(Debug)]
struct Linear {
    inputs: usize,
    outputs: usize,
    activation: Activation,
    /// Matrices of [`Self::COLUMNS`] columns, on which the threads work.
    parts: Vec<Packed>,
}

impl Linear {
    const COLUMNS: usize = 96;

    /// Packs `weight` `[output, channel, pixel]` for inputs `[pixel, channel]`.
    fn new(weight: &[f32], bias: &[f32], channels: usize, activation: Activation) -> Self {
        let (outputs, inputs) = (bias.len(), weight.len() / bias.len());
        let pixels = inputs / channels;
        let parts = (0..outputs)
            .into_par_iter()
            .step_by(Self::COLUMNS)
            .map(|first| {
                let bias = &bias[first..outputs.min(first + Self::COLUMNS)];
                let element = |row: usize, column: usize| {
                    weight[(first + column) * inputs + row % channels * pixels + row / channels]
                };
                Packed::new(inputs, bias.len(), element, bias)
            })
            .collect();
        Self { inputs, outputs, activation, parts }
    }

    /// `[frame, output]` of `[frame, input]`.
    fn run(&self, x: &[f32]) -> Vec<f32> {
        let frames = x.len() / self.inputs;
        let parts: Vec<Vec<f32>> = self
            .parts
            .par_iter()
            .map(|packed| {
                let width = packed.n();
                let mut out = vec![0.0; frames * width];
                let positions: Vec<Position> = (0..frames)
                    .map(|frame| Position { input: frame * self.inputs, output: frame * width, add: 0 })
                    .collect();
                let rows = Rows { x, runs: &[0], run: self.inputs };
                product(packed, rows, &positions, None, self.activation, &mut out);
                out
            })
            .collect();
        let mut out = Vec::with_capacity(frames * self.outputs);
        for frame in 0..frames {
            for part in &parts {
                let width = part.len() / frames;
                out.extend_from_slice(&part[frame * width..][..width]);
            }
        }
        out
    }
}

/// A value in the memory of its root.
#[derive(Clone, Copy, Debug)]
struct View {
    root: usize,
    layout: Layout,
}

#[derive(Debug)]
enum Step {
    /// The frame to value 0.
    Read(View),
    Conv {
        layer: usize,
        input: View,
        add: Option<View>,
        output: View,
        winograd: bool,
    },
    Pool {
        pool: Pool,
        input: View,
        output: View,
    },
    /// A value to its sink.
    Write {
        input: View,
        sink: usize,
    },
}

impl Step {
    /// What is read, and what is written.
    fn views(&self) -> (Vec<View>, Option<View>) {
        match self {
            Self::Read(output) => (vec![], Some(*output)),
            Self::Conv { input, add, output, .. } => (std::iter::once(*input).chain(*add).collect(), Some(*output)),
            Self::Pool { input, output, .. } => (vec![*input], Some(*output)),
            Self::Write { input, .. } => (vec![*input], None),
        }
    }
}

/// Where the values of all frames are that leave the memory of the frames.
#[derive(Clone, Copy, Debug)]
enum Source {
    Sink(usize),
    Head(usize),
}

/// A value that leaves the memory of the frames, in planes or channels-last.
#[derive(Debug)]
struct Sink {
    len: usize,
    planes: bool,
}

/// A linear layer, which takes all frames at once.
#[derive(Debug)]
struct Head {
    layer: usize,
    value: usize,
    source: Source,
}

/// Memory of the values that lie in one root.
#[derive(Clone, Copy, Debug)]
struct Root {
    slot: usize,
    layout: Layout,
    /// Whether there is room for all frames of a group.
    grouped: bool,
    /// The step whose output is the first to be written.
    first: usize,
}

/// A network planned for a size of frames. It may run in several threads at once.
#[derive(Debug)]
pub struct Plan {
    layers: Arc<Vec<Operator>>,
    frame_len: usize,
    taps: Vec<[usize; 3]>,
    tap_sources: Vec<Source>,
    sinks: Vec<Sink>,
    steps: Vec<Step>,
    /// The step from which on the frames of a group are taken together, since weights are larger
    /// than maps.
    grouped_from: usize,
    roots: Vec<Option<Root>>,
    /// Floats of each slot, for one frame and for each frame of a group.
    slots: Vec<[usize; 2]>,
    heads: Vec<Head>,
    workspaces: Mutex<Vec<Workspace>>,
    memories: Workspaces,
}

/// Memory for one group of frames.
#[derive(Debug, Default)]
struct Workspace {
    slots: Vec<Aligned>,
    winograd: Memory,
}

/// Most frames of a group. Frames of a group share one pass over large weights.
const GROUP: usize = 8;

impl Plan {
    /// `[height, width, channels]` of each tap.
    pub fn tap_shapes(&self) -> Vec<[usize; 3]> {
        self.taps.clone()
    }

    /// Adds a step that writes `input` to a new sink.
    fn sink(&mut self, input: View, planes: bool) -> Source {
        let Layout { height, width, channels, .. } = input.layout;
        self.sinks.push(Sink { len: height * width * channels, planes });
        let written = |step: &Step| step.views().1.is_some_and(|output| output.root == input.root);
        let last = self.steps.iter().rposition(written).expect("every value is written");
        self.steps.insert(last + 1, Step::Write { input, sink: self.sinks.len() - 1 });
        Source::Sink(self.sinks.len() - 1)
    }

    /// Gives every root a slot. Roots that are not needed at the same time share one.
    fn allocate(&mut self, values: usize) {
        self.grouped_from = self.steps.iter().position(|step| self.prefers_groups(step)).unwrap_or(self.steps.len());
        let mut lives: Vec<Option<(usize, usize, Layout)>> = vec![None; values];
        let mut firsts = vec![0; values];
        for (i, step) in self.steps.iter().enumerate() {
            let (reads, write) = step.views();
            for view in reads.into_iter().chain(write) {
                let life = lives[view.root].get_or_insert_with(|| {
                    firsts[view.root] = i;
                    (i, i, view.layout)
                });
                life.1 = i;
            }
        }
        let grouped = |life: &(usize, usize, Layout)| life.1 >= self.grouped_from;
        for life in lives.iter_mut().flatten() {
            // The first steps run once for every frame of a group.
            if grouped(life) && life.0 < self.grouped_from {
                life.0 = 0;
            }
        }
        let mut order: Vec<usize> = (0..values).filter(|root| lives[*root].is_some()).collect();
        order.sort_by_key(|root| lives[*root].map(|life| life.0));
        self.roots = vec![None; values];
        let mut taken: Vec<usize> = Vec::new();
        for root in order {
            let Some(life) = lives[root] else { continue };
            let (start, end, layout) = life;
            let len = layout.len();
            let free = |slot: &usize| taken[*slot] < start;
            // The slot that has to grow least, then the smallest.
            let kind = usize::from(grouped(&life));
            let slot = (0..taken.len())
                .filter(free)
                .min_by_key(|slot| {
                    let size = self.slots[*slot][kind];
                    (len.saturating_sub(size), size)
                })
                .unwrap_or_else(|| {
                    taken.push(0);
                    self.slots.push([0; 2]);
                    taken.len() - 1
                });
            taken[slot] = end;
            self.slots[slot][kind] = self.slots[slot][kind].max(len);
            self.roots[root] = Some(Root { slot, layout, grouped: kind == 1, first: firsts[root] });
        }
    }

    /// Whether a step reads more weights than it writes results.
    fn prefers_groups(&self, step: &Step) -> bool {
        match step {
            Step::Conv { layer, output, winograd, .. } => {
                let Operator::Conv { conv, .. } = &self.layers[*layer] else { return false };
                let positions = if *winograd { 36 } else { conv.window.kernel.iter().product() };
                conv.is_ungrouped() && positions * conv.input * conv.output > output.layout.len()
            }
            _ => false,
        }
    }

    /// Runs `batch` frames `[batch, channel, height, width]`. `outputs` holds one vector per tap,
    /// which becomes `[batch, channel, height, width]`.
    pub fn run(&self, frames: &[f32], batch: usize, outputs: &mut [Vec<f32>]) {
        assert!(
            frames.len() == batch * self.frame_len && outputs.len() == self.taps.len(),
            "Plan::run: {} floats for {batch} frames of {}, {} outputs for {} taps",
            frames.len(),
            self.frame_len,
            outputs.len(),
            self.taps.len()
        );
        let mut sinks: Vec<Vec<f32>> = self.sinks.iter().map(|_| Vec::new()).collect();
        for (source, output) in self.tap_sources.iter().zip(&mut *outputs) {
            if let Source::Sink(sink) = source {
                sinks[*sink] = std::mem::take(output);
            }
        }
        for (values, sink) in sinks.iter_mut().zip(&self.sinks) {
            values.resize(batch * sink.len, 0.0);
        }
        // Frames that do not go evenly into the threads are spread over all of them.
        let threads = rayon::current_num_threads();
        let whole = if threads == 1 { batch } else { batch - batch % threads };
        let share = (whole / threads).max(1);
        let group = share.div_ceil(share.div_ceil(GROUP));
        let mut groups = Vec::new();
        let mut rest: Vec<&mut [f32]> = sinks.iter_mut().map(|sink| &mut sink[..]).collect();
        let mut start = 0;
        while start < batch {
            let count = if start < whole { group.min(whole - start) } else { (batch - start).min(GROUP) };
            let parts = rest
                .iter_mut()
                .zip(&self.sinks)
                .map(|(rest, sink)| rest.split_off_mut(..count * sink.len).expect("sinks hold the batch"))
                .collect();
            groups.push((&frames[start * self.frame_len..][..count * self.frame_len], parts, start >= whole));
            start += count;
        }
        let (spread, apart): (Vec<_>, Vec<_>) = groups.into_iter().partition(|group| group.2);
        apart.into_par_iter().for_each(|(frames, sinks, _)| {
            self.run_group(frames, sinks, false);
        });
        for (frames, sinks, _) in spread {
            self.run_group(frames, sinks, true);
        }
        let mut heads: Vec<Vec<f32>> = Vec::new();
        for head in &self.heads {
            let Operator::Linear { linear, .. } = &self.layers[head.layer] else { continue };
            let x = match head.source {
                Source::Sink(sink) => &sinks[sink],
                Source::Head(head) => &heads[head],
            };
            let out = linear.run(x);
            heads.push(out);
        }
        for (source, output) in self.tap_sources.iter().zip(outputs) {
            match source {
                Source::Sink(sink) => *output = std::mem::take(&mut sinks[*sink]),
                Source::Head(head) => output.clone_from(&heads[*head]),
            }
        }
    }

    /// Runs `batch` frames as one group on this thread, and returns the kind of every step and its time.
    pub fn profile(&self, frames: &[f32], batch: usize) -> Vec<(String, Duration)> {
        let mut sinks: Vec<Vec<f32>> = self.sinks.iter().map(|sink| vec![0.0; batch * sink.len]).collect();
        let times = self.run_group(frames, sinks.iter_mut().map(|sink| &mut sink[..]).collect(), false);
        self.steps.iter().map(|step| self.describe(step)).zip(times).collect()
    }

    fn describe(&self, step: &Step) -> String {
        match step {
            Step::Read(_) => "read".into(),
            Step::Write { .. } => "write".into(),
            Step::Pool { pool, output, .. } => {
                format!("pool {pool:?} to {}×{}×{}", output.layout.height, output.layout.width, output.layout.channels)
            }
            Step::Conv { layer, output, winograd, .. } => {
                let Operator::Conv { conv, .. } = &self.layers[*layer] else { return String::new() };
                let Window { kernel, stride, .. } = conv.window;
                let kind = match (winograd, conv.is_ungrouped()) {
                    (true, _) => "winograd",
                    (false, true) => "direct",
                    (false, false) => "grouped",
                };
                let Layout { height, width, .. } = output.layout;
                format!("{kind} {kernel:?}/{stride:?} {} to {height}×{width}×{}", conv.input, conv.output)
            }
        }
    }

    /// Runs a group of frames into its part of every sink, on this thread or spread over all.
    fn run_group(&self, frames: &[f32], sinks: Vec<&mut [f32]>, spread: bool) -> Vec<Duration> {
        let count = frames.len() / self.frame_len;
        let lock = || self.workspaces.lock().unwrap_or_else(PoisonError::into_inner);
        let mut workspace = lock().pop().unwrap_or_default();
        workspace.slots.resize_with(self.slots.len(), Aligned::default);
        for (slot, [single, each]) in workspace.slots.iter_mut().zip(&self.slots) {
            let len = *single.max(&(each * count));
            if slot.len() < len {
                *slot = Aligned::zeros(len);
            }
        }
        let spread = spread.then_some(&self.memories);
        let times = vec![Duration::ZERO; self.steps.len()];
        let mut job = Job { planes: frames, sinks, frames: 0..0, spread, times };
        for frame in 0..count {
            job.frames = frame..frame + 1;
            (0..self.grouped_from).for_each(|step| job.run(self, step, &mut workspace));
        }
        job.frames = 0..count;
        (self.grouped_from..self.steps.len()).for_each(|step| job.run(self, step, &mut workspace));
        lock().push(workspace);
        job.times
    }

    /// Runs step `index` for `job.frames`.
    fn step(&self, index: usize, job: &mut Job<'_, '_>, workspace: &mut Workspace) {
        let frames = job.frames.clone();
        let Workspace { slots, winograd: memory } = workspace;
        let root = |view: &View| self.roots[view.root].as_ref().expect("every value of a step has a root");
        let range = |root: &Root| {
            let (first, len) = (if root.grouped { frames.start } else { 0 }, root.layout.len());
            first * len..(first + frames.len()) * len
        };
        let step = &self.steps[index];
        let Some(view) = step.views().1 else {
            if let Step::Write { input, sink } = step {
                let (map, layout, root) = (&slots[root(input).slot], input.layout, root(input));
                let len = self.sinks[*sink].len;
                let out = &mut job.sinks[*sink][frames.start * len..frames.end * len];
                for (map, out) in map[range(root)].chunks_exact(layout.len()).zip(out.chunks_exact_mut(len)) {
                    if self.sinks[*sink].planes {
                        layout.write_planes(map, out);
                    } else {
                        layout.write_pixels(map, out);
                    }
                }
            }
            return;
        };
        let target = root(&view);
        let mut slot = std::mem::take(&mut slots[target.slot]);
        let (map, layout) = (&mut slot[range(target)], view.layout);
        if target.first == index {
            map.chunks_exact_mut(layout.len()).for_each(|map| layout.clear_border(map));
        }
        let value = |view: &View| Value { map: &slots[root(view).slot][range(root(view))], layout: view.layout };
        match step {
            Step::Write { .. } => {}
            Step::Read(_) => {
                let planes = job.planes[frames.start * self.frame_len..].chunks_exact(self.frame_len);
                map.chunks_exact_mut(layout.len())
                    .zip(planes)
                    .for_each(|(map, planes)| layout.read_planes(planes, map));
            }
            Step::Pool { pool, input, .. } => {
                let input = value(input);
                over_rows(layout, map, job.spread.is_some(), |frame, output| pool.run(input.skip(frame), output));
            }
            Step::Conv { layer, input, add, winograd, .. } => {
                let Operator::Conv { conv, .. } = &self.layers[*layer] else { return };
                let (input, add) = (value(input), add.as_ref().map(value));
                if !winograd {
                    over_rows(layout, map, job.spread.is_some(), |frame, output| {
                        conv.run(input.skip(frame), add.map(|add| add.skip(frame)), output);
                    });
                } else {
                    let weights = conv.winograd();
                    let finish = Finish {
                        bias: &conv.bias,
                        add: add.map(|add| dense(add, frames.len())),
                        range: conv.activation.range(),
                    };
                    let (input, padding, map) =
                        (dense(input, frames.len()), conv.window.padding, &mut map[layout.first..]);
                    match job.spread {
                        Some(memories) => weights.forward(input, padding, map, layout.stride, finish, memories),
                        None => weights.forward_here(input, padding, map, layout.stride, finish, memory),
                    }
                }
            }
        }
        slots[target.slot] = slot;
    }
}

/// A value without a border as a map of [`crate::winograd`].
fn dense(value: Value<'_>, frames: usize) -> Map<'_> {
    let Layout { height, width, channels, stride, first, .. } = value.layout;
    Map { data: &value.map[first..], frames, height, width, channels, stride }
}

/// Input, output and progress of a group of frames.
struct Job<'a, 'b> {
    /// `[frame, channel, height, width]`.
    planes: &'a [f32],
    /// The group's part of every sink.
    sinks: Vec<&'b mut [f32]>,
    /// The frames to take now.
    frames: Range<usize>,
    /// Memory of the threads, if all of them take part.
    spread: Option<&'a Workspaces>,
    /// Time spent in each step.
    times: Vec<Duration>,
}

impl Job<'_, '_> {
    fn run(&mut self, plan: &Plan, step: usize, workspace: &mut Workspace) {
        let start = Instant::now();
        plan.step(step, self, workspace);
        self.times[step] += start.elapsed();
    }
}

/// Has `work` write all rows of a map: those of all frames in one call with the first frame's index, or
/// `spread` over all threads, some rows of one frame a call. How rows are cut depends on the map alone.
fn over_rows(layout: Layout, map: &mut [f32], spread: bool, work: impl Fn(usize, Output<'_>) + Sync) {
    let (len, row, height) = (layout.len(), layout.row(), layout.height);
    if !spread {
        let frames = map.len() / len;
        return work(0, Output { map, layout, start: 0, frames, rows: 0..height });
    }
    // Enough pixels to make use of the weights.
    let rows = 24_usize.div_ceil(layout.width).max(height.div_ceil(32)).min(height);
    let start = layout.border[0] * row;
    let tasks: Vec<_> = map
        .chunks_exact_mut(len)
        .enumerate()
        .flat_map(|(frame, map)| {
            let pieces = map[start..start + height * row].chunks_mut(rows * row).enumerate();
            pieces.map(move |(piece, map)| (frame, piece * rows, map))
        })
        .collect();
    tasks.into_par_iter().for_each(|(frame, first, map)| {
        let rows = first..(first + rows).min(height);
        work(frame, Output { map, layout, start: start + first * row, frames: 1, rows });
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rayon::ThreadPoolBuilder;

    use super::*;
    use crate::winograd::tests::noise;

    fn numbers(count: usize, seed: usize, scale: f32) -> Vec<f32> {
        noise(count, seed as u32).into_iter().map(|x| x * scale).collect()
    }

    /// A convolution of random weights that keep the size of values.
    struct Of {
        channels: [usize; 2],
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 4],
        groups: usize,
    }

    impl Of {
        fn layer(&self, input: usize, activation: Activation, add: Option<usize>) -> Layer {
            let [from, to] = self.channels;
            let depth = from / self.groups * self.kernel[0] * self.kernel[1];
            Layer::Conv {
                input,
                weight: numbers(to * depth, input + to, (3.0 / depth as f32).sqrt()),
                bias: numbers(to, input, 0.3),
                out_channels: to,
                kernel: self.kernel,
                stride: self.stride,
                padding: self.padding,
                groups: self.groups,
                activation,
                add,
            }
        }
    }

    fn square(channels: [usize; 2], kernel: usize, stride: usize) -> Of {
        let padding = [kernel / 2; 4];
        Of { channels, kernel: [kernel; 2], stride: [stride; 2], padding, groups: 1 }
    }

    /// A value of one frame in f64: shape and planes.
    type Reference = ([usize; 3], Vec<f64>);

    fn activate(activation: Activation, x: f64) -> f64 {
        match activation {
            Activation::None => x,
            Activation::Relu => x.max(0.0),
            Activation::Relu6 => x.clamp(0.0, 6.0),
        }
    }

    /// All values of one frame, straight from the definitions.
    fn reference(layers: &[Layer], input: Reference) -> Vec<Reference> {
        let mut values = vec![input];
        for layer in layers {
            let output = match layer {
                Layer::Conv { input, weight, bias, out_channels, kernel, stride, padding, groups, activation, add } => {
                    let ([c, h, w], x) = &values[*input];
                    let oh = (h + padding[0] + padding[2] - kernel[0]) / stride[0] + 1;
                    let ow = (w + padding[1] + padding[3] - kernel[1]) / stride[1] + 1;
                    let depth = c / groups;
                    let mut out = Vec::new();
                    for o in 0..*out_channels {
                        let first = o / (out_channels / groups) * depth;
                        for i in 0..oh * ow {
                            let mut sum = f64::from(bias[o]);
                            for k in 0..depth * kernel[0] * kernel[1] {
                                let (ky, kx) = (k / kernel[1] % kernel[0], k % kernel[1]);
                                let channel = first + k / kernel[0] / kernel[1];
                                let y = (i / ow * stride[0] + ky).wrapping_sub(padding[0]);
                                let x_ = (i % ow * stride[1] + kx).wrapping_sub(padding[1]);
                                if y < *h && x_ < *w {
                                    let weight = weight[o * depth * kernel[0] * kernel[1] + k];
                                    sum += f64::from(weight) * x[(channel * h + y) * w + x_];
                                }
                            }
                            let add = add.map_or(0.0, |add| values[add].1[o * oh * ow + i]);
                            out.push(activate(*activation, sum + add));
                        }
                    }
                    ([*out_channels, oh, ow], out)
                }
                Layer::MaxPool { input, kernel, stride, padding, ceil } => {
                    let ([c, h, w], x) = &values[*input];
                    let size = |n: usize, i: usize| {
                        let free = n + padding[i] + padding[i + 2] - kernel[i];
                        let mut out = if *ceil { free.div_ceil(stride[i]) } else { free / stride[i] } + 1;
                        if (out - 1) * stride[i] >= n + padding[i] {
                            out -= 1;
                        }
                        out
                    };
                    let (oh, ow) = (size(*h, 0), size(*w, 1));
                    let mut out = Vec::new();
                    for i in 0..c * oh * ow {
                        let mut max = f64::NEG_INFINITY;
                        for k in 0..kernel[0] * kernel[1] {
                            let y = (i / ow % oh * stride[0] + k / kernel[1]).wrapping_sub(padding[0]);
                            let x_ = (i % ow * stride[1] + k % kernel[1]).wrapping_sub(padding[1]);
                            if y < *h && x_ < *w {
                                max = max.max(x[(i / ow / oh * h + y) * w + x_]);
                            }
                        }
                        out.push(max);
                    }
                    ([*c, oh, ow], out)
                }
                Layer::AvgPoolTo { input, size: [oh, ow] } => {
                    let ([c, h, w], x) = &values[*input];
                    let mut out = Vec::new();
                    for i in 0..c * oh * ow {
                        let (oy, ox) = (i / ow % oh, i % ow);
                        let (mut sum, mut count) = (0.0, 0.0);
                        for y in oy * h / oh..((oy + 1) * h).div_ceil(*oh) {
                            for x_ in ox * w / ow..((ox + 1) * w).div_ceil(*ow) {
                                sum += x[(i / ow / oh * h + y) * w + x_];
                                count += 1.0;
                            }
                        }
                        out.push(sum / count);
                    }
                    ([*c, *oh, *ow], out)
                }
                Layer::Concat { inputs } => {
                    let [_, h, w] = values[inputs[0]].0;
                    let all: Vec<f64> = inputs.iter().flat_map(|input| values[*input].1.clone()).collect();
                    ([all.len() / h / w, h, w], all)
                }
                Layer::Linear { input, weight, bias, activation } => {
                    let x = &values[*input].1;
                    let out = bias.iter().zip(weight.chunks(x.len())).map(|(bias, weight)| {
                        let sum: f64 = weight.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum();
                        activate(*activation, f64::from(*bias) + sum)
                    });
                    ([bias.len(), 1, 1], out.collect())
                }
            };
            values.push(output);
        }
        values
    }

    /// Runs all values as taps on 1 and on 3 threads, which must agree to the bit, and compares with
    /// the reference. The error is relative to the largest number of a value and of those before it:
    /// sums in which these cancel have the rounding of their terms.
    fn check(layers: Vec<Layer>, [channels, height, width]: [usize; 3], batch: usize, taps: &[usize]) {
        let frames = numbers(batch * channels * height * width, 5, 1.0);
        let network = Network::new(channels, layers.clone()).expect("the layers fit");
        let plan = network.plan([height, width], taps).expect("the sizes fit");
        let run = |threads: usize| {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build().expect("threads start");
            let mut outputs = vec![Vec::new(); taps.len()];
            // Twice, since memory is reused.
            pool.install(|| {
                plan.run(&frames, batch, &mut outputs);
                plan.run(&frames, batch, &mut outputs);
            });
            outputs
        };
        let outputs = run(1);
        assert!(outputs == run(3), "results depend on the number of threads");
        for frame in 0..batch {
            let len = channels * height * width;
            let x = frames[frame * len..][..len].iter().map(|x| f64::from(*x)).collect();
            let values = reference(&layers, ([channels, height, width], x));
            for (i, tap) in taps.iter().enumerate() {
                let ([c, h, w], expected) = &values[*tap];
                assert_eq!(plan.tap_shapes()[i], [*h, *w, *c]);
                let found = &outputs[i][frame * expected.len()..][..expected.len()];
                let terms = values[..=*tap].iter().flat_map(|(_, numbers)| numbers);
                let scale = terms.fold(1e-3, |max: f64, x| max.max(x.abs()));
                for (j, (found, expected)) in found.iter().zip(expected).enumerate() {
                    assert!(
                        (f64::from(*found) - expected).abs() <= 1e-5 * scale,
                        "value {tap}, frame {frame}, element {j}: {found} instead of {expected}, scale {scale}"
                    );
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn convolutions_equal_their_definition(
            from in 1..20usize, to in 1..30usize, kernel in [1..6usize, 1..6usize], stride in [1..4usize, 1..4usize],
            padding in [0..4usize, 0..4usize, 0..4usize, 0..4usize], size in [1..14usize, 1..14usize],
            groups in 0..4usize, batch in 1..4usize, relu: bool,
        ) {
            let (from, to, groups) = match groups {
                0 => (from, from, from),
                1 => (2 * from, 3 * to, if to % 2 == 0 { 2 } else { 1 }),
                _ => (from, to, 1),
            };
            let size = [size[0].max(kernel[0]), size[1].max(kernel[1])];
            let of = Of { channels: [from, to], kernel, stride, padding, groups };
            let activation = if relu { Activation::Relu6 } else { Activation::None };
            check(vec![of.layer(0, activation, None)], [from, size[0], size[1]], batch, &[1]);
        }

        #[test]
        fn winograd_and_residuals_equal_their_definition(
            from in 14..40usize, to in 14..40usize, padding in 0..2usize, size in [4..14usize, 4..14usize],
            batch in 1..4usize,
        ) {
            let of = Of { padding: [padding; 4], ..square([from, to], 3, 1) };
            let mut layers = vec![of.layer(0, Activation::None, None)];
            layers.push(of.layer(0, Activation::Relu, Some(1)));
            layers.push(square([to, to], 1, 1).layer(2, Activation::Relu, Some(1)));
            check(layers, [from, size[0], size[1]], batch, &[1, 2, 3]);
        }

        #[test]
        fn depthwise_equals_its_definition(
            channels in 1..40usize, five: bool, two: bool, same: bool, size in [5..24usize, 5..24usize],
            batch in 1..3usize,
        ) {
            let kernel = if five { 5 } else { 3 };
            // Padding of "same" convolutions of stride 2, which is wider at the end.
            let before = if same { (kernel - 1) / 2 - usize::from(two) } else { 0 };
            let after = if same { kernel / 2 } else { 0 };
            let padding = [before, before, after, after];
            let stride = [1 + usize::from(two); 2];
            let of = Of { padding, stride, groups: channels, ..square([channels; 2], kernel, 1) };
            let mut layers = vec![of.layer(0, Activation::Relu6, None)];
            layers.push(of.layer(0, Activation::None, Some(1)));
            check(layers, [channels, size[0], size[1]], batch, &[2, 1]);
        }

        #[test]
        fn pools_equal_their_definition(
            channels in 1..20usize, kernel in [1..5usize, 1..5usize], stride in [1..5usize, 1..5usize],
            padding in [0..3usize, 0..3usize], size in [1..12usize, 1..12usize], to in [1..9usize, 1..9usize],
            ceil: bool, batch in 1..4usize,
        ) {
            let half = [padding[0].min(kernel[0] / 2), padding[1].min(kernel[1] / 2)];
            let padding = [half[0], half[1], half[0], half[1]];
            let size = [size[0].max(kernel[0]), size[1].max(kernel[1])];
            let layers = vec![
                Layer::MaxPool { input: 0, kernel, stride, padding, ceil },
                Layer::AvgPoolTo { input: 0, size: to },
            ];
            check(layers, [channels, size[0], size[1]], batch, &[1, 2]);
        }
    }

    #[test]
    fn fire_modules_concatenate_in_place() {
        let mut layers = vec![
            Of { padding: [0; 4], ..square([3, 24], 7, 2) }.layer(0, Activation::Relu, None),
            Layer::MaxPool { input: 1, kernel: [3; 2], stride: [2; 2], padding: [0; 4], ceil: true },
        ];
        let mut channels = 24;
        for (squeeze, expand) in [(16, 32), (20, 24), (7, 9)] {
            let last = layers.len();
            layers.push(square([channels, squeeze], 1, 1).layer(last, Activation::Relu, None));
            layers.push(square([squeeze, expand], 1, 1).layer(last + 1, Activation::Relu, None));
            layers.push(square([squeeze, expand], 3, 1).layer(last + 1, Activation::Relu, None));
            layers.push(Layer::Concat { inputs: vec![last + 2, last + 3] });
            channels = 2 * expand;
        }
        let last = layers.len();
        check(layers.clone(), [3, 37, 45], 5, &[last]);
        check(layers, [3, 29, 31], 4, &[2, 4, 6, 8, last]);
    }

    #[test]
    fn concatenations_of_any_values_are_right() {
        let conv = |input, add| square([18, 18], 3, 1).layer(input, Activation::Relu, add);
        let layers = vec![
            conv(0, None),
            conv(1, Some(0)),
            Layer::Concat { inputs: vec![2, 0, 1, 1] },
            Layer::AvgPoolTo { input: 2, size: [6, 5] },
            Layer::Concat { inputs: vec![3, 4] },
            square([90, 8], 1, 1).layer(5, Activation::None, None),
        ];
        check(layers.clone(), [18, 6, 5], 4, &[6, 0, 3]);
        check(layers, [18, 6, 5], 1, &[5]);
    }

    #[test]
    fn linear_layers_read_planes() {
        let linear = |input, from: usize, to: usize| Layer::Linear {
            input,
            weight: numbers(from * to, to, (3.0 / from as f32).sqrt()),
            bias: numbers(to, 1, 0.5),
            activation: Activation::Relu,
        };
        let layers = vec![
            square([3, 10], 3, 1).layer(0, Activation::Relu, None),
            Layer::AvgPoolTo { input: 1, size: [3, 2] },
            linear(2, 60, 130),
            linear(3, 130, 7),
        ];
        check(layers.clone(), [3, 8, 9], 7, &[4, 2, 3]);
        check(layers, [3, 3, 2], 1, &[4]);
    }

    #[test]
    fn inverted_bottlenecks_add_their_input() {
        let same = [0, 0, 1, 1];
        let depthwise =
            |kernel, stride, padding| Of { groups: 36, stride: [stride; 2], padding, ..square([36; 2], kernel, 1) };
        let layers = vec![
            Of { padding: same, ..square([3, 12], 3, 2) }.layer(0, Activation::Relu6, None),
            square([12, 36], 1, 1).layer(1, Activation::Relu6, None),
            depthwise(5, 1, [2; 4]).layer(2, Activation::Relu6, None),
            square([36, 12], 1, 1).layer(3, Activation::None, Some(1)),
            square([12, 36], 1, 1).layer(4, Activation::Relu6, None),
            depthwise(3, 2, same).layer(5, Activation::Relu6, None),
            square([36, 20], 1, 1).layer(6, Activation::None, None),
        ];
        check(layers.clone(), [3, 32, 30], 5, &[7]);
        check(layers, [3, 20, 22], 2, &[4, 7, 1]);
    }

    #[test]
    fn runs_in_several_threads_at_once() {
        let layers = vec![
            square([3, 20], 3, 2).layer(0, Activation::Relu, None),
            square([20, 20], 3, 1).layer(1, Activation::Relu, Some(1)),
        ];
        let plan = Network::new(3, layers).and_then(|network| network.plan([12, 10], &[2])).expect("all fits");
        let run = |seed| {
            let mut outputs = vec![Vec::new()];
            plan.run(&numbers(5 * 360, seed, 1.0), 5, &mut outputs);
            outputs
        };
        let expected: Vec<_> = (0..8).map(run).collect();
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|seed| scope.spawn(move || run(seed))).collect();
            for (thread, expected) in threads.into_iter().zip(&expected) {
                assert!(thread.join().expect("no panic") == *expected);
            }
        });
    }

    #[test]
    fn errors_name_what_does_not_fit() {
        let conv = |input| square([3, 4], 3, 1).layer(input, Activation::None, None);
        let order = Network::new(3, vec![conv(1)]).map(|_| ());
        assert_eq!(order, Err(NetworkError::Order { layer: 0, value: 1 }));
        assert!(matches!(Network::new(5, vec![conv(0)]), Err(NetworkError::Layer { layer: 0, .. })));
        let network =
            Network::new(3, vec![Of { padding: [0; 4], ..square([3, 4], 3, 1) }.layer(0, Activation::None, None)]);
        let network = network.expect("the layer fits");
        assert_eq!(network.plan([4, 4], &[2]).map(|_| ()), Err(NetworkError::Tap(2)));
        assert_eq!(network.plan([4, 0], &[1]).map(|_| ()), Err(NetworkError::Empty));
        assert!(matches!(network.plan([2, 4], &[1]), Err(NetworkError::Layer { layer: 0, .. })));
    }
}
