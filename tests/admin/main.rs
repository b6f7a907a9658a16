//! `turnctl` on a running server with real sessions: what it prints is what the server does.

#![forbid(unsafe_code)]

mod terminal;

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::net::UdpSocket;
use tokio::time::timeout;
use turn::client::{Client, ClientConfig};
use turnbuckle_tests::{Credentials, EchoPeer, Server, turnctl};
use webrtc_util::Conn;

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[tokio::test]
async fn sessions_are_shown_as_they_are_and_ended() {
    let server = start("");
    assert_eq!(told(&server, &["sessions"]), "No active TURN sessions\n");
    let alice = server.credentials("alice");
    let caller = Caller::connect(&server, &alice).await;
    let peer = EchoPeer::start(LOCAL);
    let relay = caller.client.allocate().await.expect("an allocation");
    exchange(&relay, peer.address(), 3000).await;

    let text = told(&server, &["sessions", "alice"]);
    let expected = format!(
        "1 active TURN sessions:\n\n\
         -- TURN session of {} --\n          \
         Client: {} (UDP)\n           \
         Relay: {} (UDP)\n   \
         Permission(s): 127.0.0.1 (UDP)\n",
        alice.username,
        caller.address,
        relay.local_addr().unwrap(),
    );
    assert!(text.starts_with(&expected), "{text}");
    assert!(
        text.contains("            Sent: 3 KiB (1 packets)\n"),
        "{text}"
    );
    assert!(
        text.contains("        Received: 3 KiB (1 packets)\n"),
        "{text}"
    );

    let all = object(&server, &["sessions", "--json"]);
    assert_eq!(all["total"], 1);
    let session = &all["sessions"][0];
    assert_eq!(session["user"], "alice");
    assert_eq!(session["bytes_to_peers"], 3000);
    assert_eq!(session["server"], server.address().to_string());
    // By the name that the client has, too.
    let same = object(&server, &["sessions", &alice.username, "--json"]);
    assert_eq!(same["total"], 1);
    assert_eq!(
        told(&server, &["sessions", "bob"]),
        "No active TURN sessions\n"
    );

    assert_eq!(
        told(&server, &["disconnect", "bob"]),
        "Disconnected 0 TURN session(s)\n"
    );
    assert_eq!(
        told(&server, &["disconnect", "alice"]),
        "Disconnected 1 TURN session(s)\n"
    );
    assert_eq!(told(&server, &["sessions"]), "No active TURN sessions\n");
    let log = server.stop();
    assert!(log.contains("ended by operator"), "{log}");
}

#[tokio::test]
async fn top_finds_who_moves_data() {
    let server = start("");
    let peer = EchoPeer::start(LOCAL);
    let quiet = Caller::connect(&server, &server.credentials("quiet")).await;
    let _held = quiet.client.allocate().await.expect("an allocation");
    let busy = Caller::connect(&server, &server.credentials("busy")).await;
    let relay = busy.client.allocate().await.expect("an allocation");
    exchange(&relay, peer.address(), 100).await;
    let traffic = async {
        loop {
            exchange(&relay, peer.address(), 1000).await;
        }
    };
    let socket = socket(&server);
    let look = tokio::task::spawn_blocking(move || run(&socket, &["top", "--once", "--json"]));
    let output = tokio::select! {
        output = look => output.unwrap(),
        () = traffic => unreachable!("it goes on"),
    };
    let top: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(top["sessions"], 2);
    assert_eq!(top["users"][0]["user"], "busy");
    assert_eq!(top["users"][1]["user"], "quiet");
    let rate = |of: &Value| of["to_peers_bits_per_second"].as_f64().unwrap();
    assert!(rate(&top["users"][0]) > 0.0, "{top}");
    assert_eq!(rate(&top["users"][1]), 0.0);
    assert_eq!(top["peers"][0]["ip"], "127.0.0.1");
    assert_eq!(top["networks"][0]["network"], "127.0.0.0/24");
    assert_eq!(top["networks"][0]["sessions"], 2);
    server.stop();
}

