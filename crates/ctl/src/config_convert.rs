//! `turnctl config convert`: a `turnbuckle.toml` out of a `turnserver.conf`.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use turnbuckle_config::{read_alone, turnbuckle_toml};

use crate::Output;
use crate::cli::ConvertArgs;
use crate::configuration;
use crate::failure::Failure;

/// Converts the file, and makes sure that the result is good before it is handed out.
pub(crate) fn run(args: &ConvertArgs) -> Result<Output, Failure> {
    let path = &args.file;
    let source = configuration::text(path)?;
    let outcome = read_alone(path, &source);
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
        return Ok(Output::new(text));
    };
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(output);
    match file.and_then(|mut file| file.write_all(text.as_bytes())) {
        Ok(()) => Ok(Output::new(String::new())),
        Err(error) => {
            let failure = Failure::new(format!("{} cannot be written: {error}", output.display()));
            Err(match error.kind() {
                ErrorKind::AlreadyExists => failure.help("name a file that is not there yet"),
                _ => failure,
            })
        }
    }
}
