//! Data and Send indications around a payload that already lies in a buffer.
//!
//! Owns the bytes that stand before the payload, for the path where every nanosecond and every copy
//! counts. It must not touch the payload.

use std::net::SocketAddr;

use crate::address::{self, Mask, V4_LEN, V6_LEN};
use crate::attribute::padded;
use crate::method::message_type;
use crate::{AttributeType, Class, HEADER_LEN, MAGIC_COOKIE, Method, TransactionId};

/// Header, XOR-PEER-ADDRESS and the type and length of DATA: all of an indication that precedes its
/// payload (RFC 8656 §11.3, §11.5). Behind the payload go [`padding`] zero bytes.
// compliance: 8489-6.1-01, 8656-11.3-02
#[derive(Clone, Copy, Debug)]
pub struct IndicationHeader(Bytes);

impl IndicationHeader {
    /// The bytes before a payload of `payload_len` bytes. `None` if the message would outgrow its length
    /// field, above 65,504 bytes with an IPv6 peer and 65,516 with an IPv4 peer.
    #[inline]
    pub fn new(
        method: Method,
        transaction_id: TransactionId,
        peer: SocketAddr,
        payload_len: usize,
    ) -> Option<Self> {
        let mask = Mask::xor(transaction_id);
        let payload_len = u16::try_from(payload_len).ok()?;
        Some(Self(match peer {
            SocketAddr::V4(peer) => {
                let address = address::encode_v4(peer, mask);
                Bytes::V4(assemble(method, transaction_id, address, payload_len)?)
            }
            SocketAddr::V6(peer) => {
                let address = address::encode_v6(&peer, mask);
                Bytes::V6(assemble(method, transaction_id, address, payload_len)?)
            }
        }))
    }

    /// The bytes: 36 with an IPv4 peer, 48 with an IPv6 peer.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Bytes::V4(bytes) => bytes,
            Bytes::V6(bytes) => bytes,
        }
    }
}

/// Of lengths that the compiler knows, so that no copy of them calls memcpy.
#[derive(Clone, Copy, Debug)]
enum Bytes {
    V4([u8; BEFORE_ADDRESS_LEN + V4_LEN + DATA_HEADER_LEN]),
    V6([u8; BEFORE_ADDRESS_LEN + V6_LEN + DATA_HEADER_LEN]),
}

#[inline]
fn assemble<const LEN: usize, const ADDRESS_LEN: usize>(
    method: Method,
    TransactionId(id): TransactionId,
    address: [u8; ADDRESS_LEN],
    payload_len: u16,
) -> Option<[u8; LEN]> {
    let length = LEN
        .checked_sub(HEADER_LEN)?
        .checked_add(padded(usize::from(payload_len)))?;
    let [l0, l1] = u16::try_from(length).ok()?.to_be_bytes();
    let [t0, t1] = message_type(Class::Indication, method).to_be_bytes();
    let [c0, c1, c2, c3] = MAGIC_COOKIE.to_be_bytes();
    let [p0, p1] = AttributeType::XOR_PEER_ADDRESS.0.to_be_bytes();
    let [a0, a1] = u16::try_from(ADDRESS_LEN).ok()?.to_be_bytes();
    let [d0, d1] = AttributeType::DATA.0.to_be_bytes();
    let [n0, n1] = payload_len.to_be_bytes();

    let mut bytes = [0; LEN];
    let (type_to_cookie, rest) = bytes.split_first_chunk_mut()?;
    *type_to_cookie = [t0, t1, l0, l1, c0, c1, c2, c3];
    let (transaction_id, rest) = rest.split_first_chunk_mut()?;
    *transaction_id = id;
    let (address_header, rest) = rest.split_first_chunk_mut()?;
    *address_header = [p0, p1, a0, a1];
    let (value, rest) = rest.split_first_chunk_mut()?;
    *value = address;
    *rest.first_chunk_mut()? = [d0, d1, n0, n1];
    Some(bytes)
}

/// How many zero bytes to put behind a payload of `payload_len` bytes: 0 to 3.
#[inline]
pub const fn padding(payload_len: usize) -> usize {
    payload_len.wrapping_neg() & 3
}

const BEFORE_ADDRESS_LEN: usize = HEADER_LEN + 4;
const DATA_HEADER_LEN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Message, MessageBuilder};

    #[test]
    fn equals_what_the_builder_writes() {
        let id = TransactionId(*b"abcdefghijkl");
        for peer in ["192.0.2.7:4000", "[2001:db8::7]:4000"] {
            let peer: SocketAddr = peer.parse().unwrap();
            for method in [Method::DATA, Method::SEND] {
                for payload_len in 0..9 {
                    let payload = &b"payload."[..payload_len.min(8)];
                    let header = IndicationHeader::new(method, id, peer, payload.len()).unwrap();
                    let mut direct = header.as_bytes().to_vec();
                    direct.extend_from_slice(payload);
                    direct.resize(direct.len() + padding(payload.len()), 0);

                    let mut buf = [0xFF; 128];
                    let mut builder =
                        MessageBuilder::new(&mut buf, Class::Indication, method, id).unwrap();
                    builder
                        .xor_peer_address(peer)
                        .unwrap()
                        .data(payload)
                        .unwrap();
                    let len = builder.finish();
                    assert_eq!(direct, buf[..len]);
                    assert_eq!(Message::decode(&direct).unwrap().data(), Some(payload));
                }
            }
        }
    }

    #[test]
    fn longest_payload() {
        let id = TransactionId([0; 12]);
        for (peer, longest, len) in [("0.0.0.0:0", 65_516, 36), ("[::]:0", 65_504, 48)] {
            let peer = peer.parse().unwrap();
            let header = IndicationHeader::new(Method::DATA, id, peer, longest).unwrap();
            assert_eq!(header.as_bytes().len(), len);
            for too_long in [longest + 1, 65_535, 65_536, usize::MAX] {
                assert!(IndicationHeader::new(Method::DATA, id, peer, too_long).is_none());
            }
        }
    }
}
