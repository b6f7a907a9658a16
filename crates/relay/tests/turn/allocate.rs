//! Allocate (RFC 8656 §7).

use core::num::NonZeroU32;
use core::time::Duration;

use turnbuckle_proto::{AddressFamily, AttributeType};
use turnbuckle_relay::{DefaultFamily, Limits, OpenError};
use turnbuckle_testkit::{BOB, Client, Peer, RELAY_V4, RELAY_V6, Request, SECRET, Setup};

// compliance: 8489-6.3.1.1-01, 8489-9.2.4-01, 8489-9.2.4-02, 8489-9.2.4-03, 8489-9.2.4-27, 8656-5-01, 8656-5-03, 8656-7.2-01
// compliance: 8656-7.2-02, 8656-7.2-30
#[test]
fn challenged_once_then_allocated() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    let challenged = alice.ask_once(&mut net, &Request::allocate()).unwrap();
    let (realm, nonce) = challenged.expect_error(401).challenge().unwrap();
    assert_eq!(realm, "turn.example");
    assert!(!nonce.is_empty());

    let answer = alice.ask_once(&mut net, &Request::allocate()).unwrap();
    let answer = answer.expect_success();
    let relayed = answer.relayed().unwrap();
    assert_eq!(relayed.ip().to_string(), RELAY_V4);
    assert!(net.server.ports.ports().contains(&relayed.port()));
    assert_eq!(answer.mapped(), Some(alice.address));
    assert_eq!(answer.lifetime(), Some(600));
    assert_eq!(
        answer.attributes(),
        [
            AttributeType::XOR_RELAYED_ADDRESS,
            AttributeType::LIFETIME,
            AttributeType::XOR_MAPPED_ADDRESS,
            AttributeType::MESSAGE_INTEGRITY,
        ]
    );
    assert_eq!(net.server.allocations(), 1);
}

#[test]
fn the_external_address_is_advertised_and_the_local_one_bound() {
    let mut net = Setup::default().behind_nat().build();
    let relayed = Client::alice().allocate(&mut net);
    assert_eq!(relayed.ip().to_string(), RELAY_V4);
    let local = format!("10.0.0.5:{}", relayed.port()).parse().unwrap();
    assert!(net.server.relay_socket(local).is_some());
    assert_eq!(net.server.relay_socket(relayed), None);
}

// compliance: 8489-5-04, 8489-6.3.1-02, 8489-6.3.1-03, 8656-7.2-31
#[test]
fn a_retransmission_is_answered_alike() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.ask_once(&mut net, &Request::allocate()).unwrap();
    let bytes = alice.encode(&Request::allocate().lifetime(900).fingerprint());
    let first = alice.exchange(&mut net, &bytes).unwrap().expect_success();
    net.advance(Duration::from_secs(20));
    let second = alice.exchange(&mut net, &bytes).unwrap();
    assert_eq!(first, second);
    assert_eq!(net.server.allocations(), 1);
    assert_eq!(net.server.shards[0].sockets.len(), 1);
}

#[test]
fn a_retransmission_does_not_prolong() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.ask_once(&mut net, &Request::allocate()).unwrap();
    let bytes = alice.encode(&Request::allocate());
    alice.exchange(&mut net, &bytes).unwrap().expect_success();
    net.advance(Duration::from_secs(30));
    alice.exchange(&mut net, &bytes).unwrap().expect_success();
    net.advance(Duration::from_secs(570));
    assert_eq!(net.server.allocations(), 0);
}

// compliance: 8656-7.2-03
#[test]
fn the_second_allocation_of_a_five_tuple_is_437() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    alice.ask(&mut net, &Request::allocate()).expect_error(437);
    // So is another user's, at the same address.
    let mut other = Client::alice().user(BOB.0, BOB.1);
    other.ask(&mut net, &Request::allocate()).expect_error(437);
    assert_eq!(net.server.allocations(), 1);
}

#[test]
fn a_five_tuple_is_free_again_when_its_allocation_is_gone() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    alice.refresh(&mut net, 0).expect_success();
    alice.allocate(&mut net);
    // Also if the timers have not come round to it.
    net.advance_without_timers(Duration::from_secs(600));
    assert_eq!(net.server.allocations(), 1);
    alice.allocate(&mut net);
    assert_eq!(net.server.allocations(), 1);
    assert_eq!(net.server.shards[0].sockets.len(), 1);
}

