//! What RFC 8489 adds to the long-term mechanism (§9.2): SHA-256, negotiated password algorithms that nobody on the way takes out,
//! and user names that nobody on the way reads.

use core::time::Duration;

use turnbuckle_proto::{
    AttributeType, IntegrityKey, IntegrityKeySha256, LongTermKey, LongTermKeySha256,
    PasswordAlgorithm, TransactionId, userhash,
};
use turnbuckle_relay::{Transport, UserKeys};
use turnbuckle_testkit::{
    ALICE, Answer, BOB, Client, Clock, Network, Peer, REALM, Request, Setup, Signing,
};

const MD5: PasswordAlgorithm = PasswordAlgorithm::MD5;
const SHA256: PasswordAlgorithm = PasswordAlgorithm::SHA256;

fn without_secrets() -> Setup {
    Setup::default().config(|c| c.credentials.secrets.clear())
}

fn cookie(client: &Client) -> String {
    let (_, nonce) = client.challenge.as_ref().unwrap();
    String::from_utf8(nonce[..13].to_vec()).unwrap()
}

/// A request of Alice's with these attributes, in place of what her client would send.
fn ask(
    net: &mut Network,
    alice: &mut Client,
    attributes: &[(AttributeType, &[u8])],
    seal: impl FnOnce(&mut turnbuckle_proto::MessageBuilder<'_>),
) -> Answer {
    let (realm, nonce) = alice.challenge.clone().unwrap();
    let mut all = vec![
        (AttributeType::REALM, realm.as_bytes()),
        (AttributeType::NONCE, &nonce),
    ];
    all.extend_from_slice(attributes);
    let id = TransactionId([net.clock.now().instant.as_micros() as u8; 12]);
    let bytes = Request::allocate().encode_sealed(id, &all, seal);
    alice.exchange(net, &bytes).unwrap()
}

// compliance: 8489-9.2-01, 8489-9.2.4-05, 8489-9.2.4-06
#[test]
fn a_challenge_offers_sha256_first_and_says_so_in_its_nonce() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    let answer = alice.ask_once(&mut net, &Request::allocate()).unwrap();
    assert_eq!(answer.expect_error(401).offered(), [SHA256, MD5]);
    // Bit 0 from the right is "password algorithms", bit 1 "username anonymity".
    assert_eq!(cookie(&alice), "obMatJos2AAAB");
    let mut net = without_secrets().build();
    alice.ask_once(&mut net, &Request::allocate()).unwrap();
    assert_eq!(cookie(&alice), "obMatJos2AAAD");
}

// compliance: 8489-6.3.1.1-04, 8489-9.2.4-25
#[test]
fn a_whole_call_with_sha256() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice().signing(Signing::SHA256);
    let relayed = alice.allocate(&mut net);
    let peer = Peer::new("9.9.9.9:4000");
    alice.permit(&mut net, &[peer.address]).expect_success();
    alice.bind(&mut net, 0x4000, peer.address).expect_success();
    alice.send_channel(&mut net, 0x4000, b"out");
    assert_eq!(peer.received(&mut net), [(relayed, b"out".to_vec())]);
    // An error of a genuine request is signed in the same way.
    let answer = alice.ask(&mut net, &Request::allocate()).expect_error(437);
    assert!(alice.has_signed(&answer));
    net.advance(Duration::from_secs(600 - 1));
    alice.refresh(&mut net, 600).expect_success();
    alice.refresh(&mut net, 0).expect_success();
}

// compliance: 8489-9.2.4-11, 8489-9.2.4-25, 8489-9.2.4-26
#[test]
fn every_algorithm_goes_with_every_integrity() {
    for algorithm in [None, Some(MD5), Some(SHA256)] {
        for (sha1, sha256) in [(true, false), (false, true), (true, true)] {
            let signing = Signing {
                algorithm,
                sha1,
                sha256,
                userhash: false,
            };
            let later = Clock::START_UNIX + 100;
            for client in [
                Client::alice(),
                Client::alice().rest(&format!("{later}:carol")),
            ] {
                let mut net = Setup::default().build();
                // The testkit's client looks at what its answers are signed with.
                let mut client = client.signing(signing);
                client.allocate(&mut net);
                client.refresh(&mut net, 600).expect_success();
                let mut wrong = client.clone();
                wrong.credentials.as_mut().unwrap().1.push('x');
                wrong.refresh(&mut net, 0).expect_error(401);
                assert_eq!(net.server.allocations(), 1, "{signing:?}");
            }
        }
    }
}

