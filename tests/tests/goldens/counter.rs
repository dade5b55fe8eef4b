//! Numbers as functions of a counter, as in `tests/peers/_common.py`: both sides draw the weights that
//! are too large to be stored.

use std::io::Write;
use std::path::Path;

use burn::tensor::{Device, Int, Tensor, TensorData};
use gru_rcn_data::base::{Fnv64, SplitMix64};

use crate::golden::pictures;

/// The SplitMix64 sequence of a seed and the FNV-1a hash of a name.
fn words(seed: u64, key: &str) -> impl Iterator<Item = u64> {
    let start = seed ^ Fnv64::default().bytes(key.as_bytes()).finish();
    (0..).map(move |index| SplitMix64::at(start, index))
}

/// Values in (-bound, bound) from the top 24 bits of each word: exact in float64 up to the last
/// product and the rounding to float32.
fn uniform(seed: u64, key: &str, bound: f64) -> impl Iterator<Item = f32> {
    let lowest = 1.0 - (-24f64).exp2();
    words(seed, key).map(move |word| (bound * ((word >> 40) as f64 * (-23f64).exp2() - lowest)) as f32)
}

/// A tensor of uniform values.
pub(crate) fn drawn<const D: usize>(seed: u64, key: &str, shape: [usize; D], bound: f64, device: &Device) -> Tensor<D> {
    let values: Vec<f32> = uniform(seed, key, bound).take(shape.iter().product()).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// A picture of blocks of 8x8 equal pixels, `[1, 1, height, width, 3]` in bytes.
pub(crate) fn blocky_picture(seed: u64, key: &str, [height, width]: [usize; 2], device: &Device) -> Tensor<5, Int> {
    let (rows, columns) = (height.div_ceil(8), width.div_ceil(8));
    let cells: Vec<u8> = words(seed, key).take(3 * rows * columns).map(|word| (word >> 56) as u8).collect();
    let mut bytes = Vec::with_capacity(3 * height * width);
    for y in 0..height {
        for x in 0..width {
            bytes.extend((0..3).map(|c| cells[(c * rows + y / 8) * columns + x / 8]));
        }
    }
    pictures(bytes, [height, width], device)
}

/// Writes uniform weights to a safetensors file, number by number, so that a file of half a
/// gigabyte needs no memory. Weights are bounded by He's sqrt(6 / fan_in), biases and means by 0.1;
/// the factors and variances of batch normalisation lie between 0.5 and 1.5.
pub(crate) fn write_weights(path: &Path, seed: u64, tensors: &[(String, Vec<usize>)]) -> std::io::Result<()> {
    let mut header = serde_json::Map::new();
    let mut end = 0;
    for (key, shape) in tensors {
        let start = end;
        end += 4 * shape.iter().product::<usize>();
        let entry = serde_json::json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, end] });
        header.insert(key.clone(), entry);
    }
    let mut header = serde_json::to_string(&header)?;
    // The data begin at a multiple of eight bytes.
    header.extend(std::iter::repeat_n(' ', (8 - header.len() % 8) % 8));
    let mut file = std::io::BufWriter::with_capacity(1 << 20, std::fs::File::create(path)?);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    for (key, shape) in tensors {
        let fan_in: usize = shape[1..].iter().product();
        let weight = key.ends_with(".weight");
        let (middle, bound) = match shape.len() {
            1 if weight || key.ends_with(".running_var") => (1.0, 0.5),
            _ if weight => (0.0, (6.0 / fan_in as f64).sqrt()),
            _ => (0.0, 0.1),
        };
        for value in uniform(seed, key, bound).take(shape.iter().product()) {
            file.write_all(&(middle + value).to_le_bytes())?;
        }
    }
    file.flush()
}
