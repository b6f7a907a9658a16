//! `turnctl`, the admin command of the Turnbuckle TURN/STUN relay server.
//!
//! Owns the process: arguments in, standard output and exit status out, and the one look at the clock. Exit status 1 is
//! a failure, 2 a wrong usage; `config check` has its own.

#![forbid(unsafe_code)]

mod api_key;
mod check;
mod cli;
mod completions;
mod config_check;
mod config_convert;
mod config_show;
mod configuration;
mod credentials;
mod detect_ip;
mod expiry;
mod failure;
mod format;
mod format_pages;
mod live;
mod matrix;
mod migrate;
mod password;
mod probe;
mod snippet;
mod url;

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::cli::{Cli, Command, ConfigCommand, ExplainCommand, MatrixCommand};
use crate::failure::Failure;

fn main() -> ExitCode {
    let result = match Cli::parse_or_exit().command {
        Command::Credentials(args) => unix_time().and_then(|now| credentials::run(&args, now)),
        Command::Password(args) => password::run(&args),
        Command::ApiKey(args) => api_key::run(&args),
        Command::Snippet(args) => unix_time().and_then(|now| snippet::run(&args, now)),
        Command::Check(args) => unix_time().and_then(|now| check::run(&args, now)),
        Command::Config(ConfigCommand::Check(args)) => config_check::run(&args),
        Command::Config(ConfigCommand::Convert(args)) => config_convert::run(&args),
        Command::Config(ConfigCommand::Show(args)) => config_show::run(&args),
        Command::Status(args) => live::status::run(&args),
        Command::Info(args) => live::info::run(&args),
        Command::Sessions(args) => live::sessions::run(&args),
        Command::Disconnect(args) => live::disconnect::run(&args),
        Command::Top(args) => live::top::run(&args),
        Command::LogLevel(args) => live::log_level::run(&args),
        Command::Reload(args) => live::reload::run(&args),
        Command::Drain(args) => live::drain::run(&args),
        Command::Explain(ExplainCommand::Peer(args)) => live::explain::peer(&args),
        Command::Explain(ExplainCommand::User(args)) => live::explain::user(&args),
        Command::Revoke(args) => live::revoke::add(&args),
        Command::Unrevoke(args) => live::revoke::remove(&args),
        Command::Revoked(args) => live::revoke::list(&args),
        Command::Matrix(MatrixCommand::Check(args)) => {
            unix_time().and_then(|now| matrix::check(&args, now))
        }
        Command::Version(args) => live::version::run(&args),
        Command::Migrate(args) => unix_time().and_then(|now| migrate::run(&args, now)),
        Command::DetectIp(args) => detect_ip::run(&args),
        Command::Run(args) => detect_ip::run_server(&args),
        Command::Completions(args) => Ok(completions::shell(&args)),
        Command::Man(args) => completions::manual(&args),
    };
    match result.and_then(|output| print(&output).map(|()| output.status)) {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            eprint!("{failure}");
            ExitCode::from(failure.status())
        }
    }
}

/// What a command has to say.
#[derive(Debug, PartialEq, Eq)]
struct Output {
    /// For standard output, as it is.
    text: String,
    /// For standard error: something that the operator should know.
    note: Option<String>,
    /// The exit status.
    status: u8,
}

impl Output {
    /// Text that says it worked.
    const fn new(text: String) -> Self {
        Self {
            text,
            note: None,
            status: 0,
        }
    }
}

/// Seconds since 1970-01-01 00:00 UTC.
#[allow(
    clippy::disallowed_methods,
    reason = "the one place that reads the clock"
)]
fn unix_time() -> Result<u64, Failure> {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map(|time| time.as_secs())
        .map_err(|_| Failure::new("the clock of this host is before 1970").help("set the clock"))
}

fn print(output: &Output) -> Result<(), Failure> {
    match io::stdout().lock().write_all(output.text.as_bytes()) {
        Ok(()) => {
            if let Some(note) = &output.note {
                eprintln!("note: {note}");
            }
            Ok(())
        }
        // Whoever read it has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::new(format!(
            "standard output cannot be written: {error}"
        ))),
    }
}
