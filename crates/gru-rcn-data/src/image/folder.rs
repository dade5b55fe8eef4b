//! Folders of images, one per frame.
//!
//! Frames are the files with the extensions jpg, jpeg and png, in the order of the number at the
//! end of their names, so `2.jpg` comes before `10.jpg`. Each folder may count from 0 or from 1, and
//! its names may have a prefix (`img_00001.jpg`). A gap, a number used twice, two prefixes or two
//! sizes mean that the folder is not one whole clip.

use std::fs;
use std::path::{Path, PathBuf};

use super::picture::{Colours, Picture, decode};
use super::resize::{Crop, SizeRule, resize_rgb};
use crate::base::{DataError, DecodeLimits, Frames, read_folder};

pub(crate) fn is_frame(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    !hidden && extension.is_some_and(|extension| ["jpg", "jpeg", "png"].contains(&extension.as_str()))
}

/// The image files of a folder in the order of their numbers.
pub(crate) fn list_frames(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    list(folder, None)
}

/// As [`list_frames`]; frames that are links out of `root`, which is canonical, are refused.
pub(crate) fn list_frames_below(root: &Path, folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    list(folder, Some(root))
}

/// Refuses a link that leads out of `root`, which is canonical.
pub(crate) fn check_link(root: &Path, entry: &fs::DirEntry) -> Result<(), DataError> {
    let path = entry.path();
    if !entry.file_type().map_err(|error| DataError::io(&path, error))?.is_symlink() {
        return Ok(());
    }
    check_inside(root, &path, &fs::canonicalize(&path).map_err(|error| DataError::io(&path, error))?)
}

/// Refuses `path` if its canonical form `real` lies outside `root`, which is canonical too.
pub(crate) fn check_inside(root: &Path, path: &Path, real: &Path) -> Result<(), DataError> {
    if real.starts_with(root) {
        return Ok(());
    }
    let reason = format!("this leads out of the data set, to {}; copy the files into it", real.display());
    Err(DataError::dataset(path, reason))
}

fn list(folder: &Path, root: Option<&Path>) -> Result<Vec<PathBuf>, DataError> {
    let mut frames = Vec::new();
    for entry in read_folder(folder)? {
        let path = entry.path();
        if is_frame(&path) {
            root.map_or(Ok(()), |root| check_link(root, &entry))?;
            let Some((prefix, number)) = numbered(&path) else {
                let stem = path.file_stem().unwrap_or_default().display();
                return Err(DataError::frames(
                    folder,
                    format!("the frame `{stem}` has no number at the end of its name; rename it"),
                ));
            };
            frames.push((number, prefix, path));
        }
    }
    frames.sort();
    check_sequence(folder, &frames)?;
    Ok(frames.into_iter().map(|(_, _, path)| path).collect())
}

/// Writes RGB frames as `000000.png`, `000001.png` and so on into a folder, which is created if needed.
///
/// # Errors
/// [`DataError::Io`].
pub fn write_frames(folder: &Path, frames: &Frames) -> Result<(), DataError> {
    fs::create_dir_all(folder).map_err(|error| DataError::io(folder, error))?;
    for t in 0..frames.time {
        let path = folder.join(format!("{t:06}.png"));
        let (width, height) = (frames.width as u32, frames.height as u32);
        image::save_buffer(&path, frames.frame(t), width, height, image::ColorType::Rgb8)
            .map_err(|error| DataError::io(&path, std::io::Error::other(error)))?;
    }
    Ok(())
}

/// The text before the last number of a file's stem, and that number.
pub(crate) fn numbered(path: &Path) -> Option<(String, u64)> {
    let stem = path.file_stem()?.to_string_lossy();
    let prefix = stem.trim_end_matches(|c: char| c.is_ascii_digit());
    Some((prefix.to_owned(), stem[prefix.len()..].parse().ok()?))
}

fn check_sequence(folder: &Path, frames: &[(u64, String, PathBuf)]) -> Result<(), DataError> {
    let Some((first, prefix, path)) = frames.first() else {
        return Err(DataError::NoFrames { path: folder.to_owned(), words: "no JPEG or PNG file in it".to_owned() });
    };
    if *first > 1 {
        return Err(DataError::frames(
            folder,
            format!("numbering starts at {first} ({}), not at 0 or 1", path.display()),
        ));
    }
    for pair in frames.windows(2) {
        let ((before, ..), (number, other, path)) = (&pair[0], &pair[1]);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if number == before && other == prefix {
            return Err(DataError::frames(folder, format!("the frame number {number} is used twice (`{name}`)")));
        }
        if other != prefix {
            return Err(DataError::frames(
                folder,
                format!("`{name}` does not begin with `{prefix}` as the first frame does"),
            ));
        }
        if *number != before + 1 {
            return Err(DataError::frames(
                folder,
                format!("frame {} is missing: after {before} comes {number}", before + 1),
            ));
        }
    }
    Ok(())
}

