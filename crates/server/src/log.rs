//! Where log lines go: standard output, the journal, a file, the system log. Owns the sinks and the level, both of which change
//! while the server runs; what a session's lines say is the matter of `session_log`.

mod file;
mod journal;
mod privacy;
mod record;
mod syslog;

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::{env, fmt};

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{self, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};
use turnbuckle_config::{LogFormat, LogLevel, LogSettings, LogTarget, SyslogFacility};

use self::file::LogFile;
use self::journal::Journal;
use self::privacy::Privacy;
use self::record::{Record, Style};
use self::syslog::Syslog;

/// The open log. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Log(Arc<Shared>);

struct Shared {
    sinks: ArcSwap<Sinks>,
    privacy: Privacy,
    /// Set once, when the log is the process's.
    level: OnceLock<reload::Handle<LevelFilter, Registry>>,
}

struct Sinks {
    settings: LogSettings,
    console: Console,
    file: Option<LogFile>,
    syslog: Option<Syslog>,
}

/// What standard output is.
enum Console {
    Silent,
    Stream { style: Style },
    Journal(Journal),
}

#[allow(dead_code, reason = "what is not asked for yet")]
impl Log {
    /// Opens the log and makes it the process's. Fails if a file cannot be written to.
    pub(crate) fn start(settings: &LogSettings) -> Result<Self> {
        let (sinks, missing) = Sinks::open(settings)?;
        let log = Self(Arc::new(Shared {
            sinks: ArcSwap::from_pointee(sinks),
            privacy: Privacy::default(),
            level: OnceLock::new(),
        }));
        let (filter, handle) = reload::Layer::new(filter(settings.level));
        // Fails if there is a log already, which only a test could have made.
        tracing_subscriber::registry()
            .with(filter)
            .with(log.clone())
            .try_init()
            .map_err(|error| anyhow::anyhow!("the log cannot be started: {error}"))?;
        let _ = log.0.level.set(handle);
        missing.iter().for_each(Missing::tell);
        Ok(log)
    }

    /// Goes over to other settings. If a file cannot be written to, everything stays as it was.
    pub(crate) fn configure(&self, settings: &LogSettings) -> Result<()> {
        let (sinks, missing) = Sinks::open(settings)?;
        self.0.sinks.store(Arc::new(sinks));
        self.set_level(settings.level)?;
        missing.iter().for_each(Missing::tell);
        Ok(())
    }

    /// Writes lines down to this level from now on.
    pub(crate) fn set_level(&self, level: LogLevel) -> Result<()> {
        let handle = self.0.level.get().context("the log is not started")?;
        handle
            .modify(|current| *current = filter(level))
            .context("the level of the log cannot be changed")
    }

    /// Opens the file anew, after it has been moved away by log rotation.
    pub(crate) fn reopen(&self) -> Result<()> {
        match &self.0.sinks.load().file {
            Some(file) => file.reopen(),
            None => Ok(()),
        }
    }

    /// Writes a block of text as it is: to standard output where that is looked at, and line by line into any other log.
    pub(crate) fn write_block(&self, block: &str) {
        self.0.sinks.load().write_block(block);
    }

    /// The level in force.
    pub(crate) fn level(&self) -> LogLevel {
        let current = self
            .0
            .level
            .get()
            .and_then(reload::Handle::clone_current)
            .unwrap_or(LevelFilter::INFO);
        [
            LogLevel::Error,
            LogLevel::Warn,
            LogLevel::Info,
            LogLevel::Debug,
        ]
        .into_iter()
        .find(|level| filter(*level) == current)
        .unwrap_or(LogLevel::Trace)
    }
}

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _: layer::Context<'_, S>) {
        let sinks = self.0.sinks.load();
        let mut record = Record::of(event);
        self.0.privacy.apply(sinks.settings.privacy, &mut record);
        sinks.write(&record);
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Log(..)")
    }
}

impl Sinks {
    fn open(settings: &LogSettings) -> Result<(Self, Option<Missing>)> {
        let stream = env::var("JOURNAL_STREAM").ok();
        let journaled = journal::leads_to_journal(io::stdout(), stream.as_deref());
        let mut missing = None;
        let mut file = None;
        let mut syslog = None;
        match &settings.target {
            LogTarget::Stdout => {}
            LogTarget::File(path) => file = Some(LogFile::open(path)?),
            // Standard output is the system log already.
            LogTarget::Syslog if journaled => {}
            LogTarget::Syslog => match Syslog::connect(Path::new(syslog::SOCKET)) {
                Ok(socket) => syslog = Some(socket),
                Err(error) => missing = Some(Missing::Syslog(error)),
            },
        }
        let alone = file.is_none() && syslog.is_none();
        let stream = || Console::Stream {
            style: Style {
                // A journal adds the time.
                time: !journaled,
                color: alone && io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none(),
            },
        };
        let console = match (alone || settings.stdout_copy, journaled) {
            (false, _) => Console::Silent,
            (true, false) => stream(),
            (true, true) => match Journal::connect(Path::new(journal::SOCKET)) {
                Ok(journal) => Console::Journal(journal),
                Err(error) => {
                    missing = Some(Missing::Journal(error));
                    stream()
                }
            },
        };
        let sinks = Self {
            settings: settings.clone(),
            console,
            file,
            syslog,
        };
        Ok((sinks, missing))
    }

