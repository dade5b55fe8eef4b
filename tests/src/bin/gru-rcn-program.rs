//! The program `gru-rcn` as a binary of this package: Cargo builds it for the whole-program tests
//! and gives them its path.

use std::process::ExitCode;

fn main() -> ExitCode {
    // SAFETY: this is the first statement of the process, which has one thread.
    unsafe { gru_rcn_trainer::main() }
}
