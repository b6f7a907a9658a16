//! One measurement: one row, one contestant, one round.
//!
//! Owns the order of events: start the server, set up, let traffic run, read what it cost. Must not compare.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::thread::set_current_timer_slack;
use serde::Serialize;
use turnbuckle_net::pin_current_thread;
use turnbuckle_proto::AddressFamily;

use crate::account::{Dialogue, Request};
use crate::clients::Clients;
use crate::clock::Clock;
use crate::contestant::{Contestant, Server};
use crate::cpu::{HostTimes, ThreadTimes};
use crate::endpoint::Endpoint;
use crate::exchange::exchange;
use crate::latency::Percentiles;
use crate::memory::resident_bytes;
use crate::network::{Network, Place};
use crate::scenario::{Framing, Load, Row, Scenario, Transport};
use crate::sessions;
use crate::streams::Streams;
use crate::traffic::{Edge, Outcome, Phases, Traffic};

/// What is the same for all measurements of a run.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) network: Network,
    pub(crate) phases: Phases,
    /// CPUs of a pinned row.
    pub(crate) server_cpu: usize,
    pub(crate) generator_cpu: usize,
}

/// What was measured. Times are CPU time unless said; `per_million` is for a million of the row's
/// [`unit`](Scenario::unit), numerically the same as microseconds each.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Measurement {
    pub(crate) seconds: f64,
    pub(crate) offered_per_second: f64,
    pub(crate) delivered_per_second: f64,
    /// Over the whole run, with warm-up.
    pub(crate) sent: u64,
    pub(crate) lost: u64,
    pub(crate) misdelivered: u64,
    pub(crate) stalls: u64,
    /// The generator fell behind its schedule, so that less was offered than asked for.
    pub(crate) generator_behind: bool,
    /// Arrived and lost in the generator's own sockets.
    pub(crate) generator_missed: u32,
    pub(crate) latency: Option<Percentiles>,
    /// All threads of the server.
    pub(crate) server_cpu_seconds_per_million: Option<f64>,
    pub(crate) server_cores: Option<f64>,
    /// On all CPUs, sampled; on loopback and veth much of it runs, and is counted, in the thread that sends.
    pub(crate) softirq_seconds_per_million: Option<f64>,
    pub(crate) generator_cores: f64,
    /// What the rest of the host did meanwhile, roughly.
    pub(crate) other_cores: f64,
    pub(crate) resident_bytes: Option<u64>,
    pub(crate) resident_bytes_per_allocation: Option<f64>,
}

impl Measurement {
    /// Share of the packets sent that were lost.
    pub(crate) fn loss(&self) -> f64 {
        if self.sent == 0 {
            0.0
        } else {
            self.lost as f64 / self.sent as f64
        }
    }
}

/// Carries out `row` with `contestant` once.
///
/// # Errors
/// If the server cannot be started, refuses a request or breaks off.
pub(crate) fn measure(
    row: &Row,
    contestant: &Contestant,
    setting: &Setting,
) -> Result<Measurement> {
    // On a thread of its own, which keeps the affinity to itself.
    thread::scope(|scope| {
        scope
            .spawn(|| {
                let cpu = row.pinned.then_some(setting.server_cpu);
                let mut server = contestant.start(row, &setting.network, cpu)?;
                if row.pinned {
                    pin_current_thread(setting.generator_cpu)?;
                }
                set_current_timer_slack(std::num::NonZeroU64::new(1))?;
                let measured = match row.scenario {
                    Scenario::Hold => hold(row, &mut server, setting),
                    Scenario::Handshake => handshakes(row, &mut server, setting),
                    _ => traffic(row, &mut server, setting),
                };
                measured.map_err(|error| match server.last_output() {
                    output if output.is_empty() => error,
                    output => error.context(format!("the server printed:\n{output}\nand then")),
                })
            })
            .join()
            .map_err(|_| anyhow!("the generator panicked"))?
    })
}

