//! The whole state machine, driven by an input that is read as a play of clients, peers and time.
//!
//! Requests are signed rightly, so that what is behind the first 401 is reached. The testkit checks the tables and the
//! form of each message after every step; [`Leave`] keeps its own book of who may exchange data with whom, made of
//! nothing but the answers, and finds a byte that passed without leave.

mod leave;
mod streams;

use core::num::{NonZeroU32, NonZeroU64};
use core::time::Duration;
use std::net::SocketAddr;

use turnbuckle_proto::{AddressFamily, AttributeType, HEADER_LEN, TransactionId};
use turnbuckle_relay::{NatDiscovery, OpenError, RelayAddress, StrictExpiry, TcpRelay, Transport};
use turnbuckle_testkit::{
    BOB, Client, Clock, Datagram, LISTENER_V4, LISTENER_V6, Network, Peer, RELAY_V4, Request, Setup,
};

use self::leave::Leave;
use self::streams::Host;
use crate::input::Input;
use crate::integrity::SEALS;

/// Plays the input.
///
/// # Panics
/// If the relay panics, its tables contradict each other, a message for a client is malformed, or a byte passes without
/// leave.
pub fn relay(input: &[u8]) {
    played(input);
}

/// Plays the input and returns how often data has met leave.
fn played(input: &[u8]) -> usize {
    let mut input = Input::new(input);
    let mut play = Play::new(&mut input);
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        play.step(&mut input);
        play.judge();
    }
    play.net.advance(Duration::from_secs(7200));
    play.judge();
    assert_eq!(play.net.server.allocations(), 0, "an allocation for ever");
    play.leave.met
}

struct Play {
    net: Network,
    clients: Vec<Client>,
    /// What a client knows to send to: peers, relayed addresses that were once given out, and worse.
    peers: Vec<SocketAddr>,
    tokens: Vec<[u8; 8]>,
    /// Of mobility, from all clients.
    tickets: Vec<Vec<u8>>,
    host: Host,
    leave: Leave,
}

