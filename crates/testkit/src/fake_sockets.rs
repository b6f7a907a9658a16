//! Relay sockets that exist in a table only.
//!
//! Owns which are open, and the failures a test orders. It must not carry data: [`crate::Network`] does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use turnbuckle_relay::{ConnectionId, OpenError, RelaySockets, RelayedId, Traffic};

/// The relay sockets of one shard.
///
/// # Panics
/// Where the relay breaks its side: an id opened twice, or closed without having been opened.
#[derive(Debug, Default)]
pub struct FakeSockets {
    open: BTreeMap<u32, SocketAddr>,
    /// Which of them are for TCP.
    tcp: BTreeSet<u32>,
    /// Connections with peers that were asked for, in order, and that nobody has taken.
    pub connecting: VecDeque<Connecting>,
    /// Connections with peers that were to be closed, in order.
    pub disconnected: Vec<ConnectionId>,
    /// What the next disconnected connection has carried.
    pub carried: Traffic,
    /// What the next attempts to open end with, the first first; when there is none left they succeed.
    pub fail_next: VecDeque<OpenError>,
    /// What every attempt to open ends with.
    pub fail_always: Option<OpenError>,
    /// Attempts to open, failed ones included.
    pub attempts: usize,
}

/// A connection that the relay wants opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connecting {
    /// Its id.
    pub connection: ConnectionId,
    /// The local address it is to be opened from.
    pub from: SocketAddr,
    /// The peer.
    pub peer: SocketAddr,
}

impl FakeSockets {
    /// The local address of an open socket.
    pub fn local(&self, id: RelayedId) -> Option<SocketAddr> {
        self.open.get(&id.index()).copied()
    }

    /// The open socket that is bound to this address.
    pub fn bound_to(&self, local: SocketAddr) -> Option<RelayedId> {
        self.open
            .iter()
            .find(|&(_, &bound)| bound == local)
            .map(|(&id, _)| RelayedId::from_index(id))
    }

    /// Whether an open socket is for TCP.
    pub fn is_tcp(&self, id: RelayedId) -> bool {
        self.tcp.contains(&id.index())
    }

    /// Number of open sockets.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// True if none is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

impl RelaySockets for FakeSockets {
    fn open(&mut self, id: RelayedId, local: SocketAddr) -> Result<(), OpenError> {
        self.attempts += 1;
        if let Some(error) = self.fail_next.pop_front().or(self.fail_always) {
            return Err(error);
        }
        assert!(self.bound_to(local).is_none(), "{local} is bound already");
        let before = self.open.insert(id.index(), local);
        assert_eq!(before, None, "{id:?} is open already");
        Ok(())
    }

    fn open_tcp(&mut self, id: RelayedId, local: SocketAddr) -> Result<(), OpenError> {
        self.open(id, local)?;
        self.tcp.insert(id.index());
        Ok(())
    }

    fn close(&mut self, id: RelayedId) {
        self.tcp.remove(&id.index());
        let before = self.open.remove(&id.index());
        assert!(before.is_some(), "{id:?} was closed but is not open");
    }

    fn connect(&mut self, connection: ConnectionId, from: RelayedId, peer: SocketAddr) {
        assert!(
            self.is_tcp(from),
            "{connection} starts at a socket for datagrams"
        );
        self.connecting.push_back(Connecting {
            connection,
            from: self.local(from).expect("connected from an open socket"),
            peer,
        });
    }

    fn disconnect(&mut self, connection: ConnectionId) -> Traffic {
        assert!(
            !self.disconnected.contains(&connection),
            "{connection} was closed before"
        );
        self.disconnected.push(connection);
        std::mem::take(&mut self.carried)
    }
}
