//! Calls the program and checks its output.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use burn::tensor::Device;
use gru_rcn::backbone::SqueezeNetConfig;
use gru_rcn::weights::export_torchvision;
use serde_json::Value;
use tempfile::TempDir;

/// Longest time to wait for anything; far more than needed, for busy machines.
const PATIENCE: Duration = Duration::from_secs(240);

/// The tested program: the one that was built with the tests, or that of `GRU_RCN_TEST_PROGRAM`.
fn program() -> OsString {
    std::env::var_os("GRU_RCN_TEST_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_gru-rcn-program").into())
}

/// A folder that is removed at the end of its test.
pub(crate) fn temporary() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// A folder for files that all tests of this process share; a later process removes it.
pub(crate) fn shared(name: &str) -> PathBuf {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    let root = ROOT.get_or_init(|| {
        let all = Path::new(env!("CARGO_TARGET_TMPDIR"));
        for old in std::fs::read_dir(all).into_iter().flatten().flatten() {
            let changed = old.metadata().and_then(|metadata| metadata.modified()).ok();
            let age = changed.and_then(|time| SystemTime::now().duration_since(time).ok()).unwrap_or_default();
            // A younger one may belong to a running process.
            if old.file_name().to_string_lossy().starts_with("program-") && age > Duration::from_secs(3600) {
                let _ = std::fs::remove_dir_all(old.path());
            }
        }
        all.join(format!("program-{}", std::process::id()))
    });
    let folder = root.join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder for shared things");
    folder
}

/// A call of the program, in a current folder of its own.
pub(crate) struct Call {
    command: Command,
    /// Standard input; nothing if not given.
    input: Option<File>,
}

pub(crate) struct Outcome {
    command: String,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A running call. It is killed if the test ends first.
pub(crate) struct Running {
    command: String,
    child: Option<Child>,
    /// Standard error. A pipe would fill up, since nobody reads before the end.
    log: File,
}

impl Call {
    pub(crate) fn new<S: AsRef<OsStr>>(folder: &Path, arguments: impl IntoIterator<Item = S>) -> Self {
        let mut command = Command::new(program());
        command.args(arguments).current_dir(folder);
        Self { command, input: None }
    }

    /// The program with these arguments in `folder`, with limited address space.
    #[cfg(target_os = "linux")]
    pub(crate) fn within<S: AsRef<OsStr>>(folder: &Path, mib: usize, arguments: impl IntoIterator<Item = S>) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -v {} && exec \"$0\" \"$@\"", mib << 10)]);
        command.arg(program()).args(arguments).current_dir(folder);
        Self { command, input: None }
    }

    /// The program with these arguments in `folder`, its standard output (1) or error (2) on a disk
    /// that is full.
    #[cfg(target_os = "linux")]
    pub(crate) fn on_full_disk<'a>(folder: &Path, stream: u8, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec \"$0\" \"$@\" {stream}>/dev/full")]);
        command.arg(env!("CARGO_BIN_EXE_gru-rcn-program")).args(arguments).current_dir(folder);
        Self { command, input: None }
    }

    pub(crate) fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.command.args(arguments);
        self
    }

    /// With changes of the recipe, `KEY=VALUE` each.
    pub(crate) fn set<'a>(self, changes: impl IntoIterator<Item = &'a str>) -> Self {
        self.args(changes.into_iter().flat_map(|change| ["--set", change]))
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// With a file as standard input.
    pub(crate) fn input(self, path: &Path) -> Self {
        Self { input: Some(File::open(path).expect("a file")), ..self }
    }

    pub(crate) fn start(mut self) -> Running {
        let command = format!("{:?}", self.command);
        let log = tempfile::tempfile().expect("a temporary file");
        let stderr = log.try_clone().expect("a second handle");
        self.command.stdin(self.input.map_or(Stdio::null(), Stdio::from)).stdout(Stdio::piped()).stderr(stderr);
        Running { command, child: Some(self.command.spawn().expect("the program starts")), log }
    }

    pub(crate) fn run(self) -> Outcome {
        self.start().finish()
    }
}

pub(crate) fn run<S: AsRef<OsStr>>(folder: &Path, arguments: impl IntoIterator<Item = S>) -> Outcome {
    Call::new(folder, arguments).run()
}

/// A finished run that tests share: they read it and never change it.
pub(crate) struct FinishedRun {
    pub(crate) root: PathBuf,
    /// The output of `train --json`.
    pub(crate) document: Value,
    pub(crate) stderr: String,
}

impl FinishedRun {
    /// Trains by a call in a shared folder.
    pub(crate) fn of(name: &str, train: impl FnOnce(&Path) -> Call) -> Self {
        let folder = shared(name);
        let outcome = train(&folder).args(["--run", "run", "--json"]).run().succeeds();
        Self { root: folder.join("run"), document: outcome.json(), stderr: outcome.stderr }
    }
}

/// Checks that a call in `folder` is refused and makes no run folder.
#[track_caller]
pub(crate) fn refuses(folder: &Path, call: Call, words: &[&str]) {
    let outcome = call.run().refuses(words);
    assert!(!folder.join("runs").exists(), "a run folder was left behind\n{}", outcome.stderr);
}

