//! Reads `eturnal.yml`, the configuration of the eturnal TURN server, so that it can be reviewed and converted. Owns what becomes
//! of each of its options; what a value does is the same as in `turnserver.conf`, through the same table of keys.
//!
//! The server does not read such a file: it is converted once.

mod listeners;
mod options;
mod yaml;

use std::path::{Path, PathBuf};

use crate::apply;
use crate::diagnostic::{BYTE_ORDER_MARK, Severity};
use crate::draft::{Draft, Given, LeftOut, Place, PlaceOrigin};
use crate::fault::Fault;
use crate::keys;
use crate::nearest::nearest;
use crate::secret::Secret;
use crate::settings::{AuthAsked, Difference, LogLevel};
use crate::turnserver_conf::{is_unseen, read_key};
use crate::user::User;
use options::{Becomes, OPTIONS, Option_};
use yaml::{Name, Node, Value, Where};

pub(crate) fn read_file(draft: &mut Draft, path: &Path, source: &str) {
    let source = source.strip_prefix(BYTE_ORDER_MARK).unwrap_or(source);
    let mut reader = Reader {
        draft,
        path: path.to_owned(),
        lines: source.split('\n').collect(),
        option: None,
        certificate: None,
    };
    match yaml::parse(source) {
        Ok(document) => {
            reader.document(&document);
            reader.key_beside_the_certificate();
        }
        Err(wrong) => {
            // A secret may stand on any line of a file that cannot be taken apart.
            reader.at_line(&wrong.place, Hidden::All);
            reader
                .draft
                .report(Severity::Error, wrong.message, wrong.help);
        }
    }
    reader.draft.place = Place::default();
    reader.draft.report(
        Severity::Note,
        "eturnal also takes ETURNAL_SECRET, ETURNAL_RELAY_IPV4_ADDR, ETURNAL_RELAY_IPV6_ADDR, ETURNAL_RELAY_MIN_PORT and \
         ETURNAL_RELAY_MAX_PORT, each also with `__FILE`, from its environment; what they say is not seen here",
        "look into its unit or container for them, and write down what they say",
    );
}

/// Where this server does otherwise than eturnal would have done with the same file.
pub(crate) fn differences(draft: &Draft) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut add = |text: &str, line| {
        found.push(Difference {
            text: text.to_owned(),
            line,
        });
    };
    let line_of = |option: &str| {
        let of = |given: &&Given| given.option.is_some_and(|(name, _)| name == option);
        draft.given.iter().find(of)?.place.line()
    };
    if draft.opens_special_peers {
        add(
            "peers in private and other special ranges are refused, which eturnal lets through without `recommended` in \
             `blacklist_peers`; a peer rule with `allow` opens a range",
            line_of("blacklist_peers"),
        );
    }
    add(
        "a user may hold 12 allocations and all together 1200; eturnal sets no limit (`limits.user-quota = 0`, \
         `limits.total-quota = 0`)",
        None,
    );
    if draft.settings.auth_asked == AuthAsked::Both {
        add(
            "names that begin with a number and a colon are checked against `secret`, all others against `credentials`",
            line_of("credentials"),
        );
    }
    add(
        "401 answers are limited to 10 a second and source; eturnal sets no limit (`stun.unauthorized-ratelimit = false`)",
        None,
    );
    found
}

/// How much of a line must not be shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hidden {
    Nothing,
    /// What stands behind the name of the option, and all of the lines below.
    Value,
    /// What stands behind the place.
    Behind,
    All,
}

struct Reader<'a> {
    draft: &'a mut Draft,
    path: PathBuf,
    lines: Vec<&'a str>,
    /// The option being read, and where its name stands.
    option: Option<(&'static Option_, Where)>,
    /// The file of `tls_crt_file`.
    certificate: Option<(String, Where)>,
}