#[tokio::test]
async fn a_user_is_explained_and_shut_out() {
    let server = start("user-quota=3");
    let alice = server.credentials("alice");
    let wrong = Credentials::new(&alice.username, "not the password");
    Caller::connect(&server, &wrong)
        .await
        .client
        .allocate()
        .await
        .err()
        .expect("a refusal");
    let caller = Caller::connect(&server, &alice).await;
    let _relay = caller.client.allocate().await.expect("an allocation");

    let ask = |password: &str| {
        let mut turnctl = Command::new(turnctl())
            .args(["explain", "user", &alice.username, "--password-stdin"])
            .arg("--json")
            .arg("--socket")
            .arg(socket(&server))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("turnctl runs");
        let mut stdin = turnctl.stdin.take().expect("a pipe");
        writeln!(stdin, "{password}").expect("it reads");
        drop(stdin);
        let output = turnctl.wait_with_output().expect("it ends");
        let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        answer
    };
    let answer = ask(&alice.password);
    assert_eq!(answer["password"]["of_secret"], 1);
    assert_eq!(answer["stable_name"], "alice");
    assert_eq!(answer["quota"]["held"], 1);
    assert_eq!(answer["quota"]["limit"], 3);
    assert_eq!(answer["failures"][0]["reason"], "wrong-secret");
    assert_eq!(answer["failures"][0]["source"], "127.0.0.1");
    assert_eq!(ask("not the password")["password"], "wrong");
    let text = told(&server, &["explain", "user", &alice.username]);
    assert!(
        text.contains("can log in, with the right password"),
        "{text}"
    );
    assert!(
        text.contains("from 127.0.0.1: Allocate 401, wrong password"),
        "{text}"
    );

    assert_eq!(told(&server, &["revoked"]), "No user is revoked\n");
    assert_eq!(
        told(&server, &["revoke", &alice.username]),
        "alice is revoked; 1 session ended\n"
    );
    assert_eq!(told(&server, &["revoked"]), "alice\n");
    let again = Caller::connect(&server, &alice).await;
    again.client.allocate().await.err().expect("a refusal");
    let text = told(&server, &["explain", "user", "1795207443:alice"]);
    assert!(text.contains("it is revoked"), "{text}");
    assert_eq!(
        told(&server, &["unrevoke", "alice"]),
        "alice is no longer revoked\n"
    );
    let again = Caller::connect(&server, &alice).await;
    let _relay = again.client.allocate().await.expect("an allocation");
    let log = server.stop();
    for secret in [&*alice.password, "not the password", "a-secret-that"] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[test]
fn peers_are_explained_by_the_rules_in_force() {
    let server = start("denied-peer-ip=8.8.0.0/16\nexternal-ip=203.0.113.7");
    for (address, verdict, rule) in [
        ("127.0.0.1", "allowed", Some("allowed-peer-ip=127.0.0.1")),
        ("8.8.4.4", "denied", Some("denied-peer-ip=8.8.0.0/16")),
        (
            "64:ff9b::8.8.4.4",
            "denied",
            Some("denied-peer-ip=8.8.0.0/16"),
        ),
        ("10.1.2.3", "denied", Some("10.0.0.0/8")),
        ("203.0.113.7", "allowed_where_relayed", None),
        ("9.9.9.9", "allowed", None),
    ] {
        let answer = object(&server, &["explain", "peer", address, "--json"]);
        assert_eq!(answer["verdict"], verdict, "{answer}");
        match rule {
            Some(rule) => assert!(answer["rule"].as_str().unwrap().contains(rule), "{answer}"),
            None => assert_eq!(answer["rule"], Value::Null),
        }
    }
    let text = told(&server, &["explain", "peer", "64:ff9b::8.8.4.4"]);
    assert!(
        text.contains("stands for 8.8.4.4, spelled as NAT64"),
        "{text}"
    );
    server.stop();
}

#[test]
fn the_server_is_changed_while_it_runs() {
    let server = start("user-quota=5");
    assert_eq!(told(&server, &["loglevel"]), "info\n");
    assert_eq!(told(&server, &["loglevel", "debug"]), "");
    assert_eq!(told(&server, &["loglevel"]), "debug\n");

    let path = server.config_path();
    let file = fs::read_to_string(&path).unwrap();
    let reload = || run(&socket(&server), &["reload"]);
    fs::write(&path, file.replace("user-quota=5", "user-quota=7")).unwrap();
    let output = reload();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("In force now:\n  user-quota:"), "{text}");
    fs::write(&path, file.clone() + "min-port=60000\nmax-port=5\n").unwrap();
    let output = reload();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("error: "), "{text}");
    let answer = object(&server, &["explain", "user", "alice", "--json"]);
    assert_eq!(answer["quota"]["limit"], 7);

    let status = told(&server, &["status"]);
    assert!(status.contains(" is ready, up "), "{status}");
    assert!(status.contains("  sessions      0 of 1200\n"), "{status}");
    let info = told(&server, &["info"]);
    assert_eq!(info.lines().count(), 7, "{info}");
    assert!(info.contains("\nActive TURN sessions: 0\n"), "{info}");
    println!("{status}\n{info}");
    server.stop();
}

