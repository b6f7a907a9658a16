//! The address ranges that are no public hosts: the IANA special-purpose registries of RFC 6890, multicast and broadcast.

use core::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A range that is refused unless the operator opens it.
#[derive(Debug, PartialEq, Eq)]
pub struct SpecialRange {
    pub net: IpNet,
    /// What the range is for.
    pub name: &'static str,
    /// Where that is written down.
    pub reference: &'static str,
}

impl fmt::Display for SpecialRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {})", self.net, self.name, self.reference)
    }
}

/// All of them.
pub const fn special_ranges() -> &'static [SpecialRange] {
    RANGES
}

/// The first range that holds this address.
pub(super) fn find(ip: IpAddr) -> Option<&'static SpecialRange> {
    RANGES.iter().find(|range| range.net.contains(&ip))
}

const fn v4(
    a: u8,
    b: u8,
    c: u8,
    d: u8,
    len: u8,
    name: &'static str,
    reference: &'static str,
) -> SpecialRange {
    SpecialRange {
        net: IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), len)),
        name,
        reference,
    }
}

// compliance: 8656-21.4-01
const fn v6(
    high: [u16; 4],
    low: [u16; 4],
    len: u8,
    name: &'static str,
    reference: &'static str,
) -> SpecialRange {
    let [a, b, c, d] = high;
    let [e, f, g, h] = low;
    SpecialRange {
        net: IpNet::V6(Ipv6Net::new_assert(
            Ipv6Addr::new(a, b, c, d, e, f, g, h),
            len,
        )),
        name,
        reference,
    }
}

const RANGES: &[SpecialRange] = &[
    v4(0, 0, 0, 0, 8, "this network", "RFC 791"),
    v4(10, 0, 0, 0, 8, "private use", "RFC 1918"),
    v4(100, 64, 0, 0, 10, "shared address space", "RFC 6598"),
    v4(127, 0, 0, 0, 8, "loopback", "RFC 1122"),
    v4(169, 254, 0, 0, 16, "link-local, cloud metadata", "RFC 3927"),
    v4(172, 16, 0, 0, 12, "private use", "RFC 1918"),
    v4(192, 0, 0, 0, 24, "IETF protocol assignments", "RFC 6890"),
    v4(192, 0, 2, 0, 24, "documentation", "RFC 5737"),
    v4(192, 31, 196, 0, 24, "AS112", "RFC 7535"),
    v4(192, 52, 193, 0, 24, "AMT", "RFC 7450"),
    v4(192, 88, 99, 0, 24, "6to4 relay anycast", "RFC 7526"),
    v4(192, 168, 0, 0, 16, "private use", "RFC 1918"),
    v4(192, 175, 48, 0, 24, "AS112", "RFC 7534"),
    v4(198, 18, 0, 0, 15, "benchmarking", "RFC 2544"),
    v4(198, 51, 100, 0, 24, "documentation", "RFC 5737"),
    v4(203, 0, 113, 0, 24, "documentation", "RFC 5737"),
    v4(224, 0, 0, 0, 4, "multicast", "RFC 1112"),
    v4(240, 0, 0, 0, 4, "reserved and broadcast", "RFC 1112"),
    v6(
        [0; 4],
        [0; 4],
        96,
        "unspecified, loopback, IPv4-compatible",
        "RFC 4291",
    ),
    v6([0; 4], [0, 0xffff, 0, 0], 96, "IPv4-mapped", "RFC 4291"),
    v6([0; 4], [0xffff, 0, 0, 0], 96, "IPv4-translated", "RFC 2765"),
    v6([0x64, 0xff9b, 1, 0], [0; 4], 48, "local NAT64", "RFC 8215"),
    v6([0x100, 0, 0, 0], [0; 4], 64, "discard-only", "RFC 6666"),
    v6([0x100, 0, 0, 1], [0; 4], 64, "dummy prefix", "RFC 9780"),
    v6(
        [0x2001, 0, 0, 0],
        [0; 4],
        23,
        "IETF protocol assignments, Teredo",
        "RFC 2928",
    ),
    v6(
        [0x2001, 0xdb8, 0, 0],
        [0; 4],
        32,
        "documentation",
        "RFC 3849",
    ),
    v6([0x2002, 0, 0, 0], [0; 4], 16, "6to4", "RFC 3056"),
    v6([0x2620, 0x4f, 0x8000, 0], [0; 4], 48, "AS112", "RFC 7534"),
    v6([0x3fff, 0, 0, 0], [0; 4], 20, "documentation", "RFC 9637"),
    v6([0x5f00, 0, 0, 0], [0; 4], 16, "segment routing", "RFC 9602"),
    v6([0xfc00, 0, 0, 0], [0; 4], 7, "unique local", "RFC 4193"),
    v6([0xfe80, 0, 0, 0], [0; 4], 10, "link-local", "RFC 4291"),
    v6([0xfec0, 0, 0, 0], [0; 4], 10, "site-local", "RFC 3879"),
    v6([0xff00, 0, 0, 0], [0; 4], 8, "multicast", "RFC 4291"),
];
