//! What is said about the forms that coturn reads otherwise than their writers meant, and about keys that contradict
//! each other. The texts are held as snapshots.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use insta::assert_snapshot;
use turnbuckle_config::{
    AuthAsked, DefaultFamily, LogLevel, LogTarget, Outcome, Override, Settings, Transport,
    UserCredential, turnserver_conf,
};

#[test]
fn inline_comments() {
    // The forms printed in the documentation of Nextcloud Talk and of Synapse.
    let source = "lt-cred-mech # use the long-term mechanism\n\
                  user-quota=12 # 4 streams per video call, so 12 streams = 3 simultaneous calls\n\
                  realm=example.org # ours\n\
                  static-auth-secret=0123456789abcdef0 # hunter2\n\
                  user=alice:correct horse#1 # hunter2\n\
                  denied-peer-ip=10.0.0.0-10.255.255.255 # private\n";
    let settings = ok(source);
    assert_eq!(settings.user_quota.unwrap().get(), 12);
    assert_eq!(settings.realm.as_deref(), Some("example.org"));
    assert_eq!(settings.secrets[0].expose(), "0123456789abcdef0");
    let UserCredential::Password(password) = &settings.users[0].credential else {
        panic!("not a password");
    };
    assert_eq!(password.expose(), "correct horse#1");
    assert_eq!(settings.peers.denied[0].text, "10.0.0.0-10.255.255.255");
    assert_snapshot!(report(source));
}

#[test]
fn what_coturn_reads_otherwise_is_told_with_line_and_help() {
    // The line, whether a server starts with it, and what is said about it.
    for (line, starts, said) in [
        (
            "lt-cred-mech # text\nuser=a:b\nrealm=a",
            true,
            "coturn does not start with it",
        ),
        ("user-quota=12 # text", true, "taken as a comment"),
        ("denied-peer-ip=10.0.0.0/33", false, "`10.0.0.0/33`"),
        ("total-quota=abc", false, "`abc` is not a whole number"),
        ("listening-port=abc", false, "`abc` is not a whole number"),
        ("min-port=70000", false, "`70000`"),
        ("cert=/c", false, "`pkey`"),
        ("tls-listening-port=443", true, "without a certificate"),
        ("use-auth-secret=0", true, "whatever its value is"),
        ("fingerprint=banana", false, "`banana`"),
        ("server_name=turn.example.org", true, "not a known key"),
        ("TURNSERVER_ENABLED=1", true, "not a known key"),
        ("fingerprint;", true, "the semicolon is left out"),
        ("no-auth", true, "anyone may relay"),
        ("no-udp-relay", false, "leaves nothing to relay"),
        ("allow-loopback-peers", true, "services on this host"),
        ("permission-lifetime=60", true, "300 s"),
        (
            "external-ip=203.0.113.0/24",
            false,
            "a range, not an address",
        ),
        ("secret-ts-exp-time=60", true, "says when it expires"),
        ("realm=\"example.org", false, "this quote is not closed"),
    ] {
        let source = format!("# comment\n{line}\n");
        let outcome = turnserver_conf(Path::new("turnserver.conf"), &source, &[]);
        let text = render(&outcome, &source);
        assert_eq!(outcome.settings.is_some(), starts, "{text}");
        let found = outcome
            .diagnostics
            .iter()
            .find(|found| format!("{} {:?}", found.message, found.help).contains(said))
            .unwrap_or_else(|| panic!("{line}: {said}\n{text}"));
        assert_eq!(found.line, Some(2), "{text}");
        assert!(found.help.is_some(), "{text}");
    }
    // Forms that mean what they say are not remarked upon.
    for line in [
        "external-ip=203.0.113.7\nexternal-ip=2001:db8::7",
        "no-loopback-peers\nno-stun-backward-compatibility\nno-tlsv1\nno-tlsv1_1\nprod",
        "no-cli\nno-rfc5780\nresponse-origin-only-with-rfc5780\nno-software-attribute\nno-dtls",
        "stale-nonce = 600\nlistening-ip 127.0.0.1\nrealm=\"a b\"",
    ] {
        assert_eq!(report(&format!("{line}\n")), "", "{line}");
    }
}

