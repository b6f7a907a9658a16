//! Other people's clients over TCP and TLS: coturn's load client, a browser, and libnice, which GStreamer is built on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::time::Duration;

use turnbuckle_tests::{Alone, Authority, Process, Requirement, SYSTEM_PYTHON, Server};

use crate::chromium::{self, BROWSER, CERTUTIL, Way, call_by, home_that_trusts};
use crate::uclient::{Bench, Report};

#[test]
fn coturn_clients_lose_nothing_over_tcp() {
    coturn_clients(Ipv4Addr::LOCALHOST.into(), &["-t"], Port::Plain);
}

#[test]
fn coturn_clients_lose_nothing_over_tcp_with_send_indications() {
    coturn_clients(Ipv4Addr::LOCALHOST.into(), &["-t", "-s"], Port::Plain);
}

#[test]
fn coturn_clients_lose_nothing_over_tcp_and_ipv6() {
    coturn_clients(Ipv6Addr::LOCALHOST.into(), &["-t", "-x"], Port::Plain);
}

#[test]
fn coturn_clients_lose_nothing_over_tls() {
    coturn_clients(Ipv4Addr::LOCALHOST.into(), &["-t", "-S"], Port::Tls);
}

#[test]
fn coturn_clients_lose_nothing_over_tls_on_the_plain_port() {
    coturn_clients(Ipv4Addr::LOCALHOST.into(), &["-t", "-S", "-s"], Port::Plain);
}

/// Pairs of clients connect to each other's relayed addresses (RFC 6062). Over TLS the client gives up data connections for which it has
/// drawn a version that is refused, so that is left to `tests/streams`.
#[test]
fn coturn_clients_lose_nothing_over_tcp_allocations() {
    let ip = Ipv4Addr::LOCALHOST.into();
    let config = "allowed-peer-ip=127.0.0.1\nno-tcp-relay=0\nrelay-threads=3";
    let Some(bench) = Bench::start_as(config, &[ip], |builder| builder) else {
        return;
    };
    let arguments = ["-t", "-T", "-c", "-m", "6", "-n", "20"];
    let report = bench.client_to_client(ip, &arguments).succeed();
    assert_eq!(
        report,
        Report {
            sent: 120,
            received: 120,
            lost: 0,
            dropped: 0
        }
    );
    bench.server.stop();
}

/// The client draws one of TLS 1.0, 1.1 and 1.2 for each connection, and draws again when that is refused.
fn coturn_clients(ip: IpAddr, arguments: &[&str], port: Port) {
    let authority = Authority::new();
    let config = certificate(&authority) + "allowed-peer-ip=127.0.0.1\nallowed-peer-ip=::1";
    let Some(bench) = Bench::start_as(&config, &[ip], |builder| builder.port_for(TLS_PORT)) else {
        return;
    };
    let port = port.of(&bench.server).to_string();
    let arguments = [arguments, &["-c", "-m", "10", "-n", "20", "-p", &port]].concat();
    let report = bench.client(ip, ip, &arguments).succeed();
    assert_eq!(
        report,
        Report {
            sent: 200,
            received: 200,
            lost: 0,
            dropped: 0
        }
    );
    let transport = if arguments.contains(&"-S") {
        "tls"
    } else {
        "tcp"
    };
    let log = bench.server.stop();
    assert!(log.contains(&format!(" transport={transport} ")), "{log}");
}

#[tokio::test]
async fn a_browser_calls_itself_over_tcp() {
    if !Requirement::all_met(&BROWSER) {
        return;
    }
    let _alone = Alone::wait();
    let server = Server::start(chromium::CONFIG);
    let way = Way {
        url: format!("turn:{}?transport=tcp", server.address()),
        relay_protocol: "tcp",
        home: None,
        arguments: &[],
    };
    call_by(&server, &way).await;
    server.stop();
}

#[tokio::test]
async fn a_browser_that_trusts_the_authority_calls_itself_over_tls() {
    if !Requirement::all_met(&BROWSER) || !Requirement::all_met(&[CERTUTIL]) {
        return;
    }
    let _alone = Alone::wait();
    let authority = Authority::new();
    let config = format!("{}\n{}", chromium::CONFIG, certificate(&authority));
    let server = Server::builder(&config).port_for(TLS_PORT).start();
    let home = home_that_trusts(&authority);
    let way = Way {
        url: format!("turns:{NAME}:{}?transport=tcp", server.port_for(TLS_PORT)),
        relay_protocol: "tls",
        home: Some(home.path()),
        arguments: &[format!("--host-resolver-rules=MAP {NAME} 127.0.0.1")],
    };
    call_by(&server, &way).await;
    server.stop();
}

#[test]
fn libnice_is_relayed_over_tcp() {
    libnice("tcp", Port::Plain);
}

/// For `turns:` libnice speaks plain TURN to the port for TLS.
#[test]
fn libnice_is_relayed_over_what_it_takes_for_tls() {
    libnice("tls", Port::Tls);
}

fn libnice(transport: &str, port: Port) {
    if !Requirement::all_met(&[Requirement::Typelib("Nice", "0.1")]) {
        return;
    }
    let _alone = Alone::wait();
    let authority = Authority::new();
    let config = format!("{}\n{}", chromium::CONFIG, certificate(&authority));
    let server = Server::builder(&config).port_for(TLS_PORT).start();
    let credentials = server.credentials("alice");
    let port = port.of(&server).to_string();
    let mut agents = Process::start(
        Command::new(SYSTEM_PYTHON)
            .args(["-c", LIBNICE, transport, "127.0.0.1", &port])
            .args([&credentials.username, &credentials.password]),
    );
    let status = agents.wait(LIBNICE_DEADLINE);
    assert!(status.success(), "{}", agents.output());
    assert_eq!(
        agents.stdout(),
        "caller: relayed relayed\ncallee: relayed relayed\necho of hello\n"
    );
    let log = server.stop();
    let started = log.lines().filter(|line| line.contains("session started"));
    let over_tcp = started.filter(|line| line.contains(" transport=tcp "));
    assert_eq!(over_tcp.count(), 2, "{log}");
}

#[derive(Clone, Copy)]
enum Port {
    Plain,
    Tls,
}

impl Port {
    fn of(self, server: &Server) -> u16 {
        match self {
            Self::Plain => server.port(),
            Self::Tls => server.port_for(TLS_PORT),
        }
    }
}

/// The lines of a configuration file with a certificate for [`NAME`].
fn certificate(authority: &Authority) -> String {
    authority.write("turn", &authority.issue(&[NAME])).config()
}

const NAME: &str = "turn.test";
const TLS_PORT: &str = "tls-listening-port";
const LIBNICE: &str = include_str!("libnice.py");
const LIBNICE_DEADLINE: Duration = Duration::from_secs(60);
