//! Nonces that the server need not remember: a time stamp, sealed for one client address (RFC 8489 §9.2, §14.10), behind the nonce
//! cookie, which the seal covers.

use core::time::Duration;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use subtle::ConstantTimeEq;

use crate::auth::offer::{COOKIE_LEN, NOTHING_OFFERED, Offer};

/// What nonces are sealed with. Servers that share it accept each other's.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NonceKey([u8; 32]);

/// A nonce as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Nonce([u8; COOKIE_LEN + TEXT_LEN]);

impl NonceKey {
    pub const fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// The key that follows from a secret of any length: the same one on every server that is given it.
    pub fn derive(secret: &[u8]) -> Self {
        let mut key = [0; 32];
        for (half, label) in key
            .chunks_mut(16)
            .zip([b"nonce key, first", b"nonce key, other"])
        {
            // HMAC takes keys of every length.
            if let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret) {
                mac.update(label);
                for (to, from) in half.iter_mut().zip(mac.finalize().into_bytes()) {
                    *to = from;
                }
            }
        }
        Self(key)
    }

    /// A nonce for this address, made at `unix` seconds, that goes with this offer.
    // compliance: 8656-5-03
    pub(crate) fn issue(&self, ip: IpAddr, unix: u64, offer: Option<Offer>) -> Nonce {
        let mut bytes = [0; BINARY_LEN];
        let (time, seal) = bytes.split_at_mut(TIME_LEN);
        // Wraps in the year 2106; `age` wraps with it.
        let stamp = (unix as u32).to_be_bytes();
        time.copy_from_slice(&stamp);
        seal.copy_from_slice(&self.seal(stamp, ip, offer));
        let mut text = [b'A'; COOKIE_LEN + TEXT_LEN];
        let (before, rest) = text.split_at_mut(COOKIE_LEN);
        before.copy_from_slice(cookie(offer));
        // The lengths match, so this cannot fail; if it did, the nonce would just not verify.
        let _ = URL_SAFE_NO_PAD.encode_slice(bytes, rest);
        Nonce(text)
    }

    /// 20 bytes that nobody without the key can make from these parts, which are of fixed lengths for each label.
    pub(crate) fn prf(&self, label: &[u8; 6], parts: &[&[u8]]) -> [u8; 20] {
        let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(&self.0) else {
            // HMAC takes keys of every length.
            return [0; 20];
        };
        mac.update(label);
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// True for a nonce that was issued to this address, with this offer, at most `lifetime` ago (or ever, without one).
    // compliance: 8489-9.2.4-21, 8489-9.2.4-24, 8656-5-04
    pub(crate) fn is_valid(
        &self,
        nonce: &[u8],
        ip: IpAddr,
        unix: u64,
        lifetime: Option<Duration>,
        offer: Option<Offer>,
    ) -> bool {
        let Some(nonce) = nonce.strip_prefix(&cookie(offer)[..]) else {
            return false;
        };
        let mut bytes = [0; BINARY_LEN];
        if nonce.len() != TEXT_LEN
            || URL_SAFE_NO_PAD.decode_slice(nonce, &mut bytes) != Ok(BINARY_LEN)
        {
            return false;
        }
        let (time, seal) = bytes.split_at(TIME_LEN);
        let Ok(stamp) = <[u8; TIME_LEN]>::try_from(time) else {
            return false;
        };
        if !bool::from(self.seal(stamp, ip, offer).ct_eq(seal)) {
            return false;
        }
        let age = (unix as u32).wrapping_sub(u32::from_be_bytes(stamp));
        lifetime.is_none_or(|lifetime| u64::from(age) < lifetime.as_secs())
    }

    fn seal(&self, stamp: [u8; TIME_LEN], ip: IpAddr, offer: Option<Offer>) -> [u8; SEAL_LEN] {
        let mut seal = [0; SEAL_LEN];
        let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(&self.0) else {
            // HMAC takes keys of every length.
            return seal;
        };
        mac.update(&stamp);
        match ip {
            IpAddr::V4(ip) => mac.update(&ip.octets()),
            IpAddr::V6(ip) => mac.update(&ip.octets()),
        }
        if let Some(offer) = offer {
            mac.update(&[offer.tag()]);
        }
        let full = mac.finalize().into_bytes();
        for (to, from) in seal.iter_mut().zip(full) {
            *to = from;
        }
        seal
    }
}

