//! What a server said to a request.
//!
//! Owns the bytes and short ways to read them. It must not judge an answer unless told to.

use std::net::SocketAddr;

use turnbuckle_proto::{
    AddressFamily, AttributeType, Class, IntegrityKey, Message, PasswordAlgorithm,
};

/// A success or error response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    bytes: Vec<u8>,
}

impl Answer {
    /// Reads a response; `None` for anything else.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let class = Message::decode(bytes).ok()?.class();
        matches!(class, Class::Success | Class::Error).then(|| Self {
            bytes: bytes.to_vec(),
        })
    }

    /// As it was on the wire.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The decoded response.
    pub fn message(&self) -> Message<'_> {
        Message::decode(&self.bytes).expect("was decoded when read")
    }

    /// True for a success response.
    pub fn is_success(&self) -> bool {
        self.message().class() == Class::Success
    }

    /// The error code; `None` for a success response.
    pub fn code(&self) -> Option<u16> {
        let message = self.message();
        let error = message.error_code().expect("a readable ERROR-CODE")?;
        Some(error.code)
    }

    /// XOR-RELAYED-ADDRESS.
    pub fn relayed(&self) -> Option<SocketAddr> {
        let message = self.message();
        message.xor_relayed_address().expect("a readable address")
    }

    /// Each XOR-RELAYED-ADDRESS, in their order.
    pub fn all_relayed(&self) -> Vec<SocketAddr> {
        let message = self.message();
        message
            .relayed_addresses()
            .collect::<Result<_, _>>()
            .expect("readable addresses")
    }

    /// Family and code of ADDRESS-ERROR-CODE.
    pub fn address_error(&self) -> Option<(AddressFamily, u16)> {
        let message = self.message();
        let error = message.address_error_code();
        let error = error.expect("a readable ADDRESS-ERROR-CODE")?;
        Some((error.family, error.code))
    }

    /// XOR-MAPPED-ADDRESS.
    pub fn mapped(&self) -> Option<SocketAddr> {
        let message = self.message();
        message.xor_mapped_address().expect("a readable address")
    }

    /// LIFETIME in seconds.
    pub fn lifetime(&self) -> Option<u32> {
        self.message().lifetime().expect("a readable LIFETIME")
    }

    /// REALM and NONCE, where the server asks for credentials.
    pub fn challenge(&self) -> Option<(String, Vec<u8>)> {
        let message = self.message();
        let realm = message.realm().expect("a readable REALM")?;
        let nonce = message.nonce().expect("a readable NONCE")?;
        Some((realm.to_owned(), nonce.to_vec()))
    }

    /// What PASSWORD-ALGORITHMS offers.
    pub fn offered(&self) -> Vec<PasswordAlgorithm> {
        self.message().password_algorithms().collect()
    }

    /// MOBILITY-TICKET.
    pub fn ticket(&self) -> Option<Vec<u8>> {
        self.message().mobility_ticket().map(<[u8]>::to_vec)
    }

    /// ALTERNATE-SERVER.
    pub fn alternate(&self) -> Option<SocketAddr> {
        let message = self.message();
        message.alternate_server().expect("a readable address")
    }

    /// The types in UNKNOWN-ATTRIBUTES.
    pub fn unknown_attributes(&self) -> Vec<AttributeType> {
        self.message().unknown_attributes().collect()
    }

    /// True if MESSAGE-INTEGRITY was made with this key.
    pub fn is_signed_with(&self, key: &IntegrityKey) -> bool {
        key.verify(&self.message()).is_ok()
    }

    /// The types of all attributes in their order.
    pub fn attributes(&self) -> Vec<AttributeType> {
        let message = self.message();
        message.attributes().map(|raw| raw.attribute).collect()
    }

    /// Hands the answer on if it is a success.
    ///
    /// # Panics
    /// With the error code otherwise.
    #[track_caller]
    pub fn expect_success(self) -> Self {
        assert!(self.is_success(), "refused with {:?}", self.code());
        self
    }

    /// Hands the answer on if it is this error.
    ///
    /// # Panics
    /// If it is another, or a success.
    #[track_caller]
    pub fn expect_error(self, code: u16) -> Self {
        assert_eq!(self.code(), Some(code));
        self
    }
}
