//! Writes a STUN message into a caller's slice.
//!
//! Owns encoding: header, attributes with zeroed padding, MESSAGE-INTEGRITY and FINGERPRINT over what
//! is there. It must not allocate or choose transaction ids.

use std::net::SocketAddr;

use crate::address::{self, Mask};
use crate::attribute::{Stage, padded};
use crate::fingerprint::fingerprint;
use crate::method::message_type;
use crate::value::{
    MAX_ENCODED_REASON_LEN, MAX_ENCODED_USERNAME_LEN, MAX_TEXT_LEN, split_error_code,
};
use crate::{
    AddressFamily, AttributeType, ChangeRequest, Class, EncodeError, HEADER_LEN, Icmp,
    IntegrityKey, IntegrityKeySha256, MAGIC_COOKIE, Method, PasswordAlgorithm, TransactionId,
};

/// A message in the making. Each setter appends one attribute and returns the builder; one that fails
/// leaves the message as it was. Whatever the buffer held before is overwritten, padding with zeros.
#[derive(Debug)]
pub struct MessageBuilder<'b> {
    buf: &'b mut [u8],
    len: usize,
    stage: Stage,
    transaction_id: TransactionId,
}

impl<'b> MessageBuilder<'b> {
    /// Starts a message at the beginning of `buf`.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`] below 20 bytes.
    // compliance: 8489-5-01, 8489-5-02, 8489-5-04
    #[inline]
    pub fn new(
        buf: &'b mut [u8],
        class: Class,
        method: Method,
        transaction_id: TransactionId,
    ) -> Result<Self, EncodeError> {
        let header = buf
            .first_chunk_mut::<HEADER_LEN>()
            .ok_or(EncodeError::BufferTooSmall)?;
        let [t0, t1] = message_type(class, method).to_be_bytes();
        let [c0, c1, c2, c3] = MAGIC_COOKIE.to_be_bytes();
        let [i0, i1, i2, i3, i4, i5, i6, i7, i8, i9, i10, i11] = transaction_id.0;
        *header = [
            t0, t1, 0, 0, c0, c1, c2, c3, i0, i1, i2, i3, i4, i5, i6, i7, i8, i9, i10, i11,
        ];
        Ok(Self {
            buf,
            len: HEADER_LEN,
            stage: Stage::Open,
            transaction_id,
        })
    }

    /// Appends an attribute with any value.
    ///
    /// # Errors
    /// As all setters: [`EncodeError::BufferTooSmall`], [`EncodeError::TooLong`] if the message would
    /// outgrow its length field, [`EncodeError::OutOfOrder`] behind integrity or fingerprint.
    // compliance: 8489-14-01, 8489-14-02, 8489-14-03, 8489-14-04, 8656-18-01
    #[inline]
    pub fn attribute(
        &mut self,
        attribute: AttributeType,
        value: &[u8],
    ) -> Result<&mut Self, EncodeError> {
        self.append(attribute, value.len())?.copy_from_slice(value);
        Ok(self)
    }

    /// Appends an address XORed with cookie and transaction id (RFC 8489 §14.2).
    #[inline]
    pub fn xor_address(
        &mut self,
        attribute: AttributeType,
        address: SocketAddr,
    ) -> Result<&mut Self, EncodeError> {
        self.masked_address(attribute, address, Mask::xor(self.transaction_id))
    }

    /// Appends an address in clear (RFC 8489 §14.1).
    #[inline]
    pub fn address(
        &mut self,
        attribute: AttributeType,
        address: SocketAddr,
    ) -> Result<&mut Self, EncodeError> {
        self.masked_address(attribute, address, Mask::CLEAR)
    }

    /// MAPPED-ADDRESS (RFC 8489 §14.1).
    pub fn mapped_address(&mut self, address: SocketAddr) -> Result<&mut Self, EncodeError> {
        self.address(AttributeType::MAPPED_ADDRESS, address)
    }

