//! Clients, peers and a network that do at random what such do.
//!
//! Owns the workload. It must not judge what the server does: [`Model`] does.

use core::num::NonZeroU32;
use core::time::Duration;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::thread;

use turnbuckle_proto::{AddressFamily, AttributeType};
use turnbuckle_relay::{Event, Limits};
use turnbuckle_testkit::{
    ALICE, Answer, BOB, Client, Clock, Faults, Input, Network, Outcome, Peer, Random, Request,
    Setup, Signing, Step,
};

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
    tally: Tally,
}

struct Participant {
    client: Client,
    request: Request,
    /// The bytes of the request.
    last: Vec<u8>,
    may_retry: bool,
    /// What it has asked to reach.
    targets: Vec<SocketAddr>,
}

/// How often things happened, to show that they do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally(BTreeMap<String, u64>);

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let shards = *random.pick(&[1, 2, 3]);
        let mut setup = Setup {
            ports: 50_000..=50_000 + *random.pick(&[2, 6, 100]),
            limits: Limits {
                per_user: NonZeroU32::new(PER_USER),
                total: NonZeroU32::new(TOTAL),
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
        });
        if random.chance(50) {
            setup = setup.behind_nat();
        }
        let mut model = Model::new(setup.addresses.clone());
        model.shards = shards.into();
        model.per_user = PER_USER as usize;
        model.total = TOTAL as usize;
        model.permissions_max = PERMISSIONS_MAX;
        model.denied = vec![DENIED.parse().unwrap()];
        model.passwords = [ALICE, BOB]
            .map(|(name, password)| (name.to_owned(), password.to_owned()))
            .into();
        let mut net = setup.build();
        net.record = true;
        let clients = participants(&mut random);
        Self {
            seed,
            step: 0,
            random,
            net,
            model,
            clients,
            peers: PEERS.map(Peer::new).to_vec(),
            relayed: vec!["198.51.100.1:3478".parse().unwrap()],
            tally: Tally::default(),
        }
    }

    /// One thing happens, and all that comes of it.
    pub(crate) fn step(&mut self) {
        self.step += 1;
        match self.random.below(100) {
            0..35 => self.client_asks(),
            35..65 => self.client_sends(),
            65..85 => self.peer_sends(),
            85..88 => self.client_repeats(),
            88..90 => self.client_sends_rubbish(),
            90 => self.another_user_asks(),
            91..99 => self.time_passes(),
            _ => self.server_restarts(),
        }
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
            10..40 if has_allocation => Request::create_permission(&[target]),
            40..45 => Request::create_permission(&[target, other]),
            45..80 if has_allocation => {
                let number = *random.pick(&[0x4000, 0x4001, 0x4002, 0x4FFF, 0x5000]);
                Request::channel_bind(number, target)
            }
            80..85 => Request::binding(),
            _ => {
                let request = Request::allocate().lifetime(*random.pick(&[0, 600, 900, 5000]));
                match random.below(10) {
                    0..2 => request.family(AddressFamily::V6),
                    2..5 => request.additional_family(AddressFamily::V6),
                    5 => request.attribute(AttributeType(0x7001), &[0]),
                    _ => request,
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
        let client = &mut participant.client;
        let len = self.random.below(40);
        let data = self.random.bytes(len);
        let bytes = if self.random.chance(50) {
            let number = *self.random.pick(&[0x4000, 0x4001, 0x4002, 0x4FFF]);
            Client::channel_data(number, &data)
        } else {
            client.encode(&Request::send(target, &data))
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
            .pick(&[1, 50, 2000, 30_000, 120_000, 299_999, 300_000]);
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
        self.tally.count("restart");
    }

    fn judge(&mut self) {
        for step in self.net.take_steps() {
            self.tally.count_step(&step);
            self.model.observe(&step);
        }
        let now = self.net.clock.now().instant;
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
        for participant in &mut self.clients {
            for datagram in self.net.take_inbox(participant.client.address) {
                let Some(answer) = Answer::read(&datagram.bytes) else {
                    continue;
                };
                participant.client.absorb(&answer);
                for relayed in answer.all_relayed() {
                    self.relayed.retain(|&known| known != relayed);
                    self.relayed.push(relayed);
                }
                if let Some(code) = answer.code() {
                    self.tally.count(&format!("answer {code}"));
                }
                if matches!(answer.code(), Some(401 | 438)) && participant.may_retry {
                    participant.may_retry = false;
                    participant.ask(&mut self.net);
                }
            }
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
    fn ask(&mut self, net: &mut Network) {
        self.last = self.client.encode(&self.request);
        self.client.post(net, &self.last);
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

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(what.clone()).or_default() += count;
        }
    }

    pub(crate) fn assert_everything_happened(&self) {
        for what in EVERYTHING {
            let count = self.0.get(what).copied().unwrap_or(0);
            assert!(count >= 20, "{what} happened {count} times");
        }
    }

    fn count(&mut self, what: &str) {
        *self.0.entry(what.to_owned()).or_default() += 1;
    }

    fn count_step(&mut self, step: &Step) {
        self.count(match (&step.input, &step.outcome) {
            (Input::Client { .. }, Outcome::ToPeer { .. }) => "to peer",
            (Input::Client { .. }, Outcome::ToShard { .. }) => "to another shard",
            (Input::Handover { .. }, Outcome::ToClient { .. }) => "from another shard",
            (Input::Client { .. }, Outcome::ToClient { .. }) => "hairpin",
            (Input::Peer { .. }, Outcome::ToClient { .. }) => "to client",
            (_, Outcome::Dropped(reason)) => reason.name(),
            (_, _) => return,
        });
    }

    fn count_event(&mut self, event: &Event) {
        self.count(match event {
            Event::AllocationCreated { .. } => "allocated",
            Event::AllocationRefreshed { .. } => "refreshed",
            Event::AddressDeleted { .. } => "address deleted",
            Event::AllocationMoved { .. } => "moved",
            Event::AllocationDeleted { why, .. } => why.as_str(),
            Event::PermissionInstalled { .. } => "permission installed",
            Event::PermissionExpired { .. } => "permission expired",
            Event::ChannelBound { .. } => "channel bound",
            Event::ChannelExpired { .. } => "channel expired",
            Event::Rejected { .. } => return,
        });
    }
}

fn participants(random: &mut Random) -> Vec<Participant> {
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
    ];
    let count = *random.pick(&[2, 3, 5, 10]);
    while all.len() > count {
        all.swap_remove(random.below(all.len()));
    }
    all.into_iter()
        .map(|client| Participant {
            client: client.signing(*random.pick(&[Signing::CLASSIC, Signing::SHA256])),
            request: Request::binding(),
            last: Vec::new(),
            may_retry: false,
            targets: Vec::new(),
        })
        .collect()
}

const PER_USER: u32 = 2;
const TOTAL: u32 = 5;
const PERMISSIONS_MAX: usize = 4;
const DENIED: &str = "9.9.9.66";
const PEERS: [&str; 5] = [
    "9.9.9.9:4000",
    "9.9.9.9:4001",
    "8.8.8.8:4000",
    "9.9.9.66:4000",
    "[2a00:1450::1]:4000",
];
/// What all runs together must have met.
const EVERYTHING: [&str; 31] = [
    "allocated",
    "refreshed",
    "address deleted",
    "deleted by client",
    "expired",
    "permission installed",
    "permission expired",
    "channel bound",
    "channel expired",
    "to peer",
    "to client",
    "hairpin",
    "to another shard",
    "from another shard",
    "restart",
    "answer 400",
    "answer 401",
    "answer 403",
    "answer 420",
    "answer 437",
    "answer 438",
    "answer 441",
    "answer 443",
    "answer 486",
    "answer 508",
    "drop_malformed",
    "drop_no_allocation",
    "drop_no_channel",
    "drop_no_permission",
    "drop_bad_indication",
    "drop_own_address",
];
