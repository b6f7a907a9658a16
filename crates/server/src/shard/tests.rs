//! Hairpins across shards, over real sockets: shards in threads of their own, and clients that choose theirs by its address.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};

use turnbuckle_net::{ListenerOptions, Received, UdpListener};
use turnbuckle_proto::{
    Class, Frame, Message, MessageBuilder, Method, TransactionId, channel_data, next_frame,
};
use turnbuckle_relay::{Credentials, DropReason, Limits, NonceKey, PeerRule, RelayAddress, Users};

use super::figures::{Figures, ListenerKind};
use super::mailbox::Command;
use super::rings::Doorbell;
use super::stream::{Post, Rules, StreamListener, StreamShard};
use super::udp::UdpShard;
use super::*;
use crate::control::{Shard, ShardKind, Shards};

#[test]
fn two_callers_meet_whatever_shards_and_transports_they_have() {
    let site = Site::start(&[Kind::Udp, Kind::Udp, Kind::Stream, Kind::Stream]);
    let pairs = [(0, 1), (0, 2), (2, 1), (2, 3)];
    for (one, other) in pairs {
        let mut alice = site.client(one);
        let mut bob = site.client(other);
        let (at_alice, at_bob) = (alice.allocate(), bob.allocate());
        alice.bind(CHANNEL, at_bob);
        bob.bind(CHANNEL, at_alice);
        for round in 0..ROUNDS {
            let payload = vec![round as u8; 1 + round * 7];
            alice.send(CHANNEL, &payload, TOS);
            let tos = bob.receive(&payload);
            bob.send(CHANNEL, &payload, TOS);
            let back = alice.receive(&payload);
            // Streams have none.
            if (one, other) == (0, 1) {
                assert_eq!((tos, back), (TOS, TOS));
            }
        }
    }
    let report = site.stop();
    let stats = &report.stats;
    let packets = (pairs.len() * ROUNDS * 2) as u64;
    assert_eq!(stats.packets_hairpin, packets);
    assert_eq!(
        (stats.packets_to_peers, stats.packets_to_clients),
        (packets, packets)
    );
    assert_eq!((report.ring_full, report.panics), (0, 0));
    assert_eq!(report.to_peers.sent, 0, "it went through the kernel");
}

#[test]
fn the_other_side_has_to_permit_it() {
    let site = Site::start(&[Kind::Udp, Kind::Stream]);
    for (one, other) in [(0, 1), (1, 0)] {
        let mut alice = site.client(one);
        let (mut bob, mut carol) = (site.client(other), site.client(other));
        let at_alice = alice.allocate();
        alice.bind(CHANNEL, bob.allocate());
        alice.bind(CHANNEL + 1, carol.allocate());
        carol.bind(CHANNEL, at_alice);
        alice.send(CHANNEL, b"bob does not permit it", 0);
        // On the same way, so that what is before it has been handled when it is there.
        alice.send(CHANNEL + 1, b"carol does", 0);
        carol.receive(b"carol does");
        bob.bind(CHANNEL, at_alice);
        alice.send(CHANNEL, b"now bob does", 0);
        bob.receive(b"now bob does");
    }
    let stats = site.stop().stats;
    assert_eq!(stats.dropped(DropReason::NoPermission), 2);
    assert_eq!((stats.packets_to_peers, stats.packets_hairpin), (6, 4));
}

/// More than a turn may handle, and more than the ring holds: what is not lost comes, and all else is counted.
#[test]
fn a_burst_is_relayed_or_counted() {
    let site = Site::start(&[Kind::Stream, Kind::Stream]);
    let mut alice = site.client(0);
    let mut bob = site.client(1);
    let (at_alice, at_bob) = (alice.allocate(), bob.allocate());
    alice.bind(CHANNEL, at_bob);
    bob.bind(CHANNEL, at_alice);
    const BURST: u64 = 2_000;
    for _ in 0..BURST {
        alice.send(CHANNEL, &[7; 1_000], 0);
    }
    // The answer comes when all of it has been read.
    alice.refresh();
    alice.send(CHANNEL, b"last", 0);
    let mut others = 0;
    while bob.next_data() != b"last" {
        others += 1;
    }
    let report = site.stop();
    assert_eq!(report.stats.packets_to_peers, BURST + 1);
    assert_eq!(report.stats.packets_hairpin, BURST + 1 - report.ring_full);
    assert_eq!(
        report.stats.packets_hairpin,
        others + 1 + report.slow_reader
    );
}

