//! Which peer addresses clients may reach (RFC 8656 §21.1.5 and security considerations for internal addresses).
//!
//! Refusing too little turns the relay into a way behind the firewall, so everything that is not plainly a public host is
//! refused, however it is spelled; the operator opens what is wanted by name.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use crate::permission::Reach;
use crate::relayed::RelayedPorts;

mod special;

pub use special::{SpecialRange, special_ranges};

/// Addresses from `first` to `last`, both included, of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRule {
    pub first: IpAddr,
    pub last: IpAddr,
    /// As the operator wrote it, with the place if known: for the log.
    pub text: Arc<str>,
}

/// The rules in force.
#[derive(Clone, Debug, Default)]
pub struct PeerPolicy {
    /// Opened by the operator; beats every refusal.
    pub allowed: Vec<PeerRule>,
    /// Refused by the operator, besides the special ranges.
    pub denied: Vec<PeerRule>,
    /// Addresses of this host that are no relay addresses: interfaces, listeners.
    pub own_hosts: Vec<IpAddr>,
    /// Where clients reach this server. Never a peer, whatever the rules say. An unspecified address stands for
    /// every address of the host.
    pub listeners: Vec<SocketAddr>,
}

/// What the policy says of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allowed(Reach),
    Denied(Denial),
}

/// Which rule refuses an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// A special-purpose range that is refused unless opened.
    Special(&'static SpecialRange),
    /// An address of the operator's `denied-peer-ip`.
    Rule(Arc<str>),
    /// An address of this host.
    OwnHost,
    /// An IPv4 address in IPv6 spelling, where that IPv4 address is refused.
    Embedded(Ipv4Addr, Box<Self>),
}

impl PeerPolicy {
    /// The verdict on an address; `own` knows the server's relay addresses.
    pub fn verdict(&self, ip: IpAddr, own: &RelayedPorts) -> Verdict {
        let opened = self.opened(ip);
        if own.is_own(ip) {
            // Two callers that are both forced to relay meet here, also where this address is in a refused range.
            return Verdict::Allowed(if opened {
                Reach::Anything
            } else {
                Reach::RelayedOnly
            });
        }
        if let Some(embedded) = embedded_ipv4(ip)
            && let Verdict::Denied(denial) = self.verdict_embedded(embedded, own)
        {
            return Verdict::Denied(Denial::Embedded(embedded, Box::new(denial)));
        }
        if opened {
            return Verdict::Allowed(Reach::Anything);
        }
        self.denial(ip)
            .map_or(Verdict::Allowed(Reach::Anything), Verdict::Denied)
    }

    /// True if a listener of this server is reached there, under its local address or the advertised one.
    pub(crate) fn is_listener(&self, peer: SocketAddr, own: &RelayedPorts) -> bool {
        let known_as = own.ip_as_advertised(peer.ip());
        self.listeners.iter().any(|listener| {
            listener.port() == peer.port()
                && listener.is_ipv4() == peer.is_ipv4()
                && (own.ip_as_advertised(listener.ip()) == known_as
                    || (listener.ip().is_unspecified() && self.is_host(peer.ip(), own)))
        })
    }

    /// True if a rule of the operator opens an address that leads back to this host.
    pub(crate) fn opens_host(&self, own: &RelayedPorts) -> bool {
        let own_relays = own.addresses().flat_map(|a| [a.local, a.advertised]);
        let loopback = [
            Ipv4Addr::new(127, 255, 255, 255).into(),
            Ipv6Addr::LOCALHOST.into(),
        ];
        own_relays
            .chain(self.own_hosts.iter().copied())
            .chain(loopback)
            .any(|ip| self.opened(ip))
            || self
                .allowed
                .iter()
                .any(|rule| rule.first.is_loopback() || rule.last.is_loopback())
    }

    /// True for any address that leads back to this host.
    pub(crate) fn is_host(&self, ip: IpAddr, own: &RelayedPorts) -> bool {
        ip.is_loopback() || self.own_hosts.contains(&ip) || own.is_own(ip)
    }

    fn verdict_embedded(&self, ip: Ipv4Addr, own: &RelayedPorts) -> Verdict {
        let ip = IpAddr::V4(ip);
        if self.opened(ip) {
            return Verdict::Allowed(Reach::Anything);
        }
        // The server's own relay address is reached in its plain spelling only.
        if own.is_own(ip) {
            return Verdict::Denied(Denial::OwnHost);
        }
        self.denial(ip)
            .map_or(Verdict::Allowed(Reach::Anything), Verdict::Denied)
    }

