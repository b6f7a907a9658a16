//! Strategies for property tests.
//!
//! Owns addresses and their spellings. It must not judge them: which are refused is the relay's business.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// How property tests are run: that many cases, the same ones each time unless `PROPTEST_RNG_SEED` says otherwise. A failure
/// prints the smallest case found; no file remembers it.
pub fn property_tests(cases: u32) -> ProptestConfig {
    let mut config = ProptestConfig::with_cases(cases);
    config.failure_persistence = None;
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(1);
    }
    config
}

/// Any IPv4 address.
pub fn ipv4_address() -> impl Strategy<Value = Ipv4Addr> {
    any::<u32>().prop_map(Ipv4Addr::from_bits)
}

/// Any IPv6 address; half of them are spellings of an IPv4 address.
pub fn ipv6_address() -> impl Strategy<Value = Ipv6Addr> {
    prop_oneof![
        any::<u128>().prop_map(Ipv6Addr::from_bits),
        (ipv4_address(), any::<prop::sample::Index>()).prop_map(|(ip, which)| {
            let all = spellings(ip);
            all[which.index(all.len())]
        }),
    ]
}

/// An IPv4 address of an ordinary host: within 8.0.0.0 to 9.255.255.255, which no registry sets aside.
pub fn public_ipv4_address() -> impl Strategy<Value = Ipv4Addr> {
    (0x0800_0000u32..=0x09ff_ffff).prop_map(Ipv4Addr::from_bits)
}

/// Any address of either family.
pub fn ip_address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        ipv4_address().prop_map(IpAddr::V4),
        ipv6_address().prop_map(IpAddr::V6),
    ]
}

/// Any address and port.
pub fn socket_address() -> impl Strategy<Value = SocketAddr> {
    (ip_address(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

/// The IPv6 spellings of an IPv4 address that lead to it on some host or network: IPv4-compatible, -mapped and
/// -translated, NAT64 well-known and local, 6to4, Teredo, ISATAP.
///
/// ```
/// let all = turnbuckle_testkit::spellings([192, 0, 2, 33].into());
/// assert!(all.contains(&"64:ff9b::192.0.2.33".parse().unwrap()));
/// assert!(all.contains(&"2002:c000:221::1".parse().unwrap()));
/// ```
pub fn spellings(ip: Ipv4Addr) -> Vec<Ipv6Addr> {
    let bits = u128::from(ip.to_bits());
    [
        // IPv4-compatible and -mapped (RFC 4291 §2.5.5), -translated (RFC 2765 §2.1).
        bits,
        (0xffff << 32) | bits,
        (0xffff << 48) | bits,
        // NAT64 (RFC 6052 §2.1, RFC 8215).
        (0x64_ff9b << 96) | bits,
        (0x64_ff9b_0001 << 80) | bits,
        (0x64_ff9b_0001 << 80) | (0xabcd << 64) | bits,
        // 6to4 (RFC 3056 §2), with and without an interface.
        (0x2002 << 112) | (bits << 80),
        (0x2002 << 112) | (bits << 80) | 1,
        // Teredo's client (RFC 4380 §4).
        (0x2001_0000 << 96) | u128::from(!ip.to_bits()),
        // ISATAP (RFC 5214 §6.1).
        (0x2a00_1450 << 96) | (0x5efe << 32) | bits,
        (0x2a00_1450 << 96) | (0x0200_5efe << 32) | bits,
    ]
    .map(Ipv6Addr::from_bits)
    .to_vec()
}
