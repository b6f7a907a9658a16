//! TCP allocations: Connect, ConnectionAttempt, ConnectionBind (RFC 6062).

use core::time::Duration;
use std::net::SocketAddr;

use turnbuckle_proto::{AttributeType, Class, Message, Method};
use turnbuckle_relay::{CONNECT_TIMEOUT, ConnectionId, DropReason, TcpRelay, Traffic, Transport};
use turnbuckle_testkit::{Answer, Client, Connecting, Network, Outcome, Request, Setup};

// compliance: 6062-5.1-01
#[test]
fn is_refused_unless_it_is_switched_on() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice().over(Transport::Tcp);
    alice
        .ask(&mut net, &Request::allocate_tcp())
        .expect_error(442);
    alice.allocate(&mut net);
    for request in [Request::connect(peer()), Request::connection_bind(1)] {
        assert!(alice.ask_once(&mut net, &request).is_none());
    }
}

// compliance: 6062-5.1-04, 6062-5.1-06
#[test]
fn allocates_over_tcp_and_tls_only() {
    let mut net = tcp_setup().build();
    for (transport, code) in [
        (Transport::Udp, Some(400)),
        (Transport::Dtls, Some(400)),
        (Transport::Tcp, None),
        (Transport::Tls, None),
    ] {
        let mut alice = Client::alice().over(transport);
        let answer = alice.ask(&mut net, &Request::allocate_tcp());
        assert_eq!(answer.code(), code, "{transport}");
        if code.is_none() {
            let (_, id) = net.server.relay_socket(answer.relayed().unwrap()).unwrap();
            assert!(net.server.shards[0].sockets.is_tcp(id));
        }
    }
}

// compliance: 6062-5.1-05, 6062-5.1-07
#[test]
fn allocates_without_what_is_for_datagrams() {
    let mut net = tcp_setup().build();
    let mut alice = Client::alice().over(Transport::Tcp);
    for (attribute, value) in [
        (AttributeType::DONT_FRAGMENT, &[][..]),
        (AttributeType::EVEN_PORT, &[0x80][..]),
        (AttributeType::RESERVATION_TOKEN, &[7; 8][..]),
    ] {
        let request = Request::allocate_tcp().attribute(attribute, value);
        let code = alice.ask(&mut net, &request).code();
        assert!(matches!(code, Some(400 | 420)), "{attribute}: {code:?}");
    }
    assert_eq!(net.server.allocations(), 0);
}

// compliance: 6062-5.2-06, 6062-5.2-10
#[test]
fn connects_and_answers_when_that_is_done() {
    let (mut net, mut alice) = allocated();
    let relayed = alice.relayed.unwrap();
    let asked = alice.connect(&mut net, peer());
    assert_eq!((asked.from, asked.peer), (relayed, peer()));
    assert!(net.take_inbox(alice.address).is_empty(), "answered early");
    let answer = alice.connected(&mut net, asked.connection, true).unwrap();
    let key = alice.key().unwrap();
    assert!(answer.expect_success().is_signed_with(&key));
    // What it was is known only once.
    assert_eq!(alice.connected(&mut net, asked.connection, true), None);
}

#[test]
fn a_connection_that_comes_after_the_expiry_is_nobodys() {
    let (mut net, mut alice) = allocated();
    let asked = alice.connect(&mut net, peer());
    net.advance_without_timers(Duration::from_secs(600));
    assert_eq!(alice.connected(&mut net, asked.connection, true), None);
    net.advance(Duration::ZERO);
    assert_eq!(net.server.allocations(), 0);
    assert_eq!(net.server.shards[0].relay.peer_connections(), 0);
}

// compliance: 6062-5.2-07, 6062-5.2-08
#[test]
fn a_failure_is_447_and_leaves_nothing() {
    assert!(CONNECT_TIMEOUT >= Duration::from_secs(30));
    let (mut net, mut alice) = allocated();
    for _ in 0..3 {
        let asked = alice.connect(&mut net, peer());
        let answer = alice.connected(&mut net, asked.connection, false).unwrap();
        answer.expect_error(447);
        assert_eq!(net.server.shards[0].relay.peer_connections(), 0);
    }
    assert_eq!(net.server.stats().rejected(447), 3);
}

