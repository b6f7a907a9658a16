//! The dashboard: one page without anything from elsewhere, and the figures that it draws. Owns what is shown; names no user.

use axum::body::Body;
use axum::http::HeaderValue;
use axum::response::Response;
use serde::Serialize;
use turnbuckle_relay::REJECT_CODES;

use crate::health::Health;
use crate::metrics::{Scrape, drops};

/// What the page asks for every second.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    version: &'static str,
    uptime_seconds: u64,
    health: Health,
    sessions: Sessions,
    users: usize,
    traffic: Traffic,
    /// Since the start; reasons that have not come up are left out.
    drops: Vec<Count>,
    errors: Vec<Count>,
    ports: Vec<Ports>,
    limits: Vec<Limit>,
    certificates: Vec<Certificate>,
    listeners: Vec<Listener>,
    cpu_seconds: Option<f64>,
    resident_bytes: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Sessions {
    udp: usize,
    dtls: usize,
    tcp: usize,
    tls: usize,
}

/// Since the start.
#[derive(Debug, Serialize)]
struct Traffic {
    bytes_to_peers: u64,
    bytes_to_clients: u64,
    packets_to_peers: u64,
    packets_to_clients: u64,
}

#[derive(Debug, Serialize)]
struct Count {
    name: String,
    count: u64,
}

#[derive(Debug, Serialize)]
struct Ports {
    address: String,
    used: usize,
    all: usize,
}

#[derive(Debug, Serialize)]
struct Limit {
    name: &'static str,
    used: u64,
    /// `None` is no limit.
    limit: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Certificate {
    names: Vec<String>,
    not_after: u64,
    days_left: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Listener {
    address: String,
    listener: &'static str,
    received: u64,
    kernel_drops: Option<u64>,
}

impl Figures {
    pub(super) fn of(scrape: &Scrape, health: Health) -> Self {
        let total = scrape.total();
        let live = scrape.allocations();
        let counts = |all: &mut dyn Iterator<Item = (String, u64)>| {
            let mut counts: Vec<_> = all
                .filter(|(_, count)| *count > 0)
                .map(|(name, count)| Count { name, count })
                .collect();
            counts.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.name.cmp(&b.name)));
            counts
        };
        let process = &scrape.process;
        let mut limits = vec![
            Limit {
                name: "allocations",
                used: scrape.held.into(),
                limit: scrape.limits.total.map(|limit| limit.get().into()),
            },
            Limit {
                name: "connections",
                used: scrape.connections() as u64,
                limit: Some(scrape.settings.connections_max as u64),
            },
        ];
        limits.extend(process.open_descriptors.map(|used| Limit {
            name: "descriptors",
            used,
            limit: process.descriptors_max,
        }));
        Self {
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: scrape.uptime.as_secs(),
            health,
            sessions: Sessions {
                udp: live.udp,
                dtls: live.dtls,
                tcp: live.tcp,
                tls: live.tls,
            },
            users: scrape.users,
            traffic: Traffic {
                bytes_to_peers: total.stats.bytes_to_peers,
                bytes_to_clients: total.stats.bytes_to_clients,
                packets_to_peers: total.stats.packets_to_peers,
                packets_to_clients: total.stats.packets_to_clients,
            },
            drops: counts(&mut drops(&total).map(|(name, count)| (name.to_owned(), count))),
            errors: counts(
                &mut REJECT_CODES
                    .iter()
                    .map(|&code| (code.to_string(), total.stats.rejected(code))),
            ),
            ports: scrape
                .ports
                .iter()
                .map(|usage| Ports {
                    address: usage.address.local.to_string(),
                    used: usage.used,
                    all: usage.all,
                })
                .collect(),
            limits,
            certificates: scrape
                .certificates
                .iter()
                .map(|certificate| Certificate {
                    names: certificate.names.clone(),
                    not_after: certificate.not_after,
                    days_left: certificate.days_left(scrape.now_unix),
                })
                .collect(),
            listeners: scrape
                .listeners()
                .into_iter()
                .map(|(address, listener, sums)| Listener {
                    address,
                    listener,
                    received: sums.received,
                    kernel_drops: sums.kernel_drops,
                })
                .collect(),
            cpu_seconds: process.cpu_seconds,
            resident_bytes: process.resident_bytes,
        }
    }
}

pub(super) fn page() -> Response {
    file(
        include_str!("dashboard/page.html"),
        "text/html; charset=utf-8",
    )
}

pub(super) fn style() -> Response {
    file(
        include_str!("dashboard/style.css"),
        "text/css; charset=utf-8",
    )
}

pub(super) fn script() -> Response {
    file(
        include_str!("dashboard/script.js"),
        "text/javascript; charset=utf-8",
    )
}

fn file(text: &'static str, kind: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    for (name, value) in [
        ("content-type", kind),
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cache-control", "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
