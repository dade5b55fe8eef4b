//! From `--backend` to the Cargo features that compile it in.

use anyhow::{Result, bail};
use std::ffi::OsString;

/// The backends, by the names that the program knows.
pub(crate) const NAMES: [&str; 7] = ["cpu", "ndarray", "wgpu", "vulkan", "metal", "cuda", "remote"];

/// The Cargo features that `arguments` ask for, by `--backend` or `--devices`, separated by commas; `None` for the CPU, which
/// is always compiled in.
///
/// # Errors
///
/// When a backend is unknown or has no name: better said now than after a long build.
pub(crate) fn features(arguments: &[OsString]) -> Result<Option<String>> {
    of(asked(arguments)?)
}

/// The features of what `compare-backends` is to compare, `--backends` with `,` and `+` between, and that of its `--serve`;
/// `None` where nothing is named.
///
/// # Errors
///
/// As those of [`features`], and where a value is missing.
pub(crate) fn compared(arguments: &[OsString]) -> Result<Option<String>> {
    let mut found: Vec<&str> =
        values(arguments, "--backends")?.iter().flat_map(|names| names.split([',', '+'])).collect();
    let mut words = arguments.iter().filter_map(|word| word.to_str()).take_while(|word| *word != "--");
    if words.any(|word| word == "--serve" || word.starts_with("--serve=")) {
        found.push("remote");
    }
    of(found)
}

fn of(asked: Vec<&str>) -> Result<Option<String>> {
    let mut found: Vec<&str> = Vec::new();
    for asked in asked {
        let feature = feature(asked)?;
        if feature != "cpu" && !found.contains(&feature) {
            found.push(feature);
        }
    }
    Ok((!found.is_empty()).then(|| found.join(",")))
}

fn feature(asked: &str) -> Result<&'static str> {
    // `cuda:1` names a device of a backend, `remote:127.0.0.1:3000` an address.
    let name = match asked.split_once(':') {
        Some(("remote", _)) => "remote",
        Some((name, index)) if index.parse::<usize>().is_ok() => name,
        _ => asked,
    };
    match NAMES.into_iter().find(|known| *known == name) {
        Some(feature) => Ok(feature),
        None => bail!("unknown backend {asked:?}; known are {}", NAMES.join(", ")),
    }
}

/// The values of `--backend` and `--devices`; of each the last one where there are several.
fn asked(arguments: &[OsString]) -> Result<Vec<&str>> {
    let (backend, devices) = (values(arguments, "--backend")?, values(arguments, "--devices")?);
    Ok(backend.last().copied().into_iter().chain(devices.last().iter().flat_map(|names| names.split(','))).collect())
}

/// All values of a flag, in either spelling, before a `--`.
fn values<'a>(arguments: &'a [OsString], flag: &str) -> Result<Vec<&'a str>> {
    let mut found = Vec::new();
    let mut arguments = arguments.iter().map(|a| a.to_str()).take_while(|a| *a != Some("--"));
    while let Some(argument) = arguments.next() {
        let Some(rest) = argument.and_then(|argument| argument.strip_prefix(flag)) else { continue };
        match (rest.strip_prefix('='), rest) {
            (Some(value), _) => found.push(value),
            (None, "") => match arguments.next().flatten() {
                Some(value) => found.push(value),
                None => bail!("{flag} needs a value: {}", NAMES.join(", ")),
            },
            // A longer name.
            _ => {}
        }
    }
    Ok(found)
}

/// What compiles the kernels of the CUDA backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KernelCompiler {
    /// LLVM, downloaded while building. Nothing but the driver is needed to run.
    Llvm,
    /// NVRTC of the CUDA toolkit, looked for when the program runs. Nothing is downloaded.
    Nvrtc,
}

