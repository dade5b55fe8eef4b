//! GRU-RCN: one recurrent layer per level of percepts, in the paper's three forms.

use std::fmt;

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::stacking::pool_to;
use super::{ConvGru, ConvGruConfig, ConvGruTrace};
use crate::percepts::{Level, Percepts, per_frame};

/// How the recurrent layers of the levels are arranged.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// Each level on its own (section 3.1 of the paper).
    Independent,
    /// Each level's gates also see the hidden map of the level below, of the same time step
    /// (section 3.2).
    Stacked,
    /// Each level on its own, forward and backward in time with separate weights; the two last
    /// states are concatenated (section 5.1.1).
    Bidirectional,
}

/// The name in files: `independent`, `stacked`, `bidirectional`.
impl fmt::Display for Form {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        self.serialize(formatter)
    }
}

/// Configuration of [`GruRcn`].
#[derive(Config, Debug)]
pub struct GruRcnConfig {
    /// The levels of percepts, bottom up.
    pub levels: Vec<Level>,
    /// Hidden channels of each level's layer. The paper has 64, 128, 256, 256, 512 for VGG-16's
    /// pool2 to fc-7.
    pub hidden: Vec<usize>,
    /// The arrangement.
    #[config(default = "Form::Independent")]
    pub form: Form,
    /// Kernel of levels with spatial extent; a level of 1x1 cells always has 1x1 kernels, to which
    /// zero-padded larger ones would be equal.
    #[config(default = 3)]
    pub kernel_size: usize,
    /// Biases in the recurrent layers; the paper's equations have none.
    #[config(default = false)]
    pub bias: bool,
    /// In the stacked form, let the bottom-up input enter the candidate too; equation 11 does not.
    #[config(default = false)]
    pub below_to_candidate: bool,
}

/// Why a [`GruRcnConfig`] cannot be built.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GruRcnConfigError {
    /// The list of levels is empty.
    #[error("a GRU-RCN needs at least one level of percepts")]
    NoLevels,
    /// The number of hidden sizes is not that of the levels.
    #[error("{} levels ({}) but {hidden} hidden sizes: give one per level", levels.len(), levels.join(", "))]
    HiddenSizes {
        /// Names of the levels.
        levels: Vec<String>,
        /// Number of hidden sizes.
        hidden: usize,
    },
    /// A level's hidden size is zero.
    #[error("the hidden size of level {0} is zero")]
    ZeroHidden(String),
    /// A level has no channels or no cells.
    #[error("level {} is empty: {} channels of {}x{} cells", .0.name, .0.channels, .0.height, .0.width)]
    EmptyLevel(Level),
    /// The padding cannot keep the size.
    #[error("the kernel size must be odd, not {0}")]
    EvenKernel(usize),
    /// The stacked form pools upwards only.
    #[error("level {above} is larger than level {below} under it: list levels bottom up for the stacked form")]
    NotShrinking {
        /// The lower level.
        below: String,
        /// The level above it.
        above: String,
    },
}

/// A convolutional GRU per level, whose output is its last hidden map; see [`GruRcn::forward`].
#[derive(Module, Debug)]
pub struct GruRcn {
    /// One layer per level, bottom up.
    pub layers: Vec<ConvGru>,
    /// The layers that read the clip backwards; empty unless bi-directional.
    pub backward_layers: Vec<ConvGru>,
    /// Its configuration.
    #[module(skip)]
    pub config: GruRcnConfig,
}

/// Hidden maps of a stream, one per level; see [`GruRcn::step`].
pub type GruRcnState = Vec<Tensor<4>>;

impl GruRcnConfig {
    /// Checks the configuration.
    pub fn validate(&self) -> Result<(), GruRcnConfigError> {
        if self.levels.is_empty() {
            return Err(GruRcnConfigError::NoLevels);
        }
        if self.levels.len() != self.hidden.len() {
            let levels = self.levels.iter().map(|level| level.name.clone()).collect();
            return Err(GruRcnConfigError::HiddenSizes { levels, hidden: self.hidden.len() });
        }
        if let Some(level) = self.levels.iter().find(|level| level.channels * level.height * level.width == 0) {
            return Err(GruRcnConfigError::EmptyLevel(level.clone()));
        }
        if let Some(level) = self.hidden.iter().position(|&hidden| hidden == 0) {
            return Err(GruRcnConfigError::ZeroHidden(self.levels[level].name.clone()));
        }
        if self.kernel_size.is_multiple_of(2) {
            return Err(GruRcnConfigError::EvenKernel(self.kernel_size));
        }
        let grows = |pair: &&[Level]| pair[1].height > pair[0].height || pair[1].width > pair[0].width;
        if self.form == Form::Stacked
            && let Some(pair) = self.levels.windows(2).find(grows)
        {
            return Err(GruRcnConfigError::NotShrinking { below: pair[0].name.clone(), above: pair[1].name.clone() });
        }
        Ok(())
    }

    /// Layers with freshly drawn weights.
    ///
    /// # Panics
    ///
    /// If [`validate`](Self::validate) fails.
    pub fn init(&self, device: &Device) -> GruRcn {
        if let Err(error) = self.validate() {
            panic!("{error}");
        }
        let layers = |stacked: bool| -> Vec<ConvGru> {
            (0..self.levels.len()).map(|level| self.layer(level, stacked).init(device)).collect()
        };
        let backward_layers = if self.form == Form::Bidirectional { layers(false) } else { Vec::new() };
        GruRcn { layers: layers(self.form == Form::Stacked), backward_layers, config: self.clone() }
    }