// compliance: 6062-5.2-02, 6062-5.2-03
#[test]
fn a_second_connect_to_the_same_peer_is_446_at_every_stage() {
    let (mut net, mut alice) = allocated();
    let again = Request::connect(peer());
    let asked = alice.connect(&mut net, peer());
    alice.ask(&mut net, &again).expect_error(446);
    alice.connected(&mut net, asked.connection, true).unwrap();
    alice.ask(&mut net, &again).expect_error(446);
    let mut data = alice.data_connection();
    data.bind_to(&mut net, asked.connection);
    alice.ask(&mut net, &again).expect_error(446);
    net.server.connection_closed(asked.connection);
    alice.connect(&mut net, peer());
    // Another port is another peer.
    alice.connect(&mut net, "9.9.9.9:4001".parse().unwrap());
}

// compliance: 6062-5.2-01, 6062-5.2-04, 6062-5.1-02
#[test]
fn connect_needs_a_tcp_allocation_and_a_peer() {
    let mut net = tcp_setup().build();
    let mut alice = Client::alice().over(Transport::Tcp);
    alice
        .ask(&mut net, &Request::connect(peer()))
        .expect_error(437);
    alice
        .ask(&mut net, &Request::allocate_tcp())
        .expect_success();
    for bad in [
        Request::new(Method::CONNECT),
        Request::new(Method::CONNECT).attribute(AttributeType::XOR_PEER_ADDRESS, &[0; 5]),
        Request::connect("9.9.9.9:0".parse().unwrap()),
    ] {
        alice.ask(&mut net, &bad).expect_error(400);
    }
    alice
        .ask(
            &mut net,
            &Request::connect("[2a00:1450::1]:80".parse().unwrap()),
        )
        .expect_error(443);
    let mut bob = Client::bob().over(Transport::Tcp);
    bob.allocate(&mut net);
    bob.ask(&mut net, &Request::connect(peer()))
        .expect_error(400);
}

// compliance: 6062-5.2-05
#[test]
fn refused_peers_are_403_in_every_spelling() {
    let mut net = tcp_setup().deny("9.9.9.0-9.9.9.255").build();
    let mut alice = Client::alice().over(Transport::Tcp);
    alice
        .ask(&mut net, &Request::allocate_tcp())
        .expect_success();
    for bad in [
        "127.0.0.1:80",
        "10.0.0.1:80",
        "0.0.0.0:80",
        "169.254.169.254:80",
        "9.9.9.9:80",
    ] {
        let request = Request::connect(bad.parse().unwrap());
        alice.ask(&mut net, &request).expect_error(403);
    }
    let mut v6 = Client::new("203.0.113.77:7777")
        .user("alice", "wonderland")
        .over(Transport::Tcp);
    v6.ask(
        &mut net,
        &Request::allocate_tcp().family(turnbuckle_proto::AddressFamily::V6),
    )
    .expect_success();
    for bad in [
        "[::1]:80",
        "[::ffff:10.0.0.1]:80",
        "[64:ff9b::127.0.0.1]:80",
        "[2002:7f00:1::1]:80",
    ] {
        let request = Request::connect(bad.parse().unwrap());
        v6.ask(&mut net, &request).expect_error(403);
    }
    assert!(net.server.shards[0].sockets.connecting.is_empty());
}

