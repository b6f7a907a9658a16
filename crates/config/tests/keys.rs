//! Every key that coturn has or ever had, and Turnbuckle's own, fed alone.

use std::collections::BTreeSet;
use std::path::Path;

use turnbuckle_config::keys::{self, Key, Support};
use turnbuckle_config::{Outcome, Override, Settings, Severity, turnserver_conf};

#[test]
fn table_holds_every_key_once() {
    let historic = keys::sections().last().unwrap().keys.len();
    assert_eq!(historic, 23);
    let own: Vec<_> = keys::all()
        .filter(|key| key.own)
        .map(|key| key.name)
        .collect();
    assert_eq!(
        own,
        [
            "tls-proxy-port",
            "proxy-trusted",
            "max-connections",
            "max-pending-connections",
            "user-file",
            "static-auth-secret-file",
            "strict-expiry",
            "log-format",
            "log-privacy",
            "rest-listener",
            "rest-cert",
            "rest-pkey",
            "rest-api-key",
            "rest-lifetime",
            "rest-allow-origin",
            "admin-socket",
            "state-directory"
        ]
    );
    assert_eq!(keys::all().count() - historic - own.len(), 143);
    let names: BTreeSet<_> = keys::all().map(|key| key.name).collect();
    assert_eq!(names.len(), 166 + own.len());
    let letters: Vec<_> = keys::all().filter_map(|key| key.short).collect();
    assert_eq!(letters.iter().collect::<BTreeSet<_>>().len(), letters.len());
    for letter in "opqQfSLEXmruavVlKA".chars() {
        assert!(keys::find_short(letter).is_some(), "-{letter}");
    }
}

#[test]
fn help_is_one_line_without_a_full_stop() {
    for key in keys::all() {
        assert!(
            !key.help.is_empty() && !key.help.ends_with('.') && !key.help.contains('\n'),
            "{}",
            key.name
        );
        assert_eq!(keys::find(key.name).map(|found| found.name), Some(key.name));
        assert_eq!(
            keys::nearest(key.name).map(|found| found.name),
            Some(key.name)
        );
    }
}

#[test]
fn every_key_alone_gets_its_verdict() {
    for key in keys::all() {
        let source = format!("{}\n", line(key));
        let outcome = read(&source);
        let own = own_severities(&outcome, key);
        let case = format!("{source}{}", rendered(&outcome, &source));
        match key.support {
            Support::Built => {}
            Support::Met => assert_eq!(own, [], "{case}"),
            Support::Ignored(reason) => {
                assert_eq!(own, [Severity::Note], "{case}");
                assert!(case.contains(reason), "{case}");
            }
            Support::Obsolete(reason) | Support::Later(reason) => {
                assert_eq!(own, [Severity::Warning], "{case}");
                assert!(case.contains(reason), "{case}");
            }
            Support::Refused { reason, .. } => {
                assert_eq!(own, [Severity::Error], "{case}");
                assert!(case.contains(reason), "{case}");
            }
        }
        let refused = matches!(key.support, Support::Refused { .. });
        assert_eq!(
            outcome.settings.is_none(),
            refused || needed_by(key).is_some(),
            "{case}"
        );
    }
}

#[test]
fn every_key_is_known_to_the_command_line() {
    for key in keys::all() {
        let line = line(key);
        let given = Override {
            key: key.name.to_owned(),
            value: line.split_once('=').map(|(_, value)| value.to_owned()),
        };
        let outcome = turnserver_conf(Path::new("unused"), "", &[given]);
        let in_file = read(&line);
        let texts = |outcome: &Outcome| {
            outcome
                .diagnostics
                .iter()
                .map(|found| found.severity)
                .collect::<Vec<_>>()
        };
        assert_eq!(texts(&outcome), texts(&in_file), "{line}");
        assert!(
            outcome
                .diagnostics
                .iter()
                .all(|found| found.line.is_none() && found.file.is_none()),
            "{line}"
        );
    }
}

