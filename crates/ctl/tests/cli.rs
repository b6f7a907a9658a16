//! What the command prints, as its users see it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use insta::assert_snapshot;
use tempfile::TempDir;

#[test]
fn credentials_are_two_lines() {
    let files = Files::new();
    assert_snapshot!(files.run(&["credentials", "2100-01-01T00:00:00Z", "-c", "turnserver.conf"]), @r"
    exit status: 0
    --- stdout
    Username: 4102444800
    Password: Qu8E0spPS1v7zZptAQc/SB8LEN8=
    ");
    assert_snapshot!(files.run(&[
        "credentials",
        "2100-01-01T00:00:00Z",
        "@alice:example.org",
        "-c",
        "turnserver.conf"
    ]));
}

#[test]
fn credentials_last_a_day_unless_told() {
    let files = Files::new();
    for (args, seconds) in [
        (&[][..], 86400),
        (&["90"], 90),
        (&["5m"], 300),
        (&["2h"], 7200),
        (&["3d"], 259_200),
    ] {
        let args = [
            &["credentials", "-c", "turnserver.conf", "-f", "json"],
            args,
        ]
        .concat();
        let output = files.output(&args);
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(json["ttl"], seconds);
        assert_eq!(json["username"], json["expiry"].to_string());
    }
}

#[test]
fn credentials_in_every_format() {
    let files = Files::new();
    for format in ["ice", "env"] {
        assert_snapshot!(
            format!("format_{format}"),
            files.run(&[
                "credentials",
                "2100-01-01T00:00:00Z",
                "alice's",
                "-c",
                "turnserver.conf",
                "--format",
                format
            ])
        );
    }
    for format in ["json", "matrix"] {
        let output = files.output(&[
            "credentials",
            "1h",
            "-c",
            "turnserver.conf",
            "--format",
            format,
        ]);
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let object = json.as_object().unwrap();
        let keys: Vec<_> = object.keys().map(String::as_str).collect();
        let expected: &[_] = match format {
            "json" => &["expiry", "password", "ttl", "uris", "username"],
            _ => &["password", "ttl", "uris", "username"],
        };
        assert_eq!(keys, expected);
        assert_eq!(json["ttl"], 3600);
        assert_eq!(
            json["uris"],
            serde_json::json!([
                "turn:203.0.113.7:3478?transport=udp",
                "turn:203.0.113.7:3478?transport=tcp"
            ])
        );
        assert_eq!(json["password"].as_str().unwrap().len(), 28);
    }
}

#[test]
fn urls_may_be_given() {
    let files = Files::new();
    let urls = "turn:turn.example.org?transport=udp,turns:turn.example.org:443?transport=tcp";
    assert_snapshot!(files.run(&[
        "credentials",
        "2100-01-01T00:00:00Z",
        "--secret-file",
        "secret",
        "-f",
        "ice",
        "--uris",
        urls
    ]));
    assert_snapshot!(files.run(&[
        "credentials",
        "2100-01-01T00:00:00Z",
        "-c",
        "turnserver.conf",
        "-f",
        "env",
        "--url",
        "turn:a",
        "--url",
        "turn:b"
    ]));
}

#[test]
fn urls_may_come_from_the_realm() {
    let files = Files::new();
    let args = [
        "credentials",
        "2100-01-01T00:00:00Z",
        "-c",
        "named.conf",
        "-f",
    ];
    assert_snapshot!("realm_ice", files.run(&[&args[..], &["ice"]].concat()));
    assert!(!files.run(&[&args[..], &["text"]].concat()).contains("note"));
    let given = files.run(&[&args[..], &["ice", "--url", "turn:turn.example.org"]].concat());
    assert!(!given.contains("note"), "{given}");
}

#[test]
fn urls_that_cannot_be_derived() {
    let files = Files::new();
    assert_snapshot!(files.run(&["credentials", "--secret-file", "secret", "-f", "ice"]));
    assert_snapshot!(files.run(&["credentials", "-c", "nowhere.conf", "-f", "matrix"]));
    assert_snapshot!(
        "tls_without_a_name",
        files.run(&["credentials", "-c", "tls.conf", "-f", "ice"])
    );
}

#[test]
fn secret_file_is_as_good_as_the_configuration() {
    let files = Files::new();
    let args = ["credentials", "2100-01-01T00:00:00Z", "bob"];
    let from_config = files.run(&[&args[..], &["-c", "turnserver.conf"]].concat());
    let from_secret = files.run(&[&args[..], &["--secret-file", "secret"]].concat());
    assert_eq!(from_config, from_secret);
    // Both: the rest of the configuration counts, its secrets do not.
    let both = files.run(
        &[
            &args[..],
            &["-c", "separator.conf", "--secret-file", "secret"],
        ]
        .concat(),
    );
    assert!(both.contains("Username: 4102444800|bob\n"), "{both}");
    let password = files.run(&[
        "password",
        "4102444800|bob",
        "-c",
        "separator.conf",
        "--secret-file",
        "secret",
    ]);
    let line = password.lines().last().unwrap();
    assert!(both.contains(line), "{both} {line}");
}

#[test]
fn files_that_are_of_no_use() {
    let files = Files::new();
    for (name, args) in [
        ("missing_file", ["-c", "missing.conf"]),
        ("broken_file", ["-c", "broken.conf"]),
        ("no_secret", ["-c", "accounts.conf"]),
        ("empty_secret_file", ["--secret-file", "empty"]),
        (
            "secret_file_of_many_lines",
            ["--secret-file", "turnserver.conf"],
        ),
    ] {
        let report = files.run(&["credentials", args[0], args[1]]);
        assert!(
            report.starts_with("exit status: 1\n--- stderr\n"),
            "{report}"
        );
        assert!(!report.contains("hunter2"), "{report}");
        assert_snapshot!(name, report);
    }
}

#[test]
fn password_of_a_time_limited_name() {
    let files = Files::new();
    for name in [
        "4102444800",
        "4102444800:@alice:example.org",
        "alice:4102444800",
        "1:expired",
    ] {
        let report = files.run(&["password", name, "-c", "turnserver.conf"]);
        assert!(
            report.starts_with("exit status: 0\n--- stdout\n"),
            "{report}"
        );
        assert_eq!(report.lines().last().unwrap().len(), 28);
    }
    let made = files.run(&[
        "credentials",
        "2100-01-01T00:00:00Z",
        "x",
        "-c",
        "turnserver.conf",
    ]);
    let asked = files.run(&["password", "4102444800:x", "-c", "turnserver.conf"]);
    assert_eq!(
        made.rsplit("Password: ").next(),
        asked.rsplit("stdout\n").next()
    );
}

#[test]
fn password_of_an_account() {
    let files = Files::new();
    assert_snapshot!(files.run(&["password", "alice", "-c", "accounts.conf"]), @r"
    exit status: 0
    --- stdout
    wonder#land: 1
    ");
    assert_snapshot!(
        "account_with_a_key",
        files.run(&["password", "bob", "-c", "accounts.conf"])
    );
    assert_snapshot!(
        "account_that_is_not_there",
        files.run(&["password", "carol", "-c", "accounts.conf"])
    );
    assert_snapshot!(
        "time_limited_name_without_secret",
        files.run(&["password", "4102444800", "-c", "accounts.conf"])
    );
}

#[test]
fn wrong_usage() {
    let files = Files::new();
    for (name, args) in [
        ("no_command", &[][..]),
        ("unknown_command", &["credential"]),
        ("no_user", &["password"]),
        ("bad_expiry", &["credentials", "tomorrow"]),
        ("expiry_too_long", &["credentials", "99999999999d"]),
        (
            "url_in_text",
            &["credentials", "--url", "turn:turn.example.org"],
        ),
        ("empty_suffix", &["credentials", "1d", ""]),
        ("bad_format", &["credentials", "--format", "yaml"]),
        (
            "bad_url",
            &["credentials", "--url", "https://turn.example.org"],
        ),
        ("option_without_value", &["credentials", "-c"]),
    ] {
        let report = files.run(args);
        assert!(
            report.starts_with("exit status: 2\n--- stderr\n"),
            "{name}: {report}"
        );
        assert_snapshot!(format!("usage_{name}"), report);
    }
}

#[test]
fn expiry_that_is_over() {
    assert_snapshot!(Files::new().run(&[
        "credentials",
        "2001-01-01T00:00:00Z",
        "-c",
        "turnserver.conf"
    ]));
}

#[test]
fn help() {
    let files = Files::new();
    assert_snapshot!("help", files.run(&["--help"]));
    assert_snapshot!("help_credentials", files.run(&["credentials", "--help"]));
    assert_snapshot!("help_password", files.run(&["password", "--help"]));
}

/// A directory with the files that the tests name.
struct Files {
    directory: TempDir,
}

impl Files {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let files = [
            (
                "turnserver.conf",
                "realm=example.org\nexternal-ip=203.0.113.7\nstatic-auth-secret=0123456789abcdef0123456789abcdef\n\
                 static-auth-secret=the-secret-to-rotate-to\n",
            ),
            (
                "separator.conf",
                "rest-api-separator=|\nstatic-auth-secret=hunter2hunter2hunter2\n",
            ),
            (
                "nowhere.conf",
                "realm=north\nstatic-auth-secret=hunter2hunter2hunter2\n",
            ),
            (
                "named.conf",
                "realm=turn.example.org\nstatic-auth-secret=0123456789abcdef\ncert=/c.pem\npkey=/k.pem\n",
            ),
            (
                "tls.conf",
                "static-auth-secret=hunter2hunter2hunter2\nexternal-ip=203.0.113.7\nno-udp\nno-tcp\ncert=/c.pem\npkey=/k.pem\n",
            ),
            (
                "accounts.conf",
                "realm=example.org\nuser=alice:wonder#land: 1\nuser=bob:0x0123456789abcdef0123456789abcdef\n",
            ),
            (
                "broken.conf",
                "min-port=x\nstatic-auth-secret=\"hunter2\nlistening-prot=1\nuser=hunter2\n",
            ),
            ("secret", "0123456789abcdef0123456789abcdef\n"),
            ("empty", "\n"),
        ];
        for (name, text) in files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        Self { directory }
    }

    fn output(&self, args: &[&str]) -> Output {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_turnctl"));
        Command::new(program)
            .args(args)
            .current_dir(self.path())
            .env("NO_COLOR", "1")
            .output()
            .unwrap()
    }

    /// Exit status and what was printed where.
    fn run(&self, args: &[&str]) -> String {
        let output = self.output(args);
        let mut report = format!("{}\n", output.status);
        for (name, bytes) in [("stdout", output.stdout), ("stderr", output.stderr)] {
            let text = String::from_utf8(bytes).unwrap();
            if !text.is_empty() {
                report += &format!("--- {name}\n{text}");
            }
        }
        report
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }
}
