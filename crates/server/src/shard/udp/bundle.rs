//! Bundles: datagrams of one sender that the kernel hands over as one. Where all go the same way they are routed once and leave as
//! they came; otherwise each is taken out and handled by itself.

use std::ops::Range;

use turnbuckle_net::{Front, HEADROOM, Piece, Received};
use turnbuckle_relay::{BundleDecision, BundleSize, ClientPath, Now, RelayedId};

use super::outgoing::{Io, Outgoing};
use super::{ASIDE, Clients};
use crate::shard::Held;

/// A bundle in a slot.
#[derive(Clone, Copy)]
struct Bundle {
    slot: usize,
    size: BundleSize,
    tos: u8,
}

impl Clients {
    /// A bundle from a client.
    pub(super) fn handle_client_bundle(
        &mut self,
        now: Now,
        path: &ClientPath,
        slot: usize,
        received: Received,
    ) {
        let bundle = Bundle::new(slot, received);
        let core = &mut self.io.core;
        let payload = HEADROOM..HEADROOM.saturating_add(bundle.size.len);
        let decision = match core.arena.slot_mut(slot).get_mut(payload) {
            Some(bytes) if !self.only_dtls => {
                core.relay
                    .handle_client_bundle(now, path, bytes, bundle.size)
            }
            _ => BundleDecision::Apart,
        };
        if !self.io.send_bundle(bundle, decision) {
            for segment in bundle.segments() {
                let held = self.take_apart(slot, segment, bundle.tos);
                self.handle_from_client(now, path, held);
                self.io.send_queued();
            }
        }
    }

    /// A bundle from a peer.
    pub(super) fn handle_peer_bundle(
        &mut self,
        now: Now,
        from: RelayedId,
        slot: usize,
        received: Received,
    ) {
        let bundle = Bundle::new(slot, received);
        let relay = &mut self.io.core.relay;
        let decision = relay.handle_peer_bundle(now, from, received.source, bundle.size);
        if !self.io.send_bundle(bundle, decision) {
            for segment in bundle.segments() {
                let held = self.take_apart(slot, segment, bundle.tos);
                self.handle_from_peer(now, from, received.source, held);
                self.io.send_queued();
            }
        }
    }

    /// Copies a datagram of a bundle to where it has room around it.
    fn take_apart(&mut self, slot: usize, segment: Range<usize>, tos: u8) -> Held {
        let len = segment.len();
        self.io.core.arena.copy(slot, segment, ASIDE);
        Held {
            slot: ASIDE,
            len,
            tos,
        }
    }
}

impl Io {
    /// Carries out what was decided about a bundle; `false` if it has to be taken apart.
    fn send_bundle(&mut self, bundle: Bundle, decision: BundleDecision) -> bool {
        let count = bundle.size.count();
        match decision {
            BundleDecision::ToPeer {
                relayed,
                peer,
                offset,
                len,
                last_len,
            } => {
                for (i, segment) in (1..).zip(bundle.segments()) {
                    let len = if i == count { last_len } else { len };
                    let piece = Piece {
                        slot: bundle.slot as u32,
                        start: segment.start.saturating_add(offset) as u32,
                        len: len as u32,
                    };
                    self.send_to_peer(relayed, peer, piece, bundle.tos);
                }
            }
            BundleDecision::ToClient {
                path,
                front,
                last_front,
            } => {
                for (i, segment) in (1..).zip(bundle.segments()) {
                    let front = if i == count { last_front } else { front };
                    self.queue(&path, bundle.outgoing(segment, Front::new(front)));
                }
            }
            BundleDecision::Rewritten {
                path,
                len,
                last_len,
            } => {
                for (i, segment) in (1..).zip(bundle.segments()) {
                    let len = if i == count { last_len } else { len };
                    let bytes = segment.start..segment.start.saturating_add(len);
                    self.queue(&path, bundle.outgoing(bytes, Front::NONE));
                }
            }
            BundleDecision::Apart => return false,
        }
        true
    }
}

impl Bundle {
    fn new(slot: usize, received: Received) -> Self {
        let segment_len = received
            .segment_len
            .map_or(received.len, |s| s.get().into());
        Self {
            slot,
            size: BundleSize {
                len: received.len,
                segment_len,
            },
            tos: received.tos,
        }
    }

