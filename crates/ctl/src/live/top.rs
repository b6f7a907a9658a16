//! `turnctl top`: who moves most data now.

use std::fmt::Write as _;
use std::net::IpAddr;

use serde::Deserialize;
use serde_json::Value;

use super::text::{bit_rate, fitted};
use super::{Client, watch};
use crate::Output;
use crate::cli::TopArgs;
use crate::failure::Failure;

#[derive(Deserialize)]
struct Top {
    over_seconds: f64,
    sessions: u64,
    users: Vec<User>,
    peers: Vec<Peer>,
    networks: Vec<Network>,
}

#[derive(Deserialize)]
struct User {
    user: String,
    #[serde(flatten)]
    load: Load,
}

#[derive(Deserialize)]
struct Peer {
    ip: IpAddr,
    #[serde(flatten)]
    load: Load,
}

#[derive(Deserialize)]
struct Network {
    network: String,
    #[serde(flatten)]
    load: Load,
}

#[derive(Deserialize)]
struct Load {
    sessions: u64,
    to_peers_bits_per_second: f64,
    to_clients_bits_per_second: f64,
    packets_per_second: f64,
}

pub(crate) fn run(args: &TopArgs) -> Result<Output, Failure> {
    let client = Client::new(&args.socket);
    let look = || -> Result<String, Failure> {
        if args.json {
            return watch::json(&client.get::<Value>(PATH)?, !args.once);
        }
        Ok(tables(&client.get(PATH)?))
    };
    if args.once {
        look().map(Output::new)
    } else {
        watch::until_stopped(args.json, look)
    }
}

fn tables(top: &Top) -> String {
    let mut text = format!(
        "{} sessions, over the last {:.1} s\n",
        top.sessions, top.over_seconds
    );
    let users = top.users.iter().map(|one| (one.user.clone(), &one.load));
    table(&mut text, "USER", users);
    let peers = top.peers.iter().map(|one| (one.ip.to_string(), &one.load));
    table(&mut text, "PEER, all traffic of its sessions", peers);
    let networks = top.networks.iter();
    let networks = networks.map(|one| (one.network.clone(), &one.load));
    table(&mut text, "NETWORK OF CLIENTS", networks);
    text
}

fn table<'a>(text: &mut String, heading: &str, rows: impl Iterator<Item = (String, &'a Load)>) {
    // Writing to a `String` cannot fail.
    let _ = writeln!(
        text,
        "\n{heading:<NAME_WIDTH$} {:>8} {:>11} {:>11} {:>7}",
        "SESSIONS", "TO PEERS", "TO CLIENTS", "PKTS/S"
    );
    let mut is_empty = true;
    for (name, load) in rows {
        is_empty = false;
        let _ = writeln!(
            text,
            "{} {:>8} {:>11} {:>11} {:>7.0}",
            fitted(&name, NAME_WIDTH),
            load.sessions,
            bit_rate(load.to_peers_bits_per_second),
            bit_rate(load.to_clients_bits_per_second),
            load.packets_per_second
        );
    }
    if is_empty {
        text.push_str("none\n");
    }
}

const PATH: &str = "/v1/top";
/// An IPv6 address fits, and a row fits 80 columns.
const NAME_WIDTH: usize = 39;
