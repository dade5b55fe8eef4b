//! Ctrl-C and SIGTERM: the first asks for a stop after the step, the second leaves at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGPIPE, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;

/// Whether and by what the program was asked to stop.
#[derive(Clone, Debug, Default)]
pub struct StopFlag {
    asked: Arc<AtomicBool>,
    signal: Arc<AtomicUsize>,
}

impl StopFlag {
    /// Starts the thread that waits for signals.
    pub fn install() -> Result<Self> {
        let stop = Self::default();
        let mut signals = Signals::new([SIGINT, SIGTERM]).context("could not install signal handlers")?;
        let flag = stop.clone();
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                for signal in signals.forever() {
                    if flag.asked.load(Ordering::Relaxed) {
                        std::process::exit(128 + signal);
                    }
                    flag.signal.store(signal as usize, Ordering::Relaxed);
                    flag.asked.store(true, Ordering::Relaxed);
                }
            })
            .context("could not start the thread that waits for signals")?;
        Ok(stop)
    }

    /// Whether a stop was asked for.
    pub fn is_set(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// The flag itself, for work that is told by one.
    pub fn flag(&self) -> &AtomicBool {
        &self.asked
    }

    /// Asks for a stop, as Ctrl-C does, if no signal has; the terminal UI's key for it.
    pub fn set_if_unset(&self) {
        if !self.is_set() {
            self.signal.store(SIGINT as usize, Ordering::Relaxed);
            self.asked.store(true, Ordering::Relaxed);
        }
    }

    /// The exit code of a program stopped so: 130 after Ctrl-C, 143 after SIGTERM.
    pub fn exit_code(&self) -> u8 {
        128 + self.signal.load(Ordering::Relaxed).max(SIGINT as usize) as u8
    }
}

/// Ends the program quietly when whoever reads its output goes away, as `head` does, instead of with a panic.
pub fn exit_on_broken_pipe() -> Result<()> {
    let always = Arc::new(AtomicBool::new(true));
    flag::register_conditional_shutdown(SIGPIPE, 128 + SIGPIPE, always).context("could not install signal handlers")?;
    Ok(())
}
