//! The command line of the server: every key of `turnserver.conf` as an option, and a few of its own. Shells are taught it and
//! its manual page is made from it; nothing is parsed here.

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, Command};

use crate::keys::{self, Key, Support};

/// The command line of `turnbuckle`.
pub fn command() -> Command {
    let command = Command::new("turnbuckle")
        .version(env!("CARGO_PKG_VERSION"))
        .about("TURN and STUN relay server")
        .long_about(
            "TURN and STUN relay server.\n\n\
             Reads turnbuckle.toml, or turnserver.conf as coturn does. Without a file it starts with safe defaults and a secret made up for this \
             run. Every key of turnserver.conf is an option, too; options win over the file.",
        )
        .after_help("turnctl credentials makes credentials. Exit status: 1 if the server cannot run, 2 for a wrong configuration.")
        .disable_version_flag(true)
        .args([
            Arg::new(CONFIG)
                .short('c')
                .long("config")
                .value_name("FILE")
                .value_parser(ValueParser::path_buf())
                .help("Configuration file [default: the first there is of /etc/turnbuckle/turnbuckle.toml, /etc/turnserver.conf, …]"),
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
pub fn options() -> impl Iterator<Item = &'static Key> {
    keys::all().filter(|key| key.name != "version")
}

/// The file to read, `-c`.
pub const CONFIG: &str = "config-file";
/// No file is read, `-n`.
pub const NO_FILE: &str = "no-config-file";
/// The settings are looked at, nothing is started: `--check`.
pub const CHECK: &str = "check-only";
/// Stands for an option without a value; no value can hold a NUL.
pub const BARE: &str = "\0";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_is_consistent() {
        command().debug_assert();
    }
}
