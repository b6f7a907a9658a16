//! The commands on a running server, against one that answers what a test tells it to.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};

use insta::assert_snapshot;
use tempfile::TempDir;

#[test]
fn sessions_are_told_in_blocks() {
    let answer = r#"{"total":5,"sessions":[
        {"user":"alice","username":"1795207443:alice","client":"192.0.2.7:40312","server":"203.0.113.7:3478","transport":"udp",
         "relayed":["203.0.113.7:50004","[2001:db8::7]:51000"],"relayed_transport":"udp","age_seconds":75,"expires_in_seconds":525,
         "packets_to_peers":340,"bytes_to_peers":54400,"packets_to_client":12,"bytes_to_client":511,
         "permissions":[{"ip":"198.51.100.4","expires_in_seconds":225},{"ip":"2001:db8::9","expires_in_seconds":225}],
         "channels":[{"number":16384,"peer":"198.51.100.4:6000","expires_in_seconds":525}],"later":"fields are passed over"},
        {"user":"eve\u001b[2J","username":null,"client":"[2001:db8::1]:4711","server":"[2001:db8::7]:5349","transport":"tls",
         "relayed":["203.0.113.7:50006"],"relayed_transport":"tcp","age_seconds":1,"expires_in_seconds":599,
         "packets_to_peers":0,"bytes_to_peers":0,"packets_to_client":0,"bytes_to_client":0,"permissions":[],"channels":[]}]}"#;
    let server = FakeServer::answering(200, answer);
    assert_snapshot!(server.run(&["sessions"]));
    assert_eq!(server.request(), "GET /v1/sessions?limit=256");

    let server = FakeServer::answering(200, r#"{"total":0,"sessions":[]}"#);
    assert_snapshot!(server.run(&["sessions", "@alice:example.org", "--limit", "7"]), @r"
    exit status: 0
    --- stdout
    No active TURN sessions
    ");
    assert_eq!(
        server.request(),
        "GET /v1/users/%40alice%3Aexample.org/sessions?limit=7"
    );

    let server = FakeServer::answering(200, r#"{"total":0,"sessions":[]}"#);
    assert_snapshot!(server.run(&["sessions", "--json"]), @r#"
    exit status: 0
    --- stdout
    {
      "sessions": [],
      "total": 0
    }
    "#);
}

#[test]
fn disconnect_says_how_many() {
    let server = FakeServer::answering(200, r#"{"user":"alice","ended":2}"#);
    assert_snapshot!(server.run(&["disconnect", "alice"]), @r"
    exit status: 0
    --- stdout
    Disconnected 2 TURN session(s)
    ");
    assert_eq!(server.request(), "DELETE /v1/users/alice/sessions");
}

#[test]
fn top_once_is_three_tables() {
    let answer = r#"{"over_seconds":1.02,"sessions":3,
        "users":[{"user":"alice","sessions":2,"to_peers_bits_per_second":2400000.0,"to_clients_bits_per_second":81920.0,
                  "packets_per_second":310.4},
                 {"user":"@a-very-long-name-that-somebody-chose:matrix.example.org","sessions":1,"to_peers_bits_per_second":0.0,
                  "to_clients_bits_per_second":999.0,"packets_per_second":0.4}],
        "peers":[{"ip":"2001:db8:ffff:ffff:ffff:ffff:ffff:ffff","sessions":1,"to_peers_bits_per_second":1e10,
                  "to_clients_bits_per_second":0.0,"packets_per_second":1250000.0}],
        "networks":[]}"#;
    let server = FakeServer::answering(200, answer);
    assert_snapshot!(server.run(&["top", "--once"]));
}

#[test]
fn version_is_the_servers() {
    let server = FakeServer::answering(200, r#"{"version":"9.8.7","uptime_seconds":1}"#);
    let told = server.run(&["version"]);
    assert_eq!(
        told.replace(env!("CARGO_PKG_VERSION"), "OWN"),
        "exit status: 0\n--- stdout\n9.8.7\n--- stderr\nnote: turnctl itself is OWN\n"
    );
    let directory = TempDir::new().unwrap();
    let told = run(&directory.path().join("admin.sock"), &["version"]);
    assert_eq!(
        told.replace(env!("CARGO_PKG_VERSION"), "OWN"),
        "exit status: 0\n--- stdout\nOWN (not running)\n"
    );
}

#[test]
fn a_server_that_is_not_there_is_told_with_its_socket() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("admin.sock");
    assert_snapshot!(run(&path, &["sessions"]));
    drop(UnixListener::bind(&path).unwrap());
    assert_snapshot!(run(&path, &["disconnect", "alice"]));
}

#[test]
fn a_user_without_the_right_is_told_the_group() {
    let server = FakeServer::answering(403, r#"{"error":"user id 1000 is neither"}"#);
    let told = server.run(&["sessions"]);
    assert!(told.starts_with("exit status: 1\n"), "{told}");
    assert!(told.contains("become a member of the group "), "{told}");
}

#[test]
fn what_the_server_refuses_is_told_in_its_words() {
    let server = FakeServer::answering(404, r#"{"error":"this server does not know the path"}"#);
    assert_snapshot!(server.run(&["top", "--once"]), @r"
    exit status: 1
    --- stderr
    error: this server does not know the path
    ");
}

#[test]
fn what_is_no_answer_is_not_taken_for_one() {
    for raw in [
        "SSH-2.0-OpenSSH_9.9\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}",
        "",
    ] {
        let told = FakeServer::saying(raw.to_owned()).run(&["sessions"]);
        assert!(told.contains("is no Turnbuckle server"), "{raw}: {told}");
    }
    let told = FakeServer::answering(200, r#"{"total":"many"}"#).run(&["sessions"]);
    assert!(told.contains("is not understood"), "{told}");
}

/// Answers one connection that sends a request; those that send nothing only look whether somebody is there.
struct FakeServer {
    directory: TempDir,
    thread: JoinHandle<String>,
}

impl FakeServer {
    fn answering(status: u16, body: &str) -> Self {
        Self::saying(format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    fn saying(answer: String) -> Self {
        let directory = TempDir::new().unwrap();
        let listener = UnixListener::bind(directory.path().join("admin.sock")).unwrap();
        let thread = thread::spawn(move || {
            loop {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = Vec::new();
                let mut buffer = [0; 4096];
                while !is_whole(&request) {
                    match stream.read(&mut buffer) {
                        Ok(0) | Err(_) => break,
                        Ok(count) => request.extend_from_slice(&buffer[..count]),
                    }
                }
                if !request.is_empty() {
                    let _ = stream.write_all(answer.as_bytes());
                    return String::from_utf8(request).unwrap();
                }
            }
        });
        Self { directory, thread }
    }

    fn run(&self, args: &[&str]) -> String {
        run(&self.socket(), args)
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("admin.sock")
    }

    /// Method and path of what was asked, and the body if there was one.
    fn request(self) -> String {
        let request = self.thread.join().unwrap();
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let line = head.lines().next().unwrap();
        let line = line.strip_suffix(" HTTP/1.1").unwrap();
        if body.is_empty() {
            line.to_owned()
        } else {
            format!("{line}\n{body}")
        }
    }
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "));
    body.len() >= length.map_or(0, |length| length.parse().unwrap())
}

fn run(socket: &Path, args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_turnctl"))
        .args(args)
        .arg("--socket")
        .arg(socket)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let mut told = format!("exit status: {}\n", output.status.code().unwrap());
    for (name, bytes) in [("stdout", output.stdout), ("stderr", output.stderr)] {
        if !bytes.is_empty() {
            told += &format!("--- {name}\n{}", String::from_utf8(bytes).unwrap());
        }
    }
    told.replace(&*socket.parent().unwrap().to_string_lossy(), "DIR")
}
