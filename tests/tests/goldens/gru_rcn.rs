//! GRU-RCN in its three forms against the paper's equations written step by step: classifiers, both
//! losses with and without class weights, and all gradients.

use burn::module::Param;
use burn::tensor::{Device, Int, Tensor};
use gru_rcn::classifier::{GruRcnClassifier, GruRcnClassifierConfig, StreamState};
use gru_rcn::head::LossKind;
use gru_rcn::percepts::{Level, NormRule, PerceptNormConfig, Percepts};
use gru_rcn::recurrent::{ConvGru, Form, GruRcnConfig};

use crate::golden::{Golden, Worst, device, keys};

const CLASSES: usize = 7;

/// The weights of a level's layer, with the reference's names of their parts.
fn parts(layer: &mut ConvGru) -> Vec<(&mut Param<Tensor<4>>, &'static [&'static str])> {
    let mut parts: Vec<(&mut Param<Tensor<4>>, &'static [&'static str])> = vec![
        (&mut layer.input_to_hidden.weight, &["W_z", "W_r", "W"]),
        (&mut layer.hidden_to_gates.weight, &["U_z", "U_r"]),
        (&mut layer.hidden_to_candidate.weight, &["U"]),
    ];
    if let Some(below) = &mut layer.below_to_hidden {
        parts.push((&mut below.weight, &["W_zl", "W_rl"]));
    }
    parts
}

fn model(golden: &Golden, name: &str, form: Form, device: &Device) -> GruRcnClassifier {
    let levels =
        vec![Level::new("a".into(), 3, 9, 6), Level::new("b".into(), 4, 4, 3), Level::new("c".into(), 5, 1, 1)];
    let recurrent = GruRcnConfig::new(levels, vec![4, 3, 5]).with_form(form);
    let mut model = GruRcnClassifierConfig::new(recurrent, CLASSES)
        .with_norm(PerceptNormConfig::new().with_rule(NormRule::Identity))
        .with_dropout(0.0)
        .init(device);
    let fill = |layers: &mut [ConvGru], suffix: &str| {
        for (level, layer) in layers.iter_mut().enumerate() {
            for (weight, names) in parts(layer) {
                *weight = Param::from_tensor(golden.fused(&keys(&format!("{name}.{level}{suffix}"), names), device));
            }
        }
    };
    fill(&mut model.recurrent.layers, "");
    fill(&mut model.recurrent.backward_layers, ".back");
    for (level, linear) in model.heads.classifiers.iter_mut().enumerate() {
        // PyTorch's [out, in] is Burn's [in, out].
        linear.weight = Param::from_tensor(golden.tensor::<2>(&format!("{name}.{level}.V"), device).transpose());
        linear.bias = Some(Param::from_tensor(golden.tensor::<1>(&format!("{name}.{level}.c"), device)));
    }
    model
}

fn percepts(golden: &Golden, device: &Device) -> Percepts {
    Percepts::new((0..3).map(|level| golden.tensor::<5>(&format!("x.{level}"), device)).collect())
}

fn compare(name: &str, form: Form) {
    let golden = Golden::open("gru_rcn.safetensors");
    let device = device().autodiff();
    let target = Tensor::<1, Int>::from_ints([2, 6], &device);
    assert_eq!(golden.indices("target"), [2, 6]);
    let mut model = model(&golden, name, form, &device);

    let mut worst = Worst::of(format!("GruRcn, {name}"), &golden);
    let last = model.recurrent.forward(percepts(&golden, &device));
    for (level, map) in last.into_iter().enumerate() {
        worst.check(map, &keys(&format!("{name}.{level}"), &["last"]));
    }
    // Class c weighs 0.5 + 0.3 c.
    for (kind, loss, weights) in [
        ("mixture", LossKind::Mixture, None),
        ("per_head", LossKind::PerHead, None),
        ("mixture_weighted", LossKind::Mixture, Some([1.1, 2.3])),
        ("per_head_weighted", LossKind::PerHead, Some([1.1, 2.3])),
    ] {
        let maps = percepts(&golden, &device).maps.into_iter().map(Tensor::require_grad).collect();
        let percepts = Percepts::new(maps);
        let logits = model.forward(percepts.clone());
        worst.check(logits.probabilities(), &keys(name, &["probabilities"]));
        let loss = match weights {
            Some(weights) => logits.weighted_loss(target.clone(), loss, &weights),
            None => logits.loss(target.clone(), loss),
        };
        worst.check(loss.clone(), &keys(name, &[&format!("{kind}.loss")]));
        let gradients = loss.backward();
        let prefix = |level: usize, suffix: &str| format!("{name}.{kind}.grad.{level}{suffix}");
        for (level, x) in percepts.maps.iter().enumerate() {
            worst.check(x.grad(&gradients).unwrap(), &keys(&prefix(level, ""), &["x"]));
        }
        let mut check = |layers: &mut [ConvGru], suffix: &str| {
            for (level, layer) in layers.iter_mut().enumerate() {
                for (weight, names) in parts(layer) {
                    let gradient = weight.val().grad(&gradients).unwrap();
                    worst.check(gradient, &keys(&prefix(level, suffix), names));
                }
            }
        };
        check(&mut model.recurrent.layers, "");
        check(&mut model.recurrent.backward_layers, ".back");
        for (level, linear) in model.heads.classifiers.iter().enumerate() {
            let gradient = linear.weight.val().grad(&gradients).unwrap().transpose();
            worst.check(gradient, &keys(&prefix(level, ""), &["V"]));
            let gradient = linear.bias.as_ref().unwrap().val().grad(&gradients).unwrap();
            worst.check(gradient, &keys(&prefix(level, ""), &["c"]));
        }
    }
}

/// The probabilities after every frame, frame by frame.
fn compare_stream(name: &str, form: Form) {
    let golden = Golden::open("gru_rcn.safetensors");
    let device = device();
    let model = model(&golden, name, form, &device);
    let clip = percepts(&golden, &device);
    let mut state = StreamState::default();
    let steps = (0..clip.time()).map(|t| {
        let maps = clip.maps.iter().map(|map| map.clone().narrow(1, t, 1).squeeze_dim::<4>(1)).collect();
        model.step(maps, &mut state).probabilities()
    });
    let found = Tensor::stack::<3>(steps.collect(), 0);
    Worst::of(format!("GruRcn, {name}, stream"), &golden).check(found, &keys(name, &["stream"]));
}

/// A bi-directional model has no stream.
#[test]
fn all_forms_match() {
    compare("independent", Form::Independent);
    compare_stream("independent", Form::Independent);
    compare("stacked", Form::Stacked);
    compare_stream("stacked", Form::Stacked);
    compare("bidirectional", Form::Bidirectional);
}