fn traffic(row: &Row, server: &mut Server, setting: &Setting) -> Result<Measurement> {
    let mut clients = connect(row, row.allocations, server, setting)?;
    let mut peers = setting.network.inside(Place::Peer, || {
        Endpoint::bind(setting.network.peers, row.allocations)
    })??;
    let relayed = if row.scenario.relays() {
        set_up(
            row,
            server,
            setting.network.peers.family(),
            &mut clients,
            &peers,
        )?
    } else {
        Vec::new()
    };
    let mut meter = Meter::new(server.pid());
    let traffic = Traffic {
        row,
        clients: &mut clients,
        peers: &mut peers,
        relayed: &relayed,
        phases: setting.phases,
    };
    let outcome = traffic.run(&mut |edge| meter.read(edge))?;
    let missed = clients.missed()? + peers.missed()?;
    meter.measurement(&outcome, missed)
}

fn handshakes(row: &Row, server: &mut Server, setting: &Setting) -> Result<Measurement> {
    let Load::Closed(window) = row.load else {
        bail!("handshakes have no rate");
    };
    let mut clients = connect(row, window, server, setting)?;
    let mut meter = Meter::new(server.pid());
    let outcome = sessions::run(
        &mut clients,
        &mut server.account,
        setting.network.peers.family(),
        window,
        setting.phases,
        &mut |edge| meter.read(edge),
    )?;
    meter.measurement(&outcome, clients.missed()?)
}

/// Memory is compared with what the server had when some allocations were there already: its threads have touched
/// their stacks by then.
fn hold(row: &Row, server: &mut Server, setting: &Setting) -> Result<Measurement> {
    let pid = server
        .pid()
        .context("memory can only be read of a process that is known: --target-pid")?;
    let total = row.allocations + HELD_BEFORE;
    let mut clients = connect(row, total, server, setting)?;
    let peers = setting
        .network
        .inside(Place::Peer, || Endpoint::bind(setting.network.peers, total))??;
    let mut dialogues: Vec<Dialogue> = (0..total).map(Dialogue::new).collect();
    let account = &mut server.account;
    let family = setting.network.peers.family();
    let mut before = 0;
    for range in [0..HELD_BEFORE, HELD_BEFORE..total] {
        before = resident_bytes(pid)?;
        let allocate = |_| Request::Allocate(family);
        exchange(
            &mut clients,
            account,
            &mut dialogues,
            range.clone(),
            allocate,
        )?;
        let bind = |client| Request::ChannelBind(peers.address(client));
        exchange(&mut clients, account, &mut dialogues, range, bind)?;
    }
    let after = resident_bytes(pid)?;
    let mut meter = Meter::new(Some(pid));
    let clock = Clock::start();
    meter.read(Edge::Begin)?;
    // Nothing is waited for: this is the time in which the server should do nothing.
    thread::sleep(setting.phases.measured);
    meter.read(Edge::End)?;
    let seconds = Duration::from_nanos(clock.now_ns()).as_secs_f64();
    Ok(Measurement {
        seconds,
        sent: u64::from(total),
        server_cores: meter.server().map(|time| time.as_secs_f64() / seconds),
        generator_cores: meter.generator().as_secs_f64() / seconds,
        resident_bytes: Some(after),
        resident_bytes_per_allocation: Some(
            (after as f64 - before as f64) / f64::from(row.allocations),
        ),
        ..Measurement::default()
    })
}

fn connect(row: &Row, count: u32, server: &Server, setting: &Setting) -> Result<Clients> {
    let sources = setting.network.clients;
    let clients = setting
        .network
        .inside(Place::Client, || match row.transport {
            Transport::Udp => Endpoint::bind(sources, count).map(|endpoint| Clients::Udp {
                endpoint: Box::new(endpoint),
                server: server.address,
            }),
            Transport::Tcp => {
                Streams::connect(sources, count, server.address, false).map(Clients::Streams)
            }
            Transport::Tls => {
                Streams::connect(sources, count, server.tls_address, true).map(Clients::Streams)
            }
        })?;
    clients.with_context(|| format!("cannot reach the server over {}", row.transport))
}

