//! Connections with peers (RFC 6062): who may have one opened, who is told of one, and who gets it.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use turnbuckle_proto::{Class, Message, Method};
use turnbuckle_relay::{ConnectionId, DropReason, FiveTuple, Instant};
use turnbuckle_testkit::{Answer, Connecting, Step};

use super::{Allocation, Model};

/// All connections with peers, and what was asked for.
#[derive(Default)]
pub(crate) struct Connections {
    pub(crate) per_allocation: usize,
    /// For each shard.
    pub(crate) total: usize,
    /// Connect requests that were neither answered nor dropped.
    asked: Vec<Asked>,
    open: BTreeMap<ConnectionId, Connection>,
    /// Closed by somebody other than the server.
    closing: BTreeSet<ConnectionId>,
}

struct Asked {
    control: FiveTuple,
    allocation: u64,
    username: String,
    transaction: [u8; 12],
    from: SocketAddr,
    peer: SocketAddr,
}

struct Connection {
    control: FiveTuple,
    allocation: u64,
    username: String,
    /// As clients know it.
    peer: SocketAddr,
    stage: Stage,
}

#[derive(PartialEq, Eq)]
enum Stage {
    /// For the request with this transaction.
    Connecting([u8; 12]),
    WaitsUntil(Instant),
    Bound,
}

impl Model {
    /// A Connect request makes the host connect.
    pub(super) fn deferred(&mut self, step: &Step, five_tuple: &FiveTuple, request: &Message<'_>) {
        assert_eq!(request.method(), Method::CONNECT);
        let now = step.now.instant;
        let username = self.assert_genuine(request);
        let allocation = self.live_tcp(five_tuple, now);
        let allocation = allocation.expect("Connect without a TCP allocation");
        assert_eq!(allocation.username, username);
        let peer = request.peer_address().unwrap().unwrap();
        assert!(!self.denied.contains(&peer.ip()), "{peer} is denied");
        let peer = self.as_advertised(peer);
        let relayed = allocation.relayed(peer, now).expect("another family");
        assert_ne!(relayed, peer, "connected to itself");
        if self.is_own(peer.ip()) && !self.timers_are_late {
            let owner = self.holder(peer, now);
            let owner = owner.expect("an own address that is nobody's");
            assert!(owner.1.is_tcp, "{peer} is for datagrams");
        }
        let serial = allocation.serial;
        let asked = Asked {
            control: *five_tuple,
            allocation: serial,
            username,
            transaction: request.transaction_id().0,
            from: self.as_local(relayed),
            peer,
        };
        let connections = &mut self.connections;
        let mut others = connections.asked.iter();
        let is_second = connections.with_peer(serial, peer).is_some()
            || others.any(|other| other.allocation == serial && other.peer == peer);
        assert!(!is_second, "a second connection with {peer}");
        connections.asked.push(asked);
    }

    /// The host was told to connect: somebody has asked for it.
    pub(crate) fn connecting(&mut self, told: &Connecting) {
        let peer = self.as_advertised(told.peer);
        let connections = &mut self.connections;
        let asked = connections.asked.iter();
        let at = asked
            .enumerate()
            .find(|(_, asked)| asked.from == told.from && asked.peer == peer)
            .map(|(at, _)| at);
        let asked = at.unwrap_or_else(|| panic!("nobody asked for {told:?}"));
        let asked = connections.asked.remove(asked);
        let connection = Connection {
            control: asked.control,
            allocation: asked.allocation,
            username: asked.username,
            peer,
            stage: Stage::Connecting(asked.transaction),
        };
        let before = connections.open.insert(told.connection, connection);
        assert!(before.is_none(), "{} is in use", told.connection);
        let of_allocation = connections.count(|c| c.allocation == asked.allocation);
        assert!(of_allocation <= connections.per_allocation);
        let of_shard = connections.of_shard(told.connection);
        assert!(of_shard <= connections.total);
    }

    /// What the relay says once the host has tried.
    pub(crate) fn connected(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        is_open: bool,
        late: Option<&(FiveTuple, Vec<u8>)>,
    ) {
        let open = &mut self.connections.open;
        let lives = |serial| {
            let mut all = self.allocations.values();
            all.any(|a| a.serial == serial && a.lives(now))
        };
        let known = open.get_mut(&connection);
        let Some(known) = known.filter(|known| lives(known.allocation)) else {
            assert_eq!(late, None, "an answer about {connection}, which is gone");
            return;
        };
        let Stage::Connecting(transaction) = known.stage else {
            panic!("{connection} was connected before");
        };
        let (to, bytes) = late.expect("an answer to Connect");
        let answer = Answer::read(bytes).expect("a response");
        let message = answer.message();
        assert_eq!(*to, known.control);
        assert_eq!(message.method(), Method::CONNECT);
        assert_eq!(message.transaction_id().0, transaction);
        if is_open {
            assert_eq!(message.connection_id(), Ok(Some(connection.number())));
            assert!(answer.is_success());
            known.stage = Stage::WaitsUntil(now.after(BIND));
        } else {
            assert_eq!(answer.code(), Some(447));
            open.remove(&connection);
        }
    }

