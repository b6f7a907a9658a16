use std::num::NonZeroU32;

use super::*;
use crate::metrics::tests::{certificate, scrape};

fn health(scrape: &Scrape) -> Health {
    Health::of(scrape, &Memory::default())
}

fn found<'a>(health: &'a Health, name: &str) -> &'a Check {
    let check = health.checks.iter().find(|check| check.name == name);
    check.unwrap_or_else(|| panic!("{name} in {health:?}"))
}

/// The finding that a change leads to, with the whole document.
fn finding(name: &str, change: impl FnOnce(&mut Scrape)) -> (Status, String, Health) {
    let mut scrape = scrape();
    change(&mut scrape);
    let health = health(&scrape);
    let check = found(&health, name).clone();
    assert_eq!(
        check.advice.is_none(),
        check.status == Status::Ok,
        "{check:?}"
    );
    (check.status, check.figure, health)
}

#[test]
fn all_is_well() {
    let scrape = scrape();
    let health = health(&scrape);
    assert_eq!(
        (health.status, health.ready),
        (Status::Ok, true),
        "{health:?}"
    );
    assert!(health.checks.iter().all(|check| check.advice.is_none()));
    assert!(Health::is_alive(&scrape));
    let names: Vec<_> = health
        .checks
        .iter()
        .map(|check| check.name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "shards",
            "state",
            "relay-ports:ipv4",
            "relay-ports:ipv6",
            "descriptors",
            "receive-buffer",
            "quota",
            "certificate:turn.example.org",
            "certificate:turn.example.org",
            "clock",
            "receive-drops",
            "events",
            "panics"
        ]
    );
}

#[test]
fn nobody_is_sent_here_unless_it_is_ready() {
    for state in [State::Starting, State::Draining, State::Stopping] {
        let (status, figure, health) = finding("state", |scrape| scrape.state = state);
        assert_eq!((status, figure.as_str()), (Status::Warning, word(state)));
        assert!(!health.ready && health.status == Status::Warning);
    }
}

#[test]
fn a_shard_that_does_not_answer_is_critical() {
    let mut scrape = scrape();
    scrape.shards[2].figures = None;
    assert!(!Health::is_alive(&scrape));
    let health = health(&scrape);
    assert!(!health.ready && health.status == Status::Critical);
    assert_eq!(
        found(&health, "shards").figure,
        "no answer from shard 2 (streams)"
    );
}

#[test]
fn ports_run_out_by_family() {
    let used = |used| {
        let (status, figure, health) =
            finding("relay-ports:ipv4", |scrape| scrape.ports[0].used = used);
        (status, figure, health.ready)
    };
    assert_eq!(
        used(13_107),
        (Status::Ok, "3277 of 16384 free".to_owned(), true)
    );
    assert_eq!(used(13_108).0, Status::Warning);
    assert_eq!(
        used(16_384),
        (Status::Critical, "0 of 16384 free".to_owned(), false)
    );
}

#[test]
fn descriptors_and_quota_run_out() {
    let open = |open| finding("descriptors", |s| s.process.open_descriptors = Some(open)).0;
    assert_eq!(
        [open(1638), open(1639), open(1946)],
        [Status::Ok, Status::Warning, Status::Critical]
    );
    let held = |held| {
        let total = NonZeroU32::new(100);
        finding("quota", |scrape| {
            (scrape.held, scrape.limits.total) = (held, total);
        })
        .0
    };
    assert_eq!(
        [held(80), held(81), held(100)],
        [Status::Ok, Status::Warning, Status::Critical]
    );
    let mut without = scrape();
    without.limits.total = None;
    assert!(
        health(&without)
            .checks
            .iter()
            .all(|check| check.name != "quota")
    );
}

