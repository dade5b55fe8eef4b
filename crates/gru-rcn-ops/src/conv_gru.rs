//! The ConvGRU over a clip, forward and backward through time.
//!
//! ```text
//! z  = sigmoid(x_z + U_z * h)
//! r  = sigmoid(x_r + U_r * h)
//! n  = tanh   (x_n + U   * (r . h))
//! h' = h + z . (n - h)
//! ```
//!
//! The `x` are the projected input: the input convolution of all steps, biases included, which
//! [`crate::square`] computes in one call. The gates, the reset product and the blend run on the
//! sums of the convolutions while they are in registers, and so do their gradients. A clip keeps
//! `z`, `r` and `n` in the memory of the projected input, and its gradient replaces them there.
//! Against exact arithmetic the relative error of values is below 1e-5 and of gradients below 1e-4
//! of the largest value.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::sigmoid::{sigmoid, tanh};
use crate::simd::{lanes, load, store};
use crate::square::{Cut, SquareWeights, weight_gradient};
use crate::winograd::{Epilogue, Map, Workspaces, pieces};

/// A ConvGRU layer on clips of one size. Time is outermost: sequences are
/// `[time, batch, height, width, hidden]`.
#[derive(Clone, Debug)]
pub struct ConvGruClip {
    /// Steps.
    pub time: usize,
    /// Clips.
    pub batch: usize,
    /// Rows of a map.
    pub height: usize,
    /// Pixels of a row.
    pub width: usize,
    /// Channels of the state.
    pub hidden: usize,
    /// Side of the kernels, odd.
    pub kernel: usize,
    /// Whether the last step comes first, as in the second direction of a bi-directional layer.
    pub reversed: bool,
}

/// Weights of the state's convolutions, as PyTorch lays them out.
#[derive(Clone, Copy, Debug)]
pub struct ConvGruWeights<'a> {
    /// `U_z, U_r` stacked, `[2 * hidden, hidden, kernel, kernel]`.
    pub hidden_to_gates: &'a [f32],
    /// `U`, `[hidden, hidden, kernel, kernel]`.
    pub hidden_to_candidate: &'a [f32],
}

/// A clip after [`ConvGruClip::forward`].
#[derive(Clone, Debug)]
pub struct ConvGruTrace {
    /// The states after each step, `[time, batch, height, width, hidden]`.
    pub sequence: Vec<f32>,
    /// `z, r, n` of each step, `[time, batch, height, width, 3 * hidden]`. Without an initial state
    /// the first step has no `r`.
    pub gates: Vec<f32>,
}

