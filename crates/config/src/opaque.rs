//! Names, passwords and realms as RFC 8489 has them on the wire: prepared by the OpaqueString profile (RFC 8265 §4.2).
//!
//! Owns what is refused and how that is said. What clients send is not prepared anywhere: they have to, and it is compared byte
//! for byte.

use precis_profiles::OpaqueString;
use precis_profiles::precis_core::Error;
use precis_profiles::precis_core::profile::Profile;

use crate::fault::Fault;

/// The text as it is compared and hashed: in normal form C, with other spaces as U+0020. Upper and lower case stay, and so
/// do letters that only look alike.
///
/// Refused are an empty text, control characters, code points without a look of their own (but for joiners where RFC 5892 allows
/// them), those for private use, and those that Unicode 6.3 had not assigned, which is the version that the registry of RFC 8264
/// is for. `what` is the subject of the message, and `is_secret` keeps the text out of it.
// compliance: 8489-14.4-01, 8489-14.9-02, 8489-9.2.2-01
pub fn opaque_string(text: &str, what: &str, is_secret: bool) -> Result<String, String> {
    // Nothing in ASCII changes but that controls are refused.
    if !text.is_empty() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Ok(text.to_owned());
    }
    match OpaqueString::new().enforce(text) {
        Ok(prepared) => Ok(prepared.into_owned()),
        Err(error) => Err(match error {
            Error::BadCodepoint(found) if !is_secret => format!(
                "{what} holds U+{:04X}, which RFC 8265 §4.2 does not allow",
                found.cp
            ),
            Error::BadCodepoint(_) => {
                format!("{what} holds a character that RFC 8265 §4.2 does not allow")
            }
            _ => format!("{what} is not what RFC 8265 §4.2 allows"),
        }),
    }
}

/// As [`opaque_string`], for a value of a configuration.
pub(crate) fn prepared(text: &str, what: &str, is_secret: bool) -> Result<String, Fault> {
    opaque_string(text, what, is_secret).map_err(|message| {
        Fault::new(message).help(
            "clients prepare names, passwords and realms as that section says and refuse what it forbids: control characters, \
             characters that cannot be seen, private ones and those newer than Unicode 6.3",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepare(text: &str) -> Result<String, String> {
        opaque_string(text, "the name", false)
    }

    // compliance: 8489-14.4-01, 8489-14.9-02, 8489-9.2.2-01
    #[test]
    fn composed_and_decomposed_are_one() {
        for (written, expected) in [
            ("alice", "alice"),
            ("J\u{fc}rgen", "J\u{fc}rgen"),
            ("Ju\u{308}rgen", "J\u{fc}rgen"),
            // Ångström, and the sign for the unit.
            ("A\u{30a}", "\u{c5}"),
            ("\u{212b}", "\u{c5}"),
            // Two marks in either order.
            ("q\u{307}\u{323}", "q\u{323}\u{307}"),
            // Spaces become the one of ASCII: no-break, ideographic.
            ("a\u{a0}b", "a b"),
            ("a\u{3000}b", "a b"),
            // Case and width stay.
            ("\u{c4}\u{ff21}", "\u{c4}\u{ff21}"),
            ("\u{3c0}\u{df}\u{e5}", "\u{3c0}\u{df}\u{e5}"),
            ("pa:ss w\u{f6}rd ", "pa:ss w\u{f6}rd "),
        ] {
            assert_eq!(prepare(written).as_deref(), Ok(expected), "{written:?}");
        }
    }

    #[test]
    fn what_nobody_can_type_or_see_is_refused() {
        for bad in [
            "",
            "a\tb",
            "a\0",
            "a\u{7f}",
            "a\u{85}b",
            // Soft hyphen, zero-width space, direction marks, byte order mark.
            "a\u{ad}b",
            "a\u{200b}b",
            "a\u{202e}b",
            "\u{feff}a",
            // A joiner where nothing is to be joined.
            "a\u{200d}b",
            // Hangul in pieces: refused before they could be composed (RFC 8264 §9.9).
            "\u{1112}\u{1161}",
            // Private use, never a character, not assigned.
            "\u{e000}",
            "\u{fdd0}",
            "\u{378}",
        ] {
            assert!(prepare(bad).is_err(), "{bad:?}");
        }
        assert_eq!(
            prepare("a\u{200b}").unwrap_err(),
            "the name holds U+200B, which RFC 8265 §4.2 does not allow"
        );
        let secret = opaque_string("a\u{200b}", "the password", true).unwrap_err();
        assert!(!secret.contains("200"), "{secret}");
    }
}