// compliance: 8656-7.2-04, 8656-7.2-05
#[test]
fn requested_transport_must_be_there_and_udp() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    let missing = Request::allocate().without_transport();
    alice.ask(&mut net, &missing).expect_error(400);
    for protocol in [0, 6, 16, 18, 255] {
        alice
            .ask(&mut net, &missing.clone().transport(protocol))
            .expect_error(442);
    }
    let short = missing.attribute(AttributeType::REQUESTED_TRANSPORT, &[17]);
    alice.ask(&mut net, &short).expect_error(400);
    assert_eq!(net.server.allocations(), 0);
}

// compliance: 8656-7.2-10
#[test]
fn families() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    let v6 = Request::allocate().family(AddressFamily::V6);
    let answer = alice.ask(&mut net, &v6).expect_success();
    assert_eq!(answer.relayed().unwrap().ip().to_string(), RELAY_V6);
    assert_eq!(answer.mapped(), Some(alice.address));

    let mut bob = Client::bob();
    let unknown =
        Request::allocate().attribute(AttributeType::REQUESTED_ADDRESS_FAMILY, &[3, 0, 0, 0]);
    bob.ask(&mut net, &unknown).expect_error(440);
    let v4 = Request::allocate().family(AddressFamily::V4);
    let answer = bob.ask(&mut net, &v4).expect_success();
    assert_eq!(answer.relayed().unwrap().ip().to_string(), RELAY_V4);
}

// compliance: 8656-7.2-10, 8656-7.2-11
#[test]
fn a_family_that_the_server_has_no_address_of_is_440() {
    let mut setup = Setup::default();
    setup.addresses.retain(|address| address.local.is_ipv4());
    let mut net = setup.build();
    let v6 = Request::allocate().family(AddressFamily::V6);
    Client::alice().ask(&mut net, &v6).expect_error(440);
}

// compliance: 8656-7.2-12
#[test]
fn the_default_family_is_ipv4_or_the_clients() {
    let mut client = Client::new("[2001:db8:9::1]:10000").user("alice", "wonderland");
    let mut net = Setup::default().build();
    assert!(client.clone().allocate(&mut net).is_ipv4());

    let of_client = Setup::default().config(|c| c.default_family = DefaultFamily::OfClient);
    assert!(client.allocate(&mut of_client.clone().build()).is_ipv6());
    assert!(Client::alice().allocate(&mut of_client.build()).is_ipv4());

    let v6 = DefaultFamily::Fixed(AddressFamily::V6);
    let mut net = Setup::default().config(|c| c.default_family = v6).build();
    assert!(Client::alice().allocate(&mut net).is_ipv6());
}

// compliance: 8656-7.2-28, 8656-7.2-29
#[test]
fn the_lifetime_is_clamped() {
    for (asked, granted) in [
        (None, 600),
        (Some(0), 600),
        (Some(1), 600),
        (Some(599), 600),
        (Some(601), 601),
        (Some(3600), 3600),
        (Some(3601), 3600),
        (Some(u32::MAX), 3600),
    ] {
        let mut net = Setup::default().build();
        let mut alice = Client::alice();
        let request = match asked {
            Some(seconds) => Request::allocate().lifetime(seconds),
            None => Request::allocate(),
        };
        let answer = alice.ask(&mut net, &request).expect_success();
        assert_eq!(answer.lifetime(), Some(granted), "{asked:?}");
        net.advance(Duration::from_secs(granted.into()) - TICK);
        assert_eq!(net.server.allocations(), 1, "{asked:?}");
        net.advance(TICK);
        assert_eq!(net.server.allocations(), 0, "{asked:?}");
        assert!(net.server.shards[0].sockets.is_empty());
    }
}

#[test]
fn a_short_maximum_beats_the_default_lifetime() {
    let mut net = Setup::default()
        .config(|c| c.lifetimes.allocation_max = Duration::from_secs(60))
        .build();
    let answer = Client::alice().ask(&mut net, &Request::allocate());
    assert_eq!(answer.expect_success().lifetime(), Some(60));
}