/// The gradient to the result of a clip.
#[derive(Clone, Copy, Debug)]
pub enum StateGradient<'a> {
    /// To all states, `[time, batch, height, width, hidden]`.
    Sequence(&'a [f32]),
    /// To the state after the last step, `[batch, height, width, hidden]`.
    Last(&'a [f32]),
}

/// The gradients of a clip.
#[derive(Clone, Debug)]
pub struct ConvGruGradients {
    /// To the projected input, `[time, batch, height, width, 3 * hidden]`.
    pub projected: Vec<f32>,
    /// To the initial state, if there was one, `[batch, height, width, hidden]`.
    pub state: Option<Vec<f32>>,
    /// To `U_z, U_r`.
    pub hidden_to_gates: Vec<f32>,
    /// To `U`.
    pub hidden_to_candidate: Vec<f32>,
}

impl ConvGruClip {
    /// Floats of one state of all clips.
    fn state_len(&self) -> usize {
        self.pixels() * self.hidden
    }

    fn pixels(&self) -> usize {
        self.batch * self.height * self.width
    }

    /// The step that comes `index`th.
    fn step(&self, index: usize) -> usize {
        if self.reversed { self.time - 1 - index } else { index }
    }

    fn map<'a>(&self, data: &'a [f32], frames: usize, channels: usize) -> Map<'a> {
        Map::dense(data, [frames, self.height, self.width, channels])
    }

    fn check(&self, projected: &[f32], state: Option<&[f32]>, weights: ConvGruWeights) {
        let (hidden, taps) = (self.hidden, self.kernel * self.kernel);
        assert!(self.kernel % 2 == 1, "ConvGruClip: a kernel of even side {}", self.kernel);
        let lens = [
            ("projected input", projected.len(), 3 * self.time * self.state_len()),
            ("state", state.map_or(self.state_len(), <[f32]>::len), self.state_len()),
            ("hidden_to_gates", weights.hidden_to_gates.len(), 2 * hidden * hidden * taps),
            ("hidden_to_candidate", weights.hidden_to_candidate.len(), hidden * hidden * taps),
        ];
        for (name, found, expected) in lens {
            assert!(found == expected, "ConvGruClip: {name} has {found} floats, expected {expected} for {self:?}");
        }
    }

    /// Runs over a clip from the projected input, `[time, batch, height, width, 3 * hidden]`, whose
    /// memory the trace keeps, and the state before the first step, zeros if `None`.
    pub fn forward(
        &self,
        projected: Vec<f32>,
        state: Option<&[f32]>,
        weights: ConvGruWeights,
        workspaces: &Workspaces,
    ) -> ConvGruTrace {
        self.check(&projected, state, weights);
        let (hidden, len) = (self.hidden, self.state_len());
        let mut trace = ConvGruTrace { sequence: vec![0.0; self.time * len], gates: projected };
        if self.time == 0 || len == 0 {
            return trace;
        }
        // The reset gate's channels start with a vector of their own.
        let part = hidden.next_multiple_of(lanes());
        let taps = self.kernel * self.kernel;
        let to_gates = SquareWeights::pack([part + hidden, hidden, self.kernel], |o, i, tap| {
            if (hidden..part).contains(&o) {
                return 0.0;
            }
            let o = if o < part { o } else { o - part + hidden };
            weights.hidden_to_gates[(o * hidden + i) * taps + tap]
        });
        let to_candidate = SquareWeights::new(weights.hidden_to_candidate, [hidden, hidden, self.kernel]);
        let shape = [self.batch, self.height, self.width];
        let cuts = [to_gates.cut(shape), to_candidate.cut(shape)];
        let lens = [cuts[0].lens(), cuts[1].lens()];
        let mut reset = vec![0.0; len];
        for index in 0..self.time {
            let step = self.step(index);
            let gates = &mut trace.gates[step * 3 * len..(step + 1) * 3 * len];
            let (previous, next) = self.previous(&mut trace.sequence, state, index);
            let Some(previous) = previous else {
                let work = gates.par_chunks_mut(3 * hidden * CHUNK).zip(next.par_chunks_mut(hidden * CHUNK));
                work.for_each(|(gates, next)| Arch::new().dispatch(FirstStep { hidden, gates, next }));
                continue;
            };
            let epilogues = parts(previous, &lens[0], hidden)
                .zip(pieces(gates, &lens[0], 3 * hidden))
                .zip(pieces(&mut reset, &lens[0], hidden))
                .map(|((previous, gates), reset)| Gates { hidden, part, previous, gates, reset })
                .collect();
            to_gates.run(self.map(previous, self.batch, hidden), &cuts[0], epilogues, workspaces);
            let epilogues = parts(previous, &lens[1], hidden)
                .zip(pieces(gates, &lens[1], 3 * hidden))
                .zip(pieces(next, &lens[1], hidden))
                .map(|((previous, gates), next)| Candidate { hidden, previous, gates, next })
                .collect();
            to_candidate.run(self.map(&reset, self.batch, hidden), &cuts[1], epilogues, workspaces);
        }
        trace
    }

    /// The states before and after the step that comes `index`th.
    fn previous<'a>(
        &self,
        sequence: &'a mut [f32],
        state: Option<&'a [f32]>,
        index: usize,
    ) -> (Option<&'a [f32]>, &'a mut [f32]) {
        let (len, step) = (self.state_len(), self.step(index));
        if index == 0 {
            return (state, &mut sequence[step * len..(step + 1) * len]);
        }
        let [previous, next] = if self.reversed {
            let (next, previous) = sequence[step * len..].split_at_mut(len);
            [&mut previous[..len], next]
        } else {
            let (previous, next) = sequence[(step - 1) * len..].split_at_mut(len);
            [previous, &mut next[..len]]
        };
        (Some(previous), next)
    }

    /// The gradients from that to the result, backward through time, with the gates and the
    /// sequence of the trace. The memory of the gates becomes the gradient to the projected input.
    pub fn backward(
        &self,
        mut gates: Vec<f32>,
        sequence: &[f32],
        state: Option<&[f32]>,
        weights: ConvGruWeights,
        gradient: StateGradient,
        workspaces: &Workspaces,
    ) -> ConvGruGradients {
        self.check(&gates, state, weights);
        let (hidden, len) = (self.hidden, self.state_len());
        let steps = if matches!(gradient, StateGradient::Last(_)) { 1 } else { self.time };
        let (StateGradient::Sequence(values) | StateGradient::Last(values)) = gradient;
        assert!(
            values.len() == steps * len && sequence.len() == self.time * len,
            "ConvGruClip: a gradient of {} floats and a sequence of {} for {self:?}",
            values.len(),
            sequence.len()
        );
        if self.time == 0 || len == 0 {
            return ConvGruGradients {
                projected: gates,
                state: state.map(<[f32]>::to_vec),
                hidden_to_gates: vec![0.0; weights.hidden_to_gates.len()],
                hidden_to_candidate: vec![0.0; weights.hidden_to_candidate.len()],
            };
        }
        let to_gates = SquareWeights::transposed(weights.hidden_to_gates, [2 * hidden, hidden, self.kernel]);
        let to_candidate = SquareWeights::transposed(weights.hidden_to_candidate, [hidden, hidden, self.kernel]);
        let shape = [self.batch, self.height, self.width];
        let cuts = [to_gates.cut(shape), to_candidate.cut(shape)];
        let lens = [cuts[0].lens(), cuts[1].lens()];
        let before = |index: usize| {
            let step = |index| self.step(index) * len..(self.step(index) + 1) * len;
            if index == 0 { state } else { Some(&sequence[step(index - 1)]) }
        };
        let added = |index: usize| match gradient {
            StateGradient::Sequence(values) => Some(&values[self.step(index) * len..(self.step(index) + 1) * len]),
            StateGradient::Last(values) => (index == self.time - 1).then_some(values),
        };
        let mut carry = vec![0.0; len];
        let mut candidate = vec![0.0; len];
        // `r . h` of all steps, the input of the candidate's convolution.
        let mut reset = vec![0.0; self.time * len];
        {
            let index = self.time - 1;
            let step = self.step(index);
            let lens: Vec<usize> = Cut::Pixels(self.pixels()).lens();
            let values = added(index).expect("the last step has a gradient");
            let enters: Vec<_> = self
                .enter(
                    &lens,
                    before(index),
                    &mut gates[step * 3 * len..(step + 1) * 3 * len],
                    &mut carry,
                    &mut candidate,
                )
                .zip(parts(values, &lens, hidden))
                .collect();
            enters.into_par_iter().for_each(|(enter, gradient)| Arch::new().dispatch(EnterLast { enter, gradient }));
        }
        for index in (0..self.time).rev() {
            let Some(previous) = before(index) else { break };
            let step = self.step(index);
            let now = &mut gates[step * 3 * len..(step + 1) * 3 * len];
            let epilogues = parts(previous, &lens[1], hidden)
                .zip(pieces(now, &lens[1], 3 * hidden))
                .zip(pieces(&mut carry, &lens[1], hidden))
                .zip(pieces(&mut reset[step * len..(step + 1) * len], &lens[1], hidden))
                .map(|(((previous, gates), carry), reset)| CandidateGradient { hidden, previous, gates, carry, reset })
                .collect();
            to_candidate.run(self.map(&candidate, self.batch, hidden), &cuts[1], epilogues, workspaces);
            if index == 0 {
                let epilogues = pieces(&mut carry, &lens[0], hidden);
                let epilogues = epilogues.into_iter().map(|carry| Carry { hidden, carry }).collect();
                let now = self.map(now, self.batch, 3 * hidden).channels(0..2 * hidden);
                to_gates.run(now, &cuts[0], epilogues, workspaces);
                break;
            }
            let (now, earlier) = two(&mut gates, step, self.step(index - 1), 3 * len);
            let added = added(index - 1);
            let epilogues = self
                .enter(&lens[0], before(index - 1), earlier, &mut carry, &mut candidate)
                .zip(optional(added, &lens[0], hidden))
                .map(|(enter, added)| GatesGradient { enter, added })
                .collect();
            let now = self.map(now, self.batch, 3 * hidden).channels(0..2 * hidden);
            to_gates.run(now, &cuts[0], epilogues, workspaces);
        }
        let [hidden_to_gates, hidden_to_candidate] = self.weight_gradients(sequence, &gates, &reset, state, workspaces);
        ConvGruGradients { projected: gates, state: state.map(|_| carry), hidden_to_gates, hidden_to_candidate }
    }

    /// The gradients to the weights, over all steps.
    fn weight_gradients(
        &self,
        sequence: &[f32],
        projected: &[f32],
        reset: &[f32],
        state: Option<&[f32]>,
        workspaces: &Workspaces,
    ) -> [Vec<f32>; 2] {
        let (hidden, batch, all) = (self.hidden, self.batch, self.time * self.batch);
        let sequence = self.map(sequence, all, hidden);
        let gradients = self.map(projected, all, 3 * hidden);
        // Frames that have a state before them, the frames before them, the first step's frames.
        let [later, earlier, first] = if self.reversed {
            [0..all - batch, batch..all, all - batch..all]
        } else {
            [batch..all, 0..all - batch, 0..batch]
        };
        let (to_gates, to_candidate) = (0..2 * hidden, 2 * hidden..3 * hidden);
        let mut pairs = vec![(sequence.frames(earlier), gradients.frames(later.clone()).channels(to_gates.clone()))];
        if let Some(state) = state {
            pairs.push((self.map(state, batch, hidden), gradients.frames(first).channels(to_gates)));
        }
        let used = if state.is_some() { 0..all } else { later };
        let reset = self.map(reset, all, hidden).frames(used.clone());
        [
            weight_gradient(&pairs, self.kernel, workspaces),
            weight_gradient(&[(reset, gradients.frames(used).channels(to_candidate))], self.kernel, workspaces),
        ]
    }

    /// [`Enter`] for each piece of a step.
    fn enter<'a>(
        &self,
        lens: &[usize],
        previous: Option<&'a [f32]>,
        gates: &'a mut [f32],
        carry: &'a mut [f32],
        candidate: &'a mut [f32],
    ) -> impl Iterator<Item = Enter<'a>> {
        let hidden = self.hidden;
        optional(previous, lens, hidden)
            .zip(pieces(gates, lens, 3 * hidden))
            .zip(pieces(carry, lens, hidden))
            .zip(pieces(candidate, lens, hidden))
            .map(move |(((previous, gates), carry), candidate)| Enter { hidden, previous, gates, carry, candidate })
    }
}

