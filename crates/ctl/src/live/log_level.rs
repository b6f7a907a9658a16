//! `turnctl loglevel`: tells the level of the log, or changes it until the next reload or restart.

use serde::Deserialize;
use serde_json::{Value, json};

use super::Client;
use crate::Output;
use crate::cli::LogLevelArgs;
use crate::failure::Failure;

#[derive(Deserialize)]
struct Level {
    level: String,
}

/// The level without an argument; nothing where it was changed.
pub(crate) fn run(args: &LogLevelArgs) -> Result<Output, Failure> {
    let client = Client::new(&args.socket);
    let text = match &args.level {
        None => client.get::<Level>(PATH)?.level + "\n",
        Some(level) => {
            client.call::<Value>("PUT", PATH, Some(&json!({ "level": level })))?;
            String::new()
        }
    };
    Ok(Output::new(text))
}

const PATH: &str = "/v1/loglevel";
