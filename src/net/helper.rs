//! The helper that carries a container's packets: pasta or slirp4netns, under its keeper.

use super::child::Child;
use super::keeper;
use super::link::Tap;
use super::uplink::{Program, Uplink};
use anyhow::Result;

/// Starts it, for the network namespace of a process and the tap in it. It is ready when that has a carrier: what is sent
/// before it looks waits in the tap.
pub fn start(uplink: &Uplink, program: &Program, pid: i32, tap: &Tap) -> Result<Child> {
    let mut command = keeper::command(program.path.as_os_str());
    command.args(uplink.arguments(program.kind, pid, &tap.name)?);
    Child::start(command, program.kind.program())
}
