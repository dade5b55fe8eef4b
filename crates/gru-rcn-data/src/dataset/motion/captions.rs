//! Generated clips with captions: a coloured shape moves over a grey background, and captions name
//! shape, colour and motion.
//!
//! Motions, shapes and trajectories are those of the built-in data set, so a single frame contains no
//! information about the motion; shape and colour are independent of it. **Held-out clips show new
//! pairs of shape and colour**: of the 36 pairs, 24 are in the train part and six in each of the two
//! others. In every part, every shape, colour and motion is equally frequent, and every pair occurs
//! with every motion.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use serde::Serialize;

use super::super::{CaptionedClip, CaptionedPart};
use super::render::render_captioned;
use super::trajectory::Trajectories;
use super::{MOTIONS, MotionClip, MotionConfig, SHAPES};
use crate::base::{
    DataError, Draws, Fnv64, Frames, Split, for_each, partial_sibling, read_folder, remove, sync_folder_of,
};
use crate::image::write_frames;

/// The colours of captioned clips, with the hues 0, 60, … 300 degrees.
pub const COLOURS: [&str; 6] = ["red", "yellow", "green", "cyan", "blue", "magenta"];

/// The verbs for each motion of [`MOTIONS`].
const VERBS: [[&str; 4]; 8] = [
    ["moves right", "slides to the right", "goes from left to right", "travels right"],
    ["moves left", "slides to the left", "goes from right to left", "travels left"],
    ["moves up", "rises", "goes upwards", "climbs"],
    ["moves down", "sinks", "goes downwards", "falls"],
    ["turns clockwise", "rotates clockwise", "turns right", "spins to the right"],
    ["turns anticlockwise", "rotates anticlockwise", "turns left", "spins to the left"],
    ["grows", "gets bigger", "becomes larger", "expands"],
    ["shrinks", "gets smaller", "becomes smaller", "contracts"],
];

/// Most captions of a clip: four verbs with three subjects.
const MOST_CAPTIONS: usize = 12;

/// Size and seed of the captioned clips.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
pub struct MotionCaptions {
    /// Size, frames, clips of each part and seed, as of the built-in data set.
    pub clips: MotionConfig,
    /// Captions of each clip, 1 to 12, all different.
    pub captions: usize,
}

impl Default for MotionCaptions {
    /// 960, 192 and 480 clips of 16 frames, with five captions each.
    fn default() -> Self {
        let clips = MotionConfig { frames: 16, train: 960, validation: 192, test: 480, ..MotionConfig::default() };
        Self { clips, captions: 5 }
    }
}

impl MotionCaptions {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`DataError::Setting`] naming the first one that is out of range.
    pub fn validate(&self) -> Result<(), DataError> {
        if !(1..=MOST_CAPTIONS).contains(&self.captions) {
            return Err(DataError::setting("captions", self.captions, "a clip has 1 to 12 captions"));
        }
        if self.clips.background {
            return Err(DataError::setting("background", true, "in every captioned clip something moves"));
        }
        self.clips.validate()
    }

    /// The clips of a part, in order.
    pub fn part(&self, split: Split) -> impl Iterator<Item = CaptionClip> + use<> {
        self.clips.clips(split).map(CaptionClip::new)
    }

    /// Writes the clips and their captions to the folder `output`, whole or not at all:
    ///
    /// ```text
    /// <part>/<motion>/<number>/000000.png …   frames; part is train, validation or test
    /// captions/<part>.json                    captions in COCO's format
    /// ```
    ///
    /// The same settings give the same bytes.
    ///
    /// # Errors
    /// As [`MotionCaptions::validate`]; [`DataError::BadDataset`] if `output` is not empty, and
    /// [`DataError::Io`].
    pub fn write(&self, output: &Path) -> Result<(), DataError> {
        self.validate()?;
        if output.exists() && (!output.is_dir() || !read_folder(output)?.is_empty()) {
            return Err(DataError::dataset(output, "there is something already; give a new folder"));
        }
        let partial = partial_sibling(output);
        remove(&partial)?;
        self.write_parts(&partial).inspect_err(|_| drop(remove(&partial)))?;
        // At most an empty folder.
        remove(output)?;
        fs::rename(&partial, output).map_err(|error| DataError::io(output, error))?;
        sync_folder_of(output)
    }

    fn write_parts(&self, root: &Path) -> Result<(), DataError> {
        for split in Split::ALL {
            let clips: Vec<CaptionClip> = self.part(split).collect();
            let frames = |clip: &CaptionClip| write_frames(&root.join(clip.id()), &clip.render());
            for_each(&clips, 0, &AtomicBool::new(false), frames, |_, written| written)?;
            let captioned = |clip: &CaptionClip| {
                let (id, captions) = (clip.id(), clip.captions(self.captions));
                CaptionedClip { file: Some(id.clone()), id, captions }
            };
            let clips = clips.iter().map(captioned).collect();
            CaptionedPart { name: split.to_string(), clips, without: Vec::new() }.write(root)?;
        }
        Ok(())
    }
}