#[test]
fn of_two_integrities_the_stronger_counts() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.ask_once(&mut net, &Request::allocate()).unwrap();
    let name = [(AttributeType::USERNAME, ALICE.0.as_bytes())];
    let key = LongTermKey::derive(ALICE.0, REALM, ALICE.1);
    let (right, wrong) = (key.as_bytes(), &[0; 16]);
    for (sha1, sha256, code) in [(right, wrong, Some(401)), (wrong, right, None)] {
        let answer = ask(&mut net, &mut alice, &name, |builder| {
            builder.integrity(&IntegrityKey::new(sha1)).unwrap();
            let key = IntegrityKeySha256::new(sha256);
            builder.integrity_sha256(&key).unwrap();
        });
        assert_eq!(answer.code(), code);
        net.advance(Duration::from_micros(1));
    }
}

// compliance: 8489-14.6-03
#[test]
fn a_truncated_sha256_is_refused() {
    for kept in [16, 20, 24, 28] {
        let mut net = Setup::default().build();
        let mut alice = Client::alice().signing(Signing::SHA256);
        alice.ask_once(&mut net, &Request::allocate()).unwrap();
        let mut bytes = alice.encode(&Request::allocate());
        let cut = 32 - kept;
        bytes.truncate(bytes.len() - cut);
        // The length fields of the message and of the attribute, which stands last.
        let len = u16::try_from(bytes.len() - 20).unwrap();
        bytes[2..4].copy_from_slice(&len.to_be_bytes());
        let at = bytes.len() - kept - 2;
        bytes[at..at + 2].copy_from_slice(&u16::try_from(kept).unwrap().to_be_bytes());
        // Signed anew over the shorter message, so that nothing but the length is wrong.
        let key = LongTermKeySha256::derive(ALICE.0, REALM, ALICE.1);
        let covered = &bytes[..at - 2];
        let mac = hmac_sha256(key.as_bytes(), covered);
        let end = bytes.len();
        bytes[end - kept..].copy_from_slice(&mac[..kept]);
        let answer = alice.exchange(&mut net, &bytes).unwrap();
        answer.expect_error(401);
        assert_eq!(net.server.allocations(), 0);
    }
}

/// HMAC-SHA256 as RFC 2104 writes it, made of what the codec offers.
fn hmac_sha256(key: &[u8], covered: &[u8]) -> Vec<u8> {
    use turnbuckle_proto::{Class, HEADER_LEN, MessageBuilder, Method};
    // The builder signs whatever stands before the integrity: rebuild the message attribute by attribute.
    let id = TransactionId(covered[8..20].try_into().unwrap());
    let mut buffer = vec![0; 1024];
    let mut builder =
        MessageBuilder::new(&mut buffer, Class::Request, Method::ALLOCATE, id).unwrap();
    let mut rest = &covered[HEADER_LEN..];
    while let [t0, t1, l0, l1, tail @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*l0, *l1]));
        let kind = AttributeType(u16::from_be_bytes([*t0, *t1]));
        builder.attribute(kind, &tail[..len]).unwrap();
        rest = &tail[len.next_multiple_of(4)..];
    }
    builder
        .integrity_sha256(&IntegrityKeySha256::new(key))
        .unwrap();
    let len = builder.finish();
    buffer[len - 32..len].to_vec()
}

