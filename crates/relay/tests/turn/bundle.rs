//! Bundles: what becomes of several datagrams in one is what becomes of each by itself.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::time::Duration;

use turnbuckle_relay::{BundleDecision, BundleSize, Decision, HEADROOM, Packet, Stats, TAILROOM};
use turnbuckle_testkit::{Client, Network, Peer, Request, Server, Setup};

const CHANNEL: u16 = 0x4000;
const OTHER_CHANNEL: u16 = 0x4001;

/// Two of the same call: one is given bundles, the other datagrams.
struct Twins {
    bundled: Call,
    single: Call,
}

struct Call {
    net: Network,
    alice: Client,
    bob: Client,
    peer: Peer,
}

/// Where something went, and its bytes.
type Sent = (SocketAddr, Vec<u8>);

impl Call {
    fn new(setup: &impl Fn() -> Setup) -> Self {
        let mut net = setup().build();
        let (mut alice, mut bob) = (Client::alice(), Client::bob());
        let peer = Peer::new("9.9.9.9:4000");
        let (at_alice, at_bob) = (alice.allocate(&mut net), bob.allocate(&mut net));
        alice.bind(&mut net, CHANNEL, peer.address).expect_success();
        alice.bind(&mut net, OTHER_CHANNEL, at_bob).expect_success();
        bob.permit(&mut net, &[at_alice]).expect_success();
        Self {
            net,
            alice,
            bob,
            peer,
        }
    }

    fn bundle_from_client(&mut self, segments: &[Vec<u8>]) -> Option<Vec<Sent>> {
        let path = Server::path(self.alice.five_tuple());
        let now = self.net.clock.now();
        let shard = self.net.server.shard_of(self.alice.five_tuple());
        let relay = &mut self.net.server.shards[shard].relay;
        let mut bytes = segments.concat();
        let size = size(segments);
        let decision = relay.handle_client_bundle(now, &path, &mut bytes, size);
        let segments = bytes.chunks(size.segment_len);
        let count = segments.len();
        let each = |to: SocketAddr, from: usize, len: usize, last_len: usize| {
            segments
                .enumerate()
                .map(|(i, segment)| {
                    let len = if i + 1 == count { last_len } else { len };
                    (to, segment[from..from + len].to_vec())
                })
                .collect()
        };
        match decision {
            BundleDecision::ToPeer {
                peer,
                offset,
                len,
                last_len,
                ..
            } => Some(each(peer, offset, len, last_len)),
            BundleDecision::Rewritten {
                path,
                len,
                last_len,
            } => Some(each(path.five_tuple.client.0, 0, len, last_len)),
            BundleDecision::Apart => None,
            BundleDecision::ToClient { .. } => panic!("a client's data needs no front"),
        }
    }

    fn singles_from_client(&mut self, segments: &[Vec<u8>]) -> Vec<Sent> {
        let path = Server::path(self.alice.five_tuple());
        let now = self.net.clock.now();
        let shard = self.net.server.shard_of(self.alice.five_tuple());
        let shard = &mut self.net.server.shards[shard];
        let mut answer = [0; 1280];
        segments
            .iter()
            .filter_map(|segment| {
                handle(segment, |packet| {
                    let sockets = &mut shard.sockets;
                    shard
                        .relay
                        .handle_client(now, &path, packet, &mut answer, sockets)
                })
            })
            .collect()
    }

    fn bundle_from_peer(&mut self, segments: &[Vec<u8>]) -> Option<Vec<Sent>> {
        let now = self.net.clock.now();
        let relayed = self.alice.relayed.unwrap();
        let (shard, id) = self.net.server.relay_socket(relayed).unwrap();
        let relay = &mut self.net.server.shards[shard].relay;
        match relay.handle_peer_bundle(now, id, self.peer.address, size(segments)) {
            BundleDecision::ToClient {
                path,
                front,
                last_front,
            } => {
                let last = segments.len() - 1;
                let fronts = (0..).map(|i| if i == last { last_front } else { front });
                Some(
                    fronts
                        .zip(segments)
                        .map(|(front, segment)| {
                            (path.five_tuple.client.0, [&front, &segment[..]].concat())
                        })
                        .collect(),
                )
            }
            BundleDecision::Apart => None,
            other => panic!("{other:?} is nothing for a peer's data"),
        }
    }

