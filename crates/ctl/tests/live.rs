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
fn status_is_one_screen() {
    let busy = r#"{"version":"9.8.7","state":"draining","uptime_seconds":93784,
        "sessions":{"live":41,"limit":1200,"udp":30,"tcp":0,"tls":11,"dtls":0},
        "relay_ports":{"free":16343,"total":16384},
        "traffic":{"over_seconds":0.5,"to_peers":{"bits_per_second":12345678.0,"packets_per_second":5012.4},
                   "to_clients":{"bits_per_second":999.0,"packets_per_second":1.0}},
        "drops":[{"reason":"drop_no_permission","count":1234,"per_second":2.0},{"reason":"drop_malformed","count":1,"per_second":0.0}],
        "certificates":[{"path":"/etc/a.pem","names":["turn.example.org","b"],"not_after_unix_seconds":1800000000,
                         "expires_in_seconds":864000},
                        {"path":"/etc/b.pem","names":[],"not_after_unix_seconds":1700000000,"expires_in_seconds":-90}],
        "health":[{"severity":"warning","text":"state: draining","help":"send new clients to another server"}]}"#;
    let quiet = r#"{"version":"9.8.7","state":"ready","uptime_seconds":1,
        "sessions":{"live":0,"limit":null,"udp":0,"tcp":0,"tls":0,"dtls":0},"relay_ports":{"free":10,"total":10},
        "traffic":{"over_seconds":0.5,"to_peers":{"bits_per_second":0.0,"packets_per_second":0.0},
                   "to_clients":{"bits_per_second":0.0,"packets_per_second":0.0}},
        "drops":[],"certificates":[],"health":[]}"#;
    for (name, answer) in [("status_busy", busy), ("status_quiet", quiet)] {
        let server = FakeServer::answering(200, answer);
        assert_snapshot!(name, server.run(&["status"]));
        assert_eq!(server.request(), "GET /v1/status");
    }
}