impl Reader<'_> {
    fn document(&mut self, document: &Node) {
        let Value::Map(top) = &document.value else {
            self.fault_at(
                &document.place,
                Fault::new("there is no `eturnal` at the top")
                    .help("write `eturnal:` on a line of its own and its options below"),
            );
            return;
        };
        for (name, node) in top {
            match name.text.as_str() {
                "eturnal" => self.options(node),
                "define_macro" | "include_config_file" => self.not_read(name),
                _ => self.unknown(name, &[]),
            }
        }
        if top.iter().all(|(name, _)| name.text != "eturnal") {
            self.fault_at(
                &document.place,
                Fault::new("there is no `eturnal` at the top")
                    .help("look whether this is the configuration of eturnal"),
            );
        }
    }

    fn options(&mut self, node: &Node) {
        let entries = match &node.value {
            Value::Null => return,
            Value::Map(entries) => entries,
            _ => {
                return self.fault_at(
                    &node.place,
                    Fault::new("`eturnal` holds options, not a value")
                        .help("write each on a line of its own"),
                );
            }
        };
        for (name, node) in entries {
            match OPTIONS.iter().find(|option| option.name == name.text) {
                Some(option) => {
                    self.option = Some((option, name.place.clone()));
                    self.option(option, name, node);
                    self.option = None;
                }
                None if matches!(name.text.as_str(), "define_macro" | "include_config_file") => {
                    self.not_read(name);
                }
                None => {
                    let known: Vec<_> = OPTIONS.iter().map(|option| option.name).collect();
                    self.unknown(name, &known);
                }
            }
        }
    }

    fn option(&mut self, option: &'static Option_, name: &Name, node: &Node) {
        if node.value == Value::Null {
            return self.left_out(name, option.name, "it is empty, so the default holds");
        }
        match option.becomes {
            Becomes::Key(key) => {
                for (text, place) in self.scalars(node) {
                    self.key(key, &place, &text);
                }
            }
            Becomes::Nothing(reason) => self.left_out(name, option.name, reason),
            Becomes::Refused(reason, help) => {
                self.at_line(&name.place, Hidden::Nothing);
                self.draft.report(
                    Severity::Error,
                    format!("`{}` is not supported: {reason}", option.name),
                    help,
                );
            }
            Becomes::Own(read) => read(self, name, node),
        }
    }

    /// Without `tls_key_file` the key stands in the file of the certificate.
    fn key_beside_the_certificate(&mut self) {
        if let Some((file, place)) = self.certificate.take()
            && !self.draft.is_given("pkey")
        {
            self.key("pkey", &place, &file);
        }
    }

    /// A value for a key of the table.
    fn key(&mut self, name: &str, place: &Where, text: &str) {
        let Some(key) = keys::find(name) else { return };
        self.at(place, key.secret);
        if let Some(unseen) = text.chars().find(|character| is_unseen(*character)) {
            self.draft.report(
                Severity::Error,
                format!(
                    "here is a character that cannot be seen, U+{:04X}",
                    u32::from(unseen)
                ),
                "type the line again; such characters come with text copied from a web page",
            );
            return;
        }
        let before = self.draft.given.len();
        read_key(self.draft, key, Some(text));
        self.name_given(before);
    }

    /// Notes that a key was given, for the rules that span keys.
    fn give(&mut self, name: &str, place: &Where, text: &str) {
        let Some(key) = keys::find(name) else { return };
        self.at(place, key.secret);
        let before = self.draft.given.len();
        self.draft.given.push(Given {
            key,
            place: self.draft.place.clone(),
            text: Secret::new(text),
            option: None,
        });
        self.name_given(before);
    }

    fn name_given(&mut self, from: usize) {
        let option = self
            .option
            .as_ref()
            .map(|(option, _)| (option.name, option.help));
        for given in self.draft.given.iter_mut().skip(from) {
            given.option = option;
        }
    }

    fn left_out(&mut self, name: &Name, called: &str, reason: &'static str) {
        self.at_line(&name.place, Hidden::Nothing);
        self.draft.left_out.push(LeftOut {
            name: called.to_owned(),
            place: self.draft.place.clone(),
            reason,
        });
    }

    fn not_read(&mut self, name: &Name) {
        self.at_line(&name.place, Hidden::Behind);
        self.draft.report(
            Severity::Error,
            format!("`{}` is not read here", name.text),
            match name.text.as_str() {
                "define_macro" => "write the values in place of the macros, and remove it",
                _ => "put the lines of that file in its place",
            },
        );
    }

    fn unknown(&mut self, name: &Name, known: &[&str]) {
        self.at_line(&name.place, Hidden::Behind);
        let near = nearest(
            &name.text,
            known.iter().map(|known| (known.replace('_', "-"), *known)),
        );
        self.draft.report(
            Severity::Warning,
            format!("`{}` is no option of eturnal; it has no effect", name.text),
            &near.map_or(String::new(), |known| format!("did you mean `{known}`?")),
        );
    }

    /// The texts of a scalar or of a list of scalars.
    fn scalars(&mut self, node: &Node) -> Vec<(String, Where)> {
        let items: &[Node] = match &node.value {
            Value::List(items) => items,
            _ => std::slice::from_ref(node),
        };
        let mut texts = Vec::new();
        for item in items {
            match &item.value {
                Value::Scalar(text) => texts.push((text.clone(), item.place.clone())),
                _ => self.fault_at(
                    &item.place,
                    Fault::new("here has to be a plain value or a list of them")
                        .help("write `name: value`"),
                ),
            }
        }
        texts
    }

    fn scalar(&mut self, node: &Node) -> Option<(String, Where)> {
        match &node.value {
            Value::Scalar(text) => Some((text.clone(), node.place.clone())),
            _ => {
                self.fault_at(
                    &node.place,
                    Fault::new("here has to be a plain value").help("write `name: value`"),
                );
                None
            }
        }
    }

    fn boolean(&mut self, node: &Node) -> Option<bool> {
        let (text, place) = self.scalar(node)?;
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Some(true),
            "false" | "no" | "off" => Some(false),
            _ => {
                self.fault_at(
                    &place,
                    Fault::new("here has to be `true` or `false`").help("write one of them"),
                );
                None
            }
        }
    }

    fn fault_at(&mut self, place: &Where, fault: Fault) {
        let secret = self.option.as_ref().is_none_or(|(option, _)| option.secret);
        self.at_line(place, if secret { Hidden::All } else { Hidden::Nothing });
        self.draft.report_fault(fault);
    }

    fn at(&mut self, place: &Where, secret: bool) {
        let secret = secret
            || self
                .option
                .as_ref()
                .is_some_and(|(option, _)| option.secret);
        self.at_line(
            place,
            if secret {
                Hidden::Value
            } else {
                Hidden::Nothing
            },
        );
    }

    fn at_line(&mut self, place: &Where, hidden: Hidden) {
        let line = usize::try_from(place.line).unwrap_or(usize::MAX);
        let text = self
            .lines
            .get(line.saturating_sub(1))
            .copied()
            .unwrap_or_default();
        let len = text.strip_suffix('\r').unwrap_or(text).len();
        // Several values may stand on one line, so all of it behind the name is hidden.
        let name = self
            .option
            .as_ref()
            .filter(|(_, name)| name.line == place.line);
        let several = text.replace("{}", "").contains(['{', '}']) || text.matches(": ").count() > 1;
        let from = match (hidden, name) {
            _ if several => 0,
            (Hidden::Nothing, _) => len,
            (Hidden::Value, Some((_, name))) => (name.span.end + 1).min(len),
            (Hidden::Behind, _) => (place.span.end + 1).min(len),
            (Hidden::Value, None) | (Hidden::All, _) => 0,
        };
        self.draft.place = Place {
            origin: PlaceOrigin::File(self.path.clone(), place.line),
            span: place.span.start.min(len)..place.span.end.min(len),
            hidden: (from < len).then_some(from..len),
        };
    }
}

