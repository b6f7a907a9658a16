//! The server at one moment, read from those who keep account. Owns what is read and when; renders nothing.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use turnbuckle_config::Settings;
use turnbuckle_proto::AddressFamily;
use turnbuckle_relay::{Limits, PortUsage};

use super::ProcessFigures;
use crate::clock;
use crate::control::{Control, LastReload, ShardKind, ShardReport, State};
use crate::deployment::DEFAULT_REALM;
use crate::health::{Health, Memory};
use crate::shard::Report;
use crate::shard::figures::{Allocations, Figures, ListenerKind};
use crate::tls::{CertificateState, TlsService};

/// Where scrapes come from. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Source {
    control: Control,
    /// Those that metrics themselves are served with, where they are others.
    own_tls: Option<TlsService>,
    /// When the server was started, by the calendar.
    started_unix: u64,
    memory: Memory,
    /// The last one and when it was made: whoever asks at the same time is told the same.
    last: Arc<Mutex<Option<Last>>>,
}

struct Last {
    made: Instant,
    scrape: Arc<Scrape>,
}

/// Everything that metrics, health and dashboard show of one moment.
#[derive(Clone, Debug)]
pub(crate) struct Scrape {
    pub(crate) state: State,
    pub(crate) shards: Vec<ShardReport>,
    pub(crate) settings: Arc<Settings>,
    /// The realm in force.
    pub(crate) realm: String,
    pub(crate) limits: Limits,
    /// Allocations that the quota counts.
    pub(crate) held: u32,
    /// Stable names that hold any.
    pub(crate) users: usize,
    pub(crate) ports: Vec<PortUsage>,
    /// Relayed addresses of each family.
    pub(crate) relayed: [(AddressFamily, usize); 2],
    pub(crate) certificates: Vec<CertificateState>,
    pub(crate) process: ProcessFigures,
    /// `None` if settings were only read at the start.
    pub(crate) reload: Option<LastReload>,
    /// Requests for credentials over HTTP that were granted, and others; `None` where there is no such listener.
    pub(crate) rest: Option<(u64, u64)>,
    /// Seconds since 1970.
    pub(crate) started_unix: u64,
    pub(crate) now_unix: u64,
    pub(crate) uptime: Duration,
}

/// What is summed up over all listeners of one address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ListenerSums {
    pub(crate) received: u64,
    /// `None` where the kernel does not say.
    pub(crate) kernel_drops: Option<u64>,
}

impl Source {
    pub(crate) fn new(control: Control, own_tls: Option<TlsService>) -> Self {
        Self {
            control,
            own_tls,
            started_unix: clock::unix_seconds(),
            memory: Memory::default(),
            last: Arc::default(),
        }
    }

    /// One that is at most [`FRESH`] old. However many ask, the shards are asked by one at a time.
    pub(crate) fn recent(&self) -> Arc<Scrape> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = last.as_ref()
            && last.made.elapsed() < FRESH
        {
            return Arc::clone(&last.scrape);
        }
        let scrape = Arc::new(self.scrape());
        *last = Some(Last {
            made: clock::monotonic(),
            scrape: Arc::clone(&scrape),
        });
        scrape
    }

    /// The health document of a scrape of this server.
    pub(crate) fn health(&self, scrape: &Scrape) -> Health {
        Health::of(scrape, &self.memory)
    }

    /// Asks everybody. Takes as long as the slowest shard does, and two seconds at most.
    fn scrape(&self) -> Scrape {
        let control = &self.control;
        let shards = control.reports();
        let quota = control.quota();
        let ports = control.ports();
        let tls = control.tls();
        let services = [&tls, &self.own_tls];
        let mut certificates: Vec<CertificateState> = Vec::new();
        for certificate in services
            .into_iter()
            .flatten()
            .flat_map(TlsService::certificates)
        {
            if !certificates.contains(&certificate) {
                certificates.push(certificate);
            }
        }
        let settings = control.settings();
        let counts = control.rest();
        let rest = settings.rest.as_ref().map(|_| {
            (
                counts.given.load(Ordering::Relaxed),
                counts.refused.load(Ordering::Relaxed),
            )
        });
        Scrape {
            state: control.state(),
            shards,
            realm: settings
                .realm
                .clone()
                .unwrap_or_else(|| DEFAULT_REALM.to_owned()),
            settings,
            limits: quota.limits(),
            held: quota.total(),
            users: quota.users(),
            ports: ports.usage_by_address().collect(),
            relayed: [AddressFamily::V4, AddressFamily::V6]
                .map(|family| (family, ports.usage(family).0)),
            certificates,
            process: ProcessFigures::read(),
            reload: control.last_reload(),
            rest,
            started_unix: self.started_unix,
            now_unix: clock::unix_seconds(),
            uptime: clock::monotonic().saturating_duration_since(control.started()),
        }
    }
}

