//! The server as those see it who look after it while it runs: what it does, and what it can be asked to do.
//!
//! Keeps no account of its own. What is told about allocations comes from the shards at the moment of the question, and every call
//! returns in a bounded time: a shard that does not answer is named as such, and never waited for for ever.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use turnbuckle_config::Settings;
use turnbuckle_relay::{Config, EndReason, Limits, Quota, RelayedPorts, Session};

use crate::clock;
use crate::log::Log;
use crate::operation::{DrainTarget, Operation, Reloaded};
use crate::server::Notice;
use crate::tls::TlsService;

pub(crate) use shards::{Shard, ShardKind, ShardReport, Shards};

mod shards;

/// Cheap to clone; all clones are of the same server.
#[derive(Clone)]
pub(crate) struct Control(Arc<Inner>);

/// What a [`Control`] is made of.
pub(crate) struct Controlled {
    pub(crate) shards: Shards,
    pub(crate) settings: Arc<Settings>,
    pub(crate) quota: Quota,
    pub(crate) ports: Arc<RelayedPorts>,
    pub(crate) log: Log,
    pub(crate) tls: Option<TlsService>,
    /// Reaches the main thread.
    pub(crate) notices: Sender<Notice>,
}

/// Where the server is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    /// It does not serve all of its listeners yet.
    Starting,
    Ready,
    /// It serves those who are there, and nobody else.
    Draining,
    /// It ends.
    Stopping,
}

/// How the last attempt to read the settings anew has ended, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LastReload {
    /// False if the settings stayed as they were.
    pub(crate) succeeded: bool,
    /// Seconds since 1970.
    pub(crate) at_unix: u64,
}

/// What came of the requests for credentials since the start.
#[derive(Debug, Default)]
pub(crate) struct RestCounts {
    pub(crate) given: AtomicU64,
    pub(crate) refused: AtomicU64,
}

struct Inner {
    shards: Shards,
    settings: Mutex<Arc<Settings>>,
    quota: Quota,
    ports: Arc<RelayedPorts>,
    log: Log,
    tls: Mutex<Option<TlsService>>,
    notices: Sender<Notice>,
    state: AtomicU8,
    reload: Mutex<Option<LastReload>>,
    rest: RestCounts,
    started: Instant,
}

impl Control {
    pub(crate) fn new(controlled: Controlled) -> Self {
        let Controlled {
            shards,
            settings,
            quota,
            ports,
            log,
            tls,
            notices,
        } = controlled;
        Self(Arc::new(Inner {
            shards,
            settings: Mutex::new(settings),
            quota,
            ports,
            log,
            tls: Mutex::new(tls),
            notices,
            state: AtomicU8::new(State::Starting as u8),
            reload: Mutex::new(None),
            rest: RestCounts::default(),
            started: clock::monotonic(),
        }))
    }

    /// What each shard has done and has now. Takes up to 2 s where one does not answer.
    pub(crate) fn reports(&self) -> Vec<ShardReport> {
        self.0.shards.reports()
    }

    /// The live allocations of all shards, or those of the user with this stable name, in order of age, the oldest first. Those of
    /// a shard that does not answer in 2 s are left out.
    pub(crate) fn sessions(&self, user: Option<&str>) -> Vec<Session> {
        self.0.shards.sessions(user)
    }

    /// Ends the allocations of the user with this stable name; how many there were.
    pub(crate) fn disconnect(&self, user: &str) -> usize {
        self.0.shards.end(user, EndReason::Operator)
    }

    pub(crate) fn state(&self) -> State {
        match self.0.state.load(Ordering::Acquire) {
            0 => State::Starting,
            1 => State::Ready,
            2 => State::Draining,
            _ => State::Stopping,
        }
    }

    pub(crate) fn set_state(&self, state: State) {
        self.0.state.store(state as u8, Ordering::Release);
    }

