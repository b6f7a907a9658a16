//! Keys of STUN behaviour and protocol compatibility.

use super::{Key, Support, Toml, Value, number, unread, unused};
use crate::apply;

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "stun-only",
        Value::Flag(|draft, on| draft.settings.stun_only = on),
        Support::Built,
        "0",
        "Nothing is relayed; only Binding requests are answered",
    )
    .short('S'),
    Key::new(
        "no-stun",
        Value::Flag(|draft, on| draft.settings.stun = !on),
        Support::Built,
        "0",
        "Binding requests are not answered",
    )
    .toml(Toml::Inverted("binding", "Binding requests are answered")),
    Key::new(
        "rfc5780",
        Value::Always(|draft| draft.rfc5780 = true),
        Support::Built,
        "0",
        "Answers the NAT behaviour tests of RFC 5780; needs two listening-ip of a family",
    ),
    Key::new(
        "no-rfc5780",
        Value::Flag(unused),
        Support::Met,
        "1",
        "Does not answer the tests of RFC 5780",
    ),
    Key::new(
        "stun-backward-compatibility",
        Value::Flag(unused),
        Support::Obsolete("attributes of RFC 3489 are not sent"),
        "0",
        "Sends attributes of RFC 3489",
    ),
    Key::new(
        "rfc3489-compatibility",
        Value::Flag(unused),
        Support::Obsolete("clients of RFC 3489 are not served"),
        "0",
        "Serves clients of RFC 3489",
    ),
    Key::new(
        "rfc5766-channel-numbers",
        Value::Flag(|draft, on| draft.settings.wide_channels = on),
        Support::Built,
        "0",
        "Accepts channel numbers 0x5000 to 0x7FFF, as RFC 5766 did",
    ),
    Key::new(
        "response-origin-only-with-rfc5780",
        Value::Flag(unused),
        Support::Met,
        "1",
        "RESPONSE-ORIGIN is sent with RFC 5780 only",
    ),
    Key::new(
        "no-software-attribute",
        Value::Flag(|draft, on| draft.settings.software_attribute &= !on),
        Support::Met,
        "1",
        "SOFTWARE is not sent",
    ),
    Key::new(
        "software-attribute",
        Value::Flag(|draft, on| draft.settings.software_attribute = on),
        Support::Built,
        "0",
        "Sends SOFTWARE, without a version",
    ),
    Key::new(
        "include-reason-string",
        Value::Flag(|draft, on| draft.settings.include_reason = on),
        Support::Built,
        "0",
        "Sends a reason phrase with every error code",
    ),
    Key::new(
        "respond-http-unsupported",
        Value::Flag(unused),
        Support::Obsolete("HTTP on a TURN port is not answered"),
        "0",
        "Answers HTTP on a TURN port",
    ),
    Key::new(
        "acme-redirect",
        Value::Text("URL", unread),
        Support::Obsolete(
            "HTTP on a TURN port is not answered; let the web server answer the certificate authority",
        ),
        "",
        "Redirects HTTP-01 challenges",
    ),
    Key::new(
        "unauthorized-ratelimit",
        Value::Flag(|draft, on| draft.unauthorized_limit = on),
        Support::Built,
        "1",
        "Limits 401 answers by source",
    ),
    Key::new(
        "unauthorized-ratelimit-rps",
        number(1..=u32::MAX as u64, "answers/s", |draft, rate| {
            draft.unauthorized_rate = Some(rate as u32);
        }),
        Support::Built,
        "10",
        "401 answers per second and source",
    ),
    Key::new(
        "stateless-nonce",
        Value::Flag(unused),
        Support::Met,
        "1",
        "Nonces hold their own proof, which they always do",
    ),
    Key::new(
        "stateless-nonce-secret",
        Value::Text("SECRET", apply::stateless_nonce_secret),
        Support::Built,
        "",
        "Secret shared with servers whose nonces are accepted; without, each start makes one up",
    )
    .secret(),
];
