//! Import and export in torchvision's key layout.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleMapper, Param};
use burn::store::{
    ApplyError, ApplyResult, BurnToPyTorchAdapter, KeyRemapper, ModuleSnapshot, ModuleStore, PyTorchToBurnAdapter,
    PytorchStore, SafetensorsStore, burn_pack,
};
use burn::tensor::{DType, FloatDType, Tensor};

use crate::backbone::{Backbone, FileTensors};

/// Why weights could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// There is no such file.
    #[error("{}: no such weight file", path.display())]
    NotFound {
        /// The file.
        path: PathBuf,
    },
    /// Neither `.safetensors` nor `.pth`/`.pt`.
    #[error("{}: weights must be a .safetensors, .pth or .pt file", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// The file could not be parsed.
    #[error("{}: not a readable weight file: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The reader's words.
        reason: String,
    },
    /// The file's keys are not the model's.
    #[error("{}: these are not this model's weights: {}", path.display(), mismatch_text(missing, unused, misshapen))]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// Keys that the model needs and the file lacks.
        missing: Vec<String>,
        /// Keys of the file that the model has no use for.
        unused: Vec<String>,
        /// Keys of another shape or type, with both.
        misshapen: Vec<String>,
    },
    /// The file could not be written.
    #[error("{}: could not write weights: {reason}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The writer's words.
        reason: String,
    },
}

fn mismatch_text(missing: &[String], unused: &[String], misshapen: &[String]) -> String {
    let part = |what: &str, keys: &[String]| (!keys.is_empty()).then(|| format!("{what}: {}", keys.join(", ")));
    [part("missing", missing), part("unused", unused), part("of another shape", misshapen)]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("; ")
}

impl WeightsError {
    pub(super) fn write(path: &Path, error: &dyn std::fmt::Display) -> Self {
        Self::Write { path: path.into(), reason: error.to_string() }
    }

    pub(super) fn require_file(path: &Path) -> Result<(), Self> {
        if path.is_file() { Ok(()) } else { Err(Self::NotFound { path: path.into() }) }
    }
}

/// Loads weights in the layout of the network's PyTorch original from a `.safetensors`, `.pth` or
/// `.pt` file, strictly. Weights of any stored precision become float32.
///
/// # Errors
///
/// If the file is missing or unreadable, or if its keys or shapes are not exactly the model's.
pub fn import_torchvision<M: Module + Backbone>(mut module: M, path: &Path) -> Result<M, WeightsError> {
    let mut tensors = read(path)?;
    module.convert_weights(&mut tensors);
    let pairs = module.key_prefixes();
    let to_ours = |key: &str| rename(key, pairs.iter().map(|(theirs, ours)| (theirs.as_str(), ours.as_str())));
    let renamed = |(key, mut tensor): (String, burn_pack::Tensor)| {
        tensor.name = to_ours(&key);
        tensor
    };
    let tensors = tensors.into_iter().map(renamed).collect();
    let result = module.apply(tensors, None, Some(Box::new(PyTorchToBurnAdapter)), true);
    let theirs = |key: &str| rename(key, pairs.iter().map(|(theirs, ours)| (ours.as_str(), theirs.as_str())));
    checked(module, &result, path, theirs)
}

/// All tensors of a weight file by their names in it; their values are read when asked for.
fn read(path: &Path) -> Result<FileTensors, WeightsError> {
    WeightsError::require_file(path)?;
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("safetensors") => all_of(SafetensorsStore::from_file(path), path),
        Some("pth" | "pt") => all_of(PytorchStore::from_file(path).map_indices_contiguous(false), path),
        _ => Err(WeightsError::UnknownFormat { path: path.into() }),
    }
}

fn all_of<S: ModuleStore>(mut store: S, path: &Path) -> Result<FileTensors, WeightsError> {
    let tensors = store.get_all_tensors();
    tensors.cloned().map_err(|error| WeightsError::Unreadable { path: path.into(), reason: error.to_string() })
}

/// Number of classes in a weight file of a network like `module`, from its classifier's bias. A
/// network of that many classes reads the file strictly, whatever the number;
/// [`Backbone::replace_classifier`] then gives it another classifier.
///
/// # Errors
///
/// As [`import_torchvision`]; [`WeightsError::Mismatch`] if the file has no such bias.
pub fn torchvision_classes<M: Backbone>(module: &M, path: &Path) -> Result<usize, WeightsError> {
    let key = format!("{}.bias", module.classifier_key());
    let (mut missing, mut misshapen) = (Vec::new(), Vec::new());
    match read(path)?.get(&key).map(|tensor| &tensor.shape[..]) {
        Some(&[classes]) => return Ok(classes),
        Some(other) => misshapen.push(format!("{key} is {other:?} instead of one number per class")),
        None => missing.push(key),
    }
    Err(WeightsError::Mismatch { path: path.into(), missing, unused: Vec::new(), misshapen })
}

