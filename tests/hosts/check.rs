//! `turnctl check` on another host than the server's: what is well is said to be, and what was planted is found.

use std::net::IpAddr;
use std::process::{Command, Output};

use turnbuckle_tests::{Authority, Requirement, Server, turnctl};

use crate::{Hosts, SERVER};

#[test]
fn a_good_server_is_said_to_be_good() {
    let Some(site) = Site::new() else { return };
    let server = site.start("");
    let checked = site.check(&server, &[]);
    let text = checked.text();
    assert!(checked.0.status.success(), "{text}");
    let server_ip = SERVER[0];
    for uri in [
        format!("turn:{server_ip}:3478?transport=udp"),
        format!("turn:{server_ip}:3478?transport=tcp"),
        format!("turns:{server_ip}:5349?transport=tcp"),
        format!("turns:{server_ip}:3478?transport=udp"),
    ] {
        let block = checked.block(&uri);
        for said in [
            "answers after",
            "IPv4: allocates 192.0.2.1:",
            "IPv4: this host reaches 192.0.2.1:",
            "IPv6: allocates [2001:db8::1]:",
            "IPv6: this host reaches [2001:db8::1]:",
        ] {
            assert!(block.contains(said), "no `{said}` in\n{text}");
        }
    }
    let tls = checked.block("turns:192.0.2.1:5349?transport=tcp");
    assert!(
        tls.contains("browsers take the certificate for 192.0.2.1"),
        "{text}"
    );
    assert!(
        text.contains("its clock and this host's are less than"),
        "{text}"
    );
    assert!(text.ends_with("Callers are served.\n"), "{text}");
    server.stop();
}

#[test]
fn a_wrong_external_address_is_found() {
    let Some(site) = Site::new() else { return };
    let server = site.start("external-ip=192.0.2.77/192.0.2.1");
    let checked = site.check(&server, &[]);
    checked.finds(
        "nothing reaches 192.0.2.77:",
        "`external-ip` is wrong: set `external-ip=192.0.2.1`",
    );
    server.stop();
}

#[test]
fn a_certificate_that_has_expired_is_found() {
    let Some(site) = Site::new() else { return };
    let expired = site.authority.issue_expired(&["192.0.2.1"]);
    let files = site.authority.write("expired", &expired);
    let server = site.start_with(&files.config(), "");
    let checked = site.check(&server, &[]);
    checked.finds("the certificate expired", "renew it");
    server.stop();
}

#[test]
fn a_certificate_of_an_unknown_authority_is_found() {
    let Some(site) = Site::new() else { return };
    let stranger = Authority::named("Nobody Knows");
    let files = stranger.write("strange", &stranger.issue(&["192.0.2.1"]));
    let server = site.start_with(&files.config(), "");
    let checked = site.check(&server, &[]);
    checked.finds(
        "comes from an authority that browsers do not know",
        "the file with the whole chain",
    );
    server.stop();
}

#[test]
fn closed_ports_are_found() {
    let Some(site) = Site::new() else { return };
    if !Requirement::all_met(&[Requirement::Program("iptables")]) {
        return;
    }
    let server = site.start("");
    let closed = site
        .hosts
        .relay
        .command("iptables")
        .args([
            "-A",
            "INPUT",
            "-p",
            "udp",
            "--dport",
            "49152:65535",
            "-j",
            "DROP",
        ])
        .output()
        .expect("iptables runs");
    assert!(closed.status.success(), "{closed:?}");
    let checked = site.check(&server, &[]);
    checked.finds(
        "though the server itself is reached as 192.0.2.1",
        "let UDP to `min-port` to `max-port`",
    );
    server.stop();
}