/// Takes `--kernel-compiler`, which is for the build alone, out of the arguments for the program.
///
/// # Errors
///
/// When it is unknown or has no name, or when kernels are not asked for.
pub(crate) fn take_kernel_compiler(arguments: &[OsString]) -> Result<(KernelCompiler, Vec<OsString>)> {
    const FLAG: &str = "--kernel-compiler";
    let (mut compiler, mut rest) = (None, Vec::with_capacity(arguments.len()));
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let value = match word.to_str() {
            Some("--") => {
                rest.push(word.clone());
                rest.extend(words.cloned());
                break;
            }
            Some(FLAG) => words.next().and_then(|value| value.to_str()).unwrap_or_default(),
            Some(text) if text.starts_with("--kernel-compiler=") => &text[FLAG.len() + 1..],
            _ => {
                rest.push(word.clone());
                continue;
            }
        };
        compiler = Some(match value {
            "llvm" => KernelCompiler::Llvm,
            "nvrtc" => KernelCompiler::Nvrtc,
            _ => bail!("{FLAG} is {value:?}; known are llvm and nvrtc"),
        });
    }
    if compiler.is_some()
        && !features(arguments)?.is_some_and(|features| features.split(',').any(|feature| feature == "cuda"))
    {
        bail!("{FLAG} is for --backend cuda");
    }
    Ok((compiler.unwrap_or(KernelCompiler::Llvm), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Option<String>> {
        let arguments: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        features(&arguments)
    }

    #[test]
    fn the_cpu_needs_no_feature() {
        assert_eq!(of("").unwrap().as_deref(), None);
        assert_eq!(of("--backend cpu --seed 3").unwrap().as_deref(), None);
    }

    #[test]
    fn both_spellings_anywhere() {
        assert_eq!(of("--backend cuda").unwrap().as_deref(), Some("cuda"));
        assert_eq!(of("--seed 3 --backend=wgpu recipe.toml").unwrap().as_deref(), Some("wgpu"));
        assert_eq!(of("recipe.toml --backend vulkan").unwrap().as_deref(), Some("vulkan"));
        assert_eq!(of("--backend cpu --backend ndarray").unwrap().as_deref(), Some("ndarray"));
    }

    #[test]
    fn a_device_index_is_no_part_of_the_feature() {
        assert_eq!(of("--backend cuda:1").unwrap().as_deref(), Some("cuda"));
        assert_eq!(of("--backend=cuda:0").unwrap().as_deref(), Some("cuda"));
        assert!(of("--backend cuda:first").is_err());
        assert_eq!(of("--backend remote:127.0.0.1:3000").unwrap().as_deref(), Some("remote"));
    }

    #[test]
    fn several_devices_need_the_features_of_all() {
        assert_eq!(of("--devices cuda:0,cuda:1").unwrap().as_deref(), Some("cuda"));
        assert_eq!(of("--devices=cpu,wgpu,remote:127.0.0.1:3000").unwrap().as_deref(), Some("wgpu,remote"));
        assert_eq!(of("--devices cpu,cpu").unwrap(), None);
        assert!(of("--devices cpu,tpu").is_err());
    }

    #[test]
    fn comparing_needs_the_features_of_all() {
        let compared = |line: &str| {
            let arguments: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
            compared(&arguments)
        };
        assert_eq!(compared("--steps 3 --json").unwrap(), None);
        assert_eq!(compared("--serve 2").unwrap().as_deref(), Some("remote"));
        assert_eq!(compared("--backends=cpu+cpu,cuda:0+cuda:1 --serve=1").unwrap().as_deref(), Some("cuda,remote"));
        assert!(compared("--backends tpu").is_err());
    }

    #[test]
    fn nothing_after_the_two_dashes() {
        assert_eq!(of("clip.mp4 -- --backend cuda").unwrap().as_deref(), None);
        assert!(of("--backend -- cuda").is_err());
    }

    fn compiler(line: &str) -> Result<(KernelCompiler, String)> {
        let arguments: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let (compiler, rest) = take_kernel_compiler(&arguments)?;
        let rest: Vec<String> = rest.into_iter().map(|word| word.into_string().unwrap()).collect();
        Ok((compiler, rest.join(" ")))
    }

    #[test]
    fn the_kernel_compiler_is_not_passed_on() {
        let rest = "motion --backend cuda:1 --seed 3".to_string();
        for line in [
            "motion --backend cuda:1 --kernel-compiler nvrtc --seed 3",
            "motion --kernel-compiler=nvrtc --backend cuda:1 --seed 3",
        ] {
            assert_eq!(compiler(line).unwrap(), (KernelCompiler::Nvrtc, rest.clone()));
        }
        assert_eq!(compiler(&rest).unwrap(), (KernelCompiler::Llvm, rest));
        let after = "--backend cuda -- --kernel-compiler x".to_string();
        assert_eq!(compiler(&after).unwrap(), (KernelCompiler::Llvm, after));
    }

    #[test]
    fn kernels_are_for_cuda() {
        assert!(compiler("--kernel-compiler nvrtc").unwrap_err().to_string().contains("--backend cuda"));
        assert!(compiler("--backend cuda --kernel-compiler gcc").unwrap_err().to_string().contains("llvm and nvrtc"));
        assert!(compiler("--backend cuda --kernel-compiler").is_err());
    }

    #[test]
    fn faults_name_the_choices() {
        let unknown = of("--backend tpu").unwrap_err().to_string();
        assert!(unknown.contains("\"tpu\"") && unknown.contains("ndarray"), "{unknown}");
        assert!(of("--backend").unwrap_err().to_string().contains("needs a value"));
    }
}
