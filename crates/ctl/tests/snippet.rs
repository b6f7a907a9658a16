//! `turnctl snippet`, as its users see it: every consumer as a snapshot, and each text read by a parser of its format.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use insta::assert_snapshot;
use saphyr_parser::{Event, Parser};

use common::Directory;

#[test]
fn every_consumer() {
    let directory = directory();
    for consumer in CONSUMERS {
        let text = directory.run(&[
            "snippet",
            consumer,
            "--host",
            "turn.example.org",
            "-c",
            "full.conf",
        ]);
        assert_snapshot!(consumer, text);
    }
}

#[test]
fn yaml_holds_the_secret_as_it_is() {
    let directory = directory();
    for consumer in ["synapse", "dendrite", "ejabberd", "livekit"] {
        let scalars = yaml_scalars(&printed(&directory, &[consumer, "-c", "full.conf"]));
        let expected = if consumer == "livekit" {
            SECOND
        } else {
            SECRET
        };
        assert!(
            scalars.contains(&expected.to_owned()),
            "{consumer}: {scalars:?}"
        );
    }
    // An account stands in place of the secret here.
    let scalars = yaml_scalars(&printed(&directory, &["home-assistant", "-c", "full.conf"]));
    assert!(scalars.contains(&PASSWORD.to_owned()), "{scalars:?}");
}

#[test]
fn toml_holds_the_secret_as_it_is() {
    let directory = directory();
    for (consumer, path) in [
        ("tuwunel", &["global", "turn_secret"][..]),
        ("conduit", &["global", "turn", "secret"]),
    ] {
        let text = printed(&directory, &[consumer, "-c", "full.conf"]);
        let document = toml::de::DeTable::parse(&text).unwrap();
        let mut table = document.get_ref();
        let (last, above) = path.split_last().unwrap();
        for name in above {
            table = table.get(*name).unwrap().get_ref().as_table().unwrap();
        }
        let secret = table.get(*last).unwrap().get_ref().as_str();
        assert_eq!(secret, Some(SECRET), "{consumer}");
    }
}

#[test]
fn json_holds_the_secret_as_it_is() {
    let directory = directory();
    let json: serde_json::Value =
        serde_json::from_str(&printed(&directory, &["galene", "-c", "full.conf"])).unwrap();
    assert_eq!(json[0]["credential"], SECRET);
    assert_eq!(json[0]["urls"].as_array().unwrap().len(), 3);
    let json: serde_json::Value =
        serde_json::from_str(&printed(&directory, &["element-web"])).unwrap();
    assert_eq!(json["setting_defaults"]["webRtcForceTURN"], true);
}

#[test]
fn xml_holds_the_secret_as_it_is() {
    let directory = directory();
    let text = printed(&directory, &["bigbluebutton", "-c", "full.conf"]);
    let document = roxmltree::Document::parse(&text).unwrap();
    let values: Vec<_> = document
        .descendants()
        .filter(|node| node.attribute("index") == Some("0"))
        .filter_map(|node| node.attribute("value"))
        .filter(|value| !value.starts_with("stun:"))
        .collect();
    assert_eq!(values, [SECRET; 3]);
}

#[test]
fn a_shell_hands_the_secret_on_as_it_is() {
    let directory = directory();
    let text = printed(&directory, &["nextcloud-talk", "-c", "full.conf"]);
    let script = format!("sudo() {{ printf '%s\\n' \"$@\"; }}\n{text}");
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    let secrets = said
        .lines()
        .filter(|line| *line == format!("--secret={SECRET}"));
    assert_eq!(secrets.count(), 2, "{said}");
}

#[test]
fn what_is_off_is_not_told() {
    let directory = directory();
    directory.write(
        "plain.conf",
        &format!("realm=turn.example.org\nno-tcp\nstatic-auth-secret={SECRET}\n"),
    );
    let text = directory.run(&["snippet", "synapse", "-c", "plain.conf", "--ttl", "90m"]);
    assert_snapshot!("only_udp", text);
    for (name, args) in [
        (
            "over_tls_without_a_certificate",
            &["synapse", "-c", "plain.conf", "--over", "tls"][..],
        ),
        (
            "over_tcp_that_is_off",
            &["jitsi", "-c", "plain.conf", "--over", "udp,tcp"],
        ),
        (
            "over_tls_without_a_name",
            &[
                "livekit",
                "-c",
                "full.conf",
                "--over",
                "tls",
                "--host",
                "203.0.113.7",
            ],
        ),
        (
            "over_what_a_proxy_has",
            &["prosody", "-c", "proxied.conf", "--over", "tcp"],
        ),
        ("stun_only", &["synapse", "-c", "stun.conf"]),
        ("open_relay", &["synapse", "-c", "open.conf"]),
        ("no_secret", &["synapse", "-c", "accounts.conf"]),
        ("no_host", &["synapse", "-c", "nameless.conf"]),
        ("separator", &["synapse", "-c", "separator.conf"]),
        ("no_credentials", &["janus", "-c", "nothing.conf"]),
        (
            "ttl_that_is_a_time",
            &[
                "synapse",
                "-c",
                "plain.conf",
                "--ttl",
                "2100-01-01T00:00:00Z",
            ],
        ),
        (
            "options_of_another",
            &["synapse", "-c", "plain.conf", "--force-turn"],
        ),
        ("unknown_transport", &["synapse", "--over", "dtls"]),
    ] {
        let args = [&["snippet"], args].concat();
        assert_snapshot!(name, directory.run(&args));
        assert!(directory.output(&args).stdout.is_empty(), "{name}");
    }
}

