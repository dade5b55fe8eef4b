//! GoogLeNet against torchvision, with weights and statistics of batch normalisation that both sides
//! draw by the same formula.

use gru_rcn::backbone::GoogLeNetConfig;
use gru_rcn::weights::import_torchvision;

use crate::counter::write_weights;
use crate::golden::{compare, device};

const SEED: u64 = 6_624_904;

/// Channels of each module's input and of its six convolutions.
const MODULES: [(&str, [usize; 7]); 9] = [
    ("3a", [192, 64, 96, 128, 16, 32, 32]),
    ("3b", [256, 128, 128, 192, 32, 96, 64]),
    ("4a", [480, 192, 96, 208, 16, 48, 64]),
    ("4b", [512, 160, 112, 224, 24, 64, 64]),
    ("4c", [512, 128, 128, 256, 24, 64, 64]),
    ("4d", [512, 112, 144, 288, 32, 64, 64]),
    ("4e", [528, 256, 160, 320, 32, 128, 128]),
    ("5a", [832, 256, 160, 320, 32, 128, 128]),
    ("5b", [832, 384, 192, 384, 48, 128, 128]),
];

/// torchvision's own keys and shapes, written out instead of taken from the tested crate. The
/// auxiliary classifiers, of which the file of the ImageNet weights has two, are one tensor here.
fn layout() -> Vec<(String, Vec<usize>)> {
    let mut convs =
        vec![("conv1".to_owned(), [3, 64, 7]), ("conv2".to_owned(), [64, 64, 1]), ("conv3".to_owned(), [64, 192, 3])];
    for (module, [input, ours, reduce, wide, reduce_again, wide_again, pooled]) in MODULES {
        for (branch, conv) in [
            ("branch1", [input, ours, 1]),
            ("branch2.0", [input, reduce, 1]),
            ("branch2.1", [reduce, wide, 3]),
            ("branch3.0", [input, reduce_again, 1]),
            ("branch3.1", [reduce_again, wide_again, 3]),
            ("branch4.1", [input, pooled, 1]),
        ] {
            convs.push((format!("inception{module}.{branch}"), conv));
        }
    }
    let mut tensors = Vec::new();
    for (name, [input, output, kernel]) in convs {
        tensors.push((format!("{name}.conv.weight"), vec![output, input, kernel, kernel]));
        for part in ["weight", "bias", "running_mean", "running_var"] {
            tensors.push((format!("{name}.bn.{part}"), vec![output]));
        }
    }
    tensors.push(("fc.weight".into(), vec![1000, 1024]));
    tensors.push(("fc.bias".into(), vec![1000]));
    tensors.push(("aux1.conv.bn.bias".into(), vec![128]));
    tensors
}

/// At a size whose halves come out even, and at one whose do not.
#[test]
fn matches_torchvision() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("googlenet.safetensors");
    write_weights(&file, SEED, &layout()).unwrap();
    let config = GoogLeNetConfig::new();
    let taps = config.known_taps();
    let model = import_torchvision(config.with_taps(taps).init(&device()), &file).unwrap();
    let golden = ("googlenet.safetensors", SEED);
    compare("GoogLeNet", golden, model, |model, size| model.config.input_size = size, &[[224, 224], [63, 47]]);
}
