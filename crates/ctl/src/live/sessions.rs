//! `turnctl sessions`: live sessions in blocks, laid out as eturnalctl does.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;
use serde_json::Value;

use super::text::{kib, plain};
use super::{Client, client, watch};
use crate::Output;
use crate::cli::SessionsArgs;
use crate::failure::Failure;

#[derive(Deserialize)]
struct Sessions {
    /// How many there are, more of them than are told if there are many.
    total: u64,
    sessions: Vec<Session>,
}

#[derive(Deserialize)]
struct Session {
    user: String,
    username: Option<String>,
    client: SocketAddr,
    transport: String,
    relayed: Vec<SocketAddr>,
    relayed_transport: String,
    age_seconds: u64,
    packets_to_peers: u64,
    bytes_to_peers: u64,
    packets_to_client: u64,
    bytes_to_client: u64,
    permissions: Vec<Permission>,
    channels: Vec<Channel>,
}

#[derive(Deserialize)]
struct Permission {
    ip: IpAddr,
}

#[derive(Deserialize)]
struct Channel {
    peer: SocketAddr,
}

/// All sessions, or those of one user.
pub(crate) fn run(args: &SessionsArgs) -> Result<Output, Failure> {
    let client = Client::new(&args.socket);
    let of = match &args.user {
        Some(user) => format!("/v1/users/{}/sessions", client::segment(user)),
        None => "/v1/sessions".to_owned(),
    };
    let path = format!("{of}?limit={}", args.limit);
    let look = || -> Result<String, Failure> {
        if args.json {
            return watch::json(&client.get::<Value>(&path)?, args.watch);
        }
        Ok(blocks(&client.get(&path)?))
    };
    if args.watch {
        return watch::until_stopped(args.json, look);
    }
    look().map(Output::new)
}

fn blocks(answer: &Sessions) -> String {
    if answer.total == 0 {
        return "No active TURN sessions\n".to_owned();
    }
    let mut text = format!("{} active TURN sessions:\n", answer.total);
    for session in &answer.sessions {
        let _ = write!(text, "\n{}", block(session));
    }
    let hidden = answer.total.saturating_sub(answer.sessions.len() as u64);
    if hidden > 0 {
        let _ = writeln!(
            text,
            "\n{hidden} more are not shown; `--limit NUMBER` shows more of them"
        );
    }
    text
}

fn block(session: &Session) -> String {
    let peers = session.relayed_transport.to_uppercase();
    let name = session.username.as_deref().unwrap_or(&session.user);
    let permissions = session.permissions.iter().map(|permission| permission.ip);
    let channels = session.channels.iter().map(|channel| channel.peer);
    let rows = [
        (
            "Client",
            format!("{} ({})", session.client, session.transport.to_uppercase()),
        ),
        ("Relay", list(session.relayed.iter().copied(), &peers)),
        ("Permission(s)", list(permissions, &peers)),
        ("Peer(s)", list(channels, &peers)),
        (
            "Sent",
            amount(session.bytes_to_peers, session.packets_to_peers),
        ),
        (
            "Received",
            amount(session.bytes_to_client, session.packets_to_client),
        ),
        ("Running for", format!("{} seconds", session.age_seconds)),
    ];
    let mut text = format!("-- TURN session of {} --\n", plain(name));
    for (label, value) in rows {
        let _ = writeln!(text, "{:>17} {value}", format!("{label}:"));
    }
    text
}

fn list(all: impl Iterator<Item = impl ToString>, transport: &str) -> String {
    let all: Vec<String> = all.map(|one| one.to_string()).collect();
    if all.is_empty() {
        "none".to_owned()
    } else {
        format!("{} ({transport})", all.join(", "))
    }
}

fn amount(bytes: u64, packets: u64) -> String {
    format!("{} KiB ({packets} packets)", kib(bytes))
}