    fn write(&self, record: &Record) {
        let json = (self.settings.format == LogFormat::Json).then(|| record.json());
        let line = |style| match &json {
            Some(json) => json.clone(),
            None => record.text(style),
        };
        match &self.console {
            Console::Silent => {}
            Console::Stream { style } => {
                // Where standard output is closed there is nobody to tell.
                let _ = writeln!(io::stdout().lock(), "{}", line(*style));
            }
            Console::Journal(journal) => {
                journal.write(record, &line(Style::default()), self.facility());
            }
        }
        if let Some(file) = &self.file {
            file.write(&line(Style {
                time: true,
                color: false,
            }));
        }
        if let Some(syslog) = &self.syslog {
            syslog.write(record.level(), &line(Style::default()), self.facility());
        }
    }

    fn write_block(&self, block: &str) {
        let lines = || block.lines().filter(|line| !line.trim().is_empty());
        let records = || lines().map(|line| Record::new(Level::INFO, line.trim_end()));
        if self.settings.format == LogFormat::Json {
            return records().for_each(|record| self.write(&record));
        }
        match &self.console {
            Console::Silent => {}
            Console::Stream { .. } => {
                let _ = io::stdout().lock().write_all(block.as_bytes());
            }
            Console::Journal(journal) => records().for_each(|record| {
                journal.write(&record, &record.text(Style::default()), self.facility());
            }),
        }
        for line in lines() {
            if let Some(file) = &self.file {
                file.write(line);
            }
            if let Some(syslog) = &self.syslog {
                syslog.write(Level::INFO, line, self.facility());
            }
        }
    }

    const fn facility(&self) -> u8 {
        SyslogFacility::code(self.settings.facility)
    }
}

/// A log that was asked for and is not there.
enum Missing {
    Syslog(io::Error),
    Journal(io::Error),
}

impl Missing {
    fn tell(&self) {
        match self {
            Self::Syslog(error) => tracing::warn!(
                "the system log cannot be reached, so lines go to standard output: {error}"
            ),
            Self::Journal(error) => {
                tracing::warn!("the journal gets lines without fields: {error}");
            }
        }
    }
}

const fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A log into a file and nowhere else, which is not the process's.
    fn log(settings: &LogSettings) -> Log {
        let (sinks, missing) = Sinks::open(settings).unwrap();
        assert!(missing.is_none());
        Log(Arc::new(Shared {
            sinks: ArcSwap::from_pointee(sinks),
            privacy: Privacy::default(),
            level: OnceLock::new(),
        }))
    }

    fn into_file(path: &Path) -> LogSettings {
        LogSettings {
            target: LogTarget::File(path.to_owned()),
            stdout_copy: false,
            ..LogSettings::default()
        }
    }

    #[test]
    fn the_level_changes_while_lines_are_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let log = log(&into_file(&path));
        let (filter, handle) = reload::Layer::new(filter(LogLevel::Info));
        log.0.level.set(handle).unwrap();
        let subscriber = tracing_subscriber::registry()
            .with(filter)
            .with(log.clone());
        tracing::subscriber::with_default(subscriber, || {
            let speak = || {
                tracing::debug!("whisper");
                tracing::info!("word");
            };
            speak();
            log.set_level(LogLevel::Debug).unwrap();
            assert_eq!(log.level(), LogLevel::Debug);
            speak();
            log.set_level(LogLevel::Error).unwrap();
            speak();
        });
        let text = fs::read_to_string(&path).unwrap();
        let words: Vec<_> = text
            .lines()
            .map(|line| line.rsplit(' ').next().unwrap())
            .collect();
        assert_eq!(words, ["word", "whisper", "word"]);
    }

    #[test]
    fn every_line_of_a_json_log_is_an_object() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let log = log(&LogSettings {
            format: LogFormat::Json,
            ..into_file(&path)
        });
        log.write_block("Turnbuckle\n  clients  udp\n\n");
        let subscriber = tracing_subscriber::registry().with(log);
        tracing::subscriber::with_default(subscriber, || tracing::info!(n = 1_u64, "three"));
        let text = fs::read_to_string(&path).unwrap();
        let messages: Vec<_> = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["message"].clone())
            .collect();
        assert_eq!(messages, ["Turnbuckle", "  clients  udp", "three"]);
    }

    #[test]
    fn a_log_that_cannot_be_opened_leaves_the_old_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let log = log(&into_file(&path));
        let elsewhere = into_file(&directory.path().join("missing/log"));
        let error = log.configure(&elsewhere).unwrap_err();
        assert!(format!("{error:#}").contains("missing/log"), "{error:#}");
        log.write_block("still here\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "still here\n");
    }

    #[test]
    fn a_file_that_was_moved_away_is_opened_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let log = log(&into_file(&path));
        fs::rename(&path, directory.path().join("log.1")).unwrap();
        log.write_block("old\n");
        log.reopen().unwrap();
        log.write_block("new\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "new\n");
    }
}
