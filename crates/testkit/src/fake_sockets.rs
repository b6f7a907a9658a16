//! Relay sockets that exist in a table only.
//!
//! Owns which are open, and the failures a test orders. It must not carry data: [`crate::Network`] does.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use turnbuckle_relay::{OpenError, RelaySockets, RelayedId};

/// The relay sockets of one shard.
///
/// # Panics
/// Where the relay breaks its side: an id opened twice, or closed without having been opened.
#[derive(Debug, Default)]
pub struct FakeSockets {
    open: BTreeMap<u32, SocketAddr>,
    /// What the next attempts to open end with, the first first; when there is none left they succeed.
    pub fail_next: VecDeque<OpenError>,
    /// What every attempt to open ends with.
    pub fail_always: Option<OpenError>,
    /// Attempts to open, failed ones included.
    pub attempts: usize,
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

    fn close(&mut self, id: RelayedId) {
        let before = self.open.remove(&id.index());
        assert!(before.is_some(), "{id:?} was closed but is not open");
    }
}
