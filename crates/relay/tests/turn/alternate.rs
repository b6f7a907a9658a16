//! ALTERNATE-SERVER (RFC 8489 §10): clients that are sent to another server.

use std::net::SocketAddr;

use turnbuckle_relay::{Alternates, Transport};
use turnbuckle_testkit::{ALICE, Client, LISTENER_V4, Peer, Request, Setup};

fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn with(alternates: Alternates) -> Setup {
    Setup::default().config(|c| c.alternates = alternates)
}

// compliance: 8489-10-01, 8489-10-02, 8489-12-03
#[test]
fn strangers_are_sent_to_one_after_the_other() {
    let any = addresses(&["192.0.2.1:3478", "192.0.2.2:3478", "[2001:db8:7::1]:3478"]);
    let mut net = with(Alternates {
        any: any.clone(),
        ..Alternates::default()
    })
    .build();
    let mut sent_to = Vec::new();
    for port in 1..=4 {
        let mut stranger = Client::new(&format!("203.0.113.30:{port}"));
        let answer = stranger.ask(&mut net, &Request::allocate());
        let answer = answer.expect_error(300);
        assert!(!answer.message().has_integrity());
        assert_eq!(answer.challenge(), None);
        sent_to.extend(answer.alternate());
    }
    assert_eq!(sent_to, [any[0], any[1], any[0], any[1]]);
    // Over IPv6 to the one that is reached over IPv6.
    let answer = Client::new("[2001:db8:9::1]:1").ask(&mut net, &Request::allocate());
    assert_eq!(answer.expect_error(300).alternate(), Some(any[2]));
    // Who only asks for its address is told it.
    let answer = Client::alice().ask(&mut net, &Request::binding());
    assert_eq!(answer.expect_success().alternate(), None);
    assert_eq!(net.server.stats().rejected(300), 5);
    assert!(net.server.take_events().is_empty());
}

// compliance: 8489-14.8-08
#[test]
fn a_user_is_told_so_in_a_signed_answer() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.ask_once(&mut net, &Request::allocate()).unwrap();
    net.server
        .set_config(|c| c.alternates.any = addresses(&["192.0.2.1:3478"]));
    let answer = alice.ask_once(&mut net, &Request::allocate()).unwrap();
    let answer = answer.expect_error(300);
    assert!(alice.has_signed(&answer));
    assert!(answer.alternate().is_some());
    let mut forger = Client::alice().user(ALICE.0, "guessed");
    forger.challenge.clone_from(&alice.challenge);
    let answer = forger.ask_once(&mut net, &Request::allocate()).unwrap();
    assert_eq!(answer.expect_error(401).alternate(), None);
}

#[test]
fn sessions_that_there_are_go_on() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.ask_once(&mut net, &Request::allocate()).unwrap();
    let bytes = alice.encode(&Request::allocate());
    let first = alice.exchange(&mut net, &bytes).unwrap().expect_success();
    net.server
        .set_config(|c| c.alternates.any = addresses(&["192.0.2.1:3478"]));
    assert_eq!(alice.exchange(&mut net, &bytes).unwrap(), first);
    let peer = Peer::new("9.9.9.9:4000").address;
    alice.permit(&mut net, &[peer]).expect_success();
    alice.refresh(&mut net, 600).expect_success();
}

#[test]
fn transports_have_lists_of_their_own() {
    let [any, udp, tcp, tls] = [1, 2, 3, 4].map(|i| addresses(&[&format!("192.0.2.{i}:3478")]));
    let all = Alternates {
        any: any.clone(),
        udp: udp.clone(),
        tcp: tcp.clone(),
        tls: tls.clone(),
    };
    let general = Alternates {
        any: any.clone(),
        ..Alternates::default()
    };
    let only_tls = Alternates {
        tls: tls.clone(),
        ..Alternates::default()
    };
    for (alternates, expected) in [
        (
            all,
            [Some(udp[0]), Some(tcp[0]), Some(tls[0]), Some(tls[0])],
        ),
        (general, [Some(any[0]); 4]),
        (only_tls, [None, None, Some(tls[0]), Some(tls[0])]),
    ] {
        let mut net = with(alternates).build();
        let transports = [
            Transport::Udp,
            Transport::Tcp,
            Transport::Tls,
            Transport::Dtls,
        ];
        for (transport, expected) in transports.into_iter().zip(expected) {
            let mut stranger = Client::new("203.0.113.30:1").over(transport);
            let answer = stranger.ask(&mut net, &Request::allocate());
            assert_eq!(answer.alternate(), expected, "{transport}");
            let code = if expected.is_some() { 300 } else { 401 };
            answer.expect_error(code);
        }
    }
}

#[test]
fn nobody_is_sent_away_where_there_is_nowhere_to_go() {
    for list in [
        // Only of the other family, and a list that has this server in it.
        &["[2001:db8:7::1]:3478"][..],
        &["192.0.2.1:3478", LISTENER_V4],
    ] {
        let mut net = with(Alternates {
            any: addresses(list),
            ..Alternates::default()
        })
        .build();
        Client::alice().allocate(&mut net);
    }
}
