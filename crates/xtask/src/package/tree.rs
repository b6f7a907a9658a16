//! The files of a package, laid out below a directory as they will lie below `/`. The same for .deb and .rpm.
//!
//! Must not hold what one format alone wants.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Project, licences, output, run_command};

/// A directory that is filled like a root file system.
pub(super) struct Tree {
    pub(super) root: PathBuf,
}

impl Tree {
    /// Everything both formats have in common.
    pub(super) fn stage(project: &Project, root: PathBuf) -> Result<Self> {
        fs::create_dir_all(&root)?;
        let tree = Self { root };
        tree.programs(project)?;
        let unit = project.root.join("packaging/systemd/turnbuckle.service");
        tree.copy(&unit, "usr/lib/systemd/system/turnbuckle.service", 0o644)?;
        let user = project.root.join("packaging/sysusers.d/turnbuckle.conf");
        tree.copy(&user, "usr/lib/sysusers.d/turnbuckle.conf", 0o644)?;
        let first = project.root.join("packaging/first-start");
        tree.copy(
            &first.join("first-start"),
            "usr/lib/turnbuckle/first-start",
            0o755,
        )?;
        tree.copy(
            &first.join("turnserver.conf"),
            "usr/share/turnbuckle/turnserver.conf",
            0o644,
        )?;
        tree.directory("etc/turnbuckle")?;
        tree.manual(project)?;
        tree.completions(project)?;
        tree.documents(project)?;
        Ok(tree)
    }

    /// Copies `from` to `to`, which is relative to the root.
    pub(super) fn copy(&self, from: &Path, to: &str, mode: u32) -> Result<()> {
        let bytes = fs::read(from).with_context(|| format!("{} cannot be read", from.display()))?;
        self.write(to, &bytes, mode)
    }

    /// Writes a file; `to` is relative to the root.
    pub(super) fn write(&self, to: &str, bytes: &[u8], mode: u32) -> Result<()> {
        let path = self.root.join(to);
        if let Some((parent, _)) = to.rsplit_once('/') {
            self.directory(parent)?;
        }
        fs::write(&path, bytes).with_context(|| format!("{} cannot be written", path.display()))?;
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
        Ok(())
    }

    /// Writes a file compressed without a date; `.gz` is put behind `to`.
    pub(super) fn write_compressed(&self, to: &str, bytes: &[u8]) -> Result<()> {
        self.write(to, bytes, 0o644)?;
        run_command(Command::new("gzip").arg("-9n").arg(self.root.join(to)))
    }

    /// Every file, relative to the root and in order.
    pub(super) fn files(&self) -> Result<Vec<String>> {
        let mut files = Vec::new();
        let mut open = vec![self.root.clone()];
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(directory)? {
                let path = entry?.path();
                if path.is_dir() {
                    open.push(path);
                } else {
                    files.push(path.strip_prefix(&self.root)?.display().to_string());
                }
            }
        }
        files.sort();
        Ok(files)
    }

    /// A directory with all above it, each 0755 whatever the umask is.
    pub(super) fn directory(&self, path: &str) -> Result<()> {
        let mut directory = self.root.clone();
        for name in path.split('/') {
            directory.push(name);
            if !directory.exists() {
                fs::create_dir(&directory)?;
                fs::set_permissions(&directory, Permissions::from_mode(0o755))?;
            }
        }
        Ok(())
    }

    /// Both programs without debug information. Their symbols stay, so that a backtrace in a log names functions.
    fn programs(&self, project: &Project) -> Result<()> {
        for program in PROGRAMS {
            let to = format!("usr/bin/{program}");
            self.copy(&project.binaries.join(program), &to, 0o755)?;
            run_command(
                Command::new("strip")
                    .args(["--strip-debug", "--remove-section=.comment"])
                    .arg(self.root.join(&to)),
            )?;
        }
        Ok(())
    }

    fn manual(&self, project: &Project) -> Result<()> {
        let pages = project.fresh("manual")?;
        run_command(turnctl(project).arg("man").arg(&pages))?;
        for entry in fs::read_dir(&pages)? {
            let page = entry?.path();
            let name = page.file_name().unwrap_or_default().to_string_lossy();
            let section = page.extension().unwrap_or_default().to_string_lossy();
            let to = format!("usr/share/man/man{section}/{name}");
            self.write_compressed(&to, &fs::read(&page)?)?;
        }
        fs::remove_dir_all(pages)?;
        Ok(())
    }

    fn completions(&self, project: &Project) -> Result<()> {
        for program in PROGRAMS {
            for (shell, to) in [
                (
                    "bash",
                    format!("usr/share/bash-completion/completions/{program}"),
                ),
                (
                    "zsh",
                    format!("usr/share/zsh/vendor-completions/_{program}"),
                ),
                (
                    "fish",
                    format!("usr/share/fish/vendor_completions.d/{program}.fish"),
                ),
            ] {
                let script = output(turnctl(project).args(["completions", shell, program]))?;
                self.write(&to, script.as_bytes(), 0o644)?;
            }
        }
        Ok(())
    }

    fn documents(&self, project: &Project) -> Result<()> {
        let examples = project.root.join("config");
        for entry in fs::read_dir(&examples)? {
            let file = entry?.path();
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            self.copy(&file, &format!("{DOCUMENTS}/examples/{name}"), 0o644)?;
        }
        for page in ["README.md", "SECURITY.md"] {
            let text = fs::read(project.root.join(page))?;
            self.write_compressed(&format!("{DOCUMENTS}/{page}"), &text)?;
        }
        let dashboards = project.root.join("packaging/grafana");
        if dashboards.is_dir() {
            for entry in fs::read_dir(&dashboards)? {
                let file = entry?.path();
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                self.copy(&file, &format!("{DOCUMENTS}/grafana/{name}"), 0o644)?;
            }
        }
        let licences = licences::of_dependencies(project)?;
        self.write_compressed(&format!("{DOCUMENTS}/third-party"), licences.as_bytes())
    }
}

fn turnctl(project: &Project) -> Command {
    Command::new(project.binaries.join("turnctl"))
}

/// What an operator gets.
pub(super) const PROGRAMS: [&str; 2] = ["turnbuckle", "turnctl"];
/// Where documents go, relative to the root.
pub(super) const DOCUMENTS: &str = "usr/share/doc/turnbuckle";
