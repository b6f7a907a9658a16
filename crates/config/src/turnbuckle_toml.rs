//! Reads `turnbuckle.toml`. Owns the walk over its tables and the forms of its values; what a value does is the same as in
//! `turnserver.conf`, through the same table of keys.

mod tables;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{BYTE_ORDER_MARK, Severity};
use crate::draft::{Draft, Format, Given, Place, PlaceOrigin};
use crate::fault::Fault;
use crate::keys::{self, Key, Section, Value};
use crate::nearest::nearest;
use crate::outcome::Outcome;
use crate::secret::Secret;
use crate::settings::LogLevel;
use crate::turnserver_conf::{Override, is_unseen, read_key};
use crate::units;

/// Reads a `turnbuckle.toml`, then the keys of the command line, and reports all that is wrong at once.
///
/// `path` is what findings call the file; it is not opened, and neither are files that it names. Fields that are not known
/// are errors.
pub fn turnbuckle_toml(path: &Path, source: &str, overrides: &[Override]) -> Outcome {
    Outcome::of(Format::Toml, path, source, overrides, None)
}

pub(crate) fn read_file(draft: &mut Draft, path: &Path, source: &str) {
    let source = source.strip_prefix(BYTE_ORDER_MARK).unwrap_or(source);
    let mut reader = Reader {
        draft,
        path: path.to_owned(),
        source,
        secret: false,
    };
    let (document, errors) = DeTable::parse_recoverable(source);
    if errors.is_empty() {
        reader.document(document.get_ref());
        return;
    }
    for error in errors {
        let place = reader.syntax_place(error.span().unwrap_or(0..0));
        reader.draft.report_at(
            &place,
            Severity::Error,
            format!("this is no TOML: {}", error.message()),
            "see https://toml.io for its forms",
        );
    }
}

struct Reader<'a> {
    draft: &'a mut Draft,
    path: PathBuf,
    source: &'a str,
    /// The list being read holds secrets, in whichever field.
    secret: bool,
}

type Item<'i> = Spanned<DeValue<'i>>;

