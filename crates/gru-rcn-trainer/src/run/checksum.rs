//! Files whose size and checksum are kept beside them, so that damage is seen.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use gru_rcn_data::base::Fnv64;
use serde::{Deserialize, Serialize};

/// One file of a folder, by name.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) checksum: String,
}

impl Member {
    pub(crate) fn new(name: &str, content: &[u8]) -> Self {
        Self { name: name.into(), bytes: content.len() as u64, checksum: checksum(content) }
    }

    /// The content of the file, if it is undamaged.
    pub(crate) fn read(&self, folder: &Path) -> Result<Vec<u8>> {
        let name = &self.name;
        let content = fs::read(folder.join(name)).with_context(|| format!("{name} cannot be read"))?;
        let bytes = content.len() as u64;
        ensure!(bytes == self.bytes, "{name} has {bytes} bytes instead of {}", self.bytes);
        ensure!(checksum(&content) == self.checksum, "{name} is not as it was written");
        Ok(content)
    }
}

/// FNV-1a: no protection against malice, but one bit that flips on the disk changes it.
pub(crate) fn checksum(bytes: &[u8]) -> String {
    format!("{:016x}", Fnv64::default().bytes(bytes).finish())
}
