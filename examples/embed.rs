//! A TURN server in one thread and one file: the state machine of `turnbuckle-relay` over the sockets of the standard
//! library.
//!
//! ```text
//! cargo run -p turnbuckle-examples --bin embed -- 127.0.0.1:3478 alice wonderland
//! ```
//!
//! It prints the address it listens on and serves the one user over UDP until it is stopped. `minimal_client` talks to it.
//! It asks each socket in turn and sleeps when none has anything, which is enough to show the contract of the state
//! machine and not enough for production: `turnbuckle` waits in epoll, sends in batches and has a shard for each core.

#![forbid(unsafe_code)]

use std::env;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use turnbuckle_relay::{
    self as relay, ClientAddress, ClientPath, Config, Credentials, Decision, DefaultFamily,
    FiveTuple, HEADROOM, Limits, NonceKey, Now, OpenError, Packet, Quota, Relay, RelayAddress,
    RelaySockets, RelayedId, RelayedPorts, ServerAddress, ShardId, TAILROOM, Transport, UserKeys,
    Users,
};

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [address, user, password] = &arguments[..] else {
        bail!("usage: embed ADDRESS:PORT USER PASSWORD");
    };
    let listener = UdpSocket::bind(address).with_context(|| format!("cannot bind {address}"))?;
    listener.set_nonblocking(true)?;
    let server = listener.local_addr()?;
    println!("listening on {server}");
    Host::new(listener, server, user, password)?.serve()
}

/// What the state machine has not: sockets and clocks.
struct Host {
    relay: Relay,
    listener: UdpSocket,
    server: SocketAddr,
    sockets: Sockets,
    start: Instant,
}

impl Host {
    fn new(listener: UdpSocket, server: SocketAddr, user: &str, password: &str) -> Result<Self> {
        let mut seed = [0; 32];
        let mut nonce_key = [0; 32];
        getrandom::fill(&mut seed)?;
        getrandom::fill(&mut nonce_key)?;
        let mut users = Users::default();
        users.insert(user, REALM, UserKeys::derive(user, REALM, password));
        let credentials = Credentials {
            secrets: Vec::new(),
            separator: ':',
            users,
            anonymous: false,
        };
        let mut config = Config::new(REALM, credentials, NonceKey::new(nonce_key));
        config.policy.listeners.push(server);
        config.default_family = DefaultFamily::OfClient;
        let own = RelayAddress {
            local: server.ip(),
            advertised: server.ip(),
        };
        let ports = RelayedPorts::new(&[own], 49_152..=65_535);
        let quota = Quota::new(Limits::default());
        let (config, ports) = (Arc::new(config), Arc::new(ports));
        Ok(Self {
            relay: Relay::new(ShardId(0), config, quota, ports, seed),
            listener,
            server,
            sockets: Sockets::default(),
            start: now(),
        })
    }

