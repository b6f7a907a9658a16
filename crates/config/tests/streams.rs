//! Keys of TCP, TLS, DTLS and the PROXY protocol: what they come to together, and what is said where they contradict
//! each other. The texts are held as snapshots.

use std::path::{Path, PathBuf};
use std::time::Duration;

use insta::assert_snapshot;
use turnbuckle_config::{Listener, Outcome, Override, Settings, Transport, turnserver_conf};

#[test]
fn streams_are_on_and_bounded_without_a_file() {
    let settings = ok("");
    assert_eq!(
        Settings {
            differences: Vec::new(),
            ..settings.clone()
        },
        Settings::default()
    );
    assert!(settings.tls && settings.tls12 && !settings.dtls && !settings.serves_tls());
    assert_eq!(listeners(&settings), ["udp *:3478", "tcp *:3478"]);
    assert_eq!(
        (settings.connections_max, settings.pending_connections_max),
        (10_000, 128)
    );
    assert_eq!(settings.max_allocate_timeout, Duration::from_secs(60));
}

#[test]
fn certificates_are_paired_in_their_order() {
    let source = "pkey=/a/key.pem\n\
                  cert=/a/chain.pem\n\
                  cert=\"/b/with blank.pem\"\n\
                  pkey-pwd=hunter2\n\
                  pkey=/b/key.pem\n\
                  cert=/c/both.pem\n\
                  pkey=/c/both.pem\n";
    let settings = ok(source);
    let pairs: Vec<_> = settings
        .certificates
        .iter()
        .map(|files| (files.cert.clone(), files.key.clone()))
        .collect();
    let path = PathBuf::from;
    assert_eq!(
        pairs,
        [
            (path("/a/chain.pem"), path("/a/key.pem")),
            (path("/b/with blank.pem"), path("/b/key.pem")),
            (path("/c/both.pem"), path("/c/both.pem")),
        ]
    );
    let passwords = settings
        .certificates
        .iter()
        .map(|files| files.password.as_ref().unwrap().expose());
    assert_eq!(passwords.collect::<Vec<_>>(), ["hunter2"; 3]);
    assert!(!format!("{settings:?}").contains("hunter2"));
    assert!(settings.serves_tls());
    assert_eq!(report(source), "");
    assert!(!ok("cert=/c\npkey=/k\nno-tls\n").serves_tls());
    assert_eq!(
        ok("cert=/c\npkey=/k\npkey-pwd=\n").certificates[0].password,
        None
    );
}

#[test]
fn certificates_that_are_not_paired() {
    assert_snapshot!("cert_alone", failed("cert=/c\n"));
    assert_snapshot!("key_alone", failed("pkey=/k\n"));
    assert_snapshot!("more_certs", failed("cert=/a\ncert=/b\npkey=/k\n"));
    assert_snapshot!("more_keys", failed("pkey=/a\npkey=/b\ncert=/c\npkey=/d\n"));
    // One finding for what is wrong, none for what comes of it.
    assert_snapshot!(
        "empty_cert",
        failed("cert=\npkey=/k\ndtls\nno-udp\nno-tcp\n")
    );
    assert_snapshot!(
        "given_twice",
        report("cert=/c\npkey=/k\ncert=/c\npkey=/k\n")
    );
    assert_snapshot!(
        "example_password",
        failed("cert=/c\npkey=/k\npkey-pwd=replace-with-a-random-text\n")
    );
}

#[test]
fn certificates_may_come_from_the_command_line() {
    let given = |key: &str, value: &str| Override {
        key: key.to_owned(),
        value: Some(value.to_owned()),
    };
    let file = Path::new("turnserver.conf");
    let key = given("pkey", "/k");
    let outcome = turnserver_conf(file, "cert=/c\n", std::slice::from_ref(&key));
    assert_eq!(render(&outcome, "cert=/c\n"), "");
    assert!(outcome.settings.unwrap().serves_tls());
    assert_snapshot!(
        "command_line_key_alone",
        render(&turnserver_conf(file, "", &[key]), "")
    );
}

#[test]
fn keys_of_tls() {
    let settings =
        ok("cert=/c\npkey=/k\nno-tlsv1_2\ncipher-list=HIGH:!aNULL\ntls-listening-port=443\n");
    assert!(!settings.tls12);
    assert_eq!(settings.cipher_list.as_deref(), Some("HIGH:!aNULL"));
    assert_eq!(
        listeners(&settings),
        ["udp *:3478", "tcp *:3478", "tls *:443"]
    );
    assert_eq!(ok("cipher-list=\n").cipher_list, None);
    // One port for both is what clients behind strict firewalls need.
    let one_port = "cert=/c\npkey=/k\nlistening-port=443\ntls-listening-port=443\n";
    assert_eq!(report(one_port), "");
    assert_snapshot!(
        "keys_without_certificate",
        report("tls-listening-port=443\ncipher-list=HIGH\nno-tlsv1_2\n")
    );
    assert_snapshot!("tls_asked_for", report("no-tls=0\n"));
    assert_eq!(report("no-tls\ntls-listening-port=5349\n"), "");
    assert_snapshot!(
        "not_offered",
        report("tlsv1\ntlsv1_1\ndh-file=/d\nec-curve-name=prime256v1\nraw-public-keys\n")
    );
    assert_snapshot!(
        "client_certificates",
        failed("cert=/c\npkey=/k\nCA-file=/ca\n")
    );
}