impl Play {
    fn new(input: &mut Input<'_>) -> Self {
        let flags = input.byte();
        let seed = input.byte();
        let features = input.byte();
        let mut setup = Setup::default()
            .seed(u64::from(seed))
            .shards(1 + (flags & 1));
        if flags & 2 != 0 {
            setup = setup.behind_nat();
        }
        if flags & 4 != 0 {
            setup.limits.per_user = NonZeroU32::new(1);
        }
        if flags & 8 != 0 {
            setup = setup.allow(RELAY_V4);
        }
        setup.config.wide_channels = flags & 16 != 0;
        setup.config.fingerprint = flags & 32 != 0;
        setup.config.credentials.anonymous = flags & 0xC0 == 0xC0;
        setup.config.permissions_max = 4;
        setup.ports = 50_000..=50_015;
        let strict = [
            StrictExpiry::Off,
            StrictExpiry::Refresh,
            StrictExpiry::Expiry,
        ];
        let strict = strict[usize::from(features >> 3 & 3) % strict.len()];
        offer(&mut setup, features, strict);
        let mut net = setup.build();
        net.record = true;
        let expiry = match strict {
            StrictExpiry::Off => 1_800_000_000,
            _ => Clock::START_UNIX + 1000,
        };
        let carol = format!("{expiry}:carol");
        let clients = vec![
            Client::alice(),
            Client::bob(),
            Client::new("[2001:db8:5::10]:10002").user("alice", "wonderland"),
            Client::new("203.0.113.30:10003").rest(&carol),
            Client::alice().over(Transport::Tcp),
            Client::new("203.0.113.66:10005").user("alice", "guessed"),
            Client::new("203.0.113.61:10006")
                .user(BOB.0, BOB.1)
                .over(Transport::Tcp),
        ];
        let peers = PEERS.iter().map(|text| text.parse().expect("an address"));
        Self {
            net,
            clients,
            peers: peers.collect(),
            tokens: vec![[0; 8]],
            tickets: vec![vec![0; 32]],
            host: Host::default(),
            leave: Leave::new(strict == StrictExpiry::Expiry),
        }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let action = input.byte();
        let client = usize::from(input.byte()) % self.clients.len();
        match action % 28 {
            0 | 1 => self.allocate(client, input),
            2 => {
                let peers: Vec<_> = (0..1 + input.byte() % 5)
                    .map(|_| self.peer(input))
                    .collect();
                self.ask(client, &Request::create_permission(&peers));
            }
            3 => {
                let number = self.number(input);
                let peer = self.peer(input);
                self.ask(client, &Request::channel_bind(number, peer));
            }
            4 => {
                let lifetime = input.pick(&[0, 1, 599, 600, 601, 3600, u32::MAX]);
                let request = Request::refresh(lifetime);
                let request = self.with_extra(request, input);
                self.ask(client, &request);
            }
            5 => {
                let peer = self.peer(input);
                let len = usize::from(input.byte());
                let request = Request::send(peer, input.take(len));
                let request = self.with_extra(request, input);
                let bytes = self.clients[client].encode(&request);
                self.post(client, &bytes);
            }
            6 => {
                let number = self.number(input);
                let len = usize::from(input.byte());
                let bytes = Client::channel_data(number, input.take(len));
                self.post(client, &bytes);
            }
            7 | 8 => {
                let peer = Peer {
                    address: self.peer(input),
                };
                let to = self.peer(input);
                let len = usize::from(input.byte());
                peer.send(&mut self.net, to, input.take(len));
            }
            9 => {
                let seconds = input.pick(&[0, 1, 30, 40, 299, 300, 301, 599, 600, 3600]);
                self.net.advance(Duration::from_secs(seconds));
            }
            10 => {
                let seconds = input.pick(&[0, 1, 300, 600, 3600]);
                self.net
                    .advance_without_timers(Duration::from_secs(seconds));
            }
            11 => {
                let len = usize::from(input.byte());
                let bytes = input.take(len).to_vec();
                self.post(client, &bytes);
            }
            12 => self.damaged(client, input),
            13 => {
                self.net.server.restart(|snapshot| snapshot);
                self.host = Host::default();
                self.leave.all_disconnected();
            }
            14 => {
                let path = self.clients[client].five_tuple();
                let now = self.net.clock.now();
                let shard = self.net.server.shard_of(path);
                let shard = &mut self.net.server.shards[shard];
                let before = shard.relay.allocations();
                shard
                    .relay
                    .handle_disconnect(now, &path, &mut shard.sockets);
                // A five-tuple that its allocation has left behind ends nothing.
                if shard.relay.allocations() < before {
                    self.leave.disconnected(&path);
                }
            }
            16 => {
                let lifetime = input.pick(&[0, 600, 3600]);
                let family = input.pick(&[AddressFamily::V4, AddressFamily::V6]);
                self.ask(client, &Request::refresh(lifetime).family(family));
            }
            17 | 18 => self.moves(client, input),
            19 => {
                let lifetime = input.pick(&[600, 3600]);
                self.ask(client, &Request::allocate_tcp().lifetime(lifetime));
            }
            20 => {
                let peer = self.peer(input);
                self.ask(client, &Request::connect(peer));
            }
            21 => self.host_connects(input),
            22 => self.peer_connects(input),
            23 | 24 => self.binds(client, input),
            25 => self.hangs_up(input),
            26 => self.discovers(client, input),
            27 => {
                let change = input.byte();
                self.net.server.set_config(|config| {
                    config.draining = change & 1 != 0;
                    config.mobility ^= change & 2 != 0;
                });
            }
            _ => {
                let shard = usize::from(input.byte()) % self.net.server.shards.len();
                let error = input.pick(&[OpenError::PortInUse, OpenError::Unavailable]);
                let sockets = &mut self.net.server.shards[shard].sockets;
                sockets.fail_next.push_back(error);
                sockets.fail_next.truncate(3);
            }
        }
    }

    fn allocate(&mut self, client: usize, input: &mut Input<'_>) {
        let mut request = Request::allocate();
        let options = input.byte();
        if options & 1 != 0 {
            let family = input.pick(&[AddressFamily::V4, AddressFamily::V6]);
            request = request.family(family);
        }
        if options & 2 != 0 {
            request = request.attribute(AttributeType::EVEN_PORT, &[input.byte()]);
        }
        if options & 4 != 0 {
            let token = self.tokens[usize::from(input.byte()) % self.tokens.len()];
            request = request.attribute(AttributeType::RESERVATION_TOKEN, &token);
        }
        if options & 8 != 0 {
            request = request.lifetime(input.pick(&[0, 1, 700, u32::MAX]));
        }
        if options & 16 != 0 {
            request = request.attribute(
                AttributeType::ADDITIONAL_ADDRESS_FAMILY,
                &[input.byte(), 0, 0, 0],
            );
        }
        if options & 32 != 0 {
            request = request.attribute(AttributeType::DONT_FRAGMENT, &[]);
        }
        if options & 64 != 0 {
            request = request.transaction([input.byte() & 3; 12]);
        }
        if options & 128 != 0 {
            request = request.attribute(AttributeType::MOBILITY_TICKET, &[]);
        }
        let request = self.with_extra(request, input);
        self.ask(client, &request);
    }

    /// A client shows a ticket, its own or another's, from another port, and stays there.
    fn moves(&mut self, client: usize, input: &mut Input<'_>) {
        let ticket = usize::from(input.byte()) % self.tickets.len();
        // The last one is the likeliest to be good.
        let ticket = self.tickets[self.tickets.len() - 1 - ticket].clone();
        let port = 10_000 + u16::from(input.byte() & 15);
        self.clients[client].address.set_port(port);
        let lifetime = input.pick(&[600, 600, 0]);
        let request = Request::refresh(lifetime);
        self.ask(
            client,
            &request.attribute(AttributeType::MOBILITY_TICKET, &ticket),
        );
    }

