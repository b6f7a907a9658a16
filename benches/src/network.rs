//! Where client, server and peer stand: all on the loopback interface, or each in a network namespace of its own.
//!
//! Owns the addresses. The namespaces are made by `cargo xtask bench-net`; nothing of the host is changed here.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::thread;

use anyhow::{Context, Result, anyhow};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use turnbuckle_proto::AddressFamily;

/// The addresses of a run.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    /// Where the server listens.
    pub(crate) server: Ipv4Addr,
    /// Where the server relays from.
    pub(crate) relay: Ipv4Addr,
    pub(crate) clients: Side,
    pub(crate) peers: Side,
    /// What peers the server has to allow, as coturn writes it: first and last address.
    pub(crate) peer_range: &'static str,
    kind: Kind,
}

impl Network {
    /// Everything on 127.0.0.0/8, of which each address is the host's own.
    pub(crate) fn loopback() -> Self {
        Self {
            server: Ipv4Addr::LOCALHOST,
            relay: Ipv4Addr::LOCALHOST,
            clients: Side::Many(Hosts::from_network(Ipv4Addr::new(127, 1, 0, 0))),
            peers: Side::Many(Hosts::from_network(Ipv4Addr::new(127, 2, 0, 0))),
            peer_range: "127.2.0.0-127.2.255.255",
            kind: Kind::Loopback,
        }
    }

    /// The three namespaces of `cargo xtask bench-net`.
    ///
    /// # Errors
    /// If one of them does not exist.
    pub(crate) fn namespaces() -> Result<Self> {
        let network = Self {
            server: Ipv4Addr::new(10, 77, 0, 1),
            relay: Ipv4Addr::new(10, 77, 1, 1),
            clients: Side::Many(Hosts::from_network(Ipv4Addr::new(10, 78, 0, 0))),
            peers: Side::Many(Hosts::from_network(Ipv4Addr::new(10, 79, 0, 0))),
            peer_range: "10.79.0.0-10.79.255.255",
            kind: Kind::Namespaces,
        };
        for place in [Place::Client, Place::Server, Place::Peer] {
            network.inside(place, || ())?;
        }
        Ok(network)
    }

    /// A server elsewhere: clients on the host's address `clients`, peers on its address `peers`, told apart by port.
    pub(crate) fn elsewhere(clients: IpAddr, peers: IpAddr) -> Self {
        Self {
            clients: Side::One(clients),
            peers: Side::One(peers),
            kind: Kind::Elsewhere,
            ..Self::loopback()
        }
    }

    /// What it is, for a reader.
    pub(crate) fn description(&self) -> &'static str {
        match self.kind {
            Kind::Loopback => "loopback interface",
            Kind::Namespaces => "three network namespaces joined by veth",
            Kind::Elsewhere => "a server elsewhere",
        }
    }

    /// Whether everything is on the loopback interface.
    pub(crate) fn is_loopback(&self) -> bool {
        self.kind == Kind::Loopback
    }

    /// Runs `work` on a thread that stands in `place`. Sockets made there stay there, and processes started there
    /// inherit its CPU affinity, too.
    ///
    /// # Errors
    /// If the namespace cannot be entered.
    pub(crate) fn inside<T: Send>(
        &self,
        place: Place,
        work: impl FnOnce() -> T + Send,
    ) -> Result<T> {
        thread::scope(|scope| {
            scope
                .spawn(move || {
                    if self.kind == Kind::Namespaces {
                        enter(place)?;
                    }
                    Ok(work())
                })
                .join()
                .map_err(|_| anyhow!("a thread of the generator panicked"))?
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Loopback,
    Namespaces,
    Elsewhere,
}

/// The addresses of all clients, or of all peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Each has its own.
    Many(Hosts),
    /// They share one.
    One(IpAddr),
}

impl Side {
    /// The address of number `index`.
    pub(crate) fn address(self, index: u32) -> IpAddr {
        match self {
            Self::Many(hosts) => hosts.address(index).into(),
            Self::One(address) => address,
        }
    }

    /// Of all its addresses.
    pub(crate) fn family(self) -> AddressFamily {
        match self.address(0) {
            IpAddr::V4(_) => AddressFamily::V4,
            IpAddr::V6(_) => AddressFamily::V6,
        }
    }
}

/// One of the three hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Client,
    Server,
    Peer,
}

impl Place {
    fn namespace(self) -> &'static str {
        match self {
            Self::Client => "tb-bench-client",
            Self::Server => "tb-bench-server",
            Self::Peer => "tb-bench-peer",
        }
    }
}

/// Many hosts, each with an address of its own, behind one socket: the addresses of a /16 in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hosts {
    network: u32,
}

impl Hosts {
    /// How many there can be.
    pub(crate) const MAX: u32 = 65_000;

    /// The hosts of the /16 that starts at `network`.
    pub(crate) fn from_network(network: Ipv4Addr) -> Self {
        Self {
            network: u32::from(network),
        }
    }

    /// The address of host `index`.
    #[inline]
    pub(crate) fn address(self, index: u32) -> Ipv4Addr {
        Ipv4Addr::from(self.network + 1 + index)
    }

    /// Whose address `address` is.
    #[inline]
    pub(crate) fn index(self, address: IpAddr) -> Option<u32> {
        let IpAddr::V4(address) = address else {
            return None;
        };
        u32::from(address)
            .checked_sub(self.network + 1)
            .filter(|&index| index < Self::MAX)
    }
}

fn enter(place: Place) -> Result<()> {
    let name = place.namespace();
    let missing =
        || format!("there is no namespace {name}: `cargo xtask bench-net up` makes it (as root)");
    let file = File::open(format!("/run/netns/{name}")).with_context(missing)?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .with_context(|| format!("cannot enter the namespace {name} (this needs root)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_numbered() {
        let hosts = Hosts::from_network(Ipv4Addr::new(127, 1, 0, 0));
        for index in [0, 1, 254, 255, 9_999, Hosts::MAX - 1] {
            assert_eq!(hosts.index(hosts.address(index).into()), Some(index));
        }
        assert_eq!(hosts.address(0), Ipv4Addr::new(127, 1, 0, 1));
        for stranger in ["127.1.0.0", "127.0.0.1", "127.2.0.1", "::1"] {
            assert_eq!(hosts.index(stranger.parse().unwrap()), None, "{stranger}");
        }
    }

    #[test]
    fn peers_are_in_the_range_that_is_allowed() {
        for network in [
            Network::loopback(),
            Network {
                peers: Side::Many(Hosts::from_network(Ipv4Addr::new(10, 79, 0, 0))),
                peer_range: "10.79.0.0-10.79.255.255",
                ..Network::loopback()
            },
        ] {
            let (first, last) = network.peer_range.split_once('-').unwrap();
            let range = first.parse::<IpAddr>().unwrap()..=last.parse().unwrap();
            for index in [0, Hosts::MAX - 1] {
                assert!(range.contains(&network.peers.address(index)));
            }
        }
    }

    #[test]
    fn work_has_a_thread_of_its_own() {
        let here = thread::current().id();
        let there = Network::loopback()
            .inside(Place::Peer, || thread::current().id())
            .unwrap();
        assert_ne!(here, there);
    }
}
