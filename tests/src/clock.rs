//! The harness's one look at the clock: deadlines, never a way to wait for something to have happened.

use std::time::{Duration, Instant};

/// A moment by which something must have happened.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    /// The moment `after` from now.
    pub fn after(after: Duration) -> Self {
        Self(now() + after)
    }

    /// Time left, or `None` when the deadline has passed.
    pub fn left(self) -> Option<Duration> {
        self.0
            .checked_duration_since(now())
            .filter(|left| !left.is_zero())
    }
}

#[expect(clippy::disallowed_methods, reason = "deadlines of real processes")]
fn now() -> Instant {
    Instant::now()
}
