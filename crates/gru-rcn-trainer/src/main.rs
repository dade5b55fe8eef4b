//! The program `gru-rcn`; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    // SAFETY: this is the first statement of the process, which has one thread.
    unsafe { gru_rcn_trainer::main() }
}
