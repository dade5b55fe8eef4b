//! Calls the program and checks its output.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{Read, Seek};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

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
pub(crate) struct Folder(TempDir);

impl Deref for Folder {
    type Target = Path;

    fn deref(&self) -> &Path {
        self.0.path()
    }
}

pub(crate) fn temporary() -> Folder {
    Folder(tempfile::tempdir().expect("a temporary folder"))
}

/// A temporary folder with a copy of a run as `run`, for a test that changes it.
pub(crate) fn copied(run: &Path) -> Folder {
    let folder = temporary();
    copy_folder(run, &folder.join("run"));
    folder
}

/// A folder for files that all tests of this process share; a later process removes it.
pub(crate) fn shared(name: &str) -> PathBuf {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        let all = Path::new(env!("CARGO_TARGET_TMPDIR"));
        for old in fs::read_dir(all).into_iter().flatten().flatten() {
            let changed = old.metadata().and_then(|metadata| metadata.modified()).ok();
            // A younger one may belong to a running process.
            let is_old = changed.and_then(|time| time.elapsed().ok()).is_some_and(|age| age.as_secs() > 3600);
            if is_old && old.file_name().to_string_lossy().starts_with("program-") {
                let _ = fs::remove_dir_all(old.path());
            }
        }
        all.join(format!("program-{}", std::process::id()))
    });
    let folder = ROOT.join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder for shared things");
    folder
}

/// A call of the program, in a current folder of its own and without standard input.
pub(crate) struct Call(Command);

pub(crate) struct Outcome {
    command: String,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A running call. It is killed if the test ends first.
pub(crate) struct Running {
    command: String,
    child: Child,
    /// Standard error. A pipe would fill up, since nobody reads before the end.
    log: File,
}

impl Call {
    /// The program with the words of `line` as its arguments.
    pub(crate) fn new(folder: &Path, line: &str) -> Self {
        Self::of(Command::new(program()), folder, line)
    }

    /// The same by a shell's script, in which `"$0" "$@"` are the program and its arguments.
    #[cfg(unix)]
    pub(crate) fn by_script(folder: &Path, script: &str, line: &str) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).arg(program());
        Self::of(shell, folder, line)
    }

    fn of(mut command: Command, folder: &Path, line: &str) -> Self {
        command.args(line.split_whitespace()).current_dir(folder).stdin(Stdio::null());
        Self(command)
    }

    pub(crate) fn arg(self, argument: impl AsRef<OsStr>) -> Self {
        self.args([argument])
    }

    pub(crate) fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.0.args(arguments);
        self
    }

    /// With changes of the recipe, `KEY=VALUE` each.
    pub(crate) fn set<S: AsRef<OsStr>>(mut self, changes: impl IntoIterator<Item = S>) -> Self {
        for change in changes {
            self.0.arg("--set").arg(change);
        }
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.0.env_remove(name);
        self
    }

    /// With a file as standard input.
    pub(crate) fn input(mut self, path: &Path) -> Self {
        self.0.stdin(File::open(path).expect("a file"));
        self
    }

    pub(crate) fn start(mut self) -> Running {
        let command = format!("{:?}", self.0);
        let log = tempfile::tempfile().expect("a temporary file");
        self.0.stdout(Stdio::piped()).stderr(log.try_clone().expect("a second handle"));
        Running { command, child: self.0.spawn().expect("the program starts"), log }
    }

    pub(crate) fn run(self) -> Outcome {
        self.start().finish()
    }
}

pub(crate) fn run(folder: &Path, line: &str) -> Outcome {
    Call::new(folder, line).run()
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

    /// The path of its folder as text.
    pub(crate) fn name(&self) -> &str {
        self.root.to_str().expect("UTF-8")
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
            let ended = self.child.try_wait().expect("a state");
            assert!(ended.is_none(), "{} ended ({ended:?}) before {what}", self.command);
            assert!(Instant::now() < deadline, "{}: waited too long for {what}", self.command);
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Number of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name, such as `TERM`, and waits for the end.
    pub(crate) fn stop_by(self, signal: &str) -> Outcome {
        let sent = Command::new("kill").args(["-s", signal, &self.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "could not send {signal}");
        self.finish()
    }

    pub(crate) fn finish(mut self) -> Outcome {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        let mut pipe = self.child.stdout.take().expect("a pipe");
        pipe.read_to_string(&mut stdout).expect("text on standard output");
        let code = self.child.wait().expect("an exit status").code();
        self.log.rewind().and_then(|()| self.log.read_to_string(&mut stderr)).expect("text on standard error");
        Outcome { command: std::mem::take(&mut self.command), code, stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
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
    let text = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A run's `run.json`.
#[track_caller]
pub(crate) fn card(run: &Path) -> Value {
    read_json(&run.join("run.json"))
}

/// The lines of a run's `metrics.jsonl`; none if there is no such file yet.
pub(crate) fn metrics(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap_or_default();
    // A line that is being written is incomplete.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
}

/// Those of a stage.
pub(crate) fn stage_metrics(run: &Path, stage: &str) -> Vec<Value> {
    metrics(run).into_iter().filter(|line| line["stage"] == stage).collect()
}

/// All lines without measured times.
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
        let listing = fs::read_dir(folder).expect("a folder of class folders");
        let mut paths: Vec<PathBuf> = listing.map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        paths
    };
    entries(root).iter().filter(|path| path.is_dir()).flat_map(|class| entries(class)).collect()
}

/// Their names below `root`, such as `life/clip-0.mp4`.
pub(crate) fn ids_below(root: &Path) -> Vec<String> {
    let id = |clip: PathBuf| clip.strip_prefix(root).expect("a clip of the data set").display().to_string();
    clips_below(root).into_iter().map(id).collect()
}

/// The keys of a JSON object, in the order of the document.
pub(crate) fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("a JSON object").keys().map(String::as_str).collect()
}

/// Copies a folder with its content.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder to copy") {
        let (path, target) = entry.map(|entry| (entry.path(), to.join(entry.file_name()))).expect("an entry");
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            fs::copy(&path, &target).expect("a copy");
        }
    }
}

/// Checks that these files of a run are byte for byte those of an uninterrupted run.
#[track_caller]
pub(crate) fn assert_same_files(run: &Path, reference: &Path, files: &[&str]) {
    for file in files {
        let read = |root: &Path| {
            let path = root.join(file);
            fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        assert!(read(run) == read(reference), "{} differs from a run in one piece", run.join(file).display());
    }
}
