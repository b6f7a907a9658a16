//! How fast an allocation may exchange data with its peers: a token bucket for each direction.
//!
//! Payload counts, headers do not, as in [`Traffic`]. A bucket holds what a second allows, and at least one datagram of any length.

use core::time::Duration;
use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use crate::allocation::{Allocation, AllocationId, Traffic};
use crate::relay::Relay;
use crate::tcp_relay::ConnectionId;
use crate::time::Instant;

/// The limit of one allocation, each direction by itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Shaper {
    to_peers: Bucket,
    to_client: Bucket,
    /// What was dropped.
    shaped: Traffic,
}

/// Bytes that may pass now: none at first sight of a flood, all again after a second of silence.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Bucket {
    rate: NonZeroU64,
    /// In millionths of a byte, so that a microsecond adds a whole number: the rate.
    level: u64,
    /// When the level was that.
    at: Instant,
}

impl Bucket {
    /// A full bucket for this many bytes per second.
    pub const fn new(rate: NonZeroU64, now: Instant) -> Self {
        Self {
            rate,
            level: depth(rate),
            at: now,
        }
    }

    /// Takes out that many bytes, where they are there.
    #[inline]
    pub fn admit(&mut self, now: Instant, bytes: usize) -> bool {
        let fits = self.fits(now, bytes);
        if fits {
            self.spend(now, bytes);
        }
        fits
    }

    /// Puts bytes back that were taken out and did not pass.
    pub fn give_back(&mut self, bytes: usize) {
        self.level = self
            .level
            .saturating_add(micro(bytes))
            .min(depth(self.rate));
    }

    /// How long it takes until that many bytes are there, if nobody takes any; rounded up to a microsecond.
    pub fn time_until(&self, now: Instant, bytes: usize) -> Duration {
        let missing = micro(bytes).saturating_sub(self.level(now));
        Duration::from_micros(missing.div_ceil(self.rate.get()))
    }

    /// Whether that many bytes are there.
    #[inline]
    fn fits(&self, now: Instant, bytes: usize) -> bool {
        self.level(now) >= micro(bytes)
    }

    #[inline]
    fn spend(&mut self, now: Instant, bytes: usize) {
        self.level = self.level(now).saturating_sub(micro(bytes));
        self.at = self.at.max(now);
    }

    #[inline]
    fn level(&self, now: Instant) -> u64 {
        let micros = now.as_micros().saturating_sub(self.at.as_micros());
        self.level
            .saturating_add(micros.saturating_mul(self.rate.get()))
            .min(depth(self.rate))
    }
}

impl Shaper {
    pub(crate) const fn new(rate: NonZeroU64, now: Instant) -> Self {
        Self {
            to_peers: Bucket::new(rate, now),
            to_client: Bucket::new(rate, now),
            shaped: Traffic::NONE,
        }
    }

    pub(crate) const fn rate(&self) -> NonZeroU64 {
        self.to_peers.rate
    }

    // Cold: most servers have no limit, and their packets go straight on.
    #[cold]
    fn admit_to_peer(&mut self, now: Instant, bytes: usize) -> bool {
        let admitted = self.to_peers.admit(now, bytes);
        if !admitted {
            self.shaped.count_to_peer(1, bytes);
        }
        admitted
    }

    #[cold]
    fn admit_to_client(&mut self, now: Instant, bytes: usize) -> bool {
        let admitted = self.to_client.admit(now, bytes);
        if !admitted {
            self.shaped.count_to_client(1, bytes);
        }
        admitted
    }
}

impl Allocation {
    /// Takes one payload for a peer out of the allowance; `false` if it is one too many, which is counted.
    // compliance: 8656-5-12
    #[inline]
    pub(crate) fn admit_to_peer(&mut self, now: Instant, bytes: usize) -> bool {
        let shaper = self.shaper.as_mut();
        shaper.is_none_or(|shaper| shaper.admit_to_peer(now, bytes))
    }

    /// As [`admit_to_peer`](Self::admit_to_peer), for the client.
    #[inline]
    pub(crate) fn admit_to_client(&mut self, now: Instant, bytes: usize) -> bool {
        let shaper = self.shaper.as_mut();
        shaper.is_none_or(|shaper| shaper.admit_to_client(now, bytes))
    }

    /// Whether all payloads of a bundle, that many bytes, may go to a peer. Where not, each of them is asked for by itself.
    #[inline]
    pub(crate) fn has_room_to_peer(&self, now: Instant, bytes: usize) -> bool {
        let shaper = self.shaper.as_ref();
        shaper.is_none_or(|shaper| shaper.to_peers.fits(now, bytes))
    }

    /// As [`has_room_to_peer`](Self::has_room_to_peer), for the client.
    #[inline]
    pub(crate) fn has_room_to_client(&self, now: Instant, bytes: usize) -> bool {
        let shaper = self.shaper.as_ref();
        shaper.is_none_or(|shaper| shaper.to_client.fits(now, bytes))
    }