#[test]
fn of_the_own_addresses_only_live_tcp_relays_are_reached() {
    let mut net = tcp_setup().behind_nat().build();
    let mut alice = Client::alice().over(Transport::Tcp);
    let mut bob = Client::bob().over(Transport::Tcp);
    alice
        .ask(&mut net, &Request::allocate_tcp())
        .expect_success();
    bob.ask(&mut net, &Request::allocate_tcp()).expect_success();
    let mut udp = Client::new("203.0.113.30:30000").user("bob", "builder");
    let udp = udp.allocate(&mut net);
    let of_alice = alice.relayed.unwrap();
    let of_bob = bob.relayed.unwrap();
    let mut unused = of_bob;
    unused.set_port(
        (49_152..49_408)
            .find(|p| ![of_bob.port(), of_alice.port(), udp.port()].contains(p))
            .unwrap(),
    );
    for denied in [udp, unused, of_alice, alice.server] {
        alice
            .ask(&mut net, &Request::connect(denied))
            .expect_error(403);
    }
    let local = net.server.ports.find_tcp(of_bob).unwrap().local;
    assert_ne!(local, of_bob);
    assert_eq!(alice.connect(&mut net, of_bob).peer, local);
    // The other side sees the local address and needs a permission for the one that it knows.
    let from = net.server.ports.find_tcp(of_alice).unwrap().local;
    let now = net.clock.now();
    let refused = net.server.handle_incoming(now, local, from);
    assert_eq!(refused, Err(DropReason::NoPermission));
    bob.permit(&mut net, &[of_alice]).expect_success();
    let (_, indication, _) = net.server.handle_incoming(now, local, from).unwrap();
    let indication = Message::decode(&indication).unwrap();
    assert_eq!(indication.peer_address(), Ok(Some(of_alice)));
    // A service beside the relay is not let in by that permission.
    let mut service = from;
    service.set_port(22);
    assert_eq!(
        net.server.handle_incoming(now, local, service),
        Err(DropReason::PeerDenied)
    );
}

#[test]
fn an_opened_host_still_keeps_its_listeners() {
    let mut net = tcp_setup().allow("198.51.100.1").build();
    let mut alice = Client::alice().over(Transport::Tcp);
    alice
        .ask(&mut net, &Request::allocate_tcp())
        .expect_success();
    let listener = alice.server;
    alice
        .ask(&mut net, &Request::connect(listener))
        .expect_error(403);
    let beside = "198.51.100.1:80".parse().unwrap();
    assert_eq!(alice.connect(&mut net, beside).peer, beside);
}

// compliance: 6062-5.3-03, 6062-5.3-04
#[test]
fn an_incoming_connection_is_told_to_whom_permits_it() {
    let (mut net, mut alice) = allocated();
    let relayed = alice.relayed.unwrap();
    let now = net.clock.now();
    let early = net.server.handle_incoming(now, relayed, peer());
    assert_eq!(early, Err(DropReason::NoPermission));
    alice.permit(&mut net, &[peer()]).expect_success();
    let (to, indication, connection) = net.server.handle_incoming(now, relayed, peer()).unwrap();
    assert_eq!(to, alice.five_tuple());
    let indication = Message::decode(&indication).unwrap();
    assert_eq!(
        (indication.class(), indication.method()),
        (Class::Indication, Method::CONNECTION_ATTEMPT)
    );
    assert_eq!(indication.peer_address(), Ok(Some(peer())));
    assert_eq!(indication.connection_id(), Ok(Some(connection.number())));
    let mut data = alice.data_connection();
    assert_eq!(data.bind_to(&mut net, connection), connection);
    // A rule that was added since holds for the next one.
    net.server.set_config(|config| {
        let peer = peer().ip();
        config.policy.denied.push(turnbuckle_relay::PeerRule {
            first: peer,
            last: peer,
            text: "new".into(),
        });
    });
    let next = "9.9.9.9:4001".parse().unwrap();
    assert_eq!(
        net.server.handle_incoming(now, relayed, next),
        Err(DropReason::PeerDenied)
    );
    // And none is told when the permission has expired.
    net.advance(Duration::from_secs(301));
    let now = net.clock.now();
    assert_eq!(
        net.server.handle_incoming(now, relayed, peer()),
        Err(DropReason::NoPermission)
    );
}

#[test]
fn a_peer_that_comes_again_from_its_port_replaces_its_connection() {
    let (mut net, mut alice) = allocated();
    let relayed = alice.relayed.unwrap();
    alice.permit(&mut net, &[peer()]).expect_success();
    let now = net.clock.now();
    let (_, _, first) = net.server.handle_incoming(now, relayed, peer()).unwrap();
    let (_, _, second) = net.server.handle_incoming(now, relayed, peer()).unwrap();
    assert_ne!(first, second);
    assert_eq!(net.server.shards[0].sockets.disconnected, [first]);
    assert_eq!(net.server.shards[0].relay.peer_connections(), 1);
}

