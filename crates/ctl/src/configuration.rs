//! Finds and reads what a command needs to know of the server: its configuration file, or a file with the secret.

use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use turnbuckle_config::{Files, Outcome, Secret, Settings, Severity, default_paths, read};

use crate::cli::SourceArgs;
use crate::failure::Failure;

/// What was read.
#[derive(Debug)]
pub(crate) struct Configuration {
    pub(crate) settings: Settings,
    /// What the settings came from, for messages.
    pub(crate) origin: String,
}

impl Configuration {
    /// Reads what the arguments name, or the first default file that exists.
    pub(crate) fn read(args: &SourceArgs) -> Result<Self, Failure> {
        let path = match (&args.config, &args.secret_file) {
            (Some(path), _) => Some(path.clone()),
            (None, Some(_)) => None,
            (None, None) => Some(default_path()?),
        };
        let settings = path.as_deref().map(settings).transpose()?;
        let origin = path.as_ref().or(args.secret_file.as_ref());
        let mut configuration = Self {
            settings: settings.unwrap_or_default(),
            origin: origin
                .map(|path| path.display().to_string())
                .unwrap_or_default(),
        };
        if let Some(path) = &args.secret_file {
            configuration.settings.secrets = vec![secret(path)?];
        }
        Ok(configuration)
    }

    /// The secret that new credentials are made with.
    pub(crate) fn secret(&self) -> Result<&Secret, Failure> {
        self.settings.secrets.first().ok_or_else(|| {
            Failure::new(format!("{} has no `static-auth-secret`", self.origin)).help(
                "add `static-auth-secret=` and what `openssl rand -hex 32` prints; a secret that the server made up is \
                 known to that run of it alone",
            )
        })
    }
}

pub(crate) fn default_path() -> Result<PathBuf, Failure> {
    let found = default_paths()
        .iter()
        .map(Path::new)
        .find(|path| path.exists());
    found.map(Path::to_owned).ok_or_else(|| {
        Failure::new(format!(
            "there is no configuration file: none of {}",
            default_paths().join(", ")
        ))
        .help("name one with `-c FILE`, or a file with the secret with `--secret-file FILE`")
    })
}

fn settings(path: &Path) -> Result<Settings, Failure> {
    let source = text(path)?;
    usable(path, &source, read(path, &source, &[], &HostFiles))
}

/// The settings of a file without errors; shows the errors otherwise.
pub(crate) fn usable(path: &Path, source: &str, outcome: Outcome) -> Result<Settings, Failure> {
    let Outcome {
        settings,
        diagnostics,
        ..
    } = outcome;
    settings.ok_or_else(|| {
        let errors = diagnostics
            .iter()
            .filter(|found| found.severity == Severity::Error);
        Failure::new(format!(
            "{} cannot be used, and no server would start with it",
            path.display()
        ))
        .findings(
            errors
                .map(|found| found.render(source, is_colored(&io::stderr())))
                .collect(),
        )
    })
}

/// Whether to colour what goes there.
pub(crate) fn is_colored(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Files of this host.
pub(crate) struct HostFiles;

impl Files for HostFiles {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn credentials_directory(&self) -> Option<PathBuf> {
        std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from)
    }
}

fn secret(path: &Path) -> Result<Secret, Failure> {
    let text = Secret::new(text(path)?);
    let mut lines = text
        .expose()
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    match (lines.next(), lines.next()) {
        (Some(secret), None) => Ok(Secret::new(secret)),
        (None, _) => Err(Failure::new(format!("{} is empty", path.display()))
            .help("it should hold one line, the `static-auth-secret` of the server")),
        (Some(_), Some(_)) => Err(Failure::new(format!(
            "{} holds more than one line",
            path.display()
        ))
        .help("it should hold the secret alone; name a configuration file with `-c FILE`")),
    }
}

pub(crate) fn text(path: &Path) -> Result<String, Failure> {
    let bytes = fs::read(path).map_err(|error| {
        let failure = Failure::new(format!("{} cannot be read: {error}", path.display()));
        match error.kind() {
            io::ErrorKind::PermissionDenied => {
                failure.help("run the command as root or as the user of the server")
            }
            _ => failure,
        }
    })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