/// `credentials`: names with their passwords.
fn credentials(reader: &mut Reader<'_>, name: &Name, node: &Node) {
    let Value::Map(accounts) = &node.value else {
        return reader.fault_at(
            &name.place,
            Fault::new("`credentials` holds names with their passwords")
                .help("write `name: password` on a line of its own"),
        );
    };
    for (name, node) in accounts {
        let Some((password, place)) = reader.scalar(node) else {
            continue;
        };
        reader.give("user", &place, &name.text);
        let user = User::with_password(&name.text, &password);
        if let Err(fault) = user.and_then(|user| apply::add_user(reader.draft, user)) {
            reader.draft.report_fault(fault);
        }
    }
}

/// `blacklist_peers`: ranges to refuse; `recommended` stands for those that are refused here anyway.
fn blacklist_peers(reader: &mut Reader<'_>, _: &Name, node: &Node) {
    for (text, place) in reader.scalars(node) {
        if text == "recommended" {
            let name = Name {
                text: text.clone(),
                place,
            };
            reader.left_out(
                &name,
                "blacklist_peers",
                "these ranges are always refused, and a few more",
            );
        } else {
            reader.key("denied-peer-ip", &place, &text);
        }
    }
    let recommended = |item: &Node| item.value == Value::Scalar("recommended".to_owned());
    let named = match &node.value {
        Value::List(items) => items.iter().any(recommended),
        _ => recommended(node),
    };
    reader.draft.opens_special_peers = !named;
}

/// `tls_crt_file`, which may hold the key as well.
fn tls_crt_file(reader: &mut Reader<'_>, _: &Name, node: &Node) {
    let Some((file, place)) = reader.scalar(node) else {
        return;
    };
    reader.key("cert", &place, &file);
    reader.certificate = Some((file, place));
}

