//! Dual allocations (RFC 8656 §7 and §8): a relayed transport address of each family, each with a life of its own.

use core::time::Duration;
use std::net::SocketAddr;

use turnbuckle_proto::{AddressFamily, AttributeType};
use turnbuckle_relay::{DropReason, EndReason, Event, OpenError};
use turnbuckle_testkit::{Answer, Client, Network, Peer, RELAY_V4, RELAY_V6, Request, Setup};

fn dual() -> Request {
    Request::allocate().additional_family(AddressFamily::V6)
}

fn allocate(client: &mut Client, net: &mut Network) -> [SocketAddr; 2] {
    let answer = client.ask(net, &dual()).expect_success();
    answer.all_relayed().try_into().expect("two addresses")
}

fn refresh(client: &mut Client, net: &mut Network, seconds: u32, family: AddressFamily) -> Answer {
    client.ask(net, &Request::refresh(seconds).family(family))
}

fn peers() -> [Peer; 2] {
    [Peer::new("9.9.9.9:4000"), Peer::new("[2a00:1450::1]:4000")]
}

// compliance: 8656-7.2-18
#[test]
fn both_families_in_one_allocation() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    let answer = alice.ask(&mut net, &dual()).expect_success();
    let relayed = answer.all_relayed();
    let ips: Vec<String> = relayed.iter().map(|a| a.ip().to_string()).collect();
    assert_eq!(ips, [RELAY_V4, RELAY_V6]);
    assert_eq!(answer.address_error(), None);
    assert_eq!(net.server.allocations(), 1);
    assert_eq!(net.server.quota.total(), 1);
    assert_eq!(net.server.shards[0].sockets.len(), 2);

    for (peer, relayed) in peers().into_iter().zip(relayed) {
        alice.permit(&mut net, &[peer.address]).expect_success();
        alice.send(&mut net, peer.address, b"out");
        assert_eq!(peer.received(&mut net), [(relayed, b"out".to_vec())]);
        peer.send(&mut net, relayed, b"in");
        assert_eq!(
            alice.received_data(&mut net),
            [(peer.address, b"in".to_vec())]
        );
    }
    alice.refresh(&mut net, 0).expect_success();
    assert!(net.server.shards[0].sockets.is_empty());
    assert_eq!(net.server.ports.usage(AddressFamily::V6).0, 0);
}

// compliance: 8656-7.2-17
#[test]
fn a_family_that_the_server_has_not_is_told() {
    for (kept, missing) in [
        (AddressFamily::V4, AddressFamily::V6),
        (AddressFamily::V6, AddressFamily::V4),
    ] {
        let mut setup = Setup::default();
        let is_kept = |ip: std::net::IpAddr| ip.is_ipv4() == (kept == AddressFamily::V4);
        setup.addresses.retain(|a| is_kept(a.local));
        let mut net = setup.build();
        let mut alice = Client::alice();
        alice.ask_once(&mut net, &dual()).unwrap();
        let bytes = alice.encode(&dual());
        let answer = alice.exchange(&mut net, &bytes).unwrap().expect_success();
        assert_eq!(answer.address_error(), Some((missing, 440)));
        assert_eq!(answer.all_relayed().len(), 1);
        assert!(is_kept(answer.relayed().unwrap().ip()));
        // A retransmission is told the same.
        assert_eq!(alice.exchange(&mut net, &bytes).unwrap(), answer);
    }
}

// compliance: 8656-7.2-16, 8656-7.2-17
#[test]
fn a_family_without_a_free_port_is_told() {
    let mut net = Setup {
        ports: 50_000..=50_000,
        ..Setup::default()
    }
    .build();
    let v6 = Request::allocate().family(AddressFamily::V6);
    Client::bob().ask(&mut net, &v6).expect_success();
    let mut alice = Client::alice();
    let answer = alice.ask(&mut net, &dual()).expect_success();
    assert_eq!(answer.address_error(), Some((AddressFamily::V6, 508)));
    assert!(answer.relayed().unwrap().is_ipv4());
    // Now neither is left.
    let mut other = Client::new("203.0.113.11:1").user("alice", "wonderland");
    other.ask(&mut net, &dual()).expect_error(508);
    assert_eq!(net.server.allocations(), 2);
    assert_eq!(net.server.shards[0].sockets.len(), 2);
}

