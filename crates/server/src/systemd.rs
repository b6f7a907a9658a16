//! What systemd is told (sd_notify(3)): that the server is ready, what it does, and that it is alive. Silent where nobody asked, so
//! nothing here depends on systemd being there.
//!
//! Owns when it is spoken and the words. Whether the server is alive is found out by asking its shards.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{env, io};

use sd_notify::NotifyState;

use crate::control::{Control, ShardReport, State};

/// All listeners are bound and all shards run, also after a reload.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is being read anew; [`ready`] says when that is over, however it went.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!("systemd is not told of the reload: {error}"),
    }
}

/// The server ends.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// A thread that looks at the server's health and tells systemd. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Heartbeat {
    /// Starts to ask the shards every few seconds, more often where the watchdog wants it; `None` if systemd does not listen. Fails
    /// if the host gives no thread.
    pub(crate) fn start(control: Control) -> io::Result<Option<Self>> {
        if env::var_os("NOTIFY_SOCKET").is_none() {
            return Ok(None);
        }
        let watchdog = sd_notify::watchdog_enabled();
        let interval = interval(watchdog);
        let mut pulse = Pulse::new(watchdog.is_some());
        let (stop, stopped) = channel();
        let thread = thread::Builder::new()
            .name("systemd".to_owned())
            .spawn(move || {
                loop {
                    pulse.beat(&Health::of(&control)).send();
                    if stopped.recv_timeout(interval) != Err(RecvTimeoutError::Timeout) {
                        return;
                    }
                }
            })?;
        Ok(Some(Self {
            stop: Some(stop),
            thread: Some(thread),
        }))
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// How the server is at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Health {
    /// One word, such as `serving`.
    state: &'static str,
    sessions: usize,
    shards: usize,
    /// Numbers of the shards that did not answer in time.
    silent: Vec<u8>,
}

impl Health {
    /// Takes up to 2 s where a shard does not answer.
    fn of(control: &Control) -> Self {
        let reports = control.reports();
        let live = |report: &ShardReport| {
            let figures = report.figures.as_ref();
            figures.map_or(0, |figures| figures.allocations.total())
        };
        Self {
            state: match control.state() {
                State::Starting => "starting",
                State::Ready => "serving",
                State::Draining => "draining",
                State::Stopping => "stopping",
            },
            sessions: reports.iter().map(live).sum(),
            shards: reports.len(),
            silent: reports
                .iter()
                .filter(|report| report.figures.is_none())
                .map(|report| report.id.0)
                .collect(),
        }
    }
}

/// What is to be said, one look after the other.
struct Pulse {
    watched: bool,
    status: String,
    silent: Vec<u8>,
}

/// What one look comes to.
#[derive(Debug, PartialEq, Eq)]
struct Beat {
    alive: bool,
    status: Option<String>,
}

impl Pulse {
    const fn new(watched: bool) -> Self {
        Self {
            watched,
            status: String::new(),
            silent: Vec::new(),
        }
    }

    fn beat(&mut self, health: &Health) -> Beat {
        if health.silent != self.silent {
            self.silent.clone_from(&health.silent);
            if !health.silent.is_empty() {
                tracing::error!(
                    "{}, which is a bug; please report it",
                    silence(&health.silent)
                );
            }
        }
        let status = status(health);
        let changed = status != self.status;
        self.status.clone_from(&status);
        Beat {
            // A server of which a part hangs is better started anew.
            alive: self.watched && health.silent.is_empty(),
            status: changed.then_some(status),
        }
    }
}

impl Beat {
    fn send(&self) {
        let mut states = Vec::new();
        if self.alive {
            states.push(NotifyState::Watchdog);
        }
        states.extend(self.status.as_deref().map(NotifyState::Status));
        if !states.is_empty() {
            tell(&states);
        }
    }
}

fn status(health: &Health) -> String {
    if !health.silent.is_empty() {
        return silence(&health.silent);
    }
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    format!(
        "{}: {} session{}, {} shard{}",
        health.state,
        health.sessions,
        plural(health.sessions),
        health.shards,
        plural(health.shards)
    )
}

fn silence(silent: &[u8]) -> String {
    let numbers: Vec<String> = silent.iter().map(u8::to_string).collect();
    format!("no answer from shard {}", numbers.join(", "))
}

/// A third of what the watchdog waits, so that one late beat does no harm.
fn interval(watchdog: Option<Duration>) -> Duration {
    watchdog.map_or(STATUS_INTERVAL, |limit| (limit / 3).min(STATUS_INTERVAL))
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("systemd cannot be told: {error}");
    }
}

const STATUS_INTERVAL: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn health(silent: &[u8]) -> Health {
        Health {
            state: "serving",
            sessions: 1,
            shards: 4,
            silent: silent.to_vec(),
        }
    }

    #[test]
    fn a_hung_shard_stops_the_watchdog() {
        let mut pulse = Pulse::new(true);
        assert_eq!(
            pulse.beat(&health(&[])),
            Beat {
                alive: true,
                status: Some("serving: 1 session, 4 shards".to_owned())
            }
        );
        assert_eq!(
            pulse.beat(&health(&[])),
            Beat {
                alive: true,
                status: None
            }
        );
        assert_eq!(
            pulse.beat(&health(&[1, 3])),
            Beat {
                alive: false,
                status: Some("no answer from shard 1, 3".to_owned())
            }
        );
        assert!(!pulse.beat(&health(&[3])).alive);
        assert!(pulse.beat(&health(&[])).alive);
    }

    #[test]
    fn without_a_watchdog_there_is_only_the_status() {
        let beat = Pulse::new(false).beat(&health(&[]));
        assert!(!beat.alive && beat.status.is_some());
    }

    #[test]
    fn beats_come_well_before_the_watchdog_bites() {
        let seconds = Duration::from_secs;
        assert_eq!(interval(None), seconds(5));
        assert_eq!(interval(Some(seconds(30))), seconds(5));
        assert_eq!(interval(Some(seconds(3))), seconds(1));
    }
}
