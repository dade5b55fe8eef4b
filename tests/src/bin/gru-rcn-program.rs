//! The program `gru-rcn` under a name of this package: Cargo builds it for the whole-program tests and tells them where it
//! lies.

use std::process::ExitCode;

fn main() -> ExitCode {
    gru_rcn_trainer::main()
}
