//! Forged source addresses: no answer much larger than its request, no memory, no way to shut others out.

use core::num::NonZeroU32;
use core::time::Duration;
use std::net::SocketAddr;

use turnbuckle_proto::{AttributeType, Method, TransactionId};
use turnbuckle_relay::{Decision, DropReason, HEADROOM, Packet, Rate, TAILROOM};
use turnbuckle_testkit::{Client, HeapUse, Network, Outcome, REALM, Request, Server, Setup, Step};

#[test]
fn a_binding_answer_is_20_to_32_bytes() {
    let mut net = Setup::default().build();
    for (address, len) in [("203.0.113.10:1", 32), ("[2001:db8:9::1]:1", 44)] {
        let mut client = Client::new(address);
        let request = client.encode(&Request::binding());
        assert_eq!(request.len(), 20);
        let answer = client.exchange(&mut net, &request).unwrap();
        assert_eq!(answer.bytes().len(), len, "{address}");
    }
}

#[test]
fn a_browsers_first_allocate_is_answered_within_the_limit() {
    // 28 bytes: header and REQUESTED-TRANSPORT.
    for realm_len in [0, 1, 12, 40, 48] {
        let realm = "r".repeat(realm_len);
        let mut net = Setup::default()
            .config(|c| c.realm = realm.as_str().into())
            .build();
        let answer = Client::new("203.0.113.10:1").ask(&mut net, &Request::allocate());
        answer.expect_error(401);
    }
}

// compliance: 8489-9.2.4-07
#[test]
fn no_unauthenticated_request_is_answered_with_more_than_27_times_a_tenth_of_it() {
    let mut answered = 0;
    let mut worst = 0;
    for realm_len in [0, 1, 12, 40, 60, 127] {
        for lavish in [false, true] {
            let mut net = Setup::default()
                .config(|c| {
                    c.realm = "r".repeat(realm_len).into();
                    c.reason_phrases = lavish;
                    c.fingerprint = lavish;
                    c.software = Some("Turnbuckle with a very long name".into());
                })
                .build();
            net.record = true;
            for address in ["203.0.113.10:1", "[2001:db8:9::1]:1"] {
                send_everything(&mut net, Client::new(address));
                for step in net.take_steps() {
                    if let Some(per_mille) = amplification(&step) {
                        answered += 1;
                        worst = worst.max(per_mille);
                    }
                }
                // One datagram for each request, and none to anybody else.
                assert!(net.take_inbox(address.parse().unwrap()).len() <= SENT);
                assert!(net.is_quiet());
            }
        }
    }
    assert!(worst <= 2700, "{worst} per mille");
    assert!(answered > 2000, "only {answered} were answered at all");
}

#[test]
fn what_would_be_larger_is_dropped_and_counted() {
    let mut net = Setup::default()
        .config(|c| c.realm = "r".repeat(127).into())
        .build();
    let mut client = Client::new("203.0.113.10:1");
    assert_eq!(client.ask_once(&mut net, &Request::allocate()), None);
    let stats = net.server.stats();
    assert_eq!(stats.dropped(DropReason::Amplification), 1);
    assert_eq!(stats.rejected(401), 0);
    // A larger request is worth the answer; so is a connection, whose address is not forged.
    let larger = Request::allocate().attribute(AttributeType::SOFTWARE, &[b's'; 64]);
    client.ask(&mut net, &larger).expect_error(401);
    let mut client = client.over(turnbuckle_relay::Transport::Tcp);
    client.ask(&mut net, &Request::allocate()).expect_error(401);
}

#[test]
fn challenges_are_limited_for_each_address() {
    let mut net = limited().build();
    let mut flooder = Client::new("203.0.113.10:1");
    assert_eq!(answered(&mut net, &mut flooder, 100), 20);
    let stats = net.server.stats();
    assert_eq!(stats.dropped(DropReason::UnauthorizedRate), 80);
    // Its other ports are the same source, other addresses are not.
    let mut same = Client::new("203.0.113.10:2");
    assert_eq!(answered(&mut net, &mut same, 5), 0);
    let mut other = Client::new("203.0.113.11:1");
    assert_eq!(answered(&mut net, &mut other, 5), 5);
    net.advance(Duration::from_secs(1));
    assert_eq!(answered(&mut net, &mut flooder, 100), 10);
}

#[test]
fn every_refusal_of_a_stranger_counts_as_a_challenge_does() {
    let mut net = limited().build();
    let mut stranger = Client::new("203.0.113.10:1");
    let unknown = Request::binding().attribute(AttributeType(0x7001), &[]);
    let forged = (
        Some((REALM.to_owned(), vec![b'A'; 22])),
        Request::allocate(),
    );
    let mut count = 0;
    for _ in 0..10 {
        count += usize::from(stranger.ask_once(&mut net, &unknown).is_some());
        count += usize::from(stranger.ask_once(&mut net, &Request::refresh(0)).is_some());
        let mut forger = stranger.clone().user("alice", "guessed");
        forger.challenge.clone_from(&forged.0);
        count += usize::from(forger.ask_once(&mut net, &forged.1).is_some());
    }
    assert_eq!(count, 20);
}

#[test]
fn users_and_bindings_are_not_limited() {
    let mut net = limited().build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    let mut flooder = Client::new("203.0.113.10:1");
    answered(&mut net, &mut flooder, 100);
    for _ in 0..50 {
        alice.refresh(&mut net, 600).expect_success();
        flooder.ask(&mut net, &Request::binding()).expect_success();
    }
}

