//! One allocation: a client's lease of relayed transport addresses (RFC 8656 §6).

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use turnbuckle_proto::{AddressFamily, IntegrityKey, TransactionId};

use crate::address::{ClientPath, Families};
use crate::auth::users::UserKeys;
use crate::bandwidth::Shaper;
use crate::channel::Channels;
use crate::mobility::Mobility;
use crate::permission::Permissions;
use crate::quota;
use crate::relayed::{RelayedId, RelayedTransport};
use crate::reservation::ReservationToken;
use crate::time::Instant;

pub(crate) mod table;

/// Names an allocation within its relay while it lives; the number is used again afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AllocationId(pub(crate) u32);

impl AllocationId {
    /// A small number: the host may index a table with it.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Who holds an allocation.
// compliance: 8656-6-02, 8656-6-03
#[derive(Clone)]
pub(crate) struct Owner {
    /// As the client spelled it; every later request must spell it so (RFC 8656 §5).
    pub(crate) username: Arc<str>,
    pub(crate) keys: UserKeys,
    /// When a REST credential expires, in seconds since 1970; `None` for a static user.
    pub(crate) expiry: Option<u64>,
    /// The keyed state of the MD5 key: what nearly all requests are signed with.
    pub(crate) integrity: IntegrityKey,
}

/// Packets and bytes relayed for one allocation; payload only, headers not counted. Of TCP, bytes only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    pub packets_to_peers: u64,
    pub bytes_to_peers: u64,
    pub packets_to_client: u64,
    pub bytes_to_client: u64,
}

/// One relayed transport address of an allocation. The two of a dual allocation are refreshed and deleted together or one by
/// one (RFC 8656 §8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lease {
    pub(crate) id: RelayedId,
    pub(crate) expires: Instant,
}

/// Why a dual allocation lacks an address of one family: the content of ADDRESS-ERROR-CODE (RFC 8656 §18.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AddressError {
    pub(crate) family: AddressFamily,
    pub(crate) code: u16,
}

pub(crate) struct Allocation {
    pub(crate) path: ClientPath,
    /// `None` where the server lets anyone relay.
    pub(crate) owner: Option<Owner>,
    /// Holds the allocation's place in the quotas.
    pub(crate) ticket: quota::Ticket,
    pub(crate) relayed: Families<Lease>,
    pub(crate) transport: RelayedTransport,
    pub(crate) created: Instant,
    /// When the last of its relayed transport addresses expires, and the allocation with it.
    pub(crate) expires: Instant,
    /// The Allocate request that made it, so that a retransmission is answered alike (RFC 8656 §7.2).
    pub(crate) transaction: TransactionId,
    /// What that request was granted, in seconds.
    pub(crate) granted_lifetime_seconds: u32,
    /// What that request was told about a family that it did not get.
    pub(crate) address_error: Option<AddressError>,
    /// The token of the port that was reserved along with it.
    pub(crate) reservation: Option<ReservationToken>,
    pub(crate) permissions: Permissions,
    pub(crate) channels: Channels,
    pub(crate) traffic: Traffic,
    /// `Some` if its rate is limited.
    pub(crate) shaper: Option<Box<Shaper>>,
    /// `Some` if the client has asked to be able to move.
    pub(crate) mobility: Option<Box<Mobility>>,
}

impl Allocation {
    /// When something of it next expires.
    pub(crate) fn next_expiry(&self) -> Instant {
        [self.permissions.next_expiry(), self.channels.next_expiry()]
            .into_iter()
            .flatten()
            .chain(self.relayed.iter().map(|lease| lease.expires))
            .fold(self.expires, Instant::min)
    }

    /// Prolongs, or shortens, the relayed transport address of this family; without one, all of them.
    pub(crate) fn refresh(&mut self, only: Option<AddressFamily>, expires: Instant) {
        match only {
            Some(family) => {
                let id = self.relayed.of(family).map(|lease| lease.id);
                self.relayed.set(family, id.map(|id| Lease { id, expires }));
            }
            None => self.relayed.iter_mut().for_each(|l| l.expires = expires),
        }
        self.settle_expiry();
    }

    /// Takes out the relayed transport address of this family, with the permissions and channels that need it (RFC 8656 §8.2).
    pub(crate) fn remove_family(&mut self, family: AddressFamily) -> Option<Lease> {
        let lease = self.relayed.take(family)?;
        self.permissions.remove_family(family);
        self.channels.remove_family(family);
        self.settle_expiry();
        Some(lease)
    }

    /// True if this relayed transport address is one of the allocation's and has not expired.
    pub(crate) fn has_live(&self, id: RelayedId, now: Instant) -> bool {
        self.relayed
            .iter()
            .any(|lease| lease.id == id && lease.expires > now)
    }

    /// A family whose address has expired while another has not.
    pub(crate) fn expired_family(&self, now: Instant) -> Option<AddressFamily> {
        let has_expired = |family: &AddressFamily| {
            self.relayed
                .of(*family)
                .is_some_and(|lease| lease.expires <= now)
        };
        [AddressFamily::V4, AddressFamily::V6]
            .into_iter()
            .find(has_expired)
    }

    fn settle_expiry(&mut self) {
        let last = self.relayed.iter().map(|lease| lease.expires).max();
        self.expires = last.unwrap_or(self.expires);
    }

    pub(crate) fn username(&self) -> Option<&Arc<str>> {
        self.owner.as_ref().map(|owner| &owner.username)
    }
}

impl Traffic {
    pub(crate) const NONE: Self = Self {
        packets_to_peers: 0,
        bytes_to_peers: 0,
        packets_to_client: 0,
        bytes_to_client: 0,
    };

    #[inline]
    pub(crate) fn count_to_peer(&mut self, packets: usize, bytes: usize) {
        self.packets_to_peers = self.packets_to_peers.wrapping_add(packets as u64);
        self.bytes_to_peers = self.bytes_to_peers.wrapping_add(bytes as u64);
    }

    #[inline]
    pub(crate) fn count_to_client(&mut self, packets: usize, bytes: usize) {
        self.packets_to_client = self.packets_to_client.wrapping_add(packets as u64);
        self.bytes_to_client = self.bytes_to_client.wrapping_add(bytes as u64);
    }

    pub(crate) const fn add(&mut self, more: &Self) {
        self.packets_to_peers = self.packets_to_peers.wrapping_add(more.packets_to_peers);
        self.bytes_to_peers = self.bytes_to_peers.wrapping_add(more.bytes_to_peers);
        self.packets_to_client = self.packets_to_client.wrapping_add(more.packets_to_client);
        self.bytes_to_client = self.bytes_to_client.wrapping_add(more.bytes_to_client);
    }
}
