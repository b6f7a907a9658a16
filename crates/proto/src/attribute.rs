//! The attributes by number and name, and the walk over those of a message.
//!
//! Owns the registry and the rule which attributes of a message count (RFC 8489 §14). It must not
//! interpret values; [`crate::Message`] has an accessor for each.

use std::fmt;
use std::ops::{Deref, RangeInclusive};

/// The type of an attribute (RFC 8489 §14): one of the constants, or any other number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttributeType(pub u16);

impl AttributeType {
    /// Whether a receiver that does not understand the attribute must refuse the message with 420:
    /// types below 0x8000 (RFC 8489 §14).
    #[inline]
    pub const fn comprehension_required(self) -> bool {
        self.0 < 0x8000
    }

    /// The name its RFC gives it, such as `XOR-MAPPED-ADDRESS`; `None` for types not listed here.
    pub fn name(self) -> Option<&'static str> {
        REGISTRY
            .iter()
            .find(|(number, _)| *number == self.0)
            .map(|(_, name)| *name)
    }

    /// Where [`crate::Message`] remembers the first attribute of this type, below [`SLOTS`];
    /// [`NO_SLOT`] for all but the few that servers read from most messages.
    #[inline]
    #[allow(
        clippy::indexing_slicing,
        reason = "the index is masked to the table's length"
    )]
    pub(crate) const fn slot(self) -> usize {
        if self.0 & 0x7FC0 != 0 {
            return NO_SLOT;
        }
        SLOT_OF[compress(self.0)] as usize & (SLOTS - 1)
    }
}

