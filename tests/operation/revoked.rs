//! Users that were shut out by an earlier run of the server.

use std::fs;
use std::process::Command;

use tempfile::TempDir;
use turnbuckle_tests::{Server, turnbuckle};

use crate::client::Client;

#[test]
fn the_list_of_an_earlier_run_holds() {
    let directory = TempDir::new().expect("a temporary directory");
    fs::write(directory.path().join("revoked-users"), "\"eve\"\n").expect("it can be written");
    let server = Server::start(&format!(
        "realm=relay.example\nstatic-auth-secret={SECRET}\nstate-directory={}\n",
        directory.path().display()
    ));
    let address = server.address();
    assert_eq!(Client::tcp(address, SECRET, "eve").allocate(), 401);
    assert_eq!(Client::tcp(address, SECRET, "alice").allocate(), 0);
    let log = server.stop();
    assert!(log.contains("1 user is revoked"), "{log}");
}

#[test]
fn without_its_list_the_server_does_not_start() {
    let directory = TempDir::new().expect("a temporary directory");
    let list = directory.path().join("revoked-users");
    let broken = "\"eve\"\nmallory\n";
    fs::write(&list, broken).expect("it can be written");
    let output = Command::new(turnbuckle())
        .args(["-n", "-L", "127.0.0.1", "--state-directory"])
        .arg(directory.path())
        .output()
        .expect("the server runs");
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.contains(&format!("{}:2: each line is a name", list.display())),
        "{stderr}"
    );
    assert_eq!(fs::read_to_string(&list).expect("it is there"), broken);
}

const SECRET: &str = "the secret of both";
