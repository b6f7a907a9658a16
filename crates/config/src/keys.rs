//! The table of every key that coturn has or ever had, and of Turnbuckle's own: what it takes, what becomes of it here, and its one line of help.
//! Parsing, help and the reference file follow the table; adding a key is adding a row.
//!
//! Must not read lines or hold values: a row names the function that puts a value into the draft.

mod auth;
mod historic;
mod listeners;
mod log;
mod metrics;
mod peers;
mod process;
mod relay;
mod rest;
mod stun;
mod tls;
mod words;

/// The text of [`EXAMPLE_SECRET`], where `concat!` needs a literal.
macro_rules! example_secret {
    () => {
        "replace-with-a-random-text"
    };
}

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::LazyLock;

use crate::draft::Draft;
use crate::fault::Fault;
use crate::nearest::{self, plain};

/// One key of `turnserver.conf`.
#[derive(Debug)]
pub struct Key {
    /// The key as it stands in the file; on the command line it follows two dashes.
    pub name: &'static str,
    /// The one-letter form of the command line.
    pub short: Option<char>,
    /// What becomes of the key in this version.
    pub support: Support,
    /// The value in force where the key is not given, as it would be written in the file; empty if there is none.
    pub default: &'static str,
    /// One line of help, without a full stop.
    pub help: &'static str,
    /// The key may stand more than once and each one counts.
    pub repeats: bool,
    /// The value must never be shown.
    pub secret: bool,
    /// The key is Turnbuckle's own; coturn warns of it and goes on.
    pub own: bool,
    pub(crate) toml: Toml,
    pub(crate) value: Value,
}

impl Key {
    /// What stands for the value in help texts, such as `PORT`; empty for a key that is on or off.
    pub fn placeholder(&self) -> &'static str {
        match self.value {
            Value::Flag(_) | Value::Always(_) => "",
            Value::Number { placeholder, .. } => placeholder,
            Value::Address(_) => "ADDRESS",
            Value::Word(..) => "WORD",
            Value::Syntax(placeholder, _) | Value::Text(placeholder, _) => placeholder,
        }
    }

    /// The unit of a number, such as `s`; empty if it has none.
    pub fn unit(&self) -> &'static str {
        match &self.value {
            Value::Number { unit, .. } => unit,
            _ => "",
        }
    }

    /// The words the value is one of; empty if it is not chosen from a list.
    pub fn words(&self) -> &'static [&'static str] {
        match self.value {
            Value::Word(words, _) => words,
            _ => &[],
        }
    }

    /// A value that can be read, for help texts and reference files: the default if there is one. Secrets and
    /// passwords shown here are refused when read, as they are known to everyone.
    pub fn example(&self) -> &'static str {
        if !self.default.is_empty() {
            return self.default;
        }
        match (self.placeholder(), self.unit()) {
            ("ADDRESS", _) => "192.0.2.1",
            ("PUBLIC[/PRIVATE]", _) => "203.0.113.7",
            ("ADDRESS:PORT", _) => "192.0.2.1:443",
            ("ADDRESS[:PORT]", _) => "192.0.2.1:3478",
            ("ADDRESS[/PREFIX]", _) => "192.0.2.1",
            ("RANGE", _) => "192.168.7.0-192.168.7.255",
            ("PORT", _) if self.name == "tls-proxy-port" => "5351",
            ("PORT", _) => "3481",
            ("NUMBER", "bytes") => "2097152",
            ("NUMBER", _) => "2",
            ("REALM", _) => "example.org",
            ("NAME:PASSWORD", _) => concat!("alice:", example_secret!()),
            ("SECRET" | "PASSWORD", _) => example_secret!(),
            ("CIPHERS", _) => "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384",
            ("FILE", _) if self.name == "cert" => "/etc/turnbuckle/fullchain.pem",
            ("FILE", _) if self.name == "static-auth-secret-file" => "/etc/turnbuckle/secret",
            ("FILE", _) if self.name == "user-file" => "/etc/turnbuckle/users",
            ("FILE", _) if self.name == "pkey" => "/etc/turnbuckle/privkey.pem",
            ("USER" | "GROUP", _) => "turnbuckle",
            ("FILE", _) if self.name == "prometheus-cert" => "/etc/turnbuckle/metrics.pem",
            ("FILE", _) if self.name == "prometheus-key" => "/etc/turnbuckle/metrics.key",
            ("FILE", _) if self.name == "rest-cert" => "/etc/turnbuckle/rest.pem",
            ("FILE", _) if self.name == "rest-pkey" => "/etc/turnbuckle/rest.key",
            ("FILE", _) => "/run/turnbuckle/turnbuckle.pid",
            ("WHERE", _) => "127.0.0.1:9642",
            ("NAME:HASH[,...]", _) => concat!(
                "web:sha256-",
                "0000000000000000000000000000000000000000000000000000000000000000"
            ),
            ("ORIGIN", _) => "https://app.example.org",
            ("DIRECTORY", _) => "/var/lib/turnbuckle",
            _ => "example",
        }
    }

    /// The table and field of `turnbuckle.toml` that holds the value, and whether it is true where the key is 0. `None` for
    /// what is written otherwise there, and for keys without effect.
    pub(crate) fn toml_field(&self) -> Option<(&'static str, &'static str, bool)> {
        if self.support != Support::Built {
            return None;
        }
        static TABLES: LazyLock<BTreeMap<&str, &str>> = LazyLock::new(|| {
            let keys = |section: &'static Section| {
                section.keys.iter().map(|key| (key.name, section.table))
            };
            SECTIONS.iter().flat_map(keys).collect()
        });
        let table = *TABLES.get(self.name)?;
        match self.toml {
            Toml::Same => Some((table, self.name, false)),
            Toml::Named(field) => Some((table, field, false)),
            Toml::Inverted(field, _) => Some((table, field, true)),
            Toml::InvertedElsewhere(table, field, _) => Some((table, field, true)),
            Toml::Within(_) => None,
        }
    }

    /// One line of help for the field of `turnbuckle.toml`, without a full stop.
    pub fn toml_help(&self) -> &'static str {
        match self.toml {
            Toml::Inverted(_, help) | Toml::InvertedElsewhere(_, _, help) => help,
            Toml::Same | Toml::Named(_) | Toml::Within(_) => self.help,
        }
    }

    /// What `turnbuckle.toml` calls it, such as `limits.user-quota`; `None` if it has no effect and no place there.
    pub fn toml_path(&self) -> Option<String> {
        match self.toml {
            Toml::Within(path) if self.support == Support::Built => Some(path.to_owned()),
            _ => self
                .toml_field()
                .map(|(table, field, _)| format!("{table}.{field}")),
        }
    }

    const fn new(
        name: &'static str,
        value: Value,
        support: Support,
        default: &'static str,
        help: &'static str,
    ) -> Self {
        Self {
            name,
            short: None,
            support,
            default,
            help,
            repeats: false,
            secret: false,
            own: false,
            toml: Toml::Same,
            value,
        }
    }

    const fn short(mut self, letter: char) -> Self {
        self.short = Some(letter);
        self
    }

    const fn repeats(mut self) -> Self {
        self.repeats = true;
        self
    }

    const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    const fn own(mut self) -> Self {
        self.own = true;
        self
    }

    const fn toml(mut self, toml: Toml) -> Self {
        self.toml = toml;
        self
    }
}

