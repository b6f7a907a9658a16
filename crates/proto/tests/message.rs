//! What counts in a message, what is malformed, and what the builder refuses.

use std::net::SocketAddr;

use turnbuckle_proto::{
    AddressErrorCode, AddressFamily, AttributeProblem, AttributeType, ChangeRequest, Class,
    DecodeError, EncodeError, ErrorCode, Icmp, IntegrityError, IntegrityKey, IntegrityKeySha256,
    Message, MessageBuilder, Method, PasswordAlgorithm, TransactionId, UnknownAttributes,
};

#[test]
fn each_attribute_returns() {
    let v4: SocketAddr = "192.0.2.1:1".parse().unwrap();
    let v6: SocketAddr = "[2001:db8::1]:65535".parse().unwrap();
    let algorithms = [PasswordAlgorithm::SHA256, PasswordAlgorithm::MD5];
    let mut unknown = UnknownAttributes::new();
    unknown.push(AttributeType(0x7F01));
    unknown.push(AttributeType(0x7F02));
    let bytes = build(|builder| {
        builder.mapped_address(v4)?.xor_mapped_address(v6)?;
        builder.xor_relayed_address(v4)?.xor_peer_address(v6)?;
        builder
            .alternate_server(v6)?
            .response_origin(v4)?
            .other_address(v6)?;
        builder
            .username("user")?
            .userhash([3; 32])?
            .realm("realm")?
            .nonce(b"nonce")?;
        builder
            .software("software")?
            .error_code(438, "Stale Nonce")?;
        builder.address_error_code(AddressFamily::V6, 440, "No IPv6")?;
        builder.unknown_attributes(&unknown)?;
        builder
            .password_algorithm(PasswordAlgorithm::MD5)?
            .password_algorithms(&algorithms)?;
        builder
            .data(b"data!")?
            .channel_number(0x4001)?
            .lifetime(777)?
            .requested_transport(17)?;
        builder.requested_address_family(AddressFamily::V6)?;
        builder.additional_address_family(AddressFamily::V4)?;
        builder
            .even_port(true)?
            .reservation_token(*b"reserved")?
            .dont_fragment()?;
        builder
            .icmp(Icmp {
                icmp_type: 3,
                code: 4,
                data: 1400,
            })?
            .connection_id(0xDEAD_BEEF)?;
        builder
            .mobility_ticket(b"ticket")?
            .response_port(99)?
            .padding(5)?;
        builder.change_request(ChangeRequest {
            ip: true,
            port: false,
        })
    });
    let message = Message::decode(&bytes).unwrap();
    assert_eq!(message.class(), Class::Request);
    assert_eq!(message.method(), Method::ALLOCATE);
    assert_eq!(message.transaction_id(), ID);
    assert_eq!(message.mapped_address(), Ok(Some(v4)));
    assert_eq!(message.xor_mapped_address(), Ok(Some(v6)));
    assert_eq!(message.xor_relayed_address(), Ok(Some(v4)));
    assert_eq!(message.peer_address(), Ok(Some(v6)));
    assert_eq!(message.alternate_server(), Ok(Some(v6)));
    assert_eq!(message.response_origin(), Ok(Some(v4)));
    assert_eq!(message.other_address(), Ok(Some(v6)));
    assert_eq!(message.username(), Ok(Some("user")));
    assert_eq!(message.userhash(), Ok(Some([3; 32])));
    assert_eq!(message.realm(), Ok(Some("realm")));
    assert_eq!(message.nonce(), Ok(Some(&b"nonce"[..])));
    assert_eq!(message.software(), Ok(Some("software")));
    let error_code = ErrorCode {
        code: 438,
        reason: "Stale Nonce",
    };
    assert_eq!(message.error_code(), Ok(Some(error_code)));
    let family = AddressFamily::V6;
    let address_error_code = AddressErrorCode {
        family,
        code: 440,
        reason: "No IPv6",
    };
    assert_eq!(message.address_error_code(), Ok(Some(address_error_code)));
    assert!(
        message
            .unknown_attributes()
            .eq(unknown.as_slice().iter().copied())
    );
    assert_eq!(
        message.password_algorithm(),
        Ok(Some(PasswordAlgorithm::MD5))
    );
    assert!(message.password_algorithms().eq(algorithms));
    assert_eq!(message.data(), Some(&b"data!"[..]));
    let at = message.data_offset().unwrap();
    assert_eq!(&bytes[at..at + 5], b"data!");
    assert_eq!(message.channel_number(), Ok(Some(0x4001)));
    assert_eq!(message.lifetime(), Ok(Some(777)));
    assert_eq!(message.requested_transport(), Ok(Some(17)));
    assert_eq!(
        message.requested_address_family(),
        Ok(Some(Ok(AddressFamily::V6)))
    );
    assert_eq!(
        message.additional_address_family(),
        Ok(Some(Ok(AddressFamily::V4)))
    );
    assert_eq!(message.even_port(), Ok(Some(true)));
    assert_eq!(message.reservation_token(), Ok(Some(*b"reserved")));
    assert!(message.dont_fragment());
    assert_eq!(
        message.icmp(),
        Ok(Some(Icmp {
            icmp_type: 3,
            code: 4,
            data: 1400
        }))
    );
    assert_eq!(message.connection_id(), Ok(Some(0xDEAD_BEEF)));
    assert_eq!(message.mobility_ticket(), Some(&b"ticket"[..]));
    assert_eq!(message.response_port(), Ok(Some(99)));
    assert_eq!(message.padding(), Some(&[0; 5][..]));
    let change = ChangeRequest {
        ip: true,
        port: false,
    };
    assert_eq!(message.change_request(), Ok(Some(change)));
}

