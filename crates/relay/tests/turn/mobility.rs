//! Allocations that follow their client (RFC 8016), and nobody else.

use core::num::NonZeroU32;
use core::time::Duration;

use turnbuckle_proto::{AddressFamily, AttributeType};
use turnbuckle_relay::{Event, Transport};
use turnbuckle_testkit::{Answer, BOB, Client, Clock, Network, Peer, Request, Setup};

const TICKET: AttributeType = AttributeType::MOBILITY_TICKET;

fn mobile() -> Setup {
    Setup::default().config(|c| c.mobility = true)
}

fn allocate(client: &mut Client, net: &mut Network) -> Vec<u8> {
    let request = Request::allocate().attribute(TICKET, &[]);
    let answer = client.ask(net, &request).expect_success();
    answer.ticket().expect("MOBILITY-TICKET")
}

fn refresh(client: &mut Client, net: &mut Network, ticket: &[u8]) -> Answer {
    client.ask(net, &Request::refresh(600).attribute(TICKET, ticket))
}

/// The same client at another address.
fn elsewhere(client: &Client, address: &str) -> Client {
    let mut moved = client.clone();
    moved.address = address.parse().unwrap();
    moved
}

// compliance: 8016-3.1.2-03, 8016-3.2.2-06, 8016-3.2.2-07, 8016-3.2.2-08
#[test]
fn peers_channels_and_address_stay() {
    let mut setup = mobile();
    setup.limits.per_user = NonZeroU32::new(1);
    let mut net = setup.build();
    let mut alice = Client::alice();
    let ticket = allocate(&mut alice, &mut net);
    let relayed = alice.relayed.unwrap();
    let (bound, permitted) = (Peer::new("9.9.9.9:4000"), Peer::new("8.8.8.8:4000"));
    alice.bind(&mut net, 0x4000, bound.address).expect_success();
    alice
        .permit(&mut net, &[permitted.address])
        .expect_success();

    let mut moved = elsewhere(&alice, "203.0.113.99:999");
    let answer = refresh(&mut moved, &mut net, &ticket).expect_success();
    assert_ne!(answer.ticket().unwrap(), ticket);
    assert_eq!((net.server.allocations(), net.server.quota.total()), (1, 1));
    // Until the client sends data from there, the old address gets and sends it.
    bound.send(&mut net, relayed, b"old");
    assert_eq!(
        alice.received_channel(&mut net),
        [(0x4000, b"old".to_vec())]
    );
    alice.send_channel(&mut net, 0x4000, b"still");
    assert_eq!(bound.received(&mut net), [(relayed, b"still".to_vec())]);
    net.server.take_events();

    moved.send_channel(&mut net, 0x4000, b"here");
    assert_eq!(bound.received(&mut net), [(relayed, b"here".to_vec())]);
    let events = net.server.take_events();
    assert!(
        matches!(&events[..], [Event::AllocationMoved { from, to, .. }]
            if from.five_tuple == alice.five_tuple() && to.five_tuple == moved.five_tuple()),
        "{events:?}"
    );
    bound.send(&mut net, relayed, b"new");
    permitted.send(&mut net, relayed, b"new");
    assert_eq!(alice.received(&mut net), []);
    assert_eq!(moved.received(&mut net).len(), 2);
    // The old five-tuple is nobody's.
    alice.send_channel(&mut net, 0x4000, b"gone");
    assert_eq!(bound.received(&mut net), []);
    alice.refresh(&mut net, 600).expect_error(437);
    moved.refresh(&mut net, 0).expect_success();
    assert_eq!(net.server.quota.total(), 0);
    alice.allocate(&mut net);
}

#[test]
fn a_send_indication_ends_the_move_too() {
    let mut net = mobile().build();
    let mut alice = Client::alice();
    let ticket = allocate(&mut alice, &mut net);
    let peer = Peer::new("9.9.9.9:4000");
    alice.permit(&mut net, &[peer.address]).expect_success();
    let mut moved = elsewhere(&alice, "203.0.113.99:999");
    refresh(&mut moved, &mut net, &ticket).expect_success();
    moved.send(&mut net, peer.address, b"here");
    assert_eq!(peer.received(&mut net).len(), 1);
    alice.send(&mut net, peer.address, b"gone");
    assert_eq!(peer.received(&mut net).len(), 0);
}

