//! Rules that span several keys, once all are known. Owns the last steps from a draft to settings; reads no text.

mod bandwidth;
mod listeners;
mod nat_discovery;

use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroUsize};

use crate::apply::external_address;
use crate::diagnostic::Severity;
use crate::differences::differences;
use crate::draft::{Draft, Format, Given, Place};
#[cfg(feature = "eturnal")]
use crate::eturnal;
use crate::files::{self, Files};
use crate::metrics;
use crate::peer::PeerRule;
use crate::rest;
use crate::settings::{AuthAsked, DefaultFamily, ExternalIp, LogLevel, LogTarget};
use crate::user::UserCredential;

/// Fills in what follows from several keys, and reports where they contradict each other.
pub(crate) fn finish(draft: &mut Draft, host: Option<&dyn Files>) {
    files::load(draft, host);
    listeners::check(draft);
    nat_discovery::check(draft);
    ports(draft);
    addresses(draft);
    authentication(draft);
    service(draft);
    lifetimes(draft);
    bandwidth::check(draft);
    peers(draft);
    log(draft);
    metrics::check(draft);
    rest::check(draft);
    draft.settings.shards = match (draft.threads, draft.cpus) {
        // No extra thread still leaves the one that does everything.
        (Some(threads), _) => NonZeroUsize::new(threads.max(1)),
        (None, cpus) => cpus.and_then(NonZeroUsize::new),
    };
    draft.settings.unauthorized_rate = match draft.unauthorized_rate.and_then(NonZeroU32::new) {
        _ if !draft.unauthorized_limit => None,
        Some(rate) => Some(rate),
        None => draft.settings.unauthorized_rate,
    };
    // What another server would have done with a file of ours is no question.
    draft.settings.differences = match draft.format {
        Format::Conf if draft.has_file() => differences(draft),
        #[cfg(feature = "eturnal")]
        Format::Eturnal => eturnal::differences(draft),
        _ => Vec::new(),
    };
}

fn ports(draft: &mut Draft) {
    let (first, last) = draft.settings.relay_ports.clone().into_inner();
    let first = draft.min_port.unwrap_or(first);
    let last = draft.max_port.unwrap_or(last);
    let place = draft.place_of(if draft.max_port.is_some() {
        "max-port"
    } else {
        "min-port"
    });
    if first > last {
        let (message, help) = if draft.min_port.is_some() {
            (
                format!("`max-port` {last} is below `min-port` {first}"),
                "exchange the two numbers",
            )
        } else {
            (
                format!("`max-port` {last} is below {first}, which `min-port` is if not given"),
                "give `min-port` as well",
            )
        };
        draft.report_at(&place, Severity::Error, message, help);
        return;
    }
    draft.settings.relay_ports = first..=last;
    for (name, port) in udp_ports(draft) {
        if (first..=last).contains(&port) {
            let place = if place == Place::default() {
                draft.place_of(name)
            } else {
                place.clone()
            };
            draft.report_at(
                &place,
                Severity::Warning,
                format!("the relay ports {first} to {last} include {port}, the port of `{name}`"),
                "choose relay ports that leave it out",
            );
        }
    }
    let count = u32::from(last - first) + 1;
    if let Some(quota) = draft
        .settings
        .total_quota
        .filter(|quota| quota.get() > count)
    {
        let default = if draft.is_given("total-quota") {
            ""
        } else {
            ", its default"
        };
        let place = if place == Place::default() {
            draft.place_of("total-quota")
        } else {
            place
        };
        draft.report_at(
            &place,
            Severity::Warning,
            format!("there are {count} relay ports for an address, but `total-quota` is {quota}{default}"),
            "open more ports, or set `total-quota` to what the ports allow; beyond them clients get 508",
        );
    }
}

/// The ports that datagrams of clients arrive at, with the key each comes from.
fn udp_ports(draft: &Draft) -> Vec<(&'static str, u16)> {
    let mut ports: Vec<_> = draft
        .planned
        .iter()
        .filter(|(listener, _)| listener.transport.is_datagram())
        .map(|&(listener, name)| (name, listener.port))
        .collect();
    let discovery = draft.settings.nat_discovery.as_ref();
    ports.extend(discovery.map(|discovery| ("rfc5780", discovery.alternate_port)));
    ports.dedup();
    ports
}

