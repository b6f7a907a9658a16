//! A running program whose output is kept and that never outlives its test.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::Deadline;

/// A child process with its standard output and error captured line by line; killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: Arc<Output>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts `command`, with no standard input.
    ///
    /// # Panics
    /// If the program cannot be run.
    pub fn start(command: &mut Command) -> Self {
        let name = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {name}: {error}"));
        let output = Arc::new(Output::default());
        let stdout = child.stdout.take().expect("stdout is a pipe");
        let stderr = child.stderr.take().expect("stderr is a pipe");
        let readers = vec![
            thread::spawn({
                let output = Arc::clone(&output);
                move || output.keep(Stream::Stdout, stdout)
            }),
            thread::spawn({
                let output = Arc::clone(&output);
                move || output.keep(Stream::Stderr, stderr)
            }),
        ];
        output.expect_readers(readers.len());
        Self {
            name,
            child,
            output,
            readers,
        }
    }

    /// Waits until a line for which `wanted` holds was printed on standard output, and returns it; `None` if the
    /// program closed its output or `within` passed first.
    pub fn wait_for_line(&self, within: Duration, wanted: impl Fn(&str) -> bool) -> Option<String> {
        self.output
            .wait_for(Deadline::after(within), |stream, line| {
                stream == Stream::Stdout && wanted(line)
            })
    }

    /// As [`Process::wait_for_line`], on standard output or error.
    pub fn wait_for_any_line(
        &self,
        within: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Option<String> {
        self.output
            .wait_for(Deadline::after(within), |_, line| wanted(line))
    }

    /// Everything printed so far, standard output and error in the order they were read.
    pub fn output(&self) -> String {
        self.output.text(|_| true)
    }

    /// What was printed so far on standard output.
    pub fn stdout(&self) -> String {
        self.output.text(|stream| stream == Stream::Stdout)
    }

    /// What was printed so far on standard error.
    pub fn stderr(&self) -> String {
        self.output.text(|stream| stream == Stream::Stderr)
    }

    /// Its number; that of what it runs if it is a program that does nothing but run another one in its place.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends `signal`.
    ///
    /// # Panics
    /// If the process is gone already.
    pub fn signal(&self, signal: Signal) {
        let id = Pid::from_child(&self.child);
        kill_process(id, signal)
            .unwrap_or_else(|error| panic!("cannot send {signal:?} to {}: {error}", self.name));
    }

    /// Whether the program has not ended yet.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for the end of the program and of its output.
    ///
    /// # Panics
    /// With all output, if it has not ended `within` the time given.
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        let deadline = Deadline::after(within);
        if !self.output.wait_for_end(deadline) {
            panic!(
                "{} did not end within {within:?}; it printed:\n{}",
                self.name,
                self.output()
            );
        }
        for reader in self.readers.drain(..) {
            reader.join().expect("the reader of the output ends");
        }
        // Its output is closed, so all that is left is for the kernel to take it down.
        self.child.wait().expect("the child can be waited for")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("---- {} printed:\n{}----", self.name, self.output());
        }
    }
}

#[derive(Debug, Default)]
struct Output {
    state: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    lines: Vec<(Stream, String)>,
    ended: usize,
    readers: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Stdout,
    Stderr,
}

impl Output {
    fn expect_readers(&self, count: usize) {
        self.state().readers = count;
    }

    fn keep(&self, stream: Stream, from: impl Read) {
        for bytes in BufReader::new(from).split(b'\n') {
            let Ok(bytes) = bytes else { break };
            self.state()
                .lines
                .push((stream, String::from_utf8_lossy(&bytes).into_owned()));
            self.changed.notify_all();
        }
        self.state().ended += 1;
        self.changed.notify_all();
    }

    fn wait_for(
        &self,
        deadline: Deadline,
        wanted: impl Fn(Stream, &str) -> bool,
    ) -> Option<String> {
        let mut state = self.state();
        let mut seen = 0;
        loop {
            let found = state.lines[seen..]
                .iter()
                .find(|(stream, line)| wanted(*stream, line));
            if let Some((_, line)) = found {
                return Some(line.clone());
            }
            seen = state.lines.len();
            if state.has_ended() {
                return None;
            }
            state = self.wait_for_change(state, deadline)?;
        }
    }

    fn wait_for_end(&self, deadline: Deadline) -> bool {
        let mut state = self.state();
        while !state.has_ended() {
            match self.wait_for_change(state, deadline) {
                Some(changed) => state = changed,
                None => return false,
            }
        }
        true
    }

    fn wait_for_change<'a>(
        &self,
        state: MutexGuard<'a, Lines>,
        deadline: Deadline,
    ) -> Option<MutexGuard<'a, Lines>> {
        let left = deadline.left()?;
        Some(
            self.changed
                .wait_timeout(state, left)
                .expect("no reader panics")
                .0,
        )
    }

    fn text(&self, wanted: impl Fn(Stream) -> bool) -> String {
        let state = self.state();
        let lines = state.lines.iter().filter(|(stream, _)| wanted(*stream));
        lines.map(|(_, line)| format!("{line}\n")).collect()
    }

    fn state(&self) -> MutexGuard<'_, Lines> {
        self.state.lock().expect("no reader panics")
    }
}

impl Lines {
    fn has_ended(&self) -> bool {
        self.readers > 0 && self.ended == self.readers
    }
}