#[test]
fn info_is_seven_lines() {
    let answer = r#"{"version":"9.8.7","system":"Linux 6.1.0","uptime_seconds":93784,"sessions":3,"threads":9,"cpu_seconds":12.345,
        "resident_memory_bytes":14680065,
        "queue_drops":{"kernel_receive":1,"between_shards":2,"slow_readers":3,"log":4}}"#;
    let server = FakeServer::answering(200, answer);
    assert_snapshot!(server.run(&["info"]), @r"
    exit status: 0
    --- stdout
    Turnbuckle 9.8.7 on Linux 6.1.0
    Uptime: 1 days, 2 hours, 3 minutes, 4 seconds
    Active TURN sessions: 3
    Threads: 9
    Total CPU usage (seconds): 12.35
    Resident memory (MiB): 15
    Queue drops: 10 (kernel receive 1, between shards 2, slow readers 3, log 4)
    ");
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
fn reload_shows_what_is_otherwise() {
    let change = |key: &str, text: &str| format!(r#"{{"key":"{key}","text":"{text}"}}"#);
    let quota = change("user-quota", "12 becomes 20");
    let threads = change("relay-threads", "2 becomes 4");
    let warning = r#""f.conf:3: `relam` is not a known key; it has no effect""#;
    for (name, applied, needs_restart, warnings) in [
        ("reload_of_both", &*quota, &*threads, warning),
        ("reload_of_nothing", "", "", ""),
    ] {
        let answer = format!(
            r#"{{"applied":[{applied}],"needs_restart":[{needs_restart}],"warnings":[{warnings}]}}"#
        );
        let server = FakeServer::answering(200, &answer);
        assert_snapshot!(name, server.run(&["reload"]));
        assert_eq!(server.request(), "POST /v1/reload");
    }
    let server = FakeServer::answering(409, r#"{"error":"`min-port` is above `max-port`"}"#);
    assert_snapshot!(server.run(&["reload"]), @r"
    exit status: 1
    --- stderr
    error: `min-port` is above `max-port`
    ");
}

#[test]
fn the_level_of_the_log() {
    let server = FakeServer::answering(200, r#"{"level":"info"}"#);
    assert_snapshot!(server.run(&["loglevel"]), @r"
    exit status: 0
    --- stdout
    info
    ");
    assert_eq!(server.request(), "GET /v1/loglevel");
    let server = FakeServer::answering(200, r#"{"level":"debug"}"#);
    assert_eq!(server.run(&["loglevel", "debug"]), "exit status: 0\n");
    assert_eq!(server.request(), "PUT /v1/loglevel\n{\"level\":\"debug\"}");
    let directory = TempDir::new().unwrap();
    let told = run(&directory.path().join("s"), &["loglevel", "loud"]);
    assert!(told.starts_with("exit status: 2\n"), "{told}");
}

#[test]
fn drain_says_what_happens_now() {
    let server = FakeServer::answering(200, r#"{"sessions":7}"#);
    let args = ["drain", "--deadline", "1h", "--redirect", "203.0.113.8"];
    assert_snapshot!(server.run(&args), @r"
    exit status: 0
    --- stdout
    Draining: 7 sessions left, new ones are sent to 203.0.113.8:3478; the server ends when all have ended, in 1 h at the latest
    ");
    assert_eq!(
        server.request(),
        "PUT /v1/drain\n{\"deadline_seconds\":3600,\"redirect\":[\"203.0.113.8:3478\"]}"
    );
    let server = FakeServer::answering(200, r#"{"sessions":1}"#);
    assert_snapshot!(server.run(&["drain"]), @r"
    exit status: 0
    --- stdout
    Draining: 1 session left, new ones are refused; the server ends when all have ended
    ");
    let server = FakeServer::answering(200, r#"{"was_draining":true}"#);
    assert_snapshot!(server.run(&["drain", "--cancel"]), @r"
    exit status: 0
    --- stdout
    The server takes new sessions again
    ");
    assert_eq!(server.request(), "DELETE /v1/drain");
}

#[test]
fn users_are_shut_out_and_let_in() {
    let answer = r#"{"user":"eve","was_revoked":false,"ended":2,"outlives_restart":false}"#;
    let server = FakeServer::answering(200, answer);
    assert_snapshot!(server.run(&["revoke", "1795207443:eve"]), @r"
    exit status: 0
    --- stdout
    eve is revoked; 2 sessions ended
    --- stderr
    note: the server forgets this when it is started anew: it has no state-directory
    ");
    assert_eq!(server.request(), "PUT /v1/revoked/1795207443%3Aeve");
    let server = FakeServer::answering(200, r#"{"user":"eve","was_revoked":false}"#);
    assert_snapshot!(server.run(&["unrevoke", "eve"]), @r"
    exit status: 1
    --- stderr
    error: eve is not revoked
     = help: `turnctl revoked` lists those who are
    ");
    let list = r#"{"users":["eve","mallory\u001b"],"outlives_restart":true}"#;
    let server = FakeServer::answering(200, list);
    assert_snapshot!(server.run(&["revoked"]), @r"
    exit status: 0
    --- stdout
    eve
    mallory\u{1b}
    ");
}

#[test]
fn peers_are_explained() {
    for (name, answer) in [
        (
            "peer_denied_by_rule",
            r#"{"address":"10.1.2.3","verdict":"denied","rule":"rule denied-peer-ip=10.0.0.0/8 (line 12)","embedded":null,
                "is_own_relay_address":false,"is_own_host":false}"#,
        ),
        (
            "peer_denied_as_embedded",
            r#"{"address":"64:ff9b::a00:1","verdict":"denied","rule":"built-in rule 10.0.0.0/8 (private use, RFC 1918)",
                "embedded":{"address":"10.0.0.1","spelling":"NAT64 (RFC 6052)"},"is_own_relay_address":false,"is_own_host":false}"#,
        ),
        (
            "peer_own_relay",
            r#"{"address":"203.0.113.7","verdict":"allowed_where_relayed","rule":null,"embedded":null,
                "is_own_relay_address":true,"is_own_host":false}"#,
        ),
        (
            "peer_allowed",
            r#"{"address":"8.8.8.8","verdict":"allowed","rule":null,"embedded":null,"is_own_relay_address":false,
                "is_own_host":false}"#,
        ),
    ] {
        let server = FakeServer::answering(200, answer);
        assert_snapshot!(name, server.run(&["explain", "peer", "64:ff9b::10.0.0.1"]));
        assert_eq!(
            server.request(),
            "GET /v1/explain/peer/64%3Aff9b%3A%3Aa00%3A1"
        );
    }
}

#[test]
fn users_are_explained() {
    let answer = |more: &str| {
        format!(
            r#"{{"user":"1795207443:alice","stable_name":"alice","anonymous":false,"static_account":false,
             "secrets":2,"revoked":false,"quota":{{"held":1,"limit":12,"total_held":40,"total_limit":1200}},{more}}}"#
        )
    };
    let expired = r#""time_limited":{"expires_unix_seconds":1795207443,"expires_in_seconds":-700},"password":"wrong",
        "failures":[
        {"username":"1795207443:alice","source":"192.0.2.7","method":"Allocate","reason":"expired","code":401,
         "text":"the credential expired 3 s ago","count":12,"first_seconds_ago":697,"last_seconds_ago":4},
        {"username":"1795200000:alice","source":"2001:db8::1","method":"Refresh","reason":"stale-nonce","code":438,
         "text":"the nonce is too old, or was made for another address","count":1,"first_seconds_ago":61,"last_seconds_ago":61}]"#;
    let good = r#""time_limited":{"expires_unix_seconds":1795207443,"expires_in_seconds":3600},"password":{"of_secret":2},
        "failures":[]"#;
    for (name, more) in [("user_expired", expired), ("user_good", good)] {
        let server = FakeServer::answering(200, &answer(more));
        assert_snapshot!(name, server.run(&["explain", "user", "1795207443:alice"]));
        assert_eq!(
            server.request(),
            "POST /v1/explain/user\n{\"password\":null,\"user\":\"1795207443:alice\"}"
        );
    }
    let unknown = r#"{"user":"bob","stable_name":"bob","anonymous":false,"static_account":false,"time_limited":null,
        "secrets":1,"password":"not_given","revoked":true,"quota":{"held":12,"limit":12,"total_held":40,"total_limit":null},
        "failures":[]}"#;
    let server = FakeServer::answering(200, unknown);
    assert_snapshot!("user_unknown", server.run(&["explain", "user", "bob"]));
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
