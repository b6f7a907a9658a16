//! `turnctl reload`: the configuration is read anew; what is otherwise is shown.

use std::fmt::Write as _;

use serde::Deserialize;

use super::Client;
use super::text::plain;
use crate::Output;
use crate::cli::SocketArgs;
use crate::failure::Failure;

#[derive(Deserialize)]
struct Reloaded {
    applied: Vec<Change>,
    needs_restart: Vec<Change>,
    /// An older server has none.
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Change {
    key: String,
    text: String,
}

/// A failure says what is wrong with the file; the server then goes on as before.
pub(crate) fn run(args: &SocketArgs) -> Result<Output, Failure> {
    let reloaded: Reloaded = Client::new(args).call("POST", "/v1/reload", None)?;
    let mut text = String::new();
    if reloaded.applied.is_empty() && reloaded.needs_restart.is_empty() {
        text.push_str("Reloaded; the settings are as they were\n");
    }
    list(&mut text, "In force now:", &reloaded.applied);
    list(
        &mut text,
        "Not before the server is started anew:",
        &reloaded.needs_restart,
    );
    for warning in &reloaded.warnings {
        let _ = writeln!(text, "Warning: {}", plain(warning));
    }
    Ok(Output {
        status: match reloaded.needs_restart.is_empty() {
            true => 0,
            false => NEEDS_RESTART,
        },
        ..Output::new(text)
    })
}

fn list(text: &mut String, heading: &str, changes: &[Change]) {
    if changes.is_empty() {
        return;
    }
    // Writing to a `String` cannot fail.
    let _ = writeln!(text, "{heading}");
    for change in changes {
        let _ = writeln!(text, "  {}: {}", change.key, plain(&change.text));
    }
}

/// Some of the file waits for a restart.
const NEEDS_RESTART: u8 = 3;