/// Pixels of a step without convolution that a thread takes at once.
const CHUNK: usize = 64;

/// `values` cut into pieces of `lens` pixels.
fn parts<'a>(mut values: &'a [f32], lens: &[usize], stride: usize) -> impl Iterator<Item = &'a [f32]> {
    lens.iter().map(move |len| {
        let (part, rest) = values.split_at(len * stride);
        values = rest;
        part
    })
}

/// [`parts`], or as many times `None`.
fn optional<'a>(values: Option<&'a [f32]>, lens: &[usize], stride: usize) -> impl Iterator<Item = Option<&'a [f32]>> {
    let mut parts = values.map(|values| parts(values, lens, stride));
    lens.iter().map(move |_| parts.as_mut().and_then(Iterator::next))
}

/// The blocks `read` and `write` of `len` floats.
fn two(values: &mut [f32], read: usize, write: usize, len: usize) -> (&[f32], &mut [f32]) {
    let (low, high) = values.split_at_mut(read.max(write) * len);
    let low = &mut low[read.min(write) * len..][..len];
    let high = &mut high[..len];
    if read < write { (low, high) } else { (high, low) }
}

/// The first step without a state: `h' = z . n`.
struct FirstStep<'a> {
    hidden: usize,
    gates: &'a mut [f32],
    next: &'a mut [f32],
}

