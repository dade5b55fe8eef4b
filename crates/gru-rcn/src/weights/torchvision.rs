//! Import and export in torchvision's key layout.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::store::{
    ApplyError, BurnToPyTorchAdapter, KeyRemapper, ModuleAdapter, ModuleSnapshot, ModuleStore, PyTorchToBurnAdapter,
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
    /// The file holds the weights more than once, such as beside their moving average.
    #[error("{}: it holds these weights below `{}`; save one of them alone", path.display(), prefixes.join("` and below `"))]
    Several {
        /// The file.
        path: PathBuf,
        /// Prefixes of the model's keys.
        prefixes: Vec<String>,
    },
    /// The file could not be parsed.
    #[error("{}: not a readable weight file: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Message of the reader.
        reason: String,
    },
    /// A weight is NaN or infinite.
    #[error(
        "{}: the tensor {key} holds a value that is not a finite number; the training that wrote it diverged, or the \
         file is damaged: copy it again, or use other weights",
        path.display()
    )]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor's name in the file.
        key: String,
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
        /// Message of the writer.
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

    pub(super) fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> Self {
        Self::Unreadable { path: path.into(), reason: error.to_string() }
    }

    pub(super) fn require_file(path: &Path) -> Result<(), Self> {
        match path.exists() {
            true if path.is_file() => Ok(()),
            true => Err(Self::unreadable(path, &"it is a folder, pipe or device")),
            false => Err(Self::NotFound { path: path.into() }),
        }
    }
}

/// Loads weights in the layout of the network's PyTorch original from a safetensors file or one
/// that `torch.save` wrote, whatever its name, strictly. Weights of any stored precision become
/// float32.
///
/// The keys may stand below a prefix that is common to all, such as `module.` or `backbone.`, and
/// the state dict below a key of a checkpoint, such as `state_dict`, `model` or
/// `model_state_dict`, whose other entries are not read.
///
/// # Errors
///
/// If the file is missing or unreadable, or if its keys or shapes are not exactly the model's.
pub fn import_torchvision<M: Module + Backbone>(module: M, path: &Path) -> Result<M, WeightsError> {
    let (prefix, mut tensors) = read(path, &module)?;
    module.convert_weights(&mut tensors);
    let pairs = module.key_prefixes();
    let to_ours = |key: &str| rename(key, pairs.iter().map(|(theirs, ours)| (theirs.as_str(), ours.as_str())));
    let renamed = |(key, mut tensor): (String, burn_pack::Tensor)| {
        tensor.name = to_ours(&key);
        tensor
    };
    let tensors = tensors.into_iter().map(renamed).collect();
    let theirs =
        |key: &str| prefix.clone() + &rename(key, pairs.iter().map(|(theirs, ours)| (ours.as_str(), theirs.as_str())));
    apply(module, tensors, Some(Box::new(PyTorchToBurnAdapter)), path, theirs)
}

/// Keys of checkpoints below which the state dict is kept, beside the optimizer's and the like.
const CONTAINERS: [&str; 5] = ["state_dict", "model_state_dict", "model", "net", "network"];

/// The tensors of a weight file by the names of the model's PyTorch original, and the prefix of these names
/// in the file. Values are read on demand.
fn read<M: Backbone>(path: &Path, module: &M) -> Result<(String, FileTensors), WeightsError> {
    let tensors = read_all(path)?;
    let classifier = format!("{}.bias", module.classifier_key());
    let prefixes = tensors.keys().filter_map(|key| key.strip_suffix(&classifier));
    let prefixes: Vec<String> = prefixes.filter(|p| p.is_empty() || p.ends_with('.')).map(str::to_owned).collect();
    match &prefixes[..] {
        [prefix] if !prefix.is_empty() => Ok((prefix.clone(), below(prefix, tensors, path)?)),
        [first, _, ..] if !first.is_empty() => Err(WeightsError::Several { path: path.into(), prefixes }),
        // There is no prefix, or this is not this network's file, which the strict import will say.
        _ => Ok((String::new(), tensors)),
    }
}

