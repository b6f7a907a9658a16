//! Keeps strangers from filling the log.

use turnbuckle_relay::Instant;

/// Lines of one kind: so many each second, then a count of those that were left out.
pub(crate) struct Throttle {
    what: &'static str,
    second: u64,
    shown: u32,
    hidden: u64,
}

impl Throttle {
    /// For lines about `what`, in the plural.
    pub(crate) const fn new(what: &'static str) -> Self {
        Self {
            what,
            second: 0,
            shown: 0,
            hidden: 0,
        }
    }

    /// Whether a line may be written at `now`. One that may not is counted.
    pub(crate) fn admit(&mut self, now: Instant) -> bool {
        let second = now.as_micros() / 1_000_000;
        if second != self.second {
            self.second = second;
            self.shown = 0;
            self.tell_hidden();
        }
        if self.shown >= LINES_PER_SECOND {
            self.hidden += 1;
            return false;
        }
        self.shown += 1;
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn lines_are_counted_by_the_second() {
        let mut throttle = Throttle::new("lines");
        let start = Instant::ZERO.after(Duration::from_secs(5));
        let admitted = (0..100).filter(|_| throttle.admit(start)).count();
        assert_eq!(admitted, LINES_PER_SECOND as usize);
        assert_eq!(throttle.hidden, 80);
        assert!(throttle.admit(start.after(Duration::from_secs(1))));
        assert_eq!(throttle.hidden, 0);
    }
}