macro_rules! registry {
    ($($(#[$doc:meta])* $constant:ident = $number:literal $name:literal)*) => {
        impl AttributeType {
            $($(#[$doc])* pub const $constant: Self = Self($number);)*
        }

        const REGISTRY: &[(u16, &str)] = &[$(($number, $name)),*];
    };
}

registry! {
    /// Address of the client as the server sees it, in clear (RFC 8489 §14.1).
    MAPPED_ADDRESS = 0x0001 "MAPPED-ADDRESS"
    /// Asks for an answer from another address or port (RFC 5780 §7.2).
    CHANGE_REQUEST = 0x0003 "CHANGE-REQUEST"
    /// Name of the user, at most 763 bytes (RFC 8489 §14.3).
    USERNAME = 0x0006 "USERNAME"
    /// HMAC-SHA1 over what precedes it (RFC 8489 §14.5).
    MESSAGE_INTEGRITY = 0x0008 "MESSAGE-INTEGRITY"
    /// Number and reason of an error (RFC 8489 §14.8).
    ERROR_CODE = 0x0009 "ERROR-CODE"
    /// Types that a 420 complains about (RFC 8489 §14.13).
    UNKNOWN_ATTRIBUTES = 0x000A "UNKNOWN-ATTRIBUTES"
    /// Number of a channel (RFC 8656 §18.1).
    CHANNEL_NUMBER = 0x000C "CHANNEL-NUMBER"
    /// Lifetime in seconds (RFC 8656 §18.2).
    LIFETIME = 0x000D "LIFETIME"
    /// Address of a peer (RFC 8656 §18.3).
    XOR_PEER_ADDRESS = 0x0012 "XOR-PEER-ADDRESS"
    /// Application data (RFC 8656 §18.4).
    DATA = 0x0013 "DATA"
    /// Realm of the credentials, at most 763 bytes (RFC 8489 §14.9).
    REALM = 0x0014 "REALM"
    /// Nonce, at most 763 bytes (RFC 8489 §14.10).
    NONCE = 0x0015 "NONCE"
    /// Relayed transport address (RFC 8656 §18.5).
    XOR_RELAYED_ADDRESS = 0x0016 "XOR-RELAYED-ADDRESS"
    /// Wanted family of the relayed transport address (RFC 8656 §18.6).
    REQUESTED_ADDRESS_FAMILY = 0x0017 "REQUESTED-ADDRESS-FAMILY"
    /// Asks for an even port (RFC 8656 §18.7).
    EVEN_PORT = 0x0018 "EVEN-PORT"
    /// Wanted transport towards the peers (RFC 8656 §18.8).
    REQUESTED_TRANSPORT = 0x0019 "REQUESTED-TRANSPORT"
    /// Asks for the DF bit (RFC 8656 §18.9).
    DONT_FRAGMENT = 0x001A "DONT-FRAGMENT"
    /// Self-contained token of third-party authorization (RFC 7635 §6.2).
    ACCESS_TOKEN = 0x001B "ACCESS-TOKEN"
    /// HMAC-SHA256 over what precedes it (RFC 8489 §14.6).
    MESSAGE_INTEGRITY_SHA256 = 0x001C "MESSAGE-INTEGRITY-SHA256"
    /// The password algorithm a client chose (RFC 8489 §14.12).
    PASSWORD_ALGORITHM = 0x001D "PASSWORD-ALGORITHM"
    /// SHA-256 of user name and realm (RFC 8489 §14.4).
    USERHASH = 0x001E "USERHASH"
    /// Address of the client as the server sees it (RFC 8489 §14.2).
    XOR_MAPPED_ADDRESS = 0x0020 "XOR-MAPPED-ADDRESS"
    /// Token for a reserved relayed transport address (RFC 8656 §18.10).
    RESERVATION_TOKEN = 0x0022 "RESERVATION-TOKEN"
    /// Priority of a candidate (RFC 8445 §16.1).
    PRIORITY = 0x0024 "PRIORITY"
    /// Nominates a candidate pair (RFC 8445 §16.1).
    USE_CANDIDATE = 0x0025 "USE-CANDIDATE"
    /// Makes a message larger (RFC 5780 §7.6).
    PADDING = 0x0026 "PADDING"
    /// Asks for an answer to another port (RFC 5780 §7.5).
    RESPONSE_PORT = 0x0027 "RESPONSE-PORT"
    /// Pairs a TCP connection with its peer (RFC 6062 §6.2.1).
    CONNECTION_ID = 0x002A "CONNECTION-ID"
    /// Asks for a second relayed transport address of the other family (RFC 8656 §18.11).
    ADDITIONAL_ADDRESS_FAMILY = 0x8000 "ADDITIONAL-ADDRESS-FAMILY"
    /// Why there is no address of one family (RFC 8656 §18.12).
    ADDRESS_ERROR_CODE = 0x8001 "ADDRESS-ERROR-CODE"
    /// The password algorithms a server offers (RFC 8489 §14.11).
    PASSWORD_ALGORITHMS = 0x8002 "PASSWORD-ALGORITHMS"
    /// Domain name of the alternate server (RFC 8489 §14.16).
    ALTERNATE_DOMAIN = 0x8003 "ALTERNATE-DOMAIN"
    /// An ICMP error from the way to a peer (RFC 8656 §18.13).
    ICMP = 0x8004 "ICMP"
    /// Name of the software, at most 763 bytes (RFC 8489 §14.14).
    SOFTWARE = 0x8022 "SOFTWARE"
    /// Another server to use (RFC 8489 §14.15).
    ALTERNATE_SERVER = 0x8023 "ALTERNATE-SERVER"
    /// CRC-32 over what precedes it (RFC 8489 §14.7).
    FINGERPRINT = 0x8028 "FINGERPRINT"
    /// Sender has the controlled role (RFC 8445 §16.1).
    ICE_CONTROLLED = 0x8029 "ICE-CONTROLLED"
    /// Sender has the controlling role (RFC 8445 §16.1).
    ICE_CONTROLLING = 0x802A "ICE-CONTROLLING"
    /// Address the answer was sent from (RFC 5780 §7.3).
    RESPONSE_ORIGIN = 0x802B "RESPONSE-ORIGIN"
    /// The other address and port of the server (RFC 5780 §7.4).
    OTHER_ADDRESS = 0x802C "OTHER-ADDRESS"
    /// Name of the authorization server (RFC 7635 §6.1).
    THIRD_PARTY_AUTHORIZATION = 0x802E "THIRD-PARTY-AUTHORIZATION"
    /// Ticket to move an allocation to another address (RFC 8016 §4).
    MOBILITY_TICKET = 0x8030 "MOBILITY-TICKET"
}

impl fmt::Display for AttributeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#06x}", self.0),
        }
    }
}

impl fmt::Debug for AttributeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One attribute, uninterpreted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawAttribute<'a> {
    /// Its type.
    pub attribute: AttributeType,
    /// Its value without padding.
    pub value: &'a [u8],
}

