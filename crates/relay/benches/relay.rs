//! Time that the state machine takes for one packet, without sockets.
//!
//! Owns the four paths that carry load: a channel each way, hairpin, and the handshake that every call begins and ends with.

use std::hint::black_box;
use std::net::SocketAddr;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use turnbuckle_relay::{ClientPath, Decision, HEADROOM, Now, Packet, RelayedId, TAILROOM};
use turnbuckle_testkit::{Client, Network, Peer, Request, Server, Setup, Shard};

fn channels(c: &mut Criterion) {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    let relayed = alice.allocate(&mut net);
    let peer = Peer::new("9.9.9.9:4000");
    alice.bind(&mut net, CHANNEL, peer.address).expect_success();

    let mut group = c.benchmark_group("relay");
    group.throughput(Throughput::Elements(1));
    group.bench_function("client to peer", |b| {
        let now = net.clock.now();
        let path = Server::path(alice.five_tuple());
        let shard = &mut net.server.shards[0];
        let message = Client::channel_data(CHANNEL, &[7; PAYLOAD_LEN]);
        let mut buffer = room(&message);
        let mut answer = [0; ANSWER_LEN];
        b.iter(|| {
            let decision = from_client(shard, now, &path, &mut buffer, &mut answer);
            assert!(matches!(decision, Decision::ToPeer { .. }));
        });
    });
    group.bench_function("peer to client", |b| {
        let now = net.clock.now();
        let (shard, id) = net.server.relay_socket(relayed).expect("open");
        let shard = &mut net.server.shards[shard];
        let mut buffer = room(&[7; PAYLOAD_LEN]);
        b.iter(|| {
            let decision = from_peer(shard, now, id, peer.address, &mut buffer);
            assert!(matches!(decision, Decision::ToClient { .. }));
        });
    });
    group.finish();
}

fn hairpin(c: &mut Criterion) {
    let mut net = Setup::default().build();
    let (mut alice, mut bob) = (Client::alice(), Client::bob());
    let at_alice = alice.allocate(&mut net);
    let at_bob = bob.allocate(&mut net);
    alice.bind(&mut net, CHANNEL, at_bob).expect_success();
    bob.bind(&mut net, CHANNEL, at_alice).expect_success();

    let mut group = c.benchmark_group("relay");
    group.throughput(Throughput::Elements(1));
    group.bench_function("hairpin", |b| {
        let now = net.clock.now();
        let path = Server::path(alice.five_tuple());
        let shard = &mut net.server.shards[0];
        let message = Client::channel_data(CHANNEL, &[7; PAYLOAD_LEN]);
        let mut buffer = room(&message);
        let mut answer = [0; ANSWER_LEN];
        b.iter(|| {
            let decision = from_client(shard, now, &path, &mut buffer, &mut answer);
            // The header is written over the one that came, so the message stays what it is.
            assert!(matches!(decision, Decision::ToClient { .. }));
        });
    });
    group.finish();
}

fn handshake(c: &mut Criterion) {
    c.bench_function("401, Allocate, Refresh 0", |b| {
        let mut net = Setup::default().build();
        let mut alice = Client::alice();
        let challenge = alice.encode(&Request::allocate());
        alice.allocate(&mut net);
        alice.refresh(&mut net, 0).expect_success();
        let allocate = alice.encode(&Request::allocate());
        let delete = alice.encode(&Request::refresh(0));
        let messages = [challenge, allocate, delete];
        b.iter(|| handshake_once(&mut net, &alice, &messages));
    });
}

fn handshake_once(net: &mut Network, alice: &Client, messages: &[Vec<u8>; 3]) {
    let now = net.clock.now();
    let path = Server::path(alice.five_tuple());
    let shard = &mut net.server.shards[0];
    let mut answer = [0; ANSWER_LEN];
    for message in messages {
        let mut buffer = room(message);
        let decision = from_client(shard, now, &path, &mut buffer, &mut answer);
        assert!(matches!(decision, Decision::Answer { .. }));
        while let Some(event) = shard.relay.poll_event() {
            black_box(event);
        }
    }
}

fn from_client(
    shard: &mut Shard,
    now: Now,
    path: &ClientPath,
    buffer: &mut [u8],
    answer: &mut [u8],
) -> Decision {
    let payload = HEADROOM..buffer.len() - TAILROOM;
    let packet = Packet::new(black_box(buffer), payload).expect("inside");
    let sockets = &mut shard.sockets;
    black_box(
        shard
            .relay
            .handle_client(now, path, packet, answer, sockets),
    )
}

fn from_peer(
    shard: &mut Shard,
    now: Now,
    id: RelayedId,
    peer: SocketAddr,
    buffer: &mut [u8],
) -> Decision {
    let payload = HEADROOM..buffer.len() - TAILROOM;
    let packet = Packet::new(black_box(buffer), payload).expect("inside");
    black_box(shard.relay.handle_peer(now, id, peer, packet))
}

fn room(bytes: &[u8]) -> Vec<u8> {
    [&[0; HEADROOM][..], bytes, &[0; TAILROOM]].concat()
}

criterion_group!(benches, channels, hairpin, handshake);
criterion_main!(benches);

const CHANNEL: u16 = 0x4000;
/// Bytes of the buffer for answers.
const ANSWER_LEN: usize = 1280;
/// Bytes of a video packet.
const PAYLOAD_LEN: usize = 1000;
