//! What a relay may and must do, told by nothing but what goes in and what comes out.
//!
//! Owns its own idea of allocations, permissions and channels, made from the answers to requests. It must not use any of
//! the relay's own tables or checks.

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use turnbuckle_proto::{
    AddressFamily, AttributeType, ChannelData, Class, IntegrityKey, IntegrityKeySha256,
    LongTermKey, LongTermKeySha256, Message, Method, PasswordAlgorithm, rest,
};
use turnbuckle_relay::{FiveTuple, Instant, RelayAddress};
use turnbuckle_testkit::{Answer, Input, Outcome, REALM, Received, SECRET, Step};

pub(crate) struct Model {
    pub(crate) shards: u16,
    pub(crate) addresses: Vec<RelayAddress>,
    pub(crate) passwords: BTreeMap<String, String>,
    pub(crate) per_user: usize,
    pub(crate) total: usize,
    pub(crate) permissions_max: usize,
    /// Peers that nobody may reach.
    pub(crate) denied: Vec<IpAddr>,
    /// Timers are late, so what has ended may still be known to the server's own addresses.
    pub(crate) timers_are_late: bool,
    allocations: BTreeMap<FiveTuple, Allocation>,
    /// Deletions that may be repeated.
    deletions: Vec<((FiveTuple, [u8; 12]), Instant)>,
}

type Family = bool;

struct Allocation {
    username: String,
    /// As advertised, each with its end: one of each family at most.
    relayed: BTreeMap<Family, (SocketAddr, Instant)>,
    permissions: BTreeMap<IpAddr, Instant>,
    channels: BTreeMap<u16, (SocketAddr, Instant)>,
}