/// Where `turnbuckle.toml` has what a key says. Keys that are not [`Support::Built`] have no place there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Toml {
    /// The field of the same name in the table of the section.
    Same,
    /// A field of another name in the table of the section.
    Named(&'static str),
    /// A field that is true where the key is 0, and what it is for.
    Inverted(&'static str, &'static str),
    /// The same, in another table.
    InvertedElsewhere(&'static str, &'static str, &'static str),
    /// Part of a list of tables, or of a field that stands for several keys: its path.
    Within(&'static str),
}

/// What becomes of a key in this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It does what it says.
    Built,
    /// What it asks for is always so; accepted silently.
    Met,
    /// Nothing is lost by leaving it out; a note says why.
    Ignored(&'static str),
    /// It has no effect here and the operator may miss it; a warning says why.
    Obsolete(&'static str),
    /// Not built yet; a warning says what is missing.
    Later(&'static str),
    /// Starting without it would drop authentication or open the relay: an error.
    Refused {
        /// Why the server does not start.
        reason: &'static str,
        /// What to do instead.
        help: &'static str,
    },
}

/// Keys that belong together.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// What reference files write above them.
    pub heading: &'static str,
    /// The table of `turnbuckle.toml` that has them.
    pub table: &'static str,
    /// The keys.
    pub keys: &'static [Key],
}

/// Every key, section by section.
pub fn sections() -> &'static [Section] {
    SECTIONS
}

/// Every key, in the order of [`sections`].
pub fn all() -> impl Iterator<Item = &'static Key> {
    SECTIONS.iter().flat_map(|section| section.keys)
}

/// The key of exactly this name; coturn tells upper from lower case.
pub fn find(name: &str) -> Option<&'static Key> {
    static BY_NAME: LazyLock<BTreeMap<&str, &Key>> =
        LazyLock::new(|| all().map(|key| (key.name, key)).collect());
    BY_NAME.get(name).copied()
}