// compliance: 8489-9.2.4-10
#[test]
fn whoever_takes_the_offer_out_of_a_request_is_found_out() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.ask_once(&mut net, &Request::allocate()).unwrap();
    let list: &[u8] = &[0, 2, 0, 0, 0, 1, 0, 0];
    let (offered, chosen) = (
        AttributeType::PASSWORD_ALGORITHMS,
        AttributeType::PASSWORD_ALGORITHM,
    );
    let wrong: [&[(AttributeType, &[u8])]; 8] = [
        // One without the other.
        &[(offered, list)],
        &[(chosen, &[0, 2, 0, 0])],
        // A list that was not sent: shorter, in another order, longer, empty.
        &[(offered, &[0, 1, 0, 0]), (chosen, &[0, 1, 0, 0])],
        &[
            (offered, &[0, 1, 0, 0, 0, 2, 0, 0]),
            (chosen, &[0, 1, 0, 0]),
        ],
        &[
            (offered, &[0, 2, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0]),
            (chosen, &[0, 2, 0, 0]),
        ],
        &[(offered, &[]), (chosen, &[0, 1, 0, 0])],
        // An algorithm that is not on it, and none at all.
        &[(offered, list), (chosen, &[0, 3, 0, 0])],
        &[(offered, list), (chosen, &[0, 2])],
    ];
    for attributes in wrong {
        let mut all = vec![(AttributeType::USERNAME, ALICE.0.as_bytes())];
        all.extend_from_slice(attributes);
        let key = LongTermKey::derive(ALICE.0, REALM, ALICE.1);
        let answer = ask(&mut net, &mut alice, &all, |builder| {
            builder.integrity(&IntegrityKey::from(&key)).unwrap();
        });
        let answer = answer.expect_error(400);
        // RFC 8489 §9.2.4: the attributes that make a challenge are left out.
        assert_eq!(answer.challenge(), None);
        assert_eq!(answer.offered(), []);
    }
    assert_eq!(net.server.allocations(), 0);
}

// compliance: 8489-9.2.4-10
#[test]
fn whoever_takes_the_offer_out_of_a_challenge_is_found_out() {
    let mut net = Setup::default().build();
    for change in [
        // The list is gone or shorter, and the client believes it.
        |alice: &mut Client| alice.offered = vec![MD5],
        |alice: &mut Client| alice.offered = vec![MD5, SHA256],
    ] {
        let mut alice = Client::alice();
        alice.ask_once(&mut net, &Request::allocate()).unwrap();
        change(&mut alice);
        alice.signing = Signing {
            algorithm: Some(MD5),
            ..Signing::SHA256
        };
        let answer = alice.ask_once(&mut net, &Request::allocate()).unwrap();
        answer.expect_error(400);
    }
    // A nonce whose cookie was changed or taken away is not the server's: the client gets a new one.
    for cookie in [
        "",
        "obMatJos2AAAA",
        "obMatJos2AAAD",
        "obMatJos2AAAC",
        "obMatJos2////",
    ] {
        let mut alice = Client::alice();
        alice.ask_once(&mut net, &Request::allocate()).unwrap();
        let (_, nonce) = alice.challenge.as_mut().unwrap();
        *nonce = [cookie.as_bytes(), &nonce[13..]].concat();
        let answer = alice.ask_once(&mut net, &Request::allocate()).unwrap();
        answer.expect_error(438);
    }
    assert_eq!(net.server.allocations(), 0);
}

// compliance: 8489-9.2.4-22
#[test]
fn stale_nonces_bring_the_offer_again() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice().signing(Signing::SHA256);
    alice.ask_once(&mut net, &Request::allocate()).unwrap();
    net.advance(Duration::from_secs(600));
    let stale = alice.ask_once(&mut net, &Request::allocate()).unwrap();
    assert_eq!(stale.expect_error(438).offered(), [SHA256, MD5]);
    let again = alice.ask_once(&mut net, &Request::allocate()).unwrap();
    again.expect_success();
}

#[test]
fn the_password_is_looked_at_before_the_age_of_the_nonce() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice().user(ALICE.0, "guessed");
    alice.ask_once(&mut net, &Request::allocate()).unwrap();
    net.advance(Duration::from_secs(600));
    let answer = alice.ask_once(&mut net, &Request::allocate()).unwrap();
    answer.expect_error(401);
}

// compliance: 8489-9.2.4-12
#[test]
fn static_users_are_found_by_their_hash() {
    for signing in [Signing::CLASSIC, Signing::SHA256] {
        let mut net = without_secrets().build();
        let mut alice = Client::alice().signing(Signing {
            userhash: true,
            ..signing
        });
        alice.allocate(&mut net);
        alice.refresh(&mut net, 600).expect_success();
        let events = net.server.take_events();
        assert!(
            matches!(
                &events[0],
                turnbuckle_relay::Event::AllocationCreated { username: Some(name), .. }
                    if **name == *ALICE.0
            ),
            "{events:?}"
        );
        // Another user of that address is another user.
        let mut other = Client::alice().user(BOB.0, BOB.1).signing(alice.signing);
        other.refresh(&mut net, 0).expect_error(441);
        let mut nobody = Client::bob().user("nobody", "x").signing(alice.signing);
        nobody.ask(&mut net, &Request::allocate()).expect_error(401);
        let mut forger = Client::bob().user(BOB.0, "x").signing(alice.signing);
        forger.ask(&mut net, &Request::allocate()).expect_error(401);
    }
}