    /// A client looks for a NAT, by any listener.
    fn discovers(&mut self, client: usize, input: &mut Input<'_>) {
        let mut client = self.clients[client].clone();
        if !client.address.is_ipv4() {
            return;
        }
        let server = input.pick(&[LISTENER_V4, LISTENERS[0], LISTENERS[1], LISTENERS[2]]);
        client.server = server.parse().expect("an address");
        let change = [0, 0, 0, input.byte()];
        let mut request = Request::binding().attribute(AttributeType::CHANGE_REQUEST, &change);
        let options = input.byte();
        if options & 1 != 0 {
            let port = [input.byte(), input.byte(), 0, 0];
            request = request.attribute(AttributeType::RESPONSE_PORT, &port);
        }
        if options & 2 != 0 {
            let padding = vec![0; usize::from(input.byte()) * 4];
            request = request.attribute(AttributeType::PADDING, &padding);
        }
        let bytes = client.encode(&request);
        client.post(&mut self.net, &bytes);
        self.net.settle();
    }

    /// A right message with one byte changed or its end cut off; the signature is not made anew.
    fn damaged(&mut self, client: usize, input: &mut Input<'_>) {
        let peer = self.peer(input);
        let request = match input.byte() % 5 {
            0 => Request::allocate(),
            1 => Request::refresh(0),
            2 => Request::create_permission(&[peer]),
            3 => Request::channel_bind(0x4000, peer),
            _ => Request::send(peer, b"data"),
        };
        let mut bytes = self.clients[client].encode(&request);
        let at = usize::from(input.short()) % bytes.len();
        if input.flag() {
            bytes.truncate(at);
            if let Some(len) = at.checked_sub(HEADER_LEN) {
                bytes[2..4].copy_from_slice(&(len as u16 & !3).to_be_bytes());
            }
        } else {
            bytes[at] = input.byte();
        }
        self.post(client, &bytes);
    }

    /// Sometimes another attribute, signed like the rest or behind the signature.
    fn with_extra(&mut self, request: Request, input: &mut Input<'_>) -> Request {
        match input.byte() % 8 {
            0 => {
                let kind = AttributeType(input.short());
                let len = usize::from(input.byte() & 15);
                let value = input.take(len);
                // The client's own seals come last; a second one is written by `damaged` and by raw bytes.
                if SEALS.contains(&kind) {
                    return request;
                }
                request.attribute(kind, value)
            }
            1 => {
                let kind = AttributeType(input.short());
                let len = usize::from(input.byte() & 15);
                request.behind_integrity(kind, input.take(len))
            }
            2 => request.fingerprint(),
            _ => request,
        }
    }

    /// Signs once it was challenged, as a client does. An attribute that the input made up may have spoilt the request, so
    /// nothing is expected of the answer.
    fn ask(&mut self, client: usize, request: &Request) {
        for _ in 0..2 {
            let client = &mut self.clients[client];
            let bytes = client.encode(request);
            let id = TransactionId(bytes[8..20].try_into().expect("twelve bytes"));
            let Some(answer) = client.exchange(&mut self.net, &bytes) else {
                return;
            };
            assert_eq!(answer.message().transaction_id(), id);
            client.absorb(&answer);
            if let Some(relayed) = answer.relayed()
                && !self.peers.contains(&relayed)
                && self.peers.len() < PEERS_MAX
            {
                self.peers.push(relayed);
            }
            if let Ok(Some(token)) = answer.message().reservation_token()
                && self.tokens.len() < PEERS_MAX
            {
                self.tokens.push(token);
            }
            if let Some(ticket) = answer.ticket()
                && self.tickets.len() < PEERS_MAX
            {
                self.tickets.push(ticket);
            }
            self.host.told(answer.message().connection_id());
            if !matches!(answer.code(), Some(401 | 438)) {
                return;
            }
        }
    }

    fn post(&mut self, client: usize, bytes: &[u8]) {
        let client = &self.clients[client];
        self.net.send(Datagram {
            from: client.address,
            to: client.server,
            transport: client.transport,
            bytes: bytes.to_vec(),
        });
        self.net.settle();
    }

    fn peer(&self, input: &mut Input<'_>) -> SocketAddr {
        input.pick(&self.peers)
    }

    fn number(&self, input: &mut Input<'_>) -> u16 {
        input.pick(&[0x4000, 0x4001, 0x4FFF, 0x5000, 0x7FFF, 0x3FFF])
    }

