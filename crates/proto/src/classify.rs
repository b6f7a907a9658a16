//! Which protocol a datagram or a stream speaks, by its first byte (RFC 7983, RFC 8656 §12).
//!
//! Owns the ranges. It must not look further than one byte: what starts like STUN need not be STUN.

/// What a first byte announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// 0 to 3: a STUN message. Methods above 0xFF start with other bytes; none is in use.
    Stun,
    /// 64 to 79: a ChannelData message.
    ChannelData,
    /// 20 to 63: a DTLS record (on TCP, a TLS record).
    Dtls,
    /// Anything else.
    Unknown,
}

/// What the first byte of a datagram announces (RFC 7983 §7, channels 0x4000 to 0x4FFF of RFC 8656 §12).
// compliance: 8656-12-01, 8656-12.6-01
#[inline]
pub const fn classify(first_byte: u8) -> Kind {
    match first_byte {
        0..=3 => Kind::Stun,
        20..=63 => Kind::Dtls,
        64..=79 => Kind::ChannelData,
        _ => Kind::Unknown,
    }
}

/// As [`classify`], with the wider channel range 0x4000 to 0x7FFF of RFC 5766 §11.
#[inline]
pub const fn classify_rfc5766(first_byte: u8) -> Kind {
    match first_byte {
        64..=127 => Kind::ChannelData,
        other => classify(other),
    }
}

/// Whether a datagram may be a STUN request, by its first two bytes (RFC 8489 §5). It may still be none.
#[inline]
pub const fn is_request(datagram: &[u8]) -> bool {
    matches!(datagram, [first, second, ..] if *first & 0xC1 == 0 && *second & 0x10 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    // compliance: 8656-12-01
    #[test]
    fn requests_are_told_from_the_other_classes() {
        for (first, second, request) in [
            (0x00, 0x03, true),
            (0x00, 0x16, false),
            (0x01, 0x03, false),
            (0x01, 0x13, false),
            (0x40, 0x00, false),
            (0x17, 0xFE, false),
        ] {
            assert_eq!(
                is_request(&[first, second, 0]),
                request,
                "{first:02X}{second:02X}"
            );
        }
        assert!(!is_request(&[0]));
    }

    // compliance: 8656-12-01
    #[test]
    fn borders() {
        for (first, last, kind) in [
            (0, 3, Kind::Stun),
            (4, 19, Kind::Unknown),
            (20, 63, Kind::Dtls),
            (64, 79, Kind::ChannelData),
            (80, 255, Kind::Unknown),
        ] {
            for byte in first..=last {
                assert_eq!(classify(byte), kind, "{byte}");
            }
        }
        for byte in 0..=255 {
            let wide = classify_rfc5766(byte);
            match byte {
                64..=127 => assert_eq!(wide, Kind::ChannelData, "{byte}"),
                _ => assert_eq!(wide, classify(byte), "{byte}"),
            }
        }
    }
}
