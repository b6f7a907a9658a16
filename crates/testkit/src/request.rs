//! A request as data, right or wrong in each of its parts.
//!
//! Owns the list of attributes and the order on the wire. It must not know who sends it: [`crate::Client`] signs.

use std::net::SocketAddr;

use turnbuckle_proto::{
    AddressFamily, AttributeType, Class, IntegrityKey, MessageBuilder, Method, TransactionId,
    fingerprint,
};

/// A request before it has a transaction id and a signature.
///
/// The constructors make requests that are right; what is added or taken away makes them wrong.
///
/// ```
/// use turnbuckle_testkit::{Client, Request, Setup};
///
/// let mut net = Setup::default().build();
/// let tcp = Request::allocate().without_transport().transport(6);
/// assert_eq!(Client::alice().ask(&mut net, &tcp).code(), Some(442));
/// ```
#[derive(Clone, Debug)]
pub struct Request {
    pub(crate) class: Class,
    pub(crate) method: Method,
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) behind_integrity: Vec<Attribute>,
    pub(crate) fingerprint: bool,
    pub(crate) transaction: Option<TransactionId>,
}

#[derive(Clone, Debug)]
pub(crate) enum Attribute {
    Xored(AttributeType, SocketAddr),
    Bytes(AttributeType, Vec<u8>),
}

impl Request {
    /// A request of this method without attributes.
    pub const fn new(method: Method) -> Self {
        Self {
            class: Class::Request,
            method,
            attributes: Vec::new(),
            behind_integrity: Vec::new(),
            fingerprint: false,
            transaction: None,
        }
    }

    /// Binding.
    pub const fn binding() -> Self {
        Self::new(Method::BINDING)
    }

    /// Allocate for UDP.
    pub fn allocate() -> Self {
        Self::new(Method::ALLOCATE).transport(UDP)
    }

    /// Allocate for TCP.
    pub fn allocate_tcp() -> Self {
        Self::new(Method::ALLOCATE).transport(TCP)
    }

    /// Connect to this peer.
    pub fn connect(peer: SocketAddr) -> Self {
        Self::new(Method::CONNECT).peer(peer)
    }

    /// ConnectionBind of this connection.
    pub fn connection_bind(id: u32) -> Self {
        Self::new(Method::CONNECTION_BIND)
            .attribute(AttributeType::CONNECTION_ID, &id.to_be_bytes())
    }

    /// Refresh for that many seconds; 0 deletes.
    pub fn refresh(lifetime_seconds: u32) -> Self {
        Self::new(Method::REFRESH).lifetime(lifetime_seconds)
    }

    /// CreatePermission for these peers.
    pub fn create_permission(peers: &[SocketAddr]) -> Self {
        let request = Self::new(Method::CREATE_PERMISSION);
        peers
            .iter()
            .fold(request, |request, &peer| request.peer(peer))
    }

    /// ChannelBind of this number to this peer.
    pub fn channel_bind(number: u16, peer: SocketAddr) -> Self {
        Self::new(Method::CHANNEL_BIND).channel(number).peer(peer)
    }

    /// A Send indication.
    pub fn send(peer: SocketAddr, data: &[u8]) -> Self {
        Self::indication(Method::SEND)
            .peer(peer)
            .attribute(AttributeType::DATA, data)
    }

    /// An indication of this method without attributes.
    pub const fn indication(method: Method) -> Self {
        let mut request = Self::new(method);
        request.class = Class::Indication;
        request
    }

    /// The same with another class, such as a response that no client sends.
    #[must_use]
    pub const fn class(mut self, class: Class) -> Self {
        self.class = class;
        self
    }

    /// Appends LIFETIME.
    #[must_use]
    pub fn lifetime(self, seconds: u32) -> Self {
        self.attribute(AttributeType::LIFETIME, &seconds.to_be_bytes())
    }