    fn singles_from_peer(&mut self, segments: &[Vec<u8>]) -> Vec<Sent> {
        let now = self.net.clock.now();
        let relayed = self.alice.relayed.unwrap();
        let (shard, id) = self.net.server.relay_socket(relayed).unwrap();
        let relay = &mut self.net.server.shards[shard].relay;
        segments
            .iter()
            .filter_map(|segment| {
                handle(segment, |packet| {
                    relay.handle_peer(now, id, self.peer.address, packet)
                })
            })
            .collect()
    }

    fn stats(&self) -> Stats {
        self.net.server.stats()
    }
}

impl Twins {
    fn new(setup: impl Fn() -> Setup, change: impl Fn(&mut Call)) -> Self {
        let [bundled, single] = [(); 2].map(|()| {
            let mut call = Call::new(&setup);
            change(&mut call);
            call
        });
        Self { bundled, single }
    }

    /// The bundle is routed whole, and as its datagrams are.
    fn expect_whole(&mut self, segments: &[Vec<u8>]) {
        let bundled = self.bundled.bundle_from_client(segments).unwrap();
        let single = self.single.singles_from_client(segments);
        assert_eq!(bundled.len(), segments.len());
        assert_eq!(bundled, single);
        assert_eq!(self.bundled.stats(), self.single.stats());
    }

    /// The bundle has to be taken apart, and that changes nothing.
    fn expect_apart(&mut self, segments: &[Vec<u8>]) {
        let before = self.bundled.stats();
        assert_eq!(self.bundled.bundle_from_client(segments), None);
        assert_eq!(self.bundled.stats(), before);
    }

    fn expect_whole_from_peer(&mut self, segments: &[Vec<u8>]) {
        let bundled = self.bundled.bundle_from_peer(segments).unwrap();
        assert_eq!(bundled, self.single.singles_from_peer(segments));
        assert_eq!(self.bundled.stats(), self.single.stats());
    }
}

#[test]
fn one_channel_is_routed_once() {
    let mut twins = Twins::new(Setup::default, |_| ());
    twins.expect_whole(&data(CHANNEL, &[100, 100, 100]));
    twins.expect_whole(&data(CHANNEL, &[100, 100, 37]));
    twins.expect_whole(&data(CHANNEL, &[1200; 50]));
    twins.expect_whole(&data(CHANNEL, &[1, 1]));
}

#[test]
fn padding_is_left_out() {
    let mut twins = Twins::new(Setup::default, |_| ());
    let mut segments = data(CHANNEL, &[5, 5, 5]);
    for segment in &mut segments {
        segment.resize(12, 0xEE);
    }
    twins.expect_whole(&segments);
}

#[test]
fn mixtures_are_taken_apart() {
    let mut twins = Twins::new(Setup::default, |_| ());
    let [a, b] = [CHANNEL, OTHER_CHANNEL].map(|number| data(number, &[100]).remove(0));
    twins.expect_apart(&[a.clone(), b.clone()]);
    twins.expect_apart(&[a.clone(), b, a.clone()]);
    // Equally long, but not in its payload.
    let mut short = data(CHANNEL, &[98]).remove(0);
    short.resize(a.len(), 0);
    twins.expect_apart(&[a.clone(), short.clone(), a.clone()]);
    twins.expect_apart(&[short, a.clone()]);
    twins.expect_apart(&[a.clone(), vec![0xFF; 104]]);
    twins.expect_apart(&[a.clone(), vec![0x40]]);
    twins.expect_apart(&[vec![0; 20], vec![0; 20]]);
    let peer = twins.bundled.peer.address;
    let indication = twins.bundled.alice.encode(&Request::send(peer, &[1; 40]));
    twins.expect_apart(&[indication.clone(), indication]);
    // An empty payload cannot leave in a train.
    twins.expect_apart(&data(CHANNEL, &[0, 0]));
    let mut lies = data(CHANNEL, &[100, 100]);
    lies[0][2..4].copy_from_slice(&200_u16.to_be_bytes());
    twins.expect_apart(&lies);
}

#[test]
fn what_may_not_be_relayed_is_left_to_the_datagrams() {
    let mut twins = Twins::new(Setup::default, |_| ());
    twins.expect_apart(&data(0x4002, &[100, 100]));
    // The channel outlives its permission.
    let mut twins = Twins::new(Setup::default, |call| {
        call.net.advance(Duration::from_secs(400));
    });
    twins.expect_apart(&data(CHANNEL, &[100, 100]));
    let mut twins = Twins::new(Setup::default, |call| {
        call.net.advance_without_timers(Duration::from_secs(601));
    });
    twins.expect_apart(&data(CHANNEL, &[100, 100]));
}

