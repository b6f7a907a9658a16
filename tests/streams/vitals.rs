//! What the kernel says of a process, and the limit of this one's descriptors.

use std::fs;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Memory of the process that is in RAM, in KiB.
pub(crate) fn resident_kib(process: u32) -> u64 {
    let status = read(process, "status");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("a running process has memory");
    let kib = line.trim().trim_end_matches(" kB");
    kib.parse().expect("a number of KiB")
}

/// Time that the process has had on processors.
pub(crate) fn cpu_time(process: u32) -> Duration {
    let stat = read(process, "stat");
    // The name in brackets may hold anything.
    let (_, fields) = stat.rsplit_once(')').expect("a name in brackets");
    let ticks: u64 = fields
        .split_whitespace()
        .skip(UTIME - 3)
        .take(2)
        .map(|field| field.parse::<u64>().expect("a number of ticks"))
        .sum();
    Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND)
}

/// Descriptors that the process holds.
pub(crate) fn descriptors(process: u32) -> usize {
    fs::read_dir(format!("/proc/{process}/fd"))
        .expect("a running process has descriptors")
        .count()
}

/// Allows this process so many descriptors.
///
/// # Panics
/// If the host does not.
pub(crate) fn allow_descriptors(count: u64) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < count) {
        let limit = Rlimit {
            current: Some(count),
            ..limit
        };
        setrlimit(Resource::Nofile, limit)
            .unwrap_or_else(|error| panic!("{count} descriptors are not allowed here: {error}"));
    }
}

fn read(process: u32, file: &str) -> String {
    fs::read_to_string(format!("/proc/{process}/{file}")).expect("the process runs")
}

/// Place of the time in user mode, counted from 1; that in the kernel follows.
const UTIME: usize = 14;
/// Linux fixes this for programs, whatever it uses itself.
const TICKS_PER_SECOND: u64 = 100;
