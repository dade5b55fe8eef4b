//! Devices that fail during the work.
//!
//! Burn's operations return no errors. They panic when a graphics driver fails, memory runs out or
//! a server goes away. On the CPU a panic is a bug of the program and stays a panic.

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};

use anyhow::{Result, anyhow};
use gru_rcn_data::base::panic_message;

/// Runs `work` on a device and turns a panic into an error that names the device. The location of
/// the panic is printed if `RUST_BACKTRACE` requests it.
pub(crate) fn catch<T>(device: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    if std::env::var_os("RUST_BACKTRACE").is_none_or(|value| value == "0") {
        set_hook(Box::new(|_| {}));
    }
    let done = catch_unwind(AssertUnwindSafe(work));
    // Restores the default hook.
    drop(take_hook());
    done.unwrap_or_else(|panic| {
        Err(anyhow!(
            "{device} failed in the middle of the work: {}; a training run continues from its last checkpoint with \
             `train --resume`, on any backend",
            panic_message(&*panic).trim_end()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_that_names_the_device() {
        assert_eq!(catch("cuda:0", || Ok(3)).unwrap(), 3);
        let error = catch("cuda:0", || -> Result<()> { panic!("out of {}", "memory") }).unwrap_err().to_string();
        assert!(error.starts_with("cuda:0 failed") && error.contains("out of memory; "), "{error}");
        assert!(error.contains("train --resume"), "{error}");
        let own = catch("wgpu", || -> Result<()> { Err(anyhow!("no such clip")) }).unwrap_err().to_string();
        assert_eq!(own, "no such clip");
    }
}
