//! All clients, or all peers, that speak UDP.
//!
//! Owns the choice between one socket for all and one for each. Must not know what is sent.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

use crate::network::{Hosts, Side};
use crate::own_sockets::OwnSockets;
use crate::shared_socket::SharedSocket;

/// Many transport addresses to send from and to receive at.
pub(crate) enum Endpoint {
    /// Told apart by address: the cheap way.
    Shared(Box<SharedSocket>),
    /// Told apart by port.
    Own(Box<OwnSockets>),
}

impl Endpoint {
    /// Opens what `count` members of `side` need, in the namespace the calling thread is in.
    ///
    /// # Errors
    /// What the kernel says, such as too many open files.
    pub(crate) fn bind(side: Side, count: u32) -> io::Result<Self> {
        match side {
            Side::Many(hosts) => {
                SharedSocket::bind(hosts).map(|socket| Self::Shared(Box::new(socket)))
            }
            Side::One(address) => {
                OwnSockets::bind(address, count).map(|sockets| Self::Own(Box::new(sockets)))
            }
        }
    }

    /// The transport address of number `index`.
    pub(crate) fn address(&self, index: u32) -> SocketAddr {
        match self {
            Self::Shared(socket) => socket.address(index),
            Self::Own(sockets) => sockets.address(index),
        }
    }

    /// How many members there can be.
    pub(crate) fn capacity(&self) -> u32 {
        match self {
            Self::Shared(_) => Hosts::MAX,
            Self::Own(sockets) => sockets.len(),
        }
    }

    /// From now on, sends datagrams in a row that go the same way in one piece, where they share a socket.
    pub(crate) fn bundle(&mut self) {
        match self {
            Self::Shared(socket) => socket.bundle(),
            Self::Own(_) => {}
        }
    }

    /// Queues what `fill` writes, of the length it returns, from number `from` to `to`. May send it, or what was queued
    /// before.
    #[inline]
    pub(crate) fn stage(
        &mut self,
        from: u32,
        to: SocketAddr,
        fill: impl FnOnce(&mut [u8]) -> usize,
    ) {
        match self {
            Self::Shared(socket) => socket.stage(from, to, fill),
            Self::Own(sockets) => sockets.send(from, to, fill),
        }
    }

    /// Sends what is queued.
    #[inline]
    pub(crate) fn flush(&mut self) {
        match self {
            Self::Shared(socket) => socket.flush(),
            Self::Own(_) => {}
        }
    }

    /// Receives a batch, to be looked at by [`Self::message`]; returns how many.
    ///
    /// # Errors
    /// What the kernel says.
    #[inline]
    pub(crate) fn receive(&mut self) -> io::Result<usize> {
        match self {
            Self::Shared(socket) => socket.receive(),
            Self::Own(sockets) => sockets.receive(),
        }
    }

    /// Message `i` of the last batch: to whom it came, who sent it, what it says. `None` if it came to nobody.
    #[inline]
    pub(crate) fn message(&self, i: usize) -> Option<(u32, SocketAddr, &[u8])> {
        match self {
            Self::Shared(socket) => socket.message(i),
            Self::Own(sockets) => sockets.message(i),
        }
    }

    /// How many datagrams the kernel took, and how many it did not.
    pub(crate) fn sent_and_dropped(&self) -> (u64, u64) {
        match self {
            Self::Shared(socket) => socket.sent_and_dropped(),
            Self::Own(sockets) => sockets.sent_and_dropped(),
        }
    }

    /// Datagrams that arrived and were lost because the generator did not take them in time, as far as that is known.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn missed(&self) -> io::Result<u32> {
        match self {
            Self::Shared(socket) => socket.missed(),
            Self::Own(_) => Ok(0),
        }
    }
}

impl AsFd for Endpoint {
    /// Readable when there is something to receive.
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Shared(socket) => socket.as_fd(),
            Self::Own(sockets) => sockets.as_fd(),
        }
    }
}

/// More than any packet of a run.
pub(crate) const DATAGRAM_BYTES: usize = 1536;
