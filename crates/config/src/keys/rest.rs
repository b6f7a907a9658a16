//! Keys of the credential endpoint.

use std::time::Duration;

use super::{Key, Support, Toml, Value, seconds};
use crate::rest;

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "rest-listener",
        Value::Syntax("WHERE", rest::listener),
        Support::Built,
        "",
        "Gives out time-limited credentials over HTTP, and serves a self-test page, on a TCP port or a Unix socket",
    )
    .own()
    .toml(Toml::Named("listener")),
    Key::new(
        "rest-cert",
        Value::Text("FILE", rest::cert),
        Support::Built,
        "",
        "Certificate chain of that listener, PEM; without one it has to be of this host",
    )
    .own()
    .toml(Toml::Named("cert")),
    Key::new(
        "rest-pkey",
        Value::Text("FILE", rest::pkey),
        Support::Built,
        "",
        "Private key of that listener, PEM",
    )
    .own()
    .toml(Toml::Named("pkey")),
    Key::new(
        "rest-api-key",
        Value::Text("NAME:HASH[,...]", rest::api_key),
        Support::Built,
        "",
        "API key that is given credentials, as `turnctl api-key NAME` prints it; `max-lifetime=SECONDS` and `rate=PER_MINUTE` bound it",
    )
    .own()
    .secret()
    .repeats()
    .toml(Toml::Named("api-keys")),
    Key::new(
        "rest-lifetime",
        seconds(60, None, |draft, seconds| {
            draft.settings.rest_lifetime_max = Duration::from_secs(seconds);
        }),
        Support::Built,
        "86400",
        "Lifetime of these credentials, and the longest that can be asked for",
    )
    .own()
    .toml(Toml::Named("lifetime")),
    Key::new(
        "rest-allow-origin",
        Value::Text("ORIGIN", rest::allow_origin),
        Support::Built,
        "",
        "Origin whose web pages may ask for credentials and show the self-test page in a frame",
    )
    .own()
    .repeats()
    .toml(Toml::Named("allow-origins")),
];
