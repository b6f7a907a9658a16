//! The codec beside another one, the `stun` crate.
//!
//! Both accept the same bytes and read the same values, but for these differences, each of which is meant:
//!
//! * First bits that are not zero, a length that is no multiple of four, and bytes behind the message: refused here
//!   (RFC 8489 §5, §6.3), taken there.
//! * A MESSAGE-INTEGRITY, MESSAGE-INTEGRITY-SHA256 or FINGERPRINT of a wrong length, and a FINGERPRINT that is wrong or
//!   not last: no message here (RFC 8489 §14), there found only by a check of its own.
//! * What stands behind a seal does not count here (RFC 8489 §9); there it stays in the list.
//! * Type 0x8020 is an early spelling of XOR-MAPPED-ADDRESS there and an unknown attribute here.
//! * Text here is UTF-8 of bounded length (RFC 8489 §14.3, §14.8, §14.9, §14.14); there any bytes.
//! * The reserved bits before the class of ERROR-CODE are ignored here (RFC 8489 §14.8) and read as part of it there.
//! * The first byte of an address is ignored here (RFC 8489 §14.1); there it is part of the family.
//! * An address that is longer than its family says is malformed here and cut there.

use std::net::SocketAddr;

use stun::attributes as theirs;
use stun::message::Getter as _;
use turnbuckle_proto::{AttributeType, Class, DecodeError, IntegrityKey, Message};

use crate::decode::read_all;

/// Decodes the input with both.
///
/// # Panics
/// If they differ in anything that is not listed above.
pub fn oracle(input: &[u8]) {
    let mut other = stun::message::Message::new();
    let accepted = other.unmarshal_binary(input).is_ok();
    match Message::decode(input) {
        Ok(message) => {
            assert!(accepted, "only this side accepts");
            agree_on_header(&message, &other);
            agree_on_attributes(&message, &other);
            agree_on_values(&message, &mut other);
            agree_on_seals(&message, &mut other);
            read_all(&message);
        }
        Err(DecodeError::FingerprintMismatch) => {
            assert!(accepted);
            assert!(stun::fingerprint::FINGERPRINT.check(&other).is_err());
        }
        Err(
            DecodeError::NotStun
            | DecodeError::Length
            | DecodeError::IntegrityLength
            | DecodeError::FingerprintLength
            | DecodeError::FingerprintNotLast,
        ) => {}
        Err(error) => assert!(!accepted, "only the other side accepts: {error}"),
    }
}

fn agree_on_header(message: &Message<'_>, other: &stun::message::Message) {
    assert_eq!(message.transaction_id().0, other.transaction_id.0);
    let class = match message.class() {
        Class::Request => stun::message::CLASS_REQUEST,
        Class::Indication => stun::message::CLASS_INDICATION,
        Class::Success => stun::message::CLASS_SUCCESS_RESPONSE,
        Class::Error => stun::message::CLASS_ERROR_RESPONSE,
    };
    assert_eq!(class, other.typ.class);
    let bytes = message.bytes();
    let first = u16::from_be_bytes([bytes[0], bytes[1]]);
    assert_eq!(other.typ.value(), first);
    let method = message.method().number();
    let spread = (method & 0x000F) | ((method & 0x0070) << 1) | ((method & 0x0F80) << 2);
    assert_eq!(spread, first & 0b11_1110_1110_1111);
}

fn agree_on_attributes(message: &Message<'_>, other: &stun::message::Message) {
    let mut sealed_by = 0;
    let counting = other.attributes.0.iter().filter(|raw| {
        let seal = match raw.typ {
            theirs::ATTR_MESSAGE_INTEGRITY => 1,
            theirs::ATTR_MESSAGE_INTEGRITY_SHA256 => 2,
            theirs::ATTR_FINGERPRINT => 3,
            _ => return sealed_by == 0,
        };
        let counts = sealed_by < seal;
        sealed_by = sealed_by.max(seal);
        counts
    });
    let counting = counting.map(|raw| (raw.typ.0, raw.value.as_slice()));
    let ours = message.attributes().map(|raw| {
        let number = raw.attribute.0;
        (
            if number == EARLY_XOR_MAPPED {
                0x0020
            } else {
                number
            },
            raw.value,
        )
    });
    assert!(ours.eq(counting), "{message:?}\n{other}");
}

