//! The drain: no new allocations, and the end of the server when those that are there have ended or time is up.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::reload::Opened;
use super::{Operation, Progress};
use crate::clock;

/// How a drain is to go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DrainTarget {
    /// How long it may take; `None` is for ever.
    pub(crate) deadline: Option<Duration>,
    /// Where clients are sent that want to allocate, one address for each family; none: they are refused with 508.
    pub(crate) redirect: Vec<SocketAddr>,
}

/// A drain that goes on.
#[derive(Clone, Debug)]
pub(crate) struct Drain {
    until: Option<Instant>,
    pub(super) redirect: Vec<SocketAddr>,
}

impl Operation {
    /// Begins to drain, or goes on in another way.
    pub(crate) fn drain(&mut self, target: DrainTarget) -> Result<()> {
        self.drain = Some(Drain {
            until: target.deadline.map(|after| clock::monotonic() + after),
            redirect: target.redirect,
        });
        self.set_state();
        let least = self.control.settings().drain_min_allocations;
        tracing::info!(
            "draining: no new sessions; the server ends when {} left{}",
            match least {
                0 => "none is".to_owned(),
                least => format!("{least} or fewer are"),
            },
            match target.deadline {
                Some(after) => format!(", or in {} s", after.as_secs()),
                None => String::new(),
            }
        );
        self.configure(Opened::default())
    }

    /// Serves everybody again; false if nothing was being drained.
    pub(crate) fn cancel_drain(&mut self) -> Result<bool> {
        if self.drain.take().is_none() {
            return Ok(false);
        }
        self.set_state();
        tracing::info!("no longer draining: new sessions are served again");
        self.configure(Opened::default()).map(|()| true)
    }

    /// `allocations` are those that there are, if all shards have told.
    pub(super) fn drain_step(&self, allocations: Option<usize>) -> Progress {
        let Some(drain) = &self.drain else {
            return Progress::Going;
        };
        let least = self.control.settings().drain_min_allocations;
        if let Some(allocations) = allocations.filter(|count| *count <= least) {
            tracing::info!(sessions = allocations, "drained");
            return Progress::Done;
        }
        if drain.until.is_some_and(|until| until <= clock::monotonic()) {
            tracing::info!(
                sessions = allocations,
                "the deadline of the drain is reached"
            );
            return Progress::Done;
        }
        Progress::Going
    }
}
