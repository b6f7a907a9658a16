//! The socket behind a relayed transport address.
//!
//! Owns its set-up and its receives. Sending is [`Train`](crate::Train) and [`send_to`](crate::send_to).

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::arena::{Arena, Received};
use crate::icmp::{self, IcmpError};
use crate::listener::{local_address, unbound};
use crate::{buffers, datagram, dont_fragment, segmentation, traffic_class};

/// A nonblocking UDP socket that nobody else can bind beside.
#[derive(Debug)]
pub struct RelaySocket {
    fd: OwnedFd,
    local_address: SocketAddr,
    /// Cleared once the kernel has refused one.
    sends_trains: AtomicBool,
}

impl RelaySocket {
    /// Binds a socket: close-on-exec, an IPv6 one for IPv6 only, reporting DSCP, ECN and ICMP errors, without DF
    /// (RFC 8656 §14: set only where the client asks for it).
    ///
    /// # Errors
    /// `AddrInUse` if the port is taken; raw error `EMFILE` if the descriptor limit is reached; what
    /// else the kernel says.
    pub fn bind(address: SocketAddr, options: RelayOptions) -> io::Result<Self> {
        let socket = unbound(address)?;
        let fd = socket.as_fd();
        buffers::request(fd, options.receive_buffer, options.send_buffer)?;
        traffic_class::enable(fd, address.ip())?;
        dont_fragment::set(fd, address.ip(), false)?;
        icmp::enable(fd, address.ip())?;
        socket.bind(&address.into())?;
        Ok(Self {
            local_address: local_address(&socket)?,
            fd: socket.into(),
            sends_trains: AtomicBool::new(true),
        })
    }

    /// Receives one datagram into slot `slot` with one system call; `None` if there is none. An ICMP
    /// error that waits at the socket is skipped.
    ///
    /// # Errors
    /// What the kernel says; an empty socket, a signal and an ICMP error are none.
    ///
    /// # Panics
    /// If the arena has no slot `slot`.
    #[inline]
    pub fn receive(&self, arena: &mut Arena, slot: usize) -> io::Result<Option<Received>> {
        datagram::receive(self.fd.as_fd(), arena.payload_mut(slot))
    }

    /// Takes the oldest ICMP error about a datagram that was sent from here; `None` if there is none. While one waits the socket is
    /// reported with [`Event::error`](crate::Event::error).
    pub fn take_icmp_error(&self) -> Option<IcmpError> {
        icmp::take(self.fd.as_fd())
    }

    /// Receives up to `max` datagrams with one system call: the i-th of this call into slot
    /// `first_slot + i`, its description appended to `into`, within the bounds of
    /// [`UdpListener::receive`](crate::UdpListener::receive). Returns how many.
    ///
    /// # Errors
    /// As [`Self::receive`].
    #[inline]
    pub fn receive_batch(
        &self,
        arena: &mut Arena,
        first_slot: usize,
        max: usize,
        into: &mut Vec<Received>,
    ) -> io::Result<usize> {
        datagram::receive_batch(self.fd.as_fd(), arena, first_slot, max, into)
    }

    /// Lets the kernel hand over datagrams of one peer that came back to back as one
    /// ([`Received::segment_len`]), or no longer (the default).
    ///
    /// # Errors
    /// What the kernel says; before Linux 5.0 that it does not know the option.
    pub fn set_receive_bundles(&self, on: bool) -> io::Result<()> {
        segmentation::set_receive(self.fd.as_fd(), on)
    }

    /// Sets DF on all that is sent from now on, or not (the default).
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_dont_fragment(&self, on: bool) -> io::Result<()> {
        dont_fragment::set(self.fd.as_fd(), self.local_address.ip(), on)
    }

    /// The relayed transport address as the host has it, with the port the kernel chose for port 0.
    #[inline]
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// Whether several datagrams may be sent as one.
    #[inline]
    pub(crate) fn sends_trains(&self) -> bool {
        self.sends_trains.load(Ordering::Relaxed)
    }

    /// The kernel cannot do it on this socket.
    #[cold]
    pub(crate) fn send_trains_no_more(&self) {
        self.sends_trains.store(false, Ordering::Relaxed);
    }
}

impl AsFd for RelaySocket {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for RelaySocket {
    #[inline]
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// How to bind a [`RelaySocket`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayOptions {
    /// Bytes to queue for receiving; 0: the kernel's default.
    pub receive_buffer: usize,
    /// Bytes to queue for sending; 0: the kernel's default.
    pub send_buffer: usize,
}

impl Default for RelayOptions {
    /// 512 KiB for receiving, the kernel's default for sending.
    fn default() -> Self {
        Self {
            receive_buffer: 512 << 10,
            send_buffer: 0,
        }
    }
}
