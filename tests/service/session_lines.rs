//! What the log says of sessions.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use turnbuckle_proto::Method;

use crate::client::{Client, USER, channel_data};
use crate::site::{CHANNEL, Site, connect};

/// A server that logs to a file, and the file.
struct Logged {
    site: Site,
    file: PathBuf,
    _directory: TempDir,
}

impl Logged {
    fn start(config: &str) -> Self {
        let directory = TempDir::with_prefix("turnbuckle-log-").expect("a temporary directory");
        let file = directory.path().join("log");
        let config = format!("log-file={}\n{config}", file.display());
        Self {
            site: Site::start_with(&config, |builder| builder),
            file,
            _directory: directory,
        }
    }

    /// Stops the server and returns what it logged.
    fn lines(self) -> Vec<String> {
        self.site.server.stop();
        let text = fs::read_to_string(&self.file).expect("the log can be read");
        text.lines().map(str::to_owned).collect()
    }

    fn objects(self) -> Vec<Value> {
        self.lines()
            .iter()
            .map(|line| match serde_json::from_str(line) {
                Ok(Value::Object(object)) => Value::Object(object),
                other => panic!("{line} is no JSON object but {other:?}"),
            })
            .collect()
    }
}

fn events<'a>(objects: &'a [Value], event: &str) -> Vec<&'a Value> {
    objects
        .iter()
        .filter(|object| object["event"] == event)
        .collect()
}

#[test]
fn a_session_is_a_line_at_its_start_and_one_at_its_end() {
    let logged = Logged::start("log-format=json\nuser-quota=1\n");
    let site = &logged.site;
    let peer = site.peer.address();
    let mut client = site.tcp();
    let from = client.wire.local_addr().unwrap().to_string();
    let relayed = client.allocate().to_string();
    client.bind(CHANNEL, peer);
    client.echo(CHANNEL, b"seven b");
    let refused = client.ask(Method::CREATE_PERMISSION, |message| {
        message
            .xor_peer_address("10.9.8.7:6".parse().unwrap())
            .expect("it fits");
    });
    assert_eq!(refused.code(), 403);
    let mut second = Client::new(connect(site.plain()));
    assert_eq!(second.try_allocate().code(), 486);
    let server = site.plain().to_string();
    drop(client);
    site.server.expect_log("the end of the session", |line| {
        line.contains("session-end")
    });
    let objects = logged.objects();

    let [start] = events(&objects, "session-start")[..] else {
        panic!("not one start: {objects:#?}");
    };
    assert_eq!(start["level"], "info");
    assert_eq!(start["message"], "session started");
    let [end] = events(&objects, "session-end")[..] else {
        panic!("not one end: {objects:#?}");
    };
    for line in [start, end] {
        assert_eq!(line["user"], USER);
        assert_eq!(line["username"], USER);
        assert_eq!(line["client"], from.as_str());
        assert_eq!(line["transport"], "tcp");
        assert_eq!(line["server"], server.as_str());
        assert_eq!(line["relayed"], relayed.as_str());
        assert!(line["time"].as_str().unwrap().ends_with('Z'), "{line}");
    }
    assert_eq!(start["lifetime"], 600);
    assert_eq!(end["peers"], peer.ip().to_string());
    assert_eq!(end["peers_count"], 1);
    for (field, expected) in [
        ("packets_to_peers", 1),
        ("packets_to_client", 1),
        ("bytes_to_peers", 7),
        ("bytes_to_client", 7),
    ] {
        assert_eq!(end[field], expected, "{field}");
    }
    assert!(end["seconds"].is_u64(), "{end}");
    assert_eq!(end["reason"], "client disconnected");

    let [peer, quota] = events(&objects, "request-refused")[..] else {
        panic!("not two refusals: {objects:#?}");
    };
    assert_eq!(peer["code"], 403);
    assert_eq!(peer["method"], "CreatePermission");
    assert_eq!(peer["peer"], "10.9.8.7:6");
    let reason = peer["reason"].as_str().unwrap();
    assert!(reason.contains("10.0.0.0/8"), "{reason}");
    assert_eq!(quota["code"], 486);
    assert_eq!(quota["user"], USER);
    let reason = quota["reason"].as_str().unwrap();
    assert!(
        reason.contains("holds 1 ") && reason.contains("user-quota"),
        "{reason}"
    );
    assert!(end.get("dropped_bytes_to_peers").is_none(), "{end}");
    for object in [start, end, peer, quota] {
        is_documented(object);
    }
    // The challenges of both clients are no news.
    for object in &objects {
        assert_ne!(object["code"], 401, "{object}");
        assert_ne!(object["level"], "error", "{object}");
    }
}

