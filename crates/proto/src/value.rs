//! Values of attributes that are more than a number, a text or an address.
//!
//! Owns their types and their layout on the wire. It must not know where in a message they stand.

use std::str;

use crate::{AddressFamily, AttributeProblem};

/// Number and reason of an error (RFC 8489 §14.8).
// compliance: 8489-14.8-03
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorCode<'a> {
    /// 300 to 699.
    pub code: u16,
    /// Text for humans.
    pub reason: &'a str,
}

impl<'a> ErrorCode<'a> {
    /// Reads class, number and reason; `value` starts with the reserved 16 bits.
    pub(crate) fn decode(value: &'a [u8]) -> Result<Self, AttributeProblem> {
        let Some((&[_, _, class, number], reason)) = value.split_first_chunk() else {
            return Err(AttributeProblem::Length);
        };
        let class = class & 0x07;
        if !(3..=6).contains(&class) || number > 99 {
            return Err(AttributeProblem::Range);
        }
        Ok(Self {
            code: u16::from(class)
                .wrapping_mul(100)
                .wrapping_add(u16::from(number)),
            reason: text(reason, MAX_TEXT_LEN)?,
        })
    }
}

/// Why there is no relayed transport address of one family (RFC 8656 §18.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressErrorCode<'a> {
    /// The family that was asked for.
    pub family: AddressFamily,
    /// 300 to 699; 440 or 508 in practice.
    pub code: u16,
    /// Text for humans.
    pub reason: &'a str,
}

impl<'a> AddressErrorCode<'a> {
    pub(crate) fn decode(value: &'a [u8]) -> Result<Self, AttributeProblem> {
        let family = *value.first().ok_or(AttributeProblem::Length)?;
        let ErrorCode { code, reason } = ErrorCode::decode(value)?;
        Ok(Self {
            family: AddressFamily::try_from(family).map_err(|_| AttributeProblem::Family)?,
            code,
            reason,
        })
    }
}

/// Class and number of an error code as they stand in an attribute; `None` outside 300 to 699.
pub(crate) fn split_error_code(code: u16) -> Option<[u8; 2]> {
    if !(300..=699).contains(&code) {
        return None;
    }
    Some([
        u8::try_from(code.wrapping_div(100)).ok()?,
        u8::try_from(code.wrapping_rem(100)).ok()?,
    ])
}

/// An ICMP error from the way to a peer (RFC 8656 §18.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmp {
    /// ICMP type, at most 127: the figure of the RFC gives it seven bits, enough for all errors.
    pub icmp_type: u8,
    /// ICMP code, at most 511: the figure of the RFC gives it nine bits.
    pub code: u16,
    /// MTU of the next hop in bytes for "packet too big" and "fragmentation needed", otherwise 0.
    pub data: u32,
}

impl Icmp {
    pub(crate) fn decode(value: &[u8]) -> Result<Self, AttributeProblem> {
        let &[_, _, high, low, d0, d1, d2, d3] = value else {
            return Err(AttributeProblem::Length);
        };
        Ok(Self {
            icmp_type: high >> 1,
            code: u16::from_be_bytes([high & 1, low]),
            data: u32::from_be_bytes([d0, d1, d2, d3]),
        })
    }

    pub(crate) fn encode(self) -> Option<[u8; 8]> {
        let [code_high, code_low] = self.code.to_be_bytes();
        if self.icmp_type > 127 || code_high > 1 {
            return None;
        }
        let [d0, d1, d2, d3] = self.data.to_be_bytes();
        let high = (self.icmp_type << 1) | code_high;
        Some([0, 0, high, code_low, d0, d1, d2, d3])
    }
}

/// A way to derive a key from a password (RFC 8489 §18.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PasswordAlgorithm(pub u16);

impl PasswordAlgorithm {
    /// MD5, the only one of RFC 5389.
    pub const MD5: Self = Self(1);
    /// SHA-256.
    pub const SHA256: Self = Self(2);

    /// Takes the first algorithm off `value`: its number, and parameters that neither of the two has.
    // compliance: 8489-14.12-01
    pub(crate) fn split_first(value: &[u8]) -> Option<(Self, &[u8])> {
        let (&[a0, a1, l0, l1], rest) = value.split_first_chunk()?;
        let parameters_len = usize::from(u16::from_be_bytes([l0, l1]));
        let rest = rest.get(parameters_len..)?;
        let padding_len = crate::attribute::padded(parameters_len).wrapping_sub(parameters_len);
        Some((
            Self(u16::from_be_bytes([a0, a1])),
            rest.get(padding_len..).unwrap_or_default(),
        ))
    }

    pub(crate) fn encode(self) -> [u8; 4] {
        let [a0, a1] = self.0.to_be_bytes();
        [a0, a1, 0, 0]
    }
}