fn addresses(draft: &mut Draft) {
    let relay_ips = draft.settings.relay_ips.clone();
    if relay_ips.is_empty() {
        return;
    }
    for external in draft.settings.external_ips.clone() {
        let (message, help) = match external.private {
            Some(private) if !relay_ips.contains(&private) => (
                format!(
                    "the private address `{private}` is no `relay-ip`, so the pair has no effect"
                ),
                "pair each `relay-ip` with the public address it is reached by",
            ),
            None if !relay_ips
                .iter()
                .any(|ip| ip.is_ipv4() == external.public.is_ipv4()) =>
            {
                (
                    format!(
                        "no `relay-ip` is of the family of `{}`, so it has no effect",
                        external.public
                    ),
                    "add a `relay-ip` of this family, or leave out `relay-ip`",
                )
            }
            Some(_) | None => continue,
        };
        let place = place_of_address(draft, external);
        draft.report_at(&place, Severity::Warning, message, help);
    }
}

fn place_of_address(draft: &Draft, external: ExternalIp) -> Place {
    let same = |given: &&Given| {
        given.key.name == "external-ip" && external_address(given.text.expose()) == Ok(external)
    };
    draft
        .given
        .iter()
        .find(same)
        .map(|given| given.place.clone())
        .unwrap_or_default()
}

fn authentication(draft: &mut Draft) {
    let secret_given =
        !draft.settings.secrets.is_empty() || !draft.settings.secret_files.is_empty();
    let secret = draft.secret || secret_given;
    let accounts = !draft.settings.users.is_empty() || !draft.settings.user_files.is_empty();
    if draft.settings.anonymous {
        draft.settings.auth_asked = AuthAsked::Anonymous;
        let place = draft.place_of("no-auth");
        let asks = [
            (draft.long_term, "lt-cred-mech"),
            (draft.secret, "use-auth-secret"),
            (secret, "static-auth-secret"),
            (accounts, "user"),
        ];
        if let Some((_, asks)) = asks.into_iter().find(|(asked, _)| *asked) {
            draft.report_at(
                &place,
                Severity::Error,
                format!("`no-auth` lets anyone relay, while `{asks}` asks for credentials"),
                "remove one of them",
            );
        } else {
            draft.report_at(
                &place,
                Severity::Warning,
                "anyone may relay through this server",
                "for anything but a test write `use-auth-secret` and `static-auth-secret=…` instead of `no-auth`",
            );
        }
        return;
    }
    draft.settings.auth_asked = match (secret, accounts) {
        (true, true) => AuthAsked::Both,
        (true, false) => AuthAsked::Secret,
        (false, true) => AuthAsked::LongTerm,
        (false, false) => AuthAsked::Nothing,
    };
    // A broken `user` line is reported already; that none is left is not one more error.
    if draft.long_term && !secret && !accounts && !draft.is_given("user") {
        let place = draft.place_of("lt-cred-mech");
        draft.report_at(
            &place,
            Severity::Error,
            "`lt-cred-mech` asks for accounts, but there is no `user`, so nobody could authenticate",
            "add `user=name:password`, or write `use-auth-secret` and `static-auth-secret=…`",
        );
    }
    if draft.secret && !secret_given && !draft.is_given("static-auth-secret") {
        let place = draft.place_of("use-auth-secret");
        draft.report_at(
            &place,
            Severity::Warning,
            "`use-auth-secret` without `static-auth-secret`: the server makes up a secret at each start",
            "add `static-auth-secret=` and what `openssl rand -hex 32` prints",
        );
    }
    realm(draft);
}

// compliance: 8656-5-02
fn realm(draft: &mut Draft) {
    let realm = draft.settings.realm.as_deref().unwrap_or_default();
    if realm.len() > REALM_ANSWERED_LEN {
        let place = draft.place_of("realm");
        draft.report_at(
            &place,
            Severity::Warning,
            "the realm is so long that the shortest requests are not challenged: the answer would be too much larger",
            "use a realm of at most 48 bytes",
        );
    }
    if draft.settings.realm.is_some() || draft.settings.users.is_empty() || draft.is_given("realm")
    {
        return;
    }
    let place = draft.place_of("user");
    let has_keys = draft
        .settings
        .users
        .iter()
        .any(|user| matches!(user.credential, UserCredential::Key(_)));
    if has_keys {
        draft.report_at(
            &place,
            Severity::Error,
            "an account is given by its key, but there is no `realm`",
            "add the `realm` that the key was made with: it is MD5(name:realm:password)",
        );
    } else {
        draft.report_at(
            &place,
            Severity::Warning,
            "there are accounts but no `realm`; it is `turnbuckle` then",
            "add `realm=example.org` with the domain of the server",
        );
    }
}