impl WithSimd for FirstStep<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { hidden, gates, next } = self;
        for (gates, next) in gates.chunks_exact_mut(3 * hidden).zip(next.chunks_exact_mut(hidden)) {
            let (z, rest) = gates.split_at_mut(hidden);
            let (r, n) = rest.split_at_mut(hidden);
            r.fill(0.0);
            for channel in (0..hidden).step_by(S::F32_LANES) {
                let len = S::F32_LANES.min(hidden - channel);
                let update = sigmoid(simd, load(simd, &z[channel..], len));
                let candidate = tanh(simd, load(simd, &n[channel..], len));
                store(simd, &mut z[channel..], len, update);
                store(simd, &mut n[channel..], len, candidate);
                store(simd, &mut next[channel..], len, simd.mul_f32s(update, candidate));
            }
        }
    }
}

/// Sums of the state's convolution to the gates, and the reset state `r . h`.
struct Gates<'a> {
    hidden: usize,
    /// First channel of the reset gate.
    part: usize,
    previous: &'a [f32],
    gates: &'a mut [f32],
    reset: &'a mut [f32],
}

impl Epilogue for Gates<'_> {
    #[inline(always)]
    fn store<S: Simd>(&mut self, simd: S, pixel: usize, channel: usize, sums: S::f32s) {
        let is_reset = channel >= self.part;
        let channel = if is_reset { channel - self.part } else { channel };
        let len = S::F32_LANES.min(self.hidden - channel);
        let at = pixel * 3 * self.hidden + channel + if is_reset { self.hidden } else { 0 };
        let gate = sigmoid(simd, simd.add_f32s(sums, load(simd, &self.gates[at..], len)));
        store(simd, &mut self.gates[at..], len, gate);
        if is_reset {
            let at = pixel * self.hidden + channel;
            let product = simd.mul_f32s(gate, load(simd, &self.previous[at..], len));
            store(simd, &mut self.reset[at..], len, product);
        }
    }
}

