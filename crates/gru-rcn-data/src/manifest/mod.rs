//! The manifest of a prepared data set, `manifest.jsonl`.
//!
//! The first line is a [`Header`]: how the images were made. Each further line is the [`ClipRecord`] of
//! a clip, with the number of decoded frames, a hash of the written bytes and a hash of the video, by
//! which later changes are found. Records are sorted by id. There is no date and no path: the same
//! videos prepared with the same settings give the same manifest, byte for byte, on every machine.
//!
//! ```text
//! {"schema":1,"tool":"gru-rcn-data 0.1.0","layout":"ucf101","decoder":{…},"frames":{…},"flow":{…}}
//! {"id":"Diving/v_Diving_g01_c01","class":"Diving","group":"v_Diving_g01","frames":259,…,"sha256":"9f2c…"}
//! ```

mod folder;
mod header;
pub(crate) mod journal;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::{Deserialize, Serialize};

pub(crate) use folder::{COMPONENTS, ContentHash, FLOW, FRAMES, Folders, Part, ledgers, read_failures, write_failures};
pub use folder::{FAILURES, Failure, GROUPS, SPLITS, Shard};
pub use header::{FlowFormat, FrameFormat, Header, ImageCoding, Layout, SCHEMA, TOOL};

use crate::base::{DataError, read_text, write_atomically};

/// File name of the manifest in a prepared folder.
pub const MANIFEST: &str = "manifest.jsonl";

/// One clip of a prepared data set.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ClipRecord {
    /// `<class>/<clip>`: its folder below `frames/` and `flow/`.
    pub id: String,
    /// Name of the class, the first part of the id.
    pub class: String,
    /// Clips of one group are near copies of each other: cut from one video, or filmed in one
    /// place.
    pub group: String,
    /// Number of decoded frames, whatever the container's header says.
    pub frames: usize,
    /// Columns of every frame and flow image.
    pub width: usize,
    /// Rows of every frame and flow image.
    pub height: usize,
    /// Frames per second according to the container, rounded to hundredths by FFmpeg; absent if it
    /// states none.
    pub fps: Option<f64>,
    /// Flow fields: one less than there are frames, or 0 if the data set has no flow.
    pub flow: usize,
    /// SHA-256 in hexadecimal over all files of the clip, in the order that [`mod@crate::verify`]
    /// states.
    pub sha256: String,
    /// SHA-256 of the video or folder of frames that the clip was made from; absent in manifests of
    /// earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Warnings of the decoder, which gave these frames although the video is damaged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
}

impl ClipRecord {
    /// Reads a line of a manifest or journal; `path` and `number`, that of the line, are for messages.
    fn parse(path: &Path, number: usize, line: &str, header: &Header) -> Result<Self, DataError> {
        let bad = |reason: String| DataError::manifest(path, number, reason);
        let record: Self =
            serde_json::from_str(line).map_err(|error| bad(format!("not the record of a clip: {error}")))?;
        record.fault(header).map_or(Ok(record), |reason| Err(bad(reason)))
    }

    /// The first fault of the record, by itself or in relation to `header`.
    fn fault(&self, header: &Header) -> Option<String> {
        if let Err(reason) = check_id(&self.id) {
            return Some(reason);
        }
        let flow = if header.flow.is_some() { self.frames.saturating_sub(1) } else { 0 };
        let hexadecimal = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let id = &self.id;
        if self.id.split('/').next() != Some(&self.class) {
            Some(format!("the clip {id} has the class `{}`, but its folder says otherwise", self.class))
        } else if self.frames == 0 || self.width == 0 || self.height == 0 {
            Some(format!("the clip {id} has no frames or no pixels"))
        } else if self.flow != flow {
            Some(format!("the clip {id} of {} frames has {} flow fields, {flow} belong to it", self.frames, self.flow))
        } else if !hexadecimal(&self.sha256) {
            Some(format!("the clip {id}: `sha256` is not 64 hexadecimal digits"))
        } else if self.source.as_deref().is_some_and(|hash| !hexadecimal(hash)) {
            Some(format!("the clip {id}: `source` is not 64 hexadecimal digits"))
        } else {
            None
        }
    }
}

