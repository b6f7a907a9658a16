//! The .deb on a booted Debian: beside a running coturn, in its place, alone, killed, upgraded, removed.

use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use turnbuckle_tests::{Namespace, Requirement};

use crate::machine::Machine;
use crate::made::{Made, told};

#[test]
fn a_deb_is_made_alike_each_time_and_lintian_finds_nothing() {
    if !Requirement::all_met(&[
        Requirement::Program("dpkg-shlibdeps"),
        Requirement::Program("lintian"),
    ]) {
        return;
    }
    let (first, second) = (Made::of("deb"), Made::of("deb"));
    assert!(
        fs::read(&first.path).unwrap() == fs::read(&second.path).unwrap(),
        "two builds differ"
    );
    let found = Command::new("lintian")
        .args(["--allow-root", "--fail-on", "error,warning"])
        .arg(&first.path)
        .output()
        .unwrap();
    let found = told(&found);
    assert!(found.trim().is_empty(), "{found}");
}

#[test]
fn a_deb_takes_over_from_coturn_and_lives_and_dies() {
    let mut needs = Machine::NEEDS.to_vec();
    needs.push(Requirement::Program("dpkg-shlibdeps"));
    if !Requirement::all_met(&needs) {
        return;
    }
    let made = Made::of("deb");
    let (network, client) = Namespace::linked_pair(&[SERVER], &[CLIENT]);
    let machine = Machine::boot("coturn", &network);
    machine.bring(&made.path);
    let install = format!(
        "dpkg -i /srv/{}",
        made.path.file_name().unwrap().to_str().unwrap()
    );

    beside_coturn(&machine, &install);
    there_and_back(&machine);
    machine.shell("dpkg -P turnbuckle && dpkg -P coturn && rm -f /etc/turnserver.conf");
    alone(&machine, &install, &client);
    kill(&machine, &client);
    upgrade_and_purge(&machine, &install);
}

/// Installed beside a server that runs: nothing of it is touched.
fn beside_coturn(machine: &Machine, install: &str) {
    machine.shell(&format!(
        "printf '%s\\n' realm=turn.example.org use-auth-secret static-auth-secret={SECRET} > /etc/turnserver.conf
         chown root:turnserver /etc/turnserver.conf && chmod 640 /etc/turnserver.conf
         systemctl enable coturn && systemctl restart coturn && systemctl is-active coturn"
    ));
    let said = machine.shell(install);
    assert!(
        said.contains("There is a configuration of coturn"),
        "{said}"
    );
    assert!(said.contains("turnctl migrate"), "{said}");
    assert_eq!(state(machine, "turnbuckle"), "inactive disabled");
    assert_eq!(state(machine, "coturn"), "active enabled");
    machine.shell("test ! -e /etc/turnbuckle/turnserver.conf");
}

fn there_and_back(machine: &Machine) {
    let before = machine.shell(COTURN_FILE);
    let plan = machine.shell("turnctl migrate");
    assert!(plan.contains("Nothing was changed"), "{plan}");
    assert!(plan.contains("SupplementaryGroups=turnserver"), "{plan}");
    assert_eq!(state(machine, "coturn"), "active enabled");

    let done = machine.shell("turnctl migrate --apply");
    assert!(done.contains("a Binding and an allocation"), "{done}");
    assert!(!done.contains(SECRET), "{done}");
    assert_eq!(state(machine, "turnbuckle"), "active enabled");
    assert_eq!(state(machine, "coturn"), "inactive disabled");
    assert_eq!(machine.shell(COTURN_FILE), before);
    let again = machine.shell("turnctl migrate --apply");
    assert!(again.contains("Nothing is left to do"), "{again}");

    let back = machine.shell("turnctl migrate --back --apply");
    assert!(back.contains("a Binding and an allocation"), "{back}");
    assert_eq!(state(machine, "turnbuckle"), "inactive disabled");
    assert_eq!(state(machine, "coturn"), "active enabled");
    assert_eq!(machine.shell(COTURN_FILE), before);
    machine.shell("test ! -e /etc/systemd/system/turnbuckle.service.d");
}

