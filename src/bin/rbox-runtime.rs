//! The `rbox-runtime` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    rbox::oci::main()
}
