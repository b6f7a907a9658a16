//! The fuzz targets under libFuzzer, which looks for new paths through the code. Works on the stable toolchain: the
//! instrumentation is a pass of LLVM that stable rustc can be told to run.
//!
//! Must not know what the targets do; they are in `crates/fuzz`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::packages;
use crate::steps::Steps;

/// Runs `[--target T] (--seconds N | --runs N)`: each target one after the other, or the one that is named.
///
/// New inputs that lead somewhere are kept in the target directory, so that a later run goes on where this one ended. An
/// input that shows a bug is named at the end.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let arguments = Arguments::parse(arguments)?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .context("xtask lies two directories below the workspace")?;
    let cargo = env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from);
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(
        || root.join("fuzz/target"),
        |directory| root.join(directory).join("fuzz"),
    );

    let mut steps = Steps::default();
    packages::install_compiler(&mut steps);
    let mut build = Command::new(cargo);
    build
        .current_dir(root.join("fuzz"))
        .args(["build", "--release", "--target", TRIPLE])
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"));
    if !steps.run("fuzz targets", &mut build) {
        bail!("the targets could not be built");
    }

    for Target { name, input_max } in targets(root)? {
        if arguments
            .target
            .as_ref()
            .is_some_and(|wanted| *wanted != name)
        {
            continue;
        }
        let found = target.join("corpus").join(&name);
        let findings = target.join("findings").join(&name);
        fs::create_dir_all(&found)?;
        fs::create_dir_all(&findings)?;
        let mut fuzz = Command::new(target.join(TRIPLE).join("release").join(&name));
        fuzz.current_dir(root)
            .arg(&found)
            .arg(root.join("fuzz/corpus").join(&name))
            .arg(format!("-artifact_prefix={}/", findings.display()))
            .arg(format!("-max_len={input_max}"))
            .args(["-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"])
            .arg(match arguments.bound {
                Bound::Seconds(seconds) => format!("-max_total_time={seconds}"),
                Bound::Runs(runs) => format!("-runs={runs}"),
            });
        let words = if name == "config" { "config" } else { "stun" };
        let dictionary = root.join("fuzz/dictionaries").join(format!("{words}.dict"));
        fuzz.arg(format!("-dict={}", dictionary.display()));
        steps.run(name.leak(), &mut fuzz);
    }
    steps.print_summary();
    let failed = steps.failed();
    if !failed.is_empty() {
        let findings = target.join("findings");
        bail!(
            "findings of {} in {}",
            failed.join(", "),
            findings.display()
        );
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
struct Arguments {
    target: Option<String>,
    bound: Bound,
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Bound {
    Seconds(u64),
    Runs(u64),
}

struct Target {
    name: String,
    input_max: usize,
}

impl Arguments {
    fn parse(arguments: &[&str]) -> Result<Self> {
        let mut target = None;
        let mut bound = None;
        for pair in arguments.chunks(2) {
            match *pair {
                ["--target", name] => target = Some(name.to_owned()),
                ["--seconds", number] => bound = Some(Bound::Seconds(number.parse()?)),
                ["--runs", number] => bound = Some(Bound::Runs(number.parse()?)),
                _ => bail!("fuzz takes [--target T] and --seconds N or --runs N"),
            }
        }
        let bound = bound.context("fuzz needs --seconds N or --runs N")?;
        Ok(Self { target, bound })
    }
}

/// What `crates/fuzz` lists, read from its source so that xtask need not be built with it.
fn targets(root: &Path) -> Result<Vec<Target>> {
    let path = root.join("crates/fuzz/src/lib.rs");
    let source = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let targets = listed(&source);
    ensure!(!targets.is_empty(), "no targets in {}", path.display());
    Ok(targets)
}

fn listed(source: &str) -> Vec<Target> {
    let field = |line: &str, name: &str| {
        let value = line.trim().strip_prefix(name)?.trim_end_matches(',');
        Some(value.trim_matches('"').to_owned())
    };
    let names = source.lines().filter_map(|line| field(line, "name: "));
    let lengths = source.lines().filter_map(|line| field(line, "input_max: "));
    names
        .filter(|name| !name.contains(' '))
        .zip(lengths.filter_map(|len| len.parse().ok()))
        .map(|(name, input_max)| Target { name, input_max })
        .collect()
}

const TRIPLE: &str = "x86_64-unknown-linux-gnu";
/// Counters on every edge and the operands of every comparison (LLVM's SanitizerCoverage).
const FLAGS: [&str; 7] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read() {
        let read = |arguments: &[&str]| Arguments::parse(arguments).ok();
        assert_eq!(
            read(&["--target", "decode", "--runs", "7"]),
            Some(Arguments {
                target: Some("decode".to_owned()),
                bound: Bound::Runs(7),
            })
        );
        assert_eq!(
            read(&["--seconds", "60"]).unwrap().bound,
            Bound::Seconds(60)
        );
        for bad in [
            &[][..],
            &["--runs"],
            &["--runs", "x"],
            &["--target", "decode"],
            &["fast"],
        ] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn every_target_is_found_in_the_source_and_has_a_binary() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let targets = targets(&root).unwrap();
        assert_eq!(targets.len(), 6);
        for Target { name, input_max } in targets {
            assert!(
                root.join(format!("fuzz/targets/{name}.rs")).exists(),
                "{name}"
            );
            assert!(input_max >= 512);
        }
    }
}