#[test]
fn tls_is_told_by_name_alone() {
    let directory = directory();
    let told = directory.run(&[
        "snippet",
        "synapse",
        "-c",
        "full.conf",
        "--host",
        "203.0.113.7",
    ]);
    assert!(
        !told.contains("turns:turn") && !told.contains("turns:203"),
        "{told}"
    );
    assert!(told.contains("no `turns:` URL is told"), "{told}");
    let told = directory.run(&["snippet", "synapse", "-c", "full.conf"]);
    assert!(told.contains("turns:example.org:443"), "{told}");
    assert!(told.contains("taken from `realm`"), "{told}");
}

#[test]
fn the_name_is_taken_from_the_certificate() {
    let directory = directory();
    // It is for *.example.net and Relay.example.net.
    directory.write("cert.pem", include_str!("certificates/names.pem"));
    let path = directory.path().join("cert.pem");
    directory.write(
        "named.conf",
        &format!(
            "external-ip=203.0.113.7\nstatic-auth-secret={SECRET}\ncert={}\npkey=/key.pem\n",
            path.display()
        ),
    );
    let told = directory.run(&["snippet", "conduit", "-c", "named.conf"]);
    assert!(
        told.contains("turns:relay.example.net:5349?transport=tcp"),
        "{told}"
    );
    assert!(
        told.contains("note: the name relay.example.net is taken from the certificate"),
        "{told}"
    );
}

#[test]
fn a_secret_may_come_from_a_file() {
    let directory = directory();
    directory.write("secret", &format!("{SECOND}\n"));
    let args = [
        "tuwunel",
        "-c",
        "full.conf",
        "--secret-file",
        "secret",
        "--host",
        "a.example.org",
    ];
    let text = printed(&directory, &args);
    assert!(
        text.contains(&format!("turn_secret = \"{SECOND}\"")),
        "{text}"
    );
    assert!(text.contains("#turn_secret_file = \"secret\""), "{text}");
}

#[test]
fn a_credential_that_lasts_where_there_is_no_account() {
    let directory = directory();
    directory.write(
        "plain.conf",
        &format!("realm=turn.example.org\nstatic-auth-secret={SECRET}\n"),
    );
    for consumer in ["home-assistant", "janus"] {
        let text = directory.run(&["snippet", consumer, "-c", "plain.conf"]);
        assert!(
            text.contains(&format!(":{consumer}\"")) && text.contains("lasts for years"),
            "{text}"
        );
        assert!(!text.contains(SECRET), "{text}");
    }
}

#[test]
fn wellknown_is_json_and_yaml() {
    let directory = directory();
    let text = directory.run(&[
        "snippet",
        "wellknown",
        "--force-turn",
        "--livekit",
        "https://rtc.example.org",
    ]);
    assert_snapshot!("wellknown_with_all", text);
    assert_snapshot!("wellknown_alone", directory.run(&["snippet", "wellknown"]));
    let text = printed(
        &directory,
        &[
            "wellknown",
            "--force-turn",
            "--livekit",
            "https://rtc.example.org",
        ],
    );
    let start = text.find('{').unwrap();
    let mut json =
        serde_json::Deserializer::from_str(&text[start..]).into_iter::<serde_json::Value>();
    let value = json.next().unwrap().unwrap();
    assert_eq!(value["im.vector.riot.forceTurn"], true);
    assert_eq!(value["io.element.voip"]["disable_fallback_ice"], true);
    assert_eq!(value["m.rtc_foci"], value["org.matrix.msc4143.rtc_foci"]);
    assert_eq!(
        value["m.rtc_foci"][0]["livekit_service_url"],
        "https://rtc.example.org"
    );
    let yaml = &text[start + json.byte_offset()..];
    let scalars = yaml_scalars(yaml);
    let urls = scalars
        .iter()
        .filter(|scalar| *scalar == "https://rtc.example.org");
    assert_eq!(urls.count(), 3, "{scalars:?}");
}

