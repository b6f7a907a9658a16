//! The local address of a datagram: `IP_PKTINFO` and `IPV6_PKTINFO`.
//!
//! Owns the switch, the encoding on send (answer from the address the request came to) and the
//! decoding on receive. Needed on sockets bound to a wildcard address only.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;

use crate::cmsg::{Ancillary, Control, Message};
use crate::option;

/// Asks the kernel to report the local address of each received datagram.
pub(crate) fn enable(fd: BorrowedFd<'_>, address: IpAddr) -> io::Result<()> {
    match address {
        IpAddr::V4(_) => option::set(fd, libc::IPPROTO_IP, libc::IP_PKTINFO, 1),
        IpAddr::V6(_) => option::set(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1),
    }
}

/// The datagram shall leave from `source`.
#[inline]
pub(crate) fn push(control: &mut Control, source: IpAddr) {
    match source {
        IpAddr::V4(source) => {
            let mut data = [0; V4_BYTES];
            data[V4_SPECIFIC..V4_HEADER].copy_from_slice(&source.octets());
            control.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &data);
        }
        IpAddr::V6(source) => {
            let mut data = [0; V6_BYTES];
            data[..V6_INTERFACE].copy_from_slice(&source.octets());
            control.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &data);
        }
    }
}

/// Takes the destination of a received datagram from `message` if that is what it tells.
#[inline]
pub(crate) fn read(message: &Message<'_>, ancillary: &mut Ancillary) {
    match (message.level, message.kind) {
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
            if let Some(&octets) = message.data.get(V4_HEADER..).and_then(<[u8]>::first_chunk) {
                ancillary.destination = Some(IpAddr::V4(Ipv4Addr::from_octets(octets)));
            }
        }
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            if let Some(&octets) = message.data.first_chunk() {
                ancillary.destination = Some(IpAddr::V6(Ipv6Addr::from_octets(octets)));
            }
        }
        _ => {}
    }
}

/// `in_pktinfo`: interface index, the local address to use, the address in the header.
const V4_BYTES: usize = 12;
const V4_SPECIFIC: usize = 4;
const V4_HEADER: usize = 8;

/// `in6_pktinfo`: the address, interface index.
const V6_BYTES: usize = 20;
const V6_INTERFACE: usize = 16;

#[cfg(test)]
mod tests {
    use std::mem;

    use super::*;

    #[test]
    fn sizes_agree_with_the_c_library() {
        assert_eq!(V4_BYTES, size_of::<libc::in_pktinfo>());
        assert_eq!(V4_SPECIFIC, mem::offset_of!(libc::in_pktinfo, ipi_spec_dst));
        assert_eq!(V4_HEADER, mem::offset_of!(libc::in_pktinfo, ipi_addr));
        assert_eq!(V6_BYTES, size_of::<libc::in6_pktinfo>());
        assert_eq!(
            V6_INTERFACE,
            mem::offset_of!(libc::in6_pktinfo, ipi6_ifindex)
        );
    }

    #[test]
    fn short_messages_tell_nothing() {
        for (level, kind, longest) in [
            (libc::IPPROTO_IP, libc::IP_PKTINFO, V4_BYTES - 1),
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, V6_INTERFACE - 1),
        ] {
            let mut ancillary = Ancillary::default();
            for len in 0..=longest {
                let data = &[1; V6_BYTES][..len];
                read(&Message { level, kind, data }, &mut ancillary);
            }
            assert_eq!(ancillary.destination, None);
        }
    }
}
