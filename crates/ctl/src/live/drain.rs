//! `turnctl drain`: no new sessions, and the end of the server when the last one has ended.

use std::net::{SocketAddr, ToSocketAddrs};

use serde::Deserialize;
use serde_json::json;

use super::Client;
use super::text::{counted, time};
use crate::Output;
use crate::cli::DrainArgs;
use crate::failure::Failure;

#[derive(Deserialize)]
struct Begun {
    sessions: u64,
}

#[derive(Deserialize)]
struct Cancelled {
    was_draining: bool,
}

pub(crate) fn run(args: &DrainArgs) -> Result<Output, Failure> {
    let client = Client::new(&args.socket);
    if args.cancel {
        let answer: Cancelled = client.call("DELETE", PATH, None)?;
        return Ok(Output::new(
            match answer.was_draining {
                true => "The server takes new sessions again\n",
                false => "The server was not being drained\n",
            }
            .to_owned(),
        ));
    }
    let redirect = match &args.redirect {
        Some(host) => addresses(host)?,
        None => Vec::new(),
    };
    let body = json!({ "deadline_seconds": args.deadline, "redirect": redirect });
    let begun: Begun = client.call("PUT", PATH, Some(&body))?;
    let to = redirect.iter().map(ToString::to_string);
    let to: Vec<String> = to.collect();
    let new = match to.is_empty() {
        true => "new ones are refused".to_owned(),
        false => format!("new ones are sent to {}", to.join(" and ")),
    };
    let end = match args.deadline {
        Some(seconds) => format!(", in {} at the latest", time(seconds)),
        None => String::new(),
    };
    Ok(Output::new(format!(
        "Draining: {} left, {new}; the server ends when all have ended{end}\n",
        counted(begun.sessions, "session")
    )))
}

/// One address of each family that the name has.
fn addresses(host: &str) -> Result<Vec<SocketAddr>, Failure> {
    let with_port = match host.parse::<std::net::IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, DEFAULT_PORT).to_string(),
        Err(_)
            if host
                .rsplit_once(':')
                .is_some_and(|(_, port)| port.parse::<u16>().is_ok()) =>
        {
            host.to_owned()
        }
        Err(_) => format!("{host}:{DEFAULT_PORT}"),
    };
    let found = with_port.to_socket_addrs().map_err(|error| {
        Failure::new(format!("the address of {host} is not found: {error}"))
            .help("name the other server by address, as `--redirect 203.0.113.8:3478`")
    })?;
    let mut all: Vec<SocketAddr> = Vec::new();
    for address in found {
        if !all.iter().any(|known| known.is_ipv4() == address.is_ipv4()) {
            all.push(address);
        }
    }
    Ok(all)
}

const PATH: &str = "/v1/drain";
/// RFC 8656 §3.1.
const DEFAULT_PORT: u16 = 3478;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_with_and_without_port() {
        for (host, address) in [
            ("203.0.113.8", "203.0.113.8:3478"),
            ("203.0.113.8:443", "203.0.113.8:443"),
            ("2001:db8::8", "[2001:db8::8]:3478"),
            ("[2001:db8::8]:443", "[2001:db8::8]:443"),
        ] {
            assert_eq!(addresses(host).unwrap(), [address.parse().unwrap()]);
        }
    }
}