#[test]
fn absent_attributes_are_none() {
    let bytes = build(|builder| Ok(builder));
    let message = Message::decode(&bytes).unwrap();
    assert_eq!(message.username(), Ok(None));
    assert_eq!(message.lifetime(), Ok(None));
    assert_eq!(message.requested_address_family(), Ok(None));
    assert_eq!(message.even_port(), Ok(None));
    assert_eq!(message.peer_address(), Ok(None));
    assert_eq!(message.peer_addresses().count(), 0);
    assert_eq!(message.unknown_attributes().count(), 0);
    assert_eq!(message.password_algorithms().count(), 0);
    assert_eq!(message.data(), None);
    assert_eq!(message.data_offset(), None);
    assert_eq!(message.mobility_ticket(), None);
    assert!(!message.dont_fragment());
    assert!(
        !message.has_integrity() && !message.has_integrity_sha256() && !message.has_fingerprint()
    );
    assert_eq!(message.attributes().count(), 0);
    let key = IntegrityKey::new(b"key");
    assert_eq!(key.verify(&message), Err(IntegrityError::Missing));
    let key = IntegrityKeySha256::new(b"key");
    assert_eq!(key.verify(&message), Err(IntegrityError::Missing));
}

// compliance: 8489-14.1-01, 8489-14.1-02
#[test]
fn malformed_attributes_are_named() {
    type Read = fn(&Message<'_>) -> Option<turnbuckle_proto::AttributeError>;
    use AttributeProblem::{Family, Length, NotUtf8, Range, TooLong};
    let cases: &[(AttributeType, &[u8], AttributeProblem, Read)] = &[
        (AttributeType::LIFETIME, &[0; 3], Length, |m| {
            m.lifetime().err()
        }),
        (AttributeType::LIFETIME, &[0; 5], Length, |m| {
            m.lifetime().err()
        }),
        (AttributeType::REQUESTED_TRANSPORT, &[17], Length, |m| {
            m.requested_transport().err()
        }),
        (AttributeType::REQUESTED_ADDRESS_FAMILY, &[1], Length, |m| {
            m.requested_address_family().err()
        }),
        (AttributeType::ADDITIONAL_ADDRESS_FAMILY, &[], Length, |m| {
            m.additional_address_family().err()
        }),
        (AttributeType::CHANNEL_NUMBER, &[0x40, 0], Length, |m| {
            m.channel_number().err()
        }),
        (AttributeType::EVEN_PORT, &[0x80, 0], Length, |m| {
            m.even_port().err()
        }),
        (AttributeType::RESERVATION_TOKEN, &[0; 7], Length, |m| {
            m.reservation_token().err()
        }),
        (AttributeType::USERHASH, &[0; 31], Length, |m| {
            m.userhash().err()
        }),
        (
            AttributeType::XOR_PEER_ADDRESS,
            &[0, 3, 0, 0, 0, 0, 0, 0],
            Family,
            |m| m.peer_address().err(),
        ),
        (
            AttributeType::XOR_PEER_ADDRESS,
            &[0, 2, 0, 0, 0, 0, 0, 0],
            Length,
            |m| m.peer_addresses().find_map(Result::err),
        ),
        (AttributeType::USERNAME, &[b'x'; 764], TooLong, |m| {
            m.username().err()
        }),
        (AttributeType::USERNAME, &[0xFF], NotUtf8, |m| {
            m.username().err()
        }),
        (AttributeType::REALM, &[b'x'; 764], TooLong, |m| {
            m.realm().err()
        }),
        (AttributeType::NONCE, &[b'x'; 764], TooLong, |m| {
            m.nonce().err()
        }),
        (AttributeType::SOFTWARE, &[b'x'; 764], TooLong, |m| {
            m.software().err()
        }),
        (AttributeType::ERROR_CODE, &[0, 0, 7, 0], Range, |m| {
            m.error_code().err()
        }),
        (
            AttributeType::ADDRESS_ERROR_CODE,
            &[3, 0, 4, 40],
            Family,
            |m| m.address_error_code().err(),
        ),
        (
            AttributeType::PASSWORD_ALGORITHM,
            &[0, 1, 0, 4],
            Length,
            |m| m.password_algorithm().err(),
        ),
        (AttributeType::ICMP, &[0; 4], Length, |m| m.icmp().err()),
        (AttributeType::CHANGE_REQUEST, &[0; 8], Length, |m| {
            m.change_request().err()
        }),
        (AttributeType::RESPONSE_PORT, &[0; 3], Length, |m| {
            m.response_port().err()
        }),
        (AttributeType::CONNECTION_ID, &[0; 8], Length, |m| {
            m.connection_id().err()
        }),
    ];
    for (attribute, value, problem, read) in cases {
        let bytes = build(|builder| builder.attribute(*attribute, value));
        let error = read(&Message::decode(&bytes).unwrap()).unwrap();
        assert_eq!((error.attribute, error.problem), (*attribute, *problem));
    }
}

#[test]
fn unknown_family_is_told_from_malformed() {
    let bytes =
        build(|builder| builder.attribute(AttributeType::REQUESTED_ADDRESS_FAMILY, &[3, 0, 0, 0]));
    let message = Message::decode(&bytes).unwrap();
    assert_eq!(message.requested_address_family(), Ok(Some(Err(3))));
}

#[test]
fn the_first_of_repeated_attributes_is_read() {
    let peers: [SocketAddr; 3] =
        ["192.0.2.1:1", "192.0.2.2:2", "[2001:db8::3]:3"].map(|text| text.parse().unwrap());
    let bytes = build(|builder| {
        builder
            .lifetime(1)?
            .lifetime(2)?
            .attribute(AttributeType::LIFETIME, &[])?;
        for peer in peers {
            builder.xor_peer_address(peer)?;
        }
        builder
            .attribute(AttributeType(0x9999), b"a")?
            .attribute(AttributeType(0x9999), b"b")
    });
    let message = Message::decode(&bytes).unwrap();
    assert_eq!(message.lifetime(), Ok(Some(1)));
    assert_eq!(message.peer_address(), Ok(Some(peers[0])));
    assert!(message.peer_addresses().map(Result::unwrap).eq(peers));
    assert_eq!(message.attribute(AttributeType(0x9999)), Some(&b"a"[..]));
    assert_eq!(message.attributes().count(), 8);
}

// compliance: 8489-9-01
#[test]
fn nothing_behind_integrity_counts() {
    let key = IntegrityKey::new(b"key");
    let mut bytes = build(|builder| builder.realm("r")?.integrity(&key));
    append(&mut bytes, AttributeType::LIFETIME, &[0; 4]);
    append(
        &mut bytes,
        AttributeType::XOR_PEER_ADDRESS,
        &[0, 1, 0, 0, 1, 2, 3, 4],
    );
    append(&mut bytes, AttributeType(0x7FFF), &[]);
    append(&mut bytes, AttributeType::MESSAGE_INTEGRITY, &[0; 20]);
    // Malformed where it must not even be looked at.
    append(&mut bytes, AttributeType::MESSAGE_INTEGRITY, &[0; 3]);
    let message = Message::decode(&bytes).unwrap();
    assert_eq!(message.lifetime(), Ok(None));
    assert_eq!(message.peer_addresses().count(), 0);
    assert_eq!(message.attribute(AttributeType(0x7FFF)), None);
    assert!(message.unknown_required(|_| false).as_slice() == [AttributeType::REALM]);
    assert!(
        message
            .attributes()
            .map(|raw| raw.attribute)
            .eq([AttributeType::REALM, AttributeType::MESSAGE_INTEGRITY])
    );
    assert_eq!(key.verify(&message), Ok(()));

    append(
        &mut bytes,
        AttributeType::MESSAGE_INTEGRITY_SHA256,
        &[7; 32],
    );
    append(
        &mut bytes,
        AttributeType::MESSAGE_INTEGRITY_SHA256,
        &[8; 32],
    );
    append(&mut bytes, AttributeType::MESSAGE_INTEGRITY, &[9; 20]);
    let message = Message::decode(&bytes).unwrap();
    assert!(message.has_integrity_sha256());
    assert_eq!(
        message.attribute(AttributeType::MESSAGE_INTEGRITY_SHA256),
        Some(&[7; 32][..])
    );
    assert_eq!(key.verify(&message), Ok(()));
}

// compliance: 8489-9-02
#[test]
fn nothing_but_fingerprint_counts_behind_sha256() {
    let key = IntegrityKeySha256::new(b"key");
    let sha1 = IntegrityKey::new(b"key");
    let mut bytes = build(|builder| builder.integrity_sha256(&key));
    append(&mut bytes, AttributeType::MESSAGE_INTEGRITY, &[0; 20]);
    append(&mut bytes, AttributeType::LIFETIME, &[0; 4]);
    let message = Message::decode(&bytes).unwrap();
    assert!(!message.has_integrity());
    assert_eq!(message.lifetime(), Ok(None));
    assert_eq!(key.verify(&message), Ok(()));
    assert_eq!(sha1.verify(&message), Err(IntegrityError::Missing));
}

#[test]
fn all_three_seals_together() {
    let sha1 = IntegrityKey::new(b"one");
    let sha256 = IntegrityKeySha256::new(b"two");
    let bytes = build(|builder| {
        builder
            .username("user")?
            .integrity(&sha1)?
            .integrity_sha256(&sha256)?
            .fingerprint()
    });
    let message = Message::decode(&bytes).unwrap();
    assert!(message.has_integrity() && message.has_integrity_sha256() && message.has_fingerprint());
    assert_eq!(sha1.verify(&message), Ok(()));
    assert_eq!(sha256.verify(&message), Ok(()));
    assert_eq!(
        IntegrityKey::new(b"two").verify(&message),
        Err(IntegrityError::Mismatch)
    );
    assert_eq!(
        IntegrityKeySha256::new(b"one").verify(&message),
        Err(IntegrityError::Mismatch)
    );
}

// compliance: 8489-14.6-03
#[test]
fn truncated_sha256_is_refused() {
    let key = IntegrityKeySha256::new(b"key");
    let mut bytes = build(|builder| builder.username("user")?.integrity_sha256(&key));
    bytes.truncate(bytes.len() - 16);
    let value_len_at = bytes.len() - 18;
    bytes[value_len_at..value_len_at + 2].copy_from_slice(&16_u16.to_be_bytes());
    fix_length(&mut bytes);
    let message = Message::decode(&bytes).unwrap();
    assert!(message.has_integrity_sha256());
    assert_eq!(key.verify(&message), Err(IntegrityError::Mismatch));
}

// compliance: 8489-14.6-01, 8489-14.6-02, 8489-14.7-01
#[test]
fn seals_of_wrong_form_are_no_message() {
    for (attribute, len, error) in [
        (
            AttributeType::MESSAGE_INTEGRITY,
            0,
            DecodeError::IntegrityLength,
        ),
        (
            AttributeType::MESSAGE_INTEGRITY,
            19,
            DecodeError::IntegrityLength,
        ),
        (
            AttributeType::MESSAGE_INTEGRITY,
            32,
            DecodeError::IntegrityLength,
        ),
        (
            AttributeType::MESSAGE_INTEGRITY_SHA256,
            12,
            DecodeError::IntegrityLength,
        ),
        (
            AttributeType::MESSAGE_INTEGRITY_SHA256,
            30,
            DecodeError::IntegrityLength,
        ),
        (
            AttributeType::MESSAGE_INTEGRITY_SHA256,
            36,
            DecodeError::IntegrityLength,
        ),
        (
            AttributeType::FINGERPRINT,
            0,
            DecodeError::FingerprintLength,
        ),
        (
            AttributeType::FINGERPRINT,
            8,
            DecodeError::FingerprintLength,
        ),
        (
            AttributeType::FINGERPRINT,
            4,
            DecodeError::FingerprintMismatch,
        ),
    ] {
        let bytes = build(|builder| builder.attribute(attribute, &vec![0; len]));
        assert_eq!(
            Message::decode(&bytes).err(),
            Some(error),
            "{attribute} {len}"
        );
    }
    let mut bytes = build(|builder| builder.fingerprint());
    append(&mut bytes, AttributeType::SOFTWARE, b"late");
    assert_eq!(
        Message::decode(&bytes).err(),
        Some(DecodeError::FingerprintNotLast)
    );
}

// compliance: 8489-5-01, 8489-5-02, 8489-5-05, 8489-6.3-03
#[test]
fn headers_that_are_no_message() {
    let good = build(|builder| builder.lifetime(1));
    assert!(Message::decode(&good).is_ok());
    for len in 0..20 {
        assert_eq!(
            Message::decode(&good[..len]).err(),
            Some(DecodeError::TooShort)
        );
    }
    let with = |index: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[index] = byte;
        Message::decode(&bytes).err()
    };
    assert_eq!(with(0, 0x40), Some(DecodeError::NotStun));
    assert_eq!(with(0, 0x80), Some(DecodeError::NotStun));
    assert_eq!(with(7, 0x43), Some(DecodeError::Cookie));
    for length in [0, 4, 7, 9, 12, 255] {
        assert_eq!(with(3, length), Some(DecodeError::Length));
    }
    // LIFETIME claims one to four bytes more than there are.
    for len in 5..=8 {
        assert_eq!(with(23, len), Some(DecodeError::AttributeOverrun));
    }
    assert_eq!(with(22, 0xFF), Some(DecodeError::AttributeOverrun));
}

