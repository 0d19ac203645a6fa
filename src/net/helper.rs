//! The helper that carries a container's packets: pasta or slirp4netns, under its keeper.

use super::child::Started;
use super::keeper;
use super::link::Tap;
use super::uplink::{Program, Uplink};
use crate::paths;
use anyhow::Result;
use std::borrow::Cow;
use std::path::Path;

/// Starts it, for the network namespace of a process and the tap in it. It is ready when that has a carrier: what is sent
/// before it looks waits in the tap.
pub fn start(uplink: &Uplink, program: &Program, pid: i32, tap: &Tap) -> Result<Started> {
    let mut command = keeper::command(quickest(&program.path).as_os_str());
    command.args(uplink.arguments(program.kind, pid, &tap.name)?);
    Started::new(command, program.kind.program())
}

/// The program itself: where the processor has AVX2, Debian's pasta looks for another one beside it and executes that, which
/// takes as long as the start of either (1.4 of 2.9 ms, measured).
fn quickest(path: &Path) -> Cow<'_, Path> {
    let other = path.with_extension("avx2");
    if has_avx2() && paths::is_program(&other) { Cow::Owned(other) } else { Cow::Borrowed(path) }
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx2() -> bool {
    false
}
