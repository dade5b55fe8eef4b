//! Holding clips out by group.
//!
//! Clips cut from one video, or filmed in one place on one day, are near copies of each other. If
//! some are trained on and others tested on, the score measures how well the scene is remembered.
//! So whole groups are held out, never single clips.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use serde::de::{Deserializer, MapAccess, Visitor};

use super::lists::normal;
use crate::base::{DataError, Draws, Fnv64, printable, read_text};
use crate::manifest::Layout;

/// Group names by clip path or file stem.
#[derive(Debug, Default)]
pub(crate) struct Groups(pub(super) HashMap<String, String>);

impl Groups {
    /// Reads a JSON object from path or stem to group name. A key that occurs twice is an error.
    pub(crate) fn read(path: &Path) -> Result<Self, DataError> {
        let text = read_text(path)?;
        let mut json = serde_json::Deserializer::from_str(&text);
        let pairs = json.deserialize_map(Members).and_then(|pairs| json.end().map(|()| pairs)).map_err(|error| {
            let reason = format!("not a JSON object from clip path or file stem to group name: {error}");
            DataError::dataset(path, reason)
        })?;
        let mut groups = HashMap::new();
        for (key, group) in pairs {
            let key = normal(&key).unwrap_or(key);
            if let Some(before) = groups.insert(key.clone(), group.clone()) {
                let [key, before, group] = [&key, &before, &group].map(|text| printable(text));
                let reason = format!("`{key}` occurs twice, for the groups `{before}` and `{group}`; keep one of them");
                return Err(DataError::dataset(path, reason));
            }
        }
        Ok(Self(groups))
    }

    /// A note that counts the keys that name none of the clips `ids`; an error if no key names any.
    /// `path` is the file that was read.
    pub(crate) fn unused<'a>(
        &self,
        path: &Path,
        ids: impl IntoIterator<Item = &'a str>,
    ) -> Result<Option<String>, DataError> {
        let known: BTreeSet<&str> = ids.into_iter().flat_map(keys).collect();
        let unused: BTreeSet<&String> = self.0.keys().filter(|key| !known.contains(key.as_str())).collect();
        let Some(first) = unused.first() else { return Ok(None) };
        let (all, count, shown) = (self.0.len(), unused.len(), printable(first));
        let words = format!("{count} of {all} keys name no clip of the data set, the first `{shown}`");
        if count == all {
            let reason = format!("{words}; a key is the path of a clip below the root, its file name, or its stem");
            return Err(DataError::dataset(path, reason));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Some(format!("{name}: {words}; those groups hold no clips together")))
    }

    /// The group of a clip in the map, by its path or its file stem.
    pub(crate) fn named(&self, id: &str) -> Option<&str> {
        keys(id).into_iter().find_map(|key| self.0.get(key)).map(String::as_str)
    }

    /// The group of a clip: that of the map, that of its UCF-101 name, or one of its own.
    pub(super) fn of(&self, id: &str) -> String {
        let [.., stem] = keys(id);
        let known = self.named(id).or_else(|| ucf_group(stem));
        known.map_or_else(|| format!("clip {id}"), |group| format!("group {group}"))
    }
}

/// Reads all members of a JSON object in their order, repeated keys included.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, String)>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object of texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        std::iter::from_fn(|| map.next_entry().transpose()).collect()
    }
}

/// The keys by which a file may name a clip: its path, its file name, and that without the extension.
fn keys(id: &str) -> [&str; 3] {
    let name = id.rsplit_once('/').map_or(id, |(_, name)| name);
    [id, name, name.rsplit_once('.').map_or(name, |(stem, _)| stem)]
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `v_Diving_g01_c03` belongs to `v_Diving_g01`: UCF-101 cuts a group's clips from one video, and
/// numbers the groups of each class anew.
pub(crate) fn ucf_group(stem: &str) -> Option<&str> {
    let (group, clip) = stem.rsplit_once("_c")?;
    let (class, number) = group.rsplit_once("_g")?;
    (class.starts_with("v_") && digits(clip) && digits(number)).then_some(group)
}

/// The group of the clip `id` by the naming rule of a layout; the id itself if the rule does not fit.
pub(crate) fn group_of(layout: Layout, id: &str) -> String {
    let (class, stem) = id.split_once('/').unwrap_or(("", id));
    let found = match layout {
        Layout::Ucf101 | Layout::Folder => ucf_group(stem),
        Layout::Hmdb51 => hmdb_movie(class, stem),
        Layout::Msvd => youtube_id(stem),
    };
    found.unwrap_or(id).to_owned()
}

/// The part before `_<class>` and the six parts by which HMDB-51 describes a clip.
fn hmdb_movie<'a>(class: &str, stem: &'a str) -> Option<&'a str> {
    let mut rest = stem;
    let known: [fn(&str) -> bool; 6] = [
        digits,
        |quality| matches!(quality, "goo" | "med" | "bad"),
        |side| matches!(side, "fr" | "ba" | "le" | "ri"),
        |people| people.strip_prefix("np").is_some_and(|n| n.parse::<u8>().is_ok()),
        |camera| matches!(camera, "nm" | "cm"),
        |visible| matches!(visible, "h" | "u" | "l" | "f"),
    ];
    for is in known {
        let (before, part) = rest.rsplit_once('_')?;
        if !is(part) {
            return None;
        }
        rest = before;
    }
    let movie = rest.strip_suffix(class).and_then(|before| before.strip_suffix('_')).unwrap_or(rest);
    (!movie.is_empty()).then_some(movie)
}