#[test]
fn merge_keeps_the_rest() {
    let directory = directory();
    let old = "{\n  \"m.homeserver\": { \"base_url\": \"https://matrix.example.org\" },\n  \"io.element.e2ee\": {\"default\":true},\n  \
               \"io.element.voip\": {}\n}\n";
    directory.write("client", old);
    let args = [
        "snippet",
        "wellknown",
        "--livekit",
        "https://rtc.example.org",
        "--merge",
        "client",
    ];
    assert_snapshot!("merged", directory.run(&args));
    assert_eq!(directory.read("client"), old);
    let path = directory.path().join("client");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let printed = String::from_utf8(directory.output(&args).stdout).unwrap();
    let write = [&args[..], &["--write"]].concat();
    let output = directory.output(&write);
    assert!(
        output.status.success() && output.stdout.is_empty(),
        "{output:?}"
    );
    assert_eq!(directory.read("client"), printed);
    assert_eq!(directory.read("client.bak"), old);
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o640
    );
    // What is there already is not written again.
    let again = directory.run(&write);
    assert!(again.contains("says all of it already"), "{again}");
    assert_eq!(directory.read("client.bak"), old);
}

#[test]
fn a_broken_file_is_not_touched() {
    let directory = directory();
    let broken = "{\n  \"m.homeserver\": {},\n}\n";
    directory.write("client", broken);
    for extra in [&[][..], &["--write"]] {
        let args = [&["snippet", "wellknown", "--merge", "client"], extra].concat();
        assert_snapshot!("merge_of_broken_json", directory.run(&args));
        assert_eq!(directory.read("client"), broken);
    }
    directory.write("client", "{\"io.element.voip\": 3}");
    assert_snapshot!(
        "merge_with_another_kind",
        directory.run(&["snippet", "wellknown", "--merge", "client", "--write"])
    );
    assert_eq!(
        fs::read_dir(directory.path())
            .unwrap()
            .filter(|entry| {
                let name = entry.as_ref().unwrap().file_name();
                name.to_string_lossy().starts_with("client")
            })
            .count(),
        1
    );
    assert_snapshot!(
        "merge_of_a_missing_file",
        directory.run(&["snippet", "wellknown", "--merge", "not-there"])
    );
    assert_snapshot!(
        "livekit_without_https",
        directory.run(&[
            "snippet",
            "wellknown",
            "--livekit",
            "http://rtc.example.org"
        ])
    );
}

/// Every scalar of a YAML text, names included; fails if it is none.
fn yaml_scalars(text: &str) -> Vec<String> {
    Parser::new_from_str(text)
        .filter_map(
            |event| match event.unwrap_or_else(|error| panic!("{error}\n{text}")) {
                (Event::Scalar(text, ..), _) => Some(text.into_owned()),
                _ => None,
            },
        )
        .collect()
}

fn directory() -> Directory {
    let directory = Directory::new();
    let secrets = format!("static-auth-secret={SECRET}\nstatic-auth-secret={SECOND}\n");
    directory.write(
        "full.conf",
        &format!(
            "realm=example.org\n{secrets}user=alice:{PASSWORD}\ncert=/nowhere/cert.pem\npkey=/nowhere/key.pem\n\
             tls-listening-port=443\n"
        ),
    );
    let base = "realm=turn.example.org\n";
    directory.write(
        "proxied.conf",
        &format!("{base}no-tcp\ntcp-proxy-port=3480\nproxy-trusted=192.0.2.1\n{secrets}"),
    );
    directory.write("stun.conf", &format!("{base}stun-only\n{secrets}"));
    directory.write("open.conf", &format!("{base}no-auth\n"));
    directory.write("accounts.conf", &format!("{base}user=alice:{PASSWORD}\n"));
    directory.write("nameless.conf", &secrets);
    directory.write(
        "separator.conf",
        &format!("{base}rest-api-separator=|\n{secrets}"),
    );
    directory.write("nothing.conf", base);
    directory
}

/// What a snippet prints to standard output.
fn printed(directory: &Directory, args: &[&str]) -> String {
    let output = directory.output(&[&["snippet"], args].concat());
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

const CONSUMERS: [&str; 14] = [
    "synapse",
    "dendrite",
    "tuwunel",
    "conduit",
    "element-web",
    "prosody",
    "ejabberd",
    "jitsi",
    "nextcloud-talk",
    "livekit",
    "bigbluebutton",
    "home-assistant",
    "janus",
    "galene",
];
/// With all that ends a text in one format or another.
const SECRET: &str = "0f1e\"2d\\3c'4b#5a<69>&78$87{96}%a5";
const SECOND: &str = "second-0123456789abcdef";
const PASSWORD: &str = "correct: \"horse\" 'battery'";
