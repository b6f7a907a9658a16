//! Keys that earlier coturn versions had; files in the field still carry them.

use super::{Key, Support, Value, number, unread, unused};

pub(super) const KEYS: &[Key] = &[
    met(
        "no-loopback-peers",
        "Loopback peers are refused, which they are unless allow-loopback-peers opens them",
    ),
    met(
        "no-stun-backward-compatibility",
        "Does not send attributes of RFC 3489",
    ),
    met("no-tlsv1", "Does not offer TLS 1.0"),
    met("no-tlsv1_1", "Does not offer TLS 1.1"),
    met("prod", "Does not tell the version"),
    met("no-sslv2", "Does not offer SSL 2"),
    met("no-sslv3", "Does not offer SSL 3"),
    Key::new(
        "ne",
        number(0..=3, "", unused),
        Support::Met,
        "",
        "Network engine; there is one",
    ),
    Key::new(
        "secret-ts-exp-time",
        number(0..=u64::MAX, "s", unused),
        Support::Obsolete("the username of a time-limited credential says when it expires"),
        "",
        "Lifetime of time-limited credentials",
    ),
    Key::new(
        "st-cred-mech",
        Value::Flag(unused),
        Support::Refused {
            reason: "TURN forbids short-term credentials (RFC 8656 §5)",
            help: "write `use-auth-secret` and `static-auth-secret=…`, or `lt-cred-mech` and `user=name:password`",
        },
        "0",
        "Short-term credentials may authenticate",
    ),
    hash("sha256", "SHA-256 in MESSAGE-INTEGRITY, as a draft had it"),
    hash("sha384", "SHA-384 in MESSAGE-INTEGRITY, as a draft had it"),
    hash("sha512", "SHA-512 in MESSAGE-INTEGRITY, as a draft had it"),
    met("dh2066", "Key exchange with a 2066-bit group"),
    met("no-http", "Does not answer HTTP on TURN ports"),
    Key::new(
        "allow-encoding-with-aes",
        Value::Text("FILE", unread),
        Support::Obsolete("it goes with mysql-userdb, which is not supported"),
        "",
        "Key of an encrypted MySQL password",
    ),
    met(
        "no-web-admin",
        "Does not serve web pages for administration",
    ),
    met("no-prometheus", "Does not serve metrics"),
    Key::new(
        "new-timestamp_format",
        Value::Text("FORMAT", unread),
        TIMES,
        "",
        "The same as new-log-timestamp-format",
    ),
    Key::new(
        "new-timestamp-format",
        Value::Text("FORMAT", unread),
        TIMES,
        "",
        "The same as new-log-timestamp-format",
    ),
    met("systemd", "Tells systemd when the server is ready"),
    met(
        "prometheus-no-username-labels",
        "Does not label metrics with user names",
    ),
    met("udp-sendmmsg", "Sends datagrams in batches"),
];

const fn met(name: &'static str, help: &'static str) -> Key {
    Key::new(name, Value::Flag(unused), Support::Met, "1", help)
}

const fn hash(name: &'static str, help: &'static str) -> Key {
    Key::new(
        name,
        Value::Flag(unused),
        Support::Obsolete("the draft's hashes are not those of RFC 8489 and no client sends them"),
        "0",
        help,
    )
}

const TIMES: Support = Support::Ignored("times are always written as RFC 3339 has them");
