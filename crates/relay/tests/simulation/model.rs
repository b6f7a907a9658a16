//! What a relay may and must do, told by nothing but what goes in and what comes out.
//!
//! Owns its own idea of allocations, permissions, channels and connections, made from the answers to requests. It must not use
//! any of the relay's own tables or checks.

mod answers;
mod tcp;

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use turnbuckle_proto::{AttributeType, ChannelData, Class, Message, Method};
use turnbuckle_relay::{FiveTuple, Instant, NatDiscovery, RelayAddress};
use turnbuckle_testkit::{Answer, Input, Outcome, Received, Step};

use self::answers::Reserved;
use self::tcp::Connections;

pub(crate) struct Model {
    pub(crate) shards: u16,
    pub(crate) addresses: Vec<RelayAddress>,
    pub(crate) passwords: BTreeMap<String, String>,
    pub(crate) per_user: usize,
    pub(crate) total: usize,
    pub(crate) permissions_max: usize,
    /// Peers that nobody may reach.
    pub(crate) denied: Vec<IpAddr>,
    /// Allocations may follow their clients.
    pub(crate) mobility: bool,
    /// Where Binding requests may be answered from besides where they went.
    pub(crate) discovery: Option<NatDiscovery>,
    pub(crate) connections: Connections,
    /// Timers are late, so what has ended may still be known to the server's own addresses.
    pub(crate) timers_are_late: bool,
    /// By the five-tuple that peers' data goes to.
    allocations: BTreeMap<FiveTuple, Allocation>,
    /// How many allocations there have been.
    made: u64,
    reserved: Vec<Reserved>,
    /// Deletions that may be repeated.
    deletions: Vec<((FiveTuple, [u8; 12]), Instant)>,
}

type Family = bool;

struct Allocation {
    /// No two are alike.
    serial: u64,
    username: String,
    /// Peers are spoken to by TCP.
    is_tcp: bool,
    mobility: Option<Mobility>,
    /// As advertised, each with its end: one of each family at most.
    relayed: BTreeMap<Family, (SocketAddr, Instant)>,
    permissions: BTreeMap<IpAddr, Instant>,
    channels: BTreeMap<u16, (SocketAddr, Instant)>,
}

/// How far an allocation has followed its client.
struct Mobility {
    /// The one that is good.
    ticket: Vec<u8>,
    /// The request that used up the one before.
    used_by: Option<([u8; 12], Vec<u8>)>,
    /// Where the client is going.
    next: Option<FiveTuple>,
}

/// What has to come out for data that goes in.
#[derive(Debug, PartialEq, Eq)]
enum Expected {
    Nothing,
    ToPeer {
        from: SocketAddr,
        to: SocketAddr,
        bytes: Vec<u8>,
        dont_fragment: bool,
    },
    ToShard {
        shard: u16,
        local: SocketAddr,
        source: SocketAddr,
        bytes: Vec<u8>,
    },
    ToClient {
        five_tuple: FiveTuple,
        received: Received,
    },
}

impl Model {
    pub(crate) fn new(addresses: Vec<RelayAddress>) -> Self {
        Self {
            shards: 1,
            addresses,
            passwords: BTreeMap::new(),
            per_user: usize::MAX,
            total: usize::MAX,
            permissions_max: usize::MAX,
            denied: Vec::new(),
            mobility: false,
            discovery: None,
            connections: Connections::default(),
            timers_are_late: false,
            allocations: BTreeMap::new(),
            made: 0,
            reserved: Vec::new(),
            deletions: Vec::new(),
        }
    }

    /// Panics if the server did what it may not, or did not do what it must.
    pub(crate) fn observe(&mut self, step: &Step) {
        let now = step.now.instant;
        let expected = match &step.input {
            Input::Peer { local, peer, bytes } => self.expect_of_peer(now, *local, *peer, bytes),
            // As a datagram from the one to the other.
            Input::Handover { to, bytes } => self.expect_of_peer(now, to.local, to.source, bytes),
            Input::Client { five_tuple, bytes } => {
                if let Ok(message) = Message::decode(bytes)
                    && message.class() == Class::Request
                {
                    return self.requested(step, five_tuple, &message);
                }
                self.expect_of_client(now, five_tuple, bytes)
            }
        };
        let actual = match &step.outcome {
            Outcome::Dropped(_) => Expected::Nothing,
            Outcome::ToPeer {
                from,
                to,
                bytes,
                dont_fragment,
            } => Expected::ToPeer {
                from: *from,
                to: *to,
                bytes: bytes.clone(),
                dont_fragment: *dont_fragment,
            },
            Outcome::ToShard { to, bytes } => Expected::ToShard {
                shard: to.shard.0.into(),
                local: to.local,
                source: to.source,
                bytes: bytes.clone(),
            },
            Outcome::ToClient { five_tuple, bytes } => Expected::ToClient {
                five_tuple: *five_tuple,
                received: Received::read(bytes),
            },
            Outcome::Answered(_)
            | Outcome::AnsweredFrom { .. }
            | Outcome::Deferred
            | Outcome::Bound(..) => panic!("an answer to what is no request"),
        };
        if actual != expected && !self.is_excused(&expected, &actual, &step.input) {
            panic!("expected {expected:?}, but it was {:?}", step.outcome);
        }
    }