/// The attributes of a message that count, in their order: none behind MESSAGE-INTEGRITY but
/// MESSAGE-INTEGRITY-SHA256 and FINGERPRINT, none behind MESSAGE-INTEGRITY-SHA256 but FINGERPRINT
/// (RFC 8489 §14.5, §14.6). Repeated ones are all there.
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    rest: &'a [u8],
    stage: Stage,
}

impl<'a> Attributes<'a> {
    /// The attributes that start in `rest`, of a message that decoded; none precede them that would end
    /// what counts.
    #[inline]
    pub(crate) fn new(rest: &'a [u8]) -> Self {
        Self {
            rest,
            stage: Stage::Open,
        }
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = RawAttribute<'a>;

    #[inline]
    fn next(&mut self) -> Option<RawAttribute<'a>> {
        loop {
            let (&[t0, t1, l0, l1], tail) = self.rest.split_first_chunk()?;
            let attribute = AttributeType(u16::from_be_bytes([t0, t1]));
            let len = usize::from(u16::from_be_bytes([l0, l1]));
            let value = tail.get(..len)?;
            self.rest = tail.get(padded(len)..)?;
            if let Some(stage) = self.stage.admit(attribute) {
                self.stage = stage;
                return Some(RawAttribute { attribute, value });
            }
        }
    }
}

/// How far a message is sealed, and so which attributes may still come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Open,
    Integrity,
    IntegritySha256,
    Fingerprint,
}

impl Stage {
    /// The stage after `attribute`, or `None` if it does not count any more.
    #[inline]
    pub(crate) fn admit(self, attribute: AttributeType) -> Option<Self> {
        let next = match attribute {
            AttributeType::MESSAGE_INTEGRITY => Self::Integrity,
            AttributeType::MESSAGE_INTEGRITY_SHA256 => Self::IntegritySha256,
            AttributeType::FINGERPRINT => Self::Fingerprint,
            _ => return (self == Self::Open).then_some(self),
        };
        (self < next).then_some(next)
    }
}

/// Types of attributes that a request needs understood but nobody does: the content of
/// UNKNOWN-ATTRIBUTES in a 420 (RFC 8489 §14.13). At most eight, none twice.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct UnknownAttributes {
    types: [AttributeType; MAX_UNKNOWN],
    len: usize,
}

impl UnknownAttributes {
    /// An empty list.
    pub const fn new() -> Self {
        Self {
            types: [AttributeType(0); MAX_UNKNOWN],
            len: 0,
        }
    }

    /// Adds a type unless it is there or eight are.
    pub fn push(&mut self, attribute: AttributeType) {
        if self.contains(&attribute) {
            return;
        }
        if let Some(free) = self.types.get_mut(self.len) {
            *free = attribute;
            self.len = self.len.saturating_add(1);
        }
    }

    /// The types, in the order they were added.
    pub fn as_slice(&self) -> &[AttributeType] {
        self.types.get(..self.len).unwrap_or_default()
    }
}

impl Default for UnknownAttributes {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for UnknownAttributes {
    type Target = [AttributeType];

    fn deref(&self) -> &[AttributeType] {
        self.as_slice()
    }
}

impl fmt::Debug for UnknownAttributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.as_slice()).finish()
    }
}

