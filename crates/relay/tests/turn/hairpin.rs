//! Two callers that are both forced to relay through this server meet inside of it, and nobody gets further inside than that.

use std::net::SocketAddr;

use turnbuckle_proto::AddressFamily;
use turnbuckle_relay::{DropReason, Handover, ShardId};
use turnbuckle_testkit::{
    Client, LISTENER_V4, LISTENER_V6, Network, Outcome, Peer, RELAY_V4, Request, Setup,
};

#[test]
fn within_one_shard_nothing_leaves_the_relay() {
    let (mut net, mut alice, mut bob) = call(Setup::default());
    net.record = true;
    talk(&mut net, &mut alice, &mut bob);
    let left = net.take_steps();
    assert!(
        left.iter()
            .all(|step| !matches!(step.outcome, Outcome::ToPeer { .. })),
        "{left:?}"
    );
    assert_eq!(net.server.stats().packets_hairpin, 6);
    assert_eq!(net.server.stats().packets_to_peers, 6);
    assert_eq!(net.server.stats().packets_to_clients, 6);
}

#[test]
fn across_two_shards_from_one_relay_to_the_other() {
    for setup in [Setup::default(), Setup::default().behind_nat()] {
        let (mut net, mut alice, mut bob) = call(setup.shards(2));
        assert_ne!(
            net.server.shard_of(alice.five_tuple()),
            net.server.shard_of(bob.five_tuple())
        );
        net.record = true;
        talk(&mut net, &mut alice, &mut bob);
        let steps = net.take_steps();
        assert!(
            steps
                .iter()
                .all(|step| !matches!(step.outcome, Outcome::ToPeer { .. })),
            "{steps:?}"
        );
        let handovers: Vec<Handover> = steps
            .iter()
            .filter_map(|step| match step.outcome {
                Outcome::ToShard { to, .. } => Some(to),
                _ => None,
            })
            .collect();
        assert_eq!(handovers.len(), 6);
        for to in handovers {
            let from_alice = Some(to.source) == alice.relayed;
            let (sender, receiver) = if from_alice {
                (&alice, &bob)
            } else {
                (&bob, &alice)
            };
            assert_eq!(Some(to.source), sender.relayed, "as clients know it");
            let (shard, relayed) = net.server.relay_socket(to.local).unwrap();
            assert_eq!((usize::from(to.shard.0), to.relayed), (shard, relayed));
            assert_eq!(shard, net.server.shard_of(receiver.five_tuple()));
        }
        // Counted as within one shard.
        assert_eq!(net.server.stats().packets_hairpin, 6);
        assert_eq!(net.server.stats().packets_to_peers, 6);
        assert_eq!(net.server.stats().packets_to_clients, 6);
    }
}

#[test]
fn a_handover_that_comes_too_late_is_dropped() {
    let (mut net, mut alice, mut bob) = call(Setup::default().shards(2));
    let (at_alice, at_bob) = (alice.relayed.unwrap(), bob.relayed.unwrap());
    alice.permit(&mut net, &[at_bob]).expect_success();
    bob.permit(&mut net, &[at_alice]).expect_success();
    let (shard, relayed) = net.server.relay_socket(at_bob).unwrap();
    let to = Handover {
        shard: ShardId(shard as u8),
        relayed,
        local: at_bob,
        source: at_alice,
    };
    let hand_over = |net: &mut Network| net.server.handle_handover(net.clock.now(), &to, b"late");
    assert!(matches!(hand_over(&mut net), Outcome::ToClient { .. }));
    bob.refresh(&mut net, 0).expect_success();
    assert_eq!(hand_over(&mut net), Outcome::Dropped(DropReason::NoRelayed));
    // Its number is used again, for another address, whose client lets alice in as well.
    let now_at = bob.allocate(&mut net);
    assert_ne!(now_at, at_bob);
    assert_eq!(net.server.relay_socket(now_at), Some((shard, relayed)));
    bob.permit(&mut net, &[at_alice]).expect_success();
    assert_eq!(hand_over(&mut net), Outcome::Dropped(DropReason::NoRelayed));
    assert_eq!(net.server.stats().packets_hairpin, 1);
}