#[test]
fn the_reason_of_a_missing_family_has_its_phrase() {
    let mut setup = Setup::default().config(|c| c.reason_phrases = true);
    setup.addresses.retain(|a| a.local.is_ipv4());
    let answer = Client::alice().ask(&mut setup.build(), &dual());
    let message = answer.message();
    let error = message.address_error_code().unwrap().unwrap();
    assert_eq!(error.reason, "Address Family not Supported");
}

#[test]
fn a_second_socket_that_fails_leaves_the_first() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.ask_once(&mut net, &dual()).unwrap();
    // The first attempt is for IPv4.
    net.server.shards[0].sockets.fail_next = [OpenError::Unavailable].into();
    let answer = alice.ask(&mut net, &dual()).expect_success();
    assert_eq!(answer.address_error(), Some((AddressFamily::V4, 508)));
    assert!(answer.relayed().unwrap().is_ipv6());
    assert_eq!(net.server.ports.usage(AddressFamily::V4).0, 0);
}

// compliance: 8656-7.2-07, 8656-7.2-09, 8656-7.2-13, 8656-7.2-15
#[test]
fn combinations_that_are_400() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    for request in [
        dual().family(AddressFamily::V4),
        dual().family(AddressFamily::V6),
        dual().attribute(AttributeType::EVEN_PORT, &[0x80]),
        dual().attribute(AttributeType::RESERVATION_TOKEN, &[7; 8]),
        Request::allocate().additional_family(AddressFamily::V4),
        Request::allocate().attribute(AttributeType::ADDITIONAL_ADDRESS_FAMILY, &[9, 0, 0, 0]),
        Request::allocate().attribute(AttributeType::ADDITIONAL_ADDRESS_FAMILY, &[2]),
    ] {
        alice.ask(&mut net, &request).expect_error(400);
    }
    assert_eq!(net.server.allocations(), 0);
    // Even ports alone go with both families.
    let even = dual().attribute(AttributeType::EVEN_PORT, &[0]);
    let answer = alice.ask(&mut net, &even).expect_success();
    assert_eq!(answer.all_relayed().len(), 2);
    assert!(answer.all_relayed().iter().all(|a| a.port() % 2 == 0));
}

#[test]
fn one_family_is_deleted_and_the_other_goes_on() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    let [v4, v6] = allocate(&mut alice, &mut net);
    let [peer4, peer6] = peers();
    for (number, peer) in [(0x4000, peer4), (0x4001, peer6)] {
        alice.bind(&mut net, number, peer.address).expect_success();
    }
    net.server.take_events();
    let bytes = alice.encode(&Request::refresh(0).family(AddressFamily::V6));
    let answer = alice.exchange(&mut net, &bytes).unwrap().expect_success();
    assert_eq!(answer.lifetime(), Some(0));
    let events = net.server.take_events();
    assert!(
        matches!(
            &events[..],
            [Event::AddressDeleted { relayed, why: EndReason::Deleted, .. }] if *relayed == v6
        ),
        "{events:?}"
    );
    assert_eq!(net.server.shards[0].sockets.len(), 1);
    assert_eq!(net.server.ports.usage(AddressFamily::V6).0, 0);
    // What the other family has is untouched.
    alice.send_channel(&mut net, 0x4000, b"still");
    assert_eq!(peer4.received(&mut net), [(v4, b"still".to_vec())]);
    alice.send_channel(&mut net, 0x4001, b"gone");
    alice.send(&mut net, peer6.address, b"gone");
    assert_eq!(peer6.received(&mut net), []);
    let stats = net.server.stats();
    assert_eq!(stats.dropped(DropReason::NoChannel), 1);
    assert_eq!(stats.dropped(DropReason::NoPermission), 1);
    alice.permit(&mut net, &[peer6.address]).expect_error(443);
    // Its retransmission is answered alike, another one has nothing to delete.
    assert_eq!(alice.exchange(&mut net, &bytes).unwrap(), answer);
    refresh(&mut alice, &mut net, 0, AddressFamily::V6).expect_error(443);
    assert_eq!(net.server.allocations(), 1);
    // The last family takes the allocation with it.
    refresh(&mut alice, &mut net, 0, AddressFamily::V4).expect_success();
    assert_eq!(net.server.allocations(), 0);
    assert_eq!(net.server.quota.total(), 0);
}

