//! Data between clients and peers (RFC 8656 §11 and §12): the per-packet file.
//!
//! Nothing here allocates, locks, logs or copies a payload.

use std::net::SocketAddr;

use rand_core::Rng;
use turnbuckle_proto::{
    AttributeType, CHANNEL_DATA_HEADER_LEN, ChannelData, IndicationHeader, Message, Method,
    TransactionId, channel_data, indication,
};

use crate::address::{ClientPath, PeerAddress, family};
use crate::allocation::{Allocation, AllocationId};
use crate::packet::{Decision, Handover, Packet, Span};
use crate::permission::Reach;
use crate::relay::Relay;
use crate::relayed::RelayedId;
use crate::stats::DropReason;
use crate::time::Instant;

impl Relay {
    /// ChannelData from a client (RFC 8656 §12.6).
    #[inline]
    pub(crate) fn channel_data(
        &mut self,
        now: Instant,
        path: &ClientPath,
        packet: Packet<'_>,
    ) -> Decision {
        let Ok(data) = ChannelData::decode(packet.payload()) else {
            return self.drop(DropReason::Malformed);
        };
        let (number, len) = (data.number, data.payload.len());
        let Some(payload) = packet.span().part(CHANNEL_DATA_HEADER_LEN, len) else {
            return self.drop(DropReason::Malformed);
        };
        let Some(id) = self.allocations.find(&path.five_tuple) else {
            return self.drop(DropReason::NoAllocation);
        };
        let channel = self
            .allocations
            .get(id)
            .filter(|allocation| allocation.expires > now)
            .map(|allocation| allocation.channels.by_number(number, now));
        match channel {
            None => self.drop(DropReason::NoAllocation),
            Some(None) => self.drop(DropReason::NoChannel),
            Some(Some(channel)) => {
                let peer = channel.peer;
                // RFC 8656 §12: there is no way to ask for DF in ChannelData.
                self.relay_to_peer(now, id, peer, payload, false, packet)
            }
        }
    }

    /// Which allocation, which peer and which part of the packet a Send indication speaks of (RFC 8656 §11.2).
    #[inline]
    pub(crate) fn read_send_indication(
        &self,
        now: Instant,
        path: &ClientPath,
        message: &Message<'_>,
        packet_span: Span,
    ) -> Result<(AllocationId, PeerAddress, Span), DropReason> {
        let Some(id) = self.allocations.find(&path.five_tuple) else {
            return Err(DropReason::NoAllocation);
        };
        if self.allocations.get(id).is_none_or(|a| a.expires <= now) {
            return Err(DropReason::NoAllocation);
        }
        // RFC 8489 §6.3.2: unknown comprehension-required attributes discard an indication.
        if !message.unknown_required(is_known_in_send).is_empty() {
            return Err(DropReason::BadIndication);
        }
        let (Ok(Some(peer)), Some(data), Some(offset)) = (
            message.peer_address(),
            message.data(),
            message.data_offset(),
        ) else {
            return Err(DropReason::BadIndication);
        };
        let Some(payload) = packet_span.part(offset, data.len()) else {
            return Err(DropReason::Malformed);
        };
        let peer = PeerAddress(self.ports.as_advertised(peer));
        Ok((id, peer, payload))
    }

    /// A payload on its way to a peer: permission first, then out of the relayed transport address, or straight to the
    /// allocation that the peer address belongs to.
    #[inline]
    pub(crate) fn relay_to_peer(
        &mut self,
        now: Instant,
        id: AllocationId,
        peer: PeerAddress,
        payload: Span,
        dont_fragment: bool,
        packet: Packet<'_>,
    ) -> Decision {
        let Some(allocation) = self.allocations.get_mut(id) else {
            return self.drop(DropReason::NoAllocation);
        };
        let ip = peer.0.ip();
        let Some(permission) = allocation.permissions.find(ip, now) else {
            return self.drop(DropReason::NoPermission);
        };
        let reach = permission.reach;
        let relayed = match allocation.relayed.of(family(ip)) {
            Some(lease) if lease.expires > now => lease.id,
            _ => return self.drop(DropReason::PeerFamily),
        };
        // False for the ordinary peer, without looking at the server's addresses.
        if reach == Reach::RelayedOnly
            || (self.host_is_opened && self.config.policy.is_host(ip, &self.ports))
        {
            let decision = self.relay_to_self(now, relayed, peer.0, reach, payload, packet);
            if !matches!(decision, Decision::Drop(_))
                && let Some(allocation) = self.allocations.get_mut(id)
            {
                allocation.traffic.count_to_peer(payload.len());
                self.stats.count_to_peers(payload.len());
            }
            return decision;
        }
        allocation.traffic.count_to_peer(payload.len());
        self.stats.count_to_peers(payload.len());
        Decision::ToPeer {
            relayed,
            peer: peer.0,
            bytes: payload,
            dont_fragment: dont_fragment && ip.is_ipv4(),
        }
    }

