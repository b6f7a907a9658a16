//! Why a command failed and what to do about it. Owns the layout on standard error; never holds a secret.

use std::fmt;

/// A failure, as the operator gets to see it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    message: String,
    help: Option<String>,
    /// Findings about a file, laid out already.
    findings: String,
    /// The exit status.
    status: u8,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: None,
            findings: String::new(),
            status: 1,
        }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Another exit status than 1.
    pub(crate) fn exit(mut self, status: u8) -> Self {
        self.status = status;
        self
    }

    /// What was wrong, and what to do.
    pub(crate) fn into_parts(self) -> (String, Option<String>) {
        (self.message, self.help)
    }

    pub(crate) const fn status(&self) -> u8 {
        self.status
    }

    pub(crate) fn findings(mut self, findings: String) -> Self {
        self.findings = findings;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.findings)?;
        writeln!(f, "error: {}", self.message)?;
        match &self.help {
            Some(help) => writeln!(f, " = help: {help}"),
            None => Ok(()),
        }
    }
}
