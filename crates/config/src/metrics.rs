//! Where metrics are served. Owns what the keys of the section come to together; opens no socket and no file.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::certificate::{self, CertificateFiles};
use crate::diagnostic::Severity;
use crate::draft::{Draft, Place};
use crate::fault::Fault;
use crate::rest::overlap;

/// The HTTP listener of metrics, health and dashboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsSettings {
    /// Where it listens (`prometheus-address`, `prometheus-port`). Default 127.0.0.1:9641. The port is never 0.
    pub address: SocketAddr,
    /// Path of the metrics (`prometheus-path`), which begins with a slash. Default `/metrics`.
    pub path: String,
    /// The pair it speaks TLS with (`prometheus-tls`, `prometheus-cert`, `prometheus-key`). Default `None`: plain HTTP.
    pub certificate: Option<CertificateFiles>,
}

impl MetricsSettings {
    /// Whether none but programs on this host can reach it.
    pub fn is_local(&self) -> bool {
        self.address.ip().is_loopback()
    }
}

impl Default for MetricsSettings {
    fn default() -> Self {
        Self {
            address: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), DEFAULT_PORT),
            path: "/metrics".to_owned(),
            certificate: None,
        }
    }
}

/// What the keys say, each on its own.
#[derive(Default)]
pub(crate) struct MetricsDraft {
    pub(crate) on: bool,
    pub(crate) tls: bool,
    pub(crate) listener: MetricsSettings,
    pub(crate) cert: Option<(PathBuf, Place)>,
    pub(crate) key: Option<(PathBuf, Place)>,
}

pub(crate) fn address(draft: &mut Draft, address: IpAddr) -> Result<(), Fault> {
    draft.metrics.listener.address.set_ip(address);
    Ok(())
}

pub(crate) fn path(draft: &mut Draft, text: &str) -> Result<(), Fault> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte);
    if !text.starts_with('/') || !text.bytes().all(plain) || text.len() > PATH_MAX_LEN {
        return Err(Fault::new(format!("`{text}` is no path"))
            .help("write a slash, then letters, digits and `-_.~/`, such as `/metrics`"));
    }
    if TAKEN.contains(&text) {
        return Err(
            Fault::new(format!("`{text}` is served already, and is something else"))
                .help("write another path, such as `/metrics`"),
        );
    }
    text.clone_into(&mut draft.metrics.listener.path);
    Ok(())
}

pub(crate) fn cert(draft: &mut Draft, text: &str) -> Result<(), Fault> {
    let file = certificate::file("prometheus-cert", text)?;
    draft.metrics.cert = Some((file, draft.place.clone()));
    Ok(())
}

pub(crate) fn key(draft: &mut Draft, text: &str) -> Result<(), Fault> {
    let file = certificate::file("prometheus-key", text)?;
    draft.metrics.key = Some((file, draft.place.clone()));
    Ok(())
}

/// Puts the keys together, once listeners and certificates are known.
pub(crate) fn check(draft: &mut Draft) {
    if !draft.metrics.on {
        without_effect(draft);
        return;
    }
    let mut listener = draft.metrics.listener.clone();
    listener.certificate = certificate(draft);
    exposure(draft, &listener);
    clash(draft, listener.address);
    draft.settings.metrics = Some(listener);
}

fn without_effect(draft: &mut Draft) {
    let names = KEYS.iter().filter(|name| draft.is_given(name));
    for name in names.collect::<Vec<_>>() {
        let place = draft.place_of(name);
        draft.report_at(
            &place,
            Severity::Warning,
            format!("`{name}` has no effect without `prometheus`"),
            "add `prometheus`, or remove the line",
        );
    }
}

fn certificate(draft: &mut Draft) -> Option<CertificateFiles> {
    let (cert, key) = (draft.metrics.cert.take(), draft.metrics.key.take());
    let place_of = |file: &Option<(PathBuf, Place)>| file.as_ref().map(|(_, place)| place.clone());
    if !draft.metrics.tls {
        if let Some(place) = place_of(&cert).or_else(|| place_of(&key)) {
            draft.report_at(
                &place,
                Severity::Warning,
                "metrics are served without TLS, so this file is not used",
                "add `prometheus-tls`, or remove the line",
            );
        }
        return None;
    }
    match (cert, key) {
        (Some((cert, _)), Some((key, _))) => Some(CertificateFiles {
            cert,
            key,
            password: draft
                .settings
                .certificates
                .first()
                .and_then(|files| files.password.clone()),
        }),
        (None, None) => {
            let first = draft.settings.certificates.first().cloned();
            if first.is_none() && !draft.is_given("cert") && !draft.is_given("pkey") {
                let place = draft.place_of("prometheus-tls");
                draft.report_at(
                    &place,
                    Severity::Error,
                    "there is no certificate to serve metrics with",
                    "add `prometheus-cert` and `prometheus-key`, or `cert` and `pkey`",
                );
            }
            first
        }
        (cert, key) => {
            let place = place_of(&cert).or_else(|| place_of(&key));
            draft.report_at(
                &place.unwrap_or_default(),
                Severity::Error,
                "`prometheus-cert` and `prometheus-key` belong together, and one is missing",
                "give both; a file that holds both is named in both",
            );
            None
        }
    }
}

fn exposure(draft: &mut Draft, listener: &MetricsSettings) {
    if listener.is_local() {
        return;
    }
    let place = draft.place_of("prometheus-address");
    let address = listener.address;
    draft.report_at(
        &place,
        Severity::Warning,
        format!(
            "whoever reaches {address} is told the numbers of sessions, packets and errors, the addresses of listeners, names and \
             dates of certificates, and the version; no user names and no addresses of clients"
        ),
        "let a firewall admit the monitoring host alone, or remove `prometheus-address`",
    );
}

/// Whether clients are served on this TCP port.
pub(crate) fn is_for_clients(draft: &Draft, address: SocketAddr) -> bool {
    draft.planned.iter().any(|(listener, _)| {
        !listener.transport.is_datagram()
            && listener.port == address.port()
            && listener.address.is_none_or(|ip| overlap(ip, address.ip()))
    })
}

fn clash(draft: &mut Draft, address: SocketAddr) {
    if is_for_clients(draft, address) {
        let place = draft.place_of(if draft.is_given("prometheus-port") {
            "prometheus-port"
        } else {
            "prometheus"
        });
        draft.report_at(
            &place,
            Severity::Error,
            format!("metrics and clients cannot both be served on TCP {address}"),
            "choose another `prometheus-port`",
        );
    }
}

/// The keys that need `prometheus`.
const KEYS: [&str; 6] = [
    "prometheus-port",
    "prometheus-address",
    "prometheus-path",
    "prometheus-tls",
    "prometheus-cert",
    "prometheus-key",
];
/// What else is served there.
const TAKEN: [&str; 6] = [
    "/",
    "/healthz",
    "/readyz",
    "/dashboard.css",
    "/dashboard.js",
    "/dashboard.json",
];
const DEFAULT_PORT: u16 = 9641;
const PATH_MAX_LEN: usize = 128;
