//! What the operator sees of allocations, and how they are ended by name.

use core::time::Duration;

use turnbuckle_proto::AddressFamily;
use turnbuckle_relay::{
    EndReason, Event, Families, RelayedTransport, Session, SessionChannel, SessionPermission,
    Traffic, Transport,
};
use turnbuckle_testkit::{ALICE, Client, Clock, Network, Peer, Request, Setup};

#[test]
fn a_session_tells_all_about_an_allocation() {
    let mut net = Setup::default().build();
    let carol = format!("{}:carol", Clock::START_UNIX + 1000);
    let mut carol = Client::new("203.0.113.30:1").rest(&carol);
    let relayed = carol.allocate(&mut net);
    let [first, second] = ["9.9.9.9:4000", "9.9.9.8:4000"].map(Peer::new);
    net.advance(Duration::from_secs(10));
    carol.permit(&mut net, &[second.address]).expect_success();
    carol.bind(&mut net, 0x4001, first.address).expect_success();
    carol.send_channel(&mut net, 0x4001, b"seventeen");
    first.send(&mut net, relayed, b"ten");
    net.advance(Duration::from_secs(20));

    let [session] = &sessions(&net)[..] else {
        panic!("there is one allocation");
    };
    let traffic = Traffic {
        packets_to_peers: 1,
        bytes_to_peers: 9,
        packets_to_client: 1,
        bytes_to_client: 3,
    };
    let expected = Session {
        id: session.id,
        path: session.path,
        user: "carol".into(),
        username: Some(carol.credentials.as_ref().unwrap().0.as_str().into()),
        relayed: Families {
            v4: Some(relayed),
            v6: None,
        },
        transport: RelayedTransport::Udp,
        age: Duration::from_secs(30),
        expires_in: Duration::from_secs(570),
        traffic,
        shaped: Traffic::default(),
        rate: None,
        permissions: vec![
            SessionPermission {
                ip: second.address.ip(),
                expires_in: Duration::from_secs(280),
            },
            SessionPermission {
                ip: first.address.ip(),
                expires_in: Duration::from_secs(280),
            },
        ],
        channels: vec![SessionChannel {
            number: 0x4001,
            peer: first.address,
            expires_in: Duration::from_secs(580),
        }],
    };
    assert_eq!(*session, expected);
    assert_eq!(session.path.five_tuple, carol.five_tuple());
}

#[test]
fn what_has_expired_is_not_listed_though_no_timer_ran() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    let peer = Peer::new("9.9.9.9:4000").address;
    alice.permit(&mut net, &[peer]).expect_success();
    net.advance_without_timers(Duration::from_secs(300));
    let listed = sessions(&net);
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].permissions, []);
    net.advance_without_timers(Duration::from_secs(300));
    assert_eq!(sessions(&net), []);
    assert_eq!(net.server.allocations(), 1);
}

#[test]
fn both_addresses_and_the_stream_of_a_client_are_listed() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice().over(Transport::Tls);
    let both = Request::allocate().additional_family(AddressFamily::V6);
    let answer = alice.ask(&mut net, &both).expect_success();
    let [session] = &sessions(&net)[..] else {
        panic!("there is one allocation");
    };
    let listed: Vec<_> = session.relayed.iter().copied().collect();
    assert_eq!(listed, answer.all_relayed());
    assert_eq!(session.path.five_tuple.transport, Transport::Tls);
}

#[test]
fn who_does_not_authenticate_is_anonymous() {
    let mut net = Setup::default()
        .config(|c| c.credentials.anonymous = true)
        .build();
    Client::new("203.0.113.30:1").allocate(&mut net);
    let listed = sessions(&net);
    assert_eq!(
        (&*listed[0].user, &listed[0].username),
        ("anonymous", &None)
    );
}

#[test]
fn a_user_is_disconnected_in_all_its_sessions_and_nobody_else() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    let relayed = alice.allocate(&mut net);
    let mut other = Client::new("203.0.113.11:7").user(ALICE.0, ALICE.1);
    other.allocate(&mut net);
    let mut bob = Client::bob();
    bob.allocate(&mut net);
    let peer = Peer::new("9.9.9.9:4000");
    alice.permit(&mut net, &[peer.address]).expect_success();
    net.server.take_events();

    assert_eq!(end(&mut net, EndReason::Operator, "alice"), 2);
    let told: Vec<_> = net
        .server
        .take_events()
        .into_iter()
        .map(|event| match event {
            Event::AllocationDeleted { username, why, .. } => (username, why),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = (Some(ALICE.0.into()), EndReason::Operator);
    assert_eq!(told, [expected.clone(), expected]);
    let left = sessions(&net);
    assert_eq!(left.len(), 1);
    assert_eq!(&*left[0].user, "bob");
    assert_eq!(net.server.quota.held_by("alice"), 0);

    peer.send(&mut net, relayed, b"too late");
    assert_eq!(alice.received(&mut net), []);
    alice.refresh(&mut net, 600).expect_error(437);
    // It may come back.
    alice.allocate(&mut net);
    assert_eq!(end(&mut net, EndReason::Operator, "nobody"), 0);
}

#[test]
fn names_made_from_the_secret_are_ended_by_their_stable_part() {
    let mut net = Setup::default().build();
    for (port, seconds) in [(1, 100), (2, 200)] {
        let name = format!("{}:carol", Clock::START_UNIX + seconds);
        Client::new(&format!("203.0.113.30:{port}"))
            .rest(&name)
            .allocate(&mut net);
    }
    assert_eq!(end(&mut net, EndReason::Revoked, "carol"), 2);
    assert_eq!(net.server.allocations(), 0);
}

fn sessions(net: &Network) -> Vec<Session> {
    let now = net.clock.now();
    let shards = net.server.shards.iter();
    shards.flat_map(|s| s.relay.sessions(now)).collect()
}

fn end(net: &mut Network, why: EndReason, user: &str) -> usize {
    let now = net.clock.now();
    let shard = &mut net.server.shards[0];
    let ended = shard
        .relay
        .end_sessions(now, why, &mut shard.sockets, |name| name == user);
    shard.relay.check_invariants();
    ended
}
