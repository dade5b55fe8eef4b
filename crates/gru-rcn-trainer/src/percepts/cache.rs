//! Percepts on disk: safetensors shards with an index, made by `features`, read by training and by
//! other programs.
//!
//! ```text
//! index.json                  what the percepts are of, which clip lies in which shard, checksums
//! percepts-00000.safetensors  tensors `CLIP/LEVEL`, float32 [time, channel, height, width]
//! ```

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use gru_rcn::percepts::Level;
use gru_rcn_data::base::{FolderLock, read_text, remove, write_atomically};
use gru_rcn_data::{ClipContent, ClipPlanner, Sample, Split};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};

use crate::recipe::Recipe;
use crate::run::checksum::Member;
use crate::run::dir::write_json;

/// Version of the index's layout.
pub(crate) const SCHEMA: u32 = 1;

/// Bytes of percepts after which a shard is closed.
const SHARD_BYTES: usize = 256 << 20;

const INDEX: &str = "index.json";

/// What the tensors of a cache are.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Maps of the CNN, `[time, channel, height, width]`.
    Percepts,
    /// Last hidden maps of a trained GRU-RCN, `[channel, height, width]`.
    Encodings,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct CachedClip {
    pub(crate) id: String,
    pub(crate) class: String,
    pub(crate) split: Split,
    pub(crate) shard: String,
    /// What the clip's files were when they were read; unknown in folders of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) content: Option<ClipContent>,
}

/// `index.json`.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct Index {
    pub(crate) schema: u32,
    /// The program that wrote it.
    pub(crate) tool: String,
    pub(crate) kind: Kind,
    pub(crate) network: String,
    /// Checksum of the CNN's weights.
    pub(crate) weights: String,
    /// How clips were cut; each is the one that is evaluated.
    pub(crate) clip: ClipPlanner,
    pub(crate) data: String,
    /// What decoded its videos, in folders of earlier versions; FFmpeg since then.
    #[serde(default, skip_serializing)]
    pub(crate) decoder: Option<String>,
    /// The levels, bottom up.
    pub(crate) levels: Vec<Level>,
    pub(crate) classes: Vec<String>,
    pub(crate) clips: Vec<CachedClip>,
    /// Sizes and checksums of the shards; unknown in folders of earlier versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) shards: Vec<Member>,
}

/// Writes a cache, clip by clip.
pub(crate) struct CacheWriter {
    root: PathBuf,
    index: Index,
    tensors: Vec<(String, Vec<usize>, Vec<u8>)>,
    bytes: usize,
    _lock: FolderLock,
}

