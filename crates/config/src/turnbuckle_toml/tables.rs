//! The lists of tables of `turnbuckle.toml`: listeners, accounts, certificates, peer rules. Owns their fields.

use std::net::IpAddr;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Item, Reader};
use crate::apply;
use crate::certificate::{self, CertificateFiles};
use crate::diagnostic::Severity;
use crate::fault::Fault;
use crate::keys;
use crate::listener::{DEFAULT_PORT, DEFAULT_TLS_PORT, Listener, Transport};
use crate::nearest::nearest;
use crate::peer::{Origin, PeerRule};
use crate::turnserver_conf::is_unseen;
use crate::user::User;
use crate::value;

impl Reader<'_> {
    /// `[[listeners]]`: `transport` is a word or a list of them, `address` too and may be left out, as may `port`.
    pub(super) fn listeners(&mut self, value: &Item<'_>) {
        let mut listeners = Vec::new();
        let known = ["address", "port", "transport", "proxy"];
        for (span, table) in self.tables("listeners", value, &known, false) {
            let proxied = match table.get("proxy").map(Spanned::get_ref) {
                None => false,
                Some(DeValue::Boolean(on)) => *on,
                Some(_) => {
                    self.expected(
                        &table,
                        "proxy",
                        &span,
                        "on or off",
                        "write `true` or `false`",
                    );
                    continue;
                }
            };
            let mut transports = Vec::new();
            for (word, at) in self.texts(&table, "transport") {
                match Transport::ALL
                    .iter()
                    .find(|transport| transport.as_str() == word)
                {
                    Some(transport) if proxied && transport.is_datagram() => self.fault(
                        at,
                        false,
                        Fault::new("the PROXY protocol goes with TCP and TLS only")
                            .help("give UDP a listener of its own"),
                    ),
                    Some(transport) => transports.push((*transport, at)),
                    None => self.fault(
                        at,
                        false,
                        Fault::new(format!("`{word}` is no transport"))
                            .help("write \"udp\", \"tcp\", \"tls\" or \"dtls\", or a list of them"),
                    ),
                }
            }
            if !table.contains_key("transport") {
                self.missing(&span, "transport", "`transport = [\"udp\", \"tcp\"]`");
            }
            let mut addresses = Vec::new();
            for (text, at) in self.texts(&table, "address") {
                match listening_address(&text) {
                    Ok(address) => addresses.push(Some(address)),
                    Err(fault) => self.fault(at, false, fault),
                }
            }
            if !table.contains_key("address") {
                addresses.push(None);
            }
            let Ok(port) = self.port(&table, &span) else {
                continue;
            };
            for address in addresses {
                for (transport, at) in &transports {
                    let default = match transport {
                        Transport::Udp | Transport::Tcp => DEFAULT_PORT,
                        Transport::Tls | Transport::Dtls => DEFAULT_TLS_PORT,
                    };
                    let port = port.unwrap_or(default);
                    let listener = Listener {
                        proxied,
                        ..Listener::new(address, port, *transport)
                    };
                    self.listener(listener, at.clone(), &span);
                    listeners.push(listener);
                }
            }
        }
        if listeners.is_empty() {
            self.fault(
                value.span(),
                false,
                Fault::new("there is no listener, so nobody is served")
                    .help("add one, or leave `listeners` out for UDP and TCP on port 3478"),
            );
        }
        self.draft.listen.list = Some(listeners);
    }

    /// Notes one listener for the rules about certificates, proxies and ports.
    fn listener(&mut self, listener: Listener, at: Range<usize>, table: &Range<usize>) {
        let port = listener.port.to_string();
        match (listener.proxied, listener.transport) {
            (true, _) => self.give("tcp-proxy-port", table.clone(), &port),
            (false, _) => self.give("listening-port", table.clone(), &port),
        }
        match listener.transport {
            Transport::Dtls => {
                self.draft.settings.dtls = true;
                self.give("dtls", at, "1");
            }
            Transport::Tls if !listener.proxied => {
                self.give("tls-listening-port", at, &port);
            }
            _ => {}
        }
    }

    fn port(&mut self, table: &DeTable<'_>, span: &Range<usize>) -> Result<Option<u16>, ()> {
        let port = match table.get("port").map(Spanned::get_ref) {
            None => return Ok(None),
            Some(DeValue::Integer(number)) if number.radix() == 10 => number.as_str().parse().ok(),
            Some(_) => None,
        };
        match port.filter(|port| *port > 0) {
            Some(port) => Ok(Some(port)),
            None => {
                self.expected(
                    table,
                    "port",
                    span,
                    "a port",
                    "write a whole number from 1 to 65535",
                );
                Err(())
            }
        }
    }

    /// `[[auth.users]]`: `name`, and `password` or `key`.
    pub(super) fn users(&mut self, value: &Item<'_>) {
        for (span, table) in self.tables("auth.users", value, &["name", "password", "key"], true) {
            let name = self.text(&table, "name", &span);
            let password = self.optional_text(&table, "password", &span, true);
            let key = self.optional_text(&table, "key", &span, true);
            let Some((name, _)) = name else { continue };
            let user = match (password, key) {
                (Some((password, _)), None) => User::with_password(&name, &password),
                (None, Some((key, _))) => User::with_key(&name, &key),
                _ => Err(
                    Fault::new("an account has either a password or a key").help(
                        "write `password = \"…\"`, or `key = \"…\"` with MD5(name:realm:password)",
                    ),
                ),
            };
            self.give("user", span.clone(), &name);
            self.at(span, true);
            if let Err(fault) = user.and_then(|user| apply::add_user(self.draft, user)) {
                self.draft.report_fault(fault);
            }
        }
    }

    /// `[[tls.certificates]]`: `cert`, `key`, and `password` if the key has one.
    pub(super) fn certificates(&mut self, value: &Item<'_>) {
        for (span, table) in self.tables(
            "tls.certificates",
            value,
            &["cert", "key", "password"],
            true,
        ) {
            let cert = self.text(&table, "cert", &span);
            let key = self.text(&table, "key", &span);
            let password = self.optional_text(&table, "password", &span, true);
            let (Some((cert, cert_at)), Some((key, key_at))) = (cert, key) else {
                continue;
            };
            self.give("cert", cert_at, &cert);
            self.give("pkey", key_at, &key);
            let readable = || {
                let password = match &password {
                    Some((password, _)) => certificate::key_password(password)?,
                    None => None,
                };
                Ok(CertificateFiles {
                    cert: certificate::file("cert", &cert)?,
                    key: certificate::file("pkey", &key)?,
                    password,
                })
            };
            self.at(span, true);
            match readable() {
                Ok(files) if self.draft.settings.certificates.contains(&files) => {
                    self.draft
                        .report(Severity::Note, "this certificate is given already", "");
                }
                Ok(files) => self.draft.settings.certificates.push(files),
                Err(fault) => self.draft.report_fault(fault),
            }
        }
    }

    /// `[[peers.rules]]`: `name` if it is to have one, and `allow` or `deny`, a range or a list of them.
    pub(super) fn peer_rules(&mut self, value: &Item<'_>) {
        for (span, table) in self.tables("peers.rules", value, &["name", "allow", "deny"], false) {
            let name = self
                .optional_text(&table, "name", &span, false)
                .map(|(name, _)| name);
            let (opens, field, key) = match (
                table.contains_key("allow"),
                table.contains_key("deny"),
            ) {
                (true, false) => (true, "allow", "allowed-peer-ip"),
                (false, true) => (false, "deny", "denied-peer-ip"),
                _ => {
                    self.fault(
                        span,
                        false,
                        Fault::new("a peer rule either allows or denies")
                            .help("write `allow = \"…\"` or `deny = \"…\"` with an address, `first-last` or `address/prefix`"),
                    );
                    continue;
                }
            };
            for (text, at) in self.texts(&table, field) {
                self.give(key, at.clone(), &text);
                let origin = Origin {
                    file: Some(self.path.clone()),
                    line: self.draft.place.line(),
                };
                match PeerRule::parse(&text, origin) {
                    Ok(rule) => self.draft.peer_rules.push((
                        opens,
                        PeerRule {
                            name: name.clone(),
                            ..rule
                        },
                    )),
                    Err(fault) => self.fault(at, false, fault),
                }
            }
        }
    }

    /// The tables of a list, each with its place; fields that are not known are reported.
    fn tables<'i>(
        &mut self,
        path: &str,
        value: &Item<'i>,
        known: &[&str],
        secret: bool,
    ) -> Vec<(Range<usize>, DeTable<'i>)> {
        let DeValue::Array(items) = value.get_ref() else {
            self.fault(
                value.span(),
                secret,
                Fault::new(format!("`{path}` is a list of tables")).help(format!(
                    "write `[[{path}]]` on a line of its own and its fields below, once for each"
                )),
            );
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in items {
            let DeValue::Table(table) = item.get_ref() else {
                self.fault(
                    item.span(),
                    secret,
                    Fault::new(format!("`{path}` is a list of tables")).help(format!(
                        "write `[[{path}]]` on a line of its own and its fields below"
                    )),
                );
                continue;
            };
            for (name, _) in table {
                let field = name.get_ref().as_ref();
                if !known.contains(&field) {
                    let help = nearest(field, known.iter().map(|name| (name, name)))
                        .map(|field| format!("did you mean `{field}`?"));
                    let help = help.unwrap_or_else(|| format!("it has `{}`", known.join("`, `")));
                    self.unknown(name.span(), &format!("{path}.{field}"), &help);
                }
            }
            tables.push((item.span(), table.clone()));
        }
        tables
    }

    /// A field that has to be there, a text.
    fn text(
        &mut self,
        table: &DeTable<'_>,
        field: &str,
        span: &Range<usize>,
    ) -> Option<(String, Range<usize>)> {
        if !table.contains_key(field) {
            self.missing(span, field, &format!("`{field} = \"…\"`"));
        }
        self.optional_text(table, field, span, false)
    }

    fn optional_text(
        &mut self,
        table: &DeTable<'_>,
        field: &str,
        span: &Range<usize>,
        secret: bool,
    ) -> Option<(String, Range<usize>)> {
        let value = table.get(field)?;
        match value.get_ref().as_str() {
            Some(text) if !text.chars().any(is_unseen) => Some((text.to_owned(), value.span())),
            _ if secret => {
                let fault = Fault::new(format!("`{field}` has to be a text of visible characters"));
                self.fault(value.span(), true, fault.help("write it in double quotes"));
                None
            }
            _ => {
                self.expected(
                    table,
                    field,
                    span,
                    "a text of visible characters",
                    "write it in double quotes",
                );
                None
            }
        }
    }

    /// The items of a text or of a list of texts; none where the field is not there.
    fn texts(&mut self, table: &DeTable<'_>, field: &str) -> Vec<(String, Range<usize>)> {
        let Some(value) = table.get(field) else {
            return Vec::new();
        };
        let items: Vec<&Item<'_>> = match value.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![value],
        };
        if items.is_empty() {
            self.fault(
                value.span(),
                false,
                Fault::new(format!("`{field}` is empty"))
                    .help("name one at least, or leave the field out"),
            );
        }
        let mut texts = Vec::new();
        for item in items {
            match item.get_ref().as_str() {
                Some(text) => texts.push((text.to_owned(), item.span())),
                None => self.fault(
                    item.span(),
                    false,
                    Fault::new(format!("`{field}` has to be a text or a list of texts"))
                        .help("write it in double quotes"),
                ),
            }
        }
        texts
    }

    fn missing(&mut self, span: &Range<usize>, field: &str, example: &str) {
        self.fault(
            span.clone(),
            false,
            Fault::new(format!("there is no `{field}`")).help(format!("add {example}")),
        );
    }

    fn expected(
        &mut self,
        table: &DeTable<'_>,
        field: &str,
        span: &Range<usize>,
        what: &str,
        help: &str,
    ) {
        let at = table.get(field).map_or_else(|| span.clone(), Spanned::span);
        self.fault(
            at,
            false,
            Fault::new(format!("`{field}` has to be {what}")).help(help),
        );
    }
}

fn listening_address(text: &str) -> Result<IpAddr, Fault> {
    // The table holds the key whose rules these are.
    let key = keys::find("listening-ip").ok_or_else(|| Fault::new("unknown key"))?;
    value::address(key, text)
}
