//! `turnctl version`.

use serde::Deserialize;

use super::Client;
use crate::Output;
use crate::cli::SocketArgs;
use crate::failure::Failure;

#[derive(Deserialize)]
struct Version {
    version: String,
}

/// The version of the server; that of `turnctl`, and that it is not running, where nobody answers.
pub(crate) fn run(args: &SocketArgs) -> Result<Output, Failure> {
    let own = env!("CARGO_PKG_VERSION");
    let client = Client::new(args);
    if !client.is_there() {
        return Ok(Output::new(format!("{own} (not running)\n")));
    }
    let server: Version = client.get("/v1/version")?;
    let note = (server.version != own).then(|| format!("turnctl itself is {own}"));
    Ok(Output {
        note,
        ..Output::new(format!("{}\n", server.version))
    })
}
