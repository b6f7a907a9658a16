//! A server process that never outlives its measurement.
//!
//! Owns the process and the file its output goes to.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use turnbuckle_net::pin_current_thread;

use crate::network::{Network, Place};

/// A running server; killed when dropped.
pub(crate) struct Process {
    child: Child,
    output: PathBuf,
}

impl Process {
    /// Starts `command` where the server stands, on one CPU only if `cpu` says which. Its output goes to a file in
    /// `directory`, which is its working directory, too.
    ///
    /// # Errors
    /// If the program cannot be run.
    pub(crate) fn start(
        command: &mut Command,
        directory: &Path,
        network: &Network,
        cpu: Option<usize>,
    ) -> Result<Self> {
        let output = directory.join("output");
        let file = File::create(&output)?;
        command
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = network.inside(Place::Server, || -> Result<Child> {
            if let Some(cpu) = cpu {
                // A process inherits the affinity of the thread that starts it.
                pin_current_thread(cpu).with_context(|| format!("cannot use CPU {cpu}"))?;
            }
            command
                .spawn()
                .with_context(|| format!("cannot run {program}"))
        })??;
        Ok(Self { child, output })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// The last lines it printed.
    pub(crate) fn last_output(&self) -> String {
        let bytes = fs::read(&self.output).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        let first = lines.len().saturating_sub(OUTPUT_LINES);
        lines[first..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already; there is nothing to do about either failure.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const OUTPUT_LINES: usize = 15;
