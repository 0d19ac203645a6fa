//! What is made at build time.

use std::error::Error;
use std::path::Path;

// The crate's own modules: what compiles a filter at run time compiles the built-in profile here.
#[allow(dead_code)]
#[path = "src/seccomp/capability.rs"]
mod capability;
#[path = "src/seccomp/compile.rs"]
mod compile;
#[allow(dead_code)]
#[path = "src/seccomp/filter.rs"]
mod filter;
#[path = "src/seccomp/generate.rs"]
mod generate;
#[allow(dead_code)]
#[path = "src/seccomp/group.rs"]
mod group;
#[path = "src/seccomp/ranges.rs"]
mod ranges;
#[allow(dead_code)]
#[path = "src/seccomp/tables.rs"]
mod tables;
#[path = "src/seccomp/text.rs"]
mod text;
#[path = "src/seccomp/writer.rs"]
mod writer;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    seccomp()
}

/// Writes the system call tables and the built-in profile, with its programs, for the architecture of the target.
fn seccomp() -> Result<(), Box<dyn Error>> {
    const TABLE: &str = "src/seccomp/syscalls.table";
    const PROFILE: &str = "src/seccomp/default.profile";
    println!("cargo::rerun-if-changed=src/seccomp");
    let target = std::env::var("CARGO_CFG_TARGET_ARCH")?;
    let native = filter::Arch::from_name(&target).ok_or(format!("{target}: no system call table"))?;
    let source = generate::Source::read(&read(TABLE)?).map_err(|error| format!("{TABLE}: {error}"))?;
    let tables = source.tables();
    write("seccomp_tables.rs", &generate::tables_source(&tables))?;
    let profile = read(PROFILE)?;
    let profile = generate::profile_source(&profile, &tables, native).map_err(|error| format!("{PROFILE}: {error}"))?;
    write("seccomp_profile.rs", &profile)
}

/// Reads a file of the repository.
#[allow(clippy::disallowed_methods)] // fs_err is not worth a dependency here
fn read(path: &str) -> Result<String, Box<dyn Error>> {
    std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}").into())
}

/// Writes a file that the crate includes.
#[allow(clippy::disallowed_methods)]
fn write(name: &str, text: &str) -> Result<(), Box<dyn Error>> {
    let path = Path::new(&std::env::var("OUT_DIR")?).join(name);
    std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()).into())
}
