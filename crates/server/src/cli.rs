//! The command line: every key of the configuration file as an option, and a few of its own.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::ArgMatches;
use turnbuckle_config::Override;
use turnbuckle_config::command_line::{BARE, CHECK, CONFIG, NO_FILE, command, options};
use turnbuckle_config::keys::Key;

/// What was asked for.
pub(crate) struct Args {
    /// `-c`: the file to read instead of the default ones.
    pub(crate) config: Option<PathBuf>,
    /// `-n`: no file is read.
    pub(crate) no_file: bool,
    /// `--check`: the settings are looked at, nothing is started.
    pub(crate) check: bool,
    /// Keys given as options; they win over the file.
    pub(crate) overrides: Vec<Override>,
}

impl Args {
    /// Reads the process's arguments. Prints help or what is wrong and ends the process where that was asked for.
    pub(crate) fn parse() -> Self {
        Self::from_matches(&command().get_matches())
    }

    #[cfg(test)]
    fn try_parse(args: &[&str]) -> Result<Self, clap::Error> {
        Ok(Self::from_matches(&command().try_get_matches_from(args)?))
    }

    fn from_matches(matches: &ArgMatches) -> Self {
        Self {
            config: matches.get_one::<PathBuf>(CONFIG).cloned(),
            no_file: matches.get_flag(NO_FILE),
            check: matches.get_flag(CHECK),
            overrides: options()
                .flat_map(|key| {
                    matches
                        .get_many::<OsString>(key.name)
                        .into_iter()
                        .flatten()
                        .map(|value| override_of(key, value))
                })
                .collect(),
        }
    }
}

fn override_of(key: &Key, value: &OsString) -> Override {
    Override {
        key: key.name.to_owned(),
        value: (value != BARE).then(|| value.to_string_lossy().into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overrides(args: &[&str]) -> Vec<(String, Option<String>)> {
        let args: Vec<&str> = ["turnbuckle"].iter().chain(args).copied().collect();
        let parsed = Args::try_parse(&args).unwrap();
        parsed
            .overrides
            .into_iter()
            .map(|o| (o.key, o.value))
            .collect()
    }

    fn pair(key: &str, value: Option<&str>) -> (String, Option<String>) {
        (key.to_owned(), value.map(str::to_owned))
    }

    #[test]
    fn short_forms_of_coturn() {
        let mut given = overrides(&[
            "-v",
            "-a",
            "-p",
            "3479",
            "-u",
            "a:b",
            "-u",
            "c:d",
            "-r",
            "example.org",
        ]);
        given.sort();
        assert_eq!(
            given,
            [
                pair("listening-port", Some("3479")),
                pair("lt-cred-mech", None),
                pair("realm", Some("example.org")),
                pair("user", Some("a:b")),
                pair("user", Some("c:d")),
                pair("verbose", None),
            ]
        );
    }

    #[test]
    fn flags_take_values_only_after_an_equals_sign() {
        assert_eq!(overrides(&["--no-udp=0"]), [pair("no-udp", Some("0"))]);
        assert_eq!(overrides(&["--stale-nonce"]), [pair("stale-nonce", None)]);
        assert!(Args::try_parse(&["turnbuckle", "--no-udp", "0"]).is_err());
    }

    #[test]
    fn unknown_options_are_refused() {
        assert!(Args::try_parse(&["turnbuckle", "--listening-prot=1"]).is_err());
        assert!(Args::try_parse(&["turnbuckle", "-n", "-c", "file"]).is_err());
    }
}