/// `len` rounded up to a multiple of four. Callers pass 16-bit lengths, so it cannot wrap.
#[inline]
pub(crate) const fn padded(len: usize) -> usize {
    len.wrapping_add(3) & !3
}

/// A type's index into [`SLOT_OF`], for types whose bits 6 to 14 are zero.
const fn compress(number: u16) -> usize {
    ((number & 0x3F) | ((number >> 9) & 0x40)) as usize
}

#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "evaluated at compile time"
)]
const SLOT_OF: [u8; 128] = {
    let mut table = [NO_SLOT as u8; 128];
    let mut index = 0;
    while index < SLOTTED.len() {
        let AttributeType(number) = SLOTTED[index];
        assert!(number & 0x7FC0 == 0);
        table[compress(number)] = index as u8 + 1;
        index += 1;
    }
    table
};

/// The types that have a slot, from slot 1 on. The first three seal a message, see [`SEAL_SLOTS`].
const SLOTTED: [AttributeType; SLOTS - 1] = [
    AttributeType::MESSAGE_INTEGRITY,
    AttributeType::MESSAGE_INTEGRITY_SHA256,
    AttributeType::FINGERPRINT,
    AttributeType::USERNAME,
    AttributeType::REALM,
    AttributeType::NONCE,
    AttributeType::SOFTWARE,
    AttributeType::LIFETIME,
    AttributeType::REQUESTED_TRANSPORT,
    AttributeType::REQUESTED_ADDRESS_FAMILY,
    AttributeType::XOR_PEER_ADDRESS,
    AttributeType::DATA,
    AttributeType::CHANNEL_NUMBER,
    AttributeType::DONT_FRAGMENT,
    AttributeType::EVEN_PORT,
];

/// How many slots there are. A power of two, so that masking replaces a bounds check.
pub(crate) const SLOTS: usize = 16;
/// The slot of all types without one of their own.
pub(crate) const NO_SLOT: usize = 0;
/// The slots of MESSAGE-INTEGRITY, MESSAGE-INTEGRITY-SHA256 and FINGERPRINT.
pub(crate) const SEAL_SLOTS: RangeInclusive<usize> = 1..=3;
const MAX_UNKNOWN: usize = 8;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn slots_belong_to_one_type_each() {
        let slots: Vec<_> = SLOTTED.map(AttributeType::slot).to_vec();
        assert!(slots.iter().copied().eq(1..SLOTS));
        for attribute in (0..=u16::MAX).map(AttributeType) {
            assert_eq!(
                attribute.slot() == NO_SLOT,
                !SLOTTED.contains(&attribute),
                "{attribute}"
            );
            let seals = Stage::Open.admit(attribute) != Some(Stage::Open);
            assert_eq!(SEAL_SLOTS.contains(&attribute.slot()), seals, "{attribute}");
        }
    }

    #[test]
    fn listed_types_differ() {
        let numbers: BTreeSet<_> = REGISTRY.iter().map(|(number, _)| number).collect();
        let names: BTreeSet<_> = REGISTRY.iter().map(|(_, name)| name).collect();
        assert_eq!(
            (numbers.len(), names.len()),
            (REGISTRY.len(), REGISTRY.len())
        );
        for (number, name) in REGISTRY {
            assert_eq!(AttributeType(*number).to_string(), *name);
        }
    }

    #[test]
    fn names_and_comprehension() {
        assert_eq!(AttributeType(0x7F00).to_string(), "0x7f00");
        assert!(AttributeType(0x7FFF).comprehension_required());
        assert!(!AttributeType::ADDITIONAL_ADDRESS_FAMILY.comprehension_required());
    }

    #[test]
    fn unknown_attributes_are_eight_different_ones() {
        let mut unknown = UnknownAttributes::new();
        for number in [1, 1, 2, 3, 4, 2, 5, 6, 7, 8, 9, 10] {
            unknown.push(AttributeType(number));
        }
        let expected: Vec<_> = (1..=8).map(AttributeType).collect();
        assert_eq!(unknown.as_slice(), expected);
    }
}
