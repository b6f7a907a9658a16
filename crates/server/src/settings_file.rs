//! Finds and reads the configuration file, and shows what is wrong with it.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result};
use turnbuckle_config::{Diagnostic, Files, Outcome, Settings, Severity, default_paths};

use crate::cli::Args;

/// Settings and where they come from.
pub(crate) struct Loaded {
    /// `None` if there was an error.
    pub(crate) settings: Option<Settings>,
    /// `None` where no file was read.
    pub(crate) file: Option<PathBuf>,
}

/// Reads the file that `args` name or the first of the default ones, and prints each diagnostic to standard error.
///
/// Fails if a file is there and cannot be read.
pub(crate) fn load(args: &Args) -> Result<Loaded> {
    let Reading {
        outcome,
        source,
        file,
    } = Reading::of(args)?;
    report(&outcome, &source);
    Ok(Loaded {
        settings: outcome.settings,
        file,
    })
}

/// Reads the same once more, while the server runs; with the settings come the warnings, a line each. What is wrong is in the
/// error, each finding with file, line and what to do.
pub(crate) fn read_again(args: &Args) -> Result<(Settings, Vec<String>)> {
    let outcome = Reading::of(args)?.outcome;
    let lines = |severity| -> Vec<_> {
        let found = outcome.diagnostics.iter();
        found
            .filter(|found| found.severity == severity)
            .map(in_one_line)
            .collect()
    };
    let (errors, warnings) = (lines(Severity::Error), lines(Severity::Warning));
    let settings = outcome.settings.with_context(|| errors.join("; "))?;
    Ok((settings, warnings))
}

/// A configuration as it was read.
struct Reading {
    outcome: Outcome,
    source: String,
    /// `None` where no file was read.
    file: Option<PathBuf>,
}

impl Reading {
    fn of(args: &Args) -> Result<Self> {
        let file = match &args.config {
            Some(path) => Some(path.clone()),
            None if args.no_file => None,
            None => default_paths()
                .iter()
                .map(PathBuf::from)
                .find(|path| path.exists()),
        };
        let source = match &file {
            Some(path) => read(path)?,
            None => String::new(),
        };
        let shown_as = file
            .clone()
            .unwrap_or_else(|| PathBuf::from("command line"));
        let outcome = turnbuckle_config::read(&shown_as, &source, &args.overrides, &HostFiles);
        Ok(Self {
            outcome,
            source,
            file,
        })
    }
}

/// Files of this host.
struct HostFiles;

impl Files for HostFiles {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn credentials_directory(&self) -> Option<PathBuf> {
        env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from)
    }
}

fn read(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| {
        format!(
            "{} cannot be read by user {}",
            path.display(),
            env::var("USER").unwrap_or_else(|_| "of this process".to_owned())
        )
    })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn in_one_line(found: &Diagnostic) -> String {
    let place = match (&found.file, found.line) {
        (Some(file), Some(line)) => format!("{}:{line}: ", file.display()),
        (Some(file), None) => format!("{}: ", file.display()),
        (None, _) => String::new(),
    };
    let help = found.help.as_ref();
    let help = help.map_or_else(String::new, |help| format!(" ({help})"));
    format!("{place}{}{help}", found.message)
}

fn report(outcome: &Outcome, source: &str) {
    let color = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none();
    let mut text = String::new();
    for diagnostic in &outcome.diagnostics {
        text.push_str(&diagnostic.render(source, color));
    }
    let errors = outcome
        .diagnostics
        .iter()
        .filter(|d| d.severity == Severity::Error)
        .count();
    if errors > 0 {
        let plural = if errors == 1 { "" } else { "s" };
        text.push_str(&format!("{errors} error{plural}; nothing was started\n"));
    }
    // Where standard error is closed there is nobody to tell.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
