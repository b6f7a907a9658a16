//! What is rendered, and whether the document says the same.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs};

use turnbuckle_config::Settings;
use turnbuckle_proto::AddressFamily;
use turnbuckle_relay::{Limits, PortUsage, RelayAddress, ShardId};

use super::*;
use crate::control::{LastReload, ShardKind, ShardReport, State};
use crate::shard::figures::{Allocations, Figures, ListenerFigures, ListenerKind};
use crate::tls::CertificateState;

/// A server that is well, with something of everything.
pub(crate) fn scrape() -> Scrape {
    let local = |ip: IpAddr| RelayAddress {
        local: ip,
        advertised: ip,
    };
    Scrape {
        state: State::Ready,
        shards: vec![
            shard(0, ShardKind::Udp),
            shard(1, ShardKind::Udp),
            shard(2, ShardKind::Stream),
        ],
        settings: Arc::new(Settings::default()),
        realm: "example.org".to_owned(),
        limits: Limits {
            per_user: NonZeroU32::new(12),
            total: NonZeroU32::new(1200),
            ..Limits::default()
        },
        held: 30,
        users: 4,
        ports: vec![
            PortUsage {
                address: local(Ipv4Addr::new(192, 0, 2, 1).into()),
                used: 30,
                all: 16_384,
            },
            PortUsage {
                address: local(Ipv6Addr::LOCALHOST.into()),
                used: 0,
                all: 16_384,
            },
        ],
        relayed: [(AddressFamily::V4, 30), (AddressFamily::V6, 0)],
        certificates: vec![
            certificate("turn.example.org", 90),
            certificate("turn.example.org", 60),
        ],
        process: ProcessFigures {
            cpu_seconds: Some(1.5),
            threads: [("shard-0".to_owned(), 0.75)].into(),
            resident_bytes: Some(8 << 20),
            virtual_bytes: Some(64 << 20),
            open_descriptors: Some(100),
            descriptors_max: Some(2048),
        },
        reload: Some(LastReload {
            succeeded: true,
            at_unix: NOW - 60,
        }),
        rest: Some((7, 2)),
        started_unix: NOW - 3600,
        now_unix: NOW,
        uptime: Duration::from_secs(3600),
    }
}

pub(crate) fn certificate(name: &str, days: u64) -> CertificateState {
    CertificateState {
        path: "/etc/turnbuckle/fullchain.pem".into(),
        names: vec![name.to_owned()],
        not_after: NOW + days * 86_400 + 60,
    }
}

fn shard(id: u8, kind: ShardKind) -> ShardReport {
    let mut figures = Figures::default();
    figures.report.stats.packets_to_peers = 10;
    figures.report.stats.bytes_to_peers = 1000;
    figures.report.stats.packets_to_clients = 7;
    figures.report.stats.allocations = 5;
    figures.allocations = Allocations {
        udp: 4,
        dtls: 3,
        tcp: 2,
        tls: 1,
    };
    figures.listeners = vec![ListenerFigures {
        kind: match kind {
            ShardKind::Udp => ListenerKind::Udp,
            ShardKind::Stream => ListenerKind::Stream,
        },
        address: SocketAddr::from(([0, 0, 0, 0], 3478)),
        given_up: false,
        allocations: 0,
        received: 20,
        kernel_drops: (kind == ShardKind::Udp).then_some(0),
        receive_buffer: (kind == ShardKind::Udp).then_some(4 << 20),
    }];
    ShardReport {
        id: ShardId(id),
        kind,
        figures: Some(figures),
    }
}

#[test]
fn shards_of_a_kind_are_summed_up() {
    let text = render(&scrape(), Format::Text);
    let has = |line: &str| assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    has("turnbuckle_relayed_packets_total{clients=\"datagram\",direction=\"to_peers\"} 20");
    has("turnbuckle_relayed_packets_total{clients=\"stream\",direction=\"to_clients\"} 7");
    has("turnbuckle_allocations{transport=\"udp\"} 12");
    has("turnbuckle_listener_received_total{address=\"0.0.0.0:3478\",listener=\"udp\"} 40");
    has("turnbuckle_listener_received_total{address=\"0.0.0.0:3478\",listener=\"tcp\"} 20");
    has("turnbuckle_relay_ports_free{address=\"192.0.2.1\",family=\"ipv4\"} 16354");
    has("turnbuckle_quota_limit{of=\"server\"} 1200");
    has("turnbuckle_state{state=\"ready\"} 1");
    has("turnbuckle_state{state=\"draining\"} 0");
    has("turnbuckle_config_reload_success 1");
    has("turnbuckle_rest_requests_total{outcome=\"given\"} 7");
    has("turnbuckle_rest_requests_total{outcome=\"refused\"} 2");
    has(&format!(
        "turnbuckle_config_reload_time_seconds {}",
        NOW - 60
    ));
    has("turn_total_traffic_rcvb 3000");
    has("turn_traffic_peer_sentp{realm=\"example.org\"} 30");
    has("turn_total_allocations{type=\"TLS/TCP\"} 3");
    // The earlier of two certificates for one name.
    let until = NOW + 60 * 86_400 + 60;
    has(&format!(
        "turnbuckle_certificate_expiry_seconds{{name=\"turn.example.org\"}} {until}"
    ));
    assert!(
        !text.contains("listener_kernel_drops_total{address=\"0.0.0.0:3478\",listener=\"tcp\"")
    );
}

