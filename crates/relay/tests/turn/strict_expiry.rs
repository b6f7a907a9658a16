//! What becomes of an allocation when the credential expires that it was made with.

use core::time::Duration;

use turnbuckle_relay::{EndReason, Event, Reject, StrictExpiry, Unauthorized};
use turnbuckle_testkit::{Client, Clock, Network, Peer, Request, Setup};

#[test]
fn off_lets_a_call_go_on() {
    let (mut net, mut carol) = call(StrictExpiry::Off, 100);
    net.advance(Duration::from_secs(550));
    let answer = carol.refresh(&mut net, 3600).expect_success();
    assert_eq!(answer.lifetime(), Some(3600));
}

#[test]
fn refresh_prolongs_nothing_once_the_credential_has_expired() {
    let (mut net, mut carol) = call(StrictExpiry::Refresh, 1000);
    net.advance(Duration::from_secs(400));
    // As far as the credential.
    let answer = carol.refresh(&mut net, 3600).expect_success();
    assert_eq!(answer.lifetime(), Some(600));
    net.advance(Duration::from_secs(599));
    // It is at its end, which the least lifetime of RFC 8656 reaches beyond.
    let answer = carol.refresh(&mut net, 3600).expect_success();
    assert_eq!(answer.lifetime(), Some(600));
    net.advance(Duration::from_secs(11));
    net.server.take_events();
    carol.refresh(&mut net, 600).expect_error(401);
    let events = net.server.take_events();
    let Some(Event::Rejected { reject, .. }) = events.first() else {
        panic!("{events:?}");
    };
    let expired = Unauthorized::Expired { seconds_ago: 10 };
    assert_eq!(*reject, Reject::Unauthorized(expired));
    // What there is goes on to its end, and the client may end it before.
    let peer = Peer::new("9.9.9.9:4000");
    carol.permit(&mut net, &[peer.address]).expect_success();
    carol.send(&mut net, peer.address, b"goodbye");
    assert_eq!(peer.received(&mut net).len(), 1);
    net.advance(Duration::from_secs(588));
    assert_eq!(net.server.allocations(), 1);
    carol.refresh(&mut net, 0).expect_success();
    assert_eq!(net.server.allocations(), 0);
}

#[test]
fn a_long_lifetime_is_cut_at_the_allocation_already() {
    for (mode, left, expected) in [
        (StrictExpiry::Off, 100, 3600),
        (StrictExpiry::Refresh, 100, 600),
        (StrictExpiry::Refresh, 2000, 2000),
        (StrictExpiry::Expiry, 100, 100),
        (StrictExpiry::Expiry, 10_000, 3600),
    ] {
        let mut net = with(mode).build();
        let mut carol = carol(left);
        let request = Request::allocate().lifetime(3600);
        let answer = carol.ask(&mut net, &request).expect_success();
        assert_eq!(answer.lifetime(), Some(expected), "{mode:?}, {left} s");
    }
}

#[test]
fn expiry_ends_it_to_the_second() {
    let (mut net, mut carol) = call(StrictExpiry::Expiry, 1000);
    net.advance(Duration::from_secs(500));
    let answer = carol.refresh(&mut net, 600).expect_success();
    assert_eq!(answer.lifetime(), Some(500));
    net.advance(Duration::from_secs(500) - Duration::from_micros(1));
    assert_eq!(net.server.allocations(), 1);
    net.server.take_events();
    net.advance(Duration::from_micros(1));
    let events = net.server.take_events();
    let [Event::AllocationDeleted { why, .. }] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(*why, EndReason::CredentialExpired);
    assert_eq!(why.as_str(), "credential expired");
    carol.ask(&mut net, &Request::allocate()).expect_error(401);
}

#[test]
fn who_did_not_refresh_has_just_expired() {
    let (mut net, _) = call(StrictExpiry::Expiry, 1000);
    net.advance(Duration::from_secs(600));
    let events = net.server.take_events();
    let Some(Event::AllocationDeleted { why, .. }) = events.last() else {
        panic!("{events:?}");
    };
    assert_eq!(*why, EndReason::Expired);
}

#[test]
fn static_users_have_no_expiry() {
    for mode in [StrictExpiry::Refresh, StrictExpiry::Expiry] {
        let mut net = with(mode).build();
        let mut alice = Client::alice();
        alice.allocate(&mut net);
        for _ in 0..3 {
            net.advance(Duration::from_secs(500));
            let answer = alice.refresh(&mut net, 3600).expect_success();
            assert_eq!(answer.lifetime(), Some(3600));
        }
    }
}

#[test]
fn a_new_rule_holds_for_the_next_refresh() {
    let (mut net, mut carol) = call(StrictExpiry::Off, 100);
    net.advance(Duration::from_secs(200));
    net.server
        .set_config(|c| c.strict_expiry = StrictExpiry::Expiry);
    assert_eq!(net.server.allocations(), 1);
    carol.refresh(&mut net, 600).expect_error(401);
}

#[test]
fn the_expiry_survives_a_restart() {
    let (mut net, mut carol) = call(StrictExpiry::Refresh, 100);
    net.server.restart(|snapshot| snapshot);
    net.advance(Duration::from_secs(101));
    carol.refresh(&mut net, 600).expect_error(401);
}

fn with(mode: StrictExpiry) -> Setup {
    Setup::default().config(|c| c.strict_expiry = mode)
}

/// A user whose credential is good for so many seconds.
fn carol(seconds: u64) -> Client {
    let name = format!("{}:carol", Clock::START_UNIX + seconds);
    Client::new("203.0.113.30:1").rest(&name)
}

fn call(mode: StrictExpiry, seconds: u64) -> (Network, Client) {
    let mut net = with(mode).build();
    let mut carol = carol(seconds);
    carol.allocate(&mut net);
    (net, carol)
}
