//! What becomes of every key that coturn has or ever had, beside what a server that takes coturn's place owes it.
//!
//! The table is written down apart from the table of keys, so that one cannot change without the other.

use std::collections::BTreeSet;
use std::path::Path;

use turnbuckle_config::keys::{self, Key, Support};
use turnbuckle_config::{Severity, turnserver_conf};

/// What is owed to a file that holds the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owed {
    /// A server without it breaks files that are there, or makes them unsafe.
    Must,
    /// People use it.
    Should,
    /// It is read, and the server starts.
    Obsolete,
    /// The server does not start: it would let in who is to be kept out.
    Refuse,
}

use Owed::{Must, Obsolete, Refuse, Should};

#[test]
fn the_table_holds_every_key_of_coturn() {
    let owed: BTreeSet<_> = OWED.iter().map(|(name, _)| *name).collect();
    assert_eq!((owed.len(), OWED.len()), (166, 166));
    let known: BTreeSet<_> = keys::all()
        .filter(|key| !key.own)
        .map(|key| key.name)
        .collect();
    assert_eq!(owed, known);
    let count = |of| OWED.iter().filter(|(_, owed)| *owed == of).count();
    assert_eq!(
        [Must, Should, Obsolete, Refuse].map(count),
        [55, 43, 59, 9],
        "of 143 keys and 23 that earlier versions had"
    );
}

#[test]
fn every_key_does_what_is_owed() {
    let mut wrong = Vec::new();
    for (name, owed) in OWED {
        let key = keys::find(name).unwrap();
        let exception = EXCEPTIONS.iter().find(|(of, _, _)| of == name);
        let done = match (key.support, owed) {
            (Support::Built | Support::Met, Must | Should) => true,
            // What became true here needs no warning.
            (
                Support::Built | Support::Met | Support::Ignored(_) | Support::Obsolete(_),
                Obsolete,
            ) => true,
            (Support::Refused { .. }, Refuse) => true,
            _ => false,
        };
        let allowed = exception.is_some_and(|(_, class, _)| *class == class_of(key));
        if done == allowed {
            wrong.push(format!("{name}: {owed:?} but {:?}", key.support));
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn what_is_obsolete_is_said_and_does_not_stop_the_start() {
    for (name, _) in OWED.iter().filter(|(_, owed)| *owed == Obsolete) {
        let key = keys::find(name).unwrap();
        let source = format!("{}\n", line(key));
        let outcome = turnserver_conf(Path::new("f"), &source, &[]);
        assert!(outcome.settings.is_some(), "{source}");
        let said: Vec<_> = outcome
            .diagnostics
            .iter()
            .filter(|found| found.message.contains(&format!("`{name}` has no effect: ")))
            .map(|found| (found.severity, found.line))
            .collect();
        let expected = match key.support {
            Support::Obsolete(_) => vec![(Severity::Warning, Some(1))],
            Support::Ignored(_) => vec![(Severity::Note, Some(1))],
            _ => Vec::new(),
        };
        assert_eq!(said, expected, "{source}");
    }
}

#[test]
fn what_is_refused_stops_the_start_with_line_and_help() {
    for (name, _) in OWED.iter().filter(|(_, owed)| *owed == Refuse) {
        let source = format!("realm=example.org\n{}\n", line(keys::find(name).unwrap()));
        let outcome = turnserver_conf(Path::new("f"), &source, &[]);
        assert_eq!(outcome.settings, None, "{source}");
        let error = outcome
            .diagnostics
            .iter()
            .find(|found| found.severity == Severity::Error)
            .unwrap();
        assert_eq!(error.line, Some(2), "{source}");
        assert!(
            error.help.is_some() && error.message.contains(name),
            "{error:?}"
        );
    }
}

/// The support of a key in a word.
fn class_of(key: &Key) -> &'static str {
    match key.support {
        Support::Built => "built",
        Support::Met => "met",
        Support::Ignored(_) => "ignored",
        Support::Obsolete(_) => "obsolete",
        Support::Later(_) => "later",
        Support::Refused { .. } => "refused",
    }
}

/// The key as a file would hold it, asking for something.
fn line(key: &Key) -> String {
    match key.placeholder() {
        "" => key.name.to_owned(),
        "NUMBER" => format!("{}=3", key.name),
        "PORT" => format!("{}=9", key.name),
        "ADDRESS" => format!("{}=192.0.2.77", key.name),
        _ => format!("{}=other", key.name),
    }
}

/// Keys of which something else becomes, with the class and the reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "alt-tls-listening-port",
        "ignored",
        "the tests of RFC 5780 that it is for are offered over UDP alone",
    ),
    (
        "userdb",
        "obsolete",
        "a warning, and an error if the file holds accounts",
    ),
    ("db", "obsolete", "the same as userdb"),
    ("version", "ignored", "it is for the command line"),
];

