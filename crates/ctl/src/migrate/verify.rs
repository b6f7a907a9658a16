//! Whether a server serves: a Binding and an allocation, over the first listener that a client without TLS can use.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use turnbuckle_config::{Settings, Transport, UserCredential};
use turnbuckle_proto::{LongTermKey, rest};

use crate::failure::Failure;
use crate::probe::{self, Carrier, Credential, Password};

/// What was seen, in words. `now` is seconds since 1970-01-01 00:00 UTC.
pub(super) fn verify(settings: &Settings, now: u64) -> Result<String, Failure> {
    let Some((address, carrier)) = endpoint(settings) else {
        return Ok(
            "the service runs; all its listeners are for TLS or a proxy, so nothing was asked"
                .to_owned(),
        );
    };
    let shown = format!("{address} over {}", carrier.name());
    let failed =
        |what: &str, error: String| Failure::new(format!("no {what} from {shown}: {error}"));
    let mut told = String::new();
    if settings.stun && !settings.secure_stun {
        attempt(|| probe::binding(address, carrier, TRIES))
            .map_err(|error| failed("Binding", error))?;
        told.push_str("a Binding");
    }
    if settings.stun_only {
        return Ok(format!("{told} from {shown}"));
    }
    let account = account(settings, now);
    if account.is_none() && !settings.anonymous {
        return Ok(format!(
            "{told} from {shown}; without a secret or user in the file no allocation was asked for"
        ));
    }
    let relayed = attempt(|| probe::allocation(address, carrier, account.clone(), TRIES))
        .map_err(|error| failed("allocation", error))?;
    let also = if told.is_empty() { "" } else { " and " };
    Ok(format!(
        "{told}{also}an allocation from {shown}, relayed address {relayed}"
    ))
}

/// A server that has just been started may not listen yet.
fn attempt<T>(ask: impl Fn() -> Result<T, String>) -> Result<T, String> {
    let mut outcome = ask();
    for _ in 1..ATTEMPTS {
        if outcome.is_ok() {
            break;
        }
        std::thread::sleep(probe::RETRANSMIT);
        outcome = ask();
    }
    outcome
}

fn endpoint(settings: &Settings) -> Option<(SocketAddr, Carrier)> {
    [
        (Transport::Udp, Carrier::Udp),
        (Transport::Tcp, Carrier::Tcp),
    ]
    .into_iter()
    .find_map(|(transport, over)| {
        let found = settings
            .listeners
            .iter()
            .find(|listener| listener.transport == transport && !listener.proxied)?;
        let ip = match found.address {
            Some(ip) if !ip.is_unspecified() => ip,
            Some(IpAddr::V6(_)) => std::net::Ipv6Addr::LOCALHOST.into(),
            _ => Ipv4Addr::LOCALHOST.into(),
        };
        Some((SocketAddr::new(ip, found.port), over))
    })
}

fn account(settings: &Settings, now: u64) -> Option<Credential> {
    if settings.anonymous {
        return None;
    }
    if let Some(secret) = settings.secrets.first() {
        let user = rest::username(
            now.saturating_add(CREDENTIAL_SECONDS),
            Some("migrate"),
            settings.rest_separator,
        );
        let password = rest::password(secret.expose().as_bytes(), &user);
        return Some(Credential {
            password: Password::Text(password.as_str().to_owned()),
            username: user,
        });
    }
    let user = settings.users.first()?;
    Some(Credential {
        username: user.name.clone(),
        password: match &user.credential {
            UserCredential::Password(password) => Password::Text(password.expose().to_owned()),
            UserCredential::Key(key) => Password::Key(LongTermKey::from_bytes(*key)),
        },
    })
}

/// Sendings of one request.
const TRIES: u32 = 3;
/// With half a second between them, and a second and a half for each without an answer.
const ATTEMPTS: usize = 8;
const CREDENTIAL_SECONDS: u64 = 300;
