//! A STUN message, borrowed from the bytes it came in.
//!
//! Owns decoding: the header, one walk over the attributes that remembers where the first of each type
//! stands, and a typed accessor for each. It must not allocate, check who sent the message (see
//! [`crate::IntegrityKey`]) or decide what an attribute means to a server.

use std::fmt;
use std::net::SocketAddr;

use crate::address::{self, Mask};
use crate::attribute::{NO_SLOT, SEAL_SLOTS, SLOTS, Stage};
use crate::fingerprint::fingerprint;
use crate::method::{class_of, method_of};
use crate::value::{MAX_TEXT_LEN, text};
use crate::{
    AddressErrorCode, AddressFamily, AttributeError, AttributeProblem, AttributeType, Attributes,
    ChangeRequest, Class, DecodeError, ErrorCode, HEADER_LEN, Icmp, MAGIC_COOKIE, Method,
    PasswordAlgorithm, RawAttribute, TransactionId, UnknownAttributes,
};

/// A decoded message (RFC 8489 §5). Of attributes that are repeated, accessors read the first; those
/// that must be ignored, because they stand behind MESSAGE-INTEGRITY, are absent.
///
/// An accessor returns `Ok(None)` for an absent attribute, an [`AttributeError`] for a malformed one.
/// Where any value is well formed it returns a plain `Option`.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    bytes: &'a [u8],
    /// Where the first attribute of each slot starts, in words of four bytes; 0 for none.
    words: [u16; SLOTS],
}