/// The part before `_<start>_<end>`.
fn youtube_id(stem: &str) -> Option<&str> {
    let (rest, end) = stem.rsplit_once('_')?;
    let (id, start) = rest.rsplit_once('_')?;
    (digits(end) && digits(start) && !id.is_empty()).then_some(id)
}

pub(super) struct Member {
    pub(super) group: String,
    pub(super) class: usize,
}

/// Chooses which of `members` are held out: `true` for about `fraction` of each class, in whole
/// groups.
///
/// Groups are visited in an order that depends on `key` and the group names alone: if `stable`, the
/// order of a hash of each name, so that added groups leave the others in their order; otherwise one
/// shuffle of all. A group is taken if that brings the held-out counts of its classes nearer to their
/// shares. A class still without a held-out clip then gives its smallest group. No class is emptied.
pub(super) fn hold_out(members: &[Member], classes: usize, fraction: f32, key: Fnv64, stable: bool) -> Vec<bool> {
    if fraction <= 0.0 {
        return vec![false; members.len()];
    }
    // Clips of each class in each group.
    let mut counts: BTreeMap<&str, BTreeMap<usize, usize>> = BTreeMap::new();
    let mut total = vec![0; classes];
    for member in members {
        *counts.entry(&member.group).or_default().entry(member.class).or_default() += 1;
        total[member.class] += 1;
    }
    let mut order: Vec<&str> = counts.keys().copied().collect();
    match stable {
        true => order.sort_by_cached_key(|group| Draws::new(key.text(group)).below(usize::MAX)),
        false => Draws::new(key).shuffle(&mut order),
    }
    let (mut held, mut taken) = (vec![0; classes], BTreeSet::new());
    let mut take = |held: &mut [usize], group| {
        counts[group].iter().for_each(|(&class, &n)| held[class] += n);
        taken.insert(group);
    };
    // Whether every class keeps a clip without the group.
    let allowed = |held: &[usize], group: &str| counts[group].iter().all(|(&class, &n)| held[class] + n < total[class]);
    for &group in &order {
        // By how much the group brings the counts nearer to their shares, summed over classes.
        let off = |class: usize, n: usize| ((held[class] + n) as f64 - total[class] as f64 * f64::from(fraction)).abs();
        let gain: f64 = counts[group].iter().map(|(&class, &n)| off(class, 0) - off(class, n)).sum();
        if allowed(&held, group) && gain > 0.0 {
            take(&mut held, group);
        }
    }
    for class in 0..classes {
        if held[class] == 0 {
            let fits = |group: &&&str| counts[**group].contains_key(&class) && allowed(&held, group);
            let size = |group: &&&str| counts[**group].values().sum::<usize>();
            if let Some(&group) = order.iter().filter(fits).min_by_key(size) {
                take(&mut held, group);
            }
        }
    }
    members.iter().map(|member| taken.contains(member.group.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u64) -> Fnv64 {
        Fnv64::default().number(seed)
    }

    fn members(groups: &[(&str, usize, usize)]) -> Vec<Member> {
        let mut members = Vec::new();
        for &(group, class, n) in groups {
            members.extend((0..n).map(|_| Member { group: group.to_owned(), class }));
        }
        members
    }

    #[test]
    fn ucf_names_have_groups() {
        let groups = Groups::default();
        assert_eq!(groups.of("Diving/v_Diving_g01_c03.avi"), "group v_Diving_g01");
        assert_eq!(groups.of("Diving/v_Diving_g01_c04"), "group v_Diving_g01");
        assert_eq!(groups.of("a/v_x_gold_cup.avi"), "clip a/v_x_gold_cup.avi");
        assert_eq!(groups.of("a/clip.avi"), "clip a/clip.avi");
    }

    #[test]
    fn names_state_the_group() {
        let of = group_of;
        assert_eq!(of(Layout::Ucf101, "Diving/v_Diving_g01_c03"), "v_Diving_g01");
        assert_eq!(of(Layout::Folder, "Diving/v_Diving_g01_c03"), "v_Diving_g01");
        assert_eq!(of(Layout::Folder, "a/clip_1_2"), "a/clip_1_2");
        assert_eq!(of(Layout::Hmdb51, "wave/winKen_wave_u_cm_np1_ri_bad_2"), "winKen");
        // The same movie in another class, and a class of two words.
        assert_eq!(of(Layout::Hmdb51, "climb_stairs/winKen_climb_stairs_f_nm_np2_fr_med_10"), "winKen");
        // The class is not in front of the six parts: everything before them is the movie.
        assert_eq!(of(Layout::Hmdb51, "wave/winKen_jump_u_cm_np1_ri_bad_2"), "winKen_jump");
        assert_eq!(of(Layout::Hmdb51, "wave/holiday"), "wave/holiday");
        assert_eq!(of(Layout::Msvd, "msvd/-8y1Q0rA3n8_108_115"), "-8y1Q0rA3n8");
        assert_eq!(of(Layout::Msvd, "msvd/f_CvW22Eauc_16_23"), "f_CvW22Eauc");
        assert_eq!(of(Layout::Msvd, "msvd/vid12"), "msvd/vid12");
    }

    #[test]
    fn groups_are_found_by_path_or_stem() {
        let map = [("a/x.avi", "one"), ("y", "two")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let groups = Groups(map.into());
        assert_eq!(groups.of("a/x.avi"), "group one");
        assert_eq!(groups.of("b/y.mp4"), "group two");
        assert_eq!(groups.of("b/x.avi"), "clip b/x.avi");
    }

    // Two classes of 10 groups of 2: a share of 0.2 is 4 clips of each, that is 2 whole groups.
    #[test]
    fn whole_groups_are_held_out_of_balanced_classes() {
        let names: Vec<String> = (0..20).map(|i| format!("g{i}")).collect();
        let list: Vec<(&str, usize, usize)> = names.iter().enumerate().map(|(i, n)| (n.as_str(), i % 2, 2)).collect();
        let members = members(&list);
        for (seed, stable) in (0..20).flat_map(|seed| [(seed, false), (seed, true)]) {
            let held = hold_out(&members, 2, 0.2, key(seed), stable);
            for class in 0..2 {
                assert_eq!(members.iter().zip(&held).filter(|(m, h)| m.class == class && **h).count(), 4);
            }
            assert!((0..20).all(|g| held[2 * g] == held[2 * g + 1]));
            assert_eq!(held, hold_out(&members, 2, 0.2, key(seed), stable));
        }
        assert_ne!(hold_out(&members, 2, 0.2, key(1), false), hold_out(&members, 2, 0.2, key(2), false));
    }

    // Adding a third class does not move the twenty groups of the other two. One more clip in each
    // class of ten keeps the share at 2 of 11, so at most one clip is exchanged.
    #[test]
    fn a_stable_division_keeps_the_others_in_their_parts() {
        let name = |class: usize, clip: usize| format!("{}/{clip}", ["a", "b", "c"][class]);
        let held = |classes: usize, clips: usize| {
            let names: Vec<String> =
                (0..classes).flat_map(|class| (0..clips).map(move |clip| name(class, clip))).collect();
            let all: Vec<_> = names.iter().enumerate().map(|(n, name)| (name.as_str(), n / clips, 1)).collect();
            let held = hold_out(&members(&all), classes, 0.2, key(5), true);
            names.into_iter().zip(held).filter(|(_, held)| *held).map(|(name, _)| name).collect::<BTreeSet<_>>()
        };
        let (two, three, more) = (held(2, 10), held(3, 10), held(2, 11));
        assert!(two.len() == 4 && three.len() == 6 && more.len() == 4);
        assert!(two.is_subset(&three));
        for class in ["a/", "b/"] {
            assert!(two.difference(&more).filter(|name| name.starts_with(class)).count() <= 1);
        }
    }

    // Two groups of 50 and 40 and a share of 15 %, 13.5 clips: either overshoots by more than was
    // missing. A class without a held-out clip could not be validated, so the smaller one is taken.
    #[test]
    fn a_class_of_few_groups_holds_out_its_smallest() {
        let members = members(&[("big", 0, 50), ("small", 0, 40)]);
        let held = hold_out(&members, 1, 0.15, key(0), false);
        assert!(held[50..].iter().all(|&h| h) && held[..50].iter().all(|&h| !h));
    }

    #[test]
    fn no_class_is_emptied() {
        let members = members(&[("only", 0, 5), ("a", 1, 5), ("b", 1, 5)]);
        let held = hold_out(&members, 2, 0.5, key(3), false);
        assert!(held[..5].iter().all(|&h| !h));
        assert_eq!(held[5..].iter().filter(|&&h| h).count(), 5);
    }
}
