//! What is in force and where it comes from, field by field as `turnbuckle.toml` has them. Owns the way back from settings
//! to values; the text is laid out in `toml_text`.

use crate::draft::Given;
use crate::keys::{self, Key, Toml, Value};
use crate::listener::Listener;
use crate::outcome::Outcome;
use crate::peer::{Origin, PeerRule};
use crate::secret::Secret;
use crate::settings::{DefaultFamily, LogLevel, Settings};
use crate::turnbuckle_toml::fields;
use crate::units;
use crate::user::UserCredential;
use crate::value;

/// One field of `turnbuckle.toml` with its value in force.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its table; empty for `listeners`.
    pub table: &'static str,
    /// Its name within the table.
    pub name: &'static str,
    /// What it is for, one line without a full stop.
    pub help: &'static str,
    /// The value.
    pub value: FieldValue,
    /// Where the value comes from.
    pub source: FieldSource,
}

/// A value as TOML can hold it.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldValue {
    /// There is none; the server chooses or does without.
    Unset,
    /// True or false.
    Flag(bool),
    /// A plain number.
    Number(u64),
    /// A text, durations and rates with their units among them.
    Text(String),
    /// A text that must not be shown unasked.
    Secret(Secret),
    /// Several of one kind.
    List(Vec<Self>),
    /// A list of tables, each with its fields.
    Tables(Vec<Vec<(&'static str, Self)>>),
}

/// Where a value in force comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldSource {
    /// Nothing was said about it.
    Default,
    /// These lines of the file.
    Lines(Vec<u32>),
    /// The command line.
    CommandLine,
}

impl Outcome {
    /// Every field with its value in force, table by table; `None` where errors leave nothing in force.
    pub fn effective(&self) -> Option<Vec<Field>> {
        let settings = self.settings.as_ref()?;
        let mut all = vec![Field {
            table: "",
            name: "listeners",
            help: "Where clients are served: every address of the host where `address` is left out",
            value: FieldValue::Tables(listeners(&settings.listeners)),
            source: self.source_within("listeners"),
        }];
        for section in keys::sections() {
            for (key, name, inverted) in fields(section) {
                all.push(self.field(section.table, key, name, inverted, settings));
            }
            all.extend(self.list(section.table, settings));
        }
        Some(all)
    }

    fn field(
        &self,
        table: &'static str,
        key: &'static Key,
        name: &'static str,
        inverted: bool,
        settings: &Settings,
    ) -> Field {
        let path = format!("{table}.{name}");
        let given: Vec<&Given> = self
            .given
            .iter()
            .filter(|given| given.key.name == key.name)
            .collect();
        let value = match (key.name, given.last()) {
            ("relay-ip", _) => texts(settings.relay_ips.iter()),
            ("external-ip", _) => texts(settings.external_ips.iter().map(|external| {
                let private = external.private.map(|private| format!("/{private}"));
                format!("{}{}", external.public, private.unwrap_or_default())
            })),
            ("proxy-trusted", _) => texts(settings.proxy_trusted.iter()),
            // `no-software-attribute` has no field of its own.
            ("software-attribute", _) => FieldValue::Flag(settings.software_attribute),
            ("relay-threads", _) => settings.shards.map_or(FieldValue::Unset, |shards| {
                FieldValue::Number(shards.get() as u64)
            }),
            ("allocation-default-address-family", _) => FieldValue::Text(
                match settings.default_family {
                    DefaultFamily::Ipv4 => "ipv4",
                    DefaultFamily::Ipv6 => "ipv6",
                    DefaultFamily::Keep => "keep",
                }
                .to_owned(),
            ),
            (_, Some(_)) if key.repeats => {
                let mut values = Vec::new();
                for given in &given {
                    let value = value_of(key, given.text.expose(), inverted);
                    if !values.contains(&value) {
                        values.push(value);
                    }
                }
                FieldValue::List(values)
            }
            (_, Some(given)) => value_of(key, given.text.expose(), inverted),
            (_, None) if key.default.is_empty() => FieldValue::Unset,
            (_, None) => default_of(key, inverted),
        };
        let mut source = source(&given, key.repeats);
        if source == FieldSource::Default {
            source = self.source_within(&path);
        }
        Field {
            table,
            name,
            help: key.toml_help(),
            value,
            source,
        }
    }