impl<'a> Message<'a> {
    /// Reads one message that fills `bytes` exactly. FINGERPRINT is verified if present.
    ///
    /// # Errors
    /// See [`DecodeError`]: the bytes are no STUN message, an attribute crosses the end, or FINGERPRINT
    /// is wrong or not last.
    // compliance: 8489-11-01, 8489-11-03, 8489-14-01, 8489-14-02, 8489-14-05, 8489-14.7-01, 8489-5-01, 8489-5-02
    // compliance: 8489-5-05, 8489-6.3-03, 8489-9-01, 8489-9-02
    #[inline(always)]
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let Some(&[t0, _, l0, l1, c0, c1, c2, c3, ..]) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(DecodeError::TooShort);
        };
        if t0 & 0xC0 != 0 {
            return Err(DecodeError::NotStun);
        }
        if u32::from_be_bytes([c0, c1, c2, c3]) != MAGIC_COOKIE {
            return Err(DecodeError::Cookie);
        }
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        if length & 3 != 0 || length.saturating_add(HEADER_LEN) != bytes.len() {
            return Err(DecodeError::Length);
        }

        let mut words = [0; SLOTS];
        let mut stage = Stage::Open;
        let mut offset = HEADER_LEN;
        while let Some((header, tail)) = bytes.get(offset..).and_then(<[u8]>::split_first_chunk) {
            // One load and one swap for type and length: each attribute waits for the one before it.
            let header = u32::from_be_bytes(*header);
            let attribute = AttributeType((header >> 16) as u16);
            let len = usize::from(header as u16);
            if len > tail.len() {
                return Err(DecodeError::AttributeOverrun);
            }
            let slot = attribute.slot();
            if SEAL_SLOTS.contains(&slot) {
                if let Some(admitted) = stage.admit(attribute) {
                    check_seal(bytes, attribute, offset, len)?;
                    stage = admitted;
                    remember(&mut words, slot, offset);
                }
            } else if stage == Stage::Open {
                remember(&mut words, slot, offset);
            }
            // Header, value and padding; `len` was checked, so nothing is carried into the type.
            offset = offset.wrapping_add((header.wrapping_add(7) & 0xFFFC) as usize);
        }
        Ok(Self { bytes, words })
    }

    /// The bytes it was decoded from.
    #[inline]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Its class.
    #[inline]
    pub fn class(&self) -> Class {
        class_of(self.message_type())
    }

    /// Its method.
    #[inline]
    pub fn method(&self) -> Method {
        method_of(self.message_type())
    }

    /// Its transaction id.
    #[inline]
    pub fn transaction_id(&self) -> TransactionId {
        let id = self.bytes.get(8..).and_then(<[u8]>::first_chunk);
        TransactionId(id.copied().unwrap_or_default())
    }

    /// All attributes that count, in their order, uninterpreted.
    #[inline]
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.bytes.get(HEADER_LEN..).unwrap_or_default())
    }

    /// The value of the first attribute of this type, uninterpreted.
    #[inline]
    pub fn attribute(&self, attribute: AttributeType) -> Option<&'a [u8]> {
        match attribute.slot() {
            NO_SLOT => Attributes::new(self.bytes.get(self.offset(NO_SLOT)?..)?)
                .find(|raw| raw.attribute == attribute)
                .map(|raw| raw.value),
            slot => self.value_at(self.offset(slot)?),
        }
    }

    /// The types below 0x8000 that `known` denies, as a 420 lists them: at most eight, none twice
    /// (RFC 8489 §6.3). `known` is not asked for the two integrity attributes.
    // compliance: 8489-6.3-01
    #[inline]
    pub fn unknown_required(&self, known: impl Fn(AttributeType) -> bool) -> UnknownAttributes {
        let mut unknown = UnknownAttributes::new();
        for RawAttribute { attribute, .. } in self.attributes() {
            if attribute.comprehension_required()
                && attribute != AttributeType::MESSAGE_INTEGRITY
                && attribute != AttributeType::MESSAGE_INTEGRITY_SHA256
                && !known(attribute)
            {
                unknown.push(attribute);
            }
        }
        unknown
    }

    /// Whether MESSAGE-INTEGRITY is present. Says nothing about whether it is right.
    #[inline]
    pub fn has_integrity(&self) -> bool {
        self.integrity_offset().is_some()
    }

    /// Whether MESSAGE-INTEGRITY-SHA256 is present. Says nothing about whether it is right.
    #[inline]
    pub fn has_integrity_sha256(&self) -> bool {
        self.integrity_sha256_offset().is_some()
    }

    /// Whether FINGERPRINT is present, and then it is right.
    #[inline]
    pub fn has_fingerprint(&self) -> bool {
        self.offset(const { AttributeType::FINGERPRINT.slot() })
            .is_some()
    }

    /// USERNAME, at most 763 bytes (RFC 8489 §14.3).
    // compliance: 8489-14.3-01
    #[inline]
    pub fn username(&self) -> Result<Option<&'a str>, AttributeError> {
        self.text(AttributeType::USERNAME, MAX_TEXT_LEN)
    }

    /// USERHASH (RFC 8489 §14.4).
    #[inline]
    pub fn userhash(&self) -> Result<Option<[u8; 32]>, AttributeError> {
        self.fixed(AttributeType::USERHASH)
    }

    /// REALM, at most 763 bytes (RFC 8489 §14.9).
    #[inline]
    pub fn realm(&self) -> Result<Option<&'a str>, AttributeError> {
        self.text(AttributeType::REALM, MAX_TEXT_LEN)
    }

    /// NONCE, at most 763 bytes (RFC 8489 §14.10). Servers get back what they sent, so it is bytes.
    #[inline]
    pub fn nonce(&self) -> Result<Option<&'a [u8]>, AttributeError> {
        self.with(AttributeType::NONCE, |value| {
            if value.len() > MAX_TEXT_LEN {
                return Err(AttributeProblem::TooLong);
            }
            Ok(value)
        })
    }

    /// SOFTWARE, at most 763 bytes (RFC 8489 §14.14).
    #[inline]
    pub fn software(&self) -> Result<Option<&'a str>, AttributeError> {
        self.text(AttributeType::SOFTWARE, MAX_TEXT_LEN)
    }

    /// ERROR-CODE (RFC 8489 §14.8).
    pub fn error_code(&self) -> Result<Option<ErrorCode<'a>>, AttributeError> {
        self.with(AttributeType::ERROR_CODE, ErrorCode::decode)
    }

    /// ADDRESS-ERROR-CODE (RFC 8656 §18.12).
    pub fn address_error_code(&self) -> Result<Option<AddressErrorCode<'a>>, AttributeError> {
        self.with(AttributeType::ADDRESS_ERROR_CODE, AddressErrorCode::decode)
    }

    /// The types that UNKNOWN-ATTRIBUTES lists (RFC 8489 §14.13); none if it is absent.
    pub fn unknown_attributes(&self) -> impl Iterator<Item = AttributeType> + use<'a> {
        self.attribute(AttributeType::UNKNOWN_ATTRIBUTES)
            .unwrap_or_default()
            .as_chunks::<2>()
            .0
            .iter()
            .map(|number| AttributeType(u16::from_be_bytes(*number)))
    }

    /// PASSWORD-ALGORITHM (RFC 8489 §14.12).
    pub fn password_algorithm(&self) -> Result<Option<PasswordAlgorithm>, AttributeError> {
        self.with(AttributeType::PASSWORD_ALGORITHM, |value| {
            PasswordAlgorithm::split_first(value)
                .map(|(algorithm, _)| algorithm)
                .ok_or(AttributeProblem::Length)
        })
    }

    /// The algorithms that PASSWORD-ALGORITHMS lists, in their order, up to the first that is malformed
    /// (RFC 8489 §14.11); none if it is absent.
    pub fn password_algorithms(&self) -> impl Iterator<Item = PasswordAlgorithm> + use<'a> {
        let mut rest = self
            .attribute(AttributeType::PASSWORD_ALGORITHMS)
            .unwrap_or_default();
        std::iter::from_fn(move || {
            let (algorithm, tail) = PasswordAlgorithm::split_first(rest)?;
            rest = tail;
            Some(algorithm)
        })
    }

    /// MAPPED-ADDRESS (RFC 8489 §14.1).
    pub fn mapped_address(&self) -> Result<Option<SocketAddr>, AttributeError> {
        self.clear_address(AttributeType::MAPPED_ADDRESS)
    }

    /// XOR-MAPPED-ADDRESS (RFC 8489 §14.2).
    pub fn xor_mapped_address(&self) -> Result<Option<SocketAddr>, AttributeError> {
        self.xor_address(AttributeType::XOR_MAPPED_ADDRESS)
    }

    /// ALTERNATE-SERVER (RFC 8489 §14.15).
    pub fn alternate_server(&self) -> Result<Option<SocketAddr>, AttributeError> {
        self.clear_address(AttributeType::ALTERNATE_SERVER)
    }

    /// XOR-RELAYED-ADDRESS (RFC 8656 §18.5).
    pub fn xor_relayed_address(&self) -> Result<Option<SocketAddr>, AttributeError> {
        self.xor_address(AttributeType::XOR_RELAYED_ADDRESS)
    }

    /// The first XOR-PEER-ADDRESS (RFC 8656 §18.3).
    #[inline]
    pub fn peer_address(&self) -> Result<Option<SocketAddr>, AttributeError> {
        self.xor_address(AttributeType::XOR_PEER_ADDRESS)
    }

    /// Every XOR-PEER-ADDRESS, as a CreatePermission request may have several (RFC 8656 §10.1).
    #[inline]
    pub fn peer_addresses(
        &self,
    ) -> impl Iterator<Item = Result<SocketAddr, AttributeError>> + use<'a> {
        self.xor_addresses(AttributeType::XOR_PEER_ADDRESS)
    }

    /// Every XOR-RELAYED-ADDRESS: the answer to a dual allocation has two (RFC 8656 §7.3).
    pub fn relayed_addresses(
        &self,
    ) -> impl Iterator<Item = Result<SocketAddr, AttributeError>> + use<'a> {
        self.xor_addresses(AttributeType::XOR_RELAYED_ADDRESS)
    }

    /// DATA (RFC 8656 §18.4).
    #[inline]
    pub fn data(&self) -> Option<&'a [u8]> {
        self.value_at(self.offset(const { AttributeType::DATA.slot() })?)
    }

    /// Where in [`bytes`](Self::bytes) the value of DATA starts.
    #[inline]
    pub fn data_offset(&self) -> Option<usize> {
        self.offset(const { AttributeType::DATA.slot() })
            .map(|offset| offset.saturating_add(ATTRIBUTE_HEADER_LEN))
    }

    /// CHANNEL-NUMBER, of any range (RFC 8656 §18.1).
    // compliance: 8656-18.1-01
    #[inline]
    pub fn channel_number(&self) -> Result<Option<u16>, AttributeError> {
        self.with(AttributeType::CHANNEL_NUMBER, |value| match value {
            &[n0, n1, _, _] => Ok(u16::from_be_bytes([n0, n1])),
            _ => Err(AttributeProblem::Length),
        })
    }

    /// LIFETIME in seconds (RFC 8656 §18.2).
    #[inline]
    pub fn lifetime(&self) -> Result<Option<u32>, AttributeError> {
        Ok(self.fixed(AttributeType::LIFETIME)?.map(u32::from_be_bytes))
    }

    /// The protocol number in REQUESTED-TRANSPORT: 17 for UDP, 6 for TCP (RFC 8656 §18.8).
    // compliance: 8656-18.8-01
    #[inline]
    pub fn requested_transport(&self) -> Result<Option<u8>, AttributeError> {
        self.leading_byte_of_word(AttributeType::REQUESTED_TRANSPORT)
    }

    /// REQUESTED-ADDRESS-FAMILY; the inner error is a family that is neither IPv4 nor IPv6, to be
    /// answered with 440 (RFC 8656 §18.6).
    // compliance: 8656-18.6-01
    #[inline]
    pub fn requested_address_family(
        &self,
    ) -> Result<Option<Result<AddressFamily, u8>>, AttributeError> {
        Ok(self
            .leading_byte_of_word(AttributeType::REQUESTED_ADDRESS_FAMILY)?
            .map(AddressFamily::try_from))
    }

    /// ADDITIONAL-ADDRESS-FAMILY; the inner error is a family that is neither IPv4 nor IPv6
    /// (RFC 8656 §18.11).
    #[inline]
    pub fn additional_address_family(
        &self,
    ) -> Result<Option<Result<AddressFamily, u8>>, AttributeError> {
        Ok(self
            .leading_byte_of_word(AttributeType::ADDITIONAL_ADDRESS_FAMILY)?
            .map(AddressFamily::try_from))
    }

    /// EVEN-PORT; true if the next higher port is to be reserved (RFC 8656 §18.7).
    // compliance: 8656-18.7-01
    #[inline]
    pub fn even_port(&self) -> Result<Option<bool>, AttributeError> {
        self.with(AttributeType::EVEN_PORT, |value| match value {
            &[flags] => Ok(flags & 0x80 != 0),
            _ => Err(AttributeProblem::Length),
        })
    }

    /// RESERVATION-TOKEN (RFC 8656 §18.10).
    #[inline]
    pub fn reservation_token(&self) -> Result<Option<[u8; 8]>, AttributeError> {
        self.fixed(AttributeType::RESERVATION_TOKEN)
    }

    /// Whether DONT-FRAGMENT is present (RFC 8656 §18.9).
    #[inline]
    pub fn dont_fragment(&self) -> bool {
        self.offset(const { AttributeType::DONT_FRAGMENT.slot() })
            .is_some()
    }

    /// ICMP (RFC 8656 §18.13).
    pub fn icmp(&self) -> Result<Option<Icmp>, AttributeError> {
        self.with(AttributeType::ICMP, Icmp::decode)
    }

    /// CONNECTION-ID (RFC 6062 §6.2.1).
    pub fn connection_id(&self) -> Result<Option<u32>, AttributeError> {
        Ok(self
            .fixed(AttributeType::CONNECTION_ID)?
            .map(u32::from_be_bytes))
    }

    /// MOBILITY-TICKET; empty in a first Allocate request (RFC 8016 §4).
    pub fn mobility_ticket(&self) -> Option<&'a [u8]> {
        self.attribute(AttributeType::MOBILITY_TICKET)
    }

    /// CHANGE-REQUEST (RFC 5780 §7.2).
    pub fn change_request(&self) -> Result<Option<ChangeRequest>, AttributeError> {
        self.with(AttributeType::CHANGE_REQUEST, ChangeRequest::decode)
    }

    /// RESPONSE-PORT (RFC 5780 §7.5).
    pub fn response_port(&self) -> Result<Option<u16>, AttributeError> {
        self.with(AttributeType::RESPONSE_PORT, |value| match value {
            &[p0, p1] | &[p0, p1, _, _] => Ok(u16::from_be_bytes([p0, p1])),
            _ => Err(AttributeProblem::Length),
        })
    }

    /// PADDING (RFC 5780 §7.6).
    pub fn padding(&self) -> Option<&'a [u8]> {
        self.attribute(AttributeType::PADDING)
    }

    /// RESPONSE-ORIGIN (RFC 5780 §7.3).
    pub fn response_origin(&self) -> Result<Option<SocketAddr>, AttributeError> {
        self.clear_address(AttributeType::RESPONSE_ORIGIN)
    }

    /// OTHER-ADDRESS (RFC 5780 §7.4).
    pub fn other_address(&self) -> Result<Option<SocketAddr>, AttributeError> {
        self.clear_address(AttributeType::OTHER_ADDRESS)
    }

    /// Where MESSAGE-INTEGRITY starts.
    #[inline]
    pub(crate) fn integrity_offset(&self) -> Option<usize> {
        self.offset(const { AttributeType::MESSAGE_INTEGRITY.slot() })
    }

    /// Where MESSAGE-INTEGRITY-SHA256 starts.
    #[inline]
    pub(crate) fn integrity_sha256_offset(&self) -> Option<usize> {
        self.offset(const { AttributeType::MESSAGE_INTEGRITY_SHA256.slot() })
    }

    /// The value of the attribute that starts at `offset`.
    #[inline]
    pub(crate) fn value_at(&self, offset: usize) -> Option<&'a [u8]> {
        let (&[_, _, l0, l1], rest) = self.bytes.get(offset..)?.split_first_chunk()?;
        rest.get(..usize::from(u16::from_be_bytes([l0, l1])))
    }

    #[inline]
    fn message_type(&self) -> u16 {
        u16::from_be_bytes(self.bytes.first_chunk().copied().unwrap_or_default())
    }

    #[inline]
    fn offset(&self, slot: usize) -> Option<usize> {
        match self.words.get(slot) {
            Some(&word) if word != 0 => Some(usize::from(word) << 2),
            _ => None,
        }
    }

    #[inline]
    fn with<T>(
        &self,
        attribute: AttributeType,
        read: impl FnOnce(&'a [u8]) -> Result<T, AttributeProblem>,
    ) -> Result<Option<T>, AttributeError> {
        match self.attribute(attribute).map(read) {
            None => Ok(None),
            Some(Ok(value)) => Ok(Some(value)),
            Some(Err(problem)) => Err(AttributeError { attribute, problem }),
        }
    }

    #[inline]
    fn fixed<const N: usize>(
        &self,
        attribute: AttributeType,
    ) -> Result<Option<[u8; N]>, AttributeError> {
        self.with(attribute, |value| {
            value.try_into().map_err(|_| AttributeProblem::Length)
        })
    }

    /// A number of one byte followed by three reserved ones.
    #[inline]
    fn leading_byte_of_word(&self, attribute: AttributeType) -> Result<Option<u8>, AttributeError> {
        Ok(self.fixed(attribute)?.map(|[byte, _, _, _]| byte))
    }

    #[inline]
    fn text(
        &self,
        attribute: AttributeType,
        max_len: usize,
    ) -> Result<Option<&'a str>, AttributeError> {
        self.with(attribute, |value| text(value, max_len))
    }

    #[inline]
    fn xor_address(&self, attribute: AttributeType) -> Result<Option<SocketAddr>, AttributeError> {
        self.with(attribute, |value| {
            address::decode(value, Mask::xor(self.transaction_id()))
        })
    }

    #[inline]
    fn xor_addresses(
        &self,
        attribute: AttributeType,
    ) -> impl Iterator<Item = Result<SocketAddr, AttributeError>> + use<'a> {
        let mask = Mask::xor(self.transaction_id());
        self.attributes()
            .filter(move |raw| raw.attribute == attribute)
            .map(move |raw| {
                address::decode(raw.value, mask)
                    .map_err(|problem| AttributeError { attribute, problem })
            })
    }

    fn clear_address(
        &self,
        attribute: AttributeType,
    ) -> Result<Option<SocketAddr>, AttributeError> {
        self.with(attribute, |value| address::decode(value, Mask::CLEAR))
    }
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("class", &self.class())
            .field("method", &self.method())
            .field("transaction_id", &self.transaction_id())
            .field("attributes", &AttributeList(self.attributes()))
            .finish()
    }
}