#[test]
fn a_realm_too_long_for_short_requests() {
    let realm = |len: usize| format!("realm={}\n", "r".repeat(len));
    let warns = |source: &str| report(source).contains("realm of at most 48 bytes");
    assert!(!warns(&realm(48)));
    assert!(warns(&realm(49)));
}

#[test]
fn hashes_that_are_no_comment() {
    let source = "static-auth-secret=#0123456789#abcdef\n\
                  static-auth-secret=\"with # inside 0123\"\n\
                  user=bob:#1\n\
                  realm=a#b\n";
    let settings = ok(source);
    assert_eq!(settings.secrets[0].expose(), "#0123456789#abcdef");
    assert_eq!(settings.secrets[1].expose(), "with # inside 0123");
    assert_eq!(settings.realm.as_deref(), Some("a#b"));
    assert_eq!(report(source), "");
}

#[test]
fn peer_rules() {
    let source = "denied-peer-ip=10.0.0.0/8\n\
                  denied-peer-ip=fc00::/7\n\
                  denied-peer-ip=::ffff:0.0.0.0-::ffff:255.255.255.255\n\
                  allowed-peer-ip=10.1.2.3\n";
    let settings = ok(source);
    assert!(settings.peers.denied[0].contains("10.255.255.255".parse().unwrap()));
    assert_eq!(settings.peers.denied[0].origin.line, Some(1));
    assert_eq!(settings.peers.denied.len(), 2);
    assert_snapshot!(report(source));
}

#[test]
fn broken_peer_rules() {
    let source = "denied-peer-ip=10.0.0.0/33\n\
                  denied-peer-ip=10.0.0.1/8\n\
                  denied-peer-ip=10.0.0.9-10.0.0.1\n\
                  denied-peer-ip=10.0.0.1-::1\n\
                  denied-peer-ip=::ffff:10.0.0.0/104\n\
                  allowed-peer-ip=::ffff:0.0.0.0-::ffff:255.255.255.255\n\
                  allowed-peer-ip=turn.example.org\n\
                  denied-peer-ip\n";
    assert_snapshot!(failed(source));
}

#[test]
fn values_that_coturn_lets_pass() {
    let source =
        "total-quota=abc\nlistening-port=abc\nmin-port=70000\nuser-quota=-1\nstale-nonce=10m\n";
    assert_snapshot!(failed(source));
}

#[test]
fn external_address_of_each_family() {
    let settings = ok("external-ip=203.0.113.7\nexternal-ip=2001:db8::7\n");
    assert_eq!(settings.external_ips.len(), 2);
    let settings = ok(
        "external-ip=203.0.113.7/10.0.0.7\nexternal-ip=203.0.113.8/10.0.0.8\nexternal-ip=2001:db8::7\n",
    );
    assert_eq!(settings.external_ips[1].private, Some(ip("10.0.0.8")));
    assert_eq!(
        report("external-ip=203.0.113.7\nexternal-ip=2001:db8::7\n"),
        ""
    );
}

#[test]
fn external_addresses_that_contradict() {
    let source = "external-ip=203.0.113.7\n\
                  external-ip=203.0.113.8\n\
                  external-ip=203.0.113.9/10.0.0.9\n\
                  external-ip=203.0.113.7\n\
                  external-ip=2001:db8::7/2001:db8:1::7\n\
                  external-ip=2001:db8::8/2001:db8:1::7\n\
                  external-ip=2001:db8::9\n\
                  external-ip=203.0.113.7/::1\n\
                  external-ip=turn.example.org\n\
                  external-ip=203.0.113.0/24\n\
                  external-ip=0.0.0.0\n";
    assert_snapshot!(failed(source));
}

#[test]
fn external_addresses_without_effect() {
    let source = "relay-ip=10.0.0.7\nexternal-ip=203.0.113.7/10.0.0.8\nexternal-ip=2001:db8::7\n";
    ok(source);
    assert_snapshot!(report(source));
}