    /// The lists of tables and the like that stand in this table.
    fn list(&self, table: &'static str, settings: &Settings) -> Option<Field> {
        let (name, help, value) = match table {
            "auth" => (
                "users",
                "Static accounts",
                FieldValue::Tables(users(settings)),
            ),
            "tls" => (
                "certificates",
                "Certificates; the name that a client asks for chooses",
                FieldValue::Tables(certificates(settings)),
            ),
            "peers" => (
                "rules",
                "Which peers are opened and refused; the first rule that matches decides",
                FieldValue::Tables(rules(settings)),
            ),
            "log" => (
                "level",
                "Least severe line that is logged",
                FieldValue::Text(level(settings.log.level).to_owned()),
            ),
            _ => return None,
        };
        Some(Field {
            table,
            name,
            help,
            value,
            source: self.source_within(&format!("{table}.{name}")),
        })
    }

    /// The source of what several keys make up together.
    fn source_within(&self, path: &str) -> FieldSource {
        let within = |given: &&Given| matches!(given.key.toml, Toml::Within(of) if of == path);
        let given: Vec<&Given> = self.given.iter().filter(within).collect();
        source(&given, true)
    }
}

/// The value where a key with a default, or with an example for one, is not given.
pub(crate) fn default_of(key: &Key, inverted: bool) -> FieldValue {
    match key.value {
        Value::Always(_) => FieldValue::Flag(false),
        _ => value_of(key, key.example(), inverted),
    }
}

/// The value of one key, from its text in `turnserver.conf`.
pub(crate) fn value_of(key: &Key, text: &str, inverted: bool) -> FieldValue {
    match &key.value {
        Value::Flag(_) => {
            let on = text.is_empty() || value::first_letter_boolean(text) == Some(true);
            FieldValue::Flag(on != inverted)
        }
        Value::Always(_) => FieldValue::Flag(true),
        Value::Number { unit, bare, .. } => {
            let number = match (text.parse(), bare) {
                (Ok(number), _) => number,
                (Err(_), Some(bare)) => *bare,
                (Err(_), None) => return FieldValue::Unset,
            };
            match (*unit, number) {
                ("s", _) => FieldValue::Text(units::seconds_text(number)),
                ("bytes" | "bytes/s", 0) => FieldValue::Number(0),
                ("bytes", _) => FieldValue::Text(units::bytes_text(number)),
                ("bytes/s", _) => FieldValue::Text(units::rate_text(number)),
                _ => FieldValue::Number(number),
            }
        }
        Value::Word(words, _) => {
            let word = words.iter().find(|word| word.eq_ignore_ascii_case(text));
            FieldValue::Text(word.map_or(text, |word| word).to_owned())
        }
        _ if key.secret => FieldValue::Secret(Secret::new(text)),
        _ => FieldValue::Text(text.to_owned()),
    }
}

fn source(given: &[&Given], all_count: bool) -> FieldSource {
    let in_force = if all_count {
        0
    } else {
        given.len().saturating_sub(1)
    };
    let in_force = given.get(in_force..).unwrap_or_default();
    let mut lines: Vec<u32> = in_force
        .iter()
        .filter_map(|given| given.place.line())
        .collect();
    lines.sort_unstable();
    lines.dedup();
    match (in_force.is_empty(), lines.is_empty()) {
        (true, _) => FieldSource::Default,
        (false, true) => FieldSource::CommandLine,
        (false, false) => FieldSource::Lines(lines),
    }
}

fn texts(items: impl Iterator<Item = impl ToString>) -> FieldValue {
    let items: Vec<_> = items
        .map(|item| FieldValue::Text(item.to_string()))
        .collect();
    if items.is_empty() {
        FieldValue::Unset
    } else {
        FieldValue::List(items)
    }
}