    /// XOR-MAPPED-ADDRESS (RFC 8489 §14.2).
    #[inline]
    pub fn xor_mapped_address(&mut self, address: SocketAddr) -> Result<&mut Self, EncodeError> {
        self.xor_address(AttributeType::XOR_MAPPED_ADDRESS, address)
    }

    /// XOR-RELAYED-ADDRESS (RFC 8656 §18.5).
    #[inline]
    pub fn xor_relayed_address(&mut self, address: SocketAddr) -> Result<&mut Self, EncodeError> {
        self.xor_address(AttributeType::XOR_RELAYED_ADDRESS, address)
    }

    /// XOR-PEER-ADDRESS (RFC 8656 §18.3).
    #[inline]
    pub fn xor_peer_address(&mut self, address: SocketAddr) -> Result<&mut Self, EncodeError> {
        self.xor_address(AttributeType::XOR_PEER_ADDRESS, address)
    }

    /// ALTERNATE-SERVER (RFC 8489 §14.15).
    pub fn alternate_server(&mut self, address: SocketAddr) -> Result<&mut Self, EncodeError> {
        self.address(AttributeType::ALTERNATE_SERVER, address)
    }

    /// RESPONSE-ORIGIN (RFC 5780 §7.3).
    pub fn response_origin(&mut self, address: SocketAddr) -> Result<&mut Self, EncodeError> {
        self.address(AttributeType::RESPONSE_ORIGIN, address)
    }

    /// OTHER-ADDRESS (RFC 5780 §7.4).
    pub fn other_address(&mut self, address: SocketAddr) -> Result<&mut Self, EncodeError> {
        self.address(AttributeType::OTHER_ADDRESS, address)
    }

    /// USERNAME (RFC 8489 §14.3).
    ///
    /// # Errors
    /// [`EncodeError::TooLong`] above 508 bytes.
    pub fn username(&mut self, username: &str) -> Result<&mut Self, EncodeError> {
        self.bounded(
            AttributeType::USERNAME,
            username.as_bytes(),
            MAX_ENCODED_USERNAME_LEN,
        )
    }

    /// USERHASH (RFC 8489 §14.4).
    pub fn userhash(&mut self, userhash: [u8; 32]) -> Result<&mut Self, EncodeError> {
        self.attribute(AttributeType::USERHASH, &userhash)
    }

    /// REALM (RFC 8489 §14.9).
    ///
    /// # Errors
    /// [`EncodeError::TooLong`] above 763 bytes.
    // compliance: 8489-14.9-01
    #[inline]
    pub fn realm(&mut self, realm: &str) -> Result<&mut Self, EncodeError> {
        self.bounded(AttributeType::REALM, realm.as_bytes(), MAX_TEXT_LEN)
    }

    /// NONCE (RFC 8489 §14.10).
    ///
    /// # Errors
    /// [`EncodeError::TooLong`] above 763 bytes.
    #[inline]
    pub fn nonce(&mut self, nonce: impl AsRef<[u8]>) -> Result<&mut Self, EncodeError> {
        self.bounded(AttributeType::NONCE, nonce.as_ref(), MAX_TEXT_LEN)
    }

    /// SOFTWARE (RFC 8489 §14.14).
    ///
    /// # Errors
    /// [`EncodeError::TooLong`] above 763 bytes.
    // compliance: 8489-14.14-02
    #[inline]
    pub fn software(&mut self, software: &str) -> Result<&mut Self, EncodeError> {
        self.bounded(AttributeType::SOFTWARE, software.as_bytes(), MAX_TEXT_LEN)
    }

    /// ERROR-CODE (RFC 8489 §14.8).
    ///
    /// # Errors
    /// [`EncodeError::Range`] for a code outside 300 to 699, [`EncodeError::TooLong`] for a reason above
    /// 509 bytes.
    // compliance: 8489-14.8-01, 8489-14.8-02, 8489-14.8-04, 8489-14.8-05
    #[inline]
    pub fn error_code(&mut self, code: u16, reason: &str) -> Result<&mut Self, EncodeError> {
        self.family_and_error_code(AttributeType::ERROR_CODE, 0, code, reason)
    }

