//! A network in memory with the server in its middle.
//!
//! Owns addresses, datagrams under way, faults and time. It must not know what is in a datagram.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::net::SocketAddr;

use turnbuckle_relay::{FiveTuple, Handover, Instant, Now, Transport};

use crate::clock::Clock;
use crate::random::Random;
use crate::server::{Outcome, Server};

/// Carries datagrams between clients, peers and the server.
///
/// Whatever is not addressed to the server lands in the inbox of its address. Before the server stands a NAT that
/// maps advertised addresses to local ones, one to one.
pub struct Network {
    /// What time it is for everybody.
    pub clock: Clock,
    /// The server.
    pub server: Server,
    /// What happens to datagrams on their way; may be changed at any time.
    pub faults: Faults,
    /// Record each input of the server and what came of it, for [`take_steps`](Self::take_steps).
    pub record: bool,
    listeners: Vec<SocketAddr>,
    random: Random,
    under_way: BTreeMap<(Instant, u64), UnderWay>,
    sent: u64,
    inboxes: BTreeMap<SocketAddr, VecDeque<Datagram>>,
    steps: Vec<Step>,
}

/// A datagram, or a message of a stream, under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Who sent it, as the receiver sees it.
    pub from: SocketAddr,
    /// For whom it is.
    pub to: SocketAddr,
    /// Between client and server; UDP elsewhere.
    pub transport: Transport,
    /// The content.
    pub bytes: Vec<u8>,
}

/// What has not arrived yet.
#[derive(Clone)]
enum UnderWay {
    Datagram(Datagram),
    /// From one shard of the server to another.
    Handover(Handover, Vec<u8>),
}

/// What a network may do to a datagram, in percent of all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// It does not arrive.
    pub loss_percent: usize,
    /// It arrives twice.
    pub duplicate_percent: usize,
    /// It takes up to [`delay_max`](Self::delay_max) longer, so that later ones overtake it.
    pub delay_percent: usize,
    /// The longest delay.
    pub delay_max: Duration,
}

/// One input of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// From a client.
    Client {
        /// The client's five-tuple.
        five_tuple: FiveTuple,
        /// The message.
        bytes: Vec<u8>,
    },
    /// At a relay socket.
    Peer {
        /// The address the socket is bound to.
        local: SocketAddr,
        /// Who sent it.
        peer: SocketAddr,
        /// The datagram.
        bytes: Vec<u8>,
    },
    /// From another shard.
    Handover {
        /// Where it goes.
        to: Handover,
        /// The payload.
        bytes: Vec<u8>,
    },
}

/// An input and its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// When.
    pub now: Now,
    /// What came in.
    pub input: Input,
    /// What came out.
    pub outcome: Outcome,
}

impl Network {
    /// A network around this server. [`crate::Setup`] makes both.
    pub fn new(server: Server, listeners: Vec<SocketAddr>, faults: Faults, seed: u64) -> Self {
        Self {
            clock: Clock::default(),
            server,
            faults,
            record: false,
            listeners,
            random: Random::new(seed ^ NETWORK_SEED),
            under_way: BTreeMap::new(),
            sent: 0,
            inboxes: BTreeMap::new(),
            steps: Vec::new(),
        }
    }

    /// Sends a datagram; it arrives with the next [`settle`](Self::settle), or later if the network delays it.
    pub fn send(&mut self, datagram: Datagram) {
        self.put_under_way(UnderWay::Datagram(datagram));
    }

    /// What shards hand to each other is lost where the other is too slow, and late as long as it is; it never comes twice.
    fn put_under_way(&mut self, what: UnderWay) {
        let faults = self.faults;
        let twice =
            matches!(what, UnderWay::Datagram(_)) && self.random.chance(faults.duplicate_percent);
        let copies = if twice { 2 } else { 1 };
        for _ in 0..copies {
            if self.random.chance(faults.loss_percent) {
                continue;
            }
            let micros = usize::try_from(faults.delay_max.as_micros()).expect("a short delay");
            let delay = if self.random.chance(faults.delay_percent) {
                Duration::from_micros(self.random.below(micros + 1) as u64)
            } else {
                Duration::ZERO
            };
            let arrives = self.clock.now().instant.after(delay);
            self.sent += 1;
            self.under_way.insert((arrives, self.sent), what.clone());
        }
    }

    /// Delivers all that has arrived by now, and what comes of it.
    pub fn settle(&mut self) {
        let now = self.clock.now().instant;
        while let Some(entry) = self.under_way.first_entry()
            && entry.key().0 <= now
        {
            match entry.remove() {
                UnderWay::Datagram(datagram) => self.deliver(datagram),
                UnderWay::Handover(to, bytes) => self.hand_over(to, bytes),
            }
        }
    }

    /// Lets time pass: timers and arrivals happen exactly when they are due.
    pub fn advance(&mut self, duration: Duration) {
        self.settle();
        let end = self.clock.now().instant.after(duration);
        while let Some(next) = self.next_due()
            && next <= end
        {
            self.clock.set(next.max(self.clock.now().instant));
            self.server.handle_timeout(self.clock.now());
            self.settle();
        }
        self.clock.set(end);
    }

    /// Lets time pass for the server's lookups without running its timers, as on a host that is busy.
    pub fn advance_without_timers(&mut self, duration: Duration) {
        self.settle();
        self.clock.advance(duration);
    }

