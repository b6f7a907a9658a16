//! The running server: starts the shards, waits for signals, stops everything in order.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, sync_channel};
use std::thread::{self, JoinHandle};
use std::{fs, io, process};

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;
use turnbuckle_config::Settings;
use turnbuckle_net::{RelayOptions, raise_descriptor_limit};
use turnbuckle_relay::{DropReason, Quota, RelayedPorts, ShardId};

use crate::clock::{self, Clock};
use crate::deployment::Deployment;
use crate::listen::{bind_udp, warn_of_small_buffers};
use crate::log::Log;
use crate::session_log::SessionLog;
use crate::shard::udp::{Handle, UdpShard};
use crate::shard::{Parts, Report};
use crate::start_block::{first_steps, start_block, warn_of_private_advertisement};

/// Runs until a signal stops it. An error means that it could not start, or could not go on.
pub(crate) fn run(
    settings: &Settings,
    deployment: Deployment,
    file: Option<&Path>,
    log: &Log,
) -> Result<()> {
    check_descriptors(&deployment);
    let signals = Signals::new([SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2])
        .context("signals cannot be handled")?;
    let listeners = bind_udp(
        &deployment.listen,
        deployment.shards,
        settings.socket_buffer,
    )?;
    warn_of_small_buffers(&listeners, settings.socket_buffer);
    let _pidfile = settings
        .pidfile
        .as_deref()
        .map(Pidfile::write)
        .transpose()?;

    log.write_block(&format!("Turnbuckle {}\n", env!("CARGO_PKG_VERSION")));
    log.write_block(&start_block(settings, &deployment, file));
    if let Some(steps) = first_steps(&deployment, clock::unix_seconds()) {
        log.write_block(&steps);
    }
    if let Some(warning) = warn_of_private_advertisement(&deployment) {
        tracing::warn!("{warning}");
    }

    let (notices, inbox) = mpsc::channel();
    let clock = Clock::start();
    let (events, to_log) = sync_channel(EVENTS_WAITING);
    let session_log = SessionLog::new(clock.clone());
    let session_log = spawn("session-log", move || session_log.run(&to_log))?;
    let config = Arc::new(deployment.config);
    let ports = Arc::new(RelayedPorts::new(
        &deployment.relay_addresses,
        settings.relay_ports.clone(),
    ));
    let quota = Quota::new(deployment.limits);
    let mut shards = Vec::with_capacity(listeners.len());
    for (id, listeners) in (0..).map(ShardId).zip(listeners) {
        let parts = Parts {
            id,
            config: Arc::clone(&config),
            quota: quota.clone(),
            ports: Arc::clone(&ports),
            relay_options: relay_options(settings),
            clock: clock.clone(),
            events: events.clone(),
        };
        let shard = UdpShard::new(parts, listeners).context("a shard cannot be made")?;
        shards.push(Running::start(id, shard, notices.clone())?);
    }
    drop(events);
    watch_signals(signals, notices)?;
    tracing::info!("ready: {} shard{}", shards.len(), plural(shards.len()));

    let outcome = wait(&inbox, log);
    for shard in &shards {
        shard.handle.stop();
    }
    let mut total = Report::default();
    for shard in shards {
        total.add(&shard.join());
    }
    // All senders are gone with the shards.
    let _ = session_log.join();
    tell_totals(&total);
    tracing::info!("stopped");
    outcome
}

/// What the main thread is told.
enum Notice {
    Signal(i32),
    ShardEnded(ShardId, io::Result<()>),
}

/// A shard in its thread.
struct Running {
    handle: Arc<Handle>,
    thread: JoinHandle<Report>,
}

impl Running {
    fn start(id: ShardId, shard: UdpShard, notices: Sender<Notice>) -> Result<Self> {
        let handle = shard.handle();
        let thread = spawn(&format!("shard-{}", id.0), move || {
            let (report, result) = match shard.run() {
                Ok(report) => (report, Ok(())),
                Err(error) => (Report::default(), Err(error)),
            };
            // Nobody listens any more when the server is being stopped.
            let _ = notices.send(Notice::ShardEnded(id, result));
            report
        })?;
        Ok(Self { handle, thread })
    }