/// Refuses an id that is not a plain `<class>/<clip>`.
pub(crate) fn check_id(id: &str) -> Result<(), String> {
    let shown: String = id.chars().map(|c| if c.is_control() { '?' } else { c }).take(200).collect();
    let parts: Vec<&str> = id.split('/').collect();
    let [class, clip] = parts[..] else {
        return Err(format!("the id `{shown}` is not `<class>/<clip>`: absolute and other paths are refused"));
    };
    for part in [class, clip] {
        if part.is_empty() || part.starts_with('.') {
            return Err(format!("the id `{shown}` has an empty or hidden part, `.` or `..`; rename the clip"));
        }
        if part.contains('\\') || part.as_bytes().get(1) == Some(&b':') || part.chars().any(char::is_control) {
            return Err(format!("the id `{shown}` has a backslash, a drive letter or a control character; rename it"));
        }
    }
    Ok(())
}

/// A header and its clips.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// How the images were made.
    pub header: Header,
    /// The clips, sorted by id.
    pub clips: Vec<ClipRecord>,
}

impl Manifest {
    /// Sorts the clips. Of two with the same id, the later one is kept.
    pub(crate) fn of(header: Header, clips: impl IntoIterator<Item = ClipRecord>) -> Self {
        let by_id: BTreeMap<String, ClipRecord> = clips.into_iter().map(|clip| (clip.id.clone(), clip)).collect();
        Self { header, clips: by_id.into_values().collect() }
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// [`DataError::BadManifest`], naming the line, for an unknown schema, a line that is torn or not a
    /// record, an id that is used twice or leads out of the folder, and numbers that contradict each
    /// other; those of [`read_text`].
    pub fn read(path: &Path) -> Result<Self, DataError> {
        Self::parse(path, &read_text(path)?)
    }

    /// Reads the text of a manifest; `path` is for messages.
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, DataError> {
        let mut lines = text.split_inclusive('\n').enumerate().map(|(index, line)| (index + 1, line));
        let whole = |(number, line): (usize, &str)| {
            let torn = "the line is torn: it has no line end; prepare the data set again, which keeps what is whole";
            line.strip_suffix('\n').map(str::to_owned).ok_or_else(|| DataError::manifest(path, number, torn))
        };
        let Some(first) = lines.next() else {
            return Err(DataError::manifest(path, 1, "the file is empty; prepare the data set again"));
        };
        let header = Header::parse(path, &whole(first)?)?;
        let mut seen: HashMap<String, usize> = HashMap::new();
        let mut clips = Vec::new();
        for (number, line) in lines {
            let record = ClipRecord::parse(path, number, &whole((number, line))?, &header)?;
            if let Some(before) = seen.insert(record.id.clone(), number) {
                let reason = format!("the clip {} is already in line {before}; remove one of the two", record.id);
                return Err(DataError::manifest(path, number, reason));
            }
            clips.push(record);
        }
        Ok(Self::of(header, clips))
    }

    /// Writes the manifest, whole or not at all.
    ///
    /// # Errors
    /// [`DataError::Io`]; [`DataError::NotFound`] if the folder does not exist.
    pub fn write(&self, path: &Path) -> Result<(), DataError> {
        let clips: String = self.clips.iter().map(|clip| line_of(path, clip)).collect::<Result<_, _>>()?;
        write_atomically(path, (line_of(path, &self.header)? + &clips).as_bytes())
    }

    /// The clip of that id.
    pub fn get(&self, id: &str) -> Option<&ClipRecord> {
        let place = self.clips.binary_search_by(|clip| clip.id.as_str().cmp(id)).ok()?;
        self.clips.get(place)
    }
}

pub(crate) fn line_of<T: Serialize>(path: &Path, value: &T) -> Result<String, DataError> {
    serde_json::to_string(value).map(|text| text + "\n").map_err(|error| DataError::io(path, error.into()))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;

    use super::*;
    use crate::image::SizeRule;
    use crate::testing::{refused, temporary};
    use crate::video::DecoderId;

    pub(crate) fn header() -> Header {
        Header {
            schema: SCHEMA,
            tool: TOOL.to_owned(),
            layout: Layout::Folder,
            decoder: DecoderId { name: "test".to_owned(), version: "1".to_owned() },
            frames: FrameFormat { size: SizeRule::ShortSide { pixels: 256 }, image: ImageCoding::Jpeg { quality: 95 } },
            flow: None,
        }
    }

    pub(crate) fn flow_format() -> FlowFormat {
        let (algorithm, parameters) = ("dis".to_owned(), Default::default());
        FlowFormat { algorithm, parameters, bound: 20.0, coding: String::new(), image: ImageCoding::Png }
    }

    pub(crate) fn record(id: &str) -> ClipRecord {
        let class = id.split('/').next().unwrap().to_owned();
        let mut hash = ContentHash::default();
        hash.file(id.as_bytes());
        ClipRecord {
            id: id.into(),
            group: id.into(),
            class,
            frames: 3,
            width: 4,
            height: 2,
            fps: Some(25.0),
            flow: 0,
            sha256: hash.finish(),
            source: None,
            damage: None,
        }
    }

    #[test]
    fn a_manifest_reads_back_sorted_with_the_same_bytes() {
        let folder = temporary();
        let path = folder.path().join(MANIFEST);
        let manifest = Manifest::of(header(), ["b/y", "a/z", "a/x"].map(record));
        manifest.write(&path).unwrap();
        let read = Manifest::read(&path).unwrap();
        assert_eq!(read, manifest);
        assert_eq!(read.clips.iter().map(|clip| clip.id.as_str()).collect::<Vec<_>>(), ["a/x", "a/z", "b/y"]);
        assert_eq!(read.get("a/z").unwrap().id, "a/z");
        assert!(read.get("a/y").is_none());
        let bytes = fs::read(&path).unwrap();
        Manifest::of(header(), ["a/x", "b/y", "a/z"].map(record)).write(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }

    #[test]
    fn each_fault_names_its_line() {
        let path = Path::new("m.jsonl");
        let line = |value: &ClipRecord| line_of(path, value).unwrap();
        let head = line_of(path, &header()).unwrap();
        let one = line(&record("a/x"));
        assert!(Manifest::parse(path, &format!("{head}{one}")).is_ok());
        let has = |text: String, words: &[&str]| refused(Manifest::parse(path, &text), words);
        has(String::new(), &["line 1", "empty"]);
        has(head.trim_end().to_owned(), &["line 1", "torn"]);
        has(format!("{head}{}", one.trim_end()), &["line 2", "torn"]);
        has(format!("{head}{one}{}\n", &one[..40]), &["line 3", "not the record"]);
        has(format!("{head}{one}{one}"), &["line 3", "a/x", "line 2"]);
        has(head.replace("\"schema\":1", "\"schema\":7"), &["line 1", "schema 7"]);
        has(head.replace("\"tool\"", "\"tol\""), &["line 1", "tol"]);
        has(one.clone(), &["line 1", "schema"]);
        // Infinite as a float32, which JSON could not state again.
        let flow = line_of(path, &Header { flow: Some(flow_format()), ..header() }).unwrap();
        for bound in ["1e39", "0.0", "-1.0"] {
            has(flow.replace("\"bound\":20.0", &format!("\"bound\":{bound}")), &["line 1", "flow.bound"]);
        }
        for id in ["../x", "a/..", "/etc/passwd", "/x", "a/b/c", "a", "", "a/", "C:/x", "a/\\x", "a/.x", "a/x\\u0000"] {
            has(format!("{head}{}", one.replace("\"a/x\"", &format!("\"{id}\""))), &["line 2", "id"]);
        }
        has(format!("{head}{}", line(&ClipRecord { class: "b".to_owned(), ..record("a/x") })), &["class `b`"]);
        has(format!("{head}{}", line(&ClipRecord { frames: 0, ..record("a/x") })), &["no frames"]);
        has(format!("{head}{}", line(&ClipRecord { flow: 2, ..record("a/x") })), &["2 flow fields"]);
        has(format!("{head}{}", line(&ClipRecord { sha256: "12".to_owned(), ..record("a/x") })), &["sha256"]);
    }

    #[test]
    fn bytes_that_are_no_text_are_an_error() {
        let folder = temporary();
        let path = folder.path().join(MANIFEST);
        fs::write(&path, b"{}\n\xff\xfe\n").unwrap();
        assert!(Manifest::read(&path).unwrap_err().to_string().contains("line 2"));
        assert!(matches!(Manifest::read(&folder.path().join("none")), Err(DataError::NotFound(_))));
    }
}