    /// Those in use.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        let settings = self.0.settings.lock();
        Arc::clone(&settings.unwrap_or_else(PoisonError::into_inner))
    }

    /// `None` before the first one.
    pub(crate) fn last_reload(&self) -> Option<LastReload> {
        *self.0.reload.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers how a reload that ends now has gone.
    pub(crate) fn set_last_reload(&self, succeeded: bool) {
        let now = LastReload {
            succeeded,
            at_unix: clock::unix_seconds(),
        };
        *self.0.reload.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// Of the credential endpoint.
    pub(crate) fn rest(&self) -> &RestCounts {
        &self.0.rest
    }

    /// The ledger of allocations by user: what is held, and what may be.
    pub(crate) fn quota(&self) -> &Quota {
        &self.0.quota
    }

    /// The ports that relayed addresses are taken from, and how many of them are in use.
    pub(crate) fn ports(&self) -> &RelayedPorts {
        &self.0.ports
    }

    pub(crate) fn log(&self) -> &Log {
        &self.0.log
    }

    /// When the server was started.
    pub(crate) fn started(&self) -> Instant {
        self.0.started
    }

    /// The certificates in use; `None` where there are none.
    pub(crate) fn tls(&self) -> Option<TlsService> {
        let tls = self.0.tls.lock();
        tls.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the settings anew and goes by them. An error says what is wrong with them, and that they stay as they were.
    pub(crate) fn reload(&self) -> Result<Reloaded> {
        self.operate(Operation::reload)?
    }

    /// Serves those who are there and nobody else, and ends the server when they have gone. Called again it goes on with the new
    /// target.
    pub(crate) fn drain(&self, target: DrainTarget) -> Result<()> {
        self.operate(move |operation| operation.drain(target))?
    }

    /// Serves everybody again; false if nothing was being drained.
    pub(crate) fn cancel_drain(&self) -> Result<bool> {
        self.operate(Operation::cancel_drain)?
    }

    /// Shuts a user out by stable name, over restarts if there is a state directory. How many allocations have ended; `None` if the
    /// user was shut out before.
    pub(crate) fn revoke(&self, user: &str) -> Result<Option<usize>> {
        let user = user.to_owned();
        self.operate(move |operation| operation.revoke(&user))?
    }

    /// Lets a user in again; false if nobody of this name was shut out.
    pub(crate) fn unrevoke(&self, user: &str) -> Result<bool> {
        let user = user.to_owned();
        self.operate(move |operation| operation.unrevoke(&user))?
    }

    /// The users that are shut out, and whether that outlives the process.
    pub(crate) fn revoked(&self) -> Result<(Arc<BTreeSet<Arc<str>>>, bool)> {
        self.operate(|operation| {
            let revoked = &operation.revoked;
            (Arc::clone(revoked.names()), revoked.is_kept())
        })
    }

    /// The parameters that the shards go by.
    pub(crate) fn config(&self) -> Result<Config> {
        self.operate(|operation| operation.config())
    }

    /// Has the main thread do something, which must not be the caller.
    fn operate<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Operation) -> T + Send + 'static,
    ) -> Result<T> {
        let (to, answer) = sync_channel(1);
        let work = Box::new(move |operation: &mut Operation| {
            // Whoever asked may have stopped waiting.
            let _ = to.send(work(operation));
        });
        self.0
            .notices
            .send(Notice::Operate(work))
            .ok()
            .context("the server is stopping")?;
        answer
            .recv_timeout(OPERATION_PATIENCE)
            .context("the server is busy, or stopping; look into its log for what came of it")
    }

    pub(crate) fn shards(&self) -> &Shards {
        &self.0.shards
    }

    pub(crate) fn set_limits(&self, limits: Limits) {
        self.0.quota.set_limits(limits);
    }

    /// Tells everybody who asks of new settings.
    pub(crate) fn take_over(&self, settings: Arc<Settings>, tls: Option<TlsService>) {
        *self.0.tls.lock().unwrap_or_else(PoisonError::into_inner) = tls;
        *self
            .0
            .settings
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = settings;
    }

    /// Has every shard end its allocations and return.
    pub(crate) fn stop_shards(&self) {
        self.set_state(State::Stopping);
        self.0.shards.stop();
    }
}

/// What the main thread does takes as long as files take to be read and shards to answer.
const OPERATION_PATIENCE: Duration = Duration::from_secs(10);