/// `tls_options`, of which one has a setting here.
fn tls_options(reader: &mut Reader<'_>, name: &Name, node: &Node) {
    let mut kept = false;
    for (text, place) in reader.scalars(node) {
        if text == "no_tlsv1_2" {
            reader.key("no-tlsv1_2", &place, "1");
            kept = true;
        }
    }
    if !kept {
        reader.left_out(
            name,
            "tls_options",
            "TLS 1.3 and 1.2 are offered, with safe suites alone",
        );
    }
}

/// `max_bps`, which eturnal keeps over TCP and TLS alone.
fn max_bps(reader: &mut Reader<'_>, name: &Name, node: &Node) {
    let Some((text, place)) = reader.scalar(node) else {
        return;
    };
    if matches!(text.as_str(), "unlimited" | "infinity" | "none") {
        return reader.left_out(name, "max_bps", "there is no limit by default");
    }
    reader.key("max-bps", &place, &text);
    reader.draft.report(
        Severity::Note,
        "eturnal limits the sessions of TCP and TLS clients alone; here every session is limited",
        "",
    );
}

/// `strict_expiry`: whether a Refresh needs a credential that is still valid.
fn strict_expiry(reader: &mut Reader<'_>, name: &Name, node: &Node) {
    match (reader.boolean(node), keys::find("strict-expiry")) {
        (Some(true), Some(_)) => reader.key("strict-expiry", &node.place, "refresh"),
        (Some(true), None) => reader.left_out(
            name,
            "strict_expiry",
            "a session outlives the credential that began it",
        ),
        (Some(false), _) => reader.left_out(name, "strict_expiry", "this is the default"),
        (None, _) => {}
    }
}

/// `log_level`, in the words of Erlang.
fn log_level(reader: &mut Reader<'_>, _: &Name, node: &Node) {
    let Some((text, place)) = reader.scalar(node) else {
        return;
    };
    let (word, level) = match text.as_str() {
        "none" | "emergency" | "alert" | "critical" | "error" => ("error", LogLevel::Error),
        "warning" => ("warning", LogLevel::Warn),
        "notice" | "info" => ("info", LogLevel::Info),
        "debug" | "all" => ("debug", LogLevel::Debug),
        _ => {
            return reader.fault_at(
                &place,
                Fault::new("this is no log level of eturnal")
                    .help("write `error`, `warning`, `info` or `debug`"),
            );
        }
    };
    reader.give("log-min-level", &place, word);
    reader.draft.level = Some(level);
}

/// `modules`: what is logged and measured.
fn modules(reader: &mut Reader<'_>, name: &Name, node: &Node) {
    let Value::Map(modules) = &node.value else {
        return reader.fault_at(
            &name.place,
            Fault::new("`modules` holds the names of modules")
                .help("write `mod_log_stun: {}` on a line of its own"),
        );
    };
    for (name, node) in modules {
        match name.text.as_str() {
            "mod_log_stun" => {
                reader.left_out(name, "mod_log_stun", "each session is logged anyway");
            }
            "mod_stats_influx" => {
                reader.left_out(
                    name,
                    "mod_stats_influx",
                    "nothing is sent to InfluxDB; it can collect the metrics of `[metrics]`",
                );
            }
            "mod_stats_prometheus" => prometheus(reader, name, node),
            _ => reader.unknown(
                name,
                &["mod_log_stun", "mod_stats_influx", "mod_stats_prometheus"],
            ),
        }
    }
}

fn prometheus(reader: &mut Reader<'_>, name: &Name, node: &Node) {
    reader.key("prometheus", &name.place, "");
    let mut port = None;
    let entries = match &node.value {
        Value::Map(entries) => entries.as_slice(),
        _ => &[],
    };
    for (name, node) in entries {
        match name.text.as_str() {
            "port" => port = reader.scalar(node),
            "ip" => {
                if let Some((ip, place)) = reader.scalar(node) {
                    reader.key("prometheus-address", &place, &ip);
                }
            }
            "tls" => {
                if reader.boolean(node) == Some(true) {
                    reader.key("prometheus-tls", &node.place, "1");
                }
            }
            "addr" | "vm_metrics" | "tls_crt_file" | "tls_key_file" => {
                reader.left_out(name, "mod_stats_prometheus", "it has no setting here");
            }
            _ => reader.unknown(name, &["ip", "port", "tls", "vm_metrics"]),
        }
    }
    // Whoever scrapes it knows this port.
    let (port, place) = port.unwrap_or_else(|| ("8081".to_owned(), name.place.clone()));
    reader.key("prometheus-port", &place, &port);
}
