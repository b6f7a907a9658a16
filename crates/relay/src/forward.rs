//! Data between clients and peers (RFC 8656 §11 and §12): the per-packet file.
//!
//! Nothing here allocates, locks, logs or copies a payload.

use std::net::SocketAddr;

use rand_core::Rng;
use turnbuckle_proto::{
    AttributeType, CHANNEL_DATA_HEADER_LEN, ChannelData, IndicationHeader, Message, Method,
    TransactionId, channel_data, indication,
};

use crate::address::{ClientPath, PeerAddress, Transport, family};
use crate::allocation::{Allocation, AllocationId};
use crate::packet::{BundleDecision, BundleSize, Decision, Handover, Packet, Span};
use crate::permission::Reach;
use crate::relay::Relay;
use crate::relayed::{RelayedId, RelayedTransport, ShardId};
use crate::stats::DropReason;
use crate::time::Instant;

impl Relay {
    /// ChannelData from a client (RFC 8656 §12.6).
    // compliance: 8656-12.6-02, 8656-12.6-03, 8656-12.6-04, 8656-12.6-05, 8656-5-07
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
                self.note_path(id, path);
                // RFC 8656 §12: there is no way to ask for DF in ChannelData.
                self.relay_to_peer(now, id, peer, payload, false, packet)
            }
        }
    }

    /// Which allocation, which peer and which part of the packet a Send indication speaks of (RFC 8656 §11.2).
    // compliance: 8489-6.3.2-01, 8656-11.2-01, 8656-5-07
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
        let allocation = self.allocations.get(id);
        let Some(allocation) = allocation.filter(|a| a.expires > now) else {
            return Err(DropReason::NoAllocation);
        };
        // A TCP allocation has connections instead of datagrams (RFC 6062 §5).
        if allocation.transport == RelayedTransport::Tcp {
            return Err(DropReason::BadIndication);
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

    /// Notes that the client has sent data over this path, which ends a move.
    #[inline]
    pub(crate) fn note_path(&mut self, id: AllocationId, path: &ClientPath) {
        if self
            .allocations
            .get(id)
            .is_some_and(|a| a.next_path().is_some())
        {
            self.arrive(id, path);
        }
    }

    /// A payload on its way to a peer: permission first, then out of the relayed transport address, or straight to the
    /// allocation that the peer address belongs to.
    // compliance: 8656-11.2-03, 8656-11.2-04, 8656-13.1-01, 8656-13.2-04, 8656-14-04
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
        if !allocation.admit_to_peer(now, payload.len()) {
            return self.drop(DropReason::Rate);
        }
        // False for the ordinary peer, without looking at the server's addresses.
        if reach == Reach::RelayedOnly
            || (self.host_is_opened && self.config.policy.is_host(ip, &self.ports))
        {
            let decision = self.relay_to_self(now, relayed, peer.0, reach, payload, packet);
            if !matches!(decision, Decision::Drop(_))
                && let Some(allocation) = self.allocations.get_mut(id)
            {
                allocation.traffic.count_to_peer(1, payload.len());
                self.stats.count_to_peers(1, payload.len());
            }
            return decision;
        }
        allocation.traffic.count_to_peer(1, payload.len());
        self.stats.count_to_peers(1, payload.len());
        Decision::ToPeer {
            relayed,
            peer: peer.0,
            bytes: payload,
            dont_fragment: dont_fragment && ip.is_ipv4(),
        }
    }

    /// A datagram that arrived at a relayed transport address (RFC 8656 §11.3 and §12.7).
    // compliance: 8656-11.3-01
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
        self.relay_to_client(now, id, peer, payload, false, packet)
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
        self.relay_to_client(now, id, to.source, payload, true, packet)
    }

    /// A payload on its way to a client, from a peer under the address that clients know it by.
    // compliance: 8489-5-03, 8656-12.5-01, 8656-12.5-03, 8656-9-03
    #[inline]
    fn relay_to_client(
        &mut self,
        now: Instant,
        id: AllocationId,
        peer: SocketAddr,
        payload: Span,
        is_hairpin: bool,
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
        let wrapped = match allocation.channels.by_peer(PeerAddress(peer), now) {
            Some(channel) => u16::try_from(payload.len()).ok().and_then(|len| {
                let header = channel_data::header(channel.number, len);
                // RFC 8656 §12.5: padding is a must on streams and left out in datagrams.
                let padding = if allocation.path.five_tuple.transport.is_stream() {
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
        // Last, where least is at hand that a call would have to save.
        if !allocation.admit_to_client(now, payload.len()) {
            return self.drop(DropReason::Rate);
        }
        allocation.traffic.count_to_client(1, payload.len());
        self.stats.count_to_clients(1, payload.len());
        // Counted where the data meets its client.
        if is_hairpin {
            self.stats.packets_hairpin = self.stats.packets_hairpin.wrapping_add(1);
        }
        Decision::ToClient {
            path: allocation.path,
            bytes,
        }
    }

    /// A bundle from a client. Where all of it is ChannelData of one channel it is routed once.
    #[inline]
    pub(crate) fn bundle_to_peer(
        &mut self,
        now: Instant,
        path: &ClientPath,
        bytes: &mut [u8],
        size: BundleSize,
    ) -> BundleDecision {
        self.try_bundle_to_peer(now, path, bytes, size)
            .unwrap_or(BundleDecision::Apart)
    }

    fn try_bundle_to_peer(
        &mut self,
        now: Instant,
        path: &ClientPath,
        bytes: &mut [u8],
        size: BundleSize,
    ) -> Option<BundleDecision> {
        let (number, len, last_len) = one_channel(bytes, size)?;
        let id = self.allocations.find(&path.five_tuple)?;
        // The first data from a client that has moved is for the ordinary way.
        let is_ordinary = |a: &&Allocation| a.expires > now && a.next_path().is_none();
        let allocation = self.allocations.get(id).filter(is_ordinary)?;
        let peer = allocation.channels.by_number(number, now)?.peer;
        let permission = allocation.permissions.find(peer.0.ip(), now)?;
        let reach = permission.reach;
        let lease = allocation.relayed.of(family(peer.0.ip()))?;
        let relayed = (lease.expires > now).then_some(lease.id)?;
        let count = size.count();
        let payloads = count
            .saturating_sub(1)
            .saturating_mul(len)
            .saturating_add(last_len);
        if !allocation.has_room_to_peer(now, payloads) {
            return None;
        }
        let is_own = reach == Reach::RelayedOnly
            || (self.host_is_opened && self.config.policy.is_host(peer.0.ip(), &self.ports));
        let (live, peer) = if is_own {
            let live = self.ports.find(peer.0);
            let closed =
                reach == Reach::RelayedOnly || self.config.policy.is_listener(peer.0, &self.ports);
            if live.is_none() && closed {
                return None;
            }
            (live, self.ports.as_local(peer.0))
        } else {
            (None, peer.0)
        };
        let decision = if let Some(live) = live {
            let source = self.relayed.get(relayed.0)?.claim.advertised;
            let to = self.relayed.get(live.relayed.0)?.allocation?;
            let (to_path, to_number) =
                self.bundle_receiver(now, to, source, live.shard, payloads)?;
            let (front, last_front) = fronts(to_number, len, last_len)?;
            for (i, segment) in (1..).zip(bytes.chunks_mut(size.segment_len)) {
                let front = if i == count { last_front } else { front };
                if let Some(header) = segment.first_chunk_mut() {
                    *header = front;
                }
            }
            self.count_bundle_to_client(now, to, count, payloads);
            self.stats.packets_hairpin = self.stats.packets_hairpin.wrapping_add(count as u64);
            BundleDecision::Rewritten {
                path: to_path,
                len: CHANNEL_DATA_HEADER_LEN.saturating_add(len),
                last_len: CHANNEL_DATA_HEADER_LEN.saturating_add(last_len),
            }
        } else {
            BundleDecision::ToPeer {
                relayed,
                peer,
                offset: CHANNEL_DATA_HEADER_LEN,
                len,
                last_len,
            }
        };
        if let Some(allocation) = self.allocations.get_mut(id) {
            allocation.spend_to_peer(now, payloads);
            allocation.traffic.count_to_peer(count, payloads);
        }
        self.stats.count_to_peers(count, payloads);
        Some(decision)
    }

    /// A bundle from a peer. Where a channel leads to the client it is routed once.
    #[inline]
    pub(crate) fn bundle_to_client(
        &mut self,
        now: Instant,
        relayed: RelayedId,
        peer: SocketAddr,
        size: BundleSize,
    ) -> BundleDecision {
        self.try_bundle_to_client(now, relayed, peer, size)
            .unwrap_or(BundleDecision::Apart)
    }

    fn try_bundle_to_client(
        &mut self,
        now: Instant,
        relayed: RelayedId,
        peer: SocketAddr,
        size: BundleSize,
    ) -> Option<BundleDecision> {
        let id = self.relayed.get(relayed.0)?.allocation?;
        let peer = self.ports.as_advertised(peer);
        let (path, number) = self.bundle_receiver(now, id, peer, self.shard, size.len)?;
        let (front, last_front) = fronts(number, size.segment_len, size.last_len())?;
        self.count_bundle_to_client(now, id, size.count(), size.len);
        Some(BundleDecision::ToClient {
            path,
            front,
            last_front,
        })
    }

    /// The client and channel that a whole bundle from `peer` may go to: those of datagrams, since on streams each
    /// message is padded by itself.
    fn bundle_receiver(
        &self,
        now: Instant,
        id: AllocationId,
        peer: SocketAddr,
        shard: ShardId,
        bytes: usize,
    ) -> Option<(ClientPath, u16)> {
        let allocation = self.allocations.get(id)?;
        let lease = allocation.relayed.of(family(peer.ip()))?;
        let permission = allocation.permissions.find(peer.ip(), now)?;
        let hidden = permission.reach == Reach::RelayedOnly && self.ports.find(peer).is_none();
        let channel = allocation.channels.by_peer(PeerAddress(peer), now)?;
        let is_udp = allocation.path.five_tuple.transport == Transport::Udp;
        let has_room = allocation.has_room_to_client(now, bytes);
        (lease.expires > now && shard == self.shard && is_udp && !hidden && has_room)
            .then_some((allocation.path, channel.number))
    }

    fn count_bundle_to_client(
        &mut self,
        now: Instant,
        id: AllocationId,
        packets: usize,
        bytes: usize,
    ) {
        if let Some(allocation) = self.allocations.get_mut(id) {
            allocation.spend_to_client(now, bytes);
            allocation.traffic.count_to_client(packets, bytes);
        }
        self.stats.count_to_clients(packets, bytes);
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
        self.relay_to_client(now, to, source, payload, true, packet)
    }
}

/// The channel and the lengths of the payloads, that of all but the last and that of the last, if the bundle is
/// nothing but ChannelData of one channel, all of it equally long but for the last.
#[inline]
fn one_channel(bytes: &[u8], size: BundleSize) -> Option<(u16, usize, usize)> {
    let mut segments = bytes.get(..size.len)?.chunks(size.segment_len.max(1));
    let last = ChannelData::decode(segments.next_back()?).ok()?;
    let first = ChannelData::decode(segments.next()?).ok()?;
    let header = bytes.first_chunk::<CHANNEL_DATA_HEADER_LEN>()?;
    let (number, len, last_len) = (first.number, first.payload.len(), last.payload.len());
    let uniform = segments.all(|segment| segment.first_chunk() == Some(header));
    (uniform && last.number == number && last_len <= len && last_len > 0)
        .then_some((number, len, last_len))
}

/// The ChannelData headers of a bundle.
fn fronts(number: u16, len: usize, last_len: usize) -> Option<([u8; 4], [u8; 4])> {
    let front = channel_data::header(number, u16::try_from(len).ok()?);
    let last_front = channel_data::header(number, u16::try_from(last_len).ok()?);
    Some((front, last_front))
}

/// What a Send indication may carry; anything else that must be understood discards it.
// compliance: 8656-11.2-02
const fn is_known_in_send(attribute: AttributeType) -> bool {
    matches!(
        attribute,
        AttributeType::XOR_PEER_ADDRESS | AttributeType::DATA | AttributeType::DONT_FRAGMENT
    )
}
