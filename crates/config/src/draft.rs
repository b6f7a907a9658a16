//! Settings while they are being read: what has been given so far, where, and what is wrong with it.
//!
//! Owns the findings and the places; the rules that span several keys are in `check`.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::PathBuf;

use crate::diagnostic::{Diagnostic, Severity};
use crate::fault::Fault;
use crate::keys::{self, Key};
use crate::listener::{DEFAULT_PORT, DEFAULT_TLS_PORT, Listener};
use crate::metrics::MetricsDraft;
use crate::peer::PeerRule;
use crate::rest::RestDraft;
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
    pub(crate) listen: Listen,
    /// Every listener with the key it comes from, once they are known.
    pub(crate) planned: Vec<(Listener, &'static str)>,
    pub(crate) min_port: Option<u16>,
    pub(crate) max_port: Option<u16>,
    /// Files of `cert`, in order.
    pub(crate) certs: Vec<(PathBuf, Place)>,
    /// Files of `pkey`, in order.
    pub(crate) keys: Vec<(PathBuf, Place)>,
    pub(crate) key_password: Option<Secret>,
    /// Files of `static-auth-secret-file`, in order.
    pub(crate) secret_files: Vec<(PathBuf, Place)>,
    /// Files of `user-file`, in order.
    pub(crate) user_files: Vec<(PathBuf, Place)>,
    /// The peer rules of a TOML file, in order: whether each opens its range.
    pub(crate) peer_rules: Vec<(bool, PeerRule)>,
    /// The level that a TOML file names.
    pub(crate) level: Option<LogLevel>,
    pub(crate) format: Format,
    pub(crate) rfc5780: bool,
    /// `alt-listening-port`; 0 is the port behind `listening-port`.
    pub(crate) alt_listening_port: Option<u16>,
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
    pub(crate) metrics: MetricsDraft,
    pub(crate) rest: RestDraft,
    pub(crate) threads: Option<usize>,
    pub(crate) cpus: Option<usize>,
    /// Options of another server that no key stands for, in order.
    pub(crate) left_out: Vec<LeftOut>,
    /// Another server would let clients reach private ranges.
    #[cfg(feature = "eturnal")]
    pub(crate) opens_special_peers: bool,
}

impl Draft {
    pub(crate) fn new(format: Format) -> Self {
        Self {
            format,
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
        let mut help = help.to_owned();
        if self.format != Format::Conf {
            message = words_of(self.format, &message);
            help = words_of(self.format, &help);
        }
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
            help: (!help.is_empty()).then_some(help),
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

/// What the keys about listeners say, each on its own.
pub(crate) struct Listen {
    pub(crate) port: u16,
    pub(crate) tls_port: u16,
    pub(crate) ips: Vec<IpAddr>,
    pub(crate) aux: Vec<SocketAddr>,
    pub(crate) udp: bool,
    pub(crate) tcp: bool,
    pub(crate) tcp_proxy_port: Option<u16>,
    pub(crate) tls_proxy_port: Option<u16>,
    /// The list of a TOML file, which stands in place of all of these.
    pub(crate) list: Option<Vec<Listener>>,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            port: DEFAULT_PORT,
            tls_port: DEFAULT_TLS_PORT,
            ips: Vec::new(),
            aux: Vec::new(),
            udp: true,
            tcp: true,
            tcp_proxy_port: None,
            tls_proxy_port: None,
            list: None,
        }
    }
}

/// Which format is being read; messages name things as it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// `turnserver.conf`.
    #[default]
    Conf,
    /// `turnbuckle.toml`.
    Toml,
    /// `eturnal.yml`.
    Eturnal,
}

impl Format {
    /// Whose file it is, where it is that of another server.
    pub(crate) const fn other_server(self) -> Option<&'static str> {
        match self {
            Self::Conf => Some("coturn"),
            Self::Eturnal => Some("eturnal"),
            Self::Toml => None,
        }
    }
}

/// An option of another server that no key stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeftOut {
    pub(crate) name: String,
    pub(crate) place: Place,
    /// Why nothing becomes of it.
    pub(crate) reason: &'static str,
}

/// A known key that was given.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    pub(crate) key: &'static Key,
    pub(crate) place: Place,
    /// The value as `turnserver.conf` would have it; empty for a bare key.
    pub(crate) text: Secret,
    /// The option of another server that it stands for: its name and what it is for.
    pub(crate) option: Option<(&'static str, &'static str)>,
}

impl PartialEq for Given {
    fn eq(&self, other: &Self) -> bool {
        (self.key.name, &self.place, &self.text) == (other.key.name, &other.place, &other.text)
    }
}

/// A sentence with each key between backticks under the name that the format has for it.
fn words_of(format: Format, text: &str) -> String {
    let word = |word: &str| -> Option<String> {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        let key = keys::find(name)?;
        let option = ETURNAL_OPTIONS.iter().find(|(key, _)| *key == name);
        if let Some((_, option)) = option.filter(|_| format == Format::Eturnal) {
            return Some(match value {
                None => (*option).to_owned(),
                Some(value) => format!("{option}: {value}"),
            });
        }
        let path = key.toml_path()?;
        let inverted = key.toml_field().is_some_and(|(_, _, inverted)| inverted);
        Some(match value {
            None if inverted => format!("{path} = false"),
            None => path,
            Some("") => format!("{path} ="),
            Some(value) if value.parse::<u64>().is_ok() => format!("{path} = {value}"),
            Some(value) => format!("{path} = \"{value}\""),
        })
    };
    text.split('`')
        .zip([false, true].into_iter().cycle())
        .map(|(part, quoted)| match word(part).filter(|_| quoted) {
            Some(word) => word,
            None => part.to_owned(),
        })
        .collect::<Vec<_>>()
        .join("`")
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

/// The options of eturnal that do what a key does.
const ETURNAL_OPTIONS: [(&str, &str); 13] = [
    ("listening-port", "listen"),
    ("tls-listening-port", "listen"),
    ("listening-ip", "listen"),
    ("min-port", "relay_min_port"),
    ("max-port", "relay_max_port"),
    ("static-auth-secret", "secret"),
    ("use-auth-secret", "secret"),
    ("lt-cred-mech", "credentials"),
    ("user", "credentials"),
    ("cert", "tls_crt_file"),
    ("pkey", "tls_key_file"),
    ("allowed-peer-ip", "whitelist_peers"),
    ("denied-peer-ip", "blacklist_peers"),
];