/// The tensors below `prefix` by their names without it. Any other tensor of the same state dict is an
/// error: the model has no use for it.
fn below(prefix: &str, tensors: FileTensors, path: &Path) -> Result<FileTensors, WeightsError> {
    let containers = prefix.split_inclusive('.').take_while(|part| CONTAINERS.contains(&part.trim_end_matches('.')));
    let state_dict: String = containers.collect();
    let (mut found, mut unused) = (FileTensors::new(), Vec::new());
    for (key, mut tensor) in tensors {
        if let Some(name) = key.strip_prefix(prefix) {
            tensor.name = name.to_owned();
            found.insert(name.to_owned(), tensor);
        } else if key.starts_with(&state_dict) {
            unused.push(key);
        }
    }
    match unused.is_empty() {
        true => Ok(found),
        false => Err(WeightsError::Mismatch { path: path.into(), missing: Vec::new(), unused, misshapen: Vec::new() }),
    }
}

/// All tensors of a weight file by their names in it. Its first bytes tell the format.
fn read_all(path: &Path) -> Result<FileTensors, WeightsError> {
    WeightsError::require_file(path)?;
    if super::file::is_safetensors(path).map_err(|error| WeightsError::unreadable(path, &error))? {
        return all_of(SafetensorsStore::from_file(path), path);
    }
    let words = |error| format!("it is no safetensors file, and as one of PyTorch: {error}");
    let mut store = PytorchStore::from_file(path).map_indices_contiguous(false);
    store.get_all_tensors().cloned().map_err(|error| WeightsError::unreadable(path, &words(error)))
}

pub(super) fn all_of<S: ModuleStore>(mut store: S, path: &Path) -> Result<FileTensors, WeightsError> {
    store.get_all_tensors().cloned().map_err(|error| WeightsError::unreadable(path, &error))
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
    match read(path, module)?.1.get(&key).map(|tensor| &tensor.shape[..]) {
        Some(&[classes]) => return Ok(classes),
        Some(other) => misshapen.push(format!("{key} is {other:?} instead of one number per class")),
        None => missing.push(key),
    }
    Err(WeightsError::Mismatch { path: path.into(), missing, unused: Vec::new(), misshapen })
}

/// Writes weights in the layout of the network's PyTorch original to a `.safetensors` file, which
/// appears whole or not at all.
pub fn export_torchvision<M: Module + Backbone>(module: &M, path: &Path) -> Result<(), WeightsError> {
    export_torchvision_with(module, path, &[])
}

/// The same with further metadata in the header, which [`metadata`](super::metadata) reads and
/// others ignore.
///
/// # Errors
///
/// If the file cannot be written.
pub fn export_torchvision_with<M: Module + Backbone>(
    module: &M,
    path: &Path,
    metadata: &[(&str, String)],
) -> Result<(), WeightsError> {
    let pairs = module.key_prefixes().into_iter();
    let patterns = pairs.map(|(theirs, ours)| (format!("^{}\\.", ours.replace('.', "\\.")), format!("{theirs}.")));
    let to_theirs =
        KeyRemapper::from_patterns(patterns.collect()).map_err(|error| WeightsError::write(path, &error))?;
    super::file::save(module, path, |store| {
        let store = store.with_to_adapter(BurnToPyTorchAdapter).skip_enum_variants(true).metadata("format", "pt");
        metadata.iter().fold(store, |store, (key, value)| store.metadata(*key, value)).remap(to_theirs)
    })
}

/// Replaces the prefix of a key.
fn rename<'a>(key: &str, mut pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let renamed = pairs.find_map(|(from, to)| {
        let rest = key.strip_prefix(from)?;
        rest.starts_with('.').then(|| format!("{to}{rest}"))
    });
    renamed.unwrap_or_else(|| key.to_string())
}

