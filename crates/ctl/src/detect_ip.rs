//! `turnctl detect-ip`: the public address of this host, by asking a STUN server; and `turnctl run`, which tells it to the server.

use std::env;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::Output;
use crate::cli::{DetectIpArgs, RunArgs};
use crate::failure::Failure;
use crate::probe::{self, Carrier};

/// The address on a line of its own; one for each family that was asked for.
pub(crate) fn run(args: &DetectIpArgs) -> Result<Output, Failure> {
    let families = match (args.ipv4, args.ipv6) {
        (false, false) => vec![None],
        (ipv4, ipv6) => [(ipv4, Family::V4), (ipv6, Family::V6)]
            .into_iter()
            .filter_map(|(wanted, family)| wanted.then_some(Some(family)))
            .collect(),
    };
    let mut text = String::new();
    for family in families {
        text.push_str(&format!("{}\n", detect(&args.stun, family)?));
    }
    Ok(Output::new(text))
}

/// Becomes the server: its program, its arguments, and an `external-ip` for each address that the environment asks to detect.
pub(crate) fn run_server(args: &RunArgs) -> Result<Output, Failure> {
    let mut command = Command::new(&args.server);
    for address in from_environment(|name| env::var(name).ok())? {
        command.arg(format!("--external-ip={address}"));
    }
    command.args(&args.arguments);
    let error = command.exec();
    Err(Failure::new(format!(
        "{} cannot be run: {error}",
        Path::new(&args.server).display()
    )))
}

/// What `DETECT_EXTERNAL_IP`, `DETECT_EXTERNAL_IPV4` and `DETECT_EXTERNAL_IPV6` come to.
fn from_environment(read: impl Fn(&str) -> Option<String>) -> Result<Vec<IpAddr>, Failure> {
    let mut families = Vec::new();
    for (name, family) in SWITCHES {
        let value = read(name).unwrap_or_default();
        match value.to_ascii_lowercase().as_str() {
            "" | "0" | "no" | "false" | "off" => {}
            "1" | "yes" | "true" | "on" => families.push((name, family)),
            _ => {
                return Err(Failure::new(format!("{name} is neither yes nor no")));
            }
        }
    }
    if families.is_empty() {
        return Ok(Vec::new());
    }
    let Some(server) = read(STUN_SERVER).filter(|server| !server.is_empty()) else {
        return Err(Failure::new(format!(
            "{} is set, and {STUN_SERVER} names no server to ask",
            families.first().map_or("", |(name, _)| name)
        ))
        .help(format!(
            "set {STUN_SERVER} to the name of a STUN server outside of your network, or --external-ip to the address"
        )));
    };
    let mut addresses = Vec::new();
    for (_, family) in families {
        let address = detect(&server, family)?;
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

fn detect(server: &str, family: Option<Family>) -> Result<IpAddr, Failure> {
    let found = addresses(server)?;
    let mut of_family = found
        .iter()
        .filter(|address| family.is_none_or(|family| family == Family::of(address)))
        .peekable();
    if of_family.peek().is_none() {
        return Err(Failure::new(format!(
            "{server} has no {} address",
            family.map_or("IP", Family::as_str)
        )));
    }
    let mut told = String::new();
    for &address in of_family {
        match probe::binding(address, Carrier::Udp, TRIES) {
            Ok(seen) => return Ok(seen.ip().to_canonical()),
            Err(error) => told = format!("{address}: {error}"),
        }
    }
    Err(Failure::new(format!(
        "{server} does not tell the address of this host: {told}"
    ))
    .help("does the firewall let UDP out? `turnctl detect-ip --stun OTHER` asks another server"))
}

/// `HOST`, `HOST:PORT`, an IP address, or `[IPV6]:PORT`.
fn addresses(server: &str) -> Result<Vec<SocketAddr>, Failure> {
    let bare = server.trim_start_matches('[').trim_end_matches(']');
    let found = match (bare.parse::<IpAddr>(), has_port(server)) {
        (Ok(ip), _) => return Ok(vec![SocketAddr::new(ip, STUN_PORT)]),
        (Err(_), true) => server.to_socket_addrs(),
        (Err(_), false) => (server, STUN_PORT).to_socket_addrs(),
    };
    match found {
        Ok(found) => Ok(found.collect()),
        Err(error) => Err(
            Failure::new(format!("{server} cannot be looked up: {error}"))
                .help("write `HOST`, `HOST:PORT`, an IP address, or `[IPV6]:PORT`"),
        ),
    }
}

fn has_port(server: &str) -> bool {
    server
        .rsplit_once(':')
        .is_some_and(|(host, _)| host.ends_with(']') || !host.contains(':'))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    fn of(address: &SocketAddr) -> Self {
        match address {
            SocketAddr::V4(_) => Self::V4,
            SocketAddr::V6(_) => Self::V6,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

const SWITCHES: [(&str, Option<Family>); 3] = [
    ("DETECT_EXTERNAL_IP", None),
    ("DETECT_EXTERNAL_IPV4", Some(Family::V4)),
    ("DETECT_EXTERNAL_IPV6", Some(Family::V6)),
];
const STUN_SERVER: &str = "DETECT_STUN_SERVER";
/// RFC 8489 §8.1.
const STUN_PORT: u16 = 3478;
/// Seven sendings take three and a half seconds.
const TRIES: u32 = 7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_and_without_a_port() {
        for (text, expected) in [
            ("192.0.2.1", "192.0.2.1:3478"),
            ("192.0.2.1:19302", "192.0.2.1:19302"),
            ("2001:db8::1", "[2001:db8::1]:3478"),
            ("[2001:db8::1]", "[2001:db8::1]:3478"),
            ("[2001:db8::1]:99", "[2001:db8::1]:99"),
        ] {
            let expected: SocketAddr = expected.parse().unwrap();
            assert_eq!(addresses(text).unwrap(), [expected], "{text}");
        }
        assert!(addresses("192.0.2.1:port").is_err());
    }

    #[test]
    fn nothing_is_asked_unless_switched_on() {
        let none = from_environment(|name| (name == STUN_SERVER).then(|| "192.0.2.1".to_owned()));
        assert!(none.unwrap().is_empty());
        let off = from_environment(|_| Some("no".to_owned()));
        assert!(off.unwrap().is_empty());
    }

    #[test]
    fn a_switch_without_a_server_and_a_word_that_is_no_switch_are_failures() {
        let alone = |value: &'static str| {
            from_environment(move |name| (name == SWITCHES[0].0).then(|| value.to_owned()))
                .unwrap_err()
                .to_string()
        };
        assert!(alone("yes").contains(STUN_SERVER), "{}", alone("yes"));
        assert!(alone("203.0.113.7").contains("neither yes nor no"));
    }
}