    /// What the relay says to a peer that has connected to a relayed transport address.
    pub(crate) fn incoming(
        &mut self,
        now: Instant,
        local: SocketAddr,
        peer: SocketAddr,
        outcome: &Result<(FiveTuple, Vec<u8>, ConnectionId), DropReason>,
    ) {
        let peer = self.as_advertised(peer);
        let holder = self.holder(self.as_advertised(local), now);
        let holder = holder.filter(|(_, a)| a.is_tcp && a.permits(peer.ip(), now));
        let may = holder.filter(|_| {
            !self.is_own(peer.ip()) || self.holder(peer, now).is_some_and(|(_, a)| a.is_tcp)
        });
        let (path, bytes, connection) = match outcome {
            Ok(told) => told,
            Err(DropReason::ConnectionsFull) => {
                let (_, allocation) = may.expect("nobody may connect");
                let count = |c: &Connection| c.allocation == allocation.serial;
                let full = self.connections.count(count) >= self.connections.per_allocation
                    || self.connections.open.len() >= self.connections.total;
                assert!(full, "there is room for a connection");
                return;
            }
            Err(reason) => {
                assert!(may.is_none(), "{peer} was turned away: {reason:?}");
                return;
            }
        };
        // As with data, the own address of what has just ended may still be taken for live.
        let late = self.timers_are_late && self.is_own(peer.ip());
        let told = if late { holder } else { may };
        let (&control, allocation) = told.expect("a connection without leave");
        let (serial, username) = (allocation.serial, allocation.username.clone());
        assert_eq!(*path, control);
        let message = Message::decode(bytes).expect("an indication");
        assert_eq!(
            (message.class(), message.method()),
            (Class::Indication, Method::CONNECTION_ATTEMPT)
        );
        assert_eq!(message.peer_address(), Ok(Some(peer)));
        assert_eq!(message.connection_id(), Ok(Some(connection.number())));
        // The peer would not have connected again if it still had the older one.
        if let Some(older) = self.connections.with_peer(serial, peer) {
            self.connections.closing.insert(older);
        }
        let new = Connection {
            control,
            allocation: serial,
            username,
            peer,
            stage: Stage::WaitsUntil(now.after(BIND)),
        };
        let before = self.connections.open.insert(*connection, new);
        assert!(before.is_none(), "{connection} is in use");
    }

    /// A ConnectionBind request takes a connection over.
    pub(super) fn bound(
        &mut self,
        step: &Step,
        five_tuple: &FiveTuple,
        request: &Message<'_>,
        answer: &Answer,
        connection: ConnectionId,
    ) {
        let now = step.now.instant;
        assert_eq!(request.method(), Method::CONNECTION_BIND);
        assert!(answer.is_success());
        assert_eq!(request.connection_id(), Ok(Some(connection.number())));
        let username = self.assert_genuine(request);
        assert_eq!(self.key(five_tuple, now), None, "over a control connection");
        assert!(five_tuple.transport.is_stream());
        let known = self.connections.open.get_mut(&connection);
        let known = known.expect("bound to nothing");
        assert_eq!(known.username, username);
        let Stage::WaitsUntil(until) = known.stage else {
            panic!("{connection} does not wait");
        };
        assert!(until > now, "{connection} has waited too long");
        known.stage = Stage::Bound;
        let control = known.control;
        assert!(
            self.live_tcp(&control, now).is_some(),
            "the allocation is gone"
        );
    }

    /// One of the two sides has closed its connection.
    pub(crate) fn closed(&mut self, connection: ConnectionId) {
        self.connections.closing.insert(connection);
    }

    /// The relay closes a connection: it has a reason.
    pub(crate) fn disconnected(&mut self, now: Instant, connection: ConnectionId) {
        let gone = self.connections.open.remove(&connection);
        let gone = gone.unwrap_or_else(|| panic!("{connection} is not open"));
        let lives = self.serves(&gone, now);
        let has_waited = matches!(gone.stage, Stage::WaitsUntil(until) if until <= now);
        let was_closed = self.connections.closing.remove(&connection);
        assert!(
            !lives || has_waited || was_closed,
            "{connection} was closed for nothing"
        );
    }

    /// Whatever has ended has been closed, unless timers are late.
    pub(crate) fn judge_connections(&self, now: Instant) {
        assert!(self.connections.asked.is_empty(), "the host was not told");
        for (connection, open) in &self.connections.open {
            let has_waited = matches!(open.stage, Stage::WaitsUntil(until) if until <= now);
            assert!(
                self.timers_are_late || (self.serves(open, now) && !has_waited),
                "{connection} is open for nobody"
            );
        }
    }

    /// The server has started anew: nobody has a connection with it.
    pub(crate) fn all_disconnected(&mut self) {
        self.connections.open.clear();
        self.connections.closing.clear();
    }

    fn serves(&self, connection: &Connection, now: Instant) -> bool {
        let allocation = self.live_tcp(&connection.control, now);
        allocation.is_some_and(|a| {
            a.serial == connection.allocation && a.relayed(connection.peer, now).is_some()
        })
    }

    fn live_tcp(&self, control: &FiveTuple, now: Instant) -> Option<&Allocation> {
        let allocation = self.allocations.get(control);
        allocation.filter(|a| a.is_tcp && a.lives(now))
    }
}

impl Connections {
    fn with_peer(&self, allocation: u64, peer: SocketAddr) -> Option<ConnectionId> {
        let mut all = self.open.iter();
        all.find(|(_, c)| c.allocation == allocation && c.peer == peer)
            .map(|(&id, _)| id)
    }

    fn count(&self, counts: impl Fn(&Connection) -> bool) -> usize {
        self.open.values().filter(|c| counts(c)).count()
    }

    fn of_shard(&self, like: ConnectionId) -> usize {
        let shards = self.open.keys().map(|id| id.shard());
        shards.filter(|&shard| shard == like.shard()).count()
    }
}

/// RFC 6062 §5.2 and §5.3.
const BIND: Duration = Duration::from_secs(30);
