//! TCP allocations (RFC 6062): bytes between data connections of clients and peers of this test's own.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};
use turnbuckle_proto::Method;

use crate::client::{Client, PATIENCE, Received, TCP, Wire};
use crate::site::{Site, connect};

#[test]
fn is_refused_without_being_asked_for() {
    let site = Site::start();
    let mut client = site.tcp();
    assert_eq!(client.try_allocate_for(TCP).code(), 442);
    site.server.stop();
}

// compliance: 6062-5.2-06, 6062-5.4-03, 6062-5.4-04
#[test]
fn a_client_connects_to_peers_over_tcp_and_tls() {
    let site = start();
    let echo = Echo::start();
    over(&echo, site.tcp(), || site.tcp());
    over(&echo, site.tls(), || site.tls());
    let log = site.server.stop();
    assert!(!log.contains("panic"), "{log}");
}

/// More data connections than shards, so that most reach another shard than the allocation's.
fn over<W: Wire>(echo: &Echo, mut control: Client<W>, data: impl Fn() -> Client<W>) {
    control.allocate_tcp();
    let mut all = Vec::new();
    for round in 0..16u8 {
        let peer = echo.another_address(round);
        let id = control.connect(peer).expect("the peer is there");
        assert_eq!(control.connect(peer), Err(446));
        let mut client = data();
        if round % 2 == 0 {
            client = client.knowing(&control);
        }
        assert_eq!(client.bind_data(id), 0);
        all.push(client);
    }
    for (client, round) in all.iter_mut().zip(0u8..) {
        let sent = vec![round; 100_000];
        client.send(&sent);
        assert!(client.raw(sent.len()) == sent, "{round}");
    }
    for client in &mut all {
        client.finish();
        // The peer closes when it has heard all.
        assert!(client.rest().is_empty());
    }
}

#[test]
fn what_follows_connection_bind_at_once_is_for_the_peer() {
    let site = start();
    let echo = Echo::start();
    let mut control = site.tcp();
    control.allocate_tcp();
    let id = control.connect(echo.address).unwrap();
    let mut data = site.tcp().knowing(&control);
    let (transaction, mut bytes) = data.request(Method::CONNECTION_BIND, |message| {
        message.connection_id(id).expect("it fits");
    });
    // The beginning of what would be another message.
    bytes.extend_from_slice(&[0, 1, 0, 0, 1, 2, 3]);
    data.send(&bytes);
    assert_eq!(data.answer_to(transaction).code(), 0);
    assert_eq!(data.raw(7), [0, 1, 0, 0, 1, 2, 3]);
    // After a refusal it is a message.
    let mut data = site.tcp().knowing(&control);
    let (transaction, mut bytes) = data.request(Method::CONNECTION_BIND, |message| {
        message.connection_id(id).expect("it fits");
    });
    let (binding, more) = crate::client::binding_request();
    bytes.extend(more);
    data.send(&bytes);
    assert_eq!(data.answer_to(transaction).code(), 400);
    assert_eq!(data.answer_to(binding).code(), 0);
    site.server.stop();
}

#[test]
fn peers_that_cannot_be_had() {
    let site = start();
    let mut control = site.tcp();
    let relayed = control.allocate_tcp();
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let refuses = nobody.local_addr().unwrap();
    drop(nobody);
    assert_eq!(control.connect(refuses), Err(447));
    assert_eq!(control.connect(refuses), Err(447), "not 446");
    for denied in [
        site.plain(),
        site.encrypted(),
        relayed,
        "10.0.0.1:80".parse().unwrap(),
        "127.0.0.2:80".parse().unwrap(),
    ] {
        assert_eq!(control.connect(denied), Err(403), "{denied}");
    }
    let mut data = site.tcp();
    assert_eq!(data.bind_data(1), 400);
    // It is an ordinary connection still.
    data.mapped_address();
    site.server.stop();
}

// compliance: 6062-5.1-08, 6062-5.2-09, 6062-5.3-01, 6062-5.3-02, 6062-5.5-02, 6062-5.5-03
#[test]
fn a_permitted_peer_connects_to_the_relayed_address() {
    let site = start();
    let mut control = site.tcp();
    let relayed = control.allocate_tcp();
    let mut stranger = connect(relayed);
    stranger.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_closed(&mut stranger);
    control.permit(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let mut peer = connect(relayed);
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let address = peer.local_addr().unwrap();
    let Received::Attempt(who, id) = control.received() else {
        panic!("no ConnectionAttempt");
    };
    assert_eq!(who, address);
    // What it says before anybody listens waits.
    peer.write_all(b"early").unwrap();
    let mut data = site.tls();
    assert_eq!(data.bind_data(id), 0);
    assert_eq!(data.raw(5), b"early");
    data.send(b"late");
    let mut heard = [0; 4];
    peer.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"late");
    // The end of one side reaches the other, which may still speak.
    peer.shutdown(Shutdown::Write).unwrap();
    let mut end = [0; 1];
    assert_eq!(data.wire.read(&mut end).unwrap_or(0), 0);
    data.send(b"more");
    peer.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"more");
    drop(data);
    assert_closed(&mut peer);
    site.server.stop();
}

