//! The one place where the daemon reads the time.

use std::time::{Duration, Instant, SystemTime};

use turnbuckle_relay::{self as relay, Now};

/// Both clocks of [`Now`]. All shards count from the same start.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    start: Instant,
    unix: u64,
    unix_read: Duration,
}

impl Clock {
    #[allow(clippy::disallowed_methods, reason = "the host's clock")]
    pub(crate) fn start() -> Self {
        Self {
            start: Instant::now(),
            unix: unix_seconds(),
            unix_read: Duration::ZERO,
        }
    }

    /// Now. The calendar is looked at ten times a second only: it counts whole seconds.
    #[inline]
    #[allow(clippy::disallowed_methods, reason = "the host's clock")]
    pub(crate) fn now(&mut self) -> Now {
        let elapsed = self.start.elapsed();
        if elapsed.saturating_sub(self.unix_read) >= CALENDAR_INTERVAL {
            self.unix = unix_seconds();
            self.unix_read = elapsed;
        }
        Now {
            instant: relay::Instant::ZERO.after(elapsed),
            unix: self.unix,
        }
    }

    /// A moment as the standard library has it.
    #[cfg(feature = "dtls")]
    pub(crate) fn std_instant(&self, instant: relay::Instant) -> Instant {
        self.start + Duration::from_micros(instant.as_micros())
    }

    /// The reverse of [`std_instant`](Self::std_instant).
    #[cfg(feature = "dtls")]
    pub(crate) fn relay_instant(&self, instant: Instant) -> relay::Instant {
        relay::Instant::ZERO.after(instant.saturating_duration_since(self.start))
    }
}

/// The monotonic clock, for what has nothing to do with packets.
#[allow(clippy::disallowed_methods, reason = "the host's clock")]
pub(crate) fn monotonic() -> Instant {
    Instant::now()
}

/// Seconds since 1970; 0 on a host whose clock stands before.
#[allow(clippy::disallowed_methods, reason = "the host's clock")]
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

const CALENDAR_INTERVAL: Duration = Duration::from_millis(100);