    fn denial(&self, ip: IpAddr) -> Option<Denial> {
        if self.own_hosts.contains(&ip) {
            return Some(Denial::OwnHost);
        }
        if let Some(rule) = self.denied.iter().find(|rule| rule.contains(ip)) {
            return Some(Denial::Rule(Arc::clone(&rule.text)));
        }
        special::find(ip).map(Denial::Special)
    }

    fn opened(&self, ip: IpAddr) -> bool {
        self.allowed.iter().any(|rule| rule.contains(ip))
    }
}

impl PeerRule {
    fn contains(&self, ip: IpAddr) -> bool {
        // Addresses of different families are ordered too, so the family is compared first.
        self.first.is_ipv4() == ip.is_ipv4() && self.first <= ip && ip <= self.last
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Special(range) => write!(f, "built-in rule {range}"),
            Self::Rule(text) => write!(f, "rule {text}"),
            Self::OwnHost => f.write_str("built-in rule: an address of this server"),
            Self::Embedded(ip, denial) => write!(f, "{denial}, as the address stands for {ip}"),
        }
    }
}

/// The IPv4 address that an IPv6 address is only another spelling of.
///
/// IPv4-mapped and -compatible (RFC 4291 §2.5.5), IPv4-translated (RFC 2765 §2.1), NAT64 well-known and local
/// (RFC 6052 §2.1, RFC 8215), 6to4 (RFC 3056 §2), Teredo's client (RFC 4380 §4) and ISATAP (RFC 5214 §6.1).
pub fn embedded_ipv4(ip: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(ip) = ip else { return None };
    let [a, b, c, d, e, f, g, h] = ip.segments();
    let low = ipv4(g, h);
    match [a, b, c, d, e, f] {
        // The unspecified address and ::1 are themselves, and refused as such.
        [0, 0, 0, 0, 0, 0] if ip > Ipv6Addr::LOCALHOST => Some(low),
        [0, 0, 0, 0, 0, 0xffff] | [0, 0, 0, 0, 0xffff, 0] => Some(low),
        [0x64, 0xff9b, 0, 0, 0, 0] | [0x64, 0xff9b, 1, ..] => Some(low),
        [0x2002, high, low, ..] => Some(ipv4(high, low)),
        [0x2001, 0, ..] => Some(ipv4(!g, !h)),
        [.., 0 | 0x200, 0x5efe] => Some(low),
        _ => None,
    }
}

/// True for an address of 6to4 or Teredo: behind it is a tunnel that packets can be made to run through again and again
/// (RFC 8656 §21.4).
// compliance: 8656-21.4-01, 8656-21.4-02
pub(crate) const fn is_tunnelled(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V6(ip) => matches!(ip.segments(), [0x2002, ..] | [0x2001, 0, ..]),
        IpAddr::V4(_) => false,
    }
}

