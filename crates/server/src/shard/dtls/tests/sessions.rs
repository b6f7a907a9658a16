//! What clients do with a session, and how it ends.

use dimpl::ProtocolVersion;

use crate::shard::mailbox::Command;

use super::client::{Version, allocate, bind_channel, binding, on_channel};
use super::*;

/// An allocation with channel 0x4000 to `peer`; its relayed address.
fn call(bench: &mut Bench, client: &mut Client, peer: SocketAddr) -> SocketAddr {
    client.say(&allocate());
    bench.exchange(client);
    let relayed = client.relayed_address();
    client.say(&bind_channel(0x4000, peer));
    bench.exchange(client);
    client.expect_success();
    relayed
}

fn relays(version: Version, agreed: ProtocolVersion) {
    let mut bench = Bench::new();
    let mut client = bench.connected(version);
    assert_eq!(client.version(), Some(agreed));
    let (peer, peer_address) = peer();
    let relayed = call(&mut bench, &mut client, peer_address);
    for len in [0, 1, 160, 1_200, 8_000] {
        let payload = vec![len as u8; len];
        client.say(&on_channel(0x4000, &payload));
        client.send_all();
        bench.shard.turn_once();
        let mut got = vec![0; 1 << 16];
        let (got_len, from) = peer.recv_from(&mut got).unwrap();
        assert_eq!((&got[..got_len], from), (&payload[..], relayed));
        peer.send_to(&payload, relayed).unwrap();
        bench.shard.turn_once();
        client.receive_all();
        client.datagrams();
        let message = client.received.pop_front().unwrap();
        assert_eq!(message, on_channel(0x4000, &payload));
    }
    assert_eq!(bench.report().connected, 1);
}

// compliance: 8656-5-10
#[test]
fn a_client_of_dtls12_relays() {
    relays(Version::Dtls12, ProtocolVersion::DTLS1_2);
}

#[test]
fn a_client_of_dtls13_relays() {
    relays(Version::Dtls13, ProtocolVersion::DTLS1_3);
}

#[test]
fn a_client_of_both_relays_over_dtls13() {
    relays(Version::Both, ProtocolVersion::DTLS1_3);
}

#[test]
fn plain_clients_are_served_on_the_same_port() {
    let mut bench = Bench::new();
    let mut client = bench.connected(Version::Dtls12);
    let (plain, _) = peer();
    plain.send_to(&binding(), bench.address).unwrap();
    client.say(&binding());
    client.send_all();
    bench.shard.turn_once();
    let mut answer = [0; 512];
    let len = plain.recv(&mut answer).unwrap();
    assert!(is_success(&answer[..len]));
    client.receive_all();
    client.datagrams();
    client.expect_success();
}

#[test]
fn plain_clients_are_not_served_without_udp() {
    let mut bench = Bench::with(DtlsRules {
        alone: true,
        ..DtlsRules::default()
    });
    let mut client = bench.connected(Version::Dtls13);
    let (plain, _) = peer();
    plain.send_to(&allocate(), bench.address).unwrap();
    client.say(&binding());
    client.send_all();
    bench.shard.turn_once();
    client.receive_all();
    client.datagrams();
    client.expect_success();
    assert_eq!(bench.allocations(), 0);
}

/// Two clients that reach each other by their relayed addresses, without leaving the process.
#[test]
fn relayed_addresses_reach_each_other() {
    let mut bench = Bench::new();
    let mut alice = bench.connected(Version::Dtls12);
    let mut bob = bench.connected(Version::Dtls13);
    let (_socket, other) = peer();
    let of_bob = call(&mut bench, &mut bob, other);
    let of_alice = call(&mut bench, &mut alice, of_bob);
    bob.say(&bind_channel(0x4001, of_alice));
    bench.exchange(&mut bob);
    bob.expect_success();
    alice.say(&on_channel(0x4000, b"to bob"));
    bench.exchange(&mut alice);
    // Through the kernel if not in the process.
    bench.shard.turn_until(|| {
        bob.receive_all();
        bob.datagrams();
        !bob.received.is_empty()
    });
    assert_eq!(
        bob.received.pop_front().unwrap(),
        on_channel(0x4001, b"to bob")
    );
}

