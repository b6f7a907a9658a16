//! Reads `turnserver.conf` and the keys of the command line. Owns the walk over the lines and what is said about forms
//! that coturn reads otherwise than their writers meant; the grammar is in `line`, the keys in the table.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use crate::diagnostic::{BYTE_ORDER_MARK, Severity};
use crate::draft::{Draft, Format, Given, Place, PlaceOrigin};
use crate::keys::{self, Key, Support, Value};
use crate::line::{Line, Part};
use crate::outcome::Outcome;
use crate::secret::{REDACTED, Secret};
use crate::value;

/// A key given on the command line.
#[derive(Clone, PartialEq, Eq)]
pub struct Override {
    /// The key's name, without dashes.
    pub key: String,
    /// Its value as the shell gave it; `None` for a bare key.
    pub value: Option<String>,
}

/// Shows a value only if its key is known and not secret.
impl fmt::Debug for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = keys::find(&self.key).is_some_and(|key| !key.secret);
        let value = self
            .value
            .as_deref()
            .map(|value| if open { value } else { REDACTED });
        f.debug_struct("Override")
            .field("key", &self.key)
            .field("value", &value)
            .finish()
    }
}

/// Reads a `turnserver.conf`, then the keys of the command line, and reports all that is wrong at once.
///
/// `path` is what findings call the file; it is not opened, and neither are files that it names. Text that is not UTF-8
/// should be converted with [`String::from_utf8_lossy`]: a key or value that it damaged is an error here, a damaged comment
/// is not. A key of the command line wins over the file, or is added if it may stand more than once.
pub fn turnserver_conf(path: &Path, source: &str, overrides: &[Override]) -> Outcome {
    Outcome::of(Format::Conf, path, source, overrides, None)
}

pub(crate) fn read_file(draft: &mut Draft, path: &Path, source: &str) {
    let source = source.strip_prefix(BYTE_ORDER_MARK).unwrap_or(source);
    for (text, number) in source.split('\n').zip(1..) {
        let text = text.strip_suffix('\r').unwrap_or(text);
        draft.place = Place {
            origin: PlaceOrigin::File(path.to_owned(), number),
            span: 0..text.len(),
            hidden: Some(0..text.len()).filter(|_| !begins_with_open_key(text)),
        };
        match Line::split(text) {
            None => {}
            Some(Ok(line)) => read_line(draft, text, &line),
            Some(Err(quote)) => draft.report_span(
                quote..quote + 1,
                Severity::Error,
                "this quote is not closed",
                "close it, or remove it: a value needs no quotes",
            ),
        }
    }
}

/// Whether the line may be shown: its key is known and not secret.
fn begins_with_open_key(text: &str) -> bool {
    let name = text
        .trim_start_matches([' ', '\t'])
        .split([' ', '\t', '='])
        .next();
    name.and_then(keys::find).is_some_and(|key| !key.secret)
}

fn read_line(draft: &mut Draft, text: &str, line: &Line<'_>) {
    let content = ..line
        .comment
        .as_ref()
        .map_or(text.len(), |comment| comment.start);
    if let Some((at, character)) = text[content]
        .char_indices()
        .find(|(_, character)| is_unseen(*character))
    {
        let (message, help) = match character {
            char::REPLACEMENT_CHARACTER => (
                "here is something that is not UTF-8".to_owned(),
                "save the file as UTF-8 text",
            ),
            _ => (
                format!(
                    "here is a character that cannot be seen, U+{:04X}",
                    u32::from(character)
                ),
                "type the line again; such characters come with text copied from a web page",
            ),
        };
        draft.report_span(
            at..at + character.len_utf8(),
            Severity::Error,
            message,
            help,
        );
        return;
    }
    let Some(key) = keys::find(line.key.text) else {
        return read_unknown(draft, text, &line.key);
    };
    let shown = line
        .value
        .as_ref()
        .map_or(&line.key.span, |value| &value.span)
        .clone();
    draft.place.span = shown.clone();
    draft.place.hidden = key
        .secret
        .then(|| line.key.span.end + 1..text.len())
        .filter(|hidden| hidden.start < hidden.end);
    if text.len() > COTURN_LINE_BYTES {
        draft.report(
            Severity::Warning,
            format!(
                "coturn cuts this line after {COTURN_LINE_BYTES} bytes; it is read in full here"
            ),
            "",
        );
    }
    if let Some(comment) = &line.comment {
        read_comment(draft, key, line.value.is_some(), comment.clone());
    }
    if let Some(at) = line.semicolon {
        report_semicolon(draft, at);
    }
    let mut value = line.value.as_ref().map(|value| value.text);
    if let Some(part) = &line.value
        && !line.quoted
    {
        value = Some(bare_value(draft, key, part));
    }
    draft.place.span = shown;
    read_key(draft, key, value);
}

