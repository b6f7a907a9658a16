//! `turnctl config convert`: a `turnbuckle.toml` out of a `turnserver.conf` or an `eturnal.yml`.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use turnbuckle_config::{Outcome, read_alone, turnbuckle_toml};

use crate::Output;
use crate::cli::ConvertArgs;
use crate::configuration::{self, is_colored};
use crate::failure::Failure;

/// Converts the file, and makes sure that the result is good before it is handed out.
pub(crate) fn run(args: &ConvertArgs) -> Result<Output, Failure> {
    let path = &args.file;
    let source = configuration::text(path)?;
    let outcome = read_alone(path, &source);
    let note = note(&outcome, &source);
    let body = match outcome.convert(&source) {
        Some(text) => text,
        None => {
            configuration::usable(path, &source, outcome)?;
            String::new()
        }
    };
    let text = format!(
        "# Made by `turnctl config convert` from {}.\n\n{body}",
        path.display()
    );
    let written = Path::new("turnbuckle.toml");
    configuration::usable(written, &text, turnbuckle_toml(written, &text, &[]))?;
    let Some(output) = &args.output else {
        return Ok(Output {
            text,
            note,
            status: 0,
        });
    };
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(output);
    match file.and_then(|mut file| file.write_all(text.as_bytes())) {
        Ok(()) => Ok(Output {
            text: String::new(),
            note,
            status: 0,
        }),
        Err(error) => {
            let failure = Failure::new(format!("{} cannot be written: {error}", output.display()));
            Err(match error.kind() {
                ErrorKind::AlreadyExists => failure.help("name a file that is not there yet"),
                _ => failure,
            })
        }
    }
}

/// What is said about a file of another server: where that is not coturn, nobody has looked at it here before.
fn note(outcome: &Outcome, source: &str) -> Option<String> {
    let server = outcome
        .other_server()
        .filter(|server| *server != "coturn")?;
    let color = is_colored(&io::stderr());
    let mut text = format!("look at this before you use it in place of {server}\n");
    for found in &outcome.diagnostics {
        text.push('\n');
        text.push_str(&found.render(source, color));
    }
    let differences = outcome
        .settings
        .iter()
        .flat_map(|settings| &settings.differences);
    text += &format!("\nOtherwise than {server} with this file:\n");
    for difference in differences {
        text += &format!("  {}\n", difference.text);
    }
    Some(text.trim_end().to_owned())
}
