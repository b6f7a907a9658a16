//! Project tasks, run as `cargo xtask TASK`.
//!
//! Owns the one test command and what it installs. Must not be needed to build or run the server: `cargo run
//! --release` stands alone.

#![forbid(unsafe_code)]

mod bench;
mod bench_net;
mod packages;
mod steps;
mod tally;
mod test;

use std::env;
use std::process::ExitCode;

use crate::test::Scope;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        ["test"] => test::run(Scope::Everything),
        ["test", "--quick"] => test::run(Scope::Quick),
        ["bench", arguments @ ..] => bench::run(arguments),
        ["bench-net", "up"] => bench_net::up(),
        ["bench-net", "down"] => bench_net::down(),
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
  test           formatting, lints, documentation, every test; installs what the interop tests need
  test --quick   the same without the interop tests and without installing anything
  bench          the standard benchmark, to docs/benchmarks.md; `bench ARGUMENTS` runs turnbuckle-bench with them
  bench-net up   network namespaces for `bench --netns`; `bench-net down` removes them (as root)
";
