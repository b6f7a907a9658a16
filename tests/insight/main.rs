//! Metrics, health and dashboard of the built server, asked over HTTP.

#![forbid(unsafe_code)]

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;
use turnbuckle_tests::{Authority, Deadline, HttpAnswer, Process, Server, Signal, turnbuckle};

#[test]
fn figures_follow_what_is_done() {
    let server = start("no-auth\nallowed-peer-ip=127.0.0.1");
    let before = get(&server, "/metrics");
    assert_eq!(before.status, 200);
    assert_eq!(
        before.field("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    assert_eq!(series(&before, "turnbuckle_state{state=\"ready\"}"), 1.0);
    assert_eq!(
        series(
            &before,
            "turnbuckle_shards{clients=\"datagram\",answers=\"no\"}"
        ),
        0.0
    );
    let client = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    client.connect(server.address()).unwrap();
    client.set_read_timeout(Some(SECONDS)).unwrap();
    for _ in 0..3 {
        client.send(&BINDING).unwrap();
        client.recv(&mut [0; 512]).unwrap();
    }
    let bindings = "turnbuckle_binding_answers_total{clients=\"datagram\"}";
    let address = server.address();
    let received =
        format!("turnbuckle_listener_received_total{{address=\"{address}\",listener=\"udp\"}}");
    eventually(&server, "/metrics", |after| {
        series(after, bindings) - series(&before, bindings) == 3.0
            && series(after, &received) - series(&before, &received) == 3.0
            && series(after, "stun_binding_response") >= 3.0
    });
    // A packet that is dropped is told by its reason.
    client.send(b"neither STUN nor data").unwrap();
    let malformed = "turnbuckle_drops_total{clients=\"datagram\",reason=\"malformed\"}";
    eventually(&server, "/metrics", |after| series(after, malformed) >= 1.0);
    let resident = get(&server, "/metrics");
    assert!(series(&resident, "process_resident_memory_bytes") > 1e6);
    server.stop();
}

#[test]
fn open_metrics_are_had_by_who_accepts_them() {
    let server = start("no-auth");
    let accept = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
    let answer = HttpAnswer::get(
        http(&server),
        "/metrics",
        &[("Host", "localhost"), ("Accept", accept)],
    );
    let kind = answer.field("content-type").unwrap();
    assert!(
        kind.starts_with("application/openmetrics-text; version=1.0.0"),
        "{kind}"
    );
    assert!(answer.body.ends_with("# EOF\n"));
    assert!(
        answer
            .body
            .contains("# TYPE turnbuckle_relayed_bytes counter\n")
    );
    server.stop();
}

#[test]
fn health_is_told_with_reasons() {
    let server = start("no-auth\nmin-port=50000\nmax-port=50009\ntotal-quota=10");
    let alive = get(&server, "/healthz");
    assert_eq!((alive.status, alive.body.as_str()), (200, "alive\n"));
    let ready = get(&server, "/readyz");
    assert_eq!(ready.status, 200, "{ready:?}");
    assert_eq!(ready.field("content-type"), Some("application/json"));
    let document: Value = serde_json::from_str(&ready.body).unwrap();
    assert_eq!(
        (&document["ready"], &document["state"]),
        (&Value::from(true), &Value::from("ready"))
    );
    let checks = document["checks"].as_array().unwrap();
    let figure = |name: &str| {
        let check = checks.iter().find(|check| check["name"] == name);
        check.unwrap_or_else(|| panic!("{name}"))["figure"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(figure("relay-ports:ipv4"), "10 of 10 free");
    assert_eq!(figure("quota"), "0 of 10 allocations");
    assert!(figure("shards").ends_with("answer"));
    server.stop();
}

#[test]
fn the_last_reload_is_told_with_its_outcome() {
    let server = start("no-auth\nuser-quota=5");
    let before = get(&server, "/metrics");
    assert!(!before.body.contains("turnbuckle_config_reload"));
    let path = server.config_path();
    let file = fs::read_to_string(&path).unwrap();
    let success = "turnbuckle_config_reload_success";
    let time = "turnbuckle_config_reload_time_seconds";
    for (text, outcome) in [
        (file.clone() + "min-port=5\nmax-port=4\n", 0.0),
        (file, 1.0),
    ] {
        fs::write(&path, text).unwrap();
        server.signal(Signal::HUP);
        eventually(&server, "/metrics", |after| {
            after.body.contains(success) && series(after, success) == outcome
        });
    }
    let after = get(&server, "/metrics");
    assert!(series(&after, time) >= series(&after, "process_start_time_seconds"));
    server.stop();
}

#[test]
fn a_server_with_an_expired_certificate_is_not_ready() {
    let authority = Authority::new();
    let files = authority.write("expired", &authority.issue_expired(&["turn.example.org"]));
    let server = Server::builder(&format!("no-auth\nprometheus\n{}", files.config()))
        .port_for("prometheus-port")
        .port_for("tls-listening-port")
        .start();
    let ready = get(&server, "/readyz");
    assert_eq!(ready.status, 503, "{ready:?}");
    let document: Value = serde_json::from_str(&ready.body).unwrap();
    assert_eq!(
        (&document["status"], &document["ready"]),
        (&"critical".into(), &false.into())
    );
    let checks = document["checks"].as_array().unwrap();
    let check = checks
        .iter()
        .find(|check| check["name"] == "certificate:turn.example.org")
        .unwrap();
    assert_eq!(
        (&check["status"], &check["figure"]),
        (&"critical".into(), &"expired".into())
    );
    assert!(check["advice"].as_str().unwrap().contains("renew"));
    // It serves all the same.
    assert_eq!(get(&server, "/healthz").status, 200);
    server.stop();
}

#[test]
fn requests_that_name_another_host_are_refused() {
    let server = start("no-auth\nrealm=turn.example.org");
    let at = http(&server);
    let port = at.port();
    for host in ["localhost", "127.0.0.1", "[::1]", "turn.example.org"] {
        let host = format!("{host}:{port}");
        for path in ["/", "/metrics", "/readyz", "/dashboard.json"] {
            let answer = HttpAnswer::get(at, path, &[("Host", &host)]);
            assert_eq!(answer.status, 200, "{host} {path}");
        }
    }
    for host in [
        "rebound.example",
        "127.0.0.1.rebound.example",
        "192.0.2.1",
        "",
    ] {
        for path in ["/", "/metrics", "/readyz", "/dashboard.json", "/nothing"] {
            let answer = HttpAnswer::get(at, path, &[("Host", host)]);
            assert_eq!(answer.status, 421, "{host} {path}");
            assert!(!answer.body.contains("turnbuckle_"));
        }
    }
    server.stop();
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let server = start("no-auth\nuser-quota=3");
    for (path, kind) in [
        ("/", "text/html"),
        ("/dashboard.css", "text/css"),
        ("/dashboard.js", "text/javascript"),
    ] {
        let answer = get(&server, path);
        assert_eq!(answer.status, 200, "{path}");
        assert!(
            answer.field("content-type").unwrap().starts_with(kind),
            "{path}"
        );
        let policy = answer.field("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(
            !policy.contains("unsafe") && !policy.contains("http"),
            "{policy}"
        );
        assert_eq!(answer.field("x-content-type-options"), Some("nosniff"));
        let links = answer.body.replace("http://www.w3.org/2000/svg", "");
        assert!(
            !links.contains("http:") && !links.contains("https:") && !links.contains("//cdn"),
            "{path}"
        );
    }
    let figures: Value = serde_json::from_str(&get(&server, "/dashboard.json").body).unwrap();
    assert_eq!(figures["health"]["state"], "ready");
    assert_eq!(figures["sessions"]["udp"], 0);
    server.stop();
}

#[test]
fn only_what_is_there_is_served_and_only_read() {
    let server = start("no-auth\nprometheus-path=/figures");
    assert_eq!(get(&server, "/figures").status, 200);
    assert_eq!(get(&server, "/metrics").status, 404);
    let mut stream = TcpStream::connect(http(&server)).unwrap();
    stream.set_read_timeout(Some(SECONDS)).unwrap();
    stream
        .write_all(b"POST /figures HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
        .unwrap();
    assert_eq!(HttpAnswer::read(stream).status, 405);
    server.stop();
}

#[test]
fn away_from_loopback_there_are_metrics_and_no_dashboard() {
    let server = start("no-auth\nprometheus-address=0.0.0.0");
    server.expect_log("what is exposed", |line| {
        line.contains("whoever reaches 0.0.0.0:") && line.contains("no user names")
    });
    for path in ["/metrics", "/healthz", "/readyz"] {
        let answer = HttpAnswer::get(http(&server), path, &[("Host", "monitoring.example")]);
        assert_eq!(answer.status, 200, "{path}");
    }
    for path in ["/", "/dashboard.json", "/dashboard.js"] {
        assert_eq!(get(&server, path).status, 404, "{path}");
    }
    server.stop();
}

#[test]
fn metrics_are_served_over_tls() {
    let authority = Authority::new();
    let files = authority.write("metrics", &authority.issue(&["localhost"]));
    let config = format!(
        "no-auth\nprometheus\nprometheus-tls\nprometheus-cert={}\nprometheus-key={}",
        files.cert.display(),
        files.key.display()
    );
    let server = Server::builder(&config).port_for("prometheus-port").start();
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from(authority.root_der().to_vec()))
        .unwrap();
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let socket = TcpStream::connect(http(&server)).unwrap();
    socket.set_read_timeout(Some(SECONDS)).unwrap();
    let mut stream = StreamOwned::new(connection, socket);
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    let answer = HttpAnswer::read(stream);
    assert_eq!(answer.status, 200);
    assert!(
        series(
            &answer,
            "turnbuckle_certificate_expiry_seconds{name=\"localhost\"}"
        ) > 1e9
    );
    server.stop();
}

#[test]
fn a_port_that_is_taken_stops_the_start() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("turnserver.conf");
    let free = turnbuckle_tests::free_port(&[Ipv4Addr::LOCALHOST.into()]);
    let text = format!(
        "no-auth\nlistening-ip=127.0.0.1\nlistening-port={free}\nprometheus\nprometheus-port={port}\n"
    );
    fs::write(&path, text).unwrap();
    let mut command = std::process::Command::new(turnbuckle());
    let mut process = Process::start(command.arg("-c").arg(&path));
    let status = process.wait(SECONDS);
    assert_eq!(status.code(), Some(1));
    let output = process.output();
    assert!(
        output.contains("metrics cannot be served: cannot listen on tcp 127.0.0.1:")
            && output.contains("the port is in use"),
        "{output}"
    );
}

fn start(config: &str) -> Server {
    Server::builder(&format!("prometheus\n{config}"))
        .port_for("prometheus-port")
        .start()
}

fn http(server: &Server) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, server.port_for("prometheus-port")).into()
}

fn get(server: &Server, path: &str) -> HttpAnswer {
    HttpAnswer::get(http(server), path, &[("Host", "localhost")])
}

/// Asks until `wanted` holds: a scrape may be as old as 200 ms.
fn eventually(server: &Server, path: &str, wanted: impl Fn(&HttpAnswer) -> bool) {
    let deadline = Deadline::after(SECONDS);
    while deadline.left().is_some() {
        if wanted(&get(server, path)) {
            return;
        }
    }
    panic!("{}", get(server, path).body);
}

fn series(answer: &HttpAnswer, name: &str) -> f64 {
    let line = answer
        .body
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = line.unwrap_or_else(|| panic!("no {name} in\n{}", answer.body));
    value.parse().unwrap()
}

const SECONDS: Duration = Duration::from_secs(10);
const BINDING: [u8; 20] = [
    0x00, 0x01, 0x00, 0x00, 0x21, 0x12, 0xa4, 0x42, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
];
