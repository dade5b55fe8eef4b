//! The verbs of the program `gru-rcn`: build it with the backend asked for, then become it.

use crate::USAGE;
use crate::backend::{self, KernelCompiler};
use crate::cargo::{cargo, exit_code, root, show};
use crate::offline;
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

/// The verbs handed on.
pub(crate) const VERBS: [&str; 13] = [
    "train",
    "evaluate",
    "predict",
    "report",
    "fuse",
    "features",
    "prepare",
    "merge",
    "verify",
    "flow",
    "doctor",
    "compare-backends",
    "serve",
];

/// What `compare-backends` compares where nothing else is asked for. Without autotuning: on a software adapter, the usual
/// one of machines without a GPU, that takes minutes for each shape of convolution.
const COMPARED: &str = "ndarray,wgpu-untuned";

/// Builds the program and hands over to it with `verb` and all of `arguments`, `--backend`
/// included, `--kernel-compiler` not. Returns only when that is not possible.
pub(crate) fn run(verb: &str, arguments: &[OsString]) -> Result<ExitCode> {
    let asked = backend::take_kernel_compiler(arguments)
        .and_then(|(compiler, rest)| Ok((backend::features(&rest)?, backend::compared(&rest)?, compiler, rest)));
    let (features, compared, compiler, arguments) = match asked {
        Ok(asked) => asked,
        Err(fault) => {
            eprintln!("error: {fault}");
            return Ok(ExitCode::from(USAGE));
        }
    };
    let features = match (verb, features) {
        ("compare-backends", _) => compared.or(Some(COMPARED.into())),
        ("serve", None) => Some("remote".into()),
        ("serve", Some(features)) => Some(format!("remote,{features}")),
        (_, features) => features,
    };
    let path = match build(features.as_deref(), compiler)? {
        Ok(path) => path,
        Err(failed) => return Ok(failed),
    };
    let mut program = Command::new(path);
    program.arg(verb).args(&arguments);
    show(&program);
    become_program(program)
}

/// Builds the program and says where it lies, or with what code that failed.
pub(crate) fn build(features: Option<&str>, compiler: KernelCompiler) -> Result<Result<PathBuf, ExitCode>> {
    let mut build = build_command(features, compiler)?;
    show(&build);
    // Diagnostics go to standard error as ever; standard output tells where the program lies,
    // whatever target folder, target or profile settings are in force.
    build.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let output = build.output().context("cannot start cargo")?;
    if !output.status.success() {
        return Ok(Err(exit_code(output.status)));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    Ok(Ok(executable(&messages).context("cargo did not say where it put the program")?))
}

fn build_command(features: Option<&str>, compiler: KernelCompiler) -> Result<Command> {
    let mut build = cargo();
    // The current folder stays as it is, since the arguments may hold paths relative to it.
    build.args(["build", "--release", "--manifest-path"]);
    match compiler {
        KernelCompiler::Llvm => build.arg(root().join("Cargo.toml")),
        KernelCompiler::Nvrtc => build.arg(offline::workspace()?.join("Cargo.toml")).args(offline::patch()),
    };
    build.args(["--package", "gru-rcn-trainer", "--bin", "gru-rcn"]);
    let nvrtc = (compiler == KernelCompiler::Nvrtc).then_some("cuda-nvrtc");
    build.args(features.into_iter().chain(nvrtc).flat_map(|features| ["--features", features]));
    Ok(build)
}

/// The path of the program in Cargo's messages, one JSON document per line.
fn executable(messages: &str) -> Option<PathBuf> {
    let key = r#""executable":""#;
    messages.lines().rev().find_map(|line| {
        let value = &line[line.find(key)? + key.len()..];
        json_string(value).map(PathBuf::from)
    })
}

/// Reads a JSON string up to its closing quote. Only the escapes that occur in paths.
fn json_string(text: &str) -> Option<String> {
    let mut value = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next()? {
            '"' => return Some(value),
            '\\' => match characters.next()? {
                escaped @ ('"' | '\\' | '/') => value.push(escaped),
                _ => return None,
            },
            character => value.push(character),
        }
    }
}

/// Replaces this process, so that signals, standard streams and the exit code are the program's.
#[cfg(unix)]
fn become_program(mut program: Command) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    let failure = program.exec();
    Err(failure).with_context(|| format!("cannot start {}", program.get_program().display()))
}

#[cfg(not(unix))]
fn become_program(mut program: Command) -> Result<ExitCode> {
    let status = program.status();
    let status = status.with_context(|| format!("cannot start {}", program.get_program().display()))?;
    Ok(exit_code(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_executable_is_the_program() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"gru_rcn"},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"gru-rcn"},"executable":"/a b/gru-rcn","fresh":true}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
            "\n",
        );
        assert_eq!(executable(messages), Some(PathBuf::from("/a b/gru-rcn")));
        assert_eq!(executable(r#"{"executable":null}"#), None);
    }

    #[test]
    fn backslashes_of_windows_paths() {
        let line = r#"{"executable":"C:\\t\\gru-rcn.exe","fresh":false}"#;
        assert_eq!(executable(line), Some(PathBuf::from(r"C:\t\gru-rcn.exe")));
    }

    #[test]
    fn features_only_where_asked_for() {
        let words = |feature| {
            let command = build_command(feature, KernelCompiler::Llvm).unwrap();
            command.get_args().map(|a| a.to_string_lossy().into_owned()).collect::<Vec<_>>()
        };
        assert!(!words(None).contains(&"--features".to_string()));
        assert!(words(Some("cuda")).ends_with(&["--features".into(), "cuda".into()]));
    }
}