/// On a host without any: it serves, with a secret of its own.
fn alone(machine: &Machine, install: &str, client: &Namespace) {
    let said = machine.shell(install);
    assert!(
        said.contains("wrote /etc/turnbuckle/turnserver.conf"),
        "{said}"
    );
    assert_eq!(state(machine, "turnbuckle"), "active enabled");
    assert_eq!(
        machine.shell("stat -c '%a %U %G' /etc/turnbuckle /etc/turnbuckle/turnserver.conf"),
        "750 root turnbuckle\n640 root turnbuckle"
    );
    assert_eq!(
        machine.shell("stat -c %U /proc/$(systemctl show -P MainPID turnbuckle)"),
        "turnbuckle"
    );
    let check = machine.shell("turnctl config check /etc/turnbuckle/turnserver.conf");
    assert!(check.contains("The file is good"), "{check}");
    let credential = machine.shell("turnctl credentials 1h alice");
    assert!(credential.contains("Username: "), "{credential}");
    for file in [
        "/usr/share/man/man5/turnserver.conf.5.gz",
        "/usr/share/man/man8/turnbuckle.8.gz",
        "/usr/share/bash-completion/completions/turnctl",
        "/usr/lib/sysusers.d/turnbuckle.conf",
    ] {
        machine.shell(&format!("test -f {file}"));
    }
    // 16 is 1.6 of 10.
    let exposure =
        machine.shell("systemd-analyze security --no-pager --threshold=16 turnbuckle.service");
    let exposure = exposure.lines().last().unwrap_or_default().to_owned();
    println!("{exposure}");
    assert!(exposure.contains("Overall exposure level"), "{exposure}");
    answers(client);
}

fn kill(machine: &Machine, client: &Namespace) {
    machine.shell(
        "old=$(systemctl show -P MainPID turnbuckle)
         kill -9 $old
         until new=$(systemctl show -P MainPID turnbuckle) && [ $new != 0 ] && [ $new != $old ] && turnctl detect-ip --stun 127.0.0.1
         do sleep 0.2; done",
    );
    answers(client);
}

/// What the operator wrote outlives upgrade and purge; without it nothing is left but the user.
fn upgrade_and_purge(machine: &Machine, install: &str) {
    let file = "/etc/turnbuckle/turnserver.conf";
    machine.shell(&format!("echo '# mine' >> {file}; cp -p {file} /root/kept"));
    let old = machine.shell("systemctl show -P MainPID turnbuckle");
    machine.shell(install);
    machine.shell(&format!("cmp {file} /root/kept"));
    assert_eq!(state(machine, "turnbuckle"), "active enabled");
    assert_ne!(machine.shell("systemctl show -P MainPID turnbuckle"), old);

    machine.shell("systemctl disable turnbuckle");
    machine.shell(install);
    assert_eq!(state(machine, "turnbuckle"), "active disabled");

    let said = machine.shell("dpkg -P turnbuckle");
    assert!(said.contains("is kept"), "{said}");
    machine.shell(&format!("cmp {file} /root/kept && rm {file}"));
    machine.shell(install);
    machine.shell("dpkg -P turnbuckle");
    assert_eq!(machine.shell(LEFT_BEHIND), "");
}

/// `active enabled` and the like.
fn state(machine: &Machine, unit: &str) -> String {
    machine
        .shell(&format!(
            "systemctl is-active {unit}; systemctl is-enabled {unit}; true"
        ))
        .replace('\n', " ")
}

/// A client on another host asks for its address.
fn answers(client: &Namespace) {
    client.run(|| {
        let socket = UdpSocket::bind((CLIENT, 0)).unwrap();
        socket.connect((SERVER, 3478)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let mut request = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        request.extend_from_slice(b"one binding!");
        socket.send(&request).unwrap();
        let mut response = [0; 128];
        socket.recv(&mut response).expect("an answer");
        assert_eq!(response[..2], [1, 1]);
    });
}

const SERVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 10));
const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 11));
const SECRET: &str = "5b1c0e7f8a3d4c2b9e6f";
/// Everything about coturn's file: owner, mode, times, contents.
const COTURN_FILE: &str =
    "stat -c '%a %U %G %Y' /etc/turnserver.conf; sha256sum /etc/turnserver.conf";
/// Files of this package, but for the archive it came in and dpkg's record of a user.
const LEFT_BEHIND: &str = "find / -xdev -name '*turnbuckle*' -not -path '/proc/*' -not -path '/sys/*' -not -path '/srv/*' -not -path '/run/*'";
