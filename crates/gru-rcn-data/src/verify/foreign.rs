//! Verifies the consistency of a folder of images made by other tools, without a manifest.
//!
//! Every folder with images is a clip or a part of one. Frames and flow are distinguished by name:
//! `flow_x_0001.jpg` beside `img_00001.jpg`, or images in folders `x` and `y` (or `u` and `v`,
//! `flow_x` and `flow_y`) in the clip's folder, or separate trees such as `frames/…` and `flow/…`. A
//! folder named just `x` may be a clip; it is taken for flow if there is a `y` beside it, images above
//! it, or a tree of flow around it. Each sequence counts from 0 or from 1.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::files::{Findings, check_lists};
use super::report::{Fault, FaultKind, VerifyReport};
use super::{VerifyOptions, check_all};
use crate::base::DataError;
use crate::image::{is_frame, numbered};

const DEPTH: usize = 8;
/// Top-level folders that name the kind of images below them and are not part of a clip's id.
const TREES: [&str; 6] = ["frames", "rgb", "images", "img", "jpegs", "rawframes"];
/// Top-level folders of flow, likewise.
const FLOW_TREES: [&str; 6] = ["flow", "flows", "optical_flow", "tvl1", "tvl1_flow", "flow_tvl1"];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Frames,
    X,
    Y,
}

/// The role that a folder's name, or the prefix of an image's name, states.
fn role(name: &str) -> Option<Role> {
    let name = name.to_ascii_lowercase();
    match name.trim_end_matches(['_', '-', '.', ' ']) {
        "x" | "u" | "flow_x" | "flow-x" | "flowx" | "flow_u" => Some(Role::X),
        "y" | "v" | "flow_y" | "flow-y" | "flowy" | "flow_v" => Some(Role::Y),
        _ => None,
    }
}

/// The images in a folder whose names have the same prefix.
#[derive(Debug, Default)]
struct Series {
    folder: PathBuf,
    prefix: String,
    /// Files by number; more than one of a number is a fault.
    numbers: BTreeMap<u64, Vec<PathBuf>>,
}

type Clip = Vec<(Role, Series)>;

