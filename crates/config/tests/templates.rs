//! Files as seven widely used deployments write them: each is started with, and what is said about it is held as a
//! snapshot.

use std::path::Path;

use insta::assert_snapshot;
use turnbuckle_config::{
    AuthAsked, DefaultFamily, LogTarget, Settings, Severity, Transport, turnserver_conf,
};

#[test]
fn synapse() {
    let (settings, report) = read("synapse.conf");
    assert_eq!(settings.auth_asked, AuthAsked::Secret);
    assert_eq!(settings.user_quota.unwrap().get(), 12);
    assert_eq!(settings.external_ips.len(), 2);
    assert_eq!(settings.peers.denied.len(), 21);
    assert_eq!(settings.peers.allowed.len(), 1);
    assert!(settings.serves_tls() && settings.tls12);
    assert_eq!(
        settings.certificates[0].key,
        Path::new("/etc/letsencrypt/live/turn.example.org/privkey.pem")
    );
    assert_snapshot!(report);
}

#[test]
fn nextcloud_talk() {
    let (settings, report) = read("nextcloud-talk.conf");
    assert_eq!(settings.auth_asked, AuthAsked::Secret);
    assert_eq!(settings.total_quota, None);
    assert_eq!(settings.nonce_lifetime.unwrap().as_secs(), 600);
    assert!(settings.fingerprint);
    assert_snapshot!(report);
}

#[test]
fn jitsi() {
    let (settings, report) = read("jitsi.conf");
    assert_eq!(ports(&settings, Transport::Udp), [4446]);
    assert_eq!(settings.default_family, DefaultFamily::Keep);
    assert!(!settings.listens(Transport::Tcp) && settings.serves_tls());
    assert_eq!(ports(&settings, Transport::Tls), [4445]);
    assert_snapshot!(report);
}

#[test]
fn bigbluebutton() {
    let (settings, report) = read("bigbluebutton.conf");
    assert_eq!(settings.relay_ports, 32769..=65535);
    assert!(
        settings
            .peers
            .denied
            .iter()
            .any(|rule| rule.contains("2001:db8::1".parse().unwrap()))
    );
    assert_snapshot!(report);
}

#[test]
fn matrix_docker_ansible() {
    let (settings, report) = read("matrix-docker-ansible.conf");
    assert_eq!(settings.relay_ports, 49152..=49172);
    assert_eq!(settings.log.target, LogTarget::Stdout);
    assert!(settings.listens(Transport::Tcp) && !settings.tls && !settings.dtls);
    assert_snapshot!(report);
}

#[test]
fn nixos() {
    let (settings, report) = read("nixos.conf");
    assert!(settings.secure_stun && !settings.anonymous);
    assert!(settings.listens(Transport::Udp) && !settings.listens(Transport::Tcp));
    assert!(settings.serves_tls() && !settings.dtls);
    assert_eq!(settings.log.target, LogTarget::Syslog);
    assert!(!settings.log.stdout_copy);
    assert_snapshot!(report);
}

#[test]
fn debian() {
    let (settings, report) = read("debian.conf");
    assert_eq!(settings.auth_asked, AuthAsked::Nothing);
    assert_snapshot!(report);
}

fn ports(settings: &Settings, transport: Transport) -> Vec<u16> {
    let of_transport = settings
        .listeners
        .iter()
        .filter(|listener| listener.transport == transport);
    of_transport.map(|listener| listener.port).collect()
}

/// The settings of a template, and what is said about it: findings, then differences.
#[track_caller]
fn read(name: &str) -> (Settings, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/templates")
        .join(name);
    let source = std::fs::read_to_string(path).unwrap();
    let outcome = turnserver_conf(Path::new(name), &source, &[]);
    let mut report = String::new();
    for found in &outcome.diagnostics {
        assert_ne!(
            found.severity,
            Severity::Error,
            "{}",
            found.render(&source, false)
        );
        report += &found.render(&source, false);
        report += "\n";
    }
    let settings = outcome.settings.unwrap();
    for found in &settings.differences {
        report += &format!("otherwise than coturn: {}\n", found.text);
    }
    (settings, report)
}