/// Sums of the reset state's convolution to the candidate and the next state.
struct Candidate<'a> {
    hidden: usize,
    previous: &'a [f32],
    gates: &'a mut [f32],
    next: &'a mut [f32],
}

impl Epilogue for Candidate<'_> {
    #[inline(always)]
    fn store<S: Simd>(&mut self, simd: S, pixel: usize, channel: usize, sums: S::f32s) {
        let len = S::F32_LANES.min(self.hidden - channel);
        let gates = &mut self.gates[pixel * 3 * self.hidden + channel..];
        let candidate = tanh(simd, simd.add_f32s(sums, load(simd, &gates[2 * self.hidden..], len)));
        store(simd, &mut gates[2 * self.hidden..], len, candidate);
        let at = pixel * self.hidden + channel;
        let previous = load(simd, &self.previous[at..], len);
        let update = load(simd, gates, len);
        let next = simd.mul_add_e_f32s(update, simd.sub_f32s(candidate, previous), previous);
        store(simd, &mut self.next[at..], len, next);
    }
}

/// The first part of a step's backward pass. The gradient `d` to the step's result gives the gradients
/// before the non-linearities of `z` and `n`, which replace the gates, and the part of the gradient that
/// goes straight to the previous state.
struct Enter<'a> {
    hidden: usize,
    previous: Option<&'a [f32]>,
    gates: &'a mut [f32],
    /// The part that goes straight to the state after this step; replaced by that to the state before it.
    carry: &'a mut [f32],
    candidate: &'a mut [f32],
}

impl Enter<'_> {
    #[inline(always)]
    fn store<S: Simd>(&mut self, simd: S, pixel: usize, channel: usize, len: usize, d: S::f32s) {
        let one = simd.splat_f32s(1.0);
        let gates = &mut self.gates[pixel * 3 * self.hidden + channel..];
        let update = load(simd, gates, len);
        let candidate = load(simd, &gates[2 * self.hidden..], len);
        let at = pixel * self.hidden + channel;
        let mut difference = candidate;
        let keep = simd.sub_f32s(one, update);
        if let Some(previous) = self.previous {
            difference = simd.sub_f32s(candidate, load(simd, &previous[at..], len));
            store(simd, &mut self.carry[at..], len, simd.mul_f32s(d, keep));
        }
        let to_update = simd.mul_f32s(simd.mul_f32s(d, difference), simd.mul_f32s(update, keep));
        // 1 - n^2 as a product, which is exact near 1.
        let slope = simd.mul_f32s(simd.sub_f32s(one, candidate), simd.add_f32s(one, candidate));
        let to_candidate = simd.mul_f32s(simd.mul_f32s(d, update), slope);
        store(simd, gates, len, to_update);
        store(simd, &mut gates[2 * self.hidden..], len, to_candidate);
        store(simd, &mut self.candidate[at..], len, to_candidate);
    }
}

/// [`Enter`] for the last step, from its gradient alone.
struct EnterLast<'a> {
    enter: Enter<'a>,
    gradient: &'a [f32],
}

impl WithSimd for EnterLast<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { mut enter, gradient } = self;
        let hidden = enter.hidden;
        for (pixel, gradient) in gradient.chunks_exact(hidden).enumerate() {
            for channel in (0..hidden).step_by(S::F32_LANES) {
                let len = S::F32_LANES.min(hidden - channel);
                enter.store(simd, pixel, channel, len, load(simd, &gradient[channel..], len));
            }
        }
    }
}

