//! The one test command: formatting, compliance, lints, documentation, every test.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::packages;
use crate::steps::Steps;
use crate::tally::Tally;
use crate::toolbox;

/// How much is run.
#[derive(PartialEq, Eq, Clone, Copy)]
pub(crate) enum Scope {
    Everything,
    /// Without the tests that drive other people's programs.
    Quick,
}

/// Installs what the tests drive, and does nothing else.
pub(crate) fn install() -> Result<()> {
    let workspace = Workspace::found()?;
    let mut steps = Steps::default();
    packages::install_missing(&mut steps);
    toolbox::install_missing(&mut steps, &workspace.root, &workspace.target);
    steps.print_summary();
    fail_with(&steps)
}

/// Runs every step even if an earlier one failed, then fails if any did.
pub(crate) fn run(scope: Scope) -> Result<()> {
    let workspace = Workspace::found()?;
    let mut steps = Steps::default();
    let mut tallies = Vec::new();
    let xtask = env::current_exe().context("xtask does not find itself")?;

    // Mostly it waits for the network, and nothing needs it before the tests do.
    let installation = (scope == Scope::Everything).then(|| {
        let mut install = Command::new(&xtask);
        install.arg("install");
        Steps::start("installation", install)
    });
    steps.run(
        "formatting",
        workspace.cargo().args(["fmt", "--all", "--check"]),
    );
    let (profile, build) = match scope {
        Scope::Everything => ("release", &RELEASE_BINARIES[..]),
        Scope::Quick => ("debug", &DEBUG_BINARIES[..]),
    };
    // Of another profile than what is built meanwhile, so neither waits for the other. The end of it is for one core.
    let mut build_binaries = workspace.cargo();
    build_binaries.args(build);
    let binaries = Steps::start("binaries", build_binaries);
    steps.run(
        "compliance",
        Command::new(&xtask).args(["compliance", "--check"]),
    );
    steps.run(
        "lints",
        workspace.cargo().args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]),
    );
    steps.run(
        "documentation",
        workspace
            .cargo()
            .args([
                "doc",
                "--workspace",
                "--no-deps",
                "--document-private-items",
            ])
            .env("RUSTDOCFLAGS", "-D warnings"),
    );

    let skip_log = workspace.target.join("skipped.log");
    let mut tests = workspace.test_command(scope);
    if steps.finish(binaries) {
        let directory = workspace.target.join(profile);
        tests.env("TURNBUCKLE_BIN", directory.join("turnbuckle"));
        tests.env("TURNCTL_BIN", directory.join("turnctl"));
        tests.env("XTASK_BIN", &xtask);
    }
    if scope == Scope::Everything {
        fs::create_dir_all(&workspace.target)?;
        fs::write(&skip_log, "").with_context(|| format!("cannot write {}", skip_log.display()))?;
        tests.env("TURNBUCKLE_SKIP_LOG", &skip_log);
        let screenshots = workspace.target.join("screenshots");
        fs::create_dir_all(&screenshots)?;
        tests.env("TURNBUCKLE_SCREENSHOTS", &screenshots);
    }
    if let Some(installation) = installation {
        steps.finish(installation);
    }
    let (_, lines) = steps.run_reading("tests", &mut tests);
    let mut skipped = read_skipped(scope, &skip_log);
    tallies.push((
        "tests",
        Tally::read(&lines).with_skipped(skipped.len() as u64),
    ));

    let (_, lines) = steps.run_reading(
        "documentation tests",
        workspace.cargo().args(["test", "--workspace", "--doc"]),
    );
    tallies.push(("doctests", Tally::read(&lines)));

    if scope == Scope::Everything {
        let is_ci = env::var_os("CI").is_some_and(|ci| ci == "true");
        if is_ci || packages::find_program("valgrind") {
            steps.run("instructions", workspace.cargo().args(INSTRUCTIONS));
        } else {
            skipped.push("SKIPPED: instructions: needs valgrind".to_owned());
        }
    }

    steps.print_summary();
    for line in &skipped {
        println!("{line}");
    }
    for (runner, tally) in tallies {
        println!("{runner}: {tally}");
    }
    fail_with(&steps)
}

fn fail_with(steps: &Steps) -> Result<()> {
    let failed = steps.failed();
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

struct Workspace {
    cargo: PathBuf,
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    fn found() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .nth(2)
            .context("xtask lies two directories below the workspace")?
            .to_owned();
        let target = env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| root.join("target"), |directory| root.join(directory));
        let cargo = env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from);
        Ok(Self {
            cargo,
            root,
            target,
        })
    }

    fn cargo(&self) -> Command {
        let mut command = Command::new(&self.cargo);
        command.current_dir(&self.root);
        command
    }

    /// nextest where it is installed: it runs each test in a process of its own and ends one that hangs.
    fn test_command(&self, scope: Scope) -> Command {
        let has_nextest = self
            .cargo()
            .args(["nextest", "--version"])
            .output()
            .is_ok_and(|output| output.status.success());
        let mut command = self.cargo();
        match (has_nextest, scope) {
            (true, Scope::Everything) => {
                command.args(["nextest", "run", "--workspace", "--no-fail-fast"])
            }
            (true, Scope::Quick) => command.args([
                "nextest",
                "run",
                "--workspace",
                "--no-fail-fast",
                "-E",
                "not (binary(interop) or binary(hosts) or binary(packages))",
            ]),
            (false, Scope::Everything) => command.args([
                "test",
                "--workspace",
                "--lib",
                "--bins",
                "--tests",
                "--examples",
                "--no-fail-fast",
            ]),
            (false, Scope::Quick) => command.args([
                "test",
                "--workspace",
                "--exclude",
                "turnbuckle-tests",
                "--no-fail-fast",
            ]),
        };
        command
    }
}

fn read_skipped(scope: Scope, log: &Path) -> Vec<String> {
    if scope == Scope::Quick {
        return Vec::new();
    }
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

const RELEASE_BINARIES: [&str; 6] = [
    "build",
    "--release",
    "-p",
    "turnbuckle-server",
    "-p",
    "turnctl",
];
/// Instruction counts, against those that are recorded.
const INSTRUCTIONS: [&str; 5] = [
    "bench",
    "-p",
    "turnbuckle-testkit",
    "--bench",
    "instructions",
];
/// The whole workspace, so that every feature is as in the tests and nothing is built twice.
const DEBUG_BINARIES: [&str; 3] = ["build", "--workspace", "--bins"];