#[test]
fn each_family_has_its_own_lifetime() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    let [v4, v6] = allocate(&mut alice, &mut net);
    let [peer4, peer6] = peers();
    let answer = refresh(&mut alice, &mut net, 1200, AddressFamily::V6).expect_success();
    assert_eq!(answer.lifetime(), Some(1200));
    net.advance(Duration::from_secs(599));
    alice
        .permit(&mut net, &[peer4.address, peer6.address])
        .expect_success();
    net.server.take_events();
    // To the microsecond, whether the timers come round or not.
    for late in [false, true] {
        let mut net = Setup::default().build();
        let mut alice = Client::alice();
        let [v4, v6] = allocate(&mut alice, &mut net);
        refresh(&mut alice, &mut net, 1200, AddressFamily::V6).expect_success();
        net.advance(Duration::from_secs(599));
        let all = [peer4.address, peer6.address];
        alice.permit(&mut net, &all).expect_success();
        net.advance(Duration::from_secs(1) - TICK);
        alice.send(&mut net, peer4.address, b"last");
        assert_eq!(peer4.received(&mut net), [(v4, b"last".to_vec())]);
        if late {
            net.advance_without_timers(TICK);
        } else {
            net.advance(TICK);
            assert_eq!(net.server.shards[0].sockets.len(), 1);
        }
        alice.send(&mut net, peer4.address, b"late");
        assert_eq!(peer4.received(&mut net), []);
        peer4.send(&mut net, v4, b"late");
        peer6.send(&mut net, v6, b"alive");
        assert_eq!(
            alice.received_data(&mut net),
            [(peer6.address, b"alive".to_vec())]
        );
        refresh(&mut alice, &mut net, 600, AddressFamily::V4).expect_error(443);
        alice.permit(&mut net, &[peer4.address]).expect_error(443);
        assert_eq!(net.server.shards[0].sockets.len(), 1);
    }
    net.advance(Duration::from_secs(1));
    let events = net.server.take_events();
    assert!(
        events.iter().any(|event| matches!(
            event,
            Event::AddressDeleted { relayed, why: EndReason::Expired, .. } if *relayed == v4
        )),
        "{events:?}"
    );
    peer6.send(&mut net, v6, b"alive");
    assert_eq!(alice.received_data(&mut net).len(), 1);
    net.advance(Duration::from_secs(600));
    assert_eq!(net.server.allocations(), 0);
}

#[test]
fn without_a_family_both_are_refreshed() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    allocate(&mut alice, &mut net);
    net.advance(Duration::from_secs(500));
    alice.refresh(&mut net, 600).expect_success();
    net.advance(Duration::from_secs(599));
    assert_eq!(net.server.shards[0].sockets.len(), 2);
    net.advance(Duration::from_secs(1));
    assert_eq!(net.server.allocations(), 0);
}

#[test]
fn a_dual_allocation_survives_a_restart() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    let [v4, v6] = allocate(&mut alice, &mut net);
    refresh(&mut alice, &mut net, 1200, AddressFamily::V6).expect_success();
    let [peer4, peer6] = peers();
    let all = [peer4.address, peer6.address];
    alice.permit(&mut net, &all).expect_success();
    net.server.restart(|snapshot| {
        let text = serde_json::to_string(&snapshot).unwrap();
        serde_json::from_str(&text).unwrap()
    });
    for (peer, relayed) in [(peer4, v4), (peer6, v6)] {
        alice.send(&mut net, peer.address, b"on");
        assert_eq!(peer.received(&mut net), [(relayed, b"on".to_vec())]);
    }
    net.advance(Duration::from_secs(600));
    assert_eq!(net.server.shards[0].sockets.len(), 1);
    net.advance(Duration::from_secs(600));
    assert_eq!(net.server.allocations(), 0);
}

const TICK: Duration = Duration::from_micros(1);