/// Gradient to the reset state `r . h`, to the reset gate and the state.
struct CandidateGradient<'a> {
    hidden: usize,
    previous: &'a [f32],
    gates: &'a mut [f32],
    carry: &'a mut [f32],
    reset: &'a mut [f32],
}

impl Epilogue for CandidateGradient<'_> {
    #[inline(always)]
    fn store<S: Simd>(&mut self, simd: S, pixel: usize, channel: usize, sums: S::f32s) {
        let len = S::F32_LANES.min(self.hidden - channel);
        let at = pixel * self.hidden + channel;
        let gate = &mut self.gates[pixel * 3 * self.hidden + self.hidden + channel..];
        let reset = load(simd, gate, len);
        let product = simd.mul_f32s(reset, load(simd, &self.previous[at..], len));
        let keep = simd.sub_f32s(simd.splat_f32s(1.0), reset);
        store(simd, gate, len, simd.mul_f32s(simd.mul_f32s(sums, product), keep));
        store(simd, &mut self.reset[at..], len, product);
        let carry = simd.mul_add_e_f32s(sums, reset, load(simd, &self.carry[at..], len));
        store(simd, &mut self.carry[at..], len, carry);
    }
}

/// Gradient through the gates' convolution, then [`Enter`] for the step before.
struct GatesGradient<'a> {
    enter: Enter<'a>,
    /// Gradient to that step's result from outside.
    added: Option<&'a [f32]>,
}

impl Epilogue for GatesGradient<'_> {
    #[inline(always)]
    fn store<S: Simd>(&mut self, simd: S, pixel: usize, channel: usize, sums: S::f32s) {
        let len = S::F32_LANES.min(self.enter.hidden - channel);
        let at = pixel * self.enter.hidden + channel;
        let mut d = simd.add_f32s(sums, load(simd, &self.enter.carry[at..], len));
        if let Some(added) = self.added {
            d = simd.add_f32s(d, load(simd, &added[at..], len));
        }
        self.enter.store(simd, pixel, channel, len, d);
    }
}

/// Gradient to the initial state.
struct Carry<'a> {
    hidden: usize,
    carry: &'a mut [f32],
}

