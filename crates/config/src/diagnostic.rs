//! What is wrong with a file, where, and what to write instead. Owns the layout on a terminal and that no secret gets
//! there; decides nothing about what is wrong.

use std::fmt;
use std::fmt::Write as _;
use std::ops::Range;
use std::path::PathBuf;

use crate::secret::REDACTED;

/// One finding about a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file; `None` is the command line.
    pub file: Option<PathBuf>,
    /// Line in the file, counted from 1; `None` where no single line is at fault.
    pub line: Option<u32>,
    /// Bytes of that line it is about, counted from 0.
    pub span: Range<usize>,
    /// What is wrong, one sentence without a full stop. Never holds a secret.
    pub message: String,
    /// What to do about it. Never holds a secret.
    pub help: Option<String>,
    /// Bytes of the line that must not be shown.
    pub(crate) hidden: Option<Range<usize>>,
}

impl Diagnostic {
    /// A finding that no line is to blame for.
    pub fn new(severity: Severity, message: impl Into<String>) -> Self {
        Self {
            severity,
            file: None,
            line: None,
            span: 0..0,
            message: message.into(),
            help: None,
            hidden: None,
        }
    }

    /// Adds what to do about it.
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds the file it is about.
    pub fn with_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.file = Some(file.into());
        self
    }

    /// Lays the finding out as rustc does, with the line from `source` and carets below it; ends with a newline.
    ///
    /// `source` is the text the finding was made from. Secrets in the line are shown as `[secret]`. `color` adds ANSI
    /// colours.
    pub fn render(&self, source: &str, color: bool) -> String {
        let paint = Paint { color };
        let mut out = String::new();
        let severity = self.severity.to_string();
        // Writing to a `String` cannot fail.
        let _ = writeln!(
            out,
            "{}{}",
            paint.with(self.severity.colour(), &severity),
            paint.with(BOLD, &format!(": {}", printable(&self.message)))
        );
        let number = self.line.map(|line| line.to_string()).unwrap_or_default();
        let gutter = " ".repeat(number.len());
        let arrow = paint.with(BLUE, "-->");
        match (&self.file, self.line) {
            (Some(file), Some(line)) => {
                let text = source_line(source, line);
                let shown = Excerpt::new(text, &self.span, self.hidden.as_ref());
                let file = printable(&file.display().to_string());
                let _ = writeln!(out, "{gutter}{arrow} {file}:{line}:{}", shown.column + 1);
                if !shown.text.is_empty() {
                    let bar = paint.with(BLUE, "|");
                    let carets = paint.with(self.severity.colour(), &"^".repeat(shown.width));
                    let _ = writeln!(out, "{gutter} {bar}");
                    let _ = writeln!(out, "{} {bar} {}", paint.with(BLUE, &number), shown.text);
                    let _ = writeln!(out, "{gutter} {bar} {}{carets}", " ".repeat(shown.column));
                }
            }
            (Some(file), None) => {
                let _ = writeln!(
                    out,
                    "{gutter} {arrow} {}",
                    printable(&file.display().to_string())
                );
            }
            (None, _) => {}
        }
        if let Some(help) = &self.help {
            let _ = writeln!(
                out,
                "{gutter} {} help: {}",
                paint.with(BLUE, "="),
                printable(help)
            );
        }
        out
    }
}

fn source_line(source: &str, line: u32) -> &str {
    let index = usize::try_from(line)
        .unwrap_or(usize::MAX)
        .saturating_sub(1);
    let text = source.split('\n').nth(index).unwrap_or_default();
    let text = text.strip_suffix('\r').unwrap_or(text);
    if index == 0 {
        text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)
    } else {
        text
    }
}

/// A line of a file fit for a terminal, with what must not be shown replaced.
pub(crate) fn shown_line(source: &str, line: u32, hidden: Option<&Range<usize>>) -> String {
    Excerpt::new(source_line(source, line), &(0..0), hidden).text
}

/// How bad a finding is, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The server must not start.
    Error,
    /// The server starts, but not all of it is as the file says.
    Warning,
    /// Worth knowing; nothing is lost.
    Note,
}

impl Severity {
    fn colour(self) -> &'static str {
        match self {
            Self::Error => "\x1b[1;31m",
            Self::Warning => "\x1b[1;33m",
            Self::Note => "\x1b[1;32m",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

/// A line made fit for a terminal, and where in it the carets go, in characters.
struct Excerpt {
    text: String,
    column: usize,
    width: usize,
}

impl Excerpt {
    fn new(line: &str, span: &Range<usize>, hidden: Option<&Range<usize>>) -> Self {
        let (text, span) = match hidden {
            Some(hidden) => masked(line, span, hidden),
            None => (line.to_owned(), span.clone()),
        };
        let chars = |range: Range<usize>| text.get(range).map_or(0, |part| part.chars().count());
        let column = chars(0..span.start).min(EXCERPT_CHARS);
        let width = chars(span).clamp(1, EXCERPT_CHARS + 1 - column);
        let cut = text.chars().count() > EXCERPT_CHARS;
        let shown = text.chars().take(EXCERPT_CHARS);
        Self {
            text: shown
                .map(|character| {
                    if character.is_control() {
                        ' '
                    } else {
                        character
                    }
                })
                .chain(cut.then_some('…'))
                .collect(),
            column,
            width,
        }
    }
}

/// The line with the hidden bytes replaced, and the span where it is then.
fn masked(line: &str, span: &Range<usize>, hidden: &Range<usize>) -> (String, Range<usize>) {
    let (Some(before), Some(after)) = (line.get(..hidden.start), line.get(hidden.end..)) else {
        return (REDACTED.to_owned(), 0..REDACTED.len());
    };
    let moved = |at: usize, inside: usize| match at {
        at if at <= hidden.start => at,
        at if at < hidden.end => hidden.start + inside,
        at => at - hidden.len() + REDACTED.len(),
    };
    let span = moved(span.start, 0)..moved(span.end, REDACTED.len());
    (format!("{before}{REDACTED}{after}"), span)
}

struct Paint {
    color: bool,
}

impl Paint {
    fn with(&self, code: &str, text: &str) -> String {
        if self.color {
            format!("{code}{text}{RESET}")
        } else {
            text.to_owned()
        }
    }
}

fn printable(text: &str) -> String {
    text.chars()
        .map(|character| {
            if character.is_control() {
                '\u{fffd}'
            } else {
                character
            }
        })
        .collect()
}

/// Some editors begin a UTF-8 file with it; it is no part of the first key.
pub(crate) const BYTE_ORDER_MARK: char = '\u{feff}';
/// Longer lines are cut in the excerpt.
const EXCERPT_CHARS: usize = 160;
const BLUE: &str = "\x1b[1;34m";
const BOLD: &str = "\x1b[1m";
const RESET: &str = "\x1b[0m";
