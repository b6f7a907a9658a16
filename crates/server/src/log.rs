//! Where log lines go: standard output, a file, the system log.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::{env, process};

use anyhow::{Context, Result};
use tracing::{Level, Metadata};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use turnbuckle_config::{LogLevel, LogSettings, LogTarget};

/// The open log. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Log(Arc<Sinks>);

struct Sinks {
    stdout: bool,
    file: Option<LogFile>,
    syslog: Option<UnixDatagram>,
}

struct LogFile {
    path: PathBuf,
    file: Mutex<File>,
}

impl Log {
    /// Opens the log and makes it the process's. Fails if a file cannot be written to.
    pub(crate) fn start(settings: &LogSettings) -> Result<Self> {
        // A journal adds the time, and gets standard output anyway.
        let journal = env::var_os("JOURNAL_STREAM").is_some();
        let mut missing_syslog = None;
        let sinks = match &settings.target {
            LogTarget::Stdout => Sinks {
                stdout: true,
                file: None,
                syslog: None,
            },
            LogTarget::File(path) => Sinks {
                stdout: settings.stdout_copy,
                file: Some(LogFile {
                    path: path.clone(),
                    file: Mutex::new(open(path)?),
                }),
                syslog: None,
            },
            LogTarget::Syslog if journal => Sinks {
                stdout: true,
                file: None,
                syslog: None,
            },
            LogTarget::Syslog => match connect_syslog() {
                Ok(socket) => Sinks {
                    stdout: settings.stdout_copy,
                    file: None,
                    syslog: Some(socket),
                },
                Err(error) => {
                    missing_syslog = Some(error);
                    Sinks {
                        stdout: true,
                        file: None,
                        syslog: None,
                    }
                }
            },
        };
        let color = sinks.stdout
            && sinks.file.is_none()
            && sinks.syslog.is_none()
            && io::stdout().is_terminal()
            && env::var_os("NO_COLOR").is_none();
        let log = Self(Arc::new(sinks));
        let lines = tracing_subscriber::fmt()
            .with_max_level(level(settings.level))
            .with_target(false)
            .with_ansi(color)
            .with_writer(log.clone());
        // Fails if there is a log already, which only a test could have made.
        let started = if journal {
            lines.without_time().try_init()
        } else {
            lines.try_init()
        };
        started.map_err(|error| anyhow::anyhow!("the log cannot be started: {error}"))?;
        if let Some(error) = missing_syslog {
            tracing::warn!(
                "the system log cannot be reached, so lines go to standard output: {error}"
            );
        }
        Ok(log)
    }

    /// Opens the file anew, after it has been moved away by log rotation.
    pub(crate) fn reopen(&self) -> Result<()> {
        if let Some(log_file) = &self.0.file {
            let fresh = open(&log_file.path)?;
            *log_file.file.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        }
        Ok(())
    }

    /// Writes a block of text as it is: to standard output where that is looked at, and line by line into any other log.
    pub(crate) fn write_block(&self, block: &str) {
        if self.0.stdout {
            let _ = io::stdout().lock().write_all(block.as_bytes());
        }
        for line in block.lines().filter(|line| !line.trim().is_empty()) {
            if let Some(file) = &self.0.file {
                file.write(format!("{line}\n").as_bytes());
            }
            if let Some(syslog) = &self.0.syslog {
                send_syslog(syslog, Level::INFO, line.as_bytes());
            }
        }
    }
}

impl LogFile {
    fn write(&self, bytes: &[u8]) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // A full disk must not stop calls, and there is nowhere to say so.
        let _ = file.write_all(bytes);
    }
}

/// One line on its way to all sinks.
pub(crate) struct Line<'a> {
    sinks: &'a Sinks,
    level: Level,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.sinks.stdout {
            let _ = io::stdout().lock().write_all(bytes);
        }
        if let Some(file) = &self.sinks.file {
            file.write(bytes);
        }
        if let Some(syslog) = &self.sinks.syslog {
            send_syslog(syslog, self.level, bytes.trim_ascii_end());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line {
            sinks: &self.0,
            level: Level::INFO,
        }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line<'a> {
        Line {
            sinks: &self.0,
            level: *metadata.level(),
        }
    }
}

fn open(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("the log file {} cannot be written to", path.display()))
}

fn connect_syslog() -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(SYSLOG_SOCKET)?;
    // A log daemon that does not read loses lines instead of stopping the server.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// RFC 3164: facility daemon.
fn send_syslog(socket: &UnixDatagram, level: Level, line: &[u8]) {
    let severity = match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    };
    let mut message =
        format!("<{}>turnbuckle[{}]: ", (3 << 3) | severity, process::id()).into_bytes();
    message.extend_from_slice(line);
    let _ = socket.send(&message);
}

const fn level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

const SYSLOG_SOCKET: &str = "/dev/log";