#[test]
fn shards_tell_what_they_do_while_they_do_it() {
    let site = Site::start(&[Kind::Udp, Kind::Stream]);
    let shards = site.shards();
    let mut clients: Vec<_> = [0, 0, 1].map(|shard| site.client(shard)).into();
    for client in &mut clients {
        client.allocate();
    }
    let [udp, stream] = figures(&shards);
    assert_eq!(
        udp.allocations,
        Allocations {
            udp: 2,
            ..Allocations::default()
        }
    );
    assert_eq!(
        stream.allocations,
        Allocations {
            tcp: 1,
            ..Allocations::default()
        }
    );
    assert_eq!((udp.connections, stream.connections), (0, 1));
    assert_eq!(
        (
            udp.report.stats.allocations,
            stream.report.stats.allocations
        ),
        (2, 1)
    );
    let listeners = [udp, stream].map(|figures| figures.listeners);
    let [[udp], [stream]] = listeners.each_ref().map(Vec::as_slice) else {
        panic!("{listeners:?}");
    };
    assert_eq!(
        (udp.kind, udp.address, udp.received, udp.kernel_drops),
        (ListenerKind::Udp, site.shards[0].address, 2, Some(0))
    );
    assert_eq!(
        (stream.kind, stream.address, stream.received),
        (ListenerKind::Stream, site.shards[1].address, 1)
    );
    clients[0].delete();
    let [udp, _] = figures(&shards);
    assert_eq!(
        (udp.allocations.total(), udp.report.stats.allocations),
        (1, 2)
    );
    assert_eq!(site.stop().stats.allocations, 3);
}

#[test]
fn sessions_of_all_shards_are_listed_and_ended_by_name() {
    let site = Site::start(&[Kind::Udp, Kind::Stream]);
    let shards = site.shards();
    let mut clients = [0, 1].map(|shard| site.client(shard));
    let relayed = clients.each_mut().map(Client::allocate);
    // The oldest comes first.
    let listed = shards.sessions(Some(Relay::ANONYMOUS));
    let addresses = listed.iter().map(|session| session.relayed.v4.unwrap());
    assert_eq!(addresses.collect::<Vec<_>>(), relayed);
    assert_eq!(shards.sessions(None).len(), 2);
    assert_eq!(shards.sessions(Some("somebody else")), []);
    assert_eq!(shards.end("somebody else", EndReason::Operator), 0);
    assert_eq!(shards.end(Relay::ANONYMOUS, EndReason::Operator), 2);
    assert_eq!(shards.sessions(None), []);
    // They may come again, over the connection that they have.
    for client in &mut clients {
        client.allocate();
    }
    assert_eq!(shards.sessions(None).len(), 2);
    assert_eq!(site.stop().stats.allocations, 4);
}

/// A shard that is gone takes nobody's time: that it does not answer is told.
#[test]
fn a_shard_that_has_ended_is_not_waited_for() {
    let site = Site::start(&[Kind::Udp, Kind::Stream]);
    let shards = site.shards();
    site.stop();
    let reports = shards.reports();
    assert_eq!(reports.len(), 2);
    assert!(reports.iter().all(|report| report.figures.is_none()));
}

fn figures<const N: usize>(shards: &Shards) -> [Figures; N] {
    let reports = shards.reports().into_iter();
    let figures: Vec<_> = reports.map(|report| report.figures.unwrap()).collect();
    figures.try_into().unwrap()
}