/// Types and lengths only: values hold names and nonces.
struct AttributeList<'a>(Attributes<'a>);

impl fmt::Debug for AttributeList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.0.clone().map(|raw| (raw.attribute, raw.value.len())))
            .finish()
    }
}

/// Notes that an attribute starts at `offset`, unless an earlier one has the slot.
#[inline]
fn remember(words: &mut [u16; SLOTS], slot: usize, offset: usize) {
    if let Some(word) = words.get_mut(slot)
        && *word == 0
    {
        *word = (offset >> 2) as u16;
    }
}

/// Checks form and place of the three attributes that seal a message, and the value of FINGERPRINT.
// compliance: 8489-14.6-01, 8489-14.6-02, 8489-14.7-01
#[inline]
fn check_seal(
    bytes: &[u8],
    attribute: AttributeType,
    offset: usize,
    len: usize,
) -> Result<(), DecodeError> {
    match (attribute, len) {
        (AttributeType::MESSAGE_INTEGRITY, 20) => Ok(()),
        (AttributeType::MESSAGE_INTEGRITY_SHA256, 16 | 20 | 24 | 28 | 32) => Ok(()),
        (AttributeType::FINGERPRINT, 4) => match bytes.split_at_checked(offset) {
            Some((covered, &[_, _, _, _, v0, v1, v2, v3])) => {
                if fingerprint(covered) == u32::from_be_bytes([v0, v1, v2, v3]) {
                    Ok(())
                } else {
                    Err(DecodeError::FingerprintMismatch)
                }
            }
            _ => Err(DecodeError::FingerprintNotLast),
        },
        (AttributeType::FINGERPRINT, _) => Err(DecodeError::FingerprintLength),
        _ => Err(DecodeError::IntegrityLength),
    }
}

const ATTRIBUTE_HEADER_LEN: usize = 4;
