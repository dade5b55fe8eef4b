//! Captions of clips: read in the formats of MSVD, written in COCO's.
//!
//! A folder of captioned clips has a file `captions/<part>.json` for each part, which
//! `score-captions` reads too:
//!
//! ```text
//! {"images": [{"id": "msvd/-4wsuPCjDBc_5_15", "file_name": "frames/msvd/-4wsuPCjDBc_5_15"}, …],
//!  "annotations": [{"id": 1, "image_id": "msvd/-4wsuPCjDBc_5_15", "caption": "a chipmunk is eating"}, …]}
//! ```
//!
//! `id` is the clip's id in the data set, `file_name` its video or folder of frames, relative to the
//! folder that holds `captions`.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use serde::Serialize;

use super::lists::{bad_line, lines, without_extension};
use super::splits::{MSVD_CLASS, SplitList, msvd_numbers};
use crate::base::{DataError, read_text, write_atomically};
use crate::manifest::{FRAMES, line_of};

/// Folder of the captions, in the folder of the clips.
pub const CAPTIONS: &str = "captions";

/// A clip with its captions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptionedClip {
    /// The clip's id.
    pub id: String,
    /// Its video or folder of frames, relative to the data set's folder, with `/`; `None` if the data
    /// set does not have it.
    pub file: Option<String>,
    /// Sentences, at least one.
    pub captions: Vec<String>,
}

/// The captioned clips of one part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaptionedPart {
    /// `train`, `validation` or `test`.
    pub name: String,
    /// Clips with captions.
    pub clips: Vec<CaptionedClip>,
    /// Clips of the part's list without a caption.
    pub without: Vec<String>,
}

#[derive(Serialize)]
struct Coco<'a> {
    images: Vec<Image<'a>>,
    annotations: Vec<Annotation<'a>>,
}

#[derive(Serialize)]
struct Image<'a> {
    id: &'a str,
    file_name: &'a str,
}

#[derive(Serialize)]
struct Annotation<'a> {
    id: usize,
    image_id: &'a str,
    caption: &'a str,
}

impl CaptionedPart {
    /// Writes the clips that have a file to `captions/<name>.json` below `root`.
    pub(crate) fn write(&self, root: &Path) -> Result<(), DataError> {
        let mut coco = Coco { images: Vec::new(), annotations: Vec::new() };
        for CaptionedClip { id, file, captions } in &self.clips {
            let Some(file_name) = file else { continue };
            coco.images.push(Image { id, file_name });
            for caption in captions {
                coco.annotations.push(Annotation { id: coco.annotations.len() + 1, image_id: id, caption });
            }
        }
        let folder = root.join(CAPTIONS);
        fs::create_dir_all(&folder).map_err(|error| DataError::io(&folder, error))?;
        let path = folder.join(format!("{}.json", self.name));
        write_atomically(&path, line_of(&path, &coco)?.as_bytes())
    }
}

/// Captions by the clip's name.
type Captions = BTreeMap<String, Vec<String>>;

/// Reads MSVD's captions: a JSON object `{PART: {CLIP: [CAPTION, …], …}, …}`, in which the names of
/// the parts do not matter, or a `.txt` file of lines `CLIP CAPTION`, like the corpus' own
/// `AllVideoDescriptions.txt`, in which `#` begins a comment. White space within a caption, line ends
/// included, becomes single spaces; captions without a word are dropped.
///
/// # Errors
/// [`DataError::BadDataset`] for a JSON file of another shape or with a clip in two parts,
/// [`DataError::BadList`] for a line without a caption.
pub(crate) fn read_msvd(path: &Path) -> Result<Captions, DataError> {
    let mut all = Captions::new();
    if path.extension().is_some_and(|extension| extension == "txt") {
        for (number, line) in lines(path)?.iter().filter(|(_, line)| !line.starts_with('#')) {
            let words = line.split_once(char::is_whitespace);
            let (clip, caption) = words.ok_or_else(|| bad_line(path, *number, line, "not `CLIP CAPTION`"))?;
            all.entry(clip.to_owned()).or_default().push(caption.to_owned());
        }
    } else {
        let parts: BTreeMap<String, Captions> = serde_json::from_str(&read_text(path)?).map_err(|error| {
            let format = "captions are `{PART: {CLIP: [CAPTION, …], …}, …}`, or a `.txt` file of lines `CLIP CAPTION`";
            DataError::dataset(path, format!("{format}: {error}"))
        })?;
        for (clip, captions) in parts.into_values().flatten() {
            if all.insert(without_extension(&clip).to_owned(), captions).is_some() {
                return Err(DataError::dataset(path, format!("the clip {clip} has captions in two parts")));
            }
        }
    }
    for captions in all.values_mut() {
        captions.iter_mut().for_each(|text| *text = text.split_whitespace().collect::<Vec<_>>().join(" "));
        captions.retain(|caption| !caption.is_empty());
    }
    all.retain(|_, captions| !captions.is_empty());
    Ok(all)
}