/// A value that stood without quotes, less what can be no part of it.
fn bare_value<'a>(draft: &mut Draft, key: &Key, part: &Part<'a>) -> &'a str {
    let text = part.text;
    if !matches!(key.value, Value::Text(..)) {
        let stripped = text.trim_end_matches([';', ' ', '\t']);
        if stripped.len() < text.len() {
            report_semicolon(draft, part.span.start + stripped.len());
        }
        return stripped;
    }
    if text.len() > 1 && text.ends_with(';') {
        draft.report_span(
            part.span.end - 1..part.span.end,
            Severity::Warning,
            "the semicolon is part of the value, as in coturn",
            "remove it if it is not meant, or put the value in double quotes",
        );
    }
    if text.len() > 1 && text.starts_with('\'') && text.ends_with('\'') {
        draft.report(
            Severity::Warning,
            "the single quotes are part of the value, as in coturn",
            "remove them if they are not meant, or put the value in double quotes",
        );
    }
    text
}

fn read_comment(draft: &mut Draft, key: &Key, has_value: bool, span: Range<usize>) {
    let help = "put the comment on a line of its own";
    let (message, help) = match &key.value {
        Value::Text(..) if key.secret => (
            format!(
                "the text from # on is not taken as part of `{}`; coturn takes it as part",
                key.name
            ),
            "put the comment on a line of its own, or, if it belongs to the value, put the value in double quotes",
        ),
        Value::Text(..) if has_value => (
            "the text from # on is taken as a comment; coturn takes it as part of the value"
                .to_owned(),
            "put the comment on a line of its own, or, if it belongs to the value, put the value in double quotes",
        ),
        Value::Flag(_) => (
            "the text from # on is taken as a comment; coturn does not start with it".to_owned(),
            help,
        ),
        _ => (
            "the text from # on is taken as a comment; coturn has no comments behind a value"
                .to_owned(),
            help,
        ),
    };
    draft.report_span(span, Severity::Warning, message, help);
}

fn report_semicolon(draft: &mut Draft, at: usize) {
    draft.report_span(
        at..at + 1,
        Severity::Warning,
        "the semicolon is left out",
        "lines end without one",
    );
}

fn read_unknown(draft: &mut Draft, text: &str, part: &Part<'_>) {
    let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let name = &part.text[..part.text.find(|c| !letters(c)).unwrap_or(part.text.len())];
    let attached =
        |key: &&Key| key.secret && key.name.len() > SHORT_NAME && name.starts_with(key.name);
    let (name, message, help) = if name.is_empty() {
        (
            "",
            "this line does not begin with a key; it has no effect".to_owned(),
            String::new(),
        )
    } else if let Some(key) = keys::all().find(attached).or_else(|| keys::find(name)) {
        let message = format!(
            "what follows `{}` is not set apart from it; the line has no effect",
            key.name
        );
        (
            key.name,
            message,
            format!("write `=` behind `{}`", key.name),
        )
    } else {
        let help = match keys::nearest(name) {
            _ if name == "TURNSERVER_ENABLED" => "it belongs in /etc/default/coturn".to_owned(),
            Some(key) => format!("did you mean `{}`?", key.name),
            None => String::new(),
        };
        (
            name,
            format!("`{name}` is not a known key; the line has no effect"),
            help,
        )
    };
    let end = part.span.start + name.len();
    draft.place.span = part.span.start..end.max(part.span.start + 1);
    // Whatever follows the key may be a secret whose key is misspelled.
    let shown = end + usize::from(text[end..].starts_with([' ', '\t', '=']));
    draft.place.hidden = (shown < text.len()).then_some(shown..text.len());
    draft.report(Severity::Warning, message, &help);
}