impl Reader<'_> {
    fn document(&mut self, document: &DeTable<'_>) {
        for (name, value) in document {
            let table = name.get_ref().as_ref();
            if table == "listeners" {
                self.listeners(value);
                continue;
            }
            let Some(section) = keys::sections()
                .iter()
                .find(|section| section.table == table && fields(section).next().is_some())
            else {
                self.unknown_table(name.span(), table);
                continue;
            };
            match value.get_ref() {
                DeValue::Table(fields) => self.table(section, fields),
                _ => self.fault(
                    value.span(),
                    true,
                    Fault::new(format!("`{table}` is a table, not a value")).help(format!(
                        "write `[{table}]` on a line of its own and its fields below"
                    )),
                ),
            }
        }
    }

    fn table(&mut self, section: &Section, table: &DeTable<'_>) {
        for (name, value) in table {
            let field = name.get_ref().as_ref();
            match (section.table, field) {
                ("auth", "users") => self.with_secrets(|reader| reader.users(value)),
                ("tls", "certificates") => self.with_secrets(|reader| reader.certificates(value)),
                ("peers", "rules") => self.peer_rules(value),
                ("log", "level") => self.level(value),
                _ => match fields(section).find(|(_, name, _)| *name == field) {
                    Some((key, _, inverted)) => {
                        self.field(section.table, key, inverted, field, value);
                    }
                    None => self.unknown_field(name.span(), section, field),
                },
            }
        }
    }

    fn with_secrets(&mut self, read: impl FnOnce(&mut Self)) {
        self.secret = true;
        read(self);
        self.secret = false;
    }

    /// A field that stands for one key.
    fn field(
        &mut self,
        table: &str,
        key: &'static Key,
        inverted: bool,
        field: &str,
        value: &Item<'_>,
    ) {
        let path = format!("{table}.{field}");
        match value.get_ref() {
            DeValue::Array(items) if key.repeats => {
                for item in items {
                    self.single(key, inverted, &path, item);
                }
            }
            _ => self.single(key, inverted, &path, value),
        }
    }

    fn single(&mut self, key: &'static Key, inverted: bool, path: &str, value: &Item<'_>) {
        self.at(value.span(), key.secret);
        match as_text(key, inverted, path, value.get_ref()) {
            Ok(Some(text)) => read_key(self.draft, key, Some(&text)),
            Ok(None) => {}
            Err(fault) => self.draft.report_fault(fault),
        }
    }

    /// `log.level`, which stands for `verbose`, `Verbose` and `log-min-level`.
    fn level(&mut self, value: &Item<'_>) {
        let words = [
            ("error", LogLevel::Error),
            ("warning", LogLevel::Warn),
            ("info", LogLevel::Info),
            ("debug", LogLevel::Debug),
            ("trace", LogLevel::Trace),
        ];
        let word = value.get_ref().as_str().unwrap_or_default();
        match words.iter().find(|(name, _)| *name == word) {
            Some((name, level)) => {
                self.draft.level = Some(*level);
                self.give("log-min-level", value.span(), name);
            }
            None => self.fault(
                value.span(),
                false,
                Fault::new("`log.level` has to be one of a few words")
                    .help("write \"error\", \"warning\", \"info\", \"debug\" or \"trace\""),
            ),
        }
    }

    fn unknown_table(&mut self, span: Range<usize>, name: &str) {
        let tables = keys::sections()
            .iter()
            .filter(|section| fields(section).next().is_some())
            .map(|section| section.table)
            .chain(["listeners"]);
        let help = match (
            belongs(name),
            nearest(name, tables.map(|table| (table, table))),
        ) {
            (Some(path), _) => format!("it is written as `{path}`"),
            (None, Some(table)) => format!("did you mean `{table}`?"),
            (None, None) => String::new(),
        };
        self.unknown(span, name, &help);
    }

    fn unknown_field(&mut self, span: Range<usize>, section: &Section, name: &str) {
        let lists = match section.table {
            "auth" => "users",
            "tls" => "certificates",
            "peers" => "rules",
            "log" => "level",
            _ => "",
        };
        let known = fields(section)
            .map(|(_, field, _)| field)
            .chain(Some(lists).filter(|list| !list.is_empty()));
        let help = match (
            nearest(name, known.map(|field| (field, field))),
            belongs(name),
        ) {
            (Some(field), _) => format!("did you mean `{field}`?"),
            (None, Some(path)) => format!("it is written as `{path}`"),
            (None, None) => String::new(),
        };
        let name = format!("{}.{name}", section.table);
        self.unknown(span, &name, &help);
    }

    /// Reports a name that nothing is known by. What stands behind it may be a secret.
    fn unknown(&mut self, span: Range<usize>, name: &str, help: &str) {
        let place = self.place(span, true);
        // The name is the writer's, also where it is that of a key.
        let format = std::mem::replace(&mut self.draft.format, Format::Conf);
        self.draft.report_at(
            &place,
            Severity::Error,
            format!("`{name}` is not a known field"),
            help,
        );
        self.draft.format = format;
    }

    fn fault(&mut self, span: Range<usize>, secret: bool, fault: Fault) {
        self.at(span, secret);
        self.draft.report_fault(fault);
    }

    /// Notes that a key was given, for the rules that span keys.
    fn give(&mut self, name: &str, span: Range<usize>, text: &str) {
        let Some(key) = keys::find(name) else { return };
        let place = self.place(span, key.secret);
        self.draft.place = place.clone();
        self.draft.given.push(Given {
            key,
            place,
            text: Secret::new(text),
            option: None,
        });
    }

    fn at(&mut self, span: Range<usize>, secret: bool) {
        self.draft.place = self.place(span, secret);
    }

    /// Where bytes of the file are. Hidden is what stands behind the first `=` of the line, or all of it where there is none,
    /// if it is a secret or one could be among several fields.
    fn place(&self, span: Range<usize>, secret: bool) -> Place {
        let before = self.source.get(..span.start).unwrap_or(self.source);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = self.source.get(start..).unwrap_or_default();
        let line = line.split('\n').next().unwrap_or_default();
        let line = line.strip_suffix('\r').unwrap_or(line);
        let end = line.len();
        let number = before.matches('\n').count() + 1;
        let column = (span.start - start.min(span.start)).min(end);
        let several = line.contains('{') || line.matches('=').count() > 1;
        let header = line.starts_with('[') && !line.contains('=');
        let hidden = match line.find('=') {
            _ if header => end..end,
            Some(equals) => equals + 1..end,
            None => 0..end,
        };
        Place {
            origin: PlaceOrigin::File(self.path.clone(), u32::try_from(number).unwrap_or(u32::MAX)),
            span: column..span.end.saturating_sub(start).clamp(column, end),
            hidden: Some(hidden)
                .filter(|hidden| (secret || self.secret || several) && !hidden.is_empty()),
        }
    }

    /// The place of a syntax error, whose line is shown only if it begins with a field that is no secret.
    fn syntax_place(&self, span: Range<usize>) -> Place {
        let mut place = self.place(span, false);
        let line = place.line().unwrap_or(1);
        let text = self
            .source
            .split('\n')
            .nth(usize::try_from(line).unwrap_or(1) - 1)
            .unwrap_or_default();
        let name = text.split(['=', ' ', '\t']).next().unwrap_or_default();
        let open = keys::sections()
            .iter()
            .flat_map(fields)
            .any(|(key, field, _)| field == name && !key.secret);
        if !open {
            place.hidden =
                Some(0..text.trim_end_matches('\r').len()).filter(|hidden| !hidden.is_empty());
        }
        place
    }
}

