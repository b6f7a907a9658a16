//! Users that the operator has revoked, and a server that is being drained.

use std::collections::BTreeSet;
use std::sync::Arc;

use turnbuckle_proto::Method;
use turnbuckle_relay::{Config, Event, Reject, Unauthorized};
use turnbuckle_testkit::{ALICE, Client, Clock, LISTENER_V4, Peer, Request, Setup};

fn revoke(names: &[&str]) -> impl FnOnce(&mut Config) {
    let names: BTreeSet<Arc<str>> = names.iter().map(|&name| name.into()).collect();
    |config| config.revoked = Arc::new(names)
}

#[test]
fn a_revoked_user_starts_nothing() {
    let name = format!("{}:carol", Clock::START_UNIX + 100);
    let mut net = Setup::default().config(revoke(&["alice", "carol"])).build();
    Client::alice()
        .ask(&mut net, &Request::allocate())
        .expect_error(401);
    Client::new("203.0.113.30:1")
        .rest(&name)
        .ask(&mut net, &Request::allocate())
        .expect_error(401);
    Client::bob().allocate(&mut net);
    assert_eq!(net.server.allocations(), 1);
    // A challenge for each of the three, and the two refusals.
    assert_eq!(net.server.stats().rejected(401), 3 + 2);
    let told: Vec<_> = net
        .server
        .take_events()
        .into_iter()
        .filter_map(|event| match event {
            Event::Rejected {
                method,
                username,
                reject,
                ..
            } => Some((method, username, reject)),
            _ => None,
        })
        .collect();
    let revoked = Reject::Unauthorized(Unauthorized::Revoked);
    assert_eq!(revoked.to_string(), "the user is revoked");
    assert_eq!(
        told,
        [ALICE.0, &name].map(|user| (Method::ALLOCATE, Some(user.into()), revoked.clone()))
    );
}

#[test]
fn a_revoked_users_allocation_is_not_kept_alive() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    net.server.set_config(revoke(&["alice"]));
    let peer = Peer::new("9.9.9.9:4000").address;
    alice.refresh(&mut net, 600).expect_error(401);
    alice.permit(&mut net, &[peer]).expect_error(401);
    alice.bind(&mut net, 0x4000, peer).expect_error(401);
    net.server.set_config(revoke(&[]));
    alice.refresh(&mut net, 600).expect_success();
}

#[test]
fn who_guesses_is_not_told_who_is_revoked() {
    let mut net = Setup::default().config(revoke(&["alice"])).build();
    let mut forger = Client::alice().user(ALICE.0, "guessed");
    forger.ask(&mut net, &Request::allocate()).expect_error(401);
    let events = net.server.take_events();
    let [Event::Rejected { reject, .. }] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(*reject, Reject::Unauthorized(Unauthorized::WrongPassword));
}

#[test]
fn a_draining_server_takes_nobody_new_and_keeps_what_it_has() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.ask_once(&mut net, &Request::allocate()).unwrap();
    let allocate = alice.encode(&Request::allocate());
    let first = alice.exchange(&mut net, &allocate).unwrap();
    let first = first.expect_success();
    net.server.set_config(|c| c.draining = true);
    let mut bob = Client::bob();
    let refused = bob.ask(&mut net, &Request::allocate()).expect_error(508);
    assert!(bob.has_signed(&refused));
    let events = net.server.take_events();
    let Some(Event::Rejected { reject, .. }) = events.last() else {
        panic!("{events:?}");
    };
    assert_eq!(*reject, Reject::Draining);

    assert_eq!(alice.exchange(&mut net, &allocate).unwrap(), first);
    let peer = Peer::new("9.9.9.9:4000");
    alice.permit(&mut net, &[peer.address]).expect_success();
    alice.send(&mut net, peer.address, b"still here");
    assert_eq!(peer.received(&mut net).len(), 1);
    alice.refresh(&mut net, 600).expect_success();
    bob.ask(&mut net, &Request::binding()).expect_success();
    net.server.set_config(|c| c.draining = false);
    bob.allocate(&mut net);
}

#[test]
fn a_draining_server_sends_clients_to_the_others_of_a_group() {
    let elsewhere = "192.0.2.1:3478".parse().unwrap();
    let here = LISTENER_V4.parse().unwrap();
    let mut net = Setup::default()
        .config(|c| c.alternates.any = vec![here, elsewhere])
        .build();
    Client::alice().allocate(&mut net);
    net.server.set_config(|c| c.draining = true);
    for port in 1..=3 {
        let mut stranger = Client::new(&format!("203.0.113.30:{port}"));
        let answer = stranger.ask(&mut net, &Request::allocate());
        assert_eq!(answer.expect_error(300).alternate(), Some(elsewhere));
    }
    // Nobody else serves IPv6.
    let mut v6 = Client::new("[2001:db8:9::1]:1").user(ALICE.0, ALICE.1);
    v6.ask(&mut net, &Request::allocate()).expect_error(508);
}
