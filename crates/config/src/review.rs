//! What each line of a file was understood as. Owns the verdict on a line; the findings are reported where they are found.

use crate::diagnostic::{Severity, shown_line};
use crate::draft::{Format, Given};
use crate::effective::{FieldValue, value_of};
use crate::keys::Support;
use crate::outcome::Outcome;
use crate::secret::REDACTED;

/// One line of a file and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The line, counted from 1.
    pub line: u32,
    /// Its text, with secrets hidden.
    pub text: String,
    /// What it sets, as the format of the file calls it; `None` if nothing is known by that name.
    pub name: Option<String>,
    /// What that is for.
    pub help: &'static str,
    /// The value as it was understood, secrets hidden; `None` where there is none.
    pub value: Option<String>,
    /// What became of it.
    pub verdict: Verdict,
}

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The server does so.
    InForce,
    /// Another line says otherwise and wins, or the command line does.
    Overridden(Option<u32>),
    /// The server always does so.
    AlwaysSo,
    /// It changes nothing, for this reason.
    NoEffect(&'static str),
    /// It is not built yet; this is missing.
    NotBuilt(&'static str),
    /// There is an error in it; the server does not start.
    Wrong,
    /// It is not known.
    Unknown,
}

impl Verdict {
    /// The verdict in a word or two.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InForce => "in force",
            Self::Overridden(_) => "overridden",
            Self::AlwaysSo => "always so",
            Self::NoEffect(_) => "no effect",
            Self::NotBuilt(_) => "not built",
            Self::Wrong => "error",
            Self::Unknown => "unknown",
        }
    }
}

impl Outcome {
    /// What every line of the file that holds something was understood as, in order. `source` is the text of the file.
    pub fn readings(&self, source: &str) -> Vec<Reading> {
        let mut all: Vec<Reading> = Vec::new();
        for (index, given) in self.given.iter().enumerate() {
            let Some(line) = given.place.line() else {
                continue;
            };
            // What several keys make up together in TOML is told once for a line.
            if all.iter().any(|reading| reading.line == line) {
                continue;
            }
            all.push(Reading {
                line,
                text: shown_line(source, line, given.place.hidden.as_ref())
                    .trim()
                    .to_owned(),
                name: Some(self.name_of(given)),
                help: given.option.map_or(given.key.help, |(_, help)| help),
                value: shown_value(given),
                verdict: self.verdict(index, given, line),
            });
        }
        for left_out in &self.left_out {
            let Some(line) = left_out.place.line() else {
                continue;
            };
            if all.iter().any(|reading| reading.line == line) {
                continue;
            }
            all.push(Reading {
                line,
                text: shown_line(source, line, left_out.place.hidden.as_ref())
                    .trim()
                    .to_owned(),
                name: Some(left_out.name.clone()),
                help: "",
                value: None,
                verdict: Verdict::NoEffect(left_out.reason),
            });
        }
        for found in &self.diagnostics {
            let Some(line) = found.line else { continue };
            if all.iter().any(|reading| reading.line == line) {
                continue;
            }
            let verdict = match found.severity {
                Severity::Error => Verdict::Wrong,
                Severity::Warning | Severity::Note => Verdict::Unknown,
            };
            all.push(Reading {
                line,
                text: shown_line(source, line, found.hidden.as_ref())
                    .trim()
                    .to_owned(),
                name: None,
                help: "",
                value: None,
                verdict,
            });
        }
        all.sort_by_key(|reading| reading.line);
        all
    }

    fn name_of(&self, given: &Given) -> String {
        let key = given.key;
        match (self.format, given.option) {
            (_, Some((name, _))) => name.to_owned(),
            (Format::Toml, None) => key.toml_path().unwrap_or_else(|| key.name.to_owned()),
            (Format::Conf | Format::Eturnal, None) => key.name.to_owned(),
        }
    }

    fn verdict(&self, index: usize, given: &Given, line: u32) -> Verdict {
        let wrong = self
            .diagnostics
            .iter()
            .any(|found| found.severity == Severity::Error && found.line == Some(line));
        if wrong {
            return Verdict::Wrong;
        }
        let key = given.key;
        let later = self
            .given
            .get(index + 1..)
            .unwrap_or_default()
            .iter()
            .rev()
            .find(|later| later.key.name == key.name && later.text != given.text);
        match (key.support, later) {
            (Support::Built, Some(later)) if !key.repeats && self.format == Format::Conf => {
                Verdict::Overridden(later.place.line())
            }
            (Support::Built, _) => Verdict::InForce,
            (Support::Met, _) => Verdict::AlwaysSo,
            (Support::Ignored(reason) | Support::Obsolete(reason), _) => Verdict::NoEffect(reason),
            (Support::Later(reason), _) => Verdict::NotBuilt(reason),
            (Support::Refused { .. }, _) => Verdict::Wrong,
        }
    }
}

fn shown_value(given: &Given) -> Option<String> {
    if given.key.secret {
        return Some(REDACTED.to_owned());
    }
    match value_of(given.key, given.text.expose(), false) {
        FieldValue::Flag(on) => Some(if on { "on" } else { "off" }.to_owned()),
        FieldValue::Number(number) => Some(number.to_string()),
        FieldValue::Text(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}
