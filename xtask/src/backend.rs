//! The Cargo features that the arguments of a verb ask for.

use std::ffi::OsString;

use anyhow::Result;

use crate::usage;

/// The names of the backends: those of the features, and `cpu`, which is always compiled in.
pub(crate) const NAMES: [&str; 6] = ["cpu", "wgpu", "vulkan", "metal", "cuda", "remote"];

/// The feature for `compare-backends` without `--backends`. Without autotuning: on a software adapter,
/// the usual one of machines without a GPU, that takes minutes for each shape of convolution.
const COMPARED: &str = "wgpu-untuned";

const KERNEL_COMPILER: &str = "--kernel-compiler";

/// What to build for a verb of the program.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Build {
    pub(crate) features: Vec<&'static str>,
    /// Whether NVRTC of the CUDA toolkit compiles the kernels at run time, instead of LLVM, which
    /// is downloaded during the build.
    pub(crate) nvrtc: bool,
    pub(crate) arguments: Vec<OsString>,
}

impl Build {
    /// Reads `--backend`, `--devices` and `--backends` before a `--`, and removes
    /// `--kernel-compiler`, which is for the build alone.
    ///
    /// # Errors
    ///
    /// If a name is unknown or missing: better now than after a long build.
    pub(crate) fn parse(verb: &str, arguments: Vec<OsString>) -> Result<Self> {
        let mut build = Self::default();
        if verb == "serve" {
            build.add("remote");
        }
        let mut kernel_compiler = None;
        let mut words = arguments.into_iter();
        while let Some(word) = words.next() {
            let text = word.to_string_lossy().into_owned();
            let (flag, value) = text.split_once('=').map_or((&*text, None), |(flag, value)| (flag, Some(value)));
            if (verb, flag) == ("compare-backends", "--serve") {
                build.add("remote");
            }
            if !["--backend", "--devices", "--backends", KERNEL_COMPILER].contains(&flag) {
                build.arguments.push(word);
                if flag == "--" {
                    break;
                }
                continue;
            }
            let value = value.map(OsString::from).or_else(|| words.next());
            let Some(value) = value.map(|value| value.to_string_lossy().into_owned()) else {
                return usage(format!("{flag} needs a value"));
            };
            if flag == KERNEL_COMPILER {
                kernel_compiler = Some(value);
                continue;
            }
            for name in value.split([',', '+']) {
                build.add(feature(name)?);
            }
            build.arguments.push(format!("{flag}={value}").into());
        }
        build.arguments.extend(words);
        if verb == "compare-backends" && build.features.is_empty() {
            build.add(COMPARED);
        }
        build.nvrtc = match kernel_compiler.as_deref() {
            None => false,
            Some(_) if !build.features.contains(&"cuda") => {
                return usage(format!("{KERNEL_COMPILER} is for --backend cuda"));
            }
            Some("llvm") => false,
            Some("nvrtc") => true,
            Some(other) => return usage(format!("{KERNEL_COMPILER} is {other:?}; known are llvm and nvrtc")),
        };
        if build.nvrtc {
            build.add("cuda-nvrtc");
        }
        Ok(build)
    }

    fn add(&mut self, feature: &'static str) {
        if feature != "cpu" && !self.features.contains(&feature) {
            self.features.push(feature);
        }
    }
}

/// The feature for a device, such as `cuda:1` or `remote:127.0.0.1:3000`.
fn feature(device: &str) -> Result<&'static str> {
    let name = match device.split_once(':') {
        Some(("remote", _)) => "remote",
        Some((name, index)) if index.parse::<usize>().is_ok() => name,
        _ => device,
    };
    match NAMES.into_iter().find(|known| *known == name) {
        Some(feature) => Ok(feature),
        None => usage(format!("unknown backend {device:?}; known are {}", NAMES.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Build> {
        let mut words = line.split_whitespace();
        let verb = words.next().unwrap();
        Build::parse(verb, words.map(OsString::from).collect())
    }

    #[test]
    fn selects_the_features_of_all_named_backends() {
        for (line, features) in [
            ("train", ""),
            ("train --backend cpu --seed 3", ""),
            ("train --backend cuda", "cuda"),
            ("train --seed 3 --backend=wgpu recipe.toml", "wgpu"),
            ("train recipe.toml --backend cuda:1", "cuda"),
            ("train --backend remote:127.0.0.1:3000", "remote"),
            ("train --devices cuda:0,cuda:1", "cuda"),
            ("train --devices=cpu,wgpu,remote:127.0.0.1:3000", "wgpu,remote"),
            ("predict clip.mp4 -- --backend cuda", ""),
            ("serve", "remote"),
            ("serve --backend cuda", "remote,cuda"),
            ("compare-backends --steps 3 --json", "wgpu-untuned"),
            ("compare-backends --serve 2", "remote"),
            ("compare-backends --backends=cpu+cpu,cuda:0+cuda:1 --serve=1", "cuda,remote"),
        ] {
            assert_eq!(parse(line).unwrap().features.join(","), features, "{line}");
        }
    }

    #[test]
    fn keeps_the_arguments_except_the_kernel_compiler() {
        for line in [
            "train motion --backend cuda:1 --kernel-compiler nvrtc --seed 3",
            "train motion --kernel-compiler=nvrtc --backend=cuda:1 --seed 3",
        ] {
            let build = parse(line).unwrap();
            assert!(build.nvrtc && build.features == ["cuda", "cuda-nvrtc"], "{build:?}");
            assert_eq!(build.arguments, ["motion", "--backend=cuda:1", "--seed", "3"]);
        }
        let build = parse("train --backend cuda --kernel-compiler llvm -- --kernel-compiler x").unwrap();
        assert!(!build.nvrtc);
        assert_eq!(build.arguments, ["--backend=cuda", "--", "--kernel-compiler", "x"]);
    }

    #[test]
    fn rejects_unknown_and_missing_values() {
        for (line, message) in [
            ("train --backend tpu", "unknown backend \"tpu\"; known are cpu, wgpu"),
            ("train --backend cuda:first", "unknown backend \"cuda:first\""),
            ("train --devices cpu,tpu", "unknown backend \"tpu\""),
            ("compare-backends --backends tpu", "unknown backend \"tpu\""),
            ("train --backend -- cuda", "unknown backend \"--\""),
            ("train --backend", "--backend needs a value"),
            ("train --kernel-compiler nvrtc", "is for --backend cuda"),
            ("train --backend cuda --kernel-compiler gcc", "known are llvm and nvrtc"),
            ("train --backend cuda --kernel-compiler", "--kernel-compiler needs a value"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.is::<crate::UsageError>() && error.to_string().contains(message), "{line}: {error}");
        }
    }
}
