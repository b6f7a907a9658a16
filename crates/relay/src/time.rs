//! Time as the state machine sees it: a number that the host passes in.

use core::time::Duration;

use serde::{Deserialize, Serialize};

/// The two clocks of one input, read once by the host for a whole batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic; lifetimes are measured on it.
    pub instant: Instant,
    /// Seconds since the Unix epoch; credentials and nonces expire by it.
    pub unix: u64,
}

/// A point on the host's monotonic clock, in microseconds since an epoch of the host's choice.
///
/// Unlike [`std::time::Instant`] it can be made up by a test and written to a snapshot.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Instant(u64);

impl Instant {
    /// The host's epoch.
    pub const ZERO: Self = Self(0);

    /// The instant that many microseconds after the epoch.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// This instant moved later; saturates at the end of time.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        let end = Instant::from_micros(u64::MAX);
        assert_eq!(end.after(Duration::MAX), end);
        assert_eq!(Instant::ZERO.since(end), Duration::ZERO);
        assert_eq!(end.since(Instant::ZERO), Duration::from_micros(u64::MAX));
    }
}
