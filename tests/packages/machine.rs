//! A Debian of its own with a booted systemd, in namespaces of this host.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use tempfile::TempDir;
use turnbuckle_tests::{Namespace, Process, Requirement, Signal};

use crate::made::told;

/// Stopped and deleted when dropped.
pub(crate) struct Machine {
    /// The first process, as this host numbers it.
    leader: u32,
    process: Process,
    directory: TempDir,
}

impl Machine {
    /// What this takes of the host.
    pub(crate) const NEEDS: [Requirement; 4] = [
        Requirement::Root,
        Requirement::Program("debootstrap"),
        Requirement::Program("systemd-nspawn"),
        Requirement::Program("ip"),
    ];

    /// Sets up this host's release of Debian with `packages`, and boots it in a network.
    pub(crate) fn boot(packages: &str, network: &Namespace) -> Self {
        let directory = TempDir::with_prefix("turnbuckle-machine-").unwrap();
        let root = directory.path().join("root");
        told(
            &Command::new("debootstrap")
                .arg("--variant=minbase")
                .arg(format!("--include=systemd,systemd-sysv,{packages}"))
                .arg(release())
                .arg(&root)
                .output()
                .unwrap(),
        );
        let socket = directory.path().join("notify");
        let ready = UnixDatagram::bind(&socket).unwrap();
        ready.set_read_timeout(Some(BOOT_DEADLINE)).unwrap();
        let mut command = Command::new("systemd-nspawn");
        command
            .args([
                "--boot",
                "--register=no",
                "--console=pipe",
                "--notify-ready=yes",
            ])
            .arg(format!("--directory={}", root.display()))
            .arg(format!(
                "--network-namespace-path={}",
                network.path().display()
            ))
            .env("NOTIFY_SOCKET", &socket);
        if !Path::new("/run/systemd/system").exists() {
            command.arg("--keep-unit");
        }
        let process = Process::start(&mut command);
        let mut leader = None;
        let mut buffer = [0; 1024];
        loop {
            let Ok(len) = ready.recv(&mut buffer) else {
                panic!("the system did not start:\n{}", process.output());
            };
            let message = String::from_utf8_lossy(&buffer[..len]);
            for line in message.lines() {
                if let Some(pid) = line.strip_prefix("X_NSPAWN_LEADER_PID=") {
                    leader = Some(pid.parse().unwrap());
                }
            }
            if let (Some(leader), true) = (leader, message.lines().any(|line| line == "READY=1")) {
                return Self {
                    leader,
                    process,
                    directory,
                };
            }
        }
    }

    /// Copies a file of this host into `/srv`.
    pub(crate) fn bring(&self, file: &Path) {
        let to = self.directory.path().join("root/srv");
        fs::copy(file, to.join(file.file_name().unwrap())).unwrap();
    }

    /// What a shell prints that runs `script` as root; standard error too.
    pub(crate) fn shell(&self, script: &str) -> String {
        let output = self.try_shell(script);
        assert!(
            output.status.success(),
            "{script}\n{}\n{}",
            String::from_utf8_lossy(&output.stdout),
            self.journal()
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// As [`Machine::shell`], whatever the exit status.
    pub(crate) fn try_shell(&self, script: &str) -> Output {
        Command::new("nsenter")
            .arg(format!("--target={}", self.leader))
            .args(["--all", "--root", "--wd", "--", "env", "-i"])
            .arg("PATH=/usr/sbin:/usr/bin:/sbin:/bin")
            .arg("DEBIAN_FRONTEND=noninteractive")
            .args(["timeout", "60", "sh", "-c"])
            .arg(format!("exec 2>&1; {script}"))
            .output()
            .unwrap()
    }

    fn journal(&self) -> String {
        let output = self.try_shell("journalctl --no-pager -q -n 60");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Killing the first process ends all; nspawn then takes down what it has made.
        let leader = format!("{}", self.leader);
        let _ = Command::new("kill").args(["-KILL", &leader]).status();
        if !std::thread::panicking() {
            self.process.wait(BOOT_DEADLINE);
        } else {
            self.process.signal(Signal::TERM);
        }
        // The two groups that it splits the caller's in; the kernel refuses while a process is in them.
        for hierarchy in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
            for group in ["payload", "supervisor"] {
                let _ = Command::new("find")
                    .arg(Path::new(hierarchy).join(group))
                    .args(["-depth", "-type", "d", "-exec", "rmdir", "{}", ";"])
                    .output();
            }
        }
    }
}

/// The release of Debian that this host is.
fn release() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap();
    text.lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .expect("a release of Debian")
        .to_owned()
}

const BOOT_DEADLINE: Duration = Duration::from_secs(60);
