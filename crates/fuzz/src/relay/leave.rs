//! Who may exchange data with whom, as far as the answers to requests say.
//!
//! Owns a book of its own. It must not use the relay's tables or checks. About an allocation that follows its client it is lax: each
//! five-tuple that was good once stays so until it gets another allocation.

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use turnbuckle_proto::{AddressFamily, Class, Message, Method, rest};
use turnbuckle_relay::{ConnectionId, FiveTuple, Instant, Now, RelayedPorts};
use turnbuckle_testkit::{Answer, Connecting, Input as Arrived, Outcome, Step};

#[derive(Default)]
pub(super) struct Leave {
    /// No lifetime may reach beyond the expiry of the credential.
    ends_with_credential: bool,
    allocations: BTreeMap<u64, Allocation>,
    /// How many allocations there have been.
    made: u64,
    paths: BTreeMap<FiveTuple, u64>,
    tickets: BTreeMap<Vec<u8>, u64>,
    /// Connections with peers that clients may take over, each with its allocation.
    connections: BTreeMap<ConnectionId, u64>,
    /// Data that passed, and rightly.
    pub(super) met: usize,
}

struct Allocation {
    username: Option<String>,
    /// Peers are spoken to by TCP.
    is_tcp: bool,
    /// Each with its end, one of each family at most.
    relayed: Vec<(SocketAddr, Instant)>,
    permissions: BTreeMap<IpAddr, Instant>,
}

impl Leave {
    pub(super) fn new(ends_with_credential: bool) -> Self {
        Self {
            ends_with_credential,
            ..Self::default()
        }
    }

