//! Where this server does otherwise than coturn would have done with the same file. Owns what is said at start about
//! them; changes nothing.

use std::net::IpAddr;
use std::num::NonZeroU32;

use ipnet::IpNet;

use crate::draft::Draft;
use crate::listener::Transport;
use crate::settings::{AuthAsked, Difference, LogTarget};

/// The differences that this draft gives rise to, the weightiest first.
pub(crate) fn differences(draft: &Draft) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut add = |text: String, line| found.push(Difference { text, line });
    let settings = &draft.settings;
    let line_of = |name| draft.place_of(name).line();

    match settings.auth_asked {
        AuthAsked::Nothing => add(
            "no credentials are configured: coturn relays for anyone, this server makes up a secret".to_owned(),
            None,
        ),
        AuthAsked::Both => add(
            "the secret and the accounts of `user` may both authenticate; in coturn the secret alone does".to_owned(),
            line_of("user"),
        ),
        AuthAsked::Secret | AuthAsked::LongTerm | AuthAsked::Anonymous => {}
    }
    let closed = closed_here(draft);
    if !closed.is_empty() && !settings.stun_only {
        add(
            format!(
                "peers in {} are refused, which coturn lets through with this file; `allowed-peer-ip` opens an address",
                closed.join(", ")
            ),
            None,
        );
    }
    if settings.certificates.len() > 1 {
        add(
            "each `cert` is used with its `pkey`, and the name that a client asks for chooses; coturn has the last pair alone"
                .to_owned(),
            line_of("cert"),
        );
    }
    for name in ["tcp-proxy-port", "tls-proxy-port"] {
        if draft.is_given(name) {
            add(
                format!(
                    "on `{name}` none but `proxy-trusted` may connect, and TLS is served as well; {}",
                    match name {
                        "tcp-proxy-port" => "coturn lets anyone in, without TLS",
                        _ => "coturn has no such key",
                    }
                ),
                line_of(name),
            );
        }
    }
    if let Some(external) = settings
        .external_ips
        .iter()
        .find_map(|external| external.private)
    {
        add(
            format!(
                "the private address {external} of `external-ip` is not opened as a peer: of this host, clients reach \
                 relayed addresses alone"
            ),
            line_of("external-ip"),
        );
    }
    if !draft.is_given("user-quota") {
        add(
            "a user may hold 12 allocations; coturn sets no limit (`user-quota=0`)".to_owned(),
            None,
        );
    }
    if !draft.is_given("total-quota") {
        add(
            "the server holds at most 1200 allocations; coturn sets no limit (`total-quota=0`)"
                .to_owned(),
            None,
        );
    }
    if !draft.is_given("max-connections")
        && (settings.listens(Transport::Tcp) || settings.serves_tls())
    {
        add(
            format!(
                "the server holds at most {} connections; coturn sets no limit (`max-connections`)",
                settings.connections_max
            ),
            None,
        );
    }
    if !draft.is_given("no-tcp-relay") && !settings.stun_only {
        add(
            "TCP allocations (RFC 6062) are refused; coturn grants them".to_owned(),
            None,
        );
    }
    if !draft.is_given("unauthorized-ratelimit") {
        add(
            format!(
                "401 answers are limited to {} a second and source; coturn does so if told to",
                settings.unauthorized_rate.map_or(0, NonZeroU32::get)
            ),
            None,
        );
    }
    if settings.log.target == LogTarget::Stdout && !draft.is_given("log-file") {
        add(
            "the log goes to standard output; coturn writes a file below /var/log".to_owned(),
            None,
        );
    }
    found
}

/// Built-in refusals that neither a `denied-peer-ip` of the file has too nor an `allowed-peer-ip` opens.
fn closed_here(draft: &Draft) -> Vec<&'static str> {
    let peers = &draft.settings.peers;
    let within = |net: &IpNet| {
        let ends: [IpAddr; 2] = [net.network(), net.broadcast()];
        let mut rules = peers.denied.iter().chain(&peers.allowed);
        rules.any(|rule| ends.iter().all(|end| rule.contains(*end)))
    };
    OPEN_IN_COTURN
        .iter()
        .filter(|text| !text.parse::<IpNet>().is_ok_and(|net| within(&net)))
        .copied()
        .collect()
}

/// Ranges refused here that coturn 4.17 lets through unless the file denies them.
const OPEN_IN_COTURN: [&str; 12] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "240.0.0.0/4",
    "64:ff9b::/96",
    "2002::/16",
];