    /// Takes all datagrams out of an inbox, the oldest first.
    pub fn take_inbox(&mut self, address: SocketAddr) -> Vec<Datagram> {
        self.inboxes
            .remove(&address)
            .map(Vec::from)
            .unwrap_or_default()
    }

    /// Takes the oldest datagram that is wanted out of an inbox and leaves the others.
    pub fn take_one(
        &mut self,
        address: SocketAddr,
        wanted: impl Fn(&Datagram) -> bool,
    ) -> Option<Datagram> {
        let inbox = self.inboxes.get_mut(&address)?;
        let at = inbox.iter().position(wanted)?;
        inbox.remove(at)
    }

    /// Takes the recorded steps.
    pub fn take_steps(&mut self) -> Vec<Step> {
        mem::take(&mut self.steps)
    }

    /// True if nothing lies in any inbox.
    pub fn is_quiet(&self) -> bool {
        self.inboxes.values().all(VecDeque::is_empty)
    }

    /// The listener of this family.
    ///
    /// # Panics
    /// If there is none.
    pub fn listener(&self, like: SocketAddr) -> SocketAddr {
        let same_family = |address: &&SocketAddr| address.is_ipv4() == like.is_ipv4();
        *self
            .listeners
            .iter()
            .find(same_family)
            .expect("a listener of the family")
    }

    fn next_due(&self) -> Option<Instant> {
        let arrival = self.under_way.first_key_value().map(|(&(at, _), _)| at);
        let timers = self.server.shards.iter();
        timers
            .filter_map(|shard| shard.relay.poll_timeout())
            .chain(arrival)
            .min()
    }

    fn deliver(&mut self, datagram: Datagram) {
        let now = self.clock.now();
        let local = self.local(datagram.to);
        let (input, outcome) = if self.listeners.contains(&datagram.to) {
            let five_tuple = Server::five_tuple(datagram.from, datagram.to, datagram.transport);
            let outcome = self.server.handle_client(now, five_tuple, &datagram.bytes);
            let bytes = datagram.bytes;
            (Input::Client { five_tuple, bytes }, outcome)
        } else if let Some((shard, relayed)) = self.server.relay_socket(local)
            && !self.server.shards[shard].sockets.is_tcp(relayed)
        {
            let (peer, bytes) = (datagram.from, datagram.bytes);
            let outcome = self.server.handle_peer(now, shard, relayed, peer, &bytes);
            (Input::Peer { local, peer, bytes }, outcome)
        } else {
            self.inboxes
                .entry(datagram.to)
                .or_default()
                .push_back(datagram);
            return;
        };
        self.conclude(now, input, outcome);
    }

    fn hand_over(&mut self, to: Handover, bytes: Vec<u8>) {
        let now = self.clock.now();
        let outcome = self.server.handle_handover(now, &to, &bytes);
        self.conclude(now, Input::Handover { to, bytes }, outcome);
    }

    fn conclude(&mut self, now: Now, input: Input, outcome: Outcome) {
        if let Outcome::ToShard { to, bytes } = &outcome {
            self.put_under_way(UnderWay::Handover(*to, bytes.clone()));
        } else if let Some(datagram) = self.leaving(&input, &outcome) {
            self.send(datagram);
        }
        if self.record {
            self.steps.push(Step {
                now,
                input,
                outcome,
            });
        }
    }

    fn leaving(&self, input: &Input, outcome: &Outcome) -> Option<Datagram> {
        match (outcome, input) {
            (Outcome::Dropped(_) | Outcome::ToShard { .. } | Outcome::Deferred, _) => None,
            (
                Outcome::Answered(bytes) | Outcome::Bound(bytes, _),
                Input::Client { five_tuple, .. },
            )
            | (Outcome::ToClient { five_tuple, bytes }, _) => Some(Datagram {
                from: five_tuple.server.0,
                to: five_tuple.client.0,
                transport: five_tuple.transport,
                bytes: bytes.clone(),
            }),
            (
                Outcome::Answered(_) | Outcome::Bound(..),
                Input::Peer { .. } | Input::Handover { .. },
            ) => {
                panic!("an answer to data")
            }
            (Outcome::AnsweredFrom { from, to, bytes }, _) => Some(Datagram {
                from: *from,
                to: *to,
                transport: Transport::Udp,
                bytes: bytes.clone(),
            }),
            (
                Outcome::ToPeer {
                    from, to, bytes, ..
                },
                _,
            ) => Some(Datagram {
                from: if self.server.relay_socket(*to).is_some() {
                    // Inside the host no NAT is passed.
                    *from
                } else {
                    self.server.ports.as_advertised(*from)
                },
                to: *to,
                transport: Transport::Udp,
                bytes: bytes.clone(),
            }),
        }
    }

    /// What the NAT before the server makes of a destination.
    fn local(&self, to: SocketAddr) -> SocketAddr {
        let mapped = self
            .server
            .ports
            .addresses()
            .find(|address| address.advertised == to.ip());
        mapped.map_or(to, |address| SocketAddr::new(address.local, to.port()))
    }
}

/// Keeps the network's randomness apart from the server's.
const NETWORK_SEED: u64 = 0x6e65_7477_6f72_6b00;
