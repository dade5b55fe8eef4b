//! The contents of a safetensors file, read without the library that wrote it: eight bytes of
//! length, a JSON header, the values.

use std::path::Path;

use serde_json::Value;

/// A file in memory.
pub struct Tensors {
    header: Value,
    bytes: Vec<u8>,
}

impl Tensors {
    /// Reads a file.
    pub fn read(path: &Path) -> Self {
        let content = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (length, rest) = content.split_first_chunk::<8>().expect("eight bytes of length");
        let (header, bytes) = rest.split_at(u64::from_le_bytes(*length) as usize);
        let header = serde_json::from_slice(header).expect("a header of JSON");
        Self { header, bytes: bytes.to_vec() }
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
        self.content(name).as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }

    /// The values of a tensor of type I64.
    pub fn integers(&self, name: &str) -> Vec<i64> {
        self.content(name).as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect()
    }

    fn content(&self, name: &str) -> &[u8] {
        let offset = |end: usize| self.header[name]["data_offsets"][end].as_u64().expect("an offset") as usize;
        &self.bytes[offset(0)..offset(1)]
    }
}