impl Running {
    /// Waits until `ready`; the program must not end before that.
    pub(crate) fn wait_until(&mut self, what: &str, mut ready: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !ready() {
            let child = self.child.as_mut().expect("a call under way");
            let ended = child.try_wait().expect("a state");
            assert!(ended.is_none(), "{} ended ({ended:?}) before {what}", self.command);
            assert!(Instant::now() < deadline, "{}: waited too long for {what}", self.command);
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Number of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.as_ref().expect("a call under way").id()
    }

    /// Sends a signal by name, such as `TERM`, and waits for the end.
    pub(crate) fn stop_by(self, signal: &str) -> Outcome {
        let sent = Command::new("kill").args(["-s", signal, &self.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "could not send {signal}");
        self.finish()
    }

    pub(crate) fn finish(mut self) -> Outcome {
        let child = self.child.take().expect("a call under way");
        let output = child.wait_with_output().expect("the program's output");
        let mut stderr = String::new();
        self.log.rewind().and_then(|()| self.log.read_to_string(&mut stderr)).expect("text on standard error");
        Outcome {
            command: std::mem::take(&mut self.command),
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("text on standard output"),
            stderr,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Outcome {
    #[track_caller]
    pub(crate) fn succeeds(self) -> Self {
        self.exits(0)
    }

    /// The outcome; it must have this exit code, without a panic.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}{}", self.command, self.stdout, self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}\n{}", self.command, self.stderr);
        self
    }

    /// Checks a refusal: exit code 2, no output, and an `error:` message with all of `words`.
    #[track_caller]
    pub(crate) fn refuses(self, words: &[&str]) -> Self {
        let outcome = self.exits(2);
        let message = outcome.stderr.split_once("error: ").map_or("", |(_, message)| message);
        for word in words {
            assert!(message.contains(word), "{}\nlacks `{word}`:\n{}", outcome.command, outcome.stderr);
        }
        assert_eq!(outcome.stdout, "", "{}", outcome.command);
        outcome
    }

    /// Checks that standard error contains all of `words`.
    #[track_caller]
    pub(crate) fn says(&self, words: &[&str]) {
        for word in words {
            assert!(self.stderr.contains(word), "{}\nlacks `{word}`:\n{}", self.command, self.stderr);
        }
    }

    /// Standard output as one JSON document.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{}: {error}\n{}", self.command, self.stdout))
    }
}

#[track_caller]
pub(crate) fn read_json(path: &Path) -> Value {
    let text = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The lines of a run's `metrics.jsonl`; none if there is no such file yet.
pub(crate) fn metrics(run: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap_or_default();
    // A line that is being written is incomplete.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
}

/// The same lines without measured times.
pub(crate) fn timeless_metrics(run: &Path) -> Vec<Value> {
    let mut lines = metrics(run);
    for line in &mut lines {
        for key in ["seconds", "data_wait_seconds"] {
            assert!(line.as_object_mut().is_some_and(|line| line.remove(key).is_some()), "{key}");
        }
    }
    lines
}

/// An untrained SqueezeNet in torchvision's layout.
pub(crate) fn write_squeezenet(path: &Path) {
    export_torchvision(&SqueezeNetConfig::new().init(&Device::flex()), path).expect("weights are written");
}

/// The files below the class folders of a data set, sorted.
pub(crate) fn clips_below(root: &Path) -> Vec<PathBuf> {
    let entries = |folder: &Path| {
        let listing = std::fs::read_dir(folder).expect("a folder of class folders");
        let mut paths: Vec<PathBuf> = listing.map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        paths
    };
    entries(root).iter().filter(|path| path.is_dir()).flat_map(|class| entries(class)).collect()
}

/// The keys of a JSON object, in the order of the document.
pub(crate) fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("a JSON object").keys().map(String::as_str).collect()
}

/// Copies a folder with its content.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder to copy") {
        let (path, target) = entry.map(|entry| (entry.path(), to.join(entry.file_name()))).expect("an entry");
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("a copy");
        }
    }
}

/// Writes a value over the last number of a tensor of a safetensors file.
pub(crate) fn poke(path: &Path, tensor: &str, value: f32) {
    let mut bytes = std::fs::read(path).expect("a safetensors file");
    let data = 8 + u64::from_le_bytes(*bytes.first_chunk::<8>().expect("eight bytes of length")) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..data]).expect("a header of JSON");
    let end = data + header[tensor]["data_offsets"][1].as_u64().expect("an offset") as usize;
    bytes[end - 4..end].copy_from_slice(&value.to_le_bytes());
    std::fs::write(path, bytes).expect("a changed file");
}

/// Checks that these files of a run are byte for byte those of an uninterrupted run.
#[track_caller]
pub(crate) fn assert_same_files(run: &Path, reference: &Path, files: &[&str]) {
    for file in files {
        let read = |root: &Path| {
            let path = root.join(file);
            std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        assert!(read(run) == read(reference), "{} differs from a run in one piece", run.join(file).display());
    }
}
