//! Notes for readers of the results on how the parts were formed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::groups::Groups;
use super::lists::lines;
use super::scan::Found;
use crate::base::{DataError, Split};

/// Extension of the file beside a list that holds the entries missing from the source.
pub(super) const ABSENT: &str = "absent";

/// Counts the entries of a list that were missing from the source when the folder was prepared.
pub(super) fn absent(list: &Path, split: Split, notes: &mut Vec<String>) -> Result<(), DataError> {
    let path = list.with_extension(ABSENT);
    let missing = if path.is_file() { lines(&path)? } else { Vec::new() };
    if let Some((_, first)) = missing.first() {
        let name = list.file_name().unwrap_or(list.as_os_str()).to_string_lossy();
        let (count, all) = (missing.len(), missing.len() + lines(list)?.len());
        notes.push(format!(
            "{count} of {all} entries of the {split} list {name} are not in the source that was prepared and are in no \
             part, the first {first}"
        ));
    }
    Ok(())
}

/// Counts the clips in quarantine: those of one part, or all where parts are drawn.
pub(super) fn quarantined(clips: &[String], split: Option<Split>, notes: &mut Vec<String>) {
    if let Some(first) = clips.first() {
        let of = split.map_or_else(String::new, |split| format!("{split} "));
        notes.push(format!("{} {of}clips are in quarantine and skipped, the first {first}", clips.len()));
    }
}

/// Counts the clips in no list, and the classes without any clip in a list.
pub(crate) fn unlisted<'a>(
    clips: impl IntoIterator<Item = (&'a str, &'a str)>,
    listed: &BTreeSet<&str>,
    notes: &mut Vec<String>,
) {
    let (mut all, mut left, mut classes) = (0, Vec::new(), BTreeMap::new());
    for (id, class) in clips {
        all += 1;
        *classes.entry(class).or_insert(false) |= listed.contains(id);
        if !listed.contains(id) {
            left.push(id);
        }
    }
    let Some(first) = left.first() else { return };
    let mut without = classes.into_iter().filter(|(_, named)| !named).map(|(class, _)| class);
    let whole = without.next().map_or_else(String::new, |class| {
        let count = 1 + without.count();
        format!("; of {count} classes no clip is in a list, the first `{class}`: check how the lists spell it")
    });
    notes.push(format!("{} of {all} clips are in no list and so in no part, the first {first}{whole}", left.len()));
}

/// The groups of the train part before other parts are held out of it.
pub(super) struct Grouping {
    clips: usize,
    groups: usize,
    /// A clip whose name or list states its group, and that group.
    example: Option<(String, String)>,
    /// The class with the fewest groups, and their number.
    fewest: Option<(String, usize)>,
    /// Number of parts to be made of these clips.
    parts: usize,
    listed: bool,
}

impl Grouping {
    /// `listed` says whether a file or a manifest gives the groups; `parts` is the number of parts to
    /// be made of `train`.
    pub(super) fn new(train: &[Found], groups: &Groups, listed: bool, parts: usize) -> Self {
        let (mut all, mut by_class) = (BTreeSet::new(), BTreeMap::<&str, BTreeSet<String>>::new());
        let mut example = None;
        for clip in train {
            let group = groups.of(&clip.id);
            if let Some(name) = group.strip_prefix("group ").filter(|name| *name != clip.id) {
                example.get_or_insert_with(|| (clip.id.clone(), name.to_owned()));
            }
            by_class.entry(&clip.class).or_default().insert(group.clone());
            all.insert(group);
        }
        let counts = by_class.iter().map(|(class, groups)| ((*class).to_owned(), groups.len()));
        let fewest = counts.min_by_key(|(_, groups)| *groups);
        Self { clips: train.len(), groups: all.len(), example, fewest, parts, listed }
    }

    /// Whether some clips share a group.
    fn grouped(&self) -> bool {
        self.groups < self.clips
    }

    /// `15 clips of 3 groups, by …`.
    fn counted(&self) -> String {
        let Self { clips, groups, example, listed, .. } = self;
        let by = if *listed { "the groups given for the clips" } else { "names as UCF-101 has them" };
        let such = example.as_ref().map_or_else(String::new, |(clip, group)| format!(": {clip} is of {group}"));
        format!("{clips} clips of {groups} groups, by {by}{such}")
    }

    /// Adds a note if parts are held out and some clips share a group.
    pub(super) fn note(&self, notes: &mut Vec<String>) {
        if self.parts > 1 && self.grouped() {
            notes.push(format!("parts are drawn by group, so that no recording is in two of them; {}", self.counted()));
        }
    }

    /// Advice for a part that got no clip.
    pub(super) fn remedy(&self) -> String {
        let need = self.parts;
        let fewest = self.fewest.as_ref().map_or_else(String::new, |(class, n)| {
            let noun = if *n == 1 { "group" } else { "groups" };
            format!(", and the class `{class}` has {n} {noun}")
        });
        let unit = match self.grouped() {
            true => format!("a group stays in one part; here are {}. A", self.counted()),
            false => "each clip is a group of its own; a".to_owned(),
        };
        format!(
            "{unit} class needs {need} groups to be in {need} parts{fewest}. Add recordings, raise the fraction, give lists \
             of the parts, or name smaller groups by data.folder.groups"
        )
    }
}