impl CacheWriter {
    /// In a folder that holds none yet, and that no other process writes to until this one is done.
    /// Shards without an index, which a stopped process has left, are removed.
    pub(crate) fn create(root: &Path, index: Index) -> Result<Self> {
        fs::create_dir_all(root).with_context(|| format!("could not create {}", root.display()))?;
        let lock = FolderLock::whole(root).with_context(|| {
            let root = root.display();
            format!("another process writes features to {root}; wait for it, or give another folder with --out")
        })?;
        ensure!(
            !root.join(INDEX).exists(),
            "{} holds features already; remove it or give another folder with --out",
            root.display()
        );
        for entry in fs::read_dir(root)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let name = name.trim_start_matches('.').trim_end_matches(".partial");
            if [Kind::Percepts, Kind::Encodings].iter().any(|&kind| is_shard(kind, name)) {
                remove(&path)?;
            }
        }
        Ok(Self { root: root.into(), index, tensors: Vec::new(), bytes: 0, _lock: lock })
    }

    /// Adds a clip: per level the shape and the values.
    pub(crate) fn push(
        &mut self,
        sample: &Sample,
        class: &str,
        split: Split,
        maps: Vec<(Vec<usize>, Vec<f32>)>,
    ) -> Result<()> {
        let (id, shard) = (sample.id.as_str(), self.shard());
        let content = Some(sample.content()?);
        self.index.clips.push(CachedClip { id: id.into(), class: class.into(), split, shard, content });
        for (level, (shape, values)) in self.index.levels.iter().zip(maps) {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            self.bytes += bytes.len();
            self.tensors.push((key(id, &level.name), shape, bytes));
        }
        if self.bytes >= SHARD_BYTES { self.close_shard() } else { Ok(()) }
    }

    /// Writes what is left, then the index; a cache without one is none.
    pub(crate) fn finish(mut self) -> Result<Index> {
        self.close_shard()?;
        if let Some(gone) = self.index.shards.iter().find(|shard| !self.root.join(&shard.name).is_file()) {
            bail!(
                "{} was removed while the features were written; write them again",
                self.root.join(&gone.name).display()
            );
        }
        write_json(&self.root.join(INDEX), &self.index)?;
        Ok(self.index)
    }

    fn close_shard(&mut self) -> Result<()> {
        if self.tensors.is_empty() {
            return Ok(());
        }
        let views = self.tensors.iter().map(|(name, shape, bytes)| {
            TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (name.as_str(), view))
        });
        let bytes = safetensors::serialize(views.collect::<Result<Vec<_>, _>>()?, None)?;
        let name = self.shard();
        write_atomically(&self.root.join(&name), &bytes).context("could not write the features")?;
        self.index.shards.push(Member::new(&name, &bytes));
        self.tensors.clear();
        self.bytes = 0;
        Ok(())
    }

    /// Name of the shard that is being filled.
    fn shard(&self) -> String {
        shard_name(self.index.kind, self.index.shards.len())
    }
}

fn shard_name(kind: Kind, number: usize) -> String {
    let kind = if kind == Kind::Percepts { "percepts" } else { "encodings" };
    format!("{kind}-{number:05}.safetensors")
}

fn is_shard(kind: Kind, name: &str) -> bool {
    let number = name.split_once('-').and_then(|(_, rest)| rest.split_once('.')?.0.parse().ok());
    number.is_some_and(|number| shard_name(kind, number) == name)
}

fn key(id: &str, level: &str) -> String {
    format!("{id}/{level}")
}

/// A cache opened for reading.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    root: PathBuf,
    index: Index,
    places: HashMap<String, usize>,
}

