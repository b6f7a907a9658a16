//! The running server: starts the shards, waits for signals, stops everything in order.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{env, process};

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;
use turnbuckle_config::{Settings, Transport};
use turnbuckle_net::{RelayOptions, raise_descriptor_limit};
use turnbuckle_relay::{Config, DropReason, Quota, RelayedPorts, ShardId};

use crate::cli::Args;
use crate::clock::{self, Clock};
use crate::control::{Control, Controlled, Shard, ShardKind, Shards, State};
use crate::deployment::Deployment;
use crate::failures::Failures;
use crate::health::descriptors_wanted;
use crate::http::insight::Insight;
use crate::http::rest::Rest;
use crate::http::{Http, Site, UnixSocket, admin};
use crate::listen::{bind_streams, bind_udp, warn_of_small_buffers};
use crate::log::Log;
use crate::metrics::Source;
use crate::operation::{DrainTarget, Operation, Progress};
use crate::privileges::Identity;
use crate::revoked::Revoked;
use crate::session_log::SessionLog;
use crate::shard::dtls::DtlsService;
use crate::shard::rings::Doorbell;
use crate::shard::stream::{Post, Rules, StreamShard};
use crate::shard::udp::UdpShard;
use crate::shard::{DtlsRules, Parts, Report};
use crate::start_block::{first_steps, start_block, warn_of_private_advertisement};
use crate::systemd::{self, Heartbeat};
use crate::tls::{Finding, TlsOptions, TlsService, Watch};

