//! Keeps strangers from filling the log.

#![allow(
    clippy::disallowed_types,
    reason = "the host's randomness, so that nobody can choose what collides"
)]

use std::hash::{BuildHasher, Hash, RandomState};

use turnbuckle_relay::Instant;

/// Lines of one kind: so many each second, and of those that say the same one in ten seconds; then a count of those that were left
/// out.
pub(crate) struct Throttle {
    what: &'static str,
    second: u64,
    shown: u32,
    window: u64,
    /// Hashes of what was said in this window.
    said: Vec<u64>,
    hash: RandomState,
    hidden: u64,
}

impl Throttle {
    /// For lines about `what`, in the plural.
    pub(crate) fn new(what: &'static str) -> Self {
        Self {
            what,
            second: 0,
            shown: 0,
            window: 0,
            said: Vec::new(),
            hash: RandomState::new(),
            hidden: 0,
        }
    }

    /// Whether a line may be written at `now` that says `what`: who and why, but not when. One that may not is counted.
    pub(crate) fn admit(&mut self, now: Instant, what: impl Hash) -> bool {
        let second = now.as_micros() / 1_000_000;
        if second != self.second {
            self.second = second;
            self.shown = 0;
        }
        if second / WINDOW_SECONDS != self.window {
            self.window = second / WINDOW_SECONDS;
            self.said.clear();
            self.tell_hidden();
        }
        let hash = self.hash.hash_one(what);
        if self.shown >= LINES_PER_SECOND || self.said.contains(&hash) {
            self.hidden += 1;
            return false;
        }
        self.shown += 1;
        // At most WINDOW_SECONDS * LINES_PER_SECOND in a window.
        self.said.push(hash);
        true
    }

    /// Writes down how many lines were left out, if any.
    pub(crate) fn tell_hidden(&mut self) {
        if self.hidden > 0 {
            tracing::info!("{} more {} are not shown", self.hidden, self.what);
            self.hidden = 0;
        }
    }
}

const LINES_PER_SECOND: u32 = 20;
const WINDOW_SECONDS: u64 = 10;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO.after(Duration::from_secs(seconds))
    }

    #[test]
    fn lines_are_counted_by_the_second() {
        let mut throttle = Throttle::new("lines");
        let admitted = (0..100).filter(|n| throttle.admit(at(5), n)).count();
        assert_eq!(admitted, LINES_PER_SECOND as usize);
        assert_eq!(throttle.hidden, 80);
        assert!(throttle.admit(at(6), 100));
        assert_eq!(throttle.hidden, 80);
        assert!(throttle.admit(at(10), 0));
        assert_eq!(throttle.hidden, 0);
    }

    #[test]
    fn repeats_are_shown_once_in_a_while() {
        let mut throttle = Throttle::new("lines");
        let admitted: Vec<u64> = (0..30)
            .filter(|second| throttle.admit(at(*second), "the same"))
            .collect();
        assert_eq!(admitted, [0, 10, 20]);
        assert!(throttle.admit(at(29), "another"));
    }
}
