//! What ends the program early: Ctrl-C, SIGTERM, and the errors that have exit codes of their own.
//!
//! The first signal requests a stop after the step, the second leaves at once. Exit codes: 0 done,
//! 1 the work found faults, 2 wrong usage or input, 130 and 143 stopped by a signal after saving.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGPIPE, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;

/// Whether a stop was requested, and by which signal.
#[derive(Clone, Debug, Default)]
pub(crate) struct StopFlag {
    requested: Arc<AtomicBool>,
    signal: Arc<AtomicUsize>,
    advice: &'static str,
}

impl StopFlag {
    /// Starts the thread that waits for signals. `advice` says how to continue stopped work.
    pub(crate) fn install(advice: &'static str) -> Result<Self> {
        let stop = Self { advice, ..Self::default() };
        let mut signals = Signals::new([SIGINT, SIGTERM]).context("could not install signal handlers")?;
        let flag = stop.clone();
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                for signal in signals.forever() {
                    if flag.requested.load(Ordering::Relaxed) {
                        std::process::exit(128 + signal);
                    }
                    flag.signal.store(signal as usize, Ordering::Relaxed);
                    flag.requested.store(true, Ordering::Relaxed);
                }
            })
            .context("could not start the thread that waits for signals")?;
        Ok(stop)
    }

    pub(crate) fn is_set(&self) -> bool {
        self.requested.load(Ordering::Relaxed)
    }

    /// The flag itself, for libraries that poll one.
    pub(crate) fn flag(&self) -> &AtomicBool {
        &self.requested
    }

    /// Requests a stop as Ctrl-C does.
    #[cfg(test)]
    pub(crate) fn set(&self) {
        self.signal.store(SIGINT as usize, Ordering::Relaxed);
        self.requested.store(true, Ordering::Relaxed);
    }

    /// The error of work that was stopped.
    pub(crate) fn interrupted(&self) -> Interrupted {
        let exit_code = 128 + self.signal.load(Ordering::Relaxed).max(SIGINT as usize) as u8;
        Interrupted { exit_code, advice: self.advice }
    }
}

/// Ends the program without a panic when the reader of its output goes away, as `head` does.
pub(crate) fn exit_on_broken_pipe() -> Result<()> {
    let always = Arc::new(AtomicBool::new(true));
    flag::register_conditional_shutdown(SIGPIPE, 128 + SIGPIPE, always).context("could not install signal handlers")?;
    Ok(())
}

/// The error of work that a signal stopped. Everything done so far is saved.
#[derive(Debug)]
pub(crate) struct Interrupted {
    /// 130 after Ctrl-C, 143 after SIGTERM.
    pub(crate) exit_code: u8,
    advice: &'static str,
}

impl Interrupted {
    /// The same with other advice.
    pub(crate) fn advising(self, advice: &'static str) -> Self {
        Self { advice, ..self }
    }
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stopped as requested; {}", self.advice)
    }
}

impl std::error::Error for Interrupted {}

/// The error of work that was done and found faults: exit code 1.
#[derive(Debug)]
pub(crate) struct Faults(pub(crate) String);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Faults {}