// compliance: 8016-3.2.2-04, 8016-3.2.2-08
#[test]
fn a_ticket_is_good_once() {
    let mut net = mobile().build();
    let mut alice = Client::alice();
    let first = allocate(&mut alice, &mut net);
    let mut moved = elsewhere(&alice, "203.0.113.99:999");
    let second = refresh(&mut moved, &mut net, &first).expect_success();
    let second = second.ticket().unwrap();
    let mut again = elsewhere(&alice, "203.0.113.98:998");
    refresh(&mut again, &mut net, &first).expect_error(437);
    // Before it has sent data the client may go on to a third address.
    let third = refresh(&mut again, &mut net, &second).expect_success();
    let third = third.ticket().unwrap();
    moved.refresh(&mut net, 600).expect_error(437);
    // Where the allocation is, it cannot move to.
    refresh(&mut again, &mut net, &third).expect_error(400);
    refresh(&mut alice, &mut net, &third).expect_error(400);
    refresh(&mut moved, &mut net, &third).expect_success();
    assert_eq!(net.server.allocations(), 1);
    // Without showing it no new one is given.
    let answer = alice.refresh(&mut net, 600).expect_success();
    assert_eq!(answer.ticket(), None);
}

// compliance: 8016-3.2.2-09
#[test]
fn retransmissions_are_answered_alike() {
    let mut net = mobile().build();
    let mut alice = Client::alice();
    alice.ask_once(&mut net, &Request::allocate()).unwrap();
    let bytes = alice.encode(&Request::allocate().attribute(TICKET, &[]));
    let first = alice.exchange(&mut net, &bytes).unwrap().expect_success();
    assert_eq!(alice.exchange(&mut net, &bytes).unwrap(), first);
    let mut moved = elsewhere(&alice, "203.0.113.99:999");
    // The nonce is for another address.
    let ticket = first.ticket().unwrap();
    let request = Request::refresh(600).attribute(TICKET, &ticket);
    let answer = moved.ask_once(&mut net, &request).unwrap();
    answer.expect_error(438);
    let bytes = moved.encode(&request);
    let first = moved.exchange(&mut net, &bytes).unwrap().expect_success();
    assert_eq!(moved.exchange(&mut net, &bytes).unwrap(), first);
    // As long as one may be under way.
    net.advance(Duration::from_secs(30));
    assert_eq!(moved.exchange(&mut net, &bytes).unwrap(), first);
}

// compliance: 8016-3.1.2-04, 8016-5-02
#[test]
fn a_ticket_is_short_and_tells_nothing() {
    let mut net = mobile().build();
    let mut alice = Client::alice();
    let request = Request::allocate()
        .additional_family(AddressFamily::V6)
        .attribute(TICKET, &[]);
    let answer = alice.ask(&mut net, &request).expect_success();
    // What any path carries: 576 bytes less the headers of IPv4 and UDP.
    assert!(answer.bytes().len() <= 548);
    let mut tickets = vec![answer.ticket().unwrap()];
    for port in 1..=64 {
        let mut moved = elsewhere(&alice, &format!("203.0.113.99:{port}"));
        let answer = refresh(&mut moved, &mut net, tickets.last().unwrap()).expect_success();
        tickets.push(answer.ticket().unwrap());
    }
    // All are of one allocation, and yet no byte of one says so.
    for at in 0..tickets[0].len() {
        assert!(tickets.iter().all(|ticket| ticket[at] != 0));
        let mut values: Vec<u8> = tickets.iter().map(|ticket| ticket[at]).collect();
        values.sort_unstable();
        values.dedup();
        assert!(values.len() > 32, "byte {at} takes {} values", values.len());
    }
}

// compliance: 8016-3.2.2-05
#[test]
fn nobody_takes_over_anothers_allocation() {
    let mut net = mobile().build();
    let mut alice = Client::alice();
    let ticket = allocate(&mut alice, &mut net);
    let mut bob = Client::bob();
    refresh(&mut bob, &mut net, &ticket).expect_error(441);
    let mut forger = Client::bob().user("alice", "guessed");
    refresh(&mut forger, &mut net, &ticket).expect_error(401);
    let mut stranger = Client::new("203.0.113.50:1");
    refresh(&mut stranger, &mut net, &ticket).expect_error(401);
    // Not from the five-tuple of another allocation either, and not for one's own.
    bob.allocate(&mut net);
    refresh(&mut bob, &mut net, &ticket).expect_error(441);
    let mut own = Client::new("203.0.113.11:1").user("alice", "wonderland");
    own.allocate(&mut net);
    refresh(&mut own, &mut net, &ticket).expect_error(437);
    let mut other = Client::alice().user(BOB.0, BOB.1);
    refresh(&mut other, &mut net, &ticket).expect_error(441);
    // None of it has used the ticket up.
    let mut moved = elsewhere(&alice, "203.0.113.99:999");
    refresh(&mut moved, &mut net, &ticket).expect_success();
}

