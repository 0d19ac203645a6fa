//! What dead processes have left: it is removed by whoever comes next.

use super::container;
use super::record::{ids_in, is_held, lock_file, remove_record};
use super::scratch::{self, lock};
use super::{names, volumes};
use crate::paths;
use crate::sys::clone::{self, Child, Side};
use crate::sys::{Alone, fd, process};
use anyhow::Result;
use rustix::fs::OFlags;
use std::os::fd::AsFd;
use std::path::Path;

/// How often a lock is tried for that somebody has who lets it go, a millisecond apart.
const LOOKS: u32 = 100;

/// As many containers each start looks at.
const MOST: usize = 32;

/// A process that removes what dead ones left. Waited for.
#[derive(Debug)]
pub struct Sweeping(Child);

impl Drop for Sweeping {
    fn drop(&mut self) {
        let _ = process::wait(self.0.pidfd.as_fd());
    }
}

/// Begins with it in another process, if there is something: it may be much. Where hundreds run each one looks at some of them,
/// from its own place on, so that a start takes no longer for all that run.
pub(super) fn begin(alone: &Alone, runtime: &Path, own: &str) -> Option<Sweeping> {
    let is_dead = |id: &String| matches!(lock(&lock_file(runtime, id), OFlags::empty()), Ok(Some(_)));
    let ids = ids_in(&runtime.join("locks")).ok()?;
    if !some(&ids, own).any(is_dead) {
        return None;
    }
    match clone::clone(alone, 0).ok()? {
        Side::Parent(child) => Some(Sweeping(child)),
        Side::Child => {
            // Locks and pipes are its maker's.
            let _ = fd::close_range(3, u32::MAX);
            // What fails stays for the next one.
            let _ = all(runtime);
            process::exit_now(0)
        }
    }
}

/// Those of all that the one with this id looks at.
fn some<'a>(all: &'a [String], own: &str) -> impl Iterator<Item = &'a String> {
    let number = own.get(..8).and_then(|digits| usize::from_str_radix(digits, 16).ok()).unwrap_or_default();
    all.iter().cycle().skip(number % all.len().max(1)).take(all.len().min(MOST))
}

/// Removes what is left of containers whose lock nobody holds. One in use costs an open and a flock.
pub(super) fn all(runtime: &Path) -> Result<()> {
    for id in ids_in(&runtime.join("locks"))? {
        if let Ok(Some(_held)) = lock(&lock_file(runtime, &id), OFlags::empty()) {
            // What fails stays for the next one, with its lock.
            let _ = remove_dead(runtime, &id);
        }
    }
    Ok(())
}

/// Removes what is left of one whose supervisor was killed a moment ago: its locks go one after the other.
pub(super) fn after(id: &str) -> Result<()> {
    let runtime = paths::runtime_dir()?;
    for _ in 0..LOOKS {
        if !is_held(&runtime, id)? {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    all(&runtime)
}

fn remove_dead(runtime: &Path, id: &str) -> Result<()> {
    // Without a home there was no place for any.
    if let Ok([kept, rest]) = container::places() {
        scratch::sweep_unwritten(&kept)?;
        scratch::sweep(&rest)?;
    }
    names::sweep(runtime, id)?;
    remove_record(runtime, id)?;
    volumes::sweep()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn all_are_looked_at_in_the_end() {
        let all: Vec<String> = (0..100).map(|number| format!("{number:08x}")).collect();
        let seen = |own: &str| some(&all, own).cloned().collect::<HashSet<_>>();
        assert!(all.iter().all(|own| seen(own).len() == MOST && seen(own).contains(own)));
        assert_eq!(all.iter().flat_map(|own| seen(own)).collect::<HashSet<_>>().len(), all.len());
        assert_eq!(some(&all[..5], "ffffffff").collect::<HashSet<_>>().len(), 5);
        assert_eq!((some(&[], "0000000a").count(), some(&all, "é").count()), (0, MOST));
    }
}
