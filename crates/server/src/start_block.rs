//! What the operator is told at start: everything that matters for safety, in one block that can be compared between versions.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;

use turnbuckle_config::{DefaultFamily, Settings, rate_in_words};
use turnbuckle_proto::rest;

use crate::deployment::{Deployment, StreamAddress};

/// The block, ending in a newline. Holds no secret.
pub(crate) fn start_block(
    settings: &Settings,
    deployment: &Deployment,
    file: Option<&Path>,
) -> String {
    let mut block = Block::default();
    block.row(
        "settings",
        &match file {
            Some(file) => file.display().to_string(),
            None => "defaults; no configuration file".to_owned(),
        },
    );
    for line in clients(settings, deployment) {
        block.row("clients", &line);
    }
    block.row("relays at", &relays_at(settings, deployment));
    block.row("may log in", &may_log_in(settings, deployment));
    for line in peers(settings) {
        block.row("peers", &line);
    }
    block.row("limits", &limits(settings));
    for line in rates(settings) {
        block.row("limits", &line);
    }
    for difference in &settings.differences {
        let place = difference
            .line
            .map_or_else(String::new, |line| format!(" (line {line})"));
        block.row("unlike coturn", &format!("{}{place}", difference.text));
    }
    block.0
}

/// A credential to try the server with, for when its secret was made up: `unix` is now.
pub(crate) fn first_steps(deployment: &Deployment, unix: u64) -> Option<String> {
    let secret = deployment.made_up_secret.as_ref()?;
    let username = rest::username(
        unix.saturating_add(FIRST_CREDENTIAL_SECONDS),
        Some("try"),
        deployment.config.credentials.separator,
    );
    let ice = serde_json::json!({
        "urls": [deployment.public_uri()?],
        "username": username,
        "credential": rest::password(secret.as_bytes(), &username).as_str(),
    });
    Some(format!(
        "\nNo credentials are configured, so a secret was made up for this run; it is kept in memory only.\n\
         To try the server, paste this RTCIceServer into a WebRTC page. It is good for an hour:\n\n  \
         {ice}\n\n\
         To keep a secret, write a file, start with it, and have turnctl make as many credentials as you like:\n\n  \
         echo \"static-auth-secret=$(openssl rand -hex 32)\" > turnserver.conf\n  \
         turnbuckle -c turnserver.conf\n  \
         turnctl credentials -c turnserver.conf --format ice\n"
    ))
}

#[derive(Default)]
struct Block(String);

impl Block {
    fn row(&mut self, name: &str, text: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "  {name:<13} {text}");
    }
}

fn clients(settings: &Settings, deployment: &Deployment) -> Vec<String> {
    let list = |addresses: &mut dyn Iterator<Item = std::net::SocketAddr>| {
        let all: Vec<String> = addresses.map(|a| a.to_string()).collect();
        all.join(", ")
    };
    let streams = |proxied: bool, for_tls: bool| {
        let wanted = move |s: &&StreamAddress| s.proxied == proxied && s.for_tls == for_tls;
        list(&mut deployment.streams.iter().filter(wanted).map(|s| s.address))
    };
    let dtls = if settings.dtls { " and dtls" } else { "" };
    [
        (
            format!("udp{dtls}"),
            list(&mut deployment.udp.iter().copied()),
        ),
        ("tcp".to_owned(), streams(false, false)),
        ("tls".to_owned(), streams(false, true)),
        ("tcp behind a proxy".to_owned(), streams(true, false)),
        ("tls behind a proxy".to_owned(), streams(true, true)),
    ]
    .into_iter()
    .filter(|(_, addresses)| !addresses.is_empty())
    .map(|(transport, addresses)| format!("{transport} {addresses}"))
    .collect()
}

