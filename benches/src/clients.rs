//! All clients of a run, over UDP or over streams.
//!
//! Owns the choice of the transport. Must not know what the messages mean.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

use crate::endpoint::Endpoint;
use crate::streams::Streams;

/// Many clients of one server.
pub(crate) enum Clients {
    /// Each with an address of its own, on one socket.
    Udp {
        endpoint: Box<Endpoint>,
        server: SocketAddr,
    },
    /// Each with a TCP or TLS connection.
    Streams(Streams),
}

impl Clients {
    /// From now on, sends datagrams in a row that go the same way in one piece. Streams do so anyway.
    pub(crate) fn bundle(&mut self) {
        match self {
            Self::Udp { endpoint, .. } => endpoint.bundle(),
            Self::Streams(_) => {}
        }
    }

    /// Queues the message that `fill` writes, of the length it returns, from `client` to the server.
    #[inline]
    pub(crate) fn stage(&mut self, client: u32, fill: impl FnOnce(&mut [u8]) -> usize) {
        match self {
            Self::Udp { endpoint, server } => endpoint.stage(client, *server, fill),
            Self::Streams(streams) => streams.stage(client, fill),
        }
    }

    /// Sends what is queued.
    ///
    /// # Errors
    /// If a connection broke.
    #[inline]
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Udp { endpoint, .. } => {
                endpoint.flush();
                Ok(())
            }
            Self::Streams(streams) => streams.flush(),
        }
    }

    /// Hands what has arrived to `take`, with the client it arrived at. Returns how many messages that were.
    ///
    /// # Errors
    /// If a connection broke, or what the kernel says.
    #[inline]
    pub(crate) fn receive(&mut self, mut take: impl FnMut(u32, &[u8])) -> io::Result<usize> {
        match self {
            Self::Udp { endpoint, .. } => {
                let count = endpoint.receive()?;
                for i in 0..count {
                    if let Some((client, _, bytes)) = endpoint.message(i) {
                        take(client, bytes);
                    }
                }
                Ok(count)
            }
            Self::Streams(streams) => streams.receive(take),
        }
    }

    /// How many clients there can be.
    pub(crate) fn capacity(&self) -> u32 {
        match self {
            Self::Udp { endpoint, .. } => endpoint.capacity(),
            Self::Streams(streams) => streams.capacity(),
        }
    }

    /// Messages sent, and messages that found no room.
    pub(crate) fn sent_and_dropped(&self) -> (u64, u64) {
        match self {
            Self::Udp { endpoint, .. } => endpoint.sent_and_dropped(),
            Self::Streams(streams) => streams.sent_and_dropped(),
        }
    }

    /// Messages that arrived and were lost because the generator did not take them in time.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn missed(&self) -> io::Result<u32> {
        match self {
            Self::Udp { endpoint, .. } => endpoint.missed(),
            Self::Streams(_) => Ok(0),
        }
    }
}

impl AsFd for Clients {
    /// Readable when there is something to receive.
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Udp { endpoint, .. } => endpoint.as_fd(),
            Self::Streams(streams) => streams.as_fd(),
        }
    }
}
