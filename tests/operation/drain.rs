//! A server that is to go when its clients have.

use std::net::Ipv4Addr;

use turnbuckle_tests::{EchoPeer, Server, Signal};

use crate::client::Client;

#[test]
fn a_drained_server_ends_with_its_last_session() {
    let server = Server::start(&format!(
        "realm=relay.example\nstatic-auth-secret={SECRET}\nallow-loopback-peers\n"
    ));
    let peer = EchoPeer::start(Ipv4Addr::LOCALHOST.into());
    let mut there = Client::udp(server.address(), SECRET, "alice");
    assert_eq!(there.allocate(), 0);
    there.bind(peer.address());
    server.signal(Signal::USR1);
    server.expect_log("that it drains", |line| line.contains("draining: no new"));
    // The line comes before the shards know; a request of theirs is answered after.
    let mut late = Client::tcp(server.address(), SECRET, "bob");
    while late.allocate() == 0 {
        assert_eq!(late.refresh(0), 0);
    }
    assert_eq!(late.allocate(), 508);
    assert_eq!(late.binding(), 0);
    there.echo(1);
    assert_eq!(there.refresh(600), 0);
    there.echo(2);
    assert_eq!(there.refresh(0), 0);
    let log = server.wait();
    assert!(log.contains("drained"), "{log}");
}

#[test]
fn a_drain_may_leave_some_behind() {
    let server = Server::start(&format!(
        "realm=relay.example\nstatic-auth-secret={SECRET}\ndrain-min-allocations=1\n"
    ));
    let mut there = Client::udp(server.address(), SECRET, "alice");
    assert_eq!(there.allocate(), 0);
    server.signal(Signal::USR1);
    let log = server.wait();
    assert!(log.contains("drained"), "{log}");
}

#[test]
fn a_draining_server_stops_at_once_when_told_to() {
    let server = Server::start(&format!(
        "realm=relay.example\nstatic-auth-secret={SECRET}\n"
    ));
    let mut there = Client::udp(server.address(), SECRET, "alice");
    assert_eq!(there.allocate(), 0);
    server.signal(Signal::USR1);
    server.expect_log("that it drains", |line| line.contains("draining: no new"));
    let log = server.stop();
    assert!(log.contains("stopping on SIGTERM"), "{log}");
}

const SECRET: &str = "the secret of both";