#[test]
fn a_handover_whose_sender_is_gone_is_dropped() {
    let (mut net, mut alice, mut bob) = call(Setup::default().shards(2));
    let (at_alice, at_bob) = (alice.relayed.unwrap(), bob.relayed.unwrap());
    bob.permit(&mut net, &[at_alice]).expect_success();
    let (shard, relayed) = net.server.relay_socket(at_bob).unwrap();
    let to = Handover {
        shard: ShardId(shard as u8),
        relayed,
        local: at_bob,
        source: at_alice,
    };
    alice.refresh(&mut net, 0).expect_success();
    let outcome = net.server.handle_handover(net.clock.now(), &to, b"late");
    assert_eq!(outcome, Outcome::Dropped(DropReason::OwnAddress));
}

#[test]
fn the_local_spelling_means_the_same_address() {
    for shards in [1, 2] {
        let (mut net, mut alice, mut bob) = call(Setup::default().behind_nat().shards(shards));
        let (at_alice, at_bob) = (alice.relayed.unwrap(), bob.relayed.unwrap());
        let local = SocketAddr::new([10, 0, 0, 5].into(), at_bob.port());
        alice.permit(&mut net, &[local]).expect_success();
        bob.permit(&mut net, &[at_alice]).expect_success();
        alice.send(&mut net, local, b"local");
        assert_eq!(bob.received_data(&mut net), [(at_alice, b"local".to_vec())]);
        // A channel bound to one spelling is a channel for both, and answers come on it.
        alice.bind(&mut net, 0x4000, local).expect_success();
        alice.bind(&mut net, 0x4001, at_bob).expect_error(400);
        bob.send(&mut net, at_alice, b"answer");
        assert_eq!(
            alice.received_channel(&mut net),
            [(0x4000, b"answer".to_vec())]
        );
    }
}

#[test]
fn ipv6() {
    for shards in [1, 2] {
        let mut net = Setup::default().behind_nat().shards(shards).build();
        let (mut alice, mut bob) = (Client::alice(), Client::bob());
        let v6 = Request::allocate().family(AddressFamily::V6);
        for client in [&mut alice, &mut bob] {
            client.ask(&mut net, &v6).expect_success();
        }
        talk(&mut net, &mut alice, &mut bob);
    }
}

#[test]
fn also_where_the_servers_own_address_is_refused() {
    let setup = Setup::default()
        .behind_nat()
        .deny("0.0.0.0-255.255.255.255")
        .config(|c| c.policy.own_hosts = vec!["10.0.0.5".parse().unwrap()]);
    let (mut net, mut alice, mut bob) = call(setup);
    talk(&mut net, &mut alice, &mut bob);
}

#[test]
fn to_itself() {
    let (mut net, mut alice, _) = call(Setup::default());
    let own = alice.relayed.unwrap();
    alice.permit(&mut net, &[own]).expect_success();
    alice.send(&mut net, own, b"echo");
    assert_eq!(alice.received_data(&mut net), [(own, b"echo".to_vec())]);
}

#[test]
fn both_sides_need_a_permission() {
    for shards in [1, 2] {
        let (mut net, mut alice, mut bob) = call(Setup::default().shards(shards));
        let (at_alice, at_bob) = (alice.relayed.unwrap(), bob.relayed.unwrap());
        alice.send(&mut net, at_bob, b"nobody permits");
        assert_eq!(bob.received(&mut net), []);
        bob.permit(&mut net, &[at_alice]).expect_success();
        alice.send(&mut net, at_bob, b"bob permits");
        assert_eq!(bob.received(&mut net), []);
        alice.permit(&mut net, &[at_bob]).expect_success();
        alice.send(&mut net, at_bob, b"both permit");
        assert_eq!(bob.received(&mut net).len(), 1);

        let (mut net, mut alice, bob) = call(Setup::default().shards(shards));
        alice.permit(&mut net, &[at_bob]).expect_success();
        alice.send(&mut net, at_bob, b"alice permits");
        assert_eq!(bob.received(&mut net), []);
        assert_eq!(net.server.stats().dropped(DropReason::NoPermission), 1);
        assert_eq!(net.server.stats().packets_hairpin, 0);
    }
}

