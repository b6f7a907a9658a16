//! Installs what the interop tests take from npm and PyPI: matrix-js-sdk and what bundles it, and Synapse.
//!
//! Everything goes below the target directory, by the lock files in `tests/interop`, and nothing of it runs while it is installed. Must
//! not install programs of the system: those are in `packages.rs`.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::packages::find_program;
use crate::steps::Steps;

/// Installs what is missing or not what the lock files say. What cannot be installed is only reported here: the
/// tests that need it say SKIPPED, or fail when `CI=true`.
pub(crate) fn install_missing(steps: &mut Steps, root: &Path, target: &Path) {
    for tool in TOOLS {
        tool.install(steps, root, target);
    }
}

struct Tool {
    name: &'static str,
    /// Directory of the lock file below `tests/interop`, and of what is installed below `target/interop`.
    directory: &'static str,
    /// What is copied from the one to the other; the last one is the lock file.
    files: &'static [&'static str],
    /// The program that installs it.
    program: &'static str,
    commands: fn(&Path) -> Vec<Command>,
}

impl Tool {
    fn install(&self, steps: &mut Steps, root: &Path, target: &Path) {
        let from = root.join("tests/interop").join(self.directory);
        let to = target.join("interop").join(self.directory);
        if self.is_present(&from, &to) {
            println!("present: {}", self.name);
            return;
        }
        println!("missing: {}", self.name);
        if !find_program(self.program) {
            println!("cannot install {}: there is no {}", self.name, self.program);
            return;
        }
        if let Err(error) = self.lay_out(&from, &to) {
            println!("cannot install {}: {error}", self.name);
            return;
        }
        let mut commands = (self.commands)(&to);
        if commands
            .iter_mut()
            .all(|command| steps.attempt(self.name, command.current_dir(&to)))
            && let Err(error) = self.seal(&from, &to)
        {
            println!("cannot say that {} is installed: {error}", self.name);
        }
    }

    /// Whether all of it was installed, by the lock file as it is now.
    fn is_present(&self, from: &Path, to: &Path) -> bool {
        let installed = fs::read(to.join(SEAL));
        installed.is_ok_and(|seal| fs::read(from.join(self.lock())).is_ok_and(|lock| lock == seal))
    }

    fn lay_out(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        fs::create_dir_all(to)?;
        // What is half installed must not pass for whole.
        match fs::remove_file(to.join(SEAL)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        for file in self.files {
            fs::copy(from.join(file), to.join(file))?;
        }
        Ok(())
    }

    fn seal(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        fs::copy(from.join(self.lock()), to.join(SEAL)).map(drop)
    }

    fn lock(&self) -> &'static str {
        self.files.last().copied().unwrap_or_default()
    }
}

fn npm_ci(_: &Path) -> Vec<Command> {
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
    vec![npm]
}

fn virtual_environment(directory: &Path) -> Vec<Command> {
    let mut python = Command::new(PYTHON);
    python.args(["-m", "venv", "--clear", "venv"]);
    let mut pip = Command::new(directory.join("venv/bin/pip"));
    pip.args([
        "--disable-pip-version-check",
        "--quiet",
        "install",
        "--only-binary=:all:",
        "--require-hashes",
        "--requirement=requirements.txt",
    ]);
    vec![python, pip]
}

const TOOLS: [Tool; 2] = [
    Tool {
        name: "matrix-js-sdk",
        directory: "web",
        files: &[".npmrc", "package.json", "package-lock.json"],
        program: "npm",
        commands: npm_ci,
    },
    Tool {
        name: "synapse",
        directory: "synapse",
        files: &["requirements.txt"],
        program: "python3",
        commands: virtual_environment,
    },
];
/// Debian's own: `python3-venv` is for that one.
const PYTHON: &str = "/usr/bin/python3";
/// A copy of the lock file, written last; the tests look for it.
const SEAL: &str = "installed";