    fn join(self) -> Report {
        self.thread.join().unwrap_or_default()
    }
}

/// Handles what comes until the server is to stop.
fn wait(inbox: &Receiver<Notice>, log: &Log) -> Result<()> {
    for notice in inbox {
        match notice {
            Notice::Signal(SIGTERM) => {
                tracing::info!("stopping on SIGTERM");
                return Ok(());
            }
            Notice::Signal(SIGINT) => {
                tracing::info!("stopping on SIGINT");
                return Ok(());
            }
            Notice::Signal(SIGHUP) => match log.reopen() {
                Ok(()) => tracing::info!(
                    "SIGHUP: the log is reopened; the configuration is not read anew"
                ),
                Err(error) => tracing::error!("SIGHUP: {error:#}; lines go where they went before"),
            },
            Notice::Signal(signal) => {
                tracing::warn!("signal {signal} does nothing in this version");
            }
            Notice::ShardEnded(id, Err(error)) => {
                bail!("shard {} cannot go on: {error}", id.0);
            }
            Notice::ShardEnded(id, Ok(())) => bail!("shard {} has ended by itself", id.0),
        }
    }
    bail!("nobody is left to send signals")
}

fn watch_signals(mut signals: Signals, notices: Sender<Notice>) -> Result<()> {
    spawn("signals", move || {
        for signal in signals.forever() {
            if notices.send(Notice::Signal(signal)).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .context("a thread cannot be started")
}

fn relay_options(settings: &Settings) -> RelayOptions {
    let defaults = RelayOptions::default();
    RelayOptions {
        receive_buffer: settings.socket_buffer.unwrap_or(defaults.receive_buffer),
        send_buffer: settings.socket_buffer.unwrap_or(defaults.send_buffer),
    }
}

/// Each allocation takes a descriptor, so as many as the host allows are asked for.
fn check_descriptors(deployment: &Deployment) {
    match raise_descriptor_limit() {
        Ok((_, now)) => {
            let wanted = deployment
                .limits
                .total
                .map_or(0, |total| u64::from(total.get()))
                + RESERVED_DESCRIPTORS;
            if now < wanted {
                tracing::warn!(
                    "the host allows {now} open descriptors, too few for total-quota: {wanted} are needed (in a systemd unit: \
                     LimitNOFILE={wanted})"
                );
            }
        }
        Err(error) => tracing::warn!("the limit of open descriptors cannot be raised: {error}"),
    }
}

fn tell_totals(total: &Report) {
    let stats = &total.stats;
    tracing::info!(
        sessions = stats.allocations,
        packets_to_peers = stats.packets_to_peers,
        bytes_to_peers = stats.bytes_to_peers,
        packets_to_clients = stats.packets_to_clients,
        bytes_to_clients = stats.bytes_to_clients,
        packets_hairpin = stats.packets_hairpin,
        bindings = stats.bindings,
        "totals of this run"
    );
    let drops = DropReason::ALL
        .into_iter()
        .map(|reason| (reason.name(), stats.dropped(reason)))
        .chain([
            ("drop_truncated", total.truncated),
            ("drop_send_to_clients", total.to_clients.dropped()),
            ("drop_send_to_peers", total.to_peers.dropped()),
            ("events_lost", total.events_lost),
            ("panics", total.panics),
        ])
        .filter(|&(_, count)| count > 0)
        .map(|(name, count)| format!("{name}={count}"))
        .collect::<Vec<_>>();
    if !drops.is_empty() {
        tracing::info!("dropped: {}", drops.join(" "));
    }
}

/// Holds the process id while the server runs.
struct Pidfile(PathBuf);

impl Pidfile {
    fn write(path: &Path) -> Result<Self> {
        fs::write(path, format!("{}\n", process::id()))
            .with_context(|| format!("the pid file {} cannot be written", path.display()))?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

const fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}

/// Events between the shards and the log; what comes on top is counted and not written.
const EVENTS_WAITING: usize = 16_384;
const RESERVED_DESCRIPTORS: u64 = 64;
