//! `turnctl status`: the server on one screen.

use std::fmt::Write as _;

use serde::Deserialize;

use super::Client;
use super::text::{bit_rate, counted, plain, time};
use crate::Output;
use crate::cli::LookArgs;
use crate::failure::Failure;

#[derive(Deserialize)]
struct Status {
    version: String,
    state: String,
    uptime_seconds: u64,
    sessions: Sessions,
    relay_ports: Ports,
    traffic: Traffic,
    drops: Vec<Drop>,
    certificates: Vec<Certificate>,
    health: Vec<Finding>,
}

#[derive(Deserialize)]
struct Sessions {
    live: u64,
    limit: Option<u64>,
    udp: u64,
    tcp: u64,
    tls: u64,
    dtls: u64,
}

#[derive(Deserialize)]
struct Ports {
    free: u64,
    total: u64,
}

#[derive(Deserialize)]
struct Traffic {
    to_peers: Rate,
    to_clients: Rate,
}

#[derive(Deserialize)]
struct Rate {
    bits_per_second: f64,
    packets_per_second: f64,
}

#[derive(Deserialize)]
struct Drop {
    reason: String,
    count: u64,
    per_second: f64,
}

#[derive(Deserialize)]
struct Certificate {
    path: String,
    names: Vec<String>,
    not_after_unix_seconds: u64,
    /// Negative once it has expired.
    expires_in_seconds: i64,
}

#[derive(Deserialize)]
struct Finding {
    severity: String,
    text: String,
    help: Option<String>,
}

pub(crate) fn run(args: &LookArgs) -> Result<Output, Failure> {
    let client = Client::new(&args.socket);
    if args.json {
        return super::object(&client, "/v1/status");
    }
    client
        .get("/v1/status")
        .map(|status| Output::new(screen(&status)))
}

fn screen(status: &Status) -> String {
    let mut text = format!(
        "Turnbuckle {} is {}, up {}\n\n",
        status.version,
        status.state,
        time(status.uptime_seconds)
    );
    let sessions = &status.sessions;
    row(&mut text, "sessions", &of(sessions.live, sessions.limit));
    let transports = [
        ("UDP", sessions.udp),
        ("TCP", sessions.tcp),
        ("TLS", sessions.tls),
        ("DTLS", sessions.dtls),
    ];
    let transports: Vec<String> = transports
        .into_iter()
        .filter(|&(_, count)| count > 0)
        .map(|(name, count)| format!("{count} over {name}"))
        .collect();
    if !transports.is_empty() {
        row(&mut text, "", &transports.join(", "));
    }
    let ports = &status.relay_ports;
    row(
        &mut text,
        "relay ports",
        &format!("{} of {} free", ports.free, ports.total),
    );
    row(&mut text, "to peers", &rate(&status.traffic.to_peers));
    row(&mut text, "to clients", &rate(&status.traffic.to_clients));
    list(&mut text, "dropped", "nothing", &status.drops, |drop| {
        format!("{} {} ({:.0}/s)", drop.count, drop.reason, drop.per_second)
    });
    list(
        &mut text,
        "certificates",
        "none",
        &status.certificates,
        certificate,
    );
    list(
        &mut text,
        "health",
        "nothing to report",
        &status.health,
        finding,
    );
    text
}

fn row(text: &mut String, name: &str, value: &str) {
    // Writing to a `String` cannot fail.
    let _ = writeln!(text, "  {name:<13} {value}");
}

fn list<T>(text: &mut String, name: &str, none: &str, all: &[T], say: impl Fn(&T) -> String) {
    if all.is_empty() {
        row(text, name, none);
    }
    for (at, one) in all.iter().enumerate() {
        row(text, if at == 0 { name } else { "" }, &say(one));
    }
}

fn of(held: u64, limit: Option<u64>) -> String {
    match limit {
        Some(limit) => format!("{held} of {limit}"),
        None => format!("{held}, without a limit"),
    }
}

fn rate(rate: &Rate) -> String {
    format!(
        "{}, {:.0} packets/s",
        bit_rate(rate.bits_per_second),
        rate.packets_per_second
    )
}

fn certificate(certificate: &Certificate) -> String {
    let names = match certificate.names.split_first() {
        Some((first, [])) => plain(first),
        Some((first, more)) => {
            format!(
                "{} and {}",
                plain(first),
                counted(more.len() as u64, "more name")
            )
        }
        None => plain(&certificate.path),
    };
    let end = day(certificate.not_after_unix_seconds);
    let left = time(certificate.expires_in_seconds.unsigned_abs());
    if certificate.expires_in_seconds > 0 {
        format!("{names}: good until {end}, for {left}")
    } else {
        format!("{names}: EXPIRED {left} ago, on {end}")
    }
}

/// As `2026-11-20`.
fn day(unix_seconds: u64) -> String {
    i64::try_from(unix_seconds)
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .map(|time| time.to_string().chars().take(10).collect())
        .unwrap_or_default()
}

fn finding(finding: &Finding) -> String {
    let help = finding.help.as_deref();
    format!(
        "{}: {}{}",
        finding.severity,
        plain(&finding.text),
        help.map(|help| format!("; {}", plain(help)))
            .unwrap_or_default()
    )
}