#[test]
fn a_port_that_is_not_live_is_dropped_and_counted() {
    for setup in [Setup::default(), Setup::default().behind_nat()] {
        let (mut net, mut alice, bob) = call(setup);
        let live = [alice.relayed.unwrap().port(), bob.relayed.unwrap().port()];
        let own = alice.relayed.unwrap().ip();
        alice
            .permit(&mut net, &[SocketAddr::new(own, 1)])
            .expect_success();
        let range = net.server.ports.ports().clone();
        let mut tried = 0;
        for port in range.chain([0, 22, 80, 3478, 5349, 65_535]) {
            if live.contains(&port) {
                continue;
            }
            alice.send(&mut net, SocketAddr::new(own, port), b"probe");
            tried += 1;
        }
        assert!(net.is_quiet(), "something came through");
        assert_eq!(net.server.stats().dropped(DropReason::OwnAddress), tried);
        assert_eq!(net.server.stats().packets_to_peers, 0);
        // A channel to such a port may be bound, as it may go live later; data for it goes nowhere.
        let listener = LISTENER_V4.parse().unwrap();
        alice.bind(&mut net, 0x4000, listener).expect_success();
        alice.send_channel(&mut net, 0x4000, b"probe");
        assert!(net.is_quiet());
    }
}

#[test]
fn a_channel_to_a_port_that_goes_live_later() {
    let mut net = Setup {
        ports: 50_000..=50_001,
        ..Setup::default()
    }
    .build();
    let (mut alice, mut bob) = (Client::alice(), Client::bob());
    let at_alice = alice.allocate(&mut net);
    let other_port = 100_001 - u32::from(at_alice.port());
    let at_bob = SocketAddr::new(at_alice.ip(), u16::try_from(other_port).unwrap());
    alice.bind(&mut net, 0x4000, at_bob).expect_success();
    alice.send_channel(&mut net, 0x4000, b"too early");
    assert!(net.is_quiet());
    assert_eq!(bob.allocate(&mut net), at_bob);
    bob.permit(&mut net, &[at_alice]).expect_success();
    alice.send_channel(&mut net, 0x4000, b"now");
    assert_eq!(bob.received(&mut net).len(), 1);
    bob.refresh(&mut net, 0).expect_success();
    alice.send_channel(&mut net, 0x4000, b"too late");
    assert!(net.is_quiet());
}

#[test]
fn a_listener_is_never_reached_even_where_its_address_is_opened() {
    for (setup, local) in [
        (Setup::default(), RELAY_V4),
        (Setup::default().behind_nat(), "10.0.0.5"),
    ] {
        let mut setup = setup
            .allow(RELAY_V4)
            .allow("10.0.0.5")
            .allow("127.0.0.0-127.255.255.255");
        setup.config.policy.own_hosts = vec!["10.0.0.6".parse().unwrap()];
        let listeners = ["0.0.0.0:443", &format!("{local}:3478"), LISTENER_V6];
        setup.config.policy.listeners = listeners.map(|l| l.parse().unwrap()).to_vec();
        let mut net = setup.build();
        let mut alice = Client::alice();
        alice.allocate(&mut net);
        for peer in [
            format!("{RELAY_V4}:3478"),
            format!("{local}:3478"),
            format!("{RELAY_V4}:443"),
            format!("{local}:443"),
            "127.0.0.1:443".to_owned(),
        ] {
            let peer = peer.parse().unwrap();
            alice.permit(&mut net, &[peer]).expect_success();
            let before = net.server.stats().dropped(DropReason::OwnAddress);
            alice.send(&mut net, peer, b"binding request");
            let after = net.server.stats().dropped(DropReason::OwnAddress);
            assert_eq!(after, before + 1, "{peer} was reached from {local}");
        }
        assert_eq!(net.server.stats().packets_to_peers, 0);
        assert!(net.is_quiet());
    }
}

