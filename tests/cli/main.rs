//! The server's command line as its operator meets it: what is printed, exit statuses, signals.

#![forbid(unsafe_code)]

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::{self, Command, Output};

use tempfile::TempDir;
use turnbuckle_tests::{Server, Signal, turnbuckle, turnctl};

#[test]
fn every_error_of_a_file_is_told_at_once() {
    let run = Run::with_file(
        "listening-port=abc\n\
         min-port=60000\n\
         max-port=50000\n\
         denied-peer-ip=10.0.0.0-bogus\n\
         static-auth-secret=a-secret-that-nobody-may-see\n\
         relm=relay.example\n\
         user=nopassword\n",
        &[],
    );
    assert_eq!(run.status(), Some(2));
    insta::assert_snapshot!(run.told());
}

#[test]
fn check_says_what_a_good_file_comes_to() {
    let run = Run::with_file(
        "listening-ip=127.0.0.1\n\
         external-ip=203.0.113.7/127.0.0.1\n\
         realm=relay.example\n\
         static-auth-secret=a-secret-that-nobody-may-see\n\
         allowed-peer-ip=10.1.2.3\n\
         denied-peer-ip=8.8.0.0/16\n",
        &["--check"],
    );
    assert_eq!(run.status(), Some(0));
    insta::assert_snapshot!(run.told());
}

#[test]
fn check_refuses_a_wrong_file() {
    let run = Run::with_file("min-port=5\nmax-port=4\n", &["--check"]);
    assert_eq!(run.status(), Some(2));
    insta::assert_snapshot!(run.told());
}

#[test]
fn a_missing_file_is_a_wrong_configuration() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("not-there.conf");
    let run = Run::new(directory, &["-c", path.to_str().unwrap()]);
    assert_eq!(run.status(), Some(2));
    assert!(run.told().contains("DIR/not-there.conf"), "{}", run.told());
}

#[test]
fn an_unknown_option_is_wrong_usage() {
    let run = Run::new(TempDir::new().unwrap(), &["-n", "--listening-prot=3478"]);
    assert_eq!(run.status(), Some(2));
    assert!(
        run.told().contains("--listening-port"),
        "no suggestion: {}",
        run.told()
    );
}

#[test]
fn an_option_is_checked_as_a_line_of_the_file_is() {
    let run = Run::new(TempDir::new().unwrap(), &["-n", "--min-port=70000"]);
    assert_eq!(run.status(), Some(2));
    assert!(run.told().contains("70000"), "{}", run.told());
}