#[test]
fn every_key_that_is_built_changes_the_settings() {
    let settings = |source: &str| Settings {
        differences: Vec::new(),
        ..read(source).settings.unwrap()
    };
    for key in keys::all().filter(|key| key.support == Support::Built) {
        let (without, with) = match (key.name, needed_by(key)) {
            // It is that of a key.
            ("pkey-pwd", _) => (PAIR.to_owned(), PAIR.to_owned() + &line(key)),
            // There is no such listener without a certificate.
            ("tls-listening-port", _) => (PAIR.to_owned(), PAIR.to_owned() + &line(key)),
            ("prometheus-port" | "prometheus-address" | "prometheus-path", _) => (
                "prometheus\n".to_owned(),
                "prometheus\n".to_owned() + &line(key),
            ),
            ("prometheus-tls", _) => {
                let without = format!("prometheus\n{PAIR}");
                (without.clone(), without + &line(key))
            }
            // One is of no use without the other.
            ("prometheus-cert" | "prometheus-key", _) => {
                let without = format!("prometheus\nprometheus-tls\n{PAIR}");
                let pair = "prometheus-cert=/other.pem\nprometheus-key=/other.pem\n";
                (without.clone(), without + pair)
            }
            ("rest-cert" | "rest-pkey", _) => {
                let rest = keys::find("rest-listener").unwrap();
                let without = needed_by(rest).unwrap_or_default().to_owned() + &line(rest);
                let pair = "rest-cert=/rest.pem\nrest-pkey=/rest.pem\n";
                (without.clone() + "\n", without + "\n" + pair)
            }
            // They are of no use without two addresses.
            ("rfc5780", _) => (TWO_IPS.to_owned(), TWO_IPS.to_owned() + &line(key)),
            ("alt-listening-port", _) => {
                let without = format!("{TWO_IPS}rfc5780\n");
                (without.clone(), without + &line(key))
            }
            // One without the other is an error.
            ("cert" | "pkey", _) => (String::new(), PAIR.to_owned()),
            (_, needed) => {
                let needed = needed.unwrap_or_default();
                (needed.to_owned(), needed.to_owned() + &line(key))
            }
        };
        match key.name {
            // It bounds what `verbose` asks for.
            "log-min-level" => assert_eq!(settings(&with), settings(&without)),
            // Accounts alone ask for it just as much.
            "lt-cred-mech" => assert_eq!(settings(&with), settings(&without)),
            name => assert_ne!(settings(&with), settings(&without), "{name}"),
        }
    }
}

#[test]
fn keys_that_are_off_or_at_their_default_are_silent() {
    for key in keys::all() {
        let always = [
            "prometheus",
            "use-auth-secret",
            "no-auth-pings",
            "no-dynamic-ip-list",
            "no-dynamic-realms",
        ];
        let always = always.contains(&key.name)
            || ["rfc5780", "prometheus-username-labels"].contains(&key.name);
        if key.default.is_empty() || always {
            continue;
        }
        let source = format!("{}={}\n", key.name, key.default);
        let outcome = read(&source);
        assert_eq!(
            own_severities(&outcome, key),
            [],
            "{source}{}",
            rendered(&outcome, &source)
        );
    }
}

#[test]
fn keys_that_ignore_their_value_say_so() {
    for name in [
        "prometheus",
        "use-auth-secret",
        "no-auth-pings",
        "no-dynamic-ip-list",
        "no-dynamic-realms",
        "rfc5780",
        "prometheus-username-labels",
    ] {
        for value in ["0", "no", "off", "banana"] {
            let outcome = read(&format!("{name}={value}\n"));
            let said = outcome
                .diagnostics
                .iter()
                .filter(|found| found.message.contains("whatever its value is"));
            assert_eq!(said.count(), 1, "{name}={value}");
        }
        assert!(!rendered(&read(name), name).contains("whatever"), "{name}");
    }
}

#[test]
fn values_that_cannot_be_read_are_errors_with_help() {
    for key in keys::all() {
        let bad: &[&str] = match key.placeholder() {
            "" => &["banana", "#", "-1"],
            "PORT" => &["70000", "-1", "x", "3478x", "0x10"],
            "SECONDS" | "NUMBER" => &["-1", "x", "10m", "1.5", "99999999999999999999"],
            "ADDRESS" => &[
                "eth0",
                "192.0.2.1:80",
                "[::1]",
                "::ffff:192.0.2.1",
                "224.0.0.1",
            ],
            "WORD" => &["banana"],
            "ADDRESS:PORT" => &[
                "example.org:443",
                "192.0.2.1",
                "[2001:db8::1]",
                "192.0.2.1:0",
                "192.0.2.1:99999",
                "224.0.0.1:443",
                "[::ffff:192.0.2.1]:443",
                ":443",
            ],
            "ADDRESS[:PORT]" => &["example.org", "192.0.2.1:99999"],
            "ADDRESS[/PREFIX]" => &[
                "proxy.example.org",
                "10.0.0.0/33",
                "10.0.0.1/8",
                "10.0.0.1-10.0.0.9",
                "::ffff:10.0.0.0/104",
                "::ffff:10.0.0.1",
                "10.0.0.1:443",
            ],
            "PUBLIC[/PRIVATE]" => &[
                "example.org",
                "0.0.0.0",
                "203.0.113.7/24",
                "203.0.113.7/::1",
                "203.0.113.7/",
            ],
            "RANGE" => &[
                "10.0.0.0/99",
                "10.0.0.9-10.0.0.1",
                "10.0.0.1-::1",
                "example.org",
                "10.0.0.1/8",
                "*",
            ],
            "NAME:PASSWORD" => &["alice", "alice:", ":x", "alice:0x12"],
            "REALM" => &[LONG],
            "FACILITY" => &["banana", "local8"],
            "WHERE" => &["example.org:443", "192.0.2.1", "127.0.0.1:0", "/", "./a"],
            "NAME:HASH[,...]" => &["web", "web:", "web:secret", "web:sha256-00"],
            "ORIGIN" => &["*", "app.example.org", "https://app.example.org/"],
            _ => &[],
        };
        let ignores_value = read(&format!("{}=banana", key.name))
            .diagnostics
            .iter()
            .any(|found| found.message.contains("whatever its value is"));
        for value in bad.iter().filter(|_| !ignores_value) {
            let source = format!("{}={value}\n", key.name);
            let outcome = read(&source);
            assert_eq!(outcome.settings, None, "{source}");
            let error = outcome
                .diagnostics
                .iter()
                .find(|found| found.severity == Severity::Error)
                .unwrap();
            assert!(error.help.is_some() && error.line == Some(1), "{error:?}");
            assert_eq!(error.file.as_deref(), Some(Path::new("turnserver.conf")));
        }
    }
}