    /// Appends REQUESTED-TRANSPORT.
    #[must_use]
    pub fn transport(self, protocol: u8) -> Self {
        self.attribute(AttributeType::REQUESTED_TRANSPORT, &[protocol, 0, 0, 0])
    }

    /// Takes REQUESTED-TRANSPORT out.
    #[must_use]
    pub fn without_transport(self) -> Self {
        self.without(AttributeType::REQUESTED_TRANSPORT)
    }

    /// Appends REQUESTED-ADDRESS-FAMILY.
    #[must_use]
    pub fn family(self, family: AddressFamily) -> Self {
        self.attribute(
            AttributeType::REQUESTED_ADDRESS_FAMILY,
            &[family.number(), 0, 0, 0],
        )
    }

    /// Appends ADDITIONAL-ADDRESS-FAMILY.
    #[must_use]
    pub fn additional_family(self, family: AddressFamily) -> Self {
        self.attribute(
            AttributeType::ADDITIONAL_ADDRESS_FAMILY,
            &[family.number(), 0, 0, 0],
        )
    }

    /// Appends CHANNEL-NUMBER.
    #[must_use]
    pub fn channel(self, number: u16) -> Self {
        let [high, low] = number.to_be_bytes();
        self.attribute(AttributeType::CHANNEL_NUMBER, &[high, low, 0, 0])
    }

    /// Appends XOR-PEER-ADDRESS.
    #[must_use]
    pub fn peer(mut self, peer: SocketAddr) -> Self {
        self.attributes
            .push(Attribute::Xored(AttributeType::XOR_PEER_ADDRESS, peer));
        self
    }

    /// Appends any attribute.
    #[must_use]
    pub fn attribute(mut self, attribute: AttributeType, value: &[u8]) -> Self {
        self.attributes
            .push(Attribute::Bytes(attribute, value.to_vec()));
        self
    }

    /// Takes all attributes of this type out.
    #[must_use]
    pub fn without(mut self, unwanted: AttributeType) -> Self {
        self.attributes
            .retain(|attribute| attribute.kind() != unwanted);
        self
    }

    /// Appends an attribute behind MESSAGE-INTEGRITY, as somebody on the way could; the receiver has to ignore it.
    #[must_use]
    pub fn behind_integrity(mut self, attribute: AttributeType, value: &[u8]) -> Self {
        self.behind_integrity
            .push(Attribute::Bytes(attribute, value.to_vec()));
        self
    }

    /// Appends XOR-PEER-ADDRESS behind MESSAGE-INTEGRITY.
    #[must_use]
    pub fn peer_behind_integrity(mut self, peer: SocketAddr) -> Self {
        self.behind_integrity
            .push(Attribute::Xored(AttributeType::XOR_PEER_ADDRESS, peer));
        self
    }

    /// Appends FINGERPRINT at the end.
    #[must_use]
    pub const fn fingerprint(mut self) -> Self {
        self.fingerprint = true;
        self
    }

    /// Gives the request this transaction id instead of a fresh one.
    #[must_use]
    pub const fn transaction(mut self, id: [u8; 12]) -> Self {
        self.transaction = Some(TransactionId(id));
        self
    }

    /// The bytes, signed with `key` if there is one.
    ///
    /// # Panics
    /// If the message is longer than its length field can say.
    pub fn encode(
        &self,
        transaction: TransactionId,
        credentials: &[(AttributeType, &[u8])],
        key: Option<&IntegrityKey>,
    ) -> Vec<u8> {
        self.encode_sealed(transaction, credentials, |builder| {
            if let Some(key) = key {
                builder.integrity(key).expect("room for integrity");
            }
        })
    }