    /// A datagram that arrived at a relayed transport address (RFC 8656 §11.3 and §12.7).
    #[inline]
    pub(crate) fn relay_from_peer(
        &mut self,
        now: Instant,
        relayed: RelayedId,
        peer: SocketAddr,
        packet: Packet<'_>,
    ) -> Decision {
        let Some(id) = self.relayed.get(relayed.0).and_then(|r| r.allocation) else {
            return self.drop(DropReason::NoRelayed);
        };
        let payload = packet.span();
        // Whoever is at a local relay address is known to clients by the advertised one.
        let peer = self.ports.as_advertised(peer);
        self.relay_to_client(now, id, peer, payload, packet)
    }

    /// Data for a relayed transport address of this relay, from one of another shard: what a datagram between them is.
    #[inline]
    pub(crate) fn relay_from_shard(
        &mut self,
        now: Instant,
        to: &Handover,
        packet: Packet<'_>,
    ) -> Decision {
        // The number may have been given up, and used again, while the data was on its way.
        let destination = self.relayed.get(to.relayed.0);
        let destination = destination.filter(|r| r.claim.local == to.local);
        let Some(id) = destination.and_then(|r| r.allocation) else {
            return self.drop(DropReason::NoRelayed);
        };
        let payload = packet.span();
        let decision = self.relay_to_client(now, id, to.source, payload, packet);
        self.count_hairpin(&decision);
        decision
    }

    /// A payload on its way to a client, from a peer under the address that clients know it by.
    #[inline]
    fn relay_to_client(
        &mut self,
        now: Instant,
        id: AllocationId,
        peer: SocketAddr,
        payload: Span,
        mut packet: Packet<'_>,
    ) -> Decision {
        // The datagram arrived at the address of the peer's own family.
        let lives = |allocation: &&mut Allocation| {
            let lease = allocation.relayed.of(family(peer.ip()));
            lease.is_some_and(|lease| lease.expires > now)
        };
        let Some(allocation) = self.allocations.get_mut(id).filter(lives) else {
            return self.drop(DropReason::NoAllocation);
        };
        let Some(permission) = allocation.permissions.find(peer.ip(), now) else {
            return self.drop(DropReason::NoPermission);
        };
        if permission.reach == Reach::RelayedOnly && self.ports.find(peer).is_none() {
            return self.drop(DropReason::OwnAddress);
        }
        let path = allocation.path;
        let wrapped = match allocation.channels.by_peer(PeerAddress(peer), now) {
            Some(channel) => u16::try_from(payload.len()).ok().and_then(|len| {
                let header = channel_data::header(channel.number, len);
                // RFC 8656 §12.5: padding is a must on streams and left out in datagrams.
                let padding = if path.five_tuple.transport.is_stream() {
                    channel_data::padded_len(len).saturating_sub(payload.len())
                } else {
                    0
                };
                packet.wrap(payload, &header, padding)
            }),
            None => {
                let mut transaction = [0; 12];
                self.rng.fill_bytes(&mut transaction);
                IndicationHeader::new(
                    Method::DATA,
                    TransactionId(transaction),
                    peer,
                    payload.len(),
                )
                .and_then(|header| {
                    let padding = indication::padding(payload.len());
                    packet.wrap(payload, header.as_bytes(), padding)
                })
            }
        };
        let Some(bytes) = wrapped else {
            return self.drop(DropReason::TooLarge);
        };
        allocation.traffic.count_to_client(payload.len());
        self.stats.count_to_clients(payload.len());
        Decision::ToClient { path, bytes }
    }

    /// What becomes of a payload for an address of this host.
    fn relay_to_self(
        &mut self,
        now: Instant,
        from: RelayedId,
        peer: SocketAddr,
        reach: Reach,
        payload: Span,
        packet: Packet<'_>,
    ) -> Decision {
        let Some(live) = self.ports.find(peer) else {
            // Never into a listener or another service of this host, unless the operator opened the address, and even
            // then not back into this server.
            if reach == Reach::RelayedOnly || self.config.policy.is_listener(peer, &self.ports) {
                return self.drop(DropReason::OwnAddress);
            }
            return Decision::ToPeer {
                relayed: from,
                peer: self.ports.as_local(peer),
                bytes: payload,
                dont_fragment: false,
            };
        };
        let Some(source) = self.relayed.get(from.0).map(|r| r.claim.advertised) else {
            return self.drop(DropReason::NoRelayed);
        };
        if live.shard != self.shard {
            return Decision::ToShard {
                to: Handover {
                    shard: live.shard,
                    relayed: live.relayed,
                    local: live.local,
                    source,
                },
                bytes: payload,
            };
        }
        let Some(to) = self.relayed.get(live.relayed.0).and_then(|r| r.allocation) else {
            return self.drop(DropReason::NoRelayed);
        };
        let decision = self.relay_to_client(now, to, source, payload, packet);
        self.count_hairpin(&decision);
        decision
    }

    /// Counted where the data meets its client.
    #[inline]
    fn count_hairpin(&mut self, decision: &Decision) {
        if matches!(decision, Decision::ToClient { .. }) {
            self.stats.packets_hairpin = self.stats.packets_hairpin.wrapping_add(1);
        }
    }
}

/// What a Send indication may carry; anything else that must be understood discards it.
const fn is_known_in_send(attribute: AttributeType) -> bool {
    matches!(
        attribute,
        AttributeType::XOR_PEER_ADDRESS | AttributeType::DATA | AttributeType::DONT_FRAGMENT
    )
}
