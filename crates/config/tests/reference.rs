//! The files in `config/` at the top of the repository: the reference says what the table says, and every file is read. So does
//! `docs/configure.md`.
//!
//! With `UPDATE_REFERENCE=1` in the environment the references are written anew from the table.

use std::path::{Path, PathBuf};

use turnbuckle_config::keys::{self, Support};
use turnbuckle_config::{
    AdminSocket, AuthAsked, MetricsSettings, Outcome, Settings, turnbuckle_toml, turnserver_conf,
};

#[test]
fn reference_says_what_the_table_says() {
    let expected = reference();
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(path("turnserver.conf"), &expected).unwrap();
    }
    assert_eq!(
        source("turnserver.conf"),
        expected,
        "run the test with UPDATE_REFERENCE=1"
    );
}

#[test]
fn page_says_what_the_table_says() {
    let expected = page();
    let file = path("../docs/configure.md");
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(&file, &expected).unwrap();
    }
    assert!(
        std::fs::read_to_string(file).unwrap() == expected,
        "run the test with UPDATE_REFERENCE=1"
    );
    for key in keys::all() {
        assert!(
            expected.contains(&format!("| `{}", key.name)),
            "{}",
            key.name
        );
    }
}

#[test]
fn reference_as_it_stands_is_the_default() {
    let outcome = read(&source("turnserver.conf"));
    assert_eq!(outcome.diagnostics, []);
    assert_eq!(outcome.settings, Some(Settings::default()));
}

#[test]
fn reference_with_every_line_uncommented_is_read() {
    let text = uncommented(&source("turnserver.conf"));
    let outcome = read(&text);
    let shown: String = outcome
        .diagnostics
        .iter()
        .map(|found| found.render(&text, false))
        .collect();
    let settings = outcome.settings.expect(&shown);
    for key in keys::all().filter(|key| key.support == Support::Built) {
        let named = |line: &str| line.split('=').next() == Some(key.name);
        assert_eq!(
            text.lines().filter(|line| named(line)).count(),
            1,
            "{}",
            key.name
        );
    }
    // Where the table names a default, that default is what the server does.
    let defaults = Settings::default();
    let expected = Settings {
        listeners: settings.listeners.clone(),
        relay_ips: settings.relay_ips.clone(),
        external_ips: settings.external_ips.clone(),
        realm: settings.realm.clone(),
        secrets: settings.secrets.clone(),
        users: settings.users.clone(),
        secret_files: settings.secret_files.clone(),
        user_files: settings.user_files.clone(),
        nonce_secret: settings.nonce_secret.clone(),
        auth_asked: AuthAsked::Both,
        peers: settings.peers.clone(),
        certificates: settings.certificates.clone(),
        cipher_list: settings.cipher_list.clone(),
        proxy_trusted: settings.proxy_trusted.clone(),
        alternates: settings.alternates.clone(),
        metrics: Some(MetricsSettings::default()),
        rest: settings.rest.clone(),
        rest_keys: settings.rest_keys.clone(),
        rest_origins: settings.rest_origins.clone(),
        shards: settings.shards,
        socket_buffer: settings.socket_buffer,
        pidfile: settings.pidfile.clone(),
        process_user: settings.process_user.clone(),
        process_group: settings.process_group.clone(),
        // The default is the same path, but only if its directory is there.
        admin_socket: AdminSocket::At(AdminSocket::USUAL_PATH.into()),
        state_directory: settings.state_directory.clone(),
        differences: settings.differences.clone(),
        ..defaults
    };
    assert_eq!(settings, expected);
    assert!(!settings.peers.allow_loopback && settings.serves_tls() && !settings.dtls);
    // Plain UDP and TCP, the same at the port of `aux-server`, TLS, and two ports behind a proxy.
    assert_eq!(settings.listeners.len(), 7);
    // The examples of `allowed-peer-ip` and `denied-peer-ip` are read as rules.
    assert_eq!(
        (settings.peers.allowed.len(), settings.peers.denied.len()),
        (1, 1)
    );
}

#[test]
fn toml_reference_says_what_the_table_says() {
    let expected = toml_reference();
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(path("turnbuckle.toml"), &expected).unwrap();
    }
    assert_eq!(
        source("turnbuckle.toml"),
        expected,
        "run the test with UPDATE_REFERENCE=1"
    );
}

