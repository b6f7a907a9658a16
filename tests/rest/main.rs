//! The credential endpoint of the built server, asked over HTTP.

#![forbid(unsafe_code)]

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::UdpSocket;
use turn::client::{Client, ClientConfig as TurnConfig};
use turnbuckle_tests::{
    ApiKey, Authority, EchoPeer, HttpAnswer, Process, Server, Signal, free_port, turnbuckle,
    turnctl,
};

/// What a web application does: asks, and relays with what it got.
#[tokio::test]
async fn a_credential_that_is_given_out_relays() {
    let (key, line) = api_key("web");
    let server = start(&format!("{line}\nallow-loopback-peers\n"));
    let answer = ask(
        &server,
        &format!("service=turn&username=%40alice%3Aexample.org&key={key}"),
    );
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.field("content-type"), Some("application/json"));
    assert_eq!(answer.field("cache-control"), Some("no-store"));
    let port = server.port();
    let credential = json(&answer);
    assert_eq!(credential["ttl"], 86400);
    assert_eq!(
        credential["uris"],
        serde_json::json!([
            format!("turn:turn.example.org:{port}?transport=udp"),
            format!("turn:turn.example.org:{port}?transport=tcp"),
        ])
    );
    let username = credential["username"].as_str().unwrap();
    assert!(username.ends_with(":@alice:example.org"), "{username}");
    echo(&server, username, credential["password"].as_str().unwrap()).await;

    // The other shape, by POST.
    let answer = HttpAnswer::ask(
        http(&server),
        "POST",
        "/turn",
        &[
            ("Host", "localhost"),
            ("Authorization", &format!("Bearer {key}")),
            ("Content-Type", "application/x-www-form-urlencoded"),
        ],
        "service=turn&username=bob&format=ice&ttl=600",
    );
    assert_eq!(answer.status, 200, "{answer:?}");
    let servers = json(&answer);
    let [ice] = &servers.as_array().unwrap()[..] else {
        panic!("{servers}")
    };
    assert_eq!(ice["urls"], credential["uris"]);
    let username = ice["username"].as_str().unwrap();
    echo(&server, username, ice["credential"].as_str().unwrap()).await;

    let log = server.stop();
    for line in [
        r#"credential for user "@alice:example.org" given to API key "web" at 127.0.0.1:"#,
        r#"credential for user "bob" given to API key "web" at 127.0.0.1:"#,
    ] {
        assert!(log.contains(line), "{log}");
    }
}

#[test]
fn what_is_wrong_is_told_in_json() {
    let (key, line) = api_key("web");
    let server = start(&line);
    let long = "x".repeat(70_000);
    for (method, query, body, status, error, field) in [
        ("GET", "service=turn&username=a", "", 401, "no-key", ""),
        ("GET", "service=turn&username=a&key=", "", 401, "no-key", ""),
        (
            "GET",
            "service=turn&username=a&key=0000",
            "",
            403,
            "unknown-key",
            "",
        ),
        (
            "GET",
            "username=a&key=KEY",
            "",
            400,
            "bad-request",
            "service",
        ),
        (
            "GET",
            "service=turn&key=KEY",
            "",
            400,
            "bad-request",
            "username",
        ),
        (
            "GET",
            "service=turn&username=%01&key=KEY",
            "",
            400,
            "bad-request",
            "username",
        ),
        (
            "GET",
            "service=turn&username=a&ttl=x&api=KEY",
            "",
            400,
            "bad-request",
            "ttl",
        ),
        (
            "GET",
            "service=turn&username=a&key=KEY&key=x",
            "",
            400,
            "bad-request",
            "key",
        ),
        (
            "POST",
            "key=KEY",
            "service=turn&format=xml&username=a",
            400,
            "bad-request",
            "format",
        ),
        ("POST", "", &long, 413, "bad-body", ""),
        ("DELETE", "", "", 405, "method-not-allowed", ""),
        (
            "PUT",
            "service=turn&username=a&key=KEY",
            "",
            405,
            "method-not-allowed",
            "",
        ),
    ] {
        let path = format!("/turn?{}", query.replace("KEY", &key));
        let answer = HttpAnswer::ask(http(&server), method, &path, &[("Host", "localhost")], body);
        assert_eq!(answer.status, status, "{method} {query}: {answer:?}");
        let document = json(&answer);
        assert_eq!(document["error"], error, "{method} {query}: {answer:?}");
        assert!(!document["message"].as_str().unwrap().is_empty());
        let named = document["field"].as_str().unwrap_or_default();
        assert_eq!(named, field, "{method} {query}: {answer:?}");
        match status {
            401 => assert_eq!(answer.field("www-authenticate"), Some("Bearer")),
            405 => assert_eq!(answer.field("allow"), Some("GET, POST, OPTIONS")),
            _ => {}
        }
    }
    let answer = HttpAnswer::get(http(&server), "/other", &[("Host", "localhost")]);
    assert_eq!(
        (answer.status, &json(&answer)["error"]),
        (404, &"not-found".into())
    );
    let log = server.stop();
    assert!(log.contains("no credential for 127.0.0.1:"), "{log}");
    assert!(log.contains("its API key is not known"), "{log}");
}

