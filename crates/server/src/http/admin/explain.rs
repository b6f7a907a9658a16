//! Why a peer is refused, and why a user cannot log in, by the rules and credentials that are in force.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};
use turnbuckle_proto::rest;
use turnbuckle_relay::{
    Config, Denial, PasswordFit, PeerRule, Reach, RelayedPorts, Verdict, embedded_ipv4,
};

use crate::clock;
use crate::control::Control;
use crate::failures::{Attempts, Failures};

#[derive(Serialize)]
pub(super) struct Peer {
    address: IpAddr,
    verdict: &'static str,
    /// What decides, in the words of the file or of the built-in table.
    rule: Option<String>,
    embedded: Option<Embedded>,
    is_own_relay_address: bool,
    is_own_host: bool,
}

#[derive(Serialize)]
struct Embedded {
    address: Ipv4Addr,
    spelling: &'static str,
}

/// What a client that asks for this peer is told.
pub(super) fn peer(config: &Config, ports: &RelayedPorts, address: IpAddr) -> Peer {
    let policy = &config.policy;
    let embedded = embedded_ipv4(address).map(|inner| Embedded {
        address: inner,
        spelling: spelling(address),
    });
    // What the verdict is about.
    let meant = |ip: IpAddr| ip == address || embedded.as_ref().is_some_and(|e| ip == e.address);
    let opened = || policy.allowed.iter().find(|rule| contains(rule, address));
    let (verdict, rule) = match policy.verdict(address, ports) {
        Verdict::Allowed(Reach::Anything) => {
            ("allowed", opened().map(|rule| rule.text.to_string()))
        }
        Verdict::Allowed(Reach::RelayedOnly) => ("allowed_where_relayed", None),
        Verdict::Denied(denial) => ("denied", Some(innermost(&denial).to_string())),
    };
    Peer {
        address,
        verdict,
        rule,
        is_own_relay_address: ports
            .addresses()
            .any(|own| meant(own.local) || meant(own.advertised)),
        is_own_host: policy.own_hosts.iter().any(|ip| meant(*ip)),
        embedded,
    }
}

/// The rule itself: that the address stands for another one is told in a field of its own.
fn innermost(denial: &Denial) -> &Denial {
    match denial {
        Denial::Embedded(_, inner) => innermost(inner),
        other => other,
    }
}

fn contains(rule: &PeerRule, ip: IpAddr) -> bool {
    rule.first.is_ipv4() == ip.is_ipv4() && rule.first <= ip && ip <= rule.last
}

/// How an IPv6 address stands for an IPv4 one.
fn spelling(ip: IpAddr) -> &'static str {
    let IpAddr::V6(ip) = ip else { return "itself" };
    match ip.segments() {
        [0, 0, 0, 0, 0, 0xffff, ..] => "IPv4-mapped (RFC 4291)",
        [0, 0, 0, 0, 0xffff, 0, ..] => "IPv4-translated (RFC 2765)",
        [0, 0, 0, 0, 0, 0, ..] => "IPv4-compatible (RFC 4291)",
        [0x64, 0xff9b, 0, ..] => "NAT64 (RFC 6052)",
        [0x64, 0xff9b, ..] => "local NAT64 (RFC 8215)",
        [0x2002, ..] => "6to4 (RFC 3056)",
        [0x2001, 0, ..] => "Teredo (RFC 4380)",
        _ => "ISATAP (RFC 5214)",
    }
}

/// Whom a question is about. The password stays here.
#[derive(Deserialize)]
pub(super) struct Question {
    pub(super) user: String,
    pub(super) password: Option<String>,
}

#[derive(Serialize)]
pub(super) struct User {
    user: String,
    stable_name: String,
    anonymous: bool,
    static_account: bool,
    time_limited: Option<TimeLimited>,
    /// How many `static-auth-secret` there are, or the one that was made up.
    secrets: usize,
    password: Password,
    revoked: bool,
    quota: Quota,
    failures: Vec<Failure>,
}

