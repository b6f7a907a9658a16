//! STUN and TURN on the wire: bytes to meaning and back.
//!
//! Owns the formats of RFC 8489 (STUN, and peers that still speak RFC 5389), RFC 8656 (TURN),
//! RFC 6062 (TCP allocations), RFC 8016 (mobility) and RFC 5780 (NAT behaviour discovery):
//! [`Message`] and [`MessageBuilder`], [`ChannelData`], framing on streams, MESSAGE-INTEGRITY and
//! FINGERPRINT, long-term keys and time-limited ("REST") credentials.
//!
//! It must not keep state, read a clock, draw random numbers, open a socket or decide policy. Decoding
//! borrows from the caller's bytes and allocates nothing; encoding writes into the caller's slice. No
//! input makes it panic: what cannot be read is a small `Copy` error.
//!
//! ```
//! use turnbuckle_proto::{Class, Message, MessageBuilder, Method, TransactionId};
//!
//! let mut buf = [0; 64];
//! let mut builder =
//!     MessageBuilder::new(&mut buf, Class::Request, Method::BINDING, TransactionId([7; 12]))?;
//! builder.software("example")?.fingerprint()?;
//! let len = builder.finish();
//!
//! let message = Message::decode(&buf[..len])?;
//! assert_eq!(message.method(), Method::BINDING);
//! assert_eq!(message.software()?, Some("example"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::panic
    )
)]

pub mod address;
pub mod attribute;
pub mod builder;
pub mod channel_data;
pub mod classify;
pub mod error;
pub mod fingerprint;
pub mod indication;
pub mod integrity;
pub mod long_term_key;
pub mod message;
pub mod method;
pub mod rest;
pub mod stream;
pub mod value;

pub use address::AddressFamily;
pub use attribute::{AttributeType, Attributes, RawAttribute, UnknownAttributes};
pub use builder::MessageBuilder;
pub use channel_data::{CHANNEL_DATA_HEADER_LEN, ChannelData};
pub use classify::{Kind, classify, classify_rfc5766, is_request};
pub use error::{AttributeError, AttributeProblem, DecodeError, EncodeError, IntegrityError};
pub use indication::IndicationHeader;
pub use integrity::{IntegrityKey, IntegrityKeySha256};
pub use long_term_key::{LongTermKey, LongTermKeySha256, userhash};
pub use message::Message;
pub use method::{Class, Method, TransactionId};
pub use stream::{Frame, next_frame, next_frame_rfc5766};
pub use value::{AddressErrorCode, ChangeRequest, ErrorCode, Icmp, PasswordAlgorithm};

/// Length in bytes of the header before the attributes of a STUN message (RFC 8489 §5).
pub const HEADER_LEN: usize = 20;
/// The fixed value in bytes 4 to 8 of each STUN message (RFC 8489 §5).
pub const MAGIC_COOKIE: u32 = 0x2112_A442;
