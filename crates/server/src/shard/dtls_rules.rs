//! How many DTLS clients a shard bears, and for how long.

use std::time::Duration;

/// What holds for the DTLS clients of a shard.
#[derive(Clone, Debug)]
pub(crate) struct DtlsRules {
    /// Plain UDP clients are not served (`no-udp`).
    pub(crate) alone: bool,
    /// Sessions of this shard.
    pub(crate) sessions_max: usize,
    /// Half-open handshakes of this shard.
    pub(crate) half_open_max: usize,
    /// The same for one source: an IPv4 address or an IPv6 /64.
    pub(crate) half_open_per_source_max: usize,
    /// How long a session may be without an allocation.
    pub(crate) allocate_timeout: Duration,
}

impl Default for DtlsRules {
    fn default() -> Self {
        Self {
            alone: false,
            sessions_max: 10_000,
            half_open_max: 256,
            half_open_per_source_max: 32,
            allocate_timeout: Duration::from_secs(60),
        }
    }
}
