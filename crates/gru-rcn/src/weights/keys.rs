//! Names of parameters here and in torchvision.

use crate::backbone::{SqueezeNet, Vgg16};

/// A model whose parameters torchvision stores too, under other names.
pub trait TorchvisionLayout {
    /// Pairs of prefixes, torchvision's and ours, each without the trailing dot. A parameter `OURS.rest` here is
    /// `THEIRS.rest` there.
    fn prefixes(&self) -> Vec<(String, String)>;

    /// torchvision's prefix of the classifier, the one layer whose size depends on the classes.
    fn classifier(&self) -> &'static str;
}

impl TorchvisionLayout for Vgg16 {
    /// `features.N` counts convolutions, ReLUs and maxima alike; `classifier.{0,3,6}` are fc-6 to fc-8.
    fn prefixes(&self) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        let (mut theirs, mut ours) = (0, 0);
        for [convs, _] in &self.config.stages {
            for _ in 0..*convs {
                pairs.push((format!("features.{theirs}"), format!("convs.{ours}")));
                theirs += 2;
                ours += 1;
            }
            theirs += 1;
        }
        for fc in 0..self.fcs.len() {
            pairs.push((format!("classifier.{}", 3 * fc), format!("fcs.{fc}")));
        }
        pairs
    }

    fn classifier(&self) -> &'static str {
        "classifier.6"
    }
}

impl TorchvisionLayout for SqueezeNet {
    /// torchvision's `squeezenet1_0`: conv1, ReLU, maximum, three fires, maximum, four fires, maximum, one fire.
    fn prefixes(&self) -> Vec<(String, String)> {
        const FIRES: [usize; 8] = [3, 4, 5, 7, 8, 9, 10, 12];
        let mut pairs = vec![("features.0".to_string(), "conv1".to_string())];
        for (ours, theirs) in FIRES.into_iter().enumerate() {
            for part in ["squeeze", "expand1x1", "expand3x3"] {
                pairs.push((format!("features.{theirs}.{part}"), format!("fires.{ours}.{part}")));
            }
        }
        pairs.push(("classifier.1".into(), "conv10".into()));
        pairs
    }

    fn classifier(&self) -> &'static str {
        "classifier.1"
    }
}
