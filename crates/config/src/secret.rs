//! Text that must not be printed. Owns the redaction and the wiping; knows nothing of what the text is for.

use std::fmt;

use zeroize::Zeroize;

/// A shared secret or a password: wiped from memory when dropped, shown as `[secret]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text; it is not trimmed or changed.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for computing with. Must not reach a log, a diagnostic or an error.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

/// What is shown in place of a secret.
pub(crate) const REDACTED: &str = "[secret]";