    /// ADDRESS-ERROR-CODE (RFC 8656 §18.12).
    ///
    /// # Errors
    /// As [`error_code`](Self::error_code).
    // compliance: 8656-18.12-01, 8656-18.12-02
    pub fn address_error_code(
        &mut self,
        family: AddressFamily,
        code: u16,
        reason: &str,
    ) -> Result<&mut Self, EncodeError> {
        let attribute = AttributeType::ADDRESS_ERROR_CODE;
        self.family_and_error_code(attribute, family.number(), code, reason)
    }

    /// UNKNOWN-ATTRIBUTES (RFC 8489 §14.13). Takes [`crate::UnknownAttributes`] by reference too.
    pub fn unknown_attributes(
        &mut self,
        types: &[AttributeType],
    ) -> Result<&mut Self, EncodeError> {
        let len = types.len().checked_mul(2).ok_or(EncodeError::TooLong)?;
        let value = self.append(AttributeType::UNKNOWN_ATTRIBUTES, len)?;
        for (bytes, attribute) in value.as_chunks_mut::<2>().0.iter_mut().zip(types) {
            *bytes = attribute.0.to_be_bytes();
        }
        Ok(self)
    }

    /// PASSWORD-ALGORITHM (RFC 8489 §14.12).
    pub fn password_algorithm(
        &mut self,
        algorithm: PasswordAlgorithm,
    ) -> Result<&mut Self, EncodeError> {
        self.attribute(AttributeType::PASSWORD_ALGORITHM, &algorithm.encode())
    }

    /// PASSWORD-ALGORITHMS, the preferred first (RFC 8489 §14.11).
    pub fn password_algorithms(
        &mut self,
        algorithms: &[PasswordAlgorithm],
    ) -> Result<&mut Self, EncodeError> {
        let len = algorithms
            .len()
            .checked_mul(4)
            .ok_or(EncodeError::TooLong)?;
        let value = self.append(AttributeType::PASSWORD_ALGORITHMS, len)?;
        for (bytes, algorithm) in value.as_chunks_mut::<4>().0.iter_mut().zip(algorithms) {
            *bytes = algorithm.encode();
        }
        Ok(self)
    }

    /// DATA (RFC 8656 §18.4). [`crate::IndicationHeader`] avoids the copy.
    pub fn data(&mut self, data: &[u8]) -> Result<&mut Self, EncodeError> {
        self.attribute(AttributeType::DATA, data)
    }

    /// CHANNEL-NUMBER (RFC 8656 §18.1).
    pub fn channel_number(&mut self, number: u16) -> Result<&mut Self, EncodeError> {
        let [n0, n1] = number.to_be_bytes();
        self.attribute(AttributeType::CHANNEL_NUMBER, &[n0, n1, 0, 0])
    }

    /// LIFETIME in seconds (RFC 8656 §18.2).
    #[inline]
    pub fn lifetime(&mut self, seconds: u32) -> Result<&mut Self, EncodeError> {
        self.attribute(AttributeType::LIFETIME, &seconds.to_be_bytes())
    }

    /// REQUESTED-TRANSPORT: 17 for UDP, 6 for TCP (RFC 8656 §18.8).
    pub fn requested_transport(&mut self, protocol: u8) -> Result<&mut Self, EncodeError> {
        self.attribute(AttributeType::REQUESTED_TRANSPORT, &[protocol, 0, 0, 0])
    }

    /// REQUESTED-ADDRESS-FAMILY (RFC 8656 §18.6).
    pub fn requested_address_family(
        &mut self,
        family: AddressFamily,
    ) -> Result<&mut Self, EncodeError> {
        let value = [family.number(), 0, 0, 0];
        self.attribute(AttributeType::REQUESTED_ADDRESS_FAMILY, &value)
    }

    /// ADDITIONAL-ADDRESS-FAMILY (RFC 8656 §18.11).
    pub fn additional_address_family(
        &mut self,
        family: AddressFamily,
    ) -> Result<&mut Self, EncodeError> {
        let value = [family.number(), 0, 0, 0];
        self.attribute(AttributeType::ADDITIONAL_ADDRESS_FAMILY, &value)
    }