/// Writes weights in the layout of the network's PyTorch original to a `.safetensors` file, which
/// appears whole or not at all.
pub fn export_torchvision<M: Module + Backbone>(module: &M, path: &Path) -> Result<(), WeightsError> {
    let pairs = module.key_prefixes();
    let to_theirs = remapper(pairs.iter().map(|(theirs, ours)| (ours.as_str(), theirs.as_str())), path)?;
    super::file::save(module, path, |store| {
        store.with_to_adapter(BurnToPyTorchAdapter).skip_enum_variants(true).metadata("format", "pt").remap(to_theirs)
    })
}

/// Regular expressions that replace whole prefixes.
fn remapper<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>, path: &Path) -> Result<KeyRemapper, WeightsError> {
    let patterns = pairs.map(|(from, to)| (format!("^{}\\.", from.replace('.', "\\.")), format!("{to}."))).collect();
    KeyRemapper::from_patterns(patterns)
        .map_err(|error| WeightsError::Unreadable { path: path.into(), reason: error.to_string() })
}

/// The same for one key, for messages in the file's own words.
fn rename<'a>(key: &str, mut pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    pairs
        .find_map(|(from, to)| {
            let rest = key.strip_prefix(from)?;
            rest.starts_with('.').then(|| format!("{to}{rest}"))
        })
        .unwrap_or_else(|| key.to_string())
}

/// Applies a lenient store strictly: anything missing, unused or misshapen is an error in the
/// file's own key names.
pub(super) fn apply<M: Module, S: ModuleStore>(
    mut module: M,
    store: &mut S,
    path: &Path,
    name: impl Fn(&str) -> String,
) -> Result<M, WeightsError> {
    let result = module
        .load_from(store)
        .map_err(|error| WeightsError::Unreadable { path: path.into(), reason: error.to_string() })?;
    checked(module, &result, path, name)
}

/// The module with the tensors that were applied to it, if they are exactly its own.
fn checked<M: Module>(
    module: M,
    result: &ApplyResult,
    path: &Path,
    name: impl Fn(&str) -> String,
) -> Result<M, WeightsError> {
    let misshapen: HashMap<String, String> = result.errors.iter().map(|error| describe(error, &name)).collect();
    let mut missing: Vec<String> = result.missing.iter().map(|(key, _)| name(key)).collect();
    missing.retain(|key| !misshapen.contains_key(key));
    let unused: Vec<String> = result.unused.iter().map(|key| name(key)).collect();
    if missing.is_empty() && unused.is_empty() && misshapen.is_empty() {
        return Ok(module.map(&mut SinglePrecision));
    }
    let mut misshapen: Vec<String> = misshapen.into_values().collect();
    misshapen.sort();
    Err(WeightsError::Mismatch { path: path.into(), missing, unused, misshapen })
}

/// Brings loaded weights to float32. Parameters take the file's precision, and dtypes do not
/// promote: a model loaded from a float16 file would panic at its first frame.
struct SinglePrecision;

impl ModuleMapper for SinglePrecision {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if param.val().dtype() == DType::F32 {
            return param;
        }
        param.map(|weight| {
            let tracked = weight.is_require_grad();
            // A leaf again: the cast is not to be differentiated.
            let weight = weight.cast(FloatDType::F32).detach();
            if tracked { weight.require_grad() } else { weight }
        })
    }
}

