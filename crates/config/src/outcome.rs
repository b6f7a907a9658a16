//! What a configuration file and a command line come to, whichever format the file has. Owns the order of the steps and
//! which file is of which format.

use std::path::Path;

use crate::check;
use crate::diagnostic::{Diagnostic, Severity};
use crate::draft::{Draft, Format, Given, LeftOut};
#[cfg(feature = "eturnal")]
use crate::eturnal;
use crate::files::Files;
use crate::settings::Settings;
use crate::turnbuckle_toml;
use crate::turnserver_conf::{self, Override};

/// What a file and a command line came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The settings; `None` if any finding is an error, so that a server cannot start on half a file.
    pub settings: Option<Settings>,
    /// Every finding, in the order of the lines; those about no line come last.
    pub diagnostics: Vec<Diagnostic>,
    /// Every known key that was given, in order.
    pub(crate) given: Vec<Given>,
    /// Every option of another server that nothing becomes of, in order.
    pub(crate) left_out: Vec<LeftOut>,
    pub(crate) format: Format,
}

/// Reads a configuration file, and the files that it names, then the keys of the command line.
///
/// A file whose name ends in `.toml` is read as `turnbuckle.toml`, any other as `turnserver.conf`; that of eturnal, which ends
/// in `.yml`, is an error. Without a file `source` is empty.
pub fn read(path: &Path, source: &str, overrides: &[Override], files: &dyn Files) -> Outcome {
    Outcome::of(format_of(path), path, source, overrides, Some(files))
}

/// As [`read`], for a file of any host: the files that it names are not looked for. With the feature `eturnal`, `eturnal.yml` is
/// read as well.
pub fn read_alone(path: &Path, source: &str) -> Outcome {
    Outcome::of(format_of(path), path, source, &[], None)
}

/// Where a configuration file is looked for when none is named, the first found being used.
///
/// Unlike coturn, the working directory is not among them: who can write there could name the secrets.
pub fn default_paths() -> &'static [&'static str] {
    &[
        "/etc/turnbuckle/turnbuckle.toml",
        "/etc/turnbuckle/turnserver.conf",
        "/etc/turnserver.conf",
        "/etc/coturn/turnserver.conf",
        "/usr/local/etc/turnserver.conf",
        "/usr/local/etc/coturn/turnserver.conf",
    ]
}

fn format_of(path: &Path) -> Format {
    let ends_in = |wanted: &str| {
        path.extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case(wanted))
    };
    if ends_in("toml") {
        Format::Toml
    } else if ends_in("yml") || ends_in("yaml") {
        Format::Eturnal
    } else {
        Format::Conf
    }
}

impl Outcome {
    /// The server whose file it is, where it is that of another one: [`Settings::differences`] are from what that does.
    pub fn other_server(&self) -> Option<&'static str> {
        self.format.other_server()
    }

    pub(crate) fn of(
        format: Format,
        path: &Path,
        source: &str,
        overrides: &[Override],
        files: Option<&dyn Files>,
    ) -> Self {
        let mut draft = Draft::new(format);
        match (source.find('\0'), format) {
            (Some(_), _) => draft.diagnostics.push(
                Diagnostic::new(
                    Severity::Error,
                    "this is not a text file: it holds NUL bytes",
                )
                .with_file(path)
                .with_help("save it as UTF-8 text; some editors write UTF-16"),
            ),
            (None, Format::Conf) => turnserver_conf::read_file(&mut draft, path, source),
            (None, Format::Toml) => turnbuckle_toml::read_file(&mut draft, path, source),
            #[cfg(feature = "eturnal")]
            (None, Format::Eturnal) if files.is_none() => {
                eturnal::read_file(&mut draft, path, source);
            }
            (None, Format::Eturnal) => draft.diagnostics.push(
                Diagnostic::new(Severity::Error, "the configuration of eturnal is not read as it is")
                    .with_file(path)
                    .with_help(
                        "make a turnbuckle.toml of it: `turnctl config convert eturnal.yml -o turnbuckle.toml`",
                    ),
            ),
        }
        // The command line has the words of `turnserver.conf`.
        draft.format = Format::Conf;
        for given in overrides {
            turnserver_conf::read_override(&mut draft, given);
        }
        draft.format = format;
        check::finish(&mut draft, files);
        let mut diagnostics = draft.diagnostics;
        diagnostics.sort_by_key(|found| found.line.unwrap_or(u32::MAX));
        let failed = diagnostics
            .iter()
            .any(|found| found.severity == Severity::Error);
        Self {
            settings: (!failed).then_some(draft.settings),
            diagnostics,
            given: draft.given,
            left_out: draft.left_out,
            format,
        }
    }
}