// compliance: 8489-14.8-09, 8489-6.3.1-01, 8489-6.3.1.1-03, 8489-6.3.1.1-04
#[test]
fn what_the_server_does_not_do_is_420_with_the_list() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    let request = Request::allocate()
        .attribute(AttributeType(0x7ab0), &[])
        .attribute(AttributeType(0x7abc), &[1; 3]);
    let answer = alice.ask(&mut net, &request).expect_error(420);
    assert_eq!(
        answer.unknown_attributes(),
        [AttributeType(0x7ab0), AttributeType(0x7abc)]
    );
    assert!(answer.is_signed_with(&alice.key().unwrap()));
    assert_eq!(net.server.allocations(), 0);
}

#[test]
fn more_unknown_attributes_than_the_list_holds() {
    let mut net = Setup::default().build();
    let request = (0..40).fold(Request::allocate(), |request, i| {
        request.attribute(AttributeType(0x7000 + i), &[])
    });
    let answer = Client::alice().ask(&mut net, &request).expect_error(420);
    assert_eq!(answer.unknown_attributes().len(), 8);
}

// compliance: 8489-9-01
#[test]
fn attributes_behind_the_integrity_are_ignored() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    // Somebody on the way can append, but not sign.
    let request = Request::allocate()
        .behind_integrity(AttributeType::LIFETIME, &3000u32.to_be_bytes())
        .behind_integrity(AttributeType::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0])
        .behind_integrity(AttributeType(0x7001), &[])
        .fingerprint();
    let answer = alice.ask(&mut net, &request).expect_success();
    assert_eq!(answer.lifetime(), Some(600));
    assert!(answer.relayed().unwrap().is_ipv4());
}

// compliance: 8656-5-11, 8656-7.2-19
#[test]
fn the_user_quota_counts_the_user_and_not_the_time_stamp() {
    let mut setup = Setup::default();
    setup.limits.per_user = NonZeroU32::new(2);
    let mut net = setup.build();
    for (port, expiry, code) in [(1, 100, None), (2, 200, None), (3, 300, Some(486))] {
        let name = format!("{}:carol", 1_700_000_000 + expiry);
        let mut carol = Client::new(&format!("203.0.113.30:{port}")).rest(&name);
        let answer = carol.ask(&mut net, &Request::allocate());
        assert_eq!(answer.code(), code);
    }
    // Others are not touched by it.
    Client::alice().allocate(&mut net);
}

#[test]
fn the_quota_is_given_back() {
    let mut setup = Setup::default();
    setup.limits.per_user = NonZeroU32::new(1);
    let mut net = setup.build();
    let mut first = Client::alice();
    first.allocate(&mut net);
    let mut second = Client::new("203.0.113.11:1").user("alice", "wonderland");
    second.ask(&mut net, &Request::allocate()).expect_error(486);
    first.refresh(&mut net, 0).expect_success();
    second.allocate(&mut net);
    net.advance(Duration::from_secs(600));
    first.allocate(&mut net);
    assert_eq!(net.server.quota.total(), 1);
}

#[test]
fn the_total_quota() {
    let mut net = Setup {
        limits: Limits {
            per_user: None,
            total: NonZeroU32::new(1),
            ..Limits::default()
        },
        ..Setup::default()
    }
    .shards(2)
    .build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    // Bob is served by the other shard.
    let mut bob = Client::bob();
    bob.ask(&mut net, &Request::allocate()).expect_error(486);
    alice.refresh(&mut net, 0).expect_success();
    bob.allocate(&mut net);
}

#[test]
fn a_refused_allocation_holds_nothing() {
    let mut setup = Setup {
        ports: 50_000..=50_000,
        ..Setup::default()
    };
    setup.limits.total = NonZeroU32::new(1);
    let mut net = setup.build();
    net.server.shards[0].sockets.fail_always = Some(OpenError::Unavailable);
    let mut alice = Client::alice();
    for _ in 0..3 {
        alice.ask(&mut net, &Request::allocate()).expect_error(508);
    }
    assert_eq!(net.server.quota.total(), 0);
    net.server.shards[0].sockets.fail_always = None;
    assert_eq!(alice.allocate(&mut net).port(), 50_000);
}