#[test]
fn toml_reference_as_it_stands_is_the_default() {
    let outcome = turnbuckle_toml(Path::new("file"), &source("turnbuckle.toml"), &[]);
    assert_eq!(outcome.diagnostics, []);
    assert_eq!(outcome.settings, Some(Settings::default()));
}

#[test]
fn toml_reference_with_every_line_uncommented_is_read() {
    let text = uncommented(&source("turnbuckle.toml"));
    let outcome = turnbuckle_toml(Path::new("file"), &text, &[]);
    let shown: String = outcome
        .diagnostics
        .iter()
        .map(|found| found.render(&text, false))
        .collect();
    let settings = outcome.settings.expect(&shown);
    assert_eq!(settings.listeners.len(), 7);
    assert_eq!(
        (settings.peers.allowed.len(), settings.peers.denied.len()),
        (1, 2)
    );
    assert_eq!((settings.users.len(), settings.certificates.len()), (2, 1));
    // What is shown as a default is the default.
    let defaults = Settings::default();
    assert_eq!(settings.relay_ports, defaults.relay_ports);
    assert_eq!(settings.nonce_lifetime, defaults.nonce_lifetime);
    assert_eq!(settings.user_quota, defaults.user_quota);
    assert_eq!(settings.log, defaults.log);
    assert_eq!((settings.stun, settings.tls12), (true, true));
    assert_eq!(settings.auth_asked, AuthAsked::Both);
}

#[test]
fn minimal_file_starts_as_it_is() {
    let text = source("minimal.conf");
    let settings = read(&text).settings.unwrap();
    assert_eq!(
        (settings.auth_asked, settings.secrets.len()),
        (AuthAsked::Secret, 0)
    );
    let outcome = read(&uncommented(&text));
    assert_eq!(outcome.diagnostics, []);
    let settings = outcome.settings.unwrap();
    assert_eq!(settings.secrets.len(), 1);
    assert!(settings.serves_tls());
}

#[test]
fn matrix_file_starts_once_its_secret_is_replaced() {
    let text = source("matrix.conf");
    assert_eq!(read(&text).settings, None);
    let text = text.replace(EXAMPLE_SECRET, RANDOM_TEXT);
    for (text, tls) in [(uncommented(&text), true), (text, false)] {
        let outcome = read(&text);
        assert_eq!(outcome.diagnostics, []);
        let settings = outcome.settings.unwrap();
        assert_eq!(settings.secrets[0].expose(), RANDOM_TEXT);
        assert_eq!(settings.serves_tls(), tls);
    }
}