/// The captions in `path` by the parts of MSVD's lists in `folder`. Captions of clips in no list are
/// counted in a note. The file and the lists may each name clips by name or by number.
pub(crate) fn of_msvd(
    path: &Path,
    folder: &Path,
    lists: &[SplitList],
    notes: &mut Vec<String>,
) -> Result<Vec<CaptionedPart>, DataError> {
    let mut captions = read_msvd(path)?;
    let numbers = msvd_numbers(folder)?;
    let names: HashMap<&String, &String> = numbers.iter().map(|(name, number)| (number, name)).collect();
    let mut parts = Vec::new();
    for list in lists {
        let mut part = CaptionedPart { name: list.name.clone(), ..CaptionedPart::default() };
        let there = list.clips.iter().map(|id| (id, true)).chain(list.absent.iter().map(|id| (id, false)));
        for (id, there) in there {
            let stem = id.strip_prefix(MSVD_CLASS).map_or(id.as_str(), |stem| stem.trim_start_matches('/'));
            let other = numbers.get(stem).or_else(|| names.get(&stem.to_owned()).copied());
            match captions.remove(stem).or_else(|| captions.remove(other?)) {
                Some(captions) => {
                    let file = there.then(|| format!("{FRAMES}/{id}"));
                    part.clips.push(CaptionedClip { id: id.clone(), file, captions });
                }
                None => part.without.push(id.clone()),
            }
        }
        parts.push(part);
    }
    if let Some(first) = captions.keys().next() {
        notes.push(format!("{} clips with captions are in no list, the first {first}", captions.len()));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{put, refused, temporary};

    fn read(name: &str, content: &str) -> Result<Captions, DataError> {
        let folder = temporary();
        put(folder.path(), name, content);
        read_msvd(&folder.path().join(name))
    }

    fn clip(id: &str, file: Option<&str>, captions: &[&str]) -> CaptionedClip {
        let captions = captions.iter().map(|caption| (*caption).to_owned()).collect();
        CaptionedClip { id: id.to_owned(), file: file.map(str::to_owned), captions }
    }

    #[test]
    fn both_forms_give_captions_by_clip() {
        let json =
            r#"{"train": {"-a_1_2": ["A cat.\r\nIt runs.", " "], "_b_3_4.avi": ["a  dog"]}, "val": {"c": [""]}}"#;
        let lines = "# MSVD\n\n-a_1_2 A cat. It runs.\n_b_3_4 a\tdog\n";
        let expected = [("-a_1_2", "A cat. It runs."), ("_b_3_4", "a dog")];
        for captions in [read("c.json", json), read("c.txt", lines)] {
            let captions = captions.unwrap();
            let found: Vec<_> = captions.iter().map(|(clip, captions)| (clip.as_str(), captions.join("|"))).collect();
            assert_eq!(found, expected.map(|(clip, caption)| (clip, caption.to_owned())));
        }
    }

    // The list names the first clip by its name and the captions by its number, the second the other
    // way round; the third has none, and the fourth is in no list.
    #[test]
    fn captions_find_their_clips_by_name_or_number() {
        let folder = temporary();
        put(folder.path(), "youtube_mapping.txt", "-a_1_2 vid1\n_b_3_4 vid2\nc_5_6 vid3\nd_7_8 vid4\n");
        put(folder.path(), "captions.txt", "vid1 one\n_b_3_4 two\nvid1 eins\nd_7_8 four\n");
        let ids = |ids: &[&str]| ids.iter().map(|id| format!("msvd/{id}")).collect();
        let list = SplitList { name: "train".into(), clips: ids(&["vid2", "c_5_6"]), absent: ids(&["-a_1_2"]) };
        let mut notes = Vec::new();
        let parts = of_msvd(&folder.path().join("captions.txt"), folder.path(), &[list], &mut notes).unwrap();
        assert_eq!(
            parts[0].clips,
            [clip("msvd/vid2", Some("frames/msvd/vid2"), &["two"]), clip("msvd/-a_1_2", None, &["one", "eins"])]
        );
        assert_eq!((&*parts[0].without, parts.len()), (&["msvd/c_5_6".to_owned()][..], 1));
        assert_eq!(notes, ["1 clips with captions are in no list, the first d_7_8"]);
    }

    #[test]
    fn malformed_captions_are_refused() {
        refused(read("c.json", r#"{"a": ["b"]}"#), &["c.json", "{PART: {CLIP: [CAPTION"]);
        refused(read("c.json", r#"{"x": {"a": ["b"]}, "y": {"a": ["c"]}}"#), &["the clip a", "two parts"]);
        refused(read("c.txt", "a b\nlonely\n"), &["line 2", "lonely"]);
    }

    #[test]
    fn coco_has_the_clips_with_files() {
        let folder = temporary();
        let clips = vec![clip("m/a", Some("frames/m/a"), &["one", "\"two\""]), clip("m/b", None, &["three"])];
        CaptionedPart { name: "train".into(), clips, without: Vec::new() }.write(folder.path()).unwrap();
        let text = read_text(&folder.path().join("captions/train.json")).unwrap();
        let expected = serde_json::json!({
            "images": [{"id": "m/a", "file_name": "frames/m/a"}],
            "annotations": [
                {"id": 1, "image_id": "m/a", "caption": "one"}, {"id": 2, "image_id": "m/a", "caption": "\"two\""},
            ],
        });
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), expected);
    }
}