#[test]
fn relayed_addresses_of_two_shards_reach_each_other() {
    let mut shards = Bench::several(2, DtlsRules::default());
    let mut bobs = shards.pop().unwrap();
    let mut alices = shards.pop().unwrap();
    let mut alice = alices.connected(Version::Dtls12);
    let mut bob = bobs.connected(Version::Dtls13);
    let (_socket, other) = peer();
    let of_bob = call(&mut bobs, &mut bob, other);
    let of_alice = call(&mut alices, &mut alice, of_bob);
    bob.say(&bind_channel(0x4001, of_alice));
    bobs.exchange(&mut bob);
    bob.expect_success();
    alice.say(&on_channel(0x4000, b"to bob"));
    alices.exchange(&mut alice);
    bobs.shard.turn_once();
    bob.receive_all();
    bob.datagrams();
    assert_eq!(
        bob.received.pop_front().unwrap(),
        on_channel(0x4001, b"to bob")
    );
    bob.say(&on_channel(0x4001, b"to alice"));
    bobs.exchange(&mut bob);
    alices.shard.turn_once();
    alice.receive_all();
    alice.datagrams();
    assert_eq!(
        alice.received.pop_front().unwrap(),
        on_channel(0x4000, b"to alice")
    );
    for bench in [&mut alices, &mut bobs] {
        let core = &bench.halves().0.core;
        assert_eq!(core.relay.stats().packets_hairpin, 1);
        assert_eq!(core.report.to_peers.sent, 0);
    }
}

#[test]
fn goodbye_ends_the_allocation() {
    for version in [Version::Dtls12, Version::Dtls13] {
        let mut bench = Bench::new();
        let mut client = bench.connected(version);
        client.say(&allocate());
        bench.exchange(&mut client);
        client.relayed_address();
        assert_eq!(bench.allocations(), 1);
        client.say_goodbye();
        bench.exchange(&mut client);
        assert!(client.is_closed, "goodbye is answered");
        assert_eq!((bench.sessions(), bench.allocations()), (0, 0));
    }
}

#[test]
fn a_session_without_an_allocation_ends() {
    let mut bench = Bench::new();
    let mut idle = bench.connected(Version::Dtls12);
    let mut client = bench.connected(Version::Dtls13);
    client.say(&allocate());
    bench.exchange(&mut client);
    let begun = bench.now();
    bench.time_out_at(after(begun, Duration::from_secs(50)));
    assert_eq!(bench.sessions(), 2);
    bench.time_out_at(after(begun, Duration::from_secs(61)));
    assert_eq!(bench.sessions(), 1, "one has an allocation");
    idle.receive_all();
    idle.datagrams();
    assert!(idle.is_closed, "the client is told");
    // Its allocation expires, and the time begins to run.
    let expired = after(begun, Duration::from_secs(700));
    let (io, _) = bench.halves();
    io.core.end_expired(expired);
    bench.time_out_at(expired);
    assert_eq!((bench.allocations(), bench.sessions()), (0, 1));
    bench.time_out_at(after(expired, Duration::from_secs(61)));
    assert_eq!(bench.sessions(), 0);
}

/// RFC 6347 §4.2.8: somebody else at the same address may begin anew, and the old session lasts until that is finished.
#[test]
fn a_client_that_begins_anew_keeps_its_session_until_the_end() {
    for before in [Version::Dtls12, Version::Dtls13] {
        for after in [Version::Dtls12, Version::Dtls13] {
            begins_anew(before, after);
        }
    }
}

