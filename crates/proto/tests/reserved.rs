//! Bits that have no meaning yet: sent as zero, ignored when they come. And the longest texts.

use turnbuckle_proto::{
    AddressErrorCode, AddressFamily, AttributeType, Class, EncodeError, ErrorCode, Icmp, Message,
    MessageBuilder, Method, PasswordAlgorithm, TransactionId,
};

// compliance: 8489-14.1-04, 8489-14.12-01, 8489-14.8-03, 8656-18.1-01, 8656-18.6-01, 8656-18.7-01, 8656-18.8-01
#[test]
fn reserved_bits_are_ignored() {
    let read = |attribute, value: &[u8], check: fn(&Message<'_>)| {
        check(&Message::decode(&message(attribute, value)).unwrap());
    };
    read(
        AttributeType::MAPPED_ADDRESS,
        &[0xFF, 1, 0, 9, 192, 0, 2, 1],
        |message| {
            assert_eq!(
                message.mapped_address(),
                Ok(Some("192.0.2.1:9".parse().unwrap()))
            );
        },
    );
    read(
        AttributeType::CHANNEL_NUMBER,
        &[0x40, 1, 0xFF, 0xFF],
        |message| {
            assert_eq!(message.channel_number(), Ok(Some(0x4001)));
        },
    );
    read(
        AttributeType::REQUESTED_TRANSPORT,
        &[17, 0xFF, 0xFF, 0xFF],
        |message| {
            assert_eq!(message.requested_transport(), Ok(Some(17)));
        },
    );
    for attribute in [
        AttributeType::REQUESTED_ADDRESS_FAMILY,
        AttributeType::ADDITIONAL_ADDRESS_FAMILY,
    ] {
        read(attribute, &[2, 0xFF, 0xFF, 0xFF], |message| {
            let families = [
                message.requested_address_family(),
                message.additional_address_family(),
            ];
            assert!(families.contains(&Ok(Some(Ok(AddressFamily::V6)))));
        });
    }
    read(AttributeType::EVEN_PORT, &[0x7F], |message| {
        assert_eq!(message.even_port(), Ok(Some(false)));
    });
    read(AttributeType::EVEN_PORT, &[0xFF], |message| {
        assert_eq!(message.even_port(), Ok(Some(true)));
    });
    read(
        AttributeType::ERROR_CODE,
        &[0xFF, 0xFF, 0xF8 | 4, 38, b'x'],
        |message| {
            let expected = ErrorCode {
                code: 438,
                reason: "x",
            };
            assert_eq!(message.error_code(), Ok(Some(expected)));
        },
    );
    read(
        AttributeType::ICMP,
        &[0xFF, 0xFF, 3 << 1, 4, 0, 0, 5, 0xDC],
        |message| {
            let expected = Icmp {
                icmp_type: 3,
                code: 4,
                data: 1500,
            };
            assert_eq!(message.icmp(), Ok(Some(expected)));
        },
    );
    // One byte of parameters that nobody knows, and its padding.
    read(
        AttributeType::PASSWORD_ALGORITHMS,
        &[0, 2, 0, 1, 9, 0xFF, 0xFF, 0xFF, 0, 1, 0, 0],
        |message| {
            let all: Vec<_> = message.password_algorithms().collect();
            assert_eq!(all, [PasswordAlgorithm::SHA256, PasswordAlgorithm::MD5]);
        },
    );
}

// compliance: 8489-14.1-03, 8489-14.8-02, 8656-18.12-01, 8656-18.13-01
#[test]
fn reserved_bits_are_sent_as_zero() {
    let v4 = "192.0.2.1:9".parse().unwrap();
    let v6 = "[2001:db8::1]:9".parse().unwrap();
    let bytes = build(|builder| {
        builder.mapped_address(v4)?.xor_mapped_address(v6)?;
        builder.error_code(699, "")?;
        builder.address_error_code(AddressFamily::V6, 508, "")?;
        builder.icmp(Icmp {
            icmp_type: 11,
            code: 0,
            data: 0,
        })?;
        Ok(())
    });
    let message = Message::decode(&bytes).unwrap();
    let value = |attribute| message.attribute(attribute).unwrap();
    assert_eq!(value(AttributeType::MAPPED_ADDRESS)[0], 0);
    assert_eq!(value(AttributeType::XOR_MAPPED_ADDRESS)[0], 0);
    assert_eq!(value(AttributeType::ERROR_CODE), [0, 0, 6, 99]);
    assert_eq!(value(AttributeType::ADDRESS_ERROR_CODE), [2, 0, 5, 8]);
    assert_eq!(value(AttributeType::ICMP), [0, 0, 11 << 1, 0, 0, 0, 0, 0]);
}

// compliance: 8489-14.3-01
#[test]
fn long_texts_are_read() {
    let longest = "x".repeat(763);
    for attribute in [
        AttributeType::USERNAME,
        AttributeType::REALM,
        AttributeType::SOFTWARE,
    ] {
        let bytes = message(attribute, longest.as_bytes());
        let message = Message::decode(&bytes).unwrap();
        let texts = [message.username(), message.realm(), message.software()];
        assert!(texts.contains(&Ok(Some(&longest))), "{attribute}");
    }
    let bytes = message(AttributeType::USERNAME, "x".repeat(764).as_bytes());
    assert!(Message::decode(&bytes).unwrap().username().is_err());
    // What is written is shorter: fewer than 509 bytes (RFC 8489 §14.3).
    let too_long = "x".repeat(509);
    let mut buffer = [0; 1024];
    let id = TransactionId([1; 12]);
    let mut builder =
        MessageBuilder::new(&mut buffer, Class::Request, Method::ALLOCATE, id).unwrap();
    assert_eq!(
        builder.username(&too_long).err(),
        Some(EncodeError::TooLong)
    );
}

// compliance: 8656-18.12-02
#[test]
fn reasons_of_address_errors_are_bounded() {
    let mut buffer = [0; 1024];
    let id = TransactionId([1; 12]);
    let mut builder =
        MessageBuilder::new(&mut buffer, Class::Success, Method::ALLOCATE, id).unwrap();
    let reason = "x".repeat(510);
    let refused = builder.address_error_code(AddressFamily::V4, 440, &reason);
    assert_eq!(refused.err(), Some(EncodeError::TooLong));
    let bytes = build(|builder| {
        builder.address_error_code(AddressFamily::V4, 440, "é")?;
        Ok(())
    });
    let expected = AddressErrorCode {
        family: AddressFamily::V4,
        code: 440,
        reason: "é",
    };
    let message = Message::decode(&bytes).unwrap();
    assert_eq!(message.address_error_code(), Ok(Some(expected)));
}

fn message(attribute: AttributeType, value: &[u8]) -> Vec<u8> {
    build(|builder| {
        builder.attribute(attribute, value)?;
        Ok(())
    })
}

fn build(fill: impl FnOnce(&mut MessageBuilder<'_>) -> Result<(), EncodeError>) -> Vec<u8> {
    let mut buffer = vec![0xDD; 2048];
    let id = TransactionId([7; 12]);
    let mut builder =
        MessageBuilder::new(&mut buffer, Class::Request, Method::ALLOCATE, id).unwrap();
    fill(&mut builder).unwrap();
    let len = builder.finish();
    buffer.truncate(len);
    buffer
}
