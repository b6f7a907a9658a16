//! When each allocation next wants to be looked at.

use std::collections::BTreeSet;

use crate::time::Instant;

/// Deadlines in order, at most one for each slot.
///
/// Exactness does not depend on it: lookups compare with `now` themselves. It only wakes the host in time to clean up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timers {
    queue: BTreeSet<(Instant, u32)>,
}

impl Timers {
    /// Moves the deadline of `slot` from `old` to `new`.
    pub(crate) fn reschedule(&mut self, slot: u32, old: Option<Instant>, new: Option<Instant>) {
        if old == new {
            return;
        }
        if let Some(old) = old {
            self.queue.remove(&(old, slot));
        }
        if let Some(new) = new {
            self.queue.insert((new, slot));
        }
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.queue.first().map(|&(deadline, _)| deadline)
    }

    /// Takes one slot whose deadline is reached.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<u32> {
        let &(deadline, slot) = self.queue.first()?;
        if deadline > now {
            return None;
        }
        self.queue.pop_first();
        Some(slot)
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }
}