const fn ipv4(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(((high as u32) << 16) | low as u32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::relayed::RelayAddress;

    fn own() -> RelayedPorts {
        let address = |local: &str, advertised: &str| RelayAddress {
            local: local.parse().unwrap(),
            advertised: advertised.parse().unwrap(),
        };
        RelayedPorts::new(
            &[
                address("10.0.0.5", "198.51.100.5"),
                address("2001:db8::5", "2001:db8::5"),
            ],
            50_000..=50_009,
        )
    }

    fn rule(first: &str, last: &str) -> PeerRule {
        PeerRule {
            first: first.parse().unwrap(),
            last: last.parse().unwrap(),
            text: format!("{first}-{last}").into(),
        }
    }

    fn verdict(policy: &PeerPolicy, ip: &str) -> Verdict {
        policy.verdict(ip.parse().unwrap(), &own())
    }

    fn allowed(policy: &PeerPolicy, ip: &str) -> bool {
        matches!(verdict(policy, ip), Verdict::Allowed(_))
    }

    /// Every spelling of an IPv4 address that leads to it on some host or network.
    fn spellings(ip: Ipv4Addr) -> Vec<Ipv6Addr> {
        let bits = u128::from(ip.to_bits());
        [
            bits,
            0xffff_0000_0000 | bits,
            0xffff_0000_0000_0000 | bits,
            (0x64_ff9b << 96) | bits,
            (0x64_ff9b_0001 << 80) | bits,
            (0x64_ff9b_0001_1234_u128 << 64) | bits,
            (0x2002 << 112) | (bits << 80) | 1,
            (0x2001_0000 << 96) | (u128::from(!ip.to_bits())),
            (0x2620_0000_u128 << 96) | (0x5efe << 32) | bits,
            (0x2620_0000_u128 << 96) | (0x200_5efe << 32) | bits,
        ]
        .map(Ipv6Addr::from_bits)
        .to_vec()
    }

    #[test]
    fn public_hosts_are_allowed() {
        let policy = PeerPolicy::default();
        for ip in [
            "8.8.8.8",
            "1.1.1.1",
            "185.1.2.3",
            "2606:4700::1",
            "2a00:1450::1",
            "64:ff9b::8.8.8.8",
        ] {
            assert!(allowed(&policy, ip), "{ip}: {:?}", verdict(&policy, ip));
        }
    }

    #[test]
    fn one_address_of_each_special_range_is_refused_in_every_spelling() {
        let policy = PeerPolicy::default();
        for range in special_ranges() {
            for ip in [range.net.network(), range.net.broadcast()] {
                if own().is_own(ip) {
                    continue;
                }
                assert!(!allowed(&policy, &ip.to_string()), "{ip} of {range}");
                if let IpAddr::V4(ip) = ip {
                    for spelled in spellings(ip) {
                        assert!(
                            !allowed(&policy, &spelled.to_string()),
                            "{spelled} for {ip}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn own_relay_address_is_always_reached_but_only_where_relayed() {
        let mut policy = PeerPolicy {
            denied: vec![rule("0.0.0.0", "255.255.255.255")],
            own_hosts: vec!["10.0.0.5".parse().unwrap(), "10.0.0.6".parse().unwrap()],
            ..PeerPolicy::default()
        };
        for ip in ["10.0.0.5", "198.51.100.5", "2001:db8::5"] {
            assert_eq!(verdict(&policy, ip), Verdict::Allowed(Reach::RelayedOnly));
        }
        assert!(!allowed(&policy, "10.0.0.6"));
        assert!(!allowed(&policy, "::ffff:10.0.0.5"));
        policy.allowed.push(rule("10.0.0.5", "10.0.0.5"));
        assert_eq!(
            verdict(&policy, "10.0.0.5"),
            Verdict::Allowed(Reach::Anything)
        );
    }

    #[test]
    fn allow_beats_deny_for_exactly_what_it_names() {
        let policy = PeerPolicy {
            allowed: vec![rule("10.1.0.0", "10.1.0.9"), rule("fd00::1", "fd00::1")],
            denied: vec![
                rule("10.1.0.0", "10.1.255.255"),
                rule("8.0.0.0", "8.255.255.255"),
            ],
            ..PeerPolicy::default()
        };
        for (ip, expected) in [
            ("10.1.0.9", true),
            ("10.1.0.10", false),
            ("fd00::1", true),
            ("fd00::2", false),
            ("8.8.8.8", false),
            ("64:ff9b::8.8.8.8", false),
            ("::ffff:10.1.0.9", false),
            ("64:ff9b::10.1.0.9", true),
        ] {
            assert_eq!(allowed(&policy, ip), expected, "{ip}");
        }
        assert_eq!(
            verdict(&policy, "8.8.8.8"),
            Verdict::Denied(Denial::Rule("8.0.0.0-8.255.255.255".into()))
        );
    }

    #[test]
    fn opening_a_spelling_does_not_open_what_it_stands_for() {
        let policy = PeerPolicy {
            allowed: vec![rule("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")],
            ..PeerPolicy::default()
        };
        assert!(allowed(&policy, "fd00::1"));
        for spelled in spellings(Ipv4Addr::new(169, 254, 169, 254)) {
            assert!(!allowed(&policy, &spelled.to_string()), "{spelled}");
        }
    }

    #[test]
    fn listeners_are_recognised_behind_a_wildcard() {
        let policy = PeerPolicy {
            own_hosts: vec!["192.0.2.7".parse().unwrap()],
            listeners: vec![
                "0.0.0.0:3478".parse().unwrap(),
                "192.0.2.9:443".parse().unwrap(),
            ],
            ..PeerPolicy::default()
        };
        for (peer, expected) in [
            ("127.0.0.1:3478", true),
            ("192.0.2.7:3478", true),
            ("10.0.0.5:3478", true),
            ("10.0.0.5:3479", false),
            ("8.8.8.8:3478", false),
            ("192.0.2.9:443", true),
            ("[2001:db8::5]:3478", false),
        ] {
            assert_eq!(
                policy.is_listener(peer.parse().unwrap(), &own()),
                expected,
                "{peer}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_spelling_is_milder_than_the_plain_address(bits: u32) {
            let policy = PeerPolicy::default();
            let ip = Ipv4Addr::from_bits(bits);
            if !allowed(&policy, &ip.to_string()) {
                for spelled in spellings(ip) {
                    prop_assert!(!allowed(&policy, &spelled.to_string()), "{} for {}", spelled, ip);
                }
            }
        }
    }
}
