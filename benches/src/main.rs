//! `turnbuckle-bench`: loads TURN servers and compares what that costs them.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    turnbuckle_bench::run()
}
