//! What happened to allocations: the one account of it that log, metrics, journal and kernel fast path all follow.

use core::time::Duration;
use std::net::SocketAddr;
use std::sync::Arc;

use turnbuckle_proto::{AddressFamily, Method};

use crate::address::{ClientPath, Families, PeerAddress};
use crate::allocation::{AllocationId, Traffic};
use crate::permission::Permission;
use crate::reject::Reject;
use crate::time::Instant;

/// One change, in the order in which they happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    AllocationCreated {
        id: AllocationId,
        path: ClientPath,
        username: Option<Arc<str>>,
        /// As clients know them.
        relayed: Families<SocketAddr>,
        expires: Instant,
    },
    AllocationRefreshed {
        id: AllocationId,
        /// The family whose relayed transport address was refreshed; `None` for all that the allocation has.
        family: Option<AddressFamily>,
        expires: Instant,
    },
    /// One relayed transport address of two is given up, and with it the permissions and channels for peers of its family. The
    /// allocation goes on with the other.
    AddressDeleted {
        id: AllocationId,
        /// As clients know it.
        relayed: SocketAddr,
        why: EndReason,
    },
    /// The client is reached by another path from now on (RFC 8016).
    AllocationMoved {
        id: AllocationId,
        from: ClientPath,
        to: ClientPath,
    },
    /// Its permissions and channels are gone with it.
    AllocationDeleted {
        id: AllocationId,
        path: ClientPath,
        username: Option<Arc<str>>,
        relayed: Families<SocketAddr>,
        why: EndReason,
        lasted: Duration,
        traffic: Traffic,
        /// What was dropped because it came faster than the allocation may send.
        shaped: Traffic,
    },
    PermissionInstalled {
        id: AllocationId,
        permission: Permission,
        new: bool,
    },
    PermissionExpired {
        id: AllocationId,
        permission: Permission,
    },
    ChannelBound {
        id: AllocationId,
        number: u16,
        peer: PeerAddress,
        expires: Instant,
        new: bool,
    },
    ChannelExpired {
        id: AllocationId,
        number: u16,
        peer: PeerAddress,
    },
    /// A Binding request was answered; told only where [`Config::tell_bindings`](crate::Config::tell_bindings) asks for it.
    Bound { path: ClientPath },
    /// A request was refused. Challenges are not told: they are part of every session. A stale nonce is, and is no news either: the
    /// request was genuine, and the client tries again with a fresh one.
    Rejected {
        path: ClientPath,
        method: Method,
        /// As the client claims, where it claims something readable; shortened.
        username: Option<Arc<str>>,
        reject: Reject,
    },
}

/// Why an allocation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The client asked for it: Refresh with a lifetime of zero.
    Deleted,
    /// The client did not refresh in time.
    Expired,
    /// The client's connection is closed.
    Disconnected,
    /// The server stops.
    Ended,
    /// The operator ended it.
    Operator,
    /// The operator does not want this user any more.
    Revoked,
    /// The credential that made it has expired, and the operator wants allocations to end with their credentials.
    CredentialExpired,
}

impl EndReason {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deleted => "deleted by client",
            Self::Expired => "expired",
            Self::Disconnected => "client disconnected",
            Self::Ended => "ended by server",
            Self::Operator => "ended by operator",
            Self::Revoked => "user revoked",
            Self::CredentialExpired => "credential expired",
        }
    }
}
