//! The `rbox` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    rbox::cli::main()
}
