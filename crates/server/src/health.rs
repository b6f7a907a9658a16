//! Whether the server is well: one document with a finding for each thing that runs out, breaks or gets lost, and the advice.
//!
//! Owns the bounds and the words. Reads what a [`Scrape`] has; remembers nothing but what was counted some minutes ago.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use turnbuckle_config::Settings;
use turnbuckle_net::ListenerOptions;
use turnbuckle_proto::AddressFamily;

use crate::control::{ShardKind, State};
use crate::metrics::Scrape;

/// The document, as `/readyz` and the admin API have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Health {
    /// The worst of all checks.
    pub(crate) status: Status,
    /// New clients may be sent here: the state is `ready`, and nothing is critical.
    pub(crate) ready: bool,
    /// `starting`, `ready`, `draining` or `stopping`.
    pub(crate) state: &'static str,
    pub(crate) checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    /// A word that stays the same; behind a colon what it is about, where there are several.
    pub(crate) name: String,
    pub(crate) status: Status,
    /// What was found, with its unit.
    pub(crate) figure: String,
    /// What to do; `None` where all is well.
    pub(crate) advice: Option<String>,
}

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Ok,
    /// Somebody should look, and has time to.
    Warning,
    /// Clients are turned away, or are about to be.
    Critical,
}

/// What was counted some minutes ago, so that an old loss is not told for ever. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory(Arc<Mutex<Marks>>);

#[derive(Debug, Default)]
struct Marks {
    before: Mark,
    since: Mark,
}

/// Losses up to a moment.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    uptime: Duration,
    kernel_drops: u64,
    events_lost: u64,
    panics: u64,
}

impl Health {
    pub(crate) fn of(scrape: &Scrape, memory: &Memory) -> Self {
        let mut checks = vec![shards(scrape), state(scrape.state)];
        checks.extend(ports(scrape));
        checks.extend(descriptors(scrape));
        checks.extend(receive_buffer(scrape));
        checks.extend(quota(scrape));
        checks.extend(certificates(scrape));
        checks.push(clock(scrape));
        checks.extend(losses(scrape, memory));
        let worst = checks.iter().map(|check| check.status).max();
        let status = worst.unwrap_or(Status::Ok);
        Self {
            status,
            ready: scrape.state == State::Ready && status != Status::Critical,
            state: word(scrape.state),
            checks,
        }
    }

    /// Every shard serves, whatever else is wrong: a restart would not help.
    pub(crate) fn is_alive(scrape: &Scrape) -> bool {
        scrape.shards.iter().all(|shard| shard.figures.is_some())
    }
}

/// The word for a state.
pub(crate) const fn word(state: State) -> &'static str {
    match state {
        State::Starting => "starting",
        State::Ready => "ready",
        State::Draining => "draining",
        State::Stopping => "stopping",
    }
}

fn shards(scrape: &Scrape) -> Check {
    let all = scrape.shards.len();
    let silent: Vec<String> = scrape
        .shards
        .iter()
        .filter(|shard| shard.figures.is_none())
        .map(|shard| {
            let kind = match shard.kind {
                ShardKind::Udp => "datagrams",
                ShardKind::Stream => "streams",
            };
            format!("{} ({kind})", shard.id.0)
        })
        .collect();
    if silent.is_empty() {
        return Check::ok("shards", format!("{all} of {all} answer"));
    }
    Check::new(
        "shards",
        Status::Critical,
        format!("no answer from shard {}", silent.join(", ")),
        "their clients are not served; keep the log and restart the server",
    )
}

fn state(state: State) -> Check {
    let advice = match state {
        State::Ready => return Check::ok("state", word(state).to_owned()),
        State::Starting => "wait until it is ready",
        State::Draining => "send new clients to another server",
        State::Stopping => "it ends",
    };
    Check::new("state", Status::Warning, word(state).to_owned(), advice)
}

fn ports(scrape: &Scrape) -> Vec<Check> {
    let mut families: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for usage in &scrape.ports {
        let name = match usage.family() {
            AddressFamily::V4 => "relay-ports:ipv4",
            AddressFamily::V6 => "relay-ports:ipv6",
        };
        let (used, all) = families.entry(name).or_default();
        *used += usage.used;
        *all += usage.all;
    }
    families
        .into_iter()
        .map(|(name, (used, all))| {
            let free = all.saturating_sub(used);
            let figure = format!("{free} of {all} free");
            let status = match (free, used * 100 > all * PORTS_USED_PERCENT_MAX) {
                (0, _) => Status::Critical,
                (_, true) => Status::Warning,
                (_, false) => return Check::ok(name, figure),
            };
            let advice = "widen min-port and max-port, and open them in the firewall; without a free port clients get 508";
            Check::new(name, status, figure, advice)
        })
        .collect()
}

fn descriptors(scrape: &Scrape) -> Option<Check> {
    let max = scrape.process.descriptors_max?;
    let open = scrape.process.open_descriptors?;
    let figure = format!("{open} of {max} open");
    let used = open.saturating_mul(100) / max.max(1);
    let wanted = descriptors_wanted(scrape.limits.total);
    let status = match used {
        95.. => Status::Critical,
        80.. => Status::Warning,
        _ if max < wanted => {
            let figure = format!("{max} allowed, {wanted} needed for total-quota");
            let advice = format!(
                "set LimitNOFILE={wanted} in the systemd unit, or ulimit -n; or lower total-quota"
            );
            return Some(Check::new("descriptors", Status::Warning, figure, &advice));
        }
        _ => return Some(Check::ok("descriptors", figure)),
    };
    let advice = "raise LimitNOFILE= in the systemd unit, or ulimit -n; each allocation and connection takes one";
    Some(Check::new("descriptors", status, figure, advice))
}

