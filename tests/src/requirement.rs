//! The rule about missing tools: a test that cannot run says SKIPPED with the reason; with `CI=true` that is a failure.

use std::env;
use std::fs::OpenOptions;
use std::io::Write;
use std::process::Command;
use std::thread;

use crate::toolbox;

/// Something a test needs from the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requirement {
    /// A program on the search path.
    Program(&'static str),
    /// A library of GObject that Debian's own Python can load, by name and version.
    Typelib(&'static str, &'static str),
    /// A module that Debian's own Python can import.
    Module(&'static str),
    /// What the pages of the browser tests are bundled from; see [`crate::bundle`].
    NodeModules,
    /// The homeserver; see [`crate::synapse_python`].
    Synapse,
    /// The right to make network namespaces, and to become another user.
    Root,
}

impl Requirement {
    /// Whether all of `requirements` are met. If not, prints `SKIPPED: test: reason`, adds the line to the file
    /// named by `TURNBUCKLE_SKIP_LOG` if there is one, and the test is to return.
    ///
    /// # Panics
    /// If one is not met and `CI` is `true`.
    pub fn all_met(requirements: &[Self]) -> bool {
        let Some(reason) = requirements
            .iter()
            .find_map(|requirement| requirement.unmet())
        else {
            return true;
        };
        let test = thread::current().name().unwrap_or("a test").to_owned();
        let line = format!("SKIPPED: {test}: {reason}");
        assert!(
            env::var("CI").as_deref() != Ok("true"),
            "{line} (CI=true allows no skipping)"
        );
        println!("{line}");
        if let Some(path) = env::var_os("TURNBUCKLE_SKIP_LOG") {
            let log = OpenOptions::new().append(true).create(true).open(path);
            // One write of one line: appended whole also when several tests skip at once.
            log.and_then(|mut log| log.write_all(format!("{line}\n").as_bytes()))
                .expect("the skip log can be written");
        }
        false
    }

    /// Whether the tests are run by root.
    pub fn is_root() -> bool {
        rustix::process::geteuid().is_root()
    }

    fn unmet(self) -> Option<String> {
        match self {
            Self::Program(program) if !is_installed(program) => {
                Some(format!("{program} is not installed"))
            }
            Self::Typelib(name, version) if !is_loaded(name, version) => {
                Some(format!("{SYSTEM_PYTHON} cannot load {name} {version}"))
            }
            Self::Module(name) if !runs(&format!("import {name}")) => {
                Some(format!("{SYSTEM_PYTHON} cannot import {name}"))
            }
            Self::Root if !Self::is_root() => Some("it needs root".to_owned()),
            Self::NodeModules if toolbox::node_modules().is_none() => {
                Some("matrix-js-sdk is not installed: `cargo xtask install` does that".to_owned())
            }
            Self::Synapse if toolbox::synapse_python().is_none() => {
                Some("Synapse is not installed: `cargo xtask install` does that".to_owned())
            }
            Self::NodeModules
            | Self::Synapse
            | Self::Program(_)
            | Self::Typelib(..)
            | Self::Module(_)
            | Self::Root => None,
        }
    }
}

fn is_installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

fn is_loaded(name: &str, version: &str) -> bool {
    runs(&format!(
        "import gi; gi.require_version({name:?}, {version:?})"
    ))
}

fn runs(program: &str) -> bool {
    Command::new(SYSTEM_PYTHON)
        .args(["-c", program])
        .output()
        .is_ok_and(|output| output.status.success())
}

/// The Python that Debian's packages of libraries are for; there may be others in front of it on the search path.
pub const SYSTEM_PYTHON: &str = "/usr/bin/python3";
