//! Socket addresses as the kernel writes them.
//!
//! Owns the conversion between `std` and C addresses; scope id and flow information survive it.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// An IPv4 or IPv6 socket address in the kernel's layout. 28 bytes instead of the 128 of
/// `sockaddr_storage`: a batch of them stays in the cache.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) union RawAddress {
    family: libc::sa_family_t,
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

impl RawAddress {
    /// What to tell the kernel when it shall write an address here.
    pub(crate) const CAPACITY: libc::socklen_t = size_of::<Self>() as libc::socklen_t;

    /// The address as `std` has it. Memory without an IPv6 address reads as IPv4.
    #[inline]
    pub(crate) fn to_std(self) -> SocketAddr {
        if libc::c_int::from(self.family()) == libc::AF_INET6 {
            // SAFETY: all 28 bytes are initialised from the first constructor on, and every bit
            // pattern is a valid `sockaddr_in6`.
            let v6 = unsafe { self.v6 };
            SocketAddr::V6(SocketAddrV6::new(
                Ipv6Addr::from(v6.sin6_addr.s6_addr),
                u16::from_be(v6.sin6_port),
                v6.sin6_flowinfo,
                v6.sin6_scope_id,
            ))
        } else {
            // SAFETY: as above, for `sockaddr_in`, the shorter of the two.
            let v4 = unsafe { self.v4 };
            SocketAddr::V4(SocketAddrV4::new(
                Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes()),
                u16::from_be(v4.sin_port),
            ))
        }
    }

    /// Bytes the kernel shall read.
    #[inline]
    pub(crate) fn len(&self) -> libc::socklen_t {
        if libc::c_int::from(self.family()) == libc::AF_INET6 {
            size_of::<libc::sockaddr_in6>() as libc::socklen_t
        } else {
            size_of::<libc::sockaddr_in>() as libc::socklen_t
        }
    }

    #[inline]
    fn family(&self) -> libc::sa_family_t {
        // SAFETY: the family is the first field of both C structs and all bytes are initialised.
        unsafe { self.family }
    }
}

impl From<SocketAddr> for RawAddress {
    #[inline]
    fn from(address: SocketAddr) -> Self {
        let mut raw = Self::default();
        match address {
            SocketAddr::V4(address) => {
                raw.v4 = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: address.port().to_be(),
                    sin_addr: libc::in_addr {
                        s_addr: u32::from_ne_bytes(address.ip().octets()),
                    },
                    sin_zero: [0; 8],
                };
            }
            SocketAddr::V6(address) => {
                raw.v6 = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: address.port().to_be(),
                    sin6_flowinfo: address.flowinfo(),
                    sin6_addr: libc::in6_addr {
                        s6_addr: address.ip().octets(),
                    },
                    sin6_scope_id: address.scope_id(),
                };
            }
        }
        raw
    }
}

impl Default for RawAddress {
    #[inline]
    fn default() -> Self {
        Self {
            v6: libc::sockaddr_in6 {
                sin6_family: 0,
                sin6_port: 0,
                sin6_flowinfo: 0,
                sin6_addr: libc::in6_addr { s6_addr: [0; 16] },
                sin6_scope_id: 0,
            },
        }
    }
}

impl fmt::Debug for RawAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_std().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_survives_both_ways() {
        let address: SocketAddr = "192.0.2.7:3478".parse().unwrap();
        let raw = RawAddress::from(address);
        assert_eq!(raw.to_std(), address);
        assert_eq!(raw.len(), 16);
    }

    #[test]
    fn ipv6_keeps_scope_id_and_flow_information() {
        let address = SocketAddr::V6(SocketAddrV6::new(
            "fe80::1:2".parse().unwrap(),
            49_152,
            0x000a_bcde,
            7,
        ));
        let raw = RawAddress::from(address);
        assert_eq!(raw.to_std(), address);
        assert_eq!(raw.len(), 28);
    }

    #[test]
    fn ipv4_layout_is_network_order() {
        let raw = RawAddress::from("1.2.3.4:258".parse::<SocketAddr>().unwrap());
        // SAFETY: initialised by the conversion above.
        let v4 = unsafe { raw.v4 };
        assert_eq!(v4.sin_port.to_ne_bytes(), [1, 2]);
        assert_eq!(v4.sin_addr.s_addr.to_ne_bytes(), [1, 2, 3, 4]);
    }

    #[test]
    fn untouched_memory_is_no_peer() {
        assert_eq!(
            RawAddress::default().to_std(),
            "0.0.0.0:0".parse::<SocketAddr>().unwrap()
        );
    }
}