#[test]
fn unknown_keys_get_the_nearest() {
    let near = |name| keys::nearest(name).map(|key| key.name);
    assert_eq!(near("listening-prot"), Some("listening-port"));
    assert_eq!(near("server_name"), Some("server-name"));
    assert_eq!(near("Realm"), Some("realm"));
    assert_eq!(near("--min-port"), Some("min-port"));
    assert_eq!(near("CA_FILE"), Some("CA-file"));
    assert_eq!(near("denied_peer_ips"), Some("denied-peer-ip"));
    assert_eq!(near("external_ip"), Some("external-ip"));
    assert_eq!(near("static-auth-secrets"), Some("static-auth-secret"));
    assert_eq!(near("banana"), None);
    assert_eq!(near(""), None);
    assert_eq!(near("é"), None);
}

/// The key as a file would hold it, with a value that asks for something.
fn line(key: &Key) -> String {
    let value = match (key.name, key.placeholder()) {
        ("no-tcp-relay" | "unauthorized-ratelimit", _) => "0",
        (_, "") => return key.name.to_owned(),
        ("rest-api-separator", _) => "!",
        ("min-port", _) => "50000",
        ("pkey-pwd", _) => "open sesame",
        ("max-port", _) => "60000",
        ("allocation-default-address-family", _) => "keep",
        ("log-min-level", _) => "trace",
        ("log-format", _) => "json",
        ("log-privacy", _) => "shorten",
        ("syslog-facility", _) => "local1",
        ("user", _) => "alice:0123456789abcdef",
        ("static-auth-secret" | "stateless-nonce-secret", _) => "0123456789abcdef",
        ("strict-expiry", _) => "refresh",
        ("prometheus-path", _) => "/figures",
        ("log-file", _) => "/var/log/turnbuckle.log",
        (_, "SECONDS") => "77",
        (_, "PORT") => "9",
        (_, "ADDRESS") => "192.0.2.77",
        (_, "NUMBER") => "3",
        _ if key.default.is_empty() => key.example(),
        _ => "other",
    };
    format!("{}={value}", key.name)
}

fn read(source: &str) -> Outcome {
    turnserver_conf(Path::new("turnserver.conf"), source, &[])
}

/// The findings that name the key in the way of its support class, rather than in a rule of its own.
fn own_severities(outcome: &Outcome, key: &Key) -> Vec<Severity> {
    let quoted = format!("`{}` ", key.name);
    outcome
        .diagnostics
        .iter()
        .filter(|found| found.message.starts_with(&quoted) && key.support != Support::Built)
        .map(|found| found.severity)
        .collect()
}

fn rendered(outcome: &Outcome, source: &str) -> String {
    outcome
        .diagnostics
        .iter()
        .map(|found| found.render(source, false))
        .collect()
}

/// What has to be given besides a key that is an error alone.
fn needed_by(key: &Key) -> Option<&'static str> {
    match key.name {
        "lt-cred-mech" => Some("realm=a\nuser=a:b\n"),
        "cert" => Some("pkey=/key.pem\n"),
        "pkey" => Some("cert=/cert.pem\n"),
        "no-udp-relay" => Some("no-tcp-relay=0\n"),
        "dtls" => Some(PAIR),
        "bps-capacity" => Some("max-bps=9000\n"),
        "rest-listener" => Some("realm=turn.example.org\nstatic-auth-secret=0123456789abcdef\n"),
        "tcp-proxy-port" | "tls-proxy-port" => Some("proxy-trusted=192.0.2.1\n"),
        _ => None,
    }
}

const TWO_IPS: &str = "listening-ip=192.0.2.1\nlistening-ip=192.0.2.2\n";
const PAIR: &str = "cert=/cert.pem\npkey=/key.pem\n";
const LONG: &str = "128-characters-128-characters-128-characters-128-characters-128-characters-128-characters-128-\
                    characters-128-characters-128-char";
