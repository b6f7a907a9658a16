//! What can be wrong with bytes, attributes, buffers and signatures.
//!
//! Owns the error types of this crate: small, `Copy`, without allocation. It must not decide what a
//! server does about them.

use thiserror::Error;

use crate::AttributeType;

/// Why bytes are not a STUN message or a ChannelData message. Such a datagram is dropped
/// (RFC 8489 §6.3): nothing in it can be trusted enough to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum DecodeError {
    /// Fewer bytes than the header has.
    #[error("shorter than the header")]
    TooShort,
    /// The two most significant bits are not zero.
    #[error("not a STUN message")]
    NotStun,
    /// Bytes 4 to 8 are not the magic cookie; RFC 3489 clients send none.
    #[error("no magic cookie")]
    Cookie,
    /// The length field is no multiple of four or does not agree with the number of bytes.
    #[error("length field does not fit")]
    Length,
    /// An attribute ends behind the end of the message.
    #[error("attribute runs over the end of the message")]
    AttributeOverrun,
    /// MESSAGE-INTEGRITY is not 20 bytes, or MESSAGE-INTEGRITY-SHA256 not 16, 20, 24, 28 or 32.
    #[error("message integrity of a wrong length")]
    IntegrityLength,
    /// FINGERPRINT is not 4 bytes.
    #[error("FINGERPRINT of a wrong length")]
    FingerprintLength,
    /// Something follows FINGERPRINT (RFC 8489 §14.7).
    #[error("FINGERPRINT is not the last attribute")]
    FingerprintNotLast,
    /// FINGERPRINT does not match the message.
    #[error("FINGERPRINT does not match")]
    FingerprintMismatch,
    /// The channel number of a ChannelData message is outside 0x4000 to 0x7FFF.
    #[error("not a channel number")]
    ChannelNumber,
}

/// An attribute that is there but cannot be read. A request that has one is answered with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[error("malformed {attribute}: {problem}")]
pub struct AttributeError {
    /// Which attribute.
    pub attribute: AttributeType,
    /// What is wrong with it.
    pub problem: AttributeProblem,
}

/// What is wrong with the value of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum AttributeProblem {
    /// The value has not the one length, or none of the lengths, that its type allows.
    #[error("wrong length")]
    Length,
    /// The value is longer than its RFC allows.
    #[error("too long")]
    TooLong,
    /// The value is text but not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// The address family is neither IPv4 nor IPv6.
    #[error("unknown address family")]
    Family,
    /// A field holds a value outside its range.
    #[error("value out of range")]
    Range,
}

/// Why something could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum EncodeError {
    /// The caller's buffer is full. What was written before is intact.
    #[error("buffer too small")]
    BufferTooSmall,
    /// A value, or the message, is longer than its RFC or its length field allows.
    #[error("value too long")]
    TooLong,
    /// A number is outside the range of its field.
    #[error("value out of range")]
    Range,
    /// Attribute after FINGERPRINT, or an ordinary one after MESSAGE-INTEGRITY: receivers ignore it.
    #[error("attribute after message integrity or fingerprint")]
    OutOfOrder,
}

/// Why a message was not proved to come from who holds the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum IntegrityError {
    /// The message has no such attribute.
    #[error("message integrity missing")]
    Missing,
    /// The attribute does not match message and key, or is truncated.
    #[error("message integrity does not match")]
    Mismatch,
}