/// Runs until a signal stops it. An error means that it could not start, or could not go on.
pub(crate) fn run(
    args: Args,
    settings: &Arc<Settings>,
    deployment: Deployment,
    file: Option<&Path>,
    identity: Option<&Identity>,
    log: &Log,
) -> Result<()> {
    check_descriptors(&deployment);
    let signals = Signals::new([SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2])
        .context("signals cannot be handled")?;
    let revoked = load_revoked(settings)?;
    let tls = load_certificates(settings)?;
    let dtls = dtls_service(settings, tls.as_ref())?;
    let udp = bind_udp(&deployment.udp, deployment.shards, settings.socket_buffer)?;
    let streams = bind_streams(&deployment.streams, deployment.shards)?;
    warn_of_small_buffers(&udp, settings.socket_buffer);
    let mut admin_socket = UnixSocket::open(&settings.admin_socket)?;
    let insight = settings.metrics.as_ref().map(Insight::open).transpose()?;
    let mut rest = settings.rest.as_ref().map(Rest::open).transpose()?;
    let _pidfile = settings
        .pidfile
        .as_deref()
        .map(Pidfile::write)
        .transpose()?;
    if let Some(identity) = identity {
        let (user, group) = identity.ids();
        if let Some(socket) = &mut admin_socket {
            socket.hand_over(user, group)?;
        }
        if let Some(rest) = &mut rest {
            rest.hand_over(user, group)?;
        }
        give_up_root(identity, settings, file, log)?;
    }

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
    let failures = Failures::default();
    let session_log = SessionLog::new(
        clock.clone(),
        deployment.config.credentials.separator,
        failures.clone(),
    );
    let session_log = spawn("session-log", move || session_log.run(&to_log))?;
    let config = Arc::new(Config {
        revoked: Arc::clone(revoked.names()),
        ..deployment.config.clone()
    });
    let ports = Arc::new(RelayedPorts::new(
        &deployment.relay_addresses,
        settings.relay_ports.clone(),
    ));
    let quota = Quota::new(deployment.limits);
    let watch = tls
        .clone()
        .map(Watch::start)
        .transpose()
        .context("the certificates cannot be watched")?;
    let rules = stream_rules(settings, deployment.shards, tls.clone());
    let doorbells =
        Doorbell::for_each(udp.len() + streams.len()).context("a shard cannot be made")?;
    let mut shards = Vec::new();
    let mut running = Vec::new();
    let mut ids = (0..).map(ShardId);
    let parts = |id| Parts {
        id,
        config: Arc::clone(&config),
        quota: quota.clone(),
        ports: Arc::clone(&ports),
        relay_options: relay_options(settings),
        clock: clock.clone(),
        events: events.clone(),
        doorbells: Arc::clone(&doorbells),
    };
    for (listeners, id) in udp.into_iter().zip(&mut ids) {
        let dtls = dtls
            .clone()
            .map(|service| (service, dtls_rules(settings, deployment.shards)));
        let shard = UdpShard::new(parts(id), listeners, dtls).context("a shard cannot be made")?;
        shards.push(Shard {
            kind: ShardKind::Udp,
            mailbox: shard.mailbox(),
        });
        running.push(start_shard(id, move || shard.run(), &notices)?);
    }
    let stream_ids: Vec<ShardId> = ids.by_ref().take(streams.len()).collect();
    let posts = Post::between(&stream_ids);
    for ((listeners, id), post) in streams.into_iter().zip(stream_ids).zip(posts) {
        let shard = StreamShard::new(parts(id), listeners, rules.clone(), post)
            .context("a shard cannot be made")?;
        shards.push(Shard {
            kind: ShardKind::Stream,
            mailbox: shard.mailbox(),
        });
        running.push(start_shard(id, move || shard.run(), &notices)?);
    }
    drop(events);
    watch_signals(signals, notices.clone())?;
    let control = Control::new(Controlled {
        shards: Shards(shards),
        settings: Arc::clone(settings),
        quota,
        ports,
        log: log.clone(),
        tls: tls.clone(),
        notices,
    });
    let _http = serve_http(admin_socket, insight, rest, &control, failures)?;
    let mut operation = Operation {
        control: control.clone(),
        args,
        deployment,
        tls,
        watch,
        dtls,
        revoked,
        drain: None,
        given_up: Vec::new(),
    };
    control.set_state(State::Ready);
    tracing::info!("ready: {} shard{}", running.len(), plural(running.len()));
    systemd::ready();
    let heartbeat = Heartbeat::start(control.clone()).context("a thread cannot be started")?;

    let outcome = wait(&inbox, &mut operation);
    drop(operation);
    drop(heartbeat);
    systemd::stopping();
    control.stop_shards();
    let mut total = Report::default();
    for shard in running {
        total.add(&shard.join().unwrap_or_default());
    }
    // All senders are gone with the shards.
    let _ = session_log.join();
    tell_totals(&total);
    tracing::info!("stopped");
    outcome
}

/// Once everything that takes root is done, and before there is another thread.
fn give_up_root(
    identity: &Identity,
    settings: &Settings,
    file: Option<&Path>,
    log: &Log,
) -> Result<()> {
    identity.assume()?;
    identity.warn_of_unreadable(settings, file);
    if let Err(error) = log.reopen() {
        tracing::warn!(
            "{error:#} by {identity}, so it cannot be opened anew after it was moved away"
        );
    }
    Ok(())
}

/// What the main thread is told.
pub(crate) enum Notice {
    Signal(i32),
    ShardEnded(ShardId, io::Result<()>),
    /// Something to be done by this thread, which answers by itself.
    Operate(Box<dyn FnOnce(&mut Operation) + Send>),
}

fn start_shard(
    id: ShardId,
    run: impl FnOnce() -> io::Result<Report> + Send + 'static,
    notices: &Sender<Notice>,
) -> Result<JoinHandle<Report>> {
    let notices = notices.clone();
    spawn(&format!("shard-{}", id.0), move || {
        let (report, result) = match run() {
            Ok(report) => (report, Ok(())),
            Err(error) => (Report::default(), Err(error)),
        };
        // Nobody listens any more when the server is being stopped.
        let _ = notices.send(Notice::ShardEnded(id, result));
        report
    })
}