#[test]
fn lifetimes_are_capped_and_that_is_said() {
    let ((short, short_line), (long, long_line)) = (api_key("short"), api_key("long"));
    let server = start(&format!(
        "rest-lifetime=7200\n{short_line},max-lifetime=600\n{long_line},max-lifetime=99999\n"
    ));
    for (key, ttl, got, note) in [
        (&short, "", 600, None),
        (&short, "&ttl=60", 60, None),
        (
            &short,
            "&ttl=86400",
            600,
            Some("the lifetime is capped at 600 s"),
        ),
        (&long, "", 7200, None),
        (
            &long,
            "&ttl=18446744073709551615",
            7200,
            Some("the lifetime is capped at 7200 s"),
        ),
    ] {
        let answer = ask(&server, &format!("service=turn&username=a&key={key}{ttl}"));
        let credential = json(&answer);
        assert_eq!(credential["ttl"], got, "{answer:?}");
        assert_eq!(credential["note"].as_str(), note);
        assert_eq!(answer.field("turnbuckle-note"), note);
    }
    server.stop();
}

#[test]
fn who_asks_too_often_is_told_when_to_come_back() {
    let ((slow, slow_line), (other, other_line)) = (api_key("slow"), api_key("other"));
    let server = start(&format!("{slow_line},rate=2\n{other_line}\n"));
    let query = |key: &str| format!("service=turn&username=a&key={key}");
    assert_eq!(ask(&server, &query(&slow)).status, 200);
    // A wrong request counts as well.
    assert_eq!(ask(&server, &format!("key={slow}")).status, 400);
    let answer = ask(&server, &query(&slow));
    assert_eq!(
        (answer.status, &json(&answer)["error"]),
        (429, &"too-often".into())
    );
    let wait: u64 = answer.field("retry-after").unwrap().parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
    assert_eq!(ask(&server, &query(&other)).status, 200);
    server.stop();
}

#[test]
fn keys_and_bounds_are_those_of_the_last_reload() {
    let ((old, old_line), (new, new_line)) = (api_key("old"), api_key("new"));
    let server = start(&old_line);
    let status = |key: &str| ask(&server, &format!("service=turn&username=a&key={key}")).status;
    assert_eq!((status(&old), status(&new)), (200, 403));
    let text = fs::read_to_string(server.config_path()).unwrap();
    let text = text.replace(&old_line, &format!("{new_line}\nrest-lifetime=300"));
    fs::write(server.config_path(), text).unwrap();
    server.signal(Signal::HUP);
    server.expect_log("the reload", |line| {
        line.contains(
            "reloaded: rest-api-key: new added, old removed; rest-lifetime: 86400 s -> 300 s",
        )
    });
    assert_eq!((status(&old), status(&new)), (403, 200));
    let answer = ask(&server, &format!("service=turn&username=a&key={new}"));
    assert_eq!(json(&answer)["ttl"], 300);
    server.stop();
}

#[test]
fn pages_of_listed_origins_may_ask() {
    let (key, line) = api_key("web");
    let server = start(&format!(
        "{line}\nrest-allow-origin=https://app.example.org\n"
    ));
    let path = format!("/turn?service=turn&username=a&key={key}");
    for (origin, allowed, preflight) in [
        (
            "https://app.example.org",
            Some("https://app.example.org"),
            204,
        ),
        ("https://evil.example", None, 403),
        ("null", None, 403),
    ] {
        let fields = [("Host", "localhost"), ("Origin", origin)];
        let answer = HttpAnswer::get(http(&server), &path, &fields);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.field("access-control-allow-origin"), allowed);
        assert_eq!(answer.field("vary"), Some("Origin"));
        let answer = HttpAnswer::ask(http(&server), "OPTIONS", "/turn", &fields, "");
        assert_eq!(answer.status, preflight, "{origin}");
        assert_eq!(answer.field("access-control-allow-origin"), allowed);
    }
    server.stop();
}

#[test]
fn a_revoked_user_is_given_nothing() {
    let (key, line) = api_key("web");
    let directory = TempDir::new().unwrap();
    let socket = directory.path().join("admin.sock");
    let server = start(&format!("{line}\nadmin-socket={}\n", socket.display()));
    let status =
        |user: &str| ask(&server, &format!("service=turn&username={user}&key={key}")).status;
    assert_eq!(status("mallory"), 200);
    let output = Command::new(turnctl())
        .args(["revoke", "mallory", "--socket"])
        .arg(&socket)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!((status("mallory"), status("alice")), (403, 200));
    server.stop();
}

