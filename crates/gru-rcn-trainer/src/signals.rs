//! Ctrl-C and SIGTERM: the first asks for a stop after the step, the second leaves at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Whether and by what the program was asked to stop.
#[derive(Clone, Debug, Default)]
pub struct StopFlag {
    asked: Arc<AtomicBool>,
    signal: Arc<AtomicUsize>,
}

impl StopFlag {
    /// Installs the handlers.
    pub fn install() -> Result<Self> {
        let stop = Self::default();
        for signal in [SIGINT, SIGTERM] {
            // In this order the second signal finds the flag set and leaves.
            flag::register_conditional_shutdown(signal, 128 + signal, stop.asked.clone())
                .and_then(|_| flag::register(signal, stop.asked.clone()))
                .and_then(|_| flag::register_usize(signal, stop.signal.clone(), signal as usize))
                .context("could not install signal handlers")?;
        }
        Ok(stop)
    }

    /// Whether a stop was asked for.
    pub fn is_set(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Asks for a stop, as Ctrl-C does; the terminal UI's key for it.
    pub fn set(&self) {
        self.signal.store(SIGINT as usize, Ordering::Relaxed);
        self.asked.store(true, Ordering::Relaxed);
    }

    /// The exit code of a program stopped so: 130 after Ctrl-C, 143 after SIGTERM.
    pub fn exit_code(&self) -> u8 {
        128 + self.signal.load(Ordering::Relaxed).max(SIGINT as usize) as u8
    }
}
