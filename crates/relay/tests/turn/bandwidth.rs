//! Limits of the rate of an allocation (`max-bps`), and of what all may have reserved together (`bps-capacity`).

use core::num::NonZeroU64;
use core::time::Duration;

use turnbuckle_relay::{DropReason, Event, Limits, Traffic, Transport};
use turnbuckle_testkit::{ALICE, Client, Network, Peer, Request, Setup};

// compliance: 8656-5-12
#[test]
fn what_is_too_much_is_dropped_and_counted_each_way_by_itself() {
    let (mut net, mut alice, peer) = call(limited(100_000));
    let relayed = alice.relayed.unwrap();
    for _ in 0..12 {
        alice.send_channel(&mut net, CHANNEL, &[7; 10_000]);
    }
    assert_eq!(peer.received(&mut net).len(), 10);
    // The other direction has an allowance of its own.
    for _ in 0..11 {
        peer.send(&mut net, relayed, &[7; 10_000]);
    }
    assert_eq!(alice.received(&mut net).len(), 10);
    assert_eq!(net.server.stats().dropped(DropReason::Rate), 2 + 1);

    let now = net.clock.now();
    let session = net.server.shards[0].relay.sessions(now).next().unwrap();
    let shaped = Traffic {
        packets_to_peers: 2,
        bytes_to_peers: 20_000,
        packets_to_client: 1,
        bytes_to_client: 10_000,
    };
    assert_eq!(session.shaped, shaped);
    assert_eq!(session.rate, NonZeroU64::new(100_000));
    assert_eq!(session.traffic.bytes_to_peers, 100_000);
    net.server.take_events();
    alice.refresh(&mut net, 0).expect_success();
    let events = net.server.take_events();
    let [Event::AllocationDeleted { shaped: told, .. }] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(*told, shaped);
}

#[test]
fn the_allowance_comes_back_at_the_rate() {
    let (mut net, mut alice, peer) = call(limited(100_000));
    for _ in 0..10 {
        alice.send(&mut net, peer.address, &[7; 10_000]);
    }
    assert_eq!(peer.received(&mut net).len(), 10);
    net.advance(Duration::from_millis(100) - Duration::from_micros(1));
    alice.send(&mut net, peer.address, &[7; 10_000]);
    assert_eq!(peer.received(&mut net).len(), 0);
    net.advance(Duration::from_micros(1));
    alice.send(&mut net, peer.address, &[7; 10_000]);
    assert_eq!(peer.received(&mut net).len(), 1);
}

#[test]
fn streams_are_limited_alike_and_others_are_not_touched() {
    let mut net = limited(100_000).build();
    let peer = Peer::new("9.9.9.9:4000");
    let mut alice = Client::alice().over(Transport::Tls);
    let mut bob = Client::bob();
    for client in [&mut alice, &mut bob] {
        client.allocate(&mut net);
        client
            .bind(&mut net, CHANNEL, peer.address)
            .expect_success();
    }
    for _ in 0..20 {
        alice.send_channel(&mut net, CHANNEL, &[7; 10_000]);
    }
    assert_eq!(peer.received(&mut net).len(), 10);
    bob.send_channel(&mut net, CHANNEL, b"not mine");
    assert_eq!(peer.received(&mut net).len(), 1);
}

#[test]
fn both_ends_of_a_hairpin_are_limited() {
    let mut net = limited(100_000).build();
    let (mut alice, mut bob) = (Client::alice(), Client::bob());
    let mut carol = Client::new("203.0.113.11:7").user(ALICE.0, ALICE.1);
    let [at_alice, at_bob, at_carol] =
        [&mut alice, &mut bob, &mut carol].map(|client| client.allocate(&mut net));
    alice.permit(&mut net, &[at_bob]).expect_success();
    carol.permit(&mut net, &[at_bob]).expect_success();
    bob.permit(&mut net, &[at_alice, at_carol]).expect_success();
    for _ in 0..11 {
        alice.send(&mut net, at_bob, &[7; 10_000]);
    }
    assert_eq!(bob.received(&mut net).len(), 10);
    // Carol has her allowance, Bob has had all of his.
    carol.send(&mut net, at_bob, &[7; 10_000]);
    assert_eq!(bob.received(&mut net).len(), 0);
    assert_eq!(net.server.stats().dropped(DropReason::Rate), 2);
}

#[test]
fn who_gets_no_share_of_the_capacity_is_refused() {
    let mut setup = limited(400_000);
    setup.limits.capacity = NonZeroU64::new(1_000_000);
    let mut net = setup.shards(2).build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    Client::bob().allocate(&mut net);
    let mut late = Client::new("203.0.113.11:7").user(ALICE.0, ALICE.1);
    late.ask(&mut net, &Request::allocate()).expect_error(486);
    alice.refresh(&mut net, 0).expect_success();
    late.allocate(&mut net);
    assert_eq!(net.server.quota.reserved(), 800_000);
}

#[test]
fn a_new_limit_is_for_new_allocations() {
    let (mut net, mut alice, peer) = call(limited(100_000));
    net.server.quota.set_limits(Limits::default());
    for _ in 0..11 {
        alice.send(&mut net, peer.address, &[7; 10_000]);
    }
    assert_eq!(peer.received(&mut net).len(), 10);
    alice.refresh(&mut net, 0).expect_success();
    alice.allocate(&mut net);
    alice.permit(&mut net, &[peer.address]).expect_success();
    for _ in 0..11 {
        alice.send(&mut net, peer.address, &[7; 10_000]);
    }
    assert_eq!(peer.received(&mut net).len(), 11);
}

#[test]
fn a_restart_gives_nothing_back() {
    let (mut net, mut alice, peer) = call(limited(100_000));
    for _ in 0..10 {
        alice.send(&mut net, peer.address, &[7; 10_000]);
    }
    assert_eq!(peer.received(&mut net).len(), 10);
    net.server.restart(|snapshot| snapshot);
    assert_eq!(net.server.quota.reserved(), 100_000);
    alice.send(&mut net, peer.address, &[7; 10_000]);
    assert_eq!(peer.received(&mut net).len(), 0);
}

fn limited(rate: u64) -> Setup {
    Setup {
        limits: Limits {
            rate: NonZeroU64::new(rate),
            ..Limits::default()
        },
        ..Setup::default()
    }
}

/// Alice with a channel to a peer.
fn call(setup: Setup) -> (Network, Client, Peer) {
    let mut net = setup.build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    let peer = Peer::new("9.9.9.9:4000");
    alice.bind(&mut net, CHANNEL, peer.address).expect_success();
    (net, alice, peer)
}

const CHANNEL: u16 = 0x4000;
