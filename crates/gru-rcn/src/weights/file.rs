//! Writing safetensors files.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::Path;

use burn::module::Module;
use burn::store::burn_pack::AtomicFile;
use burn::store::{ModuleSnapshot, SafetensorsStore};
use serde_json::Deserializer;

use super::WeightsError;

/// Writes a module's parameters; the file appears whole or not at all, and equal modules give equal
/// bytes.
pub(super) fn save<M: Module>(
    module: &M,
    path: &Path,
    configure: impl FnOnce(SafetensorsStore) -> SafetensorsStore,
) -> Result<(), WeightsError> {
    let (scratch, reserved) = AtomicFile::create(path).map_err(|error| WeightsError::write(path, &error))?;
    let permissions = reserved.metadata().map(|metadata| metadata.permissions());
    drop(reserved);
    let mut store = configure(SafetensorsStore::from_file(scratch.path()).overwrite(true));
    module.save_into(&mut store).map_err(|error| WeightsError::write(path, &error))?;
    sort_metadata_of(scratch.path())
        // The library writes through a file that only its owner may read.
        .and_then(|()| fs::set_permissions(scratch.path(), permissions?))
        .map_err(|error| WeightsError::write(path, &error))?;
    scratch.commit().map_err(|error| WeightsError::write(path, &error))
}

/// Longest header that is read, as in the safetensors library.
const MOST_HEADER: u64 = 100_000_000;

/// The metadata in the header of a safetensors file; empty if it has none.
pub(super) fn metadata(path: &Path) -> std::io::Result<BTreeMap<String, String>> {
    #[derive(serde::Deserialize)]
    struct Header {
        #[serde(rename = "__metadata__", default)]
        metadata: BTreeMap<String, String>,
    }
    Ok(serde_json::from_slice::<Header>(&read_header(&mut File::open(path)?)?)?.metadata)
}

fn read_header(file: &mut File) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > MOST_HEADER || length > file.metadata()?.len() {
        return Err(std::io::Error::other(format!("a header of {length} bytes")));
    }
    let mut header = vec![0; length as usize];
    file.read_exact(&mut header)?;
    Ok(header)
}

/// Whether a file begins as safetensors files do: with the length of a header, which is JSON.
pub(super) fn is_safetensors(path: &Path) -> std::io::Result<bool> {
    let mut start = Vec::new();
    File::open(path)?.take(9).read_to_end(&mut start)?;
    let length = start.first_chunk().map(|length| u64::from_le_bytes(*length));
    Ok(start.get(8) == Some(&b'{') && length.is_some_and(|length| length <= MOST_HEADER))
}

fn sort_metadata_of(path: &Path) -> std::io::Result<()> {
    let mut file: File = OpenOptions::new().read(true).write(true).open(path)?;
    let mut header = read_header(&mut file)?;
    sort_header(&mut header);
    file.seek(std::io::SeekFrom::Start(8))?;
    file.write_all(&header)
}

/// Sorts the metadata of a safetensors file by key, in place; other bytes are kept. The format
/// leaves their order open, and the library's own order is random.
pub fn sort_metadata(file: &mut [u8]) {
    if let Some((length, rest)) = file.split_first_chunk_mut::<8>()
        && let Some(header) = rest.get_mut(..u64::from_le_bytes(*length) as usize)
    {
        sort_header(header);
    }
}

/// The same for the header alone, JSON as the library writes it; `None` if it holds no metadata.
fn sort_header(header: &mut [u8]) -> Option<()> {
    const START: &[u8] = b"{\"__metadata__\":";
    let mut values = Deserializer::from_slice(header.strip_prefix(START)?).into_iter::<BTreeMap<String, String>>();
    let sorted = serde_json::to_vec(&values.next()?.ok()?).ok()?;
    let end = START.len() + values.byte_offset();
    let metadata = &mut header[START.len()..end];
    // The library writes by serde_json too, without spaces, so the length is the same.
    (metadata.len() == sorted.len()).then(|| metadata.copy_from_slice(&sorted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::device;

    #[test]
    fn metadata_are_sorted_by_key_and_other_bytes_are_kept() {
        let sorted = |header: &str| {
            let mut file = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), b"tensors"].concat();
            sort_metadata(&mut file);
            assert!(file.ends_with(b"tensors"));
            String::from_utf8(file[8..file.len() - 7].to_vec()).unwrap()
        };
        let header = r#"{"__metadata__":{"version":"1","b":"x,\"y\"}","a":"\\"},"w":{"dtype":"F32"}}"#;
        let expected = r#"{"__metadata__":{"a":"\\","b":"x,\"y\"}","version":"1"},"w":{"dtype":"F32"}}"#;
        assert_eq!(sorted(header), expected);
        for header in ["{}", r#"{"w":{"dtype":"F32"}}"#, r#"{"__metadata__":{}}"#, r#"{"__metadata__":{"a":"b""#] {
            assert_eq!(sorted(header), header);
        }
        // A header that is longer than the file.
        let mut torn = *b"\xff\0\0\0\0\0\0\0{}";
        sort_metadata(&mut torn);
        assert_eq!(&torn[8..], b"{}");
    }

    #[test]
    fn equal_modules_are_equal_files() {
        let folder = tempfile::tempdir().unwrap();
        let module = burn::nn::LinearConfig::new(2, 3).init(&device());
        let mut files = (0..4).map(|n| {
            let path = folder.path().join(format!("{n}.safetensors"));
            super::super::export(&module, &path, &[("one", "1".into()), ("two", "2".into())]).unwrap();
            fs::read(path).unwrap()
        });
        let first = files.next().unwrap();
        assert!(files.all(|file| file == first));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4, "a scratch file was left over");
    }
}
