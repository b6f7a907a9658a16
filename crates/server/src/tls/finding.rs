//! What an operator should know about a certificate or an option. Owns severity and wording for the log; decides nothing.

use std::fmt;

/// One remark, for the log at start and after a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    /// One line, without a full stop. Holds no secret.
    pub(crate) text: String,
}

/// How bad it is. Whatever it is, the server serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// Worth knowing; nothing is wrong.
    Note,
    /// Some clients are turned away, or will be soon.
    Warning,
    /// Clients that check certificates are turned away.
    Error,
}

impl Finding {
    pub(super) fn note(text: impl Into<String>) -> Self {
        Self::new(Severity::Note, text)
    }

    pub(super) fn warning(text: impl Into<String>) -> Self {
        Self::new(Severity::Warning, text)
    }

    pub(super) fn error(text: impl Into<String>) -> Self {
        Self::new(Severity::Error, text)
    }

    fn new(severity: Severity, text: impl Into<String>) -> Self {
        Self {
            severity,
            text: text.into(),
        }
    }

    /// Writes it into the log at its level.
    pub(crate) fn log(&self) {
        match self.severity {
            Severity::Note => tracing::info!("{}", self.text),
            Severity::Warning => tracing::warn!("{}", self.text),
            Severity::Error => tracing::error!("{}", self.text),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
