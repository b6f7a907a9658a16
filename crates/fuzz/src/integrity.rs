//! Messages made of the input and signed: the signature holds, and no longer when anything under it is changed.

use turnbuckle_proto::{
    AttributeType, Class, HEADER_LEN, IntegrityKey, IntegrityKeySha256, LongTermKey, Message,
    MessageBuilder, Method, TransactionId,
};

use crate::decode::read_all;
use crate::input::Input;

/// Verifies the input as it is, and a message made of it with one bit changed.
///
/// # Panics
/// If a right signature is refused or a wrong one accepted.
pub fn integrity(input: &[u8]) {
    if let Ok(message) = Message::decode(input) {
        // Nobody has told the fuzzer's key to the input: what verifies under one key must not under another.
        let [key, other] = KEYS.map(IntegrityKey::new);
        assert!(key.verify(&message).is_err() || other.verify(&message).is_err());
        let [key, other] = KEYS.map(IntegrityKeySha256::new);
        assert!(key.verify(&message).is_err() || other.verify(&message).is_err());
    }
    let mut input = Input::new(input);
    let draft = Draft::read(&mut input);
    let bytes = draft.build();
    let message = Message::decode(&bytes).expect("what was built can be read");
    assert!(draft.verifies(&message), "{message:?}");
    assert!(!draft.with_another_key().verifies(&message));
    read_all(&message);

    let mut changed = bytes.clone();
    let at = usize::from(draft.change_at) % draft.covered;
    changed[at] ^= 1 << (draft.change_bit & 7);
    if let Ok(message) = Message::decode(&changed) {
        assert!(!draft.verifies(&message), "byte {at} is not covered");
        read_all(&message);
    }
}

struct Draft {
    class: Class,
    method: Method,
    transaction: TransactionId,
    attributes: Vec<(AttributeType, Vec<u8>)>,
    key: LongTermKey,
    sha1: bool,
    sha256: bool,
    fingerprint: bool,
    change_at: u16,
    change_bit: u8,
    /// Bytes from the start that the first signature is over, the attribute itself included.
    covered: usize,
}

impl Draft {
    fn read(input: &mut Input<'_>) -> Self {
        let flags = input.byte();
        let mut draft = Self {
            class: input.pick(&[
                Class::Request,
                Class::Indication,
                Class::Success,
                Class::Error,
            ]),
            method: Method::new(input.short() & 0x0FFF).expect("twelve bits"),
            transaction: TransactionId([input.byte(); 12]),
            attributes: Vec::new(),
            key: LongTermKey::derive("user", "realm", "pass"),
            sha1: flags & 3 != 1,
            sha256: flags & 3 == 1 || flags & 4 != 0,
            fingerprint: flags & 8 != 0,
            change_at: input.short(),
            change_bit: input.byte(),
            covered: HEADER_LEN,
        };
        while !input.is_empty() {
            let attribute = AttributeType(input.short());
            let len = usize::from(input.byte());
            let value = input.take(len).to_vec();
            if SEALS.contains(&attribute) {
                continue;
            }
            draft.covered += 4 + value.len().next_multiple_of(4);
            draft.attributes.push((attribute, value));
        }
        draft.covered += 4 + if draft.sha1 { 20 } else { 32 };
        draft
    }

    fn build(&self) -> Vec<u8> {
        let mut buffer = vec![0; self.covered + 36 + 8];
        let mut builder =
            MessageBuilder::new(&mut buffer, self.class, self.method, self.transaction)
                .expect("room for a header");
        for (attribute, value) in &self.attributes {
            builder.attribute(*attribute, value).expect("room");
        }
        if self.sha1 {
            builder.integrity(&(&self.key).into()).expect("room");
        }
        if self.sha256 {
            builder.integrity_sha256(&(&self.key).into()).expect("room");
        }
        if self.fingerprint {
            builder.fingerprint().expect("room");
        }
        let len = builder.finish();
        buffer.truncate(len);
        buffer
    }

    /// Whether the first signature that the draft has is there and right.
    fn verifies(&self, message: &Message<'_>) -> bool {
        let sha1 = IntegrityKey::from(&self.key).verify(message).is_ok();
        let sha256 = IntegrityKeySha256::from(&self.key).verify(message).is_ok();
        if self.sha1 { sha1 } else { sha256 }
    }

    fn with_another_key(&self) -> Self {
        Self {
            key: LongTermKey::derive("user", "realm", "other"),
            attributes: Vec::new(),
            ..*self
        }
    }
}

const KEYS: [&[u8]; 2] = [b"0123456789abcdef", b"another key"];
pub(crate) const SEALS: [AttributeType; 3] = [
    AttributeType::MESSAGE_INTEGRITY,
    AttributeType::MESSAGE_INTEGRITY_SHA256,
    AttributeType::FINGERPRINT,
];
