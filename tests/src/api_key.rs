//! A key for the credential endpoint, as an operator makes one.

use std::process::Command;

use crate::binaries;

/// What `turnctl api-key` prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// What is shown to the server.
    pub key: String,
    /// The line for the server's file, without its end.
    pub line: String,
}

impl ApiKey {
    /// Makes one that the log calls `name`.
    ///
    /// # Panics
    /// If `turnctl` fails or prints anything else.
    pub fn new(name: &str) -> Self {
        let output = Command::new(binaries::turnctl())
            .args(["api-key", name])
            .output()
            .expect("turnctl runs");
        let text = String::from_utf8_lossy(&output.stdout);
        let lines: Vec<&str> = text.lines().collect();
        let (Some(key), Some(line)) = (
            lines.first().and_then(|line| line.strip_prefix("Key:")),
            lines.get(1).and_then(|line| line.strip_prefix("Line:")),
        ) else {
            panic!(
                "turnctl api-key printed, with {}: {output:?}",
                output.status
            );
        };
        Self {
            key: key.trim().to_owned(),
            line: line.trim().to_owned(),
        }
    }
}