#[test]
fn another_service_of_the_host_is_reached_where_opened_by_name() {
    let mut net = Setup::default().allow("127.0.0.1").build();
    let mut alice = Client::alice();
    let relayed = alice.allocate(&mut net);
    let service = Peer::new("127.0.0.1:5000");
    alice.permit(&mut net, &[service.address]).expect_success();
    alice.send(&mut net, service.address, b"media");
    assert_eq!(service.received(&mut net), [(relayed, b"media".to_vec())]);
}

#[test]
fn a_service_beside_the_relay_is_reached_without_a_detour_over_the_nat() {
    let mut net = Setup::default().behind_nat().allow("10.0.0.5").build();
    let mut alice = Client::alice();
    let relayed = alice.allocate(&mut net);
    let service = Peer::new("10.0.0.5:5000");
    alice.permit(&mut net, &[service.address]).expect_success();
    net.record = true;
    alice.send(&mut net, service.address, b"media");
    let to = net
        .take_steps()
        .into_iter()
        .find_map(|step| match step.outcome {
            Outcome::ToPeer { to, .. } => Some(to),
            _ => None,
        });
    assert_eq!(to, Some(service.address));
    service.send(&mut net, relayed, b"answer");
    assert_eq!(alice.received_data(&mut net).len(), 1);
}

#[test]
fn the_hosts_other_addresses_are_refused() {
    let mut net = Setup::default()
        .config(|c| c.policy.own_hosts = vec!["9.9.9.9".parse().unwrap()])
        .build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    let own: SocketAddr = "9.9.9.9:4000".parse().unwrap();
    alice.permit(&mut net, &[own]).expect_error(403);
    alice.bind(&mut net, 0x4000, own).expect_error(403);
}

#[test]
fn a_datagram_with_the_servers_own_source_address_must_come_from_a_live_port() {
    let (mut net, mut alice, bob) = call(Setup::default().shards(2));
    let (at_alice, at_bob) = (alice.relayed.unwrap(), bob.relayed.unwrap());
    alice.permit(&mut net, &[at_bob]).expect_success();
    // A service of the host, or somebody who forges its address.
    let service = Peer {
        address: SocketAddr::new(at_bob.ip(), 53),
    };
    service.send(&mut net, at_alice, b"forged");
    assert_eq!(alice.received(&mut net), []);
    assert_eq!(net.server.stats().dropped(DropReason::OwnAddress), 1);
}

fn call(setup: Setup) -> (Network, Client, Client) {
    let mut net = setup.build();
    let (mut alice, mut bob) = (Client::alice(), Client::bob());
    alice.allocate(&mut net);
    bob.allocate(&mut net);
    (net, alice, bob)
}

/// Data both ways in all three forms; six packets.
fn talk(net: &mut Network, alice: &mut Client, bob: &mut Client) {
    let (at_alice, at_bob) = (alice.relayed.unwrap(), bob.relayed.unwrap());
    alice.permit(net, &[at_bob]).expect_success();
    bob.permit(net, &[at_alice]).expect_success();
    alice.send(net, at_bob, b"one");
    assert_eq!(bob.received_data(net), [(at_alice, b"one".to_vec())]);
    bob.send(net, at_alice, b"two");
    assert_eq!(alice.received_data(net), [(at_bob, b"two".to_vec())]);

    alice.bind(net, 0x4000, at_bob).expect_success();
    alice.send_channel(net, 0x4000, b"three");
    assert_eq!(bob.received_data(net), [(at_alice, b"three".to_vec())]);
    bob.send(net, at_alice, b"four");
    assert_eq!(alice.received_channel(net), [(0x4000, b"four".to_vec())]);

    bob.bind(net, 0x4001, at_alice).expect_success();
    alice.send_channel(net, 0x4000, b"five");
    assert_eq!(bob.received_channel(net), [(0x4001, b"five".to_vec())]);
    bob.send_channel(net, 0x4001, b"six");
    assert_eq!(alice.received_channel(net), [(0x4000, b"six".to_vec())]);
}
