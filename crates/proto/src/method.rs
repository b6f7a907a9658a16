//! What a message is: class, method and transaction id.
//!
//! Owns the 14-bit message type (RFC 8489 §5). It must not look at attributes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The class of a message (RFC 8489 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Asks for an answer.
    Request,
    /// Wants no answer.
    Indication,
    /// Answers a request that succeeded.
    Success,
    /// Answers a request that failed.
    Error,
}

/// The method of a message: 12 bits, so at most 0xFFF (RFC 8489 §5, RFC 8656 §17, RFC 6062 §6.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Method(u16);

impl Method {
    /// Binding (RFC 8489 §18.2).
    pub const BINDING: Self = Self(0x001);
    /// Allocate (RFC 8656 §17).
    pub const ALLOCATE: Self = Self(0x003);
    /// Refresh (RFC 8656 §17).
    pub const REFRESH: Self = Self(0x004);
    /// Send, an indication from client to server (RFC 8656 §17).
    pub const SEND: Self = Self(0x006);
    /// Data, an indication from server to client (RFC 8656 §17).
    pub const DATA: Self = Self(0x007);
    /// CreatePermission (RFC 8656 §17).
    pub const CREATE_PERMISSION: Self = Self(0x008);
    /// ChannelBind (RFC 8656 §17).
    pub const CHANNEL_BIND: Self = Self(0x009);
    /// Connect (RFC 6062 §6.1).
    pub const CONNECT: Self = Self(0x00A);
    /// ConnectionBind (RFC 6062 §6.1).
    pub const CONNECTION_BIND: Self = Self(0x00B);
    /// ConnectionAttempt, an indication from server to client (RFC 6062 §6.1).
    pub const CONNECTION_ATTEMPT: Self = Self(0x00C);

    /// The method of this number; `None` if it does not fit into 12 bits.
    #[inline]
    pub const fn new(number: u16) -> Option<Self> {
        if number <= 0xFFF {
            Some(Self(number))
        } else {
            None
        }
    }

    /// The number of the method, at most 0xFFF.
    #[inline]
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::BINDING => "Binding",
            Self::ALLOCATE => "Allocate",
            Self::REFRESH => "Refresh",
            Self::SEND => "Send",
            Self::DATA => "Data",
            Self::CREATE_PERMISSION => "CreatePermission",
            Self::CHANNEL_BIND => "ChannelBind",
            Self::CONNECT => "Connect",
            Self::CONNECTION_BIND => "ConnectionBind",
            Self::CONNECTION_ATTEMPT => "ConnectionAttempt",
            Self(number) => return write!(f, "method {number:#05x}"),
        })
    }
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What pairs an answer with its request (RFC 8489 §5): 96 bits chosen by the sender of the request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TransactionId(pub [u8; 12]);

impl fmt::Debug for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The message type field: the class lies in bits 4 and 8, the method around them.
#[inline]
pub(crate) const fn message_type(class: Class, Method(method): Method) -> u16 {
    let class = match class {
        Class::Request => 0x000,
        Class::Indication => 0x010,
        Class::Success => 0x100,
        Class::Error => 0x110,
    };
    class | (method & 0x00F) | ((method & 0x070) << 1) | ((method & 0xF80) << 2)
}

#[inline]
pub(crate) const fn class_of(message_type: u16) -> Class {
    match message_type & 0x110 {
        0x000 => Class::Request,
        0x010 => Class::Indication,
        0x100 => Class::Success,
        _ => Class::Error,
    }
}

#[inline]
pub(crate) const fn method_of(message_type: u16) -> Method {
    Method(
        (message_type & 0x000F) | ((message_type & 0x00E0) >> 1) | ((message_type & 0x3E00) >> 2),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_splits_and_joins() {
        for message_type_field in 0..0x4000 {
            assert_eq!(
                message_type(class_of(message_type_field), method_of(message_type_field)),
                message_type_field
            );
        }
    }

    #[test]
    fn types_of_the_rfc() {
        assert_eq!(message_type(Class::Success, Method::BINDING), 0x0101);
        assert_eq!(message_type(Class::Error, Method::ALLOCATE), 0x0113);
        assert_eq!(message_type(Class::Indication, Method::SEND), 0x0016);
        assert_eq!(message_type(Class::Indication, Method::DATA), 0x0017);
        assert_eq!(Method::new(0xFFF).map(Method::number), Some(0xFFF));
        assert_eq!(Method::new(0x1000), None);
    }

    #[test]
    fn names() {
        assert_eq!(Method::CREATE_PERMISSION.to_string(), "CreatePermission");
        assert_eq!(Method(0x0FE).to_string(), "method 0x0fe");
        let id = TransactionId([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0xAB, 0xFF]);
        assert_eq!(format!("{id:?}"), "00010203040506070809abff");
    }
}