    fn serve(mut self) -> Result<()> {
        let mut buffer = vec![0; HEADROOM + DATAGRAM_MAX + TAILROOM];
        loop {
            let clients = self.read_listener(&mut buffer)?;
            let peers = self.read_relay_sockets(&mut buffer);
            // The other half of the contract: take the events, mind the timers.
            while let Some(event) = self.relay.poll_event() {
                println!("{event:?}");
            }
            let now = self.now();
            if self.relay.poll_timeout().is_some_and(|t| t <= now.instant) {
                self.relay.handle_timeout(now, &mut self.sockets);
            }
            if !clients && !peers {
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// Hands one datagram from a client to the relay; false if there was none.
    fn read_listener(&mut self, buffer: &mut [u8]) -> Result<bool> {
        let room = &mut buffer[HEADROOM..][..DATAGRAM_MAX];
        let Some((len, client)) = received(self.listener.recv_from(room))? else {
            return Ok(false);
        };
        let path = ClientPath {
            handle: 0,
            five_tuple: FiveTuple {
                client: ClientAddress(client),
                server: ServerAddress(self.server),
                transport: Transport::Udp,
            },
        };
        let Some(packet) = Packet::new(buffer, HEADROOM..HEADROOM + len) else {
            return Ok(true);
        };
        let now = self.now();
        let mut answer = [0; 1280];
        let sockets = &mut self.sockets;
        let decision = self
            .relay
            .handle_client(now, &path, packet, &mut answer, sockets);
        if let Decision::Answer { len } = decision {
            let _ = self.listener.send_to(&answer[..len], client);
        }
        self.forward(decision, buffer);
        Ok(true)
    }

    /// Hands one datagram from each relay socket to the relay; false if there was none.
    fn read_relay_sockets(&mut self, buffer: &mut [u8]) -> bool {
        let now = self.now();
        let mut any = false;
        for index in 0..self.sockets.0.len() {
            let Some(socket) = &self.sockets.0[index] else {
                continue;
            };
            let room = &mut buffer[HEADROOM..][..DATAGRAM_MAX];
            // An error is about an earlier datagram that a peer refused.
            let Ok(Some((len, peer))) = received(socket.recv_from(room)) else {
                continue;
            };
            any = true;
            let id = RelayedId::from_index(index as u32);
            if let Some(packet) = Packet::new(buffer, HEADROOM..HEADROOM + len) {
                let decision = self.relay.handle_peer(now, id, peer, packet);
                self.forward(decision, buffer);
            }
        }
        any
    }

    /// Sends what was decided about the datagram in `buffer`. A datagram that cannot be sent is lost, as on any network.
    fn forward(&self, decision: Decision, buffer: &[u8]) {
        match decision {
            Decision::ToPeer {
                relayed,
                peer,
                bytes,
                ..
            } => {
                if let Some(Some(socket)) = self.sockets.0.get(relayed.index() as usize) {
                    let _ = socket.send_to(&buffer[bytes.range()], peer);
                }
            }
            Decision::ToClient { path, bytes } => {
                let client = path.five_tuple.client.0;
                let _ = self.listener.send_to(&buffer[bytes.range()], client);
            }
            // Another shard, TCP relaying and NAT behaviour discovery: there is none of them.
            _ => {}
        }
    }

    fn now(&self) -> Now {
        Now {
            instant: relay::Instant::ZERO.after(now() - self.start),
            unix: unix_seconds(),
        }
    }
}

/// The sockets behind relayed transport addresses, by the relay's numbers.
#[derive(Default)]
struct Sockets(Vec<Option<UdpSocket>>);

impl RelaySockets for Sockets {
    fn open(&mut self, id: RelayedId, local: SocketAddr) -> Result<(), OpenError> {
        let socket = UdpSocket::bind(local).map_err(|error| match error.kind() {
            ErrorKind::AddrInUse => OpenError::PortInUse,
            _ => OpenError::Unavailable,
        })?;
        let set = socket.set_nonblocking(true);
        set.map_err(|_| OpenError::Unavailable)?;
        let at = id.index() as usize;
        if self.0.len() <= at {
            self.0.resize_with(at + 1, || None);
        }
        self.0[at] = Some(socket);
        Ok(())
    }

    fn close(&mut self, id: RelayedId) {
        self.0[id.index() as usize] = None;
    }
}

/// `None` if nothing has arrived.
fn received(result: io::Result<(usize, SocketAddr)>) -> io::Result<Option<(usize, SocketAddr)>> {
    match result {
        Ok(datagram) => Ok(Some(datagram)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

#[allow(clippy::disallowed_methods, reason = "the host's clock")]
fn now() -> Instant {
    Instant::now()
}

#[allow(clippy::disallowed_methods, reason = "the host's clock")]
fn unix_seconds() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

const REALM: &str = "turn.example";
/// The longest UDP payload over IPv4.
const DATAGRAM_MAX: usize = 65_507;