#[derive(Serialize)]
struct TimeLimited {
    expires_unix_seconds: u64,
    /// Negative once it has expired.
    expires_in_seconds: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Password {
    NotGiven,
    OfAccount,
    /// Counted from 1, in the order of the configuration.
    OfSecret(usize),
    Wrong,
}

#[derive(Serialize)]
struct Quota {
    held: u32,
    limit: Option<u32>,
    total_held: u32,
    total_limit: Option<u32>,
}

#[derive(Serialize)]
struct Failure {
    username: Option<String>,
    source: IpAddr,
    method: String,
    reason: &'static str,
    code: u16,
    text: String,
    count: u64,
    first_seconds_ago: u64,
    last_seconds_ago: u64,
}

/// Whether the user could log in now, and what was refused lately.
pub(super) fn user(
    control: &Control,
    config: &Config,
    failures: &Failures,
    stable_name: String,
    question: Question,
) -> User {
    let credentials = &config.credentials;
    let name = question.user;
    let static_account = credentials.users.has(&name);
    let time_limited = rest::parse(&name, credentials.separator)
        .filter(|_| !static_account)
        .map(|parsed| TimeLimited {
            expires_unix_seconds: parsed.expiry,
            expires_in_seconds: i64::try_from(
                i128::from(parsed.expiry) - i128::from(clock::unix_seconds()),
            )
            .unwrap_or(i64::MAX),
        });
    let password = match &question.password {
        None => Password::NotGiven,
        Some(password) => match credentials.password_fit(&config.realm, &name, password) {
            PasswordFit::OfUser => Password::OfAccount,
            PasswordFit::OfSecret(at) => Password::OfSecret(at.saturating_add(1)),
            PasswordFit::Wrong => Password::Wrong,
        },
    };
    let settings = control.settings();
    let quota = control.quota();
    let is_meant = |other: &str| {
        other == name
            || rest::parse(other, credentials.separator)
                .and_then(|parsed| parsed.user)
                .unwrap_or(other)
                == stable_name
    };
    User {
        anonymous: credentials.anonymous,
        static_account,
        time_limited,
        secrets: credentials.secrets.len(),
        password,
        revoked: config.revoked.contains(&*stable_name),
        quota: Quota {
            held: quota.held_by(&stable_name),
            limit: settings.user_quota.map(Into::into),
            total_held: quota.total(),
            total_limit: settings.total_quota.map(Into::into),
        },
        failures: failures.of(is_meant).into_iter().map(told).collect(),
        stable_name,
        user: name,
    }
}

fn told(attempts: Attempts) -> Failure {
    Failure {
        username: attempts.username.as_deref().map(str::to_owned),
        source: attempts.source,
        method: attempts.method,
        reason: attempts.reason,
        code: attempts.code,
        text: attempts.text,
        count: attempts.count,
        first_seconds_ago: attempts.first.as_secs(),
        last_seconds_ago: attempts.last.as_secs(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_has_its_name() {
        for (ip, name) in [
            ("::10.0.0.1", "IPv4-compatible"),
            ("::ffff:10.0.0.1", "IPv4-mapped"),
            ("::ffff:0:10.0.0.1", "IPv4-translated"),
            ("64:ff9b::10.0.0.1", "NAT64"),
            ("64:ff9b:1::10.0.0.1", "local NAT64"),
            ("2002:a00:1::1", "6to4"),
            ("2001:0:1::f5ff:fffe", "Teredo"),
            ("2620::5efe:10.0.0.1", "ISATAP"),
        ] {
            let ip: IpAddr = ip.parse().unwrap();
            assert_eq!(embedded_ipv4(ip), Some(Ipv4Addr::new(10, 0, 0, 1)), "{ip}");
            assert!(spelling(ip).starts_with(name), "{ip}");
        }
    }
}