#[test]
fn a_shard_that_does_not_answer_is_told_and_no_reason_to_fail() {
    let mut scrape = scrape();
    scrape.shards[1].figures = None;
    let text = render(&scrape, Format::Text);
    assert!(text.contains("turnbuckle_shards{clients=\"datagram\",answers=\"no\"} 1\n"));
    assert!(text.contains("turnbuckle_allocations{transport=\"udp\"} 8\n"));
}

#[test]
fn limits_that_are_not_there_are_left_out() {
    let mut scrape = scrape();
    scrape.limits = Limits::default();
    scrape.process = ProcessFigures::default();
    scrape.reload = None;
    scrape.rest = None;
    let text = render(&scrape, Format::Text);
    assert!(!text.contains("turnbuckle_quota_limit") && !text.contains("process_open_fds"));
    assert!(!text.contains("turnbuckle_config_reload") && !text.contains("turnbuckle_rest"));
}

/// The rules that parsers hold texts to: each family once, its head first, no series twice.
#[test]
fn both_forms_are_well_formed() {
    for format in [Format::Text, Format::OpenMetrics] {
        let text = render(&scrape(), format);
        let mut heads = BTreeSet::new();
        let mut series = BTreeSet::new();
        let mut current = "";
        for line in text.lines().filter(|line| *line != "# EOF") {
            if let Some(head) = line.strip_prefix("# ") {
                let mut words = head.split(' ');
                let (kind, name) = (words.next().unwrap(), words.next().unwrap());
                assert!(heads.insert((kind, name)), "{line}");
                current = name;
                continue;
            }
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with(current), "{line} below {current}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(series.insert(name), "{line}");
        }
        assert!(series.len() > 100);
        assert_eq!(text.ends_with("# EOF\n"), format == Format::OpenMetrics);
    }
}

#[test]
fn names_follow_the_rules_of_prometheus() {
    let mut names = BTreeSet::new();
    for family in families::all() {
        let name = family.sample_name();
        assert!(names.insert(name.clone()), "{name}");
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        assert!(name.bytes().all(plain), "{name}");
        assert!(
            !family.help.is_empty() && !family.help.ends_with('.'),
            "{name}"
        );
        for label in family.labels {
            assert!(!["user", "client", "peer"].contains(label), "{name}");
        }
        if family.kind == Kind::Counter {
            assert!(!family.name.ends_with("_total"), "{name}");
        }
    }
}

#[test]
fn the_document_says_what_is_rendered() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the mark before the tables");
    let (_, after) = rest.split_once(END).expect("the mark behind the tables");
    let expected = format!("{before}{BEGIN}{}{END}{after}", tables());
    if env::var_os("UPDATE_REFERENCE").is_some() {
        fs::write(&path, &expected).unwrap();
    }
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        expected,
        "run the test with UPDATE_REFERENCE=1"
    );
    let rendered = render(&scrape(), Format::Text);
    for family in families::all() {
        let head = format!("# HELP {} ", family.sample_name());
        assert!(rendered.contains(&head), "{head}");
    }
}

/// Each query of the dashboard asks for what there is.
#[test]
fn the_dashboard_asks_for_what_is_rendered() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/grafana/turnbuckle.json");
    let board: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let mut queries = Vec::new();
    collect(&board, "expr", &mut queries);
    collect(&board, "query", &mut queries);
    let known: BTreeSet<String> = families::all().map(Family::sample_name).collect();
    let mut asked = BTreeSet::new();
    for query in &queries {
        let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for word in words.filter(|w| w.starts_with("turnbuckle_") || w.starts_with("process_")) {
            assert!(known.contains(word), "{word} in {query}");
            asked.insert(word);
        }
    }
    assert!(queries.len() > 15 && asked.len() > 15, "{asked:?}");
    assert!(board["__inputs"].is_null() && board["id"].is_null());
    let variables = board["templating"]["list"].as_array().unwrap();
    assert_eq!(variables[0]["type"], "datasource");
}

fn collect<'a>(value: &'a serde_json::Value, name: &str, into: &mut Vec<&'a str>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (field, value) in fields {
                match value.as_str().filter(|_| field == name) {
                    Some(text) => into.push(text),
                    None => collect(value, name, into),
                }
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| collect(item, name, into)),
        _ => {}
    }
}

fn tables() -> String {
    let mut text = String::new();
    for (heading, families) in families::SECTIONS {
        text += &format!("\n## {heading}\n\n");
        text += "| metric | type | unit | labels | meaning | in coturn |\n| --- | --- | --- | --- | --- | --- |\n";
        for family in families {
            let kind = match family.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Info => "info",
                Kind::Unknown => "untyped",
            };
            let words = |list: &[&str]| -> String {
                let all: Vec<String> = list.iter().map(|word| format!("`{word}`")).collect();
                all.join(", ")
            };
            let coturn: Vec<&str> = family
                .coturn
                .split(", ")
                .filter(|n| !n.is_empty())
                .collect();
            let coturn = match coturn.as_slice() {
                [same] if *same == family.sample_name() => "the same".to_owned(),
                all => words(all),
            };
            text += &format!(
                "| `{}` | {kind} | {} | {} | {} | {coturn} |\n",
                family.sample_name(),
                family.unit().unwrap_or_default(),
                words(family.labels),
                family.help,
            );
        }
    }
    text.push('\n');
    text
}

const NOW: u64 = 1_800_000_000;
const BEGIN: &str = "<!-- tables: written by the test the_document_says_what_is_rendered -->\n";
const END: &str = "<!-- end of the tables -->\n";
