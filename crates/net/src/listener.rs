//! A UDP socket that clients talk to.
//!
//! Owns its set-up and the batched receive. What leaves it is the matter of [`Outbox`](crate::Outbox).
//!
//! # Several listeners on one address
//! With [`ListenerOptions::reuse_port`] every shard binds its own socket to the same address and the
//! kernel chooses among them by a keyed hash of the datagram's four addresses and ports, scaled to
//! the number of sockets in the group. A client's 5-tuple therefore reaches the same socket for as
//! long as no socket joins or leaves the group; no steering program is attached, because one could
//! only say the same again. Steering by CPU would be cheaper still, but moves a client to another
//! shard whenever its interrupts move. Two rules follow: bind all of the group before serving, and
//! keep all of it open until the end (a leaving socket gives its clients *and* part of the others'
//! to other sockets). All sockets of a group must belong to the same user, so nobody else can join.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use socket2::{Domain, Protocol, Socket, Type};

use crate::arena::{Arena, Received};
use crate::datagram::receive_batch;
use crate::{buffers, dont_fragment, packet_info, segmentation, traffic_class};

/// A nonblocking UDP socket that receives in batches.
// compliance: 8489-6.3.1.2-01
#[derive(Debug)]
pub struct UdpListener {
    fd: OwnedFd,
    local_address: SocketAddr,
}

impl UdpListener {
    /// Binds a socket: close-on-exec, an IPv6 one for IPv6 only, reporting DSCP and ECN, and on a
    /// wildcard address the address each datagram was sent to. It fragments what is too long and
    /// never sets DF.
    ///
    /// # Errors
    /// `AddrInUse` if another socket holds the port ([`port_owner`](crate::port_owner()) tells whose),
    /// `PermissionDenied` for a privileged port, `AddrNotAvailable` if the host does not have the
    /// address, and what else the kernel says.
    pub fn bind(options: &ListenerOptions) -> io::Result<Self> {
        let address = options.address;
        let socket = unbound(address)?;
        // The kernel may answer port 0 with the port of a group that exists already: such a socket
        // chooses its port as a single one and opens its group afterwards.
        let opens_group = options.reuse_port && address.port() == 0;
        socket.set_reuse_port(options.reuse_port && !opens_group)?;
        let fd = socket.as_fd();
        buffers::request(fd, options.receive_buffer, options.send_buffer)?;
        traffic_class::enable(fd, address.ip())?;
        dont_fragment::set(fd, address.ip(), false)?;
        if address.ip().is_unspecified() {
            packet_info::enable(fd, address.ip())?;
        }
        socket.bind(&address.into())?;
        if opens_group {
            socket.set_reuse_port(true)?;
        }
        Ok(Self {
            local_address: local_address(&socket)?,
            fd: socket.into(),
        })
    }

    /// Receives up to `max` datagrams in one system call: the i-th of this call into slot
    /// `first_slot + i`, its description appended to `into`. Returns how many; 0 if there is none.
    ///
    /// The number is further bounded by the slots behind `first_slot`, by 1024, and by the spare
    /// capacity of `into`, which never grows here. ICMP errors that wait at the socket are skipped.
    ///
    /// # Errors
    /// What the kernel says; an empty socket, a signal and an ICMP error are none.
    #[inline]
    pub fn receive(
        &self,
        arena: &mut Arena,
        first_slot: usize,
        max: usize,
        into: &mut Vec<Received>,
    ) -> io::Result<usize> {
        receive_batch(self.fd.as_fd(), arena, first_slot, max, into)
    }

    /// Lets the kernel hand over datagrams of one client that came back to back as one
    /// ([`Received::segment_len`]), or no longer (the default). It costs a little where there are none.
    ///
    /// # Errors
    /// What the kernel says; before Linux 5.0 that it does not know the option.
    pub fn set_receive_bundles(&self, on: bool) -> io::Result<()> {
        segmentation::set_receive(self.as_fd(), on)
    }

    /// The address the socket is bound to, with the port the kernel chose for port 0.
    #[inline]
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// Bytes the kernel granted of [`ListenerOptions::receive_buffer`]. Less than asked for without
    /// `CAP_NET_ADMIN` and with a lower `net.core.rmem_max`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn granted_receive_buffer(&self) -> io::Result<usize> {
        buffers::granted_receive(self.as_fd())
    }

    /// Datagrams the kernel dropped at this socket since it was bound, nearly always because the
    /// receive buffer was full. Wraps around.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn kernel_drops(&self) -> io::Result<u32> {
        buffers::kernel_drops(self.as_fd())
    }
}

impl AsFd for UdpListener {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for UdpListener {
    #[inline]
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// How to bind a [`UdpListener`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerOptions {
    /// Where to listen. Port 0: the kernel chooses.
    pub address: SocketAddr,
    /// Let further sockets of this user bind the same address and share its clients. With port 0 the
    /// socket opens a group of its own; the others join it by its [`UdpListener::local_address`].
    pub reuse_port: bool,
    /// Bytes to queue for receiving; 0: the kernel's default.
    pub receive_buffer: usize,
    /// Bytes to queue for sending; 0: the kernel's default.
    pub send_buffer: usize,
}

impl ListenerOptions {
    /// `address`, not shared, with 4 MiB for receiving (some 3600 datagrams of 1200 bytes) and
    /// 1 MiB for sending.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            reuse_port: false,
            receive_buffer: 4 << 20,
            send_buffer: 1 << 20,
        }
    }
}

/// A UDP socket for the family of `address`, nonblocking and close-on-exec.
pub(crate) fn unbound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM.nonblocking().cloexec(),
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

pub(crate) fn local_address(socket: &Socket) -> io::Result<SocketAddr> {
    socket
        .local_addr()?
        .as_socket()
        .ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))
}
