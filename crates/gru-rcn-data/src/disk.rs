//! Writing so that a kill at any moment leaves whole files, and keeping two writers apart.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::error::DataError;

/// Ends the names of what is being written. A leading dot hides them from everything that lists clips.
pub(crate) const PARTIAL: &str = ".partial";

/// The hidden sibling under whose name `path` is written until it is whole.
pub(crate) fn partial_sibling(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(PARTIAL);
    path.with_file_name(name)
}

/// Writes a file whole or not at all: into a sibling, which is on disk before it gets the name.
pub(crate) fn write_atomic(path: &Path, content: &[u8]) -> Result<(), DataError> {
    let partial = partial_sibling(path);
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&partial)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&partial, path)
    };
    write().map_err(|error| DataError::io(path, error))?;
    sync_folder_of(path)
}

/// Makes the names in a folder as lasting as the files they name.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), DataError> {
    // Folders can be opened, and need it, on Unix only.
    #[cfg(unix)]
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| DataError::io(folder, error))?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}

pub(crate) fn sync_folder_of(path: &Path) -> Result<(), DataError> {
    path.parent().map_or(Ok(()), sync_folder)
}

/// Removes a file or a folder with all it holds; nothing there is well too. Links are removed, not followed.
pub(crate) fn remove(path: &Path) -> Result<(), DataError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(DataError::io(path, error)),
        _ => Ok(()),
    }
}

/// Bytes that may still be written to the disk of `path`; `None` where the system does not say.
pub fn free_bytes(path: &Path) -> Option<u64> {
    // A folder that is still to be made lies on the disk of the nearest one there is.
    let place = path.ancestors().find(|place| place.exists())?;
    #[cfg(unix)]
    return rustix::fs::statvfs(place).ok().map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    #[cfg(not(unix))]
    {
        let _ = place;
        None
    }
}

/// Keeps other processes out for as long as it lives. The system lets go of it however the process ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _held: Vec<File>,
}

impl Lock {
    /// Takes a folder for this process alone.
    pub(crate) fn whole(folder: &Path) -> Result<Self, DataError> {
        // The folder itself is locked, so that no file is left over. Where that is not possible, on some network file
        // systems, the work goes on without.
        let Ok(file) = File::open(folder) else { return Ok(Self { _held: Vec::new() }) };
        let locked = file.try_lock();
        Self::judge(folder, locked, vec![file])
    }

    /// Takes one shard of a folder for this process, together with others that take other shards.
    pub(crate) fn shard(folder: &Path, name: &str) -> Result<Self, DataError> {
        let Ok(shared) = File::open(folder) else { return Ok(Self { _held: Vec::new() }) };
        let locked = shared.try_lock_shared();
        let whole = Self::judge(folder, locked, vec![shared])?;
        // The file stays: whoever removed it could remove it under a process that has just opened it. `merge`, which
        // takes the whole folder, clears these files away.
        let path = folder.join(format!(".prepare-{name}.lock"));
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.map_err(|error| DataError::io(&path, error))?;
        let locked = file.try_lock();
        let held = whole._held.into_iter().chain([file]).collect();
        Self::judge(folder, locked, held)
    }

    fn judge(folder: &Path, locked: Result<(), TryLockError>, held: Vec<File>) -> Result<Self, DataError> {
        match locked {
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Self { _held: held }),
            Err(TryLockError::WouldBlock) => {
                let reason = "another process is preparing this folder (or this shard of it); wait for it to end, or \
                              give another output folder";
                Err(DataError::dataset(folder, reason))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::temporary;

    #[test]
    fn a_file_is_replaced_whole() {
        let folder = temporary();
        let path = folder.path().join("a.txt");
        write_atomic(&path, b"one").unwrap();
        write_atomic(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(write_atomic(&folder.path().join("none/a.txt"), b"x").is_err());
        assert_eq!(partial_sibling(Path::new("x/clip")), Path::new("x/.clip.partial"));
    }

    #[test]
    fn removing_nothing_is_well() {
        let folder = temporary();
        let inner = folder.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        remove(&folder.path().join("a")).unwrap();
        remove(&folder.path().join("a")).unwrap();
        assert!(!inner.exists());
        assert!(free_bytes(&inner).is_none_or(|bytes| bytes > 0));
    }

    #[cfg(unix)]
    #[test]
    fn the_system_tells_how_much_room_there_is() {
        let folder = temporary();
        for path in [folder.path().to_path_buf(), folder.path().join("nowhere")] {
            assert!(free_bytes(&path).is_some_and(|bytes| bytes > 0));
        }
    }

    // Shards share a folder; one shard is taken once, and the whole folder only when no shard is taken.
    #[test]
    fn locks_exclude_one_another() {
        let folder = temporary();
        let first = Lock::shard(folder.path(), "1-of-2").unwrap();
        if first._held.is_empty() {
            return;
        }
        let second = Lock::shard(folder.path(), "2-of-2").unwrap();
        assert!(Lock::shard(folder.path(), "1-of-2").unwrap_err().to_string().contains("another process"));
        assert!(Lock::whole(folder.path()).is_err());
        drop((first, second));
        let whole = Lock::whole(folder.path()).unwrap();
        assert!(Lock::shard(folder.path(), "1-of-2").is_err());
        drop(whole);
    }
}
