//! The tape of GRU-RCN.

use gru_rcn::percepts::Level;
use gru_rcn::recurrent::Form;

use super::tape::{Conv, F32, Op, Tape};

/// Shape of a GRU-RCN's training step.
pub(super) struct Recurrent<'a> {
    pub(super) levels: &'a [Level],
    pub(super) hidden: &'a [usize],
    pub(super) form: Form,
    pub(super) kernel: usize,
    pub(super) bias: bool,
    pub(super) clips: usize,
    pub(super) time: usize,
    pub(super) classes: usize,
    /// Whether a gradient of the percepts is wanted, for a CNN that is trained too.
    pub(super) joint: bool,
    pub(super) threads: usize,
}

/// A GRU-RCN, in bytes.
#[derive(Clone, Debug)]
pub(super) struct RecurrentMemory {
    /// The training step from the normalised percepts on.
    pub(super) tape: Tape,
    /// All weights.
    pub(super) weights: usize,
    /// The largest of its parameters.
    pub(super) largest: usize,
    /// The percepts of a batch.
    pub(super) percepts: usize,
}

impl Recurrent<'_> {
    /// Adds it up.
    ///
    /// The backward passes of all levels run side by side, step by step, and end with the convolutions of the inputs: the
    /// tape therefore has these first, for all levels, then the steps.
    pub(super) fn memory(&self) -> RecurrentMemory {
        let directions = if self.form == Form::Bidirectional { 2 } else { 1 };
        let (mut weights, mut largest) = (self.heads(directions), 0);
        let (mut inputs, mut steps) = (Tape::default(), Tape::default());
        let mut drives = 0;
        for level in 0..self.levels.len() {
            for _ in 0..directions {
                for conv in [self.input(level), self.gates(level), self.candidate(level)] {
                    weights += conv.parameters();
                    largest = largest.max(conv.parameters());
                }
                drives += self.input(level).output();
                let mut op = self.input(level).op(true);
                // The input in the order of time, a copy that the convolution keeps.
                op.own += self.input(level).input();
                inputs.push(op);
                steps.push(self.steps(level));
                if self.form == Form::Stacked && level > 0 {
                    let below = self.below(level);
                    weights += below.parameters();
                    largest = largest.max(below.parameters());
                    // The pooled states below with their indices, and the sequence that they were pooled from.
                    let sequence = self.map(level - 1) * self.time;
                    let own = 2 * below.input() + sequence;
                    inputs.push(Op { own, ..below.op(false) });
                }
            }
        }
        let percepts: usize = (0..self.levels.len()).map(|level| self.input(level).input()).sum();
        // While the input's gradients of one level are computed, those of the others wait.
        let mut tape = Tape::default();
        let reversed = if directions == 2 { percepts } else { 0 };
        tape.push(Op { own: percepts + reversed, ..Op::default() });
        tape.extend(waiting(inputs, drives));
        tape.extend(steps);
        RecurrentMemory { tape, weights, largest, percepts }
    }

    fn pixels(&self, level: usize) -> usize {
        self.levels[level].height * self.levels[level].width
    }

    /// Bytes of one step's state of a batch.
    fn map(&self, level: usize) -> usize {
        self.clips * self.hidden[level] * self.pixels(level) * F32
    }

    fn conv(&self, level: usize, frames: usize, channels: [usize; 2], bias: bool) -> Conv {
        let pixels = [self.pixels(level); 2];
        let kernel = if self.levels[level].is_vector() { 1 } else { self.kernel };
        Conv { frames, channels, pixels, kernel, bias, input_gradient: true, threads: self.threads }
    }

    /// The input-to-hidden convolution of all steps.
    fn input(&self, level: usize) -> Conv {
        let channels = [self.levels[level].channels, 3 * self.hidden[level]];
        let conv = self.conv(level, self.clips * self.time, channels, self.bias);
        Conv { input_gradient: self.joint, ..conv }
    }

    fn gates(&self, level: usize) -> Conv {
        self.conv(level, self.clips, [self.hidden[level], 2 * self.hidden[level]], false)
    }

    fn candidate(&self, level: usize) -> Conv {
        self.conv(level, self.clips, [self.hidden[level]; 2], false)
    }

    fn below(&self, level: usize) -> Conv {
        self.conv(level, self.clips * self.time, [self.hidden[level - 1], 2 * self.hidden[level]], false)
    }

    /// All steps of a level. The first keeps three maps: update gate, candidate and their product. Every other keeps
    /// eight: two each before and after the sigmoid, the candidate before its tanh, the reset state, the candidate's
    /// distance from the state, and the state. The gradients of the input's part, three maps a step, pile up until the
    /// input's convolution is reached.
    fn steps(&self, level: usize) -> Op {
        let (map, gates) = (self.map(level), self.gates(level));
        let gradients = if self.time > 1 { gates.parameters() + self.candidate(level).parameters() } else { 0 };
        Op {
            own: (8 * self.time - 5) * map,
            output: 0,
            forward: gates.copies() + 3 * map,
            backward: 3 * self.time * map + gates.op(true).backward,
            gradients,
        }
    }

    /// The classifiers' parameters.
    fn heads(&self, directions: usize) -> usize {
        self.hidden.iter().map(|hidden| (directions * hidden + 1) * self.classes * F32).sum()
    }
}

/// The input convolutions, in whose backward pass the gradients of all drives are there at once, and once more that of
/// the level at hand, joined from those of its steps.
fn waiting(inputs: Tape, drives: usize) -> Tape {
    inputs.map(|op| Op { backward: op.backward + drives, ..op })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paper(form: Form, clips: usize) -> RecurrentMemory {
        let level = |name: &str, channels, side| Level::new(name.into(), channels, side, side);
        let levels = [
            level("pool2", 128, 56),
            level("pool3", 256, 28),
            level("pool4", 512, 14),
            level("pool5", 512, 7),
            level("fc7", 4096, 1),
        ];
        let hidden = [64, 128, 256, 256, 512];
        let (kernel, bias, time, classes, joint, threads) = (3, false, 10, 101, false, 2);
        Recurrent { levels: &levels, hidden: &hidden, form, kernel, bias, clips, time, classes, joint, threads }
            .memory()
    }

    /// PAPER's counts: 19,353,600 weights of the layers and 123,321 of the classifiers; stacked 2,179,072 more; in both
    /// directions twice the layers and 246,137 of the classifiers. A frame's five maps are 731,648 numbers.
    #[test]
    fn weights_and_percepts_are_the_paper_s() {
        let plain = paper(Form::Independent, 2);
        assert_eq!(plain.weights, 4 * (19_353_600 + 123_321));
        assert_eq!(plain.percepts, 4 * 2 * 10 * 731_648);
        assert_eq!(paper(Form::Stacked, 1).weights, 4 * (19_353_600 + 2_179_072 + 123_321));
        assert_eq!(paper(Form::Bidirectional, 1).weights, 4 * (2 * 19_353_600 + 246_137));
    }

    /// A clip's states are 64·56² + 128·28² + 256·14² + 256·7² + 512 = 364,288 numbers a step, of which 8·10 − 5 are kept
    /// by the steps and 3·10 by the inputs' convolutions; the percepts are there twice.
    #[test]
    fn what_a_clip_keeps() {
        assert_eq!(paper(Form::Independent, 1).tape.kept(), 4 * (364_288 * (75 + 30) + 2 * 10 * 731_648));
    }
}
