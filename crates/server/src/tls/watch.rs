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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::tls::finding::Severity;
    use crate::tls::test_certificates::{
        ALL_VERSIONS, Authority, NOW, Session, leaf_params, load, replace,
    };

    struct Watched {
        authority: Authority,
        files: turnbuckle_config::CertificateFiles,
        service: TlsService,
        watcher: Watcher,
    }

    impl Watched {
        fn new() -> Self {
            let authority = Authority::new();
            let files = authority.files("pair", &["turn.example.org"]);
            Self::of(authority, files)
        }

        fn of(authority: Authority, files: turnbuckle_config::CertificateFiles) -> Self {
            let (service, _) = load(std::slice::from_ref(&files));
            Self {
                watcher: Watcher::new(service.clone(), NOW),
                authority,
                files,
                service,
            }
        }

        fn seen(&self) -> Vec<u8> {
            let client = self.authority.client(ALL_VERSIONS).into();
            let session = Session::connect(&self.service, &client, "turn.example.org").unwrap();
            session.certificate().to_vec()
        }

        fn step(&mut self) -> Vec<String> {
            let findings = self.watcher.step(NOW);
            findings.into_iter().map(|finding| finding.text).collect()
        }
    }

    #[test]
    fn nothing_is_said_while_nothing_changes() {
        let mut watched = Watched::new();
        assert!(watched.step().is_empty());
        // Same contents in a new file, as a backup tool restores them.
        let cert = fs::read_to_string(&watched.files.cert).unwrap();
        replace(&watched.files.cert, &cert);
        let stamps = watched.service.stamps();
        assert!(!watched.service.is_served(&stamps));
        assert!(watched.step().is_empty());
        assert!(watched.service.is_served(&stamps));
    }

    #[test]
    fn a_pair_replaced_one_after_the_other_is_served_when_it_fits() {
        let mut watched = Watched::new();
        let old = watched.seen();
        let (cert, key) = watched.authority.issue(&["turn.example.org"]);
        replace(&watched.files.cert, &cert);
        assert!(watched.step().is_empty());
        assert_eq!(watched.seen(), old);
        replace(&watched.files.key, &key);
        let told = watched.step();
        assert!(
            told[0].contains("were replaced: new connections"),
            "{told:?}"
        );
        assert!(told[1].contains("turn.example.org"), "{told:?}");
        assert_ne!(watched.seen(), old);
        assert!(watched.step().is_empty());
    }

    #[test]
    fn a_replacement_that_stays_broken_is_told_once() {
        let mut watched = Watched::new();
        let old = watched.seen();
        let (cert, key) = watched.authority.issue(&["turn.example.org"]);
        replace(&watched.files.key, "nonsense");
        assert!(watched.step().is_empty());
        let told = watched.step();
        assert_eq!(told.len(), 1);
        assert!(
            told[0].contains("so the old certificates stay in use"),
            "{told:?}"
        );
        assert!(told[0].contains("is not PEM"), "{told:?}");
        assert!(watched.step().is_empty());
        assert_eq!(watched.seen(), old);

        // Another broken one is another matter.
        fs::remove_file(&watched.files.key).unwrap();
        assert!(watched.step().is_empty());
        assert!(watched.step()[0].contains("does not exist"));
        assert!(watched.step().is_empty());

        replace(&watched.files.cert, &cert);
        replace(&watched.files.key, &key);
        assert!(watched.step()[0].contains("were replaced: new connections"));
        assert_ne!(watched.seen(), old);
    }

    #[test]
    fn links_are_followed_as_certbot_sets_them() {
        let authority = Authority::new();
        let first = authority.files("archive1", &["turn.example.org"]);
        let second = authority.files("archive2", &["turn.example.org"]);
        let live = authority.path("live");
        fs::create_dir(&live).unwrap();
        let files = turnbuckle_config::CertificateFiles {
            cert: live.join("fullchain.pem"),
            key: live.join("privkey.pem"),
            password: None,
        };
        symlink("../archive1/cert.pem", &files.cert).unwrap();
        symlink(&first.key, &files.key).unwrap();
        let mut watched = Watched::of(authority, files.clone());
        let old = watched.seen();
        assert!(watched.step().is_empty());
        for (link, target) in [(&files.cert, &second.cert), (&files.key, &second.key)] {
            fs::remove_file(link).unwrap();
            symlink(target, link).unwrap();
        }
        assert!(watched.step()[0].contains("were replaced: new connections"));
        assert_ne!(watched.seen(), old);
    }

    #[test]
    fn dates_are_looked_at_once_a_day() {
        let authority = Authority::new();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = leaf_params(&["turn.example.org"]);
        params.not_after = rcgen::date_time_ymd(2026, 12, 12);
        let cert = authority.sign(&params, &key) + &authority.intermediate.pem();
        let files = authority.write("pair", &cert, &key.serialize_pem());
        let mut watched = Watched::of(authority, files);
        const DAY: u64 = 24 * 60 * 60;
        assert!(watched.watcher.step(NOW + DAY - 1).is_empty());
        let told = watched.watcher.step(NOW + 2 * DAY);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].severity, Severity::Warning);
        assert!(
            told[0].text.contains("expires in 20 days, on 2026-12-12"),
            "{told:?}"
        );
        assert!(watched.watcher.step(NOW + 2 * DAY + 1).is_empty());
        let told = watched.watcher.step(NOW + 30 * DAY);
        assert_eq!(told[0].severity, Severity::Error);
    }

    #[test]
    fn the_thread_ends_when_the_watch_is_dropped() {
        let watched = Watched::new();
        let watch = Watch::start(watched.service.clone()).unwrap();
        // Joins the thread, which would otherwise wait for the next look.
        drop(watch);
    }
}
