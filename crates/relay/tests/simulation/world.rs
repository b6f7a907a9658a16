//! Clients, peers and a network that do at random what such do.
//!
//! Owns the workload. It must not judge what the server does: [`Model`] does.

mod tally;
mod tcp;

use core::num::NonZeroU32;
use core::time::Duration;
use std::mem;
use std::net::SocketAddr;
use std::thread;

use turnbuckle_proto::{AddressFamily, AttributeType, Message, Method};
use turnbuckle_relay::{Limits, NatDiscovery, RelayAddress, TcpRelay, Transport};
use turnbuckle_testkit::{
    ALICE, Answer, BOB, Client, Clock, Faults, Network, Peer, Random, Request, Setup, Signing,
};

pub(crate) use self::tally::Tally;
use self::tcp::Host;
use crate::model::Model;

pub(crate) struct World {
    seed: u64,
    step: usize,
    random: Random,
    net: Network,
    model: Model,
    clients: Vec<Participant>,
    peers: Vec<Peer>,
    /// All relayed transport addresses there ever were.
    relayed: Vec<SocketAddr>,
    /// All reservation tokens there ever were.
    tokens: Vec<[u8; 8]>,
    /// The last one, with whom it was given to.
    unused_token: Option<(usize, [u8; 8])>,
    /// A client has just been told of a peer connection.
    unused_connection: bool,
    relays_tcp: bool,
    host: Host,
    tally: Tally,
}

