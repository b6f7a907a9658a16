//! Keys of peer access control.

use super::{Key, Support, Toml, Value, unused};
use crate::apply;

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "allowed-peer-ip",
        Value::Syntax("RANGE", apply::allowed_peer_ip),
        Support::Built,
        "",
        "Peers to open: an address, first-last or address/prefix; beats every refusal",
    )
    .toml(Toml::Within("peers.rules"))
    .repeats(),
    Key::new(
        "denied-peer-ip",
        Value::Syntax("RANGE", apply::denied_peer_ip),
        Support::Built,
        "",
        "Peers to refuse besides the built-in ranges: an address, first-last or address/prefix",
    )
    .toml(Toml::Within("peers.rules"))
    .repeats(),
    Key::new(
        "no-multicast-peers",
        Value::Flag(unused),
        Support::Met,
        "1",
        "Multicast and broadcast peers are refused, which they always are",
    ),
    Key::new(
        "allow-loopback-peers",
        Value::Flag(|draft, on| draft.settings.peers.allow_loopback = on),
        Support::Built,
        "0",
        "Loopback peers are opened, for tests on one host",
    )
    .toml(Toml::Named("allow-loopback")),
];
