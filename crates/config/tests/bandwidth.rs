//! What is said about `max-bps` and `bps-capacity`, whose names speak of bits and whose values are bytes.

use std::path::Path;

use insta::assert_snapshot;
use turnbuckle_config::{Outcome, rate_in_words, turnbuckle_toml, turnserver_conf};

#[test]
fn rates_are_told_in_bytes_and_in_bits() {
    for (rate, words) in [
        (1, "0 KiB/s (0.01 kbit/s)"),
        (64_000, "62.5 KiB/s (512 kbit/s)"),
        (125_000, "122.07 KiB/s (1 Mbit/s)"),
        (3_000_000, "2.86 MiB/s (24 Mbit/s)"),
        (10 << 20, "10 MiB/s (83.89 Mbit/s)"),
    ] {
        assert_eq!(rate_in_words(rate), words);
    }
}

#[test]
fn no_limit_is_nothing_to_talk_about() {
    for source in ["", "max-bps=0\nbps-capacity=0\n"] {
        let outcome = conf(source);
        let settings = outcome.settings.as_ref().unwrap();
        assert_eq!((settings.max_rate, settings.capacity), (None, None));
        assert_eq!(render(&outcome, source), "");
    }
}

#[test]
fn bytes_are_not_taken_for_bits() {
    let source = "max-bps=3000000\nbps-capacity=60000000\n";
    let outcome = conf(source);
    let settings = outcome.settings.as_ref().unwrap();
    assert_eq!(settings.max_rate.unwrap().get(), 3_000_000);
    assert_eq!(settings.capacity.unwrap().get(), 60_000_000);
    assert_snapshot!(render(&outcome, source));
}

#[test]
fn limits_that_cannot_be_meant() {
    let less_than_a_call = "max-bps=4000\n";
    assert_snapshot!(render(&conf(less_than_a_call), less_than_a_call));
    let above_the_capacity = "max-bps=3000000\nbps-capacity=2000000\n";
    assert_snapshot!(render(&conf(above_the_capacity), above_the_capacity));
    let no_pieces = "bps-capacity=1000000\n";
    let outcome = conf(no_pieces);
    assert_eq!(outcome.settings, None);
    assert_snapshot!(render(&outcome, no_pieces));
}

#[test]
fn the_native_format_has_units() {
    let read = |text| turnbuckle_toml(Path::new("turnbuckle.toml"), text, &[]);
    let source = "[limits]\nmax-rate = \"24 Mbit/s\"\ncapacity = \"2 MB/s\"\n";
    let outcome = read(source);
    let settings = outcome.settings.as_ref().unwrap();
    assert_eq!(settings.max_rate.unwrap().get(), 3_000_000);
    assert_eq!(settings.capacity.unwrap().get(), 2_000_000);
    assert_snapshot!(render(&outcome, source));
    let bare = "[limits]\nmax-rate = 3000000\n";
    let outcome = read(bare);
    assert_eq!(outcome.settings, None);
    assert_snapshot!(render(&outcome, bare));
}

fn conf(source: &str) -> Outcome {
    turnserver_conf(Path::new("turnserver.conf"), source, &[])
}

fn render(outcome: &Outcome, source: &str) -> String {
    let found = outcome.diagnostics.iter();
    found.map(|d| d.render(source, false) + "\n").collect()
}