    pub(crate) fn live(&self, now: Instant) -> usize {
        let all = self.allocations.values();
        all.filter(|a| a.lives(now)).count()
    }

    fn requested(&mut self, step: &Step, five_tuple: &FiveTuple, request: &Message<'_>) {
        match &step.outcome {
            Outcome::Answered(answer) => {
                let answer = Answer::read(answer).expect("a response");
                self.answered(step, five_tuple, request, &answer);
            }
            Outcome::AnsweredFrom { from, to, bytes } => {
                let answer = Answer::read(bytes).expect("a response");
                self.detoured(five_tuple, request, *from, *to, &answer);
            }
            Outcome::Deferred => self.deferred(step, five_tuple, request),
            Outcome::Bound(answer, connection) => {
                let answer = Answer::read(answer).expect("a response");
                self.bound(step, five_tuple, request, &answer, *connection);
            }
            Outcome::Dropped(_) => {}
            other => panic!("{other:?} for a request"),
        }
    }

    fn expect_of_client(&mut self, now: Instant, five_tuple: &FiveTuple, bytes: &[u8]) -> Expected {
        let Some(key) = self.key(five_tuple, now) else {
            return Expected::Nothing;
        };
        let allocation = &self.allocations[&key];
        let mut dont_fragment = false;
        let (peer, data) = if allocation.is_tcp {
            return Expected::Nothing;
        } else if let Ok(message) = Message::decode(bytes) {
            let is_send = message.class() == Class::Indication && message.method() == Method::SEND;
            let knows = |kind| {
                matches!(
                    kind,
                    AttributeType::XOR_PEER_ADDRESS
                        | AttributeType::DATA
                        | AttributeType::DONT_FRAGMENT
                )
            };
            match (message.peer_address(), message.data()) {
                (Ok(Some(peer)), Some(data))
                    if is_send && message.unknown_required(knows).is_empty() =>
                {
                    dont_fragment =
                        message.dont_fragment() && five_tuple.client.0.is_ipv4() && peer.is_ipv4();
                    (self.as_advertised(peer), data)
                }
                _ => return Expected::Nothing,
            }
        } else if let Ok(message) = ChannelData::decode(bytes)
            && let Some((peer, expires)) = allocation.channels.get(&message.number)
            && *expires > now
        {
            (*peer, message.payload)
        } else {
            return Expected::Nothing;
        };
        let key = self.arrive(key, five_tuple);
        let allocation = &self.allocations[&key];
        let Some(relayed) = allocation.relayed(peer, now) else {
            return Expected::Nothing;
        };
        if !allocation.permits(peer.ip(), now) {
            return Expected::Nothing;
        }
        if !self.is_own(peer.ip()) {
            return Expected::ToPeer {
                from: self.as_local(relayed),
                to: peer,
                bytes: data.to_vec(),
                dont_fragment,
            };
        }
        let Some((other, _)) = self.owner(peer, now) else {
            return Expected::Nothing;
        };
        if self.shard(other) == self.shard(&key) {
            return self.to_client(now, other, relayed, data);
        }
        Expected::ToShard {
            shard: self.shard(other),
            local: self.as_local(peer),
            source: relayed,
            bytes: data.to_vec(),
        }
    }

    fn expect_of_peer(
        &self,
        now: Instant,
        local: SocketAddr,
        peer: SocketAddr,
        data: &[u8],
    ) -> Expected {
        let peer = self.as_advertised(peer);
        match self.owner(self.as_advertised(local), now) {
            Some(_) if self.is_own(peer.ip()) && self.owner(peer, now).is_none() => {
                Expected::Nothing
            }
            Some((client, _)) => self.to_client(now, client, peer, data),
            None => Expected::Nothing,
        }
    }

    fn to_client(
        &self,
        now: Instant,
        five_tuple: &FiveTuple,
        peer: SocketAddr,
        data: &[u8],
    ) -> Expected {
        let allocation = &self.allocations[five_tuple];
        if !allocation.permits(peer.ip(), now) {
            return Expected::Nothing;
        }
        let data = data.to_vec();
        let channel = allocation
            .channels
            .iter()
            .find(|(_, (bound, expires))| *bound == peer && *expires > now);
        Expected::ToClient {
            five_tuple: *five_tuple,
            received: match channel {
                Some((&number, _)) => Received::Channel { number, data },
                None => Received::Data { peer, data },
            },
        }
    }

