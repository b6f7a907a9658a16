//! The metrics of coturn that tell the same as some of ours, under its names, for dashboards that are there already.

use crate::metrics::{Family, Kind, Samples, Scrape};

pub(super) const FAMILIES: &[Family] = &[
    traffic(
        "turn_traffic_rcvp",
        "Payloads from clients",
        |scrape, out| {
            by_realm(scrape, out, scrape.total().stats.packets_to_peers);
        },
    ),
    traffic(
        "turn_traffic_rcvb",
        "Bytes of the payloads from clients",
        |scrape, out| {
            by_realm(scrape, out, scrape.total().stats.bytes_to_peers);
        },
    ),
    traffic(
        "turn_traffic_sentp",
        "Payloads to clients",
        |scrape, out| {
            by_realm(scrape, out, scrape.total().stats.packets_to_clients);
        },
    ),
    traffic(
        "turn_traffic_sentb",
        "Bytes of the payloads to clients",
        |scrape, out| {
            by_realm(scrape, out, scrape.total().stats.bytes_to_clients);
        },
    ),
    traffic(
        "turn_traffic_peer_rcvp",
        "Payloads from peers",
        |scrape, out| {
            by_realm(scrape, out, scrape.total().stats.packets_to_clients);
        },
    ),
    traffic(
        "turn_traffic_peer_rcvb",
        "Bytes of the payloads from peers",
        |scrape, out| {
            by_realm(scrape, out, scrape.total().stats.bytes_to_clients);
        },
    ),
    traffic(
        "turn_traffic_peer_sentp",
        "Payloads to peers",
        |scrape, out| {
            by_realm(scrape, out, scrape.total().stats.packets_to_peers);
        },
    ),
    traffic(
        "turn_traffic_peer_sentb",
        "Bytes of the payloads to peers",
        |scrape, out| {
            by_realm(scrape, out, scrape.total().stats.bytes_to_peers);
        },
    ),
    total(
        "turn_total_traffic_rcvp",
        "Payloads from clients",
        |scrape, out| {
            out.set(scrape.total().stats.packets_to_peers);
        },
    ),
    total(
        "turn_total_traffic_rcvb",
        "Bytes of the payloads from clients",
        |scrape, out| {
            out.set(scrape.total().stats.bytes_to_peers);
        },
    ),
    total(
        "turn_total_traffic_sentp",
        "Payloads to clients",
        |scrape, out| {
            out.set(scrape.total().stats.packets_to_clients);
        },
    ),
    total(
        "turn_total_traffic_sentb",
        "Bytes of the payloads to clients",
        |scrape, out| {
            out.set(scrape.total().stats.bytes_to_clients);
        },
    ),
    total(
        "turn_total_traffic_peer_rcvp",
        "Payloads from peers",
        |scrape, out| {
            out.set(scrape.total().stats.packets_to_clients);
        },
    ),
    total(
        "turn_total_traffic_peer_rcvb",
        "Bytes of the payloads from peers",
        |scrape, out| {
            out.set(scrape.total().stats.bytes_to_clients);
        },
    ),
    total(
        "turn_total_traffic_peer_sentp",
        "Payloads to peers",
        |scrape, out| {
            out.set(scrape.total().stats.packets_to_peers);
        },
    ),
    total(
        "turn_total_traffic_peer_sentb",
        "Bytes of the payloads to peers",
        |scrape, out| {
            out.set(scrape.total().stats.bytes_to_peers);
        },
    ),
    Family {
        name: "turn_total_allocations",
        kind: Kind::Gauge,
        labels: &["type"],
        help: "Live allocations by the transport of their client",
        coturn: "turn_total_allocations",
        samples: |scrape, out| {
            let live = scrape.allocations();
            out.add(&["UDP"], live.udp);
            out.add(&["DTLS"], live.dtls);
            out.add(&["TCP"], live.tcp);
            out.add(&["TLS/TCP"], live.tls);
        },
    },
    total(
        "stun_binding_response",
        "Binding requests answered",
        |scrape, out| {
            out.set(scrape.total().stats.bindings);
        },
    ),
    total(
        "turn_unauthenticated_401_responses",
        "Answers with 401, over every transport",
        |scrape, out| out.set(scrape.total().stats.rejected(401)),
    ),
    total(
        "turn_unauthenticated_401_dropped_responses",
        "Answers withheld because their source has had its share",
        |scrape, out| {
            let reason = turnbuckle_relay::DropReason::UnauthorizedRate;
            out.set(scrape.total().stats.dropped(reason));
        },
    ),
    total(
        "turn_packet_dropped",
        "Packets that were neither sent on nor answered",
        |scrape, out| {
            let total = scrape.total();
            out.set(
                super::traffic::drops(&total)
                    .map(|(_, count)| count)
                    .sum::<u64>(),
            );
        },
    ),
];

type Write = fn(&Scrape, &mut Samples<'_>);

const fn traffic(name: &'static str, help: &'static str, samples: Write) -> Family {
    Family {
        name,
        kind: Kind::Unknown,
        labels: &["realm"],
        help,
        coturn: name,
        samples,
    }
}

const fn total(name: &'static str, help: &'static str, samples: Write) -> Family {
    Family {
        name,
        kind: Kind::Unknown,
        labels: &[],
        help,
        coturn: name,
        samples,
    }
}

fn by_realm(scrape: &Scrape, out: &mut Samples<'_>, count: u64) {
    out.add(&[&scrape.realm], count);
}
