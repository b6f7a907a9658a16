//! ICMP errors about datagrams that a socket has sent: `IP_RECVERR` and `IPV6_RECVERR`.
//!
//! Owns the switch and the reading of the error queue. The kernel matches an error with a socket by the datagram that the
//! ICMP message quotes.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use crate::cmsg::{CONTROL_BYTES, Control};
use crate::messages::empty_message;
use crate::option;
use crate::sockaddr::RawAddress;

/// An ICMP or ICMPv6 error message, as its family says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpError {
    /// Where the datagram was sent to.
    pub peer: SocketAddr,
    /// Type of the message.
    pub icmp_type: u8,
    /// Code of the message.
    pub code: u8,
    /// MTU of the next hop in bytes, where the type and code have one.
    pub mtu: u32,
}

/// Has the socket collect ICMP errors. Each is then also returned once by a send or receive, which has to be made again.
pub(crate) fn enable(fd: BorrowedFd<'_>, address: IpAddr) -> io::Result<()> {
    match address {
        IpAddr::V4(_) => option::set(fd, libc::IPPROTO_IP, libc::IP_RECVERR, 1),
        IpAddr::V6(_) => option::set(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1),
    }
}

/// Takes the oldest ICMP error off the socket's queue; errors of this host's own are taken off and skipped.
pub(crate) fn take(fd: BorrowedFd<'_>) -> Option<IcmpError> {
    for _ in 0..SKIPPED_MAX {
        let mut name = RawAddress::default();
        let mut control = Control::default();
        let mut header = empty_message();
        header.msg_name = ptr::from_mut(&mut name).cast();
        header.msg_namelen = RawAddress::CAPACITY;
        header.msg_control = control.as_mut_ptr();
        header.msg_controllen = CONTROL_BYTES as _;
        // SAFETY: the descriptor is open for the borrow; both pointers in the header are to values that live until the call
        // returns and are borrowed mutably here, with their sizes beside them; there is no payload vector.
        let result = unsafe {
            libc::recvmsg(
                fd.as_raw_fd(),
                &mut header,
                libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT,
            )
        };
        if result < 0 {
            return None;
        }
        if let Some(error) = read(&control, header.msg_controllen as _, name.to_std()) {
            return Some(error);
        }
    }
    None
}

/// Reads `struct sock_extended_err`: errno, origin, type, code, one byte of nothing, info.
fn read(control: &Control, len: usize, peer: SocketAddr) -> Option<IcmpError> {
    let (data, icmp_origin) = match peer {
        SocketAddr::V4(_) => (
            control.find(len, libc::IPPROTO_IP, libc::IP_RECVERR)?,
            libc::SO_EE_ORIGIN_ICMP,
        ),
        SocketAddr::V6(_) => (
            control.find(len, libc::IPPROTO_IPV6, libc::IPV6_RECVERR)?,
            libc::SO_EE_ORIGIN_ICMP6,
        ),
    };
    let &[_, _, _, _, origin, icmp_type, code, _, i0, i1, i2, i3] = data.first_chunk()?;
    (origin == icmp_origin).then_some(IcmpError {
        peer,
        icmp_type,
        code,
        mtu: u32::from_ne_bytes([i0, i1, i2, i3]),
    })
}

/// Errors of the host's own are as rare as datagrams that are too long for it.
const SKIPPED_MAX: usize = 8;
