//! Ports held back for a second allocation, so that RTP and RTCP get neighbours (RFC 8656 §7.2, EVEN-PORT and
//! RESERVATION-TOKEN).
//!
//! The token may come to another shard than the one that gave it, so the shards share them. A port that waits is claimed and not
//! open: whichever shard gets the token opens it.

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::relayed::{Claim, ShardId};
use crate::time::Instant;

/// Names a reservation; whoever has it may allocate the port.
pub type ReservationToken = [u8; 8];

/// One relayed transport address that waits for its token.
#[derive(Clone, Debug)]
pub(crate) struct Reservation {
    pub(crate) token: ReservationToken,
    pub(crate) claim: Claim,
    /// Who reserved it: the name that the quota counts.
    pub(crate) holder: Arc<str>,
    pub(crate) expires: Instant,
    /// The shard that gave the token, and that frees the port when nobody has come.
    pub(crate) shard: ShardId,
}

/// The reservations of all shards. Locked when a port is reserved, redeemed or given up, and never for data.
#[derive(Debug, Default)]
pub(crate) struct Reservations(Mutex<Vec<Reservation>>);

impl Reservations {
    pub(crate) fn add(&self, reservation: Reservation) {
        self.lock().push(reservation);
    }

    /// Takes the reservation with this token, if it is this user's and still good.
    pub(crate) fn redeem(
        &self,
        token: ReservationToken,
        holder: &str,
        now: Instant,
    ) -> Option<Claim> {
        self.take(|r| r.token == token && *r.holder == *holder && r.expires > now)
    }

    /// Takes the one that a shard gave, whether it is good or not.
    pub(crate) fn give_up(&self, shard: ShardId, token: ReservationToken) -> Option<Claim> {
        self.take(|r| r.token == token && r.shard == shard)
    }

    /// Takes any that a shard gave.
    pub(crate) fn give_up_any(&self, shard: ShardId) -> Option<Claim> {
        self.take(|r| r.shard == shard)
    }

    /// Those that a shard gave.
    pub(crate) fn of(&self, shard: ShardId) -> Vec<Reservation> {
        let all = self.lock();
        all.iter().filter(|r| r.shard == shard).cloned().collect()
    }

    fn take(&self, wanted: impl Fn(&Reservation) -> bool) -> Option<Claim> {
        let mut all = self.lock();
        let at = all.iter().position(wanted)?;
        Some(all.remove(at).claim)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Reservation>> {
        // Each change is a single step, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When the reservations of one shard end, the oldest first: each lives equally long. Those that were redeemed since are among
/// them.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReservationTimers(VecDeque<(Instant, ReservationToken)>);

impl ReservationTimers {
    pub(crate) fn add(&mut self, expires: Instant, token: ReservationToken) {
        self.0.push_back((expires, token));
    }

    /// Takes one that has expired.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<ReservationToken> {
        if self.next()? > now {
            return None;
        }
        self.0.pop_front().map(|(_, token)| token)
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.0.front().map(|&(expires, _)| expires)
    }
}

/// RFC 8656 §7.2: at least 30 seconds.
pub(crate) const RESERVATION_LIFETIME: Duration = Duration::from_secs(30);
