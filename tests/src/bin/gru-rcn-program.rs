//! The program `gru-rcn` as a binary of this package: Cargo builds it for the whole-program tests
//! and gives them its path.

use std::process::ExitCode;

fn main() -> ExitCode {
    gru_rcn_trainer::main()
}
