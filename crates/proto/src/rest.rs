//! Time-limited credentials, as the TURN REST draft and its many issuers make them.
//!
//! Owns the forms of the user name and the password that goes with it. It must not know what time it is
//! or which secrets are configured.

use std::fmt;
use std::str;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use zeroize::Zeroizing;

/// What a time-limited user name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RestUsername<'a> {
    /// When it expires, in seconds since 1970-01-01 00:00 UTC; any `u64`, so add to it only checked.
    pub expiry: u64,
    /// The part that stays the same from one credential to the next, for quotas; `None` if there is none
    /// or it is empty.
    pub user: Option<&'a str>,
}

/// Reads a time-limited user name: `<expiry>`, `<expiry>:<user>` with any further separators in the
/// user, or `<user>:<expiry>`. An expiry is digits, possibly with a fraction that is dropped. The first
/// part wins if both could be one.
///
/// `None` for all other names, also if the digits are no `u64`.
pub fn parse(username: &str, separator: char) -> Option<RestUsername<'_>> {
    let (first, rest) = match username.split_once(separator) {
        Some((first, rest)) => (first, Some(rest)),
        None => (username, None),
    };
    if let Some(digits) = whole_seconds(first) {
        return Some(RestUsername {
            expiry: digits.parse().ok()?,
            user: rest.filter(|user| !user.is_empty()),
        });
    }
    let (user, last) = username.rsplit_once(separator)?;
    Some(RestUsername {
        expiry: whole_seconds(last)?.parse().ok()?,
        user: Some(user).filter(|user| !user.is_empty()),
    })
}

/// The name for a credential: `<expiry>` or `<expiry>:<suffix>`, with `separator` for the colon.
pub fn username(expiry: u64, suffix: Option<&str>, separator: char) -> String {
    match suffix {
        Some(suffix) => format!("{expiry}{separator}{suffix}"),
        None => expiry.to_string(),
    }
}

/// The password for a name: base64(HMAC-SHA1(secret, username)).
// compliance: 8489-9.2-04
pub fn password(secret: &[u8], username: &str) -> RestPassword {
    let mut hmac = crate::integrity::keyed::<Hmac<Sha1>>(secret);
    hmac.update(username.as_bytes());
    let mut password = RestPassword(Zeroizing::new([0; PASSWORD_LEN]));
    let written = STANDARD.encode_slice(hmac.finalize().into_bytes(), password.0.as_mut_slice());
    debug_assert_eq!(written, Ok(PASSWORD_LEN));
    password
}

/// A password of 28 ASCII characters. Wiped when dropped, not shown by `Debug`.
#[derive(Clone)]
pub struct RestPassword(Zeroizing<[u8; PASSWORD_LEN]>);

impl RestPassword {
    /// The characters.
    pub fn as_str(&self) -> &str {
        str::from_utf8(self.0.as_slice()).unwrap_or_default()
    }
}

impl fmt::Debug for RestPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RestPassword(..)")
    }
}

/// The digits before a fraction if `part` is a number, else `None`.
fn whole_seconds(part: &str) -> Option<&str> {
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = match part.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (part, None),
    };
    (is_digits(whole) && fraction.is_none_or(is_digits)).then_some(whole)
}

const PASSWORD_LEN: usize = 28;

#[cfg(test)]
mod tests {
    use super::*;

    fn name(expiry: u64, user: Option<&str>) -> Option<RestUsername<'_>> {
        Some(RestUsername { expiry, user })
    }

    #[test]
    fn forms_of_all_issuers() {
        for (username, expected) in [
            ("1700000000", name(1_700_000_000, None)),
            ("1700000000:user", name(1_700_000_000, Some("user"))),
            (
                "1700000000:@user:server.org",
                name(1_700_000_000, Some("@user:server.org")),
            ),
            ("1700000000:PA_xxxx", name(1_700_000_000, Some("PA_xxxx"))),
            ("1700000000:a+/=", name(1_700_000_000, Some("a+/="))),
            ("user:1700000000", name(1_700_000_000, Some("user"))),
            (
                "@user:server.org:1700000000",
                name(1_700_000_000, Some("@user:server.org")),
            ),
            ("1700000000.5:u", name(1_700_000_000, Some("u"))),
            ("1700000000.999", name(1_700_000_000, None)),
            ("u:1700000000.5", name(1_700_000_000, Some("u"))),
            ("1700000000:", name(1_700_000_000, None)),
            (":1700000000", name(1_700_000_000, None)),
            ("1700000000::", name(1_700_000_000, Some(":"))),
            (
                "1700000000:1800000000",
                name(1_700_000_000, Some("1800000000")),
            ),
            ("0:u", name(0, Some("u"))),
            ("0001:u", name(1, Some("u"))),
            ("1700000000:ü", name(1_700_000_000, Some("ü"))),
            ("18446744073709551615:x", name(u64::MAX, Some("x"))),
            ("x:18446744073709551615", name(u64::MAX, Some("x"))),
        ] {
            assert_eq!(parse(username, ':'), expected, "{username}");
        }
    }

    #[test]
    fn names_that_are_none() {
        for username in [
            "",
            ":",
            "::",
            "user",
            "user:name",
            "user:",
            "18446744073709551616:x",
            "18446744073709551616",
            "x:18446744073709551616",
            "18446744073709551616:1700000000",
            "-1:x",
            "+1:x",
            " 1:x",
            "1e9:x",
            "0x10:x",
            "1.:x",
            ".5:x",
            "1.2.3:x",
            "١٢٣:x",
            "user:1700000000:more",
        ] {
            assert_eq!(parse(username, ':'), None, "{username}");
        }
    }

    #[test]
    fn other_separators() {
        assert_eq!(
            parse("1700000000|a:b", '|'),
            name(1_700_000_000, Some("a:b"))
        );
        assert_eq!(parse("1700000000:a", '|'), None);
        assert_eq!(parse("1700000000.u", '.'), name(1_700_000_000, Some("u")));
        assert_eq!(parse("1700000000§u", '§'), name(1_700_000_000, Some("u")));
        for separator in [':', '|', '§'] {
            for suffix in [None, Some("u"), Some("a:b|c")] {
                let username = username(42, suffix, separator);
                assert_eq!(parse(&username, separator), name(42, suffix), "{username}");
            }
        }
    }

    // compliance: 8489-9.2-04
    #[test]
    fn password_of_openssl() {
        // printf %s 1700000000:alice | openssl dgst -sha1 -hmac secret -binary | base64
        let password = password(b"secret", "1700000000:alice");
        assert_eq!(password.as_str(), "d8soP47RbdIKLDUOpnJPVQyq5Ts=");
        assert_eq!(format!("{password:?}"), "RestPassword(..)");
    }
}