    fn judge(&mut self) {
        for step in self.net.take_steps() {
            self.leave.judge(&step, &self.net.server.ports);
        }
        self.host_is_told();
        let (reserved, limits) = (
            self.net.server.quota.reserved(),
            self.net.server.quota.limits(),
        );
        assert!(limits.capacity.is_none_or(|most| reserved <= most.get()));
        for client in &self.clients {
            // What has arrived was judged as it left.
            self.net.take_inbox(client.address);
        }
    }
}

/// Switches on what is off by default.
fn offer(setup: &mut Setup, features: u8, strict: StrictExpiry) {
    let config = &mut setup.config;
    config.strict_expiry = strict;
    config.mobility = features & 1 != 0;
    config.tcp_relay = (features & 2 != 0).then_some(TcpRelay {
        connections_max: 5,
        connections_per_allocation_max: 3,
    });
    if features & 4 != 0 {
        let addresses = ["198.51.100.1", "198.51.100.2"].map(|text| {
            let ip = text.parse().expect("an address");
            RelayAddress {
                local: ip,
                advertised: ip,
            }
        });
        config.nat_discovery = Some(NatDiscovery {
            addresses: addresses.to_vec(),
            port: 3478,
            alternate_port: 3479,
        });
    }
    let listeners = LISTENERS.map(|text| text.parse::<SocketAddr>().expect("an address"));
    config.policy.listeners.extend(listeners);
    setup.listeners.extend(listeners);
    if features & 32 != 0 {
        setup.limits.rate = NonZeroU64::new(100);
        setup.limits.capacity = NonZeroU64::new(250);
    }
}

const STEPS_MAX: usize = 64;
const PEERS_MAX: usize = 32;
/// Besides the ordinary ones.
const LISTENERS: [&str; 3] = [
    "198.51.100.1:3479",
    "198.51.100.2:3478",
    "198.51.100.2:3479",
];
/// Ordinary hosts, the server itself in several spellings, and ranges that are refused.
const PEERS: [&str; 12] = [
    "9.9.9.9:4000",
    "9.9.9.9:4001",
    "8.8.8.8:53",
    "[2606:4700::1111]:443",
    "[2606:4700::2222]:443",
    "198.51.100.1:50000",
    "[2001:db8::1]:50000",
    LISTENER_V4,
    LISTENER_V6,
    "10.0.0.5:50001",
    "127.0.0.1:22",
    "[::ffff:127.0.0.1]:22",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_play_gets_as_far_as_data() {
        // Alice allocates, permits the first peer, sends and is sent to.
        let allocate = [0, 0, 0, 7];
        let permit = [2, 0, 0, 0];
        let send = [5, 0, 0, 2, b'h', b'i', 7];
        let answer = [7, 0, 0, 12, 2, b'y', b'o'];
        let play = [&[0, 1, 0][..], &allocate, &permit, &send, &answer].concat();
        assert_eq!(played(&play), 2);
        // Without the permission nothing passes.
        let play = [&[0, 1, 0][..], &allocate, &send, &answer].concat();
        assert_eq!(played(&play), 0);
    }

    #[test]
    fn a_play_gets_as_far_as_a_move_and_a_connection() {
        let allocate = [0, 0, 128, 7];
        let permit = [2, 0, 0, 0];
        let send = [5, 0, 0, 2, b'h', b'i', 7];
        let follow = [17, 0, 0, 3, 0];
        let play = [&[0, 1, 1][..], &allocate, &permit, &send, &follow, &send].concat();
        assert_eq!(played(&play), 2);
        // The ticket is worth nothing to Bob.
        let stolen = [17, 1, 0, 3, 0];
        let bobs = [5, 1, 0, 2, b'h', b'i', 7];
        let play = [&[0, 1, 1][..], &allocate, &permit, &send, &stolen, &bobs].concat();
        assert_eq!(played(&play), 1);

        // A peer connects to the first relayed address there is.
        let (allocate, permit, arrive) = ([19, 4, 0], [2, 4, 0, 0], [22, 4, 12, 0]);
        let play = [&[0, 1, 2][..], &allocate, &permit, &arrive].concat();
        assert_eq!(played(&play), 1);
        let play = [&[0, 1, 2][..], &allocate, &arrive].concat();
        assert_eq!(played(&play), 0);
    }

    #[test]
    #[should_panic(expected = "met without leave")]
    fn what_passes_without_leave_is_noticed() {
        let mut play = Play::new(&mut Input::new(&[0, 1, 0]));
        let steps = [&[0, 0, 0, 7][..], &[2, 0, 0, 0]].concat();
        let mut input = Input::new(&steps);
        play.step(&mut input);
        play.step(&mut input);
        play.judge();
        // As if the answer had never come.
        play.leave.forget_permissions();
        play.step(&mut Input::new(&[5, 0, 0, 2, b'h', b'i', 7]));
        play.judge();
    }
}
