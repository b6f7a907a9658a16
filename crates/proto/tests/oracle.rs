//! The codec against an independent one, the `stun` crate: both ways, and on damaged bytes.

mod strategies;

use std::net::SocketAddr;

use proptest::prelude::*;
use stun::attributes as theirs;
use stun::message::{Getter as _, Setter as _};
use turnbuckle_proto::{
    AttributeType, Attributes, Class, DecodeError, IntegrityKey, Message, Method, TransactionId,
};

use crate::strategies::{Attribute, Draft, address, config, draft};

proptest! {
    #![proptest_config(config("proptest-regressions/oracle.txt"))]

    #[test]
    fn what_we_build_they_read(draft in draft()) {
        let bytes = draft.build(&IntegrityKey::new(KEY));
        let mut other = stun::message::Message::new();
        other.unmarshal_binary(&bytes).unwrap();
        agree(&Message::decode(&bytes).unwrap(), &mut other)?;
        if draft.integrity {
            stun::integrity::MessageIntegrity(KEY.to_vec()).check(&mut other).unwrap();
            prop_assert!(stun::integrity::MessageIntegrity(b"no".to_vec()).check(&mut other).is_err());
        }
        if draft.fingerprint {
            stun::fingerprint::FINGERPRINT.check(&other).unwrap();
        }
    }

    #[test]
    fn what_they_build_we_read(draft in draft()) {
        let mut other = build_theirs(&draft);
        let message = Message::decode(&other.raw).unwrap();
        prop_assert_eq!(message.class(), draft.class);
        prop_assert_eq!(message.method(), draft.method);
        prop_assert_eq!(message.transaction_id(), draft.id);
        prop_assert_eq!(message.has_integrity(), draft.integrity);
        prop_assert_eq!(message.has_fingerprint(), draft.fingerprint);
        if draft.integrity {
            prop_assert_eq!(IntegrityKey::new(KEY).verify(&message), Ok(()));
        }
        prop_assert_eq!(&draft.build(&IntegrityKey::new(KEY)), &other.raw);
        let bytes = other.raw.clone();
        agree(&Message::decode(&bytes).unwrap(), &mut other)?;
    }

    #[test]
    fn on_damaged_messages_both_agree(
        draft in draft(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::weighted(0.1, any::<prop::sample::Index>()),
        late in prop::collection::vec(any::<[u8; 4]>(), 0..4),
        repair in any::<bool>(),
    ) {
        let mut bytes = draft.build(&IntegrityKey::new(KEY));
        bytes.extend(late.into_iter().flatten());
        for (index, byte) in damage {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if repair && bytes.len() >= 20 {
            bytes.truncate(bytes.len() & !3);
            let length = (bytes.len() - 20) as u16;
            bytes[0] &= 0x3F;
            bytes[2..4].copy_from_slice(&length.to_be_bytes());
            bytes[4..8].copy_from_slice(&0x2112_A442_u32.to_be_bytes());
        }
        compare(&bytes)?;
    }

    #[test]
    fn on_random_bytes_both_agree(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        compare(&bytes)?;
    }

    /// Headers that are right, so that the walk over the attributes is reached each time.
    #[test]
    fn on_random_attributes_both_agree(
        id in any::<[u8; 12]>(),
        words in prop::collection::vec(
            prop_oneof![
                any::<[u8; 4]>(),
                (0_u8..0x40, 0_u8..40).prop_map(|(number, len)| [0, number, 0, len]),
                (0_u8..0x40, 0_u8..40).prop_map(|(number, len)| [0x80, number, 0, len]),
            ],
            0..40,
        ),
    ) {
        let mut bytes = vec![0, 3];
        bytes.extend((words.len() as u16 * 4).to_be_bytes());
        bytes.extend(0x2112_A442_u32.to_be_bytes());
        bytes.extend(id);
        bytes.extend(words.into_iter().flatten());
        compare(&bytes)?;
    }

    #[test]
    fn addresses_agree(id in any::<[u8; 12]>(), address in address()) {
        let draft = Draft {
            class: Class::Success,
            method: Method::BINDING,
            id: TransactionId(id),
            attributes: vec![Attribute::XorAddress(AttributeType::XOR_MAPPED_ADDRESS, address)],
            integrity: false,
            fingerprint: false,
        };
        let bytes = draft.build(&IntegrityKey::new(KEY));
        prop_assert_eq!(&bytes, &build_theirs(&draft).raw);
        prop_assert_eq!(Message::decode(&bytes).unwrap().xor_mapped_address(), Ok(Some(address)));
    }
}

/// Decodes with both. Ours may refuse more, for known reasons; where both accept they agree.
fn compare(bytes: &[u8]) -> Result<(), TestCaseError> {
    let mut other = stun::message::Message::new();
    let accepted = other.unmarshal_binary(bytes).is_ok();
    match Message::decode(bytes) {
        Ok(message) => {
            prop_assert!(accepted);
            agree(&message, &mut other)
        }
        Err(
            DecodeError::NotStun
            | DecodeError::Length
            | DecodeError::IntegrityLength
            | DecodeError::FingerprintLength
            | DecodeError::FingerprintNotLast,
        ) => Ok(()),
        Err(DecodeError::FingerprintMismatch) => {
            prop_assert!(accepted);
            prop_assert!(stun::fingerprint::FINGERPRINT.check(&other).is_err());
            Ok(())
        }
        Err(_) => {
            prop_assert!(!accepted);
            Ok(())
        }
    }
}

fn agree(message: &Message<'_>, other: &mut stun::message::Message) -> Result<(), TestCaseError> {
    prop_assert_eq!(message.transaction_id().0, other.transaction_id.0);
    prop_assert_eq!(
        message.method().to_owned(),
        Method::new(method_number(other.typ)).unwrap()
    );
    prop_assert_eq!(class_number(message.class()), other.typ.class);

    let ours: Vec<_> = message
        .attributes()
        .map(|raw| (raw.attribute.0, raw.value.to_vec()))
        .collect();
    let counting: Vec<_> = counting(other)
        .map(|raw| (raw.typ.0, raw.value.clone()))
        .collect();
    // They translate an old spelling of XOR-MAPPED-ADDRESS.
    let spelled: Vec<_> = ours
        .iter()
        .map(|(number, value)| {
            (
                if *number == 0x8020 { 0x0020 } else { *number },
                value.clone(),
            )
        })
        .collect();
    prop_assert_eq!(&spelled, &counting);
    for (number, _) in &ours {
        let first = ours.iter().find(|(other, _)| other == number);
        let value = message.attribute(AttributeType(*number));
        prop_assert_eq!(value, first.map(|(_, value)| value.as_slice()));
    }

    let has_old_spelling = ours.iter().any(|(number, _)| *number == 0x8020);
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
            && !(has_old_spelling && number == theirs::ATTR_XORMAPPED_ADDRESS)
            && address.get_from_as(other, number).is_ok()
        {
            prop_assert_eq!(ours, SocketAddr::new(address.ip, address.port));
        }
    }
    for (read, number) in [
        (message.username(), theirs::ATTR_USERNAME),
        (message.realm(), theirs::ATTR_REALM),
        (message.software(), theirs::ATTR_SOFTWARE),
    ] {
        if let Ok(Some(ours)) = read {
            let text = stun::textattrs::TextAttribute::get_from_as(other, number).unwrap();
            prop_assert_eq!(ours, text.text);
        }
    }
    if let Ok(Some(ours)) = message.error_code() {
        let mut error_code = stun::error_code::ErrorCodeAttribute::default();
        error_code.get_from(other).unwrap();
        // They keep the reserved bits above the class.
        prop_assert_eq!(ours.code % 100, error_code.code.0 % 100);
        prop_assert_eq!(ours.reason.as_bytes(), error_code.reason);
    }

    let checked = stun::integrity::MessageIntegrity(KEY.to_vec())
        .check(other)
        .is_ok();
    if message.has_integrity() {
        prop_assert_eq!(IntegrityKey::new(KEY).verify(message).is_ok(), checked);
    }
    if message.has_fingerprint() {
        prop_assert!(stun::fingerprint::FINGERPRINT.check(other).is_ok());
    }
    read_all(message);
    Ok(())
}

/// Their attributes up to where RFC 8489 §14.5 says to stop: they keep all.
fn counting(
    other: &stun::message::Message,
) -> impl Iterator<Item = &stun::attributes::RawAttribute> {
    let mut sealed = 0;
    other.attributes.0.iter().filter(move |raw| {
        let seal = match raw.typ {
            theirs::ATTR_MESSAGE_INTEGRITY => 1,
            theirs::ATTR_MESSAGE_INTEGRITY_SHA256 => 2,
            theirs::ATTR_FINGERPRINT => 3,
            _ => return sealed == 0,
        };
        let counts = sealed < seal;
        sealed = sealed.max(seal);
        counts
    })
}

/// Each accessor once: none may panic, whatever the bytes.
fn read_all(message: &Message<'_>) {
    let _ = (
        message.username(),
        message.userhash(),
        message.realm(),
        message.nonce(),
    );
    let _ = (
        message.software(),
        message.error_code(),
        message.address_error_code(),
    );
    let _ = (
        message.password_algorithm(),
        message.mapped_address(),
        message.xor_mapped_address(),
    );
    let _ = (
        message.alternate_server(),
        message.xor_relayed_address(),
        message.peer_address(),
    );
    let _ = (
        message.channel_number(),
        message.lifetime(),
        message.requested_transport(),
    );
    let _ = (
        message.requested_address_family(),
        message.additional_address_family(),
    );
    let _ = (
        message.even_port(),
        message.reservation_token(),
        message.icmp(),
    );
    let _ = (
        message.connection_id(),
        message.change_request(),
        message.response_port(),
    );
    let _ = (
        message.response_origin(),
        message.other_address(),
        message.mobility_ticket(),
    );
    let _ = (
        message.padding(),
        message.dont_fragment(),
        message.unknown_required(|_| false),
    );
    assert!(message.peer_addresses().count() <= message.attributes().count());
    assert!(message.password_algorithms().count() <= message.bytes().len());
    assert!(message.unknown_attributes().count() <= message.bytes().len());
    if let (Some(data), Some(at)) = (message.data(), message.data_offset()) {
        assert_eq!(&message.bytes()[at..at + data.len()], data);
    }
    assert!(!format!("{message:?}").is_empty());
    let attributes: Attributes<'_> = message.attributes();
    assert!(attributes.count() * 4 <= message.bytes().len());
}

fn build_theirs(draft: &Draft) -> stun::message::Message {
    use stun::textattrs::TextAttribute;
    let mut message = stun::message::Message::new();
    message.transaction_id = stun::agent::TransactionId(draft.id.0);
    let mut method = stun::message::MessageType::default();
    method.read_value(draft_method_bits(draft.method));
    message.typ = stun::message::MessageType::new(method.method, class_number(draft.class));
    message.write_header();
    for attribute in &draft.attributes {
        let text = |attr, text: &String| TextAttribute::new(attr, text.clone());
        match attribute {
            Attribute::Username(name) => text(theirs::ATTR_USERNAME, name).add_to(&mut message),
            Attribute::Realm(realm) => text(theirs::ATTR_REALM, realm).add_to(&mut message),
            Attribute::Nonce(nonce) => text(theirs::ATTR_NONCE, nonce).add_to(&mut message),
            Attribute::Software(name) => text(theirs::ATTR_SOFTWARE, name).add_to(&mut message),
            Attribute::XorAddress(attribute, address) => stun::xoraddr::XorMappedAddress {
                ip: address.ip(),
                port: address.port(),
            }
            .add_to_as(&mut message, theirs::AttrType(attribute.0)),
            Attribute::ErrorCode(code, reason) => stun::error_code::ErrorCodeAttribute {
                code: stun::error_code::ErrorCode(*code),
                reason: reason.clone().into_bytes(),
            }
            .add_to(&mut message),
            Attribute::Raw(attribute, value) => {
                message.add(theirs::AttrType(attribute.0), value);
                Ok(())
            }
        }
        .unwrap();
    }
    if draft.integrity {
        let key = stun::integrity::MessageIntegrity(KEY.to_vec());
        key.add_to(&mut message).unwrap();
    }
    if draft.fingerprint {
        stun::fingerprint::FINGERPRINT.add_to(&mut message).unwrap();
    }
    message
}

fn class_number(class: Class) -> stun::message::MessageClass {
    match class {
        Class::Request => stun::message::CLASS_REQUEST,
        Class::Indication => stun::message::CLASS_INDICATION,
        Class::Success => stun::message::CLASS_SUCCESS_RESPONSE,
        Class::Error => stun::message::CLASS_ERROR_RESPONSE,
    }
}

/// Their method has no accessor for its number, but their type has: a request's is the method spread.
fn method_number(typ: stun::message::MessageType) -> u16 {
    let spread = stun::message::MessageType::new(typ.method, stun::message::CLASS_REQUEST).value();
    (spread & 0x000F) | ((spread & 0x00E0) >> 1) | ((spread & 0x3E00) >> 2)
}

fn draft_method_bits(method: Method) -> u16 {
    let number = method.number();
    (number & 0x000F) | ((number & 0x0070) << 1) | ((number & 0x0F80) << 2)
}

const KEY: &[u8] = b"0123456789abcdef";
