//! Static accounts of the long-term mechanism. Owns how `user=` is read; derives no keys, that is the codec's.

use std::fmt;

use crate::fault::Fault;
use crate::opaque::prepared;
use crate::secret::{REDACTED, Secret};

/// A static account (`user`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// What the client sends as USERNAME, prepared by OpaqueString (RFC 8265 §4.2).
    pub name: String,
    /// What it is checked against.
    pub credential: UserCredential,
}

impl User {
    /// Reads `name:password` or `name:0x` and 32 hexadecimal digits. The name ends at the first colon.
    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        let Some((name, rest)) = text.split_once(':') else {
            return Err(
                Fault::new("an account needs a name and a password with a colon between")
                    .help("write `user=name:password`"),
            );
        };
        match rest.strip_prefix("0x") {
            Some(digits) => Self::with_key(name, digits),
            None => Self::with_password(name, rest),
        }
    }

    /// An account with a password.
    pub(crate) fn with_password(name: &str, password: &str) -> Result<Self, Fault> {
        let name = prepared_name(name)?;
        if password.is_empty() {
            return Err(Fault::new("the account has an empty password")
                .help("write `user=name:password`; an empty password would let anyone in"));
        }
        let password = prepared(password, "the password of the account", true)?;
        Ok(Self {
            name,
            credential: UserCredential::Password(Secret::new(password)),
        })
    }

    /// An account with the key made of name, realm and password: 32 hexadecimal digits.
    pub(crate) fn with_key(name: &str, digits: &str) -> Result<Self, Fault> {
        let prepared = prepared_name(name)?;
        if prepared != name {
            return Err(Fault::new(
                "the account has a key, and its name is not as clients send it (RFC 8265 §4.2)",
            )
            .help(
                "write the name in normal form C and make the key of that, or give the password",
            ));
        }
        Ok(Self {
            name: prepared,
            credential: UserCredential::Key(key(digits)?),
        })
    }
}

fn prepared_name(name: &str) -> Result<String, Fault> {
    if name.is_empty() {
        return Err(Fault::new("the account has no name").help("write `user=name:password`"));
    }
    let name = prepared(name, "the name of the account", false)?;
    if name.len() > USERNAME_MAX_BYTES {
        return Err(Fault::new(format!(
            "the account name is longer than {USERNAME_MAX_BYTES} bytes"
        ))
        .help("RFC 8489 §14.3 sets this limit for USERNAME"));
    }
    Ok(name)
}

/// What a static account is checked against.
#[derive(Clone, PartialEq, Eq)]
pub enum UserCredential {
    /// The password, prepared by OpaqueString (RFC 8265 §4.2).
    Password(Secret),
    /// MD5 of `name:realm:password` (RFC 8489 §9.2.2): good only for the realm it was made with.
    Key([u8; 16]),
}

impl fmt::Debug for UserCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "Password(",
            Self::Key(_) => "Key(",
        })?;
        f.write_str(REDACTED)?;
        f.write_str(")")
    }
}

fn key(digits: &str) -> Result<[u8; 16], Fault> {
    let fault = || {
        Fault::new("the key is not 32 hexadecimal digits").help(
            "the key is MD5(name:realm:password); a password that begins with 0x has to be given as such a key",
        )
    };
    if digits.len() != 32 || !digits.is_ascii() {
        return Err(fault());
    }
    let mut key = [0; 16];
    for (byte, pair) in key.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let [high, low] = [pair[0], pair[1]].map(|digit| char::from(digit).to_digit(16));
        let (Some(high), Some(low)) = (high, low) else {
            return Err(fault());
        };
        *byte = (high << 4 | low) as u8;
    }
    Ok(key)
}

/// RFC 8489 §14.3: fewer than 509 bytes.
const USERNAME_MAX_BYTES: usize = 508;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_keeps_colons_and_hashes() {
        let user = User::parse("bob:pass:word#1").unwrap();
        assert_eq!(user.name, "bob");
        assert_eq!(
            user.credential,
            UserCredential::Password(Secret::new("pass:word#1"))
        );
    }

    #[test]
    fn key_is_read_in_either_case() {
        let user = User::parse("ninefingers:0xBC807ee29df3c9ffa736523fb2c4e8ee").unwrap();
        let UserCredential::Key(key) = user.credential else {
            panic!("not a key");
        };
        assert_eq!(key[..3], [0xbc, 0x80, 0x7e]);
        assert_eq!(key[15], 0xee);
    }

    #[test]
    fn broken_accounts_are_refused() {
        let odd = format!("a:0x{}", "é".repeat(16));
        for text in [
            "",
            "bob",
            ":x",
            "bob:",
            "bob:0x12",
            "bob:0xzz807ee29df3c9ffa736523fb2c4e8ee",
            &odd,
        ] {
            assert!(User::parse(text).is_err(), "{text}");
        }
        assert!(User::parse(&format!("{}:x", "n".repeat(509))).is_err());
        assert!(User::parse(&format!("{}:x", "n".repeat(508))).is_ok());
    }

    #[test]
    fn names_and_passwords_are_prepared() {
        let decomposed = User::parse("Ju\u{308}rgen:Ko\u{308}ln\u{a0}1").unwrap();
        let composed = User::parse("J\u{fc}rgen:K\u{f6}ln 1").unwrap();
        assert_eq!(decomposed, composed);
        // Of a key nobody knows which name it was made with.
        let key = "0xbc807ee29df3c9ffa736523fb2c4e8ee";
        assert!(User::parse(&format!("Ju\u{308}rgen:{key}")).is_err());
        assert!(User::parse(&format!("J\u{fc}rgen:{key}")).is_ok());
        for bad in ["b\u{200b}ob:x", "bob:x\u{200b}", "bob:x\ty"] {
            let fault = User::parse(bad).unwrap_err();
            assert!(fault.message.contains("RFC 8265"), "{}", fault.message);
        }
    }

    #[test]
    fn debug_shows_no_credential() {
        for text in ["bob:hunter2", "bob:0xbc807ee29df3c9ffa736523fb2c4e8ee"] {
            let shown = format!("{:?}", User::parse(text).unwrap());
            assert!(shown.contains("[secret]"), "{shown}");
            assert!(
                !shown.contains("hunter2") && !shown.contains("188"),
                "{shown}"
            );
        }
    }
}
