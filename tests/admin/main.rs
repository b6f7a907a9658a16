//! `turnctl` on a running server with real sessions: what it prints is what the server does.

#![forbid(unsafe_code)]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Output};
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
