//! `turnctl config` on the configuration of eturnal, as its users see it.

mod common;

use insta::assert_snapshot;

use common::Directory;

#[test]
fn check_reviews_every_option() {
    let directory = Directory::new();
    directory.write("eturnal.yml", WHOLE);
    assert_snapshot!(directory.run(&["config", "check", "eturnal.yml"]));
    let output = directory.output(&["config", "check", "eturnal.yml", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["usable"], true, "{json:#}");
    assert!(!json.to_string().contains("hunter2"), "{json:#}");
}

#[test]
fn convert_keeps_the_old_lines() {
    let directory = Directory::new();
    directory.write("eturnal.yml", WHOLE);
    let shown = directory.run(&["config", "convert", "eturnal.yml"]);
    assert_snapshot!(shown);
    let done = directory.output(&["config", "convert", "eturnal.yml", "-o", "turnbuckle.toml"]);
    assert!(done.status.success(), "{done:?}");
    let check = directory.output(&["config", "check", "turnbuckle.toml"]);
    assert_ne!(check.status.code(), Some(2), "{check:?}");
}

#[test]
fn a_small_file_is_good() {
    let directory = Directory::new();
    directory.write(
        "eturnal.yml",
        "eturnal:\n  secret: \"hunter2-hunter2-hunter2\"\n",
    );
    let output = directory.output(&["config", "check", "eturnal.yml"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let shown = directory.run(&["config", "convert", "eturnal.yml"]);
    assert_snapshot!(shown);
    // Nothing said is the default of both.
    for empty in ["", "eturnal:\n"] {
        directory.write("empty.yml", empty);
        let output = directory.output(&["config", "check", "empty.yml"]);
        let expected = if empty.is_empty() { 2 } else { 0 };
        assert_eq!(output.status.code(), Some(expected), "{output:?}");
    }
}

#[test]
fn what_cannot_be_kept_stops_the_conversion() {
    let directory = Directory::new();
    for (name, text) in [
        (
            "clients",
            "eturnal:\n  blacklist_clients: [198.51.100.0/24]\n  whitelist_clients: 198.51.100.7\n",
        ),
        (
            "macros",
            "define_macro:\n  SECRET: hunter2\neturnal:\n  include_config_file: /etc/more.yml\n  secret: SECRET\n",
        ),
        (
            "proxy_alone",
            "eturnal:\n  listen:\n    - port: 3478\n      transport: tcp\n      proxy_protocol: true\n",
        ),
        (
            "tls_without_certificate",
            "eturnal:\n  listen:\n    - transport: tls\n",
        ),
        (
            "values",
            "eturnal:\n  listen:\n    - port: 70000\n    - transport: sctp\n    - ip: turn.example.org\n    - 3478\n  \
             relay_min_port: abc\n  relay_ipv4_addr: 203.0.113.0/24\n  blacklist_peers: [10.0.0.1/8]\n  log_level: loud\n  \
             credentials: [hunter2]\n  strict_expiry: maybe\n  realm: [a, {b: c}]\n",
        ),
        (
            "ports",
            "eturnal:\n  relay_min_port: 60000\n  relay_max_port: 50000\n",
        ),
        ("another_file", "listen:\n  - 3478\nsecret: hunter2\n"),
        ("no_yaml", "eturnal:\n  secret: \"hunter2\n"),
        ("alias", "eturnal:\n  secret: &s hunter2\n  realm: *s\n"),
        ("twice", "eturnal:\n  secret: hunter2\n  secret: hunter2\n"),
    ] {
        directory.write("eturnal.yml", text);
        let told = directory.run(&["config", "convert", "eturnal.yml"]);
        assert!(told.starts_with("exit status: 1"), "{told}");
        assert_snapshot!(name, told);
    }
}

#[test]
fn the_server_does_not_read_it() {
    let directory = Directory::new();
    directory.write("eturnal.yml", WHOLE);
    assert_snapshot!(directory.run(&["config", "show", "eturnal.yml"]));
}

#[test]
fn secrets_are_never_shown() {
    let directory = Directory::new();
    for text in [
        "eturnal: {secret: hunter2, realm: example.org}\n",
        "eturnal: {secret: hunter2, relay_min_port: x, run_dir: /, nothing: 1}\n",
        "eturnal:\n  secret: [hunter2, hunter2]\n  realm: \"\u{200b}\"\n",
        "eturnal:\n  secret:\n    - hunter2\n    - [hunter2]\n    - {hunter2: hunter2}\n",
        "eturnal:\n  secret: |\n    hunter2\n    hunter2\n",
        "eturnal:\n  credentials: {a: hunter2, b: \"hunter2\", c: [hunter2]}\n",
        "eturnal:\n  credentials:\n    hunter2:\n      - hunter2\n",
        "eturnal:\n  secrets: hunter2\n  sceret: {a: hunter2}\n",
        "eturnal:\n  secret: 'hunter2\n",
        "eturnal:\n  secret: \"hunter2\u{200b}\"\n",
        "eturnal:\n  secret: replace-with-a-random-text\n  credentials:\n    alice: hunter2\n    alice : hunter2\n",
    ] {
        directory.write("eturnal.yml", text);
        let told = directory.run(&["config", "check", "eturnal.yml"]);
        assert!(!told.contains("hunter2"), "{text}\n{told}");
    }
}

/// Every option of eturnal, most with another value than the default.
const WHOLE: &str = "\
# An eturnal as it might be.
eturnal:
  secret: \"hunter2-hunter2-hunter2\"
  listen:
    -
      ip: \"::\"
      port: 3478
      transport: udp
    -
      ip: \"::\"
      port: 3478
      transport: auto
      enable_turn: true
    - ip: 192.0.2.1
      port: 443
      transport: tls
    - port: 3480
      transport: tcp
      proxy_protocol: true
  relay_ipv4_addr: \"203.0.113.7\"
  relay_ipv6_addr: \"2001:db8::7\"
  relay_min_port: 50000
  relay_max_port: 60000
  tls_crt_file: /etc/eturnal/tls/crt.pem
  tls_key_file: /etc/eturnal/tls/key.pem
  tls_dh_file: /etc/eturnal/tls/dh.pem
  tls_options:
    - no_tlsv1
    - no_tlsv1_1
    - cipher_server_preference
  tls_ciphers: HIGH
  max_permissions: 20
  max_allocations: 10
  blacklist_peers:
    - recommended
    - 198.51.100.0/24
  whitelist_peers: 192.0.2.7
  strict_expiry: false
  credentials:
    alice: hunter2-of-alice
    bob: hunter2-of-bob
  realm: example.org
  software_name: eturnal
  run_dir: /run/eturnal
  log_dir: stdout
  log_level: warning
  log_rotate_size: 10485760
  log_rotate_count: 10
  log_levle: info
  modules:
    mod_log_stun: {}
    mod_stats_influx:
      host: localhost
    mod_example: {}
";
