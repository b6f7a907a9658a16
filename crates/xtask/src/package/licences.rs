//! Names, versions and licence texts of the crates that are linked into the programs, as their licences ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::{Project, output};

/// One text for all; a licence text that several crates share stands once.
pub(super) fn of_dependencies(project: &Project) -> Result<String> {
    let crates = linked(project)?;
    let mut text = String::from("Crates in the programs of Turnbuckle\n\n");
    let mut licences: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for found in &crates {
        writeln!(text, "{}: {}", found.name, found.licence)?;
        for licence in found.texts()? {
            licences.entry(licence).or_default().insert(&found.name);
        }
    }
    for (licence, crates) in licences {
        let crates: Vec<&str> = crates.into_iter().collect();
        write!(text, "\n\n---- {}\n\n{licence}\n", crates.join(", "))?;
    }
    Ok(text)
}

struct Linked {
    /// Name and version.
    name: String,
    licence: String,
    directory: String,
}

impl Linked {
    /// The licence files of the crate, in order.
    fn texts(&self) -> Result<Vec<String>> {
        let mut files: Vec<_> = fs::read_dir(&self.directory)?
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| path.is_file() && is_licence(path))
            .collect();
        files.sort();
        files
            .iter()
            .map(|path| Ok(String::from_utf8_lossy(&fs::read(path)?).trim().to_owned()))
            .collect()
    }
}

fn is_licence(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.to_ascii_uppercase();
    [
        "LICENSE",
        "LICENCE",
        "COPYING",
        "COPYRIGHT",
        "NOTICE",
        "UNLICENSE",
    ]
    .iter()
    .any(|start| name.starts_with(start))
}

/// The crates of the registry that both programs are built from, in order of their names.
fn linked(project: &Project) -> Result<Vec<Linked>> {
    // Fields are split by a tab: it is in no name, licence or path.
    let listed = output(
        Command::new(&project.cargo)
            .current_dir(&project.root)
            .args([
                "tree",
                "--locked",
                "--edges",
                "normal",
                "--prefix",
                "none",
                "--format",
                "{p}\t{l}",
                "-p",
                "turnbuckle-server",
                "-p",
                "turnctl",
            ]),
    )?;
    let names: BTreeSet<(&str, &str)> = listed
        .lines()
        .map(|line| line.trim_end_matches(" (*)"))
        .filter_map(|line| line.split_once('\t'))
        .filter(|(package, _)| !package.contains(" (/"))
        .collect();
    let metadata = output(
        Command::new(&project.cargo)
            .current_dir(&project.root)
            .args(["metadata", "--format-version", "1", "--locked"]),
    )?;
    let metadata: Metadata =
        serde_json::from_str(&metadata).context("cargo metadata is not as expected")?;
    names
        .into_iter()
        .map(|(package, licence)| {
            let (name, rest) = package.split_once(" v").context("a name and a version")?;
            let version = rest.split(' ').next().unwrap_or_default();
            let found = metadata
                .packages
                .iter()
                .find(|found| found.name == name && found.version == version)
                .with_context(|| format!("cargo metadata does not name {package}"))?;
            let directory = found
                .manifest_path
                .rsplit_once('/')
                .context("a manifest lies in a directory")?
                .0;
            Ok(Linked {
                name: format!("{name} {version}"),
                licence: licence.to_owned(),
                directory: directory.to_owned(),
            })
        })
        .collect()
}

#[derive(serde::Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(serde::Deserialize)]
struct Package {
    name: String,
    version: String,
    manifest_path: String,
}