struct Participant {
    client: Client,
    /// The same where it was before it moved.
    former: Option<Client>,
    ticket: Option<Vec<u8>>,
    /// Numbers of peer connections that it was told of.
    told: Vec<u32>,
    request: Request,
    /// The bytes of the request.
    last: Vec<u8>,
    may_retry: bool,
    /// What it has asked to reach.
    targets: Vec<SocketAddr>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let shards = *random.pick(&[1, 2, 3]);
        let mut setup = Setup {
            ports: 50_000..=50_000 + *random.pick(&[2, 6, 100]),
            limits: Limits {
                per_user: NonZeroU32::new(PER_USER),
                total: NonZeroU32::new(TOTAL),
                ..Limits::default()
            },
            faults: Faults {
                loss_percent: *random.pick(&[0, 5, 20]),
                duplicate_percent: *random.pick(&[0, 5, 20]),
                delay_percent: *random.pick(&[0, 30, 60]),
                delay_max: Duration::from_millis(*random.pick(&[10, 1000, 20_000])),
            },
            ..Setup::default()
        }
        .shards(shards)
        .seed(seed)
        .deny(DENIED)
        .config(|c| {
            c.permissions_max = PERMISSIONS_MAX;
            let nonce = *random.pick(&[600, 86_400]);
            c.lifetimes.nonce = Some(Duration::from_secs(nonce));
            c.mobility = random.chance(60);
            c.tcp_relay = random.chance(60).then_some(TcpRelay {
                connections_max: CONNECTIONS_MAX,
                connections_per_allocation_max: CONNECTIONS_PER_ALLOCATION_MAX,
            });
            c.nat_discovery = random.chance(50).then(nat_discovery);
        });
        let extra: [SocketAddr; 3] = DISCOVERY_LISTENERS.map(|text| text.parse().unwrap());
        setup.listeners.extend(extra);
        setup.config.policy.listeners.extend(extra);
        if random.chance(50) {
            setup = setup.behind_nat();
        }
        let mut model = Model::new(setup.addresses.clone());
        model.shards = shards.into();
        model.per_user = PER_USER as usize;
        model.total = TOTAL as usize;
        model.permissions_max = PERMISSIONS_MAX;
        model.denied = vec![DENIED.parse().unwrap()];
        model.mobility = setup.config.mobility;
        model.discovery.clone_from(&setup.config.nat_discovery);
        model.connections.per_allocation = CONNECTIONS_PER_ALLOCATION_MAX;
        model.connections.total = CONNECTIONS_MAX;
        let relays_tcp = setup.config.tcp_relay.is_some();
        model.passwords = [ALICE, BOB]
            .map(|(name, password)| (name.to_owned(), password.to_owned()))
            .into();
        let mut net = setup.build();
        net.record = true;
        let clients = participants(&mut random, relays_tcp);
        Self {
            seed,
            step: 0,
            random,
            net,
            model,
            clients,
            peers: PEERS.map(Peer::new).to_vec(),
            relayed: vec!["198.51.100.1:3478".parse().unwrap()],
            tokens: vec![[7; 8]],
            unused_token: None,
            unused_connection: false,
            relays_tcp,
            host: Host::default(),
            tally: Tally::default(),
        }
    }

    /// One thing happens, and all that comes of it.
    pub(crate) fn step(&mut self) {
        self.step += 1;
        match self.random.below(100) {
            // What is good for 30 s is used soon, or hardly ever.
            0..60 if self.unused_token.is_some() => self.client_redeems(),
            0..60 if self.unused_connection => self.client_binds(),
            0..33 => self.client_asks(),
            33..37 => self.client_moves(),
            37 => self.client_discovers(),
            77..80 if self.relays_tcp => self.peer_connects(),
            80..84 if self.relays_tcp => self.client_binds(),
            84 if self.relays_tcp => self.somebody_hangs_up(),
            38..62 | 77..85 => self.client_sends(),
            62..77 => self.peer_sends(),
            85..88 => self.client_repeats(),
            88..90 => self.client_sends_rubbish(),
            90 => self.another_user_asks(),
            91..99 => self.time_passes(),
            _ => self.server_restarts(),
        }
        self.net.settle();
        self.judge();
        self.host_works();
        self.net.settle();
        self.judge();
        self.everybody_reads();
    }

    pub(crate) const fn tally(&self) -> &Tally {
        &self.tally
    }

    fn client_asks(&mut self) {
        let target = self.any_target();
        let other = self.any_target();
        let random = &mut self.random;
        let at = random.below(self.clients.len());
        let participant = &mut self.clients[at];
        let has_allocation = participant.client.relayed.is_some();
        let request = match random.below(100) {
            0..10 => {
                let request = Request::refresh(*random.pick(&[0, 600, 1000, 3000]));
                match random.below(4) {
                    0 => request.family(AddressFamily::V4),
                    1 => request.family(AddressFamily::V6),
                    _ => request,
                }
            }
            10..25 if has_allocation && participant.client.transport.is_stream() => {
                let again = participant.targets.last().copied();
                Request::connect(again.filter(|_| random.chance(40)).unwrap_or(target))
            }
            10..40 if has_allocation => Request::create_permission(&[target]),
            40..45 => Request::create_permission(&[target, other]),
            45..80 if has_allocation => {
                let number = *random.pick(&[0x4000, 0x4001, 0x4002, 0x4FFF, 0x5000]);
                Request::channel_bind(number, target)
            }
            80..85 => Request::binding(),
            _ => {
                let lifetime = *random.pick(&[0, 600, 900, 5000]);
                let tcp = participant.client.transport.is_stream() && random.chance(85);
                let request = match tcp {
                    true => Request::allocate_tcp().lifetime(lifetime),
                    false => Request::allocate().lifetime(lifetime),
                };
                let request = match random.below(10) {
                    0..2 => request.family(AddressFamily::V6),
                    2..4 => request.additional_family(AddressFamily::V6),
                    4 => request.attribute(AttributeType(0x7001), &[0]),
                    5 if !tcp => request.attribute(AttributeType::EVEN_PORT, &[0]),
                    6 | 9 if !tcp => request.attribute(AttributeType::EVEN_PORT, &[0x80]),
                    7 if !tcp => {
                        let token = random.below(3) + 1;
                        let token = self.tokens[self.tokens.len().saturating_sub(token)];
                        request.attribute(AttributeType::RESERVATION_TOKEN, &token)
                    }
                    8 if !tcp => request.attribute(AttributeType::DONT_FRAGMENT, &[]),
                    _ => request,
                };
                match !tcp && random.chance(40) {
                    true => request.attribute(AttributeType::MOBILITY_TICKET, &[]),
                    false => request,
                }
            }
        };
        let request = match random.below(20) {
            0 => request.behind_integrity(AttributeType::LIFETIME, &[0; 4]),
            1 => request.peer_behind_integrity(other),
            2 => request.fingerprint(),
            _ => request,
        };
        participant.targets.extend([target, other]);
        participant.request = request;
        participant.may_retry = true;
        participant.ask(&mut self.net);
    }

    /// A client shows its ticket, or an old one, from another address, or is back where it was.
    fn client_moves(&mut self) {
        let random = &mut self.random;
        let at = random.below(self.clients.len());
        let elsewhere = format!("203.0.113.{}:{}", 100 + at, 30_000 + random.below(6));
        let participant = &mut self.clients[at];
        let Some(ticket) = participant.ticket.clone() else {
            return;
        };
        if participant.former.is_some() && random.chance(30) {
            participant.go_back();
            return;
        }
        let mut moved = participant.client.clone();
        moved.address = elsewhere.parse().unwrap();
        participant.former = Some(mem::replace(&mut participant.client, moved));
        let lifetime = *random.pick(&[600, 600, 600, 0]);
        participant.request =
            Request::refresh(lifetime).attribute(AttributeType::MOBILITY_TICKET, &ticket);
        participant.may_retry = true;
        participant.ask(&mut self.net);
    }

    /// The same user takes the port that was reserved, with another socket of the same host or of another, or with the same one.
    fn client_redeems(&mut self) {
        let Some((holder, token)) = self.unused_token.take() else {
            return;
        };
        let mut client = self.clients[holder].client.clone();
        let port = client.address.port();
        match self.random.below(10) {
            0 => {}
            1 => client.address.set_port(port ^ 1),
            2 => client.address = "203.0.113.90:1234".parse().unwrap(),
            _ => client
                .address
                .set_port(port + 2 + self.random.below(3) as u16),
        }
        if self.clients.len() >= CLIENTS_MAX {
            self.clients.pop();
        }
        self.clients.push(Participant::new(client));
        let participant = self.clients.last_mut().expect("just pushed");
        participant.request =
            Request::allocate().attribute(AttributeType::RESERVATION_TOKEN, &token);
        participant.may_retry = true;
        participant.ask(&mut self.net);
    }

    /// A client learns about its NAT, from any of the listeners that there are.
    fn client_discovers(&mut self) {
        let random = &mut self.random;
        let mut client = random.pick(&self.clients).client.clone();
        if !client.address.is_ipv4() {
            return;
        }
        let server = random.below(DISCOVERY_LISTENERS.len() + 1);
        if let Some(server) = DISCOVERY_LISTENERS.get(server) {
            client.server = server.parse().unwrap();
        }
        let flags = *random.pick(&[0, 2, 4, 6]);
        let request =
            Request::binding().attribute(AttributeType::CHANGE_REQUEST, &[0, 0, 0, flags]);
        let request = match random.below(4) {
            0 => request.attribute(AttributeType::RESPONSE_PORT, &[0x30, 0x39, 0, 0]),
            1 => request.attribute(AttributeType::PADDING, &[0; 300]),
            _ => request,
        };
        let bytes = client.encode(&request);
        client.post(&mut self.net, &bytes);
    }

    fn client_sends(&mut self) {
        let at = self.random.below(self.clients.len());
        let participant = &mut self.clients[at];
        let Some(&target) = participant.targets.last() else {
            return;
        };
        let target = if self.random.chance(50) {
            target
        } else {
            *self.random.pick(&participant.targets)
        };
        let client = match &mut participant.former {
            Some(former) if self.random.chance(30) => former,
            _ => &mut participant.client,
        };
        let len = self.random.below(40);
        let data = self.random.bytes(len);
        let bytes = if self.random.chance(50) {
            let number = *self.random.pick(&[0x4000, 0x4001, 0x4002, 0x4FFF]);
            Client::channel_data(number, &data)
        } else {
            let request = Request::send(target, &data);
            client.encode(&match self.random.chance(20) {
                true => request.attribute(AttributeType::DONT_FRAGMENT, &[]),
                false => request,
            })
        };
        client.post(&mut self.net, &bytes);
    }

    fn peer_sends(&mut self) {
        let peer = *self.random.pick(&self.peers);
        // The last ones are the likeliest to live.
        let recent = self.relayed.len().saturating_sub(4);
        let to = if self.random.chance(80) {
            *self.random.pick(&self.relayed[recent..])
        } else {
            *self.random.pick(&self.relayed)
        };
        let len = self.random.below(40);
        let data = self.random.bytes(len);
        if to.is_ipv4() == peer.address.is_ipv4() {
            peer.send(&mut self.net, to, &data);
        }
    }

    fn client_repeats(&mut self) {
        let at = self.random.below(self.clients.len());
        let participant = &self.clients[at];
        if !participant.last.is_empty() {
            participant.client.post(&mut self.net, &participant.last);
        }
    }

    fn client_sends_rubbish(&mut self) {
        let target = self.any_target();
        let at = self.random.below(self.clients.len());
        let participant = &mut self.clients[at];
        let mut bytes = if self.random.chance(50) {
            participant.last.clone()
        } else {
            participant.client.encode(&Request::send(target, b"data"))
        };
        if !bytes.is_empty() {
            let at = self.random.below(bytes.len());
            bytes[at] ^= *self.random.pick(&[1, 0x10, 0x80]);
        }
        participant.client.post(&mut self.net, &bytes);
    }

    /// Somebody with good credentials tries to take over another's allocation.
    fn another_user_asks(&mut self) {
        let target = self.any_target();
        let at = self.random.below(self.clients.len());
        let mut other = self.clients[at].client.clone().user(BOB.0, BOB.1);
        let requests = [
            Request::allocate(),
            Request::refresh(0),
            Request::create_permission(&[target]),
            Request::channel_bind(0x4000, target),
        ];
        let bytes = other.encode(self.random.pick(&requests));
        other.post(&mut self.net, &bytes);
    }

    fn time_passes(&mut self) {
        let millis = *self
            .random
            .pick(&[1, 5, 50, 500, 2000, 5000, 30_000, 120_000, 299_999, 300_000]);
        let duration = Duration::from_millis(millis);
        if self.random.chance(25) {
            self.net.settle();
            self.judge();
            self.net.advance_without_timers(duration);
            self.model.timers_are_late = true;
        } else {
            // What is overdue comes first, at once.
            self.net.advance(Duration::ZERO);
            self.judge();
            self.model.timers_are_late = false;
            self.net.advance(duration);
        }
    }

    fn server_restarts(&mut self) {
        self.net.server.restart(|snapshot| {
            let text = serde_json::to_string(&snapshot).unwrap();
            serde_json::from_str(&text).unwrap()
        });
        self.host = Host::default();
        self.model.all_disconnected();
        self.tally.count("restart");
    }

    fn judge(&mut self) {
        for step in self.net.take_steps() {
            self.tally.count_step(&step);
            self.model.observe(&step);
        }
        let now = self.net.clock.now().instant;
        self.host_is_told();
        self.model.judge_connections(now);
        let (known, live) = (self.net.server.allocations(), self.model.live(now));
        assert!(
            known == live || (known > live && self.model.timers_are_late),
            "{known} allocations, but {live} should live"
        );
        for event in self.net.server.take_events() {
            self.tally.count_event(&event);
        }
    }

    fn everybody_reads(&mut self) {
        for (at, participant) in self.clients.iter_mut().enumerate() {
            let told = participant.told.len();
            let former = participant.former.as_ref().map(|client| client.address);
            for address in [Some(participant.client.address), former] {
                let inbox = address.map(|address| self.net.take_inbox(address));
                for datagram in inbox.into_iter().flatten() {
                    participant.read_attempt(&datagram.bytes);
                    let Some(answer) = Answer::read(&datagram.bytes) else {
                        continue;
                    };
                    let is_former = address == former;
                    participant.read(&answer, is_former);
                    for relayed in answer.all_relayed() {
                        self.relayed.retain(|&known| known != relayed);
                        self.relayed.push(relayed);
                    }
                    if let Ok(Some(token)) = answer.message().reservation_token() {
                        self.tokens.push(token);
                        self.unused_token = Some((at, token));
                    }
                    if let Some(code) = answer.code() {
                        self.tally.count(&format!("answer {code}"));
                    }
                    if matches!(answer.code(), Some(401 | 438))
                        && participant.may_retry
                        && !is_former
                    {
                        participant.may_retry = false;
                        participant.ask(&mut self.net);
                    }
                }
            }
            self.unused_connection |= participant.told.len() > told;
        }
        for peer in &self.peers {
            peer.received(&mut self.net);
        }
    }

    /// A peer, or the relayed transport address of somebody, in one of its spellings.
    fn any_target(&mut self) -> SocketAddr {
        if self.random.chance(50) {
            return self.random.pick(&self.peers).address;
        }
        let recent = self.relayed.len().saturating_sub(self.random.below(5) + 1);
        let relayed = *self.random.pick(&self.relayed[recent..]);
        let addresses: Vec<_> = self.net.server.ports.addresses().collect();
        let spelled = addresses.iter().find(|a| a.advertised == relayed.ip());
        match spelled {
            Some(address) if self.random.chance(20) => {
                SocketAddr::new(address.local, relayed.port())
            }
            _ => relayed,
        }
    }
}