fn describe(error: &ApplyError, name: &impl Fn(&str) -> String) -> (String, String) {
    let key = |path: &str| name(path);
    match error {
        ApplyError::ShapeMismatch { path, expected, found } => {
            (key(path), format!("{} is {:?} instead of {:?}", key(path), &found[..], &expected[..]))
        }
        ApplyError::DTypeMismatch { path, expected, found } => {
            (key(path), format!("{} is {found:?} instead of {expected:?}", key(path)))
        }
        ApplyError::AdapterError { path, message } | ApplyError::LoadError { path, message } => {
            (key(path), format!("{}: {message}", key(path)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::{SqueezeNetConfig, Vgg16Config};
    use burn::tensor::{Device, Distribution};

    fn frame(side: usize) -> Tensor<4> {
        Tensor::random([1, 3, side, side], Distribution::Default, &Device::flex())
    }

    fn assert_equal(a: Tensor<2>, b: Tensor<2>) {
        let difference = (a - b).abs().max().into_scalar::<f32>();
        assert_eq!(difference, 0.0);
    }

    #[test]
    fn vgg_keys_are_torchvision_s() {
        let vgg = Vgg16Config::new().init(&Device::flex());
        let theirs: Vec<String> = vgg.key_prefixes().into_iter().map(|(theirs, _)| theirs).collect();
        let features = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28].map(|n| format!("features.{n}"));
        assert_eq!(theirs[..13], features);
        assert_eq!(theirs[13..], ["classifier.0", "classifier.3", "classifier.6"]);
    }

    #[test]
    fn exported_weights_are_imported() {
        let device = Device::flex();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.safetensors");
        let config = Vgg16Config::small(6, [32, 32]);
        let saved = config.init(&device);
        export_torchvision(&saved, &path).unwrap();
        let loaded = import_torchvision(config.init(&device), &path).unwrap();
        let x = frame(32);
        assert_equal(saved.forward(x.clone()), loaded.forward(x.clone()));

        let net = SqueezeNetConfig::new().with_num_classes(7).init(&device);
        export_torchvision(&net, &path).unwrap();
        let again = import_torchvision(SqueezeNetConfig::new().with_num_classes(7).init(&device), &path).unwrap();
        assert_equal(net.forward(x.clone()), again.forward(x));
    }

    #[test]
    fn the_number_of_classes_is_read_from_the_file() {
        let device = Device::flex();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.safetensors");
        let vgg = |classes| Vgg16Config::small(classes, [32, 32]).init(&device);
        let net = |classes| SqueezeNetConfig::new().with_num_classes(classes).init(&device);
        export_torchvision(&vgg(6), &path).unwrap();
        assert_eq!(torchvision_classes(&vgg(1000), &path).unwrap(), 6);
        // Of another network: its classifier lies elsewhere.
        let Err(WeightsError::Mismatch { missing, .. }) = torchvision_classes(&net(1000), &path) else {
            panic!("the classes of another network's file were read")
        };
        assert_eq!(missing, ["classifier.1.bias"]);
        export_torchvision(&net(7), &path).unwrap();
        assert_eq!(torchvision_classes(&net(1000), &path).unwrap(), 7);
    }

    #[test]
    fn import_is_strict_about_every_key() {
        let device = Device::flex();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.safetensors");
        export_torchvision(&Vgg16Config::small(6, [32, 32]).init(&device), &path).unwrap();

        let other_head = Vgg16Config::small(8, [32, 32]).init(&device);
        let Err(WeightsError::Mismatch { misshapen, missing, unused, .. }) = import_torchvision(other_head, &path)
        else {
            panic!("a head of another size was accepted")
        };
        assert!(missing.is_empty() && unused.is_empty(), "{missing:?} {unused:?}");
        assert_eq!(misshapen.len(), 2, "{misshapen:?}");
        assert!(misshapen.iter().all(|text| text.starts_with("classifier.6.")), "{misshapen:?}");

        let deeper = Vgg16Config::small(6, [32, 32]).with_stages(vec![[1, 8], [1, 16], [1, 32], [2, 32]]).init(&device);
        let Err(WeightsError::Mismatch { missing, .. }) = import_torchvision(deeper, &path) else {
            panic!("a missing layer was accepted")
        };
        assert!(missing.contains(&"features.11.weight".to_string()), "{missing:?}");

        let headless = Vgg16Config::small(6, [32, 32]).with_fully_connected(false).with_taps(["pool1"]).init(&device);
        let Err(WeightsError::Mismatch { unused, .. }) = import_torchvision(headless, &path) else {
            panic!("unused keys were accepted")
        };
        assert!(unused.contains(&"classifier.0.weight".to_string()), "{unused:?}");
    }

    #[test]
    fn unreadable_files_are_errors() {
        let device = Device::flex();
        let dir = tempfile::tempdir().unwrap();
        let net = || Vgg16Config::small(6, [32, 32]).init(&device);
        let missing = dir.path().join("none.safetensors");
        assert!(matches!(import_torchvision(net(), &missing), Err(WeightsError::NotFound { .. })));
        for name in ["text.safetensors", "text.pth"] {
            let path = dir.path().join(name);
            std::fs::write(&path, "not weights").unwrap();
            assert!(matches!(import_torchvision(net(), &path), Err(WeightsError::Unreadable { .. })), "{name}");
        }
        let path = dir.path().join("weights.caffemodel");
        std::fs::write(&path, "x").unwrap();
        assert!(matches!(import_torchvision(net(), &path), Err(WeightsError::UnknownFormat { .. })));
    }
}
