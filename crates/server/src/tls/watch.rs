//! Notices that certificate files were replaced and has them read. Owns when to look and when to speak; what is good enough to
//! be served is the service's matter.

use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::finding::Finding;
use super::service::TlsService;
use super::stamp::Stamp;
use crate::clock;

/// The watching itself, one look at a time.
#[derive(Debug)]
pub(crate) struct Watcher {
    service: TlsService,
    /// The last replacement that could not be used.
    refused: Option<Refused>,
    /// Seconds since 1970.
    dates_inspected: u64,
}

#[derive(Debug)]
struct Refused {
    stamps: Vec<Stamp>,
    told: bool,
}

impl Watcher {
    /// Watches the files of `service`, whose dates were last looked at at `now` (seconds since 1970).
    pub(crate) fn new(service: TlsService, now: u64) -> Self {
        Self {
            service,
            refused: None,
            dates_inspected: now,
        }
    }

    /// Looks once at all files, at `now` (seconds since 1970), and says what is to be logged.
    ///
    /// Changed files are read and served if all pairs are good. If not, the old ones stay, and that is told once, at the
    /// second look that finds the same files: certificate and key are replaced one after the other.
    pub(crate) fn step(&mut self, now: u64) -> Vec<Finding> {
        let stamps = self.service.stamps();
        let mut findings = Vec::new();
        if self.service.is_served(&stamps) {
            self.refused = None;
        } else {
            findings = self.try_again(stamps, now);
        }
        if now.saturating_sub(self.dates_inspected) >= DATES_INTERVAL_SECONDS {
            self.dates_inspected = now;
            findings.extend(self.service.inspect_dates(now));
        }
        findings
    }

    fn try_again(&mut self, stamps: Vec<Stamp>, now: u64) -> Vec<Finding> {
        let before = self.refused.take().filter(|before| before.stamps == stamps);
        if let Some(before) = before {
            if before.told {
                self.refused = Some(before);
                return Vec::new();
            }
            return self.reload(stamps, now, true);
        }
        self.reload(stamps, now, false)
    }

    fn reload(&mut self, stamps: Vec<Stamp>, now: u64, tell: bool) -> Vec<Finding> {
        match self.service.reload_at(now) {
            // Touched, moved or given other permissions.
            Ok(reloaded) if !reloaded.is_new => Vec::new(),
            Ok(reloaded) => {
                self.dates_inspected = now;
                let mut findings = reloaded.findings;
                findings.insert(
                    0,
                    Finding::note("the certificate files were replaced: new connections get the new certificates"),
                );
                findings
            }
            Err(error) => {
                self.refused = Some(Refused { stamps, told: tell });
                match tell {
                    true => vec![Finding::warning(format!(
                        "the certificate files were replaced and cannot be used, so the old certificates stay in use: {error:#}"
                    ))],
                    false => Vec::new(),
                }
            }
        }
    }
}

/// A thread that looks every [`Watch::INTERVAL`]. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Time between two looks.
    pub(crate) const INTERVAL: Duration = Duration::from_secs(5);

    /// Starts to watch the files of `service`. Fails if the host gives no thread.
    pub(crate) fn start(service: TlsService) -> io::Result<Self> {
        let (stop, stopped) = channel();
        let mut watcher = Watcher::new(service, clock::unix_seconds());
        let thread = thread::Builder::new()
            .name("certificates".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(Self::INTERVAL) == Err(RecvTimeoutError::Timeout) {
                    for finding in watcher.step(clock::unix_seconds()) {
                        finding.log();
                    }
                }
            })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in it was reported when it happened.
            let _ = thread.join();
        }
    }
}

/// Certificates run out while the server runs, too.
const DATES_INTERVAL_SECONDS: u64 = 24 * 60 * 60;
