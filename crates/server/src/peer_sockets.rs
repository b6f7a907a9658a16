//! TCP connections of a shard with peers (RFC 6062), by the relay's own numbers: who owns what until the relay says that it is over.
//!
//! Owns no task. What has to be waited for is work for the stream shard.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;
use turnbuckle_relay::{AllocationId, ConnectionId, RelayedId, Traffic};

use crate::allowance::Allowance;

/// All listeners and connections of TCP allocations. Empty in a shard of UDP clients.
#[derive(Debug, Default)]
pub(crate) struct PeerSockets {
    listeners: BTreeMap<RelayedId, Listening>,
    connections: BTreeMap<ConnectionId, Held>,
    /// Of allocations whose rate is limited, while one of their connections is carried.
    allowances: BTreeMap<AllocationId, Weak<Allowance>>,
    work: Vec<Work>,
    /// There is work.
    wanted: Arc<Notify>,
}

/// What has to be waited for.
#[derive(Debug)]
pub(crate) enum Work {
    /// Connections of peers to a relayed transport address.
    Accept(RelayedId, TcpListener),
    /// A connection to a peer.
    Connect {
        connection: ConnectionId,
        from: SocketAddr,
        peer: SocketAddr,
    },
}

/// What a data connection has carried so far; written by the shard that serves it.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    pub(crate) to_peer: AtomicU64,
    pub(crate) to_client: AtomicU64,
}

/// A peer's connection on its way to whoever carries its bytes.
#[derive(Debug)]
pub(crate) struct Lent {
    pub(crate) peer: std::net::TcpStream,
    pub(crate) carried: Arc<Carried>,
    /// `None` where the rate is not limited.
    pub(crate) allowance: Option<Arc<Allowance>>,
    /// Fails when the relay has closed the connection.
    pub(crate) closed: oneshot::Receiver<()>,
}

#[derive(Debug)]
struct Listening {
    local: SocketAddr,
    /// `None` until its task has started.
    task: Option<AbortHandle>,
}

#[derive(Debug)]
enum Held {
    /// Being opened, once its task has started.
    Connecting(Option<AbortHandle>),
    /// Open, and not read from: the kernel buffers, and closes the window when that is full (RFC 6062 §5.2).
    // compliance: 6062-5.2-09, 6062-5.3-02
    Waiting(TcpStream),
    /// Bytes go both ways elsewhere, until the sender is dropped.
    Carrying {
        carried: Arc<Carried>,
        _open: oneshot::Sender<()>,
    },
}

impl PeerSockets {
    /// Wakes whoever does the work.
    pub(crate) fn wanted(&self) -> Arc<Notify> {
        Arc::clone(&self.wanted)
    }

    pub(crate) fn take_work(&mut self) -> Vec<Work> {
        std::mem::take(&mut self.work)
    }

    /// The task that does the work, which ends with what it is for.
    pub(crate) fn started_accepting(&mut self, id: RelayedId, task: AbortHandle) {
        match self.listeners.get_mut(&id) {
            Some(listening) => listening.task = Some(task),
            None => task.abort(),
        }
    }

    /// As [`started_accepting`](Self::started_accepting).
    pub(crate) fn started_connecting(&mut self, id: ConnectionId, task: AbortHandle) {
        match self.connections.get_mut(&id) {
            Some(Held::Connecting(place)) => *place = Some(task),
            Some(_) => {}
            None => task.abort(),
        }
    }

    /// Keeps an open connection for its client.
    pub(crate) fn keep(&mut self, id: ConnectionId, peer: TcpStream) {
        self.connections.insert(id, Held::Waiting(peer));
    }

    /// The connection could not be opened.
    pub(crate) fn forget(&mut self, id: ConnectionId) {
        self.connections.remove(&id);
    }

