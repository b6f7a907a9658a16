//! A directory of files that `turnctl` is run in.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

pub(crate) struct Directory(TempDir);

impl Directory {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap()
    }

    /// `turnctl` as nobody's service.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_turnctl"));
        command
            .args(args)
            .current_dir(self.path())
            .env_remove("CREDENTIALS_DIRECTORY");
        command
    }

    pub(crate) fn output(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Exit status and both streams, for a snapshot.
    pub(crate) fn run(&self, args: &[&str]) -> String {
        let output = self.output(args);
        let stdout = String::from_utf8(output.stdout).unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        let mut text = format!("{}\n--- stdout\n{stdout}", output.status);
        if !stderr.is_empty() {
            text += &format!("--- stderr\n{stderr}");
        }
        text
    }
}