    /// Where in the slot its datagrams lie.
    fn segments(self) -> impl Iterator<Item = Range<usize>> {
        let end = HEADROOM.saturating_add(self.size.len);
        let step = self.size.segment_len.max(1);
        (HEADROOM..end)
            .step_by(step)
            .map(move |start| start..start.saturating_add(step).min(end))
    }

    fn outgoing(self, bytes: Range<usize>, front: Front) -> Outgoing {
        Outgoing {
            slot: self.slot,
            start: bytes.start,
            len: bytes.len(),
            tos: self.tos,
            front,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use turnbuckle_net::{Arena, RelayOptions, RelaySocket, SendReport, Train};
    use turnbuckle_proto::{Class, Message, MessageBuilder, Method, TransactionId, channel_data};

    use super::*;
    use crate::shard::udp::UdpShard;
    use crate::shard::udp::tests::shards_with;

    const CHANNEL: u16 = 0x4000;

    /// A client or a peer that sends trains.
    struct End {
        socket: RelaySocket,
        arena: Arena,
    }

    impl End {
        fn new() -> Self {
            let any = ([127, 0, 0, 1], 0).into();
            let socket = RelaySocket::bind(any, RelayOptions::default()).unwrap();
            Self {
                socket,
                arena: Arena::new(32, 2_048),
            }
        }

        fn address(&self) -> SocketAddr {
            self.socket.local_address()
        }

        /// All of them in one piece, except where lengths forbid it.
        fn send(&mut self, to: SocketAddr, datagrams: &[Vec<u8>]) {
            let mut train = Train::new();
            let mut report = SendReport::default();
            for (slot, datagram) in datagrams.iter().enumerate() {
                self.arena.slot_mut(slot)[HEADROOM..][..datagram.len()].copy_from_slice(datagram);
                let piece = Piece {
                    slot: slot as u32,
                    start: HEADROOM as u32,
                    len: datagram.len() as u32,
                };
                assert!(train.push(to, 0, piece), "lengths of a train");
            }
            train.send(&self.socket, &self.arena, &mut report);
            assert_eq!(report.sent, datagrams.len() as u64);
        }

        /// The next `count` datagrams, while the shard works.
        fn receive(&mut self, shard: &mut UdpShard, count: usize) -> Vec<Vec<u8>> {
            let mut all = Vec::new();
            shard.turn_until(|| {
                while let Some(received) = self.socket.receive(&mut self.arena, 31).unwrap() {
                    all.push(self.arena.slot(31)[HEADROOM..][..received.len].to_vec());
                }
                all.len() >= count
            });
            all
        }

        fn ask(
            &mut self,
            shard: &mut UdpShard,
            server: SocketAddr,
            method: Method,
            fill: impl FnOnce(&mut MessageBuilder<'_>),
        ) -> Vec<u8> {
            self.send(server, &[request(method, fill)]);
            let answer = self.receive(shard, 1).remove(0);
            assert_eq!(Message::decode(&answer).unwrap().class(), Class::Success);
            answer
        }
    }

    fn request(method: Method, fill: impl FnOnce(&mut MessageBuilder<'_>)) -> Vec<u8> {
        let mut bytes = [0; 128];
        let id = TransactionId([method.number() as u8; 12]);
        let mut builder = MessageBuilder::new(&mut bytes, Class::Request, method, id).unwrap();
        fill(&mut builder);
        let len = builder.finish();
        bytes[..len].to_vec()
    }

    fn data(number: u16, payload: &[u8]) -> Vec<u8> {
        let header = channel_data::header(number, payload.len() as u16);
        [&header, payload].concat()
    }

    /// Seven payloads of 100 bytes and one of 60, all different.
    fn payloads(round: u8) -> Vec<Vec<u8>> {
        (0..8)
            .map(|i| vec![round * 8 + i; if i == 7 { 60 } else { 100 }])
            .collect()
    }

    fn call() -> (UdpShard, SocketAddr, End, End, SocketAddr) {
        let (mut shard, server) = shards_with(1, None).remove(0);
        let (mut client, peer) = (End::new(), End::new());
        let answer = client.ask(&mut shard, server, Method::ALLOCATE, |request| {
            request.requested_transport(17).unwrap();
        });
        let relayed = Message::decode(&answer).unwrap().xor_relayed_address();
        let relayed = relayed.unwrap().unwrap();
        client.ask(&mut shard, server, Method::CHANNEL_BIND, |request| {
            request.channel_number(CHANNEL).unwrap();
            request.xor_peer_address(peer.address()).unwrap();
        });
        (shard, server, client, peer, relayed)
    }

    /// The shard takes bundles from the listener once it has seen enough trains.
    fn teach(shard: &mut UdpShard, server: SocketAddr, client: &mut End, peer: &mut End) {
        for round in 0.. {
            let payloads = payloads(round);
            let messages: Vec<_> = payloads.iter().map(|p| data(CHANNEL, p)).collect();
            client.send(server, &messages);
            assert_eq!(peer.receive(shard, 8), payloads);
            if shard
                .clients
                .received
                .iter()
                .any(|r| r.segment_len.is_some())
            {
                return;
            }
            assert!(round < 30, "no bundle was taken");
        }
    }

    #[test]
    fn trains_of_a_client_are_taken_and_sent_whole() {
        let (mut shard, server, mut client, mut peer, _) = call();
        teach(&mut shard, server, &mut client, &mut peer);
        let before = shard.clients.io.core.report.to_peers;
        client.send(server, &payloads(0).map_data());
        assert_eq!(peer.receive(&mut shard, 8), payloads(0));
        let after = shard.clients.io.core.report.to_peers;
        assert_eq!(
            (after.calls - before.calls, after.sent - before.sent),
            (1, 8)
        );
    }

    #[test]
    fn mixed_bundles_are_taken_apart() {
        let (mut shard, server, mut client, mut peer, _) = call();
        teach(&mut shard, server, &mut client, &mut peer);
        let mixed = [
            data(CHANNEL, &[1; 100]),
            data(0x4001, &[2; 100]),
            data(CHANNEL, &[3; 100]),
        ];
        client.send(server, &mixed);
        assert_eq!(peer.receive(&mut shard, 2), [vec![1; 100], vec![3; 100]]);
        let binding = request(Method::BINDING, |_| ());
        client.send(server, &[binding.clone(), binding]);
        for answer in client.receive(&mut shard, 2) {
            let answer = Message::decode(&answer).unwrap();
            assert_eq!(
                (answer.class(), answer.method()),
                (Class::Success, Method::BINDING)
            );
        }
    }

    #[test]
    fn trains_of_a_peer_are_sent_whole() {
        let (mut shard, _, mut client, mut peer, relayed) = call();
        for round in 0..=30 {
            let payloads = payloads(round);
            peer.send(relayed, &payloads);
            assert_eq!(client.receive(&mut shard, 8), payloads.map_data());
        }
        assert!(
            shard
                .clients
                .received
                .iter()
                .any(|r| r.segment_len.is_some())
        );
        let before = shard.clients.io.core.report.to_clients;
        peer.send(relayed, &payloads(0));
        assert_eq!(client.receive(&mut shard, 8), payloads(0).map_data());
        let after = shard.clients.io.core.report.to_clients;
        assert_eq!(
            (after.calls - before.calls, after.sent - before.sent),
            (1, 8)
        );
        // Another port of the same peer has no channel: each datagram is wrapped by itself.
        let mut other = End::new();
        other.send(relayed, &payloads(1));
        for (indication, payload) in client.receive(&mut shard, 8).iter().zip(payloads(1)) {
            let indication = Message::decode(indication).unwrap();
            assert_eq!(indication.data(), Some(&payload[..]));
            assert_eq!(indication.peer_address(), Ok(Some(other.address())));
        }
    }

    /// Payloads as ChannelData.
    trait MapData {
        fn map_data(&self) -> Vec<Vec<u8>>;
    }

    impl MapData for Vec<Vec<u8>> {
        fn map_data(&self) -> Vec<Vec<u8>> {
            self.iter().map(|payload| data(CHANNEL, payload)).collect()
        }
    }
}
