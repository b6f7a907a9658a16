//! From which of the server's addresses a Binding request is answered, and which it is told of (RFC 5780 §6.1).

use std::net::{IpAddr, SocketAddr};

use turnbuckle_proto::ChangeRequest;

use crate::address::{ClientAddress, ServerAddress};
use crate::relayed::RelayAddress;

/// The listeners that take part in NAT behaviour discovery (RFC 5780): each of these addresses on both ports.
///
/// With more than two addresses of a family each has the next one as its alternate, and the last the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatDiscovery {
    /// At least two of a family, or that family takes no part.
    pub addresses: Vec<RelayAddress>,
    pub port: u16,
    pub alternate_port: u16,
}

/// What the answer to a Binding request says and does besides telling the mapped address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Discovery {
    /// Where the answer leaves from, as clients know it.
    pub(crate) origin: SocketAddr,
    /// The address that differs in both IP and port, as clients know it.
    pub(crate) other: SocketAddr,
    /// Length of PADDING, if the answer is to have it.
    pub(crate) padding_len: Option<usize>,
    /// `None`: from where the request went to where it came from.
    pub(crate) detour: Option<Detour>,
}

/// Another way for an answer than the one its request took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Detour {
    pub(crate) from: ServerAddress,
    pub(crate) to: ClientAddress,
}

impl NatDiscovery {
    /// The address whose IP address, port or both are the alternate of those of `server` (RFC 5780 §6.1, table 1). `None` if
    /// `server` takes no part.
    pub(crate) fn changed(&self, server: SocketAddr, change: ChangeRequest) -> Option<SocketAddr> {
        let other_port = if server.port() == self.port {
            self.alternate_port
        } else if server.port() == self.alternate_port {
            self.port
        } else {
            return None;
        };
        let other_ip = self.alternate_ip(server.ip())?;
        // compliance: 5780-6.1-03, 5780-6.1-04, 5780-6.1-05, 5780-6.1-06
        let ip = if change.ip { other_ip } else { server.ip() };
        let port = if change.port {
            other_port
        } else {
            server.port()
        };
        Some(SocketAddr::new(ip, port))
    }

    /// The address as clients know it.
    pub(crate) fn as_advertised(&self, server: SocketAddr) -> SocketAddr {
        let known = self.addresses.iter().find(|a| a.local == server.ip());
        SocketAddr::new(
            known.map_or_else(|| server.ip(), |a| a.advertised),
            server.port(),
        )
    }

    fn alternate_ip(&self, ip: IpAddr) -> Option<IpAddr> {
        let same_family = || {
            let all = self.addresses.iter().map(|a| a.local);
            all.filter(|other| other.is_ipv4() == ip.is_ipv4())
        };
        let at = same_family().position(|other| other == ip)?;
        let next = same_family().cycle().nth(at.checked_add(1)?)?;
        // compliance: 5780-6-04, 5780-7.4-01
        (next != ip).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn discovery(addresses: &[&str]) -> NatDiscovery {
        NatDiscovery {
            addresses: addresses
                .iter()
                .map(|text| RelayAddress {
                    local: text.parse().unwrap(),
                    advertised: text.parse().unwrap(),
                })
                .collect(),
            port: 3478,
            alternate_port: 3479,
        }
    }

    fn changed(discovery: &NatDiscovery, server: &str, ip: bool, port: bool) -> Option<String> {
        let change = ChangeRequest { ip, port };
        let changed = discovery.changed(server.parse().unwrap(), change);
        changed.map(|address| address.to_string())
    }

    #[test]
    fn the_table_of_the_rfc() {
        let two = discovery(&["192.0.2.1", "192.0.2.2"]);
        for (ip, port, expected) in [
            (false, false, "192.0.2.1:3478"),
            (true, false, "192.0.2.2:3478"),
            (false, true, "192.0.2.1:3479"),
            (true, true, "192.0.2.2:3479"),
        ] {
            assert_eq!(
                changed(&two, "192.0.2.1:3478", ip, port).as_deref(),
                Some(expected)
            );
        }
        assert_eq!(
            changed(&two, "192.0.2.2:3479", true, true).as_deref(),
            Some("192.0.2.1:3478")
        );
    }

    #[test]
    fn only_with_two_addresses_of_the_family_and_on_the_two_ports() {
        let mixed = discovery(&["192.0.2.1", "2001:db8::1", "2001:db8::2", "2001:db8::3"]);
        assert_eq!(changed(&mixed, "192.0.2.1:3478", false, false), None);
        assert_eq!(changed(&mixed, "[2001:db8::1]:3480", true, true), None);
        assert_eq!(changed(&mixed, "[2001:db8::9]:3478", true, true), None);
        let alternates = [
            ("[2001:db8::1]:3478", "[2001:db8::2]:3479"),
            ("[2001:db8::2]:3478", "[2001:db8::3]:3479"),
            ("[2001:db8::3]:3479", "[2001:db8::1]:3478"),
        ];
        for (server, expected) in alternates {
            assert_eq!(
                changed(&mixed, server, true, true).as_deref(),
                Some(expected)
            );
        }
    }
}
