//! The server on one screen, and in seven lines.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs;

use serde::Serialize;
use serde_json::{Value, json};

use turnbuckle_relay::PortUsage;

use crate::health::{Health, Status};
use crate::metrics::{Scrape, drops};
use crate::shard::Report;

/// What is told of a certificate, beside its state.
#[derive(Serialize)]
struct Certificate {
    path: String,
    names: Vec<String>,
    not_after_unix_seconds: u64,
    /// Negative once it has expired.
    expires_in_seconds: i64,
}

/// `turnctl status`, from two scrapes with some time between them.
pub(super) fn status(before: &Scrape, now: &Scrape, health: &Health) -> Value {
    let seconds = now.uptime.saturating_sub(before.uptime).as_secs_f64();
    let seconds = if seconds > 0.0 { seconds } else { 1.0 };
    let (earlier, total) = (before.total(), now.total());
    let allocations = now.allocations();
    let rate = |of: fn(&Report) -> u64| of(&total).saturating_sub(of(&earlier)) as f64 / seconds;
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "state": health.state,
        "uptime_seconds": now.uptime.as_secs(),
        "sessions": {
            "live": now.held,
            "limit": now.limits.total,
            "udp": allocations.udp,
            "tcp": allocations.tcp,
            "tls": allocations.tls,
            "dtls": allocations.dtls,
        },
        "relay_ports": {
            "free": now.ports.iter().map(PortUsage::free).sum::<usize>(),
            "total": now.ports.iter().map(|usage| usage.all).sum::<usize>(),
        },
        "traffic": {
            "over_seconds": seconds,
            "to_peers": {
                "bits_per_second": 8.0 * rate(|report| report.stats.bytes_to_peers),
                "packets_per_second": rate(|report| report.stats.packets_to_peers),
            },
            "to_clients": {
                "bits_per_second": 8.0 * rate(|report| report.stats.bytes_to_clients),
                "packets_per_second": rate(|report| report.stats.packets_to_clients),
            },
        },
        "drops": most_dropped(&earlier, &total, seconds),
        "certificates": certificates(now),
        "health": findings(health),
    })
}

/// `turnctl info`.
pub(super) fn info(scrape: &Scrape) -> Value {
    let total = scrape.total();
    let threads = fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    let system = match fs::read_to_string("/proc/sys/kernel/osrelease") {
        Ok(release) => format!("Linux {}", release.trim()),
        // A sandbox may hide it.
        Err(_) => "Linux".to_owned(),
    };
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "system": system,
        "uptime_seconds": scrape.uptime.as_secs(),
        "sessions": scrape.held,
        "threads": threads,
        "cpu_seconds": scrape.process.cpu_seconds.unwrap_or(0.0),
        "resident_memory_bytes": scrape.process.resident_bytes.unwrap_or(0),
        "queue_drops": {
            "kernel_receive": scrape.kernel_drops(),
            "between_shards": total.ring_full,
            "slow_readers": total.slow_reader,
            "log": total.events_lost,
        },
    })
}

/// The five reasons that most was dropped for since the start.
fn most_dropped(earlier: &Report, total: &Report, seconds: f64) -> Vec<Value> {
    let before: BTreeMap<&str, u64> = drops(earlier).collect();
    let mut all: Vec<(&str, u64)> = drops(total).filter(|(_, count)| *count > 0).collect();
    all.sort_by_key(|&(name, count)| (Reverse(count), name));
    all.truncate(DROPS_TOLD);
    all.into_iter()
        .map(|(reason, count)| {
            let since = count.saturating_sub(before.get(reason).copied().unwrap_or(0));
            json!({ "reason": reason, "count": count, "per_second": since as f64 / seconds })
        })
        .collect()
}

fn certificates(scrape: &Scrape) -> Vec<Certificate> {
    scrape
        .certificates
        .iter()
        .map(|certificate| Certificate {
            path: certificate.path.display().to_string(),
            names: certificate.names.clone(),
            not_after_unix_seconds: certificate.not_after,
            expires_in_seconds: i64::try_from(
                i128::from(certificate.not_after) - i128::from(scrape.now_unix),
            )
            .unwrap_or(i64::MAX),
        })
        .collect()
}

/// What somebody should look at.
fn findings(health: &Health) -> Vec<Value> {
    let severity = |status| match status {
        Status::Ok => None,
        Status::Warning => Some("warning"),
        Status::Critical => Some("critical"),
    };
    health
        .checks
        .iter()
        .filter_map(|check| {
            let severity = severity(check.status)?;
            Some(json!({
                "severity": severity,
                "text": format!("{}: {}", check.name, check.figure),
                "help": check.advice,
            }))
        })
        .collect()
}

const DROPS_TOLD: usize = 5;
