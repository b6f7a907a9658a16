//! Short runs of the whole program: everything that is asked to arrive arrives. How fast is nobody's business here.

#![forbid(unsafe_code)]

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

#[test]
fn reflector_forwards_every_way_it_can() {
    let run = Run::of("-s reflector --scenario up,down,both,echo --load 500,closed:8 -n 10");
    run.expect_all_delivered(8, &["reflector"]);
}

#[test]
fn traffic_has_every_shape() {
    let run = Run::of(
        "-s reflector --scenario up,down --traffic steady,poisson,train:4,bundle:16 --load 800 -p 160,1200",
    );
    run.expect_all_delivered(16, &["reflector"]);
}

#[test]
fn server_and_generator_have_a_cpu_each() {
    let words = "-s reflector --scenario both --load 800 --pin";
    if thread::available_parallelism().unwrap().get() > 1 {
        Run::of(words).expect_all_delivered(1, &["reflector"]);
    } else {
        let output = bench(words).output().unwrap();
        assert!(text_of_failure(&output).contains("pinning needs two CPUs"));
    }
}

#[test]
fn turn_crate_relays_over_udp() {
    let run = Run::of(
        "-s turn-crate -s reflector --baseline reflector --scenario up,down,echo,hairpin,binding \
         --load 500 -n 10",
    );
    run.expect_all_delivered(5, &["turn-crate"]);
    let ratio = &run.row(0)["contestants"][0]["server_cpu_ratio"];
    assert_eq!(ratio["count"], 1, "compared with the reflector");
    let hairpin = &run.row(3)["contestants"][1];
    assert_eq!(hairpin["left_out"], "forwards ChannelData to peers only");
}

#[test]
fn turn_crate_carries_indications_and_ends_sessions() {
    let run = Run::of("-s turn-crate --scenario up,down --framing indication --load 500 -n 10");
    run.expect_all_delivered(2, &["turn-crate"]);
    let run = Run::of("-s turn-crate --scenario handshake --load closed:4");
    let handshakes = &run.row(0)["contestants"][0]["rounds"][0];
    assert!(handshakes["sent"].as_u64() > Some(0), "{handshakes}");
}

#[test]
fn memory_is_measured_per_allocation() {
    let run = Run::of("-s turn-crate --scenario hold -n 500");
    let held = &run.row(0)["contestants"][0]["rounds"][0];
    let bytes = held["resident_bytes_per_allocation"].as_f64();
    assert!(bytes > Some(0.0), "{held}");
}

/// Also what a user does who measures a server of his own on another host.
#[test]
fn a_running_server_is_a_target() {
    let reflector = RunningReflector::start();
    for option in ["", "--peer-ip 127.0.0.1"] {
        let run = Run::of(&format!(
            "--target own={} --target-pid {} --secret any {option} --scenario up,echo --load 500 -n 10",
            reflector.address,
            reflector.child.id(),
        ));
        run.expect_all_delivered(2, &["own"]);
        let measured = &run.row(0)["contestants"][0]["rounds"][0];
        assert!(measured["resident_bytes"].is_u64(), "{measured}");
    }
}

#[test]
fn a_server_that_does_not_start_fails_the_run() {
    let output = bench("-s broken=/bin/false --scenario up")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let text = text(&output);
    assert!(
        text.contains("broken: FAILED: the server ended before it answered"),
        "{text}"
    );

    let output = bench("-s missing=/no/such/program").output().unwrap();
    assert!(text_of_failure(&output).contains("cannot run /no/such/program"));
}

#[test]
fn wrong_usage_is_told_apart() {
    let output = bench("--payload 5").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    let output = bench("--netns --scenario nonsense").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
}

#[test]
fn a_run_leaves_files() {
    let directory = TempDir::new().unwrap();
    let (page, plot) = (
        directory.path().join("page.md"),
        directory.path().join("plot.svg"),
    );
    let mut command = bench("-s reflector --scenario up --load 200");
    command
        .arg("--markdown")
        .arg(&page)
        .arg("--plot")
        .arg(&plot);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let page = fs::read_to_string(page).unwrap();
    for part in [
        "# Benchmarks",
        "- kernel: Linux",
        "| reflector |",
        "turnbuckle-bench -s reflector",
        "(plot.svg)",
    ] {
        assert!(page.contains(part), "{part} is not in:\n{page}");
    }
    let plot = fs::read_to_string(plot).unwrap();
    assert!(
        plot.starts_with("<svg ") && plot.ends_with("</svg>\n"),
        "{plot}"
    );
}

/// With TURNBUCKLE_BIN only, as the test command of the project sets it.
#[test]
fn turnbuckle_relays_in_every_scenario() {
    let Some(program) = env::var_os("TURNBUCKLE_BIN") else {
        println!("SKIPPED: TURNBUCKLE_BIN names no turnbuckle");
        return;
    };
    assert!(
        fs::metadata(&program).is_ok(),
        "TURNBUCKLE_BIN names no file"
    );
    let run = Run::of(
        "-s turnbuckle --scenario up,down,both,echo,hairpin,binding --load 500,closed:8 -n 10",
    );
    run.expect_all_delivered(12, &["turnbuckle"]);
    let run = Run::of("-s turnbuckle --scenario up,down --framing indication --load 500 -n 10");
    run.expect_all_delivered(2, &["turnbuckle"]);
    let run = Run::of("-s turnbuckle --scenario handshake,hold -n 100");
    run.expect_no_failure();
}

/// A finished run with exit status 0.
struct Run {
    json: Value,
    text: String,
}

impl Run {
    fn of(words: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("results.json");
        let output = bench(words).arg("--json").arg(&path).output().unwrap();
        assert!(output.status.success(), "{words}:\n{}", text(&output));
        let json = fs::read_to_string(&path).unwrap();
        Self {
            json: serde_json::from_str(&json).unwrap(),
            text: text(&output),
        }
    }

    fn row(&self, index: usize) -> &Value {
        &self.json["rows"][index]
    }

    fn expect_no_failure(&self) {
        assert!(!self.text.contains("FAILED"), "{}", self.text);
    }

    /// Nothing that these contestants were given is lost or comes out elsewhere, in any of `rows`.
    fn expect_all_delivered(&self, rows: usize, contestants: &[&str]) {
        let found = self.json["rows"].as_array().unwrap();
        assert_eq!(found.len(), rows, "{}", self.text);
        for row in found {
            for name in contestants {
                let entries = row["contestants"].as_array().unwrap();
                let entry = entries
                    .iter()
                    .find(|entry| entry["contestant"] == *name)
                    .unwrap();
                let measured = &entry["rounds"][0];
                assert!(measured["sent"].as_u64() > Some(0), "{row}");
                assert_eq!(measured["lost"], 0, "{name}: {row}");
                assert_eq!(measured["misdelivered"], 0, "{name}: {row}");
            }
        }
    }
}

struct RunningReflector {
    child: Child,
    address: String,
}

impl RunningReflector {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_udp-reflector"))
            .args(["127.0.0.1:0", "127.0.0.1"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line
            .trim()
            .strip_prefix("listening on ")
            .unwrap()
            .to_owned();
        Self { child, address }
    }
}

impl Drop for RunningReflector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One round of a moment.
fn bench(words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_turnbuckle-bench"));
    command.args(words.split_whitespace()).args([
        "--rounds",
        "1",
        "--seconds",
        "0.1",
        "--warm-up",
        "0.02",
    ]);
    command
}

fn text(output: &Output) -> String {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&text).into_owned()
}

fn text_of_failure(output: &Output) -> String {
    assert!(!output.status.success());
    text(output)
}
