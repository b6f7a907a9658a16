//! What `cargo xtask install` has put below the target directory: packages of npm, and Synapse.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `entry`, a module that imports packages of npm, and all that it imports, as one script for a browser. What
/// the module exports are members of the global `name`.
///
/// # Panics
/// If it cannot be bundled, or nothing is installed: ask for [`crate::Requirement::NodeModules`] first.
pub fn bundle(entry: &Path, name: &str) -> String {
    let modules = node_modules().expect("NodeModules is required");
    let output = Command::new("node")
        .arg(modules.join("esbuild/bin/esbuild"))
        .arg(entry)
        .args(["--bundle", "--format=iife", "--target=chrome110"])
        .args(["--log-level=error", "--charset=utf8"])
        .arg(format!("--global-name={name}"))
        // The module lies in the source tree, the packages do not.
        .env("NODE_PATH", &modules)
        .output()
        .expect("node runs");
    assert!(
        output.status.success(),
        "cannot bundle {}:\n{}",
        entry.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("esbuild writes UTF-8")
}

/// The Python that Synapse is installed for, if it is.
pub fn synapse_python() -> Option<PathBuf> {
    Some(installed("synapse")?.join("venv/bin/python"))
}

pub(crate) fn node_modules() -> Option<PathBuf> {
    Some(installed("web")?.join("node_modules"))
}

/// Test binaries lie in `<target>/<profile>/deps`. The file named `installed` is written last.
fn installed(what: &str) -> Option<PathBuf> {
    let this = env::current_exe().expect("path of this test");
    this.ancestors()
        .map(|directory| directory.join("interop").join(what))
        .find(|directory| directory.join("installed").is_file())
}
