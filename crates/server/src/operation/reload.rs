//! Settings read anew while the server runs: all that can fail is done first, so that either everything is taken over or nothing has
//! changed.

use std::fmt;
use std::sync::Arc;

use anyhow::{Context, Result};
use turnbuckle_config::{Applies, Change, Settings};
use turnbuckle_net::UdpListener;

use super::Operation;
use crate::clock;
use crate::listen::{bind_streams, bind_udp};
use crate::server::{dtls_service, load_certificates};
use crate::settings_file;
use crate::shard::stream::StreamListener;
use crate::start_block::first_steps;
use crate::systemd;
use crate::tls::{Finding, Watch};

/// What a reload has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reloaded {
    /// Changes that are in force now.
    pub(crate) applied: Vec<Change>,
    /// Changes that are not: they take a restart.
    pub(crate) needs_restart: Vec<Change>,
    /// What else there is to say of the file, such as keys that nobody knows; a line each.
    pub(crate) warnings: Vec<String>,
}

/// New listeners, for each shard of their kind.
#[derive(Default)]
pub(super) struct Opened {
    pub(super) udp: Vec<Vec<UdpListener>>,
    pub(super) streams: Vec<Vec<StreamListener>>,
}

impl Operation {
    /// Reads the settings from where they were read at the start, and goes by them. On an error they stay as they were.
    pub(crate) fn reload(&mut self) -> Result<Reloaded> {
        systemd::reloading();
        let result = self.try_reload();
        systemd::ready();
        self.control.set_last_reload(result.is_ok());
        match &result {
            Ok(reloaded) => {
                for warning in &reloaded.warnings {
                    tracing::warn!("{warning}");
                }
                tracing::info!("reloaded: {reloaded}");
            }
            Err(error) => {
                tracing::error!("not reloaded, the settings stay as they were: {error:#}");
            }
        }
        result
    }

    fn try_reload(&mut self) -> Result<Reloaded> {
        let (read, warnings) = settings_file::read_again(&self.args)?;
        let before = self.control.settings();
        let (applied, needs_restart) = before
            .changes(&read)
            .into_iter()
            .partition(|change| change.applies == Applies::Live);
        let settings = Arc::new(read.without_restart(&before));
        let deployment = self.deployment.again(&settings)?;

        let keeps_tls = same_certificates(&before, &settings);
        let tls = match keeps_tls {
            true => self.tls.clone(),
            false => load_certificates(&settings)?,
        };
        let dtls = match keeps_tls && before.dtls == settings.dtls {
            true => self.dtls.clone(),
            false => dtls_service(&settings, tls.as_ref())?,
        };
        let watch = match (keeps_tls, &tls) {
            (false, Some(tls)) => {
                Some(Watch::start(tls.clone()).context("the certificates cannot be watched")?)
            }
            _ => None,
        };
        let open_udp = || self.deployment.udp.iter().chain(&self.given_up);
        let udp: Vec<_> = deployment
            .udp
            .iter()
            .copied()
            .filter(|address| !open_udp().any(|open| open == address))
            .collect();
        let streams: Vec<_> = deployment
            .streams
            .iter()
            .copied()
            .filter(|new| {
                let mut open = self.deployment.streams.iter();
                !open.any(|open| open.address == new.address)
            })
            .collect();
        let opened = Opened {
            udp: bind_udp(&udp, deployment.shards, settings.socket_buffer)?,
            streams: bind_streams(&streams, deployment.shards)?,
        };
        let given_up = open_udp()
            .filter(|address| !deployment.udp.contains(address))
            .copied()
            .collect();
        let log = self.control.log();
        let changes_log = before.log != settings.log;
        if changes_log {
            log.configure(&settings.log)?;
        }
        if keeps_tls && let Some(tls) = &tls {
            match tls.reload() {
                Ok(findings) => findings.iter().for_each(Finding::log),
                Err(error) => {
                    if changes_log {
                        log.configure(&before.log)?;
                    }
                    return Err(error);
                }
            }
        }

        // Nothing below fails unless a shard is broken.
        let had_secret = self.deployment.made_up_secret.is_some();
        self.given_up = given_up;
        self.deployment = deployment;
        self.dtls = dtls;
        if !keeps_tls {
            self.watch = watch;
            self.tls = tls;
        }
        self.control.set_limits(self.deployment.limits);
        self.control.take_over(settings, self.tls.clone());
        if !had_secret && let Some(steps) = first_steps(&self.deployment, clock::unix_seconds()) {
            self.control.log().write_block(&steps);
        }
        self.configure(opened)?;
        Ok(Reloaded {
            applied,
            needs_restart,
            warnings,
        })
    }
}

impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |changes: &[Change]| {
            let changes: Vec<_> = changes.iter().map(ToString::to_string).collect();
            changes.join("; ")
        };
        match self.applied.is_empty() {
            true => f.write_str("nothing has changed that is taken over at once")?,
            false => f.write_str(&join(&self.applied))?,
        }
        if !self.needs_restart.is_empty() {
            write!(
                f,
                "; not before the server is started anew: {}",
                join(&self.needs_restart)
            )?;
        }
        Ok(())
    }
}

/// Whether the same files are served in the same way, whatever is in them.
fn same_certificates(before: &Settings, after: &Settings) -> bool {
    before.certificates == after.certificates
        && (before.tls12, &before.cipher_list) == (after.tls12, &after.cipher_list)
        && (before.tls || before.dtls) == (after.tls || after.dtls)
}