/// The key with this one-letter form.
pub fn find_short(letter: char) -> Option<&'static Key> {
    all().find(|key| key.short == Some(letter))
}

/// The key whose name is most like an unknown one, if any is like it at all.
pub fn nearest(name: &str) -> Option<&'static Key> {
    if let Some(key) = find(name) {
        return Some(key);
    }
    static PLAIN: LazyLock<Vec<(String, &Key)>> =
        LazyLock::new(|| all().map(|key| (plain(key.name), key)).collect());
    nearest::nearest(
        name,
        PLAIN.iter().map(|(plain, key)| (plain.as_str(), *key)),
    )
}

/// What a key takes, and the function its value goes to.
#[derive(Debug)]
pub(crate) enum Value {
    /// On or off; the bare key is on.
    Flag(fn(&mut Draft, bool)),
    /// On whatever the value says, as in coturn.
    Always(fn(&mut Draft)),
    /// A whole number within a range.
    Number {
        range: RangeInclusive<u64>,
        placeholder: &'static str,
        unit: &'static str,
        /// What the bare key means, if it may stand bare.
        bare: Option<u64>,
        set: fn(&mut Draft, u64),
    },
    /// An IPv4 or IPv6 address.
    Address(fn(&mut Draft, IpAddr) -> Result<(), Fault>),
    /// One of a few words.
    Word(&'static [&'static str], fn(&mut Draft, &'static str)),
    /// A form of its own that never ends in a semicolon.
    Syntax(&'static str, Parse),
    /// Free text, in which a semicolon counts.
    Text(&'static str, Parse),
}

pub(crate) type Parse = fn(&mut Draft, &str) -> Result<(), Fault>;

const fn port(set: fn(&mut Draft, u64)) -> Value {
    Value::Number {
        range: 1..=65535,
        placeholder: "PORT",
        unit: "",
        bare: None,
        set,
    }
}

const fn port_or_zero(set: fn(&mut Draft, u64)) -> Value {
    Value::Number {
        range: 0..=65535,
        placeholder: "PORT",
        unit: "",
        bare: None,
        set,
    }
}

const fn seconds(least: u64, bare: Option<u64>, set: fn(&mut Draft, u64)) -> Value {
    Value::Number {
        range: least..=u32::MAX as u64,
        placeholder: "SECONDS",
        unit: "s",
        bare,
        set,
    }
}

const fn number(range: RangeInclusive<u64>, unit: &'static str, set: fn(&mut Draft, u64)) -> Value {
    Value::Number {
        range,
        placeholder: "NUMBER",
        unit,
        bare: None,
        set,
    }
}

/// Takes a value that has been checked and has no effect.
fn unused<T>(_: &mut Draft, _: T) {}

/// Takes a text that has no effect.
fn unread(_: &mut Draft, _: &str) -> Result<(), Fault> {
    Ok(())
}

/// Takes an address that has no effect.
fn unread_address(_: &mut Draft, _: IpAddr) -> Result<(), Fault> {
    Ok(())
}

/// Takes a key that has no effect and no value.
fn unset(_: &mut Draft) {}

const SECTIONS: &[Section] = &[
    section("Listeners and sockets", "server", listeners::KEYS),
    section("Relay endpoints and addresses", "relay", relay::KEYS),
    section("Authentication", "auth", auth::KEYS),
    section("Quotas and bandwidth", "limits", auth::QUOTAS),
    section("Peer access control", "peers", peers::KEYS),
    section("TLS and DTLS", "tls", tls::KEYS),
    section("Logging", "log", log::KEYS),
    section("Metrics and statistics", "metrics", metrics::KEYS),
    section("Credential endpoint", "rest", rest::KEYS),
    section("Redirection", "redirection", metrics::REDIRECTION),
    section(
        "STUN behaviour and protocol compatibility",
        "stun",
        stun::KEYS,
    ),
    section("Process and administration", "process", process::KEYS),
    section(
        "Keys of earlier coturn versions",
        "historic",
        historic::KEYS,
    ),
];

const fn section(heading: &'static str, table: &'static str, keys: &'static [Key]) -> Section {
    Section {
        heading,
        table,
        keys,
    }
}

/// What reference files show in place of a secret.
pub(crate) const EXAMPLE_SECRET: &str = example_secret!();
