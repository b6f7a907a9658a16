//! Packages: what an operator installs, as .deb, as .rpm, and as the directory that a container image is built from.
//!
//! Owns the options and the order of the work. What is in a package is the matter of `package/tree.rs`; how it starts on the
//! operator's machine that of the scripts in `packaging/`.

mod container;
mod deb;
mod licences;
mod rpm;
mod tree;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Makes the packages that `arguments` name, all without a name. `--binaries DIR` takes the programs from there in place of a
/// release build, `--output DIR` is where the result goes, by default `target/package`.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let options = Options::read(arguments)?;
    let project = Project::found(&options)?;
    if options.binaries.is_none() {
        project.build()?;
    }
    fs::create_dir_all(&project.output)?;
    for kind in options.kinds {
        let made = match kind {
            Kind::Deb => deb::build(&project)?,
            Kind::Rpm => rpm::build(&project)?,
            Kind::Container => container::build(&project)?,
        };
        println!("{}", made.display());
    }
    Ok(())
}

/// What is packaged, and for whom it is told in the package.
struct Project {
    cargo: PathBuf,
    root: PathBuf,
    /// Where `turnbuckle` and `turnctl` are.
    binaries: PathBuf,
    output: PathBuf,
    version: String,
    homepage: String,
    /// Seconds since 1970 that every file is dated with at most.
    epoch: u64,
}

impl Project {
    fn found(options: &Options) -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .nth(2)
            .context("xtask lies two directories below the workspace")?
            .to_owned();
        let target = env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| root.join("target"), |directory| root.join(directory));
        let mut project = Self {
            cargo: env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from),
            binaries: match &options.binaries {
                Some(directory) => std::path::absolute(directory)?,
                None => target.join("release"),
            },
            output: match &options.output {
                Some(directory) => std::path::absolute(directory)?,
                None => target.join("package"),
            },
            root,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            homepage: env!("CARGO_PKG_REPOSITORY").to_owned(),
            epoch: 0,
        };
        project.epoch = project.date()?;
        Ok(project)
    }

    /// `SOURCE_DATE_EPOCH`, or the date of the last commit.
    fn date(&self) -> Result<u64> {
        let text = match env::var("SOURCE_DATE_EPOCH") {
            Ok(text) => text,
            Err(_) => output(
                Command::new("git")
                    .args(["log", "-1", "--format=%ct"])
                    .current_dir(&self.root),
            )
            .context("without git, set SOURCE_DATE_EPOCH to seconds since 1970")?,
        };
        text.trim()
            .parse()
            .with_context(|| format!("SOURCE_DATE_EPOCH is {text:?}, not seconds since 1970"))
    }

    fn build(&self) -> Result<()> {
        run_command(Command::new(&self.cargo).current_dir(&self.root).args([
            "build",
            "--release",
            "--locked",
            "-p",
            "turnbuckle-server",
            "-p",
            "turnctl",
        ]))
    }

    /// An empty directory of this name below the output.
    fn fresh(&self, name: &str) -> Result<PathBuf> {
        let directory = self.output.join(name);
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        fs::create_dir_all(&directory)?;
        Ok(directory)
    }

    /// A file of the project with what stands between `@` put in.
    fn fill(&self, template: &str, values: &[(&str, &str)]) -> Result<String> {
        let path = self.root.join(template);
        let mut text = fs::read_to_string(&path)
            .with_context(|| format!("{} cannot be read", path.display()))?;
        let known = [
            ("@VERSION@", self.version.as_str()),
            ("@HOMEPAGE@", &self.homepage),
            ("@MAINTAINER@", MAINTAINER),
        ];
        for (name, value) in known.iter().chain(values) {
            text = text.replace(name, value);
        }
        Ok(text)
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Deb,
    Rpm,
    Container,
}

struct Options {
    kinds: Vec<Kind>,
    binaries: Option<PathBuf>,
    output: Option<PathBuf>,
}

impl Options {
    fn read(arguments: &[&str]) -> Result<Self> {
        let mut options = Self {
            kinds: Vec::new(),
            binaries: None,
            output: None,
        };
        let mut arguments = arguments.iter();
        while let Some(&argument) = arguments.next() {
            let mut directory = || {
                let value = arguments.next();
                value
                    .map(|&path| Some(path.into()))
                    .with_context(|| format!("{argument} wants a directory"))
            };
            match argument {
                "deb" => options.kinds.push(Kind::Deb),
                "rpm" => options.kinds.push(Kind::Rpm),
                "container" => options.kinds.push(Kind::Container),
                "--binaries" => options.binaries = directory()?,
                "--output" => options.output = directory()?,
                _ => bail!(
                    "package does not know {argument}; it takes deb, rpm, container, --binaries DIR, --output DIR"
                ),
            }
        }
        if options.kinds.is_empty() {
            options.kinds = vec![Kind::Deb, Kind::Rpm, Kind::Container];
        }
        Ok(options)
    }
}

/// Runs a command whose output is for the terminal.
fn run_command(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot run {command:?}"))?;
    if !status.success() {
        bail!("{command:?}: {status}");
    }
    Ok(())
}

/// What a command prints.
fn output(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?}: {}: {told}", output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}

const MAINTAINER: &str = "Turnbuckle developers <turnbuckle@users.noreply.github.com>";
