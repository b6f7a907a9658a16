//! Project tasks, run as `cargo xtask TASK`.
//!
//! Owns the one test command, what it installs, and the tasks around it. Must not be needed to build or run the server: `cargo run
//! --release` stands alone.

#![forbid(unsafe_code)]

mod bench;
mod bench_net;
mod compliance;
mod fuzz;
mod package;
mod packages;
mod steps;
mod tally;
mod test;
mod toolbox;

use std::env;
use std::process::ExitCode;

use crate::test::Scope;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        ["test"] => test::run(Scope::Everything),
        ["test", "--quick"] => test::run(Scope::Quick),
        ["install"] => test::install(),
        ["bench", arguments @ ..] => bench::run(arguments),
        ["bench-net", "up"] => bench_net::up(),
        ["bench-net", "down"] => bench_net::down(),
        ["compliance"] => compliance::run(compliance::Mode::Write),
        ["compliance", "--check"] => compliance::run(compliance::Mode::Check),
        ["fuzz", arguments @ ..] => fuzz::run(arguments),
        ["package", arguments @ ..] => package::run(arguments),
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

const USAGE: &str = "\
Usage: cargo xtask TASK

Tasks:
  test           formatting, compliance, lints, documentation, every test, instruction counts; installs what that needs
  test --quick   the same without interop tests and instruction counts, and without installing anything
  install        what `test` installs, and nothing else
  bench          the standard benchmark, to docs/benchmarks.md; `bench ARGUMENTS` runs turnbuckle-bench with them
  compliance     what of the RFCs is covered, to docs/compliance.md; `compliance --check` fails where that is not up to date
  fuzz           the fuzz targets under libFuzzer: `fuzz [--target T] --seconds N`, or `--runs N` for that many inputs each
  package        .deb, .rpm and what a container image is built from, to target/package: `package [deb] [rpm] [container]`
  bench-net up   network namespaces for `bench --netns`; `bench-net down` removes them (as root)
";
