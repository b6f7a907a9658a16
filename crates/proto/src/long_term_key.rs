//! Keys of the long-term credential mechanism (RFC 8489 §9.2.2).
//!
//! Owns the derivation from user name, realm and password, and the hash of a user name. It must not
//! show a key to `Debug` or leave it in memory.

use std::fmt;

use md5::{Digest, Md5};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The key MD5(username ":" realm ":" password), 16 bytes. Wiped when dropped; compared in constant
/// time.
#[derive(Clone)]
pub struct LongTermKey(Zeroizing<[u8; LEN]>);

impl LongTermKey {
    /// Derives the key. The three texts are taken as they are: they come prepared by the OpaqueString profile (RFC 8265 §4.2).
    pub fn derive(username: &str, realm: &str, password: &str) -> Self {
        let mut md5 = Md5::new();
        for part in [username, ":", realm, ":", password] {
            md5.update(part);
        }
        Self(Zeroizing::new(md5.finalize().into()))
    }

    /// A key that was derived before.
    pub fn from_bytes(bytes: [u8; LEN]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Reads `0x` and 32 hexadecimal digits of either case, as static users are written in
    /// configuration files. `None` for anything else.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("0x")?.as_bytes();
        let (pairs, []) = digits.as_chunks::<2>() else {
            return None;
        };
        if pairs.len() != LEN {
            return None;
        }
        let mut key = Self::from_bytes([0; LEN]);
        for (byte, [high, low]) in key.0.iter_mut().zip(pairs) {
            *byte = (hex_digit(*high)? << 4) | hex_digit(*low)?;
        }
        Some(key)
    }

    /// The bytes of the key.
    pub fn as_bytes(&self) -> &[u8; LEN] {
        &self.0
    }
}

impl fmt::Debug for LongTermKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LongTermKey(..)")
    }
}

impl PartialEq for LongTermKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&*other.0).into()
    }
}

impl Eq for LongTermKey {}

/// The key SHA-256(username ":" realm ":" password), 32 bytes, of password algorithm 2 (RFC 8489 §18.5.1.2). Wiped when
/// dropped; compared in constant time.
#[derive(Clone)]
pub struct LongTermKeySha256(Zeroizing<[u8; SHA256_LEN]>);

impl LongTermKeySha256 {
    /// Derives the key from texts that are taken as they are, like [`LongTermKey::derive`].
    pub fn derive(username: &str, realm: &str, password: &str) -> Self {
        let mut sha256 = Sha256::new();
        for part in [username, ":", realm, ":", password] {
            sha256.update(part);
        }
        Self(Zeroizing::new(sha256.finalize().into()))
    }

    /// A key that was derived before.
    pub fn from_bytes(bytes: [u8; SHA256_LEN]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes of the key.
    pub fn as_bytes(&self) -> &[u8; SHA256_LEN] {
        &self.0
    }
}

impl fmt::Debug for LongTermKeySha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LongTermKeySha256(..)")
    }
}

impl PartialEq for LongTermKeySha256 {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&*other.0).into()
    }
}

impl Eq for LongTermKeySha256 {}

/// USERHASH of a user: SHA-256(username ":" realm), both as they are (RFC 8489 §14.4).
pub fn userhash(username: &str, realm: &str) -> [u8; 32] {
    Sha256::new()
        .chain_update(username)
        .chain_update(":")
        .chain_update(realm)
        .finalize()
        .into()
}

fn hex_digit(digit: u8) -> Option<u8> {
    u8::try_from(char::from(digit).to_digit(16)?).ok()
}

const LEN: usize = 16;
const SHA256_LEN: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_of_rfc8489_9_2_2() {
        let key = LongTermKey::derive("user", "realm", "pass");
        let hex = "0x8493fbc53ba582fb4c044c456bdc40eb";
        assert_eq!(LongTermKey::from_hex(hex).as_ref(), Some(&key));
        assert_eq!(LongTermKey::from_hex(&hex.replace("fbc", "FBC")), Some(key));
    }

    #[test]
    fn key_of_rfc8489_18_5_1_2() {
        // The same three texts as in §9.2.2; the hash is that of sha256sum.
        let key = LongTermKeySha256::derive("user", "realm", "pass");
        assert_eq!(key.as_bytes()[..4], [0x07, 0xe9, 0x34, 0x11]);
    }

    #[test]
    fn hex_is_strict() {
        let hex = "0x8493fbc53ba582fb4c044c456bdc40eb";
        for bad in [
            "",
            "0x",
            &hex[2..],
            &hex[..33],
            &hex[..32],
            &format!("{hex}00"),
            &hex.replace("eb", "eg"),
            &hex.replace("eb", "+b"),
            &hex.replace("0x", "0X"),
            &hex.replace("eb", "ß"),
        ] {
            assert_eq!(LongTermKey::from_hex(bad), None, "{bad}");
        }
    }

    #[test]
    fn debug_hides_the_key() {
        let key = LongTermKey::from_bytes([0xAB; 16]);
        assert_eq!(format!("{key:?}"), "LongTermKey(..)");
        let key256 = LongTermKeySha256::from_bytes([0xAB; 32]);
        assert_eq!(format!("{key256:?}"), "LongTermKeySha256(..)");
        assert_ne!(key256, LongTermKeySha256::from_bytes([0xAC; 32]));
        assert_ne!(key, LongTermKey::from_bytes([0xAC; 16]));
    }
}
