//! Connections between relayed transport addresses and peers (RFC 6062): which there are, whose they are, and until when they
//! wait for their client.
//!
//! The host opens, accepts and closes them; no byte of them passes here.

use core::fmt;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use rand_core::Rng;
use turnbuckle_proto::{
    AddressFamily, Class, EncodeError, Message, MessageBuilder, Method, TransactionId,
};

use crate::address::{ClientPath, family};
use crate::allocation::AllocationId;
use crate::auth::Client;
use crate::packet::Decision;
use crate::peer_policy::Denial;
use crate::permission::Reach;
use crate::reject::Reject;
use crate::relay::Relay;
use crate::relayed::{RelaySockets, RelayedId, ShardId};
use crate::request::Request;
use crate::response::Success;
use crate::stats::DropReason;
use crate::time::{Instant, Now};

/// Names a peer connection towards clients: the value of CONNECTION-ID (RFC 6062 §6.2.1).
///
/// The shard that has the allocation is part of it, since the client's data connection may reach another one. The rest is
/// random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(u32);

/// Bounds of TCP relaying for one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpRelay {
    /// Most peer connections of all allocations, those that are being opened included.
    pub connections_max: usize,
    /// The same for one allocation.
    pub connections_per_allocation_max: usize,
}

/// A peer's connection that the host is to keep, and what its client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incoming {
    pub connection: ConnectionId,
    /// The control connection that the indication goes to.
    pub path: ClientPath,
    /// Bytes of the indication in the buffer.
    pub len: usize,
}

/// An answer to a request that had to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LateAnswer {
    pub path: ClientPath,
    /// Bytes of the answer in the buffer.
    pub len: usize,
}

/// All peer connections of one relay.
#[derive(Default)]
pub(crate) struct PeerConnections {
    all: BTreeMap<ConnectionId, PeerConnection>,
    /// At most one connection between a relayed transport address and a peer: TCP knows no more.
    by_allocation: BTreeMap<AllocationId, BTreeMap<SocketAddr, ConnectionId>>,
    deadlines: BTreeSet<(Instant, ConnectionId)>,
}

pub(crate) struct PeerConnection {
    pub(crate) allocation: AllocationId,
    /// As clients know it.
    pub(crate) peer: SocketAddr,
    pub(crate) stage: Stage,
}

pub(crate) enum Stage {
    /// The host is opening it; whoever asked is answered when that is done.
    Connecting(Option<Box<Asked>>),
    /// Open, and without a client data connection until then.
    Unbound(Instant),
    /// One with a client data connection.
    Bound,
}

/// A request whose answer waits.
pub(crate) struct Asked {
    path: ClientPath,
    message: Box<[u8]>,
    client: Client,
}

impl ConnectionId {
    /// The id with this value of CONNECTION-ID.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The value of CONNECTION-ID.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The shard that has the connection, if there is one.
    pub const fn shard(self) -> ShardId {
        ShardId((self.0 >> SHARD_SHIFT) as u8)
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl Default for TcpRelay {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            connections_per_allocation_max: 64,
        }
    }
}

impl Asked {
    /// A copy of the request, since the host's buffer is used again.
    pub(crate) fn new(request: &Request<'_>, client: Client) -> Self {
        Self {
            path: *request.path,
            message: request.message.bytes().into(),
            client,
        }
    }
}

