//! Arbitrary input: nothing panics, and no secret reaches an operator's screen or log.

use std::path::Path;

use proptest::prelude::*;
use turnbuckle_config::{Override, keys, turnserver_conf};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        read_and_render(&String::from_utf8_lossy(&bytes), &[]);
    }

    #[test]
    fn arbitrary_values_never_panic(lines in proptest::collection::vec(line(), 0..12)) {
        read_and_render(&lines.join("\n"), &[]);
    }

    #[test]
    fn arbitrary_overrides_never_panic(key in key(), value in proptest::option::of(".{0,20}")) {
        read_and_render("", &[Override { key, value }]);
    }

    #[test]
    fn secrets_are_never_shown(
        key in proptest::sample::select(keys::all().filter(|key| key.secret).map(|key| key.name).collect::<Vec<_>>()),
        before in proptest::sample::select(vec!["", " ", "\"", "'", "x:", "x:0x", "# ", "-", "é\u{a0}", "\u{1}"]),
        after in proptest::sample::select(vec!["", ";", "\"", "'", " # x", "\"#", " \"", "\u{200b}", "\r", "\r\n#"]),
        separator in proptest::sample::select(vec!["=", " ", "\t", " = ", ":", "==", "_="]),
        prefix in proptest::sample::select(vec!["", "  ", "\t", "--", "\"", "x", "\u{feff}"]),
    ) {
        let source = format!("realm=a\n{prefix}{key}{separator}{before}{MARK}{after}\nuser-quota=x\n");
        let text = read_and_render(&source, &[]);
        prop_assert!(!text.contains(MARK), "{source}\n{text}");
        let given = Override { key: key.to_owned(), value: Some(format!("{before}{MARK}{after}")) };
        let shown = format!("{given:?}");
        let text = shown + &read_and_render("", &[given]);
        prop_assert!(!text.contains(MARK), "{text}");
    }

    #[test]
    fn a_number_in_range_is_read_as_it_is(port in 1u16..) {
        let outcome = turnserver_conf(Path::new("f"), &format!("listening-port={port}"), &[]);
        prop_assert_eq!(outcome.settings.unwrap().listeners[0].port, port);
    }

    #[test]
    fn a_peer_range_is_read_as_it_is(a in any::<u32>(), b in any::<u32>()) {
        let [first, last] = [a.min(b), a.max(b)].map(std::net::Ipv4Addr::from);
        let outcome = turnserver_conf(Path::new("f"), &format!("denied-peer-ip={first}-{last}"), &[]);
        let rules = outcome.settings.unwrap().peers.denied;
        prop_assert_eq!((rules[0].first, rules[0].last), (first.into(), last.into()));
    }
}

fn key() -> impl Strategy<Value = String> {
    let known = proptest::sample::select(
        keys::all()
            .map(|key| key.name.to_owned())
            .collect::<Vec<_>>(),
    );
    prop_oneof![4 => known, 1 => "[-_a-zA-Z\" =#;é\0]{0,12}"]
}

fn line() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        ".{0,16}",
        "[0-9]{0,22}",
        "[0-9a-f:./-]{0,24}",
        "[\"'#;= \t\r0-9a-z]{0,16}",
        Just("10.0.0.0/8".to_owned()),
        Just("203.0.113.7/10.0.0.7".to_owned()),
        Just("alice:0x0123456789abcdef0123456789abcdef".to_owned()),
    ];
    let separator = proptest::sample::select(vec!["=", " ", "\t", " = ", ""]);
    (key(), separator, value).prop_map(|(key, separator, value)| format!("{key}{separator}{value}"))
}

/// Everything an operator could come to see.
fn read_and_render(source: &str, overrides: &[Override]) -> String {
    let outcome = turnserver_conf(Path::new("turnserver.conf"), source, overrides);
    let mut text = format!("{:?}", outcome.settings);
    for found in &outcome.diagnostics {
        text += &found.render(source, false);
        text += &found.render(source, true);
    }
    text
}

/// Stands for the secret; no key and no message holds it.
const MARK: &str = "Zq7Zq7";
