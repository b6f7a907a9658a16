//! Packages made for a test.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;
use turnbuckle_tests::{turnbuckle, turnctl, xtask};

/// One package in a directory of its own.
pub(crate) struct Made {
    pub(crate) path: PathBuf,
    _directory: TempDir,
}

impl Made {
    /// What `cargo xtask package KIND` makes of the programs under test.
    pub(crate) fn of(kind: &str) -> Self {
        let directory = TempDir::with_prefix("turnbuckle-package-").unwrap();
        let binaries = directory.path().join("binaries");
        fs::create_dir(&binaries).unwrap();
        for (program, name) in [(turnbuckle(), "turnbuckle"), (turnctl(), "turnctl")] {
            fs::copy(program, binaries.join(name)).unwrap();
        }
        let output = Command::new(xtask())
            .args(["package", kind, "--binaries"])
            .arg(&binaries)
            .arg("--output")
            .arg(directory.path().join("output"))
            .env("SOURCE_DATE_EPOCH", "1767225600")
            .output()
            .unwrap();
        let path = told(&output).trim().to_owned();
        Self {
            path: path.into(),
            _directory: directory,
        }
    }
}

/// Standard output of a command that worked.
pub(crate) fn told(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
