//! Keys of the process and its administration.

use super::{Key, Support, Toml, Value, number, port, unread, unread_address, unused};
use crate::apply;
use crate::settings::AdminSocket;

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "daemon",
        Value::Flag(unused),
        Support::Obsolete("the server stays in the foreground; systemd or another supervisor runs it in the background"),
        "0",
        "Goes to the background",
    )
    .short('o'),
    Key::new(
        "pidfile",
        Value::Text("FILE", apply::pidfile),
        Support::Built,
        "",
        "File the process id is written to",
    ),
    Key::new(
        "admin-socket",
        Value::Text("FILE", apply::admin_socket),
        Support::Built,
        AdminSocket::USUAL_PATH,
        "Unix socket of turnctl, for root, the server's user and the members of its group; empty is none",
    )
    .own(),
    Key::new(
        "state-directory",
        Value::Text("DIRECTORY", apply::state_directory),
        Support::Built,
        "",
        "Directory for what outlives the process, such as the revoked users; under systemd that of `StateDirectory=`",
    )
    .own(),
    Key::new(
        "proc-user",
        Value::Text("USER", apply::proc_user),
        Support::Built,
        "",
        "User that a server started by root goes on as, once its ports are open",
    )
    .toml(Toml::Named("user")),
    Key::new(
        "proc-group",
        Value::Text("GROUP", apply::proc_group),
        Support::Built,
        "",
        "Group, likewise; that of the user unless given",
    )
    .toml(Toml::Named("group")),
    Key::new(
        "cli",
        Value::Flag(unused),
        Support::Obsolete("there is no telnet console"),
        "0",
        "Opens the telnet console",
    ),
    Key::new("no-cli", Value::Flag(unused), Support::Met, "1", "Does not open the telnet console"),
    Key::new("cli-ip", Value::Address(unread_address), NO_CONSOLE, "127.0.0.1", "Address of the telnet console"),
    Key::new("cli-port", port(unused), NO_CONSOLE, "5766", "Port of the telnet console"),
    Key::new("cli-password", Value::Text("PASSWORD", unread), NO_CONSOLE, "", "Password of the telnet console")
        .secret(),
    Key::new(
        "cli-max-output-sessions",
        number(0..=u32::MAX as u64, "", unused),
        NO_CONSOLE,
        "256",
        "Sessions listed by the telnet console",
    ),
    Key::new(
        "web-admin",
        Value::Flag(unused),
        Support::Obsolete("there are no web pages"),
        "0",
        "Serves web pages for administration",
    ),
    Key::new("web-admin-ip", Value::Address(unread_address), NO_PAGES, "127.0.0.1", "Address of the web pages"),
    Key::new("web-admin-port", port(unused), NO_PAGES, "8080", "Port of the web pages"),
    Key::new(
        "web-admin-listen-on-workers",
        Value::Flag(unused),
        Support::Obsolete("there are no web pages, least of all on TURN ports"),
        "0",
        "Serves the web pages on TURN ports",
    ),
    Key::new(
        "version",
        Value::Flag(unused),
        Support::Ignored("it belongs on the command line, as `--version`"),
        "0",
        "Prints the version",
    ),
];

const NO_CONSOLE: Support = Support::Ignored("there is no telnet console");
const NO_PAGES: Support = Support::Ignored("there are no web pages");
