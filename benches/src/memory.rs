//! Resident memory of a process.
//!
//! Owns the reading of smaps_rollup: status lags behind by some pages per thread.

use std::fs;
use std::io;

/// Resident memory of process `pid`, in bytes. What the kernel keeps for its sockets is not in it.
///
/// # Errors
/// If there is no such process or it may not be looked at.
pub(crate) fn resident_bytes(pid: u32) -> io::Result<u64> {
    parse(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "smaps_rollup is unreadable"))
}

fn parse(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kibibytes_are_found() {
        let text = "00400000-7ff [rollup]\nRss:               12 kB\nPss:   9 kB\n";
        assert_eq!(parse(text), Some(12_288));
        assert_eq!(parse("Pss: 9 kB\n"), None);
    }

    #[test]
    fn what_is_touched_is_resident() {
        let before = resident_bytes(std::process::id()).unwrap();
        let memory = std::hint::black_box(vec![1_u8; 64 << 20]);
        let after = resident_bytes(std::process::id()).unwrap();
        drop(memory);
        assert!(after > before + (32 << 20), "{before} {after}");
    }
}