/// From where a client wants its answer (RFC 5780 §7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangeRequest {
    /// From the other IP address.
    pub ip: bool,
    /// From the other port.
    pub port: bool,
}

impl ChangeRequest {
    pub(crate) fn decode(value: &[u8]) -> Result<Self, AttributeProblem> {
        let &[_, _, _, flags] = value else {
            return Err(AttributeProblem::Length);
        };
        Ok(Self {
            ip: flags & CHANGE_IP != 0,
            port: flags & CHANGE_PORT != 0,
        })
    }

    pub(crate) fn encode(self) -> [u8; 4] {
        let ip = if self.ip { CHANGE_IP } else { 0 };
        let port = if self.port { CHANGE_PORT } else { 0 };
        [0, 0, 0, ip | port]
    }
}

/// Reads a text of at most `max_len` bytes.
#[inline]
pub(crate) fn text(value: &[u8], max_len: usize) -> Result<&str, AttributeProblem> {
    if value.len() > max_len {
        return Err(AttributeProblem::TooLong);
    }
    str::from_utf8(value).map_err(|_| AttributeProblem::NotUtf8)
}

/// Longest USERNAME in bytes that is written (RFC 8489 §14.3).
pub const MAX_ENCODED_USERNAME_LEN: usize = 508;
/// Longest USERNAME, REALM, NONCE, SOFTWARE or reason in bytes (RFC 8489 §14.3 to §14.14).
pub const MAX_TEXT_LEN: usize = 763;
/// Longest reason in bytes that is written (RFC 8489 §14.8).
pub const MAX_ENCODED_REASON_LEN: usize = 509;
const CHANGE_IP: u8 = 0x04;
const CHANGE_PORT: u8 = 0x02;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_codes() {
        assert_eq!(
            ErrorCode::decode(&[0, 0, 4, 1, b'N', b'o']),
            Ok(ErrorCode {
                code: 401,
                reason: "No"
            })
        );
        // The five bits above the class are reserved.
        assert_eq!(ErrorCode::decode(&[9, 9, 0xFE, 99]).unwrap().code, 699);
        for bad in [[0, 0, 2, 0], [0, 0, 7, 0], [0, 0, 4, 100]] {
            assert_eq!(ErrorCode::decode(&bad), Err(AttributeProblem::Range));
        }
        assert_eq!(ErrorCode::decode(&[0, 0, 4]), Err(AttributeProblem::Length));
        assert_eq!(
            ErrorCode::decode(&[0, 0, 4, 0, 0xFF]),
            Err(AttributeProblem::NotUtf8)
        );
        for code in 0..=u16::MAX {
            let split = split_error_code(code);
            assert_eq!(split.is_some(), (300..700).contains(&code));
            if let Some([class, number]) = split {
                assert_eq!(
                    ErrorCode::decode(&[0, 0, class, number]).unwrap().code,
                    code
                );
            }
        }
    }

    #[test]
    fn icmp_returns_and_keeps_its_bits() {
        let unreachable = Icmp {
            icmp_type: 3,
            code: 4,
            data: 1400,
        };
        let bytes = unreachable.encode().unwrap();
        assert_eq!(bytes, [0, 0, 6, 4, 0, 0, 5, 0x78]);
        assert_eq!(Icmp::decode(&bytes), Ok(unreachable));
        let widest = Icmp {
            icmp_type: 127,
            code: 511,
            data: u32::MAX,
        };
        assert_eq!(Icmp::decode(&widest.encode().unwrap()), Ok(widest));
        assert_eq!(
            Icmp {
                icmp_type: 128,
                ..widest
            }
            .encode(),
            None
        );
        assert_eq!(
            Icmp {
                code: 512,
                ..widest
            }
            .encode(),
            None
        );
        assert_eq!(Icmp::decode(&bytes[1..]), Err(AttributeProblem::Length));
    }

    // compliance: 8489-14.12-01
    #[test]
    fn password_algorithm_skips_its_parameters() {
        let value = [0, 9, 0, 1, b'p', 0, 0, 0, 0, 2, 0, 0];
        let (first, rest) = PasswordAlgorithm::split_first(&value).unwrap();
        assert_eq!(first, PasswordAlgorithm(9));
        let (second, rest) = PasswordAlgorithm::split_first(rest).unwrap();
        assert_eq!(second, PasswordAlgorithm::SHA256);
        assert!(rest.is_empty());
        assert_eq!(PasswordAlgorithm::split_first(&[0, 1, 0, 1]), None);
    }

    #[test]
    fn change_request_flags() {
        for (ip, port, flags) in [(true, false, 4), (false, true, 2), (true, true, 6)] {
            let request = ChangeRequest { ip, port };
            assert_eq!(request.encode(), [0, 0, 0, flags]);
            assert_eq!(ChangeRequest::decode(&[0, 0, 0, flags]), Ok(request));
        }
    }
}