// compliance: 8489-6.3-01
#[test]
fn unknown_required_lists_what_420_needs() {
    let key = IntegrityKey::new(b"key");
    let bytes = build(|builder| {
        for number in [0x7F01, 0x8F01, 0x7F02, 0x7F01] {
            builder.attribute(AttributeType(number), &[])?;
        }
        builder.lifetime(1)?.integrity(&key)
    });
    let message = Message::decode(&bytes).unwrap();
    let unknown = message.unknown_required(|attribute| attribute == AttributeType::LIFETIME);
    assert_eq!(
        unknown.as_slice(),
        [AttributeType(0x7F01), AttributeType(0x7F02)]
    );
}

#[test]
fn debug_shows_no_values() {
    let bytes = build(|builder| builder.username("alice")?.nonce("secret"));
    let text = format!("{:?}", Message::decode(&bytes).unwrap());
    assert_eq!(
        text,
        "Message { class: Request, method: Allocate, transaction_id: \
         6162636465666768696a6b6c, attributes: {USERNAME: 5, NONCE: 6} }"
    );
}

// compliance: 8489-14.7-01
#[test]
fn builder_refuses_what_receivers_ignore() {
    let mut buf = [0; 256];
    let mut builder = MessageBuilder::new(&mut buf, Class::Request, Method::ALLOCATE, ID).unwrap();
    let sha1 = IntegrityKey::new(b"key");
    let sha256 = IntegrityKeySha256::new(b"key");
    builder.integrity(&sha1).unwrap();
    assert_eq!(builder.lifetime(1).err(), Some(EncodeError::OutOfOrder));
    assert_eq!(
        builder.integrity(&sha1).err(),
        Some(EncodeError::OutOfOrder)
    );
    builder.integrity_sha256(&sha256).unwrap();
    assert_eq!(
        builder.integrity_sha256(&sha256).err(),
        Some(EncodeError::OutOfOrder)
    );
    builder.fingerprint().unwrap();
    assert_eq!(builder.fingerprint().err(), Some(EncodeError::OutOfOrder));
    assert_eq!(builder.software("x").err(), Some(EncodeError::OutOfOrder));
    let len = builder.finish();
    assert_eq!(len, 20 + 24 + 36 + 8);
    assert_eq!(
        sha256.verify(&Message::decode(&buf[..len]).unwrap()),
        Ok(())
    );
}