/// `docs/logs.md` has the event of the line and all of its fields.
fn is_documented(line: &Value) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/logs.md");
    let page = fs::read_to_string(page).expect("the page is there");
    let event = line["event"].as_str().expect("the line has an event");
    for word in line
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .chain([event])
    {
        assert!(page.contains(&format!("`{word}`")), "{word} of {line}");
    }
}

#[test]
fn what_came_too_fast_is_told() {
    // So little that the second payload does not fit, whenever it comes.
    let logged = Logged::start("log-format=json\nlog-binding\nmax-bps=1\n");
    let site = &logged.site;
    let mut client = site.tcp();
    client.mapped_address();
    client.allocate();
    client.bind(CHANNEL, site.peer.address());
    let payload = vec![7; PAYLOAD];
    client.echo(CHANNEL, &payload);
    client.send(&channel_data(CHANNEL, &payload));
    // Answered behind it.
    client.mapped_address();
    drop(client);
    site.server.expect_log("the end of the session", |line| {
        line.contains("session-end")
    });
    let objects = logged.objects();
    let end = events(&objects, "session-end")[0];
    assert_eq!(end["packets_to_peers"], 1, "{end}");
    assert_eq!(end["dropped_packets_to_peers"], 1, "{end}");
    assert_eq!(end["dropped_bytes_to_peers"], PAYLOAD, "{end}");
    assert_eq!(end["dropped_packets_to_client"], 0, "{end}");
    assert_eq!(end["dropped_bytes_to_client"], 0, "{end}");
    is_documented(end);
    is_documented(events(&objects, "binding-answered")[0]);
}

/// More than half of what an allocation may send at once with the smallest limit.
const PAYLOAD: usize = 40_000;

#[test]
fn text_is_for_people() {
    let logged = Logged::start("");
    let mut client = logged.site.tcp();
    let from = client.wire.local_addr().unwrap();
    client.allocate();
    let lines = logged.lines();
    let wanted = format!("session started user=\"{USER}\" client={from} transport=tcp ");
    let start = lines.iter().filter(|line| line.contains(&wanted));
    assert_eq!(start.count(), 1, "{lines:#?}");
    let wanted = format!("session ended: ended by server user=\"{USER}\" client={from} ");
    let end = lines.iter().filter(|line| line.contains(&wanted));
    assert_eq!(end.count(), 1, "{lines:#?}");
}

#[test]
fn people_can_be_kept_out_of_the_log() {
    let logged = Logged::start("log-format=json\nlog-privacy=hash\n");
    let mut client = logged.site.tcp();
    client.allocate();
    client.permit(logged.site.peer.address());
    let objects = logged.objects();
    let (start, end) = (
        events(&objects, "session-start")[0],
        events(&objects, "session-end")[0],
    );
    for line in [start, end] {
        assert_eq!(line["client"], "127.0.0.0/24");
        assert!(!line.to_string().contains(USER), "{line}");
    }
    assert_eq!(end["peers"], "127.0.0.0/24");
    assert_eq!(start["user"], end["user"]);
    assert!(
        start["user"].as_str().unwrap().starts_with("user-"),
        "{start}"
    );
}
