//! Keys of metrics, statistics and redirection.

use super::{Key, Parse, Support, Value, port, unread, unset};
use crate::{apply, metrics};

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "redis-statsdb",
        Value::Text("CONNECTION", unread),
        Support::Obsolete("nothing is published to Redis"),
        "",
        "Redis database that sessions and traffic are published to",
    )
    .short('O')
    .secret(),
    Key::new(
        "prometheus",
        Value::Always(|draft| draft.metrics.on = true),
        Support::Built,
        "0",
        "Serves metrics, health and a dashboard over HTTP",
    ),
    Key::new(
        "prometheus-port",
        port(|draft, port| draft.metrics.listener.address.set_port(port as u16)),
        Support::Built,
        "9641",
        "Port of the metrics",
    ),
    Key::new(
        "prometheus-address",
        Value::Address(metrics::address),
        Support::Built,
        "127.0.0.1",
        "Address of the metrics; on one of loopback a dashboard is served as well",
    ),
    Key::new(
        "prometheus-path",
        Value::Text("PATH", metrics::path),
        Support::Built,
        "/metrics",
        "Path of the metrics",
    ),
    Key::new(
        "prometheus-username-labels",
        Value::Always(unset),
        Support::Obsolete(
            "metrics carry no user names: each time-limited name would be a series of its own",
        ),
        "0",
        "Labels metrics with user names",
    ),
    Key::new(
        "prometheus-tls",
        Value::Flag(|draft, on| draft.metrics.tls = on),
        Support::Built,
        "0",
        "Serves metrics over HTTPS, with the first certificate of clients unless another is named",
    ),
    Key::new(
        "prometheus-cert",
        Value::Text("FILE", metrics::cert),
        Support::Built,
        "",
        "Certificate chain of the metrics, PEM",
    ),
    Key::new(
        "prometheus-key",
        Value::Text("FILE", metrics::key),
        Support::Built,
        "",
        "Private key of the metrics, PEM",
    ),
];

pub(super) const REDIRECTION: &[Key] = &[
    redirection(
        "alternate-server",
        |draft, text| apply::alternate_server(draft, text, |lists| &mut lists.any, 3478),
        "Server that clients are sent to; several take turns, and the port is 3478 unless given",
    ),
    redirection(
        "tls-alternate-server",
        |draft, text| apply::alternate_server(draft, text, |lists| &mut lists.tls, 5349),
        "Server that TLS and DTLS clients are sent to; the port is 5349 unless given",
    ),
    redirection(
        "tcp-alternate-server",
        |draft, text| apply::alternate_server(draft, text, |lists| &mut lists.tcp, 3478),
        "Server that TCP clients are sent to",
    ),
    redirection(
        "udp-alternate-server",
        |draft, text| apply::alternate_server(draft, text, |lists| &mut lists.udp, 3478),
        "Server that UDP clients are sent to",
    ),
];

const fn redirection(name: &'static str, add: Parse, help: &'static str) -> Key {
    Key::new(
        name,
        Value::Syntax("ADDRESS[:PORT]", add),
        Support::Built,
        "",
        help,
    )
    .repeats()
}