/// What shards of a server are made of that relays to loopback for anybody.
pub(crate) fn parts(shards: usize) -> Vec<Parts> {
    let loopback = Ipv4Addr::LOCALHOST.into();
    let credentials = Credentials {
        secrets: Vec::new(),
        separator: ':',
        users: Users::default(),
        anonymous: true,
    };
    let mut config = Config::new("test", credentials, NonceKey::new([1; 32]));
    config.policy.allowed.push(PeerRule {
        first: loopback,
        last: Ipv4Addr::new(127, 255, 255, 255).into(),
        text: "loopback".into(),
    });
    let relay_address = RelayAddress {
        local: loopback,
        advertised: loopback,
    };
    let config = Arc::new(config);
    let quota = Quota::new(Limits::default());
    let ports = Arc::new(RelayedPorts::new(&[relay_address], 49_152..=65_535));
    let clock = Clock::start();
    let doorbells = Doorbell::for_each(shards).unwrap();
    let ids = (0..).map(ShardId).take(shards);
    ids.map(|id| Parts {
        id,
        config: Arc::clone(&config),
        quota: quota.clone(),
        ports: Arc::clone(&ports),
        relay_options: RelayOptions::default(),
        clock: clock.clone(),
        events: sync_channel(64).0,
        doorbells: Arc::clone(&doorbells),
    })
    .collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Udp,
    Stream,
}

/// Running shards of one server.
struct Site {
    shards: Vec<Running>,
}

struct Running {
    kind: Kind,
    address: SocketAddr,
    mailbox: Arc<Mailbox>,
    thread: JoinHandle<Report>,
}

impl Site {
    fn start(kinds: &[Kind]) -> Self {
        let shards = kinds.iter().zip(parts(kinds.len()));
        let shards = shards.map(|(&kind, parts)| Running::start(kind, parts));
        Self {
            shards: shards.collect(),
        }
    }

    fn client(&self, shard: usize) -> Client {
        let shard = &self.shards[shard];
        let wire = match shard.kind {
            Kind::Udp => Wire::udp(shard.address),
            Kind::Stream => Wire::tcp(shard.address),
        };
        Client { wire, requests: 0 }
    }

    fn shards(&self) -> Shards {
        let shard = |shard: &Running| Shard {
            kind: match shard.kind {
                Kind::Udp => ShardKind::Udp,
                Kind::Stream => ShardKind::Stream,
            },
            mailbox: Arc::clone(&shard.mailbox),
        };
        Shards(self.shards.iter().map(shard).collect())
    }

    fn stop(self) -> Report {
        let mut total = Report::default();
        for shard in &self.shards {
            shard.mailbox.post(Command::Stop);
        }
        for shard in self.shards {
            total.add(&shard.thread.join().unwrap());
        }
        total
    }
}

impl Running {
    fn start(kind: Kind, parts: Parts) -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        match kind {
            Kind::Udp => {
                let listener = UdpListener::bind(&ListenerOptions::new(any)).unwrap();
                let address = listener.local_address();
                let shard = UdpShard::new(parts, vec![listener], None).unwrap();
                Self {
                    kind,
                    address,
                    mailbox: shard.mailbox(),
                    thread: thread::spawn(|| shard.run().unwrap()),
                }
            }
            Kind::Stream => {
                let socket = TcpListener::bind(any).unwrap();
                let address = socket.local_addr().unwrap();
                let listener = StreamListener {
                    socket,
                    proxied: false,
                };
                let rules = Rules {
                    tls: None,
                    proxies: Arc::new([]),
                    connections_max: 16,
                    pending_max: 16,
                    pending_per_source_max: 16,
                    handshake_timeout: PATIENCE,
                    allocate_timeout: PATIENCE,
                };
                let post = Post::between(&[parts.id]).remove(0);
                let shard = StreamShard::new(parts, vec![listener], rules, post).unwrap();
                Self {
                    kind,
                    address,
                    mailbox: shard.mailbox(),
                    thread: thread::spawn(|| shard.run().unwrap()),
                }
            }
        }
    }
}

struct Client {
    wire: Wire,
    requests: u8,
}

enum Wire {
    Udp {
        // A socket of this kind tells what TOS a datagram has.
        socket: UdpListener,
        server: SocketAddr,
        poll: Poll,
        arena: Box<Arena>,
    },
    Tcp {
        stream: TcpStream,
        read: Vec<u8>,
    },
}

