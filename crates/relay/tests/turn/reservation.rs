//! EVEN-PORT and RESERVATION-TOKEN (RFC 8656 §7.2): neighbouring ports for RTP and RTCP.

use core::time::Duration;
use std::net::SocketAddr;

use turnbuckle_proto::{AddressFamily, AttributeType};
use turnbuckle_relay::OpenError;
use turnbuckle_testkit::{Answer, Client, Network, Request, Setup};

const RESERVE_NEXT: [u8; 1] = [0x80];

fn pair(client: &mut Client, net: &mut Network) -> (SocketAddr, Vec<u8>) {
    let request = Request::allocate().attribute(AttributeType::EVEN_PORT, &RESERVE_NEXT);
    let answer = client.ask(net, &request).expect_success();
    (answer.relayed().unwrap(), token(&answer).unwrap())
}

fn token(answer: &Answer) -> Option<Vec<u8>> {
    let token = answer.message().reservation_token().unwrap()?;
    Some(token.to_vec())
}

fn redeem(client: &mut Client, net: &mut Network, token: &[u8]) -> Answer {
    client.ask(
        net,
        &Request::allocate().attribute(AttributeType::RESERVATION_TOKEN, token),
    )
}

/// The same user from another port: another five-tuple.
fn alice_again() -> Client {
    let mut again = Client::alice();
    again.address.set_port(again.address.port() + 1);
    again
}

// compliance: 8656-7.2-21
#[test]
fn an_even_port_alone() {
    let mut net = Setup::default().build();
    for _ in 0..20 {
        let mut alice = Client::alice();
        let request = Request::allocate().attribute(AttributeType::EVEN_PORT, &[0]);
        let answer = alice.ask(&mut net, &request).expect_success();
        assert_eq!(answer.relayed().unwrap().port() % 2, 0);
        assert_eq!(token(&answer), None);
        alice.refresh(&mut net, 0).expect_success();
    }
    assert_eq!(net.server.shards[0].sockets.len(), 0);
}

// compliance: 8656-7.2-20, 8656-7.2-22, 8656-7.2-24
#[test]
fn the_neighbour_waits_for_its_token() {
    let mut net = Setup::default().build();
    let (even, token) = pair(&mut Client::alice(), &mut net);
    assert_eq!(even.port() % 2, 0);
    assert_eq!(net.server.allocations(), 1);
    let odd = redeem(&mut alice_again(), &mut net, &token).expect_success();
    assert_eq!(odd.relayed().unwrap().port(), even.port() + 1);
    assert_eq!(net.server.allocations(), 2);
    assert_eq!(net.server.shards[0].sockets.len(), 2);
}

// compliance: 8656-7.2-20
#[test]
fn a_token_is_good_in_every_shard() {
    let mut net = Setup::default().shards(2).build();
    let (even, token) = pair(&mut Client::alice(), &mut net);
    let mut again = alice_again();
    let [first, second] =
        [Client::alice(), again.clone()].map(|c| net.server.shard_of(c.five_tuple()));
    assert_ne!(first, second);
    let odd = redeem(&mut again, &mut net, &token).expect_success();
    assert_eq!(odd.relayed().unwrap().port(), even.port() + 1);
    assert_eq!(net.server.shards[second].sockets.len(), 1);
    // The time of the reservation is over, and nothing of the allocation with it.
    net.advance(Duration::from_secs(31));
    assert_eq!(net.server.allocations(), 2);
    again.refresh(&mut net, 600).expect_success();
}

#[test]
fn a_port_that_somebody_else_took_meanwhile_is_508() {
    let mut net = Setup::default().build();
    let (_, token) = pair(&mut Client::alice(), &mut net);
    let shard = &mut net.server.shards[0];
    shard.sockets.fail_next.push_back(OpenError::PortInUse);
    redeem(&mut alice_again(), &mut net, &token).expect_error(508);
    assert_eq!(net.server.ports.usage(AddressFamily::V4).0, 1);
}

// compliance: 8656-7.2-08, 8656-7.2-23
#[test]
fn a_token_is_good_once_for_its_user_and_for_thirty_seconds() {
    let mut net = Setup::default().build();
    let (_, token) = pair(&mut Client::alice(), &mut net);
    redeem(&mut Client::bob(), &mut net, &token).expect_error(508);
    redeem(&mut alice_again(), &mut net, &[0; 8]).expect_error(508);
    let mut again = alice_again();
    redeem(&mut again, &mut net, &token).expect_success();
    again.refresh(&mut net, 0).expect_success();
    redeem(&mut alice_again(), &mut net, &token).expect_error(508);

    let mut late = alice_again();
    let (_, token) = pair(&mut late, &mut net);
    late.refresh(&mut net, 0).expect_success();
    net.advance(Duration::from_secs(30));
    redeem(&mut alice_again(), &mut net, &token).expect_error(508);
    // The port of the reservation is free again.
    assert_eq!(net.server.allocations(), 1);
    assert_eq!(net.server.ports.usage(AddressFamily::V4).0, 1);
}

// compliance: 8656-7.2-07
#[test]
fn a_token_goes_with_nothing_that_chooses_a_port() {
    let mut net = Setup::default().build();
    let (_, token) = pair(&mut Client::alice(), &mut net);
    for (attribute, value) in [
        (AttributeType::EVEN_PORT, vec![0]),
        (AttributeType::REQUESTED_ADDRESS_FAMILY, vec![1, 0, 0, 0]),
    ] {
        let request = Request::allocate()
            .attribute(AttributeType::RESERVATION_TOKEN, &token)
            .attribute(attribute, &value);
        alice_again().ask(&mut net, &request).expect_error(400);
    }
}

// compliance: 8656-7.2-31
#[test]
fn a_retransmission_names_the_same_token() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.ask_once(&mut net, &Request::allocate()).unwrap();
    let request = Request::allocate().attribute(AttributeType::EVEN_PORT, &RESERVE_NEXT);
    let bytes = alice.encode(&request);
    let first = alice.exchange(&mut net, &bytes).unwrap().expect_success();
    assert!(token(&first).is_some());
    assert_eq!(alice.exchange(&mut net, &bytes).unwrap(), first);
    assert_eq!(net.server.ports.usage(AddressFamily::V4).0, 2);
}

#[test]
fn a_reserved_port_relays_nothing_yet() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    let (even, _) = pair(&mut alice, &mut net);
    let mut bob = Client::bob();
    bob.allocate(&mut net);
    let reserved = SocketAddr::new(even.ip(), even.port() + 1);
    bob.permit(&mut net, &[reserved]).expect_success();
    bob.send(&mut net, reserved, b"hello");
    assert!(alice.received_data(&mut net).is_empty());
    assert_eq!(
        net.server
            .stats()
            .dropped(turnbuckle_relay::DropReason::OwnAddress),
        1
    );
}
