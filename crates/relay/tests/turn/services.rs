//! What the operator can switch off.

use turnbuckle_proto::Method;
use turnbuckle_relay::{DropReason, Services, TcpRelay, Transport};
use turnbuckle_testkit::{Client, Request, Setup};

#[test]
fn stun_only() {
    let mut net = setup(|services| services.turn = false).build();
    let mut alice = Client::alice();
    alice.ask(&mut net, &Request::binding()).expect_success();
    let peer = "9.9.9.9:1".parse().unwrap();
    for request in [
        Request::allocate(),
        Request::refresh(0),
        Request::create_permission(&[peer]),
        Request::channel_bind(0x4000, peer),
    ] {
        assert_eq!(alice.ask_once(&mut net, &request), None);
    }
    assert_eq!(net.server.stats().dropped(DropReason::Disabled), 4);
}

#[test]
fn no_stun() {
    let mut net = setup(|services| services.stun = false).build();
    let mut alice = Client::alice();
    assert_eq!(alice.ask_once(&mut net, &Request::binding()), None);
    assert_eq!(net.server.stats().dropped(DropReason::Disabled), 1);
    alice.allocate(&mut net);
}

#[test]
fn secure_stun() {
    let mut net = setup(|services| services.stun_needs_credentials = true).build();
    let mut stranger = Client::new("203.0.113.30:1");
    let answer = stranger.ask(&mut net, &Request::binding());
    answer.expect_error(401);
    let mut alice = Client::alice();
    let answer = alice.ask(&mut net, &Request::binding()).expect_success();
    assert!(answer.is_signed_with(&alice.key().unwrap()));
    assert_eq!(answer.mapped(), Some(alice.address));
}

// compliance: 6062-5.1-03
#[test]
fn no_udp_relay_leaves_tcp() {
    let mut net = setup(|services| services.udp_relay = false)
        .config(|config| config.tcp_relay = Some(TcpRelay::default()))
        .build();
    let mut alice = Client::alice().over(Transport::Tcp);
    let refused = alice.ask(&mut net, &Request::allocate());
    refused.expect_error(403);
    assert_eq!(net.server.allocations(), 0);
    alice
        .ask(&mut net, &Request::allocate_tcp())
        .expect_success();
}

// compliance: 8489-6.3-03
#[test]
fn methods_that_do_not_exist_here_are_dropped() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    for method in [
        Method::SEND,
        Method::DATA,
        Method::CONNECT,
        Method::CONNECTION_BIND,
        Method::CONNECTION_ATTEMPT,
        Method::new(0).unwrap(),
        Method::new(2).unwrap(),
        Method::new(0x0FF).unwrap(),
    ] {
        assert_eq!(alice.ask_once(&mut net, &Request::new(method)), None);
    }
    assert_eq!(net.server.stats().dropped(DropReason::UnexpectedMethod), 8);
}

fn setup(change: impl FnOnce(&mut Services)) -> Setup {
    Setup::default().config(|config| change(&mut config.services))
}
