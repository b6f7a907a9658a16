//! Transport addresses inside attributes, in clear and XORed (RFC 8489 §14.1, §14.2).
//!
//! Owns the three layouts: reserved byte, family, port, address. It must not judge addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use serde::{Deserialize, Serialize};

use crate::{AttributeProblem, MAGIC_COOKIE, TransactionId};

/// Family of an address, with the numbers of RFC 8489 §14.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AddressFamily {
    /// IPv4, 0x01.
    V4,
    /// IPv6, 0x02.
    V6,
}

impl AddressFamily {
    /// The number on the wire.
    #[inline]
    pub const fn number(self) -> u8 {
        match self {
            Self::V4 => 1,
            Self::V6 => 2,
        }
    }
}

impl TryFrom<u8> for AddressFamily {
    /// The number that is neither family.
    type Error = u8;

    #[inline]
    fn try_from(number: u8) -> Result<Self, u8> {
        match number {
            1 => Ok(Self::V4),
            2 => Ok(Self::V6),
            other => Err(other),
        }
    }
}

impl From<&IpAddr> for AddressFamily {
    #[inline]
    fn from(address: &IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

impl From<IpAddr> for AddressFamily {
    #[inline]
    fn from(address: IpAddr) -> Self {
        Self::from(&address)
    }
}

impl From<&SocketAddr> for AddressFamily {
    #[inline]
    fn from(address: &SocketAddr) -> Self {
        Self::from(&address.ip())
    }
}

/// What an address is XORed with: nothing, or cookie and transaction id.
#[derive(Clone, Copy)]
pub(crate) struct Mask {
    bits: u128,
}

impl Mask {
    pub(crate) const CLEAR: Self = Self { bits: 0 };

    #[inline]
    pub(crate) fn xor(TransactionId(id): TransactionId) -> Self {
        let [c0, c1, c2, c3] = MAGIC_COOKIE.to_be_bytes();
        let [b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11] = id;
        Self {
            bits: u128::from_be_bytes([
                c0, c1, c2, c3, b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11,
            ]),
        }
    }

    #[inline]
    fn port(self, port: u16) -> u16 {
        port ^ (self.bits >> 112) as u16
    }

    #[inline]
    fn v4(self, address: u32) -> u32 {
        address ^ (self.bits >> 96) as u32
    }

    #[inline]
    fn v6(self, address: u128) -> u128 {
        address ^ self.bits
    }
}

/// Reads the value of an address attribute.
// compliance: 8489-14.1-01, 8489-14.1-02, 8489-14.1-04
#[inline]
pub(crate) fn decode(value: &[u8], mask: Mask) -> Result<SocketAddr, AttributeProblem> {
    let Some((&[_, family, p0, p1], address)) = value.split_first_chunk() else {
        return Err(AttributeProblem::Length);
    };
    let port = mask.port(u16::from_be_bytes([p0, p1]));
    let ip = match AddressFamily::try_from(family) {
        Ok(AddressFamily::V4) => {
            let octets = <[u8; 4]>::try_from(address).map_err(|_| AttributeProblem::Length)?;
            IpAddr::V4(Ipv4Addr::from_bits(mask.v4(u32::from_be_bytes(octets))))
        }
        Ok(AddressFamily::V6) => {
            let octets = <[u8; 16]>::try_from(address).map_err(|_| AttributeProblem::Length)?;
            IpAddr::V6(Ipv6Addr::from_bits(mask.v6(u128::from_be_bytes(octets))))
        }
        Err(_) => return Err(AttributeProblem::Family),
    };
    Ok(SocketAddr::new(ip, port))
}

/// The value of an address attribute.
// compliance: 8489-14.1-03
#[inline]
pub(crate) fn encode_v4(address: SocketAddrV4, mask: Mask) -> [u8; V4_LEN] {
    let [p0, p1] = mask.port(address.port()).to_be_bytes();
    let [a0, a1, a2, a3] = mask.v4(address.ip().to_bits()).to_be_bytes();
    [0, AddressFamily::V4.number(), p0, p1, a0, a1, a2, a3]
}

/// The value of an address attribute. Flow label and scope have no place in it.
#[inline]
pub(crate) fn encode_v6(address: &SocketAddrV6, mask: Mask) -> [u8; V6_LEN] {
    let [p0, p1] = mask.port(address.port()).to_be_bytes();
    let mut value = [0; V6_LEN];
    if let Some((head, octets)) = value.split_first_chunk_mut() {
        *head = [0, AddressFamily::V6.number(), p0, p1];
        octets.copy_from_slice(&mask.v6(address.ip().to_bits()).to_be_bytes());
    }
    value
}

pub(crate) const V4_LEN: usize = 8;
pub(crate) const V6_LEN: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn mask() -> Mask {
        Mask::xor(TransactionId([
            0xB7, 0xE7, 0xA7, 0x01, 0xBC, 0x34, 0xD6, 0x86, 0xFA, 0x87, 0xDF, 0xAE,
        ]))
    }

    #[test]
    fn address_of_rfc5769_2_2() {
        let value = encode_v4("192.0.2.1:32853".parse().unwrap(), mask());
        assert_eq!(value, [0, 1, 0xA1, 0x47, 0xE1, 0x12, 0xA6, 0x43]);
    }

    #[test]
    fn both_families_return() {
        for text in ["192.0.2.1:0", "[2001:db8::1]:65535", "0.0.0.0:1", "[::]:0"] {
            let address: SocketAddr = text.parse().unwrap();
            for mask in [mask(), Mask::CLEAR] {
                let value = match address {
                    SocketAddr::V4(address) => encode_v4(address, mask).to_vec(),
                    SocketAddr::V6(address) => encode_v6(&address, mask).to_vec(),
                };
                assert_eq!(decode(&value, mask), Ok(address));
            }
        }
    }

    #[test]
    fn malformed() {
        use AttributeProblem::{Family, Length};
        for (value, problem) in [
            (&[][..], Length),
            (&[0, 1, 0], Length),
            (&[0, 1, 0, 0, 1, 2, 3], Length),
            (&[0, 1, 0, 0, 1, 2, 3, 4, 5], Length),
            (&[0, 2, 0, 0, 1, 2, 3, 4], Length),
            (&[0, 0, 0, 0, 1, 2, 3, 4], Family),
            (&[0, 3, 0, 0, 1, 2, 3, 4], Family),
        ] {
            assert_eq!(decode(value, Mask::CLEAR), Err(problem), "{value:?}");
        }
    }
}