impl Relay {
    /// The connection that [`RelaySockets::connect`] asked for is open, or could not be had within [`CONNECT_TIMEOUT`].
    ///
    /// The answer to Connect is written to `answer`. Where it is a success the host keeps the connection, and reads nothing of it
    /// before [`Decision::Bound`]: meanwhile the kernel buffers, and closes the window when it is full (RFC 6062 §5.2). In any
    /// other case the host closes it. `None` if nobody waits any more.
    pub fn handle_connected(
        &mut self,
        now: Now,
        connection: ConnectionId,
        is_open: bool,
        answer: &mut [u8],
    ) -> Option<LateAnswer> {
        let known = self.connections.get_mut(connection)?;
        let Stage::Connecting(asked) = &mut known.stage else {
            return None;
        };
        let holder = self.allocations.get(known.allocation);
        // Where timers are late, one that has expired closes it when they run.
        if holder.is_none_or(|holder| holder.expires <= now.instant) {
            return None;
        }
        let asked = asked.take()?;
        let outcome = if is_open {
            // RFC 6062 §5.2: without a ConnectionBind in 30 s it is closed.
            // compliance: 6062-5.2-12
            let until = now.instant.after(BIND_TIMEOUT);
            self.connections
                .set_stage(connection, Stage::Unbound(until));
            Ok(Success::Connected { connection })
        } else {
            self.connections.remove(connection);
            // compliance: 6062-5.2-07
            Err(Reject::ConnectionFailed)
        };
        let message = Message::decode(&asked.message).ok()?;
        let request = Request {
            now,
            path: &asked.path,
            message: &message,
        };
        match self.respond(&request, outcome, Some(&asked.client), answer) {
            Decision::Answer { len } => Some(LateAnswer {
                path: asked.path,
                len,
            }),
            _ => None,
        }
    }

    /// A peer has connected to a relayed transport address (RFC 6062 §5.3).
    ///
    /// The ConnectionAttempt indication is written to `indication`; of the connection holds what
    /// [`handle_connected`](Self::handle_connected) says. On an error the host closes it at once.
    pub fn handle_incoming(
        &mut self,
        now: Now,
        relayed: RelayedId,
        peer: SocketAddr,
        indication: &mut [u8],
        sockets: &mut impl RelaySockets,
    ) -> Result<Incoming, DropReason> {
        let admitted = self.admit(now.instant, relayed, peer, sockets);
        let (connection, path, peer) =
            admitted.inspect_err(|&reason| self.stats.count_drop(reason))?;
        match self.connection_attempt(connection, peer, indication) {
            Ok(len) => Ok(Incoming {
                connection,
                path,
                len,
            }),
            Err(_) => {
                self.connections.remove(connection);
                self.stats.count_drop(DropReason::TooLarge);
                Err(DropReason::TooLarge)
            }
        }
    }

    /// Either side of a connection is closed, so the other has to be as well (RFC 6062 §5.5): the host is asked to
    /// [disconnect](RelaySockets::disconnect) it.
    pub fn handle_connection_closed(
        &mut self,
        connection: ConnectionId,
        sockets: &mut impl RelaySockets,
    ) {
        self.disconnect(connection, sockets);
    }

    /// Number of peer connections, those that are being opened included.
    pub fn peer_connections(&self) -> usize {
        self.connections.len()
    }

    /// Whether TCP may be spoken with this peer, and under which address of this host if it leads back here.
    ///
    /// Of the server's own addresses only live relayed TCP addresses can be reached, and where the operator opens more, still no
    /// listener.
    pub(crate) fn check_tcp_peer(
        &self,
        id: AllocationId,
        peer: SocketAddr,
    ) -> Result<SocketAddr, Reject> {
        let reach = self.check_peer(id, peer)?;
        let policy = &self.config.policy;
        let leads_back = reach == Reach::RelayedOnly
            || (self.host_is_opened && policy.is_host(peer.ip(), &self.ports));
        if !leads_back {
            return Ok(peer);
        }
        let denied = Err(Reject::Forbidden {
            peer,
            denial: Denial::OwnHost,
        });
        match self.ports.find_tcp(peer) {
            // A socket that connects to itself talks to nobody.
            Some(live) if self.is_relayed_by(id, live.local) => denied,
            Some(live) => Ok(live.local),
            None if reach == Reach::RelayedOnly || policy.is_listener(peer, &self.ports) => denied,
            None => Ok(self.ports.as_local(peer)),
        }
    }

    /// Fails if this allocation, or the shard, has as many connections as it may have.
    pub(crate) fn check_room_for_connection(&self, id: AllocationId) -> Result<(), Reject> {
        let bounds = self.config.tcp_relay.unwrap_or(TcpRelay {
            connections_max: 0,
            connections_per_allocation_max: 0,
        });
        let of_allocation = bounds.connections_per_allocation_max;
        for (held, limit, what) in [
            (
                self.connections.count(id),
                of_allocation,
                "peer connections",
            ),
            (
                self.connections.len(),
                bounds.connections_max,
                "of the server's peer connections",
            ),
        ] {
            if held >= limit {
                return Err(Reject::TooMany { what, limit });
            }
        }
        Ok(())
    }

