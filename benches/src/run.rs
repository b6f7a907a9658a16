//! The program: command line in, tables out.
//!
//! Owns progress, signals and files.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};
use turnbuckle_net::raise_descriptor_limit;

use crate::cli::Args;
use crate::machine::Machine;
use crate::report::Report;
use crate::{plot, table};

/// Runs `turnbuckle-bench` with the arguments of this process. The status is 0 if every measurement was made, 1 if one
/// failed or the run was interrupted, 2 for a wrong command line.
pub fn run() -> ExitCode {
    let args = Args::parse();
    match compare(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(WRONG_USAGE)
        }
    }
}

/// Whether everything was measured.
fn compare(args: &Args) -> Result<bool> {
    let comparison = args.comparison()?;
    let baseline = args.baseline(&comparison.contestants)?;
    raise_descriptor_limit()?;
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The second one ends the program at once.
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&interrupted))?;
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    let contestants: Vec<(String, Option<String>)> = comparison
        .contestants
        .iter()
        .map(|contestant| (contestant.name.clone(), contestant.version()))
        .collect();

    let machine = Machine::here();
    let progress = ProgressBar::new(comparison.len() as u64)
        .with_style(ProgressStyle::with_template(PROGRESS)?);
    progress.enable_steady_tick(TICK);
    let results = comparison.run(&interrupted, |row, contestant, round| {
        progress.set_message(format!("{}: {row}, round {}", contestant.name, round + 1));
        progress.inc(1);
    });
    progress.finish_and_clear();

    let report = Report {
        machine: &machine,
        network: comparison.setting.network.description(),
        rounds: comparison.rounds,
        seconds: args.seconds(),
        baseline,
        contestants: &contestants,
        results: &results,
    };
    print!("{}", table::render(&results, baseline));
    if let Some(path) = &args.json {
        write(path, &report.json()?)?;
    }
    if let Some(path) = &args.markdown {
        let plot = args
            .plot
            .as_deref()
            .filter(|plot| plot.parent() == path.parent());
        let plot = plot.and_then(Path::file_name).and_then(OsStr::to_str);
        write(path, &report.markdown(plot))?;
    }
    if let Some(path) = &args.plot {
        write(path, &plot::render(&results))?;
    }
    let failed = results
        .iter()
        .flat_map(|result| &result.entries)
        .any(|entry| entry.failure.is_some());
    Ok(!failed && !interrupted.load(Ordering::Relaxed))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

const WRONG_USAGE: u8 = 2;
const PROGRESS: &str = "{bar:30} {pos}/{len} {eta:>4} {msg}";
/// A moving bar would be work for the measured CPUs.
const TICK: Duration = Duration::from_secs(1);
