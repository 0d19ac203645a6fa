//! Transfers of layers, several at a time; the first that fails ends them all.

use anyhow::{Result, ensure};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// One waits for the network while another is unpacked or read.
const AT_ONCE: usize = 3;

/// Says whether it is still worth while.
#[derive(Debug, Default)]
pub struct Stop(AtomicBool);

impl Stop {
    /// An error once another transfer has failed.
    pub fn check(&self) -> Result<()> {
        ensure!(!self.0.load(Ordering::Relaxed), "stopped, since another layer failed");
        Ok(())
    }
}

/// Calls `transfer` for each, in their order, on a few threads. The error is that of the first to fail.
pub fn all<T: Sync>(todo: &[T], transfer: impl Fn(&T, &Stop) -> Result<()> + Sync) -> Result<()> {
    let queue = Mutex::new(todo.iter());
    let take = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let (stop, failed) = (Stop::default(), Mutex::new(None));
    let worker = || {
        while let (Ok(()), Some(item)) = (stop.check(), take()) {
            if let Err(error) = transfer(item, &stop) {
                // The others fail because of this one.
                if !stop.0.swap(true, Ordering::Relaxed) {
                    *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                }
            }
        }
    };
    std::thread::scope(|scope| (0..AT_ONCE.min(todo.len())).for_each(|_| drop(scope.spawn(worker))));
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;

    #[test]
    fn each_once() {
        let seen = Mutex::new(Vec::new());
        let numbers: Vec<u32> = (0..100).collect();
        let note = |number: &u32, _: &Stop| {
            seen.lock().expect("no panic").push(*number);
            Ok(())
        };
        all(&numbers, note).expect("works");
        let mut seen = seen.into_inner().expect("no panic");
        seen.sort_unstable();
        assert_eq!(seen, numbers);
        all(&[], |_: &u32, _| bail!("nothing is called")).expect("nothing");
    }

    #[test]
    fn the_first_error_ends_the_others() {
        let error = all(&[1, 2, 3], |number, stop| match number {
            2 => bail!("the second"),
            _ => {
                while stop.check().is_ok() {
                    std::thread::yield_now();
                }
                stop.check()
            }
        });
        assert_eq!(error.expect_err("one fails").to_string(), "the second");
    }
}
