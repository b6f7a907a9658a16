//! Who may allocate: time-limited credentials, static users, anybody (RFC 8489 §9.2, RFC 8656 §5).

use core::num::NonZeroU32;
use core::time::Duration;

use turnbuckle_proto::AttributeType;
use turnbuckle_relay::{SharedSecret, UserKeys};
use turnbuckle_testkit::{Client, Clock, Peer, REALM, Request, Setup};

#[test]
fn every_form_of_a_time_limited_name() {
    let mut net = Setup::default().build();
    let later = Clock::START_UNIX + 100;
    for (port, name) in (1..).zip([
        format!("{later}"),
        format!("{later}:carol"),
        format!("{later}:carol:with:colons"),
        format!("carol:{later}"),
        format!("{later}.75:carol"),
        format!("{later}:"),
        "18446744073709551615:x".to_owned(),
        "18446744073709551615".to_owned(),
    ]) {
        let mut carol = Client::new(&format!("203.0.113.30:{port}")).rest(&name);
        let answer = carol.ask(&mut net, &Request::allocate());
        assert_eq!(answer.code(), None, "{name}");
    }
}

#[test]
fn names_that_are_no_credentials() {
    let mut net = Setup::default().build();
    for name in [
        "",
        ":",
        "carol",
        "carol:bob",
        "18446744073709551616:x",
        "99999999999999999999999",
        "-1:carol",
        "0x7fffffff:carol",
        "\u{661}\u{661}:carol",
    ] {
        let mut carol = Client::new("203.0.113.30:1").rest(name);
        let answer = carol.ask(&mut net, &Request::allocate());
        assert_eq!(answer.code(), Some(401), "{name:?}");
    }
}

#[test]
fn an_expired_credential_starts_nothing() {
    let mut net = Setup::default().build();
    let later = Clock::START_UNIX + 100;
    let carol = Client::new("203.0.113.30:1").rest(&format!("{later}:carol"));
    net.advance(Duration::from_secs(99));
    carol.clone().allocate(&mut net);
    net.advance(Duration::from_secs(1));
    let mut late = carol;
    late.address.set_port(2);
    late.ask(&mut net, &Request::allocate()).expect_error(401);
}

#[test]
fn a_running_allocation_outlives_its_credential() {
    let mut net = Setup::default().build();
    let later = Clock::START_UNIX + 100;
    let mut carol = Client::new("203.0.113.30:1").rest(&format!("{later}:carol"));
    carol.allocate(&mut net);
    let peer = Peer::new("9.9.9.9:4000");
    for _ in 0..5 {
        net.advance(Duration::from_secs(550));
        carol.refresh(&mut net, 600).expect_success();
        carol.permit(&mut net, &[peer.address]).expect_success();
        carol.bind(&mut net, 0x4000, peer.address).expect_success();
    }
    carol.send_channel(&mut net, 0x4000, b"still talking");
    assert_eq!(peer.received(&mut net).len(), 1);
    carol.refresh(&mut net, 0).expect_success();
    // Once it is gone the credential starts no other.
    carol.ask(&mut net, &Request::allocate()).expect_error(401);
}

#[test]
fn a_new_credential_of_the_same_user_cannot_take_over() {
    let mut net = Setup::default().build();
    let [first, second] = [100, 200].map(|s| format!("{}:carol", Clock::START_UNIX + s));
    let mut carol = Client::new("203.0.113.30:1").rest(&first);
    carol.allocate(&mut net);
    // RFC 8656 §5: all requests use the user name of the Allocate request.
    let mut renamed = Client::new("203.0.113.30:1").rest(&second);
    renamed.refresh(&mut net, 600).expect_error(441);
    carol.refresh(&mut net, 600).expect_success();
}

#[test]
fn a_bare_expiry_has_a_quota_of_its_own() {
    let mut setup = Setup::default();
    setup.limits.per_user = NonZeroU32::new(1);
    let mut net = setup.build();
    let later = Clock::START_UNIX + 100;
    for (port, name, code) in [
        (1, format!("{later}"), None),
        (2, format!("{later}"), Some(486)),
        (3, format!("{}", later + 1), None),
        (4, format!("{later}:carol"), None),
        (5, format!("carol:{}", later + 9), Some(486)),
    ] {
        let mut client = Client::new(&format!("203.0.113.30:{port}")).rest(&name);
        let answer = client.ask(&mut net, &Request::allocate());
        assert_eq!(answer.code(), code, "{name}");
    }
}

#[test]
fn another_separator() {
    let mut net = Setup::default()
        .config(|c| c.credentials.separator = '-')
        .build();
    let later = Clock::START_UNIX + 100;
    let mut carol = Client::new("203.0.113.30:1").rest(&format!("{later}-carol"));
    carol.allocate(&mut net);
    let mut colon = Client::new("203.0.113.30:2").rest(&format!("{later}:carol"));
    colon.ask(&mut net, &Request::allocate()).expect_error(401);
}

#[test]
fn static_users_stand_beside_the_secrets() {
    let mut net = Setup::default().build();
    Client::alice().allocate(&mut net);
    let later = Clock::START_UNIX + 100;
    Client::new("203.0.113.30:1")
        .rest(&format!("{later}:carol"))
        .allocate(&mut net);
    // The secret gives no password for a static user's name.
    let mut forger = Client::bob().rest("bob");
    forger.ask(&mut net, &Request::allocate()).expect_error(401);
}

