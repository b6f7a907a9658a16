//! Which listeners come of the keys, and whether anything is served at all. Owns the rules about transports, ports of
//! listeners, certificates and proxies; the relay ports are in the module above.

use std::net::{IpAddr, SocketAddr};

use crate::certificate;
use crate::diagnostic::Severity;
use crate::draft::{Draft, Place};

/// Drops listeners that are there already, and reports what is missing or contradicts itself.
pub(super) fn check(draft: &mut Draft) {
    certificate::pair(draft);
    certificates(draft);
    aux_servers(draft);
    proxies(draft);
    connections(draft);
    transports(draft);
}

fn certificates(draft: &mut Draft) {
    // What is wrong with one of them is reported already.
    if draft.is_given("cert") || draft.is_given("pkey") {
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
    let (port, ips) = (
        draft.settings.listening_port,
        draft.settings.listening_ips.clone(),
    );
    let covered = |listener: &SocketAddr| {
        let same_family = |ip: &IpAddr| ip.is_unspecified() && ip.is_ipv4() == listener.is_ipv4();
        listener.port() == port
            && (ips.is_empty() || ips.contains(&listener.ip()) || ips.iter().any(same_family))
    };
    for listener in draft.settings.aux_servers.clone() {
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
    draft
        .settings
        .aux_servers
        .retain(|listener| !covered(listener));
}

fn place_of_aux_server(draft: &Draft, listener: SocketAddr) -> Place {
    let same = |text: &str| text.parse() == Ok(listener);
    draft
        .given
        .iter()
        .find(|given| given.key.name == "aux-server" && given.text.as_deref().is_some_and(same))
        .map(|given| given.place.clone())
        .unwrap_or_default()
}

fn proxies(draft: &mut Draft) {
    let ports = [
        ("tcp-proxy-port", draft.settings.tcp_proxy_port),
        ("tls-proxy-port", draft.settings.tls_proxy_port),
    ];
    let ports = ports
        .into_iter()
        .filter_map(|(name, port)| Some((name, port?)));
    let mut nobody_trusted = !draft.is_given("proxy-trusted");
    let mut any = false;
    for (name, port) in ports {
        any = true;
        let place = draft.place_of(name);
        if nobody_trusted {
            draft.report_at(
                &place,
                Severity::Error,
                format!("`{name}` is given, but no proxy is trusted, so nobody could connect"),
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
        draft.report_at(
            &place,
            Severity::Warning,
            "`proxy-trusted` has no effect: there is neither `tcp-proxy-port` nor `tls-proxy-port`",
            "add `tcp-proxy-port`, on which connections begin with a PROXY header, or remove the line",
        );
    }
    if draft.settings.tls_proxy_port.is_some() && !draft.settings.tls {
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
    let settings = &draft.settings;
    let plain = settings.tcp;
    if plain && settings.listening_port == port {
        Some("listening-port")
    } else if settings.serves_tls() && settings.tls_listening_port == port {
        Some("tls-listening-port")
    } else if plain && settings.aux_servers.iter().any(|aux| aux.port() == port) {
        Some("aux-server")
    } else {
        None
    }
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
    let behind_proxy = settings.tcp_proxy_port.or(settings.tls_proxy_port);
    let served = settings.udp
        || settings.tcp
        || settings.dtls
        || settings.serves_tls()
        || behind_proxy.is_some();
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