    /// True for what a late timer may change: an address of the server that has just ended is taken for live. The data
    /// comes no further than to a client that permits that very address.
    fn is_excused(&self, expected: &Expected, actual: &Expected, input: &Input) -> bool {
        let from_own = match input {
            Input::Peer { peer, .. } => self.is_own(self.as_advertised(*peer).ip()),
            Input::Handover { .. } => true,
            Input::Client { .. } => false,
        };
        self.timers_are_late
            && *expected == Expected::Nothing
            && match actual {
                Expected::ToPeer { .. } => false,
                Expected::ToShard { .. } => true,
                Expected::ToClient { .. } => from_own,
                Expected::Nothing => false,
            }
    }

    /// What data from a client over its new five-tuple does: the old one is nobody's.
    fn arrive(&mut self, key: FiveTuple, five_tuple: &FiveTuple) -> FiveTuple {
        let next = self.allocations.get(&key).and_then(Allocation::next);
        if next != Some(*five_tuple) {
            return key;
        }
        let mut moved = self.allocations.remove(&key).expect("known by it");
        if let Some(mobility) = &mut moved.mobility {
            mobility.next = None;
        }
        self.allocations.insert(*five_tuple, moved);
        *five_tuple
    }

    /// Under which five-tuple the live allocation that this one names is kept.
    fn key(&self, five_tuple: &FiveTuple, now: Instant) -> Option<FiveTuple> {
        let mut all = self.allocations.iter();
        let named = |(key, a): &(&FiveTuple, &Allocation)| {
            a.lives(now) && (*key == five_tuple || a.next() == Some(*five_tuple))
        };
        all.find(named).map(|(&key, _)| key)
    }

    /// Whose relayed transport address for datagrams this is.
    fn owner(&self, relayed: SocketAddr, now: Instant) -> Option<(&FiveTuple, &Allocation)> {
        self.holder(relayed, now).filter(|(_, a)| !a.is_tcp)
    }

    /// Whose relayed transport address this is.
    fn holder(&self, relayed: SocketAddr, now: Instant) -> Option<(&FiveTuple, &Allocation)> {
        let mut all = self.allocations.iter();
        all.find(|(_, a)| a.relayed(relayed, now) == Some(relayed))
    }

    fn is_own(&self, ip: IpAddr) -> bool {
        self.addresses.iter().any(|a| a.advertised == ip)
    }

    fn as_advertised(&self, address: SocketAddr) -> SocketAddr {
        let mapped = self.addresses.iter().find(|a| a.local == address.ip());
        mapped.map_or(address, |a| SocketAddr::new(a.advertised, address.port()))
    }

    fn as_local(&self, address: SocketAddr) -> SocketAddr {
        let mapped = self.addresses.iter().find(|a| a.advertised == address.ip());
        mapped.map_or(address, |a| SocketAddr::new(a.local, address.port()))
    }

    const fn shard(&self, five_tuple: &FiveTuple) -> u16 {
        five_tuple.client.0.port() % self.shards
    }
}

impl Allocation {
    fn lives(&self, now: Instant) -> bool {
        self.relayed.values().any(|&(_, end)| end > now)
    }

    /// The second five-tuple that it is known by.
    fn next(&self) -> Option<FiveTuple> {
        self.mobility.as_ref()?.next
    }

    fn has_live(&self, family: Family, now: Instant) -> bool {
        self.relayed.get(&family).is_some_and(|&(_, end)| end > now)
    }

    /// The live relayed transport address of the peer's family.
    fn relayed(&self, peer: SocketAddr, now: Instant) -> Option<SocketAddr> {
        let &(relayed, end) = self.relayed.get(&peer.is_ipv4())?;
        (end > now).then_some(relayed)
    }

    /// Takes out families that have expired, with all that hangs on them.
    fn end_families(&mut self, now: Instant) {
        for family in [true, false] {
            if self
                .relayed
                .get(&family)
                .is_some_and(|&(_, end)| end <= now)
            {
                self.relayed.remove(&family);
                self.drop_family(family);
            }
        }
    }

    fn drop_family(&mut self, family: Family) {
        self.permissions.retain(|ip, _| ip.is_ipv4() != family);
        self.channels
            .retain(|_, (peer, _)| peer.is_ipv4() != family);
    }

    fn permits(&self, ip: IpAddr, now: Instant) -> bool {
        self.permissions.get(&ip).is_some_and(|&e| e > now)
    }

    fn permit(&mut self, peers: &[SocketAddr], now: Instant) {
        for peer in peers {
            assert!(self.relayed(*peer, now).is_some(), "another family");
            self.permissions.insert(peer.ip(), now.after(PERMISSION));
        }
    }
}

/// RFC 8656 §9.
const PERMISSION: Duration = Duration::from_secs(300);
/// RFC 8656 §12.
const CHANNEL: Duration = Duration::from_secs(600);