    /// The configuration of one level's layer.
    fn layer(&self, level: usize, stacked: bool) -> ConvGruConfig {
        let info = &self.levels[level];
        ConvGruConfig::new(info.channels, self.hidden[level])
            .with_kernel_size(if info.is_vector() { 1 } else { self.kernel_size })
            .with_bias(self.bias)
            .with_below_channels((stacked && level > 0).then(|| self.hidden[level - 1]))
            .with_below_to_candidate(self.below_to_candidate)
    }

    /// Channels of each level's output: the hidden size, twice that if bi-directional.
    pub fn out_channels(&self) -> Vec<usize> {
        let directions = if self.form == Form::Bidirectional { 2 } else { 1 };
        self.hidden.iter().map(|hidden| directions * hidden).collect()
    }
}

impl GruRcn {
    /// Runs over the percepts of a batch of clips.
    ///
    /// # Shapes
    ///
    /// - input, per level: `[batch, time, channel, height, width]`
    /// - output, per level: the last hidden map `[batch, out, height, width]`; bi-directional, the
    ///   forward direction's after the last frame, then the backward direction's after the first
    ///
    /// # Panics
    ///
    /// If the number of levels or a level's number of channels differs from the configuration's.
    pub fn forward(&self, percepts: Percepts) -> Vec<Tensor<4>> {
        self.check(percepts.maps.iter().map(|map| map.dims()), 2);
        match self.config.form {
            Form::Independent => run(&self.layers, &percepts),
            Form::Stacked => self.stacked(percepts),
            Form::Bidirectional => {
                let forward = run(&self.layers, &percepts);
                let backward = run(&self.backward_layers, &percepts.reversed());
                forward.into_iter().zip(backward).map(|(f, b)| Tensor::cat(vec![f, b], 1)).collect()
            }
        }
    }

    /// The traces of the layers, for clips as [`forward`](Self::forward) takes them: per level that of its
    /// layer, and in the bi-directional form that of its backward layer too, both in the order of the
    /// frames. A level's output is the sum over time of [`kept`](ConvGruTrace::kept), the directions one
    /// after the other.
    ///
    /// # Panics
    ///
    /// As [`forward`](Self::forward).
    pub fn traces(&self, percepts: Percepts) -> Vec<Vec<ConvGruTrace>> {
        self.check(percepts.maps.iter().map(|map| map.dims()), 2);
        let mut below: Option<Tensor<5>> = None;
        let levels = self.layers.iter().zip(percepts.maps).enumerate();
        let traces = levels.map(|(level, (layer, map))| {
            let size = [map.dims()[3], map.dims()[4]];
            let forward =
                layer.trace(map.clone(), below.take().map(|below| per_frame(below, |maps| pool_to(maps, size))));
            below = (self.config.form == Form::Stacked).then(|| forward.sequence.clone());
            let backward = self.backward_layers.get(level);
            let backward = backward.map(|layer| layer.trace(map.flip([1]), None).reversed());
            std::iter::once(forward).chain(backward).collect()
        });
        traces.collect()
    }

    /// Panics unless maps of these shapes are those of the levels, with the channels at position
    /// `axis`.
    fn check<const D: usize>(&self, shapes: impl ExactSizeIterator<Item = [usize; D]>, axis: usize) {
        let levels = &self.config.levels;
        assert!(shapes.len() == levels.len(), "GruRcn: maps of {} levels, expected {}", shapes.len(), levels.len());
        for (Level { name, channels, .. }, found) in levels.iter().zip(shapes) {
            let channels = *channels;
            assert!(found[axis] == channels, "GruRcn `{name}`: maps of shape {found:?}, expected {channels} channels");
        }
    }

    /// Level by level: the level below is complete when a level starts, which is the same as step
    /// by step, for a step uses the level below at the same step only.
    fn stacked(&self, percepts: Percepts) -> Vec<Tensor<4>> {
        let mut below: Option<Tensor<5>> = None;
        let mut last = Vec::with_capacity(self.layers.len());
        for (layer, map) in self.layers.iter().zip(percepts.maps) {
            let size = [map.dims()[3], map.dims()[4]];
            let output =
                layer.forward_stacked(map, below.map(|below| per_frame(below, |maps| pool_to(maps, size))), None);
            last.push(output.last);
            below = Some(output.sequence);
        }
        last
    }

    /// One time step of a stream, for the independent and the stacked form.
    ///
    /// # Shapes
    ///
    /// - maps, per level: `[batch, channel, height, width]`
    /// - state, and output, per level: `[batch, hidden, height, width]`; `None` at the first step
    ///
    /// # Panics
    ///
    /// In the bi-directional form, which needs the whole clip, and if the number of levels or a
    /// level's number of channels differs from the configuration's.
    pub fn step(&self, maps: Vec<Tensor<4>>, state: Option<GruRcnState>) -> GruRcnState {
        assert!(
            self.config.form != Form::Bidirectional,
            "a bi-directional GRU-RCN needs the whole clip; streams need the independent or the stacked form"
        );
        self.check(maps.iter().map(|map| map.dims()), 1);
        let mut next: GruRcnState = Vec::with_capacity(self.layers.len());
        for (level, (layer, map)) in self.layers.iter().zip(maps).enumerate() {
            let size = [map.dims()[2], map.dims()[3]];
            let below = layer.below_to_hidden.is_some().then(|| pool_to(next[level - 1].clone(), size));
            let previous = state.as_ref().map(|state| state[level].clone());
            next.push(layer.step_stacked(map, below, previous));
        }
        next
    }
}

fn run(layers: &[ConvGru], percepts: &Percepts) -> Vec<Tensor<4>> {
    layers.iter().zip(&percepts.maps).map(|(layer, map)| layer.last(map.clone(), None)).collect()
}

#[cfg(test)]
mod tests;