    /// EVEN-PORT; `reserve_next` asks for the next higher port too (RFC 8656 §18.7).
    pub fn even_port(&mut self, reserve_next: bool) -> Result<&mut Self, EncodeError> {
        let flags = if reserve_next { 0x80 } else { 0 };
        self.attribute(AttributeType::EVEN_PORT, &[flags])
    }

    /// RESERVATION-TOKEN (RFC 8656 §18.10).
    pub fn reservation_token(&mut self, token: [u8; 8]) -> Result<&mut Self, EncodeError> {
        self.attribute(AttributeType::RESERVATION_TOKEN, &token)
    }

    /// DONT-FRAGMENT (RFC 8656 §18.9).
    pub fn dont_fragment(&mut self) -> Result<&mut Self, EncodeError> {
        self.attribute(AttributeType::DONT_FRAGMENT, &[])
    }

    /// ICMP (RFC 8656 §18.13).
    ///
    /// # Errors
    /// [`EncodeError::Range`] for a type above 127 or a code above 511.
    // compliance: 8656-18.13-01
    pub fn icmp(&mut self, icmp: Icmp) -> Result<&mut Self, EncodeError> {
        let value = icmp.encode().ok_or(EncodeError::Range)?;
        self.attribute(AttributeType::ICMP, &value)
    }

    /// CONNECTION-ID (RFC 6062 §6.2.1).
    pub fn connection_id(&mut self, id: u32) -> Result<&mut Self, EncodeError> {
        self.attribute(AttributeType::CONNECTION_ID, &id.to_be_bytes())
    }

    /// MOBILITY-TICKET (RFC 8016 §4).
    pub fn mobility_ticket(&mut self, ticket: &[u8]) -> Result<&mut Self, EncodeError> {
        self.attribute(AttributeType::MOBILITY_TICKET, ticket)
    }

    /// CHANGE-REQUEST (RFC 5780 §7.2).
    pub fn change_request(&mut self, change: ChangeRequest) -> Result<&mut Self, EncodeError> {
        self.attribute(AttributeType::CHANGE_REQUEST, &change.encode())
    }

    /// RESPONSE-PORT (RFC 5780 §7.5).
    pub fn response_port(&mut self, port: u16) -> Result<&mut Self, EncodeError> {
        let [p0, p1] = port.to_be_bytes();
        self.attribute(AttributeType::RESPONSE_PORT, &[p0, p1, 0, 0])
    }

    /// PADDING of `len` zero bytes (RFC 5780 §7.6).
    pub fn padding(&mut self, len: usize) -> Result<&mut Self, EncodeError> {
        self.append(AttributeType::PADDING, len)?.fill(0);
        Ok(self)
    }

    /// MESSAGE-INTEGRITY over what is there (RFC 8489 §14.5).
    #[inline]
    pub fn integrity(&mut self, key: &IntegrityKey) -> Result<&mut Self, EncodeError> {
        let offset = self.len;
        self.append(AttributeType::MESSAGE_INTEGRITY, 20)?;
        let length = self.length_field();
        self.seal(offset, |covered| key.mac(covered, length));
        Ok(self)
    }

    /// MESSAGE-INTEGRITY-SHA256 over what is there, all 32 bytes (RFC 8489 §14.6).
    #[inline]
    pub fn integrity_sha256(&mut self, key: &IntegrityKeySha256) -> Result<&mut Self, EncodeError> {
        let offset = self.len;
        self.append(AttributeType::MESSAGE_INTEGRITY_SHA256, 32)?;
        let length = self.length_field();
        self.seal(offset, |covered| key.mac(covered, length));
        Ok(self)
    }

    /// FINGERPRINT over what is there; nothing can follow it (RFC 8489 §14.7).
    // compliance: 8489-14.7-01
    #[inline]
    pub fn fingerprint(&mut self) -> Result<&mut Self, EncodeError> {
        let offset = self.len;
        self.append(AttributeType::FINGERPRINT, 4)?;
        self.write_length();
        self.seal(offset, |covered| fingerprint(covered).to_be_bytes());
        Ok(self)
    }

