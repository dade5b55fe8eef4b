//! Files of the fuzz targets: most readers take a path.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// The folder of this process, in memory where the system has a place for that.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    parent.join(format!("gru-rcn-fuzz-{}", std::process::id()))
});

/// Writes a file of that folder and returns its path.
pub fn put(name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = FOLDER.join(name);
    fs::create_dir_all(path.parent().expect("it lies in the folder")).expect("a folder can be made");
    fs::write(&path, bytes).expect("a file can be written");
    path
}

/// The parts of an input that has several, which stand between bytes that no text has.
pub fn parts<const N: usize>(bytes: &[u8]) -> [&[u8]; N] {
    let mut parts = bytes.splitn(N, |&byte| byte == 0xff);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}
