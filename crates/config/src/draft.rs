//! Settings while they are being read: what has been given so far, where, and what is wrong with it.
//!
//! Owns the findings and the places; the rules that span several keys are in `check`.

use std::ops::Range;
use std::path::PathBuf;

use crate::diagnostic::{Diagnostic, Severity};
use crate::fault::Fault;
use crate::keys::Key;
use crate::secret::Secret;
use crate::settings::{LogLevel, Settings};

/// Settings being read, with what only makes sense once every key is known.
#[derive(Default)]
pub(crate) struct Draft {
    pub(crate) settings: Settings,
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// Where the key being read stands.
    pub(crate) place: Place,
    pub(crate) given: Vec<Given>,
    pub(crate) min_port: Option<u16>,
    pub(crate) max_port: Option<u16>,
    /// Files of `cert`, in order.
    pub(crate) certs: Vec<(PathBuf, Place)>,
    /// Files of `pkey`, in order.
    pub(crate) keys: Vec<(PathBuf, Place)>,
    pub(crate) key_password: Option<Secret>,
    pub(crate) long_term: bool,
    pub(crate) secret: bool,
    pub(crate) keep_family: bool,
    pub(crate) family: Option<&'static str>,
    pub(crate) unauthorized_limit: bool,
    pub(crate) unauthorized_rate: Option<u32>,
    pub(crate) verbose: bool,
    pub(crate) extra_verbose: bool,
    pub(crate) min_level: Option<LogLevel>,
    pub(crate) log_file: Option<PathBuf>,
    pub(crate) syslog: bool,
    pub(crate) threads: Option<usize>,
    pub(crate) cpus: Option<usize>,
}

impl Draft {
    pub(crate) fn new() -> Self {
        Self {
            unauthorized_limit: true,
            ..Self::default()
        }
    }

    /// Adds a finding about the key being read.
    pub(crate) fn report(&mut self, severity: Severity, message: impl Into<String>, help: &str) {
        let place = self.place.clone();
        self.report_at(&place, severity, message, help);
    }

    /// Adds a finding about bytes of the line being read.
    pub(crate) fn report_span(
        &mut self,
        span: Range<usize>,
        severity: Severity,
        message: impl Into<String>,
        help: &str,
    ) {
        let place = Place {
            span,
            ..self.place.clone()
        };
        self.report_at(&place, severity, message, help);
    }

    /// Adds a finding about a place met earlier; an empty help is none.
    pub(crate) fn report_at(
        &mut self,
        place: &Place,
        severity: Severity,
        message: impl Into<String>,
        help: &str,
    ) {
        let mut message = message.into();
        let (file, line) = match &place.origin {
            PlaceOrigin::File(file, line) => (Some(file.clone()), Some(*line)),
            PlaceOrigin::CommandLine(key) => {
                message.insert_str(0, &format!("`--{key}` on the command line: "));
                (None, None)
            }
            PlaceOrigin::Nowhere => (None, None),
        };
        self.diagnostics.push(Diagnostic {
            severity,
            file,
            line,
            span: place.span.clone(),
            message,
            help: (!help.is_empty()).then(|| help.to_owned()),
            hidden: place.hidden.clone(),
        });
    }

    /// Adds a value that cannot be read as an error about the key being read.
    pub(crate) fn report_fault(&mut self, fault: Fault) {
        self.report(
            Severity::Error,
            fault.message,
            fault.help.as_deref().unwrap_or_default(),
        );
    }

    /// Where a key was given, the last time if more than once; nowhere if it was not.
    pub(crate) fn place_of(&self, name: &str) -> Place {
        self.last_given(name)
            .map(|given| given.place.clone())
            .unwrap_or_default()
    }

    /// Whether a key was given.
    pub(crate) fn is_given(&self, name: &str) -> bool {
        self.last_given(name).is_some()
    }

    /// How many times a key was given, readable or not.
    pub(crate) fn times_given(&self, name: &str) -> usize {
        self.given
            .iter()
            .filter(|given| given.key.name == name)
            .count()
    }

    /// Whether any key was given in a file.
    pub(crate) fn has_file(&self) -> bool {
        self.given.iter().any(|given| given.place.line().is_some())
    }

    pub(crate) fn last_given(&self, name: &str) -> Option<&Given> {
        self.given.iter().rev().find(|given| given.key.name == name)
    }
}

/// A known key that was given.
#[derive(Clone)]
pub(crate) struct Given {
    pub(crate) key: &'static Key,
    pub(crate) place: Place,
    /// The value as written; absent where it is secret.
    pub(crate) text: Option<String>,
}

/// Where a finding belongs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) origin: PlaceOrigin,
    /// Bytes of the line.
    pub(crate) span: Range<usize>,
    /// Bytes of the line that must not be shown.
    pub(crate) hidden: Option<Range<usize>>,
}

impl Place {
    /// The line in the file, if it is in a file.
    pub(crate) fn line(&self) -> Option<u32> {
        match self.origin {
            PlaceOrigin::File(_, line) => Some(line),
            PlaceOrigin::CommandLine(_) | PlaceOrigin::Nowhere => None,
        }
    }
}

/// The file or the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum PlaceOrigin {
    /// No key in particular.
    #[default]
    Nowhere,
    /// The command line, with the key.
    CommandLine(String),
    /// A file and its line, counted from 1.
    File(PathBuf, u32),
}