/// Handles what comes until the server is to stop.
fn wait(inbox: &Receiver<Notice>, operation: &mut Operation) -> Result<()> {
    loop {
        let patience = match operation.is_waiting() {
            true => STEP_INTERVAL,
            false => Duration::MAX,
        };
        let notice = match inbox.recv_timeout(patience) {
            Ok(notice) => notice,
            Err(RecvTimeoutError::Timeout) => match operation.step() {
                Progress::Going => continue,
                Progress::Done => return Ok(()),
            },
            Err(RecvTimeoutError::Disconnected) => bail!("nobody is left to send signals"),
        };
        match notice {
            Notice::Signal(SIGTERM) => {
                tracing::info!("stopping on SIGTERM");
                return Ok(());
            }
            Notice::Signal(SIGINT) => {
                tracing::info!("stopping on SIGINT");
                return Ok(());
            }
            Notice::Signal(SIGHUP) => {
                reopen(operation.control.log());
                // Its outcome is told in the log.
                let _ = operation.reload();
            }
            Notice::Signal(SIGUSR1) => {
                if let Err(error) = operation.drain(DrainTarget::default()) {
                    tracing::error!("SIGUSR1: {error:#}");
                }
            }
            Notice::Signal(SIGUSR2) => reload_certificates(operation.tls.as_ref()),
            Notice::Signal(_) => {}
            Notice::Operate(work) => work(operation),
            Notice::ShardEnded(id, Err(error)) => {
                bail!("shard {} cannot go on: {error}", id.0);
            }
            Notice::ShardEnded(id, Ok(())) => bail!("shard {} has ended by itself", id.0),
        }
    }
}

/// The users that are shut out, as they were left in the state directory.
fn load_revoked(settings: &Settings) -> Result<Revoked> {
    let given_by_systemd = || env::var_os("STATE_DIRECTORY").map(PathBuf::from);
    let directory = settings.state_directory.clone().or_else(given_by_systemd);
    let revoked = Revoked::load(directory.as_deref())?;
    match revoked.names().len() {
        0 => {}
        count => tracing::info!(
            "{count} user{} revoked",
            if count == 1 { " is" } else { "s are" }
        ),
    }
    Ok(revoked)
}

/// `None` where there is nothing to serve.
fn serve_http(
    admin_socket: Option<UnixSocket>,
    insight: Option<Insight>,
    rest: Option<Rest>,
    control: &Control,
    failures: Failures,
) -> Result<Option<Http>> {
    let mut sites = Vec::new();
    sites.extend(insight.map(|insight| insight.site(control.clone())));
    sites.extend(rest.map(|rest| rest.site(control.clone())));
    if let Some(socket) = admin_socket {
        tracing::info!("turnctl reaches this server at {}", socket.path().display());
        let source = Source::new(control.clone(), None);
        sites.push(Site::admin(
            socket,
            admin::router(control.clone(), source, failures),
        ));
    }
    if sites.is_empty() {
        return Ok(None);
    }
    Http::start(sites).map(Some)
}