/// What has to come out for data that goes in.
#[derive(Debug, PartialEq, Eq)]
enum Expected {
    Nothing,
    ToPeer {
        from: SocketAddr,
        to: SocketAddr,
        bytes: Vec<u8>,
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
            timers_are_late: false,
            allocations: BTreeMap::new(),
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
                    match &step.outcome {
                        Outcome::Answered(answer) => {
                            let answer = Answer::read(answer).expect("a response");
                            self.answered(step, five_tuple, &message, &answer);
                        }
                        Outcome::Dropped(_) => {}
                        other => panic!("{other:?} for a request"),
                    }
                    return;
                }
                self.expect_of_client(now, five_tuple, bytes)
            }
        };
        let actual = match &step.outcome {
            Outcome::Dropped(_) => Expected::Nothing,
            Outcome::ToPeer {
                from, to, bytes, ..
            } => Expected::ToPeer {
                from: *from,
                to: *to,
                bytes: bytes.clone(),
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

    fn expect_of_client(&self, now: Instant, five_tuple: &FiveTuple, bytes: &[u8]) -> Expected {
        let Some(allocation) = self.allocations.get(five_tuple).filter(|a| a.lives(now)) else {
            return Expected::Nothing;
        };
        let (peer, data) = if let Ok(message) = Message::decode(bytes) {
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
            };
        }
        let Some((other, _)) = self.owner(peer, now) else {
            return Expected::Nothing;
        };
        if self.shard(other) == self.shard(five_tuple) {
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

    fn answered(
        &mut self,
        step: &Step,
        five_tuple: &FiveTuple,
        request: &Message<'_>,
        answer: &Answer,
    ) {
        assert_eq!(answer.message().transaction_id(), request.transaction_id());
        assert_eq!(answer.message().method(), request.method());
        if !answer.is_success() || request.method() == Method::BINDING {
            return;
        }
        let now = step.now.instant;
        let username = self.assert_genuine(request);
        let peers: Vec<SocketAddr> = request.peer_addresses().map(Result::unwrap).collect();
        for peer in &peers {
            assert!(!self.denied.contains(&peer.ip()), "{peer} is denied");
        }
        let peers: Vec<_> = peers.iter().map(|&peer| self.as_advertised(peer)).collect();
        let lifetime = |answer: &Answer| {
            let seconds = answer.lifetime().expect("LIFETIME");
            Duration::from_secs(seconds.into())
        };
        if request.method() == Method::ALLOCATE {
            self.allocated(step, five_tuple, username, answer, lifetime(answer));
            return;
        }
        let allocation = self.allocations.get_mut(five_tuple);
        let allocation = allocation.filter(|a| a.lives(now));
        let family = request.requested_address_family().unwrap();
        let family = family.map(|family| family.unwrap() == AddressFamily::V4);
        if request.method() == Method::REFRESH && answer.lifetime() == Some(0) {
            let id = (*five_tuple, request.transaction_id().0);
            // Without the allocation or the family it is the retransmission of a deletion.
            let again = self.deletions.iter().any(|(known, _)| *known == id);
            if let Some(allocation) = allocation {
                assert_eq!(allocation.username, username);
                match family {
                    Some(family) if allocation.has_live(family, now) => {
                        allocation.relayed.remove(&family);
                        allocation.drop_family(family);
                    }
                    Some(_) => assert!(again, "no such family"),
                    None => allocation.relayed.clear(),
                }
                if !allocation.lives(now) {
                    self.allocations.remove(five_tuple);
                }
            } else {
                assert!(again, "success without an allocation");
            }
            self.deletions.push((id, now));
            return;
        }
        let allocation = allocation.expect("success without an allocation");
        assert_eq!(allocation.username, username);
        match request.method() {
            Method::REFRESH => {
                allocation.end_families(now);
                for (&held, (_, end)) in &mut allocation.relayed {
                    if family.is_none_or(|family| family == held) {
                        *end = now.after(lifetime(answer));
                    }
                }
                let named = family.is_none_or(|f| allocation.relayed.contains_key(&f));
                assert!(named, "no such family");
            }
            Method::CREATE_PERMISSION => {
                assert!(!peers.is_empty());
                allocation.end_families(now);
                allocation.permit(&peers, now);
            }
            Method::CHANNEL_BIND => {
                allocation.end_families(now);
                let number = request.channel_number().unwrap().unwrap();
                assert!((0x4000..=0x4FFF).contains(&number));
                for (&bound, &(peer, expires)) in &allocation.channels {
                    let same = (bound == number, peer == peers[0]);
                    assert!(
                        expires <= now || same.0 == same.1,
                        "{number:#06x} to {} while {bound:#06x} is bound to {peer}",
                        peers[0]
                    );
                }
                allocation.permit(&peers[..1], now);
                let expires = now.after(CHANNEL);
                allocation.channels.insert(number, (peers[0], expires));
                let live = allocation.channels.values();
                let live = live.filter(|(_, expires)| *expires > now).count();
                assert!(live <= self.permissions_max, "{live} channels");
            }
            other => panic!("success for {other}"),
        }
        let live = allocation.permissions.values();
        let live = live.filter(|&&expires| expires > now).count();
        assert!(live <= self.permissions_max, "{live} permissions");
    }

    fn allocated(
        &mut self,
        step: &Step,
        five_tuple: &FiveTuple,
        username: String,
        answer: &Answer,
        lifetime: Duration,
    ) {
        let now = step.now.instant;
        let relayed = answer.all_relayed();
        assert!(matches!(relayed.len(), 1 | 2), "XOR-RELAYED-ADDRESS");
        let all: BTreeMap<_, _> = relayed
            .iter()
            .map(|&address| (address.is_ipv4(), (address, now.after(lifetime))))
            .collect();
        assert_eq!(all.len(), relayed.len(), "two of one family");
        assert_eq!(answer.mapped(), Some(five_tuple.client.0));
        let existing = self.allocations.get(five_tuple);
        if let Some(existing) = existing.filter(|a| a.lives(now)) {
            for address in relayed {
                let known = existing.relayed(address, now);
                assert_eq!(known, Some(address), "a second allocation");
            }
            return;
        }
        for relayed in relayed {
            assert!(
                self.addresses.iter().any(|a| a.advertised == relayed.ip()),
                "{relayed} is not the server's"
            );
            assert!(self.owner(relayed, now).is_none(), "{relayed} is taken");
        }
        if let Some(name) = rest::parse(&username, ':') {
            assert!(name.expiry > step.now.unix, "{username} has expired");
        }
        let stable = stable(&username).to_owned();
        self.allocations.insert(
            *five_tuple,
            Allocation {
                username,
                relayed: all,
                permissions: BTreeMap::new(),
                channels: BTreeMap::new(),
            },
        );
        let live = self.allocations.values().filter(|a| a.lives(now));
        let of_user = live.filter(|a| self::stable(&a.username) == stable).count();
        assert!(of_user <= self.per_user, "{stable} holds {of_user}");
        assert!(self.live(now) <= self.total);
    }

    /// The user's name, if the request is signed with the user's own key.
    fn assert_genuine(&self, request: &Message<'_>) -> String {
        let username = request.username().unwrap().expect("USERNAME").to_owned();
        let password = match self.passwords.get(&username) {
            Some(password) => password.clone(),
            None => rest::password(SECRET, &username).as_str().to_owned(),
        };
        let verified = match request.password_algorithm().unwrap() {
            None => {
                let key = LongTermKey::derive(&username, REALM, &password);
                IntegrityKey::from(&key).verify(request)
            }
            Some(algorithm) => {
                assert_eq!(algorithm, PasswordAlgorithm::SHA256);
                let key = LongTermKeySha256::derive(&username, REALM, &password);
                IntegrityKeySha256::new(key.as_bytes()).verify(request)
            }
        };
        assert_eq!(verified, Ok(()), "success for a forgery");
        username
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

    fn owner(&self, relayed: SocketAddr, now: Instant) -> Option<(&FiveTuple, &Allocation)> {
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

/// The name without its time stamp.
fn stable(username: &str) -> &str {
    rest::parse(username, ':')
        .and_then(|name| name.user)
        .unwrap_or(username)
}

/// RFC 8656 §9.
const PERMISSION: Duration = Duration::from_secs(300);
/// RFC 8656 §12.
const CHANNEL: Duration = Duration::from_secs(600);