fn relays_at(settings: &Settings, deployment: &Deployment) -> String {
    if settings.stun_only {
        return "nothing: stun-only".to_owned();
    }
    let addresses: Vec<String> = deployment
        .relay_addresses
        .iter()
        .map(|a| match a.local == a.advertised {
            true => a.local.to_string(),
            false => format!("{} (local {})", a.advertised, a.local),
        })
        .collect();
    let ports = &settings.relay_ports;
    let family = match settings.default_family {
        DefaultFamily::Ipv4 => "",
        DefaultFamily::Ipv6 => "; IPv6 unless asked otherwise",
        DefaultFamily::Keep => "; the client's own family unless asked otherwise",
    };
    format!(
        "{}, {} ports {} to {}{family}",
        addresses.join(", "),
        match (settings.udp_relay, settings.tcp_relay) {
            (true, true) => "udp and tcp",
            (false, true) => "tcp",
            (_, false) => "udp",
        },
        ports.start(),
        ports.end()
    )
}

fn may_log_in(settings: &Settings, deployment: &Deployment) -> String {
    if settings.anonymous {
        return "ANYONE, without credentials (no-auth): an open relay".to_owned();
    }
    let mut who = Vec::new();
    match settings.secrets.len() {
        0 if deployment.made_up_secret.is_some() => {
            who.push("holders of credentials from the secret made up for this run".to_owned());
        }
        0 => {}
        1 => who.push("holders of credentials from the shared secret".to_owned()),
        n => who.push(format!("holders of credentials from {n} shared secrets")),
    }
    match settings.users.len() {
        0 => {}
        1 => who.push("1 user of the file".to_owned()),
        n => who.push(format!("{n} users of the file")),
    }
    format!("{}; realm {}", who.join(", "), deployment.config.realm)
}

fn peers(settings: &Settings) -> Vec<String> {
    let mut lines = vec![
        "refused: every address that is no public host, and this host but for its relays"
            .to_owned(),
    ];
    let list = |rules: &[turnbuckle_config::PeerRule]| {
        let shown: Vec<&str> = rules
            .iter()
            .take(SHOWN_RULES)
            .map(|r| r.text.as_str())
            .collect();
        let rest = rules.len().saturating_sub(SHOWN_RULES);
        let more = if rest == 0 {
            String::new()
        } else {
            format!(" and {rest} more")
        };
        format!("{}{more}", shown.join(", "))
    };
    if !settings.peers.denied.is_empty() {
        lines.push(format!(
            "refused by the file: {}",
            list(&settings.peers.denied)
        ));
    }
    if !settings.peers.allowed.is_empty() {
        lines.push(format!(
            "OPENED by the file: {}",
            list(&settings.peers.allowed)
        ));
    }
    if settings.peers.allow_loopback {
        lines.push("OPENED by the file: loopback (allow-loopback-peers)".to_owned());
    }
    lines
}

fn limits(settings: &Settings) -> String {
    let limit = |quota: Option<std::num::NonZeroU32>| {
        quota.map_or_else(|| "unlimited".to_owned(), |n| n.to_string())
    };
    format!(
        "allocations: {} a user, {} in all; lifetime at most {} s{}",
        limit(settings.user_quota),
        limit(settings.total_quota),
        settings.max_allocate_lifetime.as_secs(),
        if settings.tcp_relay {
            ""
        } else {
            "; no TCP relay"
        }
    )
}

fn rates(settings: &Settings) -> Vec<String> {
    let Some(rate) = settings.max_rate else {
        return Vec::new();
    };
    let mut lines = vec![format!(
        "rate: an allocation at most {} in each direction",
        rate_in_words(rate.get())
    )];
    if let Some(capacity) = settings.capacity {
        lines.push(format!(
            "rate: {} in all, room for {} allocations",
            rate_in_words(capacity.get()),
            (capacity.get() / rate.get()).max(1)
        ));
    }
    lines
}

/// Addresses that look public in an advertisement but are not.
pub(crate) fn warn_of_private_advertisement(deployment: &Deployment) -> Option<String> {
    let private: Vec<IpAddr> = deployment
        .relay_addresses
        .iter()
        .map(|a| a.advertised)
        .filter(|ip| {
            turnbuckle_relay::special_ranges()
                .iter()
                .any(|r| r.net.contains(ip))
        })
        .collect();
    let first = private.first()?;
    (private.len() == deployment.relay_addresses.len()).then(|| {
        format!(
            "clients are told the relay address {first}, which is not reached from the Internet; if this host is behind a NAT, \
             put the public address into external-ip"
        )
    })
}

const FIRST_CREDENTIAL_SECONDS: u64 = 3600;
const SHOWN_RULES: usize = 8;