impl Scrape {
    /// What the shards of each kind have done together, under the word for their clients.
    pub(crate) fn reports(&self) -> [(&'static str, Report); 2] {
        KINDS.map(|(word, kind)| {
            let mut sum = Report::default();
            let shards = self.shards.iter().filter(|shard| shard.kind == kind);
            for figures in shards.filter_map(|shard| shard.figures.as_ref()) {
                sum.add(&figures.report);
            }
            (word, sum)
        })
    }

    /// What all shards have done together.
    pub(crate) fn total(&self) -> Report {
        let [(_, mut total), (_, streams)] = self.reports();
        total.add(&streams);
        total
    }

    /// Live allocations of all shards.
    pub(crate) fn allocations(&self) -> Allocations {
        let mut sum = Allocations::default();
        for figures in self.figures() {
            sum.add(figures.allocations);
        }
        sum
    }

    /// Open connections of clients.
    pub(crate) fn connections(&self) -> usize {
        self.figures().map(|figures| figures.connections).sum()
    }

    /// Each address that clients are served on, with the word for what comes there, over all shards.
    pub(crate) fn listeners(&self) -> Vec<(String, &'static str, ListenerSums)> {
        let mut all: Vec<(String, &'static str, ListenerSums)> = Vec::new();
        for listener in self.figures().flat_map(|figures| &figures.listeners) {
            let address = listener.address.to_string();
            let word = match listener.kind {
                ListenerKind::Udp => "udp",
                ListenerKind::Stream => "tcp",
                ListenerKind::Proxied => "proxied",
            };
            let known = all.iter().position(|(a, w, _)| (a, *w) == (&address, word));
            let at = known.unwrap_or_else(|| {
                all.push((address, word, ListenerSums::default()));
                all.len() - 1
            });
            if let Some((_, _, sums)) = all.get_mut(at) {
                sums.received = sums.received.wrapping_add(listener.received);
                if let Some(drops) = listener.kernel_drops {
                    *sums.kernel_drops.get_or_insert(0) += u64::from(drops);
                }
            }
        }
        all
    }

    /// Datagrams that the kernel had no room for, at all listeners.
    pub(crate) fn kernel_drops(&self) -> u64 {
        let listeners = self.listeners();
        let drops = listeners
            .iter()
            .filter_map(|(_, _, sums)| sums.kernel_drops);
        drops.sum()
    }

    /// The least receive buffer that a listener for datagrams has been granted, in bytes; `None` if there is none.
    pub(crate) fn receive_buffer(&self) -> Option<usize> {
        let listeners = self.figures().flat_map(|figures| &figures.listeners);
        listeners
            .filter_map(|listener| listener.receive_buffer)
            .min()
    }

    /// How far the calendar is from where it should be since the start, in seconds.
    pub(crate) fn clock_moved(&self) -> i64 {
        let expected = self.started_unix.saturating_add(self.uptime.as_secs());
        self.now_unix.cast_signed() - expected.cast_signed()
    }

    fn figures(&self) -> impl Iterator<Item = &Figures> {
        self.shards
            .iter()
            .filter_map(|shard| shard.figures.as_ref())
    }
}

/// What the clients of a kind of shards are called.
pub(super) const KINDS: [(&str, ShardKind); 2] =
    [("datagram", ShardKind::Udp), ("stream", ShardKind::Stream)];
/// How old a scrape may be.
const FRESH: Duration = Duration::from_millis(200);
