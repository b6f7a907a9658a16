//! Which listeners come of the keys, and whether anything is served at all. Owns the rules about transports, ports of
//! listeners, certificates and proxies; the relay ports are in the module above.

use std::net::{IpAddr, SocketAddr};

use crate::certificate;
use crate::diagnostic::Severity;
use crate::draft::{Draft, Format, Place};
use crate::listener::{Listener, Transport};

/// Puts the list of listeners together, and reports what is missing or contradicts itself.
pub(super) fn check(draft: &mut Draft) {
    certificate::pair(draft);
    certificates(draft);
    aux_servers(draft);
    plan(draft);
    proxies(draft);
    connections(draft);
    transports(draft);
    draft.settings.listeners = draft
        .planned
        .iter()
        .map(|(listener, _)| *listener)
        .collect();
}

/// Takes the keys, or the list of a TOML file, apart into single listeners, no two the same.
fn plan(draft: &mut Draft) {
    let mut planned: Vec<(Listener, &'static str)> = Vec::new();
    let mut add = |listener: Listener, name| {
        if planned.iter().all(|(other, _)| *other != listener) {
            planned.push((listener, name));
        }
    };
    let tls = draft.settings.serves_tls();
    let listen = &draft.listen;
    if let Some(list) = &listen.list {
        for listener in list {
            let name = if listener.proxied {
                "tcp-proxy-port"
            } else {
                "listening-port"
            };
            add(*listener, name);
        }
        draft.planned = planned;
        return;
    }
    let ips = match listen.ips.as_slice() {
        [] => vec![None],
        ips => ips.iter().copied().map(Some).collect(),
    };
    let plain = [(Transport::Udp, listen.udp), (Transport::Tcp, listen.tcp)];
    let secure = [
        (Transport::Tls, tls),
        (Transport::Dtls, draft.settings.dtls),
    ];
    let aux = listen.aux.iter().map(|aux| (Some(aux.ip()), aux.port()));
    let at = |port| ips.iter().map(move |ip| (*ip, port));
    let groups = at(listen.port)
        .map(|place| (place, plain, "listening-port"))
        .chain(aux.map(|place| (place, plain, "aux-server")))
        .chain(at(listen.tls_port).map(|place| (place, secure, "tls-listening-port")));
    for ((ip, port), transports, name) in groups {
        for (transport, _) in transports.into_iter().filter(|(_, on)| *on) {
            add(Listener::new(ip, port, transport), name);
        }
    }
    let proxied = [
        (Transport::Tcp, listen.tcp_proxy_port, "tcp-proxy-port"),
        (Transport::Tls, listen.tls_proxy_port, "tls-proxy-port"),
    ];
    for (transport, port, name) in proxied {
        for (ip, port) in port.into_iter().flat_map(at) {
            let listener = Listener::new(ip, port, transport);
            add(
                Listener {
                    proxied: true,
                    ..listener
                },
                name,
            );
        }
    }
    draft.planned = planned;
    relay_where_clients_are_served(draft);
}

/// Relayed addresses are those of `listening-ip` where nothing else is said: not those of `aux-server`.
fn relay_where_clients_are_served(draft: &mut Draft) {
    let mut ips = draft.listen.ips.clone();
    ips.retain(|ip| !ip.is_unspecified());
    let elsewhere = |aux: &SocketAddr| !aux.ip().is_unspecified() && !ips.contains(&aux.ip());
    let says_where = draft.is_given("relay-ip")
        || draft
            .settings
            .external_ips
            .iter()
            .any(|external| external.private.is_some());
    if !says_where && !ips.is_empty() && draft.listen.aux.iter().any(elsewhere) {
        draft.settings.relay_ips = ips;
    }
}

fn certificates(draft: &mut Draft) {
    // What is wrong with one of them is reported already.
    if draft.is_given("cert") || draft.is_given("pkey") {
        return;
    }
    if draft.format != Format::Conf {
        let help = match draft.format {
            Format::Eturnal => {
                "add `tls_crt_file` and `tls_key_file`, or remove the listener; eturnal makes up a certificate that \
                               no client trusts"
            }
            _ => "add `[[tls.certificates]]`, or remove the listener",
        };
        for (name, word) in [("dtls", "DTLS"), ("tls-listening-port", "TLS")] {
            if draft.is_given(name) {
                let place = draft.place_of(name);
                draft.report_at(
                    &place,
                    Severity::Error,
                    format!("a listener for {word} needs a certificate, and there is none"),
                    help,
                );
            }
        }
        return;
    }
    if draft.settings.dtls {
        let place = draft.place_of("dtls");
        draft.report_at(
            &place,
            Severity::Error,
            "`dtls` needs a certificate, and there is no `cert`",
            "add `cert` and `pkey`, or remove `dtls`",
        );
        return;
    }
    let asks = ASK_FOR_TLS.iter().find(|name| draft.is_given(name));
    if let Some(name) = asks.filter(|_| draft.settings.tls) {
        let place = draft.place_of(name);
        draft.report_at(
            &place,
            Severity::Warning,
            format!("`{name}` asks for TLS, which is not served without a certificate"),
            "add `cert` and `pkey`, or remove the line",
        );
    }
}

fn aux_servers(draft: &mut Draft) {
    let (port, ips) = (draft.listen.port, draft.listen.ips.clone());
    let covered = |listener: &SocketAddr| {
        let same_family = |ip: &IpAddr| ip.is_unspecified() && ip.is_ipv4() == listener.is_ipv4();
        listener.port() == port
            && (ips.is_empty() || ips.contains(&listener.ip()) || ips.iter().any(same_family))
    };
    for listener in draft.listen.aux.clone() {
        if covered(&listener) {
            let place = place_of_aux_server(draft, listener);
            draft.report_at(
                &place,
                Severity::Note,
                format!("`{listener}` is listened on already: its port is `listening-port`"),
                "",
            );
        }
    }
    draft.listen.aux.retain(|listener| !covered(listener));
}

fn place_of_aux_server(draft: &Draft, listener: SocketAddr) -> Place {
    let same = |text: &str| text.parse() == Ok(listener);
    draft
        .given
        .iter()
        .find(|given| given.key.name == "aux-server" && same(given.text.expose()))
        .map(|given| given.place.clone())
        .unwrap_or_default()
}

fn proxies(draft: &mut Draft) {
    let mut ports: Vec<_> = draft
        .planned
        .iter()
        .filter(|(listener, _)| listener.proxied)
        .map(|&(listener, name)| (name, listener.port))
        .collect();
    ports.dedup();
    let mut nobody_trusted = !draft.is_given("proxy-trusted");
    let mut any = false;
    for (name, port) in ports {
        any = true;
        let place = draft.place_of(name);
        if nobody_trusted {
            let asks = match draft.format {
                Format::Conf => format!("`{name}` is given"),
                Format::Toml | Format::Eturnal => "a listener has `proxy = true`".to_owned(),
            };
            draft.report_at(
                &place,
                Severity::Error,
                format!("{asks}, but no proxy is trusted, so nobody could connect"),
                "add `proxy-trusted=` and the address that the proxy connects from, such as `proxy-trusted=127.0.0.1`",
            );
            nobody_trusted = false;
        }
        if let Some(other) = direct_listener(draft, port) {
            draft.report_at(
                &place,
                Severity::Error,
                format!("clients connect to port {port} without a proxy: it is that of `{other}`"),
                "choose a port that only the proxy connects to",
            );
        }
    }
    if !any && draft.is_given("proxy-trusted") {
        let place = draft.place_of("proxy-trusted");
        let (message, help) = match draft.format {
            Format::Conf => (
                "`proxy-trusted` has no effect: there is neither `tcp-proxy-port` nor `tls-proxy-port`",
                "add `tcp-proxy-port`, on which connections begin with a PROXY header, or remove the line",
            ),
            Format::Toml | Format::Eturnal => (
                "`proxy-trusted` has no effect: no listener has `proxy = true`",
                "add it to the listener on which connections begin with a PROXY header, or remove the line",
            ),
        };
        draft.report_at(&place, Severity::Warning, message, help);
    }
    if draft.listen.tls_proxy_port.is_some() && !draft.settings.tls {
        let place = draft.place_of("tls-proxy-port");
        draft.report_at(
            &place,
            Severity::Warning,
            "TLS clients are not served on `tls-proxy-port` either, because of `no-tls`",
            "remove one of them",
        );
    }
}

/// The key of a TCP or TLS listener for clients without a proxy at this port.
fn direct_listener(draft: &Draft, port: u16) -> Option<&'static str> {
    draft
        .planned
        .iter()
        .find(|(listener, _)| {
            !listener.proxied && !listener.transport.is_datagram() && listener.port == port
        })
        .map(|(_, name)| *name)
}

