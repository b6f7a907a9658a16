//! Lifetimes end exactly when they end, whether the timers have run or not.

use core::time::Duration;

use turnbuckle_relay::{DropReason, EndReason, Event};
use turnbuckle_testkit::{Client, Network, Peer, Request, Setup};

// compliance: 8656-9-01
#[test]
fn a_permission_lives_for_300_s() {
    both_ways_of_passing_time(|advance| {
        let (mut net, mut alice, peer) = long_call();
        alice.permit(&mut net, &[peer.address]).expect_success();
        advance(&mut net, Duration::from_secs(300) - TICK);
        assert_eq!(exchange(&mut net, &mut alice, peer), (true, true));
        advance(&mut net, TICK);
        assert_eq!(exchange(&mut net, &mut alice, peer), (false, false));
        assert_eq!(net.server.stats().dropped(DropReason::NoPermission), 2);
    });
}

// compliance: 8656-11.2-03, 8656-12.6-04
#[test]
fn data_does_not_prolong_a_permission() {
    let (mut net, mut alice, peer) = long_call();
    alice.permit(&mut net, &[peer.address]).expect_success();
    for _ in 0..3 {
        assert_eq!(exchange(&mut net, &mut alice, peer), (true, true));
        net.advance(Duration::from_secs(100));
    }
    assert_eq!(exchange(&mut net, &mut alice, peer), (false, false));
}

#[test]
fn a_refreshed_permission_lives_for_300_s_more() {
    let (mut net, mut alice, peer) = long_call();
    alice.permit(&mut net, &[peer.address]).expect_success();
    net.advance(Duration::from_secs(200));
    alice.permit(&mut net, &[peer.address]).expect_success();
    net.advance(Duration::from_secs(300) - TICK);
    assert_eq!(exchange(&mut net, &mut alice, peer), (true, true));
    net.advance(TICK);
    assert_eq!(exchange(&mut net, &mut alice, peer), (false, false));
}

// compliance: 8656-12-02, 8656-12.6-04
#[test]
fn a_channel_lives_for_600_s_but_its_permission_for_300_s() {
    both_ways_of_passing_time(|advance| {
        let (mut net, mut alice, peer) = long_call();
        alice.bind(&mut net, 0x4000, peer.address).expect_success();
        advance(&mut net, Duration::from_secs(300));
        alice.send_channel(&mut net, 0x4000, b"no permission");
        assert_eq!(peer.received(&mut net), []);
        assert_eq!(net.server.stats().dropped(DropReason::NoPermission), 1);

        // A new permission is enough to use the channel again.
        alice.permit(&mut net, &[peer.address]).expect_success();
        advance(&mut net, Duration::from_secs(300) - TICK);
        alice.send_channel(&mut net, 0x4000, b"last");
        assert_eq!(peer.received(&mut net).len(), 1);
        peer.send(&mut net, alice.relayed.unwrap(), b"last");
        assert_eq!(alice.received_channel(&mut net).len(), 1);

        alice.permit(&mut net, &[peer.address]).expect_success();
        advance(&mut net, TICK);
        alice.send_channel(&mut net, 0x4000, b"too late");
        assert_eq!(peer.received(&mut net), []);
        assert_eq!(net.server.stats().dropped(DropReason::NoChannel), 1);
        peer.send(&mut net, alice.relayed.unwrap(), b"as an indication");
        assert_eq!(alice.received_data(&mut net).len(), 1);
    });
}

// compliance: 8656-12-03, 8656-9-05
#[test]
fn an_allocation_takes_everything_with_it() {
    both_ways_of_passing_time(|advance| {
        let mut net = Setup::default().build();
        let mut alice = Client::alice();
        let relayed = alice.allocate(&mut net);
        let peer = Peer::new("9.9.9.9:4000");
        advance(&mut net, Duration::from_secs(599));
        alice.bind(&mut net, 0x4000, peer.address).expect_success();
        advance(&mut net, Duration::from_secs(1) - TICK);
        alice.send_channel(&mut net, 0x4000, b"last");
        assert_eq!(peer.received(&mut net).len(), 1);
        advance(&mut net, TICK);
        alice.send_channel(&mut net, 0x4000, b"too late");
        alice.send(&mut net, peer.address, b"too late");
        assert_eq!(peer.received(&mut net), []);
        peer.send(&mut net, relayed, b"too late");
        assert_eq!(alice.received(&mut net), []);
        alice.bind(&mut net, 0x4000, peer.address).expect_error(437);
    });
}

#[test]
fn the_host_is_woken_at_each_end_and_told() {
    let (mut net, mut alice, peer) = long_call();
    alice.bind(&mut net, 0x4000, peer.address).expect_success();
    let start = net.clock.now().instant;
    net.server.take_events();
    let mut ends = Vec::new();
    while let Some(next) = net.server.shards[0].relay.poll_timeout() {
        net.advance(next.since(net.clock.now().instant));
        for event in net.server.take_events() {
            let name = match event {
                Event::PermissionExpired { .. } => "permission",
                Event::ChannelExpired { number: 0x4000, .. } => "channel",
                Event::AllocationDeleted {
                    why: EndReason::Expired,
                    ..
                } => "allocation",
                other => panic!("{other:?}"),
            };
            ends.push((net.clock.now().instant.since(start).as_secs(), name));
        }
    }
    assert_eq!(
        ends,
        [(300, "permission"), (600, "channel"), (3600, "allocation")]
    );
}

#[test]
fn configured_lifetimes() {
    let mut net = Setup::default()
        .config(|c| {
            c.lifetimes.permission = Duration::from_secs(7);
            c.lifetimes.channel = Duration::from_secs(5);
        })
        .build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    let peer = Peer::new("9.9.9.9:4000");
    alice.bind(&mut net, 0x4000, peer.address).expect_success();
    net.advance(Duration::from_secs(5));
    alice.send_channel(&mut net, 0x4000, b"no channel");
    alice.send(&mut net, peer.address, b"permission");
    assert_eq!(peer.received(&mut net).len(), 1);
    net.advance(Duration::from_secs(2));
    alice.send(&mut net, peer.address, b"no permission");
    assert_eq!(peer.received(&mut net).len(), 0);
}

fn both_ways_of_passing_time(test: impl Fn(fn(&mut Network, Duration))) {
    test(Network::advance);
    test(Network::advance_without_timers);
}

/// Whether data reaches the peer and the client.
fn exchange(net: &mut Network, client: &mut Client, peer: Peer) -> (bool, bool) {
    client.send(net, peer.address, b"there");
    let there = !peer.received(net).is_empty();
    peer.send(net, client.relayed.unwrap(), b"back");
    (there, !client.received(net).is_empty())
}

fn long_call() -> (Network, Client, Peer) {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    let long = Request::allocate().lifetime(3600);
    alice.ask(&mut net, &long).expect_success();
    (net, alice, Peer::new("9.9.9.9:4000"))
}

const TICK: Duration = Duration::from_micros(1);
