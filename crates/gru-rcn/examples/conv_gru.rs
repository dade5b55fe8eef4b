//! The convolutional GRU as a layer of a Burn module: it learns where a dot goes next, right or
//! down, which no single frame tells.
//!
//!     cargo run --release -p gru-rcn --example conv_gru

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Int, Tensor, TensorData};
use gru_rcn::recurrent::{ConvGru, ConvGruConfig};

const SIDE: usize = 8;
const TIME: usize = 4;

#[derive(Module, Debug)]
struct Forecaster {
    memory: ConvGru,
    place: Conv2d,
}

impl Forecaster {
    /// Clips `[batch, time, 1, height, width]` to a logit for every cell, `[batch, height * width]`.
    fn forward(&self, clips: Tensor<5>) -> Tensor<2> {
        self.place.forward(self.memory.forward(clips, None).last).flatten(1, 3)
    }
}

/// Clips of a dot in every start cell of one colour of a chessboard, and the cell where it is next.
fn dots(colour: usize, device: &Device) -> (Tensor<5>, Tensor<1, Int>) {
    let (mut pixels, mut next) = (Vec::new(), Vec::new());
    for (y, x) in (0..16).map(|start| (start / 4, start % 4)).filter(|(y, x)| (y + x) % 2 == colour) {
        for [down, right] in [[0, 1], [1, 0]] {
            let cell = |t: usize| (y + t * down) * SIDE + x + t * right;
            pixels.extend((0..TIME).flat_map(|t| (0..SIDE * SIDE).map(move |at| f32::from(u8::from(at == cell(t))))));
            next.push(cell(TIME) as i32);
        }
    }
    let shape = [next.len(), TIME, 1, SIDE, SIDE];
    (Tensor::from_data(TensorData::new(pixels, shape), device), Tensor::from_ints(next.as_slice(), device))
}

fn main() {
    let device = Device::flex();
    device.seed(1);
    let memory = ConvGruConfig::new(1, 8).init(&device);
    let place = Conv2dConfig::new([8, 1], [1, 1]).init(&device);
    let mut model = Forecaster { memory, place }.train(); // onto the autodiff device
    let mut optimizer = AdamConfig::new().init();
    let (clips, next) = dots(0, &device);
    let loss_of = CrossEntropyLossConfig::new().init(&device.clone().autodiff());
    for step in 0..=150 {
        let loss = loss_of.forward(model.forward(clips.clone().autodiff()), next.clone().autodiff());
        if step % 50 == 0 {
            println!("step {step:3}  loss {:.3}", loss.clone().into_scalar::<f32>());
        }
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(0.02, model, gradients);
    }
    let (clips, next) = dots(1, &device);
    let found = model.valid().forward(clips).argmax(1).squeeze_dim::<1>(1).equal(next.clone());
    println!("{} of {} unseen dots forecast", found.int().sum().into_scalar::<i64>(), next.dims()[0]);
}
