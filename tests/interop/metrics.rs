//! Metrics of the built server in the hands of Prometheus' own programs, while coturn's client sends through it.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::Duration;

use turnbuckle_tests::{Authority, Deadline, HttpAnswer, Requirement, SYSTEM_PYTHON};

use crate::uclient::{Bench, Report};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[test]
fn prometheus_takes_scrapes_and_no_datagram_is_lost_for_them() {
    if !Requirement::all_met(&[
        Requirement::Program("promtool"),
        Requirement::Module("prometheus_client"),
    ]) {
        return;
    }
    let authority = Authority::new();
    let files = authority.write("pair", &authority.issue(&["turn.example.org"]));
    let config = format!("allowed-peer-ip=127.0.0.1\nprometheus\n{}", files.config());
    let bench = Bench::start_as(&config, &[V4], |builder| {
        builder
            .port_for("prometheus-port")
            .port_for("tls-listening-port")
    });
    let Some(bench) = bench else {
        return;
    };
    let at = (
        Ipv4Addr::LOCALHOST,
        bench.server.port_for("prometheus-port"),
    )
        .into();
    let mut client = bench.client(V4, V4, &["-c", "-m", "20", "-n", "100"]);
    let mut scrapes = 0;
    let mut most = 0.0_f64;
    while client.is_running() {
        let text = scrape(at, "text/plain");
        most = most.max(sum(&text, "turnbuckle_allocations{"));
        scrapes += 1;
    }
    let report = client.succeed();
    assert_eq!(
        report,
        Report {
            sent: 2000,
            received: 2000,
            lost: 0,
            dropped: 0
        }
    );
    assert!(
        scrapes > 10 && most >= 20.0,
        "{scrapes} scrapes, {most} allocations"
    );

    // The last one may have been made while the client was sending.
    let deadline = Deadline::after(DEADLINE);
    let text = loop {
        let text = scrape(at, "text/plain");
        if sum(&text, "turnbuckle_relayed_packets_total{") >= 4000.0 {
            break text;
        }
        assert!(deadline.left().is_some(), "{text}");
    };
    assert_eq!(sum(&text, "turnbuckle_listener_kernel_drops_total{"), 0.0);
    let lint = feed(Command::new("promtool").args(["check", "metrics"]), &text);
    assert_eq!(lint, "", "{text}");
    let parse = "import sys; from prometheus_client.parser import text_string_to_metric_families as f\n\
                 print(sum(len(m.samples) for m in f(sys.stdin.read())))";
    let parsed: usize = feed(Command::new(SYSTEM_PYTHON).args(["-c", parse]), &text)
        .trim()
        .parse()
        .unwrap();
    assert_eq!(
        parsed,
        text.lines().filter(|line| !line.starts_with('#')).count()
    );
    let open = scrape(at, "application/openmetrics-text; version=1.0.0");
    let parse = parse.replace("client.parser", "client.openmetrics.parser");
    let parsed: usize = feed(Command::new(SYSTEM_PYTHON).args(["-c", &parse]), &open)
        .trim()
        .parse()
        .unwrap();
    assert_eq!(
        parsed,
        open.lines().filter(|line| !line.starts_with('#')).count()
    );
    bench.server.stop();
}

fn scrape(at: SocketAddr, accept: &str) -> String {
    let answer = HttpAnswer::get(at, "/metrics", &[("Host", "localhost"), ("Accept", accept)]);
    assert_eq!(answer.status, 200);
    answer.body
}

fn sum(text: &str, series: &str) -> f64 {
    let lines = text.lines().filter(|line| line.starts_with(series));
    lines
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
        .sum()
}

/// What a program prints about a text; it has to be content.
fn feed(command: &mut Command, text: &str) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(text.as_bytes()).expect("it reads all");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{}{}",
        said(&output.stdout),
        said(&output.stderr)
    );
    said(&output.stdout) + &said(&output.stderr)
}

const DEADLINE: Duration = Duration::from_secs(10);
