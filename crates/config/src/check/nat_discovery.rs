//! Whether the tests of RFC 5780 can be offered: they need two addresses and two ports.

use std::net::IpAddr;

use crate::diagnostic::Severity;
use crate::draft::Draft;
use crate::listener::{Listener, Transport};
use crate::settings::NatDiscovery;

/// Settles the second port, and reports what is missing.
pub(super) fn check(draft: &mut Draft) {
    let asked = draft.alt_listening_port.filter(|port| *port != 0);
    if !draft.rfc5780 {
        if asked.is_some() {
            let place = draft.place_of("alt-listening-port");
            draft.report_at(
                &place,
                Severity::Note,
                "`alt-listening-port` has no effect: it is for the tests of RFC 5780",
                "write `rfc5780` to offer them",
            );
        }
        return;
    }
    let place = draft.place_of("rfc5780");
    let Some((ips, port)) = two_addresses(&draft.settings.listeners) else {
        draft.report_at(
            &place,
            Severity::Warning,
            "the tests of `rfc5780` need two addresses of a family for UDP, and are not offered",
            "name both with `listening-ip`",
        );
        return;
    };
    match asked.or_else(|| port.checked_add(1)) {
        Some(alternate_port) if alternate_port != port => {
            draft.settings.nat_discovery = Some(NatDiscovery {
                ips,
                port,
                alternate_port,
            });
        }
        _ => {
            let place = match asked {
                Some(_) => draft.place_of("alt-listening-port"),
                None => place,
            };
            draft.report_at(
                &place,
                Severity::Error,
                "the tests of `rfc5780` need a second port",
                "give `alt-listening-port` a port other than `listening-port`",
            );
        }
    }
}

/// The addresses to test with and their port: the first port that UDP listeners have on two named addresses of a family.
fn two_addresses(listeners: &[Listener]) -> Option<(Vec<IpAddr>, u16)> {
    let named = |port| {
        let udp = listeners
            .iter()
            .filter(move |l| l.transport == Transport::Udp && l.port == port);
        let mut ips: Vec<IpAddr> = udp
            .filter_map(|l| l.address)
            .filter(|ip| !ip.is_unspecified())
            .collect();
        ips.sort_unstable();
        ips.dedup();
        let all = ips.clone();
        let alike = |ip: &IpAddr| {
            all.iter()
                .filter(|other| other.is_ipv4() == ip.is_ipv4())
                .count()
        };
        ips.retain(|ip| alike(ip) >= 2);
        ips
    };
    listeners
        .iter()
        .map(|listener| (named(listener.port), listener.port))
        .find(|(ips, _)| !ips.is_empty())
}
