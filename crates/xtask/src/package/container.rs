//! What a container image is built from: a Containerfile and a root file system with the two programs, the libraries they
//! are linked to, and nothing else. No engine is needed to make it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::tree::{PROGRAMS, Tree};
use super::{Project, output, run_command};

/// Fills the directory and returns where it is.
pub(super) fn build(project: &Project) -> Result<PathBuf> {
    let context = project.fresh("container")?;
    let source = project.root.join("packaging/container");
    fs::copy(source.join("Containerfile"), context.join("Containerfile"))?;
    let tree = Tree {
        root: context.join("rootfs"),
    };
    fs::create_dir(&tree.root)?;
    let mut libraries = BTreeSet::new();
    for program in PROGRAMS {
        let path = project.binaries.join(program);
        libraries.extend(linked(&path)?);
        let to = format!("usr/bin/{program}");
        tree.copy(&path, &to, 0o755)?;
        run_command(
            Command::new("strip")
                .arg("--strip-debug")
                .arg(tree.root.join(&to)),
        )?;
    }
    for library in libraries {
        let to = library.trim_start_matches('/');
        tree.copy(Path::new(&library), to, 0o755)?;
    }
    for name in ["passwd", "group", "nsswitch.conf"] {
        tree.copy(&source.join(name), &format!("etc/{name}"), 0o644)?;
    }
    for directory in [
        "dev",
        "etc/turnbuckle",
        "proc",
        "run/turnbuckle",
        "sys",
        "tmp",
    ] {
        tree.directory(directory)?;
    }
    for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
        tree.copy(
            &project.root.join(licence),
            &format!("usr/share/doc/turnbuckle/{licence}"),
            0o644,
        )?;
    }
    let licences = super::licences::of_dependencies(project)?;
    tree.write_compressed("usr/share/doc/turnbuckle/third-party", licences.as_bytes())?;
    Ok(context)
}

/// Paths of the libraries that a program is linked to, the loader among them.
fn linked(program: &Path) -> Result<Vec<String>> {
    let told = output(Command::new("ldd").arg(program))?;
    let mut paths = Vec::new();
    for line in told.lines() {
        if line.contains("not found") {
            bail!(
                "{} needs a library that is not here: {line}",
                program.display()
            );
        }
        // `name => /path (0x…)`, the loader as `/path (0x…)`, and what the kernel brings without a path.
        let path = line.split(' ').find(|word| word.trim().starts_with('/'));
        paths.extend(path.map(|path| path.trim().to_owned()));
    }
    if paths.is_empty() && !told.contains("statically linked") {
        return Err(std::io::Error::other(told)).context("ldd names no libraries");
    }
    Ok(paths)
}
