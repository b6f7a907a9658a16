//! Metrics of what is relayed, and of what is lost on the way.

use turnbuckle_net::SendReport;
use turnbuckle_relay::DropReason;

use crate::metrics::{Family, Kind, Samples};
use crate::shard::Report;

pub(super) const FAMILIES: &[Family] = &[
    Family {
        name: "turnbuckle_relayed_packets",
        kind: Kind::Counter,
        labels: &["clients", "direction"],
        help: "Payloads relayed",
        coturn: "turn_traffic_rcvp, turn_traffic_sentp, turn_traffic_peer_rcvp, turn_traffic_peer_sentp",
        samples: |scrape, out| {
            for (clients, report) in scrape.reports() {
                out.add(&[clients, "to_peers"], report.stats.packets_to_peers);
                out.add(&[clients, "to_clients"], report.stats.packets_to_clients);
            }
        },
    },
    Family {
        name: "turnbuckle_relayed_bytes",
        kind: Kind::Counter,
        labels: &["clients", "direction"],
        help: "Bytes of the payloads relayed, without any header",
        coturn: "turn_traffic_rcvb, turn_traffic_sentb, turn_traffic_peer_rcvb, turn_traffic_peer_sentb",
        samples: |scrape, out| {
            for (clients, report) in scrape.reports() {
                out.add(&[clients, "to_peers"], report.stats.bytes_to_peers);
                out.add(&[clients, "to_clients"], report.stats.bytes_to_clients);
            }
        },
    },
    Family {
        name: "turnbuckle_hairpin_packets",
        kind: Kind::Counter,
        labels: &["clients"],
        help: "Payloads from one allocation of this server to another, counted where they arrive; part of those relayed",
        coturn: "",
        samples: |scrape, out| {
            for (clients, report) in scrape.reports() {
                out.add(&[clients], report.stats.packets_hairpin);
            }
        },
    },
    Family {
        name: "turnbuckle_drops",
        kind: Kind::Counter,
        labels: &["clients", "reason"],
        help: "Packets that were neither sent on nor answered",
        coturn: "turn_packet_dropped",
        samples: |scrape, out| {
            for (clients, report) in scrape.reports() {
                for (reason, count) in drops(&report) {
                    out.add(&[clients, reason], count);
                }
            }
        },
    },
    Family {
        name: "turnbuckle_send_failures",
        kind: Kind::Counter,
        labels: &["to", "reason"],
        help: "Datagrams that the kernel did not take",
        coturn: "",
        samples: |scrape, out| {
            let total = scrape.total();
            send_failures("clients", &total.to_clients, out);
            send_failures("peers", &total.to_peers, out);
        },
    },
    Family {
        name: "turnbuckle_sent_datagrams",
        kind: Kind::Counter,
        labels: &["to"],
        help: "Datagrams that the kernel took",
        coturn: "turn_udp_sendmmsg_datagrams",
        samples: |scrape, out| {
            let total = scrape.total();
            out.add(&["clients"], total.to_clients.sent);
            out.add(&["peers"], total.to_peers.sent);
        },
    },
    Family {
        name: "turnbuckle_sent_trains",
        kind: Kind::Counter,
        labels: &["to"],
        help: "Trains of datagrams that left as one message",
        coturn: "",
        samples: |scrape, out| {
            let total = scrape.total();
            out.add(&["clients"], total.to_clients.trains);
            out.add(&["peers"], total.to_peers.trains);
        },
    },
    Family {
        name: "turnbuckle_system_calls",
        kind: Kind::Counter,
        labels: &["call"],
        help: "System calls of the shards of UDP clients",
        coturn: "turn_udp_recvmmsg_calls, turn_udp_sendmmsg_flushes",
        samples: |scrape, out| {
            let total = scrape.total();
            out.add(&["wait"], total.waits);
            out.add(&["receive"], total.receives);
            out.add(&["send_to_clients"], total.to_clients.calls);
            out.add(&["send_to_peers"], total.to_peers.calls);
        },
    },
];

/// Every reason for which a shard drops packets, with its counter.
pub(crate) fn drops(report: &Report) -> impl Iterator<Item = (&'static str, u64)> {
    let word = |name: &'static str| name.strip_prefix("drop_").unwrap_or(name);
    let relay = DropReason::ALL.map(|reason| (word(reason.name()), report.stats.dropped(reason)));
    let host = [
        ("truncated", report.truncated),
        ("ring_full", report.ring_full),
        ("slow_reader", report.slow_reader),
        ("dtls_rate", report.dtls.drop_rate),
        ("dtls_hello", report.dtls.drop_hello),
        ("dtls_unknown", report.dtls.drop_unknown),
        ("dtls_too_long", report.dtls.drop_too_long),
    ];
    relay.into_iter().chain(host)
}

fn send_failures(to: &str, report: &SendReport, out: &mut Samples<'_>) {
    for (reason, count) in [
        ("would_block", report.dropped_would_block),
        ("too_long", report.dropped_too_long),
        ("unreachable", report.dropped_unreachable),
        ("not_permitted", report.dropped_not_permitted),
        ("error", report.dropped_error),
        ("outbox_full", report.dropped_outbox_full),
    ] {
        out.add(&[to, reason], count);
    }
}
