//! Keys of relay endpoints, their addresses and lifetimes.

use std::time::Duration;

use super::{Key, Support, Toml, Value, number, port, seconds, unread, unused};
use crate::apply;

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "relay-device",
        Value::Text("DEVICE", unread),
        Support::Obsolete("relay sockets are not bound to an interface; `relay-ip` names their address"),
        "",
        "Network interface of relay sockets",
    )
    .short('i'),
    Key::new(
        "relay-ip",
        Value::Address(apply::relay_ip),
        Support::Built,
        "",
        "Local address of relay sockets; chosen by the server if none is given",
    )
    .short('E')
    .repeats(),
    Key::new(
        "external-ip",
        Value::Syntax("PUBLIC[/PRIVATE]", apply::external_ip),
        Support::Built,
        "",
        "Address told to clients in place of the local one; bare once per family, or in pairs",
    )
    .short('X')
    .repeats(),
    Key::new(
        "min-port",
        port(|draft, port| draft.min_port = Some(port as u16)),
        Support::Built,
        "49152",
        "Lowest port of a relayed address",
    ),
    Key::new(
        "max-port",
        port(|draft, port| draft.max_port = Some(port as u16)),
        Support::Built,
        "65535",
        "Highest port of a relayed address",
    ),
    Key::new(
        "no-udp-relay",
        Value::Flag(|draft, on| draft.settings.udp_relay = !on),
        Support::Built,
        "0",
        "UDP allocations are refused; TCP alone is relayed then",
    )
    .toml(Toml::Inverted("udp-relay", "UDP allocations are granted")),
    Key::new(
        "no-tcp-relay",
        Value::Flag(apply::no_tcp_relay),
        Support::Built,
        "1",
        "TCP allocations (RFC 6062) are refused",
    )
    .toml(Toml::Inverted(
        "tcp-relay",
        "TCP allocations (RFC 6062) are granted",
    )),
    Key::new(
        "server-relay",
        Value::Flag(unused),
        Support::Refused {
            reason: "it would let data reach clients without a permission",
            help: "remove the line; peers reach a client after its CreatePermission or ChannelBind (RFC 8656 §9)",
        },
        "0",
        "Lets data reach clients without a permission",
    ),
    Key::new(
        "mobility",
        Value::Flag(|draft, on| draft.settings.mobility = on),
        Support::Built,
        "0",
        "Allocations of UDP clients follow them to another address (RFC 8016); one thread serves all UDP clients then",
    ),
    Key::new(
        "keep-address-family",
        Value::Flag(|draft, on| draft.keep_family = on),
        Support::Built,
        "0",
        "The same as allocation-default-address-family=keep",
    )
    .toml(Toml::Within("relay.allocation-default-address-family"))
    .short('K'),
    Key::new(
        "allocation-default-address-family",
        Value::Word(&["ipv4", "ipv6", "keep"], |draft, word| draft.family = Some(word)),
        Support::Built,
        "ipv4",
        "Family of a relayed address where the client asks for none; keep is that of the client's packets",
    )
    .short('A'),
    Key::new(
        "stale-nonce",
        seconds(0, Some(600), |draft, age| {
            draft.settings.nonce_lifetime = (age > 0).then(|| Duration::from_secs(age));
        }),
        Support::Built,
        "600",
        "Age at which a nonce is replaced; 0 is never",
    ),
    Key::new(
        "max-allocate-lifetime",
        seconds(1, None, |draft, time| draft.settings.max_allocate_lifetime = Duration::from_secs(time)),
        Support::Built,
        "3600",
        "Longest lifetime of an allocation between two Refreshes",
    ),
    Key::new(
        "channel-lifetime",
        seconds(1, None, |draft, time| draft.settings.channel_lifetime = Duration::from_secs(time)),
        Support::Built,
        "600",
        "Lifetime of a channel binding",
    ),
    Key::new(
        "permission-lifetime",
        seconds(1, None, |draft, time| draft.settings.permission_lifetime = Duration::from_secs(time)),
        Support::Built,
        "300",
        "Lifetime of a permission; clients count on 300",
    ),
    Key::new(
        "max-allocate-timeout",
        seconds(1, None, |draft, time| draft.settings.max_allocate_timeout = Duration::from_secs(time)),
        Support::Built,
        "60",
        "Time a connection of a TCP or TLS client may go without an allocation",
    ),
    Key::new(
        "drain-min-allocations",
        number(0..=u32::MAX as u64, "", |draft, count| {
            draft.settings.drain_min_allocations = count as usize;
        }),
        Support::Built,
        "0",
        "Allocations at which a draining server stops",
    ),
];
