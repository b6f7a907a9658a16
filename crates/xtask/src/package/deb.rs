//! The .deb: a staged tree, control files, and `dpkg-deb`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::tree::{DOCUMENTS, PROGRAMS, Tree};
use super::{MAINTAINER, Project, output, run_command};

/// Builds the package for the architecture of this host and returns where it is.
pub(super) fn build(project: &Project) -> Result<PathBuf> {
    let architecture = output(Command::new("dpkg").arg("--print-architecture"))?;
    let architecture = architecture.trim();
    let tree = Tree::stage(project, project.fresh("deb")?)?;
    let licence = debian_text(&fs::read_to_string(project.root.join("LICENSE-MIT"))?);
    let copyright = project.fill(
        "packaging/debian/copyright",
        &[("@LICENSE_MIT@", licence.trim_end())],
    )?;
    tree.write(
        &format!("{DOCUMENTS}/copyright"),
        copyright.as_bytes(),
        0o644,
    )?;
    tree.write_compressed(
        &format!("{DOCUMENTS}/changelog"),
        changelog(project)?.as_bytes(),
    )?;
    let overrides = project.root.join("packaging/debian/lintian-overrides");
    tree.copy(&overrides, "usr/share/lintian/overrides/turnbuckle", 0o644)?;

    let control = control_files(project, &tree, architecture)?;
    for (name, text, mode) in control {
        tree.write(&format!("DEBIAN/{name}"), text.as_bytes(), mode)?;
    }
    let package = project
        .output
        .join(format!("turnbuckle_{}_{architecture}.deb", project.version));
    run_command(
        Command::new("dpkg-deb")
            .args(["--root-owner-group", "-Zxz", "--build"])
            .arg(&tree.root)
            .arg(&package)
            .env("SOURCE_DATE_EPOCH", project.epoch.to_string())
            .stdout(std::io::stderr()),
    )?;
    fs::remove_dir_all(&tree.root)?;
    Ok(package)
}

/// What goes into `DEBIAN/`.
fn control_files(
    project: &Project,
    tree: &Tree,
    architecture: &str,
) -> Result<Vec<(&'static str, String, u32)>> {
    let files = tree.files()?;
    let mut sums = Command::new("md5sum");
    sums.current_dir(&tree.root).arg("--").args(&files);
    let mut bytes = 0;
    for file in &files {
        bytes += fs::metadata(tree.root.join(file))?.len();
    }
    let control = project.fill(
        "packaging/debian/control",
        &[
            ("@ARCHITECTURE@", architecture),
            ("@SIZE@", &bytes.div_ceil(1024).to_string()),
            ("@DEPENDS@", &depends(project, tree)?),
        ],
    )?;
    let first = output(
        Command::new("sha256sum").arg(project.root.join("packaging/first-start/turnserver.conf")),
    )?;
    let first = first.split(' ').next().unwrap_or_default();
    let script = |name: &str| {
        project.fill(
            &format!("packaging/debian/{name}"),
            &[("@FIRST_CONFIGURATION@", first)],
        )
    };
    Ok(vec![
        ("control", control, 0o644),
        ("md5sums", output(&mut sums)?, 0o644),
        ("postinst", script("postinst")?, 0o755),
        ("prerm", script("prerm")?, 0o755),
        ("postrm", script("postrm")?, 0o755),
    ])
}

/// The libraries that the programs need, with the lowest versions that have their symbols.
fn depends(project: &Project, tree: &Tree) -> Result<String> {
    // It wants to stand beside a source package.
    let beside = project.fresh("shlibdeps")?;
    fs::create_dir(beside.join("debian"))?;
    fs::write(
        beside.join("debian/control"),
        "Source: turnbuckle\n\nPackage: turnbuckle\nArchitecture: any\n",
    )?;
    let programs = PROGRAMS.map(|program| tree.root.join("usr/bin").join(program));
    let told = output(
        Command::new("dpkg-shlibdeps")
            .current_dir(&beside)
            .arg("-O")
            .args(programs),
    )?;
    fs::remove_dir_all(beside)?;
    let depends = told.trim().strip_prefix("shlibs:Depends=");
    Ok(depends
        .context("dpkg-shlibdeps names no libraries")?
        .to_owned())
}

/// CHANGELOG.md as Debian has it.
fn changelog(project: &Project) -> Result<String> {
    let source = fs::read_to_string(project.root.join("CHANGELOG.md"))?;
    let date = output(
        Command::new("date")
            .args(["-u", "-R", "-d"])
            .arg(format!("@{}", project.epoch)),
    )?;
    let mut text = format!(
        "turnbuckle ({}) unstable; urgency=medium\n\n",
        project.version
    );
    for line in source.lines().filter_map(|line| line.strip_prefix("* ")) {
        text.push_str(&wrapped(line));
    }
    text.push_str(&format!("\n -- {MAINTAINER}  {}\n", date.trim()));
    Ok(text)
}

/// An item of the changelog, no line longer than 78 characters where its words allow it.
fn wrapped(item: &str) -> String {
    let mut text = String::new();
    let mut line = String::from("  *");
    for word in item.split(' ') {
        if line.chars().count() + 1 + word.chars().count() > 78 {
            text.push_str(&line);
            text.push('\n');
            line = String::from("   ");
        }
        line.push(' ');
        line.push_str(word);
    }
    text + &line + "\n"
}

/// A text as a field of a control file: indented, empty lines as a dot.
fn debian_text(text: &str) -> String {
    text.lines()
        .map(|line| match line.trim() {
            "" => " .\n".to_owned(),
            line => format!(" {line}\n"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_items_go_on_in_the_next_line() {
        let item = "word ".repeat(20);
        let text = wrapped(item.trim());
        assert!(text.starts_with("  * word word"), "{text}");
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.lines().all(|line| line.len() <= 78), "{text}");
        assert_eq!(text.matches("word").count(), 20);
    }

    #[test]
    fn empty_lines_are_dots() {
        assert_eq!(debian_text("one\n\ntwo\n"), " one\n .\n two\n");
    }
}
