//! Input that means harm: nothing panics, nothing contradicts itself, nothing that is no request is answered.
//!
//! The network checks invariants and the form of all output after each input.

use core::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use turnbuckle_proto::{AttributeType, Class, Method};
use turnbuckle_relay::{Instant, Now};
use turnbuckle_testkit::{Client, Network, Outcome, Peer, Random, Request, Setup, property_tests};

// compliance: 8489-6.3-03, 8656-12-01, 8656-12.6-01
#[test]
fn noise() {
    let (mut net, alice, peer) = call();
    let mut random = Random::new(1);
    for _ in 0..5000 {
        let len = random.below(120);
        let mut bytes = random.bytes(len);
        if let (Some(first), true) = (bytes.first_mut(), random.chance(70)) {
            // Most of it gets past the first byte.
            *first = *random.pick(&[0, 1, 2, 3, 0x40, 0x41, 0x4F]);
        }
        alice.post(&mut net, &bytes);
        peer.send(&mut net, alice.relayed.unwrap(), &bytes);
    }
    still_works(net, alice, peer);
}

#[test]
fn mutations_of_every_kind_of_message() {
    let (mut net, mut alice, peer) = call();
    let mut random = Random::new(2);
    let originals = every_message(&mut alice, peer);
    for _ in 0..6000 {
        let mut bytes = random.pick(&originals).clone();
        for _ in 0..=random.below(3) {
            mutate(&mut random, &mut bytes);
        }
        alice.post(&mut net, &bytes);
        net.settle();
        net.take_inbox(alice.address);
        net.take_inbox(peer.address);
    }
    // Among the mutants may be one that is right: a lifetime changed back, say.
    net.server.handle_timeout(net.clock.now());
}

#[test]
fn every_truncation_of_every_message() {
    let (mut net, mut alice, peer) = call();
    for original in every_message(&mut alice, peer) {
        for len in 0..original.len() {
            alice.post(&mut net, &original[..len]);
        }
        net.settle();
        assert_eq!(net.take_inbox(alice.address).len(), 0);
        assert_eq!(net.take_inbox(peer.address).len(), 0);
    }
    still_works(net, alice, peer);
}

// compliance: 8489-6.3.2-01
#[test]
fn responses_and_indications_are_never_answered() {
    let (mut net, mut alice, _) = call();
    for class in [Class::Indication, Class::Success, Class::Error] {
        for number in 0..0x1FF {
            let method = Method::new(number).unwrap();
            let request = Request::new(method)
                .class(class)
                .attribute(AttributeType(0x7001), &[1; 9]);
            for request in [request, Request::new(method).class(class)] {
                let bytes = alice.encode(&request);
                alice.post(&mut net, &bytes);
            }
        }
    }
    net.settle();
    assert!(net.is_quiet());
}

#[test]
fn the_servers_own_words_sent_back_to_it_are_not_answered() {
    let (mut net, mut alice, peer) = call();
    let mut words = Vec::new();
    for message in every_message(&mut alice, peer) {
        alice.post(&mut net, &message);
        net.settle();
        words.extend(net.take_inbox(alice.address));
    }
    peer.send(&mut net, alice.relayed.unwrap(), b"indication");
    words.extend(net.take_inbox(alice.address));
    net.take_inbox(peer.address);
    assert!(words.len() >= 6, "{words:?}");
    for word in &words {
        for client in [&alice, &Client::bob()] {
            client.post(&mut net, &word.bytes);
            net.settle();
        }
        assert!(net.is_quiet(), "{word:?} was answered");
    }
}

#[test]
fn datagrams_of_peers_are_data_whatever_they_look_like() {
    let (mut net, mut alice, peer) = call();
    for message in every_message(&mut alice, peer) {
        peer.send(&mut net, alice.relayed.unwrap(), &message);
        assert_eq!(alice.received_data(&mut net), [(peer.address, message)]);
        assert!(net.is_quiet());
    }
}

#[test]
fn clocks_at_their_ends() {
    for instant in [0, 1, u64::MAX - 1, u64::MAX] {
        for unix in [0, 1, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let now = Now {
                instant: Instant::from_micros(instant),
                unix,
            };
            let mut net = Setup::default().build();
            for name in [
                "0:x",
                "1:x",
                "18446744073709551615:x",
                "18446744073709551615",
            ] {
                let mut client = Client::new("203.0.113.30:1").rest(name);
                for _ in 0..2 {
                    let bytes = client.encode(&Request::allocate().lifetime(u32::MAX));
                    let five_tuple = client.five_tuple();
                    let outcome = net.server.handle_client(now, five_tuple, &bytes);
                    let Outcome::Answered(answer) = outcome else {
                        panic!("{outcome:?}");
                    };
                    client.absorb(&turnbuckle_testkit::Answer::read(&answer).unwrap());
                }
                let peer = "9.9.9.9:1".parse().unwrap();
                for request in [
                    Request::create_permission(&[peer]),
                    Request::channel_bind(0x4000, peer),
                    Request::refresh(u32::MAX),
                    Request::refresh(0),
                ] {
                    let bytes = client.encode(&request);
                    net.server.handle_client(now, client.five_tuple(), &bytes);
                }
            }
        }
    }
}

