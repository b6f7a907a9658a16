//! The account of what happened: complete, in order, and bounded where strangers could fill it.

use core::time::Duration;
use std::sync::Arc;

use turnbuckle_proto::Method;
use turnbuckle_relay::{
    Denial, EndReason, Event, PeerAddress, Reach, Reject, Traffic, Unauthorized,
};
use turnbuckle_testkit::{BOB, Client, Network, Peer, Request, Setup};

#[test]
fn the_life_of_an_allocation() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    let relayed = alice.allocate(&mut net);
    let peer = Peer::new("9.9.9.9:4000");
    alice.permit(&mut net, &[peer.address]).expect_success();
    alice.bind(&mut net, 0x4000, peer.address).expect_success();
    alice.send(&mut net, peer.address, b"three");
    alice.send_channel(&mut net, 0x4000, b"seventeen");
    peer.send(&mut net, relayed, b"ten");
    net.advance(Duration::from_secs(10));
    alice.refresh(&mut net, 700).expect_success();
    alice.refresh(&mut net, 0).expect_success();

    let events = net.server.take_events();
    let [
        Event::AllocationCreated {
            id,
            path,
            username,
            relayed: created,
            ..
        },
        Event::PermissionInstalled {
            permission,
            new: true,
            ..
        },
        Event::PermissionInstalled { new: false, .. },
        Event::ChannelBound {
            number: 0x4000,
            peer: bound,
            new: true,
            ..
        },
        Event::AllocationRefreshed { expires, .. },
        Event::AllocationDeleted {
            id: deleted,
            why,
            lasted,
            traffic,
            relayed: given_up,
            ..
        },
    ] = &events[..]
    else {
        panic!("{events:#?}");
    };
    assert_eq!(path.five_tuple, alice.five_tuple());
    assert_eq!(username.as_deref(), Some("alice"));
    assert_eq!((created.v4, created.v6), (Some(relayed), None));
    assert_eq!(permission.ip, peer.address.ip());
    assert_eq!(permission.reach, Reach::Anything);
    assert_eq!(*bound, PeerAddress(peer.address));
    let now = net.clock.now().instant;
    assert_eq!(*expires, now.after(Duration::from_secs(700)));
    assert_eq!((deleted, given_up), (id, created));
    assert_eq!(*why, EndReason::Deleted);
    assert_eq!(*lasted, Duration::from_secs(10));
    let expected = Traffic {
        packets_to_peers: 2,
        bytes_to_peers: 5 + 9,
        packets_to_client: 1,
        bytes_to_client: 3,
    };
    assert_eq!(*traffic, expected);
}

