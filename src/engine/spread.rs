//! The same for many containers, on as many processors as there are: a list of hundreds is read from a thousand small files.

use std::num::NonZero;
use std::thread;

/// Fewer are done sooner by one thread.
const WORTH_IT: usize = 32;
/// More threads wait for one another in the kernel.
const MOST: usize = 8;

/// What `each` makes of all of them, in their order.
pub fn over<T: Sync, R: Send>(all: &[T], each: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(MOST);
    if all.len() < WORTH_IT || threads == 1 {
        return all.iter().map(each).collect();
    }
    let each = &each;
    thread::scope(|scope| {
        let mut parts = all.chunks(all.len().div_ceil(threads));
        let own = parts.next().unwrap_or_default();
        let begin = |part| (part, thread::Builder::new().spawn_scoped(scope, move || work(part, each)));
        let others: Vec<_> = parts.map(begin).collect();
        let mut made = work(own, each);
        for (part, other) in others {
            match other.map(thread::ScopedJoinHandle::join) {
                Ok(Ok(done)) => made.extend(done),
                Ok(Err(panic)) => std::panic::resume_unwind(panic),
                // The user has no process left.
                Err(_) => made.extend(work(part, each)),
            }
        }
        made
    })
}

fn work<T, R>(part: &[T], each: impl Fn(&T) -> R) -> Vec<R> {
    part.iter().map(each).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_them_in_their_order() {
        for count in [0, 1, WORTH_IT, 1000] {
            let all: Vec<usize> = (0..count).collect();
            assert_eq!(over(&all, |number| number * 2), (0..count).map(|number| number * 2).collect::<Vec<_>>());
        }
    }
}
