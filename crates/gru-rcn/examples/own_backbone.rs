//! A CNN of your own under GRU-RCN: three methods of the trait `Backbone`.
//!
//!     cargo run --release -p gru-rcn --example own_backbone

use burn::module::Module;
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Distribution, Tensor};
use gru_rcn::prelude::*;

#[derive(Module, Debug)]
struct TwoMaps {
    low: Conv2d,
    high: Conv2d,
}

impl Backbone for TwoMaps {
    /// Name, channels, height and width of every map, bottom up.
    fn levels(&self) -> Vec<Level> {
        vec![Level::new("low".into(), 8, 16, 16), Level::new("high".into(), 16, 8, 8)]
    }

    /// What it expects of pixels: here three channels, −1 to 1.
    fn pixels(&self) -> Pixels {
        Pixels::symmetric(3)
    }

    /// Frames `[frames, channel, height, width]` to the map of every level.
    fn taps(&self, frames: Tensor<4>) -> Vec<Tensor<4>> {
        let low = relu(self.low.forward(frames));
        let high = relu(self.high.forward(low.clone()));
        vec![low, high]
    }
}

fn main() {
    let device = Device::flex();
    let conv = |channels: [usize; 2]| {
        Conv2dConfig::new(channels, [3, 3])
            .with_stride([2, 2])
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
            .init(&device)
    };
    let backbone = TwoMaps { low: conv([3, 8]), high: conv([8, 16]) };
    let clips = Tensor::<5>::random([2, 4, 3, 32, 32], Distribution::Default, &device);
    let percepts = backbone.percepts(clips.clone());
    assert_eq!(percepts.maps[1].dims(), [2, 4, 16, 8, 8]); // [batch, time, channel, height, width]

    // GRU-RCN over both maps, with three classes; untrained, so its answer means nothing.
    let recurrent = GruRcnConfig::new(backbone.levels(), vec![4, 8]).with_form(Form::Stacked);
    let classifier = GruRcnClassifierConfig::new(recurrent, 3).init(&device);
    let model = Recognizer { backbone, classifier };
    println!("{}", model.forward(clips).probabilities());
}