/// Every key, in the order of coturn's own documentation, those of earlier versions last.
const OWED: &[(&str, Owed)] = &[
    ("listening-device", Obsolete),
    ("listening-port", Must),
    ("tls-listening-port", Must),
    ("alt-listening-port", Should),
    ("alt-tls-listening-port", Should),
    ("tcp-proxy-port", Should),
    ("listening-ip", Must),
    ("aux-server", Should),
    ("udp-self-balance", Obsolete),
    ("no-udp", Must),
    ("no-tcp", Must),
    ("no-tls", Must),
    ("dtls", Should),
    ("no-dtls", Must),
    ("sock-buf-size", Should),
    ("udp-recvmmsg", Obsolete),
    ("udp-recvmmsg-log", Obsolete),
    ("udp-sendmmsg-log", Obsolete),
    ("udp-gso", Obsolete),
    ("multiplex-peer", Obsolete),
    ("multiplex-peer-port", Obsolete),
    ("multiplex-peer-max-peers", Obsolete),
    ("relay-threads", Should),
    ("cpus", Should),
    ("relay-device", Obsolete),
    ("relay-ip", Must),
    ("external-ip", Must),
    ("min-port", Must),
    ("max-port", Must),
    ("no-udp-relay", Should),
    ("no-tcp-relay", Must),
    ("server-relay", Refuse),
    ("mobility", Should),
    ("keep-address-family", Must),
    ("allocation-default-address-family", Must),
    ("stale-nonce", Must),
    ("max-allocate-lifetime", Must),
    ("channel-lifetime", Should),
    ("permission-lifetime", Should),
    ("max-allocate-timeout", Must),
    ("drain-min-allocations", Should),
    ("lt-cred-mech", Must),
    ("no-auth", Must),
    ("user", Must),
    ("userdb", Should),
    ("db", Should),
    ("psql-userdb", Refuse),
    ("sql-userdb", Refuse),
    ("mysql-userdb", Refuse),
    ("secret-key-file", Obsolete),
    ("mongo-userdb", Refuse),
    ("redis-userdb", Refuse),
    ("use-auth-secret", Must),
    ("static-auth-secret", Must),
    ("rest-api-separator", Must),
    ("no-auth-pings", Obsolete),
    ("no-dynamic-ip-list", Obsolete),
    ("no-dynamic-realms", Obsolete),
    ("realm", Must),
    ("server-name", Obsolete),
    ("oauth", Refuse),
    ("check-origin-consistency", Obsolete),
    ("secure-stun", Should),
    ("fingerprint", Must),
    ("user-quota", Must),
    ("total-quota", Must),
    ("max-bps", Must),
    ("bps-capacity", Must),
    ("allowed-peer-ip", Must),
    ("denied-peer-ip", Must),
    ("no-multicast-peers", Must),
    ("allow-loopback-peers", Must),
    ("cert", Must),
    ("pkey", Must),
    ("raw-public-keys", Obsolete),
    ("pkey-pwd", Should),
    ("cipher-list", Should),
    ("CA-file", Refuse),
    ("ec-curve-name", Obsolete),
    ("dh566", Obsolete),
    ("dh1066", Obsolete),
    ("dh-file", Obsolete),
    ("tlsv1", Obsolete),
    ("tlsv1_1", Obsolete),
    ("no-tlsv1_2", Should),
    ("verbose", Must),
    ("Verbose", Should),
    ("log-file", Must),
    ("no-stdout-log", Must),
    ("syslog", Must),
    ("syslog-facility", Should),
    ("simple-log", Must),
    ("log-min-level", Should),
    ("new-log-timestamp", Should),
    ("new-log-timestamp-format", Obsolete),
    ("log-binding", Should),
    ("drop-invalid-packets", Obsolete),
    ("drop-invalid-packets-log", Obsolete),
    ("redis-statsdb", Obsolete),
    ("prometheus", Must),
    ("prometheus-port", Must),
    ("prometheus-address", Must),
    ("prometheus-path", Must),
    ("prometheus-username-labels", Obsolete),
    ("prometheus-tls", Should),
    ("prometheus-cert", Should),
    ("prometheus-key", Should),
    ("alternate-server", Should),
    ("tls-alternate-server", Should),
    ("tcp-alternate-server", Should),
    ("udp-alternate-server", Should),
    ("stun-only", Must),
    ("no-stun", Must),
    ("rfc5780", Should),
    ("no-rfc5780", Must),
    ("stun-backward-compatibility", Obsolete),
    ("rfc3489-compatibility", Obsolete),
    ("rfc5766-channel-numbers", Should),
    ("response-origin-only-with-rfc5780", Must),
    ("no-software-attribute", Must),
    ("software-attribute", Should),
    ("include-reason-string", Should),
    ("respond-http-unsupported", Obsolete),
    ("acme-redirect", Obsolete),
    ("unauthorized-ratelimit", Should),
    ("unauthorized-ratelimit-rps", Should),
    ("stateless-nonce", Should),
    ("stateless-nonce-secret", Should),
    ("daemon", Obsolete),
    ("pidfile", Should),
    ("proc-user", Should),
    ("proc-group", Should),
    ("cli", Obsolete),
    ("no-cli", Must),
    ("cli-ip", Obsolete),
    ("cli-port", Obsolete),
    ("cli-password", Obsolete),
    ("cli-max-output-sessions", Obsolete),
    ("web-admin", Obsolete),
    ("web-admin-ip", Obsolete),
    ("web-admin-port", Obsolete),
    ("web-admin-listen-on-workers", Obsolete),
    ("version", Should),
    ("no-loopback-peers", Must),
    ("no-stun-backward-compatibility", Must),
    ("no-tlsv1", Must),
    ("no-tlsv1_1", Must),
    ("prod", Must),
    ("no-sslv2", Obsolete),
    ("no-sslv3", Obsolete),
    ("ne", Obsolete),
    ("secret-ts-exp-time", Obsolete),
    ("st-cred-mech", Refuse),
    ("sha256", Obsolete),
    ("sha384", Obsolete),
    ("sha512", Obsolete),
    ("dh2066", Obsolete),
    ("no-http", Obsolete),
    ("allow-encoding-with-aes", Obsolete),
    ("no-web-admin", Obsolete),
    ("no-prometheus", Obsolete),
    ("new-timestamp_format", Obsolete),
    ("new-timestamp-format", Obsolete),
    ("systemd", Obsolete),
    ("prometheus-no-username-labels", Obsolete),
    ("udp-sendmmsg", Obsolete),
];