#[test]
fn where_names_are_made_from_a_secret_no_hash_is_taken() {
    let mut net = Setup::default().build();
    for userhash in [true, false] {
        let mut alice = Client::alice().signing(Signing {
            userhash,
            ..Signing::SHA256
        });
        let answer = alice.ask(&mut net, &Request::allocate());
        assert_eq!(answer.code(), userhash.then_some(400));
    }
}

#[test]
fn name_and_hash_at_once_are_400() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.ask_once(&mut net, &Request::allocate()).unwrap();
    let hash = userhash(ALICE.0, REALM);
    let key = LongTermKey::derive(ALICE.0, REALM, ALICE.1);
    let name = (AttributeType::USERNAME, ALICE.0.as_bytes());
    for attributes in [
        &[name, (AttributeType::USERHASH, &hash[..])][..],
        &[(AttributeType::USERHASH, &hash[..31])],
        &[],
    ] {
        let answer = ask(&mut net, &mut alice, attributes, |builder| {
            builder.integrity(&IntegrityKey::from(&key)).unwrap();
        });
        answer.expect_error(400);
    }
}

#[test]
fn where_a_user_has_only_an_md5_key_sha256_is_not_offered() {
    let mut net = Setup::default()
        .config(|c| {
            let key = LongTermKey::derive("dave", REALM, "hashed");
            c.credentials
                .users
                .insert("dave", REALM, UserKeys::of_md5(key));
        })
        .build();
    let mut dave = Client::new("203.0.113.30:1").user("dave", "hashed");
    let answer = dave.ask_once(&mut net, &Request::allocate()).unwrap();
    assert_eq!(answer.offered(), [MD5]);
    dave.signing = Signing {
        algorithm: Some(MD5),
        ..Signing::SHA256
    };
    dave.allocate(&mut net);
    // Nobody gets further by insisting.
    let mut alice = Client::alice().signing(Signing::SHA256);
    let answer = alice.ask(&mut net, &Request::allocate());
    answer.expect_error(400);
}

#[test]
fn a_realm_too_long_for_the_offer_goes_without_it_over_udp() {
    for (len, offers) in [(36, true), (37, false)] {
        let realm = "r".repeat(len);
        let mut net = Setup::default()
            .config(|c| {
                c.realm = realm.as_str().into();
                let keys = UserKeys::derive(ALICE.0, &realm, ALICE.1);
                c.credentials.users.insert(ALICE.0, &realm, keys);
            })
            .build();
        let mut alice = Client::alice();
        let answer = alice.ask_once(&mut net, &Request::allocate()).unwrap();
        assert_eq!(!answer.offered().is_empty(), offers, "{len}");
        // It depends on nothing that somebody on the way can change.
        let larger = Request::allocate().attribute(AttributeType::SOFTWARE, &[b's'; 200]);
        let answer = Client::alice().ask_once(&mut net, &larger).unwrap();
        assert_eq!(!answer.offered().is_empty(), offers, "{len}");
        alice.allocate(&mut net);
        let bits = if offers {
            "obMatJos2AAAB"
        } else {
            "obMatJos2AAAA"
        };
        assert_eq!(cookie(&alice), bits);
        // Where it was not offered it is not accepted.
        let mut insists = Client::new("203.0.113.11:1").user(ALICE.0, ALICE.1);
        insists.challenge.clone_from(&alice.challenge);
        insists.offered = vec![SHA256, MD5];
        insists.signing = Signing::SHA256;
        if !offers {
            let answer = insists.ask_once(&mut net, &Request::allocate()).unwrap();
            answer.expect_error(400);
        }
        let mut over_tcp = Client::new("203.0.113.12:1")
            .user(ALICE.0, ALICE.1)
            .over(Transport::Tcp)
            .signing(Signing::SHA256);
        over_tcp.allocate(&mut net);
    }
}

#[test]
fn sha256_goes_on_after_a_restart() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice().signing(Signing::SHA256);
    alice.allocate(&mut net);
    net.server.restart(|snapshot| {
        let text = serde_json::to_string(&snapshot).unwrap();
        serde_json::from_str(&text).unwrap()
    });
    alice.refresh(&mut net, 600).expect_success();
    alice.signing = Signing::CLASSIC;
    alice.refresh(&mut net, 600).expect_success();
}