#[test]
fn every_file_is_tested() {
    let mut names: Vec<_> = std::fs::read_dir(path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.retain(|name| {
        Path::new(name)
            .extension()
            .is_some_and(|extension| extension == "conf" || extension == "toml")
    });
    names.sort();
    assert_eq!(
        names,
        [
            "matrix.conf",
            "minimal.conf",
            "turnbuckle.toml",
            "turnserver.conf"
        ]
    );
}

fn reference() -> String {
    let mut text = String::from(HEADER);
    for section in keys::sections() {
        let built: Vec<_> = section
            .keys
            .iter()
            .filter(|key| key.support == Support::Built)
            .collect();
        if !built.is_empty() {
            text += &format!("\n\n## {}\n", section.heading);
        }
        for key in built {
            text += &format!("\n# {}.\n", key.help);
            if let Some(line) = key.properties() {
                text += &format!("# ({line})\n");
            }
            text += &match (key.placeholder(), key.default) {
                ("", "0") if matches!(key.name, "use-auth-secret" | "rfc5780" | "prometheus") => {
                    format!("#{}\n", key.name)
                }
                _ => format!("#{}={}\n", key.name, key.example()),
            };
        }
    }
    text
}

fn toml_reference() -> String {
    let mut text = format!("{TOML_HEADER}{TOML_LISTENERS}");
    for section in keys::sections() {
        let fields: Vec<_> = section
            .keys
            .iter()
            .filter(|key| {
                key.toml_path()
                    .is_some_and(|path| path.starts_with(section.table))
            })
            .filter_map(|key| Some((key, key.toml_example()?)))
            .collect();
        // `no-tls` stands with the listeners in one format and with TLS in the other.
        let moved = keys::all().filter(|key| {
            let path = key.toml_path().unwrap_or_default();
            path.starts_with(&format!("{}.", section.table))
                && section.keys.iter().all(|other| other.name != key.name)
        });
        let moved = moved.filter_map(|key| Some((key, key.toml_example()?)));
        let lists = match section.table {
            "auth" => TOML_USERS,
            "tls" => TOML_CERTIFICATES,
            "peers" => TOML_RULES,
            "log" => TOML_LEVEL,
            _ => "",
        };
        if fields.is_empty() && lists.is_empty() {
            continue;
        }
        text += &format!("\n\n## {}\n\n[{}]\n", section.heading, section.table);
        if lists == TOML_LEVEL {
            text += lists;
        }
        for (key, example) in fields.into_iter().chain(moved) {
            text += &format!("\n# {}.\n", key.toml_help());
            if let Some(line) = key.toml_properties() {
                text += &format!("# ({line})\n");
            }
            text += &format!("#{example}\n");
        }
        if lists != TOML_LEVEL {
            text += lists;
        }
    }
    text
}

/// The page about both formats, key by key.
fn page() -> String {
    let mut text = String::from(PAGE_HEADER);
    for section in keys::sections() {
        let built: Vec<_> = section
            .keys
            .iter()
            .filter(|key| key.support == Support::Built)
            .collect();
        if built.is_empty() {
            continue;
        }
        text += &format!(
            "\n### {}\n\n| key | field of `turnbuckle.toml` | what it is for |\n| --- | --- | --- |\n",
            section.heading
        );
        for key in built {
            let name = match key.placeholder() {
                "" => format!("`{}`", key.name),
                placeholder => format!("`{}={placeholder}`", key.name),
            };
            let inverted = key.toml_help() != key.help;
            let path = key
                .toml_path()
                .map_or_else(String::new, |path| match inverted {
                    true => format!("`{path}`, the other way round"),
                    false => format!("`{path}`"),
                });
            let properties = key
                .properties()
                .map_or_else(String::new, |words| format!(" ({words})"));
            text += &format!(
                "| {name} | {path} | {}{} |\n",
                cell(key.help),
                cell(&properties)
            );
        }
    }
    text += PAGE_OTHERS;
    for key in keys::all() {
        if let Some(otherwise) = key.otherwise() {
            text += &format!(
                "| `{}` | {} | {} |\n",
                key.name,
                cell(key.help),
                cell(&otherwise)
            );
        }
    }
    text
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// The file with every commented key in force; comments have a blank behind their `#`.
fn uncommented(text: &str) -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(key) if key.starts_with(|c: char| c == '[' || c.is_ascii_alphabetic()) => {
            format!("{key}\n")
        }
        _ => format!("{line}\n"),
    };
    text.lines()
        .map(line)
        .collect::<String>()
        .replace(EXAMPLE_SECRET, RANDOM_TEXT)
}

fn read(text: &str) -> Outcome {
    let mut outcome = turnserver_conf(Path::new("file"), text, &[]);
    if let Some(settings) = &mut outcome.settings
        && text
            .lines()
            .all(|line| line.is_empty() || line.starts_with('#'))
    {
        assert_eq!(settings.differences, []);
    }
    outcome
}

fn source(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../config")
        .join(name)
}

const EXAMPLE_SECRET: &str = "replace-with-a-random-text";
const RANDOM_TEXT: &str = "94a1f6c3e8d24b7fa05d6c1e8b7f3029";
const HEADER: &str = "\
# Reference of turnserver.conf for Turnbuckle.
#
# Each key that has an effect stands here with its default, or with an example where it has none. Nothing in this file
# is in force: take away the # before a key to change it. Keys of coturn that are not listed are read as well; what
# becomes of them is said at start, and `turnbuckle --check -c FILE` says it without starting.
#
# Clients are served over UDP and TCP, over TLS as soon as there are cert and pkey, and over DTLS with the key dtls.
#
# A line holds one key, then a blank or =, then the value. A key that is on or off takes 1 or 0, and alone means 1.
# A comment has a line of its own. Values may stand in double quotes, and have to if they hold a blank and #.
";
const TOML_HEADER: &str = "\
# Reference of turnbuckle.toml for Turnbuckle.
#
# Each field stands here with its default, or with an example where it has none. Nothing in this file is in force: take away
# the # before a field to change it. A field that is not known is an error. `turnctl config convert` writes such a file from a
# turnserver.conf, and `turnctl config check` explains one.
#
# Durations are texts with s, m, h or d (\"90s\", \"1h 30m\"), sizes and rates have their units too (\"2 MiB\", \"10 MiB/s\",
# \"80 Mbit/s\"). Times, sizes and rates of 0 may be written as 0.


