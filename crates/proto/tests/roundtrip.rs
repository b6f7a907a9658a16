//! What is written is what is read, on datagrams and on streams, whatever the cut.

mod strategies;

use proptest::prelude::*;
use turnbuckle_proto::{
    ChannelData, EncodeError, Frame, IndicationHeader, IntegrityError, IntegrityKey, Kind, Message,
    Method, TransactionId, channel_data, indication, next_frame, rest,
};

use crate::strategies::{Attribute, address, config, draft};

proptest! {
    #![proptest_config(config("proptest-regressions/roundtrip.txt"))]

    // compliance: 8489-14-01, 8489-14-02, 8489-14-03, 8489-5-05
    #[test]
    fn messages_return(draft in draft()) {
        let key = IntegrityKey::new(b"key");
        let bytes = draft.build(&key);
        let message = Message::decode(&bytes).unwrap();
        prop_assert_eq!(message.class(), draft.class);
        prop_assert_eq!(message.method(), draft.method);
        prop_assert_eq!(message.transaction_id(), draft.id);
        prop_assert_eq!(message.has_integrity(), draft.integrity);
        prop_assert_eq!(message.has_fingerprint(), draft.fingerprint);
        let expected = if draft.integrity { Ok(()) } else { Err(IntegrityError::Missing) };
        prop_assert_eq!(key.verify(&message), expected);
        let seals = usize::from(draft.integrity) + usize::from(draft.fingerprint);
        prop_assert_eq!(message.attributes().count(), draft.attributes.len() + seals);
        for (raw, attribute) in message.attributes().zip(&draft.attributes) {
            match attribute {
                Attribute::Username(text)
                | Attribute::Realm(text)
                | Attribute::Nonce(text)
                | Attribute::Software(text) => prop_assert_eq!(raw.value, text.as_bytes()),
                Attribute::Raw(attribute, value) => {
                    prop_assert_eq!(raw.attribute, *attribute);
                    prop_assert_eq!(raw.value, value);
                }
                Attribute::XorAddress(attribute, _) => prop_assert_eq!(raw.attribute, *attribute),
                Attribute::ErrorCode(code, reason) => {
                    prop_assert_eq!(u16::from(raw.value[2]) * 100 + u16::from(raw.value[3]), *code);
                    prop_assert_eq!(&raw.value[4..], reason.as_bytes());
                }
            }
        }
    }

    // compliance: 8489-14-04, 8656-18-01
    #[test]
    fn padding_is_zero(draft in draft()) {
        let bytes = draft.build(&IntegrityKey::new(b"key"));
        let message = Message::decode(&bytes).unwrap();
        let mut at = 20;
        for raw in message.attributes() {
            at += 4 + raw.value.len();
            let end = at.next_multiple_of(4);
            prop_assert!(bytes[at..end].iter().all(|byte| *byte == 0));
            at = end;
        }
        prop_assert_eq!(at, bytes.len());
    }

    #[test]
    fn small_buffers_are_refused(draft in draft(), missing in any::<prop::sample::Index>()) {
        let key = IntegrityKey::new(b"key");
        let whole = draft.build(&key);
        let mut exact = vec![0xFF; whole.len()];
        prop_assert_eq!(draft.build_into(&mut exact, &key), Ok(whole.len()));
        prop_assert_eq!(&exact, &whole);
        let mut small = vec![0xFF; missing.index(whole.len())];
        prop_assert_eq!(draft.build_into(&mut small, &key), Err(EncodeError::BufferTooSmall));
    }

    #[test]
    fn a_changed_byte_breaks_integrity(
        mut draft in draft(),
        index in any::<prop::sample::Index>(),
        flip in 1_u8..=255,
    ) {
        draft.integrity = true;
        draft.fingerprint = false;
        let key = IntegrityKey::new(b"key");
        let mut bytes = draft.build(&key);
        let index = index.index(bytes.len());
        bytes[index] ^= flip;
        if let Ok(message) = Message::decode(&bytes) {
            prop_assert!(key.verify(&message).is_err());
        }
    }

    // compliance: 8489-6.1-01, 8656-11.3-02
    #[test]
    fn indications_return(
        id in any::<[u8; 12]>(),
        peer in address(),
        payload in prop::collection::vec(any::<u8>(), 0..1500),
    ) {
        let id = TransactionId(id);
        let header = IndicationHeader::new(Method::DATA, id, peer, payload.len()).unwrap();
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend_from_slice(&payload);
        bytes.resize(bytes.len() + indication::padding(payload.len()), 0);
        let message = Message::decode(&bytes).unwrap();
        prop_assert_eq!(message.method(), Method::DATA);
        prop_assert_eq!(message.transaction_id(), id);
        prop_assert_eq!(message.peer_address(), Ok(Some(peer)));
        prop_assert_eq!(message.data(), Some(payload.as_slice()));
        prop_assert_eq!(message.data_offset(), Some(header.as_bytes().len()));
    }

    #[test]
    fn channel_data_returns(
        number in 0x4000_u16..0x8000,
        payload in prop::collection::vec(any::<u8>(), 0..1500),
        padding in 0_usize..4,
    ) {
        let mut bytes = channel_data::header(number, payload.len() as u16).to_vec();
        bytes.extend_from_slice(&payload);
        bytes.resize(bytes.len() + padding, 0xEE);
        let expected = ChannelData { number, payload: &payload };
        prop_assert_eq!(ChannelData::decode(&bytes), Ok(expected));
    }

    #[test]
    fn streams_frame_alike_however_they_arrive(
        units in prop::collection::vec(unit(), 0..6),
        steps in prop::collection::vec(1_usize..50, 1..8),
    ) {
        let stream: Vec<u8> = units.iter().flatten().copied().collect();
        let whole = frames(&stream, &[stream.len().max(1)]);
        prop_assert_eq!(&whole, &units);
        prop_assert_eq!(&frames(&stream, &[1]), &units);
        prop_assert_eq!(&frames(&stream, &steps), &units);
    }

    #[test]
    fn need_is_honest(unit in unit()) {
        for held in 0..unit.len() {
            let Frame::Incomplete { need } = next_frame(&unit[..held]) else {
                return Err(TestCaseError::fail(format!("{held} of {} bytes", unit.len())));
            };
            prop_assert!(held < need && need <= unit.len());
        }
    }

    #[test]
    fn random_streams_neither_panic_nor_wrap(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        match next_frame(&bytes) {
            Frame::Incomplete { need } => {
                prop_assert!(bytes.len() < need && need <= 65_552);
                // What more bytes there are cannot change what the first ones said.
                let mut longer = bytes.clone();
                longer.resize(need, 0);
                if let Frame::Incomplete { need: more } = next_frame(&longer) {
                    prop_assert!(more > need);
                }
            }
            Frame::Complete { kind, len, consumed } => {
                prop_assert!(len <= consumed && consumed <= bytes.len());
                prop_assert_eq!(consumed, len.next_multiple_of(4));
                prop_assert!(matches!(kind, Kind::Stun | Kind::ChannelData));
            }
            Frame::Invalid => prop_assert!(!bytes.is_empty()),
        }
    }

    #[test]
    fn rest_names_return(
        expiry in any::<u64>(),
        suffix in prop::option::of("\\PC{1,20}"),
        separator in prop::sample::select(vec![':', '|', '-', '§']),
    ) {
        let name = rest::username(expiry, suffix.as_deref(), separator);
        let expected = rest::RestUsername { expiry, user: suffix.as_deref() };
        prop_assert_eq!(rest::parse(&name, separator), Some(expected));
    }

    #[test]
    fn rest_never_panics(name in "[0-9:.a-z\u{e9}]{0,30}", separator in any::<char>()) {
        if let Some(parsed) = rest::parse(&name, separator) {
            let digits = parsed.expiry.to_string();
            prop_assert!(name.contains(&digits));
            prop_assert!(parsed.user.is_none_or(|user| name.contains(user)));
        }
    }
}