/// Gives a module its tensors, strictly: anything missing, unused, misshapen or not finite is an
/// error in the file's own key names.
pub(super) fn apply<M: Module>(
    mut module: M,
    tensors: Vec<burn_pack::Tensor>,
    adapter: Option<Box<dyn ModuleAdapter>>,
    path: &Path,
    name: impl Fn(&str) -> String,
) -> Result<M, WeightsError> {
    // The keys of modules contain the names of enum variants; those of PyTorch's files do not.
    let skip_enum_variants = adapter.is_some();
    let result = module.apply(tensors, None, adapter, skip_enum_variants);
    // The file may be of this model, but its values cannot be read: their checksum is wrong.
    if let Some(ApplyError::LoadError { path: key, message }) =
        result.errors.iter().find(|error| matches!(error, ApplyError::LoadError { .. }))
    {
        let reason = format!("{}: {message}; the file is damaged, copy or download it again", name(key));
        return Err(WeightsError::Unreadable { path: path.into(), reason });
    }
    let misshapen: HashMap<String, String> = result.errors.iter().map(|error| describe(error, &name)).collect();
    let mut missing: Vec<String> = result.missing.iter().map(|(key, _)| name(key)).collect();
    missing.retain(|key| !misshapen.contains_key(key));
    let unused: Vec<String> = result.unused.iter().map(|key| name(key)).collect();
    if missing.is_empty() && unused.is_empty() && misshapen.is_empty() {
        let module = module.map(&mut SinglePrecision);
        let mut search = NotFinite(None);
        module.visit(&mut search);
        let Some(found) = search.0 else { return Ok(module) };
        let mut tensors = module.collect(None, None, skip_enum_variants).into_iter();
        let tensor = tensors.find(|tensor| tensor.param_id == Some(found.val())).expect("a parameter has a tensor");
        return Err(WeightsError::NotFinite { path: path.into(), key: name(&tensor.name) });
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

/// Searches for the first parameter with a value that is NaN or infinite.
struct NotFinite(Option<ParamId>);

/// Values that are checked together; bounds the memory of the search.
const CHUNK: usize = 1 << 22;

impl ModuleVisitor for NotFinite {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let values = param.val().shape().num_elements();
        let flat = param.val().reshape([values]);
        let mut starts = (0..values).step_by(CHUNK);
        let finite = |start: usize| {
            let part = flat.clone().narrow(0, start, CHUNK.min(values - start));
            part.is_finite().all().into_scalar::<bool>()
        };
        if self.0.is_none() && !starts.all(finite) {
            self.0 = Some(param.id);
        }
    }
}

/// The key that an error is about, and the error's text.
fn describe(error: &ApplyError, name: &impl Fn(&str) -> String) -> (String, String) {
    let (path, text) = match error {
        ApplyError::ShapeMismatch { path, expected, found } => {
            (path, format!(" is {:?} instead of {:?}", &found[..], &expected[..]))
        }
        ApplyError::DTypeMismatch { path, expected, found } => (path, format!(" is {found:?} instead of {expected:?}")),
        ApplyError::AdapterError { path, message } | ApplyError::LoadError { path, message } => {
            (path, format!(": {message}"))
        }
    };
    let key = name(path);
    let text = format!("{key}{text}");
    (key, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::{GoogLeNetConfig, SqueezeNet, SqueezeNetConfig, Vgg16, Vgg16Config};
    use crate::testing::{device, difference, drawn};

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        (folder, path)
    }

    fn vgg(classes: usize) -> Vgg16 {
        Vgg16Config::small(classes, [32, 32]).init(&device())
    }

    fn squeezenet(classes: usize) -> SqueezeNet {
        SqueezeNetConfig::new().with_num_classes(classes).init(&device())
    }

    fn assert_exported_weights_are_imported<B: Module + Backbone>(new: impl Fn() -> B) {
        let (_folder, path) = folder();
        let saved = new();
        export_torchvision(&saved, &path).unwrap();
        let loaded = import_torchvision(new(), &path).unwrap();
        let frame = drawn::<4>(1, [1, 3, 32, 32], &device());
        assert_eq!(difference(Backbone::forward(&saved, frame.clone()), Backbone::forward(&loaded, frame)), 0.0);
    }

    #[test]
    fn exported_weights_are_imported() {
        assert_exported_weights_are_imported(|| vgg(6));
        assert_exported_weights_are_imported(|| squeezenet(7));
        assert_exported_weights_are_imported(|| GoogLeNetConfig::full(5, [32, 32]).init(&device()));
    }

    #[test]
    fn the_number_of_classes_is_read_from_the_file() {
        let (_folder, path) = folder();
        export_torchvision(&vgg(6), &path).unwrap();
        assert_eq!(torchvision_classes(&vgg(1000), &path).unwrap(), 6);
        // Of another network: its classifier lies elsewhere.
        let Err(WeightsError::Mismatch { missing, .. }) = torchvision_classes(&squeezenet(1000), &path) else {
            panic!("the classes of another network's file were read")
        };
        assert_eq!(missing, ["classifier.1.bias"]);
        export_torchvision(&squeezenet(7), &path).unwrap();
        assert_eq!(torchvision_classes(&squeezenet(1000), &path).unwrap(), 7);
    }

    #[test]
    fn import_is_strict_about_every_key() {
        let (_folder, path) = folder();
        export_torchvision(&vgg(6), &path).unwrap();
        let mismatch = |config: Vgg16Config| match import_torchvision(config.init(&device()), &path) {
            Err(WeightsError::Mismatch { missing, unused, misshapen, .. }) => (missing, unused, misshapen),
            other => panic!("{other:?}"),
        };
        let config = Vgg16Config::small(6, [32, 32]);
        let (missing, unused, misshapen) = mismatch(config.clone().with_num_classes(8));
        assert!(missing.is_empty() && unused.is_empty(), "{missing:?} {unused:?}");
        assert_eq!(misshapen.len(), 2, "{misshapen:?}");
        assert!(misshapen.iter().all(|text| text.starts_with("classifier.6.")), "{misshapen:?}");
        let (missing, ..) = mismatch(config.clone().with_stages(vec![[1, 8], [1, 16], [1, 32], [2, 32]]));
        assert!(missing.contains(&"features.11.weight".to_string()), "{missing:?}");
        let (_, unused, _) = mismatch(config.with_fully_connected(false).with_taps(["pool1"]));
        assert!(unused.contains(&"classifier.0.weight".to_string()), "{unused:?}");
    }

    /// The header of a safetensors file, and the bytes of its tensors.
    fn split(file: &[u8]) -> (serde_json::Map<String, serde_json::Value>, &[u8]) {
        let length = u64::from_le_bytes(*file.first_chunk().unwrap()) as usize;
        let (header, data) = file[8..].split_at(length);
        (serde_json::from_slice(header).unwrap(), data)
    }

    /// Convolutions, biases and classifiers alike; the key is that of the file.
    #[test]
    fn weights_that_are_not_finite_are_refused_by_name() {
        let (_folder, path) = folder();
        export_torchvision(&vgg(6), &path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let (header, data) = split(&whole);
        for key in ["features.0.weight", "features.3.bias", "classifier.6.weight"] {
            for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut bytes = whole.clone();
                let end = whole.len() - data.len() + header[key]["data_offsets"][1].as_u64().unwrap() as usize;
                bytes[end - 4..end].copy_from_slice(&value.to_le_bytes());
                std::fs::write(&path, bytes).unwrap();
                let error = import_torchvision(vgg(6), &path).unwrap_err();
                assert!(matches!(&error, WeightsError::NotFinite { key: found, .. } if found == key), "{key}: {error}");
            }
        }
    }

    #[test]
    fn unreadable_files_are_errors() {
        let (_folder, path) = folder();
        assert!(matches!(import_torchvision(vgg(6), &path), Err(WeightsError::NotFound { .. })));
        let read = |name: &str| {
            let path = path.with_file_name(name);
            std::fs::write(&path, "not weights").unwrap();
            import_torchvision(vgg(6), &path).unwrap_err()
        };
        for name in ["text.safetensors", "text.pth", "weights.caffemodel"] {
            assert!(matches!(read(name), WeightsError::Unreadable { .. }), "{name}");
        }
        let folder = import_torchvision(vgg(6), path.parent().unwrap());
        assert!(folder.unwrap_err().to_string().contains("it is a folder"));
    }

    /// Writes a file again with each tensor under the keys that `keys` makes of its own, and with
    /// another tensor for each of `more`.
    fn rewrite(path: &Path, keys: impl Fn(&str) -> Vec<String>, more: &[&str]) {
        let bytes = std::fs::read(path).unwrap();
        let (header, data) = split(&bytes);
        let (mut written, mut body) = (serde_json::Map::new(), Vec::new());
        for (key, tensor) in header.iter().filter(|(key, _)| *key != "__metadata__") {
            let more = more.iter().filter(|_| key == "features.0.bias").map(|key| (*key).to_owned());
            for new in keys(key).into_iter().chain(more) {
                let [from, to] = [0, 1].map(|n| tensor["data_offsets"][n].as_u64().unwrap() as usize);
                let mut tensor = tensor.clone();
                tensor["data_offsets"] = serde_json::json!([body.len(), body.len() + to - from]);
                body.extend_from_slice(&data[from..to]);
                written.insert(new, tensor);
            }
        }
        let header = serde_json::to_vec(&written).unwrap();
        std::fs::write(path, [&(header.len() as u64).to_le_bytes()[..], &header, &body].concat()).unwrap();
    }

    #[test]
    fn keys_may_stand_below_one_prefix() {
        let (_folder, path) = folder();
        let saved = vgg(6);
        let frame = drawn::<4>(1, [1, 3, 32, 32], &device());
        let expected = Backbone::forward(&saved, frame.clone());
        for (prefix, more) in [
            ("module.", &[][..]),
            ("backbone.encoder.", &[]),
            ("state_dict.", &["optimizer.state.0.exp_avg", "epoch_losses"]),
            ("model_state_dict.module.", &["optimizer_state_dict.state.0.exp_avg"]),
            ("model.", &["optimizer.state.0.exp_avg"]),
        ] {
            export_torchvision(&saved, &path).unwrap();
            rewrite(&path, |key| vec![format!("{prefix}{key}")], more);
            assert_eq!(torchvision_classes(&vgg(1000), &path).unwrap(), 6, "{prefix}");
            let loaded = import_torchvision(vgg(6), &path).unwrap_or_else(|error| panic!("{prefix}: {error}"));
            assert_eq!(difference(expected.clone(), Backbone::forward(&loaded, frame.clone())), 0.0);
            // What does not fit is named as in the file.
            let error = import_torchvision(vgg(7), &path).unwrap_err().to_string();
            assert!(error.contains(&format!("of another shape: {prefix}classifier.6.bias is [6]")), "{error}");
        }
    }

    #[test]
    fn keys_outside_the_prefix_are_named() {
        let (_folder, path) = folder();
        let error = |keys: &dyn Fn(&str) -> Vec<String>, more: &[&str]| {
            export_torchvision(&vgg(6), &path).unwrap();
            rewrite(&path, keys, more);
            import_torchvision(vgg(6), &path).unwrap_err().to_string()
        };
        let text = error(&|key| vec![format!("backbone.{key}")], &["head.weight"]);
        assert!(text.ends_with("unused: head.weight"), "{text}");
        let text = error(&|key| vec![format!("state_dict.module.{key}")], &["state_dict.head.weight", "optimizer.0"]);
        assert!(text.ends_with("unused: state_dict.head.weight"), "{text}");
        let text = error(&|key| vec![key.to_owned()], &["head.weight"]);
        assert!(text.ends_with("unused: head.weight"), "{text}");
        let text = error(&|key| vec![format!("model.{key}"), format!("model_ema.{key}")], &[]);
        assert!(text.contains("below `model.` and below `model_ema.`; save one of them alone"), "{text}");
    }
}
