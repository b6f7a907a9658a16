//! coturn's clients of the NAT behaviour tests (RFC 5780), without a NAT on their way.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::time::Duration;

use turnbuckle_tests::{Process, Requirement, Server};

#[test]
fn coturn_finds_no_nat_and_no_filter() {
    let Some(server) = start("turnutils_natdiscovery") else {
        return;
    };
    let mapping = run("turnutils_natdiscovery", &["-m"], &server);
    assert!(
        mapping.contains("Endpoint Independent Mapping") || mapping.contains("No NAT"),
        "{mapping}"
    );
    let filtering = run("turnutils_natdiscovery", &["-f"], &server);
    assert!(
        filtering.contains("Endpoint Independent Filtering"),
        "{filtering}"
    );
    let padded = run("turnutils_natdiscovery", &["-m", "-f", "-P"], &server);
    assert!(
        padded.contains("Endpoint Independent Filtering"),
        "{padded}"
    );
    server.stop();
}

#[test]
fn coturn_stun_client_hears_from_all_four_sockets() {
    let Some(server) = start("turnutils_stunclient") else {
        return;
    };
    let output = run("turnutils_stunclient", &["-f"], &server);
    assert!(output.contains("RFC 5780"), "{output}");
    server.stop();
}

fn start(program: &'static str) -> Option<Server> {
    if !Requirement::all_met(&[Requirement::Program(program)]) {
        return None;
    }
    let builder = Server::builder("rfc5780\nrelay-ip=127.0.0.1\nrelay-threads=2\n");
    Some(builder.listen(&ADDRESSES).port_for(ALTERNATE).start())
}

/// What the program printed.
fn run(program: &str, arguments: &[&str], server: &Server) -> String {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .args(["-p", &server.port().to_string()])
        .args(["-L", "127.0.0.1"])
        .arg(server.address().ip().to_string());
    let mut process = Process::start(&mut command);
    let status = process.wait(DEADLINE);
    let output = process.output();
    assert!(status.success(), "{program} ended with {status}: {output}");
    output
}

const ADDRESSES: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)),
];
const ALTERNATE: &str = "alt-listening-port";
const DEADLINE: Duration = Duration::from_secs(60);
