//! Properties of the three forms, and the paper's numbers of parameters.

use burn::module::Param;
use burn::tensor::DType;

use super::*;
use crate::backbone::Vgg16Config;
use crate::head::LevelHeadsConfig;
use crate::testing::{assert_panics, assert_same, device, difference, drawn, redrawn};

const BATCH: usize = 2;
const TIME: usize = 4;

/// Three levels of 9x6, 4x3 and 1x1 cells.
fn config(form: Form) -> GruRcnConfig {
    let level = |name: &str, channels, height, width| Level::new(name.into(), channels, height, width);
    let levels = vec![level("low", 3, 9, 6), level("middle", 4, 4, 3), level("top", 5, 1, 1)];
    GruRcnConfig::new(levels, vec![4, 3, 5]).with_form(form)
}

fn model(form: Form) -> GruRcn {
    redrawn(config(form).init(&device()), 11, 0.7, DType::F32)
}

fn percepts(seed: u64) -> Percepts {
    let levels = config(Form::Independent).levels;
    let map = |(l, level): (usize, &Level)| {
        drawn(seed + l as u64, [BATCH, TIME, level.channels, level.height, level.width], &device())
    };
    Percepts::new(levels.iter().enumerate().map(map).collect())
}

fn frame(percepts: &Percepts, t: usize) -> Vec<Tensor<4>> {
    percepts.maps.iter().map(|map| map.clone().narrow(1, t, 1).squeeze_dim(1)).collect()
}

fn assert_levels_same(a: &[Tensor<4>], b: &[Tensor<4>]) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert_same(a.clone(), b.clone());
    }
}

/// With bottom-up weights of zero the stacked form is the independent one; with others it is not,
/// above the first level.
#[test]
fn stacked_without_bottom_up_is_independent() {
    let mut stacked = model(Form::Stacked);
    let mut independent = model(Form::Independent);
    let clip = percepts(50);
    for (ours, theirs) in independent.layers.iter_mut().zip(&stacked.layers) {
        ours.input_to_hidden = theirs.input_to_hidden.clone();
        ours.hidden_to_gates = theirs.hidden_to_gates.clone();
        ours.hidden_to_candidate = theirs.hidden_to_candidate.clone();
    }
    let expected = independent.forward(clip.clone());
    let driven = stacked.forward(clip.clone());
    assert_same(driven[0].clone(), expected[0].clone());
    for level in 1..3 {
        assert!(difference(driven[level].clone(), expected[level].clone()) > 1e-3, "level {level}");
    }
    for layer in &mut stacked.layers {
        if let Some(conv) = &mut layer.below_to_hidden {
            conv.weight = Param::from_tensor(conv.weight.val().zeros_like());
        }
    }
    assert_levels_same(&stacked.forward(clip), &expected);
}

/// The paper's order is for each step, for each level; the model computes for each level, for each
/// step.
#[test]
fn stacked_level_by_level_equals_step_by_step() {
    for to_candidate in [false, true] {
        let config = config(Form::Stacked).with_below_to_candidate(to_candidate);
        let model = redrawn(config.init(&device()), 12, 0.7, DType::F32);
        let clip = percepts(60);
        let mut hidden: Vec<Option<Tensor<4>>> = vec![None; 3];
        for t in 0..TIME {
            for (level, x) in frame(&clip, t).into_iter().enumerate() {
                let size = [x.dims()[2], x.dims()[3]];
                let below = (level > 0).then(|| pool_to(hidden[level - 1].clone().unwrap(), size));
                hidden[level] = Some(model.layers[level].step_stacked(x, below, hidden[level].take()));
            }
        }
        let hidden: Vec<Tensor<4>> = hidden.into_iter().flatten().collect();
        assert_levels_same(&model.forward(clip), &hidden);
    }
}

/// Section 3.1: `3 k^2 (in * hidden + hidden^2)` per level, e.g. pool2: 3 * 9 * (128 * 64 + 64 *
/// 64) = 331,776, and for fc-7 with 1x1 kernels 3 * (4096 * 512 + 512 * 512) = 7,077,888. Section
/// 3.2 adds `2 k^2 hidden_below * hidden`: 147,456 + 589,824 + 1,179,648 + 262,144. Classifiers:
/// (1216 + 5) * 101 = 123,321; with both directions (2432 + 5) * 101 = 246,137.
#[test]
fn parameter_counts_are_the_paper_s() {
    let device = device();
    let vgg = Vgg16Config::new().levels();
    let paper = GruRcnConfig::new(vgg, vec![64, 128, 256, 256, 512]);
    let per_level: Vec<usize> = (0..5).map(|level| paper.layer(level, false).init(&device).num_params()).collect();
    assert_eq!(per_level, [331_776, 1_327_104, 5_308_416, 5_308_416, 7_077_888]);
    for (form, recurrent, heads) in [
        (Form::Independent, 19_353_600, 123_321),
        (Form::Stacked, 19_353_600 + 2_179_072, 123_321),
        (Form::Bidirectional, 38_707_200, 246_137),
    ] {
        let config = paper.clone().with_form(form);
        // Counted without drawing them: weights are drawn when first used.
        assert_eq!(config.init(&device).num_params(), recurrent, "{form:?}");
        assert_eq!(LevelHeadsConfig::new(config.out_channels(), 101).init(&device).num_params(), heads, "{form:?}");
    }
}

#[test]
fn validate_names_the_level_at_fault() {
    let good = || config(Form::Stacked);
    assert_eq!(good().validate(), Ok(()));
    let (mut empty, mut upside_down) = (good(), good());
    empty.levels[2].height = 0;
    upside_down.levels.swap(0, 1);
    // Where no level looks at another, the order is free.
    assert_eq!(upside_down.clone().with_form(Form::Independent).validate(), Ok(()));
    let larger = "level low is larger than level middle under it: list levels bottom up for the stacked form";
    for (wrong, message) in [
        (GruRcnConfig::new(vec![], vec![]), "a GRU-RCN needs at least one level of percepts"),
        (
            GruRcnConfig { hidden: vec![4, 3], ..good() },
            "3 levels (low, middle, top) but 2 hidden sizes: give one per level",
        ),
        (empty, "level top is empty: 5 channels of 0x1 cells"),
        (GruRcnConfig { hidden: vec![4, 0, 5], ..good() }, "the hidden size of level middle is zero"),
        (good().with_kernel_size(4), "the kernel size must be odd, not 4"),
        (good().with_kernel_size(0), "the kernel size must be odd, not 0"),
        (upside_down, larger),
    ] {
        assert_eq!(wrong.validate().unwrap_err().to_string(), message);
    }
}

#[test]
fn maps_that_do_not_fit_are_refused() {
    let maps = || frame(&percepts(90), 0);
    assert_panics("at least one level", || GruRcnConfig::new(vec![], vec![]).init(&device()));
    assert_panics("needs the whole clip", || model(Form::Bidirectional).step(maps(), None));
    let two = maps().drain(..2).collect::<Vec<_>>();
    let independent = model(Form::Independent);
    assert_panics("GruRcn: maps of 2 levels, expected 3", || independent.step(two, None));
    let mut percepts = percepts(90);
    percepts.maps[1] = percepts.maps[1].clone().narrow(2, 0, 3);
    let message = "GruRcn `middle`: maps of shape [2, 4, 3, 4, 3], expected 4 channels";
    assert_panics(message, || independent.forward(percepts));
}
