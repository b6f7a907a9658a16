//! How many clients a shard bears.

use std::net::UdpSocket;

use super::client::{Version, allocate, binding};
use super::*;

/// A client that stops after its cookie, on a loopback address of its own.
fn half_open(bench: &mut Bench, ip: [u8; 4]) -> Client {
    let socket = UdpSocket::bind((std::net::Ipv4Addr::from(ip), 0)).unwrap();
    socket.connect(bench.address).unwrap();
    let mut client = Client::on(socket, Version::Dtls13);
    for _ in 0..2 {
        client.send_all();
        bench.shard.turn_once();
        client.receive_all();
    }
    client
}

#[test]
fn half_open_handshakes_end_after_ten_seconds() {
    let mut bench = Bench::new();
    let _client = half_open(&mut bench, [127, 0, 0, 1]);
    let begun = bench.now();
    bench.time_out_at(after(begun, Duration::from_secs(9)));
    assert_eq!(bench.sessions(), 1);
    bench.time_out_at(after(begun, Duration::from_secs(11)));
    assert_eq!(bench.sessions(), 0);
    assert_eq!(bench.report().failed, 1);
    assert_eq!(bench.halves().1.poll_timeout(), None, "nothing is left");
}

#[test]
fn one_source_has_few_half_open_handshakes() {
    let mut bench = Bench::with(DtlsRules {
        half_open_per_source_max: 3,
        ..DtlsRules::default()
    });
    let mut other = half_open(&mut bench, [127, 0, 0, 2]);
    let mut clients: Vec<Client> = (0..5)
        .map(|_| half_open(&mut bench, [127, 0, 0, 1]))
        .collect();
    assert_eq!((bench.sessions(), bench.report().evicted), (4, 2));
    // The newest are still there, and so is that of the other source.
    for client in [&mut other, &mut clients[4]] {
        bench.exchange(client);
        assert!(client.is_connected);
    }
}

#[test]
fn all_sources_have_some_half_open_handshakes() {
    let mut bench = Bench::with(DtlsRules {
        half_open_max: 8,
        ..DtlsRules::default()
    });
    let established = bench.connected(Version::Dtls12);
    for last in 1..=20 {
        half_open(&mut bench, [127, 0, 1, last]);
    }
    assert_eq!((bench.sessions(), bench.report().evicted), (9, 12));
    // Someone who gets on with it is served.
    let mut honest = bench.connected(Version::Dtls13);
    honest.say(&binding());
    bench.exchange(&mut honest);
    honest.expect_success();
    drop(established);
}

#[test]
fn sessions_with_an_allocation_keep_their_place() {
    let mut bench = Bench::with(DtlsRules {
        sessions_max: 2,
        ..DtlsRules::default()
    });
    let mut first = bench.connected(Version::Dtls12);
    first.say(&allocate());
    bench.exchange(&mut first);
    let mut idle = bench.connected(Version::Dtls12);
    // There is no room but that of the idle one.
    let mut second = bench.connected(Version::Dtls12);
    assert_eq!(bench.report().evicted, 1);
    idle.receive_all();
    idle.datagrams();
    assert!(idle.is_closed);
    second.say(&allocate());
    bench.exchange(&mut second);
    let mut third = Client::new(bench.address, Version::Dtls12);
    bench.exchange(&mut third);
    assert!(!third.is_connected);
    assert_eq!((bench.report().refused, bench.allocations()), (1, 2));
}

/// The heap that a client costs: told by the run, and bounded.
#[test]
fn a_session_is_small() {
    assert_heap_is_counted();
    let mut bench = Bench::new();
    let mut client = Client::new(bench.address, Version::Dtls13);
    let mut cost = [0; 2];
    for cost in &mut cost {
        client.send_all();
        let before = HeapUse::of_this_thread();
        bench.shard.turn_once();
        *cost = HeapUse::of_this_thread().since(before).bytes;
        client.receive_all();
    }
    let [before, after] = cost;
    println!("a half-open handshake takes {after} bytes");
    assert_eq!(before, 0, "before the cookie");
    assert!((1..64 << 10).contains(&after), "{after}");
}
