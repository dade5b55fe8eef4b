//! The convolutional GRU against equations 5 to 8 written gate by gate.

use burn::module::Param;
use burn::tensor::{Device, Tensor};
use gru_rcn::recurrent::{ConvGru, ConvGruConfig};

use crate::golden::{Golden, Worst, device, keys};

/// The reference has a weight per gate; the layer fuses `W_z, W_r, W` and `U_z, U_r`.
fn layer(golden: &Golden, case: &str, device: &Device) -> ConvGru {
    let input = golden.tensor::<4>(&format!("{case}.W"), device).dims();
    let [hidden, channels, kernel, _] = input;
    let bias = golden.has(&format!("{case}.b"));
    let mut layer = ConvGruConfig::new(channels, hidden).with_kernel_size(kernel).with_bias(bias).init(device);
    let fused = |names: &[&str]| Param::from_tensor(golden.fused::<4>(&keys(case, names), device));
    layer.input_to_hidden.weight = fused(&["W_z", "W_r", "W"]);
    layer.hidden_to_gates.weight = fused(&["U_z", "U_r"]);
    layer.hidden_to_candidate.weight = fused(&["U"]);
    layer.input_to_hidden.bias =
        bias.then(|| Param::from_tensor(golden.fused::<1>(&keys(case, &["b_z", "b_r", "b"]), device)));
    layer
}

fn compare(case: &str) {
    let golden = Golden::open("conv_gru.safetensors");
    let device = device().autodiff();
    let layer = layer(&golden, case, &device);
    let x = golden.tensor::<5>(&format!("{case}.x"), &device).require_grad();
    let key = format!("{case}.h0");
    let h0 = golden.has(&key).then(|| golden.tensor::<4>(&key, &device).require_grad());
    let output = layer.forward(x.clone(), h0.clone());

    let mut worst = Worst::of(format!("ConvGru, {case}"), &golden);
    worst.check(output.sequence.clone(), &keys(case, &["sequence"]));
    let time = x.dims()[1];
    let last_of_sequence = output.sequence.clone().narrow(1, time - 1, 1).squeeze_dim::<4>(1);
    assert_eq!((output.last - last_of_sequence).abs().max().into_scalar::<f32>(), 0.0);

    let weights = golden.tensor::<5>(&format!("{case}.loss_weights"), &device);
    let gradients = (output.sequence * weights).sum().backward();
    let grads = |names: &[&str]| keys(&format!("{case}.grad"), names);
    worst.check(x.grad(&gradients).unwrap(), &grads(&["x"]));
    let mut weight = |param: &Param<Tensor<4>>, names: &[&str]| {
        worst.check(param.val().grad(&gradients).unwrap(), &grads(names));
    };
    weight(&layer.input_to_hidden.weight, &["W_z", "W_r", "W"]);
    weight(&layer.hidden_to_gates.weight, &["U_z", "U_r"]);
    weight(&layer.hidden_to_candidate.weight, &["U"]);
    if let Some(bias) = &layer.input_to_hidden.bias {
        worst.check(bias.val().grad(&gradients).unwrap(), &grads(&["b_z", "b_r", "b"]));
    }
    if let Some(h0) = h0 {
        worst.check(h0.grad(&gradients).unwrap(), &grads(&["h0"]));
    }
}

/// Without biases from the zero state; with biases from a given state; maps of 1x1 cells with 1x1
/// kernels, a fully connected GRU.
#[test]
fn matches_with_and_without_bias_and_on_vectors() {
    for case in ["plain", "bias", "vector"] {
        compare(case);
    }
}
