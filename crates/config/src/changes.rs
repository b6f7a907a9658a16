//! What is otherwise in one reading of a configuration than in another, in words, and which of it a running server takes over. Owns the
//! table of that; takes nothing over itself, and never shows a secret.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::certificate::CertificateFiles;
use crate::listener::Listener;
use crate::metrics::MetricsSettings;
use crate::peer::{PeerRule, PeerRules};
use crate::process::ProcessName;
use crate::rest::{ApiKey, RestDoor, RestSettings};
use crate::settings::{
    AdminSocket, Alternates, AuthAsked, DefaultFamily, ExternalIp, LogLevel, LogSettings,
    NatDiscovery, Settings, StrictExpiry,
};
use crate::user::User;

/// One setting that is otherwise than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key of `turnserver.conf`, or the first of those that make it up.
    pub key: &'static str,
    /// From what to what, without a full stop. Never holds a secret.
    pub text: String,
    /// When it is taken over.
    pub applies: Applies,
}

/// When a running server takes a changed setting over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applies {
    /// With a reload.
    Live,
    /// When it is started anew.
    Restart,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.text)
    }
}

/// Every field of [`Settings`] once, with its key, when it is taken over, and how a change is put into words.
macro_rules! fields {
    ($($field:ident, $key:literal, $applies:ident, $words:expr;)*) => {
        impl Settings {
            /// What is otherwise in `after`, in the order of the table.
            pub fn changes(&self, after: &Self) -> Vec<Change> {
                // A new field needs a row.
                let Self { $($field: _,)* differences: _ } = self;
                let mut all = Vec::new();
                $(
                    if self.$field != after.$field {
                        let words: Option<String> = $words(&self.$field, &after.$field);
                        all.extend(words.map(|text| Change {
                            key: $key,
                            text,
                            applies: Applies::$applies,
                        }));
                    }
                )*
                all.extend(log_changes(&self.log, &after.log));
                all
            }

            /// These settings with those of `before` wherever a change takes a restart.
            #[must_use]
            pub fn without_restart(mut self, before: &Self) -> Self {
                $(
                    if Applies::$applies == Applies::Restart {
                        self.$field.clone_from(&before.$field);
                    }
                )*
                self
            }
        }
    };
}

fields! {
    listeners, "listening-port", Live, lists;
    relay_ips, "relay-ip", Restart, lists;
    external_ips, "external-ip", Restart, lists;
    relay_ports, "min-port", Restart, from_to;
    realm, "realm", Live, from_to;
    secrets, "static-auth-secret", Live, hidden;
    secret_files, "static-auth-secret-file", Live, lists;
    user_files, "user-file", Live, lists;
    rest_separator, "rest-api-separator", Restart, from_to;
    users, "user", Live, users;
    anonymous, "no-auth", Live, from_to;
    auth_asked, "lt-cred-mech", Live, silent::<AuthAsked>;
    user_quota, "user-quota", Live, limits;
    total_quota, "total-quota", Live, limits;
    strict_expiry, "strict-expiry", Live, from_to;
    max_rate, "max-bps", Live, rates;
    capacity, "bps-capacity", Live, rates;
    nonce_secret, "stateless-nonce-secret", Live, hidden;
    peers, "denied-peer-ip", Live, peers;
    tls, "no-tls", Live, inverted;
    dtls, "dtls", Live, from_to;
    certificates, "cert", Live, certificates;
    tls12, "no-tlsv1_2", Live, inverted;
    cipher_list, "cipher-list", Live, from_to;
    proxy_trusted, "proxy-trusted", Live, lists;
    connections_max, "max-connections", Live, from_to;
    pending_connections_max, "max-pending-connections", Live, from_to;
    max_allocate_timeout, "max-allocate-timeout", Live, from_to;
    udp_relay, "no-udp-relay", Live, inverted;
    tcp_relay, "no-tcp-relay", Restart, inverted;
    nonce_lifetime, "stale-nonce", Live, from_to;
    max_allocate_lifetime, "max-allocate-lifetime", Live, from_to;
    channel_lifetime, "channel-lifetime", Live, from_to;
    permission_lifetime, "permission-lifetime", Live, from_to;
    default_family, "allocation-default-address-family", Live, from_to;
    fingerprint, "fingerprint", Live, from_to;
    stun_only, "stun-only", Live, from_to;
    stun, "no-stun", Live, inverted;
    secure_stun, "secure-stun", Live, from_to;
    nat_discovery, "rfc5780", Live, from_to;
    software_attribute, "software-attribute", Live, from_to;
    include_reason, "include-reason-string", Live, from_to;
    wide_channels, "rfc5766-channel-numbers", Restart, from_to;
    mobility, "mobility", Restart, from_to;
    alternates, "alternate-server", Live, from_to;
    unauthorized_rate, "unauthorized-ratelimit-rps", Live, limits;
    shards, "relay-threads", Restart, from_to;
    socket_buffer, "sock-buf-size", Restart, from_to;
    pidfile, "pidfile", Restart, from_to;
    admin_socket, "admin-socket", Restart, from_to;
    metrics, "prometheus", Restart, from_to;
    rest, "rest-listener", Restart, from_to;
    rest_keys, "rest-api-key", Live, api_keys;
    rest_lifetime_max, "rest-lifetime", Live, from_to;
    rest_origins, "rest-allow-origin", Live, lists;
    process_user, "proc-user", Restart, from_to;
    process_group, "proc-group", Restart, from_to;
    state_directory, "state-directory", Restart, from_to;
    drain_min_allocations, "drain-min-allocations", Live, from_to;
    log, "log-file", Live, silent::<LogSettings>;
}

