//! Keys of TLS and DTLS.

use super::{Key, Support, Toml, Value, unread, unused};
use crate::certificate;

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "cert",
        Value::Text("FILE", certificate::cert),
        Support::Built,
        "",
        "Certificate chain, PEM, the server's own first; several are chosen from by the name a client asks for",
    )
    .toml(Toml::Within("tls.certificates"))
    .repeats(),
    Key::new(
        "pkey",
        Value::Text("FILE", certificate::pkey),
        Support::Built,
        "",
        "Private key, PEM; the first one belongs to the first cert, and so on; the file may be the same",
    )
    .toml(Toml::Within("tls.certificates"))
    .repeats(),
    Key::new(
        "raw-public-keys",
        Value::Flag(unused),
        Support::Obsolete("keys without a certificate (RFC 7250) are not offered"),
        "0",
        "Offers keys without a certificate (RFC 7250)",
    ),
    Key::new(
        "pkey-pwd",
        Value::Text("PASSWORD", certificate::pkey_pwd),
        Support::Built,
        "",
        "Password of the private keys that have one",
    )
    .toml(Toml::Within("tls.certificates"))
    .secret(),
    Key::new(
        "cipher-list",
        Value::Text("CIPHERS", |draft, text| {
            draft.settings.cipher_list = (!text.is_empty()).then(|| text.to_owned());
            Ok(())
        }),
        Support::Built,
        "",
        "Cipher suites of TLS, as OpenSSL names them; all that are safe if not given",
    ),
    Key::new(
        "CA-file",
        Value::Text("FILE", unread),
        Support::Refused {
            reason: "client certificates are not checked, so anyone could connect",
            help: "remove the line; clients authenticate with TURN credentials",
        },
        "",
        "Authority that client certificates are checked against",
    ),
    Key::new(
        "ec-curve-name",
        Value::Text("CURVE", unread),
        Support::Obsolete("curves are negotiated"),
        "",
        "Curve of the key exchange",
    ),
    Key::new(
        "dh566",
        Value::Flag(unused),
        Support::Obsolete("finite-field groups are not offered"),
        "0",
        "Key exchange with a 566-bit group",
    ),
    Key::new(
        "dh1066",
        Value::Flag(unused),
        Support::Obsolete("finite-field groups are not offered"),
        "0",
        "Key exchange with a 1066-bit group",
    ),
    Key::new(
        "dh-file",
        Value::Text("FILE", unread),
        Support::Obsolete("finite-field groups are not offered"),
        "",
        "Parameters of a finite-field group",
    ),
    Key::new(
        "tlsv1",
        Value::Flag(unused),
        Support::Obsolete("TLS 1.0 is not offered"),
        "0",
        "Offers TLS 1.0",
    ),
    Key::new(
        "tlsv1_1",
        Value::Flag(unused),
        Support::Obsolete("TLS 1.1 is not offered"),
        "0",
        "Offers TLS 1.1",
    ),
    Key::new(
        "no-tlsv1_2",
        Value::Flag(|draft, on| draft.settings.tls12 = !on),
        Support::Built,
        "0",
        "Offers TLS 1.3 only",
    )
    .toml(Toml::Inverted("tls12", "Offers TLS 1.2 besides TLS 1.3")),
];
