//! `listen` of eturnal: a list of listeners. Owns what each of their options becomes.

use super::Reader;
use super::yaml::{Name, Node, Value, Where};
use crate::diagnostic::Severity;
use crate::fault::Fault;
use crate::keys;
use crate::listener::{DEFAULT_PORT, DEFAULT_TLS_PORT, Listener, Transport};
use crate::value;

pub(super) fn listen(reader: &mut Reader<'_>, name: &Name, node: &Node) {
    let Value::List(items) = &node.value else {
        return reader.fault_at(
            &name.place,
            Fault::new("`listen` is a list of listeners")
                .help("begin each with `-` on a line of its own"),
        );
    };
    reader.give("listening-port", &name.place, "");
    let mut all = Vec::new();
    let mut stun_only = Vec::new();
    for item in items {
        let Some(read) = Read::of(reader, item) else {
            continue;
        };
        if read.proxied {
            reader.at(&item.place, false);
            reader.draft.report(
                Severity::Warning,
                "this listener is left out: eturnal believes the PROXY header of everyone, and here the proxies are named",
                "add the listener to the result, with `proxy = true`, and `proxy-trusted` with the addresses of the proxies",
            );
            for (_, place, text) in read.given {
                let name = Name { text, place };
                reader.left_out(
                    &name,
                    "listen",
                    "the listener is left out, because of `proxy_protocol`",
                );
            }
            continue;
        }
        for (key, place, text) in &read.given {
            reader.give(key, place, text);
        }
        stun_only.push((!read.turn, item.place.clone()));
        all.push(read.listener);
    }
    match stun_only.iter().find(|(stun, _)| *stun) {
        Some(_) if stun_only.iter().all(|(stun, _)| *stun) => {
            reader.give("stun-only", &name.place, "1");
            reader.draft.settings.stun_only = true;
        }
        Some((_, place)) => {
            reader.at(place, false);
            reader.draft.report(
                Severity::Warning,
                "TURN is served on every listener here, also where `enable_turn` is false",
                "",
            );
        }
        None => {}
    }
    if all.is_empty() {
        reader.fault_at(
            &name.place,
            Fault::new("there is no listener left, so nobody would be served")
                .help("add one for udp and one for tcp"),
        );
    }
    reader.draft.listen.list = Some(all);
}

struct Read {
    listener: Listener,
    proxied: bool,
    turn: bool,
    /// The keys that its options stand for, with place and value.
    given: Vec<(&'static str, Where, String)>,
}

impl Read {
    fn of(reader: &mut Reader<'_>, item: &Node) -> Option<Self> {
        let Value::Map(options) = &item.value else {
            reader.fault_at(
                &item.place,
                Fault::new("a listener has options")
                    .help("write `port`, `transport` and `ip` on lines of their own"),
            );
            return None;
        };
        let mut address = None;
        let mut port = None;
        let mut transport = Transport::Udp;
        let mut proxied = false;
        let mut turn = true;
        let mut at = item.place.clone();
        let mut given = Vec::new();
        for (name, node) in options {
            match name.text.as_str() {
                "ip" => {
                    let (text, place) = reader.scalar(node)?;
                    address = self::address(reader, &text, &place)?;
                    given.push(("listening-ip", place, text));
                }
                "port" => {
                    let (text, place) = reader.scalar(node)?;
                    let number = text.parse::<u16>().ok().filter(|port| *port > 0);
                    if number.is_none() {
                        let fault = Fault::new(format!("`{text}` is no port"));
                        reader.fault_at(&place, fault.help("write a whole number from 1 to 65535"));
                        return None;
                    }
                    port = number;
                    given.push(("listening-port", place, text));
                }
                "transport" => {
                    let (text, place) = reader.scalar(node)?;
                    transport = match text.as_str() {
                        "udp" => Transport::Udp,
                        // TLS is spoken there as well.
                        "tcp" | "auto" => Transport::Tcp,
                        "tls" => Transport::Tls,
                        _ => {
                            let fault = Fault::new(format!("`{text}` is no transport"));
                            reader.fault_at(
                                &place,
                                fault.help("write `udp`, `tcp`, `tls` or `auto`"),
                            );
                            return None;
                        }
                    };
                    let key = if transport == Transport::Tls {
                        "tls-listening-port"
                    } else {
                        "listening-port"
                    };
                    given.push((key, place.clone(), String::new()));
                    at = place;
                }
                "proxy_protocol" => {
                    proxied = reader.boolean(node)?;
                    given.push(("listening-port", name.place.clone(), String::new()));
                }
                "enable_turn" => {
                    turn = reader.boolean(node)?;
                    if turn {
                        reader.left_out(name, "listen.enable_turn", "this is the default");
                    }
                }
                _ => reader.unknown(
                    name,
                    &["ip", "port", "transport", "proxy_protocol", "enable_turn"],
                ),
            }
        }
        if proxied && transport.is_datagram() {
            reader.fault_at(
                &at,
                Fault::new("the PROXY protocol goes with TCP and TLS only")
                    .help("remove `proxy_protocol`"),
            );
            return None;
        }
        let default = match transport {
            Transport::Tls | Transport::Dtls => DEFAULT_TLS_PORT,
            Transport::Udp | Transport::Tcp => DEFAULT_PORT,
        };
        Some(Self {
            listener: Listener::new(address, port.unwrap_or(default), transport),
            proxied,
            turn,
            given,
        })
    }
}

/// The address; `::`, which to eturnal is every address of both families, is none in particular.
fn address(reader: &mut Reader<'_>, text: &str, place: &Where) -> Option<Option<std::net::IpAddr>> {
    if matches!(text, "::" | "any") {
        return Some(None);
    }
    let read = match keys::find("listening-ip") {
        Some(key) => value::address(key, text),
        None => Err(Fault::new("unknown key")),
    };
    match read {
        Ok(address) => Some(Some(address)),
        Err(fault) => {
            reader.fault_at(place, fault);
            None
        }
    }
}
