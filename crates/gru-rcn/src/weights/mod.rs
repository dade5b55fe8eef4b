//! Import and export of weights, in the key layouts of PyTorch's networks and in the modules' own.
//!
//! Import is strict: a key that the file lacks, one that the model has no use for, or one of
//! another shape is an error that lists the keys, and the model is left as it was. `.pth` files are
//! parsed, never executed.

mod file;
mod torchvision;

pub use file::sort_metadata;
pub use torchvision::{
    WeightsError, export_torchvision, export_torchvision_with, import_torchvision, torchvision_classes,
};

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::Module;
use burn::store::SafetensorsStore;

/// Writes every parameter of a module to a safetensors file under the module's own names, e.g.
/// `recurrent.layers.0.input_to_hidden.weight`. Convolutions are `[out, in, height, width]` as
/// everywhere, linear layers Burn's `[in, out]`. The file appears whole or not at all; equal
/// modules give equal bytes.
pub fn export<M: Module>(module: &M, path: &Path, metadata: &[(&str, String)]) -> Result<(), WeightsError> {
    file::save(module, path, |store| metadata.iter().fold(store, |store, (key, value)| store.metadata(*key, value)))
}

/// Reads a file of [`export`] into a module of the same shape, strictly.
pub fn import<M: Module>(module: M, path: &Path) -> Result<M, WeightsError> {
    WeightsError::require_file(path)?;
    let tensors = torchvision::all_of(SafetensorsStore::from_file(path), path)?.into_values().collect();
    torchvision::apply(module, tensors, None, path, str::to_string)
}

/// The metadata that [`export`] or [`export_torchvision_with`] wrote into a safetensors file.
///
/// # Errors
///
/// If the file is missing or is no safetensors file.
pub fn metadata(path: &Path) -> Result<BTreeMap<String, String>, WeightsError> {
    WeightsError::require_file(path)?;
    file::metadata(path).map_err(|error| WeightsError::unreadable(path, &error))
}
