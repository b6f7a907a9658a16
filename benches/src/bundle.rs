//! Several datagrams of one flow handed to the kernel in one piece (`UDP_SEGMENT`), as a network card hands merged
//! datagrams up: a server that asks for bundles gets them whole, any other gets them one by one.
//!
//! Owns that one system call.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc::{in_addr, in_pktinfo};
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn, sendmsg};

/// Sends `datagrams`, all of the same length and at most [`capacity`] of them, from `source` to `to`.
///
/// # Errors
/// What the kernel says; then none of them was sent.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    source: Ipv4Addr,
    to: SocketAddrV4,
    datagrams: &[IoSlice<'_>],
) -> io::Result<()> {
    let len = datagrams
        .first()
        .map_or(0, |datagram| datagram.len() as u16);
    let info = in_pktinfo {
        ipi_ifindex: 0,
        ipi_spec_dst: in_addr {
            s_addr: u32::from_ne_bytes(source.octets()),
        },
        ipi_addr: in_addr { s_addr: 0 },
    };
    let control = [
        ControlMessage::Ipv4PacketInfo(&info),
        ControlMessage::UdpGsoSegments(&len),
    ];
    sendmsg(
        socket.as_raw_fd(),
        datagrams,
        &control,
        MsgFlags::MSG_DONTWAIT,
        Some(&SockaddrIn::from(to)),
    )?;
    Ok(())
}

/// How many datagrams of `len` bytes make a bundle at most.
pub(crate) fn capacity(len: usize) -> usize {
    (BUNDLE_BYTES / len.max(1)).clamp(1, DATAGRAMS_MAX)
}

/// Bytes of the longest UDP datagram over IPv4, which a bundle may not exceed.
const BUNDLE_BYTES: usize = 65_507;
/// What the oldest kernels take.
pub(crate) const DATAGRAMS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundles_stay_below_both_limits() {
        assert_eq!(capacity(0), 64);
        assert_eq!(capacity(160), 64);
        assert_eq!(capacity(1_204), 54);
        assert_eq!(capacity(65_507), 1);
        assert_eq!(capacity(65_508), 1);
    }
}