/// One captioned clip: the numbers that it is drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptionClip {
    /// Its size, seed, part and position.
    pub numbers: MotionClip,
    /// Index of its motion in [`MOTIONS`].
    pub motion: usize,
    /// Index of its shape in [`SHAPES`].
    pub shape: usize,
    /// Index of its colour in [`COLOURS`].
    pub colour: usize,
}

impl CaptionClip {
    /// Motions change fastest, then the part's pairs of shape and colour: those whose sum of indices,
    /// modulo six, is one of the part's remainders.
    fn new(numbers: MotionClip) -> Self {
        let remainders: &[usize] = match numbers.split {
            Split::Train => &[0, 1, 2, 3],
            Split::Validation => &[4],
            Split::Test => &[5],
        };
        let (pair, motion) = (numbers.index / MOTIONS.len(), numbers.index % MOTIONS.len());
        let shape = pair % SHAPES.len();
        let remainder = remainders[pair / SHAPES.len() % remainders.len()];
        Self { numbers, motion, shape, colour: (remainder + COLOURS.len() - shape) % COLOURS.len() }
    }

    /// Renders the clip: RGB `[frames, size, size, 3]`, the same bytes each time.
    pub fn render(&self) -> Frames {
        render_captioned(self)
    }

    /// `count` different sentences in lower case, such as `a red square turns left`.
    pub fn captions(&self, count: usize) -> Vec<String> {
        let (colour, shape) = (COLOURS[self.colour], SHAPES[self.shape]);
        let subjects =
            [format!("a {colour} {shape}"), format!("the {colour} {shape}"), format!("a {shape} that is {colour}")];
        let mut all: Vec<String> =
            subjects.iter().flat_map(|subject| VERBS[self.motion].map(|verb| format!("{subject} {verb}"))).collect();
        self.draws("captions").shuffle(&mut all);
        all.truncate(count);
        all
    }

    /// `<part>/<motion>/<number>`.
    fn id(&self) -> String {
        format!("{}/{}/{:06}", self.numbers.split, MOTIONS[self.motion], self.numbers.index)
    }

    /// The colour's hue in degrees.
    pub(super) fn hue(&self) -> f64 {
        60.0 * self.colour as f64
    }

    pub(super) fn trajectories(&self) -> Trajectories {
        let MotionClip { size, frames, .. } = self.numbers;
        Trajectories::draw(&mut self.draws("trajectory"), self.motion, size, frames)
    }