/// At its most talkative the log holds neither what was asked with nor what was given.
#[test]
fn no_secret_reaches_the_log() {
    let (key, line) = api_key("web");
    let server = start(&format!("{line}\nVerbose\nlog-min-level=trace\n"));
    let answer = ask(&server, &format!("service=turn&username=a&key={key}"));
    let password = json(&answer)["password"].as_str().unwrap().to_owned();
    let wrong = "f00d".repeat(16);
    assert_eq!(
        ask(&server, &format!("service=turn&username=a&key={wrong}")).status,
        403
    );
    server.signal(Signal::HUP);
    server.expect_log("the reload", |line| line.contains("reloaded: "));
    let log = server.stop();
    assert!(log.contains("given to API key"), "{log}");
    let hash = line.split_once("sha256-").unwrap().1;
    for secret in [&*key, &password, &wrong, SECRET, hash] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

#[test]
fn over_tls_with_a_certificate_of_its_own() {
    let (key, line) = api_key("web");
    let authority = Authority::new();
    let files = authority.write("rest", &authority.issue(&["localhost"]));
    let server = start(&format!(
        "{line}\nrest-cert={}\nrest-pkey={}\n",
        files.cert.display(),
        files.key.display()
    ));
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
    write!(
        stream,
        "GET /turn?service=turn&username=a&key={key} HTTP/1.1\r\nHost: localhost\r\n\r\n"
    )
    .unwrap();
    assert_eq!(HttpAnswer::read(stream).status, 200);
    server.stop();
}

#[test]
fn on_a_unix_socket_that_goes_with_the_server() {
    let (key, line) = api_key("web");
    let directory = TempDir::new().unwrap();
    let socket = directory.path().join("rest.sock");
    let server = Server::start(&format!(
        "{BASE}rest-listener={}\n{line}\n",
        socket.display()
    ));
    let mode = fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o666, "the key decides, not the user");
    let mut stream = UnixStream::connect(&socket).unwrap();
    stream.set_read_timeout(Some(SECONDS)).unwrap();
    write!(
        stream,
        "GET /turn?service=turn&username=a&key={key} HTTP/1.1\r\nHost: localhost\r\n\r\n"
    )
    .unwrap();
    assert_eq!(HttpAnswer::read(stream).status, 200);
    let log = server.stop();
    assert!(log.contains("at a program on this host"), "{log}");
    assert!(!socket.exists());
}

#[test]
fn what_would_be_unsafe_does_not_start() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("turnserver.conf");
    for (lines, part) in [
        (
            format!("{BASE}rest-listener=0.0.0.0:9642\n"),
            "would cross the network in the clear",
        ),
        (
            "realm=turn.example.org\nuser=a:b\nrest-listener=127.0.0.1:9642\n".to_owned(),
            "there is no secret to make time-limited credentials with",
        ),
    ] {
        let port = free_port(&[Ipv4Addr::LOCALHOST.into()]);
        let text = format!("listening-ip=127.0.0.1\nlistening-port={port}\n{lines}");
        let at = text
            .lines()
            .position(|line| line.starts_with("rest-listener"));
        let at = format!(":{}", at.unwrap() + 1);
        fs::write(&path, text).unwrap();
        let mut process = Process::start(Command::new(turnbuckle()).arg("-c").arg(&path));
        assert_eq!(process.wait(SECONDS).code(), Some(2));
        let output = process.output();
        assert!(output.contains(part) && output.contains(&at), "{output}");
    }
}

/// The key, and the line for the server.
fn api_key(name: &str) -> (String, String) {
    let ApiKey { key, line } = ApiKey::new(name);
    (key, line)
}

fn start(config: &str) -> Server {
    Server::builder(&format!("{BASE}{config}"))
        .port_for("rest-listener")
        .start()
}

fn http(server: &Server) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, server.port_for("rest-listener")).into()
}

fn ask(server: &Server, query: &str) -> HttpAnswer {
    let path = format!("/turn?{query}");
    HttpAnswer::get(http(server), &path, &[("Host", "localhost")])
}

fn json(answer: &HttpAnswer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

/// Sends something through the relay and has it back, with the client of the `turn` crate.
async fn echo(server: &Server, username: &str, password: &str) {
    let peer = EchoPeer::start(Ipv4Addr::LOCALHOST.into());
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let client = Client::new(TurnConfig {
        stun_serv_addr: server.address().to_string(),
        turn_serv_addr: server.address().to_string(),
        username: username.to_owned(),
        password: password.to_owned(),
        realm: String::new(),
        software: String::new(),
        rto_in_ms: 0,
        conn: Arc::new(socket),
        vnet: None,
    })
    .await
    .unwrap();
    client.listen().await.unwrap();
    let relay = client.allocate().await.expect("an allocation");
    use webrtc_util::Conn;
    relay
        .send_to(b"there and back", peer.address())
        .await
        .unwrap();
    let mut buffer = [0; 64];
    let received = tokio::time::timeout(SECONDS, relay.recv_from(&mut buffer)).await;
    let (len, from) = received.expect("an echo in time").unwrap();
    assert_eq!(
        (&buffer[..len], from),
        (&b"there and back"[..], peer.address())
    );
    client.close().await.unwrap();
}

const BASE: &str = "realm=turn.example.org\nstatic-auth-secret=north-secret-of-the-test-0123\n";
const SECRET: &str = "north-secret-of-the-test-0123";
const SECONDS: Duration = Duration::from_secs(10);