#[test]
fn metrics_for_everybody() {
    let settings = ok("prometheus\n");
    let metrics = settings.metrics.unwrap();
    assert_eq!(metrics.address, "127.0.0.1:9641".parse().unwrap());
    assert!(metrics.is_local() && metrics.certificate.is_none());
    assert_eq!(report("prometheus\nprometheus-address=::1\n"), "");
    assert_snapshot!(report("prometheus\nprometheus-address=0.0.0.0\n"));
}

#[test]
fn metrics_that_are_not_served() {
    let source = "prometheus-port=9000\nprometheus-tls\nprometheus-username-labels\n";
    assert_eq!(ok(source).metrics, None);
    assert_snapshot!(report(source));
}

#[test]
fn metrics_that_cannot_be_served() {
    let sources = [
        "prometheus\nprometheus-tls\n",
        "prometheus\nprometheus-tls\nprometheus-cert=/metrics.pem\n",
        "prometheus\nprometheus-path=metrics\nprometheus-port=0\n",
        "prometheus\nprometheus-path=/healthz\n",
        "prometheus\nprometheus-port=3478\n",
        "prometheus\nlistening-ip=192.0.2.1\nprometheus-port=3478\nprometheus-address=0.0.0.0\n",
    ];
    assert_snapshot!(sources.map(failed).join("---\n"));
    ok("prometheus\nlistening-ip=192.0.2.1\nprometheus-port=3478\n");
    ok("prometheus\nno-tcp\nno-tls\nprometheus-port=3478\n");
}

#[test]
fn metrics_over_tls() {
    let own = "prometheus\nprometheus-tls\nprometheus-cert=/m.pem\nprometheus-key=/m.key\n";
    let files = ok(own).metrics.unwrap().certificate.unwrap();
    assert_eq!((files.cert, files.key), ("/m.pem".into(), "/m.key".into()));
    let pair = "prometheus\nprometheus-tls\ncert=/c.pem\npkey=/c.key\n";
    let files = ok(pair).metrics.unwrap().certificate.unwrap();
    assert_eq!((files.cert, files.key), ("/c.pem".into(), "/c.key".into()));
}

#[test]
fn unknown_keys() {
    let source = "no-loopback-peers\n\
                  dh2066\n\
                  prod\n\
                  server_name=turn.example.org\n\
                  TURNSERVER_ENABLED=1\n\
                  software-attribute\n\
                  Realm=example.org\n\
                  --min-port=50000\n\
                  banana=1\n\
                  [section]\n\
                  static_auth_secret=hunter2\n\
                  static-auth-secret:hunter2\n\
                  static-auth-secrethunter2\n\
                  fingerprint#x\n";
    ok(source);
    assert_snapshot!(report(source));
}

#[test]
fn accepted_forms_are_silent() {
    let source = "\u{feff}# comment\r\n\
                  \r\n\
                  \tprod\r\n\
                  stale-nonce = 600\r\n\
                  listening-ip 127.0.0.1\r\n\
                  listening-ip\t::1  \r\n\
                  realm=\"example org\"\r\n\
                  fingerprint=yes\r\n\
                  no-cli\r\n\
                  static-auth-secret = \"quoted-0123456789\"  \r\n";
    let settings = ok(source);
    assert_eq!(addresses(&settings), [ip("127.0.0.1"), ip("::1")]);
    assert_eq!(settings.realm.as_deref(), Some("example org"));
    assert_eq!(settings.secrets[0].expose(), "quoted-0123456789");
    assert!(settings.fingerprint);
    assert_eq!(report(source), "");
}

#[test]
fn bare_stale_nonce_is_the_default() {
    assert_eq!(
        ok("stale-nonce\n").nonce_lifetime,
        Some(Duration::from_secs(600))
    );
    assert_eq!(ok("stale-nonce=0\n").nonce_lifetime, None);
}