/// Makes the allocations and opens them for their peers; returns the relayed transport addresses.
fn set_up(
    row: &Row,
    server: &mut Server,
    family: AddressFamily,
    clients: &mut Clients,
    peers: &Endpoint,
) -> Result<Vec<std::net::SocketAddr>> {
    let account = &mut server.account;
    let all = 0..row.allocations;
    let mut dialogues: Vec<Dialogue> = all.clone().map(Dialogue::new).collect();
    let relayed = exchange(clients, account, &mut dialogues, all.clone(), |_| {
        Request::Allocate(family)
    })?;
    let relayed: Vec<_> = relayed
        .into_iter()
        .collect::<Option<_>>()
        .context("an Allocate answer names no relayed address")?;
    exchange(clients, account, &mut dialogues, all, |client| {
        let peer = match row.scenario {
            Scenario::Hairpin => relayed[(client ^ 1) as usize],
            _ => peers.address(client),
        };
        match row.framing {
            Framing::Channel => Request::ChannelBind(peer),
            Framing::Indication => Request::CreatePermission(peer),
        }
    })?;
    Ok(relayed)
}

/// Reads what server, generator and host used between the edges of the measured time.
struct Meter {
    pid: Option<u32>,
    begin: Reading,
    end: Reading,
}

#[derive(Default)]
struct Reading {
    server: Option<ThreadTimes>,
    generator: ThreadTimes,
    host: HostTimes,
}

impl Meter {
    fn new(pid: Option<u32>) -> Self {
        Self {
            pid,
            begin: Reading::default(),
            end: Reading::default(),
        }
    }

    fn read(&mut self, edge: Edge) -> Result<()> {
        let server = self.pid.map(ThreadTimes::read).transpose();
        let reading = Reading {
            server: server.context("the server has ended")?,
            generator: ThreadTimes::read(std::process::id())?,
            host: HostTimes::read()?,
        };
        match edge {
            Edge::Begin => self.begin = reading,
            Edge::End => self.end = reading,
        }
        Ok(())
    }

    fn server(&self) -> Option<Duration> {
        let (end, begin) = (self.end.server.as_ref()?, self.begin.server.as_ref()?);
        Some(end.since(begin))
    }

    fn generator(&self) -> Duration {
        self.end.generator.since(&self.begin.generator)
    }

    fn measurement(&self, outcome: &Outcome, missed: u32) -> Result<Measurement> {
        if outcome.lost == outcome.sent {
            bail!(
                "nothing arrived: {} sent, {} arrived in the wrong place",
                outcome.sent,
                outcome.misdelivered
            );
        }
        let seconds = outcome.measured.as_secs_f64();
        // None of what arrived did so in the measured time, if the host had something better to do.
        let each = |time: Duration| {
            (outcome.delivered > 0).then(|| time.as_secs_f64() * 1e6 / outcome.delivered as f64)
        };
        let (server, generator) = (self.server(), self.generator());
        let softirq = self.end.host.softirq_since(&self.begin.host);
        let busy = self.end.host.busy_since(&self.begin.host);
        let others = busy.saturating_sub(generator + server.unwrap_or_default());
        Ok(Measurement {
            seconds,
            offered_per_second: outcome.offered as f64 / seconds,
            delivered_per_second: outcome.delivered as f64 / seconds,
            sent: outcome.sent,
            lost: outcome.lost,
            misdelivered: outcome.misdelivered,
            stalls: outcome.stalls,
            generator_behind: outcome.behind,
            generator_missed: missed,
            latency: outcome.latencies.percentiles(),
            server_cpu_seconds_per_million: server.and_then(each),
            server_cores: server.map(|time| time.as_secs_f64() / seconds),
            softirq_seconds_per_million: each(softirq),
            generator_cores: generator.as_secs_f64() / seconds,
            other_cores: others.as_secs_f64() / seconds,
            resident_bytes: self.pid.and_then(|pid| resident_bytes(pid).ok()),
            resident_bytes_per_allocation: None,
        })
    }
}

/// Allocations made before memory is looked at.
const HELD_BEFORE: u32 = 64;