// compliance: 6062-5.4-01, 6062-5.4-02
#[test]
fn connection_bind_is_400_for_anything_but_a_waiting_connection() {
    let (mut net, mut alice) = allocated();
    let asked = alice.connect(&mut net, peer());
    let id = asked.connection.number();
    let mut data = alice.data_connection();
    data.challenge.clone_from(&alice.challenge);
    // Not open yet.
    data.ask(&mut net, &Request::connection_bind(id))
        .expect_error(400);
    alice.connected(&mut net, asked.connection, true).unwrap();
    for bad in [
        Request::connection_bind(id ^ 1),
        Request::connection_bind(id ^ 0x0100_0000),
        Request::new(Method::CONNECTION_BIND),
        Request::new(Method::CONNECTION_BIND).attribute(AttributeType::CONNECTION_ID, &[0; 3]),
    ] {
        data.ask(&mut net, &bad).expect_error(400);
    }
    let bind = Request::connection_bind(id);
    for transport in [Transport::Udp, Transport::Dtls] {
        let mut datagrams = alice.data_connection().over(transport);
        datagrams.ask(&mut net, &bind).expect_error(400);
    }
    // The control connection is none for data.
    alice.ask(&mut net, &bind).expect_error(400);
    assert_eq!(data.bind_to(&mut net, asked.connection), asked.connection);
    let mut second = alice.data_connection();
    second.address.set_port(10_002);
    second.ask(&mut net, &bind).expect_error(400);
}

// compliance: 6062-4.3-01, 6062-4.4-01
#[test]
fn connection_bind_is_for_the_user_of_the_allocation_alone() {
    let (mut net, mut alice) = allocated();
    let asked = alice.connect(&mut net, peer());
    alice.connected(&mut net, asked.connection, true).unwrap();
    let bind = Request::connection_bind(asked.connection.number());
    let mut mallory = Client::bob().over(Transport::Tcp);
    mallory.ask(&mut net, &bind).expect_error(441);
    let mut guesser = Client::new("203.0.113.66:6666")
        .user("alice", "guessed")
        .over(Transport::Tcp);
    guesser.ask(&mut net, &bind).expect_error(401);
    alice.data_connection().bind_to(&mut net, asked.connection);
}

#[test]
fn connection_bind_outlives_the_credential_as_the_allocation_does() {
    let mut net = tcp_setup().build();
    let expiry = net.clock.now().unix + 60;
    let mut alice = Client::new("203.0.113.10:10000")
        .rest(&format!("{expiry}:alice"))
        .over(Transport::Tcp);
    alice
        .ask(&mut net, &Request::allocate_tcp())
        .expect_success();
    net.advance(Duration::from_secs(120));
    let asked = alice.connect(&mut net, peer());
    alice.connected(&mut net, asked.connection, true).unwrap();
    alice.data_connection().bind_to(&mut net, asked.connection);
}

// compliance: 6062-5.2-12, 6062-5.3-05
#[test]
fn what_is_not_bound_in_30_seconds_is_closed() {
    let (mut net, mut alice) = allocated();
    let asked = alice.connect(&mut net, peer());
    net.advance(Duration::from_secs(20));
    alice.connected(&mut net, asked.connection, true).unwrap();
    net.advance_without_timers(Duration::from_secs(30));
    let mut data = alice.data_connection();
    let bind = Request::connection_bind(asked.connection.number());
    data.ask(&mut net, &bind).expect_error(400);
    net.advance(Duration::ZERO);
    assert_eq!(
        net.server.shards[0].sockets.disconnected,
        [asked.connection]
    );
    assert_eq!(net.server.shards[0].relay.peer_connections(), 0);
    // One that is bound stays.
    let asked = alice.connect(&mut net, peer());
    alice.connected(&mut net, asked.connection, true).unwrap();
    net.advance(Duration::from_millis(29_999));
    data.bind_to(&mut net, asked.connection);
    net.advance(Duration::from_secs(60));
    assert_eq!(net.server.shards[0].relay.peer_connections(), 1);
}