#[test]
fn semicolons_and_quotes() {
    let source = "fingerprint;\n\
                  listening-port=3479;\n\
                  no-cli ;\n\
                  realm=example.org;\n\
                  static-auth-secret=0123456789abcdef;\n\
                  static-auth-secret='0123456789abcdef'\n\
                  rest-api-separator=;\n\
                  log-file=\"/var/log/turn.log\"; # text\n";
    let settings = ok(source);
    assert!(settings.fingerprint);
    assert_eq!(settings.listeners[0].port, 3479);
    assert_eq!(settings.realm.as_deref(), Some("example.org;"));
    assert_eq!(settings.rest_separator, ';');
    assert_eq!(settings.secrets[1].expose(), "'0123456789abcdef'");
    assert_eq!(
        settings.log.target,
        LogTarget::File("/var/log/turn.log".into())
    );
    assert_snapshot!(report(source));
}

#[test]
fn quotes_that_are_not_closed() {
    assert_snapshot!(failed(
        "realm=\"example.org\nstatic-auth-secret=\"hunter2\nbanana=\"hunter2\n"
    ));
}

#[test]
fn booleans() {
    let source =
        "fingerprint=never\nno-tcp=once\nno-tls=0\nsecure-stun=tru # x\nuse-auth-secret=0\n";
    let settings = ok(source);
    assert!(!settings.fingerprint && settings.tls && settings.secure_stun);
    assert!(!settings.listens(Transport::Tcp));
    assert_eq!(settings.auth_asked, AuthAsked::Secret);
    assert_snapshot!(report(source));
    assert_snapshot!(
        "booleans_that_are_none",
        failed("fingerprint=banana\nno-auth=-\n")
    );
}

#[test]
fn keys_that_cannot_be_switched_off() {
    assert_snapshot!(report(
        "no-multicast-peers=0\nno-cli=off\ndrop-invalid-packets=no\n"
    ));
}

#[test]
fn nat_behaviour_tests() {
    let with = |lines: &str| {
        ok(&format!(
            "listening-ip=192.0.2.1\nlistening-ip=192.0.2.2\n{lines}"
        ))
    };
    assert_eq!(with("").nat_discovery, None);
    let found = with("rfc5780\nlistening-ip=2001:db8::1\n");
    let found = found.nat_discovery.unwrap();
    assert_eq!((found.port, found.alternate_port), (3478, 3479));
    let ips: Vec<String> = found.ips.iter().map(ToString::to_string).collect();
    assert_eq!(ips, ["192.0.2.1", "192.0.2.2"]);
    let found = with("rfc5780\nalt-listening-port=4000\n").nat_discovery;
    assert_eq!(found.unwrap().alternate_port, 4000);
    assert_snapshot!(report("rfc5780\nlistening-ip=192.0.2.1\n"));
    assert_snapshot!(report(
        "rfc5780\nlistening-ip=192.0.2.1\nlistening-ip=192.0.2.2\nno-udp\n"
    ));
    assert_snapshot!(report("alt-listening-port=4000\n"));
    assert_snapshot!(failed(
        "rfc5780\nlistening-ip=192.0.2.1\nlistening-ip=192.0.2.2\nalt-listening-port=3478\n"
    ));
}

#[test]
fn repeated_keys() {
    let source = "realm=a.example\n\
                  listening-port=3479\n\
                  realm=b.example\n\
                  listening-port=3479\n\
                  listening-ip=127.0.0.1\n\
                  listening-ip=127.0.0.1\n\
                  static-auth-secret=0123456789abcdef\n\
                  static-auth-secret=0123456789abcdef\n\
                  user=alice:one\n\
                  user=alice:two\n\
                  no-cli\n\
                  no-cli\n";
    let settings = ok(source);
    assert_eq!(settings.realm.as_deref(), Some("b.example"));
    assert_eq!(
        (
            addresses(&settings).len(),
            settings.secrets.len(),
            settings.users.len()
        ),
        (1, 1, 1)
    );
    assert_snapshot!(report(source));
}

#[test]
fn lines_that_are_no_text() {
    assert_snapshot!("nul", failed("realm=a\n\0\0\n"));
    let source = "# caf\u{fffd} is fine in a comment\n\
                  realm=caf\u{fffd}\n\
                  listening-port\u{a0}=3478\n\
                  static-auth-secret=hunter2\u{200b}\n\
                  min-port=1\r000\n\
                  fingerprint # caf\u{fffd}\u{a0}\n";
    assert_snapshot!("unseen_characters", failed(source));
}

