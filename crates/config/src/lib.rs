//! Configuration files, what is wrong with them, and the [`Settings`] they give.
//!
//! There are two formats, `turnserver.conf` as coturn has it and `turnbuckle.toml`, and one table of keys behind both. With the
//! feature `eturnal` the file of that server is read for a review or a conversion.
//!
//! Owns the text formats, every default and every diagnostic. Must not open a file or a socket, read a clock, or look
//! a name up: text goes in, values come out, so that a file can be checked on any host.
//!
//! ```
//! use std::path::Path;
//!
//! use turnbuckle_config::turnserver_conf;
//!
//! let source = "realm=example.org\nlistening-prot=3479\n";
//! let outcome = turnserver_conf(Path::new("turnserver.conf"), source, &[]);
//! let settings = outcome.settings.expect("a misspelled key is a warning");
//! assert_eq!(settings.realm.as_deref(), Some("example.org"));
//! assert_eq!(outcome.diagnostics[0].help.as_deref(), Some("did you mean `listening-port`?"));
//! print!("{}", outcome.diagnostics[0].render(source, false));
//! ```

#![forbid(unsafe_code)]

#[cfg(feature = "clap")]
pub mod command_line;
pub mod keys;

mod account_database;
mod apply;
mod certificate;
mod changes;
mod check;
mod diagnostic;
mod differences;
mod draft;
mod effective;
mod endpoint;
#[cfg(feature = "eturnal")]
mod eturnal;
mod facility;
mod fault;
mod files;
mod line;
mod listener;
mod metrics;
mod nearest;
mod opaque;
mod outcome;
mod peer;
mod process;
mod rest;
mod review;
mod secret;
mod settings;
mod toml_text;
mod turnbuckle_toml;
mod turnserver_conf;
mod units;
mod user;
mod value;

pub use certificate::CertificateFiles;
pub use changes::{Applies, Change};
pub use diagnostic::{Diagnostic, Severity};
pub use effective::{Field, FieldSource, FieldValue};
pub use endpoint::{Endpoint, Endpoints, Host, endpoints};
pub use facility::SyslogFacility;
pub use files::Files;
pub use listener::{Listener, Transport};
pub use metrics::MetricsSettings;
pub use opaque::opaque_string;
pub use outcome::{Outcome, default_paths, read, read_alone};
pub use peer::{Origin, PeerRule, PeerRules};
pub use process::ProcessName;
pub use rest::{ApiKey, RestDoor, RestSettings};
pub use review::{Reading, Verdict};
pub use secret::Secret;
pub use settings::{
    AdminSocket, Alternates, AuthAsked, DefaultFamily, Difference, ExternalIp, LogFormat, LogLevel,
    LogPrivacy, LogSettings, LogTarget, NatDiscovery, Settings, StrictExpiry,
};
pub use turnbuckle_toml::turnbuckle_toml;
pub use turnserver_conf::{Override, turnserver_conf};
pub use units::rate_in_words;
pub use user::{User, UserCredential};
