//! `turnctl revoke`, `unrevoke` and `revoked`: users that are shut out.

use std::fmt::Write as _;

use serde::Deserialize;

use super::text::{counted, plain};
use super::{Client, client};
use crate::Output;
use crate::cli::{LookArgs, UserArgs};
use crate::failure::Failure;

#[derive(Deserialize)]
struct Revoked {
    user: String,
    was_revoked: bool,
    ended: u64,
    outlives_restart: bool,
}

#[derive(Deserialize)]
struct Unrevoked {
    user: String,
    was_revoked: bool,
}

#[derive(Deserialize)]
struct List {
    users: Vec<String>,
    outlives_restart: bool,
}

/// No new sessions for the user, and the end of those that are there.
pub(crate) fn add(args: &UserArgs) -> Result<Output, Failure> {
    let answer: Revoked = Client::new(&args.socket).call("PUT", &path(&args.user), None)?;
    let user = plain(&answer.user);
    let text = match answer.was_revoked {
        true => format!("{user} was revoked already\n"),
        false => format!(
            "{user} is revoked; {} ended\n",
            counted(answer.ended, "session")
        ),
    };
    Ok(Output {
        note: note(answer.outlives_restart),
        ..Output::new(text)
    })
}

/// The user may come back.
pub(crate) fn remove(args: &UserArgs) -> Result<Output, Failure> {
    let answer: Unrevoked = Client::new(&args.socket).call("DELETE", &path(&args.user), None)?;
    let user = plain(&answer.user);
    match answer.was_revoked {
        true => Ok(Output::new(format!("{user} is no longer revoked\n"))),
        false => Err(Failure::new(format!("{user} is not revoked"))
            .help("`turnctl revoked` lists those who are")),
    }
}

/// All of them.
pub(crate) fn list(args: &LookArgs) -> Result<Output, Failure> {
    let client = Client::new(&args.socket);
    if args.json {
        return super::object(&client, PATH);
    }
    let list: List = client.get(PATH)?;
    if list.users.is_empty() {
        return Ok(Output::new("No user is revoked\n".to_owned()));
    }
    let mut text = String::new();
    for user in &list.users {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{}", plain(user));
    }
    Ok(Output {
        note: note(list.outlives_restart),
        ..Output::new(text)
    })
}

fn path(user: &str) -> String {
    format!("{PATH}/{}", client::segment(user))
}

fn note(outlives_restart: bool) -> Option<String> {
    let note = "the server forgets this when it is started anew: it has no state-directory";
    (!outlives_restart).then(|| note.to_owned())
}

const PATH: &str = "/v1/revoked";
