//! Imports between the modules of a crate go one way: a test over the sources of all crates.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// For each top-level module of a crate the other modules that it names as `crate::…`. Tests at the end of
/// a file and files of tests may look upwards.
fn imports(src: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let mut edges = BTreeMap::<String, BTreeSet<String>>::new();
    let mut folders = vec![src.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") && !["tests", "testing"].contains(&&*name) {
                let inside = path.strip_prefix(src).unwrap();
                let module = inside.components().next().unwrap().as_os_str().to_string_lossy();
                let module = module.trim_end_matches(".rs").to_owned();
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
                let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
                let named = lines.flat_map(|line| line.split("crate::").skip(1));
                let word =
                    |rest: &str| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap().to_owned();
                edges.entry(module.clone()).or_default().extend(named.map(word).filter(|to| *to != module));
            }
        }
    }
    let modules: BTreeSet<String> = edges.keys().cloned().collect();
    edges.values_mut().for_each(|to| to.retain(|module| modules.contains(module)));
    edges.retain(|module, _| !["lib", "main"].contains(&&**module));
    edges
}

/// Removes modules that import none that is left; what remains at the end is a circle, or leads to one.
fn circle(mut edges: BTreeMap<String, BTreeSet<String>>) -> BTreeMap<String, BTreeSet<String>> {
    while let Some(leaf) = edges.iter().find(|(_, to)| to.is_empty()).map(|(module, _)| module.clone()) {
        edges.remove(&leaf);
        for to in edges.values_mut() {
            to.remove(&leaf);
        }
    }
    edges
}

#[test]
fn modules_import_in_one_direction() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    for folder in fs::read_dir(crates).unwrap().map(|entry| entry.unwrap().path()) {
        let circle = circle(imports(&folder.join("src")));
        assert!(circle.is_empty(), "{}: modules import each other: {circle:#?}", folder.display());
    }
}

/// The layers of the trainer, from the top: a module imports from those after it alone.
#[test]
fn the_trainer_imports_downwards() {
    let layers = [
        "cli",
        "fuzzing",
        "stream",
        "captioning",
        "experiment",
        "explain",
        "train",
        "scoring",
        "report",
        "preflight",
        "percepts",
        "context",
        "observe",
        "run",
        "device",
        "recipe",
        "signals",
        "output",
    ];
    let rank = |module: &str| layers.iter().position(|layer| *layer == module).expect("a layer of the trainer");
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/gru-rcn-trainer/src");
    for (module, imports) in imports(&src) {
        let upward: Vec<&String> = imports.iter().filter(|to| rank(to) <= rank(&module)).collect();
        assert!(upward.is_empty(), "{module} imports {upward:?}");
    }
}