// compliance: 6062-5.5-01
#[test]
fn the_end_of_the_allocation_closes_every_connection_and_counts_what_it_carried() {
    let (mut net, mut alice) = allocated();
    let mut all = Vec::new();
    for port in 1..=3 {
        let asked = alice.connect(&mut net, SocketAddr::new(peer().ip(), port));
        if port > 1 {
            alice.connected(&mut net, asked.connection, true).unwrap();
        }
        all.push(asked.connection);
    }
    alice.data_connection().bind_to(&mut net, all[2]);
    net.server.take_events();
    net.server.shards[0].sockets.carried = Traffic {
        bytes_to_peers: 1000,
        bytes_to_client: 7,
        ..Traffic::default()
    };
    alice.refresh(&mut net, 0).expect_success();
    let mut closed = net.server.shards[0].sockets.disconnected.clone();
    closed.sort();
    all.sort();
    assert_eq!(closed, all);
    let log = format!("{:?}", net.server.take_events());
    assert!(log.contains("bytes_to_peers: 1000"), "{log}");
    assert!(log.contains("bytes_to_client: 7"), "{log}");
    assert_eq!(net.server.stats().bytes_to_peers, 1000);
    // Its end is of no interest any more.
    net.server.connection_closed(all[2]);
    assert_eq!(alice.connected(&mut net, all[0], true), None);
}

#[test]
fn connections_are_bounded() {
    let bounds = TcpRelay {
        connections_max: 3,
        connections_per_allocation_max: 2,
    };
    let mut net = Setup::default()
        .config(|config| config.tcp_relay = Some(bounds))
        .build();
    let mut alice = Client::alice().over(Transport::Tcp);
    let mut bob = Client::bob().over(Transport::Tcp);
    for client in [&mut alice, &mut bob] {
        client
            .ask(&mut net, &Request::allocate_tcp())
            .expect_success();
        client.permit(&mut net, &[peer()]).expect_success();
    }
    let ports = |port| SocketAddr::new(peer().ip(), port);
    alice.connect(&mut net, ports(1));
    alice.connect(&mut net, ports(2));
    alice
        .ask(&mut net, &Request::connect(ports(3)))
        .expect_error(508);
    let now = net.clock.now();
    let full = net
        .server
        .handle_incoming(now, alice.relayed.unwrap(), ports(3));
    assert_eq!(full, Err(DropReason::ConnectionsFull));
    bob.connect(&mut net, ports(1));
    bob.ask(&mut net, &Request::connect(ports(2)))
        .expect_error(508);
    let full = net
        .server
        .handle_incoming(now, bob.relayed.unwrap(), ports(3));
    assert_eq!(full, Err(DropReason::ConnectionsFull));
}

#[test]
fn a_tcp_allocation_has_neither_channels_nor_datagrams() {
    let (mut net, mut alice) = allocated();
    alice.permit(&mut net, &[peer()]).expect_success();
    alice.bind(&mut net, 0x4000, peer()).expect_error(400);
    alice.send(&mut net, peer(), b"lost");
    assert!(net.take_inbox(peer()).is_empty());
    assert_eq!(net.server.stats().dropped(DropReason::BadIndication), 1);
    // A client that relays UDP does not reach it either.
    let mut bob = Client::bob();
    bob.allocate(&mut net);
    let relayed = alice.relayed.unwrap();
    bob.permit(&mut net, &[relayed]).expect_success();
    bob.send(&mut net, relayed, b"lost");
    assert_eq!(net.server.stats().dropped(DropReason::OwnAddress), 1);
}