pub(crate) fn read_override(draft: &mut Draft, given: &Override) {
    draft.place = Place {
        origin: PlaceOrigin::CommandLine(given.key.clone()),
        ..Place::default()
    };
    match keys::find(&given.key) {
        Some(key) => read_key(draft, key, given.value.as_deref()),
        None => {
            let help =
                keys::nearest(&given.key).map(|key| format!("did you mean `--{}`?", key.name));
            draft.report(
                Severity::Error,
                "not a known key",
                &help.unwrap_or_default(),
            );
        }
    }
}

pub(crate) fn read_key(draft: &mut Draft, key: &'static Key, text: Option<&str>) {
    let given = Given {
        key,
        place: draft.place.clone(),
        text: Secret::new(text.unwrap_or_default()),
        option: None,
    };
    report_repetition(draft, &given);
    match value::read(draft, key, text) {
        Ok(asked) => report_support(draft, key, asked),
        Err(fault) => draft.report_fault(fault),
    }
    draft.given.push(given);
}

fn report_repetition(draft: &mut Draft, given: &Given) {
    if given.key.repeats || given.key.support != Support::Built {
        return;
    }
    let Some(earlier) = draft.last_given(given.key.name) else {
        return;
    };
    let (same, line) = (earlier.text == given.text, earlier.place.line());
    match (line, given.place.line()) {
        // That the command line wins over the file is what it is for.
        (Some(_), None) => {}
        _ if same => draft.report(
            Severity::Note,
            format!("`{}` is given twice", given.key.name),
            "",
        ),
        _ => {
            let help = line
                .map(|line| format!("line {line} gives another value"))
                .unwrap_or_default();
            draft.report(
                Severity::Warning,
                format!(
                    "`{}` is given again; the last one wins, as in coturn",
                    given.key.name
                ),
                &help,
            );
        }
    }
}

fn report_support(draft: &mut Draft, key: &Key, asked: bool) {
    let name = key.name;
    match (key.support, asked) {
        (Support::Built, _) | (Support::Met, true) => {}
        (Support::Met, false) if matches!(key.value, Value::Flag(_)) => draft.report(
            Severity::Warning,
            format!("`{name}` cannot be switched off"),
            "remove the line",
        ),
        (_, false) => {}
        (Support::Ignored(reason), true) => draft.report(
            Severity::Note,
            format!("`{name}` has no effect: {reason}"),
            "",
        ),
        (Support::Obsolete(reason), true) => draft.report(
            Severity::Warning,
            format!("`{name}` has no effect: {reason}"),
            "remove the line",
        ),
        (Support::Later(reason), true) => {
            draft.report(
                Severity::Warning,
                format!("`{name}` is not built yet: {reason}"),
                "",
            );
        }
        (Support::Refused { reason, help }, true) => {
            draft.report(
                Severity::Error,
                format!("`{name}` is not supported: {reason}"),
                help,
            );
        }
    }
}

/// Characters that change what a line says without being seen. A tab is a blank.
pub(crate) fn is_unseen(character: char) -> bool {
    character != '\t'
        && (character.is_control()
            || matches!(
                character,
                '\u{a0}' | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{2060}'..='\u{206f}'
                    | BYTE_ORDER_MARK | char::REPLACEMENT_CHARACTER
            ))
}

/// Names up to this length also begin other words.
const SHORT_NAME: usize = 4;
/// Longer lines lose their end in coturn.
const COTURN_LINE_BYTES: usize = 1024;
