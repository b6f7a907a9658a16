//! What all answers have in common, whatever they answer.

use core::time::Duration;

use turnbuckle_proto::{AddressFamily, AttributeType, Method};
use turnbuckle_relay::{DropReason, Transport};
use turnbuckle_testkit::{ALICE, Answer, Client, Network, Peer, Request, Setup};

// compliance: 8489-6.1-03, 8489-6.3.1.1-02, 8489-9.2.4-07, 8489-9.2.4-09, 8489-9.2.4-16, 8489-9.2.4-20, 8489-9.2.4-23, 8489-9.2.4-26
// compliance: 8489-9.2.4-27
#[test]
fn what_answers_carry() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    let challenge = alice.ask_once(&mut net, &Request::allocate()).unwrap();
    assert_has(
        &challenge,
        401,
        &[AttributeType::REALM, AttributeType::NONCE],
    );

    let mut wrong = Client::alice().user("alice", "guessed");
    let refused = wrong.ask(&mut net, &Request::allocate());
    assert_has(&refused, 401, &[AttributeType::REALM, AttributeType::NONCE]);
    let mut nobody = Client::alice().user("nobody", "wonderland");
    let refused = nobody.ask(&mut net, &Request::allocate());
    assert_has(&refused, 401, &[AttributeType::REALM, AttributeType::NONCE]);

    let mut stale = alice.clone();
    let (_, nonce) = stale.challenge.as_mut().unwrap();
    nonce[0] ^= 1;
    let refused = stale.ask_once(&mut net, &Request::allocate()).unwrap();
    assert_has(&refused, 438, &[AttributeType::REALM, AttributeType::NONCE]);

    let without_name = Request::allocate()
        .attribute(AttributeType::REALM, b"turn.example")
        .encode(
            turnbuckle_proto::TransactionId([9; 12]),
            &[],
            alice.key().as_ref(),
        );
    let refused = alice.exchange(&mut net, &without_name).unwrap();
    assert_has(&refused, 400, &[]);

    let answer = alice.ask(&mut net, &Request::allocate()).expect_success();
    for repeated in [
        AttributeType::REALM,
        AttributeType::NONCE,
        AttributeType::USERNAME,
    ] {
        assert!(!answer.attributes().contains(&repeated), "{repeated}");
    }
    assert!(answer.is_signed_with(&alice.key().unwrap()));
}

// compliance: 8489-6.3.1.1-02, 8489-9.2.4-15, 8489-9.2.4-22
#[test]
fn refusals_offer_the_algorithms() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    let offered = alice
        .ask_once(&mut net, &Request::allocate())
        .unwrap()
        .offered();
    assert!(!offered.is_empty());
    for (name, password, wait, code) in [
        ("nobody", "wonderland", 0, 401),
        ("alice", "guessed", 0, 401),
        ("alice", "wonderland", 600, 438),
    ] {
        let mut client = Client::alice().user(name, password);
        client.challenge.clone_from(&alice.challenge);
        net.advance(Duration::from_secs(wait));
        let refused = client.ask_once(&mut net, &Request::allocate()).unwrap();
        assert_eq!(refused.expect_error(code).offered(), offered, "{name}");
    }
}

// compliance: 8489-6.3.1.1-02
#[test]
fn errors_have_their_phrase_where_configured() {
    for (configured, phrase) in [(false, ""), (true, "Allocation Mismatch")] {
        let setup = Setup::default().config(|config| config.reason_phrases = configured);
        let mut net = setup.build();
        let answer = Client::alice().refresh(&mut net, 600).expect_error(437);
        let message = answer.message();
        assert_eq!(message.error_code().unwrap().unwrap().reason, phrase);
    }
}

// compliance: 8489-6.1-03
#[test]
fn answers_fit_any_path() {
    // The longest realm that the configuration takes, and everything that can be in an answer.
    let mut setup = Setup::default().config(|config| {
        config.software = Some("x".repeat(127).into());
        config.fingerprint = true;
        config.reason_phrases = true;
    });
    setup.limits.per_user = core::num::NonZeroU32::new(1);
    let mut net = setup.build();
    let mut alice = Client::alice();
    let even = Request::allocate().attribute(AttributeType::EVEN_PORT, &[0x80]);
    let unknown = (0..40).fold(Request::allocate(), |request, i| {
        request.attribute(AttributeType(0x7000 + i), &[])
    });
    for request in [unknown, even, Request::allocate(), Request::binding()] {
        for _ in 0..2 {
            let answer = alice.ask_once(&mut net, &request).unwrap();
            assert!(answer.bytes().len() < 548, "{} bytes", answer.bytes().len());
        }
    }
}