    /// An id that no connection has.
    // compliance: 6062-5.2-11
    pub(crate) fn free_connection_id(&mut self) -> Option<ConnectionId> {
        let shard = u32::from(self.shard.0) << SHARD_SHIFT;
        (0..ID_TRIES)
            .map(|_| ConnectionId(shard | (self.rng.next_u32() & RANDOM_MASK)))
            .find(|&id| self.connections.get(id).is_none())
    }

    /// Closes what has waited too long for its client.
    pub(crate) fn expire_connections(&mut self, now: Instant, sockets: &mut impl RelaySockets) {
        while let Some(late) = self.connections.due(now) {
            self.disconnect(late, sockets);
        }
    }

    /// Closes all connections of an allocation (RFC 6062 §5.5).
    // compliance: 6062-5.5-01
    pub(crate) fn disconnect_all(&mut self, id: AllocationId, sockets: &mut impl RelaySockets) {
        self.disconnect_family(id, AddressFamily::V4, sockets);
        self.disconnect_family(id, AddressFamily::V6, sockets);
    }

    /// As [`disconnect_all`](Self::disconnect_all), for peers of one family.
    pub(crate) fn disconnect_family(
        &mut self,
        id: AllocationId,
        wanted: AddressFamily,
        sockets: &mut impl RelaySockets,
    ) {
        let all: Vec<ConnectionId> = self.connections.of(id, wanted).collect();
        for connection in all {
            self.disconnect(connection, sockets);
        }
    }

    fn disconnect(&mut self, connection: ConnectionId, sockets: &mut impl RelaySockets) {
        let Some(gone) = self.connections.remove(connection) else {
            return;
        };
        let traffic = sockets.disconnect(connection);
        if let Some(allocation) = self.allocations.get_mut(gone.allocation) {
            allocation.traffic.add(&traffic);
        }
        let stats = &mut self.stats;
        stats.bytes_to_peers = stats.bytes_to_peers.wrapping_add(traffic.bytes_to_peers);
        stats.bytes_to_clients = stats.bytes_to_clients.wrapping_add(traffic.bytes_to_client);
    }

    fn admit(
        &mut self,
        now: Instant,
        relayed: RelayedId,
        peer: SocketAddr,
        sockets: &mut impl RelaySockets,
    ) -> Result<(ConnectionId, ClientPath, SocketAddr), DropReason> {
        let id = self
            .relayed
            .get(relayed.0)
            .and_then(|r| r.allocation)
            .ok_or(DropReason::NoRelayed)?;
        let allocation = self
            .allocations
            .get(id)
            .filter(|a| a.has_live(relayed, now))
            .ok_or(DropReason::NoAllocation)?;
        let path = allocation.path;
        let peer = self.ports.as_advertised(peer);
        // RFC 6062 §5.3: without a permission the connection is closed immediately.
        // compliance: 6062-5.3-03
        if allocation.permissions.find(peer.ip(), now).is_none() {
            return Err(DropReason::NoPermission);
        }
        self.check_tcp_peer(id, peer)
            .map_err(|_| DropReason::PeerDenied)?;
        // The peer would not connect anew from the same port while the older connection is alive.
        if let Some(older) = self.connections.with_peer(id, peer) {
            self.disconnect(older, sockets);
        }
        self.check_room_for_connection(id)
            .map_err(|_| DropReason::ConnectionsFull)?;
        let connection = self
            .free_connection_id()
            .ok_or(DropReason::ConnectionsFull)?;
        // compliance: 6062-5.3-05
        let until = now.after(BIND_TIMEOUT);
        self.connections.insert(
            connection,
            PeerConnection {
                allocation: id,
                peer,
                stage: Stage::Unbound(until),
            },
        );
        Ok((connection, path, peer))
    }

    /// RFC 6062 §5.3: the indication names the peer and the connection.
    fn connection_attempt(
        &mut self,
        connection: ConnectionId,
        peer: SocketAddr,
        out: &mut [u8],
    ) -> Result<usize, EncodeError> {
        let mut transaction = [0; 12];
        self.rng.fill_bytes(&mut transaction);
        let mut indication = MessageBuilder::new(
            out,
            Class::Indication,
            Method::CONNECTION_ATTEMPT,
            TransactionId(transaction),
        )?;
        indication
            // compliance: 6062-5.3-04
            .xor_peer_address(peer)?
            .connection_id(connection.number())?;
        if self.config.fingerprint {
            indication.fingerprint()?;
        }
        Ok(indication.finish())
    }

