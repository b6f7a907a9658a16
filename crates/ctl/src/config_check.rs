//! `turnctl config check`: a file reviewed line by line.

use std::fmt::Write as _;
use std::io;

use serde_json::json;
use turnbuckle_config::{Outcome, Reading, Severity, Verdict, read_alone};

use crate::Output;
use crate::cli::CheckArgs;
use crate::configuration::{self, is_colored};
use crate::failure::Failure;

/// What each line was understood as, then all findings, then what coturn would have done otherwise.
pub(crate) fn run(args: &CheckArgs) -> Result<Output, Failure> {
    let source = configuration::text(&args.file).map_err(|failure| failure.exit(ERRORS))?;
    let outcome = read_alone(&args.file, &source);
    let text = if args.json {
        format!("{:#}\n", object(args, &source, &outcome))
    } else {
        review(&source, &outcome, is_colored(&io::stdout()))
    };
    let status = match outcome.diagnostics.iter().map(|found| found.severity).min() {
        Some(Severity::Error) => ERRORS,
        Some(Severity::Warning) => WARNINGS,
        Some(Severity::Note) | None => 0,
    };
    Ok(Output {
        text,
        note: None,
        status,
    })
}

fn review(source: &str, outcome: &Outcome, color: bool) -> String {
    let mut text = String::new();
    // Writing to a `String` cannot fail.
    for reading in outcome.readings(source) {
        let _ = writeln!(
            text,
            "{:>5}  {:<10}  {}",
            reading.line,
            reading.verdict.as_str(),
            reading.text
        );
        if let Some(meaning) = meaning(&reading) {
            let _ = writeln!(text, "{:19}{meaning}", "");
        }
    }
    for found in &outcome.diagnostics {
        text.push('\n');
        text.push_str(&found.render(source, color));
    }
    let differences = outcome
        .settings
        .as_ref()
        .map(|settings| settings.differences.as_slice())
        .unwrap_or_default();
    if !differences.is_empty() {
        let server = outcome.other_server().unwrap_or_default();
        let _ = writeln!(text, "\nOtherwise than {server} with this file:");
    }
    for difference in differences {
        let line = difference.line.map(|line| format!(" (line {line})"));
        let _ = writeln!(text, "  {}{}", difference.text, line.unwrap_or_default());
    }
    let gap = if text.is_empty() { "" } else { "\n" };
    let _ = writeln!(text, "{gap}{}", summary(outcome));
    text
}

/// What the line is for and what it comes to, or why it comes to nothing.
fn meaning(reading: &Reading) -> Option<String> {
    let name = reading.name.as_deref()?;
    Some(match (reading.verdict, &reading.value) {
        (Verdict::InForce, Some(value)) => format!("{name} is {value}: {}", reading.help),
        (Verdict::NoEffect(reason) | Verdict::NotBuilt(reason), _) => format!("{name}: {reason}"),
        (Verdict::Overridden(Some(line)), _) => {
            format!("{name}: line {line} says otherwise and wins")
        }
        (Verdict::Overridden(None), _) => {
            format!("{name}: the command line says otherwise and wins")
        }
        _ => format!("{name}: {}", reading.help),
    })
}

fn summary(outcome: &Outcome) -> String {
    let count = |severity| {
        outcome
            .diagnostics
            .iter()
            .filter(|found| found.severity == severity)
            .count()
    };
    let some = |count: usize, word: &str| match count {
        1 => format!("1 {word}"),
        _ => format!("{count} {word}s"),
    };
    let verdict = match (count(Severity::Error), count(Severity::Warning)) {
        (0, 0) => "The file is good",
        (0, _) => "A server would start with it",
        _ => "No server would start with it",
    };
    format!(
        "{verdict}: {}, {}, {}.",
        some(count(Severity::Error), "error"),
        some(count(Severity::Warning), "warning"),
        some(count(Severity::Note), "note")
    )
}

fn object(args: &CheckArgs, source: &str, outcome: &Outcome) -> serde_json::Value {
    let lines: Vec<_> = outcome
        .readings(source)
        .into_iter()
        .map(|reading| {
            json!({
                "line": reading.line,
                "text": reading.text,
                "name": reading.name,
                "value": reading.value,
                "verdict": reading.verdict.as_str(),
                "meaning": meaning(&reading),
            })
        })
        .collect();
    let findings: Vec<_> = outcome
        .diagnostics
        .iter()
        .map(|found| {
            json!({
                "severity": found.severity.to_string(),
                "line": found.line,
                "message": found.message,
                "help": found.help,
            })
        })
        .collect();
    let differences: Vec<_> = outcome
        .settings
        .iter()
        .flat_map(|settings| &settings.differences)
        .map(|difference| json!({ "line": difference.line, "text": difference.text }))
        .collect();
    json!({
        "file": args.file.display().to_string(),
        "usable": outcome.settings.is_some(),
        "lines": lines,
        "findings": findings,
        "differences": differences,
    })
}

const WARNINGS: u8 = 1;
const ERRORS: u8 = 2;