#[test]
fn long_lines_are_read_in_full() {
    let secret = "x".repeat(2000);
    let source = format!("static-auth-secret={secret}\ncipher-list={secret}\n");
    assert_eq!(ok(&source).secrets[0].expose(), secret);
    assert_snapshot!(report(&source));
}

// compliance: 8656-7.2-25
#[test]
fn ports_that_contradict() {
    assert_snapshot!(
        "ports_upside_down",
        failed("min-port=60000\nmax-port=50000\n")
    );
    assert_snapshot!("highest_port_below_default", failed("max-port=40000\n"));
    let source = "min-port=3000\nmax-port=3999\n";
    assert_eq!(ok(source).relay_ports, 3000..=3999);
    assert_snapshot!("ports_overlap_and_are_few", report(source));
    assert_snapshot!("quota_above_ports", report("total-quota=20000\n"));
    assert_eq!(
        report("min-port=49152\nmax-port=49172\ntotal-quota=21\n"),
        ""
    );
    assert_eq!(report("total-quota=0\nuser-quota=0\n"), "");
}

#[test]
fn authentication_that_contradicts() {
    assert_snapshot!(
        "anonymous_and_credentials",
        failed("no-auth\nlt-cred-mech\n")
    );
    assert_snapshot!(
        "anonymous_and_secret",
        failed("no-auth\nstatic-auth-secret=0123456789abcdef\n")
    );
    assert_snapshot!(
        "accounts_without_any",
        failed("realm=a\nlt-cred-mech\nuserdb=/var/db/turndb\n")
    );
    assert_snapshot!(
        "keys_without_realm",
        failed("user=alice:0x0123456789abcdef0123456789abcdef\n")
    );
    assert_snapshot!(
        "secure_stun_without_credentials",
        failed("no-auth\nsecure-stun\n")
    );
    assert_snapshot!("anonymous", report("no-auth\n"));
    assert_snapshot!(
        "accounts_without_realm",
        report("user=alice:secret-password\n")
    );
    assert_snapshot!("secret_without_secret", report("use-auth-secret\n"));
    assert_snapshot!(
        "secrets_that_are_weak",
        failed(
            "static-auth-secret=north\n\
             static-auth-secret=[your secret key here]\n\
             static-auth-secret=replace-with-a-random-text\n\
             user=bob:replace-with-a-random-text\n\
             static-auth-secret=\n\
             static-auth-secret= # hunter2\n"
        )
    );
}

// compliance: 8656-5-02
#[test]
fn what_may_authenticate() {
    let asked = |source| ok(source).auth_asked;
    assert_eq!(asked(""), AuthAsked::Nothing);
    assert_eq!(asked("realm=a\n"), AuthAsked::Nothing);
    assert_eq!(asked("use-auth-secret\n"), AuthAsked::Secret);
    assert_eq!(
        asked("static-auth-secret=0123456789abcdef\nlt-cred-mech\n"),
        AuthAsked::Secret
    );
    assert_eq!(asked("user=a:b\nrealm=a\n"), AuthAsked::LongTerm);
    assert_eq!(
        asked("lt-cred-mech\nuser=a:b\nrealm=a\n"),
        AuthAsked::LongTerm
    );
    assert_eq!(
        asked("use-auth-secret\nuser=a:b\nrealm=a\n"),
        AuthAsked::Both
    );
    assert_eq!(asked("no-auth\n"), AuthAsked::Anonymous);
}

