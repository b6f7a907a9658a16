//! Addresses by the role they play (RFC 8656 §2), so that a peer cannot be passed where a client is meant.

use core::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use turnbuckle_proto::AddressFamily;

/// Where a client sends from, as the server sees it: its server-reflexive transport address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClientAddress(pub SocketAddr);

/// The address and port of the server that a client sent to. Answers leave from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServerAddress(pub SocketAddr);

/// A host that a client exchanges data with through its relayed transport address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PeerAddress(pub SocketAddr);

/// The transport between client and server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
    Dtls,
}

impl Transport {
    /// True where messages are cut out of a byte stream and ChannelData is padded (RFC 8656 §12.5).
    pub const fn is_stream(self) -> bool {
        matches!(self, Self::Tcp | Self::Tls)
    }

    /// True where a source address can be forged by a single packet.
    pub const fn is_spoofable(self) -> bool {
        matches!(self, Self::Udp)
    }

    const fn tag(self) -> u64 {
        match self {
            Self::Udp => 1,
            Self::Tcp => 2,
            Self::Tls => 3,
            Self::Dtls => 4,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Dtls => "dtls",
        })
    }
}

/// What identifies an allocation (RFC 8656 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FiveTuple {
    pub client: ClientAddress,
    pub server: ServerAddress,
    pub transport: Transport,
}

impl FiveTuple {
    /// The five-tuple in five words: what is hashed and compared for each packet.
    pub(crate) fn packed(&self) -> [u64; 5] {
        let [client_high, client_low] = words(self.client.0.ip());
        let [server_high, server_low] = words(self.server.0.ip());
        let ports = (u64::from(self.client.0.port()) << 32)
            | (u64::from(self.server.0.port()) << 16)
            | self.transport.tag();
        [client_high, client_low, server_high, server_low, ports]
    }
}

impl fmt::Display for FiveTuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} -> {} ({})",
            self.client.0, self.server.0, self.transport
        )
    }
}

/// How a client is reached: its five-tuple and the host's name for the socket or connection behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientPath {
    /// Chosen by the host, handed back with each decision to send; never interpreted here.
    pub handle: u32,
    pub five_tuple: FiveTuple,
}

/// Up to one value for each address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Families<T> {
    pub v4: Option<T>,
    pub v6: Option<T>,
}

impl<T> Families<T> {
    pub const NONE: Self = Self { v4: None, v6: None };

    /// The value for this family.
    pub const fn of(&self, family: AddressFamily) -> Option<&T> {
        match family {
            AddressFamily::V4 => self.v4.as_ref(),
            AddressFamily::V6 => self.v6.as_ref(),
        }
    }

    /// Sets the value for this family.
    pub fn set(&mut self, family: AddressFamily, value: Option<T>) {
        match family {
            AddressFamily::V4 => self.v4 = value,
            AddressFamily::V6 => self.v6 = value,
        }
    }

    /// The value for this family, taken out.
    pub(crate) const fn take(&mut self, family: AddressFamily) -> Option<T> {
        match family {
            AddressFamily::V4 => self.v4.take(),
            AddressFamily::V6 => self.v6.take(),
        }
    }

    /// The same families, each with what `change` makes of its value.
    pub(crate) fn map<U>(&self, change: impl Fn(&T) -> U) -> Families<U> {
        Families {
            v4: self.v4.as_ref().map(&change),
            v6: self.v6.as_ref().map(&change),
        }
    }

    /// The values that are there, to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.v4.iter_mut().chain(self.v6.iter_mut())
    }

    /// The values that are there, IPv4 first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.v4.iter().chain(self.v6.iter())
    }
}

/// The family of an address.
pub(crate) const fn family(ip: IpAddr) -> AddressFamily {
    match ip {
        IpAddr::V4(_) => AddressFamily::V4,
        IpAddr::V6(_) => AddressFamily::V6,
    }
}

const fn words(ip: IpAddr) -> [u64; 2] {
    match ip {
        // Listeners are IPv6-only or IPv4-only, so a mapped address is nobody else's.
        IpAddr::V4(ip) => [0, 0xffff_0000_0000 | ip.to_bits() as u64],
        IpAddr::V6(ip) => {
            let bits = ip.to_bits();
            [(bits >> 64) as u64, bits as u64]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn five_tuple(client: &str, server: &str, transport: Transport) -> FiveTuple {
        FiveTuple {
            client: ClientAddress(client.parse().unwrap()),
            server: ServerAddress(server.parse().unwrap()),
            transport,
        }
    }

    #[test]
    fn packing_tells_every_part_apart() {
        let all = [
            five_tuple("192.0.2.1:1", "192.0.2.2:2", Transport::Udp),
            five_tuple("192.0.2.1:1", "192.0.2.2:2", Transport::Tcp),
            five_tuple("192.0.2.1:2", "192.0.2.2:1", Transport::Udp),
            five_tuple("192.0.2.2:1", "192.0.2.1:2", Transport::Udp),
            five_tuple("[2001:db8::1]:1", "[2001:db8::2]:2", Transport::Udp),
            five_tuple("[2001:db8::2]:1", "[2001:db8::1]:2", Transport::Udp),
        ];
        for (i, a) in all.iter().enumerate() {
            for (j, b) in all.iter().enumerate() {
                assert_eq!(a.packed() == b.packed(), i == j, "{a} and {b}");
            }
        }
    }
}
