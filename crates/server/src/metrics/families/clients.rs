//! Metrics of allocations, requests, connections and listeners.

use turnbuckle_proto::AddressFamily;
use turnbuckle_relay::REJECT_CODES;

use crate::metrics::{Family, Kind};

pub(super) const FAMILIES: &[Family] = &[
    Family {
        name: "turnbuckle_allocations",
        kind: Kind::Gauge,
        labels: &["transport"],
        help: "Live allocations by the transport of their client",
        coturn: "turn_total_allocations",
        samples: |scrape, out| {
            let live = scrape.allocations();
            out.add(&["udp"], live.udp);
            out.add(&["dtls"], live.dtls);
            out.add(&["tcp"], live.tcp);
            out.add(&["tls"], live.tls);
        },
    },
    Family {
        name: "turnbuckle_relayed_addresses",
        kind: Kind::Gauge,
        labels: &["family"],
        help: "Relayed addresses in use or reserved; a dual allocation has one of each family",
        coturn: "",
        samples: |scrape, out| {
            for (family, used) in scrape.relayed {
                out.add(&[word(family)], used);
            }
        },
    },
    Family {
        name: "turnbuckle_allocations_created",
        kind: Kind::Counter,
        labels: &["clients"],
        help: "Allocations made",
        coturn: "",
        samples: |scrape, out| {
            for (clients, report) in scrape.reports() {
                out.add(&[clients], report.stats.allocations);
            }
        },
    },
    Family {
        name: "turnbuckle_binding_answers",
        kind: Kind::Counter,
        labels: &["clients"],
        help: "Binding requests answered",
        coturn: "stun_binding_response",
        samples: |scrape, out| {
            for (clients, report) in scrape.reports() {
                out.add(&[clients], report.stats.bindings);
            }
        },
    },
    Family {
        name: "turnbuckle_success_answers",
        kind: Kind::Counter,
        labels: &["clients"],
        help: "Success answers to all other requests",
        coturn: "",
        samples: |scrape, out| {
            for (clients, report) in scrape.reports() {
                out.add(&[clients], report.stats.successes);
            }
        },
    },
    Family {
        name: "turnbuckle_error_answers",
        kind: Kind::Counter,
        labels: &["clients", "code"],
        help: "Error answers; 401 and 438 are the challenges that every client meets",
        coturn: "turn_unauthenticated_401_responses",
        samples: |scrape, out| {
            for (clients, report) in scrape.reports() {
                for code in REJECT_CODES {
                    out.add(&[clients, &code.to_string()], report.stats.rejected(code));
                }
            }
        },
    },
    Family {
        name: "turnbuckle_listener_received",
        kind: Kind::Counter,
        labels: &["address", "listener"],
        help: "Datagrams taken, or connections accepted",
        coturn: "turn_udp_recvmmsg_packets",
        samples: |scrape, out| {
            for (address, listener, sums) in scrape.listeners() {
                out.add(&[&address, listener], sums.received);
            }
        },
    },
    Family {
        name: "turnbuckle_listener_kernel_drops",
        kind: Kind::Counter,
        labels: &["address", "listener"],
        help: "Datagrams lost because the receive buffer was full",
        coturn: "",
        samples: |scrape, out| {
            for (address, listener, sums) in scrape.listeners() {
                if let Some(drops) = sums.kernel_drops {
                    out.add(&[&address, listener], drops);
                }
            }
        },
    },
    Family {
        name: "turnbuckle_connections",
        kind: Kind::Gauge,
        labels: &[],
        help: "Open connections of TCP and TLS clients",
        coturn: "",
        samples: |scrape, out| out.set(scrape.connections()),
    },
    Family {
        name: "turnbuckle_connections_closed_early",
        kind: Kind::Counter,
        labels: &["reason"],
        help: "Connections and DTLS sessions turned away because there were too many, or closed to make room for newer ones",
        coturn: "",
        samples: |scrape, out| {
            let total = scrape.total();
            out.add(&["refused"], total.connections_refused);
            out.add(&["evicted"], total.connections_evicted);
            out.add(&["dtls_refused"], total.dtls.refused);
            out.add(&["dtls_evicted"], total.dtls.evicted);
        },
    },
    Family {
        name: "turnbuckle_handshakes",
        kind: Kind::Counter,
        labels: &["transport", "result"],
        help: "TLS and DTLS handshakes finished and failed",
        coturn: "",
        samples: |scrape, out| {
            let total = scrape.total();
            out.add(&["tls", "finished"], total.tls_finished);
            out.add(&["tls", "failed"], total.tls_failed);
            out.add(&["dtls", "finished"], total.dtls.connected);
            out.add(&["dtls", "failed"], total.dtls.failed);
        },
    },
    Family {
        name: "turnbuckle_dtls_cookies",
        kind: Kind::Counter,
        labels: &[],
        help: "DTLS clients that were asked for a cookie",
        coturn: "",
        samples: |scrape, out| out.set(scrape.total().dtls.asked),
    },
];

pub(super) const fn word(family: AddressFamily) -> &'static str {
    match family {
        AddressFamily::V4 => "ipv4",
        AddressFamily::V6 => "ipv6",
    }
}