#[test]
fn permissions_and_channels_of_one_user_are_bounded() {
    let (mut net, mut alice, _) = call();
    let mut refused = 0;
    for i in 0..600u16 {
        let [high, low] = i.to_be_bytes();
        let peer = ([9, 8, high, low], 4000).into();
        refused += usize::from(!alice.permit(&mut net, &[peer]).is_success());
        let peer = ([9, 9, 9, 9], i).into();
        refused += usize::from(!alice.bind(&mut net, 0x4000 + i, peer).is_success());
    }
    // One of the 256 permissions is the channels' own.
    assert_eq!(refused, (600 - 255) + (600 - 256));
}

proptest! {
    #![proptest_config(property_tests(400))]

    /// Attributes of all sorts under a good signature: what a user can do to the server.
    #[test]
    fn signed_nonsense(
        method in prop_oneof![Just(3u16), Just(4), Just(8), Just(9), 0u16..0x1FF],
        attributes in vec((attribute_type(), vec(any::<u8>(), 0..24)), 0..8),
        fingerprint: bool,
    ) {
        let (mut net, mut alice, _) = call();
        let method = Method::new(method).unwrap();
        let mut request = Request::new(method);
        for (kind, value) in &attributes {
            request = request.attribute(*kind, value);
        }
        if fingerprint {
            request = request.fingerprint();
        }
        let answer = alice.ask_once(&mut net, &request);
        if let Some(code) = answer.and_then(|answer| answer.code()) {
            prop_assert!(turnbuckle_relay::REJECT_CODES.contains(&code));
        }
        net.advance(Duration::from_secs(4000));
        prop_assert_eq!(net.server.allocations(), 0);
    }

    /// Indications made of the same stuff.
    #[test]
    fn unsigned_nonsense(
        attributes in vec((attribute_type(), vec(any::<u8>(), 0..24)), 0..8),
        data in vec(any::<u8>(), 0..64),
    ) {
        let (mut net, mut alice, peer) = call();
        let mut request = Request::send(peer.address, &data);
        for (kind, value) in &attributes {
            request = request.attribute(*kind, value);
        }
        let bytes = alice.encode(&request);
        alice.post(&mut net, &bytes);
        net.settle();
        for (from, arrived) in peer.received(&mut net) {
            prop_assert_eq!(from, alice.relayed.unwrap());
            prop_assert_eq!(&arrived, &data);
        }
        prop_assert!(net.is_quiet());
    }

    #[test]
    fn any_bytes_at_all(bytes in vec(any::<u8>(), 0..200)) {
        let (mut net, alice, peer) = call();
        alice.post(&mut net, &bytes);
        Client::bob().post(&mut net, &bytes);
        net.settle();
        peer.send(&mut net, alice.relayed.unwrap(), &bytes);
        prop_assert_eq!(alice.received_data(&mut net), [(peer.address, bytes)]);
    }
}

fn attribute_type() -> impl Strategy<Value = AttributeType> {
    prop_oneof![
        // The types a TURN server looks at lie below.
        3 => (0u16..0x30).prop_map(AttributeType),
        1 => any::<u16>().prop_map(AttributeType),
    ]
    // What would end the message or sign it is added where it belongs.
    .prop_filter("no integrity, no fingerprint", |kind| {
        !matches!(
            *kind,
            AttributeType::MESSAGE_INTEGRITY
                | AttributeType::MESSAGE_INTEGRITY_SHA256
                | AttributeType::FINGERPRINT
        )
    })
}

/// One good message of each kind that a client sends.
fn every_message(client: &mut Client, peer: Peer) -> Vec<Vec<u8>> {
    let mut all: Vec<_> = [
        Request::binding().fingerprint(),
        Request::allocate().lifetime(700),
        Request::refresh(700).fingerprint(),
        Request::create_permission(&[peer.address, "8.8.8.8:1".parse().unwrap()]),
        Request::channel_bind(0x4001, "8.8.8.8:2".parse().unwrap()),
        Request::send(peer.address, b"some data"),
    ]
    .iter()
    .map(|request| client.encode(request))
    .collect();
    all.push(Client::channel_data(0x4000, b"some data"));
    all
}

fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    let at = random.below(bytes.len().max(1));
    match random.below(5) {
        0 => bytes.truncate(at),
        1 => bytes.extend(random.bytes(at % 9)),
        2 => {
            let _ = bytes.splice(at..at, random.bytes(4));
        }
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = *random.pick(&[0, 1, 4, 0x7F, 0x80, 0xFF, *byte ^ 1]);
            }
        }
    }
    if random.chance(60) && bytes.len() >= 20 {
        // With a length that fits, more of them get further.
        let len = u16::try_from(bytes.len() - 20).unwrap();
        bytes[2..4].copy_from_slice(&len.to_be_bytes());
    }
}

fn still_works(mut net: Network, mut alice: Client, peer: Peer) {
    net.take_inbox(alice.address);
    net.take_inbox(peer.address);
    alice.refresh(&mut net, 600).expect_success();
    alice.send(&mut net, peer.address, b"still here");
    assert_eq!(peer.received(&mut net).len(), 1);
}

fn call() -> (Network, Client, Peer) {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    let peer = Peer::new("9.9.9.9:4000");
    alice.permit(&mut net, &[peer.address]).expect_success();
    (net, alice, peer)
}
