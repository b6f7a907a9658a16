//! `turnctl disconnect`: ends the sessions of a user.

use serde::Deserialize;

use super::{Client, client};
use crate::Output;
use crate::cli::UserArgs;
use crate::failure::Failure;

#[derive(Deserialize)]
struct Ended {
    ended: u64,
}

/// Ends them; says how many there were, as eturnalctl does.
pub(crate) fn run(args: &UserArgs) -> Result<Output, Failure> {
    let path = format!("/v1/users/{}/sessions", client::segment(&args.user));
    let answer: Ended = Client::new(&args.socket).call("DELETE", &path, None)?;
    Ok(Output::new(format!(
        "Disconnected {} TURN session(s)\n",
        answer.ended
    )))
}
