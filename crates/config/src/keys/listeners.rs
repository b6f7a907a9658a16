//! Keys of listeners and sockets.

use super::{Key, Support, Toml, Value, number, port, port_or_zero, unread, unused};
use crate::apply;

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "listening-device",
        Value::Text("DEVICE", unread),
        Support::Obsolete("listeners are not bound to an interface; `listening-ip` names the addresses to listen on"),
        "",
        "Network interface of the listeners",
    )
    .short('d'),
    Key::new(
        "listening-port",
        port(|draft, port| draft.listen.port = port as u16),
        Support::Built,
        "3478",
        "Port of the plain UDP and TCP listeners",
    )
    .toml(Toml::Within("listeners"))
    .short('p'),
    Key::new(
        "tls-listening-port",
        port(|draft, port| draft.listen.tls_port = port as u16),
        Support::Built,
        "5349",
        "Port of the TLS and DTLS listeners",
    )
    .toml(Toml::Within("listeners")),
    Key::new(
        "alt-listening-port",
        port_or_zero(|draft, port| draft.alt_listening_port = Some(port as u16)),
        Support::Built,
        "0",
        "Second plain port for the tests of RFC 5780; 0 is listening-port + 1",
    ),
    Key::new(
        "alt-tls-listening-port",
        port_or_zero(unused),
        Support::Ignored("it is for the tests of RFC 5780 only, which are offered over UDP alone"),
        "0",
        "Second TLS port for the tests of RFC 5780; 0 is tls-listening-port + 1",
    ),
    Key::new(
        "tcp-proxy-port",
        port(|draft, port| draft.listen.tcp_proxy_port = Some(port as u16)),
        Support::Built,
        "",
        "TCP port, for plain TURN and TLS, on which connections begin with a PROXY header; needs proxy-trusted",
    )
    .toml(Toml::Within("listeners")),
    Key::new(
        "tls-proxy-port",
        port(|draft, port| draft.listen.tls_proxy_port = Some(port as u16)),
        Support::Built,
        "",
        "The same on a second port, for a proxy that passes TLS on by a port of its own",
    )
    .toml(Toml::Within("listeners"))
    .own(),
    Key::new(
        "proxy-trusted",
        Value::Syntax("ADDRESS[/PREFIX]", apply::proxy_trusted),
        Support::Built,
        "",
        "Proxy that may connect where a PROXY header is expected, and whose header is believed",
    )
    .repeats()
    .own(),
    Key::new(
        "listening-ip",
        Value::Address(apply::listening_ip),
        Support::Built,
        "",
        "Address to listen on; every address of the host if none is given",
    )
    .toml(Toml::Within("listeners"))
    .short('L')
    .repeats(),
    Key::new(
        "aux-server",
        Value::Syntax("ADDRESS:PORT", apply::aux_server),
        Support::Built,
        "",
        "Further plain listener, for UDP and TCP as far as they are on",
    )
    .toml(Toml::Within("listeners"))
    .repeats(),
    Key::new(
        "udp-self-balance",
        Value::Flag(unused),
        Support::Obsolete("clients are not redirected among listeners: every shard serves every listener"),
        "0",
        "Redirects UDP clients over the aux-server ports",
    ),
    Key::new(
        "no-udp",
        Value::Flag(|draft, on| draft.listen.udp = !on),
        Support::Built,
        "0",
        "Plain UDP clients are not served",
    )
    .toml(Toml::Within("listeners")),
    Key::new(
        "no-tcp",
        Value::Flag(|draft, on| draft.listen.tcp = !on),
        Support::Built,
        "0",
        "Plain TCP clients are not served",
    )
    .toml(Toml::Within("listeners")),
    Key::new(
        "no-tls",
        Value::Flag(|draft, on| draft.settings.tls = !on),
        Support::Built,
        "0",
        "TLS clients are not served, which they are once there are cert and pkey",
    )
    .toml(Toml::InvertedElsewhere(
        "tls",
        "enabled",
        "TLS clients are served, once there is a certificate",
    )),
    Key::new(
        "dtls",
        Value::Flag(|draft, on| draft.settings.dtls = on),
        Support::Built,
        "0",
        "DTLS clients are served; needs cert and pkey",
    )
    .toml(Toml::Within("listeners")),
    Key::new(
        "no-dtls",
        Value::Flag(|draft, on| draft.settings.dtls &= !on),
        Support::Met,
        "1",
        "DTLS clients are not served",
    ),
    Key::new(
        "max-connections",
        number(1..=MAX_CONNECTIONS, "connections", |draft, count| {
            draft.settings.connections_max = count as usize;
        }),
        Support::Built,
        "10000",
        "Connections of TCP and TLS clients held at a time",
    )
    .own(),
    Key::new(
        "max-pending-connections",
        number(1..=MAX_CONNECTIONS, "connections", |draft, count| {
            draft.settings.pending_connections_max = count as usize;
        }),
        Support::Built,
        "128",
        "Connections from one address, for IPv6 from one /64, that have no allocation",
    )
    .own(),
    Key::new(
        "sock-buf-size",
        number(0..=MAX_SOCKET_BUFFER_BYTES, "bytes", apply::socket_buffer),
        Support::Built,
        "",
        "Bytes asked of the kernel for each socket buffer; 0 leaves it to the server",
    ),
    Key::new(
        "udp-recvmmsg",
        Value::Flag(unused),
        Support::Met,
        "1",
        "Datagrams are received in batches, which they always are",
    ),
    Key::new(
        "udp-recvmmsg-log",
        Value::Flag(unused),
        Support::Ignored("batches are not logged"),
        "0",
        "Logs figures of batched receiving",
    ),
    Key::new(
        "udp-sendmmsg-log",
        Value::Flag(unused),
        Support::Ignored("batches are not logged"),
        "0",
        "Logs figures of batched sending",
    ),
    Key::new(
        "udp-gso",
        Value::Flag(unused),
        Support::Ignored("how datagrams are sent is up to the server"),
        "0",
        "Lets the kernel cut runs of equal datagrams",
    ),
    Key::new(
        "multiplex-peer",
        Value::Flag(unused),
        Support::Obsolete("every allocation has a relayed address of its own (RFC 8656 §7.2)"),
        "0",
        "Lets allocations share one relay socket",
    ),
    Key::new(
        "multiplex-peer-port",
        port(unused),
        Support::Ignored("it goes with multiplex-peer, which has no effect"),
        "3480",
        "Port of the relay socket of multiplex-peer",
    ),
    Key::new(
        "multiplex-peer-max-peers",
        number(0..=u32::MAX as u64, "", unused),
        Support::Ignored("it goes with multiplex-peer, which has no effect"),
        "256",
        "Peers of an allocation with multiplex-peer",
    ),
    Key::new(
        "relay-threads",
        number(0..=MAX_THREADS, "", |draft, count| draft.threads = Some(count as usize)),
        Support::Built,
        "",
        "Worker shards; 0 is one; as many as the host can use if not given",
    )
    .short('m'),
    Key::new(
        "cpus",
        number(0..=MAX_THREADS, "", |draft, count| draft.cpus = Some(count as usize)),
        Support::Built,
        "",
        "Worker shards where relay-threads is not given; 0 is as many as the host can use",
    )
    .toml(Toml::Within("server.relay-threads")),
];

/// As many descriptors as a Linux process can be given by default.
const MAX_CONNECTIONS: u64 = 1 << 20;
const MAX_SOCKET_BUFFER_BYTES: u64 = i32::MAX as u64;
const MAX_THREADS: u64 = 1024;
