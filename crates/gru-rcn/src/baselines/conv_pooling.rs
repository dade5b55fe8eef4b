//! Conv pooling (Ng et al., *Beyond Short Snippets*, CVPR 2015): the maximum over time of a CNN's last
//! maps, then two fully connected layers. It sees what occurs in a clip and not when.

use burn::config::Config;
use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use super::{BaselineModel, BaselineOptions, FrameClassifierConfig};
use crate::classifier::ClipClassifier;
use crate::head::{EnsembleLogits, linear};
use crate::percepts::{Level, PerceptNorm, PerceptStatistics, Percepts};

/// Configuration of [`ConvPooling`].
#[derive(Config, Debug)]
pub struct ConvPoolingConfig {
    /// The top level of the CNN.
    pub top: Level,
    /// Number of classes.
    pub num_classes: usize,
    /// Units of each fully connected layer; 4,096 in Ng et al.
    #[config(default = 4096)]
    pub hidden: usize,
    /// Drop probability on the inputs of the second layer and of the classifier.
    #[config(default = 0.5)]
    pub dropout: f64,
}

/// The maximum over time per channel and cell, two fully connected layers with ReLU, a classifier.
#[derive(Module, Debug)]
pub struct ConvPooling {
    /// Scaling of the top level.
    pub norm: PerceptNorm,
    /// From the flattened map, in the order channel, row, column.
    pub fc1: Linear,
    /// The second layer.
    pub fc2: Linear,
    /// The classifier.
    pub classifier: Linear,
    /// Dropout after both layers.
    pub dropout: Dropout,
}

impl ConvPoolingConfig {
    /// A model with freshly drawn weights.
    pub fn init(&self, device: &Device) -> ConvPooling {
        let inputs = self.top.channels * self.top.height * self.top.width;
        ConvPooling {
            norm: FrameClassifierConfig::norm().init(1, device),
            fc1: LinearConfig::new(inputs, self.hidden).init(device),
            fc2: LinearConfig::new(self.hidden, self.hidden).init(device),
            classifier: linear(self.hidden, self.num_classes, device),
            dropout: DropoutConfig::new(self.dropout).init(),
        }
    }
}

impl ConvPooling {
    /// Classifies clips by their top level.
    ///
    /// # Shapes
    ///
    /// - top: `[batch, time, channel, height, width]`
    /// - output: logits `[1, batch, class]`
    pub fn forward(&self, top: Tensor<5>) -> EnsembleLogits {
        let top = self.norm.forward(Percepts { maps: vec![top] }).top();
        let pooled: Tensor<2> = top.max_dim(1).flatten::<2>(1, 4);
        let hidden = self.dropout.forward(relu(self.fc1.forward(pooled)));
        let hidden = self.dropout.forward(relu(self.fc2.forward(hidden)));
        EnsembleLogits::new(self.classifier.forward(hidden).unsqueeze_dim(0))
    }
}

impl ClipClassifier for ConvPooling {
    type Input = Percepts;

    fn logits(&self, percepts: Percepts) -> EnsembleLogits {
        self.forward(percepts.top())
    }
}

impl BaselineModel for ConvPooling {
    const NAME: &'static str = "Conv pooling";
    const ABOUT: &'static str = "the maximum over time of the topmost map, then fully connected layers";

    fn init_fitted(options: &BaselineOptions, statistics: &PerceptStatistics, device: &Device) -> Self {
        let config = ConvPoolingConfig::new(options.top(), options.num_classes)
            .with_hidden(options.hidden)
            .with_dropout(options.dropout);
        Self { norm: PerceptNorm::fit(FrameClassifierConfig::norm(), statistics, device), ..config.init(device) }
    }
}

#[cfg(test)]
mod tests {
    use burn::module::Param;
    use burn::tensor::TensorData;

    use super::*;
    use crate::testing::{device, numbers};

    /// Two steps of one channel on 1×2 cells, (1, −4) and (−2, −3): the maxima are 1 and −3. The first layer
    /// gives 2·1 + (−3) = −1, which ReLU makes 0, and 1·1 − (−3) = 4; the second their sum, 4, and its
    /// negative, 0; the classifier 4·½ = 2 and 4·(−¼) = −1. The order of the steps does not matter.
    #[test]
    fn two_steps_by_hand() {
        let device = device();
        let weight = |values: [f32; 4]| Tensor::<2>::from_data(TensorData::new(values.to_vec(), [2, 2]), &device);
        let set = |linear: &mut Linear, values: [f32; 4]| {
            linear.weight = Param::from_tensor(weight(values));
            linear.bias = Some(Param::from_tensor(Tensor::zeros([2], &device)));
        };
        let top = Level::new("top".into(), 1, 1, 2);
        let mut model = ConvPoolingConfig::new(top, 2).with_hidden(2).init(&device);
        // Rows are inputs.
        set(&mut model.fc1, [2.0, 1.0, 1.0, -1.0]);
        set(&mut model.fc2, [1.0, -1.0, 1.0, -1.0]);
        set(&mut model.classifier, [0.5, -0.25, 0.0, 0.0]);
        for clip in [[1.0f32, -4.0, -2.0, -3.0], [-2.0, -3.0, 1.0, -4.0]] {
            let clip = Tensor::<5>::from_data(TensorData::new(clip.to_vec(), [1, 2, 1, 1, 2]), &device);
            assert_eq!(numbers(model.forward(clip).logits), [2.0, -1.0]);
        }
    }

    /// On VGG-16's pool5: 25,088·4,096 + 4,096 and 4,096² + 4,096 and 4,096·101 + 101, and the factor of the
    /// normalisation.
    #[test]
    fn parameters_on_the_paper_s_top() {
        let top = Level::new("pool5".into(), 512, 7, 7);
        let model = ConvPoolingConfig::new(top, 101).init(&device());
        assert_eq!(model.num_params(), 102_764_544 + 16_781_312 + 413_797 + 1);
    }
}
