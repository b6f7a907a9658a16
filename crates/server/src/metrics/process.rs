//! What the kernel knows of this process. Owns the reading of `/proc/self`; what cannot be read is left out.

use std::collections::BTreeMap;
use std::fs;

/// This process at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ProcessFigures {
    pub(crate) cpu_seconds: Option<f64>,
    /// CPU time of the threads alive, by name; threads of one name are one.
    pub(crate) threads: BTreeMap<String, f64>,
    pub(crate) resident_bytes: Option<u64>,
    pub(crate) virtual_bytes: Option<u64>,
    pub(crate) open_descriptors: Option<u64>,
    /// `None` also for no limit.
    pub(crate) descriptors_max: Option<u64>,
}

impl ProcessFigures {
    pub(crate) fn read() -> Self {
        let text = |path: &str| fs::read_to_string(format!("/proc/self/{path}")).ok();
        let status = text("status").unwrap_or_default();
        Self {
            cpu_seconds: text("stat").and_then(|stat| cpu_seconds(&stat)),
            threads: threads(),
            resident_bytes: kibibytes(&status, "VmRSS:"),
            virtual_bytes: kibibytes(&status, "VmSize:"),
            // Less the one that the directory is read with.
            open_descriptors: fs::read_dir("/proc/self/fd")
                .ok()
                .map(|all| (all.count() as u64).saturating_sub(1)),
            descriptors_max: text("limits").and_then(|limits| descriptors_max(&limits)),
        }
    }
}

fn threads() -> BTreeMap<String, f64> {
    let mut all = BTreeMap::new();
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten();
    for task in tasks.filter_map(Result::ok) {
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        if let Some((name, seconds)) = name(&stat).zip(cpu_seconds(&stat)) {
            *all.entry(name.to_owned()).or_default() += seconds;
        }
    }
    all
}

/// The name in a `stat` file: what is between the first and the last parenthesis.
fn name(stat: &str) -> Option<&str> {
    let (_, rest) = stat.split_once('(')?;
    rest.rsplit_once(')').map(|(name, _)| name)
}

/// User and system time, the 14th and 15th field of a `stat` file; the name may hold anything, so they are counted from behind it.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user.checked_add(system)? as f64 / TICKS_PER_SECOND)
}

fn kibibytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    number.checked_mul(1024)
}

fn descriptors_max(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// `USER_HZ`, which is the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_hold_parentheses() {
        let stat = "12 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 1 0 9 9 9";
        assert_eq!(name(stat), Some("a) b"));
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("12 (a) S 1"), None);
    }

    #[test]
    fn limits_and_sizes_are_read() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            1024                 4096                 files\n";
        assert_eq!(descriptors_max(limits), Some(1024));
        assert_eq!(
            descriptors_max("Max open files unlimited unlimited files"),
            None
        );
        assert_eq!(
            kibibytes("VmSize:\t  8 kB\nVmRSS:\t  2 kB\n", "VmRSS:"),
            Some(2048)
        );
    }

    #[test]
    fn this_process_has_figures() {
        let before = ProcessFigures::read();
        assert!(before.resident_bytes.unwrap() > 4096);
        assert!(before.virtual_bytes >= before.resident_bytes);
        assert!(
            before
                .descriptors_max
                .is_none_or(|max| max >= before.open_descriptors.unwrap())
        );
        assert!(!before.threads.is_empty());
        let _files: Vec<_> = (0..50)
            .map(|_| fs::File::open("/dev/null").unwrap())
            .collect();
        assert!(ProcessFigures::read().open_descriptors.unwrap() >= 50);
    }
}