#[test]
fn what_the_host_allows_is_held_against_the_settings() {
    let allowed = |max| {
        finding("descriptors", |scrape| {
            scrape.process.descriptors_max = Some(max);
        })
    };
    assert_eq!(allowed(1264).0, Status::Ok);
    let (status, figure, health) = allowed(1263);
    assert_eq!((status, health.ready), (Status::Warning, true));
    assert_eq!(figure, "1263 allowed, 1264 needed for total-quota");

    let granted = |bytes| {
        finding("receive-buffer", |scrape| {
            let figures = scrape.shards[1].figures.as_mut().unwrap();
            figures.listeners[0].receive_buffer = Some(bytes);
        })
    };
    assert_eq!(granted(4 << 20).0, Status::Ok);
    let (status, figure, health) = granted(212_992);
    assert_eq!((status, health.ready), (Status::Warning, true));
    assert_eq!(figure, "212992 bytes granted, 4194304 asked for");
    let (status, ..) = finding("receive-buffer", |scrape| {
        let settings = Settings {
            socket_buffer: Some(5 << 20),
            ..Settings::default()
        };
        scrape.settings = Arc::new(settings);
    });
    assert_eq!(status, Status::Warning);
}

#[test]
fn certificates_expire() {
    let left = |days| {
        let (status, figure, _) = finding("certificate:a.test", |scrape| {
            scrape.certificates = vec![certificate("a.test", days)];
        });
        (status, figure)
    };
    assert_eq!(left(14), (Status::Ok, "14 days left".to_owned()));
    assert_eq!(left(13), (Status::Warning, "13 days left".to_owned()));
    assert_eq!(left(1).1, "1 day left");
    let (status, figure, health) = finding("certificate:a.test", |scrape| {
        scrape.certificates = vec![certificate("a.test", 1)];
        scrape.now_unix += 3 * 86_400;
        scrape.started_unix += 3 * 86_400;
    });
    assert_eq!(
        (status, figure.as_str(), health.ready),
        (Status::Critical, "expired", false)
    );
}

#[test]
fn the_clock_is_to_be_plausible() {
    assert_eq!(
        finding("clock", |scrape| scrape.now_unix += 30).0,
        Status::Ok
    );
    let (status, figure, _) = finding("clock", |scrape| scrape.now_unix -= 31);
    assert_eq!(
        (status, figure.as_str()),
        (Status::Warning, "moved by -31 s since the start")
    );
    let (status, _, health) = finding("clock", |scrape| scrape.now_unix = 77);
    assert!(status == Status::Critical && !health.ready);
}

#[test]
fn losses_are_told_for_some_minutes() {
    let memory = Memory::default();
    let mut scrape = scrape();
    let mut at = |seconds: u64, drops: u32| {
        scrape.uptime = Duration::from_secs(seconds);
        let figures = scrape.shards[0].figures.as_mut().unwrap();
        figures.listeners[0].kernel_drops = Some(drops);
        figures.report.events_lost = u64::from(drops) * 2;
        let health = Health::of(&scrape, &memory);
        let drops = found(&health, "receive-drops").clone();
        assert_eq!(drops.status, found(&health, "events").status);
        (drops.status, drops.figure)
    };
    assert_eq!(at(10, 0), (Status::Ok, "0 in the last 10 s".to_owned()));
    assert_eq!(
        at(20, 5),
        (Status::Warning, "5 in the last 20 s".to_owned())
    );
    assert_eq!(at(310, 5).0, Status::Warning);
    assert_eq!(
        at(600, 7),
        (Status::Warning, "7 in the last 600 s".to_owned())
    );
    // Only the two of later are left, and then none.
    assert_eq!(
        at(620, 7),
        (Status::Warning, "2 in the last 310 s".to_owned())
    );
    assert_eq!(at(930, 7), (Status::Ok, "0 in the last 310 s".to_owned()));
}

#[test]
fn the_document_is_json() {
    let mut scrape = scrape();
    scrape.ports[0].used = 16_000;
    let text = serde_json::to_value(health(&scrape)).unwrap();
    assert_eq!(text["status"], "warning");
    assert_eq!(
        (&text["ready"], &text["state"]),
        (&true.into(), &"ready".into())
    );
    let ports = &text["checks"][2];
    assert_eq!(
        (&ports["name"], &ports["status"]),
        (&"relay-ports:ipv4".into(), &"warning".into())
    );
    assert!(ports["advice"].as_str().unwrap().contains("widen min-port"));
}
