//! What the main thread changes while the server runs: settings that are read anew, the drain, users that are shut out.
//!
//! Owns what the shards were last told, and tells them again, all at once, when something of it has changed. Nobody else does, so no
//! two changes can cross.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Result, bail};
use turnbuckle_config::Settings;
use turnbuckle_relay::{Alternates, Config, EndReason};

use crate::cli::Args;
use crate::control::{Control, ShardKind, State};
use crate::deployment::Deployment;
use crate::revoked::Revoked;
use crate::server::{dtls_rules, stream_rules};
use crate::shard::dtls::DtlsService;
use crate::shard::mailbox::Command;
use crate::shard::reconfigure::{Listeners, Reconfigure};
use crate::tls::{TlsService, Watch};

pub(crate) use drain::{Drain, DrainTarget};
pub(crate) use reload::Reloaded;

use reload::Opened;

mod drain;
mod reload;

/// The server in the hands of its main thread.
pub(crate) struct Operation {
    pub(crate) control: Control,
    /// Where settings are read from.
    pub(crate) args: Args,
    pub(crate) deployment: Deployment,
    pub(crate) tls: Option<TlsService>,
    pub(crate) watch: Option<Watch>,
    pub(crate) dtls: Option<Arc<DtlsService>>,
    pub(crate) revoked: Revoked,
    pub(crate) drain: Option<Drain>,
    /// Addresses that a reload has removed and that some clients still use.
    pub(crate) given_up: Vec<SocketAddr>,
}

/// Whether the server goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Going,
    /// Nobody is left whom it waits for.
    Done,
}

impl Operation {
    /// True if [`step`](Self::step) has something to look after.
    pub(crate) fn is_waiting(&self) -> bool {
        self.drain.is_some() || !self.given_up.is_empty()
    }

    /// Looks how far what takes its time has come.
    pub(crate) fn step(&mut self) -> Progress {
        let reports = self.control.reports();
        let figures: Option<Vec<_>> = reports.into_iter().map(|report| report.figures).collect();
        // One that has not answered may have any number of them.
        let Some(figures) = figures else {
            return self.drain_step(None);
        };
        let listeners = || figures.iter().flat_map(|figures| &figures.listeners);
        let (used, left): (Vec<_>, Vec<_>) = self.given_up.iter().copied().partition(|address| {
            let mut its = listeners().filter(|l| l.given_up && l.address == *address);
            its.any(|listener| listener.allocations > 0)
        });
        if !left.is_empty() {
            for address in &left {
                tracing::info!(
                    "the last session of the removed listener udp {address} has ended: it is closed"
                );
            }
            let left: Arc<[SocketAddr]> = left.into();
            self.control
                .shards()
                .tell(|_| Command::Close(Arc::clone(&left)));
            self.given_up = used;
        }
        let allocations = figures.iter().map(|figures| figures.allocations.total());
        self.drain_step(Some(allocations.sum()))
    }

    /// Shuts a user out, by stable name: what there is ends, and nothing new is granted. How many allocations have ended; `None` if
    /// the user was shut out before.
    pub(crate) fn revoke(&mut self, user: &str) -> Result<Option<usize>> {
        if !self.revoked.add(user)? {
            return Ok(None);
        }
        self.configure(Opened::default())?;
        let ended = self.control.shards().end(user, EndReason::Revoked);
        tracing::info!(user, ended, "user revoked{}", self.kept());
        Ok(Some(ended))
    }

    /// Lets a user in again; false if nobody of this name was shut out.
    pub(crate) fn unrevoke(&mut self, user: &str) -> Result<bool> {
        let was_there = self.revoked.remove(user)?;
        if was_there {
            self.configure(Opened::default())?;
            tracing::info!(user, "user no longer revoked");
        }
        Ok(was_there)
    }

    fn kept(&self) -> &'static str {
        match self.revoked.is_kept() {
            true => "",
            false => {
                ", until the server is started anew: there is no state-directory to write it down in"
            }
        }
    }

    /// The parameters that are in force.
    pub(crate) fn config(&self) -> Config {
        let mut config = self.deployment.config.clone();
        config.revoked = Arc::clone(self.revoked.names());
        if let Some(drain) = &self.drain {
            config.draining = true;
            if !drain.redirect.is_empty() {
                config.alternates = Alternates {
                    any: drain.redirect.clone(),
                    ..Alternates::default()
                };
            }
        }
        config
    }

    /// Has all shards go by what is in force now, and take over what was opened for them.
    ///
    /// An error names the shards that did not: they are broken, and go on as before.
    fn configure(&self, opened: Opened) -> Result<()> {
        let settings: Arc<Settings> = self.control.settings();
        let config = Arc::new(self.config());
        let shards = self.deployment.shards;
        let listeners = Arc::new(Listeners {
            udp: self.deployment.udp.clone(),
            streams: self.deployment.streams.clone(),
        });
        let rules = stream_rules(&settings, shards, self.tls.clone());
        let mut udp = opened.udp.into_iter();
        let mut streams = opened.streams.into_iter();
        let answers = self.control.shards().ask(|shard, reply| {
            let (new_udp, new_streams) = match shard.kind {
                ShardKind::Udp => (udp.next().unwrap_or_default(), Vec::new()),
                ShardKind::Stream => (Vec::new(), streams.next().unwrap_or_default()),
            };
            let dtls = self.dtls.clone();
            let new = Reconfigure {
                config: Arc::clone(&config),
                rules: rules.clone(),
                dtls: dtls.map(|service| (service, dtls_rules(&settings, shards))),
                listeners: Arc::clone(&listeners),
                new_udp,
                new_streams,
            };
            Command::Configure(Box::new(new), reply)
        });
        let mut failed: Vec<String> = Vec::new();
        for shard in self.control.shards().ids() {
            match answers.iter().find(|(from, _)| *from == shard) {
                Some((_, Ok(()))) => {}
                Some((_, Err(error))) => failed.push(format!("shard {}: {error}", shard.0)),
                None => failed.push(format!("shard {} does not answer", shard.0)),
            }
        }
        if !failed.is_empty() {
            bail!("not every shard could take it over: {}", failed.join("; "));
        }
        Ok(())
    }

    fn set_state(&self) {
        self.control.set_state(match self.drain {
            Some(_) => State::Draining,
            None => State::Ready,
        });
    }
}
