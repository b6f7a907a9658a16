//! Peer rules as written by the operator. Owns how one rule is read; the built-in ranges and the verdict on an address
//! are the relay's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use ipnet::IpNet;

use crate::fault::Fault;

/// The operator's peer rules, each list in file order.
///
/// Allowed beats denied, and both beat the server's built-in ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerRules {
    /// Ranges opened (`allowed-peer-ip`, repeatable). Default empty.
    pub allowed: Vec<PeerRule>,
    /// Ranges refused (`denied-peer-ip`, repeatable). Default empty.
    pub denied: Vec<PeerRule>,
    /// Loopback peers are opened (`allow-loopback-peers`), for tests on one host. Default false.
    pub allow_loopback: bool,
}

/// One range of peer addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRule {
    /// Lowest address of the range.
    pub first: IpAddr,
    /// Highest address, of the same family and not below `first`.
    pub last: IpAddr,
    /// The rule as written, for telling which one denied a peer.
    pub text: String,
    /// What the operator calls it (`turnbuckle.toml` only).
    pub name: Option<String>,
    /// Where it was written.
    pub origin: Origin,
}

impl PeerRules {
    /// Takes rules of which the first that matches decides, each with whether it opens its range: what an earlier one
    /// refuses is cut out of a later one that opens it.
    pub(crate) fn take_in_order(&mut self, rules: Vec<(bool, PeerRule)>) {
        let mut refused: Vec<PeerRule> = Vec::new();
        for (opens, rule) in rules {
            if opens {
                self.allowed.extend(without(rule, &refused));
            } else {
                refused.push(rule);
            }
        }
        self.denied.extend(refused);
    }
}

/// What is left of a range once others are cut out of it.
fn without(rule: PeerRule, cut: &[PeerRule]) -> Vec<PeerRule> {
    let mut left = vec![rule];
    for cut in cut {
        left = left
            .into_iter()
            .flat_map(|rule| {
                let apart = rule.first.is_ipv4() != cut.first.is_ipv4()
                    || rule.last < cut.first
                    || cut.last < rule.first;
                if apart {
                    return [Some(rule), None];
                }
                let below = previous(cut.first)
                    .filter(|_| rule.first < cut.first)
                    .map(|last| PeerRule {
                        last,
                        ..rule.clone()
                    });
                let above = next(cut.last)
                    .filter(|_| cut.last < rule.last)
                    .map(|first| PeerRule { first, ..rule });
                [below, above]
            })
            .flatten()
            .collect();
    }
    left
}

fn previous(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => v4
            .to_bits()
            .checked_sub(1)
            .map(|bits| Ipv4Addr::from_bits(bits).into()),
        IpAddr::V6(v6) => v6
            .to_bits()
            .checked_sub(1)
            .map(|bits| Ipv6Addr::from_bits(bits).into()),
    }
}

fn next(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => v4
            .to_bits()
            .checked_add(1)
            .map(|bits| Ipv4Addr::from_bits(bits).into()),
        IpAddr::V6(v6) => v6
            .to_bits()
            .checked_add(1)
            .map(|bits| Ipv6Addr::from_bits(bits).into()),
    }
}

impl PeerRule {
    /// Whether an address, spelled in the rule's own family, lies in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.first.is_ipv4() == address.is_ipv4() && self.first <= address && address <= self.last
    }

    /// Reads one address, `first-last` or `address/prefix`.
    pub(crate) fn parse(text: &str, origin: Origin) -> Result<Self, Fault> {
        let (first, last) = range(text)?;
        if spelled_as_ipv6(first) || spelled_as_ipv6(last) {
            let (first, last) = (first.to_canonical(), last.to_canonical());
            let help = if first == last {
                format!("write `{first}`: an IPv4 rule covers every spelling of the address")
            } else if first.is_ipv4() && last.is_ipv4() {
                format!(
                    "write `{first}-{last}`: an IPv4 rule covers every spelling of the addresses"
                )
            } else {
                "write one rule for IPv4 and one for IPv6: an IPv4 rule covers every spelling of the addresses".to_owned()
            };
            return Err(
                Fault::new(format!("`{text}` has IPv4 addresses spelled as IPv6")).help(help),
            );
        }
        Ok(Self {
            first,
            last,
            text: text.to_owned(),
            name: None,
            origin,
        })
    }
}

/// Whether a range is exactly the IPv4-mapped addresses, as the Synapse documentation denies them.
///
/// Read as IPv4 it would be every address there is, which is not what its writer meant.
pub(crate) fn is_every_mapped_address(text: &str) -> bool {
    range(text) == Ok((IpAddr::V6(FIRST_MAPPED), IpAddr::V6(LAST_MAPPED)))
}

/// Where a rule was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file; `None` is the command line.
    pub file: Option<PathBuf>,
    /// Line in the file, counted from 1; `None` on the command line.
    pub line: Option<u32>,
}

pub(crate) fn spelled_as_ipv6(address: IpAddr) -> bool {
    address.to_canonical() != address
}

fn range(text: &str) -> Result<(IpAddr, IpAddr), Fault> {
    if text.contains('/') {
        let net = network(text)?;
        return Ok((net.network(), net.broadcast()));
    }
    let Some((first, last)) = text.split_once('-') else {
        let address = address(text, text)?;
        return Ok((address, address));
    };
    let (first, last) = (address(first.trim(), text)?, address(last.trim(), text)?);
    if first.is_ipv4() != last.is_ipv4() {
        return Err(Fault::new(format!(
            "`{text}` begins in one address family and ends in the other"
        ))
        .help("write one rule for IPv4 and one for IPv6"));
    }
    if first > last {
        return Err(Fault::new(format!("the range `{text}` is upside down"))
            .help(format!("write `{last}-{first}`")));
    }
    Ok((first, last))
}

