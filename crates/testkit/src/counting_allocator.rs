//! A global allocator that counts, to show that code does not allocate.
//!
//! Owns counters for each thread, so that tests running beside do not disturb. It must not change how memory is had.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator with counters. A test binary installs it with `#[global_allocator]`.
#[derive(Debug)]
pub struct CountingAllocator;

/// What one thread has done with the heap so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeapUse {
    /// Blocks taken, and blocks moved or grown.
    pub allocations: u64,
    /// Bytes taken less bytes given back.
    pub bytes: i64,
}

impl HeapUse {
    /// Of the calling thread; stays zero unless [`CountingAllocator`] is installed.
    pub fn of_this_thread() -> Self {
        USE.get()
    }

    /// What was done since `earlier`.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self {
            allocations: self.allocations - earlier.allocations,
            bytes: self.bytes - earlier.bytes,
        }
    }
}

fn count(allocations: u64, bytes: i64) {
    // A thread that is being torn down has no counters any more and is not asked for them.
    let _ = USE.try_with(|heap_use| {
        let before = heap_use.get();
        heap_use.set(HeapUse {
            allocations: before.allocations.wrapping_add(allocations),
            bytes: before.bytes.wrapping_add(bytes),
        });
    });
}

const fn signed(bytes: usize) -> i64 {
    // A layout's size never exceeds isize::MAX.
    bytes as i64
}

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract; counting touches a
// thread-local `Cell` that needs neither heap nor destructor.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, signed(layout.size()));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(0, -signed(layout.size()));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(1, signed(layout.size()));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(1, signed(new_size) - signed(layout.size()));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(block, layout, new_size) }
    }
}

thread_local! {
    static USE: Cell<HeapUse> = const { Cell::new(HeapUse { allocations: 0, bytes: 0 }) };
}
