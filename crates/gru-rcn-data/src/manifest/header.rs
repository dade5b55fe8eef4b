//! How a prepared data set was made: the first line of its manifest.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::{DataError, named};
use crate::image::SizeRule;
use crate::video::DecoderId;

/// Version of the manifest's format that this crate reads and writes.
pub const SCHEMA: u32 = 1;

/// Value of [`Header::tool`].
pub const TOOL: &str = concat!("gru-rcn-data ", env!("CARGO_PKG_VERSION"));

/// How a data set's videos and official lists are laid out.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// UCF-101: `<Class>/v_<Class>_gNN_cNN.avi`, `trainlist01.txt` … `testlist03.txt`,
    /// `classInd.txt`.
    Ucf101,
    /// HMDB-51: `<class>/<movie>_<class>_….avi`, `<class>_test_split1.txt` … with the marks 0, 1
    /// and 2.
    Hmdb51,
    /// MSVD: videos in one folder, `train_list.txt`, `val_list.txt`, `test_list.txt`.
    Msvd,
    /// Any folder with one sub-folder per class.
    Folder,
}

named!(Layout, "layout", "it is ucf101, hmdb51, msvd or folder", Ucf101, Hmdb51, Msvd, Folder);

/// How images are stored.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(tag = "format", rename_all = "lowercase", deny_unknown_fields)]
pub enum ImageCoding {
    /// Baseline JPEG, colours not subsampled.
    Jpeg {
        /// 1 to 100.
        quality: u8,
    },
    /// PNG, without loss.
    Png,
}

impl ImageCoding {
    /// Extension of the file names.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Jpeg { .. } => "jpg",
            Self::Png => "png",
        }
    }
}

/// How frames are stored.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct FrameFormat {
    /// Their size.
    pub size: SizeRule,
    /// Their coding.
    pub image: ImageCoding,
}

/// How optical flow was computed and stored.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct FlowFormat {
    /// `tvl1` or `dis`.
    pub algorithm: String,
    /// Every parameter of the algorithm by name.
    pub parameters: BTreeMap<String, Value>,
    /// Displacement in pixels that the largest code stands for; larger ones are clipped to it.
    pub bound: f32,
    /// The rule from displacement to code, for readers of the file.
    pub coding: String,
    /// How the coded fields are stored.
    pub image: ImageCoding,
}

/// How a prepared data set was made.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Format of the manifest: [`SCHEMA`].
    pub schema: u32,
    /// Program and version that wrote it.
    pub tool: String,
    /// Layout of the videos.
    pub layout: Layout,
    /// The decoder of the videos.
    pub decoder: DecoderId,
    /// The RGB frames.
    pub frames: FrameFormat,
    /// The optical flow; absent where there is none.
    pub flow: Option<FlowFormat>,
}

impl Header {
    pub(crate) fn parse(path: &Path, line: &str) -> Result<Self, DataError> {
        let bad = |reason: String| DataError::manifest(path, 1, reason);
        let value: Value = serde_json::from_str(line)
            .map_err(|error| bad(format!("not the header of a manifest, which is one JSON object: {error}")))?;
        // Before the rest, because another schema may have other fields.
        match value.get("schema").and_then(Value::as_u64) {
            Some(schema) if schema == u64::from(SCHEMA) => {}
            Some(schema) => {
                return Err(bad(format!(
                    "the manifest has schema {schema}, this version reads {SCHEMA}; use the version that wrote it or \
                     prepare the data set again"
                )));
            }
            None => return Err(bad("not the header of a manifest: `schema` is missing".to_owned())),
        }
        let header: Self =
            serde_json::from_value(value).map_err(|error| bad(format!("not the header of a manifest: {error}")))?;
        match &header.flow {
            Some(FlowFormat { bound, .. }) if !(*bound > 0.0 && bound.is_finite()) => {
                Err(bad(format!("`flow.bound` is {bound}; it is a finite number above 0")))
            }
            _ => Ok(header),
        }
    }

    /// The first setting in which another header differs: its name, the value in this one, the value
    /// in the other.
    pub(crate) fn difference(&self, other: &Self) -> Option<(String, String, String)> {
        let value = |header: &Self| serde_json::to_value(header).unwrap_or_default();
        difference(String::new(), &value(self), &value(other))
    }
}

fn difference(name: String, here: &Value, there: &Value) -> Option<(String, String, String)> {
    if here == there {
        return None;
    }
    let (Value::Object(a), Value::Object(b)) = (here, there) else {
        return Some((name, shown(here), shown(there)));
    };
    let keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
    let inner = |key: &String| if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
    let none = Value::Null;
    keys.into_iter().find_map(|key| difference(inner(key), a.get(key).unwrap_or(&none), b.get(key).unwrap_or(&none)))
}

/// A value for a message; for a group of settings, the first value in it.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::Object(group) => group.values().next().map_or_else(String::new, shown),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::tests::{flow_format, header};

    #[test]
    fn the_differing_setting_is_named() {
        let one = header();
        assert_eq!(one.difference(&one), None);
        let mut other = header();
        other.frames.image = ImageCoding::Jpeg { quality: 90 };
        assert_eq!(one.difference(&other), Some(("frames.image.quality".into(), "95".into(), "90".into())));
        let mut other = header();
        other.frames.size = SizeRule::Exact { height: 256, width: 340 };
        assert_eq!(one.difference(&other).unwrap().0, "frames.size.rule");
        let other = Header { flow: Some(flow_format()), ..header() };
        assert_eq!(one.difference(&other), Some(("flow".into(), "none".into(), "\"dis\"".into())));
    }

    #[test]
    fn sizes_say_their_rule() {
        let text = serde_json::to_string(&SizeRule::Exact { height: 256, width: 340 }).unwrap();
        assert_eq!(text, r#"{"rule":"exact","height":256,"width":340}"#);
    }
}
