//! The whole state machine, driven by an input that is read as a play of clients, peers and time.
//!
//! Requests are signed rightly, so that what is behind the first 401 is reached. The testkit checks the tables and the
//! form of each message after every step; [`Leave`] keeps its own book of who may exchange data with whom, made of
//! nothing but the answers, and finds a byte that passed without leave.

use core::num::NonZeroU32;
use core::time::Duration;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use turnbuckle_proto::{
    AddressFamily, AttributeType, Class, HEADER_LEN, Message, Method, TransactionId,
};
use turnbuckle_relay::{FiveTuple, Instant, OpenError, RelayedPorts, Transport};
use turnbuckle_testkit::{
    Answer, Client, Datagram, Input as Arrived, LISTENER_V4, LISTENER_V6, Network, Outcome, Peer,
    RELAY_V4, Request, Setup, Step,
};

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
    leave: Leave,
}

impl Play {
    fn new(input: &mut Input<'_>) -> Self {
        let flags = input.byte();
        let mut setup = Setup::default()
            .seed(u64::from(input.byte()))
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
        let mut net = setup.build();
        net.record = true;
        let clients = vec![
            Client::alice(),
            Client::bob(),
            Client::new("[2001:db8:5::10]:10002").user("alice", "wonderland"),
            Client::new("203.0.113.30:10003").rest("1800000000:carol"),
            Client::alice().over(Transport::Tcp),
            Client::new("203.0.113.66:10005").user("alice", "guessed"),
        ];
        let peers = PEERS.iter().map(|text| text.parse().expect("an address"));
        Self {
            net,
            clients,
            peers: peers.collect(),
            tokens: vec![[0; 8]],
            leave: Leave::default(),
        }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let action = input.byte();
        let client = usize::from(input.byte()) % self.clients.len();
        match action % 16 {
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
            13 => self.net.server.restart(|snapshot| snapshot),
            14 => {
                let path = self.clients[client].five_tuple();
                let now = self.net.clock.now();
                let shard = self.net.server.shard_of(path);
                let shard = &mut self.net.server.shards[shard];
                shard
                    .relay
                    .handle_disconnect(now, &path, &mut shard.sockets);
                self.leave.ended(&path);
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
        let request = self.with_extra(request, input);
        self.ask(client, &request);
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
        for client in &self.clients {
            // What has arrived was judged as it left.
            self.net.take_inbox(client.address);
        }
    }
}

/// Who may exchange data with whom, as far as the answers to requests say.
#[derive(Default)]
struct Leave {
    allocations: BTreeMap<FiveTuple, Allocation>,
    /// Data that passed, and rightly.
    met: usize,
}

struct Allocation {
    relayed: Vec<SocketAddr>,
    expires: Instant,
    permissions: BTreeMap<IpAddr, Instant>,
}

impl Leave {
    fn judge(&mut self, step: &Step, ports: &RelayedPorts) {
        let now = step.now.instant;
        match (&step.input, &step.outcome) {
            (_, Outcome::Dropped(_)) => {}
            (Arrived::Client { five_tuple, bytes }, Outcome::Answered(answer)) => {
                let request = Message::decode(bytes).expect("only a request is answered");
                assert_eq!(request.class(), Class::Request);
                let answer = Answer::read(answer).expect("a response");
                if answer.is_success() {
                    self.granted(now, five_tuple, &request, &answer, ports);
                }
            }
            (Arrived::Client { five_tuple, .. }, Outcome::ToPeer { from, to, .. }) => {
                let from = ports.as_advertised(*from);
                self.assert_leave(now, five_tuple, from, ports.as_advertised(*to).ip());
            }
            (
                Arrived::Client { five_tuple, .. },
                Outcome::ToClient {
                    five_tuple: other, ..
                },
            ) => {
                let [from, to] = [five_tuple, other].map(|one| &self.live(now, one).relayed);
                let met = from.iter().any(|from| {
                    to.iter().any(|to| {
                        self.permits(now, five_tuple, to.ip())
                            && self.permits(now, other, from.ip())
                    })
                });
                assert!(met, "{five_tuple} reached {other} without leave");
                self.met += 1;
            }
            (Arrived::Peer { local, peer, .. }, Outcome::ToClient { five_tuple, .. }) => {
                let at = ports.as_advertised(*local);
                let peer = ports.as_advertised(*peer);
                self.assert_leave(now, five_tuple, at, peer.ip());
            }
            (Arrived::Client { five_tuple, .. }, Outcome::ToShard { to, .. }) => {
                let peer = ports.as_advertised(to.local).ip();
                self.assert_leave(now, five_tuple, to.source, peer);
            }
            (Arrived::Handover { to, .. }, Outcome::ToClient { five_tuple, .. }) => {
                let at = ports.as_advertised(to.local);
                self.assert_leave(now, five_tuple, at, to.source.ip());
            }
            (input, outcome) => panic!("{outcome:?} for {input:?}"),
        }
    }

    fn granted(
        &mut self,
        now: Instant,
        five_tuple: &FiveTuple,
        request: &Message<'_>,
        answer: &Answer,
        ports: &RelayedPorts,
    ) {
        let lifetime = answer.lifetime().map(|s| Duration::from_secs(s.into()));
        match request.method() {
            Method::ALLOCATE => {
                let expires = now.after(lifetime.expect("LIFETIME"));
                let relayed = relayed_addresses(answer);
                assert!(!relayed.is_empty());
                let known = self.allocations.get(five_tuple);
                if known.is_none_or(|a| a.expires <= now) {
                    for (other, allocation) in &self.allocations {
                        let taken = allocation.relayed.iter().any(|r| relayed.contains(r));
                        assert!(
                            !taken || allocation.expires <= now || other == five_tuple,
                            "a relayed address was given out twice"
                        );
                    }
                    self.allocations.insert(
                        *five_tuple,
                        Allocation {
                            relayed,
                            expires,
                            permissions: BTreeMap::new(),
                        },
                    );
                }
            }
            Method::REFRESH => {
                let lifetime = lifetime.expect("LIFETIME");
                if lifetime.is_zero() {
                    self.ended(five_tuple);
                } else {
                    let allocation = self.allocations.get_mut(five_tuple);
                    allocation.expect("only what is there is refreshed").expires =
                        now.after(lifetime);
                }
            }
            Method::CREATE_PERMISSION | Method::CHANNEL_BIND => {
                self.live(now, five_tuple);
                let allocation = self.allocations.get_mut(five_tuple).expect("live");
                let every = request.method() == Method::CREATE_PERMISSION;
                let peers = request
                    .peer_addresses()
                    .take(if every { usize::MAX } else { 1 });
                for peer in peers {
                    let peer = peer.expect("what was granted is readable");
                    let ip = ports.ip_as_advertised(peer.ip());
                    allocation.permissions.insert(ip, now.after(PERMISSION));
                }
            }
            _ => {}
        }
    }

    fn ended(&mut self, five_tuple: &FiveTuple) {
        self.allocations.remove(five_tuple);
    }

    #[track_caller]
    fn assert_leave(
        &mut self,
        now: Instant,
        five_tuple: &FiveTuple,
        relayed: SocketAddr,
        peer: IpAddr,
    ) {
        let allocation = self.live(now, five_tuple);
        assert!(
            allocation.relayed.contains(&relayed),
            "{relayed} of another"
        );
        assert!(
            self.permits(now, five_tuple, peer),
            "{five_tuple} and {peer} met without leave"
        );
        self.met += 1;
    }

    #[track_caller]
    fn live(&self, now: Instant, five_tuple: &FiveTuple) -> &Allocation {
        let allocation = self.allocations.get(five_tuple);
        let live = allocation.filter(|allocation| allocation.expires > now);
        live.unwrap_or_else(|| panic!("{five_tuple} has no allocation"))
    }

    fn permits(&self, now: Instant, five_tuple: &FiveTuple, peer: IpAddr) -> bool {
        let until = self.live(now, five_tuple).permissions.get(&peer);
        until.is_some_and(|&until| until > now)
    }
}

fn relayed_addresses(answer: &Answer) -> Vec<SocketAddr> {
    let message = answer.message();
    let mask = message.transaction_id();
    let values = message
        .attributes()
        .filter(|raw| raw.attribute == AttributeType::XOR_RELAYED_ADDRESS);
    values
        .map(|raw| {
            // The accessor reads the first only, so each is put where it is the first.
            let mut buffer = [0; 64];
            let mut builder = turnbuckle_proto::MessageBuilder::new(
                &mut buffer,
                Class::Success,
                Method::ALLOCATE,
                mask,
            )
            .expect("room for a header");
            builder.attribute(raw.attribute, raw.value).expect("room");
            let len = builder.finish();
            let alone = Message::decode(&buffer[..len]).expect("a message");
            alone
                .xor_relayed_address()
                .expect("readable")
                .expect("there")
        })
        .collect()
}

const STEPS_MAX: usize = 64;
const PEERS_MAX: usize = 32;
const PERMISSION: Duration = Duration::from_secs(300);
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
        let play = [&[0, 1][..], &allocate, &permit, &send, &answer].concat();
        assert_eq!(played(&play), 2);
        // Without the permission nothing passes.
        let play = [&[0, 1][..], &allocate, &send, &answer].concat();
        assert_eq!(played(&play), 0);
    }

    #[test]
    #[should_panic(expected = "met without leave")]
    fn what_passes_without_leave_is_noticed() {
        let mut play = Play::new(&mut Input::new(&[0, 1]));
        let steps = [&[0, 0, 0, 7][..], &[2, 0, 0, 0]].concat();
        let mut input = Input::new(&steps);
        play.step(&mut input);
        play.step(&mut input);
        play.judge();
        // As if the answer had never come.
        for allocation in play.leave.allocations.values_mut() {
            allocation.permissions.clear();
        }
        play.step(&mut Input::new(&[5, 0, 0, 2, b'h', b'i', 7]));
        play.judge();
    }
}