    /// Hands out a connection that waits, with the rate that the allocation's connections have together.
    pub(crate) fn loan(
        &mut self,
        id: ConnectionId,
        limit: Option<(AllocationId, NonZeroU64)>,
    ) -> Option<Lent> {
        match self.connections.remove(&id)? {
            Held::Waiting(peer) => {
                // Whoever gets it waits for it by a poll of its own.
                let peer = peer.into_std().ok()?;
                let carried = Arc::<Carried>::default();
                let (open, closed) = oneshot::channel();
                self.connections.insert(
                    id,
                    Held::Carrying {
                        carried: Arc::clone(&carried),
                        _open: open,
                    },
                );
                let allowance = limit.map(|(id, rate)| self.allowance(id, rate));
                Some(Lent {
                    peer,
                    carried,
                    allowance,
                    closed,
                })
            }
            other => {
                self.connections.insert(id, other);
                None
            }
        }
    }

    pub(crate) fn open(&mut self, id: RelayedId, local: SocketAddr) -> io::Result<()> {
        let listener = listen(local)?;
        self.listeners.insert(id, Listening { local, task: None });
        self.work.push(Work::Accept(id, listener));
        self.wanted.notify_one();
        Ok(())
    }

    pub(crate) fn close(&mut self, id: RelayedId) {
        let Some(listening) = self.listeners.remove(&id) else {
            return;
        };
        self.work
            .retain(|work| !matches!(work, Work::Accept(waiting, _) if *waiting == id));
        if let Some(task) = listening.task {
            task.abort();
        }
    }

    pub(crate) fn connect(&mut self, connection: ConnectionId, from: RelayedId, peer: SocketAddr) {
        let Some(listening) = self.listeners.get(&from) else {
            return;
        };
        self.work.push(Work::Connect {
            connection,
            from: listening.local,
            peer,
        });
        self.connections.insert(connection, Held::Connecting(None));
        self.wanted.notify_one();
    }

    pub(crate) fn disconnect(&mut self, id: ConnectionId) -> Traffic {
        match self.connections.remove(&id) {
            Some(Held::Connecting(task)) => {
                self.work.retain(
                    |work| !matches!(work, Work::Connect { connection, .. } if *connection == id),
                );
                if let Some(task) = task {
                    task.abort();
                }
                Traffic::default()
            }
            Some(Held::Carrying { carried, .. }) => Traffic {
                bytes_to_peers: carried.to_peer.load(Ordering::Relaxed),
                bytes_to_client: carried.to_client.load(Ordering::Relaxed),
                ..Traffic::default()
            },
            Some(Held::Waiting(_)) | None => Traffic::default(),
        }
    }

    /// The one that all connections of this allocation share.
    fn allowance(&mut self, id: AllocationId, rate: NonZeroU64) -> Arc<Allowance> {
        self.allowances.retain(|_, held| held.strong_count() > 0);
        let held = self.allowances.get(&id).and_then(Weak::upgrade);
        held.unwrap_or_else(|| {
            let made = Arc::new(Allowance::new(rate));
            self.allowances.insert(id, Arc::downgrade(&made));
            made
        })
    }

    /// Closes them all.
    pub(crate) fn clear(&mut self) {
        self.work.clear();
        let listeners = std::mem::take(&mut self.listeners).into_values();
        let connections = std::mem::take(&mut self.connections).into_values();
        let listeners = listeners.filter_map(|listening| listening.task);
        let connections = connections.filter_map(|held| match held {
            Held::Connecting(task) => task,
            Held::Waiting(_) | Held::Carrying { .. } => None,
        });
        listeners.chain(connections).for_each(|task| task.abort());
    }
}

/// Connects from a relayed transport address, which is listened on at the same time.
pub(crate) async fn connect(from: SocketAddr, peer: SocketAddr) -> io::Result<TcpStream> {
    let socket = match from {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(from)?;
    socket.connect(peer).await
}

fn listen(local: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(local),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if local.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Connections of an allocation that had the port before may still be dying away.
    socket.set_reuse_address(true)?;
    socket.bind(&local.into())?;
    // The port is this server's alone by now; its own connections to peers leave from it as well.
    socket.set_reuse_port(true)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Peers of one allocation that wait to be accepted.
const BACKLOG: i32 = 64;
