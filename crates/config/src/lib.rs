//! Configuration files, what is wrong with them, and the [`Settings`] they give.
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

pub mod keys;

mod apply;
mod certificate;
mod check;
mod diagnostic;
mod differences;
mod draft;
mod fault;
mod line;
mod peer;
mod secret;
mod settings;
mod turnserver_conf;
mod user;
mod value;

pub use certificate::CertificateFiles;
pub use diagnostic::{Diagnostic, Severity};
pub use peer::{Origin, PeerRule, PeerRules};
pub use secret::Secret;
pub use settings::{
    Alternates, AuthAsked, DefaultFamily, Difference, ExternalIp, LogLevel, LogSettings, LogTarget,
    Settings,
};
pub use turnserver_conf::{Outcome, Override, default_paths, turnserver_conf};
pub use user::{User, UserCredential};
