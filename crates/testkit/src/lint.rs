//! What every message that leaves the server must look like.
//!
//! Owns the form only. It must not know which message is right in which state.

use turnbuckle_proto::{ChannelData, HEADER_LEN, Message};

/// Checks a message for a client: STUN that decodes, or ChannelData; nothing behind it; padding all zeroes.
///
/// # Panics
/// With what is wrong and all the bytes.
pub fn assert_well_formed(bytes: &[u8]) {
    let first = *bytes.first().expect("no empty message");
    if first >= 64 {
        let data = ChannelData::decode(bytes);
        let data = data.unwrap_or_else(|error| panic!("{error}: {bytes:02x?}"));
        let padding = &bytes[4 + data.payload.len()..];
        assert!(
            padding.len() <= 3 && padding.iter().all(|&byte| byte == 0),
            "padding of ChannelData: {bytes:02x?}"
        );
        return;
    }
    if let Err(error) = Message::decode(bytes) {
        panic!("{error}: {bytes:02x?}");
    }
    let mut rest = &bytes[HEADER_LEN..];
    while let Some((&[_, _, l0, l1], behind)) = rest.split_first_chunk() {
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        let padded = len.next_multiple_of(4);
        assert!(
            behind[len..padded].iter().all(|&byte| byte == 0),
            "padding is not zero: {bytes:02x?}"
        );
        rest = &behind[padded..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_messages_pass() {
        assert_well_formed(&[0x40, 0, 0, 1, 9, 0, 0, 0]);
        assert_well_formed(&binding(&[0x80, 0x22, 0, 1, b'x', 0, 0, 0]));
    }

    #[test]
    #[should_panic(expected = "padding is not zero")]
    fn dirty_attribute_padding_is_found() {
        assert_well_formed(&binding(&[0x80, 0x22, 0, 1, b'x', 0, 7, 0]));
    }

    #[test]
    #[should_panic(expected = "padding of ChannelData")]
    fn dirty_channel_padding_is_found() {
        assert_well_formed(&[0x40, 0, 0, 1, 9, 0, 0, 1]);
    }

    fn binding(attributes: &[u8]) -> Vec<u8> {
        let mut bytes = vec![1, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42];
        bytes[3] = u8::try_from(attributes.len()).unwrap();
        bytes.extend([5; 12]);
        bytes.extend(attributes);
        bytes
    }
}
