//! One line of the log as data, and its two layouts. Owns what may stand in a line: nothing from outside starts a new one or
//! steers a terminal.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

/// What is to be logged.
pub(crate) struct Record {
    level: Level,
    message: String,
    fields: Vec<(&'static str, Value)>,
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// From outside: quoted where a reader could not tell its end.
    Text(String),
    /// Made here, such as an address.
    Plain(String),
    Number(i128),
    Flag(bool),
}

/// How a text line looks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Style {
    /// The time stands in front.
    pub(crate) time: bool,
    /// Escape sequences colour the line, for a terminal.
    pub(crate) color: bool,
}

impl Record {
    pub(crate) fn new(level: Level, message: impl Into<String>) -> Self {
        Self {
            level,
            message: message.into(),
            fields: Vec::new(),
        }
    }

    pub(crate) fn of(event: &Event<'_>) -> Self {
        let mut record = Self::new(*event.metadata().level(), "");
        event.record(&mut record);
        record
    }

    pub(crate) fn push(&mut self, name: &'static str, value: Value) {
        self.fields.push((name, value));
    }

    /// Puts what `change` makes of each field in its place, or takes it out.
    pub(crate) fn change_fields(
        &mut self,
        mut change: impl FnMut(&'static str, Value) -> Option<Value>,
    ) {
        let fields = std::mem::take(&mut self.fields);
        self.fields.extend(
            fields
                .into_iter()
                .filter_map(|(name, value)| Some((name, change(name, value)?))),
        );
    }

    pub(crate) const fn level(&self) -> Level {
        self.level
    }

    /// Every field with its value as it is, without quotes.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.fields.iter().map(|(name, value)| {
            let text = match value {
                Value::Text(text) | Value::Plain(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                Value::Flag(flag) => flag.to_string(),
            };
            (*name, text)
        })
    }

    /// The line for people, without a line end. Fields that repeat what the sentence says are left out.
    pub(crate) fn text(&self, style: Style) -> String {
        let mut line = String::new();
        let (dim, severity, end) = match style.color {
            true => ("\x1b[2m", color(self.level), "\x1b[0m"),
            false => ("", "", ""),
        };
        if style.time {
            line.push_str(dim);
            line.push_str(&time());
            line.push_str(end);
            line.push(' ');
            // Writing to a string cannot fail, here and below.
            let _ = write!(line, "{severity}{:>5}{end} ", self.level.as_str());
        }
        push_visible(&mut line, &self.message);
        let shown = |(name, _): &&(&str, Value)| !REPEATED_IN_MESSAGE.contains(name);
        for (name, value) in self.fields.iter().filter(shown) {
            let _ = write!(line, " {name}{dim}={end}");
            match value {
                Value::Text(text) => {
                    let _ = write!(line, "{text:?}");
                }
                Value::Plain(text) => push_visible(&mut line, text),
                Value::Number(number) => {
                    let _ = write!(line, "{number}");
                }
                Value::Flag(flag) => {
                    let _ = write!(line, "{flag}");
                }
            }
        }
        line
    }

    /// The line for programs, without a line end: one object with `time`, `level`, `message` and the fields.
    pub(crate) fn json(&self) -> String {
        let mut line = format!(
            "{{\"time\":\"{}\",\"level\":\"{}\",\"message\":{}",
            time(),
            level_word(self.level),
            quoted(&self.message)
        );
        for (name, value) in &self.fields {
            let _ = write!(line, ",{}:", quoted(name));
            match value {
                Value::Text(text) | Value::Plain(text) => line.push_str(&quoted(text)),
                Value::Number(number) => {
                    let _ = write!(line, "{number}");
                }
                Value::Flag(flag) => {
                    let _ = write!(line, "{flag}");
                }
            }
        }
        line.push('}');
        line
    }

    fn add(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::Text(text) | Value::Plain(text)) => self.message = text,
            (name, value) => self.push(name, value),
        }
    }
}

impl Visit for Record {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, Value::Text(value.to_owned()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Value::Number(value.into()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::Number(value.into()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Value::Flag(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, Value::Plain(format!("{value:?}")));
    }
}

/// The word that `log-min-level` has for it.
pub(crate) const fn level_word(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warning",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

fn push_visible(line: &mut String, text: &str) {
    for character in text.chars() {
        if character.is_control() {
            line.extend(character.escape_debug());
        } else {
            line.push(character);
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Now, as RFC 3339 has it.
fn time() -> String {
    let mut text = String::new();
    // The clock of a log line is the host's, and writing to a string cannot fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

const fn color(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[35m",
    }
}

/// What the sentence of a text line says already.
const REPEATED_IN_MESSAGE: [&str; 4] = ["event", "method", "reason", "username"];

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            level: Level::WARN,
            message: "bad \u{1b}[31m news".to_owned(),
            fields: vec![
                ("event", Value::Text("test".to_owned())),
                ("user", Value::Text("eve\nsession started \"".to_owned())),
                ("client", Value::Plain("192.0.2.1:9".to_owned())),
                ("bytes", Value::Number(u64::MAX.into())),
                ("new", Value::Flag(true)),
            ],
        }
    }

    #[test]
    fn text_cannot_be_forged() {
        assert_eq!(
            record().text(Style::default()),
            "bad \\u{1b}[31m news user=\"eve\\nsession started \\\"\" client=192.0.2.1:9 bytes=18446744073709551615 new=true"
        );
        let timed = record().text(Style {
            time: true,
            color: false,
        });
        let (time, rest) = timed.split_once(' ').unwrap();
        assert!(time.ends_with('Z') && time.contains('T'), "{time}");
        assert!(rest.starts_with(" WARN bad "), "{rest}");
    }

    #[test]
    fn json_keeps_values_and_kinds() {
        let parsed: serde_json::Value = serde_json::from_str(&record().json()).unwrap();
        assert_eq!(parsed["level"], "warning");
        assert_eq!(parsed["message"], "bad \u{1b}[31m news");
        assert_eq!(parsed["event"], "test");
        assert_eq!(parsed["user"], "eve\nsession started \"");
        assert_eq!(parsed["bytes"], u64::MAX);
        assert_eq!(parsed["new"], true);
        assert!(!record().json().contains('\n'));
    }
}
