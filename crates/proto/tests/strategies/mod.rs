//! What the property tests draw from.

use std::net::SocketAddr;

use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, RngSeed};
use turnbuckle_proto::{
    AttributeType, Class, EncodeError, IntegrityKey, MessageBuilder, Method, TransactionId,
};

/// The same cases in each run unless `PROPTEST_RNG_SEED` says otherwise; `PROPTEST_CASES` for more.
/// Failures are kept in `proptest-regressions/<name>.txt` of this crate.
pub(crate) fn config(name: &'static str) -> ProptestConfig {
    let mut config = ProptestConfig::default();
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(8656);
    }
    config.failure_persistence = Some(Box::new(FileFailurePersistence::Direct(name)));
    config
}

/// A message to build.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) class: Class,
    pub(crate) method: Method,
    pub(crate) id: TransactionId,
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) integrity: bool,
    pub(crate) fingerprint: bool,
}

impl Draft {
    /// Builds it into a buffer that was full of ones.
    pub(crate) fn build(&self, key: &IntegrityKey) -> Vec<u8> {
        let mut buf = vec![0xFF; 16_384];
        let len = self.build_into(&mut buf, key).unwrap();
        buf.truncate(len);
        buf
    }

    pub(crate) fn build_into(
        &self,
        buf: &mut [u8],
        key: &IntegrityKey,
    ) -> Result<usize, EncodeError> {
        let mut builder = MessageBuilder::new(buf, self.class, self.method, self.id)?;
        for attribute in &self.attributes {
            match attribute {
                Attribute::Username(text) => builder.username(text)?,
                Attribute::Realm(text) => builder.realm(text)?,
                Attribute::Nonce(text) => builder.nonce(text)?,
                Attribute::Software(text) => builder.software(text)?,
                Attribute::XorAddress(attribute, address) => {
                    builder.xor_address(*attribute, *address)?
                }
                Attribute::ErrorCode(code, reason) => builder.error_code(*code, reason)?,
                Attribute::Raw(attribute, value) => builder.attribute(*attribute, value)?,
            };
        }
        if self.integrity {
            builder.integrity(key)?;
        }
        if self.fingerprint {
            builder.fingerprint()?;
        }
        Ok(builder.finish())
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Attribute {
    Username(String),
    Realm(String),
    Nonce(String),
    Software(String),
    XorAddress(AttributeType, SocketAddr),
    ErrorCode(u16, String),
    Raw(AttributeType, Vec<u8>),
}

pub(crate) fn draft() -> impl Strategy<Value = Draft> {
    (
        class(),
        (0_u16..0x1000).prop_map(|number| Method::new(number).unwrap()),
        any::<[u8; 12]>().prop_map(TransactionId),
        prop::collection::vec(attribute(), 0..12),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            |(class, method, id, attributes, integrity, fingerprint)| Draft {
                class,
                method,
                id,
                attributes,
                integrity,
                fingerprint,
            },
        )
}

pub(crate) fn address() -> impl Strategy<Value = SocketAddr> {
    prop_oneof![
        any::<([u8; 4], u16)>().prop_map(SocketAddr::from),
        any::<([u8; 16], u16)>().prop_map(SocketAddr::from),
    ]
}

fn class() -> impl Strategy<Value = Class> {
    prop::sample::select(vec![
        Class::Request,
        Class::Indication,
        Class::Success,
        Class::Error,
    ])
}

fn attribute() -> impl Strategy<Value = Attribute> {
    prop_oneof![
        text().prop_map(Attribute::Username),
        text().prop_map(Attribute::Realm),
        text().prop_map(Attribute::Nonce),
        text().prop_map(Attribute::Software),
        (xor_address_type(), address()).prop_map(|(t, address)| Attribute::XorAddress(t, address)),
        (300_u16..700, text()).prop_map(|(code, reason)| Attribute::ErrorCode(code, reason)),
        (any_type(), prop::collection::vec(any::<u8>(), 0..70))
            .prop_map(|(t, value)| Attribute::Raw(t, value)),
    ]
}

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,40}"
}

fn xor_address_type() -> impl Strategy<Value = AttributeType> {
    prop::sample::select(vec![
        AttributeType::XOR_MAPPED_ADDRESS,
        AttributeType::XOR_PEER_ADDRESS,
        AttributeType::XOR_RELAYED_ADDRESS,
    ])
}

/// Any type but those that seal a message and 0x8020, an old spelling of XOR-MAPPED-ADDRESS that the
/// other implementation translates.
fn any_type() -> impl Strategy<Value = AttributeType> {
    prop_oneof![0_u16..0x40, 0x8000_u16..0x8040, any::<u16>()]
        .prop_map(AttributeType)
        .prop_filter("seals a message", |attribute| {
            !matches!(
                *attribute,
                AttributeType::MESSAGE_INTEGRITY
                    | AttributeType::MESSAGE_INTEGRITY_SHA256
                    | AttributeType::FINGERPRINT
                    | AttributeType(0x8020)
            )
        })
}
