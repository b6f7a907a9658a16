//! `turnbuckle.toml`: every form of its values, what is said about wrong ones, and that it says the same as a
//! `turnserver.conf` that was converted.

use std::path::Path;
use std::time::Duration;

use insta::assert_snapshot;
use proptest::prelude::*;
use turnbuckle_config::keys::{self, Key, Support};
use turnbuckle_config::{
    DefaultFamily, LogLevel, Outcome, Settings, Transport, UserCredential, turnbuckle_toml,
    turnserver_conf,
};

#[test]
fn nothing_is_the_default() {
    assert_eq!(ok(""), Settings::default());
    assert_eq!(ok("[relay]\n[auth]\n"), Settings::default());
}

#[test]
fn values_have_their_units() {
    let settings = ok(
        "[relay]\nmin-port = 50_000\nmax-allocate-lifetime = \"1h 30m\"\nstale-nonce = 0\nchannel-lifetime = \"10m\"\n\
         allocation-default-address-family = \"keep\"\n[server]\nsock-buf-size = \"4 MiB\"\n[log]\nlevel = \"debug\"\n\
         [stun]\nbinding = true\nstun-only = false\n[limits]\nuser-quota = 0\n[tls]\ntls12 = false\n",
    );
    assert_eq!(settings.relay_ports, 50_000..=65_535);
    assert_eq!(settings.max_allocate_lifetime, Duration::from_secs(5400));
    assert_eq!(settings.nonce_lifetime, None);
    assert_eq!(settings.default_family, DefaultFamily::Keep);
    assert_eq!(settings.socket_buffer, Some(4 << 20));
    assert_eq!(settings.log.level, LogLevel::Debug);
    assert_eq!(settings.user_quota, None);
    assert!(settings.stun && !settings.tls12);
}

#[test]
fn listeners_are_a_list() {
    let settings = ok(
        "[[listeners]]\ntransport = [\"udp\", \"tcp\"]\naddress = [\"192.0.2.1\", \"2001:db8::1\"]\n\
         [[listeners]]\ntransport = \"tls\"\nport = 443\n\
         [[listeners]]\ntransport = \"dtls\"\n\
         [[listeners]]\ntransport = \"tcp\"\nport = 8443\nproxy = true\n\
         [server]\nproxy-trusted = \"192.0.2.9\"\n\
         [[tls.certificates]]\ncert = \"/c\"\nkey = \"/k\"\npassword = \"open sesame\"\n",
    );
    let all: Vec<_> = settings
        .listeners
        .iter()
        .map(|l| {
            (
                l.transport,
                l.address.map(|ip| ip.to_string()),
                l.port,
                l.proxied,
            )
        })
        .collect();
    let at = |text: &str| Some(text.to_owned());
    assert_eq!(
        all,
        [
            (Transport::Udp, at("192.0.2.1"), 3478, false),
            (Transport::Tcp, at("192.0.2.1"), 3478, false),
            (Transport::Udp, at("2001:db8::1"), 3478, false),
            (Transport::Tcp, at("2001:db8::1"), 3478, false),
            (Transport::Tls, None, 443, false),
            (Transport::Dtls, None, 5349, false),
            (Transport::Tcp, None, 8443, true),
        ]
    );
    assert!(settings.dtls && settings.serves_tls());
    assert_eq!(
        settings.certificates[0].password.as_ref().unwrap().expose(),
        "open sesame"
    );
}

#[test]
fn accounts_may_hold_what_lines_cannot() {
    let settings = ok(
        "[auth]\nrealm = \"example.org\"\nstatic-auth-secret = [\"0123456789 # abcdef\", \"\\\"quoted-0123456789\"]\n\
         [[auth.users]]\nname = \"a:b\"\npassword = \"0x12\"\n\
         [[auth.users]]\nname = \"key\"\nkey = \"bc807ee29df3c9ffa736523fb2c4e8ee\"\n",
    );
    assert_eq!(settings.secrets[0].expose(), "0123456789 # abcdef");
    assert_eq!(settings.secrets[1].expose(), "\"quoted-0123456789");
    assert_eq!(settings.users[0].name, "a:b");
    assert!(
        matches!(&settings.users[0].credential, UserCredential::Password(p) if p.expose() == "0x12")
    );
    assert!(matches!(settings.users[1].credential, UserCredential::Key(key) if key[0] == 0xbc));
}

#[test]
fn peer_rules_are_in_order_and_have_names() {
    let settings = ok(
        "[[peers.rules]]\nname = \"not this one\"\ndeny = \"10.0.0.5\"\n\
         [[peers.rules]]\nname = \"office\"\nallow = [\"10.0.0.0/24\", \"fd00::1\"]\n",
    );
    let opened = |text: &str| {
        let ip = text.parse().unwrap();
        settings.peers.allowed.iter().find(|rule| rule.contains(ip))
    };
    assert_eq!(opened("10.0.0.4").unwrap().name.as_deref(), Some("office"));
    assert_eq!(opened("10.0.0.6").unwrap().origin.line, Some(6));
    assert!(opened("10.0.0.5").is_none() && opened("fd00::1").is_some());
    assert_eq!(
        settings.peers.denied[0].name.as_deref(),
        Some("not this one")
    );
}

