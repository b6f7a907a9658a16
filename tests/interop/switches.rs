//! Switches of coturn's `turnutils_uclient` for the less usual parts of TURN, each with channels and with Send indications.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::uclient::{Bench, Report};

/// Without `-c` each client is a pair: it asks for an even port and for the next one to be kept (EVEN-PORT), and a second allocation
/// takes that (RESERVATION-TOKEN), often on another thread.
#[test]
fn coturn_clients_get_pairs_of_ports() {
    let Some(log) = run("relay-threads=3", &[]) else {
        return;
    };
    let ports: BTreeSet<u16> = started(&log)
        .map(|line| address(line, "relayed").port())
        .collect();
    assert!(ports.len() >= 8, "{log}");
    for port in &ports {
        assert!(ports.contains(&(port ^ 1)), "{port} is alone:\n{log}");
    }
}

/// Each client goes on from another port once it has its allocation, and shows its ticket there (RFC 8016).
#[test]
fn coturn_clients_take_their_allocations_along() {
    let Some(log) = run("mobility", &["-c", "-M"]) else {
        return;
    };
    let first: BTreeSet<SocketAddr> = started(&log).map(|line| address(line, "client")).collect();
    let last: Vec<SocketAddr> = log
        .lines()
        .filter(|line| line.contains(" session ended: deleted by client "))
        .map(|line| address(line, "client"))
        .collect();
    assert_eq!(last.len(), 8, "{log}");
    for client in last {
        assert!(!first.contains(&client), "{client} has not moved:\n{log}");
    }
}

#[test]
fn coturn_clients_may_forbid_fragments() {
    run("", &["-c", "-g"]);
}

/// What the server has told at the end; `None` if the tools are not there. Nothing may be lost.
fn run(config: &str, arguments: &[&str]) -> Option<String> {
    let config = format!("allowed-peer-ip=127.0.0.1\n{config}");
    let bench = Bench::start_as(&config, &[V4], |builder| builder)?;
    let arguments = [arguments, &["-m", "4", "-n", "20"]].concat();
    let clients = [
        bench.client(V4, V4, &arguments),
        bench.client(V4, V4, &[&arguments[..], &["-s"]].concat()),
    ];
    for client in clients {
        assert_eq!(
            client.succeed(),
            Report {
                sent: 80,
                received: 80,
                lost: 0,
                dropped: 0
            }
        );
    }
    Some(bench.server.stop())
}

fn started(log: &str) -> impl Iterator<Item = &str> {
    log.lines()
        .filter(|line| line.contains(" session started "))
}

fn address(line: &str, key: &str) -> SocketAddr {
    let value = line
        .split(' ')
        .find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    let value = value.unwrap_or_else(|| panic!("no {key} in: {line}"));
    value.parse().expect("an address")
}

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
