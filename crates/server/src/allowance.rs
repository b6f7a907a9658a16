//! What the TCP connections of one allocation may carry together, where its rate is limited. Who has had its share is not read
//! from, so TCP itself slows down the sender.
//!
//! Shared by the shards that carry the connections, and asked once for each read.

use std::num::NonZeroU64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use turnbuckle_relay::{self as relay, Bucket};

/// One bucket for each direction.
#[derive(Debug)]
pub(crate) struct Allowance {
    rate: NonZeroU64,
    start: Instant,
    to_peer: Mutex<Bucket>,
    to_client: Mutex<Bucket>,
}

/// One direction of an [`Allowance`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side<'a> {
    allowance: &'a Allowance,
    bucket: &'a Mutex<Bucket>,
}

impl Allowance {
    /// That many bytes per second in each direction.
    pub(crate) fn new(rate: NonZeroU64) -> Self {
        let bucket = || Mutex::new(Bucket::new(rate, relay::Instant::ZERO));
        Self {
            rate,
            start: Instant::now(),
            to_peer: bucket(),
            to_client: bucket(),
        }
    }

    pub(crate) const fn to_peer(&self) -> Side<'_> {
        Side {
            allowance: self,
            bucket: &self.to_peer,
        }
    }

    pub(crate) const fn to_client(&self) -> Side<'_> {
        Side {
            allowance: self,
            bucket: &self.to_client,
        }
    }
}

impl Side<'_> {
    /// How many bytes may be read now; what of them is not is [given back](Self::give_back). On an error it is time to ask again after
    /// so long.
    pub(crate) fn take(&self, most: usize) -> Result<usize, Duration> {
        let wanted = usize::try_from(self.allowance.rate.get() / READS_PER_SECOND)
            .unwrap_or(usize::MAX)
            .clamp(LEAST_READ_BYTES.min(most), most);
        let now = self.now();
        self.with(|bucket| {
            if bucket.admit(now, wanted) {
                Ok(wanted)
            } else {
                Err(bucket.time_until(now, wanted))
            }
        })
    }

    /// Bytes that were taken and not read after all.
    pub(crate) fn give_back(&self, bytes: usize) {
        if bytes > 0 {
            self.with(|bucket| bucket.give_back(bytes));
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Bucket) -> T) -> T {
        // Each change is a single step, so a panic elsewhere leaves nothing half done.
        act(&mut self.bucket.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn now(&self) -> relay::Instant {
        relay::Instant::ZERO.after(self.allowance.start.elapsed())
    }
}

/// Few enough to cost nothing, many enough to be smooth.
const READS_PER_SECOND: u64 = 16;
const LEAST_READ_BYTES: usize = 512;