#[test]
fn unknown_fields_are_refused() {
    assert_snapshot!(failed(
        "listening-port = 3478\n\
         [limit]\nuser-quota = 3\n\
         [limits]\nuser_quota = 3\nrealm = \"example.org\"\nbanana = 1\n\
         [auth]\nstatic-auth-secrets = \"hunter2hunter2hunter2\"\nno-auth = true\n\
         [[listeners]]\ntransports = \"udp\"\n\
         [[auth.users]]\nnme = \"alice\"\npassword = \"hunter2\"\n"
    ));
}

#[test]
fn values_of_the_wrong_kind_are_refused() {
    assert_snapshot!(failed(
        "[relay]\nmin-port = \"50000\"\nmax-port = 70000\nstale-nonce = 600\nchannel-lifetime = \"10 minutes\"\n\
         external-ip = 1\ntcp-relay = \"no\"\nallocation-default-address-family = \"ipv5\"\n\
         [limits]\nuser-quota = -1\ntotal-quota = 0x10\n\
         [server]\nsock-buf-size = 65536\nproxy-trusted = [\"10.0.0.1/8\"]\n\
         [log]\nlevel = \"loud\"\n\
         [auth]\nstatic-auth-secret = 42\nrealm = \"a\\u0000b\"\n"
    ));
}

#[test]
fn broken_lists_are_refused() {
    assert_snapshot!(failed(
        "[[listeners]]\nport = 0\ntransport = \"udp\"\n\
         [[listeners]]\nport = 3478\n\
         [[listeners]]\ntransport = [\"upd\", \"tcp\"]\naddress = \"example.org\"\n\
         [[listeners]]\ntransport = \"udp\"\nproxy = true\n\
         [[listeners]]\ntransport = \"dtls\"\n\
         [[peers.rules]]\nallow = \"10.0.0.1/8\"\n\
         [[peers.rules]]\nname = \"neither\"\n\
         [[peers.rules]]\nallow = \"10.0.0.1\"\ndeny = \"10.0.0.2\"\n\
         [[auth.users]]\nname = \"alice\"\n\
         [[auth.users]]\nname = \"bob\"\npassword = \"\"\n\
         [[tls.certificates]]\ncert = \"/c\"\n"
    ));
}

#[test]
fn rules_that_span_fields_name_the_fields() {
    assert_snapshot!(report(
        "[auth]\nuse-auth-secret = true\n[relay]\nmax-port = 49999\npermission-lifetime = \"1m\"\n[peers]\nallow-loopback = true\n"
    ));
    assert_snapshot!(
        "anonymous_and_accounts",
        failed(
            "[auth]\nanonymous = true\n[[auth.users]]\nname = \"alice\"\npassword = \"hunter2\"\n"
        )
    );
}

#[test]
fn what_is_no_toml_is_told_with_its_place() {
    assert_snapshot!(failed(
        "[auth]\nstatic-auth-secret = \"hunter2\nrealm = example.org\n[relay\n"
    ));
}

#[test]
fn converted_templates_say_the_same() {
    let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/templates");
    let mut count = 0;
    for entry in std::fs::read_dir(templates).unwrap() {
        let source = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        says_the_same(&source);
        count += 1;
    }
    assert_eq!(count, 7);
}

#[test]
fn converted_keys_say_the_same() {
    for key in keys::all().filter(|key| !matches!(key.support, Support::Refused { .. })) {
        says_the_same(&format!("{}{}\n", needed_by(key), line(key)));
    }
}

#[test]
fn a_converted_file_keeps_the_old_lines() {
    let source = "# ours\nlistening-ip=192.0.2.1\nlistening-port 3479 # not the usual one\nuser-quota=12\nno-cli\n\
                  cli-port=5766\ncert=/c\npkey=/k\nstatic-auth-secret=0123456789abcdef\nuser=alice:secret-of-hers\n\
                  realm=a.example\nrealm=b.example\ndenied-peer-ip=8.8.0.0/16\nallowed-peer-ip=10.1.2.3\nstale-nonce\n";
    assert_snapshot!(conf(source).convert(source).unwrap());
    says_the_same(source);
    // Whatever its value is.
    says_the_same("use-auth-secret=0\n");
    // The one takes back what the other asked for.
    says_the_same("software-attribute\nno-software-attribute\n");
}