#[test]
fn hairpin_traffic_is_counted_on_both_sides() {
    let mut net = Setup::default().build();
    let (mut alice, mut bob) = (Client::alice(), Client::bob());
    let (at_alice, at_bob) = (alice.allocate(&mut net), bob.allocate(&mut net));
    alice.permit(&mut net, &[at_bob]).expect_success();
    bob.permit(&mut net, &[at_alice]).expect_success();
    alice.send(&mut net, at_bob, b"hello");
    net.server.take_events();
    alice.refresh(&mut net, 0).expect_success();
    bob.refresh(&mut net, 0).expect_success();
    let traffic: Vec<_> = net
        .server
        .take_events()
        .into_iter()
        .map(|event| match event {
            Event::AllocationDeleted { traffic: t, .. } => (t.bytes_to_peers, t.bytes_to_client),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(traffic, [(5, 0), (0, 5)]);
}

#[test]
fn a_rejection_names_client_user_peer_and_rule() {
    let mut net = Setup::default().deny("9.9.9.0-9.9.9.255").build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    let peer = "9.9.9.9:1".parse().unwrap();
    let inside = "10.0.0.1:1".parse().unwrap();
    let rejects = rejects_of(&mut net, |net| {
        alice.permit(net, &[peer]).expect_error(403);
        alice.bind(net, 0x4000, inside).expect_error(403);
    });
    let [
        (Method::CREATE_PERMISSION, first, first_user),
        (Method::CHANNEL_BIND, second, _),
    ] = &rejects[..]
    else {
        panic!("{rejects:#?}");
    };
    assert_eq!(first_user.as_deref(), Some("alice"));
    let rule: Arc<str> = "9.9.9.0-9.9.9.255".into();
    assert_eq!(
        *first,
        Reject::Forbidden {
            peer,
            denial: Denial::Rule(rule)
        }
    );
    assert_eq!(
        first.to_string(),
        "peer 9.9.9.9:1 is refused by rule 9.9.9.0-9.9.9.255"
    );
    assert_eq!(
        second.to_string(),
        "peer 10.0.0.1:1 is refused by built-in rule 10.0.0.0/8 (private use, RFC 1918)"
    );
}

#[test]
fn a_refused_credential_names_the_user_and_the_reason() {
    let mut net = Setup::default().build();
    for (name, client, why) in [
        (
            "alice",
            Client::alice().user("alice", "guessed"),
            Unauthorized::WrongPassword,
        ),
        (
            "mallory",
            Client::alice().user("mallory", "x"),
            Unauthorized::UnknownUser,
        ),
        (
            "1800000000:x",
            Client::alice().user("1800000000:x", "x"),
            Unauthorized::WrongSecret,
        ),
        (
            "1699999990:x",
            Client::alice().rest("1699999990:x"),
            Unauthorized::Expired { seconds_ago: 10 },
        ),
    ] {
        let mut client = client;
        let rejects = rejects_of(&mut net, |net| {
            client.ask(net, &Request::allocate()).expect_error(401);
        });
        // The challenge before is no news.
        let expected = Reject::Unauthorized(why);
        assert_eq!(
            rejects,
            [(Method::ALLOCATE, expected, Some(Arc::from(name)))]
        );
    }
}

#[test]
fn the_claimed_name_of_a_stranger_is_shortened() {
    let mut net = Setup::default().build();
    let mut client = Client::alice().user(&"ü".repeat(250), "x");
    let rejects = rejects_of(&mut net, |net| {
        client.ask(net, &Request::allocate()).expect_error(401);
    });
    let name = rejects[0].2.as_deref().unwrap();
    assert_eq!(name.chars().count(), 128);
}

#[test]
fn challenges_are_not_told_and_stale_nonces_are() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    let rejects = rejects_of(&mut net, |net| {
        let challenge = alice.ask_once(net, &Request::allocate()).unwrap();
        challenge.expect_error(401);
        net.advance(Duration::from_secs(601));
        let stale = alice.ask_once(net, &Request::allocate()).unwrap();
        stale.expect_error(438);
    });
    assert_eq!(rejects.len(), 1);
    assert_eq!(rejects[0].1, Reject::StaleNonce);
    assert_eq!(net.server.stats().rejected(401), 1);
    assert_eq!(net.server.stats().rejected(438), 1);
}

#[test]
fn a_flood_of_rejections_is_bounded_and_counted() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    net.server.take_events();
    net.server.keep_events = true;
    let mut forger = Client::alice().user(BOB.0, "guessed");
    forger.challenge.clone_from(&alice.challenge);
    for _ in 0..3000 {
        let answer = forger.ask_once(&mut net, &Request::refresh(0)).unwrap();
        answer.expect_error(401);
    }
    assert_eq!(net.server.stats().unreported_rejects, 3000 - 1024);
    assert_eq!(net.server.stats().rejected(401), 1 + 3000);
    // What happens to allocations is told all the same.
    alice.refresh(&mut net, 0).expect_success();
    let events = net.server.take_events();
    assert_eq!(events.len(), 1024 + 1);
    assert!(matches!(
        events.last(),
        Some(Event::AllocationDeleted { .. })
    ));
}

#[test]
fn a_peer_that_is_expired_and_permitted_again_is_new_again() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    let long = Request::allocate().lifetime(3600);
    alice.ask(&mut net, &long).expect_success();
    let peer = "9.9.9.9:4000".parse().unwrap();
    alice.bind(&mut net, 0x4000, peer).expect_success();
    net.server.take_events();
    net.advance_without_timers(Duration::from_secs(600));
    alice.bind(&mut net, 0x4000, peer).expect_success();
    let events = net.server.take_events();
    assert!(
        matches!(
            events[..],
            [
                Event::Rejected {
                    reject: Reject::StaleNonce,
                    ..
                },
                Event::ChannelExpired { .. },
                Event::PermissionExpired { .. },
                Event::PermissionInstalled { new: true, .. },
                Event::ChannelBound { new: true, .. },
            ]
        ),
        "{events:#?}"
    );
}

fn rejects_of(
    net: &mut Network,
    what: impl FnOnce(&mut Network),
) -> Vec<(Method, Reject, Option<Arc<str>>)> {
    net.server.take_events();
    what(net);
    let events = net.server.take_events().into_iter();
    events
        .filter_map(|event| match event {
            Event::Rejected {
                method,
                reject,
                username,
                ..
            } => Some((method, reject, username)),
            _ => None,
        })
        .collect()
}
