//! Metrics of the process and of its life.

use crate::control::State;
use crate::health::word;
use crate::metrics::scrape::KINDS;
use crate::metrics::{Family, Kind};

pub(super) const FAMILIES: &[Family] = &[
    Family {
        name: "turnbuckle_build",
        kind: Kind::Info,
        labels: &["version"],
        help: "The program that runs",
        coturn: "",
        samples: |_, out| out.add(&[env!("CARGO_PKG_VERSION")], 1),
    },
    Family {
        name: "turnbuckle_state",
        kind: Kind::Gauge,
        labels: &["state"],
        help: "1 for the state that the server is in, 0 for the others",
        coturn: "",
        samples: |scrape, out| {
            for state in STATES {
                out.add(&[word(state)], u8::from(state == scrape.state));
            }
        },
    },
    Family {
        name: "turnbuckle_config_reload_success",
        kind: Kind::Gauge,
        labels: &[],
        help: "1 if the last reload was taken over, 0 if the settings stayed as they were; left out before the first",
        coturn: "",
        samples: |scrape, out| {
            if let Some(reload) = scrape.reload {
                out.set(u8::from(reload.succeeded));
            }
        },
    },
    Family {
        name: "turnbuckle_config_reload_time_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "When that reload was, in seconds since 1970",
        coturn: "",
        samples: |scrape, out| {
            if let Some(reload) = scrape.reload {
                out.set(reload.at_unix);
            }
        },
    },
    Family {
        name: "turnbuckle_rest_requests",
        kind: Kind::Counter,
        labels: &["outcome"],
        help: "Requests for credentials over HTTP, whether one was given; left out without `rest-listener`",
        coturn: "",
        samples: |scrape, out| {
            if let Some((given, refused)) = scrape.rest {
                out.add(&["given"], given);
                out.add(&["refused"], refused);
            }
        },
    },
    Family {
        name: "turnbuckle_shards",
        kind: Kind::Gauge,
        labels: &["clients", "answers"],
        help: "Shards by whether they have answered this scrape",
        coturn: "",
        samples: |scrape, out| {
            for (clients, kind) in KINDS {
                for (word, answers) in [("yes", true), ("no", false)] {
                    let shards = scrape.shards.iter();
                    let count = shards
                        .filter(|shard| shard.kind == kind && shard.figures.is_some() == answers)
                        .count();
                    out.add(&[clients, word], count);
                }
            }
        },
    },
    Family {
        name: "turnbuckle_panics",
        kind: Kind::Counter,
        labels: &["clients"],
        help: "Packets that made a shard panic, each of which is a bug",
        coturn: "",
        samples: |scrape, out| {
            for (clients, report) in scrape.reports() {
                out.add(&[clients], report.panics);
            }
        },
    },
    Family {
        name: "turnbuckle_events_lost",
        kind: Kind::Counter,
        labels: &["what"],
        help: "What the log could not take in time: events, and refused requests among them",
        coturn: "",
        samples: |scrape, out| {
            let total = scrape.total();
            out.add(&["events"], total.events_lost);
            out.add(&["refusals"], total.stats.unreported_rejects);
        },
    },
    Family {
        name: "turnbuckle_thread_cpu_seconds",
        kind: Kind::Counter,
        labels: &["thread"],
        help: "CPU time of the threads alive",
        coturn: "",
        samples: |scrape, out| {
            for (thread, seconds) in &scrape.process.threads {
                out.add(&[thread], seconds);
            }
        },
    },
    Family {
        name: "process_cpu_seconds",
        kind: Kind::Counter,
        labels: &[],
        help: "CPU time of the process",
        coturn: "process_cpu_seconds_total",
        samples: |scrape, out| {
            if let Some(seconds) = scrape.process.cpu_seconds {
                out.set(seconds);
            }
        },
    },
    Family {
        name: "process_resident_memory_bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "Memory that is resident",
        coturn: "process_resident_memory_bytes",
        samples: |scrape, out| {
            if let Some(bytes) = scrape.process.resident_bytes {
                out.set(bytes);
            }
        },
    },
    Family {
        name: "process_virtual_memory_bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "Address space in use",
        coturn: "process_virtual_memory_bytes",
        samples: |scrape, out| {
            if let Some(bytes) = scrape.process.virtual_bytes {
                out.set(bytes);
            }
        },
    },
    Family {
        name: "process_open_fds",
        kind: Kind::Gauge,
        labels: &[],
        help: "Open descriptors; each allocation takes one",
        coturn: "process_open_fds",
        samples: |scrape, out| {
            if let Some(open) = scrape.process.open_descriptors {
                out.set(open);
            }
        },
    },
    Family {
        name: "process_max_fds",
        kind: Kind::Gauge,
        labels: &[],
        help: "Open descriptors that the host allows; left out where there is no limit",
        coturn: "process_max_fds",
        samples: |scrape, out| {
            if let Some(max) = scrape.process.descriptors_max {
                out.set(max);
            }
        },
    },
    Family {
        name: "process_start_time_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "When the server was started, in seconds since 1970",
        coturn: "process_start_time_seconds",
        samples: |scrape, out| out.set(scrape.started_unix),
    },
];

const STATES: [State; 4] = [
    State::Starting,
    State::Ready,
    State::Draining,
    State::Stopping,
];
