//! Handshakes: versions, application protocols, tickets, names, and what the log says of those that fail.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use rustls::{
    ClientConfig, HandshakeKind, ProtocolVersion, SupportedProtocolVersion,
    version::{TLS12, TLS13},
};

use turnbuckle_tests::Authority;

use crate::certificates::{ALL_VERSIONS, trusting};
use crate::client::{Client, TlsStream};
use crate::site::{NAME, Site, connect, handshake};

#[test]
fn either_version_serves() {
    let site = Site::start();
    for (version, spoken) in [
        (&TLS12, ProtocolVersion::TLSv1_2),
        (&TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let mut client = encrypted(&site, &only(&site, version));
        site.serves(&mut client);
        assert_eq!(client.wire.conn.protocol_version(), Some(spoken));
    }
    site.server.stop();
}

#[test]
fn tls_1_2_can_be_left_out() {
    let site = Site::start_with("no-tlsv1_2\n", |builder| builder);
    let refused = shake(&site, &only(&site, &TLS12)).expect_err("TLS 1.2 is refused");
    assert!(
        refused.to_string().contains("ProtocolVersion"),
        "{refused:?}"
    );
    site.server.expect_log(
        "why the handshake failed, by the name of its alert",
        |line| line.contains("TLS handshake failed") && line.contains("protocol_version"),
    );
    site.serves(&mut encrypted(&site, &only(&site, &TLS13)));
    site.server.stop();
}

// compliance: 7443-1-01
#[test]
fn application_protocols_are_agreed_on_and_never_needed() {
    let site = Site::start();
    let agreed = |offered: &[&[u8]]| {
        let mut config = trusting(&site.authority, ALL_VERSIONS);
        config.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
        let mut client = encrypted(&site, &Arc::new(config));
        site.serves(&mut client);
        client.wire.conn.alpn_protocol().map(<[u8]>::to_vec)
    };
    assert_eq!(agreed(&[]), None);
    assert_eq!(
        agreed(&[b"stun.turn"]).as_deref(),
        Some(b"stun.turn".as_slice())
    );
    let nat = b"stun.nat-discovery".as_slice();
    assert_eq!(agreed(&[b"h2", nat]).as_deref(), Some(nat));
    assert_eq!(agreed(&[b"h2", b"http/1.1"]), None);
    site.server.stop();
}

#[test]
fn sessions_are_taken_up_again() {
    let site = Site::start();
    for version in [&TLS12, &TLS13] {
        let config = only(&site, version);
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut client = encrypted(&site, &config);
            // TLS 1.3 sends its tickets behind the handshake.
            site.serves(&mut client);
            let kind = client.wire.conn.handshake_kind();
            assert_eq!(kind, Some(expected), "{version:?}");
        }
    }
    site.server.stop();
}

#[test]
fn the_certificate_follows_the_name() {
    let authority = Authority::new();
    let first = authority.issue(&["turn.test", "127.0.0.1"]);
    let second = authority.issue(&["relay.test"]);
    let config =
        authority.write("first", &first).config() + &authority.write("second", &second).config();
    let site = Site::start_as(authority, &config, |builder| builder);
    let client: Arc<ClientConfig> = trusting(&site.authority, ALL_VERSIONS).into();
    let seen = |name: &str| {
        let stream = handshake(connect(site.encrypted()), &client, name)?;
        let chain = stream.conn.peer_certificates().expect("a certificate");
        Ok::<_, io::Error>(chain[0].to_vec())
    };
    let of_turn = seen("turn.test").expect("the first certificate");
    let of_relay = seen("relay.test").expect("the second certificate");
    assert_ne!(of_turn, of_relay);
    // An address is not sent as a name, so the first certificate comes.
    assert_eq!(seen("127.0.0.1").expect("the first certificate"), of_turn);
    seen("unknown.test").expect_err("no certificate has this name");
    site.server.stop();
}

#[test]
fn a_client_that_trusts_nobody_is_explained() {
    let site = Site::start();
    let stranger = Arc::new(trusting(&Authority::named("Another Root"), ALL_VERSIONS));
    shake(&site, &stranger).expect_err("the authority is unknown");
    let line = site
        .server
        .expect_log("the alert of the client by its name", |line| {
            line.contains("TLS handshake failed") && line.contains("unknown_ca")
        });
    assert!(line.contains("libwebrtc"), "{line}");
    site.server.stop();
}

#[test]
fn without_a_certificate_tls_is_turned_away() {
    let server = turnbuckle_tests::Server::start("realm=relay.example\nlt-cred-mech\nuser=a:b");
    let config = Arc::new(trusting(&Authority::new(), ALL_VERSIONS));
    let refused = handshake(connect(server.address()), &config, NAME);
    let refused = refused.expect_err("there is no certificate");
    assert!(
        matches!(
            refused.kind(),
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
        ),
        "{refused:?}"
    );
    server.expect_log("why", |line| line.contains("there is no certificate"));
    Client::new(connect(server.address())).mapped_address();
    server.stop();
}

#[test]
fn findings_about_certificates_are_told_at_start() {
    let authority = Authority::new();
    let lone = authority.issue(&[NAME]).without_intermediate();
    let expired = authority.issue_expired(&["old.test"]);
    let config =
        authority.write("lone", &lone).config() + &authority.write("expired", &expired).config();
    let site = Site::start_as(authority, &config, |builder| builder);
    let log = site.server.log();
    let complaint = |words: &[&str]| {
        log.lines()
            .any(|line| words.iter().all(|word| line.contains(word)))
    };
    assert!(
        complaint(&["WARN", "lone.cert.pem", "intermediate"]),
        "{log}"
    );
    assert!(
        complaint(&["ERROR", "expired.cert.pem", "2021-01-01"]),
        "{log}"
    );
    site.server.stop();
}

fn only(site: &Site, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    trusting(&site.authority, &[version]).into()
}

fn shake(site: &Site, config: &Arc<ClientConfig>) -> io::Result<TlsStream> {
    handshake(connect(site.encrypted()), config, NAME)
}

fn encrypted(site: &Site, config: &Arc<ClientConfig>) -> Client<TlsStream> {
    Client::new(shake(site, config).expect("the handshake succeeds"))
}
