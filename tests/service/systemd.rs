//! The unit file, and the conversation with systemd.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use turnbuckle_tests::{Requirement, Server, turnbuckle};

#[test]
fn the_unit_is_confined() {
    if !Requirement::all_met(&[Requirement::Program("systemd-analyze")]) {
        return;
    }
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager"])
        .arg(unit())
        .output()
        .expect("systemd-analyze runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text
        .lines()
        .find(|line| line.contains("Overall exposure level"))
        .unwrap_or_else(|| panic!("no exposure in {output:?}"));
    println!("{line}");
    let exposure: f64 = line
        .split_whitespace()
        .find_map(|word| word.parse().ok())
        .expect("the line has a number");
    assert!(exposure <= EXPOSURE_MAX, "{text}");
}

#[test]
fn the_unit_has_no_mistakes() {
    if !Requirement::all_met(&[Requirement::Program("systemd-analyze")]) {
        return;
    }
    let directory = TempDir::with_prefix("turnbuckle-unit-").expect("a temporary directory");
    let copy = directory.path().join("turnbuckle.service");
    let program = turnbuckle().display().to_string();
    let text = fs::read_to_string(unit()).expect("the unit can be read");
    // The user is made by the package.
    let text = text
        .replace("/usr/bin/turnbuckle", &program)
        .replace("=turnbuckle\nGroup=turnbuckle", "=daemon\nGroup=daemon");
    fs::write(&copy, text).unwrap();
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .arg(&copy)
        .output()
        .expect("systemd-analyze runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{output:?}");
    let about_ours: Vec<_> = said
        .lines()
        .filter(|line| line.contains("turnbuckle"))
        .collect();
    assert!(about_ours.is_empty(), "{said}");
}

#[test]
fn systemd_is_told_how_the_server_is() {
    let directory = TempDir::with_prefix("turnbuckle-notify-").expect("a temporary directory");
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let server = Server::builder("static-auth-secret=0123456789abcdef0123456789abcdef\n")
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "300000")
        .start();
    let mut told = vec![said(&socket)];
    assert_eq!(told, ["READY=1"]);
    let mut alive = 0;
    while alive < 3 {
        let next = said(&socket);
        alive += usize::from(next.lines().any(|line| line == "WATCHDOG=1"));
        told.push(next);
    }
    let status = told
        .iter()
        .flat_map(|said| said.lines())
        .find_map(|line| line.strip_prefix("STATUS="))
        .unwrap_or_else(|| panic!("no status in {told:?}"));
    assert!(status.starts_with("serving: 0 sessions, "), "{status}");
    server.stop();
    loop {
        let last = said(&socket);
        if last.lines().any(|line| line == "STOPPING=1") {
            break;
        }
    }
    socket.set_nonblocking(true).unwrap();
    let more = socket.recv(&mut [0; 64]);
    assert!(more.is_err(), "something comes after STOPPING");
}

fn said(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 1024];
    let length = socket.recv(&mut buffer).expect("systemd is told something");
    String::from_utf8_lossy(&buffer[..length])
        .trim_end()
        .to_owned()
}

fn unit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd/turnbuckle.service")
}

const EXPOSURE_MAX: f64 = 1.6;
const PATIENCE: Duration = Duration::from_secs(20);