#[test]
fn dtls_needs_a_certificate() {
    assert_snapshot!(failed("dtls\n"));
    let settings = ok("dtls\ncert=/c\npkey=/k\n");
    assert!(settings.dtls && settings.serves_tls());
    let settings = ok("dtls\ncert=/c\npkey=/k\nno-tls\n");
    assert!(settings.dtls && !settings.serves_tls());
    assert!(!ok("dtls=0\n").dtls && !ok("no-dtls\n").dtls && !ok("dtls\nno-dtls\n").dtls);
}

#[test]
fn transports_may_be_off_while_one_is_left() {
    for (source, expected) in [
        ("no-udp\n", [false, true, false, false]),
        ("no-tcp\n", [true, false, false, false]),
        (
            "no-udp\nno-tcp\ncert=/c\npkey=/k\n",
            [false, false, true, false],
        ),
        (
            "no-udp\nno-tcp\nno-tls\ndtls\ncert=/c\npkey=/k\n",
            [false, false, false, true],
        ),
        (
            "no-udp\nno-tcp\ntcp-proxy-port=3480\nproxy-trusted=192.0.2.1\n",
            [false, true, false, false],
        ),
    ] {
        let settings = ok(source);
        let on = [
            settings.listens(Transport::Udp),
            settings.listens(Transport::Tcp),
            settings.serves_tls(),
            settings.dtls,
        ];
        assert_eq!(on, expected, "{source}");
        assert_eq!(report(source), "");
    }
}

#[test]
fn further_listeners() {
    let source = "aux-server=192.0.2.1:443\naux-server=[2001:db8::1]:443\naux-server=0.0.0.0:80\n";
    assert_eq!(
        listeners(&ok(source))[2..],
        [
            "udp 192.0.2.1:443",
            "tcp 192.0.2.1:443",
            "udp 2001:db8::1:443",
            "tcp 2001:db8::1:443",
            "udp 0.0.0.0:80",
            "tcp 0.0.0.0:80"
        ]
    );
    assert_eq!(report(source), "");
}

#[test]
fn further_listeners_that_are_there_already() {
    let source = "aux-server=192.0.2.1:443\naux-server=192.0.2.1:443\naux-server=192.0.2.1:3478\n";
    assert_eq!(ok(source).listeners.len(), 4);
    assert_snapshot!(report(source));
    let further = |source| {
        ok(source)
            .listeners
            .iter()
            .filter(|l| l.transport == Transport::Udp)
            .count()
            - 1
    };
    // Of the addresses listened on, none is this one.
    assert_eq!(
        further("listening-ip=192.0.2.2\naux-server=192.0.2.1:3478\n"),
        1
    );
    assert_eq!(
        further("listening-ip=192.0.2.2\naux-server=192.0.2.2:3478\n"),
        0
    );
    assert_eq!(
        further("listening-ip=0.0.0.0\naux-server=192.0.2.2:3478\naux-server=[::1]:3478\n"),
        1
    );
}

#[test]
fn further_listeners_among_the_relay_ports() {
    assert_snapshot!(report(
        "cert=/c\npkey=/k\ndtls\naux-server=192.0.2.1:50000\ntls-listening-port=50001\n"
    ));
    // A connection and a relayed datagram do not meet.
    assert_eq!(report("cert=/c\npkey=/k\ntls-listening-port=50001\n"), "");
    assert_eq!(report("no-udp\nlistening-port=50001\n"), "");
}

#[test]
fn proxies() {
    let source = "tcp-proxy-port=3480\ntls-proxy-port=5350\nproxy-trusted=192.0.2.1\nproxy-trusted=10.0.0.0/8\n\
                  proxy-trusted=2001:db8::/32\ncert=/c\npkey=/k\n";
    let settings = ok(source);
    assert_eq!(
        listeners(&settings)[3..],
        ["tcp *:3480 proxied", "tls *:5350 proxied"]
    );
    let trusted: Vec<_> = settings
        .proxy_trusted
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(trusted, ["192.0.2.1/32", "10.0.0.0/8", "2001:db8::/32"]);
    assert_eq!(report(source), "");
}