    pub(super) fn draws(&self, purpose: &str) -> Draws {
        Draws::new(self.numbers.add_to(Fnv64::default().text("motion captions").text(purpose)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::base::read_text;
    use crate::dataset::{Dataset, FolderOptions};
    use crate::read::ClipReader;
    use crate::testing::{files_below, put, refused, temporary};

    fn all() -> MotionCaptions {
        let clips = MotionConfig { train: 192, validation: 48, test: 48, frames: 8, ..MotionConfig::default() };
        MotionCaptions { clips, captions: 12 }
    }

    #[test]
    fn parts_share_no_pair_of_shape_and_colour() {
        let pairs = Split::ALL.map(|split| {
            let mut counts = BTreeMap::new();
            for clip in all().part(split) {
                *counts.entry((clip.shape, clip.colour)).or_insert(0) += 1;
            }
            // Every pair eight times, once with each motion.
            assert!(counts.values().all(|&count| count == 8));
            for motion in 0..8 {
                let moving = all().part(split).filter(|clip| clip.motion == motion);
                assert_eq!(moving.map(|clip| (clip.shape, clip.colour)).collect::<BTreeSet<_>>().len(), counts.len());
            }
            counts.into_keys().collect::<BTreeSet<_>>()
        });
        assert_eq!(pairs.each_ref().map(BTreeSet::len), [24, 6, 6]);
        assert_eq!(pairs.iter().flatten().collect::<BTreeSet<_>>().len(), 36);
        for pairs in &pairs {
            for value in 0..6 {
                let with = |of: fn(&(usize, usize)) -> usize| pairs.iter().filter(|pair| of(pair) == value).count();
                assert_eq!([with(|pair| pair.0), with(|pair| pair.1)], [pairs.len() / 6; 2]);
            }
        }
    }

    /// The colour and shape of a sentence, and the motions that have its verb.
    fn said(caption: &str) -> (&str, &str, Vec<usize>) {
        let words: Vec<&str> = caption.split(' ').collect();
        let (colour, shape, verb) = match words[..] {
            ["a", shape, "that", "is", colour, ..] => (colour, shape, words[5..].join(" ")),
            ["a" | "the", colour, shape, ..] => (colour, shape, words[3..].join(" ")),
            _ => panic!("{caption}"),
        };
        (colour, shape, (0..8).filter(|&motion| VERBS[motion].contains(&verb.as_str())).collect())
    }

    #[test]
    fn captions_name_colour_shape_and_motion() {
        for clip in Split::ALL.into_iter().flat_map(|split| all().part(split)) {
            let captions = clip.captions(12);
            assert_eq!(captions.iter().collect::<BTreeSet<_>>().len(), 12);
            for caption in &captions {
                let expected = (COLOURS[clip.colour], SHAPES[clip.shape], vec![clip.motion]);
                assert_eq!(said(caption), expected, "{caption}");
            }
            assert_eq!(clip.captions(5), captions[..5]);
        }
    }

    /// The hue of a pixel in degrees; `None` for a grey one. Sensor noise, of standard deviation 2.5,
    /// changes the difference of two channels by less than 30.
    fn hue(pixel: &[u8]) -> Option<f64> {
        let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(f64::from);
        let (most, least) = (r.max(g).max(b), r.min(g).min(b));
        let sixth = match () {
            () if most - least < 30.0 => return None,
            () if most == r => (g - b) / (most - least),
            () if most == g => 2.0 + (b - r) / (most - least),
            () => 4.0 + (r - g) / (most - least),
        };
        Some((60.0 * sixth).rem_euclid(360.0))
    }

    // Of the coloured pixels of each frame, nine in ten are within 30 degrees of the named hue; the
    // others lie on the border to the greys.
    #[test]
    fn the_only_visible_colour_is_the_named_one() {
        for clip in Split::ALL.into_iter().flat_map(|split| all().part(split)).step_by(7) {
            let frames = clip.render();
            for t in 0..frames.time {
                let hues: Vec<f64> = frames.frame(t).chunks_exact(3).filter_map(hue).collect();
                let apart = |hue: &&f64| (*hue - clip.hue() + 180.0).rem_euclid(360.0) - 180.0;
                let right = hues.iter().filter(|hue| apart(hue).abs() < 30.0).count();
                assert!(hues.len() > 30 && right * 10 >= hues.len() * 9, "{clip:?}, {t}: {right} of {}", hues.len());
            }
        }
    }

    // Nothing else depends on the motion, so two clips that differ in their rotation alone have the same
    // first frame.
    #[test]
    fn only_the_trajectory_depends_on_the_motion() {
        let clip = all().part(Split::Train).next().unwrap();
        let [right, clockwise, anticlockwise] = [0, 4, 5].map(|motion| CaptionClip { motion, ..clip }.render());
        assert_eq!(clockwise.frame(0), anticlockwise.frame(0));
        assert!(clockwise.frame(1) != anticlockwise.frame(1) && right.frame(3) != clockwise.frame(3));
        assert_eq!(right, clip.render());
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        refused(MotionCaptions { captions: 13, ..all() }.validate(), &["`captions` = 13"]);
        let clips = MotionConfig { train: 0, ..MotionConfig::default() };
        refused(MotionCaptions { clips, ..all() }.validate(), &["`train` = 0"]);
        MotionCaptions::default().validate().unwrap();
    }

    fn small(seed: u64) -> MotionCaptions {
        let clips = MotionConfig { size: 16, frames: 2, train: 16, validation: 8, test: 8, seed, background: false };
        MotionCaptions { clips, captions: 2 }
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let written = |name: &str, seed: u64| {
            let folder = temporary();
            let output = folder.path().join(name);
            small(seed).write(&output).unwrap();
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
            files_below(&output)
        };
        let first = written("a", 3);
        assert_eq!(first.len(), 32 * 2 + 3);
        assert!(first == written("b", 3));
        let other = written("a", 4);
        assert!(first.keys().eq(other.keys()) && first.iter().all(|(name, bytes)| other[name] != *bytes));
    }

    /// The clips are a data set of the motions, and the captions are of its clips.
    #[test]
    fn clips_are_read_as_they_were_rendered() {
        let folder = temporary();
        small(3).write(folder.path()).unwrap();
        let options = FolderOptions { root: folder.path().to_owned(), ..FolderOptions::default() };
        let set = Dataset::from_folder(&options).unwrap();
        assert_eq!(set.classes.len(), 8);
        for (split, samples) in Split::ALL.map(|split| (split, set.split(split))) {
            let text = read_text(&folder.path().join(format!("captions/{split}.json"))).unwrap();
            let coco: serde_json::Value = serde_json::from_str(&text).unwrap();
            let drawn: BTreeMap<String, CaptionClip> = small(3).part(split).map(|clip| (clip.id(), clip)).collect();
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
