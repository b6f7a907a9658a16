//! The TURN server as a deterministic state machine.
//!
//! [`Relay`] owns allocations, permissions, channels, authentication, peer policy and quotas (RFC 8656, RFC 8489). It knows
//! no socket, no clock, no runtime and no file format: time is the parameter `now`, randomness comes from a seed, and what is to
//! be sent leaves as a [`Decision`] about the caller's own buffer.
//!
//! # Contract
//!
//! 1. Hand each input to a `handle_*` method and do what the [`Decision`] says.
//! 2. Then take all of [`Relay::poll_event`].
//! 3. Sleep no longer than [`Relay::poll_timeout`], then call [`Relay::handle_timeout`].
//!
//! The same inputs give the same outputs, bytes included, and [`Relay::snapshot`] may be taken between any two of them.
//!
//! # Panics
//!
//! Never on input. Each packet is relayed, answered, or dropped for a counted [`DropReason`]. Methods that check
//! invariants panic when one is broken, which is a bug of this crate.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
    )
)]

mod address;
mod allocation;
mod alternate;
mod auth;
mod bandwidth;
mod channel;
mod config;
mod event;
mod forward;
mod icmp;
mod mobility;
mod nat_discovery;
mod packet;
mod peer_policy;
mod permission;
mod quota;
mod rate_limit;
mod reject;
mod relay;
mod relayed;
mod request;
mod reservation;
mod response;
mod session;
mod slots;
mod snapshot;
mod stats;
mod strict_expiry;
mod tcp_relay;
mod time;
mod timer;

pub use address::{
    ClientAddress, ClientPath, Families, FiveTuple, PeerAddress, ServerAddress, Transport,
};
pub use allocation::{AllocationId, Traffic};
pub use alternate::Alternates;
pub use auth::nonce::NonceKey;
pub use auth::users::{UserKeys, Users};
pub use auth::{Credentials, PasswordFit, SharedSecret, Unauthorized};
pub use bandwidth::Bucket;
pub use channel::ChannelBinding;
pub use config::{Config, DefaultFamily, Lifetimes, Services};
pub use event::{EndReason, Event};
pub use nat_discovery::NatDiscovery;
pub use packet::{
    BundleDecision, BundleSize, Decision, HEADROOM, Handover, Packet, Span, TAILROOM,
};
pub use peer_policy::{
    Denial, PeerPolicy, PeerRule, SpecialRange, Verdict, embedded_ipv4, special_ranges,
};
pub use permission::{Permission, Reach};
pub use quota::{Exceeded, Limits, Quota, Ticket};
pub use rate_limit::{Rate, RateLimiter};
pub use reject::Reject;
pub use relay::Relay;
pub use relayed::{
    Live, OpenError, PortUsage, RelayAddress, RelaySockets, RelayedId, RelayedPorts,
    RelayedTransport, SHARDS_MAX, ShardId,
};
pub use reservation::ReservationToken;
pub use session::{Session, SessionChannel, SessionPermission};
pub use snapshot::{RestoreError, Snapshot};
pub use stats::{DropReason, REJECT_CODES, Stats};
pub use strict_expiry::StrictExpiry;
pub use tcp_relay::{CONNECT_TIMEOUT, ConnectionId, Incoming, LateAnswer, TcpRelay};
pub use time::{Instant, Now};
