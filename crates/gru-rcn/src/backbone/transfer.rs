//! From a network trained on one set of classes to one for another: what is fine-tuned starts from a new classifier.

use burn::nn::{Dropout, DropoutConfig, Initializer};
use burn::tensor::Device;

use super::{Cnn, CnnConfig};

impl Cnn {
    /// The same network with a new classifier for `classes` classes: weights from N(0, `std`²), zero biases. All other
    /// weights stay. Wang et al. 2015 take `std` = 0.001 for their fc-8.
    ///
    /// # Panics
    ///
    /// If it is a VGG-16 that was configured without the fully connected layers.
    pub fn with_new_classifier(mut self, classes: usize, std: f64, device: &Device) -> Self {
        let normal = Initializer::Normal { mean: 0.0, std };
        match &mut self {
            Self::Vgg16(cnn) => {
                let fc8 = cnn.fcs.last_mut().expect("only a network with a classifier can be given another");
                let width = fc8.weight.dims()[0];
                fc8.weight = normal.init([width, classes], device);
                fc8.bias = Some(Initializer::Zeros.init([classes], device));
                cnn.config.num_classes = classes;
            }
            Self::SqueezeNet(cnn) => {
                let width = cnn.conv10.weight.dims()[1];
                cnn.conv10.weight = normal.init([classes, width, 1, 1], device);
                cnn.conv10.bias = Some(Initializer::Zeros.init([classes], device));
                cnn.config.num_classes = classes;
            }
        }
        self
    }

    /// The same network with other drop probabilities for its training, as many as [`CnnConfig::dropout`] has.
    ///
    /// # Panics
    ///
    /// If there are more or fewer.
    pub fn with_dropout(mut self, drop: &[f64]) -> Self {
        let layer = |drop: f64| -> Dropout { DropoutConfig::new(drop).init() };
        match (&mut self, drop) {
            (Self::Vgg16(cnn), &[fc6, fc7]) => {
                cnn.config.dropout = [fc6, fc7];
                cnn.dropout = cnn.config.dropout.map(layer);
            }
            (Self::SqueezeNet(cnn), &[conv10]) => {
                cnn.config.dropout = conv10;
                cnn.dropout = layer(conv10);
            }
            (_, drop) => panic!("{} drop probabilities do not fit this network", drop.len()),
        }
        self
    }
}

impl CnnConfig {
    /// The drop probabilities of the network's training: after fc-6 and fc-7 of VGG-16, before conv10 of SqueezeNet.
    pub fn dropout(&self) -> Vec<f64> {
        match self {
            Self::Vgg16(config) => config.dropout.to_vec(),
            Self::SqueezeNet(config) => vec![config.dropout],
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::module::Module;
    use burn::tensor::{Distribution, Tensor};

    use super::*;
    use crate::backbone::{Backbone, SqueezeNetConfig, Vgg16Config};
    use crate::testing::{assert_same, numbers};

    fn networks(device: &Device) -> [Cnn; 2] {
        let small = Vgg16Config::small(3, [32, 32]);
        let squeezenet = SqueezeNetConfig::new().with_num_classes(3).with_input_size([32, 32]);
        [CnnConfig::Vgg16(small), CnnConfig::SqueezeNet(squeezenet)].map(|config| config.init(device))
    }

    fn classifier(cnn: &Cnn) -> (Vec<f32>, Vec<f32>) {
        let (weight, bias) = match cnn {
            Cnn::Vgg16(cnn) => (numbers(cnn.fcs[2].weight.val()), &cnn.fcs[2].bias),
            Cnn::SqueezeNet(cnn) => (numbers(cnn.conv10.weight.val()), &cnn.conv10.bias),
        };
        (weight, numbers(bias.as_ref().unwrap().val()))
    }

    /// Of 64·40 and 512·40 weights, the least count: the root mean square of n draws of N(0, s²) is s within s·4/√(2n), or
    /// 5.6 % at n = 2560, but for one case in 16,000.
    #[test]
    fn only_the_classifier_is_new() {
        let device = Device::flex();
        device.seed(3);
        for cnn in networks(&device) {
            let frames = Tensor::<4>::random([2, 3, 32, 32], Distribution::Default, &device);
            let before = cnn.taps(frames.clone());
            let cnn = cnn.with_new_classifier(40, 0.001, &device);
            for (before, after) in before.into_iter().zip(cnn.taps(frames.clone())) {
                assert_same(before, after);
            }
            assert_eq!(cnn.forward(frames).dims(), [2, 40]);
            let (weight, bias) = classifier(&cnn);
            let rms = (weight.iter().map(|w| f64::from(w * w)).sum::<f64>() / weight.len() as f64).sqrt();
            assert!((rms / 0.001 - 1.0).abs() < 0.056, "{rms}");
            assert_eq!(bias, [0.0; 40]);
        }
    }

    /// With fc-6 kept whole and 99.99 % of fc-7's 64 values dropped, the logits of a frame are all but surely the biases,
    /// zero; the chance of one survivor is 64 in 10,000. The plain device never drops.
    #[test]
    fn dropout_acts_in_training_alone_and_at_its_own_layer() {
        let device = Device::flex();
        device.seed(5);
        let [vgg, _] = networks(&device);
        let vgg = vgg.with_dropout(&[0.0, 0.9999]);
        let frames = Tensor::<4>::random([1, 3, 32, 32], Distribution::Default, &device);
        let plain = vgg.forward(frames.clone());
        assert!(plain.clone().abs().max().into_scalar::<f32>() > 0.0);
        let training = vgg.clone().train();
        assert_eq!(numbers(training.forward(frames.clone().autodiff()).inner()), [0.0; 3]);
        assert_same(training.valid().forward(frames.clone()), plain);
        // The tap fc7 is what it is in training too.
        let tap = |cnn: &Cnn, frames| cnn.taps(frames).pop().expect("fc7 is a tap");
        assert_same(tap(&training, frames.clone().autodiff()).inner(), tap(&vgg, frames));
    }

    #[test]
    #[should_panic(expected = "1 drop probabilities do not fit")]
    fn drop_probabilities_are_those_of_the_network() {
        let [vgg, _] = networks(&Device::flex());
        let _ = vgg.with_dropout(&[0.5]);
    }
}
