//! Counters: one for each way a packet can end.

/// What one relay has done since it was made. Written by one thread; the host copies it out for its readers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Payloads relayed from clients to peers.
    pub packets_to_peers: u64,
    pub bytes_to_peers: u64,
    /// Payloads relayed from peers to clients.
    pub packets_to_clients: u64,
    pub bytes_to_clients: u64,
    /// Payloads handed from one allocation of the server to another, counted by the relay of the second; also counted in
    /// the four above.
    pub packets_hairpin: u64,
    /// Binding requests answered.
    pub bindings: u64,
    /// Success answers but for Binding.
    pub successes: u64,
    /// Allocations made.
    pub allocations: u64,
    /// Rejections, and Binding requests where they are told, that were not told to the log because it could not keep up.
    pub unreported_rejects: u64,
    drops: [u64; DropReason::ALL.len()],
    rejects: [u64; REJECT_CODES.len()],
}

impl Stats {
    /// Packets dropped for this reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops.get(reason as usize).copied().unwrap_or(0)
    }

    /// Error answers with this code.
    pub fn rejected(&self, code: u16) -> u64 {
        let at = REJECT_CODES.iter().position(|&c| c == code);
        at.and_then(|at| self.rejects.get(at)).copied().unwrap_or(0)
    }

    /// Adds the counts of another relay.
    pub fn add(&mut self, other: &Self) {
        let sums = [
            (&mut self.packets_to_peers, other.packets_to_peers),
            (&mut self.bytes_to_peers, other.bytes_to_peers),
            (&mut self.packets_to_clients, other.packets_to_clients),
            (&mut self.bytes_to_clients, other.bytes_to_clients),
            (&mut self.packets_hairpin, other.packets_hairpin),
            (&mut self.bindings, other.bindings),
            (&mut self.successes, other.successes),
            (&mut self.allocations, other.allocations),
            (&mut self.unreported_rejects, other.unreported_rejects),
        ];
        let drops = self.drops.iter_mut().zip(other.drops);
        let rejects = self.rejects.iter_mut().zip(other.rejects);
        for (sum, count) in sums.into_iter().chain(drops).chain(rejects) {
            *sum = sum.wrapping_add(count);
        }
    }

    #[inline]
    pub(crate) fn count_to_peers(&mut self, packets: usize, bytes: usize) {
        self.packets_to_peers = self.packets_to_peers.wrapping_add(packets as u64);
        self.bytes_to_peers = self.bytes_to_peers.wrapping_add(bytes as u64);
    }

    #[inline]
    pub(crate) fn count_to_clients(&mut self, packets: usize, bytes: usize) {
        self.packets_to_clients = self.packets_to_clients.wrapping_add(packets as u64);
        self.bytes_to_clients = self.bytes_to_clients.wrapping_add(bytes as u64);
    }

    #[inline]
    pub(crate) fn count_drop(&mut self, reason: DropReason) {
        if let Some(count) = self.drops.get_mut(reason as usize) {
            *count = count.wrapping_add(1);
        }
    }

    pub(crate) fn count_reject(&mut self, code: u16) {
        let at = REJECT_CODES.iter().position(|&c| c == code);
        if let Some(count) = at.and_then(|at| self.rejects.get_mut(at)) {
            *count = count.wrapping_add(1);
        }
    }
}

/// Error codes that the server answers with (RFC 8489 §14.8, RFC 8656 §19, RFC 6062 §6.3).
pub const REJECT_CODES: [u16; 16] = [
    300, 400, 401, 403, 405, 420, 437, 438, 440, 441, 442, 443, 446, 447, 486, 508,
];

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $variant:ident => $name:literal,)*) => {
        /// Why a packet was dropped without an answer.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum DropReason {
            $($(#[$doc])* $variant,)*
        }

        impl DropReason {
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            /// The counter's name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

drop_reasons! {
    /// From a client: neither STUN nor ChannelData, or broken (RFC 8489 §6.3).
    Malformed => "drop_malformed",
    /// From a client: a response, or an indication that no client sends. Answering could start a loop.
    UnexpectedClass => "drop_unexpected_class",
    /// From a client: a method that is unknown or switched off.
    UnexpectedMethod => "drop_unexpected_method",
    /// From a client: `stun-only`, `no-stun` or the like speaks against it.
    Disabled => "drop_disabled",
    /// From a client: data, but its five-tuple has no allocation.
    NoAllocation => "drop_no_allocation",
    /// From a client: the channel is not bound.
    NoChannel => "drop_no_channel",
    /// Either way: no permission for the peer's address.
    NoPermission => "drop_no_permission",
    /// From a client: a Send indication without what it needs, or with an unknown attribute (RFC 8656 §11.2).
    BadIndication => "drop_bad_indication",
    /// From a client: the allocation has no relayed transport address of the peer's family.
    PeerFamily => "drop_peer_family",
    /// Either way: one of the server's own addresses, but no live relayed transport address.
    OwnAddress => "drop_own_address",
    /// From a peer or another shard: the relayed transport address has just been given up.
    NoRelayed => "drop_no_relayed",
    /// From a peer: a TCP connection from an address that the peer policy refuses by now.
    PeerDenied => "drop_peer_denied",
    /// From a peer: one TCP connection more than the allocation, or the shard, may have.
    ConnectionsFull => "drop_connections_full",
    /// Either way: more than the allocation may send in this direction.
    Rate => "drop_rate",
    /// Either way: a header did not fit in front of the payload.
    TooLarge => "drop_too_large",
    /// From the way to a peer: an ICMP error of a type that clients are not told (RFC 8656 §11.5).
    IcmpType => "drop_icmp_type",
    /// From a client: the source has had its share of unauthenticated answers.
    UnauthorizedRate => "drop_unauthorized_rate",
    /// From a client: the answer would have been too much larger than the unauthenticated request.
    Amplification => "drop_amplification",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter_and_name() {
        let mut stats = Stats::default();
        for (i, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, i);
            assert!(reason.name().starts_with("drop_"));
            stats.count_drop(reason);
            assert_eq!(stats.dropped(reason), 1);
        }
        let mut names: Vec<_> = DropReason::ALL.iter().map(|r| r.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DropReason::ALL.len());
    }
}
