//! Fragmentation of what a socket sends: `IP_MTU_DISCOVER` and `IPV6_MTU_DISCOVER`.
//!
//! Owns the switch. The kernel knows it per socket, not per datagram.

use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use crate::option;

/// `true`: IPv4 datagrams carry DF and nothing is fragmented here; a datagram longer than the
/// interface takes fails. `false`: no DF, the kernel fragments.
pub(crate) fn set(fd: BorrowedFd<'_>, address: IpAddr, on: bool) -> io::Result<()> {
    // PROBE rather than DO: a forged ICMP error can't shrink what the socket is able to send.
    match address {
        IpAddr::V4(_) => {
            let mode = if on {
                libc::IP_PMTUDISC_PROBE
            } else {
                libc::IP_PMTUDISC_DONT
            };
            option::set(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, mode)
        }
        IpAddr::V6(_) => {
            let mode = if on {
                libc::IPV6_PMTUDISC_PROBE
            } else {
                libc::IPV6_PMTUDISC_DONT
            };
            option::set(fd, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, mode)
        }
    }
}
