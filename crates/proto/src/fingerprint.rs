//! FINGERPRINT: the CRC-32 that tells STUN from other protocols (RFC 8489 §14.7).
//!
//! Owns the checksum. It must not be mistaken for protection: anybody can compute it.

/// The value of FINGERPRINT for `message`: all bytes before the attribute, the length field of the
/// header already counting it.
#[inline]
pub fn fingerprint(message: &[u8]) -> u32 {
    crc32fast::hash(message) ^ XOR
}

const XOR: u32 = 0x5354_554E;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_value_of_crc_32() {
        assert_eq!(fingerprint(b"123456789"), 0xCBF4_3926 ^ 0x5354_554E);
    }
}
