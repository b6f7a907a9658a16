//! Tests that need the machine to themselves.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// While it lives, no other test of this process has one. Tests that count lost packets or run a browser hold it, so
/// that they do not starve each other; between processes the test runner keeps them apart.
#[derive(Debug)]
pub struct Alone {
    _guard: MutexGuard<'static, ()>,
}

impl Alone {
    /// Waits until no other test of this process is alone.
    pub fn wait() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        // A test that failed while it was alone leaves nothing behind that matters here.
        let guard = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        Self { _guard: guard }
    }
}
