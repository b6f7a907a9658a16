//! A clock that stands still until it is moved.
//!
//! Owns the two times of [`Now`]. It must not read a real clock.

use core::time::Duration;

use turnbuckle_relay::{Instant, Now};

/// Both clocks of a host, moved together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    instant: Instant,
    unix_micros: u64,
}

impl Clock {
    /// Where [`default`](Self::default) starts, in seconds since the Unix epoch.
    pub const START_UNIX: u64 = 1_700_000_000;

    /// What the clocks show.
    pub const fn now(&self) -> Now {
        Now {
            instant: self.instant,
            unix: self.unix_micros / MICROS,
        }
    }

    /// Moves both clocks on.
    pub fn advance(&mut self, duration: Duration) {
        self.set(self.instant.after(duration));
    }

    /// Moves both clocks to this instant.
    ///
    /// # Panics
    /// If it lies behind.
    pub fn set(&mut self, instant: Instant) {
        assert!(instant >= self.instant, "clocks only go forward");
        let passed = instant.since(self.instant).as_micros();
        self.unix_micros += u64::try_from(passed).expect("a test is shorter than 500,000 years");
        self.instant = instant;
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            // Neither clock starts at zero or on the other's value, so mixing them up shows.
            instant: Instant::from_micros(77 * MICROS),
            unix_micros: Self::START_UNIX * MICROS,
        }
    }
}

const MICROS: u64 = 1_000_000;
