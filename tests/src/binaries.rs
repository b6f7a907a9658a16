//! Where the programs under test are.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Path of the server: `TURNBUCKLE_BIN` if set, else built by cargo once per test process.
///
/// # Panics
/// If cargo cannot build it.
pub fn turnbuckle() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT
        .get_or_init(|| find_or_build("TURNBUCKLE_BIN", "turnbuckle-server", "turnbuckle"))
        .clone()
}

/// Path of the admin command: `TURNCTL_BIN` if set, else built by cargo once per test process.
///
/// # Panics
/// If cargo cannot build it.
pub fn turnctl() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT
        .get_or_init(|| find_or_build("TURNCTL_BIN", "turnctl", "turnctl"))
        .clone()
}

/// Path of the project's own tasks: `XTASK_BIN` if set, else built by cargo once per test process.
///
/// # Panics
/// If cargo cannot build it.
pub fn xtask() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT
        .get_or_init(|| find_or_build("XTASK_BIN", "xtask", "xtask"))
        .clone()
}

fn find_or_build(variable: &str, package: &str, binary: &str) -> PathBuf {
    if let Some(path) = env::var_os(variable) {
        return path.into();
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--quiet", "--package", package, "--bin", binary])
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "cannot build {package}:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // Test binaries lie in <target>/<profile>/deps; cargo has just put the program beside that directory.
    let this = env::current_exe().expect("path of this test");
    this.ancestors()
        .map(|directory| directory.join(binary))
        .find(|path| is_program(path))
        .unwrap_or_else(|| panic!("cargo built no {binary} above {}", this.display()))
}

fn is_program(path: &Path) -> bool {
    path.is_file()
}
