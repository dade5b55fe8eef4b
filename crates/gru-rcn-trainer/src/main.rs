//! The program `gru-rcn`; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    gru_rcn_trainer::main()
}
