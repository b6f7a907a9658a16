//! Where one message ends and the next begins on TCP and TLS (RFC 8489 §6.2.2, RFC 8656 §12.5).
//!
//! Owns the framing rule. It must not buffer: the caller keeps the bytes and its own limit on them.

use crate::{HEADER_LEN, Kind, MAGIC_COOKIE, channel_data, classify, classify_rfc5766};

/// What stands at the start of a stream's unread bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Not a whole message yet.
    Incomplete {
        /// How many bytes the buffer must hold, counted from its start, before another call can say
        /// more. At most 65,552, always more than it holds now.
        need: usize,
    },
    /// A whole message.
    Complete {
        /// [`Kind::Stun`] or [`Kind::ChannelData`].
        kind: Kind,
        /// Bytes of the message without padding.
        len: usize,
        /// Bytes to take off the stream: `len` and padding.
        consumed: usize,
    },
    /// Neither STUN nor ChannelData. Nothing after this can be found again: close the stream.
    Invalid,
}

/// Finds the first message in `buf`, the unread bytes of a stream. STUN is only recognised with its
/// cookie; ChannelData is padded to four bytes and only the channels of RFC 8656 are accepted.
#[inline]
pub fn next_frame(buf: &[u8]) -> Frame {
    frame(buf, classify)
}

/// As [`next_frame`], with the wider channel range of [`classify_rfc5766`].
#[inline]
pub fn next_frame_rfc5766(buf: &[u8]) -> Frame {
    frame(buf, classify_rfc5766)
}

#[inline]
fn frame(buf: &[u8], classify: impl Fn(u8) -> Kind) -> Frame {
    let Some(&first_byte) = buf.first() else {
        return Frame::Incomplete { need: PREFIX_LEN };
    };
    let kind = classify(first_byte);
    if !matches!(kind, Kind::Stun | Kind::ChannelData) {
        return Frame::Invalid;
    }
    let Some((&[_, _, l0, l1], rest)) = buf.split_first_chunk() else {
        return Frame::Incomplete { need: PREFIX_LEN };
    };
    let length_field = u16::from_be_bytes([l0, l1]);
    let (len, consumed) = if kind == Kind::Stun {
        if length_field & 3 != 0 {
            return Frame::Invalid;
        }
        let cookie = MAGIC_COOKIE.to_be_bytes();
        if rest
            .iter()
            .zip(&cookie)
            .any(|(byte, expected)| byte != expected)
        {
            return Frame::Invalid;
        }
        let len = HEADER_LEN.saturating_add(usize::from(length_field));
        (len, len)
    } else {
        let header_len = channel_data::CHANNEL_DATA_HEADER_LEN;
        (
            header_len.saturating_add(usize::from(length_field)),
            header_len.saturating_add(channel_data::padded_len(length_field)),
        )
    };
    if buf.len() < consumed {
        Frame::Incomplete { need: consumed }
    } else {
        Frame::Complete {
            kind,
            len,
            consumed,
        }
    }
}

/// Bytes that hold the length field of either kind.
const PREFIX_LEN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channel_data_is_padded() {
        let bytes = [0x40, 0, 0, 1, b'x', 0, 0, 0, 0x40];
        assert_eq!(next_frame(&bytes[..7]), Frame::Incomplete { need: 8 });
        assert_eq!(
            next_frame(&bytes),
            Frame::Complete {
                kind: Kind::ChannelData,
                len: 5,
                consumed: 8
            }
        );
    }

    #[test]
    fn wider_channels_are_taken_where_asked_for() {
        for first_byte in [0x50, 0x7F] {
            let bytes = [first_byte, 0xFF, 0, 4, 1, 2, 3, 4, 5];
            assert_eq!(next_frame(&bytes), Frame::Invalid);
            assert_eq!(
                next_frame_rfc5766(&bytes),
                Frame::Complete {
                    kind: Kind::ChannelData,
                    len: 8,
                    consumed: 8
                }
            );
        }
        for first_byte in [4, 22, 128] {
            assert_eq!(next_frame_rfc5766(&[first_byte]), Frame::Invalid);
        }
    }

    #[test]
    fn longest_lengths_do_not_wrap() {
        assert_eq!(
            next_frame(&[0x40, 0, 0xFF, 0xFF]),
            Frame::Incomplete { need: 65_540 }
        );
        assert_eq!(
            next_frame(&[0, 1, 0xFF, 0xFC]),
            Frame::Incomplete { need: 65_552 }
        );
        assert_eq!(next_frame(&[0, 1, 0xFF, 0xFF]), Frame::Invalid);
    }

    #[test]
    fn stun_needs_its_cookie() {
        let good = [0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42];
        for len in 4..=8 {
            assert_eq!(next_frame(&good[..len]), Frame::Incomplete { need: 20 });
        }
        for wrong in 4..8 {
            let mut bad = good;
            bad[wrong] ^= 1;
            assert_eq!(next_frame(&bad), Frame::Invalid);
            assert_eq!(next_frame(&bad[..=wrong]), Frame::Invalid);
        }
    }

    #[test]
    fn other_protocols_are_invalid() {
        for first_byte in [4, 20, 22, 63, 80, 127, 128, 255] {
            assert_eq!(next_frame(&[first_byte]), Frame::Invalid);
        }
        assert_eq!(next_frame(&[]), Frame::Incomplete { need: 4 });
    }
}
