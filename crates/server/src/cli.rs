//! The command line: every key of the configuration file as an option, and a few of its own.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command};
use turnbuckle_config::Override;
use turnbuckle_config::keys::{self, Key, Support};

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

fn command() -> Command {
    let command = Command::new("turnbuckle")
        .version(env!("CARGO_PKG_VERSION"))
        .about("TURN and STUN relay server")
        .long_about(
            "TURN and STUN relay server.\n\n\
             Reads turnserver.conf as coturn does. Without a file it starts with safe defaults and a secret made up for this \
             run. Every key of the file is an option, too; options win over the file.",
        )
        .after_help("turnctl credentials makes credentials. Exit status: 1 if the server cannot run, 2 for a wrong configuration.")
        .disable_version_flag(true)
        .args([
            Arg::new(CONFIG)
                .short('c')
                .long("config")
                .value_name("FILE")
                .value_parser(ValueParser::path_buf())
                .help("Configuration file [default: the first there is of /etc/turnbuckle/turnserver.conf, /etc/turnserver.conf, …]"),
            Arg::new(NO_FILE)
                .short('n')
                .long("no-config")
                .action(ArgAction::SetTrue)
                .conflicts_with(CONFIG)
                .help("Read no configuration file"),
            Arg::new(CHECK)
                .long("check")
                .action(ArgAction::SetTrue)
                .help("Say what the configuration comes to, and start nothing"),
            Arg::new("version")
                .long("version")
                .action(ArgAction::Version)
                .help("Print the version"),
        ]);
    options().map(option).fold(command, Command::arg)
}

fn option(key: &'static Key) -> Arg {
    let placeholder = key.placeholder();
    let mut option = Arg::new(key.name)
        .long(key.name)
        .action(ArgAction::Append)
        .value_parser(ValueParser::os_string())
        .num_args(0..=1)
        .default_missing_value(BARE)
        .help(help(key))
        .hide(key.support != Support::Built);
    if let Some(letter) = key.short {
        option = option.short(letter);
    }
    if placeholder.is_empty() {
        // `-v file` is not a value of `-v`.
        option
            .require_equals(true)
            .value_name("0|1")
            .hide_possible_values(true)
    } else {
        option.value_name(placeholder)
    }
}

fn help(key: &Key) -> String {
    if key.default.is_empty() || key.placeholder().is_empty() {
        key.help.to_owned()
    } else {
        format!("{} [default: {}{}]", key.help, key.default, key.unit())
    }
}

/// The keys that are options; `version` prints the version here as it does everywhere.
fn options() -> impl Iterator<Item = &'static Key> {
    keys::all().filter(|key| key.name != "version")
}

const CONFIG: &str = "config-file";
const NO_FILE: &str = "no-config-file";
const CHECK: &str = "check-only";
/// Stands for an option without a value; no value can hold a NUL.
const BARE: &str = "\0";

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
    fn command_is_consistent() {
        command().debug_assert();
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