// compliance: 8656-5-07
#[test]
fn nothing_without_an_allocation_is_answered_or_passed() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    let peer = Peer::new("9.9.9.9:4000");
    alice.send(&mut net, peer.address, b"data");
    alice.send_channel(&mut net, 0x4000, b"data");
    assert!(net.is_quiet());
    assert_eq!(net.server.stats().dropped(DropReason::NoAllocation), 2);
}

// compliance: 8656-7.2-14
#[test]
fn no_even_port_left_is_508() {
    let mut net = Setup {
        ports: 50_001..=50_001,
        ..Setup::default()
    }
    .build();
    for flags in [0, 0x80] {
        let even = Request::allocate().attribute(AttributeType::EVEN_PORT, &[flags]);
        Client::alice().ask(&mut net, &even).expect_error(508);
    }
    let mut net = Setup {
        ports: 50_000..=50_000,
        ..Setup::default()
    }
    .build();
    let pair = Request::allocate().attribute(AttributeType::EVEN_PORT, &[0x80]);
    Client::alice().ask(&mut net, &pair).expect_error(508);
    assert_eq!(net.server.shards[0].sockets.len(), 0);
}

// compliance: 8489-6.3-02
#[test]
fn a_known_attribute_that_is_not_expected_is_ignored() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    let request = Request::new(Method::REFRESH)
        .channel(0x4000)
        .attribute(AttributeType::EVEN_PORT, &[0x80]);
    assert_eq!(
        alice.ask(&mut net, &request).expect_success().lifetime(),
        Some(600)
    );
    assert_eq!(reserved(&net), 0);
}

// compliance: 8656-21.4-01, 8656-21.4-02
#[test]
fn clients_behind_tunnels_get_no_allocation() {
    for (address, code) in [
        ("[2002:cb00:7101::1]:10000", Some(403)),
        ("[2001:0:1::1]:10000", Some(403)),
        ("[2001:1::1]:10000", None),
        ("[2003::1]:10000", None),
    ] {
        let mut net = Setup::default().build();
        let mut client = Client::new(address).user(ALICE.0, ALICE.1);
        let answer = client.ask(&mut net, &Request::allocate());
        assert_eq!(answer.code(), code, "{address}");
    }
}

// compliance: 8489-11-01, 8489-11-03
#[test]
fn without_the_cookie_nothing_is_answered_over_any_transport() {
    for transport in [
        Transport::Udp,
        Transport::Tcp,
        Transport::Tls,
        Transport::Dtls,
    ] {
        let mut net = Setup::default().build();
        let mut client = Client::alice().over(transport);
        for request in [Request::binding(), Request::indication(Method::BINDING)] {
            let mut bytes = client.encode(&request);
            bytes[4] ^= 1;
            client.post(&mut net, &bytes);
            net.settle();
        }
        assert!(net.is_quiet(), "{transport}");
        assert_eq!(net.server.stats().dropped(DropReason::Malformed), 2);
    }
}

fn reserved(net: &Network) -> usize {
    net.server.ports.usage(AddressFamily::V4).0 - net.server.allocations()
}

/// An error with these attributes behind ERROR-CODE, and of those that tell who asks or sign the answer none.
fn assert_has(answer: &Answer, code: u16, expected: &[AttributeType]) {
    assert_eq!(answer.code(), Some(code));
    let attributes = answer.attributes();
    for attribute in expected {
        assert!(attributes.contains(attribute), "{code} without {attribute}");
    }
    if expected.is_empty() {
        assert_eq!(attributes, [AttributeType::ERROR_CODE]);
    }
    for never in [
        AttributeType::USERNAME,
        AttributeType::USERHASH,
        AttributeType::MESSAGE_INTEGRITY,
        AttributeType::MESSAGE_INTEGRITY_SHA256,
    ] {
        assert!(!attributes.contains(&never), "{code} with {never}");
    }
}