    /// Takes a bundle that there [was room](Self::has_room_to_peer) for out of the allowance.
    #[inline]
    pub(crate) fn spend_to_peer(&mut self, now: Instant, bytes: usize) {
        if let Some(shaper) = &mut self.shaper {
            shaper.to_peers.spend(now, bytes);
        }
    }

    /// As [`spend_to_peer`](Self::spend_to_peer), for the client.
    #[inline]
    pub(crate) fn spend_to_client(&mut self, now: Instant, bytes: usize) {
        if let Some(shaper) = &mut self.shaper {
            shaper.to_client.spend(now, bytes);
        }
    }

    /// What the limit has kept back: packets and bytes, by where they were to go.
    pub(crate) fn shaped(&self) -> Traffic {
        self.shaper.as_ref().map_or(Traffic::NONE, |s| s.shaped)
    }
}

impl Relay {
    /// The allocation that has this peer connection and how many bytes per second its connections together may carry in each
    /// direction; `None` where there is no limit. No byte of them passes the relay, so the host has to see to it.
    pub fn rate_of(&self, connection: ConnectionId) -> Option<(AllocationId, NonZeroU64)> {
        let id = self.connections.get(connection)?.allocation;
        let shaper = self.allocations.get(id)?.shaper.as_ref()?;
        Some((id, shaper.rate()))
    }
}

/// What a full bucket holds.
const fn depth(rate: NonZeroU64) -> u64 {
    if rate.get() > DATAGRAM_MAX_BYTES {
        rate.get().saturating_mul(MICRO)
    } else {
        DATAGRAM_MAX_BYTES * MICRO
    }
}

const fn micro(bytes: usize) -> u64 {
    (bytes as u64).saturating_mul(MICRO)
}

const MICRO: u64 = 1_000_000;
const DATAGRAM_MAX_BYTES: u64 = 65_535;

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(rate: u64) -> Bucket {
        Bucket::new(NonZeroU64::new(rate).unwrap(), Instant::ZERO)
    }

    #[test]
    fn holds_a_second_and_fills_at_its_rate() {
        let mut bucket = bucket(100_000);
        let now = Instant::ZERO;
        assert!(bucket.admit(now, 60_000));
        assert!(bucket.admit(now, 40_000));
        assert!(!bucket.admit(now, 1));
        assert!(bucket.admit(now, 0), "an empty datagram is free");
        assert!(!bucket.admit(now.after(Duration::from_micros(9)), 1));
        assert!(bucket.admit(now.after(Duration::from_micros(10)), 1));
        let much_later = now.after(Duration::from_secs(3600));
        assert!(!bucket.admit(much_later, 100_001));
        assert!(bucket.admit(much_later, 100_000));
    }

    #[test]
    fn nothing_is_lost_in_small_steps() {
        let mut bucket = bucket(1000);
        let mut now = Instant::ZERO;
        assert!(bucket.admit(now, 65_535));
        for _ in 0..999 {
            now = now.after(Duration::from_micros(1));
            assert!(!bucket.admit(now, 1));
        }
        now = now.after(Duration::from_micros(1));
        assert!(bucket.admit(now, 1));
    }

    #[test]
    fn tells_how_long_to_wait_and_takes_back() {
        let mut bucket = bucket(100_000);
        let now = Instant::ZERO;
        assert_eq!(bucket.time_until(now, 100_000), Duration::ZERO);
        assert!(bucket.admit(now, 100_000));
        let wait = bucket.time_until(now, 1234);
        assert_eq!(wait, Duration::from_micros(12_340));
        assert!(!bucket.admit(now.after(wait - Duration::from_micros(1)), 1234));
        let then = now.after(wait);
        assert!(bucket.admit(then, 1234));
        bucket.give_back(234);
        assert!(bucket.admit(then, 234));
        assert!(!bucket.admit(then, 1));
        bucket.give_back(usize::MAX);
        assert!(!bucket.admit(then, 100_001));
    }

    #[test]
    fn the_longest_datagram_passes_at_any_rate() {
        let mut bucket = bucket(1);
        assert!(bucket.admit(Instant::ZERO, 65_535));
        assert!(!bucket.admit(Instant::ZERO, 1));
    }

    #[test]
    fn neither_a_vast_rate_nor_a_clock_that_goes_back_breaks_it() {
        let mut bucket = bucket(u64::MAX);
        let now = Instant::ZERO.after(Duration::from_secs(10));
        assert!(bucket.admit(now, 65_535));
        assert!(bucket.admit(Instant::ZERO, 65_535));
        assert!(bucket.admit(Instant::from_micros(u64::MAX), usize::MAX >> 20));
    }
}