    pub(super) fn judge(&mut self, step: &Step, ports: &RelayedPorts) {
        let now = step.now.instant;
        match (&step.input, &step.outcome) {
            (_, Outcome::Dropped(_)) => {}
            (Arrived::Client { five_tuple, bytes }, Outcome::Answered(answer)) => {
                let request = Message::decode(bytes).expect("only a request is answered");
                assert_eq!(request.class(), Class::Request);
                let answer = Answer::read(answer).expect("a response");
                if answer.is_success() {
                    self.granted(step.now, five_tuple, &request, &answer, ports);
                }
            }
            (
                Arrived::Client { five_tuple, bytes },
                Outcome::AnsweredFrom {
                    to, bytes: answer, ..
                },
            ) => {
                let request = Message::decode(bytes).expect("only a request is answered");
                assert_eq!(request.method(), Method::BINDING);
                assert_eq!(to.ip(), five_tuple.client.0.ip(), "told to another host");
                assert!(answer.len() <= bytes.len() + DETOUR_GROWTH_MAX, "amplified");
            }
            (Arrived::Client { five_tuple, bytes }, Outcome::Deferred) => {
                let request = Message::decode(bytes).expect("a request");
                assert_eq!(request.method(), Method::CONNECT);
                let allocation = self.live(now, five_tuple);
                assert!(allocation.is_tcp, "Connect of datagrams");
                assert_eq!(allocation.username, username(&request));
            }
            (Arrived::Client { bytes, .. }, Outcome::Bound(answer, connection)) => {
                let request = Message::decode(bytes).expect("a request");
                assert_eq!(request.method(), Method::CONNECTION_BIND);
                assert!(Answer::read(answer).is_some_and(|answer| answer.is_success()));
                // Nobody gets it twice.
                let serial = self.connections.remove(connection);
                let serial = serial.expect("a connection that nobody was told of");
                let allocation = &self.allocations[&serial];
                assert!(allocation.lives(now), "it outlived its allocation");
                assert_eq!(allocation.username, username(&request));
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
                let [from, to] = [five_tuple, other].map(|one| self.live(now, one));
                let met = from.live_addresses(now).any(|from_ip| {
                    to.live_addresses(now)
                        .any(|to_ip| from.permits(now, to_ip.ip()) && to.permits(now, from_ip.ip()))
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
        now: Now,
        five_tuple: &FiveTuple,
        request: &Message<'_>,
        answer: &Answer,
        ports: &RelayedPorts,
    ) {
        match request.method() {
            Method::ALLOCATE => self.allocated(now, five_tuple, request, answer),
            Method::REFRESH => self.refreshed(now, five_tuple, request, answer),
            Method::CREATE_PERMISSION | Method::CHANNEL_BIND => {
                let now = now.instant;
                self.live(now, five_tuple);
                let allocation = self.allocations.get_mut(&self.paths[five_tuple]);
                let allocation = allocation.expect("live");
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

    fn allocated(
        &mut self,
        now: Now,
        five_tuple: &FiveTuple,
        request: &Message<'_>,
        answer: &Answer,
    ) {
        let relayed = answer.all_relayed();
        assert!(!relayed.is_empty());
        if let Some(serial) = self.paths.get(five_tuple)
            && let Some(known) = self.allocations.get(serial)
            && known.lives(now.instant)
        {
            let is_told_again = relayed
                .iter()
                .all(|one| known.live_addresses(now.instant).any(|held| held == *one));
            if is_told_again {
                return;
            }
            let paths = self.paths.values().filter(|&other| other == serial);
            assert!(paths.count() > 1, "a second allocation of {five_tuple}");
        }
        for allocation in self.allocations.values() {
            let mut held = allocation.live_addresses(now.instant);
            assert!(
                !held.any(|held| relayed.contains(&held)),
                "a relayed address was given out twice"
            );
        }
        let until = self.until(now, request, answer);
        self.made += 1;
        self.paths.insert(*five_tuple, self.made);
        self.allocations.insert(
            self.made,
            Allocation {
                username: username(request),
                is_tcp: request.requested_transport() == Ok(Some(TCP)),
                relayed: relayed.into_iter().map(|one| (one, until)).collect(),
                permissions: BTreeMap::new(),
            },
        );
        if let Some(ticket) = answer.ticket() {
            self.tickets.insert(ticket, self.made);
        }
    }

    fn refreshed(
        &mut self,
        now: Now,
        five_tuple: &FiveTuple,
        request: &Message<'_>,
        answer: &Answer,
    ) {
        let serial = match request.mobility_ticket() {
            Some(ticket) => self.tickets.get(ticket).expect("a ticket of nobody"),
            None => self.paths.get(five_tuple).expect("refreshed without one"),
        };
        let serial = *serial;
        let until = self.until(now, request, answer);
        let allocation = self.allocations.get_mut(&serial);
        let allocation = allocation.expect("only what is there is refreshed");
        assert!(allocation.lives(now.instant), "it was over");
        if request.mobility_ticket().is_some() {
            assert_eq!(allocation.username, username(request), "taken over");
            self.paths.insert(*five_tuple, serial);
        }
        if let Some(ticket) = answer.ticket() {
            self.tickets.insert(ticket, serial);
        }
        let family = request.requested_address_family().expect("readable");
        let named = family.map(|family| family.expect("known") == AddressFamily::V4);
        let is_named = |address: &SocketAddr| named.is_none_or(|v4| v4 == address.is_ipv4());
        let deletes = answer.lifetime() == Some(0);
        allocation.relayed.retain(|(_, end)| *end > now.instant);
        for (address, end) in &mut allocation.relayed {
            if is_named(address) {
                *end = until;
            }
        }
        if deletes {
            allocation.relayed.retain(|(address, _)| !is_named(address));
        }
        if allocation.relayed.is_empty() {
            self.ended(serial);
        }
    }

    /// The end of the lifetime that an answer tells.
    fn until(&self, now: Now, request: &Message<'_>, answer: &Answer) -> Instant {
        let seconds: u64 = answer.lifetime().expect("LIFETIME").into();
        if self.ends_with_credential
            && let Some(name) = username(request)
            && let Some(credential) = rest::parse(&name, ':')
        {
            let end = now.unix.saturating_add(seconds);
            assert!(end <= credential.expiry, "it outlives its credential");
        }
        now.instant.after(Duration::from_secs(seconds))
    }

    fn ended(&mut self, serial: u64) {
        self.allocations.remove(&serial);
        self.paths.retain(|_, other| *other != serial);
        self.connections.retain(|_, other| *other != serial);
    }

    pub(super) fn disconnected(&mut self, five_tuple: &FiveTuple) {
        if let Some(&serial) = self.paths.get(five_tuple) {
            self.ended(serial);
        }
    }

    /// No connection with a peer outlives a restart.
    pub(super) fn all_disconnected(&mut self) {
        self.connections.clear();
    }

    /// The host was told to connect.
    pub(super) fn connecting(&self, told: &Connecting) {
        let ip = told.peer.ip().to_canonical();
        assert!(!ip.is_loopback(), "{told:?}");
    }

    /// A connection that a client asked for is open, and it was told so.
    pub(super) fn connected(
        &mut self,
        now: Instant,
        five_tuple: &FiveTuple,
        connection: ConnectionId,
        answer: &Answer,
    ) {
        let number = answer.message().connection_id();
        assert_eq!(number, Ok(Some(connection.number())));
        assert!(self.live(now, five_tuple).is_tcp);
        let serial = self.paths[five_tuple];
        self.connections.insert(connection, serial);
    }

    /// A peer's connection was let in.
    pub(super) fn arrived(
        &mut self,
        now: Instant,
        five_tuple: &FiveTuple,
        relayed: SocketAddr,
        peer: IpAddr,
        connection: ConnectionId,
    ) {
        let allocation = self.live(now, five_tuple);
        assert!(allocation.is_tcp, "a connection with what is for datagrams");
        assert!(allocation.live_addresses(now).any(|held| held == relayed));
        assert!(allocation.permits(now, peer), "{peer} came without leave");
        let serial = self.paths[five_tuple];
        let before = self.connections.insert(connection, serial);
        assert_eq!(before, None, "{connection} is in use");
        self.met += 1;
    }

    pub(super) fn closed(&mut self, connection: ConnectionId) {
        self.connections.remove(&connection);
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
        assert!(!allocation.is_tcp, "a datagram of a TCP allocation");
        assert!(
            allocation.live_addresses(now).any(|held| held == relayed),
            "{relayed} of another"
        );
        assert!(
            allocation.permits(now, peer),
            "{five_tuple} and {peer} met without leave"
        );
        self.met += 1;
    }

    #[track_caller]
    fn live(&self, now: Instant, five_tuple: &FiveTuple) -> &Allocation {
        let serial = self.paths.get(five_tuple);
        let allocation = serial.and_then(|serial| self.allocations.get(serial));
        let live = allocation.filter(|allocation| allocation.lives(now));
        live.unwrap_or_else(|| panic!("{five_tuple} has no allocation"))
    }

    /// As if the answers that gave them had never come.
    #[cfg(test)]
    pub(super) fn forget_permissions(&mut self) {
        for allocation in self.allocations.values_mut() {
            allocation.permissions.clear();
        }
    }
}

impl Allocation {
    fn lives(&self, now: Instant) -> bool {
        self.live_addresses(now).next().is_some()
    }

    fn live_addresses(&self, now: Instant) -> impl Iterator<Item = SocketAddr> {
        let live = self.relayed.iter().filter(move |(_, end)| *end > now);
        live.map(|&(address, _)| address)
    }

    fn permits(&self, now: Instant, peer: IpAddr) -> bool {
        let until = self.permissions.get(&peer);
        until.is_some_and(|&until| until > now)
    }
}

fn username(request: &Message<'_>) -> Option<String> {
    request.username().ok().flatten().map(str::to_owned)
}

const PERMISSION: Duration = Duration::from_secs(300);
/// What a Binding response without PADDING may be longer than its request: four addresses and a fingerprint.
const DETOUR_GROWTH_MAX: usize = 128;
const TCP: u8 = 6;