pub(super) fn verify(
    root: &Path,
    options: &VerifyOptions,
    cancel: &AtomicBool,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<VerifyReport, DataError> {
    let (mut clips, mut faults) = (BTreeMap::new(), Vec::new());
    walk(root, &mut clips, &mut faults);
    if let Some(flow) = &options.flow {
        let flow = fs::canonicalize(flow).map_err(|error| DataError::io(flow, error))?;
        if !flow.starts_with(root) {
            walk(&flow, &mut clips, &mut faults);
        }
    }
    if clips.is_empty() && faults.is_empty() {
        return Err(DataError::dataset(root, "there is neither a manifest nor any JPEG or PNG image"));
    }
    let all: Vec<(String, Clip)> = clips.into_iter().collect();
    let one = |(id, clip): &(String, Clip)| check_clip(root, id, clip, options);
    let mut report = check_all(&all, options, cancel, progress, one)?;
    let known: BTreeSet<&str> = all.iter().map(|(id, _)| id.as_str()).collect();
    faults.extend(check_lists(root, &options.lists, |id| known.contains(id)));
    report.faults.append(&mut faults);
    report.faults.sort();
    report.faults.dedup();
    Ok(report)
}

/// Finds the images below a folder. Every folder is visited once, so circles of links do no harm.
fn walk(root: &Path, clips: &mut BTreeMap<String, Clip>, faults: &mut Vec<Fault>) {
    let (mut seen, mut folders) = (BTreeSet::new(), vec![(root.to_owned(), 0)]);
    while let Some((folder, depth)) = folders.pop() {
        if depth > DEPTH || !fs::canonicalize(&folder).is_ok_and(|real| seen.insert(real)) {
            continue;
        }
        let (id, by_folder) = clip_of(root, &folder);
        let mut findings = Findings::new(root, &id);
        let mut series: BTreeMap<String, Series> = BTreeMap::new();
        for entry in findings.entries(&folder) {
            if entry.is_folder {
                folders.push((entry.path, depth + 1));
            } else if is_frame(&entry.path) {
                let Some((prefix, number)) = numbered(&entry.path) else {
                    findings.add(FaultKind::Numbering, &entry.path, "no number at the end of the name");
                    continue;
                };
                let one = series.entry(prefix.clone()).or_default();
                (one.folder, one.prefix) = (folder.clone(), prefix);
                one.numbers.entry(number).or_default().push(entry.path);
            }
        }
        for (prefix, one) in series {
            let role = role(&prefix).or(by_folder).unwrap_or(Role::Frames);
            clips.entry(id.clone()).or_default().push((role, one));
        }
        faults.append(&mut findings.faults);
    }
}

/// The clip that a folder belongs to, and the role that its name states for its images.
fn clip_of(root: &Path, folder: &Path) -> (String, Option<Role>) {
    let below = folder.strip_prefix(root).unwrap_or(folder);
    let mut parts: Vec<String> = below.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let (mut place, mut found, mut in_flow) = (root.to_owned(), None, false);
    // The name of the tree comes first, in some layouts followed by that of the component.
    while parts.len() > 1 {
        place.push(&parts[0]);
        let [tree, flow_tree] = [TREES, FLOW_TREES].map(|trees| trees.contains(&&*parts[0].to_ascii_lowercase()));
        let component = component(&place, in_flow);
        if !tree && !flow_tree && component.is_none() {
            break;
        }
        in_flow |= flow_tree;
        found = found.or(component);
        parts.remove(0);
    }
    if parts.len() > 1
        && let Some(component) = component(folder, in_flow)
    {
        found = Some(component);
        parts.pop();
    }
    (parts.join("/"), found)
}

/// The component of flow in a folder, by its name and its surroundings.
fn component(folder: &Path, in_flow: bool) -> Option<Role> {
    let name = folder.file_name()?.to_str()?;
    let found = role(name)?;
    let plain = name.len() == 1;
    let other = ["xy", "uv", "XY", "UV"].iter().find(|pair| pair.contains(name)).map(|pair| pair.replace(name, ""));
    let above = folder.parent()?;
    let images = || fs::read_dir(above).into_iter().flatten().flatten().any(|entry| is_frame(&entry.path()));
    let sure = !plain || in_flow || other.is_some_and(|other| above.join(other).is_dir()) || images();
    sure.then_some(found)
}

fn check_clip(root: &Path, id: &str, clip: &Clip, options: &VerifyOptions) -> Vec<Fault> {
    let mut findings = Findings::new(root, id);
    let mut size = None;
    for (_, series) in clip {
        check_numbers(&mut findings, series);
        for path in series.numbers.values().flatten() {
            let sound = findings.image(path, options, size, "the clip's first image has");
            size = size.or(sound.map(|sound| sound.size));
        }
    }
    check_counts(&mut findings, clip);
    findings.faults
}

fn check_numbers(findings: &mut Findings<'_>, series: &Series) {
    let Some((&first, _)) = series.numbers.first_key_value() else { return };
    let last = series.numbers.last_key_value().map_or(first, |(&last, _)| last);
    if first > 1 {
        let words = format!("`{}…` begins at {first}, not at 0 or 1", series.prefix);
        findings.add(FaultKind::MissingImage, &series.folder, &words);
    }
    for files in series.numbers.values().filter(|files| files.len() > 1) {
        findings.add(FaultKind::Numbering, &files[1], &format!("the number of {}", files[0].display()));
    }
    let missing = u128::from(last - first) + 1 - series.numbers.len() as u128;
    if missing > 0 {
        // Only the first few are looked for, because the last number may be huge.
        let gaps: Vec<String> = (first..=last)
            .filter(|number| !series.numbers.contains_key(number))
            .take(5)
            .map(|number| format!("{}{number}", series.prefix))
            .collect();
        let words = format!("{missing} images are missing between {first} and {last}: {}", gaps.join(", "));
        findings.add(FaultKind::MissingImage, &series.folder, &words);
    }
}

fn check_counts(findings: &mut Findings<'_>, clip: &Clip) {
    let of =
        |wanted: Role| -> Vec<&Series> { clip.iter().filter(|(role, _)| *role == wanted).map(|(_, s)| s).collect() };
    let count = |series: &[&Series]| series.iter().map(|one| one.numbers.len()).sum::<usize>();
    let [frames, x, y] = [Role::Frames, Role::X, Role::Y].map(of);
    for (what, several) in [("frames", &frames), ("flow x", &x), ("flow y", &y)] {
        if let [first, second, ..] = several[..] {
            let (one, other, place) = (&first.prefix, &second.prefix, second.folder.display());
            let words = format!("two sequences of {what}: `{one}…` and `{other}…` of {place}");
            findings.add(FaultKind::Numbering, &first.folder, &words);
        }
    }
    let (n, nx, ny) = (count(&frames), count(&x), count(&y));
    let Some(flow) = x.first().or(y.first()) else { return };
    if nx != ny {
        findings.add(FaultKind::FlowCount, &flow.folder, &format!("{nx} images of x, {ny} of y"));
    }
    if n == 0 {
        findings.add(FaultKind::MissingClip, &flow.folder, "flow without frames");
    } else if nx + 1 != n {
        let words = format!("{nx} flow fields and {n} frames; one less than there are frames belongs there");
        findings.add(FaultKind::FlowCount, &flow.folder, &words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_names_state_clip_and_role() {
        let folder = crate::testing::temporary();
        fs::create_dir_all(folder.path().join("paired/clip/x")).unwrap();
        fs::create_dir_all(folder.path().join("paired/clip/y")).unwrap();
        let of = |path: &str| clip_of(folder.path(), &folder.path().join(path));
        assert_eq!(of("frames/Diving/clip"), ("Diving/clip".to_owned(), None));
        assert_eq!(of("flow/Diving/clip/x"), ("Diving/clip".to_owned(), Some(Role::X)));
        assert_eq!(of("tvl1_flow/u/v_Diving_g01_c01"), ("v_Diving_g01_c01".to_owned(), Some(Role::X)));
        assert_eq!(of("tvl1_flow/v/v_Diving_g01_c01"), ("v_Diving_g01_c01".to_owned(), Some(Role::Y)));
        assert_eq!(of("Diving/clip"), ("Diving/clip".to_owned(), None));
        assert_eq!(of("Diving/clip/flow_y"), ("Diving/clip".to_owned(), Some(Role::Y)));
        assert_eq!(of("paired/clip/y"), ("paired/clip".to_owned(), Some(Role::Y)));
        // A clip that is called x.
        assert_eq!(of("Diving/x"), ("Diving/x".to_owned(), None));
        assert_eq!(of("x"), ("x".to_owned(), None));
        assert_eq!(of(""), (String::new(), None));
        assert_eq!([role("flow_x_"), role("img_"), role("y-")], [Some(Role::X), None, Some(Role::Y)]);
    }
}