impl Epilogue for Carry<'_> {
    #[inline(always)]
    fn store<S: Simd>(&mut self, simd: S, pixel: usize, channel: usize, sums: S::f32s) {
        let len = S::F32_LANES.min(self.hidden - channel);
        let carry = &mut self.carry[pixel * self.hidden + channel..];
        let sum = simd.add_f32s(sums, load(simd, carry, len));
        store(simd, carry, len, sum);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rayon::ThreadPoolBuilder;

    use super::*;
    use crate::winograd::tests::{error, noise};

    /// The clip in f64 by the definition, one number at a time.
    struct Naive<'a> {
        clip: &'a ConvGruClip,
        gates: Vec<f64>,
        candidate: Vec<f64>,
    }

    fn wide(values: &[f32]) -> Vec<f64> {
        values.iter().map(|&x| f64::from(x)).collect()
    }

    impl Naive<'_> {
        /// Places of the kernel that lie on the map: pixel, weight's index.
        fn taps(&self, pixel: usize) -> impl Iterator<Item = (usize, usize)> {
            let (k, height, width) = (self.clip.kernel, self.clip.height, self.clip.width);
            let (line, x) = (pixel / width, pixel % width);
            let (frame, y) = (line / height, line % height);
            (0..k * k).filter_map(move |tap| {
                let y = (y + tap / k).checked_sub(k / 2).filter(|&y| y < height)?;
                let x = (x + tap % k).checked_sub(k / 2).filter(|&x| x < width)?;
                Some(((frame * height + y) * width + x, tap))
            })
        }

        fn convolve(&self, map: &[f64], weight: &[f64], outputs: usize) -> Vec<f64> {
            let (hidden, taps) = (self.clip.hidden, self.clip.kernel * self.clip.kernel);
            let mut sums = vec![0.0; self.clip.pixels() * outputs];
            for pixel in 0..self.clip.pixels() {
                for (source, tap) in self.taps(pixel) {
                    for o in 0..outputs {
                        for i in 0..hidden {
                            sums[pixel * outputs + o] +=
                                map[source * hidden + i] * weight[(o * hidden + i) * taps + tap];
                        }
                    }
                }
            }
            sums
        }

        /// Adds the gradients to map and weight.
        fn convolve_back(
            &self,
            map: &[f64],
            weight: &[f64],
            gradient: &[f64],
            to_map: &mut [f64],
            to_weight: &mut [f64],
        ) {
            let (hidden, taps) = (self.clip.hidden, self.clip.kernel * self.clip.kernel);
            let outputs = gradient.len() / self.clip.pixels();
            for pixel in 0..self.clip.pixels() {
                for (source, tap) in self.taps(pixel) {
                    for o in 0..outputs {
                        let gradient = gradient[pixel * outputs + o];
                        for i in 0..hidden {
                            let at = (o * hidden + i) * taps + tap;
                            to_map[source * hidden + i] += gradient * weight[at];
                            to_weight[at] += gradient * map[source * hidden + i];
                        }
                    }
                }
            }
        }

        /// States before and after each step, and `z, r, n`, in the order of the steps.
        fn forward(&self, projected: &[f32], state: Option<&[f32]>) -> (Vec<Vec<f64>>, Vec<[Vec<f64>; 3]>) {
            let (hidden, len) = (self.clip.hidden, self.clip.state_len());
            let mut states = vec![state.map_or(vec![0.0; len], wide)];
            let mut gates = Vec::new();
            for index in 0..self.clip.time {
                let x = wide(&projected[self.clip.step(index) * 3 * len..][..3 * len]);
                let h = states.last().unwrap().clone();
                let part = |sums: &[f64], outputs: usize, gate: usize, x_gate: usize| -> Vec<f64> {
                    (0..len)
                        .map(|i| {
                            let (pixel, c) = (i / hidden, i % hidden);
                            sums[pixel * outputs * hidden + gate * hidden + c]
                                + x[pixel * 3 * hidden + x_gate * hidden + c]
                        })
                        .collect()
                };
                let sigmoid = |x: Vec<f64>| -> Vec<f64> { x.iter().map(|x| 1.0 / (1.0 + (-x).exp())).collect() };
                let sums = self.convolve(&h, &self.gates, 2 * hidden);
                let z = sigmoid(part(&sums, 2, 0, 0));
                let r = sigmoid(part(&sums, 2, 1, 1));
                let reset: Vec<f64> = r.iter().zip(&h).map(|(r, h)| r * h).collect();
                let sums = self.convolve(&reset, &self.candidate, hidden);
                let n: Vec<f64> = part(&sums, 1, 0, 2).iter().map(|x| x.tanh()).collect();
                states.push((0..len).map(|i| h[i] + z[i] * (n[i] - h[i])).collect());
                gates.push([z, r, n]);
            }
            (states, gates)
        }

        /// Gradients to projected input, state, and both weights.
        fn backward(&self, projected: &[f32], state: Option<&[f32]>, gradient: StateGradient) -> [Vec<f64>; 4] {
            let (hidden, len) = (self.clip.hidden, self.clip.state_len());
            let (states, gates) = self.forward(projected, state);
            let mut d = vec![0.0; len];
            let mut to_projected = vec![0.0; projected.len()];
            let (mut to_gates, mut to_candidate) = (vec![0.0; self.gates.len()], vec![0.0; self.candidate.len()]);
            for index in (0..self.clip.time).rev() {
                let step = self.clip.step(index);
                match gradient {
                    StateGradient::Sequence(values) => {
                        d.iter_mut().zip(&values[step * len..]).for_each(|(d, &x)| *d += f64::from(x));
                    }
                    StateGradient::Last(values) if index == self.clip.time - 1 => d = wide(values),
                    StateGradient::Last(_) => {}
                }
                let ([z, r, n], h) = (&gates[index], &states[index]);
                let mut back: Vec<f64> = (0..len).map(|i| d[i] * (1.0 - z[i])).collect();
                let dn: Vec<f64> = (0..len).map(|i| d[i] * z[i] * (1.0 - n[i] * n[i])).collect();
                let reset: Vec<f64> = (0..len).map(|i| r[i] * h[i]).collect();
                let mut to_reset = vec![0.0; len];
                self.convolve_back(&reset, &self.candidate, &dn, &mut to_reset, &mut to_candidate);
                let mut dg = vec![0.0; 2 * len];
                for i in 0..len {
                    let (pixel, c) = (i / hidden, i % hidden);
                    let dz = d[i] * (n[i] - h[i]) * z[i] * (1.0 - z[i]);
                    let dr = to_reset[i] * h[i] * r[i] * (1.0 - r[i]);
                    back[i] += to_reset[i] * r[i];
                    dg[pixel * 2 * hidden + c] = dz;
                    dg[pixel * 2 * hidden + hidden + c] = dr;
                    let at = step * 3 * len + pixel * 3 * hidden + c;
                    to_projected[at] = dz;
                    to_projected[at + hidden] = dr;
                    to_projected[at + 2 * hidden] = dn[i];
                }
                self.convolve_back(h, &self.gates, &dg, &mut back, &mut to_gates);
                d = back;
            }
            [to_projected, d, to_gates, to_candidate]
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn equals_the_naive_clip(
            [time, batch, height, width] in [1..5_usize, 1..3_usize, 1..8_usize, 1..8_usize],
            hidden in 1..20_usize,
            half in 0..3_usize,
            [reversed, with_state, last] in any::<[bool; 3]>(),
            seed in any::<u32>(),
        ) {
            let kernel = 2 * half + 1;
            let clip = ConvGruClip { time, batch, height, width, hidden, kernel, reversed };
            let scale = 1.5 / (hidden as f32).sqrt() / kernel as f32;
            let weight = |len, seed| -> Vec<f32> { noise(len, seed).iter().map(|x| x * scale).collect() };
            let gates = weight(2 * hidden * hidden * kernel * kernel, seed ^ 1);
            let candidate = weight(hidden * hidden * kernel * kernel, seed ^ 2);
            let weights = ConvGruWeights { hidden_to_gates: &gates, hidden_to_candidate: &candidate };
            let projected: Vec<f32> = noise(time * 3 * clip.state_len(), seed ^ 3).iter().map(|x| x * 3.0).collect();
            let state = noise(clip.state_len(), seed ^ 4);
            let state = with_state.then_some(&*state);
            let gradient = noise(if last { 1 } else { time } * clip.state_len(), seed ^ 5);
            let gradient = if last { StateGradient::Last(&gradient) } else { StateGradient::Sequence(&gradient) };
            let workspaces = Workspaces::default();

            let naive = Naive { clip: &clip, gates: wide(&gates), candidate: wide(&candidate) };
            let trace = clip.forward(projected.clone(), state, weights, &workspaces);
            let (states, _) = naive.forward(&projected, state);
            let expected: Vec<f64> =
                (0..time).flat_map(|step| states[clip.step(step) + 1].clone()).collect();
            prop_assert!(error(&trace.sequence, &expected) < 1e-5, "{}", error(&trace.sequence, &expected));

            let found = clip.backward(trace.gates, &trace.sequence, state, weights, gradient, &workspaces);
            let [to_projected, to_state, to_gates, to_candidate] = naive.backward(&projected, state, gradient);
            prop_assert_eq!(found.state.is_some(), with_state);
            let mut all = vec![
                ("projected", &found.projected, &to_projected),
                ("gates", &found.hidden_to_gates, &to_gates),
                ("candidate", &found.hidden_to_candidate, &to_candidate),
            ];
            all.extend(found.state.as_ref().map(|state| ("state", state, &to_state)));
            for (name, found, expected) in all {
                prop_assert!(error(found, expected) < 5e-5, "{name}: {}", error(found, expected));
            }
        }
    }

    #[test]
    fn does_not_depend_on_the_number_of_threads() {
        for kernel in [1, 3, 5] {
            let clip =
                ConvGruClip { time: 3, batch: 5, height: 13, width: 9, hidden: 11, kernel, reversed: kernel == 3 };
            let taps = kernel * kernel;
            let (gates, candidate) = (noise(2 * 121 * taps, 1), noise(121 * taps, 2));
            let weights = ConvGruWeights { hidden_to_gates: &gates, hidden_to_candidate: &candidate };
            let (projected, state) = (noise(9 * clip.state_len(), 3), noise(clip.state_len(), 4));
            let gradient = noise(3 * clip.state_len(), 5);
            let run = |threads| {
                let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| {
                    let workspaces = Workspaces::default();
                    let trace = clip.forward(projected.clone(), Some(&state), weights, &workspaces);
                    let sequence = trace.sequence.clone();
                    let gradient = StateGradient::Sequence(&gradient);
                    let found = clip.backward(trace.gates, &sequence, Some(&state), weights, gradient, &workspaces);
                    [sequence, found.projected, found.state.unwrap(), found.hidden_to_gates, found.hidden_to_candidate]
                })
            };
            assert_eq!(run(1), run(4), "kernel {kernel}");
        }
    }
}