    fn is_relayed_by(&self, id: AllocationId, local: SocketAddr) -> bool {
        self.allocations.get(id).is_some_and(|allocation| {
            allocation.relayed.iter().any(|lease| {
                let relayed = self.relayed.get(lease.id.0);
                relayed.is_some_and(|r| r.claim.local == local)
            })
        })
    }
}

impl PeerConnections {
    pub(crate) fn insert(&mut self, id: ConnectionId, connection: PeerConnection) {
        self.by_allocation
            .entry(connection.allocation)
            .or_default()
            .insert(connection.peer, id);
        if let Stage::Unbound(until) = connection.stage {
            self.deadlines.insert((until, id));
        }
        self.all.insert(id, connection);
    }

    pub(crate) fn remove(&mut self, id: ConnectionId) -> Option<PeerConnection> {
        let connection = self.all.remove(&id)?;
        if let Some(peers) = self.by_allocation.get_mut(&connection.allocation) {
            peers.remove(&connection.peer);
            if peers.is_empty() {
                self.by_allocation.remove(&connection.allocation);
            }
        }
        if let Stage::Unbound(until) = connection.stage {
            self.deadlines.remove(&(until, id));
        }
        Some(connection)
    }

    pub(crate) fn set_stage(&mut self, id: ConnectionId, stage: Stage) {
        if let Some(mut connection) = self.remove(id) {
            connection.stage = stage;
            self.insert(id, connection);
        }
    }

    pub(crate) fn get(&self, id: ConnectionId) -> Option<&PeerConnection> {
        self.all.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut PeerConnection> {
        self.all.get_mut(&id)
    }

    /// The connection of this allocation with this peer.
    pub(crate) fn with_peer(&self, id: AllocationId, peer: SocketAddr) -> Option<ConnectionId> {
        self.by_allocation.get(&id)?.get(&peer).copied()
    }

    /// When the first connection will have waited too long.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(until, _)| until)
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// Panics if the tables contradict each other, or name an allocation that `exists` does not know.
    pub(crate) fn check_invariants(&self, exists: impl Fn(AllocationId) -> bool) {
        let indexed: usize = self.by_allocation.values().map(BTreeMap::len).sum();
        assert_eq!(indexed, self.all.len());
        let mut waiting = 0usize;
        for (&id, connection) in &self.all {
            assert!(exists(connection.allocation));
            assert_eq!(
                self.with_peer(connection.allocation, connection.peer),
                Some(id)
            );
            if let Stage::Unbound(until) = connection.stage {
                waiting = waiting.saturating_add(1);
                assert!(self.deadlines.contains(&(until, id)));
            }
        }
        assert_eq!(waiting, self.deadlines.len());
    }

    fn count(&self, id: AllocationId) -> usize {
        self.by_allocation.get(&id).map_or(0, BTreeMap::len)
    }

    fn of(&self, id: AllocationId, wanted: AddressFamily) -> impl Iterator<Item = ConnectionId> {
        let peers = self.by_allocation.get(&id).into_iter().flatten();
        peers
            .filter(move |(peer, _)| family(peer.ip()) == wanted)
            .map(|(_, &connection)| connection)
    }

    fn due(&self, now: Instant) -> Option<ConnectionId> {
        let &(until, id) = self.deadlines.first()?;
        (until <= now).then_some(id)
    }
}

/// How long the host tries to connect to a peer; RFC 6062 §5.2 asks for 30 s at least.
// compliance: 6062-5.2-08
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a peer connection waits for its ConnectionBind (RFC 6062 §5.2, §5.3).
const BIND_TIMEOUT: Duration = Duration::from_secs(30);
const SHARD_SHIFT: u32 = 24;
const RANDOM_MASK: u32 = (1 << SHARD_SHIFT) - 1;
/// The table is far from full, so the first draw nearly always fits.
const ID_TRIES: usize = 64;
