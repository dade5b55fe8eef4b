//! The output folder: its files, its lock, and the clips that earlier runs prepared.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::Prepare;
use super::clip::ClipMaker;
use super::flow::FlowMaker;
use super::source::{Source, SourceClip};
use crate::base::{DataError, FolderLock, for_each};
use crate::dataset::CAPTIONS;
use crate::manifest::{
    ClipRecord, FAILURES, FLOW, FRAMES, Folders, FrameFormat, Header, ImageCoding, MANIFEST, Manifest, SCHEMA, SPLITS,
    Shard, TOOL, journal, ledgers,
};
use crate::video::VideoDecoder;

#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) root: PathBuf,
    pub(crate) shard: Option<Shard>,
    pub(crate) manifest: PathBuf,
    pub(crate) journal: PathBuf,
    pub(crate) failures: PathBuf,
}

impl Place {
    pub(crate) fn new(root: &Path, shard: Option<Shard>) -> Self {
        let of = |name: &str| match shard {
            None => root.join(name),
            Some(shard) => root.join(name.replace(".jsonl", &format!("-{}.jsonl", shard.name()))),
        };
        let (manifest, journal, failures) = (of(MANIFEST), of("manifest.partial.jsonl"), of(FAILURES));
        Self { root: root.to_owned(), shard, manifest, journal, failures }
    }

    fn has(&self, id: &str) -> bool {
        self.shard.is_none_or(|shard| shard.has(id))
    }

    /// The prepared clips: those of manifest and journal whose folders exist.
    pub(crate) fn done(&self, header: &Header) -> Result<BTreeMap<String, ClipRecord>, DataError> {
        self.refuse_strangers(header)?;
        let merged = self.root.join(MANIFEST);
        let mut done = BTreeMap::new();
        // Of two records of a clip, the later one is kept.
        for path in [&merged, &self.manifest] {
            if path.is_file() {
                let clips = Manifest::read(path)?.clips.into_iter().filter(|clip| self.has(&clip.id));
                done.extend(clips.map(|clip| (clip.id.clone(), clip)));
            }
        }
        let journal = journal::read(&self.journal)?;
        done.extend(journal.into_iter().flat_map(|journal| journal.clips).map(|clip| (clip.id.clone(), clip)));
        done.retain(|_, clip| Folders::of(&self.root, &clip.id).there(clip));
        Ok(done)
    }

    /// Refuses an output folder that was made with other settings or not by this program.
    fn refuse_strangers(&self, header: &Header) -> Result<(), DataError> {
        let mut ours = false;
        for (path, shard) in ledgers(&self.root)? {
            let (name, journal) = (path.display().to_string(), journal::is_journal(&path));
            let there = if journal { journal::read(&path)? } else { Some(Manifest::read(&path)?) };
            ours = true;
            if let Some((setting, there, here)) = there.and_then(|there| there.header.difference(header)) {
                let reason = format!(
                    "the folder was made with `{setting}` = {there}, this run has {here} (see {name}); give the same \
                     settings or another output folder"
                );
                return Err(DataError::dataset(&self.root, reason));
            }
            let [theirs, own] = [shard, self.shard].map(|shard| shard.map_or(1, |shard| shard.of));
            // Both shards and a whole run may continue from a merged manifest.
            let merged = shard.is_none() && !journal;
            if !merged && theirs != own {
                let reason = format!(
                    "{name} is of a run with `shard` = …/{theirs}, this run has …/{own}; finish and merge the shards \
                     first, or give another output folder"
                );
                return Err(DataError::dataset(&self.root, reason));
            }
        }
        for name in [FRAMES, FLOW, SPLITS, CAPTIONS] {
            if !ours && self.root.join(name).exists() {
                let reason = format!("it holds `{name}` but neither manifest nor journal; give an empty folder");
                return Err(DataError::dataset(&self.root, reason));
            }
        }
        Ok(())
    }
}

/// Locks the output folder, or one shard of it, for this process.
pub(crate) fn lock(root: &Path, shard: Option<Shard>) -> Result<FolderLock, DataError> {
    let lock = match shard {
        None => FolderLock::whole(root),
        Some(shard) => FolderLock::part(root, &shard.name())?,
    };
    let reason = "another process is preparing this folder (or this shard of it); wait for it to end, or give another \
                  output folder";
    lock.ok_or_else(|| DataError::dataset(root, reason))
}