/// The level, and the rest in one.
fn log_changes(before: &LogSettings, after: &LogSettings) -> Vec<Change> {
    let mut all = Vec::new();
    if before.level != after.level {
        all.push(Change {
            key: "log-min-level",
            text: between(before.level.show(), after.level.show()),
            applies: Applies::Live,
        });
    }
    let rest = LogSettings {
        level: after.level,
        ..before.clone()
    };
    if rest != *after {
        all.push(Change {
            key: "log-file",
            text: "where lines go, or how they look, changed".to_owned(),
            applies: Applies::Live,
        });
    }
    all
}

/// A value in words.
trait Show {
    fn show(&self) -> String;
}

fn between(before: String, after: String) -> String {
    format!("{before} -> {after}")
}

fn from_to<T: Show>(before: &T, after: &T) -> Option<String> {
    Some(between(before.show(), after.show()))
}

/// The key says the contrary of the field.
fn inverted(before: &bool, after: &bool) -> Option<String> {
    from_to(&!before, &!after)
}

fn limits(before: &Option<NonZeroU32>, after: &Option<NonZeroU32>) -> Option<String> {
    let show =
        |limit: &Option<NonZeroU32>| limit.map_or_else(|| "no limit".to_owned(), |n| n.to_string());
    Some(between(show(before), show(after)))
}

fn rates(before: &Option<NonZeroU64>, after: &Option<NonZeroU64>) -> Option<String> {
    let show = |limit: &Option<NonZeroU64>| {
        limit.map_or_else(|| "no limit".to_owned(), |n| format!("{n} bytes/s"))
    };
    Some(between(show(before), show(after)))
}

fn hidden<T>(_: &T, _: &T) -> Option<String> {
    Some("changed".to_owned())
}

/// Follows from other keys, whose changes are told.
fn silent<T>(_: &T, _: &T) -> Option<String> {
    None
}

/// What has come and what has gone, or that the order is another.
fn lists<T: Show>(before: &[T], after: &[T]) -> Option<String> {
    let texts = |items: &[T]| items.iter().map(Show::show).collect::<Vec<_>>();
    Some(added_and_removed(
        &texts(before),
        &texts(after),
        "the order",
    ))
}

fn added_and_removed(before: &[String], after: &[String], otherwise: &str) -> String {
    let known: BTreeSet<_> = before.iter().collect();
    let wanted: BTreeSet<_> = after.iter().collect();
    let mut words: Vec<String> = Vec::new();
    let added: Vec<&str> = after
        .iter()
        .filter(|item| !known.contains(item))
        .map(String::as_str)
        .collect();
    let removed: Vec<&str> = before
        .iter()
        .filter(|item| !wanted.contains(item))
        .map(String::as_str)
        .collect();
    for (items, what) in [(added, "added"), (removed, "removed")] {
        if !items.is_empty() {
            words.push(format!("{} {what}", shortened(&items)));
        }
    }
    if words.is_empty() {
        return format!("{otherwise} changed");
    }
    words.join(", ")
}

/// So many that a line can be read, and the number of the others.
fn shortened(items: &[&str]) -> String {
    match items.get(..SHOWN_MAX) {
        Some(first) if items.len() > SHOWN_MAX => {
            format!("{} and {} more", first.join(", "), items.len() - SHOWN_MAX)
        }
        _ => items.join(", "),
    }
}

fn users(before: &[User], after: &[User]) -> Option<String> {
    let names = |users: &[User]| users.iter().map(|u| u.name.clone()).collect::<Vec<_>>();
    let changed: Vec<&str> = before
        .iter()
        .filter(|user| {
            let other = after.iter().find(|other| other.name == user.name);
            other.is_some_and(|other| other.credential != user.credential)
        })
        .map(|user| user.name.as_str())
        .collect();
    let (old, new) = (names(before), names(after));
    Some(match (changed.is_empty(), old == new) {
        (false, true) => format!("credential of {} changed", shortened(&changed)),
        (false, false) => format!(
            "{}, credential of {} changed",
            added_and_removed(&old, &new, "the order"),
            shortened(&changed)
        ),
        (true, _) => added_and_removed(&old, &new, "the order"),
    })
}

