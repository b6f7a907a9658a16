//! Ports held back for a second allocation, so that RTP and RTCP get neighbours (RFC 8656 §7.2, EVEN-PORT and
//! RESERVATION-TOKEN).

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::relayed::RelayedId;
use crate::time::Instant;

/// Names a reservation; whoever has it may allocate the port.
pub type ReservationToken = [u8; 8];

/// One relayed transport address that is open and waits for its token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Reservation {
    pub(crate) token: ReservationToken,
    pub(crate) relayed: RelayedId,
    /// Who reserved it: the name that the quota counts.
    pub(crate) holder: Arc<str>,
    pub(crate) expires: Instant,
}

/// All reservations, the oldest first: each lives equally long.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Reservations(VecDeque<Reservation>);

impl Reservations {
    pub(crate) fn add(&mut self, reservation: Reservation) {
        self.0.push_back(reservation);
    }

    /// Takes the reservation with this token, if it is this user's and still good.
    pub(crate) fn redeem(
        &mut self,
        token: ReservationToken,
        holder: &str,
        now: Instant,
    ) -> Option<RelayedId> {
        let at = self
            .0
            .iter()
            .position(|r| r.token == token && *r.holder == *holder && r.expires > now)?;
        self.0.remove(at).map(|reservation| reservation.relayed)
    }

    /// Takes one that has expired.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<RelayedId> {
        if self.next_expiry()? > now {
            return None;
        }
        self.0.pop_front().map(|reservation| reservation.relayed)
    }

    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.0.front().map(|reservation| reservation.expires)
    }

    pub(crate) fn last_expiry(&self) -> Option<Instant> {
        self.0.back().map(|reservation| reservation.expires)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Reservation> {
        self.0.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// RFC 8656 §7.2: at least 30 seconds.
pub(crate) const RESERVATION_LIFETIME: Duration = Duration::from_secs(30);
