//! Runs commands as named steps: prints what is run, how long it took, and remembers what failed.
//!
//! Must not decide which steps exist; see `test.rs`.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

/// A step that goes on beside others; nothing of it is shown before it is [finished](Steps::finish).
pub(crate) struct Beside {
    name: &'static str,
    thread: JoinHandle<(Result<()>, Duration, Vec<String>)>,
}

/// The steps run so far.
#[derive(Default)]
pub(crate) struct Steps {
    done: Vec<Step>,
}

struct Step {
    name: &'static str,
    took: Duration,
    passed: bool,
    /// Whether all of it fails with this step.
    is_needed: bool,
}

impl Steps {
    /// Runs `command` with its output going straight to the terminal. Returns whether it exited with status 0;
    /// a failure is remembered and does not stop the steps that follow.
    pub(crate) fn run(&mut self, name: &'static str, command: &mut Command) -> bool {
        self.record(name, true, command, run_to_end)
    }

    /// As [`Steps::run`], and nothing else fails with it: the step shows as failed and is no reason to fail.
    pub(crate) fn attempt(&mut self, name: &'static str, command: &mut Command) -> bool {
        self.record(name, false, command, run_to_end)
    }

    /// As [`Steps::run`], and returns the lines the command printed too; they are shown as they come.
    pub(crate) fn run_reading(
        &mut self,
        name: &'static str,
        command: &mut Command,
    ) -> (bool, Vec<String>) {
        let mut lines = Vec::new();
        let passed = self.record(name, true, command, |command| {
            run_and_read(command, &mut lines, |line| println!("{line}"))
        });
        (passed, lines)
    }

    /// Starts `command` and returns at once. It needs nothing of the steps that run meanwhile, nor they of it.
    pub(crate) fn start(name: &'static str, mut command: Command) -> Beside {
        println!("\n==> {name}, beside what follows: {}", shown(&command));
        let thread = thread::spawn(move || {
            let start = now();
            let mut lines = Vec::new();
            let outcome = run_and_read(&mut command, &mut lines, |_| {});
            (outcome, now() - start, lines)
        });
        Beside { name, thread }
    }

    /// Waits for the end of such a step, and shows what it printed.
    pub(crate) fn finish(&mut self, beside: Beside) -> bool {
        let Beside { name, thread } = beside;
        println!("\n==> {name}: its output");
        let (outcome, took, lines) = thread
            .join()
            .unwrap_or_else(|_| (Err(anyhow!("it panicked")), Duration::ZERO, Vec::new()));
        lines.iter().for_each(|line| println!("{line}"));
        self.end(name, true, outcome, took)
    }

    /// Prints one line per step.
    pub(crate) fn print_summary(&self) {
        println!();
        for step in &self.done {
            let mark = if step.passed { "ok" } else { "FAILED" };
            println!(
                "{mark:>8} {:>7.1} s  {}",
                step.took.as_secs_f64(),
                step.name
            );
        }
    }

    /// Names of the steps that failed and had to pass.
    pub(crate) fn failed(&self) -> Vec<&'static str> {
        self.done
            .iter()
            .filter(|step| step.is_needed && !step.passed)
            .map(|step| step.name)
            .collect()
    }

    fn record(
        &mut self,
        name: &'static str,
        is_needed: bool,
        command: &mut Command,
        work: impl FnOnce(&mut Command) -> Result<()>,
    ) -> bool {
        println!("\n==> {name}: {}", shown(command));
        let start = now();
        let outcome = work(command);
        self.end(name, is_needed, outcome, now() - start)
    }

    fn end(
        &mut self,
        name: &'static str,
        is_needed: bool,
        outcome: Result<()>,
        took: Duration,
    ) -> bool {
        let passed = outcome.is_ok();
        match outcome {
            Ok(()) => println!("==> {name}: ok, {:.1} s", took.as_secs_f64()),
            Err(error) => println!("==> {name}: FAILED, {:.1} s: {error:#}", took.as_secs_f64()),
        }
        self.done.push(Step {
            name,
            took,
            passed,
            is_needed,
        });
        passed
    }
}

fn run_to_end(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot run {command:?}"))?;
    if !status.success() {
        bail!("{status}");
    }
    Ok(())
}

/// Keeps the lines of both streams, those of standard output first; `show` sees them as they come.
fn run_and_read(
    command: &mut Command,
    lines: &mut Vec<String>,
    show: impl Fn(&str) + Sync,
) -> Result<()> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {command:?}"))?;
    let stdout = child.stdout.take().context("no stdout")?;
    let stderr = child.stderr.take().context("no stderr")?;
    thread::scope(|scope| {
        let errors = scope.spawn(|| echo_lines(stderr, &show));
        lines.extend(echo_lines(stdout, &show));
        lines.extend(errors.join().unwrap_or_default());
    });
    let status = child.wait()?;
    if !status.success() {
        bail!("{status}");
    }
    Ok(())
}

fn echo_lines(from: impl Read, show: impl Fn(&str)) -> Vec<String> {
    let mut lines = Vec::new();
    for bytes in BufReader::new(from).split(b'\n') {
        let Ok(bytes) = bytes else { break };
        let line = String::from_utf8_lossy(&bytes).into_owned();
        show(&line);
        lines.push(line);
    }
    lines
}

fn shown(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let program = program.rsplit('/').next().unwrap_or_default().to_owned();
    let mut words = vec![program];
    words.extend(
        command
            .get_args()
            .map(|word| word.to_string_lossy().into_owned()),
    );
    words.join(" ")
}

#[expect(clippy::disallowed_methods, reason = "steps are timed for a person")]
fn now() -> Instant {
    Instant::now()
}
