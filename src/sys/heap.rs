//! The heap: dlmalloc behind a lock that takes two instructions, for most of this program has one thread
//! (docs/design/006-start.md). The crate's own lock is pthread's, whose calls were a sixth of a start's instructions.

use dlmalloc::Dlmalloc;
use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The one of the process.
pub struct Heap {
    turn: Mutex<()>,
    inner: UnsafeCell<Dlmalloc>,
}

// SAFETY: `inner` is only touched by whoever holds `turn`.
unsafe impl Sync for Heap {}

impl Heap {
    /// Empty.
    pub const fn new() -> Heap {
        Heap { turn: Mutex::new(()), inner: UnsafeCell::new(Dlmalloc::new()) }
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Heap {
    fn default() -> Heap {
        Heap::new()
    }
}

// SAFETY: dlmalloc gives blocks of the asked size and alignment that overlap no others; the caller's promises are passed on.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _turn = self.turn();
        // SAFETY: it is this thread's turn.
        unsafe { (*self.inner.get()).malloc(layout.size(), layout.align()) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let _turn = self.turn();
        // SAFETY: it is this thread's turn; the caller promises that the block was allocated with this layout.
        unsafe { (*self.inner.get()).free(block, layout.size(), layout.align()) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let _turn = self.turn();
        // SAFETY: it is this thread's turn.
        unsafe { (*self.inner.get()).calloc(layout.size(), layout.align()) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _turn = self.turn();
        // SAFETY: it is this thread's turn; the caller promises that the block was allocated with this layout.
        unsafe { (*self.inner.get()).realloc(block, layout.size(), layout.align(), size) }
    }
}