#[test]
fn service_that_is_not_there() {
    assert_snapshot!("no_listener", failed("no-udp\nno-tcp\n"));
    assert_snapshot!(
        "no_listener_with_certificate",
        failed("no-udp\nno-tcp\nno-tls\ncert=/c\npkey=/k\n")
    );
    assert_snapshot!("nothing_served", failed("stun-only\nno-stun\n"));
    assert_snapshot!(
        "refused_keys",
        failed(
            "oauth\npsql-userdb=\"host=db password=hunter2\"\nCA-file=/etc/ca.pem\nno-udp-relay\nserver-relay\n"
        )
    );
    assert_eq!(
        report(
            "oauth=0\nserver-relay=no\nno-udp-relay=off\nbps-capacity=0\nmax-bps=0\nmobility=0\n"
        ),
        ""
    );
}

#[test]
fn settings_that_surprise_clients() {
    let source = "permission-lifetime=60\nchannel-lifetime=60\nallow-loopback-peers\nallowed-peer-ip=0.0.0.0/0\n\
                  keep-address-family\nallocation-default-address-family=ipv6\nrelay-ip=0.0.0.0\n";
    let settings = ok(source);
    assert_eq!(settings.default_family, DefaultFamily::Ipv6);
    assert!(settings.relay_ips.is_empty());
    assert_snapshot!(report(source));
}

#[test]
fn families() {
    assert_eq!(
        ok("keep-address-family\n").default_family,
        DefaultFamily::Keep
    );
    assert_eq!(
        ok("allocation-default-address-family=keep\nkeep-address-family\n").default_family,
        DefaultFamily::Keep
    );
    assert_eq!(
        ok("allocation-default-address-family=IPv4\n").default_family,
        DefaultFamily::Ipv4
    );
}

#[test]
fn logs() {
    let log = |source| ok(source).log;
    assert_eq!(log("").level, LogLevel::Info);
    assert_eq!(log("verbose\n").level, LogLevel::Debug);
    assert_eq!(log("Verbose\nverbose\n").level, LogLevel::Trace);
    assert_eq!(
        log("Verbose\nlog-min-level=warning\n").level,
        LogLevel::Warn
    );
    assert_eq!(log("log-min-level=debug\n").level, LogLevel::Info);
    assert_eq!(log("log-file=stdout\n").target, LogTarget::Stdout);
    assert_eq!(log("log-file=-\n").target, LogTarget::Stdout);
    assert_eq!(log("log-file=syslog\n").target, LogTarget::Syslog);
    assert_eq!(
        log("log-file=/a\nsimple-log\nno-stdout-log\n").target,
        LogTarget::File("/a".into())
    );
    assert_eq!(
        log("log-file=/a\nlog-file=stdout\n").target,
        LogTarget::Stdout
    );
    assert_eq!(log("log-file=/a\nsyslog\n").target, LogTarget::Syslog);
    assert_snapshot!(report("log-file=/a\nsyslog\n"));
}

#[test]
fn shards() {
    let shards = |source| ok(source).shards.map(usize::from);
    assert_eq!(shards(""), None);
    assert_eq!(shards("relay-threads=0\n"), Some(1));
    assert_eq!(shards("relay-threads=4\ncpus=2\n"), Some(4));
    assert_eq!(shards("cpus=2\n"), Some(2));
    assert_eq!(shards("cpus=0\n"), None);
}

#[test]
fn rate_of_unauthorized_answers() {
    let rate = |source| ok(source).unauthorized_rate.map(u32::from);
    assert_eq!(rate(""), Some(10));
    assert_eq!(
        rate("unauthorized-ratelimit\nunauthorized-ratelimit-rps=50\n"),
        Some(50)
    );
    assert_eq!(
        rate("unauthorized-ratelimit-rps=50\nunauthorized-ratelimit=0\n"),
        None
    );
}

// compliance: 8656-5-02
#[test]
fn accounts_may_stand_before_their_realm() {
    let source = "user=alice:0x0123456789abcdef0123456789abcdef\nlt-cred-mech\nrealm=example.org\n";
    assert_eq!(ok(source).users[0].name, "alice");
    assert_eq!(report(source), "");
}

