//! The sample messages of RFC 5769 and RFC 8489 appendix B.1 (with erratum 6268).

use sha2::{Digest, Sha256};
use turnbuckle_proto::long_term_key::userhash;
use turnbuckle_proto::{
    AttributeType, Class, DecodeError, IntegrityError, IntegrityKey, IntegrityKeySha256,
    LongTermKey, Message, MessageBuilder, Method, PasswordAlgorithm, TransactionId,
};

// compliance: 8489-14-05
#[test]
fn rfc5769_2_1_request() {
    let bytes = hex(
        "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74\
         002400046e0001ff80290008932ff9b151263b36000600096576746a3a68367659202020\
         000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf",
    );
    let message = Message::decode(&bytes).unwrap();
    assert_eq!(message.class(), Class::Request);
    assert_eq!(message.method(), Method::BINDING);
    assert_eq!(message.transaction_id(), ID);
    assert_eq!(message.software(), Ok(Some("STUN test client")));
    assert_eq!(message.username(), Ok(Some("evtj:h6vY")));
    assert_eq!(
        message.attribute(AttributeType::PRIORITY),
        Some(&[0x6E, 0x00, 0x01, 0xFF][..])
    );
    assert_eq!(
        message.attribute(AttributeType::ICE_CONTROLLED),
        Some(&[0x93, 0x2F, 0xF9, 0xB1, 0x51, 0x26, 0x3B, 0x36][..])
    );
    assert!(message.has_fingerprint());
    verify_with_short_term_key(&message);
    damage_each_byte(&bytes);
}

#[test]
fn rfc5769_2_2_ipv4_response() {
    let bytes = hex(
        "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220\
         002000080001a147e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7\
         80280004c07d4c96",
    );
    let message = Message::decode(&bytes).unwrap();
    assert_eq!(message.class(), Class::Success);
    assert_eq!(message.software(), Ok(Some("test vector")));
    assert_eq!(
        message.xor_mapped_address(),
        Ok(Some("192.0.2.1:32853".parse().unwrap()))
    );
    verify_with_short_term_key(&message);
    damage_each_byte(&bytes);
}

#[test]
fn rfc5769_2_3_ipv6_response() {
    let bytes = hex(
        "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220\
         002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9\
         00080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c",
    );
    let message = Message::decode(&bytes).unwrap();
    assert_eq!(
        message.xor_mapped_address(),
        Ok(Some(
            "[2001:db8:1234:5678:11:2233:4455:6677]:32853"
                .parse()
                .unwrap()
        ))
    );
    verify_with_short_term_key(&message);
    damage_each_byte(&bytes);
}

#[test]
fn rfc5769_2_4_long_term_request() {
    let bytes = hex("000100602112a44278ad3433c6ad72c029da412e\
         00060012e3839ee38388e383aae38383e382afe382b90000\
         0015001c662f2f3439396b39353464364f4c33346f4c39465354767936347341\
         0014000b6578616d706c652e6f726700\
         00080014f67024656dd64a3e02b8e0712e85c9a28ca89666");
    let message = Message::decode(&bytes).unwrap();
    assert_eq!(message.username(), Ok(Some(MATRIX)));
    assert_eq!(
        message.nonce(),
        Ok(Some(&b"f//499k954d6OL34oL9FSTvy64sA"[..]))
    );
    assert_eq!(message.realm(), Ok(Some("example.org")));
    assert!(!message.has_fingerprint());
    let key = IntegrityKey::from(&LongTermKey::derive(MATRIX, "example.org", "TheMatrIX"));
    assert_eq!(key.verify(&message), Ok(()));

    let mut buf = [0xFF; 116];
    let mut builder = MessageBuilder::new(
        &mut buf,
        Class::Request,
        Method::BINDING,
        message.transaction_id(),
    )
    .unwrap();
    builder
        .username(MATRIX)
        .unwrap()
        .nonce("f//499k954d6OL34oL9FSTvy64sA")
        .unwrap()
        .realm("example.org")
        .unwrap()
        .integrity(&key)
        .unwrap();
    let len = builder.finish();
    assert_eq!(buf[..len], bytes);
}

#[test]
fn rfc8489_b_1_request_with_sha256() {
    let bytes = hex("000100902112a44278ad3433c6ad72c029da412e\
         001e00204a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704\
         001500296f624d61744a6f733241414143662f2f3439396b39353464364f4c33346f4c3946535476\
         79363473410000000014000b6578616d706c652e6f726700001d000400020000\
         001c0020b5c7bf005b6c52a21c51c5e892f81924136296cb927c43149309278cc6518e65");
    let message = Message::decode(&bytes).unwrap();
    let userhash = userhash(MATRIX, "example.org");
    assert_eq!(message.userhash(), Ok(Some(userhash)));
    assert_eq!(
        message.password_algorithm(),
        Ok(Some(PasswordAlgorithm::SHA256))
    );
    let key = Sha256::digest(format!("{MATRIX}:example.org:TheMatrIX"));
    let key = IntegrityKeySha256::new(&key);
    assert_eq!(key.verify(&message), Ok(()));
    let other_key = IntegrityKeySha256::new(b"other");
    assert_eq!(other_key.verify(&message), Err(IntegrityError::Mismatch));

    let mut buf = [0xFF; 256];
    let mut builder = MessageBuilder::new(
        &mut buf,
        Class::Request,
        Method::BINDING,
        message.transaction_id(),
    )
    .unwrap();
    builder
        .userhash(userhash)
        .unwrap()
        .nonce("obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA")
        .unwrap()
        .realm("example.org")
        .unwrap()
        .password_algorithm(PasswordAlgorithm::SHA256)
        .unwrap()
        .integrity_sha256(&key)
        .unwrap();
    let len = builder.finish();
    assert_eq!(buf[..len], bytes);
}

fn verify_with_short_term_key(message: &Message<'_>) {
    let key = IntegrityKey::new(b"VOkJxbRl1RmTxUk/WvJxBt");
    assert_eq!(key.verify(message), Ok(()));
    let other_key = IntegrityKey::new(b"VOkJxbRl1RmTxUk/WvJxBT");
    assert_eq!(other_key.verify(message), Err(IntegrityError::Mismatch));
}

/// FINGERPRINT notices each single damaged byte that leaves a message at all.
fn damage_each_byte(bytes: &[u8]) {
    for index in 0..bytes.len() {
        let mut damaged = bytes.to_vec();
        damaged[index] ^= 0x01;
        match Message::decode(&damaged) {
            Err(_) => {}
            // The type of FINGERPRINT itself was damaged, so there is none to check.
            Ok(message) => assert!(!message.has_fingerprint(), "byte {index}"),
        }
    }
    assert_eq!(
        Message::decode(&bytes[..bytes.len() - 1]).err(),
        Some(DecodeError::Length)
    );
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

const ID: TransactionId = TransactionId([
    0xB7, 0xE7, 0xA7, 0x01, 0xBC, 0x34, 0xD6, 0x86, 0xFA, 0x87, 0xDF, 0xAE,
]);
const MATRIX: &str = "\u{30DE}\u{30C8}\u{30EA}\u{30C3}\u{30AF}\u{30B9}";
