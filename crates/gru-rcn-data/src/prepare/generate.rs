//! Generated clips with captions, as a folder of frames.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use crate::base::{DataError, Split, for_each, partial_sibling, remove, sync_folder_of};
use crate::dataset::{CaptionClip, CaptionedClip, CaptionedPart, MOTIONS, MotionCaptions};
use crate::image::write_frames;

impl MotionCaptions {
    /// Writes the clips and their captions to the folder `output`, which appears whole or not at all:
    ///
    /// ```text
    /// <part>/<motion>/<number>/000000.png …   frames; part is train, validation or test
    /// captions/<part>.json                    captions in COCO's format
    /// ```
    ///
    /// The same settings give the same bytes.
    ///
    /// # Errors
    /// As [`MotionCaptions::validate`]; [`DataError::BadDataset`] where `output` holds something, and
    /// [`DataError::Io`].
    pub fn write(&self, output: &Path) -> Result<(), DataError> {
        self.validate()?;
        let io = |error| DataError::io(output, error);
        if output.exists() && (!output.is_dir() || fs::read_dir(output).map_err(io)?.next().is_some()) {
            return Err(DataError::dataset(output, "there is something already; give a new folder"));
        }
        let partial = partial_sibling(output);
        remove(&partial)?;
        self.write_parts(&partial).inspect_err(|_| drop(remove(&partial)))?;
        // A folder without entries at most.
        remove(output)?;
        fs::rename(&partial, output).map_err(io)?;
        sync_folder_of(output)
    }

    fn write_parts(&self, root: &Path) -> Result<(), DataError> {
        for split in [Split::Train, Split::Validation, Split::Test] {
            let clips: Vec<CaptionClip> = self.part(split).collect();
            let frames = |clip: &CaptionClip| write_frames(&root.join(id(clip)), &clip.render());
            for_each(&clips, 0, &AtomicBool::new(false), frames, |_, written| written)?;
            let captioned = |clip: &CaptionClip| CaptionedClip {
                id: id(clip),
                file: Some(id(clip)),
                captions: clip.captions(self.captions),
            };
            let clips = clips.iter().map(captioned).collect();
            CaptionedPart { name: split.to_string(), clips, without: Vec::new() }.write(root)?;
        }
        Ok(())
    }
}

/// `<part>/<motion>/<number>`.
fn id(clip: &CaptionClip) -> String {
    format!("{}/{}/{:06}", clip.numbers.split, MOTIONS[clip.motion], clip.numbers.index)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::base::read_text;
    use crate::dataset::{Dataset, FolderOptions, MotionConfig};
    use crate::read::ClipReader;
    use crate::testing::{put, refused, temporary};

    fn small(seed: u64) -> MotionCaptions {
        let clips = MotionConfig { size: 16, frames: 2, train: 16, validation: 8, test: 8, seed, background: false };
        MotionCaptions { clips, captions: 2 }
    }

    /// Every file below a folder with its content.
    fn files(root: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files(root, &path, found);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }

    fn written(name: &str, seed: u64) -> BTreeMap<String, Vec<u8>> {
        let folder = temporary();
        let (output, mut found) = (folder.path().join(name), BTreeMap::new());
        small(seed).write(&output).unwrap();
        files(&output, &output, &mut found);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        found
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let first = written("a", 3);
        assert_eq!(first.len(), 32 * 2 + 3);
        assert!(first == written("b", 3));
        let other = written("a", 4);
        assert!(
            first.keys().eq(other.keys()) && first.iter().filter(|(name, bytes)| other[*name] == **bytes).count() == 0
        );
    }

    /// The clips are a data set of the motions, and the captions are of its clips.
    #[test]
    fn clips_are_read_as_they_were_drawn() {
        let folder = temporary();
        small(3).write(folder.path()).unwrap();
        let options = FolderOptions { root: folder.path().to_owned(), ..FolderOptions::default() };
        let set = Dataset::from_folder(&options).unwrap();
        assert_eq!(set.classes.len(), 8);
        for (split, samples) in [Split::Train, Split::Validation, Split::Test].map(|split| (split, set.split(split))) {
            let text = read_text(&folder.path().join(format!("captions/{split}.json"))).unwrap();
            let coco: serde_json::Value = serde_json::from_str(&text).unwrap();
            let drawn: BTreeMap<String, CaptionClip> = small(3).part(split).map(|clip| (id(&clip), clip)).collect();
            assert_eq!((samples.len(), coco["images"].as_array().unwrap().len()), (drawn.len(), drawn.len()));
            for sample in samples {
                assert_eq!(ClipReader::default().read(sample, [16, 16]).unwrap(), drawn[&sample.id].render());
            }
            for annotation in coco["annotations"].as_array().unwrap() {
                let clip = drawn[annotation["image_id"].as_str().unwrap()];
                assert!(clip.captions(2).iter().any(|caption| *caption == annotation["caption"]), "{annotation}");
            }
        }
    }

    #[test]
    fn nothing_is_written_over() {
        let folder = temporary();
        put(folder.path(), "notes.txt", "mine");
        refused(small(3).write(folder.path()), &["give a new folder"]);
        assert_eq!(fs::read(folder.path().join("notes.txt")).unwrap(), b"mine");
    }
}