/// A message as it stands on a stream, padding included.
fn unit() -> impl Strategy<Value = Vec<u8>> {
    let channel_data = (
        0x4000_u16..0x5000,
        prop::collection::vec(any::<u8>(), 0..60),
    )
        .prop_map(|(number, payload)| {
            let len = payload.len() as u16;
            let mut bytes = channel_data::header(number, len).to_vec();
            bytes.extend_from_slice(&payload);
            bytes.resize(4 + channel_data::padded_len(len), 0);
            bytes
        });
    let stun = (draft(), 0_u16..=0xFF).prop_map(|(mut draft, method)| {
        // Others start with a byte that RFC 7983 gives to other protocols.
        draft.method = Method::new(method).unwrap();
        draft.build(&IntegrityKey::new(b"key"))
    });
    prop_oneof![channel_data, stun]
}

/// Cuts a stream that arrives in pieces of `steps` bytes, over and over, into its units.
fn frames(stream: &[u8], steps: &[usize]) -> Vec<Vec<u8>> {
    let mut units = Vec::new();
    let mut held = Vec::new();
    let mut rest = stream;
    for step in steps.iter().cycle() {
        let (piece, later) = rest.split_at(rest.len().min(*step));
        held.extend_from_slice(piece);
        rest = later;
        while let Frame::Complete { consumed, .. } = next_frame(&held) {
            units.push(held.drain(..consumed).collect());
        }
        assert_ne!(next_frame(&held), Frame::Invalid);
        if rest.is_empty() {
            break;
        }
    }
    assert!(held.is_empty());
    units
}
