//! Files that are written whole or not at all, and locks on folders.

use std::ffi::OsString;
use std::fs::{self, DirEntry, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::error::DataError;
use super::text::regular;

/// End of the names of files and folders being written. Their leading dot hides them from all code
/// that lists clips.
pub(crate) const PARTIAL: &str = ".partial";

/// The hidden sibling that stands in for `path` until it is complete.
pub(crate) fn partial_sibling(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(PARTIAL);
    path.with_file_name(name)
}

/// Writes a file whole or not at all: into a hidden sibling, which is synchronised and then renamed.
/// A link stays, and its target is written, even if it does not exist yet.
///
/// # Errors
/// [`DataError::Io`], [`DataError::NotFound`] if the folder does not exist, and
/// [`DataError::NotAFile`] if a folder, a pipe, a socket or a device has the name.
pub fn write_atomically(path: &Path, content: &[u8]) -> Result<(), DataError> {
    write_atomically_by(path, |file| file.write_all(content))
}

/// As [`write_atomically`], with content that `write` produces.
pub(crate) fn write_atomically_by<T>(
    path: &Path,
    write: impl FnOnce(&mut File) -> std::io::Result<T>,
) -> Result<T, DataError> {
    let io = |error| DataError::io(path, error);
    let place = match if_there(path, fs::metadata(path))? {
        Some(metadata) => {
            regular(path, &metadata)?;
            fs::canonicalize(path).map_err(io)?
        }
        None => match fs::read_link(path) {
            // A circle of links is no missing file: `metadata` fails in another way.
            Ok(target) => return write_atomically_by(&path.with_file_name(target), write),
            Err(_) => path.to_owned(),
        },
    };
    let partial = partial_sibling(&place);
    let all = || {
        let mut file = File::create(&partial)?;
        let written = write(&mut file)?;
        file.sync_all()?;
        fs::rename(&partial, &place)?;
        Ok(written)
    };
    let written = all().map_err(|error| {
        let _ = fs::remove_file(&partial);
        io(error)
    })?;
    sync_folder_of(&place)?;
    Ok(written)
}

/// Makes the names in a folder durable on disk.
///
/// # Errors
/// [`DataError::Io`] and [`DataError::NotFound`].
pub fn sync_folder(folder: &Path) -> Result<(), DataError> {
    // Folders can be opened, and need it, on Unix only.
    #[cfg(unix)]
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| DataError::io(folder, error))?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}

pub(crate) fn sync_folder_of(path: &Path) -> Result<(), DataError> {
    // The parent of a bare name is the empty path, which means the current folder.
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => sync_folder(Path::new(".")),
        Some(parent) => sync_folder(parent),
        None => Ok(()),
    }
}

/// The result of reading `path`; `None` if it does not exist.
///
/// # Errors
/// [`DataError::Io`] for every other failure.
pub fn if_there<T>(path: &Path, read: std::io::Result<T>) -> Result<Option<T>, DataError> {
    unless_missing(read.map_err(|error| DataError::io(path, error)))
}

/// The same for an error that names its path already.
pub(crate) fn unless_missing<T>(read: Result<T, DataError>) -> Result<Option<T>, DataError> {
    match read {
        Ok(content) => Ok(Some(content)),
        Err(DataError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The entries of a folder, in no particular order.
pub(crate) fn read_folder(folder: &Path) -> Result<Vec<DirEntry>, DataError> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect);
    entries.map_err(|error| DataError::io(folder, error))
}

/// The canonical path of a folder; `expected` says what a file in its place should be.
pub(crate) fn canonical_folder(path: &Path, expected: &str) -> Result<PathBuf, DataError> {
    let canonical = fs::canonicalize(path).map_err(|error| DataError::io(path, error))?;
    if canonical.is_dir() { Ok(canonical) } else { Err(DataError::dataset(path, expected)) }
}

/// Removes a file or a folder with everything in it, if it exists. Links are removed, not followed.
///
/// # Errors
/// [`DataError::Io`].
pub fn remove(path: &Path) -> Result<(), DataError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    if_there(path, removed).map(drop)
}

/// Free bytes on the disk of `path`; `None` where the system does not state them.
pub fn free_bytes(path: &Path) -> Option<u64> {
    // A folder that does not exist yet lies on the disk of its nearest parent that does.
    let place = path.ancestors().find(|place| place.exists())?;
    #[cfg(unix)]
    return rustix::fs::statvfs(place).ok().map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    #[cfg(not(unix))]
    {
        let _ = place;
        None
    }
}

