//! The benchmark: builds what it needs and runs the standard matrix.
//!
//! Must not know what is measured; that is the matter of `turnbuckle-bench`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Builds server and bench optimised, and runs `turnbuckle-bench` with `arguments`; without any, the standard matrix in
/// five rounds, written to docs/benchmarks.md.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .context("xtask lies two directories below the workspace")?;
    let cargo = env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from);
    let target = env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root.join("target"), |directory| root.join(directory));
    let packages = ["-p", "turnbuckle-server", "-p", "turnbuckle-bench"];
    let mut build = Command::new(cargo);
    build
        .current_dir(root)
        .args(["build", "--release"])
        .args(packages);
    succeed(&mut build)?;

    let mut bench = Command::new(target.join("release/turnbuckle-bench"));
    bench.current_dir(root);
    if arguments.is_empty() {
        std::fs::create_dir_all(root.join("docs"))?;
        bench.args(STANDARD);
    } else {
        bench.args(arguments);
    }
    succeed(&mut bench)
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot run {command:?}"))?;
    if !status.success() {
        bail!("{}: {status}", command.get_program().to_string_lossy());
    }
    Ok(())
}

const STANDARD: [&str; 15] = [
    "--standard",
    "--server",
    "turnbuckle",
    "--server",
    "coturn",
    "--server",
    "turn-crate",
    "--server",
    "reflector",
    "--rounds",
    "5",
    "--markdown",
    "docs/benchmarks.md",
    "--plot",
    "docs/benchmarks.svg",
];
