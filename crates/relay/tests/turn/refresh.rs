//! Refresh (RFC 8656 §8).

use core::time::Duration;

use turnbuckle_proto::{AddressFamily, AttributeType, Method};
use turnbuckle_testkit::{BOB, Client, Peer, Request, Setup};

// compliance: 8656-8.2-03, 8656-8.2-04
#[test]
fn prolongs_from_now_on() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    net.advance(Duration::from_secs(500));
    let answer = alice.refresh(&mut net, 1000).expect_success();
    assert_eq!(answer.lifetime(), Some(1000));
    net.advance(Duration::from_secs(1000) - TICK);
    assert_eq!(net.server.allocations(), 1);
    net.advance(TICK);
    assert_eq!(net.server.allocations(), 0);
}

// compliance: 8656-8.2-03
#[test]
fn shortens_down_to_the_default() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    let long = Request::allocate().lifetime(3600);
    alice.ask(&mut net, &long).expect_success();
    let answer = alice.refresh(&mut net, 10).expect_success();
    assert_eq!(answer.lifetime(), Some(600));
    net.advance(Duration::from_secs(600));
    assert_eq!(net.server.allocations(), 0);
}

#[test]
fn without_lifetime_it_is_the_default() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    let answer = alice.ask(&mut net, &Request::new(Method::REFRESH));
    assert_eq!(answer.expect_success().lifetime(), Some(600));
    let too_long = alice.refresh(&mut net, u32::MAX).expect_success();
    assert_eq!(too_long.lifetime(), Some(3600));
}

// compliance: 8656-8.2-02, 8656-8.2-04
#[test]
fn zero_deletes_now() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    let relayed = alice.allocate(&mut net);
    let peer = Peer::new("9.9.9.9:4000");
    alice.permit(&mut net, &[peer.address]).expect_success();
    let answer = alice.refresh(&mut net, 0).expect_success();
    assert_eq!(answer.lifetime(), Some(0));
    assert_eq!(net.server.allocations(), 0);
    assert!(net.server.shards[0].sockets.is_empty());
    assert_eq!(net.server.ports.usage(AddressFamily::V4).0, 0);

    peer.send(&mut net, relayed, b"too late");
    assert_eq!(alice.received(&mut net), []);
    alice.send(&mut net, peer.address, b"too late");
    assert_eq!(peer.received(&mut net), []);
}

// compliance: 8489-6.3.1-02, 8489-6.3.1-03
#[test]
fn the_retransmission_of_a_deletion_succeeds_too() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    let delete = alice.encode(&Request::refresh(0));
    let first = alice.exchange(&mut net, &delete).unwrap().expect_success();
    net.advance(Duration::from_secs(39));
    let second = alice.exchange(&mut net, &delete).unwrap();
    assert_eq!(first, second);
    // Another deletion has nothing to delete.
    alice.refresh(&mut net, 0).expect_error(437);
}

#[test]
fn a_deletion_is_forgotten_though_nothing_wakes_the_host() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    let delete = alice.encode(&Request::refresh(0));
    alice.exchange(&mut net, &delete).unwrap().expect_success();
    assert_eq!(net.server.shards[0].relay.poll_timeout(), None);
    net.advance(Duration::from_secs(40));
    alice.exchange(&mut net, &delete).unwrap().expect_error(437);
}

#[test]
fn a_deletion_is_remembered_for_its_own_client_only() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    let delete = Request::refresh(0).transaction(*b"one deletion");
    alice.ask(&mut net, &delete).expect_success();
    let mut bob = Client::bob();
    bob.ask(&mut net, &delete).expect_error(437);
    let prolong = Request::refresh(600).transaction(*b"one deletion");
    alice.ask(&mut net, &prolong).expect_error(437);
}

// compliance: 8656-5-06
#[test]
fn without_allocation_it_is_437() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.refresh(&mut net, 600).expect_error(437);
    alice.refresh(&mut net, 0).expect_error(437);
    // Also one microsecond after it ran out.
    alice.allocate(&mut net);
    net.advance_without_timers(Duration::from_secs(600));
    alice.refresh(&mut net, 600).expect_error(437);
}

// compliance: 8656-5-05
#[test]
fn another_user_is_441() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    let mut other = Client::alice().user(BOB.0, BOB.1);
    other.refresh(&mut net, 0).expect_error(441);
    other.refresh(&mut net, 600).expect_error(441);
    let peer = Peer::new("9.9.9.9:4000").address;
    other.permit(&mut net, &[peer]).expect_error(441);
    other.bind(&mut net, 0x4000, peer).expect_error(441);
    assert_eq!(net.server.allocations(), 1);
    alice.refresh(&mut net, 600).expect_success();
}

// compliance: 8489-9.2.4-17, 8489-9.2.4-18
#[test]
fn another_users_wrong_password_is_401() {
    let mut net = Setup::default().build();
    Client::alice().allocate(&mut net);
    let mut other = Client::alice().user(BOB.0, "guessed");
    other.refresh(&mut net, 0).expect_error(401);
    let mut forger = Client::alice().user("alice", "guessed");
    forger.refresh(&mut net, 0).expect_error(401);
    assert_eq!(net.server.allocations(), 1);
}

// compliance: 8656-8.2-01
#[test]
fn the_family_must_be_the_allocations() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    let v6 = Request::refresh(0).family(AddressFamily::V6);
    alice.ask(&mut net, &v6).expect_error(443);
    let unknown =
        Request::refresh(0).attribute(AttributeType::REQUESTED_ADDRESS_FAMILY, &[9, 0, 0, 0]);
    alice.ask(&mut net, &unknown).expect_error(443);
    assert_eq!(net.server.allocations(), 1);
    let v4 = Request::refresh(0).family(AddressFamily::V4);
    alice.ask(&mut net, &v4).expect_success();
    assert_eq!(net.server.allocations(), 0);
}

#[test]
fn a_lifetime_appended_behind_the_integrity_kills_no_call() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    let request = Request::new(Method::REFRESH).behind_integrity(AttributeType::LIFETIME, &[0; 4]);
    let answer = alice.ask(&mut net, &request).expect_success();
    assert_eq!(answer.lifetime(), Some(600));
    assert_eq!(net.server.allocations(), 1);
}

#[test]
fn a_malformed_lifetime_is_400() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    let request = Request::new(Method::REFRESH).attribute(AttributeType::LIFETIME, &[0; 3]);
    alice.ask(&mut net, &request).expect_error(400);
    assert_eq!(net.server.allocations(), 1);
}

const TICK: Duration = Duration::from_micros(1);
