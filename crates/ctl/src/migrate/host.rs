//! The host that is changed over: its services, its users, and which files the server's user may read.
//!
//! Must change nothing but through `systemctl`.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use turnbuckle_config::Files;

use crate::failure::Failure;

/// Files lie below a directory, which is `/` but for tests; services are asked about through `systemctl` on the search path.
pub(crate) struct Host {
    root: PathBuf,
}

impl Host {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// Where a file of the host is for this process.
    pub(super) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    pub(super) fn exists(&self, path: impl AsRef<Path>) -> bool {
        self.path(path).exists()
    }

    pub(super) fn is_root(&self) -> bool {
        fs::metadata("/proc/self").is_ok_and(|this| this.uid() == 0)
    }

    /// Runs `systemctl` and waits for it.
    pub(super) fn systemctl(&self, arguments: &[&str]) -> Result<String, Failure> {
        let shown = arguments.join(" ");
        let output = Command::new("systemctl")
            .args(arguments)
            .output()
            .map_err(|error| {
                Failure::new(format!("systemctl cannot be run: {error}"))
                    .help("this command is for hosts whose services systemd runs")
            })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let told = String::from_utf8_lossy(&output.stderr);
        Err(Failure::new(format!(
            "`systemctl {shown}` failed: {}",
            told.trim()
        )))
    }

    /// What systemd knows of a service.
    pub(super) fn service(&self, unit: &str) -> Result<Service, Failure> {
        let told = self.systemctl(&[
            "show",
            "--property=LoadState,ActiveState,UnitFileState,ExecStart",
            unit,
        ])?;
        let value = |name: &str| {
            told.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
                .unwrap_or_default()
        };
        Ok(Service {
            unit: unit.to_owned(),
            is_loaded: value("LoadState") == "loaded",
            is_masked: value("LoadState") == "masked",
            is_active: matches!(value("ActiveState"), "active" | "activating" | "reloading"),
            is_enabled: value("UnitFileState").starts_with("enabled"),
            configuration: configuration(value("ExecStart")),
        })
    }

    /// Number of a user and of its own group.
    pub(super) fn user(&self, name: &str) -> Option<(u32, u32)> {
        let users = fs::read_to_string(self.path("/etc/passwd")).ok()?;
        let mut fields = users
            .lines()
            .map(|line| line.split(':'))
            .find_map(|mut fields| (fields.next() == Some(name)).then_some(fields))?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some((uid, gid))
    }

    /// Name of a group, or its number where it has none.
    pub(super) fn group_name(&self, gid: u32) -> String {
        let groups = fs::read_to_string(self.path("/etc/group")).unwrap_or_default();
        groups
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find(|fields| fields.get(2).is_some_and(|found| *found == gid.to_string()))
            .and_then(|fields| fields.first().map(|&name| name.to_owned()))
            .unwrap_or_else(|| gid.to_string())
    }

    /// Whether a user may read a file, going by what the kernel says: modes, groups, access lists and directories. An error is
    /// that it cannot be tried.
    pub(super) fn is_readable(
        &self,
        path: &Path,
        user: (u32, u32),
        groups: &[u32],
    ) -> Result<bool, Failure> {
        let groups: Vec<String> = groups.iter().map(u32::to_string).collect();
        let mut command = Command::new("setpriv");
        command.args([format!("--reuid={}", user.0), format!("--regid={}", user.1)]);
        match groups.is_empty() {
            true => command.arg("--clear-groups"),
            false => command.arg(format!("--groups={}", groups.join(","))),
        };
        command.args(["test", "-r"]).arg(self.path(path));
        let status = command.status().map_err(|error| {
            Failure::new(format!(
                "setpriv, which tries what a user may read, cannot be run: {error}"
            ))
            .help("it is in the package util-linux")
        })?;
        Ok(status.success())
    }

    /// The groups other than root's of a file and of the directories above it: those that may let a user in.
    pub(super) fn groups_of(&self, path: &Path) -> Vec<u32> {
        let mut groups: Vec<u32> = path
            .ancestors()
            .filter_map(|path| fs::metadata(self.path(path)).ok())
            .map(|found| found.gid())
            .filter(|&gid| gid != 0)
            .collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }
}

impl Files for Host {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(self.path(path))
    }

    fn credentials_directory(&self) -> Option<PathBuf> {
        None
    }
}

/// A unit of systemd.
#[derive(Debug)]
pub(crate) struct Service {
    pub(super) unit: String,
    pub(super) is_loaded: bool,
    pub(super) is_masked: bool,
    pub(super) is_active: bool,
    pub(super) is_enabled: bool,
    /// What stands behind `-c` in its command.
    pub(super) configuration: Option<PathBuf>,
}

impl Service {
    pub(super) fn describe(&self) -> String {
        if self.is_masked {
            return format!("{} is masked", self.unit);
        }
        if !self.is_loaded {
            return format!("{} is not installed", self.unit);
        }
        format!(
            "{} is {} and {}",
            self.unit,
            if self.is_active {
                "running"
            } else {
                "not running"
            },
            if self.is_enabled {
                "enabled"
            } else {
                "not enabled"
            }
        )
    }
}

/// `{ path=/usr/bin/turnserver ; argv[]=/usr/bin/turnserver -c FILE --pidfile= ; … }`
fn configuration(exec_start: &str) -> Option<PathBuf> {
    let (_, arguments) = exec_start.split_once("argv[]=")?;
    let arguments = arguments.split(" ; ").next()?;
    let mut words = arguments.split(' ');
    while let Some(word) = words.next() {
        if word == "-c" {
            return words.next().map(PathBuf::from);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_command_is_found() {
        let told = "{ path=/usr/bin/turnserver ; argv[]=/usr/bin/turnserver -c /etc/turn.conf --pidfile= ; ignore_errors=no }";
        assert_eq!(configuration(told), Some("/etc/turn.conf".into()));
        assert_eq!(configuration("{ argv[]=/usr/bin/turnserver -n ; }"), None);
        assert_eq!(configuration(""), None);
    }
}
