//! A real journal gets the fields of a line.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use turnbuckle_tests::{Process, Requirement, free_port, turnbuckle};

use crate::client::{Client, PASSWORD, USER};
use crate::site::connect;

#[test]
fn sessions_are_found_by_their_fields() {
    let needed = [
        Requirement::Root,
        Requirement::Program("systemd-cat"),
        Requirement::Program("journalctl"),
        Requirement::Program("unshare"),
    ];
    if !Requirement::all_met(&needed) {
        return;
    }
    let directory = TempDir::with_prefix("turnbuckle-journal-").expect("a temporary directory");
    let config = directory.path().join("turnserver.conf");
    let port = free_port(&[Ipv4Addr::LOCALHOST.into()]);
    let text = format!(
        "listening-ip=127.0.0.1\nlistening-port={port}\nadmin-socket=\nrealm=relay.example\n\
         user={USER}:{PASSWORD}\nsyslog\nsyslog-facility=local3\n"
    );
    fs::write(&config, text).expect("the file can be written");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("service/journal.sh");
    let process = Process::start(
        Command::new("unshare")
            .args([
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
                "bash",
            ])
            .arg(script)
            .arg(turnbuckle())
            .arg(&config),
    );
    let line = |what: &str| {
        let found = process.wait_for_line(PATIENCE, |line| line.contains(what));
        found.unwrap_or_else(|| panic!("the journal does not tell {what}"))
    };
    line("ready:");
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut client = Client::new(connect(server));
    let relayed = client.allocate().to_string();
    drop(client);
    let entry: Value = serde_json::from_str(&line("__CURSOR")).expect("an entry is JSON");
    for (field, expected) in [
        ("TURNBUCKLE_USER", USER),
        ("TURNBUCKLE_RELAYED", &*relayed),
        ("TURNBUCKLE_TRANSPORT", "tcp"),
        ("TURNBUCKLE_REASON", "client disconnected"),
        ("TURNBUCKLE_BYTES_TO_PEERS", "0"),
        ("PRIORITY", "6"),
        ("SYSLOG_FACILITY", "19"),
        ("SYSLOG_IDENTIFIER", "turnbuckle"),
    ] {
        assert_eq!(entry[field], expected, "{field} in {entry}");
    }
    let message = entry["MESSAGE"].as_str().unwrap();
    assert!(message.starts_with("session ended: "), "{message}");
}

const PATIENCE: Duration = Duration::from_secs(20);
