//! The manual pages of the two formats of configuration files, `turnserver.conf(5)` and `turnbuckle.toml(5)`. Owns their layout;
//! what there is to say is in the table of keys.

use roff::{Inline, Roff, bold, italic, roman};
use turnbuckle_config::keys::{self, Key, Support};

/// Both pages, each with the name of its file.
pub(crate) fn pages() -> [(&'static str, String); 2] {
    [
        ("turnserver.conf.5", turnserver_conf()),
        ("turnbuckle.toml.5", turnbuckle_toml()),
    ]
}

fn turnserver_conf() -> String {
    let mut page = page(
        "turnserver.conf",
        "configuration of the Turnbuckle TURN server, as coturn has it",
    );
    section(
        &mut page,
        "DESCRIPTION",
        &[
            "A line holds one key, then a blank or =, then the value. A key that is on or off takes 1 or 0, and alone means 1. A comment \
             has a line of its own and begins with #. Values may stand in double quotes, and have to if they hold a blank and #.",
            "The server takes the first there is of /etc/turnbuckle/turnbuckle.toml, /etc/turnbuckle/turnserver.conf, \
             /etc/turnserver.conf, /etc/coturn/turnserver.conf and their like below /usr/local/etc, or the file named with -c. Each key \
             is an option of the command line as well.",
        ],
    );
    for part in keys::sections() {
        let built: Vec<&Key> = part
            .keys
            .iter()
            .filter(|key| key.support == Support::Built)
            .collect();
        if built.is_empty() {
            continue;
        }
        page.control("SH", [part.heading.to_uppercase().as_str()]);
        for key in built {
            let mut term = vec![bold(key.name)];
            if !key.placeholder().is_empty() {
                term.extend([roman("="), italic(key.placeholder())]);
            }
            entry(&mut page, term, key.help, key.properties());
        }
    }
    page.control("SH", ["OTHER KEYS OF COTURN"]);
    for key in keys::all() {
        if let Some(otherwise) = key.otherwise() {
            entry(&mut page, vec![bold(key.name)], key.help, Some(otherwise));
        }
    }
    see_also(page, &["turnbuckle.toml(5)"])
}

fn turnbuckle_toml() -> String {
    let mut page = page(
        "turnbuckle.toml",
        "configuration of the Turnbuckle TURN server",
    );
    section(
        &mut page,
        "DESCRIPTION",
        &[
            "A file in TOML (https://toml.io). A field that is not known is an error. Durations are texts with s, m, h or d (\"90s\", \
             \"1h 30m\"), sizes and rates have their units too (\"2 MiB\", \"10 MiB/s\", \"80 Mbit/s\"). Times, sizes and rates of 0 may \
             be written as 0.",
            "turnctl config convert writes such a file from a turnserver.conf or an eturnal.yml, and turnctl config check explains one.",
        ],
    );
    page.control("SH", ["LISTENERS"]);
    for (field, help) in LISTENERS {
        entry(&mut page, vec![bold(field)], help, None);
    }
    for part in keys::sections() {
        let prefix = format!("{}.", part.table);
        let of_table = |key: &&Key| {
            key.toml_path()
                .is_some_and(|path| path.starts_with(&prefix))
        };
        let fields: Vec<(&Key, String)> = keys::all()
            .filter(of_table)
            .filter_map(|key| Some((key, key.toml_example()?)))
            .collect();
        let lists: Vec<_> = LISTS
            .iter()
            .filter(|(table, ..)| *table == part.table)
            .collect();
        if fields.is_empty() && lists.is_empty() {
            continue;
        }
        page.control(
            "SH",
            [format!("[{}] - {}", part.table, part.heading).as_str()],
        );
        for (_, field, help) in lists {
            entry(&mut page, vec![bold(*field)], help, None);
        }
        for (key, example) in fields {
            entry(
                &mut page,
                vec![bold(example)],
                key.toml_help(),
                key.toml_properties(),
            );
        }
    }
    see_also(page, &["turnserver.conf(5)"])
}

fn page(name: &str, what: &str) -> Roff {
    let mut page = Roff::new();
    page.control("TH", [name, SECTION, "", "Turnbuckle"]);
    page.control("SH", ["NAME"]);
    page.text([roman(format!("{name} - {what}"))]);
    page
}

fn section(page: &mut Roff, heading: &str, paragraphs: &[&str]) {
    page.control("SH", [heading]);
    for (index, paragraph) in paragraphs.iter().enumerate() {
        if index > 0 {
            page.control("PP", []);
        }
        page.text([roman(*paragraph)]);
    }
}

fn entry(page: &mut Roff, term: Vec<Inline>, help: &str, properties: Option<String>) {
    let properties = properties.map_or_else(String::new, |words| format!(" ({words})"));
    page.control("TP", []);
    page.text(term);
    page.text([roman(format!("{help}{properties}."))]);
}

fn see_also(mut page: Roff, pages: &[&str]) -> String {
    page.control("SH", ["SEE ALSO"]);
    let pages = [pages, &["turnbuckle(8)", "turnctl(8)", "turnctl-config(8)"]].concat();
    page.text([roman(pages.join(", "))]);
    page.render()
}

/// File formats, as `man` has it.
const SECTION: &str = "5";
const LISTENERS: [(&str, &str); 5] = [
    (
        "[[listeners]]",
        "One table for each listener. Without any: UDP and TCP on port 3478 of every address of the host, and TLS on port 5349 once there \
         is a certificate. Once one is given, none but these are there",
    ),
    (
        "transport",
        "udp, tcp, tls, dtls, or a list of them. Listeners for tcp speak TLS as well, and those for udp DTLS where a listener for it is given",
    ),
    (
        "address",
        "An address or a list of them; every address of the host if left out",
    ),
    (
        "port",
        "3478 for udp and tcp, 5349 for tls and dtls if left out",
    ),
    (
        "proxy",
        "Each connection begins with a PROXY header, and server.proxy-trusted alone may connect; false if left out",
    ),
];
/// Fields that stand for several keys, or are lists of tables.
const LISTS: [(&str, &str, &str); 4] = [
    (
        "auth",
        "[[auth.users]]",
        "Static accounts: name, and password or key, which is MD5(name:realm:password)",
    ),
    (
        "tls",
        "[[tls.certificates]]",
        "Certificate chain (cert) and private key (key), PEM, and the password of the key if it has one. Of several, the name that a client \
         asks for chooses",
    ),
    (
        "peers",
        "[[peers.rules]]",
        "Peers to allow or to deny, besides the built-in ranges: an address, first-last or address/prefix, or a list of them. The first rule \
         that matches decides; a name is for the log",
    ),
    (
        "log",
        "level",
        "Least severe line that is logged: error, warning, info, debug or trace (info if left out)",
    ),
];