/// Reads the frames `indices` of the listed `files` to RGB `[time, height, width, 3]`.
pub(crate) fn read_selected(
    folder: &Path,
    files: &[PathBuf],
    indices: &[usize],
    size: SizeRule,
    limits: &DecodeLimits,
) -> Result<Frames, DataError> {
    let (mut data, mut shape, mut stored) = (Vec::new(), [0, 0], None);
    for &index in indices {
        let Some(file) = files.get(index) else {
            return Err(DataError::frames(folder, format!("frame {index} of {} was asked for", files.len())));
        };
        let Picture { pixels, size: sides } = decode(file, Colours::Rgb, limits)?;
        if *stored.get_or_insert(sides) != sides {
            let reason = format!("{} has another size than the first frame: {sides:?}", file.display());
            return Err(DataError::frames(folder, reason));
        }
        shape = size.of(sides[0], sides[1]);
        limits.check_size(file, shape[0], shape[1])?;
        limits.check(folder, indices.len(), shape[0].saturating_mul(shape[1]).saturating_mul(3))?;
        data.extend(resize_rgb(&pixels, sides, Crop::whole(sides[0], sides[1]), shape)?);
    }
    Frames::new(data, indices.len(), shape[0], shape[1], 3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{put, refused, save_frame, temporary};

    fn save(folder: &Path, name: &str, width: u32, t: u32) {
        save_frame(&folder.join(name), [2, width], t);
    }

    fn read(folder: &Path) -> Result<Frames, DataError> {
        read_all(folder, SizeRule::Source, &DecodeLimits::default())
    }

    fn read_all(folder: &Path, size: SizeRule, limits: &DecodeLimits) -> Result<Frames, DataError> {
        let files = list_frames(folder)?;
        read_selected(folder, &files, &(0..files.len()).collect::<Vec<_>>(), size, limits)
    }

    // 1.png … 11.png: as text 10 and 11 would come before 2.
    #[test]
    fn numbers_are_in_numeric_order() {
        let folder = temporary();
        (1..=11).for_each(|t| save(folder.path(), &format!("{t}.png"), 4, t));
        put(folder.path(), "notes.txt", "x");
        let clip = read(folder.path()).unwrap();
        assert!((0..11).all(|t| clip.frame(t)[0] == (40 * (t + 1)) as u8));
        assert_eq!((clip.time, clip.height, clip.width), (11, 2, 4));
    }

    #[test]
    fn common_names_and_size_rules_are_read() {
        let folder = temporary();
        save(folder.path(), "img_00001.jpg", 4, 5);
        save(folder.path(), "img_00002.JPG", 4, 5);
        let size = SizeRule::Exact { height: 6, width: 5 };
        let clip = read_all(folder.path(), size, &DecodeLimits::default()).unwrap();
        assert_eq!((clip.time, clip.height, clip.width), (2, 6, 5));
        assert!(clip.data[0].abs_diff(200) < 8);
        let short = SizeRule::ShortSide { pixels: 4 };
        let short = read_all(folder.path(), short, &DecodeLimits::default()).unwrap();
        assert_eq!((short.height, short.width), (4, 8));
    }

    #[test]
    fn gaps_and_foreign_names_are_errors() {
        for (names, words) in [
            (&["000000.png", "000002.png"][..], "frame 1 is missing"),
            (&["5.png", "6.png"], "starts at 5"),
            (&["1.png", "01.png"], "used twice"),
            (&["a_1.png", "b_2.png"], "`a_`"),
            (&["cover.png"], "no number"),
            (&[], "no JPEG or PNG"),
        ] {
            let folder = temporary();
            names.iter().for_each(|name| save(folder.path(), name, 4, 0));
            refused(read(folder.path()), &[words]);
        }
    }

    #[test]
    fn sizes_must_agree_and_images_must_be_images() {
        let folder = temporary();
        save(folder.path(), "0.png", 4, 9);
        save(folder.path(), "1.png", 5, 9);
        assert!(read(folder.path()).unwrap_err().to_string().contains("1.png"));
        fs::write(folder.path().join("1.png"), b"\x89PNG\r\n").unwrap();
        assert!(matches!(read(folder.path()), Err(DataError::BadImage { .. })));
        fs::write(folder.path().join("1.png"), b"").unwrap();
        assert!(matches!(read(folder.path()), Err(DataError::EmptyFile(_))));
        let limits = DecodeLimits { max_side: 3, ..DecodeLimits::default() };
        assert!(read_all(folder.path(), SizeRule::Source, &limits).is_err());
        assert!(read(&folder.path().join("none")).unwrap_err().to_string().contains("no such"));
    }
}
