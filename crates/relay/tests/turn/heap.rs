//! Relaying a packet takes nothing from the heap.

use std::net::SocketAddr;

use turnbuckle_relay::{ClientPath, Decision, HEADROOM, Handover, Packet, ShardId, TAILROOM};
use turnbuckle_testkit::{Client, HeapUse, Network, Peer, Request, Server, Setup};

#[test]
fn client_to_peer() {
    let (mut net, mut alice, peer) = call();
    alice.permit(&mut net, &[peer.address]).expect_success();
    let indication = alice.encode(&Request::send(peer.address, &[7; 1000]));
    assert_eq!(from_client(&mut net, &alice, &indication), (ROUNDS, 0));
    alice.bind(&mut net, 0x4000, peer.address).expect_success();
    let channel_data = Client::channel_data(0x4000, &[7; 1000]);
    assert_eq!(from_client(&mut net, &alice, &channel_data), (ROUNDS, 0));
}

#[test]
fn peer_to_client() {
    let (mut net, mut alice, peer) = call();
    let relayed = alice.relayed.unwrap();
    alice.permit(&mut net, &[peer.address]).expect_success();
    assert_eq!(from_peer(&mut net, relayed, peer), (ROUNDS, 0));
    alice.bind(&mut net, 0x4000, peer.address).expect_success();
    assert_eq!(from_peer(&mut net, relayed, peer), (ROUNDS, 0));
}

#[test]
fn hairpin() {
    for shards in [1, 2] {
        let mut net = Setup::default().behind_nat().shards(shards).build();
        let (mut alice, mut bob) = (Client::alice(), Client::bob());
        let (at_alice, at_bob) = (alice.allocate(&mut net), bob.allocate(&mut net));
        alice.permit(&mut net, &[at_bob]).expect_success();
        bob.permit(&mut net, &[at_alice]).expect_success();
        let indication = alice.encode(&Request::send(at_bob, &[7; 1000]));
        assert_eq!(from_client(&mut net, &alice, &indication), (ROUNDS, 0));
        alice.bind(&mut net, 0x4000, at_bob).expect_success();
        bob.bind(&mut net, 0x4000, at_alice).expect_success();
        let channel_data = Client::channel_data(0x4000, &[7; 1000]);
        assert_eq!(from_client(&mut net, &alice, &channel_data), (ROUNDS, 0));
    }
}

#[test]
fn from_another_shard() {
    let mut net = Setup::default().behind_nat().shards(2).build();
    let (mut alice, mut bob) = (Client::alice(), Client::bob());
    let (at_alice, at_bob) = (alice.allocate(&mut net), bob.allocate(&mut net));
    let local = SocketAddr::new([10, 0, 0, 5].into(), at_bob.port());
    let (shard, relayed) = net.server.relay_socket(local).unwrap();
    let to = Handover {
        shard: ShardId(shard as u8),
        relayed,
        local,
        source: at_alice,
    };
    let hand_over = |net: &mut Network| {
        let now = net.clock.now();
        let relay = &mut net.server.shards[shard].relay;
        measure(&[7; 1000], |packet| relay.handle_handover(now, &to, packet))
    };
    assert_eq!(hand_over(&mut net), (0, 0));
    bob.permit(&mut net, &[at_alice]).expect_success();
    assert_eq!(hand_over(&mut net), (ROUNDS, 0));
    bob.bind(&mut net, 0x4000, at_alice).expect_success();
    assert_eq!(hand_over(&mut net), (ROUNDS, 0));
}

#[test]
fn what_is_dropped() {
    let (mut net, mut alice, peer) = call();
    let not_permitted = alice.encode(&Request::send(peer.address, &[7; 1000]));
    let no_channel = Client::channel_data(0x4000, &[7; 1000]);
    for message in [&not_permitted[..], &no_channel, &[0; 100], &[0xFF; 100]] {
        assert_eq!(from_client(&mut net, &alice, message), (0, 0));
    }
    let relayed = alice.relayed.unwrap();
    assert_eq!(from_peer(&mut net, relayed, peer), (0, 0));
}

fn call() -> (Network, Client, Peer) {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    (net, alice, Peer::new("9.9.9.9:4000"))
}

/// Packets relayed, and blocks taken from the heap for them.
fn from_client(net: &mut Network, client: &Client, message: &[u8]) -> (u64, u64) {
    let now = net.clock.now();
    let path: ClientPath = Server::path(client.five_tuple());
    let shard = net.server.shard_of(client.five_tuple());
    let shard = &mut net.server.shards[shard];
    let mut answer = [0; 1280];
    measure(message, |packet| {
        let sockets = &mut shard.sockets;
        shard
            .relay
            .handle_client(now, &path, packet, &mut answer, sockets)
    })
}

/// As [`from_client`], for a datagram of a peer.
fn from_peer(net: &mut Network, relayed: SocketAddr, peer: Peer) -> (u64, u64) {
    let now = net.clock.now();
    let (shard, id) = net.server.relay_socket(relayed).unwrap();
    let relay = &mut net.server.shards[shard].relay;
    measure(&[7; 1000], |packet| {
        relay.handle_peer(now, id, peer.address, packet)
    })
}

fn measure(message: &[u8], mut handle: impl FnMut(Packet<'_>) -> Decision) -> (u64, u64) {
    let mut room = [0; HEADROOM + 1100 + TAILROOM];
    let mut relayed = 0;
    let before = HeapUse::of_this_thread();
    for _ in 0..ROUNDS {
        room[HEADROOM..][..message.len()].copy_from_slice(message);
        let packet = Packet::new(&mut room, HEADROOM..HEADROOM + message.len()).unwrap();
        let decision = handle(packet);
        let sent = matches!(
            decision,
            Decision::ToPeer { .. } | Decision::ToShard { .. } | Decision::ToClient { .. }
        );
        relayed += u64::from(sent);
    }
    let used = HeapUse::of_this_thread().since(before);
    (relayed, used.allocations)
}

const ROUNDS: u64 = 1000;
