//! ChannelBind (RFC 8656 §12).

use core::time::Duration;

use turnbuckle_proto::AttributeType;
use turnbuckle_relay::DropReason;
use turnbuckle_testkit::{Client, Peer, Request, Setup};

// compliance: 8656-12.5-01, 8656-12.6-05
#[test]
fn data_goes_both_ways_on_the_channel() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    let relayed = alice.allocate(&mut net);
    let peer = Peer::new("9.9.9.9:4000");
    alice.bind(&mut net, 0x4000, peer.address).expect_success();
    alice.send_channel(&mut net, 0x4000, b"there");
    assert_eq!(peer.received(&mut net), [(relayed, b"there".to_vec())]);
    peer.send(&mut net, relayed, b"back");
    assert_eq!(
        alice.received_channel(&mut net),
        [(0x4000, b"back".to_vec())]
    );
}

// compliance: 8656-12.2-07, 8656-9-02
#[test]
fn installs_the_permission_for_every_port_of_the_peer() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    let relayed = alice.allocate(&mut net);
    alice
        .bind(&mut net, 0x4000, "9.9.9.9:4000".parse().unwrap())
        .expect_success();
    let beside = Peer::new("9.9.9.9:4001");
    beside.send(&mut net, relayed, b"beside");
    assert_eq!(
        alice.received_data(&mut net),
        [(beside.address, b"beside".to_vec())]
    );
}

// compliance: 8656-12.2-03
#[test]
fn a_number_and_a_peer_are_bound_to_each_other_only() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    let [first, second] = ["9.9.9.9:4000", "9.9.9.9:4001"].map(|p| p.parse().unwrap());
    alice.bind(&mut net, 0x4000, first).expect_success();
    alice.bind(&mut net, 0x4000, second).expect_error(400);
    alice.bind(&mut net, 0x4001, first).expect_error(400);
    alice.bind(&mut net, 0x4000, first).expect_success();
    alice.bind(&mut net, 0x4001, second).expect_success();
    // Another client's channels are another matter.
    let mut bob = Client::bob();
    bob.allocate(&mut net);
    bob.bind(&mut net, 0x4000, second).expect_success();
}

// compliance: 8656-12.2-02
#[test]
fn the_range_of_numbers() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    let peer = |port| format!("9.9.9.9:{port}").parse().unwrap();
    for number in [0, 0x3FFF, 0x5000, 0x7FFF, 0x8000, 0xFFFF] {
        alice.bind(&mut net, number, peer(1)).expect_error(400);
    }
    alice.bind(&mut net, 0x4000, peer(1)).expect_success();
    alice.bind(&mut net, 0x4FFF, peer(2)).expect_success();
}

#[test]
fn the_wide_range_of_rfc5766_where_configured() {
    let mut net = Setup::default().config(|c| c.wide_channels = true).build();
    let mut alice = Client::alice();
    let relayed = alice.allocate(&mut net);
    let peer = Peer::new("9.9.9.9:4000");
    alice.bind(&mut net, 0x8000, peer.address).expect_error(400);
    alice.bind(&mut net, 0x7FFF, peer.address).expect_success();
    alice.send_channel(&mut net, 0x7FFF, b"wide");
    assert_eq!(peer.received(&mut net), [(relayed, b"wide".to_vec())]);
}

// compliance: 8656-12.2-01
#[test]
fn number_and_peer_must_be_there() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    let whole = Request::channel_bind(0x4000, "9.9.9.9:1".parse().unwrap());
    for missing in [
        AttributeType::CHANNEL_NUMBER,
        AttributeType::XOR_PEER_ADDRESS,
    ] {
        let request = whole.clone().without(missing);
        alice.ask(&mut net, &request).expect_error(400);
        let broken = request.attribute(missing, &[0x40]);
        alice.ask(&mut net, &broken).expect_error(400);
    }
}

// compliance: 8656-5-06
#[test]
fn without_allocation_it_is_437() {
    let mut net = Setup::default().build();
    let peer = "9.9.9.9:1".parse().unwrap();
    Client::alice()
        .bind(&mut net, 0x4000, peer)
        .expect_error(437);
}

// compliance: 8656-12.2-04, 8656-12.2-05
#[test]
fn refused_and_foreign_peers() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    let loopback = "127.0.0.1:22".parse().unwrap();
    alice.bind(&mut net, 0x4000, loopback).expect_error(403);
    let v6 = "[2a00:1450::1]:1".parse().unwrap();
    alice.bind(&mut net, 0x4000, v6).expect_error(443);
    // The number has not been spent on them.
    let peer = "9.9.9.9:1".parse().unwrap();
    alice.bind(&mut net, 0x4000, peer).expect_success();
}

// compliance: 8656-12-02, 8656-9-04
#[test]
fn a_refresh_keeps_channel_and_permission() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    let long = Request::allocate().lifetime(3600);
    let relayed = alice.ask(&mut net, &long).relayed().unwrap();
    let peer = Peer::new("9.9.9.9:4000");
    for _ in 0..4 {
        alice.bind(&mut net, 0x4000, peer.address).expect_success();
        net.advance(Duration::from_secs(299));
    }
    alice.send_channel(&mut net, 0x4000, b"still there");
    assert_eq!(
        peer.received(&mut net),
        [(relayed, b"still there".to_vec())]
    );
}

// compliance: 8656-12-03
#[test]
fn an_expired_number_is_free_for_another_peer() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    let long = Request::allocate().lifetime(3600);
    alice.ask(&mut net, &long).expect_success();
    let [first, second] = ["9.9.9.9:4000", "9.9.9.9:4001"].map(|p| p.parse().unwrap());
    alice.bind(&mut net, 0x4000, first).expect_success();
    net.advance_without_timers(Duration::from_secs(600) - Duration::from_micros(1));
    alice.bind(&mut net, 0x4000, second).expect_error(400);
    net.advance_without_timers(Duration::from_micros(1));
    alice.bind(&mut net, 0x4000, second).expect_success();
    alice.bind(&mut net, 0x4001, first).expect_success();
}

// compliance: 8656-12.2-06
#[test]
fn more_channels_than_the_allocation_may_hold_are_508() {
    let mut net = Setup::default().config(|c| c.permissions_max = 3).build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    let peer = |port: u16| format!("9.9.9.9:{port}").parse().unwrap();
    for i in 0..3 {
        alice.bind(&mut net, 0x4000 + i, peer(i)).expect_success();
    }
    alice.bind(&mut net, 0x4003, peer(3)).expect_error(508);
    alice.bind(&mut net, 0x4001, peer(1)).expect_success();
}

// compliance: 8656-12.6-03
#[test]
fn data_on_a_channel_that_is_not_bound_is_dropped() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    alice.send_channel(&mut net, 0x4000, b"nowhere");
    assert!(net.is_quiet());
    assert_eq!(net.server.stats().dropped(DropReason::NoChannel), 1);
    Client::bob().send_channel(&mut net, 0x4000, b"nobody");
    assert!(net.is_quiet());
    assert_eq!(net.server.stats().dropped(DropReason::NoAllocation), 1);
}
