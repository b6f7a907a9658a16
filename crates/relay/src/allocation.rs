//! One allocation: a client's lease of relayed transport addresses (RFC 8656 §6).

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use turnbuckle_proto::{IntegrityKey, LongTermKey, TransactionId};

use crate::address::{ClientPath, Families};
use crate::channel::Channels;
use crate::permission::Permissions;
use crate::quota;
use crate::relayed::RelayedId;
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
#[derive(Clone)]
pub(crate) struct Owner {
    /// As the client spelled it; every later request must spell it so (RFC 8656 §5).
    pub(crate) username: Arc<str>,
    pub(crate) long_term_key: LongTermKey,
    /// The keyed state of the same key.
    pub(crate) integrity: IntegrityKey,
}

/// Packets and bytes relayed for one allocation; payload only, headers not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    pub packets_to_peers: u64,
    pub bytes_to_peers: u64,
    pub packets_to_client: u64,
    pub bytes_to_client: u64,
}

pub(crate) struct Allocation {
    pub(crate) path: ClientPath,
    /// `None` where the server lets anyone relay.
    pub(crate) owner: Option<Owner>,
    /// Holds the allocation's place in the quotas.
    pub(crate) ticket: quota::Ticket,
    pub(crate) relayed: Families<RelayedId>,
    pub(crate) created: Instant,
    pub(crate) expires: Instant,
    /// The Allocate request that made it, so that a retransmission is answered alike (RFC 8656 §7.2).
    pub(crate) transaction: TransactionId,
    /// What that request was granted, in seconds.
    pub(crate) granted_lifetime_seconds: u32,
    /// The token of the port that was reserved along with it.
    pub(crate) reservation: Option<ReservationToken>,
    pub(crate) permissions: Permissions,
    pub(crate) channels: Channels,
    pub(crate) traffic: Traffic,
}

impl Allocation {
    /// When something of it next expires.
    pub(crate) fn next_expiry(&self) -> Instant {
        [self.permissions.next_expiry(), self.channels.next_expiry()]
            .into_iter()
            .flatten()
            .fold(self.expires, Instant::min)
    }

    pub(crate) fn username(&self) -> Option<&Arc<str>> {
        self.owner.as_ref().map(|owner| &owner.username)
    }
}

impl Traffic {
    #[inline]
    pub(crate) fn count_to_peer(&mut self, bytes: usize) {
        self.packets_to_peers = self.packets_to_peers.wrapping_add(1);
        self.bytes_to_peers = self.bytes_to_peers.wrapping_add(bytes as u64);
    }

    #[inline]
    pub(crate) fn count_to_client(&mut self, bytes: usize) {
        self.packets_to_client = self.packets_to_client.wrapping_add(1);
        self.bytes_to_client = self.bytes_to_client.wrapping_add(bytes as u64);
    }
}