#[test]
fn differences_from_coturn() {
    let list = |source: &str| {
        let lines = ok(source)
            .differences
            .into_iter()
            .map(|found| match found.line {
                Some(line) => format!("{} (line {line})\n", found.text),
                None => format!("{}\n", found.text),
            });
        lines.collect::<String>()
    };
    assert_snapshot!("differences_open", list("realm=example.org\n"));
    assert_snapshot!(
        "differences_both",
        list(
            "static-auth-secret=0123456789abcdef\nrealm=a\nuser=a:b\nexternal-ip=203.0.113.7/10.0.0.7\n\
             denied-peer-ip=10.0.0.0-10.255.255.255\nallowed-peer-ip=192.168.0.0/16\nsyslog\n"
        )
    );
    assert_eq!(
        list(
            "static-auth-secret=0123456789abcdef\nuser-quota=12\ntotal-quota=1200\nno-tcp-relay\n\
             denied-peer-ip=0.0.0.0-255.255.255.255\ndenied-peer-ip=::/0\nlog-file=stdout\nunauthorized-ratelimit\n\
             max-connections=500\n"
        ),
        ""
    );
    assert_eq!(ok("").differences, []);
}

#[test]
fn command_line_wins_over_the_file() {
    let given = |key: &str, value: Option<&str>| Override {
        key: key.to_owned(),
        value: value.map(str::to_owned),
    };
    let source = "listening-port=3479\nexternal-ip=203.0.113.7\nlistening-ip=127.0.0.1\n";
    let overrides = [
        given("listening-port", Some("3480")),
        given("external-ip", Some("203.0.113.8")),
        given("listening-ip", Some("::1")),
        given("verbose", None),
        given("static-auth-secret", Some("with # and \"quotes\"")),
    ];
    let outcome = turnserver_conf(Path::new("turnserver.conf"), source, &overrides);
    assert_eq!(render(&outcome, source), "");
    let settings = outcome.settings.unwrap();
    assert_eq!(settings.listeners[0].port, 3480);
    assert_eq!(settings.external_ips[0].public, ip("203.0.113.8"));
    assert_eq!(settings.external_ips.len(), 1);
    assert_eq!(addresses(&settings), [ip("127.0.0.1"), ip("::1")]);
    assert_eq!(settings.log.level, LogLevel::Debug);
    assert_eq!(settings.secrets[0].expose(), "with # and \"quotes\"");
}

#[test]
fn command_line_errors() {
    let given = |key: &str, value: &str| Override {
        key: key.to_owned(),
        value: Some(value.to_owned()),
    };
    let overrides = [
        given("listening-prot", "3480"),
        given("min-port", "x"),
        given("denied-peer-ip", "10/8"),
        given("user", "hunter2"),
    ];
    let outcome = turnserver_conf(Path::new("turnserver.conf"), "", &overrides);
    assert_eq!(outcome.settings, None);
    assert_snapshot!(render(&outcome, ""));
}

#[test]
fn coloured() {
    let source = "listening-port=abc\n";
    let outcome = turnserver_conf(Path::new("turnserver.conf"), source, &[]);
    assert_snapshot!(
        outcome.diagnostics[0]
            .render(source, true)
            .replace('\x1b', "ESC")
    );
}

#[track_caller]
fn ok(source: &str) -> Settings {
    let outcome = turnserver_conf(Path::new("turnserver.conf"), source, &[]);
    let text = render(&outcome, source);
    outcome.settings.unwrap_or_else(|| panic!("{text}"))
}

/// The findings of a file that can be started with.
#[track_caller]
fn report(source: &str) -> String {
    let outcome = turnserver_conf(Path::new("turnserver.conf"), source, &[]);
    let text = render(&outcome, source);
    assert!(outcome.settings.is_some(), "{text}");
    text
}

/// The findings of a file that must not be started with.
#[track_caller]
fn failed(source: &str) -> String {
    let outcome = turnserver_conf(Path::new("turnserver.conf"), source, &[]);
    assert_eq!(outcome.settings, None);
    render(&outcome, source)
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

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Addresses that UDP clients are served at.
fn addresses(settings: &Settings) -> Vec<IpAddr> {
    let udp = settings
        .listeners
        .iter()
        .filter(|listener| listener.transport == Transport::Udp);
    udp.filter_map(|listener| listener.address).collect()
}