impl core::fmt::Debug for NonceKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("NonceKey([secret])")
    }
}

impl Nonce {
    pub(crate) fn as_str(&self) -> &str {
        core::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// RFC 8489 §9.2: without any feature the bits are zero, not absent.
// compliance: 8489-9.2-01, 8489-9.2-02, 8489-9.2.4-05, 8489-9.2.4-06
fn cookie(offer: Option<Offer>) -> &'static [u8; COOKIE_LEN] {
    offer.map_or(NOTHING_OFFERED, Offer::cookie)
}

const TIME_LEN: usize = 4;
/// 96 bits: a guess costs the attacker 2^95 packets, and a short nonce keeps the unauthenticated answer small.
const SEAL_LEN: usize = 12;
const BINARY_LEN: usize = TIME_LEN + SEAL_LEN;
// compliance: 8489-14.10-01
const TEXT_LEN: usize = 22;

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Option<Duration> = Some(Duration::from_secs(600));

    // compliance: 8489-14.10-01, 8489-9.2-02, 8656-5-04
    #[test]
    fn valid_for_its_address_and_time_only() {
        let key = NonceKey::new([7; 32]);
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        let nonce = key.issue(ip, 1_000, None);
        let text = nonce.as_str().as_bytes();
        assert_eq!(text.len(), COOKIE_LEN + TEXT_LEN);
        assert!(text.starts_with(b"obMatJos2AAAA"));
        assert!(key.is_valid(text, ip, 1_000, LIFETIME, None));
        assert!(key.is_valid(text, ip, 1_599, LIFETIME, None));
        assert!(!key.is_valid(text, ip, 1_600, LIFETIME, None));
        assert!(
            !key.is_valid(text, ip, 999, LIFETIME, None),
            "from the future"
        );
        assert!(key.is_valid(text, ip, 1_000_000, None, None));
        assert!(!key.is_valid(text, "192.0.2.2".parse().unwrap(), 1_000, LIFETIME, None));
        assert!(!key.is_valid(
            text,
            "::ffff:192.0.2.1".parse().unwrap(),
            1_000,
            LIFETIME,
            None
        ));
        assert!(!NonceKey::new([8; 32]).is_valid(text, ip, 1_000, LIFETIME, None));
    }

    #[test]
    fn who_shares_a_secret_accepts_the_others_nonces() {
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        let [here, there, stranger] = ["shared secret", "shared secret", "shared secreT"]
            .map(|s| NonceKey::derive(s.as_bytes()));
        let nonce = here.issue(ip, 1_000, None);
        let text = nonce.as_str().as_bytes();
        assert!(there.is_valid(text, ip, 1_100, LIFETIME, None));
        assert!(!stranger.is_valid(text, ip, 1_100, LIFETIME, None));
        let [first, other] = [0, 16].map(|at| &here.0[at..][..16]);
        assert_ne!(first, other);
        assert_ne!(NonceKey::derive(b""), NonceKey::new([0; 32]));
    }

    #[test]
    fn every_changed_character_is_noticed() {
        let key = NonceKey::new([7; 32]);
        let ip: IpAddr = "2001:db8::1".parse().unwrap();
        let text = key.issue(ip, 5, None).as_str().as_bytes().to_vec();
        for at in 0..text.len() {
            for replacement in [b'!', b'A', b'b', 0xff] {
                let mut changed = text.clone();
                if changed[at] != replacement {
                    changed[at] = replacement;
                    assert!(!key.is_valid(&changed, ip, 5, LIFETIME, None), "at {at}");
                }
            }
        }
        assert!(!key.is_valid(&text[1..], ip, 5, LIFETIME, None));
        assert!(!key.is_valid(b"", ip, 5, LIFETIME, None));
    }
}