impl Participant {
    fn new(client: Client) -> Self {
        Self {
            client,
            former: None,
            ticket: None,
            told: Vec::new(),
            request: Request::binding(),
            last: Vec::new(),
            may_retry: false,
            targets: Vec::new(),
        }
    }

    fn ask(&mut self, net: &mut Network) {
        self.last = self.client.encode(&self.request);
        self.client.post(net, &self.last);
    }

    fn go_back(&mut self) {
        if let Some(former) = &mut self.former {
            mem::swap(former, &mut self.client);
        }
    }

    fn read(&mut self, answer: &Answer, is_former: bool) {
        match &mut self.former {
            Some(former) if is_former => former.absorb(answer),
            _ => self.client.absorb(answer),
        }
        if let Some(ticket) = answer.ticket() {
            self.ticket = Some(ticket);
        }
        self.told
            .extend(answer.message().connection_id().ok().flatten());
    }

    /// ConnectionAttempt tells of a connection too.
    fn read_attempt(&mut self, bytes: &[u8]) {
        if let Ok(message) = Message::decode(bytes)
            && message.method() == Method::CONNECTION_ATTEMPT
        {
            self.told.extend(message.connection_id().ok().flatten());
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!(
                "failed at step {}; again with TURNBUCKLE_SEED={}",
                self.step, self.seed
            );
        }
    }
}

