//! Which parts of the library an input has run, if it was built to count that (`scripts/fuzz`): LLVM's SanitizerCoverage
//! adds 1 to a byte at each edge of the control flow (clang.llvm.org/docs/SanitizerCoverage.html, "Inline
//! 8bit-counters"). The pass is there in stable compilers, too. Without it nothing is counted.

#![allow(unsafe_code)]

use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicU64, Ordering};

static START: AtomicPtr<AtomicU8> = AtomicPtr::new(std::ptr::null_mut());
static END: AtomicPtr<AtomicU8> = AtomicPtr::new(std::ptr::null_mut());

/// Called before main, once for each part of the program that counts, always with the bounds of all of them.
// SAFETY: the name belongs to SanitizerCoverage, and this is what it is to be.
#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut AtomicU8, end: *mut AtomicU8) {
    START.store(start, Ordering::Relaxed);
    END.store(end, Ordering::Relaxed);
}

/// All counters, by eights. What is over at the ends does not count.
fn counters() -> &'static [AtomicU64] {
    let (start, end) = (START.load(Ordering::Relaxed), END.load(Ordering::Relaxed));
    if start.is_null() {
        return &[];
    }
    // SAFETY: the linker put all counters between these two, for as long as the program runs. They are written without
    // synchronisation, as are all such counters: one that is lost is nothing to worry about. Eight of them are a number.
    unsafe { std::slice::from_raw_parts(start, end.offset_from(start) as usize).align_to().1 }
}

/// Begins anew.
pub fn reset() {
    for counters in counters() {
        if counters.load(Ordering::Relaxed) != 0 {
            counters.store(0, Ordering::Relaxed);
        }
    }
}

/// What was run by any input: for each edge a bit for how often, roughly.
#[derive(Default)]
pub struct Seen {
    bits: Vec<u8>,
}

impl Seen {
    /// Takes in what was run since `reset`: is some of it new? `None` if nothing counts.
    pub fn take(&mut self) -> Option<bool> {
        let counters = counters();
        if counters.is_empty() {
            return None;
        }
        self.bits.resize(8 * counters.len(), 0);
        let mut is_new = false;
        for (eight, seen) in counters.iter().zip(self.bits.chunks_exact_mut(8)) {
            let eight = eight.load(Ordering::Relaxed);
            if eight == 0 {
                continue;
            }
            for (counter, seen) in eight.to_ne_bytes().into_iter().zip(seen) {
                let bit = class(counter);
                is_new |= bit & !*seen != 0;
                *seen |= bit;
            }
        }
        Some(is_new)
    }

    /// Edges that were run, and all that there are.
    pub fn count(&self) -> Option<(usize, usize)> {
        (!self.bits.is_empty()).then(|| (self.bits.iter().filter(|bits| **bits != 0).count(), self.bits.len()))
    }
}

/// Roughly how often, as afl-fuzz has it: 1, 2, 3, 4 to 7, 8 to 15, 16 to 31, 32 to 127, more.
fn class(count: u8) -> u8 {
    match count {
        0 => 0,
        1 => 1,
        2 => 2,
        3 => 4,
        4..=7 => 8,
        8..=15 => 16,
        16..=31 => 32,
        32..=127 => 64,
        _ => 128,
    }
}
