//! Which parts of the library an input has run, if it was built to count that (`scripts/fuzz`): LLVM's SanitizerCoverage
//! adds 1 to a byte at each edge of the control flow (clang.llvm.org/docs/SanitizerCoverage.html, "Inline
//! 8bit-counters"). The pass is there in stable compilers, too. Without it nothing is counted.

#![allow(unsafe_code)]

use std::sync::atomic::{AtomicPtr, AtomicU8, Ordering};

static START: AtomicPtr<AtomicU8> = AtomicPtr::new(std::ptr::null_mut());
static END: AtomicPtr<AtomicU8> = AtomicPtr::new(std::ptr::null_mut());

/// Called before main, once for each part of the program that counts, always with the bounds of all of them.
// SAFETY: the name belongs to SanitizerCoverage, and this is what it is to be.
#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut AtomicU8, end: *mut AtomicU8) {
    START.store(start, Ordering::Relaxed);
    END.store(end, Ordering::Relaxed);
}

fn counters() -> &'static [AtomicU8] {
    let (start, end) = (START.load(Ordering::Relaxed), END.load(Ordering::Relaxed));
    if start.is_null() {
        return &[];
    }
    // SAFETY: the linker put all counters between these two, for as long as the program runs. They are written without
    // synchronisation, as are all such counters: one that is lost is nothing to worry about.
    unsafe { std::slice::from_raw_parts(start, end.offset_from(start) as usize) }
}

/// Begins anew.
pub fn reset() {
    for counter in counters() {
        if counter.load(Ordering::Relaxed) != 0 {
            counter.store(0, Ordering::Relaxed);
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
        self.bits.resize(counters.len(), 0);
        let mut is_new = false;
        for (counter, seen) in counters.iter().zip(&mut self.bits) {
            // As afl-fuzz has it: 1, 2, 3, 4 to 7, 8 to 15, 16 to 31, 32 to 127, more.
            let bit = match counter.load(Ordering::Relaxed) {
                0 => continue,
                1 => 1,
                2 => 2,
                3 => 4,
                4..=7 => 8,
                8..=15 => 16,
                16..=31 => 32,
                32..=127 => 64,
                _ => 128,
            };
            is_new |= *seen & bit == 0;
            *seen |= bit;
        }
        Some(is_new)
    }

    /// Edges that were run, and all that there are.
    pub fn count(&self) -> Option<(usize, usize)> {
        (!self.bits.is_empty()).then(|| (self.bits.iter().filter(|bits| **bits != 0).count(), self.bits.len()))
    }
}
