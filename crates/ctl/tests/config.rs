//! `turnctl config`, `completions` and `man`, as their users see them.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use insta::assert_snapshot;

use common::Directory;

#[test]
fn check_reviews_every_line() {
    let directory = Directory::new();
    directory.write("turnserver.conf", TRAPS);
    assert_snapshot!(directory.run(&["config", "check", "turnserver.conf"]));
}

#[test]
fn check_of_a_good_file_ends_with_zero() {
    let directory = Directory::new();
    directory.write("turnserver.conf", GOOD);
    assert_snapshot!(directory.run(&["config", "check", "turnserver.conf"]));
    let output = directory.output(&["config", "check", "turnserver.conf"]);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn check_ends_with_two_where_no_server_would_start() {
    let directory = Directory::new();
    directory.write(
        "turnserver.conf",
        "denied-peer-ip=10.0.0.0/33\nuser=alice\n",
    );
    assert_snapshot!(directory.run(&["config", "check", "turnserver.conf"]));
    directory.write("wrong.toml", "[limits]\nuser-quotas = 3\n");
    assert_snapshot!(
        "check_of_a_wrong_toml",
        directory.run(&["config", "check", "wrong.toml"])
    );
    let output = directory.output(&["config", "check", "not-there.conf"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn check_for_programs() {
    let directory = Directory::new();
    directory.write("turnserver.conf", TRAPS);
    let output = directory.output(&["config", "check", "turnserver.conf", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["usable"], true);
    let line = &json["lines"][0];
    assert_eq!(
        (
            line["line"].as_u64(),
            line["name"].as_str(),
            line["verdict"].as_str()
        ),
        (Some(1), Some("use-auth-secret"), Some("in force"))
    );
    assert!(
        json["findings"]
            .as_array()
            .unwrap()
            .iter()
            .all(|found| found["message"].is_string())
    );
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn what_was_converted_is_good_and_says_the_same() {
    let directory = Directory::new();
    directory.write("turnserver.conf", GOOD);
    assert_snapshot!(directory.run(&["config", "convert", "turnserver.conf"]));
    let done = directory.output(&[
        "config",
        "convert",
        "turnserver.conf",
        "-o",
        "turnbuckle.toml",
    ]);
    assert!(done.status.success(), "{done:?}");
    let mode = fs::metadata(directory.path().join("turnbuckle.toml"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let check = directory.output(&["config", "check", "turnbuckle.toml"]);
    assert_eq!(check.status.code(), Some(0), "{check:?}");
    let values = |file| {
        let output = directory.output(&["config", "show", file, "--json", "--secrets"]);
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        values_of(&json)
    };
    assert_eq!(values("turnserver.conf"), values("turnbuckle.toml"));
    // What is there is never written over.
    let again = directory.output(&[
        "config",
        "convert",
        "turnserver.conf",
        "-o",
        "turnbuckle.toml",
    ]);
    assert_eq!(again.status.code(), Some(1));
}

#[test]
fn a_wrong_file_is_not_converted() {
    let directory = Directory::new();
    directory.write("turnserver.conf", "listening-port=abc\n");
    assert_snapshot!(directory.run(&["config", "convert", "turnserver.conf"]));
}

#[test]
fn show_hides_secrets_unless_asked() {
    let directory = Directory::new();
    directory.write("turnserver.conf", GOOD);
    let shown = directory.run(&["config", "show", "turnserver.conf"]);
    assert!(!shown.contains(SECRET), "{shown}");
    assert_snapshot!(shown);
    let asked = directory.run(&["config", "show", "turnserver.conf", "--secrets"]);
    assert!(asked.contains(SECRET), "{asked}");
}

#[test]
fn secrets_come_from_files_and_from_systemd() {
    let directory = Directory::new();
    directory.write("secret", SECRET);
    directory.write("turnserver.conf", "static-auth-secret-file=secret\n");
    directory.write("same.conf", &format!("static-auth-secret={SECRET}\n"));
    let credential = |file: &str| {
        let output =
            directory.output(&["credentials", "2100-01-01T00:00:00Z", "alice", "-c", file]);
        assert!(output.status.success(), "{output:?}");
        output.stdout
    };
    assert_eq!(credential("turnserver.conf"), credential("same.conf"));
    directory.write("static-auth-secret", SECRET);
    directory.write("empty.conf", "realm=example.org\n");
    let output = directory
        .command(&[
            "credentials",
            "2100-01-01T00:00:00Z",
            "alice",
            "-c",
            "empty.conf",
        ])
        .env("CREDENTIALS_DIRECTORY", directory.path())
        .output()
        .unwrap();
    assert_eq!(output.stdout, credential("same.conf"));
}

#[test]
fn every_shell_is_taught_both_programs() {
    let directory = Directory::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        for (program, word) in [
            ("turnctl", "credentials"),
            ("turnbuckle", "static-auth-secret"),
        ] {
            let output = directory.output(&["completions", shell, program]);
            assert!(output.status.success(), "{output:?}");
            let script = String::from_utf8(output.stdout).unwrap();
            assert!(
                script.contains(word) && script.contains(program),
                "{shell} {program}"
            );
        }
    }
}

#[test]
fn manual_pages_name_every_option_and_command() {
    let directory = Directory::new();
    assert!(directory.output(&["man", "man8"]).status.success());
    let page = |name: &str| fs::read_to_string(directory.path().join("man8").join(name)).unwrap();
    let server = page("turnbuckle.8").replace('\\', "");
    for key in [
        "--listening-port",
        "--static-auth-secret",
        "--denied-peer-ip",
        "--check",
    ] {
        assert!(server.contains(key), "{key}");
    }
    assert!(page("turnctl.8").contains("config"));
    assert!(
        page("turnctl-config-check.8")
            .replace('\\', "")
            .contains("Exit status")
    );
    assert!(page("turnctl-credentials.8").contains(".TH"));
    // Every key stands in the one, every field in the other.
    let conf = page("turnserver.conf.5").replace('\\', "");
    let toml = page("turnbuckle.toml.5").replace('\\', "");
    for key in turnbuckle_config::keys::all() {
        assert!(conf.contains(&format!("fB{}fR", key.name)), "{}", key.name);
        if let Some(example) = key.toml_example() {
            assert!(toml.contains(&example.replace('\\', "")), "{example}");
        }
    }
}

/// The values alone, without where they come from.
fn values_of(json: &serde_json::Value) -> serde_json::Value {
    match json {
        serde_json::Value::Object(fields) if fields.contains_key("source") => {
            fields["value"].clone()
        }
        serde_json::Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), values_of(value)))
            .collect(),
        other => other.clone(),
    }
}

/// The traps of common documentation, one after the other.
const TRAPS: &str = "\
use-auth-secret=0
static-auth-secret=hunter2hunter2hunter2
user-quota=12 # 4 streams per video call
external-ip=203.0.113.7
external-ip=2001:db8::7
denied-peer-ip=10.0.0.0/8
realm=a.example
realm=b.example
no-loopback-peers
no-cli
cli-port=5766
server_name=turn.example.org
TURNSERVER_ENABLED=1
fingerprint;
rfc5780
tlsv1
max-port=49999
";

const GOOD: &str = "\
listening-ip=192.0.2.1
tls-listening-port=443
external-ip=203.0.113.7
realm=example.org
static-auth-secret=0f1e2d3c4b5a69788796a5b4c3d2e1f0
cert=/etc/turnbuckle/fullchain.pem
pkey=/etc/turnbuckle/privkey.pem
denied-peer-ip=198.51.100.0-198.51.100.255
allowed-peer-ip=10.1.2.3
stale-nonce=600
no-tcp-relay
no-cli
";

const SECRET: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";
