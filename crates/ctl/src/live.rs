//! The commands on a running server. Owns what they print; asks the server over its admin socket and keeps nothing.

mod client;
pub(crate) mod disconnect;
pub(crate) mod drain;
pub(crate) mod explain;
pub(crate) mod info;
pub(crate) mod log_level;
pub(crate) mod reload;
pub(crate) mod revoke;
pub(crate) mod sessions;
pub(crate) mod status;
mod text;
pub(crate) mod top;
pub(crate) mod version;
mod watch;

use crate::Output;
use crate::failure::Failure;

pub(crate) use client::Client;

/// What is at `path`, as it is.
fn object(client: &Client, path: &str) -> Result<Output, Failure> {
    let answer: serde_json::Value = client.get(path)?;
    Ok(Output::new(format!("{answer:#}\n")))
}