fn begins_anew(before: Version, after: Version) {
    let mut bench = Bench::new();
    let mut old = bench.connected(before);
    old.say(&allocate());
    bench.exchange(&mut old);
    old.relayed_address();
    let mut new = Client::on(old.socket.try_clone().unwrap(), after);
    // Up to the server's flight.
    for _ in 0..2 {
        new.send_all();
        bench.shard.turn_once();
        new.receive_all();
    }
    assert_eq!((bench.sessions(), bench.allocations()), (2, 1));
    old.say(&binding());
    old.send_all();
    bench.shard.turn_once();
    old.receive_all();
    old.datagrams();
    old.expect_success();
    bench.exchange(&mut new);
    assert!(new.is_connected);
    assert_eq!((bench.sessions(), bench.allocations()), (1, 0));
}

#[test]
fn lost_flights_are_repeated() {
    for version in [Version::Dtls12, Version::Dtls13] {
        let mut bench = Bench::new();
        let mut client = Client::new(bench.address, version);
        for _ in 0..2 {
            client.send_all();
            bench.shard.turn_once();
            if bench.sessions() == 0 {
                client.receive_all();
            }
        }
        // The server's flight is lost.
        let socket = client.socket.try_clone().unwrap();
        let mut buffer = [0; 4_096];
        let mut lost = 0;
        while socket.recv(&mut buffer).is_ok() {
            lost += 1;
        }
        assert!(lost > 0, "{version:?}");
        let now = bench.now();
        bench.time_out_at(after(now, Duration::from_secs(2)));
        client.receive_all();
        bench.exchange(&mut client);
        assert!(client.is_connected, "{version:?}");
    }
}

#[test]
fn stopping_tells_the_clients() {
    let mut bench = Bench::new();
    let mut client = bench.connected(Version::Dtls13);
    client.say(&allocate());
    bench.exchange(&mut client);
    bench.shard.mailbox().post(Command::Stop);
    let report = bench.shard.run().unwrap();
    assert_eq!((report.dtls.connected, report.stats.allocations), (1, 1));
    client.receive_all();
    client.datagrams();
    assert!(client.is_closed);
}

/// As many records as the implementation of DTLS 1.2 takes at once.
#[test]
fn messages_may_come_together() {
    let mut bench = Bench::new();
    let mut client = bench.connected(Version::Dtls12);
    for _ in 0..8 {
        client.say(&binding());
    }
    assert_eq!(client.send_all(), 1);
    bench.shard.turn_once();
    client.receive_all();
    client.datagrams();
    assert_eq!(client.received.len(), 8);
}

/// What DTLS costs those who do not use it: a look at one octet.
#[test]
fn plain_clients_take_nothing_from_the_heap() {
    let mut bench = Bench::new();
    let server = bench.address;
    let (plain, _) = peer();
    let (peer, peer_address) = peer();
    let mut answer = [0; 2_048];
    for request in [allocate(), bind_channel(0x4000, peer_address)] {
        plain.send_to(&request, server).unwrap();
        bench.shard.turn_once();
        let len = plain.recv(&mut answer).unwrap();
        assert!(is_success(&answer[..len]));
    }
    let message = on_channel(0x4000, &[7; 1_200]);
    let mut round = |bench: &mut Bench| {
        plain.send_to(&message, server).unwrap();
        bench.shard.turn_once();
        let (len, relayed) = peer.recv_from(&mut answer).unwrap();
        peer.send_to(&answer[..len], relayed).unwrap();
        bench.shard.turn_once();
        assert_eq!(plain.recv(&mut answer).unwrap(), message.len());
    };
    round(&mut bench);
    assert_heap_is_counted();
    let before = HeapUse::of_this_thread();
    for _ in 0..100 {
        round(&mut bench);
    }
    assert_eq!(HeapUse::of_this_thread().since(before), HeapUse::default());
}

fn is_success(answer: &[u8]) -> bool {
    use turnbuckle_proto::{Class, Message};
    Message::decode(answer).unwrap().class() == Class::Success
}
