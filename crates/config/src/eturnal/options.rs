//! The options of eturnal and what becomes of each. Owns the table; reads nothing.

use super::yaml::{Name, Node};
use super::{Reader, listeners};

/// An option of eturnal.
pub(super) struct Option_ {
    pub(super) name: &'static str,
    /// What it is for, one line without a full stop.
    pub(super) help: &'static str,
    /// Its value must never be shown.
    pub(super) secret: bool,
    pub(super) becomes: Becomes,
}

/// What becomes of an option.
pub(super) enum Becomes {
    /// Each of its values is one of this key.
    Key(&'static str),
    /// Nothing, for this reason.
    Nothing(&'static str),
    /// Without it someone would be let in: why, and what to do.
    Refused(&'static str, &'static str),
    /// It has a form of its own.
    Own(fn(&mut Reader<'_>, &Name, &Node)),
}

const fn option(name: &'static str, help: &'static str, becomes: Becomes) -> Option_ {
    Option_ {
        name,
        help,
        secret: false,
        becomes,
    }
}

impl Option_ {
    const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }
}

pub(super) const OPTIONS: &[Option_] = &[
    option(
        "secret",
        "Shared secret of time-limited credentials; a list allows a rotation",
        Becomes::Key("static-auth-secret"),
    )
    .secret(),
    option(
        "credentials",
        "Static accounts",
        Becomes::Own(super::credentials),
    )
    .secret(),
    option("realm", "Realm of the credentials", Becomes::Key("realm")),
    option(
        "strict_expiry",
        "Whether a session ends with its credential",
        Becomes::Own(super::strict_expiry),
    ),
    option(
        "listen",
        "Where clients are served",
        Becomes::Own(listeners::listen),
    ),
    option(
        "relay_ipv4_addr",
        "IPv4 address that clients are told",
        Becomes::Key("external-ip"),
    ),
    option(
        "relay_ipv6_addr",
        "IPv6 address that clients are told",
        Becomes::Key("external-ip"),
    ),
    option(
        "relay_min_port",
        "Lowest port of a relayed address",
        Becomes::Key("min-port"),
    ),
    option(
        "relay_max_port",
        "Highest port of a relayed address",
        Becomes::Key("max-port"),
    ),
    option(
        "tls_crt_file",
        "Certificate chain, PEM",
        Becomes::Own(super::tls_crt_file),
    ),
    option("tls_key_file", "Private key, PEM", Becomes::Key("pkey")),
    option(
        "tls_dh_file",
        "Parameters of a finite-field group",
        Becomes::Nothing("finite-field groups are not offered"),
    ),
    option(
        "tls_options",
        "Options of OpenSSL",
        Becomes::Own(super::tls_options),
    ),
    option(
        "tls_ciphers",
        "Cipher suites, as OpenSSL names them",
        Becomes::Nothing("safe suites alone are offered; `tls.cipher-list` names fewer"),
    ),
    option(
        "blacklist_peers",
        "Peers that are refused",
        Becomes::Own(super::blacklist_peers),
    ),
    option(
        "whitelist_peers",
        "Peers that are let through all the same",
        Becomes::Key("allowed-peer-ip"),
    ),
    option(
        "blacklist_clients",
        "Clients that are refused",
        Becomes::Refused(CLIENTS, CLIENTS_HELP),
    ),
    option(
        "whitelist_clients",
        "Clients that are let in all the same",
        Becomes::Refused(CLIENTS, CLIENTS_HELP),
    ),
    option(
        "max_permissions",
        "Permissions of one session",
        Becomes::Nothing("a session holds up to 256 permissions"),
    ),
    option(
        "max_allocations",
        "Sessions of one user",
        Becomes::Nothing("eturnal does not keep to it; `limits.user-quota` is such a limit"),
    ),
    option(
        "max_bps",
        "Bytes per second of one session",
        Becomes::Own(super::max_bps),
    ),
    option(
        "software_name",
        "Name that clients are told",
        Becomes::Nothing("no name is told; `stun.software-attribute` tells that of the server"),
    ),
    option(
        "run_dir",
        "Directory of files at run time",
        Becomes::Nothing("systemd makes /run/turnbuckle"),
    ),
    option(
        "log_dir",
        "Directory of the log, or stdout",
        Becomes::Nothing(
            "the log goes to standard output, which systemd keeps; `log.file` names a file",
        ),
    ),
    option(
        "log_level",
        "Least severe line that is logged",
        Becomes::Own(super::log_level),
    ),
    option(
        "log_rotate_size",
        "Size at which the log is rotated",
        Becomes::Nothing("logrotate or the journal does that"),
    ),
    option(
        "log_rotate_count",
        "Rotated logs that are kept",
        Becomes::Nothing("logrotate or the journal does that"),
    ),
    option(
        "modules",
        "Modules of eturnal",
        Becomes::Own(super::modules),
    ),
];

const CLIENTS: &str =
    "clients are not told apart by their address, so those that are refused would be let in";
const CLIENTS_HELP: &str = "let the firewall decide who reaches the ports, and remove the option";
