//! Keys of logging.

use super::{Key, Support, Toml, Value, unread, unused};
use crate::apply;

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "verbose",
        Value::Flag(|draft, on| draft.verbose = on),
        Support::Built,
        "0",
        "Logs single requests",
    )
    .toml(Toml::Within("log.level"))
    .short('v'),
    Key::new(
        "Verbose",
        Value::Flag(|draft, on| draft.extra_verbose = on),
        Support::Built,
        "0",
        "Logs everything",
    )
    .toml(Toml::Within("log.level"))
    .short('V'),
    Key::new(
        "log-file",
        Value::Text("FILE", apply::log_file),
        Support::Built,
        "stdout",
        "File of the log; stdout or - is standard output, syslog the system log",
    )
    .toml(Toml::Named("file"))
    .short('l'),
    Key::new(
        "no-stdout-log",
        Value::Flag(|draft, on| draft.settings.log.stdout_copy = !on),
        Support::Built,
        "0",
        "A log that goes to a file or to syslog is not copied to standard output",
    )
    .toml(Toml::Inverted(
        "stdout",
        "A log that goes to a file or to syslog is copied to standard output",
    )),
    Key::new(
        "syslog",
        Value::Flag(|draft, on| draft.syslog = on),
        Support::Built,
        "0",
        "Logs to the system log",
    ),
    Key::new(
        "syslog-facility",
        Value::Text("FACILITY", apply::syslog_facility),
        Support::Built,
        "daemon",
        "Facility of the system log: daemon, user, auth, local0 to local7 and their like",
    ),
    Key::new(
        "simple-log",
        Value::Flag(|draft, on| draft.settings.log.simple = on),
        Support::Built,
        "0",
        "The name of the log file is used as it is",
    ),
    Key::new(
        "log-min-level",
        Value::Word(
            &["trace", "debug", "info", "warning", "error"],
            apply::log_min_level,
        ),
        Support::Built,
        "debug",
        "Least severe level that is logged",
    )
    .toml(Toml::Within("log.level")),
    Key::new(
        "log-format",
        Value::Word(&["text", "json"], apply::log_format),
        Support::Built,
        "text",
        "Form of log lines: text for people, or a JSON object for programs",
    )
    .own()
    .toml(Toml::Named("format")),
    Key::new(
        "log-privacy",
        Value::Word(&["off", "shorten", "hash"], apply::log_privacy),
        Support::Built,
        "off",
        "Addresses of clients and peers are logged as /24 and /48; hash hides user names too",
    )
    .own()
    .toml(Toml::Named("privacy")),
    Key::new(
        "new-log-timestamp",
        Value::Flag(unused),
        Support::Met,
        "1",
        "Log lines carry date and time, which they always do",
    ),
    Key::new(
        "new-log-timestamp-format",
        Value::Text("FORMAT", unread),
        Support::Ignored("times are always written as RFC 3339 has them"),
        "",
        "Form of date and time in log lines",
    ),
    Key::new(
        "log-binding",
        Value::Flag(|draft, on| draft.settings.log.bindings = on),
        Support::Built,
        "0",
        "Logs answered Binding requests, 20 a second at most",
    ),
    Key::new(
        "drop-invalid-packets",
        Value::Flag(unused),
        Support::Met,
        "1",
        "Malformed packets are dropped, which they always are",
    ),
    Key::new(
        "drop-invalid-packets-log",
        Value::Flag(unused),
        Support::Ignored("dropped packets are counted, not logged"),
        "0",
        "Logs malformed packets",
    ),
];