fn api_keys(before: &[ApiKey], after: &[ApiKey]) -> Option<String> {
    let names = |keys: &[ApiKey]| keys.iter().map(|key| key.name.clone()).collect::<Vec<_>>();
    Some(added_and_removed(
        &names(before),
        &names(after),
        "a hash, or a bound,",
    ))
}

fn certificates(before: &[CertificateFiles], after: &[CertificateFiles]) -> Option<String> {
    let texts = |all: &[CertificateFiles]| all.iter().map(Show::show).collect::<Vec<_>>();
    let (before, after) = (texts(before), texts(after));
    Some(added_and_removed(
        &before,
        &after,
        "the order, or the password of a key",
    ))
}

/// Where a rule stands in the file is no difference.
fn peers(before: &PeerRules, after: &PeerRules) -> Option<String> {
    let texts = |rules: &PeerRules| {
        let allowed = rules
            .allowed
            .iter()
            .map(|rule| format!("allow {}", rule.show()));
        let denied = rules
            .denied
            .iter()
            .map(|rule| format!("deny {}", rule.show()));
        let loopback = rules.allow_loopback.then(|| "allow loopback".to_owned());
        allowed.chain(denied).chain(loopback).collect::<Vec<_>>()
    };
    let (before, after) = (texts(before), texts(after));
    (before != after).then(|| added_and_removed(&before, &after, "the order"))
}

impl Show for bool {
    fn show(&self) -> String {
        if *self { "on" } else { "off" }.to_owned()
    }
}

impl Show for Duration {
    fn show(&self) -> String {
        format!("{} s", self.as_secs())
    }
}

impl Show for PathBuf {
    fn show(&self) -> String {
        self.display().to_string()
    }
}

impl Show for RangeInclusive<u16> {
    fn show(&self) -> String {
        format!("{}-{}", self.start(), self.end())
    }
}

impl<T: Show> Show for Option<T> {
    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "none".to_owned(), Show::show)
    }
}

impl<T: Show> Show for Vec<T> {
    fn show(&self) -> String {
        let items: Vec<_> = self.iter().map(Show::show).collect();
        match items.is_empty() {
            true => "none".to_owned(),
            false => items.join(" "),
        }
    }
}

impl Show for ExternalIp {
    fn show(&self) -> String {
        match self.private {
            Some(private) => format!("{}/{private}", self.public),
            None => self.public.to_string(),
        }
    }
}

impl Show for Listener {
    fn show(&self) -> String {
        let place = match self.address {
            Some(ip) => SocketAddr::new(ip, self.port).to_string(),
            None => format!("port {}", self.port),
        };
        let proxied = if self.proxied { " behind a proxy" } else { "" };
        format!("{} {place}{proxied}", self.transport)
    }
}

impl Show for CertificateFiles {
    fn show(&self) -> String {
        format!("{} with {}", self.cert.display(), self.key.display())
    }
}

impl Show for PeerRule {
    fn show(&self) -> String {
        // What an earlier rule has cut off is a difference, and is not in the text.
        let range = match self.first == self.last {
            true => self.first.to_string(),
            false => format!("{}-{}", self.first, self.last),
        };
        match &self.name {
            Some(name) => format!("`{name}` {range}"),
            None => range,
        }
    }
}

impl Show for DefaultFamily {
    fn show(&self) -> String {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Keep => "keep",
        }
        .to_owned()
    }
}

impl Show for MetricsSettings {
    fn show(&self) -> String {
        let tls = if self.certificate.is_some() {
            " with TLS"
        } else {
            ""
        };
        format!("{}{}{tls}", self.address, self.path)
    }
}

impl Show for RestSettings {
    fn show(&self) -> String {
        let tls = if self.certificate.is_some() {
            " with TLS"
        } else {
            ""
        };
        match &self.door {
            RestDoor::Tcp(address) => format!("{address}{tls}"),
            RestDoor::Unix(path) => format!("{}{tls}", path.display()),
        }
    }
}

impl Show for ProcessName {
    fn show(&self) -> String {
        self.name.clone()
    }
}

impl Show for AdminSocket {
    fn show(&self) -> String {
        match self {
            Self::Usual => Self::USUAL_PATH.to_owned(),
            Self::At(path) => path.show(),
            Self::Off => "none".to_owned(),
        }
    }
}

impl Show for StrictExpiry {
    fn show(&self) -> String {
        match self {
            Self::Off => "off",
            Self::Refresh => "refresh",
            Self::Expiry => "expiry",
        }
        .to_owned()
    }
}