    /// Completes the header and returns the length of the message in bytes.
    // compliance: 8489-5-05
    #[inline]
    pub fn finish(mut self) -> usize {
        self.write_length();
        self.len
    }

    /// Writes type, length and padding of the next attribute and returns the place for its value.
    #[inline]
    fn append(&mut self, attribute: AttributeType, len: usize) -> Result<&mut [u8], EncodeError> {
        let stage = self.stage.admit(attribute).ok_or(EncodeError::OutOfOrder)?;
        let len_field = u16::try_from(len).map_err(|_| EncodeError::TooLong)?;
        let end = self.len.saturating_add(4).saturating_add(padded(len));
        if end > MAX_MESSAGE_LEN {
            return Err(EncodeError::TooLong);
        }
        let (header, rest) = self
            .buf
            .get_mut(self.len..end)
            .and_then(<[u8]>::split_first_chunk_mut)
            .ok_or(EncodeError::BufferTooSmall)?;
        let [t0, t1] = attribute.0.to_be_bytes();
        let [l0, l1] = len_field.to_be_bytes();
        *header = [t0, t1, l0, l1];
        let (value, padding) = rest
            .split_at_mut_checked(len)
            .ok_or(EncodeError::BufferTooSmall)?;
        padding.fill(0);
        self.len = end;
        self.stage = stage;
        Ok(value)
    }

    #[inline]
    fn masked_address(
        &mut self,
        attribute: AttributeType,
        address: SocketAddr,
        mask: Mask,
    ) -> Result<&mut Self, EncodeError> {
        match address {
            SocketAddr::V4(address) => {
                self.attribute(attribute, &address::encode_v4(address, mask))
            }
            SocketAddr::V6(address) => {
                self.attribute(attribute, &address::encode_v6(&address, mask))
            }
        }
    }

    #[inline]
    fn bounded(
        &mut self,
        attribute: AttributeType,
        value: &[u8],
        max_len: usize,
    ) -> Result<&mut Self, EncodeError> {
        if value.len() > max_len {
            return Err(EncodeError::TooLong);
        }
        self.attribute(attribute, value)
    }

    #[inline]
    fn family_and_error_code(
        &mut self,
        attribute: AttributeType,
        family: u8,
        code: u16,
        reason: &str,
    ) -> Result<&mut Self, EncodeError> {
        let [class, number] = split_error_code(code).ok_or(EncodeError::Range)?;
        if reason.len() > MAX_ENCODED_REASON_LEN {
            return Err(EncodeError::TooLong);
        }
        let value = self.append(attribute, reason.len().saturating_add(4))?;
        if let Some((head, text)) = value.split_first_chunk_mut() {
            *head = [family, 0, class, number];
            text.copy_from_slice(reason.as_bytes());
        }
        Ok(self)
    }

    /// Fills in the value, of `N` bytes, of the attribute that starts at `offset` and is the last.
    #[inline]
    fn seal<const N: usize>(&mut self, offset: usize, value: impl FnOnce(&[u8]) -> [u8; N]) {
        let Some((covered, sealed)) = self
            .buf
            .get_mut(..self.len)
            .and_then(|message| message.split_at_mut_checked(offset))
        else {
            return;
        };
        if let Some(place) = sealed.last_chunk_mut() {
            *place = value(covered);
        }
    }

    /// Bytes behind the header. At most 65,532, as `append` sees to it.
    #[inline]
    fn length_field(&self) -> u16 {
        self.len.saturating_sub(HEADER_LEN) as u16
    }

    #[inline]
    fn write_length(&mut self) {
        let [high, low] = self.length_field().to_be_bytes();
        if let Some([_, _, l0, l1]) = self.buf.first_chunk_mut() {
            *l0 = high;
            *l1 = low;
        }
    }
}

const MAX_MESSAGE_LEN: usize = HEADER_LEN + 65_532;