#[test]
fn connections_are_not_limited_as_their_addresses_are_not_forged() {
    let mut net = limited().build();
    let mut stranger = Client::new("203.0.113.10:1").over(turnbuckle_relay::Transport::Tcp);
    assert_eq!(answered(&mut net, &mut stranger, 100), 100);
}

#[test]
fn sixty_thousand_forged_sources_leave_nothing_behind() {
    let mut net = limited().build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    let challenge = Client::new("203.0.113.9:1").encode(&Request::allocate());
    let binding = Client::new("203.0.113.9:1").encode(&Request::binding());
    let mut forger = Client::new("203.0.113.9:1").user("alice", "guessed");
    forger.challenge = Some((REALM.to_owned(), vec![b'A'; 22]));
    let forged = forger.encode(&Request::allocate());
    let data = Client::channel_data(0x4000, b"data");
    let kinds = [challenge, forged, binding, data];

    let now = net.clock.now();
    let shard = &mut net.server.shards[0];
    while shard.relay.poll_event().is_some() {}
    let mut answer = [0; 1280];
    let before = HeapUse::of_this_thread();
    let mut answers = 0;
    for source in 0..60_000u32 {
        let octets = (0x0800_0000 + source).to_be_bytes();
        let from = SocketAddr::from((octets, 1 + (source % 60_000) as u16));
        let path = Server::path(Server::five_tuple(from, alice.server, alice.transport));
        let message = &kinds[source as usize % kinds.len()];
        let mut room = [0; HEADROOM + 200 + TAILROOM];
        room[HEADROOM..][..message.len()].copy_from_slice(message);
        let packet = Packet::new(&mut room, HEADROOM..HEADROOM + message.len()).unwrap();
        let sockets = &mut shard.sockets;
        let decision = shard
            .relay
            .handle_client(now, &path, packet, &mut answer, sockets);
        answers += usize::from(matches!(decision, Decision::Answer { .. }));
        assert_eq!(shard.relay.poll_event(), None);
    }
    let used = HeapUse::of_this_thread().since(before);
    assert_eq!(used.bytes, 0, "bytes kept for 60,000 sources");
    assert_eq!(answers, 45_000, "all but the data");
    assert_eq!(shard.relay.allocations(), 1);
    assert_eq!(shard.sockets.len(), 1);
    shard.relay.check_invariants();

    Client::bob().allocate(&mut net);
    alice.refresh(&mut net, 600).expect_success();
}

#[test]
fn the_counting_allocator_counts_here() {
    let before = HeapUse::of_this_thread();
    let kept = std::hint::black_box(vec![0u8; 1000]);
    let used = HeapUse::of_this_thread().since(before);
    assert_eq!((used.allocations, used.bytes), (1, 1000));
    drop(kept);
    assert_eq!(HeapUse::of_this_thread().since(before).bytes, 0);
}

/// Each method in many sizes and states of disrepair.
fn send_everything(net: &mut Network, stranger: Client) {
    let mut forger = stranger.clone().user("alice", "guessed");
    forger.challenge = Some(("r".to_owned(), vec![b'A'; 22]));
    let peer = "9.9.9.9:1".parse().unwrap();
    let requests = [
        Request::binding(),
        Request::new(Method::ALLOCATE),
        Request::allocate(),
        Request::new(Method::REFRESH),
        Request::create_permission(&[peer]),
        Request::new(Method::CREATE_PERMISSION),
        Request::channel_bind(0x4000, peer),
        Request::new(Method::CHANNEL_BIND),
        Request::new(Method::CONNECT),
    ];
    for request in requests {
        for extra in 0..20 {
            let larger = match extra {
                0 => request.clone(),
                1 => request.clone().fingerprint(),
                // Many unknown ones, each of four bytes: the answer lists eight.
                2..9 => (0..extra * 2).fold(request.clone(), |request, i| {
                    request.attribute(AttributeType(0x7000 + i), &[])
                }),
                _ => request.clone().attribute(
                    AttributeType::SOFTWARE,
                    &vec![b's'; usize::from(extra - 8) * 40],
                ),
            };
            for mut client in [stranger.clone(), forger.clone()] {
                let bytes = client.encode(&larger);
                client.post(net, &bytes);
            }
            // Signed, but with parts missing.
            let transaction = TransactionId([1; 12]);
            let bytes = larger.encode(transaction, &[], forger.key().as_ref());
            stranger.post(net, &bytes);
        }
    }
    net.settle();
}

/// Answer by request on the wire, IP and UDP headers included, in thousandths; `None` where there is no answer.
fn amplification(step: &Step) -> Option<usize> {
    let turnbuckle_testkit::Input::Client { five_tuple, bytes } = &step.input else {
        panic!("{step:?}");
    };
    let headers = if five_tuple.client.0.is_ipv4() {
        20 + 8
    } else {
        40 + 8
    };
    match &step.outcome {
        Outcome::Answered(answer) => {
            Some((answer.len() + headers) * 1000 / (bytes.len() + headers))
        }
        Outcome::Dropped(_) => None,
        other => panic!("{other:?}"),
    }
}

fn answered(net: &mut Network, client: &mut Client, times: usize) -> usize {
    (0..times)
        .filter(|_| client.ask_once(net, &Request::allocate()).is_some())
        .count()
}

fn limited() -> Setup {
    let number = |n| NonZeroU32::new(n).unwrap();
    Setup::default().config(|c| {
        c.unauthorized_rate = Some(Rate {
            per_second: number(10),
            burst: number(20),
        });
    })
}

/// Requests that [`send_everything`] sends.
const SENT: usize = 9 * 20 * 3;
