//! What challenges offer beyond RFC 5389, and how its removal on the way is noticed: the security features of RFC 8489 §9.2.

use turnbuckle_proto::PasswordAlgorithm;

use crate::auth::Credentials;

/// The content of PASSWORD-ALGORITHMS and of the nonce cookie. It follows from the credentials and stays as long as they do.
// compliance: 8489-9.2.4-05, 8489-9.2.4-15
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    with_sha256: bool,
    username_anonymity: bool,
}

impl Offer {
    /// SHA-256 is offered if it is good for every user: clients take the first algorithm that they know (RFC 8489 §9.2.5).
    ///
    /// Username anonymity is offered where all users are static. A name made from a shared secret cannot be found by its hash, and a
    /// client that sees the offer sends nothing else (RFC 8489 §9.2.3).
    pub(crate) fn of(credentials: &Credentials) -> Self {
        Self {
            with_sha256: credentials.users.all_have_sha256(),
            username_anonymity: credentials.secrets.is_empty(),
        }
    }

    /// The algorithms, the preferred first.
    pub(crate) const fn algorithms(self) -> &'static [PasswordAlgorithm] {
        const BOTH: &[PasswordAlgorithm] = &[PasswordAlgorithm::SHA256, PasswordAlgorithm::MD5];
        const MD5: &[PasswordAlgorithm] = &[PasswordAlgorithm::MD5];
        if self.with_sha256 { BOTH } else { MD5 }
    }

    /// What a nonce that goes with this offer begins with: the nonce cookie and 24 feature bits in base64, bit 0 rightmost
    /// (RFC 8489 §9.2 and §18.1 with erratum 6290).
    pub(crate) const fn cookie(self) -> &'static [u8; COOKIE_LEN] {
        if self.username_anonymity {
            b"obMatJos2AAAD"
        } else {
            b"obMatJos2AAAB"
        }
    }

    /// Tells offers apart in the seal of a nonce.
    pub(crate) const fn tag(self) -> u8 {
        1 | (self.with_sha256 as u8) << 1 | (self.username_anonymity as u8) << 2
    }

    /// Bytes that the offer adds to a challenge at most: PASSWORD-ALGORITHMS.
    pub(crate) const ADDED_MAX_LEN: usize = 12;

    /// Whether USERHASH is taken in place of USERNAME.
    pub(crate) const fn username_anonymity(self) -> bool {
        self.username_anonymity
    }
}

/// True if the nonce says that its challenge came with PASSWORD-ALGORITHMS, whether it is ours or not (RFC 8489 §9.2.4).
pub(crate) fn claims_password_algorithms(nonce: &[u8]) -> bool {
    let Some((&[a, b, c, d], _)) = nonce
        .strip_prefix(COOKIE)
        .and_then(<[u8]>::split_first_chunk::<4>)
    else {
        return false;
    };
    let last_six_bits = BASE64.iter().position(|&digit| digit == d);
    let is_base64 = [a, b, c].iter().all(|digit| BASE64.contains(digit));
    is_base64 && last_six_bits.is_some_and(|bits| bits & 1 == 1)
}

/// RFC 8489 §9.2.
const COOKIE: &[u8] = b"obMatJos2";
pub(crate) const COOKIE_LEN: usize = 13;
pub(crate) const NOTHING_OFFERED: &[u8; COOKIE_LEN] = b"obMatJos2AAAA";
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests {
    use super::*;

    // compliance: 8489-9.2-01
    #[test]
    fn the_cookie_says_what_is_offered() {
        let plain = Offer {
            with_sha256: true,
            username_anonymity: false,
        };
        let anonymous = Offer {
            username_anonymity: true,
            ..plain
        };
        // Bits 0 and 1 from the right.
        assert_eq!(plain.cookie(), b"obMatJos2AAAB");
        assert_eq!(anonymous.cookie(), b"obMatJos2AAAD");
        for offer in [plain, anonymous] {
            assert!(claims_password_algorithms(offer.cookie()));
        }
        for (nonce, claims) in [
            (&b"obMatJos2AAAAxyz"[..], false),
            // The vector of RFC 8489 appendix B.1 has username anonymity alone.
            (b"obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA", false),
            (b"obMatJos2////", true),
            (b"obMatJos2AAA", false),
            (b"obMatJos2AA!B", false),
            (b"obmatjos2AAAB", false),
            (b"AAAAAAAAAAAAAAAAAAAAAA", false),
            (b"", false),
        ] {
            assert_eq!(claims_password_algorithms(nonce), claims, "{nonce:?}");
        }
    }
}
