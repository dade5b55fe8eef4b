//! Reading goldens and comparing with them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use burn::store::{ModuleStore, SafetensorsStore, bridge};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use gru_rcn::backbone::Backbone;

use crate::counter::blocky_picture;

/// Largest allowed deviation, relative to the largest magnitude of the tensor: some eighty times
/// the resolution of float32, for sums of up to a few thousand products.
const TOLERANCE: f32 = 1e-5;

/// The CPU, or where the build has another backend, that one; `BURN_DEVICE` chooses.
pub(crate) fn device() -> Device {
    Device::default()
}

/// Pictures `[1, 1, height, width, 3]` of bytes, as integers that the device has.
pub(crate) fn pictures(bytes: Vec<u8>, [height, width]: [usize; 2], device: &Device) -> Tensor<5, Int> {
    let dtype = if device.supports_dtype(DType::U8) { DType::U8 } else { DType::I32 };
    Tensor::from_data(TensorData::new(bytes, [1, 1, height, width, 3]), (device, dtype))
}

/// The tensors of one file in `tests/goldens`.
pub(crate) struct Golden {
    name: &'static str,
    tensors: BTreeMap<String, TensorData>,
}

pub(crate) fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("goldens").join(name)
}

impl Golden {
    pub(crate) fn open(name: &'static str) -> Self {
        let mut store = SafetensorsStore::from_file(path(name));
        let tensors = store.get_all_tensors().unwrap_or_else(|error| panic!("{name}: {error}"));
        let tensors = tensors.iter().map(|(key, tensor)| (key.clone(), bridge::to_data(tensor).unwrap())).collect();
        Self { name, tensors }
    }

    fn data(&self, key: &str) -> &TensorData {
        self.tensors.get(key).unwrap_or_else(|| panic!("{} has no tensor {key}", self.name))
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.tensors.contains_key(key)
    }

    pub(crate) fn tensor<const D: usize>(&self, key: &str, device: &Device) -> Tensor<D> {
        Tensor::from_data(self.data(key).clone(), device)
    }

    /// Tensors concatenated along their first dimension, as the weights of gates are fused.
    pub(crate) fn fused<const D: usize>(&self, keys: &[String], device: &Device) -> Tensor<D> {
        Tensor::cat(keys.iter().map(|key| self.tensor(key, device)).collect(), 0)
    }

    /// The values of some tensors, one after the other, as those of fused tensors lie.
    pub(crate) fn floats(&self, keys: &[String]) -> Vec<f32> {
        keys.iter().flat_map(|key| self.data(key).try_to_vec::<f32>().unwrap()).collect()
    }

    /// The values of a tensor of indices.
    pub(crate) fn indices(&self, key: &str) -> Vec<usize> {
        self.data(key).try_to_vec::<i64>().unwrap().into_iter().map(|index| index as usize).collect()
    }
}

/// The worst deviation of one subject.
pub(crate) struct Worst<'g> {
    subject: String,
    golden: &'g Golden,
    deviation: f32,
    at: String,
    compared: usize,
}

impl<'g> Worst<'g> {
    pub(crate) fn of(subject: impl Into<String>, golden: &'g Golden) -> Self {
        Self { subject: subject.into(), golden, deviation: 0.0, at: "nothing".into(), compared: 0 }
    }

    /// Compares values, relative to the largest expected magnitude.
    fn compare(&mut self, what: &str, found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len(), "{}: number of values of {what}", self.subject);
        let scale = expected.iter().fold(f32::MIN_POSITIVE, |scale, value| scale.max(value.abs()));
        for (index, (f, e)) in found.iter().zip(expected).enumerate() {
            let deviation = (f - e).abs() / scale;
            // Not `>`: a NaN must fail.
            assert!(deviation <= TOLERANCE, "{}: {what}[{index}] is {f} instead of {e}", self.subject);
            if deviation > self.deviation {
                (self.deviation, self.at) = (deviation, what.into());
            }
        }
        self.compared += found.len();
    }

    /// Compares a tensor with tensors of the golden, one after the other.
    pub(crate) fn check<const D: usize>(&mut self, found: Tensor<D>, keys: &[String]) {
        self.compare(&keys.join("+"), &found.into_data().try_to_vec::<f32>().unwrap(), &self.golden.floats(keys));
    }

    /// Compares all levels of a network with their summaries.
    pub(crate) fn levels(&mut self, network: &impl Backbone, x: Tensor<4>, name: &str) {
        for (level, map) in network.levels().iter().zip(network.taps(x)) {
            assert_eq!(map.dims(), [1, level.channels, level.height, level.width], "{}", level.name);
            self.digest(map, &format!("{name}.{}", level.name));
        }
    }

    /// Compares logits with their summary, and the five best classes.
    pub(crate) fn logits(&mut self, logits: Tensor<2>, name: &str) {
        self.digest(logits.clone(), &format!("{name}.logits"));
        let (best, classes) = logits.sort_descending_with_indices(1);
        let classes = classes.narrow(1, 0, 5).into_data().try_to_vec_as::<i64>().unwrap();
        let classes: Vec<usize> = classes.into_iter().map(|class| class as usize).collect();
        assert_eq!(classes, self.golden.indices(&format!("{name}.best")));
        self.check(best.narrow(1, 0, 5), &keys(name, &["best_logits"]));
    }

    /// Compares a large tensor with its summary: shape, mean, root mean square, and some values.
    fn digest<const D: usize>(&mut self, found: Tensor<D>, key: &str) {
        let golden = self.golden;
        let shape = golden.indices(&format!("{key}.shape"));
        assert_eq!(found.dims().to_vec(), shape, "{}: shape of {key}", self.subject);
        let values = found.into_data().try_to_vec::<f32>().unwrap();
        let mean = |f: fn(f64) -> f64| values.iter().map(|&v| f(f64::from(v))).sum::<f64>() / values.len() as f64;
        let moments = [mean(|v| v) as f32, mean(|v| v * v).sqrt() as f32];
        self.compare(&format!("{key}.moments"), &moments, &golden.floats(&[format!("{key}.moments")]));
        let samples: Vec<f32> = golden.indices(&format!("{key}.at")).into_iter().map(|at| values[at]).collect();
        self.compare(&format!("{key}.values"), &samples, &golden.floats(&[format!("{key}.values")]));
    }
}

impl Drop for Worst<'_> {
    fn drop(&mut self) {
        println!("{}: {} values, worst deviation {:.1e} at {}", self.subject, self.compared, self.deviation, self.at);
    }
}

/// Compares a network with a golden on drawn pictures: maps and logits at sizes that `resize` sets.
pub(crate) fn compare<B: Backbone>(
    subject: &str,
    (golden, seed): (&'static str, u64),
    mut model: B,
    resize: impl Fn(&mut B, [usize; 2]),
    sizes: &[[usize; 2]],
) {
    let golden = Golden::open(golden);
    for &size in sizes {
        let name = format!("{}x{}", size[0], size[1]);
        let mut worst = Worst::of(format!("{subject}, {name}"), &golden);
        resize(&mut model, size);
        let picture = blocky_picture(seed, &format!("frame.{name}"), size, &device());
        let x = model.pixels().normalise(picture).squeeze_dim::<4>(1);
        worst.levels(&model, x.clone(), &name);
        worst.logits(model.forward(x), &name);
    }
}

/// `prefix.name` for each name.
pub(crate) fn keys(prefix: &str, names: &[&str]) -> Vec<String> {
    names.iter().map(|name| format!("{prefix}.{name}")).collect()
}