// compliance: 8656-6-01
#[test]
fn no_free_port_is_508() {
    let mut net = Setup {
        ports: 50_000..=50_001,
        ..Setup::default()
    }
    .build();
    let mut relayed = Vec::new();
    for port in 1..=2 {
        let mut client = Client::new(&format!("203.0.113.10:{port}")).user(BOB.0, BOB.1);
        relayed.push(client.allocate(&mut net).port());
    }
    relayed.sort_unstable();
    assert_eq!(relayed, [50_000, 50_001]);
    let mut alice = Client::alice();
    alice.ask(&mut net, &Request::allocate()).expect_error(508);
    // The other family has ports of its own.
    let v6 = Request::allocate().family(AddressFamily::V6);
    alice.ask(&mut net, &v6).expect_success();
}

#[test]
fn ports_that_others_hold_are_passed_over() {
    let mut net = Setup::default().build();
    let sockets = &mut net.server.shards[0].sockets;
    sockets.fail_next = [OpenError::PortInUse; 5].into();
    Client::alice().allocate(&mut net);
    assert_eq!(net.server.shards[0].sockets.attempts, 6);
    // A host where nobody gets a port is not searched for ever.
    net.server.shards[0].sockets.fail_always = Some(OpenError::PortInUse);
    let answer = Client::bob().ask(&mut net, &Request::allocate());
    answer.expect_error(508);
    assert!(net.server.shards[0].sockets.attempts < 100);
    assert_eq!(net.server.ports.usage(AddressFamily::V4).0, 1);
}

// compliance: 8656-7.2-27
#[test]
fn relayed_ports_cannot_be_foretold() {
    let ports = |seed| {
        let mut net = Setup::default().seed(seed).build();
        [Client::alice(), Client::bob()].map(|mut client| client.allocate(&mut net).port())
    };
    assert_eq!(ports(1), ports(1), "the same seed");
    let [first, second] = ports(1);
    assert_ne!(second, first + 1, "not one after the other");
    assert_ne!(ports(1), ports(2), "another seed");
}

// compliance: 8489-16.1.2-01, 8489-6.3.1.1-05, 8656-5-08
#[test]
fn software_is_told_to_users_only() {
    let mut net = Setup::default()
        .config(|c| c.software = Some("Turnbuckle".into()))
        .build();
    let mut alice = Client::alice();
    let challenged = alice.ask_once(&mut net, &Request::allocate()).unwrap();
    assert_eq!(challenged.message().software(), Ok(None));
    let answer = alice.ask(&mut net, &Request::allocate());
    assert_eq!(answer.message().software(), Ok(Some("Turnbuckle")));
}

#[test]
fn an_answer_that_does_not_fit_is_dropped_and_counted() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.ask_once(&mut net, &Request::allocate()).unwrap();
    net.server.answer_room = 40;
    assert_eq!(alice.ask_once(&mut net, &Request::allocate()), None);
    let too_large = turnbuckle_relay::DropReason::TooLarge;
    assert_eq!(net.server.stats().dropped(too_large), 1);
}

// compliance: 8656-9-03
#[test]
fn a_peers_datagram_before_any_permission_is_dropped() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    let relayed = alice.allocate(&mut net);
    Peer::new("9.9.9.9:4000").send(&mut net, relayed, b"hello");
    assert_eq!(alice.received(&mut net), []);
}

#[test]
fn the_secret_may_be_one_of_several() {
    let mut net = Setup::default()
        .config(|c| {
            let old = turnbuckle_relay::SharedSecret::new(b"old");
            c.credentials.secrets.insert(0, old);
        })
        .build();
    let name = "1700000100:carol";
    Client::new("203.0.113.30:1")
        .user(
            name,
            turnbuckle_proto::rest::password(SECRET, name).as_str(),
        )
        .allocate(&mut net);
    Client::new("203.0.113.30:2")
        .user(
            name,
            turnbuckle_proto::rest::password(b"old", name).as_str(),
        )
        .allocate(&mut net);
    Client::new("203.0.113.30:3")
        .user(
            name,
            turnbuckle_proto::rest::password(b"older", name).as_str(),
        )
        .ask(&mut net, &Request::allocate())
        .expect_error(401);
}

const TICK: Duration = Duration::from_micros(1);