#[test]
fn proxies_that_nobody_or_everybody_is() {
    assert_snapshot!(
        "nobody_trusted",
        failed("tcp-proxy-port=3480\ntls-proxy-port=5350\n")
    );
    assert_snapshot!(
        "broken_trust",
        failed("tcp-proxy-port=3480\nproxy-trusted=haproxy\nproxy-trusted=::ffff:10.0.0.0/104\n")
    );
    assert_snapshot!(
        "everybody_trusted",
        report(
            "tcp-proxy-port=3480\nproxy-trusted=0.0.0.0/0\nproxy-trusted=10.0.0.1\nproxy-trusted=10.0.0.1/32\n"
        )
    );
    assert_snapshot!("trust_without_port", report("proxy-trusted=10.0.0.1\n"));
    assert_snapshot!(
        "tls_behind_proxy_without_certificate",
        report("tls-proxy-port=5350\nproxy-trusted=10.0.0.1\n")
    );
    assert_snapshot!(
        "tls_behind_proxy_switched_off",
        report("tls-proxy-port=5350\nproxy-trusted=10.0.0.1\nno-tls\n")
    );
}

#[test]
fn ports_of_proxies_are_for_proxies_alone() {
    assert_snapshot!(failed(
        "proxy-trusted=10.0.0.1\ncert=/c\npkey=/k\ntcp-proxy-port=3478\ntls-proxy-port=5349\n"
    ));
    assert_snapshot!(
        "port_of_a_further_listener",
        failed("proxy-trusted=10.0.0.1\ntcp-proxy-port=443\naux-server=192.0.2.1:443\n")
    );
    // What is off does not stand in the way.
    let source =
        "proxy-trusted=10.0.0.1\nno-tcp\ntcp-proxy-port=3478\ntls-proxy-port=5349\nno-tls\n";
    assert_eq!(
        listeners(&ok(source)),
        ["udp *:3478", "tcp *:3478 proxied", "tls *:5349 proxied"]
    );
}

#[test]
fn bounds_of_connections() {
    let source = "max-connections=500\nmax-pending-connections=20\nmax-allocate-timeout=10\n";
    let settings = ok(source);
    assert_eq!(
        (settings.connections_max, settings.pending_connections_max),
        (500, 20)
    );
    assert_eq!(settings.max_allocate_timeout, Duration::from_secs(10));
    assert_eq!(report(source), "");
    assert_eq!(report("max-connections=100\n"), "");
    assert_snapshot!(
        "pending_above_all",
        report("max-connections=100\nmax-pending-connections=101\n")
    );
    assert_snapshot!(
        "bounds_of_zero",
        failed("max-connections=0\nmax-pending-connections=0\nmax-allocate-timeout=0\n")
    );
}

#[test]
fn differences_from_coturn() {
    let differences = |source: &str| {
        let lines = ok(source)
            .differences
            .into_iter()
            .filter(|found| found.line.is_some() || found.text.contains("connections"))
            .map(|found| format!("{} {:?}\n", found.text, found.line));
        lines.collect::<String>()
    };
    assert_snapshot!(
        "differences_streams",
        differences(
            "cert=/a\npkey=/a\ncert=/b\npkey=/b\ntcp-proxy-port=3480\ntls-proxy-port=5350\nproxy-trusted=10.0.0.1\n"
        )
    );
    assert_eq!(differences("no-tcp\n"), "");
    assert_eq!(differences("cert=/a\npkey=/a\nmax-connections=9\n"), "");
}

#[track_caller]
fn ok(source: &str) -> Settings {
    let outcome = read(source);
    let text = render(&outcome, source);
    outcome.settings.unwrap_or_else(|| panic!("{text}"))
}

/// The findings of a file that can be started with.
#[track_caller]
fn report(source: &str) -> String {
    let outcome = read(source);
    let text = render(&outcome, source);
    assert!(outcome.settings.is_some(), "{text}");
    text
}

/// The findings of a file that must not be started with.
#[track_caller]
fn failed(source: &str) -> String {
    let outcome = read(source);
    assert_eq!(outcome.settings, None);
    render(&outcome, source)
}

fn read(source: &str) -> Outcome {
    turnserver_conf(Path::new("turnserver.conf"), source, &[])
}

fn render(outcome: &Outcome, source: &str) -> String {
    let text: String = outcome
        .diagnostics
        .iter()
        .map(|found| found.render(source, false) + "\n")
        .collect();
    assert!(!text.contains("hunter2"), "{text}");
    text
}

/// Each listener in a few words; `*` is every address.
fn listeners(settings: &Settings) -> Vec<String> {
    let shown = |listener: &Listener| {
        let address = listener
            .address
            .map_or_else(|| "*".to_owned(), |ip| ip.to_string());
        let proxied = if listener.proxied { " proxied" } else { "" };
        format!(
            "{} {address}:{}{proxied}",
            listener.transport, listener.port
        )
    };
    settings.listeners.iter().map(shown).collect()
}