/// The fields of a table that stand for one key each, and whether they are true where the key is 0.
pub(crate) fn fields(section: &Section) -> impl Iterator<Item = Field> + use<> {
    static FIELDS: LazyLock<BTreeMap<&str, Vec<Field>>> = LazyLock::new(|| {
        let mut tables: BTreeMap<&str, Vec<Field>> = BTreeMap::new();
        for key in keys::all() {
            if let Some((table, field, inverted)) = key.toml_field() {
                tables
                    .entry(table)
                    .or_default()
                    .push((key, field, inverted));
            }
        }
        tables
    });
    FIELDS.get(section.table).into_iter().flatten().copied()
}

/// A key, its field, and whether that is true where the key is 0.
type Field = (&'static Key, &'static str, bool);

/// The value as `turnserver.conf` would have it; nothing where the field asks for nothing.
fn as_text(
    key: &Key,
    inverted: bool,
    path: &str,
    value: &DeValue<'_>,
) -> Result<Option<String>, Fault> {
    let wrong = |expected: &str, help: String| {
        Err(Fault::new(format!("`{path}` has to be {expected}")).help(help))
    };
    match (&key.value, value) {
        (Value::Flag(_), DeValue::Boolean(on)) => Ok(Some(u8::from(*on != inverted).to_string())),
        (Value::Always(_), DeValue::Boolean(on)) => Ok(on.then(String::new)),
        (Value::Flag(_) | Value::Always(_), _) => wrong(
            "on or off",
            format!("write `{path} = true` or `{path} = false`"),
        ),
        (Value::Number { unit: "s", .. }, DeValue::String(text)) => {
            units::seconds(text).map(|seconds| Some(seconds.to_string()))
        }
        (Value::Number { unit: "bytes", .. }, DeValue::String(text)) => {
            units::bytes(text).map(|bytes| Some(bytes.to_string()))
        }
        (
            Value::Number {
                unit: "bytes/s", ..
            },
            DeValue::String(text),
        ) => units::rate(text).map(|rate| Some(rate.to_string())),
        // Zero is the same in every unit.
        (Value::Number { .. }, DeValue::Integer(number)) if number.as_str() == "0" => {
            Ok(Some("0".to_owned()))
        }
        (Value::Number { unit: "s", .. }, _) => wrong(
            "a duration in double quotes",
            format!("write a number with s, m, h or d, such as `{path} = \"10m\"`"),
        ),
        (Value::Number { unit: "bytes", .. }, _) => wrong(
            "a number of bytes in double quotes",
            format!("write a number with its unit, such as `{path} = \"2 MiB\"`"),
        ),
        (
            Value::Number {
                unit: "bytes/s", ..
            },
            _,
        ) => wrong(
            "a rate in double quotes",
            format!(
                "write a number with its unit, such as `{path} = \"10 MiB/s\"` or `\"80 Mbit/s\"`"
            ),
        ),
        (Value::Number { .. }, DeValue::Integer(number)) => match number.radix() {
            10 => Ok(Some(number.as_str().replace('_', ""))),
            _ => wrong("a decimal number", "write it without a prefix".to_owned()),
        },
        (Value::Number { .. }, _) => wrong("a whole number", "write it without quotes".to_owned()),
        (_, DeValue::String(text)) => match text.chars().find(|character| is_unseen(*character)) {
            Some(character) => wrong(
                "a text of visible characters",
                format!("remove U+{:04X}", u32::from(character)),
            ),
            None => Ok(Some(text.as_ref().to_owned())),
        },
        _ if key.repeats => wrong(
            "a text in double quotes or a list of them",
            "write `[\"…\", \"…\"]`".to_owned(),
        ),
        _ => wrong("a text", "write it in double quotes".to_owned()),
    }
}

/// Where a key of `turnserver.conf`, or a field of another table, has its place.
fn belongs(name: &str) -> Option<String> {
    if let Some(path) = keys::find(name).and_then(Key::toml_path) {
        return Some(path);
    }
    let named = |key: &&Key| key.toml_field().is_some_and(|(_, field, _)| field == name);
    keys::all().find(named).and_then(Key::toml_path)
}
