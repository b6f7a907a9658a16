//! The files in `config/` at the top of the repository: the reference says what the table says, and every file is read.
//!
//! With `UPDATE_REFERENCE=1` in the environment the reference is written anew from the table.

use std::path::{Path, PathBuf};

use turnbuckle_config::keys::{self, Key, Support};
use turnbuckle_config::{AuthAsked, Outcome, Settings, turnserver_conf};

#[test]
fn reference_says_what_the_table_says() {
    let expected = reference();
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(path("turnserver.conf"), &expected).unwrap();
    }
    assert_eq!(
        source("turnserver.conf"),
        expected,
        "run the test with UPDATE_REFERENCE=1"
    );
}

#[test]
fn reference_as_it_stands_is_the_default() {
    let outcome = read(&source("turnserver.conf"));
    assert_eq!(outcome.diagnostics, []);
    assert_eq!(outcome.settings, Some(Settings::default()));
}

#[test]
fn reference_with_every_line_uncommented_is_read() {
    let text = uncommented(&source("turnserver.conf"));
    let outcome = read(&text);
    let shown: String = outcome
        .diagnostics
        .iter()
        .map(|found| found.render(&text, false))
        .collect();
    let settings = outcome.settings.expect(&shown);
    for key in keys::all().filter(|key| key.support == Support::Built) {
        let named = |line: &str| line.split('=').next() == Some(key.name);
        assert_eq!(
            text.lines().filter(|line| named(line)).count(),
            1,
            "{}",
            key.name
        );
    }
    // Where the table names a default, that default is what the server does.
    let defaults = Settings::default();
    let expected = Settings {
        listening_ips: settings.listening_ips.clone(),
        relay_ips: settings.relay_ips.clone(),
        external_ips: settings.external_ips.clone(),
        realm: settings.realm.clone(),
        secrets: settings.secrets.clone(),
        users: settings.users.clone(),
        auth_asked: AuthAsked::Both,
        peers: settings.peers.clone(),
        aux_servers: settings.aux_servers.clone(),
        certificates: settings.certificates.clone(),
        cipher_list: settings.cipher_list.clone(),
        tcp_proxy_port: settings.tcp_proxy_port,
        tls_proxy_port: settings.tls_proxy_port,
        proxy_trusted: settings.proxy_trusted.clone(),
        alternates: settings.alternates.clone(),
        shards: settings.shards,
        socket_buffer: settings.socket_buffer,
        pidfile: settings.pidfile.clone(),
        differences: settings.differences.clone(),
        ..defaults
    };
    assert_eq!(settings, expected);
    assert!(!settings.peers.allow_loopback && settings.serves_tls() && !settings.dtls);
    assert_eq!(settings.aux_servers.len(), 1);
    // The examples of `allowed-peer-ip` and `denied-peer-ip` are read as rules.
    assert_eq!(
        (settings.peers.allowed.len(), settings.peers.denied.len()),
        (1, 1)
    );
}

#[test]
fn minimal_file_starts_as_it_is() {
    let text = source("minimal.conf");
    let settings = read(&text).settings.unwrap();
    assert_eq!(
        (settings.auth_asked, settings.secrets.len()),
        (AuthAsked::Secret, 0)
    );
    let outcome = read(&uncommented(&text));
    assert_eq!(outcome.diagnostics, []);
    let settings = outcome.settings.unwrap();
    assert_eq!(settings.secrets.len(), 1);
    assert!(settings.serves_tls());
}

#[test]
fn matrix_file_starts_once_its_secret_is_replaced() {
    let text = source("matrix.conf");
    assert_eq!(read(&text).settings, None);
    let text = text.replace(EXAMPLE_SECRET, RANDOM_TEXT);
    for (text, tls) in [(uncommented(&text), true), (text, false)] {
        let outcome = read(&text);
        assert_eq!(outcome.diagnostics, []);
        let settings = outcome.settings.unwrap();
        assert_eq!(settings.secrets[0].expose(), RANDOM_TEXT);
        assert_eq!(settings.serves_tls(), tls);
    }
}

