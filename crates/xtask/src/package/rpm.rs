//! The .rpm: the staged tree, a filled-in spec file, and `rpmbuild`, which finds out what libraries are needed.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::tree::{DOCUMENTS, Tree};
use super::{Project, run_command};

/// Builds the package for the architecture of this host and returns where it is.
pub(super) fn build(project: &Project) -> Result<PathBuf> {
    let work = project.fresh("rpm")?;
    let tree = Tree::stage(project, work.join("stage"))?;
    for licence in ["LICENSE-MIT", "LICENSE-APACHE", "CHANGELOG.md"] {
        tree.copy(
            &project.root.join(licence),
            &format!("{DOCUMENTS}/{licence}"),
            0o644,
        )?;
    }
    // Where rpm's world has them.
    let completions = tree.root.join("usr/share/zsh/vendor-completions");
    fs::rename(&completions, completions.with_file_name("site-functions"))?;
    let files: Vec<String> = tree
        .files()?
        .into_iter()
        .map(|file| format!("/{file}"))
        .collect();
    let users = fs::read_to_string(project.root.join("packaging/sysusers.d/turnbuckle.conf"))?;
    let spec = project.fill(
        "packaging/rpm/turnbuckle.spec",
        &[
            ("@STAGE@", &tree.root.display().to_string()),
            ("@SYSUSERS@", users.trim_end()),
            ("@FILES@", &files.join("\n")),
        ],
    )?;
    fs::write(work.join("turnbuckle.spec"), spec)?;
    let define = |name: &str, value: &str| ["--define".to_owned(), format!("{name} {value}")];
    run_command(
        Command::new("rpmbuild")
            .arg("-bb")
            .arg("--quiet")
            .args(define("_topdir", &work.display().to_string()))
            .args(define("_dbpath", &work.join("db").display().to_string()))
            .args(define("_buildhost", "turnbuckle"))
            .args(define("use_source_date_epoch_as_buildtime", "1"))
            .args(define("clamp_mtime_to_source_date_epoch", "1"))
            .arg(work.join("turnbuckle.spec"))
            .env("SOURCE_DATE_EPOCH", project.epoch.to_string())
            .stdin(Stdio::null())
            .stdout(std::io::stderr()),
    )?;
    let architecture = env::consts::ARCH;
    let name = format!("turnbuckle-{}-1.{architecture}.rpm", project.version);
    let package = project.output.join(&name);
    fs::rename(work.join("RPMS").join(architecture).join(&name), &package)
        .context("rpmbuild says it worked but the package is not there")?;
    fs::remove_dir_all(work)?;
    Ok(package)
}