// compliance: 8489-14.14-02, 8489-14.8-01, 8489-14.8-04, 8489-14.8-05, 8489-14.9-01
#[test]
fn builder_refuses_what_does_not_fit() {
    let mut buf = vec![0; 70_000];

    for len in 0..20 {
        let error = MessageBuilder::new(&mut buf[..len], Class::Request, Method::BINDING, ID);
        assert_eq!(error.err(), Some(EncodeError::BufferTooSmall));
    }

    let mut builder =
        MessageBuilder::new(&mut buf[..31], Class::Request, Method::ALLOCATE, ID).unwrap();
    builder.channel_number(0x4000).unwrap();
    assert_eq!(
        builder.even_port(true).err(),
        Some(EncodeError::BufferTooSmall)
    );
    assert_eq!(
        builder.dont_fragment().err(),
        Some(EncodeError::BufferTooSmall)
    );
    assert_eq!(builder.finish(), 28);
    assert_eq!(
        Message::decode(&buf[..28]).unwrap().channel_number(),
        Ok(Some(0x4000))
    );

    let mut builder = MessageBuilder::new(&mut buf, Class::Request, Method::ALLOCATE, ID).unwrap();
    let long = "x".repeat(764);
    assert_eq!(
        builder.username(&long[..509]).err(),
        Some(EncodeError::TooLong)
    );
    assert_eq!(builder.realm(&long).err(), Some(EncodeError::TooLong));
    assert_eq!(builder.nonce(&long).err(), Some(EncodeError::TooLong));
    assert_eq!(builder.software(&long).err(), Some(EncodeError::TooLong));
    assert_eq!(
        builder.error_code(400, &long[..510]).err(),
        Some(EncodeError::TooLong)
    );
    assert_eq!(builder.error_code(299, "").err(), Some(EncodeError::Range));
    assert_eq!(builder.error_code(700, "").err(), Some(EncodeError::Range));
    assert_eq!(builder.padding(65_536).err(), Some(EncodeError::TooLong));
    assert_eq!(builder.padding(65_529).err(), Some(EncodeError::TooLong));
    builder.padding(65_520).unwrap();
    assert_eq!(
        builder.fingerprint().unwrap().dont_fragment().err(),
        Some(EncodeError::OutOfOrder)
    );
    assert_eq!(builder.finish(), 65_552);
    assert!(Message::decode(&buf[..65_552]).unwrap().has_fingerprint());
}

fn build(
    fill: impl for<'a, 'b> FnOnce(
        &'a mut MessageBuilder<'b>,
    ) -> Result<&'a mut MessageBuilder<'b>, EncodeError>,
) -> Vec<u8> {
    let mut buf = vec![0xFF; 2048];
    let mut builder = MessageBuilder::new(&mut buf, Class::Request, Method::ALLOCATE, ID).unwrap();
    fill(&mut builder).unwrap();
    let len = builder.finish();
    buf.truncate(len);
    buf
}

/// Adds an attribute where the builder would not.
fn append(bytes: &mut Vec<u8>, attribute: AttributeType, value: &[u8]) {
    bytes.extend_from_slice(&attribute.0.to_be_bytes());
    bytes.extend_from_slice(&(value.len() as u16).to_be_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    fix_length(bytes);
}

fn fix_length(bytes: &mut [u8]) {
    let length = (bytes.len() - 20) as u16;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
}

const ID: TransactionId = TransactionId(*b"abcdefghijkl");