// compliance: 6062-5.2-11
#[test]
fn ids_name_their_shard_and_differ() {
    let mut net = tcp_setup().shards(2).build();
    let mut seen = Vec::new();
    for port in [10_000, 10_001] {
        let mut client = Client::new(&format!("203.0.113.10:{port}"))
            .user("alice", "wonderland")
            .over(Transport::Tcp);
        client
            .ask(&mut net, &Request::allocate_tcp())
            .expect_success();
        for peer in 1..=20 {
            let request = Request::connect(SocketAddr::new("9.9.9.9".parse().unwrap(), peer));
            let bytes = client.encode(&request);
            let now = net.clock.now();
            let outcome = net.server.handle_client(now, client.five_tuple(), &bytes);
            assert_eq!(outcome, Outcome::Deferred);
            let shard = net.server.shard_of(client.five_tuple());
            let asked = net.server.shards[shard].sockets.connecting.pop_back();
            let connection = asked.unwrap().connection;
            assert_eq!(usize::from(connection.shard().0), shard);
            seen.push(connection);
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 40);
}

#[test]
fn allocations_are_restored_and_connections_are_not() {
    let (mut net, mut alice) = allocated();
    let asked = alice.connect(&mut net, peer());
    alice.connected(&mut net, asked.connection, true).unwrap();
    net.server.restart(|snapshot| snapshot);
    assert_eq!(net.server.shards[0].relay.peer_connections(), 0);
    let relayed = alice.relayed.unwrap();
    let (_, id) = net.server.relay_socket(relayed).unwrap();
    assert!(net.server.shards[0].sockets.is_tcp(id));
    assert!(net.server.ports.find_tcp(relayed).is_some());
    alice.connect(&mut net, peer());
}

trait TcpClient {
    fn connect(&mut self, net: &mut Network, peer: SocketAddr) -> Connecting;
    fn connected(
        &mut self,
        net: &mut Network,
        connection: ConnectionId,
        is_open: bool,
    ) -> Option<Answer>;
    fn data_connection(&self) -> Client;
    fn bind_to(&mut self, net: &mut Network, connection: ConnectionId) -> ConnectionId;
}

impl TcpClient for Client {
    /// What the host was asked to open.
    #[track_caller]
    fn connect(&mut self, net: &mut Network, peer: SocketAddr) -> Connecting {
        let bytes = self.encode(&Request::connect(peer));
        let now = net.clock.now();
        let outcome = net.server.handle_client(now, self.five_tuple(), &bytes);
        assert_eq!(outcome, Outcome::Deferred);
        let connecting = &mut net.server.shards[0].sockets.connecting;
        connecting.pop_back().expect("the host is asked to connect")
    }

    /// The answer once the host has tried.
    fn connected(
        &mut self,
        net: &mut Network,
        connection: ConnectionId,
        is_open: bool,
    ) -> Option<Answer> {
        let now = net.clock.now();
        let (to, bytes) = net.server.handle_connected(now, 0, connection, is_open)?;
        assert_eq!(to, self.five_tuple());
        let answer = Answer::read(&bytes).expect("an answer");
        if is_open {
            let id = answer.message().connection_id();
            assert_eq!(id, Ok(Some(connection.number())));
        }
        Some(answer)
    }

    /// A new connection of the same client.
    fn data_connection(&self) -> Client {
        let mut data = self.clone();
        data.address.set_port(self.address.port() + 1);
        data.relayed = None;
        data
    }

    #[track_caller]
    fn bind_to(&mut self, net: &mut Network, connection: ConnectionId) -> ConnectionId {
        let bytes = self.encode(&Request::connection_bind(connection.number()));
        let now = net.clock.now();
        match net.server.handle_client(now, self.five_tuple(), &bytes) {
            Outcome::Bound(answer, bound) => {
                Answer::read(&answer).expect("an answer").expect_success();
                bound
            }
            other => panic!("not bound: {other:?}"),
        }
    }
}

fn allocated() -> (Network, Client) {
    let mut net = tcp_setup().build();
    let mut alice = Client::alice().over(Transport::Tcp);
    alice
        .ask(&mut net, &Request::allocate_tcp())
        .expect_success();
    (net, alice)
}

fn tcp_setup() -> Setup {
    Setup::default().config(|config| config.tcp_relay = Some(TcpRelay::default()))
}

fn peer() -> SocketAddr {
    "9.9.9.9:4000".parse().unwrap()
}