/// Reads `address/prefix`.
pub(crate) fn network(text: &str) -> Result<IpNet, Fault> {
    let net: IpNet = text.parse().map_err(|_| {
        Fault::new(format!("`{text}` is not an address range"))
            .help("write an address and a prefix length, such as `10.0.0.0/8` or `fc00::/7`")
    })?;
    if net.addr() != net.network() {
        return Err(
            Fault::new(format!("`{text}` has address bits behind the prefix")).help(format!(
                "write `{}` for the whole range or `{}` for the one address",
                net.trunc(),
                net.addr()
            )),
        );
    }
    Ok(net)
}

fn address(text: &str, rule: &str) -> Result<IpAddr, Fault> {
    text.parse().map_err(|_| {
        Fault::new(if text == rule {
            format!("`{text}` is not an address or an address range")
        } else {
            format!("`{text}` in `{rule}` is not an address")
        })
        .help("write an address, `first-last` or `address/prefix`; names are not looked up")
    })
}

const FIRST_MAPPED: Ipv6Addr = Ipv4Addr::UNSPECIFIED.to_ipv6_mapped();
const LAST_MAPPED: Ipv6Addr = Ipv4Addr::BROADCAST.to_ipv6_mapped();

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<PeerRule, Fault> {
        PeerRule::parse(
            text,
            Origin {
                file: None,
                line: None,
            },
        )
    }

    #[track_caller]
    fn ends(text: &str, first: &str, last: &str) {
        let rule = parse(text).unwrap();
        assert_eq!(
            (rule.first, rule.last),
            (first.parse().unwrap(), last.parse().unwrap())
        );
        assert_eq!(rule.text, text);
    }

    #[test]
    fn every_form_gives_its_ends() {
        ends("10.1.2.3", "10.1.2.3", "10.1.2.3");
        ends("10.0.0.0-10.255.255.255", "10.0.0.0", "10.255.255.255");
        ends("10.0.0.0 - 10.0.0.9", "10.0.0.0", "10.0.0.9");
        ends("10.0.0.0/8", "10.0.0.0", "10.255.255.255");
        ends("0.0.0.0/0", "0.0.0.0", "255.255.255.255");
        ends(
            "fc00::/7",
            "fc00::",
            "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        );
        ends("fc00::-fdff::", "fc00::", "fdff::");
        ends("::1", "::1", "::1");
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in [
            "",
            "10",
            "10.0.0",
            "10.0.0.0/33",
            "10.0.0.1/8",
            "10.0.0.0/",
            "/8",
            "a-b",
            "10.0.0.1-",
            "-10.0.0.1",
            "10.0.0.9-10.0.0.1",
            "10.0.0.1-::1",
            "::ffff:10.0.0.1",
            "::ffff:0:0/96",
            "::-::ffff:1.2.3.4",
            "010.0.0.1",
            "example.org",
            "10.0.0.0/8-10.0.0.1",
            "fe80::1%eth0",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn mapped_range_is_known_in_every_spelling() {
        let verdicts = [
            "::ffff:0.0.0.0-::ffff:255.255.255.255",
            "::ffff:0:0/96",
            "::ffff:10.0.0.0/104",
            "::/0",
            "x",
        ]
        .map(is_every_mapped_address);
        assert_eq!(verdicts, [true, true, false, false, false]);
    }

    #[test]
    fn range_holds_its_ends_and_its_family_only() {
        let rule = parse("10.0.0.2-10.0.0.4").unwrap();
        let inside = [
            "10.0.0.1",
            "10.0.0.2",
            "10.0.0.4",
            "10.0.0.5",
            "::ffff:10.0.0.3",
            "::3",
        ]
        .map(|text| rule.contains(text.parse().unwrap()));
        assert_eq!(inside, [false, true, true, false, false, false]);
    }

    #[test]
    fn first_rule_that_matches_decides() {
        let written = [
            (false, "10.0.0.5"),
            (true, "10.0.0.0/29"),
            (false, "10.0.0.7"),
            (true, "::/0"),
            (false, "10.0.0.0"),
            (true, "0.0.0.0-10.0.0.0"),
        ];
        let rules: Vec<_> = written
            .map(|(opens, text)| (opens, parse(text).unwrap()))
            .into();
        let mut taken = PeerRules::default();
        taken.take_in_order(rules.clone());
        for text in [
            "9.255.255.255",
            "10.0.0.0",
            "10.0.0.4",
            "10.0.0.5",
            "10.0.0.6",
            "10.0.0.7",
            "10.0.0.8",
            "0.0.0.0",
            "::1",
        ] {
            let ip: IpAddr = text.parse().unwrap();
            let first = rules.iter().find(|(_, rule)| rule.contains(ip));
            let opened = taken.allowed.iter().any(|rule| rule.contains(ip));
            let refused = !opened && taken.denied.iter().any(|rule| rule.contains(ip));
            let expected = first.map(|(opens, _)| *opens);
            assert_eq!(
                (opened, refused),
                (expected == Some(true), expected == Some(false)),
                "{text}"
            );
        }
        assert_eq!(taken.denied.len(), 3);
    }
}