/// Everything that is known before the first clip is decoded.
pub(crate) struct Plan<'a> {
    pub(crate) place: Place,
    pub(crate) header: Header,
    pub(crate) maker: ClipMaker<'a>,
    pub(crate) source: Source,
    pub(crate) done: BTreeMap<String, ClipRecord>,
    /// Ids of clips that were prepared from videos that have changed since.
    pub(crate) changed: Vec<String>,
}

impl<'a> Plan<'a> {
    pub(crate) fn new(options: &Prepare, decoder: &'a dyn VideoDecoder) -> Result<Self, DataError> {
        options.validate()?;
        let root = output(options)?;
        let flow = options.flow.map(FlowMaker::new).transpose()?;
        let image = ImageCoding::Jpeg { quality: options.quality };
        let header = Header {
            schema: SCHEMA,
            tool: TOOL.to_owned(),
            layout: options.layout,
            decoder: decoder.id(),
            frames: FrameFormat { size: options.size, image },
            flow: flow.as_ref().map(FlowMaker::format),
        };
        let maker = ClipMaker { decoder, size: options.size, image, flow };
        let source = Source::find(options)?;
        let place = Place::new(&root, options.shard);
        let done = place.done(&header)?;
        Ok(Self { place, header, maker, source, done, changed: Vec::new() })
    }

    /// Removes the clips whose videos have changed from those that are done. All their videos are read
    /// for this, by `workers` threads.
    pub(crate) fn without_changed(mut self, workers: usize, cancel: &AtomicBool) -> Result<Self, DataError> {
        let known = |clip: &&SourceClip| self.done.get(&clip.id).is_some_and(|record| record.source.is_some());
        let clips: Vec<&SourceClip> = self.source.clips.iter().filter(known).collect();
        let mut changed = Vec::new();
        for_each(
            &clips,
            workers,
            cancel,
            |clip| clip.hash(),
            |index, hash| {
                let id = &clips[index].id;
                // A video that cannot be read any more counts as changed, so preparing it reports why.
                if self.done.get(id).is_some_and(|record| record.source != hash.ok()) {
                    changed.push(id.clone());
                }
                Ok(())
            },
        )?;
        changed.sort();
        self.done.retain(|id, _| changed.binary_search(id).is_err());
        self.changed = changed;
        Ok(self)
    }

    pub(crate) fn to_do(&self) -> Vec<&SourceClip> {
        let mine = self.source.clips.iter().filter(|clip| self.place.has(&clip.id));
        mine.filter(|clip| !self.done.contains_key(&clip.id)).collect()
    }

    /// Ids of prepared clips whose videos no longer exist.
    pub(crate) fn without_source(&self) -> Vec<String> {
        let there: HashSet<&str> = self.source.clips.iter().map(|clip| clip.id.as_str()).collect();
        self.done.keys().filter(|id| !there.contains(id.as_str())).cloned().collect()
    }
}

/// The canonical path of the output folder, which must neither lie in the source nor overwrite it.
fn output(options: &Prepare) -> Result<PathBuf, DataError> {
    let source = fs::canonicalize(&options.source).map_err(|error| DataError::io(&options.source, error))?;
    if options.output.as_os_str().is_empty() {
        return Err(DataError::setting("output", "", "the folder to make must be given"));
    }
    let wanted = std::path::absolute(&options.output).map_err(|error| DataError::io(&options.output, error))?;
    // The folder may not exist yet, so only the existing part of its path is made canonical.
    let there = wanted.ancestors().find(|place| place.exists()).unwrap_or(&wanted);
    let real = fs::canonicalize(there).map_err(|error| DataError::io(there, error))?;
    let rest = wanted.strip_prefix(there).unwrap_or(Path::new(""));
    if rest.components().any(|part| part == Component::ParentDir) {
        let reason = "`..` behind a folder that does not exist yet; give the path without it";
        return Err(DataError::dataset(&options.output, reason));
    }
    let output = if rest.as_os_str().is_empty() { real } else { real.join(rest) };
    if output.exists() && !output.is_dir() {
        return Err(DataError::dataset(&options.output, "the output is a folder, but a file of that name is there"));
    }
    if output.starts_with(&source) {
        let reason = format!("the output lies in the source {}; give a folder beside it", options.source.display());
        return Err(DataError::dataset(&options.output, reason));
    }
    if [FRAMES, FLOW, SPLITS, CAPTIONS].iter().any(|name| source.starts_with(output.join(name))) {
        let reason = format!("the source {} would be written over; give another output", options.source.display());
        return Err(DataError::dataset(&options.output, reason));
    }
    Ok(output)
}
