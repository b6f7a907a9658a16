//! What a container image is built from: the file, and the root file system run as an engine runs it, without an engine.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::time::Duration;

use turnbuckle_tests::{Namespace, Process, Requirement};

use crate::made::{Made, told};

#[test]
fn a_container_serves_without_root_or_a_writable_file() {
    if !Requirement::all_met(&[
        Requirement::Root,
        Requirement::Program("ip"),
        Requirement::Program("setpriv"),
        Requirement::Program("unshare"),
    ]) {
        return;
    }
    let made = Made::of("container");
    let file = fs::read_to_string(made.path.join("Containerfile")).unwrap();
    let entry = words(&file, "ENTRYPOINT");
    let health = words(&file, "HEALTHCHECK");
    assert!(file.contains("\nUSER 65532:65532\n"), "{file}");

    let (inside, outside) = Namespace::linked_pair(&[INSIDE], &[OUTSIDE]);
    // A STUN server on another host, for the container to ask where it is.
    let stun = Process::start(outside.command(turnbuckle_tests::turnbuckle()).args([
        "-n",
        "-L",
        &OUTSIDE.to_string(),
    ]));
    stun.wait_for_line(DEADLINE, |line| line.contains("ready"))
        .expect("the other server starts");

    let root = made.path.join("rootfs");
    let confined = |words: &[String]| {
        let mut command = inside.command("unshare");
        command
            .args([
                "--mount",
                "--fork",
                "--kill-child",
                "sh",
                "-c",
                CONFINED,
                "sh",
            ])
            .arg(&root)
            .args(words)
            .env("DETECT_EXTERNAL_IP", "yes")
            .env("DETECT_STUN_SERVER", OUTSIDE.to_string());
        command
    };
    let mut arguments = entry.clone();
    arguments.extend([
        "-n".to_owned(),
        "--static-auth-secret=of-a-test-0123456789".to_owned(),
    ]);
    let server = Confined(Process::start(&mut confined(&arguments)));
    let server = &server.0;
    if server
        .wait_for_line(DEADLINE, |line| line.contains("ready"))
        .is_none()
    {
        panic!("the container does not serve:\n{}", server.output());
    }
    assert!(
        server.output().contains(&INSIDE.to_string()),
        "no external-ip in\n{}",
        server.output()
    );
    let seen = told(&confined(&health).output().unwrap());
    assert_eq!(seen.trim(), "127.0.0.1");

    let refused = confined(&["/usr/bin/turnctl".to_owned(), "run".to_owned()])
        .env_remove("DETECT_STUN_SERVER")
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(error.contains("DETECT_STUN_SERVER"), "{error}");
}

/// Ends what it has started, too: that dies with its parent only until it becomes another user.
struct Confined(Process);

impl Drop for Confined {
    fn drop(&mut self) {
        let id = self.0.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        for child in children.unwrap_or_default().split_whitespace() {
            // It may be gone already.
            let _ = Command::new("kill").args(["-KILL", child]).status();
        }
    }
}

/// The JSON list behind an instruction of the Containerfile.
fn words(file: &str, instruction: &str) -> Vec<String> {
    let line = file
        .lines()
        .find(|line| line.starts_with(instruction))
        .unwrap_or_else(|| panic!("no {instruction} in\n{file}"));
    let list = &line[line.find('[').expect("a list")..];
    serde_json::from_str(list).unwrap()
}

/// The root file system read-only, a number for a user, and no way to more: as `--read-only --security-opt=no-new-privileges`
/// has it.
const CONFINED: &str = "root=$1; shift
mount --make-rprivate / && mount --bind \"$root\" \"$root\" && mount -t proc proc \"$root/proc\" &&
mount -o remount,bind,ro \"$root\" && exec setpriv --no-new-privs chroot --userspec=65532:65532 --groups= \"$root\" \"$@\"";
const INSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 20));
const OUTSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 21));
const DEADLINE: Duration = Duration::from_secs(20);
