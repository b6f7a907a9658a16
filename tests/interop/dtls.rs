//! Other people's DTLS clients: coturn's load client, and OpenSSL.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::time::Duration;

use turnbuckle_tests::{Authority, CertificateFiles, Process, Requirement, Server};

use crate::uclient::{Bench, Report};

#[test]
fn coturn_clients_lose_nothing_over_dtls() {
    coturn_clients(Ipv4Addr::LOCALHOST.into(), &[], Port::Tls);
}

#[test]
fn coturn_clients_lose_nothing_over_dtls_and_ipv6() {
    coturn_clients(Ipv6Addr::LOCALHOST.into(), &["-x"], Port::Tls);
}

#[test]
fn coturn_clients_lose_nothing_over_dtls_on_the_plain_port() {
    coturn_clients(Ipv4Addr::LOCALHOST.into(), &["-s"], Port::Plain);
}

/// Without `-t`, `-S` means DTLS. The client draws one of DTLS 1.0 and 1.2 for each session, and draws again when that is refused.
fn coturn_clients(ip: IpAddr, arguments: &[&str], port: Port) {
    let authority = Authority::new();
    let (_, config) = certificate(&authority);
    let config = config + "allowed-peer-ip=127.0.0.1\nallowed-peer-ip=::1";
    let Some(bench) = Bench::start_as(&config, &[ip], |builder| builder.port_for(TLS_PORT)) else {
        return;
    };
    let port = port.of(&bench.server).to_string();
    let arguments = [
        &["-S", "-c", "-m", "10", "-n", "20", "-p", &port],
        arguments,
    ]
    .concat();
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
    let log = bench.server.stop();
    assert!(log.contains(" transport=dtls "), "{log}");
}

#[test]
fn openssl_trusts_the_server() {
    if !Requirement::all_met(&[Requirement::Program("openssl")]) {
        return;
    }
    let authority = Authority::new();
    let (files, config) = certificate(&authority);
    let server = Server::builder(&config).port_for(TLS_PORT).start();
    // No more than the server's own certificate is sent.
    let known = files.cert.with_extension("known");
    let chain = fs::read_to_string(&files.cert).expect("the chain can be read");
    fs::write(&known, authority.root_pem() + &chain).expect("a file can be written");
    for port in [Port::Plain, Port::Tls] {
        let address = format!("127.0.0.1:{}", port.of(&server));
        let mut client = Process::start(
            Command::new("openssl")
                .args(["s_client", "-dtls1_2", "-connect", &address])
                .args(["-verify_return_error", "-verify_hostname", NAME, "-CAfile"])
                .arg(&known),
        );
        let status = client.wait(OPENSSL_DEADLINE);
        let output = client.output();
        assert!(status.success(), "{output}");
        assert!(output.contains("Verify return code: 0 (ok)"), "{output}");
        assert!(output.contains("Cipher is ECDHE-ECDSA-"), "{output}");
    }
    server.stop();
}

enum Port {
    Plain,
    Tls,
}

impl Port {
    fn of(&self, server: &Server) -> u16 {
        match self {
            Self::Plain => server.port(),
            Self::Tls => server.port_for(TLS_PORT),
        }
    }
}

/// A certificate for [`NAME`], and the lines of a configuration file with it.
fn certificate(authority: &Authority) -> (CertificateFiles, String) {
    let files = authority.write("turn", &authority.issue(&[NAME]));
    let config = files.config() + "dtls\n";
    (files, config)
}

const NAME: &str = "turn.test";
const TLS_PORT: &str = "tls-listening-port";
const OPENSSL_DEADLINE: Duration = Duration::from_secs(20);