#[test]
fn an_expired_credential_moves_on_as_it_refreshes() {
    let mut net = mobile().build();
    let name = format!("{}:carol", Clock::START_UNIX + 100);
    let mut carol = Client::new("203.0.113.30:1").rest(&name);
    let ticket = allocate(&mut carol, &mut net);
    net.advance(Duration::from_secs(200));
    let mut moved = elsewhere(&carol, "203.0.113.99:999");
    refresh(&mut moved, &mut net, &ticket).expect_success();
}

// compliance: 8016-3.1.2-02, 8016-3.2.2-02, 8016-3.2.2-03, 8016-5-01
#[test]
fn made_up_tickets_are_400() {
    let mut net = mobile().build();
    let mut alice = Client::alice();
    let ticket = allocate(&mut alice, &mut net);
    let mut moved = elsewhere(&alice, "203.0.113.99:999");
    for at in 0..ticket.len() {
        let mut changed = ticket.clone();
        changed[at] ^= 1;
        refresh(&mut moved, &mut net, &changed).expect_error(400);
    }
    for made_up in [&b""[..], &ticket[1..], &[0; 32], &[0xFF; 32], &[7; 300]] {
        refresh(&mut moved, &mut net, made_up).expect_error(400);
    }
    let mut other = Client::new("203.0.113.11:1").user("alice", "wonderland");
    let request = Request::allocate().attribute(TICKET, &ticket);
    other.ask(&mut net, &request).expect_error(400);
    assert_eq!(net.server.quota.total(), 1);
    // A ticket ends with its allocation.
    alice.refresh(&mut net, 0).expect_success();
    refresh(&mut moved, &mut net, &ticket).expect_error(437);
}

// compliance: 8016-3.1.2-01, 8016-3.2.2-01, 8016-5-03, 8016-5-04
#[test]
fn it_is_405_unless_configured_and_over_anything_but_udp() {
    let request = Request::allocate().attribute(TICKET, &[]);
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.ask(&mut net, &request).expect_error(405);
    alice.allocate(&mut net);
    refresh(&mut alice, &mut net, &[0; 20]).expect_error(405);
    let mut net = mobile().build();
    for transport in [Transport::Tcp, Transport::Tls, Transport::Dtls] {
        let mut alice = Client::alice().over(transport);
        alice.ask(&mut net, &request).expect_error(405);
    }
    let mut open = mobile().config(|c| c.credentials.anonymous = true).build();
    let answer = Client::new("203.0.113.30:1").ask(&mut open, &request);
    answer.expect_error(405);
    // Who does not ask for it has nothing of it.
    let mut alice = Client::alice();
    let answer = alice.ask(&mut net, &Request::allocate()).expect_success();
    assert_eq!(answer.ticket(), None);
}

#[test]
fn a_client_may_delete_from_where_it_is() {
    let mut net = mobile().build();
    let mut alice = Client::alice();
    let ticket = allocate(&mut alice, &mut net);
    let mut moved = elsewhere(&alice, "203.0.113.99:999");
    // The nonce is for another address.
    moved.refresh(&mut net, 600).expect_error(437);
    // A family that there is not uses no ticket up.
    let wrong = Request::refresh(600)
        .attribute(TICKET, &ticket)
        .family(AddressFamily::V6);
    moved.ask(&mut net, &wrong).expect_error(443);
    let bytes = moved.encode(&Request::refresh(0).attribute(TICKET, &ticket));
    let first = moved.exchange(&mut net, &bytes).unwrap().expect_success();
    assert_eq!(net.server.allocations(), 0);
    assert_eq!(moved.exchange(&mut net, &bytes).unwrap(), first);
    moved.refresh(&mut net, 0).expect_error(437);
}

#[test]
fn a_move_survives_a_restart() {
    let mut net = mobile().build();
    let mut alice = Client::alice();
    let ticket = allocate(&mut alice, &mut net);
    let peer = Peer::new("9.9.9.9:4000");
    alice.permit(&mut net, &[peer.address]).expect_success();
    let mut moved = elsewhere(&alice, "203.0.113.99:999");
    refresh(&mut moved, &mut net, &ticket).expect_success();
    net.server.restart(|snapshot| {
        let text = serde_json::to_string(&snapshot).unwrap();
        serde_json::from_str(&text).unwrap()
    });
    moved.send(&mut net, peer.address, b"here");
    assert_eq!(peer.received(&mut net).len(), 1);
    alice.refresh(&mut net, 600).expect_error(437);
}