fn connections(draft: &mut Draft) {
    let (pending, all) = (
        draft.settings.pending_connections_max,
        draft.settings.connections_max,
    );
    if pending > all && draft.is_given("max-pending-connections") {
        let place = draft.place_of("max-pending-connections");
        draft.report_at(
            &place,
            Severity::Warning,
            format!("one address may hold every connection there is: `max-connections` is {all}"),
            "set it well below `max-connections`",
        );
    }
}

fn transports(draft: &mut Draft) {
    let settings = &draft.settings;
    // An empty list is reported where it is read.
    let served = !draft.planned.is_empty() || draft.listen.list.is_some();
    // What is wrong with a certificate is reported already, and it would have been served with.
    let broken_tls = settings.tls && (draft.is_given("cert") || draft.is_given("pkey"));
    if served || broken_tls {
        return;
    }
    let (message, help) = if settings.tls {
        (
            "`no-udp` and `no-tcp` leave no listener: there is no certificate for TLS",
            "add `cert` and `pkey`, or remove one of `no-udp` and `no-tcp`",
        )
    } else {
        (
            "`no-udp`, `no-tcp` and `no-tls` leave no listener",
            "remove one of them",
        )
    };
    let place = draft.place_of("no-udp");
    draft.report_at(&place, Severity::Error, message, help);
}

/// Keys that are of use to TLS clients alone, in the order in which one of them is named.
const ASK_FOR_TLS: [&str; 6] = [
    "tls-listening-port",
    "tls-proxy-port",
    "pkey-pwd",
    "cipher-list",
    "no-tlsv1_2",
    "no-tls",
];