/// How many descriptors it takes to serve that many allocations at once.
pub(crate) fn descriptors_wanted(allocations: Option<NonZeroU32>) -> u64 {
    allocations.map_or(0, |total| u64::from(total.get())) + RESERVED_DESCRIPTORS
}

fn receive_buffer(scrape: &Scrape) -> Option<Check> {
    let granted = scrape.receive_buffer()?;
    let wanted = receive_buffer_wanted(&scrape.settings);
    if granted >= wanted {
        return Some(Check::ok(
            "receive-buffer",
            format!("{granted} bytes for each listener"),
        ));
    }
    let figure = format!("{granted} bytes granted, {wanted} asked for");
    let advice = format!(
        "bursts may be lost: as root sysctl -w net.core.rmem_max={wanted}, and start the server anew"
    );
    Some(Check::new(
        "receive-buffer",
        Status::Warning,
        figure,
        &advice,
    ))
}

/// Bytes of receive buffer that each listener for datagrams asks the kernel for.
pub(crate) fn receive_buffer_wanted(settings: &Settings) -> usize {
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let default = || ListenerOptions::new(any).receive_buffer;
    settings.socket_buffer.unwrap_or_else(default)
}

fn quota(scrape: &Scrape) -> Option<Check> {
    let limit = scrape.limits.total?.get();
    let held = scrape.held;
    let figure = format!("{held} of {limit} allocations");
    let used = u64::from(held) * 100 / u64::from(limit);
    let status = match used {
        100.. => Status::Critical,
        81.. => Status::Warning,
        _ => return Some(Check::ok("quota", figure)),
    };
    let advice = "raise total-quota if the host has room for more; beyond it clients get 486";
    Some(Check::new("quota", status, figure, advice))
}

fn certificates(scrape: &Scrape) -> Vec<Check> {
    let check = |certificate: &crate::tls::CertificateState| {
        let name = format!("certificate:{}", certificate.name());
        let advice = "renew it and replace its files, which is noticed within seconds";
        match certificate.days_left(scrape.now_unix) {
            None => Check::new(name, Status::Critical, "expired".to_owned(), advice),
            Some(days) => {
                let figure = match days {
                    1 => "1 day left".to_owned(),
                    _ => format!("{days} days left"),
                };
                match days < CERTIFICATE_DAYS_MIN {
                    true => Check::new(name, Status::Warning, figure, advice),
                    false => Check::ok(name, figure),
                }
            }
        }
    };
    scrape.certificates.iter().map(check).collect()
}

fn clock(scrape: &Scrape) -> Check {
    if scrape.now_unix < CLOCK_MIN_UNIX {
        let figure = format!("{} seconds since 1970", scrape.now_unix);
        let advice = "set the clock (timedatectl set-ntp true): time-limited credentials and certificates count on it";
        return Check::new("clock", Status::Critical, figure, advice);
    }
    let moved = scrape.clock_moved();
    let figure = format!("moved by {moved} s since the start");
    if moved.unsigned_abs() <= CLOCK_MOVED_MAX_SECONDS {
        return Check::ok("clock", figure);
    }
    let advice = "see that it is kept by NTP (timedatectl): time-limited credentials made elsewhere expire by it";
    Check::new("clock", Status::Warning, figure, advice)
}

fn losses(scrape: &Scrape, memory: &Memory) -> [Check; 3] {
    let total = scrape.total();
    let now = Mark {
        uptime: scrape.uptime,
        kernel_drops: scrape.kernel_drops(),
        events_lost: total.events_lost,
        panics: total.panics,
    };
    let before = memory.pass(now);
    let span = now.uptime.saturating_sub(before.uptime).as_secs();
    let check = |name: &str, now: u64, before: u64, advice: &str| {
        // A counter that starts anew has lost what was before.
        let lost = now.checked_sub(before).unwrap_or(now);
        let figure = format!("{lost} in the last {span} s");
        match lost {
            0 => Check::ok(name, figure),
            _ => Check::new(name, Status::Warning, figure, advice),
        }
    };
    [
        check(
            "receive-drops",
            now.kernel_drops,
            before.kernel_drops,
            "datagrams came faster than they were read: as root sysctl -w net.core.rmem_max=8388608, set sock-buf-size, or give the \
             server more CPUs",
        ),
        check(
            "events",
            now.events_lost,
            before.events_lost,
            "the log is written too slowly, so sessions are missing in it; look at its disk, or log less",
        ),
        check(
            "panics",
            now.panics,
            before.panics,
            "this is a bug: please report it with the log",
        ),
    ]
}

impl Check {
    fn ok(name: impl Into<String>, figure: String) -> Self {
        Self {
            name: name.into(),
            status: Status::Ok,
            figure,
            advice: None,
        }
    }

    fn new(name: impl Into<String>, status: Status, figure: String, advice: &str) -> Self {
        Self {
            name: name.into(),
            status,
            figure,
            advice: Some(advice.to_owned()),
        }
    }
}

impl Memory {
    /// Takes note of `now`, and tells the mark that is at least [`WINDOW`] old if there is one, else the start.
    fn pass(&self, now: Mark) -> Mark {
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.uptime.saturating_sub(marks.since.uptime) >= WINDOW {
            marks.before = marks.since;
            marks.since = now;
        }
        marks.before
    }
}

const PORTS_USED_PERCENT_MAX: usize = 80;
/// For what is no allocation.
const RESERVED_DESCRIPTORS: u64 = 64;
const CERTIFICATE_DAYS_MIN: u64 = 14;
/// 1 January 2026: no clock that is right is before it.
const CLOCK_MIN_UNIX: u64 = 1_767_225_600;
const CLOCK_MOVED_MAX_SECONDS: u64 = 30;
/// Losses are told for this long, and up to twice as long.
const WINDOW: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests;