fn reopen(log: &Log) {
    match log.reopen() {
        Ok(()) => {
            tracing::info!("SIGHUP: the log is reopened");
        }
        Err(error) => tracing::error!("SIGHUP: {error:#}; lines go where they went before"),
    }
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

pub(crate) fn load_certificates(settings: &Settings) -> Result<Option<TlsService>> {
    if settings.certificates.is_empty() || !(settings.tls || settings.dtls) {
        return Ok(None);
    }
    let options = TlsOptions {
        tls12: settings.tls12,
        cipher_list: settings.cipher_list.clone(),
    };
    let (service, findings) = TlsService::load(&settings.certificates, &options)?;
    for finding in findings {
        finding.log();
    }
    Ok(Some(service))
}

pub(crate) fn dtls_service(
    settings: &Settings,
    tls: Option<&TlsService>,
) -> Result<Option<Arc<DtlsService>>> {
    if !settings.dtls {
        return Ok(None);
    }
    let tls = tls.context("dtls needs a certificate: set cert and pkey")?;
    DtlsService::new(tls).map(Arc::new).map(Some)
}

pub(crate) fn dtls_rules(settings: &Settings, shards: usize) -> DtlsRules {
    DtlsRules {
        alone: !settings.listens(Transport::Udp),
        sessions_max: settings.connections_max.div_ceil(shards),
        allocate_timeout: settings.max_allocate_timeout,
        ..DtlsRules::default()
    }
}

fn reload_certificates(tls: Option<&TlsService>) {
    match tls.map(TlsService::reload) {
        Some(Ok(findings)) => {
            tracing::info!("SIGUSR2: the certificates are read anew");
            findings.iter().for_each(Finding::log);
        }
        Some(Err(error)) => {
            tracing::error!("SIGUSR2: the certificates stay as they were: {error:#}");
        }
        None => tracing::warn!("SIGUSR2: there are no certificates to read"),
    }
}

pub(crate) fn stream_rules(settings: &Settings, shards: usize, tls: Option<TlsService>) -> Rules {
    // Connections spread evenly over the shards, each of which counts its own.
    let share = |all: usize| all.div_ceil(shards);
    Rules {
        tls: tls.filter(|_| settings.tls),
        proxies: settings.proxy_trusted.clone().into(),
        connections_max: share(settings.connections_max),
        pending_max: share(settings.connections_max).div_ceil(4),
        pending_per_source_max: share(settings.pending_connections_max),
        handshake_timeout: HANDSHAKE_TIMEOUT,
        allocate_timeout: settings.max_allocate_timeout,
    }
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
            let wanted = descriptors_wanted(deployment.limits.total);
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
    tracing::debug!(
        waits = total.waits,
        receives = total.receives,
        sends_to_peers = total.to_peers.calls,
        trains_to_peers = total.to_peers.trains,
        sends_to_clients = total.to_clients.calls,
        trains_to_clients = total.to_clients.trains,
        "system calls of the UDP shards, {:.2} for each packet they sent",
        calls_per_packet(total)
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
            ("drop_ring_full", total.ring_full),
            ("drop_slow_reader", total.slow_reader),
            ("connections_refused", total.connections_refused),
            ("connections_evicted", total.connections_evicted),
        ])
        .chain(total.dtls.drops())
        .filter(|&(_, count)| count > 0)
        .map(|(name, count)| format!("{name}={count}"))
        .collect::<Vec<_>>();
    if !drops.is_empty() {
        tracing::info!("dropped: {}", drops.join(" "));
    }
}

fn calls_per_packet(total: &Report) -> f64 {
    let calls = total.waits + total.receives + total.to_peers.calls + total.to_clients.calls;
    let packets = (total.to_peers.sent + total.to_clients.sent).max(1);
    calls as f64 / packets as f64
}

/// Holds the process id while the server runs.
struct Pidfile {
    path: PathBuf,
    /// Still open for writing when root has been given up.
    file: File,
}

impl Pidfile {
    fn write(path: &Path) -> Result<Self> {
        let write = || -> io::Result<File> {
            let mut file = File::create(path)?;
            writeln!(file, "{}", process::id())?;
            Ok(file)
        };
        let file = write()
            .with_context(|| format!("the pid file {} cannot be written", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            file,
        })
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        // Its directory may be root's, who this is no longer. An empty file names nobody else's process.
        if fs::remove_file(&self.path).is_err() {
            let _ = self.file.set_len(0);
        }
    }
}

const fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}

/// How often is looked at what takes its time, such as a drain.
const STEP_INTERVAL: Duration = Duration::from_millis(500);
/// Events between the shards and the log; what comes on top is counted and not written.
const EVENTS_WAITING: usize = 16_384;
/// PROXY header and TLS handshake; a client that takes longer has given up itself.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
