//! The helper that carries a container's packets: pasta or slirp4netns, under its keeper.

use super::child::Child;
use super::keeper;
use super::link::Ends;
use super::uplink::{Program, Uplink};
use crate::sys::netlink::Socket;
use anyhow::Result;

/// The interface that a helper makes in the container.
const TAP: &str = "rbox0";

/// Starts it, for the network namespace of a process. It is ready when its tap is there: what is sent before it looks waits
/// in that.
pub fn start(uplink: &Uplink, program: &Program, pid: i32) -> Result<Child> {
    let mut command = keeper::command(program.path.as_os_str());
    command.args(uplink.arguments(program.kind, pid, TAP)?);
    Child::start(command, program.kind.program())
}

/// Plugs its tap into the container's interface; false if it is not there yet.
pub fn plug_in(control: &Socket, ends: u32, uplink: &Uplink) -> Result<bool> {
    if control.index(TAP)?.is_none() {
        return Ok(false);
    }
    Ends::plug_in(control, ends, TAP, uplink.mtu)?;
    Ok(true)
}