// compliance: 6062-5.5-01
#[test]
fn the_end_of_the_allocation_ends_its_connections() {
    let site = start();
    let echo = Echo::start();
    for deleted in [true, false] {
        let mut control = site.tcp();
        let relayed = control.allocate_tcp();
        control.permit(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let id = control.connect(echo.address).unwrap();
        let mut data = site.tcp();
        assert_eq!(data.bind_data(id), 0);
        data.send(b"there?");
        assert_eq!(data.raw(6), b"there?");
        let mut waiting = connect(relayed);
        waiting.set_read_timeout(Some(PATIENCE)).unwrap();
        assert!(matches!(control.received(), Received::Attempt(..)));
        if deleted {
            let answer = control.ask(Method::REFRESH, |message| {
                message.lifetime(0).expect("it fits");
            });
            assert_eq!(answer.code(), 0);
        } else {
            drop(control);
        }
        assert!(data.rest().is_empty());
        assert_closed(&mut waiting);
    }
    let log = site.server.stop();
    assert_eq!(log.matches("session ended").count(), 2, "{log}");
}

#[test]
fn allocations_reach_each_other() {
    let site = start();
    let (mut one, mut other) = (site.tcp(), site.tls());
    let from = one.allocate_tcp();
    let to = other.allocate_tcp();
    other.permit(from);
    let id = one.connect(to).unwrap();
    let Received::Attempt(who, incoming) = other.received() else {
        panic!("no ConnectionAttempt");
    };
    assert_eq!(who, from);
    let mut first = site.tcp();
    let mut second = site.tls();
    assert_eq!(first.bind_data(id), 0);
    assert_eq!(second.bind_data(incoming), 0);
    first.send(b"hello");
    assert_eq!(second.raw(5), b"hello");
    second.send(b"hello yourself");
    assert_eq!(first.raw(14), b"hello yourself");
    site.server.stop();
}

#[test]
fn a_client_that_does_not_read_stops_its_peer() {
    let site = start();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut control = site.tcp();
    control.allocate_tcp();
    let id = control.connect(listener.local_addr().unwrap()).unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    let mut data = slow(&site);
    assert_eq!(data.bind_data(id), 0);
    SockRef::from(&peer).set_send_buffer_size(64 << 10).unwrap();
    peer.set_write_timeout(Some(Duration::from_secs(2)))
        .unwrap();
    let block = vec![7; 64 << 10];
    let mut sent = 0;
    // It ends because nobody takes more, not because all has gone somewhere.
    let stopped = loop {
        match peer.write(&block) {
            Ok(len) => sent += len,
            Err(error) => break error.kind(),
        }
        assert!(
            sent < ENDLESS,
            "{sent} bytes are held for who does not read"
        );
    };
    assert!(matches!(
        stopped,
        ErrorKind::WouldBlock | ErrorKind::TimedOut
    ));
    peer.shutdown(Shutdown::Write).unwrap();
    assert_eq!(data.rest().len(), sent);
    site.server.stop();
}

/// A data connection whose kernel holds little.
fn slow(site: &Site) -> Client<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(64 << 10).unwrap();
    socket.connect(&site.plain().into()).unwrap();
    Client::new(socket.into())
}

fn start() -> Site {
    Site::start_with(
        "no-tcp-relay=0\nrelay-threads=4\nrelay-ip=127.0.0.1\n",
        |builder| builder,
    )
}

#[track_caller]
fn assert_closed(stream: &mut TcpStream) {
    match stream.read(&mut [0; 8]) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("not closed: {other:?}"),
    }
}

/// A peer that sends back what it gets, on every address of loopback that the server may reach.
struct Echo {
    address: SocketAddr,
    more: Vec<SocketAddr>,
}

impl Echo {
    fn start() -> Self {
        let mut addresses = (0..17).map(|_| {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let address = listener.local_addr().unwrap();
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    thread::spawn(move || echo(&stream));
                }
            });
            address
        });
        Self {
            address: addresses.next().unwrap(),
            more: addresses.collect(),
        }
    }

    fn another_address(&self, which: u8) -> SocketAddr {
        self.more[usize::from(which)]
    }
}

fn echo(mut stream: &TcpStream) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(len) = stream.read(&mut buffer) {
        if len == 0 || stream.write_all(&buffer[..len]).is_err() {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}

/// Far more than all buffers between two sockets of this host.
const ENDLESS: usize = 256 << 20;