fn service(draft: &mut Draft) {
    if draft.settings.stun_only && !draft.settings.stun {
        let place = draft.place_of("no-stun");
        draft.report_at(
            &place,
            Severity::Error,
            "`stun-only` and `no-stun` leave nothing to serve",
            "remove one of them",
        );
    }
    let settings = &draft.settings;
    if !settings.udp_relay && !settings.tcp_relay && !settings.stun_only {
        let place = draft.place_of("no-udp-relay");
        draft.report_at(
            &place,
            Severity::Error,
            "`no-udp-relay` leaves nothing to relay: TCP is relayed only where `no-tcp-relay=0` is written",
            "write `no-tcp-relay=0`, or `stun-only` for a server that does not relay",
        );
    }
    if draft.settings.secure_stun && draft.settings.anonymous {
        let place = draft.place_of("secure-stun");
        draft.report_at(
            &place,
            Severity::Error,
            "`secure-stun` wants credentials for Binding, while `no-auth` has none",
            "remove one of them",
        );
    }
}

fn lifetimes(draft: &mut Draft) {
    let permission = draft.settings.permission_lifetime.as_secs();
    if permission != 300 {
        let place = draft.place_of("permission-lifetime");
        draft.report_at(
            &place,
            Severity::Warning,
            format!("permissions last {permission} s; clients count on the 300 s of RFC 8656 §9"),
            "remove the line",
        );
    }
    let channel = draft.settings.channel_lifetime.as_secs();
    if channel != 600 {
        let place = draft.place_of("channel-lifetime");
        draft.report_at(
            &place,
            Severity::Warning,
            format!(
                "channel bindings last {channel} s; clients count on the 600 s of RFC 8656 §12"
            ),
            "remove the line",
        );
    }
    draft.settings.default_family = match draft.family {
        Some("ipv6") => DefaultFamily::Ipv6,
        Some("keep") => DefaultFamily::Keep,
        Some(_) => DefaultFamily::Ipv4,
        None if draft.keep_family => DefaultFamily::Keep,
        None => DefaultFamily::Ipv4,
    };
    if draft.keep_family && draft.settings.default_family != DefaultFamily::Keep {
        let place = draft.place_of("keep-address-family");
        draft.report_at(
            &place,
            Severity::Warning,
            "`allocation-default-address-family` says otherwise and wins",
            "remove `keep-address-family`",
        );
    }
}

fn peers(draft: &mut Draft) {
    let rules = std::mem::take(&mut draft.peer_rules);
    draft.settings.peers.take_in_order(rules);
    if draft.settings.peers.allow_loopback {
        let place = draft.place_of("allow-loopback-peers");
        draft.report_at(
            &place,
            Severity::Warning,
            "clients reach services on this host that listen on loopback only",
            "remove `allow-loopback-peers` outside of tests",
        );
    }
    let open = draft
        .settings
        .peers
        .allowed
        .iter()
        .find(|rule| is_everything(rule));
    if let Some(rule) = open {
        let (text, line) = (rule.text.clone(), rule.origin.line);
        let place = draft
            .given
            .iter()
            .find(|given| given.key.name == "allowed-peer-ip" && given.place.line() == line)
            .map(|given| given.place.clone())
            .unwrap_or_default();
        draft.report_at(
            &place,
            Severity::Warning,
            format!("`{text}` opens every address of its family, private networks and this host among them"),
            "name the addresses that clients need; public ones are open without a rule",
        );
    }
}

fn is_everything(rule: &PeerRule) -> bool {
    match (rule.first, rule.last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => first.to_bits() == 0 && last.to_bits() == u32::MAX,
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            first.to_bits() == 0 && last.to_bits() == u128::MAX
        }
        _ => false,
    }
}

fn log(draft: &mut Draft) {
    let wanted = match (draft.extra_verbose, draft.verbose) {
        (true, _) => LogLevel::Trace,
        (false, true) => LogLevel::Debug,
        (false, false) => LogLevel::Info,
    };
    let bounded = draft.min_level.map_or(wanted, |least| wanted.min(least));
    draft.settings.log.level = draft.level.unwrap_or(bounded);
    if draft.syslog && draft.log_file.is_some() {
        let place = draft.place_of("log-file");
        draft.report_at(
            &place,
            Severity::Warning,
            "the log goes to the system log, not to this file",
            "remove `log-file` or `syslog`",
        );
    }
    draft.settings.log.target = match (draft.syslog, draft.log_file.take()) {
        (true, _) => LogTarget::Syslog,
        (false, Some(file)) => LogTarget::File(file),
        (false, None) => LogTarget::Stdout,
    };
}

/// A challenge with a realm up to this long is at most 2.7 times an Allocate request without options, on the wire over IPv4.
const REALM_ANSWERED_LEN: usize = 48;
