//! ChannelData messages: four bytes in front of the payload (RFC 8656 §12.4).
//!
//! Owns the header and the padding rule. It must not know which channels are bound, nor frame streams
//! (see [`crate::stream`]).

use crate::DecodeError;

/// Length in bytes of the header before the payload: channel number and payload length.
pub const CHANNEL_DATA_HEADER_LEN: usize = 4;

/// A ChannelData message whose payload is borrowed from the datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelData<'a> {
    /// The channel number, 0x4000 to 0x7FFF. RFC 8656 hands out only those up to 0x4FFF.
    pub number: u16,
    /// The application data, without header and padding.
    pub payload: &'a [u8],
}

impl<'a> ChannelData<'a> {
    /// Reads one datagram. Bytes behind the payload are tolerated as padding (RFC 8656 §12.5).
    ///
    /// # Errors
    /// [`DecodeError::TooShort`] below four bytes, [`DecodeError::ChannelNumber`] for a number outside
    /// 0x4000 to 0x7FFF, [`DecodeError::Length`] if fewer bytes follow than the header promises.
    // compliance: 8656-12.6-02
    #[inline]
    pub fn decode(datagram: &'a [u8]) -> Result<Self, DecodeError> {
        let Some((&[n0, n1, l0, l1], rest)) = datagram.split_first_chunk() else {
            return Err(DecodeError::TooShort);
        };
        let number = u16::from_be_bytes([n0, n1]);
        if number & 0xC000 != 0x4000 {
            return Err(DecodeError::ChannelNumber);
        }
        match rest.get(..usize::from(u16::from_be_bytes([l0, l1]))) {
            Some(payload) => Ok(Self { number, payload }),
            None => Err(DecodeError::Length),
        }
    }
}

/// The four bytes to put before a payload of `payload_len` bytes.
#[inline]
pub const fn header(number: u16, payload_len: u16) -> [u8; CHANNEL_DATA_HEADER_LEN] {
    let [n0, n1] = number.to_be_bytes();
    let [l0, l1] = payload_len.to_be_bytes();
    [n0, n1, l0, l1]
}

/// `payload_len` rounded up to a multiple of four: what a payload takes up on a stream, where padding
/// is a must (RFC 8656 §12.5). On UDP no padding is sent.
// compliance: 8656-12.5-03
#[inline]
pub const fn padded_len(payload_len: u16) -> usize {
    (payload_len as usize).wrapping_add(3) & !3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_header_writes() {
        let mut datagram = header(0x4001, 5).to_vec();
        datagram.extend_from_slice(b"hello");
        let expected = ChannelData {
            number: 0x4001,
            payload: b"hello",
        };
        assert_eq!(ChannelData::decode(&datagram), Ok(expected));
        datagram.extend_from_slice(&[0xFF; 3]);
        assert_eq!(ChannelData::decode(&datagram), Ok(expected));
    }

    #[test]
    fn refuses_what_is_none() {
        assert_eq!(
            ChannelData::decode(&[0x40, 0, 0]),
            Err(DecodeError::TooShort)
        );
        assert_eq!(
            ChannelData::decode(&[0x40, 0, 0, 1]),
            Err(DecodeError::Length)
        );
        assert_eq!(
            ChannelData::decode(&[0x40, 0, 0xFF, 0xFF, 9]),
            Err(DecodeError::Length)
        );
        assert_eq!(
            ChannelData::decode(&[0x3F, 0xFF, 0, 0]),
            Err(DecodeError::ChannelNumber)
        );
        assert_eq!(
            ChannelData::decode(&[0x80, 0, 0, 0]),
            Err(DecodeError::ChannelNumber)
        );
        assert_eq!(
            ChannelData::decode(&[0x7F, 0xFF, 0, 0]),
            Ok(ChannelData {
                number: 0x7FFF,
                payload: &[]
            })
        );
    }

    #[test]
    fn pads_to_four() {
        for (len, padded) in [
            (0, 0),
            (1, 4),
            (3, 4),
            (4, 4),
            (5, 8),
            (65_533, 65_536),
            (65_535, 65_536),
        ] {
            assert_eq!(padded_len(len), padded);
        }
    }
}
