//! Lays values out as `turnbuckle.toml`. Owns the text; what is in force is found out in `effective`.

use std::fmt::Write as _;

use toml_writer::{ToTomlValue, TomlStringBuilder};

use crate::diagnostic::{Diagnostic, shown_line};
use crate::draft::Place;
use crate::effective::{Field, FieldSource, FieldValue, default_of};
use crate::keys::{Key, Support};
use crate::outcome::Outcome;
use crate::secret::REDACTED;

impl Outcome {
    /// The settings in force as a `turnbuckle.toml` in which every field stands, with where its value comes from; `None`
    /// where errors leave nothing in force. Secrets are shown only with `secrets`.
    pub fn show(&self, secrets: bool) -> Option<String> {
        let mut text = Text::new(secrets);
        for field in self.effective()? {
            let origin = match &field.source {
                FieldSource::Default => "default".to_owned(),
                FieldSource::CommandLine => "command line".to_owned(),
                FieldSource::Lines(lines) => plural(lines),
            };
            if is_empty(&field.value) {
                text.table(field.table);
                text.line(&format!("# {}: none ({origin})", field.name));
            } else {
                text.field(&field, Some(&origin), &[]);
            }
        }
        Some(text.out)
    }

    /// A `turnbuckle.toml` that says what a `turnserver.conf` or an `eturnal.yml` says, with the old lines as comments; `None` where errors leave
    /// nothing to say. It holds the secrets of the file, which `source` is the text of.
    pub fn convert(&self, source: &str) -> Option<String> {
        let mut text = Text::new(true);
        let mut used = Vec::new();
        for field in self.effective()? {
            let FieldSource::Lines(lines) = &field.source else {
                continue;
            };
            if is_empty(&field.value) {
                continue;
            }
            let old = self.old_lines(source, lines);
            used.extend(lines);
            text.field(&field, None, &old);
        }
        let unused = |place: &&Place| place.line().is_some_and(|line| !used.contains(&line));
        let given = self
            .given
            .iter()
            .map(|given| (&given.place, why_left_out(given.key)));
        let left_out = self
            .left_out
            .iter()
            .map(|option| (&option.place, option.reason));
        let mut rest: Vec<_> = given
            .chain(left_out)
            .filter(|(place, _)| unused(place))
            .collect();
        rest.sort_by_key(|(place, _)| place.line());
        let unknown = self
            .diagnostics
            .iter()
            .filter(|found| self.is_of_no_option(found));
        let rest: Vec<String> = rest
            .into_iter()
            .map(|(place, reason)| format!("# {} - {reason}", old_line(source, place)))
            .chain(unknown.map(|found| {
                let line = found.line.unwrap_or_default();
                let text = shown_line(source, line, found.hidden.as_ref());
                format!("# line {line}: {} - it is not known", text.trim())
            }))
            .collect();
        if !rest.is_empty() {
            text.out.push_str("\n# Lines that have no place here:\n");
            rest.iter().for_each(|line| text.line(line));
        }
        Some(text.out)
    }

    fn old_lines(&self, source: &str, lines: &[u32]) -> Vec<String> {
        let mut old = Vec::new();
        for line in lines {
            let given = self
                .given
                .iter()
                .find(|given| given.place.line() == Some(*line));
            old.extend(given.map(|given| format!("# {}", old_line(source, &given.place))));
        }
        old
    }

    /// Whether a finding is about a line that nothing else is known of.
    fn is_of_no_option(&self, found: &Diagnostic) -> bool {
        let Some(line) = found.line else { return false };
        let mut places = (self.given.iter().map(|given| &given.place))
            .chain(self.left_out.iter().map(|option| &option.place));
        places.all(|place| place.line() != Some(line))
    }
}

fn old_line(source: &str, place: &Place) -> String {
    let line = place.line().unwrap_or_default();
    let text = shown_line(source, line, place.hidden.as_ref());
    format!("line {line}: {}", text.trim())
}

