//! DSCP and ECN of a datagram: `IP_TOS` and `IPV6_TCLASS`.
//!
//! Owns the switch, the encoding and the decoding. The octet is passed on whole: which of its bits a
//! relay keeps (RFC 8656 §14) is decided elsewhere.

use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use crate::cmsg::{Ancillary, Control, Message};
use crate::option;

/// Asks the kernel to report the octet of each received datagram.
pub(crate) fn enable(fd: BorrowedFd<'_>, address: IpAddr) -> io::Result<()> {
    match address {
        IpAddr::V4(_) => option::set(fd, libc::IPPROTO_IP, libc::IP_RECVTOS, 1),
        IpAddr::V6(_) => option::set(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1),
    }
}

/// The datagram to `to` shall carry `tos`.
#[inline]
pub(crate) fn push(control: &mut Control, to: IpAddr, tos: u8) {
    let data = libc::c_int::from(tos).to_ne_bytes();
    match to {
        IpAddr::V4(_) => control.push(libc::IPPROTO_IP, libc::IP_TOS, &data),
        IpAddr::V6(_) => control.push(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &data),
    }
}

/// Takes the octet of a received datagram from `message` if that is what it tells.
#[inline]
pub(crate) fn read(message: &Message<'_>, ancillary: &mut Ancillary) {
    match (message.level, message.kind) {
        // The kernel reports one octet for IPv4, an int for IPv6; either form is read for both.
        (libc::IPPROTO_IP, libc::IP_TOS) | (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
            if let Some(&octets) = message.data.first_chunk() {
                ancillary.tos = (libc::c_int::from_ne_bytes(octets) & 0xff) as u8;
            } else if let Some(&octet) = message.data.first() {
                ancillary.tos = octet;
            }
        }
        _ => {}
    }
}