#[test]
fn version_is_one_line() {
    let run = Run::new(TempDir::new().unwrap(), &["--version"]);
    assert_eq!(run.status(), Some(0));
    assert_eq!(
        run.told(),
        format!("turnbuckle {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn help_names_the_options_of_coturn_that_work_here() {
    let run = Run::new(TempDir::new().unwrap(), &["--help"]);
    assert_eq!(run.status(), Some(0));
    for option in [
        "-c", "-n", "-p", "-L", "-E", "-X", "-r", "-u", "-a", "-v", "-l", "--check",
    ] {
        let is_named = run
            .told()
            .lines()
            .any(|line| line.split([' ', ',']).any(|word| word == option));
        assert!(is_named, "{option} is missing in:\n{}", run.told());
    }
}

#[test]
fn a_port_in_use_is_an_error_that_names_its_holder() {
    let holder = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = holder.local_addr().unwrap().port();
    let run = Run::with_file(
        &format!("listening-ip=127.0.0.1\nlistening-port={port}\n"),
        &[],
    );
    assert_eq!(run.status(), Some(1));
    let told = run.told();
    assert!(told.contains(&format!("127.0.0.1:{port}")), "{told}");
    assert!(told.contains("in use"), "{told}");
    assert!(told.contains(&format!("pid {}", process::id())), "{told}");
}

#[test]
fn an_address_of_another_host_is_an_error() {
    let run = Run::with_file("listening-ip=192.0.2.77\n", &[]);
    assert_eq!(run.status(), Some(1));
    assert!(run.told().contains("192.0.2.77"), "{}", run.told());
}

#[test]
fn sigterm_and_sigint_stop_the_server_and_free_its_port() {
    for signal in [Signal::TERM, Signal::INT] {
        let server = Server::start(SECRET);
        let address = server.address();
        server.stop_with(signal);
        UdpSocket::bind(address).unwrap_or_else(|error| panic!("after {signal:?}: {error}"));
    }
}

#[test]
fn other_signals_do_not_stop_the_server() {
    let server = Server::start(SECRET);
    for signal in [Signal::HUP, Signal::USR1, Signal::USR2] {
        server.signal(signal);
    }
    answers_binding(&server);
    server.stop();
}

#[test]
fn the_log_holds_no_secret() {
    let server = Server::start(&format!("{SECRET}\nverbose\nuser=alice:her-own-password"));
    answers_binding(&server);
    let credentials = server.credentials("bob");
    let log = server.stop();
    for secret in [
        "a-secret-that-nobody-may-see",
        "her-own-password",
        &credentials.password,
    ] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[test]
fn options_win_over_the_file() {
    let run = Run::with_file(
        &format!("listening-ip=127.0.0.1\nlistening-port=3998\n{SECRET}\n"),
        &["-p", "3999", "--check"],
    );
    assert_eq!(run.status(), Some(0));
    assert!(run.told().contains("127.0.0.1:3999"), "{}", run.told());
}

#[test]
fn turnctl_makes_credentials_from_the_servers_file() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("turnserver.conf");
    fs::write(&file, format!("{SECRET}\n")).unwrap();
    let output = Command::new(turnctl())
        .args(["credentials", "2h", "alice", "-c"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{stdout}");
    let name = lines[0].strip_prefix("Username: ").expect(lines[0]);
    let password = lines[1].strip_prefix("Password: ").expect(lines[1]);
    assert!(name.ends_with(":alice"), "{name}");

    let output = Command::new(turnctl())
        .args(["password", name, "-c"])
        .arg(&file)
        .output()
        .unwrap();
    let derived = String::from_utf8(output.stdout).unwrap();
    assert!(derived.contains(password), "{derived} is not {password}");
}

/// One run of the server that is expected to end by itself.
struct Run {
    output: Output,
    directory: TempDir,
}

impl Run {
    /// Runs with `-c` and a file that says `config`.
    fn with_file(config: &str, arguments: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("turnserver.conf");
        fs::write(&path, config).unwrap();
        let path = path.to_str().unwrap().to_owned();
        let arguments: Vec<&str> = ["-c", &path].iter().chain(arguments).copied().collect();
        Self::new(directory, &arguments)
    }

    fn new(directory: TempDir, arguments: &[&str]) -> Self {
        let output = Command::new(turnbuckle())
            .args(arguments)
            .current_dir(directory.path())
            .output()
            .unwrap();
        Self { output, directory }
    }

    fn status(&self) -> Option<i32> {
        self.output.status.code()
    }

    /// Standard output, then standard error, with the directory written as DIR.
    fn told(&self) -> String {
        let text = [&self.output.stdout[..], &self.output.stderr[..]].concat();
        let path: &Path = self.directory.path();
        String::from_utf8(text)
            .unwrap()
            .replace(path.to_str().unwrap(), "DIR")
    }
}

fn answers_binding(server: &Server) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket
        .set_read_timeout(Some(std::time::Duration::from_secs(10)))
        .unwrap();
    let mut request = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    request.extend_from_slice(b"one binding!");
    socket.send_to(&request, server.address()).unwrap();
    let mut response = [0; 128];
    let (_, from) = socket.recv_from(&mut response).expect("an answer");
    assert_eq!(from, server.address());
    assert_eq!(response[..2], [1, 1]);
}

const SECRET: &str = "realm=relay.example\nstatic-auth-secret=a-secret-that-nobody-may-see";
