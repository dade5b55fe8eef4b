//! The contents of a safetensors file, read without the library that wrote it: eight bytes of
//! length, a JSON header, the values.

use std::ops::Range;
use std::path::Path;

use serde_json::Value;

/// A file in memory.
pub struct Tensors {
    bytes: Vec<u8>,
    header: Value,
    /// Where the values begin.
    start: usize,
}

impl Tensors {
    /// Reads a file.
    pub fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let length = bytes.first_chunk::<8>().expect("eight bytes of length");
        let start = 8 + u64::from_le_bytes(*length) as usize;
        let header = serde_json::from_slice(&bytes[8..start]).expect("a header of JSON");
        Self { bytes, header, start }
    }

    /// Writes a value over the last number of a tensor of type F32 in a file.
    pub fn poke(path: &Path, name: &str, value: f32) {
        let mut file = Self::read(path);
        let end = file.place(name).end;
        file.bytes[end - 4..end].copy_from_slice(&value.to_le_bytes());
        std::fs::write(path, file.bytes).expect("a changed file");
    }

    /// Type and shape of a tensor, such as `("F32", [48, 8])`.
    pub fn shape(&self, name: &str) -> (&str, Vec<u64>) {
        let tensor = &self.header[name];
        let dims = tensor["shape"].as_array().unwrap_or_else(|| panic!("there is no tensor {name}"));
        (tensor["dtype"].as_str().expect("a type"), dims.iter().filter_map(Value::as_u64).collect())
    }

    /// An entry of the metadata whose text is JSON.
    pub fn metadata(&self, name: &str) -> Value {
        let text = self.header["__metadata__"][name].as_str().unwrap_or_else(|| panic!("there is no metadata {name}"));
        serde_json::from_str(text).expect("metadata of JSON")
    }

    /// The values of a tensor of type F32.
    pub fn floats(&self, name: &str) -> Vec<f32> {
        self.bytes[self.place(name)].as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }

    /// The values of a tensor of type I64.
    pub fn integers(&self, name: &str) -> Vec<i64> {
        self.bytes[self.place(name)].as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect()
    }

    fn place(&self, name: &str) -> Range<usize> {
        let offsets = &self.header[name]["data_offsets"];
        let [first, end] = [0, 1].map(|n| self.start + offsets[n].as_u64().expect("an offset") as usize);
        first..end
    }
}