#[test]
fn every_file_is_tested() {
    let mut names: Vec<_> = std::fs::read_dir(path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.retain(|name| {
        Path::new(name)
            .extension()
            .is_some_and(|extension| extension == "conf")
    });
    names.sort();
    assert_eq!(names, ["matrix.conf", "minimal.conf", "turnserver.conf"]);
}

fn reference() -> String {
    let mut text = String::from(HEADER);
    for (heading, keys) in keys::sections() {
        let built: Vec<_> = keys
            .iter()
            .filter(|key| key.support == Support::Built)
            .collect();
        if !built.is_empty() {
            text += &format!("\n\n## {heading}\n");
        }
        for key in built {
            text += &format!("\n# {}.\n", key.help);
            if let Some(line) = properties(key) {
                text += &format!("# {line}\n");
            }
            text += &match (key.placeholder(), key.default) {
                ("", "0") if key.name == "use-auth-secret" => format!("#{}\n", key.name),
                _ => format!("#{}={}\n", key.name, key.example()),
            };
        }
    }
    text
}

/// What a reader wants to know of a key besides what it is for.
fn properties(key: &Key) -> Option<String> {
    let mut parts = Vec::new();
    if !key.words().is_empty() {
        parts.push(format!("one of {}", key.words().join(", ")));
    }
    match (key.placeholder(), key.default, key.unit()) {
        (_, "", "") => {}
        (_, "", unit) => parts.push(format!("in {unit}")),
        ("", "1", _) => parts.push("on by default".to_owned()),
        ("", _, _) => parts.push("off by default".to_owned()),
        (_, default, "") => parts.push(format!("default {default}")),
        (_, default, unit) => parts.push(format!("default {default} {unit}")),
    }
    if key.repeats {
        parts.push("may be given more than once".to_owned());
    }
    if let Some(letter) = key.short {
        parts.push(format!("short form -{letter}"));
    }
    if key.own {
        parts.push("Turnbuckle's own key, unknown to coturn".to_owned());
    }
    (!parts.is_empty()).then(|| format!("({})", parts.join("; ")))
}

/// The file with every commented key in force; comments have a blank behind their `#`.
fn uncommented(text: &str) -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(key) if key.starts_with(|c: char| c.is_ascii_alphabetic()) => format!("{key}\n"),
        _ => format!("{line}\n"),
    };
    text.lines()
        .map(line)
        .collect::<String>()
        .replace(EXAMPLE_SECRET, RANDOM_TEXT)
}

fn read(text: &str) -> Outcome {
    let mut outcome = turnserver_conf(Path::new("file"), text, &[]);
    if let Some(settings) = &mut outcome.settings
        && text
            .lines()
            .all(|line| line.is_empty() || line.starts_with('#'))
    {
        assert_eq!(settings.differences, []);
    }
    outcome
}

fn source(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../config")
        .join(name)
}

const EXAMPLE_SECRET: &str = "replace-with-a-random-text";
const RANDOM_TEXT: &str = "94a1f6c3e8d24b7fa05d6c1e8b7f3029";
const HEADER: &str = "\
# Reference of turnserver.conf for Turnbuckle.
#
# Each key that has an effect stands here with its default, or with an example where it has none. Nothing in this file
# is in force: take away the # before a key to change it. Keys of coturn that are not listed are read as well; what
# becomes of them is said at start, and `turnbuckle --check -c FILE` says it without starting.
#
# Clients are served over UDP and TCP, over TLS as soon as there are cert and pkey, and over DTLS with the key dtls.
#
# A line holds one key, then a blank or =, then the value. A key that is on or off takes 1 or 0, and alone means 1.
# A comment has a line of its own. Values may stand in double quotes, and have to if they hold a blank and #.
";