## Where clients are served
#
# One table for each listener. Without any: UDP and TCP on port 3478 of every address of the host, and TLS on port 5349 once
# there is a certificate. Once one is given, none but these are there.
#
# transport: udp, tcp, tls, dtls, or a list of them. Listeners for tcp speak TLS as well, and those for udp DTLS where a
#            listener for it is given.
# address:   an address or a list of them; every address of the host if left out.
# port:      3478 for udp and tcp, 5349 for tls and dtls if left out.
# proxy:     each connection begins with a PROXY header, and proxy-trusted alone may connect.
";
const TOML_LISTENERS: &str = "
#[[listeners]]
#address = [\"192.0.2.1\", \"2001:db8::1\"]
#port = 3478
#transport = [\"udp\", \"tcp\"]

#[[listeners]]
#transport = [\"tls\", \"dtls\"]

#[[listeners]]
#port = 3481
#transport = \"tcp\"
#proxy = true
";
const TOML_USERS: &str = "
# Static accounts, with a password or with the key MD5(name:realm:password).

#[[auth.users]]
#name = \"alice\"
#password = \"replace-with-a-random-text\"

#[[auth.users]]
#name = \"bob\"
#key = \"bc807ee29df3c9ffa736523fb2c4e8ee\"
";
const TOML_CERTIFICATES: &str = "
# Certificate chain and private key, PEM; the server's own certificate comes first in its file, and one file may hold both. Of
# several, the name that a client asks for chooses.

#[[tls.certificates]]
#cert = \"/etc/turnbuckle/fullchain.pem\"
#key = \"/etc/turnbuckle/privkey.pem\"
#password = \"replace-with-a-random-text\"
";
const TOML_RULES: &str = "
# Peers to open and to refuse, besides the built-in ranges: an address, first-last or address/prefix, or a list of them. The
# first rule that matches an address decides; a name is for the log.

#[[peers.rules]]
#name = \"media server\"
#allow = \"192.168.7.20\"

#[[peers.rules]]
#name = \"lab\"
#deny = [\"198.51.100.0/24\", \"2001:db8:1::/48\"]
";
const TOML_LEVEL: &str = "
# Least severe line that is logged.
# (one of error, warning, info, debug, trace; the default)
#level = \"info\"
";
const PAGE_HEADER: &str = "\
<!-- Written by `UPDATE_REFERENCE=1 cargo test -p turnbuckle-config --test reference`. -->

# Configure

The server takes the first there is of `/etc/turnbuckle/turnbuckle.toml`, `/etc/turnbuckle/turnserver.conf`, `/etc/turnserver.conf`,
`/etc/coturn/turnserver.conf` and their like below `/usr/local/etc`, or the file named with `-c`. Without any it listens on port 3478 and makes
up a secret. Each key is an option of the command line as well, and wins over the file there.

## Look before you start

```sh
turnctl config check turnserver.conf
turnctl config show turnserver.conf
```

The first says of each line what it was understood as and what is wrong with it; it ends with 0, with 1 for warnings or 2 for errors. The second
prints every setting in force with where it comes from. Both work on any host, without a server.

## The two formats

`turnserver.conf` is coturn's: a line holds one key, then a blank or `=`, then the value. A key that is on or off takes 1 or 0, and alone means 1. A
comment has a line of its own; one behind a value is taken as such with a warning. A file that is there already keeps working, and what this server
does otherwise with it is said at start.

`turnbuckle.toml` says the same with units, a list of listeners and peer rules in order with names. A field that is not known is an
error. [`config/turnserver.conf`](../config/turnserver.conf) and [`config/turnbuckle.toml`](../config/turnbuckle.toml) show each setting as it
stands in a file; `man turnserver.conf` and `man turnbuckle.toml` say the same.

```sh
turnctl config convert turnserver.conf -o turnbuckle.toml
turnctl config convert eturnal.yml -o from-eturnal.toml
```

This writes the second format from the first, or from the file of eturnal, with the old lines as comments. Options of eturnal that nothing becomes of are
named, as are lists of clients, macros and included files, which stop the conversion.

## Keys

Where a field is the other way round, it is true where the key is 0. Fields that several keys make up together (`listeners`, `log.level`) are described in
[`config/turnbuckle.toml`](../config/turnbuckle.toml).
";
const PAGE_OTHERS: &str = "
## Keys of coturn that do something else here

Each is read, and what becomes of it is said at start.

| key | what it is for in coturn | what becomes of it |
| --- | --- | --- |
";