impl Cache {
    /// Opens a folder that `features` wrote.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        let path = root.join(INDEX);
        let text = read_text(&path)
            .with_context(|| format!("{}: no features here; write them with `gru-rcn features`", path.display()))?;
        let index: Index =
            serde_json::from_str(&text).with_context(|| format!("{} is not an index of features", path.display()))?;
        ensure!(index.schema == SCHEMA, "{} has layout {}, this program reads {SCHEMA}", path.display(), index.schema);
        let places = index.clips.iter().enumerate().map(|(n, clip)| (clip.id.clone(), n)).collect();
        Ok(Self { root: root.into(), index, places })
    }

    /// Checks that these are the percepts that a recipe would compute.
    pub(crate) fn check(&self, recipe: &Recipe, weights: &str, levels: &[Level]) -> Result<()> {
        let (index, root, network) = (&self.index, self.root.display(), recipe.backbone.network.name());
        ensure!(index.kind == Kind::Percepts, "{root} holds encodings, not percepts; training starts from percepts");
        ensure!(index.network == network, "{root} is of the network {}, the recipe has {network}", index.network);
        ensure!(
            index.weights == weights,
            "{root} was computed with other weights of the CNN ({}, these are {weights})",
            index.weights
        );
        // What is random in training has no part in clips that are evaluated.
        let evaluated =
            |planner: &ClipPlanner| ClipPlanner { flip: false, photometric: Default::default(), ..planner.clone() };
        ensure!(
            evaluated(&index.clip) == evaluated(&recipe.clip),
            "{root} holds clips that were cut otherwise; its [clip] section is in {INDEX}"
        );
        for level in levels {
            if !index.levels.contains(level) {
                let Level { name, channels, height, width, .. } = level;
                bail!("{root} does not have the level {name} of {channels}×{height}×{width}");
            }
        }
        // Another decoder gives other pixels.
        if let Some(other) = index.decoder.as_ref().filter(|other| *other != "ffmpeg") {
            bail!(
                "{root} was computed from videos that the decoder `{other}` read, which no longer exists; write the \
                 features again, with FFmpeg"
            );
        }
        Ok(())
    }

    /// Checks that the clips are those that the percepts were computed from. The message says so if
    /// that is not known.
    pub(crate) fn check_clips<'a>(&self, samples: impl Iterator<Item = &'a Sample>) -> Result<Option<String>> {
        let (mut unknown, root) = (0, self.root.display());
        for sample in samples {
            let Some(&place) = self.places.get(&sample.id) else { bail!("{}", self.lacks(&sample.id)) };
            let Some(content) = &self.index.clips[place].content else {
                unknown += 1;
                continue;
            };
            let now = sample.content()?;
            ensure!(
                now.digest == content.digest,
                "{root} was computed from another content of the clip {}; write the features again",
                sample.id
            );
            ensure!(
                now.modified == content.modified,
                "the clip {} was changed after {root} was computed, or copied without its time; write the features again",
                sample.id
            );
        }
        Ok((unknown > 0).then(|| {
            format!(
                "warning: {root} was written by an earlier version, which did not record the content of its clips; that \
                 {unknown} of them are the same is not checked"
            )
        }))
    }

    fn lacks(&self, id: &str) -> String {
        format!("{} has no percepts of the clip {id}; write them again for this data", self.root.display())
    }

    /// The bytes of a shard, undamaged as far as that is known.
    fn shard(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.root.join(name);
        let damaged = || format!("{} is damaged; write the features again", path.display());
        if self.index.shards.is_empty() {
            return fs::read(&path).with_context(|| format!("could not read {}", path.display()));
        }
        let member = self.index.shards.iter().find(|shard| shard.name == name);
        let member = member.with_context(|| format!("{INDEX} has no checksum of {name}")).with_context(damaged)?;
        member.read(&self.root).with_context(damaged)
    }

    /// Hands out the maps of clips, per level; shards are read one at a time, so the order is that of the shards:
    /// `found` gets the place of each clip in `ids`.
    pub(crate) fn read(
        &self,
        ids: &[String],
        levels: &[Level],
        time: usize,
        mut found: impl FnMut(usize, usize, &[u8]),
    ) -> Result<()> {
        let mut by_shard: Vec<(&str, Vec<usize>)> = Vec::new();
        for (n, id) in ids.iter().enumerate() {
            let Some(&place) = self.places.get(id) else {
                bail!("{}", self.lacks(id));
            };
            let shard = self.index.clips[place].shard.as_str();
            match by_shard.iter_mut().find(|(name, _)| *name == shard) {
                Some((_, clips)) => clips.push(n),
                None => by_shard.push((shard, vec![n])),
            }
        }
        for (shard, clips) in by_shard {
            ensure!(
                Path::new(shard).file_name().is_some_and(|name| name == shard),
                "{}: the shard {shard:?} is not a file beside the index",
                self.root.display()
            );
            let path = self.root.join(shard);
            let bytes = self.shard(shard)?;
            let file = SafeTensors::deserialize(&bytes)
                .with_context(|| format!("{} is damaged; write the features again", path.display()))?;
            for n in clips {
                for (at, level) in levels.iter().enumerate() {
                    let name = key(&ids[n], &level.name);
                    let tensor = file.tensor(&name).with_context(|| format!("{}: {name}", path.display()))?;
                    let shape = [time, level.channels, level.height, level.width];
                    ensure!(
                        tensor.dtype() == Dtype::F32 && tensor.shape() == shape,
                        "{}: {name} is {:?} {:?}, not F32 {shape:?}",
                        path.display(),
                        tensor.dtype(),
                        tensor.shape()
                    );
                    found(n, at, tensor.data());
                }
            }
        }
        Ok(())
    }
}