#[test]
fn check_asks_the_server_how_it_is() {
    let server = start("");
    let health = object_at(&server, "/v1/health");
    assert_eq!(health["state"], "ready");
    let socket = socket(&server);
    let general = || {
        let output = Command::new(turnctl())
            .args(["check", "--json", "-c"])
            .arg(server.config_path())
            .arg("--socket")
            .arg(&socket)
            .output()
            .expect("turnctl runs");
        let all: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let general = all["general"].as_array().expect("a list").clone();
        (output.status.code(), general)
    };
    let (code, found) = general();
    assert_eq!(code, Some(0), "{found:#?}");
    for check in health["checks"].as_array().expect("a list") {
        let name = check["name"].as_str().expect("a name");
        let level = match check["status"].as_str() {
            Some("critical") => "error",
            other => other.expect("a status"),
        };
        let told = found.iter().find(|finding| {
            let text = finding["text"].as_str().unwrap_or_default();
            text.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(": "))
        });
        let told = told.unwrap_or_else(|| panic!("{name} in {found:#?}"));
        assert_eq!(told["level"], level, "{told}");
        assert_eq!(told["help"], check["advice"], "{told}");
    }
    for name in ["relay-ports:ipv4", "descriptors", "receive-buffer", "quota"] {
        let mut names = health["checks"].as_array().unwrap().iter();
        assert!(
            names.any(|check| check["name"] == name),
            "{name} in {health:#}"
        );
    }
    // As if it were gone.
    fs::remove_file(&socket).unwrap();
    let (code, found) = general();
    assert_eq!(code, Some(0), "{found:#?}");
    let not_asked = found.iter().find(|finding| {
        let text = finding["text"].as_str().unwrap_or_default();
        text.contains("is not asked for its ports") && text.contains("there is no socket")
    });
    assert_eq!(not_asked.expect("a note")["level"], "note");
    server.stop();
}

/// What is at a path of the API.
fn object_at(server: &Server, path: &str) -> Value {
    let mut stream = UnixStream::connect(socket(server)).expect("the socket answers");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    serde_json::from_str(body).expect("JSON")
}

#[test]
fn a_drain_that_is_over_ends_the_server() {
    let server = start("");
    assert_eq!(
        told(&server, &["drain", "--cancel"]),
        "The server was not being drained\n"
    );
    let text = told(&server, &["drain", "--deadline", "1h"]);
    assert!(text.starts_with("Draining: 0 sessions left"), "{text}");
    server.expect_log("it ends", |line| line.contains("stopped"));
}

#[test]
fn the_socket_comes_and_goes_with_the_server() {
    let server = start("");
    let socket = socket(&server);
    assert!(socket.exists());
    assert_eq!(
        told(&server, &["version"]),
        format!("{}\n", env!("CARGO_PKG_VERSION"))
    );
    server.stop();
    assert!(!socket.exists());
}

/// A server with an admin socket beside its file.
fn start(config: &str) -> Server {
    Server::start(&format!(
        "static-auth-secret=a-secret-that-nobody-may-see\n\
         allowed-peer-ip=127.0.0.1\n\
         admin-socket=admin.sock\n\
         {config}"
    ))
}

/// It runs in the directory of its file.
fn socket(server: &Server) -> PathBuf {
    server.config_path().with_file_name("admin.sock")
}

fn run(socket: &PathBuf, args: &[&str]) -> Output {
    Command::new(turnctl())
        .args(args)
        .arg("--socket")
        .arg(socket)
        .output()
        .expect("turnctl runs")
}

/// What it prints when it works.
fn told(server: &Server, args: &[&str]) -> String {
    let output = run(&socket(server), args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

fn object(server: &Server, args: &[&str]) -> Value {
    serde_json::from_str(&told(server, args)).expect("JSON")
}

/// A client that has not allocated yet.
struct Caller {
    client: Client,
    address: SocketAddr,
}

impl Caller {
    async fn connect(server: &Server, credentials: &Credentials) -> Self {
        let socket = UdpSocket::bind((LOCAL, 0)).await.expect("a socket");
        let address = socket.local_addr().expect("an address");
        let client = Client::new(ClientConfig {
            stun_serv_addr: server.address().to_string(),
            turn_serv_addr: server.address().to_string(),
            username: credentials.username.clone(),
            password: credentials.password.clone(),
            realm: String::new(),
            software: String::new(),
            rto_in_ms: 0,
            conn: Arc::new(socket),
            vnet: None,
        });
        let client = client.await.expect("a client");
        client.listen().await.expect("listening");
        Self { client, address }
    }
}

/// Sends so many bytes to the peer and waits for its echo.
async fn exchange(relay: &impl Conn, peer: SocketAddr, len: usize) {
    relay.send_to(&vec![7; len], peer).await.expect("sent");
    let mut buffer = vec![0; len + 1];
    let (received, _) = timeout(DEADLINE, relay.recv_from(&mut buffer))
        .await
        .expect("an echo in time")
        .expect("an echo");
    assert_eq!(received, len);
}

const DEADLINE: Duration = Duration::from_secs(10);
