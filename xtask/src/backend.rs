//! From `--backend` to the Cargo features that compile it in.

use anyhow::{Result, bail};
use std::ffi::OsString;

/// The backends, by the names that the program knows.
pub(crate) const NAMES: [&str; 6] = ["cpu", "ndarray", "wgpu", "vulkan", "metal", "cuda"];

/// The Cargo feature that `arguments` ask for; `None` for the CPU, which is always compiled in.
///
/// # Errors
///
/// When the backend is unknown or has no name: better said now than after a long build.
pub(crate) fn feature(arguments: &[OsString]) -> Result<Option<&'static str>> {
    let Some(asked) = asked(arguments)? else {
        return Ok(None);
    };
    // `cuda:1` names a device of a backend.
    let name = match asked.split_once(':') {
        Some((name, index)) if index.parse::<usize>().is_ok() => name,
        _ => asked,
    };
    match NAMES.into_iter().find(|known| *known == name) {
        Some("cpu") => Ok(None),
        Some(feature) => Ok(Some(feature)),
        None => bail!("unknown backend {asked:?}; known are {}", NAMES.join(", ")),
    }
}

/// The value of `--backend`, in either spelling, before a `--`; the last one where there are
/// several.
fn asked(arguments: &[OsString]) -> Result<Option<&str>> {
    let mut found = None;
    let mut arguments = arguments.iter().map(|a| a.to_str()).take_while(|a| *a != Some("--"));
    while let Some(argument) = arguments.next() {
        match argument {
            Some("--backend") => match arguments.next().flatten() {
                Some(value) => found = Some(value),
                None => bail!("--backend needs a value: {}", NAMES.join(", ")),
            },
            Some(argument) => found = argument.strip_prefix("--backend=").or(found),
            None => {}
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Option<&'static str>> {
        let arguments: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        feature(&arguments)
    }

    #[test]
    fn the_cpu_needs_no_feature() {
        assert_eq!(of("").unwrap(), None);
        assert_eq!(of("--backend cpu --seed 3").unwrap(), None);
    }

    #[test]
    fn both_spellings_anywhere() {
        assert_eq!(of("--backend cuda").unwrap(), Some("cuda"));
        assert_eq!(of("--seed 3 --backend=wgpu recipe.toml").unwrap(), Some("wgpu"));
        assert_eq!(of("recipe.toml --backend vulkan").unwrap(), Some("vulkan"));
        assert_eq!(of("--backend cpu --backend ndarray").unwrap(), Some("ndarray"));
    }

    #[test]
    fn a_device_index_is_no_part_of_the_feature() {
        assert_eq!(of("--backend cuda:1").unwrap(), Some("cuda"));
        assert_eq!(of("--backend=cuda:0").unwrap(), Some("cuda"));
        assert!(of("--backend cuda:first").is_err());
    }

    #[test]
    fn nothing_after_the_two_dashes() {
        assert_eq!(of("clip.mp4 -- --backend cuda").unwrap(), None);
        assert!(of("--backend -- cuda").is_err());
    }

    #[test]
    fn faults_name_the_choices() {
        let unknown = of("--backend tpu").unwrap_err().to_string();
        assert!(unknown.contains("\"tpu\"") && unknown.contains("ndarray"), "{unknown}");
        assert!(of("--backend").unwrap_err().to_string().contains("needs a value"));
    }
}
