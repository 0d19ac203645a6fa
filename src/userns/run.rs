//! Runs a piece of rbox as root of a user namespace of its own.

use super::idmap::IdMaps;
use super::write::{self, Writer};
use crate::error::{Advise, Failure};
use crate::sys::clone::{self, CLONE_NEWNS, CLONE_NEWUSER, Side};
use crate::sys::{Alone, fd, ids, process};
use anyhow::Result;
use std::os::fd::AsFd;

/// An error that comes back is not longer.
const MAX_FAILURE: usize = 64 * 1024;

/// Makes a copy of this process in a new user and mount namespace with these ids, calls `inside` there as its root and
/// waits for it: the status that `inside` returned, or its error as if it had happened here.
///
/// The copy dies with this process. Its memory is a copy, too: only the status and the error come back.
pub fn run(alone: &Alone, maps: &IdMaps, inside: impl FnOnce() -> Result<u8>) -> Result<u8> {
    let writer = write::writer(maps, ids::uid(), ids::gid());
    let (ours, theirs) = fd::seqpacket_pair()?;
    let child = match clone::clone(alone, CLONE_NEWUSER | CLONE_NEWNS).map_err(|error| (error.errno, error)) {
        Ok(Side::Child) => {
            drop(ours);
            let result = enter(maps, writer, &theirs).and_then(|()| inside());
            let status = result.unwrap_or_else(|error| {
                let failure = Failure::from(&error);
                let bytes = failure.within(MAX_FAILURE);
                // If nobody listens any more there is nobody to tell.
                let _ = fd::send(theirs.as_fd(), &bytes, &[]);
                failure.exit
            });
            process::exit_now(status)
        }
        Ok(Side::Parent(child)) => child,
        Err((errno, error)) => return Err(error).maybe_hint(|| write::clone_refused(errno)),
    };
    drop(theirs);
    let mapped = write::for_child(child.pid, maps, writer);
    let mut text = vec![0; MAX_FAILURE];
    let said = match &mapped {
        Ok(()) => fd::send(ours.as_fd(), b"mapped", &[]).and_then(|()| fd::receive(ours.as_fd(), &mut text)),
        Err(_) => Ok((0, Vec::new())),
    };
    drop(ours);
    let status = process::wait(child.pidfd.as_fd())?;
    mapped?;
    match said {
        Ok((length, _)) if length > 0 => Err(serde_json::from_slice::<Failure>(&text[..length])?.into()),
        _ => Ok(status),
    }
}

fn enter(maps: &IdMaps, writer: Writer, socket: &std::os::fd::OwnedFd) -> Result<()> {
    process::die_with_parent()?;
    if writer == Writer::Itself {
        write::own(maps)?;
    }
    let mut word = [0; 16];
    if fd::receive(socket.as_fd(), &mut word)?.0 == 0 {
        // The maker could not map, and says so itself.
        process::exit_now(crate::error::FAILED);
    }
    if writer != Writer::Itself {
        if maps.gid.outside(0).is_some() {
            ids::set_gid(0)?;
            ids::set_groups(&[])?;
        }
        if maps.uid.outside(0).is_some() {
            ids::set_uid(0)?;
        }
        process::die_with_parent()?;
    }
    if fd::hung_up(socket) {
        process::exit_now(crate::error::FAILED);
    }
    Ok(())
}
