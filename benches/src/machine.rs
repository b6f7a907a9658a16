//! What a result depends on beside the servers: machine, kernel, date, command.
//!
//! Owns the reading of it.

use std::env;
use std::fs;

use serde::Serialize;
use turnbuckle_net::allowed_cpus;

/// Where and when a run took place.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cpus: usize,
    pub(crate) memory_mib: u64,
    pub(crate) kernel: String,
    pub(crate) distribution: String,
    /// UTC.
    pub(crate) date: String,
    pub(crate) command: String,
}

impl Machine {
    /// This one, now.
    pub(crate) fn here() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let release = rustix::system::uname();
        Self {
            cpu: field(&read("/proc/cpuinfo"), "model name", ':').unwrap_or_else(unknown),
            cpus: allowed_cpus().map_or(0, |cpus| cpus.len()),
            memory_mib: field(&read("/proc/meminfo"), "MemTotal", ':')
                .and_then(|value| value.trim_end_matches(" kB").parse::<u64>().ok())
                .map_or(0, |kib| kib / 1024),
            kernel: format!(
                "{} {} {}",
                release.sysname().to_string_lossy(),
                release.release().to_string_lossy(),
                release.machine().to_string_lossy()
            ),
            distribution: field(&read("/etc/os-release"), "PRETTY_NAME", '=')
                .map_or_else(unknown, |name| name.trim_matches('"').to_owned()),
            date: date(),
            command: command(),
        }
    }
}

/// The value behind `name` in lines of names and values.
fn field(text: &str, name: &str, separator: char) -> Option<String> {
    text.lines().find_map(|line| {
        let (found, value) = line.split_once(separator)?;
        (found.trim() == name).then(|| value.trim().to_owned())
    })
}

fn unknown() -> String {
    "unknown".to_owned()
}

fn date() -> String {
    let seconds = i64::try_from(crate::clock::unix_seconds()).unwrap_or_default();
    jiff::Timestamp::from_second(seconds).map_or_else(
        |_| unknown(),
        |time| time.strftime("%Y-%m-%d %H:%M UTC").to_string(),
    )
}

/// The command line, programs without their directories.
fn command() -> String {
    let words = env::args().map(|word| match word.rsplit_once('/') {
        Some((directory, name)) if directory.starts_with('/') => name.to_owned(),
        _ => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "model\t\t: 17\nmodel name\t: Some CPU @ 2 GHz\nmodel name\t: Another\n";
        assert_eq!(
            field(text, "model name", ':').as_deref(),
            Some("Some CPU @ 2 GHz")
        );
        assert_eq!(field(text, "name", ':'), None);
    }

    #[test]
    fn this_machine_is_described() {
        let machine = Machine::here();
        assert!(machine.kernel.starts_with("Linux "), "{machine:?}");
        assert!(machine.cpus > 0 && machine.memory_mib > 0, "{machine:?}");
        assert!(machine.date.ends_with(" UTC"), "{machine:?}");
    }
}