fn participants(random: &mut Random, relays_tcp: bool) -> Vec<Participant> {
    let rest = |seconds: u64, user: &str| format!("{}:{user}", Clock::START_UNIX + seconds);
    let mut all = vec![
        Client::alice(),
        Client::bob(),
        Client::new("203.0.113.11:11").user(ALICE.0, ALICE.1),
        Client::new("203.0.113.12:12").user(ALICE.0, ALICE.1),
        Client::new("203.0.113.30:30000").rest(&rest(500, "carol")),
        Client::new("203.0.113.30:30001").rest(&rest(100_000, "carol")),
        Client::new("203.0.113.40:40000").rest(&rest(100_000, "dave")),
        Client::new("[2001:db8:9::1]:50001").user(BOB.0, BOB.1),
        // A forger.
        Client::new("203.0.113.50:50000").user(ALICE.0, "guessed"),
        Client::new("203.0.113.60:60000")
            .user(BOB.0, BOB.1)
            .over(Transport::Tls),
    ];
    if relays_tcp {
        for (address, user) in [
            ("203.0.113.61:61001", ALICE),
            ("203.0.113.62:61002", BOB),
            ("203.0.113.63:61003", ALICE),
        ] {
            let client = Client::new(address).user(user.0, user.1);
            all.push(client.over(Transport::Tcp));
        }
    }
    let count = *random.pick(&[2, 3, 5, 12]);
    while all.len() > count {
        all.swap_remove(random.below(all.len()));
    }
    all.into_iter()
        .map(|client| {
            let signing = *random.pick(&[Signing::CLASSIC, Signing::SHA256]);
            Participant::new(client.signing(signing))
        })
        .collect()
}

fn nat_discovery() -> NatDiscovery {
    let address = |text: &str| {
        let ip = text.parse().unwrap();
        RelayAddress {
            local: ip,
            advertised: ip,
        }
    };
    NatDiscovery {
        addresses: vec![address("198.51.100.1"), address("198.51.100.2")],
        port: 3478,
        alternate_port: 3479,
    }
}

const PER_USER: u32 = 2;
const TOTAL: u32 = 5;
const CLIENTS_MAX: usize = 14;
const PERMISSIONS_MAX: usize = 4;
const CONNECTIONS_MAX: usize = 5;
const CONNECTIONS_PER_ALLOCATION_MAX: usize = 3;
/// Besides the ordinary ones.
const DISCOVERY_LISTENERS: [&str; 3] = [
    "198.51.100.1:3479",
    "198.51.100.2:3478",
    "198.51.100.2:3479",
];
const DENIED: &str = "9.9.9.66";
const PEERS: [&str; 5] = [
    "9.9.9.9:4000",
    "9.9.9.9:4001",
    "8.8.8.8:4000",
    "9.9.9.66:4000",
    "[2a00:1450::1]:4000",
];
