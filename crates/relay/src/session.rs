//! Allocations as the operator sees them: listed, and ended by name.
//!
//! Owns no state: what is listed is read out of the tables when it is asked for.

use core::time::Duration;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;
use std::sync::Arc;

use crate::address::{ClientPath, Families};
use crate::allocation::{Allocation, AllocationId, Traffic};
use crate::event::EndReason;
use crate::relay::Relay;
use crate::relayed::{RelaySockets, RelayedTransport};
use crate::time::{Instant, Now};

/// One live allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub id: AllocationId,
    /// By which the client is reached now.
    pub path: ClientPath,
    /// The stable name, which the quota counts; [`Relay::ANONYMOUS`] where nobody authenticates.
    pub user: Arc<str>,
    /// The name as the client spells it; `None` where nobody authenticates.
    pub username: Option<Arc<str>>,
    /// As clients know them.
    pub relayed: Families<SocketAddr>,
    /// What is spoken with peers.
    pub transport: RelayedTransport,
    /// Time since the Allocate request.
    pub age: Duration,
    /// Time that is left without another Refresh; never zero.
    pub expires_in: Duration,
    /// Of TCP allocations, what connections that are closed by now have carried.
    pub traffic: Traffic,
    /// What was dropped because it came faster than the allocation may send.
    pub shaped: Traffic,
    /// Bytes per second that may pass in each direction; `None` is no limit.
    pub rate: Option<NonZeroU64>,
    /// The live ones, in order of their addresses.
    pub permissions: Vec<SessionPermission>,
    /// The live ones, in order of their numbers.
    pub channels: Vec<SessionChannel>,
}

/// A permission of a [`Session`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionPermission {
    pub ip: IpAddr,
    /// Time that is left without another request for it; never zero.
    pub expires_in: Duration,
}

/// A channel of a [`Session`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionChannel {
    pub number: u16,
    pub peer: SocketAddr,
    /// Time that is left without another ChannelBind; never zero.
    pub expires_in: Duration,
}

impl Relay {
    /// The live allocations, in order of their ids. What has expired by `now` is left out, whether or not the timers have been
    /// handled.
    pub fn sessions(&self, now: Now) -> impl Iterator<Item = Session> {
        let now = now.instant;
        self.allocations
            .iter()
            .filter(move |(_, allocation)| allocation.expires > now)
            .map(move |(id, allocation)| self.session(id, allocation, now))
    }

    /// Ends the allocations of all users whose stable name `is_meant`; how many there were.
    pub fn end_sessions(
        &mut self,
        now: Now,
        why: EndReason,
        sockets: &mut impl RelaySockets,
        mut is_meant: impl FnMut(&str) -> bool,
    ) -> usize {
        let meant: Vec<AllocationId> = self
            .allocations
            .iter()
            .filter(|(_, allocation)| is_meant(allocation.ticket.user()))
            .map(|(id, _)| id)
            .collect();
        for &id in &meant {
            self.delete(now.instant, id, why, sockets);
        }
        meant.len()
    }

    fn session(&self, id: AllocationId, allocation: &Allocation, now: Instant) -> Session {
        Session {
            id,
            path: allocation.path,
            user: Arc::clone(allocation.ticket.user()),
            username: allocation.username().map(Arc::clone),
            relayed: self.advertised(&allocation.relayed),
            transport: allocation.transport,
            age: now.since(allocation.created),
            expires_in: allocation.expires.since(now),
            traffic: allocation.traffic,
            shaped: allocation.shaped(),
            rate: allocation.ticket.rate(),
            permissions: allocation
                .permissions
                .live(now)
                .map(|permission| SessionPermission {
                    ip: permission.ip,
                    expires_in: permission.expires.since(now),
                })
                .collect(),
            channels: allocation
                .channels
                .live(now)
                .map(|channel| SessionChannel {
                    number: channel.number,
                    peer: channel.peer.0,
                    expires_in: channel.expires.since(now),
                })
                .collect(),
        }
    }
}
