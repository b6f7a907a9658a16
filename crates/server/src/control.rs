//! The server as those see it who look after it while it runs: what it does, and what it can be asked to do.
//!
//! Keeps no account of its own. What is told about allocations comes from the shards at the moment of the question, and every call
//! returns in a bounded time: a shard that does not answer is named as such, and never waited for for ever.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use turnbuckle_config::Settings;
use turnbuckle_relay::{EndReason, Quota, RelayedPorts, Session};

use crate::clock;
use crate::log::Log;

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

struct Inner {
    shards: Shards,
    settings: Mutex<Arc<Settings>>,
    quota: Quota,
    ports: Arc<RelayedPorts>,
    log: Log,
    state: AtomicU8,
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
        } = controlled;
        Self(Arc::new(Inner {
            shards,
            settings: Mutex::new(settings),
            quota,
            ports,
            log,
            state: AtomicU8::new(State::Starting as u8),
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

    /// Has every shard end its allocations and return.
    pub(crate) fn stop_shards(&self) {
        self.set_state(State::Stopping);
        self.0.shards.stop();
    }
}