#[test]
fn a_static_user_whose_name_looks_time_limited_does_not_expire() {
    let name = "100:dave";
    let mut net = Setup::default()
        .config(|c| {
            let keys = UserKeys::derive(name, REALM, "long ago");
            c.credentials.users.insert(name, REALM, keys);
        })
        .build();
    Client::new("203.0.113.30:1")
        .user(name, "long ago")
        .allocate(&mut net);
    let mut forger = Client::new("203.0.113.30:2").rest(name);
    forger.ask(&mut net, &Request::allocate()).expect_error(401);
}

#[test]
fn without_secrets_a_time_limited_name_is_nobody() {
    let mut net = Setup::default()
        .config(|c| c.credentials.secrets.clear())
        .build();
    let later = Clock::START_UNIX + 100;
    let mut carol = Client::new("203.0.113.30:1").rest(&format!("{later}:carol"));
    carol.ask(&mut net, &Request::allocate()).expect_error(401);
    Client::alice().allocate(&mut net);
}

#[test]
fn without_any_credentials_nobody_gets_in() {
    let mut net = Setup::default()
        .config(|c| {
            c.credentials.secrets.clear();
            c.credentials.users.clear();
        })
        .build();
    let mut alice = Client::alice();
    alice.ask(&mut net, &Request::allocate()).expect_error(401);
    let mut empty = Client::new("203.0.113.30:1").user("", "");
    empty.ask(&mut net, &Request::allocate()).expect_error(401);
}

#[test]
fn a_secret_that_was_taken_away_starts_nothing_and_ends_nothing() {
    let mut net = Setup::default().build();
    let name = format!("{}:carol", Clock::START_UNIX + 1000);
    let mut carol = Client::new("203.0.113.30:1").rest(&name);
    carol.allocate(&mut net);
    net.server
        .set_config(|c| c.credentials.secrets = vec![SharedSecret::new(b"south")]);
    carol.refresh(&mut net, 600).expect_success();
    let mut late = Client::new("203.0.113.30:2").rest(&name);
    late.ask(&mut net, &Request::allocate()).expect_error(401);
}

// compliance: 8489-9.2.4-12, 8489-9.2.4-13, 8489-9.2.4-14, 8489-9.2.4-16, 8489-9.2.4-17, 8489-9.2.4-18, 8489-9.2.4-19, 8489-9.2.4-20
#[test]
fn wrong_passwords_users_and_realms_are_401_with_a_challenge() {
    let mut net = Setup::default().build();
    let mut wrong = Client::alice().user("alice", "guessed");
    let answer = wrong.ask(&mut net, &Request::allocate()).expect_error(401);
    assert!(answer.challenge().is_some());
    assert!(!answer.message().has_integrity());
    let mut nobody = Client::alice().user("mallory", "wonderland");
    nobody.ask(&mut net, &Request::allocate()).expect_error(401);

    let mut alice = Client::alice();
    alice.ask_once(&mut net, &Request::allocate()).unwrap();
    alice.challenge.as_mut().unwrap().0 = "elsewhere".to_owned();
    let answer = alice.ask_once(&mut net, &Request::allocate()).unwrap();
    answer.expect_error(401);
}

// compliance: 8489-9.2.4-08, 8489-9.2.4-09
#[test]
fn integrity_without_what_belongs_to_it_is_400() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.ask_once(&mut net, &Request::allocate()).unwrap();
    let (realm, nonce) = alice.challenge.clone().unwrap();
    let all = [
        (AttributeType::USERNAME, &b"alice"[..]),
        (AttributeType::REALM, realm.as_bytes()),
        (AttributeType::NONCE, nonce.as_slice()),
    ];
    for missing in 0..3 {
        let mut some = all.to_vec();
        some.remove(missing);
        let transaction = turnbuckle_proto::TransactionId([9; 12]);
        let bytes = Request::allocate().encode(transaction, &some, alice.key().as_ref());
        let answer = alice.exchange(&mut net, &bytes).unwrap();
        answer.expect_error(400);
    }
}

#[test]
fn one_changed_bit_anywhere_is_refused() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.ask_once(&mut net, &Request::allocate()).unwrap();
    let bytes = alice.encode(&Request::allocate());
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        alice.post(&mut net, &changed);
        net.settle();
        for datagram in net.take_inbox(alice.address) {
            let answer = turnbuckle_testkit::Answer::read(&datagram.bytes).unwrap();
            // A changed method may be Binding, which needs no credentials.
            let is_binding = changed[..2] == [0, 1];
            assert!(!answer.is_success() || is_binding, "at {at}");
        }
    }
    assert_eq!(net.server.allocations(), 0);
    alice.exchange(&mut net, &bytes).unwrap().expect_success();
}

#[test]
fn anonymous_where_configured() {
    let mut setup = Setup::default().config(|c| c.credentials.anonymous = true);
    setup.limits.per_user = NonZeroU32::new(2);
    let mut net = setup.build();
    let mut nobody = Client::new("203.0.113.30:1");
    let answer = nobody.ask(&mut net, &Request::allocate()).expect_success();
    assert!(!answer.message().has_integrity());
    let peer = Peer::new("9.9.9.9:4000");
    nobody.permit(&mut net, &[peer.address]).expect_success();
    nobody.send(&mut net, peer.address, b"hello");
    assert_eq!(peer.received(&mut net).len(), 1);
    // Refused peers stay refused, and everybody together is one user.
    let inside = "10.0.0.1:1".parse().unwrap();
    nobody.permit(&mut net, &[inside]).expect_error(403);
    Client::alice().allocate(&mut net);
    let mut third = Client::new("203.0.113.30:3");
    third.ask(&mut net, &Request::allocate()).expect_error(486);
}