#[test]
fn clocks_that_differ_are_found() {
    let Some(site) = Site::new() else { return };
    if !Requirement::all_met(&[Requirement::Program("faketime")]) {
        return;
    }
    let server = site.start("");
    for (offset, said) in [
        (
            "-2h",
            "its clock is more than 60 minutes ahead of this host's",
        ),
        (
            "+2h",
            "its clock is more than 60 minutes behind this host's",
        ),
    ] {
        let checked = site.check(&server, &["faketime", "-f", offset]);
        assert!(!checked.0.status.success());
        let text = checked.text();
        let clock = said
            .split_once(" ahead")
            .or_else(|| said.split_once(" behind"));
        let (start, _) = clock.expect("a way");
        assert!(
            text.contains(start) && text.contains("set their clocks by NTP"),
            "{offset}: {text}"
        );
        let way = if said.contains("ahead") {
            "ahead of"
        } else {
            "behind"
        };
        assert!(text.contains(way), "{offset}: {text}");
    }
    server.stop();
}

#[test]
fn a_secret_that_the_server_does_not_have_is_found() {
    let Some(site) = Site::new() else { return };
    let server = site.start("");
    let config = std::fs::read_to_string(server.config_path()).expect("the file");
    let other = config.replace("hosts-secret", "another-secret");
    std::fs::write(server.config_path(), other).expect("the file can be written");
    let checked = site.check(&server, &[]);
    checked.finds(
        "the server takes no credential made from the secret",
        "the running server has another secret",
    );
    server.stop();
}

/// Two hosts, and an authority that the check is told to trust.
struct Site {
    hosts: Hosts,
    authority: Authority,
}

impl Site {
    fn new() -> Option<Self> {
        Some(Self {
            hosts: Hosts::new()?,
            authority: Authority::new(),
        })
    }

    fn start(&self, config: &str) -> Server {
        let files = self
            .authority
            .write("turn", &self.authority.issue(&["192.0.2.1"]));
        self.start_with(&files.config(), config)
    }

    /// Relays from the first address of each family, over every transport, and lets the other host be a peer.
    fn start_with(&self, certificate: &str, config: &str) -> Server {
        let config = format!(
            "realm=relay.example\nstatic-auth-secret=hosts-secret\nuser-quota=0\nunauthorized-ratelimit=0\ndtls\n\
             relay-ip={}\nrelay-ip={}\nallowed-peer-ip=192.0.2.2\nallowed-peer-ip=2001:db8::2\n{certificate}\n{config}",
            SERVER[0], SERVER[2]
        );
        self.hosts.server(&config).start()
    }

    /// Runs it on the other host, through another program if one is given.
    fn check(&self, server: &Server, through: &[&str]) -> Checked {
        let turnctl = turnctl();
        let turnctl = turnctl.to_str().expect("a path in UTF-8");
        let words: Vec<&str> = through.iter().copied().chain([turnctl]).collect();
        let mut command: Command = self.hosts.client.command(words[0]);
        let name: IpAddr = SERVER[0];
        command
            .args(&words[1..])
            .args(["check", &name.to_string(), "-c"])
            .arg(server.config_path())
            .arg("--ca-file")
            .arg(self.authority.root_file());
        Checked(command.output().expect("turnctl runs"))
    }
}

struct Checked(Output);

impl Checked {
    fn text(&self) -> String {
        let error = String::from_utf8_lossy(&self.0.stderr);
        String::from_utf8_lossy(&self.0.stdout).into_owned() + &error
    }

    /// What is said of one URI.
    fn block(&self, uri: &str) -> String {
        let text = self.text();
        let start = text
            .find(uri)
            .unwrap_or_else(|| panic!("no {uri} in\n{text}"));
        let block = &text[start..];
        block[..block.find("\n\n").unwrap_or(block.len())].to_owned()
    }

    /// Ends with 1, and says what is wrong and what to do.
    fn finds(&self, wrong: &str, help: &str) {
        let text = self.text();
        assert_eq!(self.0.status.code(), Some(1), "{text}");
        assert!(text.contains(wrong), "no `{wrong}` in\n{text}");
        assert!(text.contains(help), "no `{help}` in\n{text}");
        assert!(text.ends_with("Something is wrong.\n"), "{text}");
    }
}
