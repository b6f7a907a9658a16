//! The .rpm: what it holds, what it runs, and its files laid down below a directory.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use turnbuckle_tests::Requirement;

use crate::made::{Made, told};

#[test]
fn an_rpm_is_laid_down_and_says_what_it_needs() {
    if !Requirement::all_met(&[Requirement::Root, Requirement::Program("rpmbuild")]) {
        return;
    }
    let made = Made::of("rpm");
    let files = query(&made.path, &["--list"]);
    for file in [
        "/etc/turnbuckle",
        "/usr/bin/turnbuckle",
        "/usr/bin/turnctl",
        "/usr/lib/systemd/system/turnbuckle.service",
        "/usr/lib/sysusers.d/turnbuckle.conf",
        "/usr/share/man/man5/turnserver.conf.5.gz",
        "/usr/share/man/man8/turnctl.8.gz",
        "/usr/share/zsh/site-functions/_turnctl",
        "/usr/share/doc/turnbuckle/LICENSE-MIT",
    ] {
        assert!(
            files.lines().any(|line| line == file),
            "no {file} in\n{files}"
        );
    }
    let owners = query(
        &made.path,
        &[
            "--queryformat",
            "[%{FILENAMES} %{FILEMODES:perms} %{FILEUSERNAME} %{FILEGROUPNAME}\\n]",
        ],
    );
    assert!(
        owners
            .lines()
            .any(|line| line == "/etc/turnbuckle drwxr-x--- root turnbuckle"),
        "{owners}"
    );
    let needs = query(&made.path, &["--requires"]);
    assert!(needs.contains("libc.so.6(GLIBC_"), "{needs}");
    assert!(needs.contains("systemd"), "{needs}");
    let scripts = query(&made.path, &["--scripts"]);
    for line in [
        "systemd-sysusers",
        "/usr/lib/turnbuckle/first-start",
        "try-restart",
    ] {
        assert!(scripts.contains(line), "no {line} in\n{scripts}");
    }

    let root = TempDir::new().unwrap();
    told(
        &Command::new("rpm")
            .arg("--root")
            .arg(root.path())
            .args(["--install", "--nodeps", "--noscripts", "--nosignature"])
            .arg(&made.path)
            .output()
            .unwrap(),
    );
    let installed = root.path().join("usr/bin/turnctl");
    assert_eq!(
        installed.metadata().unwrap().permissions().mode() & 0o7777,
        0o755
    );
    let version = told(&Command::new(&installed).arg("--version").output().unwrap());
    assert!(version.starts_with("turnctl "), "{version}");
}

#[test]
fn an_rpm_is_made_alike_each_time() {
    if !Requirement::all_met(&[Requirement::Program("rpmbuild")]) {
        return;
    }
    let (first, second) = (Made::of("rpm"), Made::of("rpm"));
    let digests = |made: &Made| {
        query(
            &made.path,
            &["--queryformat", "%{SHA256HEADER} %{PAYLOADDIGEST}"],
        )
    };
    assert_eq!(digests(&first), digests(&second));
}

fn query(package: &Path, what: &[&str]) -> String {
    told(
        &Command::new("rpm")
            .args(["--query", "--package", "--nosignature"])
            .args(what)
            .arg(package)
            .output()
            .unwrap(),
    )
}