impl Key {
    /// Its line in a `turnbuckle.toml`, with the default or else an example; `None` if it has none of its own there.
    pub fn toml_example(&self) -> Option<String> {
        let (_, field, inverted) = self.toml_field()?;
        let value = default_of(self, inverted);
        let value = match self.repeats {
            true => FieldValue::List(vec![value]),
            false => value,
        };
        Some(format!("{field} = {}", Text::new(true).value(&value)))
    }
}

fn why_left_out(key: &Key) -> &'static str {
    match key.support {
        Support::Built => "a later line or the default says the same",
        Support::Met => "it is always so",
        Support::Ignored(reason) | Support::Obsolete(reason) | Support::Later(reason) => reason,
        Support::Refused { reason, .. } => reason,
    }
}

fn plural(lines: &[u32]) -> String {
    match lines {
        [line] => format!("line {line}"),
        _ => {
            let all: Vec<String> = lines.iter().map(ToString::to_string).collect();
            format!("lines {}", all.join(", "))
        }
    }
}

fn is_empty(value: &FieldValue) -> bool {
    match value {
        FieldValue::Unset => true,
        FieldValue::List(items) => items.is_empty(),
        FieldValue::Tables(tables) => tables.is_empty(),
        _ => false,
    }
}

struct Text {
    out: String,
    table: String,
    secrets: bool,
}

impl Text {
    fn new(secrets: bool) -> Self {
        Self {
            out: String::new(),
            table: String::new(),
            secrets,
        }
    }

    fn line(&mut self, line: &str) {
        self.out.push_str(line);
        self.out.push('\n');
    }

    /// Begins a table where it is not the one being written.
    fn table(&mut self, table: &str) {
        if self.table != table {
            self.table = table.to_owned();
            let gap = if self.out.is_empty() { "" } else { "\n" };
            // Writing to a `String` cannot fail.
            let _ = writeln!(self.out, "{gap}[{table}]");
        }
    }

    fn field(&mut self, field: &Field, origin: Option<&str>, above: &[String]) {
        let FieldValue::Tables(tables) = &field.value else {
            self.table(field.table);
            above.iter().for_each(|line| self.line(line));
            let value = self.value(&field.value);
            let origin = origin.map(|origin| format!("  # {origin}"));
            self.line(&format!(
                "{} = {value}{}",
                field.name,
                origin.unwrap_or_default()
            ));
            return;
        };
        let path = match field.table {
            "" => field.name.to_owned(),
            table => format!("{table}.{}", field.name),
        };
        for (index, table) in tables.iter().enumerate() {
            if !self.out.is_empty() {
                self.out.push('\n');
            }
            if index == 0 {
                above.iter().for_each(|line| self.line(line));
            }
            let origin = origin.filter(|_| index == 0);
            let origin = origin.map(|origin| format!("  # {origin}"));
            self.line(&format!("[[{path}]]{}", origin.unwrap_or_default()));
            for (name, value) in table {
                let value = self.value(value);
                self.line(&format!("{name} = {value}"));
            }
        }
        self.table = path;
    }

    fn value(&self, value: &FieldValue) -> String {
        match value {
            FieldValue::Unset | FieldValue::Tables(_) => String::new(),
            FieldValue::Flag(on) => on.to_string(),
            FieldValue::Number(number) => number.to_string(),
            FieldValue::Text(text) => quoted(text),
            FieldValue::Secret(secret) if self.secrets => quoted(secret.expose()),
            FieldValue::Secret(_) => quoted(REDACTED),
            FieldValue::List(items) => match items.as_slice() {
                [item] => format!("[{}]", self.value(item)),
                items => {
                    let all: Vec<String> = items.iter().map(|item| self.value(item)).collect();
                    let line = format!("[{}]", all.join(", "));
                    if line.chars().count() <= LINE_CHARS {
                        line
                    } else {
                        format!("[\n    {},\n]", all.join(",\n    "))
                    }
                }
            },
        }
    }
}

/// A text as TOML has it.
pub(crate) fn quoted(text: &str) -> String {
    TomlStringBuilder::new(text).as_basic().to_toml_value()
}

/// A list longer than this has a line for each item.
const LINE_CHARS: usize = 80;
