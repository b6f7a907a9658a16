//! Another user than root (`proc-user`, `proc-group`).

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;
use turnbuckle_tests::{Authority, CertificateFiles, Requirement, Server, turnbuckle};

use crate::site::{NAME, Site};

#[test]
fn root_is_given_up_by_every_thread() {
    if !Requirement::all_met(&[Requirement::Root]) {
        return;
    }
    let authority = Authority::new();
    let files = authority.write("turn", &authority.issue(&[NAME]));
    let directory = files.cert.parent().expect("it lies in a directory");
    fs::set_permissions(directory, Permissions::from_mode(0o755)).unwrap();
    let secret = directory.join("secret");
    fs::write(&secret, "0123456789abcdef0123456789abcdef\n").unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    let config = format!(
        "{}static-auth-secret-file={}\nproc-user=nobody\nproc-group=nogroup\n",
        files.config(),
        secret.display()
    );
    let site = Site::start_as(authority, &config, |builder| builder);
    site.serves(&mut site.tcp());
    site.serves(&mut site.tls());

    let tasks = Path::new("/proc")
        .join(site.server.process_id().to_string())
        .join("task");
    let mut threads = 0;
    for task in fs::read_dir(tasks).unwrap() {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let line = line.unwrap_or_else(|| panic!("no {name} in {status}"));
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(field("Uid:"), ["65534"; 4], "{status}");
        assert_eq!(field("Gid:"), ["65534"; 4], "{status}");
        assert_eq!(field("Groups:"), ["65534"], "{status}");
        for set in ["CapPrm:", "CapEff:"] {
            assert_eq!(field(set), ["0000000000000000"], "{status}");
        }
        threads += 1;
    }
    assert!(threads > 2, "{threads}");

    let log = site.server.log();
    let warnings: Vec<_> = log
        .lines()
        .filter(|line| line.contains(" cannot be read by user nobody"))
        .collect();
    assert!(
        matches!(&warnings[..], [one] if one.contains(&secret.display().to_string())),
        "{warnings:?}"
    );

    let fresh = site.authority.issue(&[NAME]);
    CertificateFiles::replace(&files.cert, &fresh.chain);
    CertificateFiles::replace(&files.key, &fresh.key);
    site.server
        .expect_log("the certificate was replaced", |line| {
            line.contains("the certificate files were replaced: new connections")
        });
    site.server.stop();
}

#[test]
fn the_admin_socket_belongs_to_whom_the_server_goes_on_as() {
    if !Requirement::all_met(&[Requirement::Root]) {
        return;
    }
    let run = |owner: u32| {
        let directory = TempDir::with_prefix("turnbuckle-owner-").expect("a temporary directory");
        let directory = directory.path();
        fs::set_permissions(directory, Permissions::from_mode(0o755)).unwrap();
        chown(directory, Some(owner), Some(owner)).unwrap();
        let socket = directory.join("admin.sock");
        let pid_file = directory.join("turnbuckle.pid");
        // Where other users can run it.
        let turnctl = directory.join("turnctl");
        fs::copy(turnbuckle_tests::turnctl(), &turnctl).unwrap();
        let server = Server::start(&format!(
            "static-auth-secret=0123456789abcdef0123456789abcdef\nproc-user=nobody\nproc-group=nogroup\nadmin-socket={}\npidfile={}\n",
            socket.display(),
            pid_file.display()
        ));
        let made = fs::symlink_metadata(&socket).unwrap();
        assert_eq!((made.uid(), made.gid()), (65534, 65534));
        assert_eq!(made.mode() & 0o777, 0o660);
        for (user, group, admitted) in [
            (65534, 12345, true),
            (12345, 65534, true),
            (12345, 12345, false),
        ] {
            let mut command = Command::new(&turnctl);
            command.args(["version", "--socket"]).arg(&socket);
            let output = command.uid(user).gid(group).output();
            let output = output.expect("turnctl runs");
            assert_eq!(
                output.status.success(),
                admitted,
                "{user} {group} {output:?}"
            );
        }
        let id = format!("{}\n", server.process_id());
        assert_eq!(fs::read_to_string(&pid_file).unwrap(), id);
        server.stop();
        (socket.exists(), fs::read_to_string(&pid_file).ok())
    };
    assert_eq!(
        run(65534),
        (false, None),
        "its own directory is left as it was"
    );
    assert_eq!(
        run(0),
        (true, Some(String::new())),
        "who may not write to the directory cannot remove anything, but names no process any more"
    );
}

#[test]
fn only_root_becomes_somebody_else() {
    let output = refused("proc-user=daemon", NOBODY);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("turnserver.conf, line 1: `proc-user`: only root can"),
        "{text}"
    );
}

#[test]
fn unknown_names_stop_the_start() {
    for (key, what) in [("proc-user", "user"), ("proc-group", "group")] {
        let output = refused(&format!("# first\n{key}=turnbuckle-no-such-name"), None);
        let text = String::from_utf8_lossy(&output.stderr);
        let wanted = format!(
            "turnserver.conf, line 2: `{key}`: this host has no {what} `turnbuckle-no-such-name`"
        );
        assert!(text.contains(&wanted), "{text}");
    }
}

/// Checks a file, as this user where the tests are run by root.
fn refused(config: &str, user: Option<u32>) -> Output {
    let directory = TempDir::with_prefix("turnbuckle-user-").expect("a temporary directory");
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    let file = directory.path().join("turnserver.conf");
    fs::write(&file, config).unwrap();
    let mut command = Command::new(turnbuckle());
    command.args(["--check", "-c"]).arg(&file);
    if let Some(user) = user
        && Requirement::is_root()
    {
        command.uid(user);
    }
    let output = command.output().expect("the server runs");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    output
}

const NOBODY: Option<u32> = Some(65534);