/// Keeps other processes out of a folder while it lives. The system releases it however the process
/// ends.
///
/// On file systems without locks, such as some network ones, it does nothing.
#[derive(Debug)]
pub struct FolderLock {
    _held: Vec<File>,
}

impl FolderLock {
    /// Locks a folder for this process alone; `None` while another process holds it or a part of it.
    pub fn whole(folder: &Path) -> Option<Self> {
        // The folder itself is locked, so no lock file is left behind.
        let Ok(file) = File::open(folder) else { return Some(Self { _held: Vec::new() }) };
        taken(file.try_lock()).then(|| Self { _held: vec![file] })
    }

    /// Locks the part `name` of a folder, beside other processes that hold other parts; `None` while
    /// another process holds this part or the whole folder.
    ///
    /// # Errors
    /// [`DataError::Io`] if the part's lock file cannot be created.
    pub fn part(folder: &Path, name: &str) -> Result<Option<Self>, DataError> {
        let Ok(shared) = File::open(folder) else { return Ok(Some(Self { _held: Vec::new() })) };
        if !taken(shared.try_lock_shared()) {
            return Ok(None);
        }
        // The file stays, because another process may have just opened it. Only the owner of the
        // whole folder may remove lock files.
        let path = folder.join(format!(".prepare-{name}.lock"));
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.map_err(|error| DataError::io(&path, error))?;
        Ok(taken(file.try_lock()).then(|| Self { _held: vec![shared, file] }))
    }
}

fn taken(locked: Result<(), TryLockError>) -> bool {
    !matches!(locked, Err(TryLockError::WouldBlock))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::temporary;

    #[test]
    fn a_file_is_replaced_whole() {
        let folder = temporary();
        let path = folder.path().join("a.txt");
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(write_atomically(&folder.path().join("none/a.txt"), b"x").is_err());
        assert_eq!(partial_sibling(Path::new("x/clip")), Path::new("x/.clip.partial"));
        assert!(matches!(write_atomically(folder.path(), b"x"), Err(DataError::NotAFile { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn links_and_devices_are_not_replaced() {
        let folder = temporary();
        let [target, link] = ["target", "link"].map(|name| folder.path().join(name));
        fs::write(&target, b"one").unwrap();
        std::os::unix::fs::symlink("target", &link).unwrap();
        write_atomically(&link, b"two").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&target).unwrap(), b"two");
        // A link to a device: no test should be able to replace the device itself.
        let null = folder.path().join("null");
        std::os::unix::fs::symlink("/dev/null", &null).unwrap();
        assert!(matches!(write_atomically(&null, b"x"), Err(DataError::NotAFile { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn a_dangling_link_stays_and_its_target_is_written() {
        let folder = temporary();
        let [target, link, outer, circle] = ["target", "link", "outer", "circle"].map(|name| folder.path().join(name));
        for (to, at) in [(Path::new("target"), &link), (link.as_path(), &outer), (Path::new("circle"), &circle)] {
            std::os::unix::fs::symlink(to, at).unwrap();
        }
        write_atomically(&outer, b"one").unwrap();
        assert!([&link, &outer].iter().all(|link| fs::symlink_metadata(link).unwrap().is_symlink()));
        assert_eq!(fs::read(&target).unwrap(), b"one");
        assert!(matches!(write_atomically(&circle, b"x"), Err(DataError::Io { .. })));
    }

    #[test]
    fn removing_nothing_is_no_error() {
        let folder = temporary();
        let inner = folder.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        remove(&folder.path().join("a")).unwrap();
        remove(&folder.path().join("a")).unwrap();
        assert!(!inner.exists());
        for path in [folder.path(), &inner] {
            assert!(free_bytes(path).map_or(cfg!(not(unix)), |bytes| bytes > 0));
        }
    }

    // Parts share a folder; one part is taken once, and the whole folder only when no part is
    // taken.
    #[test]
    fn locks_exclude_one_another() {
        let folder = temporary();
        let part = |name| FolderLock::part(folder.path(), name).unwrap();
        let first = part("1-of-2").unwrap();
        if first._held.is_empty() {
            return;
        }
        let second = part("2-of-2").unwrap();
        assert!(part("1-of-2").is_none() && FolderLock::whole(folder.path()).is_none());
        drop((first, second));
        let whole = FolderLock::whole(folder.path()).unwrap();
        assert!(part("1-of-2").is_none());
        drop(whole);
    }
}