    /// As [`encode`](Self::encode), with `seal` to append what the message is signed by.
    pub fn encode_sealed(
        &self,
        transaction: TransactionId,
        credentials: &[(AttributeType, &[u8])],
        seal: impl FnOnce(&mut MessageBuilder<'_>),
    ) -> Vec<u8> {
        let mut buffer = vec![0; BUFFER_LEN];
        let mut builder = MessageBuilder::new(&mut buffer, self.class, self.method, transaction)
            .expect("room for a header");
        for attribute in &self.attributes {
            match attribute {
                Attribute::Xored(kind, address) => builder.xor_address(*kind, *address),
                Attribute::Bytes(kind, value) => builder.attribute(*kind, value),
            }
            .expect("room for an attribute");
        }
        for &(kind, value) in credentials {
            builder
                .attribute(kind, value)
                .expect("room for credentials");
        }
        seal(&mut builder);
        let len = builder.finish();
        buffer.truncate(len);
        for attribute in &self.behind_integrity {
            attribute.append_raw(transaction, &mut buffer);
        }
        if self.fingerprint {
            write_length(&mut buffer, 8);
            let value = fingerprint::fingerprint(&buffer);
            append_raw(
                AttributeType::FINGERPRINT,
                &value.to_be_bytes(),
                &mut buffer,
            );
        }
        write_length(&mut buffer, 0);
        buffer
    }
}

impl Attribute {
    const fn kind(&self) -> AttributeType {
        match self {
            Self::Xored(kind, _) | Self::Bytes(kind, _) => *kind,
        }
    }

    /// Writes the attribute where the builder refuses to.
    fn append_raw(&self, transaction: TransactionId, buffer: &mut Vec<u8>) {
        match self {
            Self::Bytes(kind, value) => append_raw(*kind, value, buffer),
            Self::Xored(kind, address) => {
                let mut alone = [0; 64];
                let mut builder =
                    MessageBuilder::new(&mut alone, Class::Request, Method::BINDING, transaction)
                        .expect("room for a header");
                builder
                    .xor_address(*kind, *address)
                    .expect("room for an address");
                let len = builder.finish();
                buffer.extend_from_slice(&alone[turnbuckle_proto::HEADER_LEN..len]);
            }
        }
    }
}

fn append_raw(AttributeType(kind): AttributeType, value: &[u8], buffer: &mut Vec<u8>) {
    let len = u16::try_from(value.len()).expect("an attribute's length has 16 bits");
    buffer.extend_from_slice(&kind.to_be_bytes());
    buffer.extend_from_slice(&len.to_be_bytes());
    buffer.extend_from_slice(value);
    buffer.resize(buffer.len().next_multiple_of(4), 0);
}

/// Makes the length field count all that is there and `more` bytes to come.
fn write_length(buffer: &mut [u8], more: usize) {
    let len = buffer.len() - turnbuckle_proto::HEADER_LEN + more;
    let len = u16::try_from(len).expect("a message's length has 16 bits");
    buffer[2..4].copy_from_slice(&len.to_be_bytes());
}

/// Protocol number of UDP.
const UDP: u8 = 17;
/// Protocol number of TCP.
const TCP: u8 = 6;
const BUFFER_LEN: usize = 65_536;

#[cfg(test)]
mod tests {
    use turnbuckle_proto::Message;

    use super::*;

    #[test]
    fn what_is_behind_integrity_is_there_but_not_signed() {
        let key = IntegrityKey::new(b"key");
        let peer = "192.0.2.1:9".parse().unwrap();
        let bytes = Request::refresh(600)
            .behind_integrity(AttributeType::LIFETIME, &[0; 4])
            .peer_behind_integrity(peer)
            .fingerprint()
            .encode(TransactionId([3; 12]), &[], Some(&key));
        let message = Message::decode(&bytes).unwrap();
        assert_eq!(key.verify(&message), Ok(()));
        assert!(message.has_fingerprint());
        assert_eq!(message.lifetime(), Ok(Some(600)));
        assert_eq!(message.peer_address(), Ok(None));
        let xored_port = 9u16 ^ 0x2112;
        let tail = [&[0x00, 0x12, 0, 8, 0, 1][..], &xored_port.to_be_bytes()].concat();
        assert!(bytes.windows(tail.len()).any(|window| window == tail));
    }
}