/// Listeners put together again: first those of one address and port, then those that differ in the address alone.
fn listeners(all: &[Listener]) -> Vec<Vec<(&'static str, FieldValue)>> {
    let mut places: Vec<(Listener, Vec<&'static str>)> = Vec::new();
    for listener in all {
        let word = listener.transport.as_str();
        match places.last_mut() {
            Some((last, words))
                if (last.address, last.port, last.proxied)
                    == (listener.address, listener.port, listener.proxied) =>
            {
                words.push(word);
            }
            _ => places.push((*listener, vec![word])),
        }
    }
    let mut groups: Vec<(Vec<Listener>, Vec<&'static str>)> = Vec::new();
    for (listener, words) in places {
        match groups.last_mut() {
            Some((group, of))
                if *of == words
                    && listener.address.is_some()
                    && group.last().is_some_and(|last| {
                        last.address.is_some()
                            && (last.port, last.proxied) == (listener.port, listener.proxied)
                    }) =>
            {
                group.push(listener);
            }
            _ => groups.push((vec![listener], words)),
        }
    }
    groups
        .into_iter()
        .map(|(group, words)| {
            let mut fields = Vec::new();
            let addresses: Vec<_> = group
                .iter()
                .filter_map(|listener| listener.address)
                .collect();
            match addresses.as_slice() {
                [] => {}
                [address] => fields.push(("address", FieldValue::Text(address.to_string()))),
                _ => fields.push(("address", texts(addresses.iter()))),
            }
            if let Some(listener) = group.first() {
                fields.push(("port", FieldValue::Number(listener.port.into())));
                fields.push(("transport", texts(words.iter())));
                if listener.proxied {
                    fields.push(("proxy", FieldValue::Flag(true)));
                }
            }
            fields
        })
        .collect()
}

fn users(settings: &Settings) -> Vec<Vec<(&'static str, FieldValue)>> {
    let user = |user: &crate::user::User| {
        let credential = match &user.credential {
            UserCredential::Password(password) => {
                ("password", FieldValue::Secret(password.clone()))
            }
            UserCredential::Key(key) => {
                let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
                ("key", FieldValue::Secret(Secret::new(digits)))
            }
        };
        vec![("name", FieldValue::Text(user.name.clone())), credential]
    };
    settings.users.iter().map(user).collect()
}

fn certificates(settings: &Settings) -> Vec<Vec<(&'static str, FieldValue)>> {
    let path = |path: &std::path::Path| FieldValue::Text(path.display().to_string());
    let certificate = |files: &crate::certificate::CertificateFiles| {
        let password = files
            .password
            .clone()
            .map(|password| ("password", FieldValue::Secret(password)));
        let mut fields = vec![("cert", path(&files.cert)), ("key", path(&files.key))];
        fields.extend(password);
        fields
    };
    settings.certificates.iter().map(certificate).collect()
}

fn rules(settings: &Settings) -> Vec<Vec<(&'static str, FieldValue)>> {
    let table = |field: &'static str, rule: &PeerRule| {
        let name = rule
            .name
            .clone()
            .map(|name| ("name", FieldValue::Text(name)));
        let nowhere = Origin {
            file: None,
            line: None,
        };
        // A rule that an earlier one cut a piece out of is no longer what was written.
        let whole = PeerRule::parse(&rule.text, nowhere)
            .is_ok_and(|whole| (whole.first, whole.last) == (rule.first, rule.last));
        let range = match (whole, rule.first == rule.last) {
            (true, _) => rule.text.clone(),
            (false, true) => rule.first.to_string(),
            (false, false) => format!("{}-{}", rule.first, rule.last),
        };
        let mut fields: Vec<_> = name.into_iter().collect();
        fields.push((field, FieldValue::Text(range)));
        fields
    };
    let peers = &settings.peers;
    let allowed = peers.allowed.iter().map(|rule| table("allow", rule));
    let denied = peers.denied.iter().map(|rule| table("deny", rule));
    allowed.chain(denied).collect()
}

const fn level(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warning",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    }
}