impl Wire {
    fn udp(server: SocketAddr) -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let socket = UdpListener::bind(&ListenerOptions::new(any)).unwrap();
        let poll = Poll::new().unwrap();
        poll.add(&socket, 0).unwrap();
        Self::Udp {
            socket,
            server,
            poll,
            arena: Box::new(Arena::new(1, 2_000)),
        }
    }

    fn tcp(server: SocketAddr) -> Self {
        let stream = TcpStream::connect(server).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self::Tcp {
            stream,
            read: Vec::new(),
        }
    }

    fn send(&mut self, message: &[u8], tos: u8) {
        match self {
            Self::Udp { socket, server, .. } => {
                send_to(socket.as_fd(), message, *server, None, tos).unwrap();
            }
            Self::Tcp { stream, .. } => stream.write_all(message).unwrap(),
        }
    }

    /// One message without padding, and its TOS.
    fn receive(&mut self) -> (Vec<u8>, u8) {
        match self {
            Self::Udp {
                socket,
                poll,
                arena,
                ..
            } => {
                let mut received: Vec<Received> = Vec::with_capacity(1);
                let mut events = Events::with_capacity(1);
                while socket.receive(arena, 0, 1, &mut received).unwrap() == 0 {
                    poll.wait(Some(PATIENCE), &mut events).unwrap();
                    assert!(!events.is_empty(), "nothing comes");
                }
                let bytes = &arena.slot(0)[HEADROOM..HEADROOM + received[0].len];
                (bytes.to_vec(), received[0].tos)
            }
            Self::Tcp { stream, read } => loop {
                if let Frame::Complete { len, consumed, .. } = next_frame(read) {
                    let message = read[..len].to_vec();
                    read.drain(..consumed);
                    return (message, 0);
                }
                let mut more = [0; 4_096];
                let count = stream.read(&mut more).unwrap();
                assert!(count > 0, "the connection is closed");
                read.extend_from_slice(&more[..count]);
            },
        }
    }
}

impl Client {
    fn allocate(&mut self) -> SocketAddr {
        let answer = self.ask(Method::ALLOCATE, |message| {
            message.requested_transport(17).unwrap();
        });
        let answer = Message::decode(&answer).unwrap();
        answer.xor_relayed_address().unwrap().unwrap()
    }

    fn bind(&mut self, channel: u16, peer: SocketAddr) {
        self.ask(Method::CHANNEL_BIND, |message| {
            message.channel_number(channel).unwrap();
            message.xor_peer_address(peer).unwrap();
        });
    }

    fn refresh(&mut self) {
        self.ask(Method::REFRESH, |_| {});
    }

    fn delete(&mut self) {
        self.ask(Method::REFRESH, |message| {
            message.lifetime(0).unwrap();
        });
    }

    fn ask(&mut self, method: Method, fill: impl FnOnce(&mut MessageBuilder<'_>)) -> Vec<u8> {
        self.requests += 1;
        let id = TransactionId([self.requests; 12]);
        let mut bytes = [0; 128];
        let mut request = MessageBuilder::new(&mut bytes, Class::Request, method, id).unwrap();
        fill(&mut request);
        let len = request.finish();
        self.wire.send(&bytes[..len], 0);
        let (answer, _) = self.wire.receive();
        let message = Message::decode(&answer).unwrap();
        assert_eq!(
            (message.class(), message.transaction_id()),
            (Class::Success, id)
        );
        answer
    }

    fn send(&mut self, channel: u16, payload: &[u8], tos: u8) {
        let len = u16::try_from(payload.len()).unwrap();
        let mut message = channel_data::header(channel, len).to_vec();
        message.extend_from_slice(payload);
        if matches!(self.wire, Wire::Tcp { .. }) {
            message.resize(message.len().next_multiple_of(4), 0);
        }
        self.wire.send(&message, tos);
    }

    /// Expects this payload over the channel; its TOS.
    fn receive(&mut self, payload: &[u8]) -> u8 {
        let (message, tos) = self.wire.receive();
        assert_eq!(message[..2], CHANNEL.to_be_bytes());
        assert_eq!(&message[4..], payload);
        tos
    }

    fn next_data(&mut self) -> Vec<u8> {
        let (message, _) = self.wire.receive();
        assert_eq!(message[..2], CHANNEL.to_be_bytes());
        message[4..].to_vec()
    }
}

const CHANNEL: u16 = 0x4000;
const ROUNDS: usize = 100;
/// DSCP EF and ECT(0).
const TOS: u8 = 0xB8 | 0x02;
const PATIENCE: Duration = Duration::from_secs(60);
