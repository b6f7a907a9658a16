//! CreatePermission (RFC 8656 §10).

use core::time::Duration;
use std::net::SocketAddr;

use turnbuckle_proto::{AddressFamily, AttributeType, Method};
use turnbuckle_testkit::{Client, Network, Peer, Request, Setup};

// compliance: 8656-10.2-05, 8656-9-02
#[test]
fn opens_every_port_of_each_named_address() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    let relayed = alice.allocate(&mut net);
    let first = Peer::new("9.9.9.9:4000");
    let second = Peer::new("8.8.8.8:5000");
    alice
        .permit(&mut net, &[first.address, second.address])
        .expect_success();
    for peer in [
        first,
        second,
        Peer::new("9.9.9.9:1"),
        Peer::new("8.8.8.8:65535"),
    ] {
        assert!(reaches(&mut net, &mut alice, peer), "{peer:?}");
        peer.send(&mut net, relayed, b"back");
        assert_eq!(
            alice.received_data(&mut net),
            [(peer.address, b"back".to_vec())]
        );
    }
    assert!(!reaches(&mut net, &mut alice, Peer::new("9.9.9.8:4000")));
}

#[test]
fn all_peers_or_none() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    let good = Peer::new("9.9.9.9:4000");
    for bad in ["10.0.0.1:1", "[2a00:1450::1]:1"] {
        for peers in [
            [good.address, bad.parse().unwrap()],
            [bad.parse().unwrap(), good.address],
        ] {
            let answer = alice.permit(&mut net, &peers);
            assert!(matches!(answer.code(), Some(403 | 443)), "{answer:?}");
            assert!(!reaches(&mut net, &mut alice, good), "beside {bad}");
        }
    }
    alice.permit(&mut net, &[good.address]).expect_success();
    assert!(reaches(&mut net, &mut alice, good));
}

// compliance: 8656-10.2-04
#[test]
fn a_refused_peer_is_403_and_the_log_names_the_rule() {
    let mut net = Setup::default().deny("9.9.9.0-9.9.9.255").build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    net.server.take_events();
    alice
        .permit(&mut net, &["9.9.9.9:1".parse().unwrap()])
        .expect_error(403);
    let log = format!("{:?}", net.server.take_events());
    assert!(log.contains("9.9.9.0-9.9.9.255"), "{log}");
}

#[test]
fn an_opened_peer_beats_the_refusal_of_its_range() {
    let mut net = Setup::default()
        .deny("9.9.9.0-9.9.9.255")
        .allow("9.9.9.9")
        .allow("10.1.2.3")
        .build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    for (peer, code) in [
        ("9.9.9.9:1", None),
        ("9.9.9.8:1", Some(403)),
        ("10.1.2.3:1", None),
        ("10.1.2.4:1", Some(403)),
    ] {
        let answer = alice.permit(&mut net, &[peer.parse().unwrap()]);
        assert_eq!(answer.code(), code, "{peer}");
    }
}

// compliance: 8656-10.2-03
#[test]
fn the_other_family_is_443() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    let v6 = "[2a00:1450::1]:1".parse().unwrap();
    alice.permit(&mut net, &[v6]).expect_error(443);

    let mut bob = Client::bob();
    let allocate = Request::allocate().family(AddressFamily::V6);
    bob.ask(&mut net, &allocate).expect_success();
    bob.permit(&mut net, &[v6]).expect_success();
    let v4 = "9.9.9.9:1".parse().unwrap();
    bob.permit(&mut net, &[v4]).expect_error(443);
}

// compliance: 8656-10.2-01
#[test]
fn without_peers_or_with_broken_ones_it_is_400() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    alice.permit(&mut net, &[]).expect_error(400);
    let good = Peer::new("9.9.9.9:4000");
    for broken in [&[0, 1, 0, 0][..], &[0, 3, 0, 0, 1, 2, 3, 4], &[]] {
        let request = Request::create_permission(&[good.address])
            .attribute(AttributeType::XOR_PEER_ADDRESS, broken);
        alice.ask(&mut net, &request).expect_error(400);
        assert!(!reaches(&mut net, &mut alice, good));
    }
}

// compliance: 8656-5-06
#[test]
fn without_allocation_it_is_437() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    let peer = "9.9.9.9:1".parse().unwrap();
    alice.permit(&mut net, &[peer]).expect_error(437);
}

#[test]
fn a_peer_appended_behind_the_integrity_is_not_permitted() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    let (named, smuggled) = (Peer::new("9.9.9.9:4000"), Peer::new("8.8.8.8:4000"));
    let request =
        Request::create_permission(&[named.address]).peer_behind_integrity(smuggled.address);
    alice.ask(&mut net, &request).expect_success();
    assert!(reaches(&mut net, &mut alice, named));
    assert!(!reaches(&mut net, &mut alice, smuggled));
    let only = Request::new(Method::CREATE_PERMISSION).peer_behind_integrity(smuggled.address);
    alice.ask(&mut net, &only).expect_error(400);
}

// compliance: 8656-10.2-02
#[test]
fn more_than_the_allocation_may_hold_is_508() {
    let mut net = Setup::default().config(|c| c.permissions_max = 3).build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    let peers = peers(5);
    alice.permit(&mut net, &peers[..4]).expect_error(508);
    assert!(!reaches(&mut net, &mut alice, at(peers[0])), "none of them");
    // The same address twice takes one place.
    let again = [peers[0], peers[0], peers[1], peers[2]];
    alice.permit(&mut net, &again).expect_success();
    alice.permit(&mut net, &peers[..3]).expect_success();
    alice.permit(&mut net, &peers[3..4]).expect_error(508);
    alice.bind(&mut net, 0x4000, peers[3]).expect_error(508);
    alice.bind(&mut net, 0x4000, peers[2]).expect_success();
}

#[test]
fn expired_permissions_leave_their_places_also_before_the_timers_run() {
    let mut net = Setup::default().config(|c| c.permissions_max = 3).build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    let peers = peers(6);
    alice.permit(&mut net, &peers[..3]).expect_success();
    net.advance_without_timers(Duration::from_secs(300));
    alice.permit(&mut net, &peers[3..]).expect_success();
}

fn peers(count: u8) -> Vec<SocketAddr> {
    (1..=count)
        .map(|i| SocketAddr::from(([9, 9, 9, i], 4000)))
        .collect()
}

const fn at(address: SocketAddr) -> Peer {
    Peer { address }
}

fn reaches(net: &mut Network, client: &mut Client, peer: Peer) -> bool {
    client.send(net, peer.address, b"probe");
    !peer.received(net).is_empty()
}
