//! The host's own addresses.
//!
//! Owns the walk over the interfaces and the question which address the kernel would send from. Sends
//! nothing.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::ptr;

/// Every IP address of every interface that is up, loopback included, sorted and without repetition.
///
/// # Errors
/// What the kernel says.
pub fn local_addresses() -> io::Result<Vec<IpAddr>> {
    let mut first = ptr::null_mut();
    // SAFETY: writes one pointer, to a list that is ours to free.
    if unsafe { libc::getifaddrs(&mut first) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut addresses = Vec::new();
    let mut next = first;
    // SAFETY: `next` is null or points to an entry of the list, which lives until it is freed below.
    while let Some(entry) = unsafe { next.as_ref() } {
        next = entry.ifa_next;
        if entry.ifa_flags & libc::IFF_UP as libc::c_uint == 0 {
            continue;
        }
        // SAFETY: the address of an entry is null or points to a socket address of its family.
        addresses.extend(unsafe { address_of(entry.ifa_addr) });
    }
    // SAFETY: made by `getifaddrs` and not freed before; no reference into it is left.
    unsafe { libc::freeifaddrs(first) };
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

/// The address the host sends from towards the Internet; `None` without a route there.
pub fn default_source(family: Family) -> Option<IpAddr> {
    source_toward(match family {
        Family::V4 => IpAddr::V4(DOCUMENTATION_V4),
        Family::V6 => IpAddr::V6(DOCUMENTATION_V6),
    })
}

/// The address the host sends from towards `remote`; `None` without a route there.
pub fn source_toward(remote: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match remote {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    // Connecting a UDP socket looks up the route and sends nothing.
    socket.connect((remote, DISCARD_PORT)).ok()?;
    let source = socket.local_addr().as_ref().map(SocketAddr::ip).ok()?;
    (!source.is_unspecified()).then_some(source)
}

/// An IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// # Safety
/// `address` must be null or point to a socket address as long as its family says.
unsafe fn address_of(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: null or valid, as the caller promises.
    let family = unsafe { address.as_ref() }?.sa_family;
    match libc::c_int::from(family) {
        libc::AF_INET => {
            // SAFETY: an address of this family is a `sockaddr_in`.
            let address = unsafe { address.cast::<libc::sockaddr_in>().read_unaligned() };
            let octets = address.sin_addr.s_addr.to_ne_bytes();
            Some(IpAddr::V4(Ipv4Addr::from_octets(octets)))
        }
        libc::AF_INET6 => {
            // SAFETY: an address of this family is a `sockaddr_in6`.
            let address = unsafe { address.cast::<libc::sockaddr_in6>().read_unaligned() };
            let octets = address.sin6_addr.s6_addr;
            Some(IpAddr::V6(Ipv6Addr::from_octets(octets)))
        }
        _ => None,
    }
}

/// TEST-NET-1 (RFC 5737): takes the default route everywhere.
const DOCUMENTATION_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// RFC 3849.
const DOCUMENTATION_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

const DISCARD_PORT: u16 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_among_the_addresses() {
        let addresses = local_addresses().unwrap();
        assert!(addresses.contains(&IpAddr::V4(Ipv4Addr::LOCALHOST)));
        assert!(addresses.is_sorted());
    }

    #[test]
    fn loopback_is_reached_from_loopback() {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert_eq!(source_toward(loopback), Some(loopback));
    }

    #[test]
    fn default_source_is_an_address_of_the_host() {
        for family in [Family::V4, Family::V6] {
            if let Some(source) = default_source(family) {
                assert!(local_addresses().unwrap().contains(&source), "{source}");
            }
        }
    }
}
