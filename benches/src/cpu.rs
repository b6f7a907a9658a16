//! CPU time of processes and of the kernel's packet work, as /proc tells it.
//!
//! Owns the reading of schedstat and of /proc/stat. Linux only.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::time::Duration;

/// Time that the threads of a process have run, in user space and in the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ThreadTimes(BTreeMap<u32, u64>);

impl ThreadTimes {
    /// Of process `pid`, to the nanosecond.
    ///
    /// # Errors
    /// If there is no such process, or the kernel keeps no such statistics.
    pub(crate) fn read(pid: u32) -> io::Result<Self> {
        let mut threads = BTreeMap::new();
        for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
            let entry = entry?;
            let Some(thread) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            // A thread may end while the list is read.
            if let Ok(text) = fs::read_to_string(entry.path().join("schedstat")) {
                threads.insert(thread, parse_schedstat(&text)?);
            }
        }
        Ok(Self(threads))
    }

    /// Time since `earlier`. What a thread ran that has ended since is missing.
    pub(crate) fn since(&self, earlier: &Self) -> Duration {
        let nanoseconds = self
            .0
            .iter()
            .map(|(thread, now)| now.saturating_sub(earlier.0.get(thread).copied().unwrap_or(0)));
        Duration::from_nanos(nanoseconds.sum())
    }
}

/// What all CPUs together did, in ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HostTimes {
    busy: u64,
    softirq: u64,
}

impl HostTimes {
    /// Of this host since it was started.
    ///
    /// # Errors
    /// If /proc/stat can't be read.
    pub(crate) fn read() -> io::Result<Self> {
        parse_stat(&fs::read_to_string("/proc/stat")?)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/stat is unreadable"))
    }

    /// Time in software interrupts since `earlier`, sampled by the tick: part of it is contained in the time of whichever
    /// thread was interrupted.
    pub(crate) fn softirq_since(&self, earlier: &Self) -> Duration {
        ticks(self.softirq.saturating_sub(earlier.softirq))
    }

    /// Time in which a CPU did anything, since `earlier`.
    pub(crate) fn busy_since(&self, earlier: &Self) -> Duration {
        ticks(self.busy.saturating_sub(earlier.busy))
    }
}

fn parse_schedstat(text: &str) -> io::Result<u64> {
    text.split_whitespace()
        .next()
        .and_then(|word| word.parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "schedstat is unreadable"))
}

/// The first line: user, nice, system, idle, iowait, irq, softirq, steal.
fn parse_stat(text: &str) -> Option<HostTimes> {
    let line = text.lines().find(|line| line.starts_with("cpu "))?;
    let columns: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .map_while(|word| word.parse().ok())
        .collect();
    let &[user, nice, system, _, _, irq, softirq, steal, ..] = columns.as_slice() else {
        return None;
    };
    Some(HostTimes {
        busy: user + nice + system + irq + softirq + steal,
        softirq,
    })
}

fn ticks(count: u64) -> Duration {
    Duration::from_secs_f64(count as f64 / rustix::param::clock_ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_time_grows() {
        let before = ThreadTimes::read(std::process::id()).unwrap();
        let mut sum = 0_u64;
        loop {
            sum = std::hint::black_box(sum.wrapping_add(1));
            let now = ThreadTimes::read(std::process::id()).unwrap();
            if now.since(&before) > Duration::ZERO {
                break;
            }
        }
    }

    #[test]
    fn threads_come_and_go() {
        let before = ThreadTimes([(1, 100), (2, 50)].into());
        let after = ThreadTimes([(1, 130), (3, 7)].into());
        assert_eq!(after.since(&before), Duration::from_nanos(37));
    }

    #[test]
    fn stat_is_read() {
        let text = "cpu  10 20 30 400 50 6 7 8 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\nintr 5\n";
        let times = parse_stat(text).unwrap();
        assert_eq!(
            times,
            HostTimes {
                busy: 81,
                softirq: 7
            }
        );
        assert_eq!(parse_stat("cpu 1 2 3\n"), None);
        assert!(HostTimes::read().unwrap().busy > 0);
        assert_eq!(parse_schedstat("123456 77 9\n").unwrap(), 123_456);
        assert!(parse_schedstat("").is_err());
    }
}
