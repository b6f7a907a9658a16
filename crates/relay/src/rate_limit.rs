//! Limits how often one source is answered before it has authenticated: a bucket for each source in fixed memory.

use core::time::Duration;
use std::net::IpAddr;
use std::num::NonZeroU32;

use ahash::RandomState;
use serde::{Deserialize, Serialize};

use crate::time::Instant;

/// How many unauthenticated answers a source gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In the long run.
    pub per_second: NonZeroU32,
    /// At once, by a source that was quiet before: many clients may sit behind one address.
    pub burst: NonZeroU32,
}

/// A generic cell rate algorithm for each source, in a table of fixed size.
///
/// A source is an IPv4 address or an IPv6 /64. When a place is needed the source that has used least of its allowance makes
/// room, so a flood from made-up sources cannot push out one that is being limited.
#[derive(Clone)]
pub struct RateLimiter {
    rate: Option<Rate>,
    hasher: RandomState,
    cells: Vec<Cell>,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Cell {
    /// The source's hash, whole; 0 is nobody.
    source: u64,
    /// When the source's allowance is whole again.
    whole_again: Instant,
}

impl RateLimiter {
    /// Every allowance is whole; no `rate` admits everybody. The seeds should be random, so that nobody can tell who shares a
    /// place with whom.
    pub fn new(rate: Option<Rate>, hash_seeds: [u64; 4]) -> Self {
        Self::restore(rate, hash_seeds, Vec::new())
    }

    /// One that goes on from [`cells`](Self::cells), unless they are of a table of another size.
    pub(crate) fn restore(rate: Option<Rate>, hash_seeds: [u64; 4], cells: Vec<Cell>) -> Self {
        let [a, b, c, d] = hash_seeds;
        let size = SETS.saturating_mul(WAYS);
        Self {
            rate,
            hasher: RandomState::with_seeds(a, b, c, d),
            cells: match cells.len() == size {
                true => cells,
                false => vec![Cell::default(); size],
            },
        }
    }

    /// True if one more answer may go to this address now.
    pub fn admit(&mut self, ip: IpAddr, now: Instant) -> bool {
        let Some(rate) = self.rate else { return true };
        let step = Duration::from_micros(1_000_000u64.div_ceil(u64::from(rate.per_second.get())));
        let allowance = step.saturating_mul(rate.burst.get());
        let source = self.source(ip);
        let Some(set) = self.set(source) else {
            return true;
        };
        let Some(cell) = set.iter_mut().min_by_key(|cell| {
            let other = cell.source != source;
            (other, cell.whole_again)
        }) else {
            return true;
        };
        if cell.source != source {
            *cell = Cell {
                source,
                whole_again: now,
            };
        }
        let whole_again = cell.whole_again.max(now).after(step);
        if whole_again.since(now) > allowance {
            return false;
        }
        cell.whole_again = whole_again;
        true
    }

    /// The source has proven itself: its allowance is whole again.
    pub fn forgive(&mut self, ip: IpAddr) {
        let source = self.source(ip);
        if let Some(set) = self.set(source)
            && let Some(cell) = set.iter_mut().find(|cell| cell.source == source)
        {
            *cell = Cell::default();
        }
    }

    /// Admits at this rate from now on.
    pub fn set_rate(&mut self, rate: Option<Rate>) {
        self.rate = rate;
    }

    pub(crate) fn cells(&self) -> &[Cell] {
        &self.cells
    }

    fn source(&self, ip: IpAddr) -> u64 {
        let prefix = match ip {
            IpAddr::V4(ip) => u64::from(ip.to_bits()),
            IpAddr::V6(ip) => (ip.to_bits() >> 64) as u64,
        };
        self.hasher.hash_one((ip.is_ipv4(), prefix)).max(1)
    }

    fn set(&mut self, source: u64) -> Option<&mut [Cell]> {
        let sets = SETS as u64;
        let start = usize::try_from(source.checked_rem(sets)?)
            .ok()?
            .checked_mul(WAYS)?;
        self.cells.get_mut(start..start.checked_add(WAYS)?)
    }
}

const SETS: usize = 1024;
const WAYS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(per_second: u32, burst: u32) -> RateLimiter {
        let rate = Rate {
            per_second: NonZeroU32::new(per_second).unwrap(),
            burst: NonZeroU32::new(burst).unwrap(),
        };
        RateLimiter::new(Some(rate), [1, 2, 3, 4])
    }

    fn admitted(limiter: &mut RateLimiter, ip: &str, tries: u32, now: Instant) -> u32 {
        let ip = ip.parse().unwrap();
        (0..tries).map(|_| u32::from(limiter.admit(ip, now))).sum()
    }

    #[test]
    fn burst_then_rate() {
        let mut limiter = limiter(10, 20);
        let start = Instant::from_micros(5);
        assert_eq!(admitted(&mut limiter, "192.0.2.1", 100, start), 20);
        let later = start.after(Duration::from_secs(1));
        assert_eq!(admitted(&mut limiter, "192.0.2.1", 100, later), 10);
        assert_eq!(admitted(&mut limiter, "192.0.2.2", 100, later), 20);
    }

    #[test]
    fn ipv6_counts_by_64() {
        let mut limiter = limiter(10, 20);
        let now = Instant::ZERO;
        assert_eq!(admitted(&mut limiter, "2001:db8::1", 15, now), 15);
        assert_eq!(admitted(&mut limiter, "2001:db8::2", 15, now), 5);
        assert_eq!(admitted(&mut limiter, "2001:db8:0:1::2", 15, now), 15);
    }

    #[test]
    fn a_flood_of_sources_does_not_free_a_limited_one() {
        let mut limiter = limiter(10, 20);
        let now = Instant::ZERO;
        assert_eq!(admitted(&mut limiter, "192.0.2.1", 30, now), 20);
        for i in 0..60_000u32 {
            let ip = IpAddr::V4((0x0a00_0000 + i).into());
            assert!(limiter.admit(ip, now), "a new source is always heard once");
        }
        assert_eq!(admitted(&mut limiter, "192.0.2.1", 30, now), 0);
    }

    #[test]
    fn forgiven_sources_start_afresh() {
        let mut limiter = limiter(1, 3);
        assert_eq!(admitted(&mut limiter, "192.0.2.1", 9, Instant::ZERO), 3);
        limiter.forgive("192.0.2.1".parse().unwrap());
        assert_eq!(admitted(&mut limiter, "192.0.2.1", 9, Instant::ZERO), 3);
    }
}
