//! MESSAGE-INTEGRITY and MESSAGE-INTEGRITY-SHA256 (RFC 8489 §14.5, §14.6).
//!
//! Owns keys that are ready to use: the state of the HMAC after the key went in is kept, and copied for
//! each message. It must not look up keys or judge what a message without integrity may do.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::{HEADER_LEN, IntegrityError, LongTermKey, Message};

/// A key for MESSAGE-INTEGRITY, HMAC-SHA1. Wiped when dropped.
#[derive(Clone)]
pub struct IntegrityKey(Hmac<Sha1>);

impl IntegrityKey {
    /// Prepares a key of any length: the 16 bytes of a [`LongTermKey`] or the password of the
    /// short-term mechanism (RFC 8489 §9.1.1).
    pub fn new(key: &[u8]) -> Self {
        Self(keyed(key))
    }

    /// Checks MESSAGE-INTEGRITY in constant time.
    ///
    /// # Errors
    /// [`IntegrityError::Missing`] without the attribute, [`IntegrityError::Mismatch`] if it is wrong.
    // compliance: 8489-14.6-03
    #[inline]
    pub fn verify(&self, message: &Message<'_>) -> Result<(), IntegrityError> {
        let offset = message.integrity_offset();
        verify(message, offset, |covered, length| self.mac(covered, length))
    }

    /// HMAC over `covered`, a message up to the attribute, as if its length field were `length`.
    #[inline]
    pub(crate) fn mac(&self, covered: &[u8], length: u16) -> [u8; 20] {
        mac(self.0.clone(), covered, length).into()
    }
}

impl From<&LongTermKey> for IntegrityKey {
    fn from(key: &LongTermKey) -> Self {
        Self::new(key.as_bytes())
    }
}

impl fmt::Debug for IntegrityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IntegrityKey(..)")
    }
}

/// A key for MESSAGE-INTEGRITY-SHA256, HMAC-SHA256 of all 32 bytes. Wiped when dropped.
#[derive(Clone)]
pub struct IntegrityKeySha256(Hmac<Sha256>);

impl IntegrityKeySha256 {
    /// Prepares a key of any length.
    pub fn new(key: &[u8]) -> Self {
        Self(keyed(key))
    }

    /// Checks MESSAGE-INTEGRITY-SHA256 in constant time.
    ///
    /// # Errors
    /// [`IntegrityError::Missing`] without the attribute, [`IntegrityError::Mismatch`] if it is wrong or
    /// truncated: TURN has no use for the short forms (RFC 8656 §5).
    #[inline]
    pub fn verify(&self, message: &Message<'_>) -> Result<(), IntegrityError> {
        let offset = message.integrity_sha256_offset();
        verify(message, offset, |covered, length| self.mac(covered, length))
    }

    #[inline]
    pub(crate) fn mac(&self, covered: &[u8], length: u16) -> [u8; 32] {
        mac(self.0.clone(), covered, length).into()
    }
}

impl From<&LongTermKey> for IntegrityKeySha256 {
    fn from(key: &LongTermKey) -> Self {
        Self::new(key.as_bytes())
    }
}

impl fmt::Debug for IntegrityKeySha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IntegrityKeySha256(..)")
    }
}

/// The state of an HMAC after its key, which may have any length.
#[allow(
    clippy::expect_used,
    reason = "HMAC hashes keys longer than a block and pads the others (RFC 2104 §2)"
)]
pub(crate) fn keyed<M: KeyInit + Mac>(key: &[u8]) -> M {
    <M as KeyInit>::new_from_slice(key).expect("HMAC accepts keys of any length")
}

#[inline]
fn verify<const N: usize>(
    message: &Message<'_>,
    offset: Option<usize>,
    mac: impl FnOnce(&[u8], u16) -> [u8; N],
) -> Result<(), IntegrityError> {
    let offset = offset.ok_or(IntegrityError::Missing)?;
    let (Some(covered), Some(value)) = (message.bytes().get(..offset), message.value_at(offset))
    else {
        return Err(IntegrityError::Missing);
    };
    // The attribute itself counts: it is the last that the length field would cover.
    let end = offset.saturating_add(4).saturating_add(N);
    let length = end.saturating_sub(HEADER_LEN) as u16;
    if value.len() == N && bool::from(mac(covered, length).ct_eq(value)) {
        Ok(())
    } else {
        Err(IntegrityError::Mismatch)
    }
}

/// Runs `hmac` over `covered` with another length field, in whole blocks but for the last.
#[inline]
fn mac<M: Mac>(mut hmac: M, covered: &[u8], length: u16) -> hmac::digest::Output<M> {
    let (first, rest) = match covered.split_at_checked(BLOCK_LEN) {
        Some(split) => split,
        None => (covered, &[][..]),
    };
    let mut block = [0; BLOCK_LEN];
    if let Some(block) = block.get_mut(..first.len()) {
        block.copy_from_slice(first);
        if let Some([_, _, l0, l1]) = block.first_chunk_mut() {
            [*l0, *l1] = length.to_be_bytes();
        }
        hmac.update(block);
    }
    hmac.update(rest);
    hmac.finalize().into_bytes()
}

/// Block of SHA-1 and SHA-256 in bytes.
const BLOCK_LEN: usize = 64;