impl Show for LogLevel {
    fn show(&self) -> String {
        match self {
            Self::Error => "error",
            Self::Warn => "warning",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
        .to_owned()
    }
}

impl Show for NatDiscovery {
    fn show(&self) -> String {
        format!(
            "{} on {} and {}",
            self.ips.show(),
            self.port,
            self.alternate_port
        )
    }
}

impl Show for Alternates {
    fn show(&self) -> String {
        let lists = [
            ("", &self.any),
            ("udp ", &self.udp),
            ("tcp ", &self.tcp),
            ("tls ", &self.tls),
        ];
        let lists: Vec<_> = lists
            .into_iter()
            .filter(|(_, list)| !list.is_empty())
            .map(|(kind, list)| format!("{kind}{}", list.show()))
            .collect();
        match lists.is_empty() {
            true => "none".to_owned(),
            false => lists.join(", "),
        }
    }
}

macro_rules! show_as_written {
    ($($type:ty),*) => {
        $(
            impl Show for $type {
                fn show(&self) -> String {
                    self.to_string()
                }
            }
        )*
    };
}

show_as_written!(usize, char, String, IpAddr, SocketAddr, IpNet, NonZeroUsize);

/// Items named in one line.
const SHOWN_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::turnserver_conf;

    fn settings(text: &str) -> Settings {
        let outcome = turnserver_conf(Path::new("turnserver.conf"), text, &[]);
        outcome.settings.expect("the settings are good")
    }

    fn changes(before: &str, after: &str) -> Vec<String> {
        let changes = settings(before).changes(&settings(after));
        let told = changes.iter().map(|change| match change.applies {
            Applies::Live => change.to_string(),
            Applies::Restart => format!("{change} (restart)"),
        });
        told.collect()
    }

    #[test]
    fn changes_are_told_from_what_to_what() {
        assert_eq!(
            changes(
                "realm=example.org\nuser-quota=5\nno-tls\nlistening-port=3478\nmin-port=50000\n",
                "realm=example.net\nuser-quota=0\nlistening-port=3479\nverbose\nmin-port=50001\nstale-nonce=1200\n",
            ),
            [
                "listening-port: udp port 3479, tcp port 3479 added, udp port 3478, tcp port 3478 removed",
                "min-port: 50000-65535 -> 50001-65535 (restart)",
                "realm: example.org -> example.net",
                "user-quota: 5 -> no limit",
                "no-tls: on -> off",
                "stale-nonce: 600 s -> 1200 s",
                "log-min-level: info -> debug",
            ]
        );
    }

    #[test]
    fn nothing_is_no_change() {
        let text = "realm=example.org\nuser=a:b\ndenied-peer-ip=192.0.2.1\n";
        assert_eq!(changes(text, text), Vec::<String>::new());
        // Lines that were moved mean the same.
        assert_eq!(
            changes(
                text,
                "denied-peer-ip=192.0.2.1\nrealm=example.org\nuser=a:b\n"
            ),
            Vec::<String>::new()
        );
    }

    #[test]
    fn no_secret_is_told() {
        let told = changes(
            "static-auth-secret=north\nuser=alice:secret1\nuser=bob:secret2\nrealm=r\n",
            "static-auth-secret=south\nuser=alice:secret3\nuser=carol:secret4\nrealm=r\n",
        );
        assert_eq!(
            told,
            [
                "static-auth-secret: changed",
                "user: carol added, bob removed, credential of alice changed",
            ]
        );
    }

    #[test]
    fn peer_rules_are_told_one_by_one() {
        assert_eq!(
            changes(
                "denied-peer-ip=192.0.2.1\n",
                "allowed-peer-ip=10.0.0.0-10.0.0.9\nallow-loopback-peers\n"
            ),
            [
                "denied-peer-ip: allow 10.0.0.0-10.0.0.9, allow loopback added, deny 192.0.2.1 removed"
            ]
        );
    }

    #[test]
    fn long_lists_are_cut() {
        let users: String = (0..20).map(|i| format!("user=u{i}:p\n")).collect();
        assert_eq!(
            changes("", &format!("realm=r\n{users}"))[1],
            "user: u0, u1, u2, u3, u4, u5, u6, u7 and 12 more added"
        );
    }

    #[test]
    fn what_needs_a_restart_stays() {
        let before = settings("relay-threads=2\nrealm=a\nlog-file=/tmp/a\n");
        let after = settings("relay-threads=3\nrealm=b\nlog-file=/tmp/b\nverbose\n");
        let merged = after.clone().without_restart(&before);
        assert_eq!(merged.shards, before.shards);
        assert_eq!(merged.realm.as_deref(), Some("b"));
        assert_eq!(merged.log.level, LogLevel::Debug);
        assert_eq!(merged.log, after.log);
        // What is left to do after a reload is nothing but restarts.
        assert!(
            before
                .changes(&merged)
                .iter()
                .all(|c| c.applies == Applies::Live)
        );
    }
}