#[test]
fn what_is_in_force_is_shown_with_its_origin() {
    let source = "listening-ip=192.0.2.1\nuser-quota=3\nuser-quota=4\nstatic-auth-secret=0123456789abcdef\nuser=alice:hunter2\nverbose\n";
    let shown = conf(source).show(false).unwrap();
    assert!(!shown.contains("hunter2") && !shown.contains("0123456789abcdef"));
    assert_snapshot!(shown);
    assert!(conf(source).show(true).unwrap().contains("hunter2"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_never_panics(text in "[-_a-z0-9\\[\\]=\"'., \n#]{0,200}") {
        let outcome = turnbuckle_toml(Path::new("f.toml"), &text, &[]);
        let _ = outcome.readings(&text);
        for found in &outcome.diagnostics {
            prop_assert!(!found.render(&text, true).is_empty());
        }
    }

    #[test]
    fn converted_lines_say_the_same(
        picks in proptest::collection::vec(proptest::sample::select(keys::all().collect::<Vec<_>>()), 1..12),
    ) {
        let picks = picks.iter().filter(|key| !matches!(key.support, Support::Refused { .. }));
        let source: String = picks.map(|key| format!("{}{}\n", needed_by(key), line(key))).collect();
        says_the_same(&source);
    }

    #[test]
    fn secrets_are_never_shown(
        field in proptest::sample::select(vec![
            "[auth]\nstatic-auth-secret", "[auth]\nstatic-auth-secrt", "static-auth-secret",
            "[[auth.users]]\nname = \"x\"\npassword", "[[auth.users]]\nkey", "[[tls.certificates]]\npassword",
        ]),
        value in proptest::sample::select(vec!["\"M\"", "\"M", "M", "[\"M\", 1]", "\"\"\"\nM\"\"\"", "{ a = \"M\" }", "'M'", "\"M\\u0001\""]),
        equals in proptest::sample::select(vec![" = ", "=", " ", " : "]),
    ) {
        let source = format!("{field}{equals}{}\n", value.replace('M', MARK));
        let outcome = turnbuckle_toml(Path::new("f.toml"), &source, &[]);
        let mut text = format!("{outcome:?}");
        for found in &outcome.diagnostics {
            text += &found.render(&source, false);
        }
        for reading in outcome.readings(&source) {
            text += &format!("{reading:?}");
        }
        text += &outcome.show(false).unwrap_or_default();
        prop_assert!(!text.contains(MARK), "{source}\n{text}");
    }
}

/// Converts a `turnserver.conf` that has no error, and compares what the two files come to.
#[track_caller]
fn says_the_same(source: &str) {
    let before = conf(source);
    let Some(settings) = &before.settings else {
        return;
    };
    let text = before.convert(source).unwrap();
    let after = turnbuckle_toml(Path::new("turnbuckle.toml"), &text, &[]);
    let shown: String = after
        .diagnostics
        .iter()
        .map(|found| found.render(&text, false))
        .collect();
    let Some(after) = after.settings else {
        panic!("{source}\n{text}\n{shown}");
    };
    assert_eq!(plain(&after), plain(settings), "{source}\n{text}");
}

/// Settings without what tells where they come from.
fn plain(settings: &Settings) -> Settings {
    let mut settings = settings.clone();
    settings.differences.clear();
    for rule in settings
        .peers
        .allowed
        .iter_mut()
        .chain(&mut settings.peers.denied)
    {
        rule.origin.file = None;
        rule.origin.line = None;
    }
    settings
}

fn line(key: &Key) -> String {
    let value = match (key.name, key.placeholder()) {
        ("unauthorized-ratelimit" | "udp-recvmmsg", _) => "0",
        ("pkey-pwd", _) => "open sesame",
        ("user", _) => "alice:0123456789abcdef",
        ("static-auth-secret", _) => "0123456789abcdef",
        (_, "") => return key.name.to_owned(),
        _ => key.example(),
    };
    format!("{}={value}", key.name)
}

fn needed_by(key: &Key) -> &'static str {
    match key.name {
        "lt-cred-mech" => "realm=a\nuser=a:b\n",
        "cert" => "pkey=/key.pem\n",
        "pkey" => "cert=/cert.pem\n",
        "dtls" | "tls-listening-port" | "pkey-pwd" => "cert=/cert.pem\npkey=/key.pem\n",
        "tcp-proxy-port" | "tls-proxy-port" => "proxy-trusted=192.0.2.1\n",
        _ => "",
    }
}

fn conf(source: &str) -> Outcome {
    turnserver_conf(Path::new("turnserver.conf"), source, &[])
}

#[track_caller]
fn ok(source: &str) -> Settings {
    let outcome = turnbuckle_toml(Path::new("turnbuckle.toml"), source, &[]);
    outcome
        .settings
        .unwrap_or_else(|| panic!("{}", report(source)))
}

#[track_caller]
fn failed(source: &str) -> String {
    let outcome = turnbuckle_toml(Path::new("turnbuckle.toml"), source, &[]);
    assert_eq!(outcome.settings, None);
    report(source)
}

fn report(source: &str) -> String {
    let outcome = turnbuckle_toml(Path::new("turnbuckle.toml"), source, &[]);
    let mut text = String::new();
    for found in &outcome.diagnostics {
        text += &found.render(source, false);
        text += "\n";
    }
    text
}

/// Stands for the secret; no field and no message holds it.
const MARK: &str = "Zq7Zq7";
