//! Percepts on disk: safetensors shards with an index, made by `features`, read by training and by
//! other programs.
//!
//! ```text
//! index.json                  what the percepts are of, and which clip lies in which shard
//! percepts-00000.safetensors  tensors `CLIP/LEVEL`, float32 [time, channel, height, width]
//! ```

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use gru_rcn::percepts::Level;
use gru_rcn_data::base::read_text;
use gru_rcn_data::{ClipPlanner, DecoderKind, Split};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};

use crate::recipe::Recipe;
use crate::run::dir::{write_atomically, write_json};

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
    /// What decoded its videos; absent where there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) decoder: Option<DecoderKind>,
    /// The levels, bottom up.
    pub(crate) levels: Vec<Level>,
    pub(crate) classes: Vec<String>,
    pub(crate) clips: Vec<CachedClip>,
}

/// Writes a cache, clip by clip.
pub(crate) struct CacheWriter {
    root: PathBuf,
    index: Index,
    tensors: Vec<(String, Vec<usize>, Vec<u8>)>,
    bytes: usize,
    shards: usize,
}

impl CacheWriter {
    /// In a folder that holds none yet.
    pub(crate) fn create(root: &Path, index: Index) -> Result<Self> {
        ensure!(
            !root.join(INDEX).exists(),
            "{} holds features already; remove it or give another folder with --out",
            root.display()
        );
        fs::create_dir_all(root).with_context(|| format!("could not create {}", root.display()))?;
        Ok(Self { root: root.into(), index, tensors: Vec::new(), bytes: 0, shards: 0 })
    }

    /// Adds a clip: per level the shape and the values.
    pub(crate) fn push(
        &mut self,
        id: &str,
        class: &str,
        split: Split,
        maps: Vec<(Vec<usize>, Vec<f32>)>,
    ) -> Result<()> {
        let shard = shard_name(self.index.kind, self.shards);
        self.index.clips.push(CachedClip { id: id.into(), class: class.into(), split, shard });
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
        write_atomically(&self.root.join(shard_name(self.index.kind, self.shards)), &bytes)?;
        self.tensors.clear();
        (self.bytes, self.shards) = (0, self.shards + 1);
        Ok(())
    }
}

fn shard_name(kind: Kind, number: usize) -> String {
    let kind = if kind == Kind::Percepts { "percepts" } else { "encodings" };
    format!("{kind}-{number:05}.safetensors")
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
        let decoder = recipe.decoder();
        if let Some(other) = index.decoder.filter(|&other| other != decoder) {
            bail!(
                "{root} was computed from videos that {other} decoded, the recipe has {decoder}; use `--decoder {other}`"
            );
        }
        Ok(())
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
                bail!("{} has no percepts of the clip {id}; write them again for this data", self.root.display());
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
            let bytes = fs::read(&path).with_context(|| format!("could not read {}", path.display()))?;
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
