//! Metrics of what runs out: ports, quotas, certificates.

use std::collections::BTreeMap;

use super::clients::word;
use crate::metrics::{Family, Kind};

pub(super) const FAMILIES: &[Family] = &[
    Family {
        name: "turnbuckle_relay_ports",
        kind: Kind::Gauge,
        labels: &["address", "family"],
        help: "Ports that relayed addresses are taken from",
        coturn: "",
        samples: |scrape, out| {
            for usage in &scrape.ports {
                let address = usage.address.local.to_string();
                out.add(&[&address, word(usage.family())], usage.all);
            }
        },
    },
    Family {
        name: "turnbuckle_relay_ports_free",
        kind: Kind::Gauge,
        labels: &["address", "family"],
        help: "Those that are free",
        coturn: "",
        samples: |scrape, out| {
            for usage in &scrape.ports {
                let address = usage.address.local.to_string();
                out.add(&[&address, word(usage.family())], usage.free());
            }
        },
    },
    Family {
        name: "turnbuckle_quota_used",
        kind: Kind::Gauge,
        labels: &[],
        help: "Allocations that the quota counts",
        coturn: "",
        samples: |scrape, out| out.set(scrape.held),
    },
    Family {
        name: "turnbuckle_quota_limit",
        kind: Kind::Gauge,
        labels: &["of"],
        help: "Allocations of the whole server, and of one user, that are allowed; left out where there is no limit",
        coturn: "",
        samples: |scrape, out| {
            for (of, limit) in [
                ("server", scrape.limits.total),
                ("user", scrape.limits.per_user),
            ] {
                if let Some(limit) = limit {
                    out.add(&[of], limit);
                }
            }
        },
    },
    Family {
        name: "turnbuckle_users",
        kind: Kind::Gauge,
        labels: &[],
        help: "Users that hold an allocation, time-limited names counted without their expiry",
        coturn: "",
        samples: |scrape, out| out.set(scrape.users),
    },
    Family {
        name: "turnbuckle_connections_limit",
        kind: Kind::Gauge,
        labels: &[],
        help: "Connections of TCP and TLS clients that are allowed",
        coturn: "",
        samples: |scrape, out| out.set(scrape.settings.connections_max),
    },
    Family {
        name: "turnbuckle_certificate_expiry_seconds",
        kind: Kind::Gauge,
        labels: &["name"],
        help: "When the certificate for this name expires, in seconds since 1970; the earliest where several are for it",
        coturn: "",
        samples: |scrape, out| {
            let mut all: BTreeMap<&str, u64> = BTreeMap::new();
            for certificate in &scrape.certificates {
                let at = all.entry(certificate.name()).or_insert(u64::MAX);
                *at = certificate.not_after.min(*at);
            }
            for (name, not_after) in all {
                out.add(&[name], not_after);
            }
        },
    },
];
