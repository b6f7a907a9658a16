//! Why a request is refused, and what the client is told.

use core::fmt;
use std::net::SocketAddr;

use thiserror::Error;
use turnbuckle_proto::{AttributeError, UnknownAttributes};

use crate::auth::Unauthorized;
use crate::peer_policy::Denial;
use crate::quota::Exceeded;

/// A refused request. The text is for the operator's log; the client gets the code.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Reject {
    #[error("{0}")]
    BadRequest(&'static str),
    #[error("{0}")]
    BadAttribute(AttributeError),
    #[error("{0}")]
    Unauthorized(Unauthorized),
    #[error("peer {peer} is refused by {denial}")]
    Forbidden { peer: SocketAddr, denial: Denial },
    #[error("clients behind 6to4 and Teredo are not served: packets could be made to loop")]
    TunnelledClient,
    #[error("allocations for UDP are switched off")]
    UdpSwitchedOff,
    #[error("the allocation already has {limit} {what}")]
    TooMany { what: &'static str, limit: usize },
    #[error("allocations do not move")]
    MobilityForbidden,
    #[error("attributes that this server does not know:{}", List(.0))]
    UnknownAttributes(UnknownAttributes),
    #[error("sent to {0}")]
    TryAlternate(SocketAddr),
    #[error("the five-tuple has an allocation already")]
    AllocationExists,
    #[error("the five-tuple has no allocation")]
    NoAllocation,
    #[error("the nonce is too old, or was made for another address")]
    StaleNonce,
    #[error("the server has no relay address of the requested family")]
    AddressFamilyNotSupported,
    #[error("the allocation belongs to another user")]
    WrongCredentials,
    #[error("this transport is not relayed")]
    UnsupportedTransport,
    #[error("peer {0} is not of the allocation's address family")]
    PeerFamilyMismatch(SocketAddr),
    #[error("the allocation has no address of the named family")]
    FamilyNotAllocated,
    #[error("there is a connection with this peer already")]
    ConnectionExists,
    #[error("the peer cannot be connected to")]
    ConnectionFailed,
    #[error("{0}")]
    QuotaReached(Exceeded),
    #[error("no relay port can be had")]
    InsufficientCapacity,
    #[error("the server is being drained and takes no new allocations")]
    Draining,
}

impl Reject {
    /// The error code (RFC 8489 §14.8, RFC 8656 §19, RFC 6062 §6.3).
    pub const fn code(&self) -> u16 {
        match self {
            Self::TryAlternate(_) => 300,
            Self::BadRequest(_) | Self::BadAttribute(_) => 400,
            Self::Unauthorized(_) => 401,
            Self::Forbidden { .. } | Self::TunnelledClient | Self::UdpSwitchedOff => 403,
            Self::MobilityForbidden => 405,
            Self::UnknownAttributes(_) => 420,
            Self::AllocationExists | Self::NoAllocation => 437,
            Self::StaleNonce => 438,
            Self::AddressFamilyNotSupported => 440,
            Self::WrongCredentials => 441,
            Self::UnsupportedTransport => 442,
            Self::PeerFamilyMismatch(_) | Self::FamilyNotAllocated => 443,
            Self::ConnectionExists => 446,
            Self::ConnectionFailed => 447,
            Self::QuotaReached(_) => 486,
            Self::InsufficientCapacity | Self::Draining | Self::TooMany { .. } => 508,
        }
    }

    /// The registered reason phrase of the code.
    // compliance: 8489-6.3.1.1-02
    pub const fn phrase(&self) -> &'static str {
        phrase(self.code())
    }

    /// True where the client needs REALM and NONCE to try (again).
    pub(crate) const fn is_challenge(&self) -> bool {
        matches!(self, Self::Unauthorized(_) | Self::StaleNonce)
    }

    /// True for what happens in every client's life and is no news.
    pub(crate) const fn is_routine(&self) -> bool {
        matches!(
            self,
            Self::Unauthorized(Unauthorized::Challenge) | Self::TryAlternate(_)
        )
    }
}

/// The registered reason phrase of a code that the server answers with.
pub(crate) const fn phrase(code: u16) -> &'static str {
    match code {
        300 => "Try Alternate",
        400 => "Bad Request",
        401 => "Unauthenticated",
        403 => "Forbidden",
        405 => "Mobility Forbidden",
        420 => "Unknown Attribute",
        437 => "Allocation Mismatch",
        438 => "Stale Nonce",
        440 => "Address Family not Supported",
        441 => "Wrong Credentials",
        442 => "Unsupported Transport Protocol",
        443 => "Peer Address Family Mismatch",
        446 => "Connection Already Exists",
        447 => "Connection Timeout or Failure",
        486 => "Allocation Quota Reached",
        _ => "Insufficient Capacity",
    }
}

/// The attributes one behind the other, each after a blank.
struct List<'a>(&'a UnknownAttributes);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|a| write!(f, " {a}"))
    }
}

impl From<AttributeError> for Reject {
    fn from(error: AttributeError) -> Self {
        Self::BadAttribute(error)
    }
}
