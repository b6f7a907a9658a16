//! Any bytes as a message: every accessor, and what is read can be written again.

use std::net::SocketAddr;

use turnbuckle_proto::{
    AttributeError, AttributeType, ChannelData, HEADER_LEN, Kind, Message, MessageBuilder,
    channel_data, classify, classify_rfc5766,
};

/// Decodes the input as STUN and as ChannelData.
///
/// # Panics
/// If an accessor reads something that is not there, or what was read is written otherwise.
pub fn decode(input: &[u8]) {
    if let Ok(message) = Message::decode(input) {
        assert_eq!(message.bytes(), input);
        // Methods above 0xFF, of which none is in use, start with bytes that are not taken for STUN.
        let is_high = message.method().number() > 0xFF;
        assert_eq!(classify(input[0]) == Kind::Stun, !is_high);
        read_all(&message);
        write_again(&message);
    }
    if let Ok(data) = ChannelData::decode(input) {
        assert_eq!(classify_rfc5766(input[0]), Kind::ChannelData);
        let len = u16::try_from(data.payload.len()).expect("a length of 16 bits");
        let header = channel_data::header(data.number, len);
        assert!(input.starts_with(&header) && input[header.len()..].starts_with(data.payload));
    }
}

/// Each accessor once, against the bytes that it reads.
pub(crate) fn read_all(message: &Message<'_>) {
    let texts = [message.username(), message.realm(), message.software()];
    assert!(
        texts
            .iter()
            .flatten()
            .flatten()
            .all(|text| text.len() <= 763)
    );
    assert!(
        message
            .nonce()
            .is_ok_and(|nonce| nonce.is_none_or(|n| n.len() <= 763))
            || message.nonce().is_err()
    );
    let addresses: [Result<Option<SocketAddr>, AttributeError>; 7] = [
        message.mapped_address(),
        message.xor_mapped_address(),
        message.alternate_server(),
        message.xor_relayed_address(),
        message.peer_address(),
        message.response_origin(),
        message.other_address(),
    ];
    for error in addresses.into_iter().filter_map(Result::err) {
        assert!(message.attribute(error.attribute).is_some(), "{error}");
    }
    if let Ok(Some(error)) = message.error_code() {
        assert!((300..700).contains(&error.code));
    }
    if let Ok(Some(error)) = message.address_error_code() {
        assert!((300..700).contains(&error.code));
    }
    let _ = (message.userhash(), message.password_algorithm());
    let _ = (message.channel_number(), message.lifetime());
    let _ = (
        message.requested_transport(),
        message.requested_address_family(),
    );
    let _ = (message.additional_address_family(), message.even_port());
    let _ = (message.reservation_token(), message.icmp());
    let _ = (message.connection_id(), message.change_request());
    let _ = (message.response_port(), message.mobility_ticket());
    let _ = (message.padding(), message.dont_fragment());
    let all: Vec<_> = message.attributes().collect();
    assert!(all.len() * 4 <= message.bytes().len() - HEADER_LEN);
    for raw in &all {
        let first = all.iter().find(|other| other.attribute == raw.attribute);
        assert_eq!(message.attribute(raw.attribute), first.map(|raw| raw.value));
    }
    let peers = all
        .iter()
        .filter(|raw| raw.attribute == AttributeType::XOR_PEER_ADDRESS);
    assert_eq!(message.peer_addresses().count(), peers.count());
    assert_eq!(
        message.peer_addresses().next().transpose(),
        message.peer_address()
    );
    assert!(message.password_algorithms().count() * 4 <= message.bytes().len());
    assert!(message.unknown_attributes().count() * 2 <= message.bytes().len());
    let unknown = message.unknown_required(|_| false);
    assert!(
        unknown
            .iter()
            .all(|attribute| attribute.comprehension_required())
    );
    assert!(message.unknown_required(|_| true).is_empty());
    match (message.data(), message.data_offset()) {
        (Some(data), Some(at)) => assert_eq!(&message.bytes()[at..at + data.len()], data),
        (None, None) => {}
        (data, at) => panic!("{data:?} at {at:?}"),
    }
    assert!(!format!("{message:?}").is_empty());
}

/// A message without seals is written as it was, but for its padding.
fn write_again(message: &Message<'_>) {
    if message.has_integrity() || message.has_integrity_sha256() || message.has_fingerprint() {
        return;
    }
    let mut buffer = vec![0; message.bytes().len()];
    let mut builder = MessageBuilder::new(
        &mut buffer,
        message.class(),
        message.method(),
        message.transaction_id(),
    )
    .expect("room for a header");
    for raw in message.attributes() {
        builder
            .attribute(raw.attribute, raw.value)
            .expect("room for what was read");
    }
    let len = builder.finish();
    assert_eq!(len, message.bytes().len());
    let again = Message::decode(&buffer).expect("what was written can be read");
    assert_eq!(again.bytes()[..HEADER_LEN], message.bytes()[..HEADER_LEN]);
    assert!(again.attributes().eq(message.attributes()));
}