#[test]
fn a_hairpin_is_rewritten_in_place() {
    for setup in [Setup::default as fn() -> Setup, || {
        Setup::default().behind_nat()
    }] {
        let mut twins = Twins::new(setup, |call| {
            let at_alice = call.alice.relayed.unwrap();
            call.bob
                .bind(&mut call.net, 0x4ABC, at_alice)
                .expect_success();
        });
        twins.expect_whole(&data(OTHER_CHANNEL, &[100, 100, 99]));
        assert_eq!(twins.bundled.stats().packets_hairpin, 3);
    }
}

#[test]
fn a_hairpin_to_a_client_without_a_channel_is_taken_apart() {
    let mut twins = Twins::new(Setup::default, |_| ());
    twins.expect_apart(&data(OTHER_CHANNEL, &[100, 100]));
}

#[test]
fn what_is_more_than_the_rate_allows_is_taken_apart() {
    let limited = || {
        let mut setup = Setup::default();
        setup.limits.rate = NonZeroU64::new(100_000);
        setup
    };
    let mut twins = Twins::new(limited, |call| {
        let at_alice = call.alice.relayed.unwrap();
        let bob = &mut call.bob;
        bob.bind(&mut call.net, 0x4ABC, at_alice).expect_success();
    });
    twins.expect_whole(&data(CHANNEL, &[1200; 50]));
    twins.expect_whole(&data(OTHER_CHANNEL, &[1000; 20]));
    let rest = data(CHANNEL, &[1000; 30]);
    twins.expect_apart(&rest);
    // And of its datagrams as many pass as the rate allows.
    let bundled = twins.bundled.singles_from_client(&rest);
    assert_eq!(bundled.len(), 20);
    assert_eq!(bundled, twins.single.singles_from_client(&rest));
    assert_eq!(twins.bundled.stats(), twins.single.stats());
    twins.expect_whole_from_peer(&vec![vec![1; 1000]; 60]);
    let rest = vec![vec![1; 1000]; 41];
    assert_eq!(twins.bundled.bundle_from_peer(&rest), None);
    assert_eq!(twins.bundled.singles_from_peer(&rest).len(), 40);
}

#[test]
fn peers_data_gets_its_headers() {
    let mut twins = Twins::new(Setup::default, |_| ());
    twins.expect_whole_from_peer(&[vec![1; 100], vec![2; 100], vec![3; 37]]);
    twins.expect_whole_from_peer(&[vec![1; 1], vec![2; 1]]);
    let mut twins = Twins::new(Setup::default, |call| {
        call.net.advance_without_timers(Duration::from_secs(299));
    });
    twins.expect_whole_from_peer(&vec![vec![1; 1200]; 54]);
}

#[test]
fn peers_data_without_a_channel_or_a_permission_is_taken_apart() {
    let mut call = Call::new(&Setup::default);
    let before = call.stats();
    let segments = [vec![1; 100], vec![2; 100]];
    call.peer = Peer::new("9.9.9.9:4001");
    assert_eq!(call.bundle_from_peer(&segments), None, "no channel");
    call.peer = Peer::new("8.8.8.8:4000");
    assert_eq!(call.bundle_from_peer(&segments), None, "no permission");
    assert_eq!(call.stats(), before);
}

fn data(number: u16, lens: &[usize]) -> Vec<Vec<u8>> {
    lens.iter()
        .enumerate()
        .map(|(i, &len)| Client::channel_data(number, &vec![i as u8; len]))
        .collect()
}

fn size(segments: &[Vec<u8>]) -> BundleSize {
    BundleSize {
        len: segments.iter().map(Vec::len).sum(),
        segment_len: segments[0].len(),
    }
}

/// Hands one datagram in with room around it.
fn handle(segment: &[u8], decide: impl FnOnce(Packet<'_>) -> Decision) -> Option<Sent> {
    let mut buffer = vec![0; HEADROOM + segment.len() + TAILROOM];
    let payload = HEADROOM..HEADROOM + segment.len();
    buffer[payload.clone()].copy_from_slice(segment);
    match decide(Packet::new(&mut buffer, payload).unwrap()) {
        Decision::ToPeer { peer, bytes, .. } => Some((peer, buffer[bytes.range()].to_vec())),
        Decision::ToClient { path, bytes } => {
            Some((path.five_tuple.client.0, buffer[bytes.range()].to_vec()))
        }
        _ => None,
    }
}