fn agree_on_values(message: &Message<'_>, other: &mut stun::message::Message) {
    let early = message.attribute(AttributeType(EARLY_XOR_MAPPED)).is_some();
    for (read, number) in [
        (message.xor_mapped_address(), theirs::ATTR_XORMAPPED_ADDRESS),
        (
            message.xor_relayed_address(),
            theirs::ATTR_XOR_RELAYED_ADDRESS,
        ),
        (message.peer_address(), theirs::ATTR_XOR_PEER_ADDRESS),
    ] {
        let mut address = stun::xoraddr::XorMappedAddress::default();
        if let Ok(Some(ours)) = read
            && !(early && number == theirs::ATTR_XORMAPPED_ADDRESS)
            && starts_with_zero(message, number)
        {
            address.get_from_as(other, number).expect("both read it");
            assert_eq!(ours, SocketAddr::new(address.ip, address.port));
        }
    }
    for (read, number) in [
        (message.mapped_address(), theirs::ATTR_MAPPED_ADDRESS),
        (message.alternate_server(), theirs::ATTR_ALTERNATE_SERVER),
        (message.response_origin(), theirs::ATTR_RESPONSE_ORIGIN),
        (message.other_address(), theirs::ATTR_OTHER_ADDRESS),
    ] {
        let mut address = stun::addr::MappedAddress::default();
        if let Ok(Some(ours)) = read
            && starts_with_zero(message, number)
        {
            address.get_from_as(other, number).expect("both read it");
            assert_eq!(ours, SocketAddr::new(address.ip, address.port));
        }
    }
    for (read, number) in [
        (message.username(), theirs::ATTR_USERNAME),
        (message.realm(), theirs::ATTR_REALM),
        (message.software(), theirs::ATTR_SOFTWARE),
    ] {
        if let Ok(Some(ours)) = read {
            let text = stun::textattrs::TextAttribute::get_from_as(other, number);
            assert_eq!(ours, text.expect("both read it").text);
        }
    }
    if let Ok(Some(ours)) = message.error_code() {
        let mut error = stun::error_code::ErrorCodeAttribute::default();
        error.get_from(other).expect("both read it");
        assert_eq!(ours.code % 100, error.code.0 % 100);
        assert_eq!(ours.reason.as_bytes(), error.reason);
    }
    if message
        .attribute(AttributeType::UNKNOWN_ATTRIBUTES)
        .is_some()
    {
        let mut unknown = stun::uattrs::UnknownAttributes(Vec::new());
        if unknown.get_from(other).is_ok() {
            let ours: Vec<_> = message.unknown_attributes().map(|a| a.0).collect();
            let numbers: Vec<_> = unknown.0.iter().map(|a| a.0).collect();
            assert_eq!(ours, numbers);
        }
    }
}

fn agree_on_seals(message: &Message<'_>, other: &mut stun::message::Message) {
    if message.has_integrity() {
        let theirs = stun::integrity::MessageIntegrity(KEY.to_vec()).check(other);
        let ours = IntegrityKey::new(KEY).verify(message);
        assert_eq!(ours.is_ok(), theirs.is_ok());
    }
    if message.has_fingerprint() {
        assert!(stun::fingerprint::FINGERPRINT.check(other).is_ok());
    }
}

fn starts_with_zero(message: &Message<'_>, number: theirs::AttrType) -> bool {
    let value = message.attribute(AttributeType(number.0));
    value.is_some_and(|value| value.first() == Some(&0))
}

const KEY: &[u8] = b"0123456789abcdef";
const EARLY_XOR_MAPPED: u16 = 0x8020;
