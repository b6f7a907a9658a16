//! The relay sockets of one shard, in a table by the relay's own numbers.

use std::io;
use std::net::SocketAddr;

use turnbuckle_net::{Poll, RelayOptions, RelaySocket};
use turnbuckle_relay::{ConnectionId, OpenError, RelaySockets, RelayedId, Traffic};

use crate::peer_sockets::PeerSockets;

use crate::pace::Pace;

/// All open relay sockets.
#[derive(Debug)]
pub(crate) struct SocketTable {
    sockets: Vec<Option<Entry>>,
    /// Those of TCP allocations.
    pub(crate) peers: PeerSockets,
    options: RelayOptions,
}

#[derive(Debug)]
struct Entry {
    socket: RelaySocket,
    pace: Pace,
}

/// The table together with the poll that its sockets are members of.
pub(crate) struct Opener<'a> {
    pub(crate) table: &'a mut SocketTable,
    pub(crate) poll: &'a Poll,
}

impl SocketTable {
    pub(crate) fn new(options: RelayOptions) -> Self {
        Self {
            sockets: Vec::new(),
            peers: PeerSockets::default(),
            options,
        }
    }

    #[inline]
    pub(crate) fn get(&self, id: RelayedId) -> Option<&RelaySocket> {
        let entry = self.sockets.get(id.index() as usize)?.as_ref()?;
        Some(&entry.socket)
    }

    /// The socket, and how fast it is.
    #[inline]
    pub(crate) fn with_pace(&mut self, id: RelayedId) -> Option<(&RelaySocket, &mut Pace)> {
        let entry = self.sockets.get_mut(id.index() as usize)?.as_mut()?;
        Some((&entry.socket, &mut entry.pace))
    }

    /// Closes them all.
    pub(crate) fn clear(&mut self) {
        self.sockets.clear();
        self.peers.clear();
    }
}

impl RelaySockets for Opener<'_> {
    fn open(&mut self, id: RelayedId, local: SocketAddr) -> Result<(), OpenError> {
        let socket = RelaySocket::bind(local, self.table.options).map_err(|error| {
            if error.kind() == io::ErrorKind::AddrInUse {
                return OpenError::PortInUse;
            }
            tracing::error!("relay socket on {local} cannot be opened: {error}");
            OpenError::Unavailable
        })?;
        self.poll
            .add(&socket, u64::from(id.index()))
            .map_err(|error| {
                tracing::error!("relay socket on {local} cannot be waited for: {error}");
                OpenError::Unavailable
            })?;
        let at = id.index() as usize;
        if self.table.sockets.len() <= at {
            self.table.sockets.resize_with(at + 1, || None);
        }
        self.table.sockets[at] = Some(Entry {
            socket,
            pace: Pace::default(),
        });
        Ok(())
    }

    fn open_tcp(&mut self, id: RelayedId, local: SocketAddr) -> Result<(), OpenError> {
        self.table.peers.open(id, local).map_err(|error| {
            if error.kind() == io::ErrorKind::AddrInUse {
                return OpenError::PortInUse;
            }
            tracing::error!("peers cannot be listened for on {local}: {error}");
            OpenError::Unavailable
        })
    }

    fn connect(&mut self, connection: ConnectionId, from: RelayedId, peer: SocketAddr) {
        self.table.peers.connect(connection, from, peer);
    }

    fn disconnect(&mut self, connection: ConnectionId) -> Traffic {
        self.table.peers.disconnect(connection)
    }

    fn close(&mut self, id: RelayedId) {
        self.table.peers.close(id);
        // Closing the last descriptor of a socket takes it out of the poll.
        if let Some(entry) = self.table.sockets.get_mut(id.index() as usize) {
            *entry = None;
        }
    }
}
