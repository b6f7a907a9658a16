//! CPUs: which this process may use, how many are worth a thread each, and pinning.

use std::io;
use std::num::NonZeroUsize;
use std::thread;

/// Keeps the calling thread on `cpu`, one of [`allowed_cpus`].
///
/// # Errors
/// `InvalidInput` if the process may not run on that CPU or it does not exist.
pub fn pin_current_thread(cpu: usize) -> io::Result<()> {
    let mut mask: CpuMask = [0; CPU_WORDS];
    let word = mask
        .get_mut(cpu / WORD_BITS)
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    *word = 1 << (cpu % WORD_BITS);
    // SAFETY: thread 0 is the calling one; the kernel reads the size of the mask from it.
    let result = unsafe { libc::sched_setaffinity(0, size_of_val(&mask), mask.as_ptr().cast()) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The CPUs the calling thread may run on, in rising order.
///
/// # Errors
/// What the kernel says, such as `InvalidInput` on a host with more than 8192 CPUs.
pub fn allowed_cpus() -> io::Result<Vec<usize>> {
    let mut mask: CpuMask = [0; CPU_WORDS];
    // SAFETY: thread 0 is the calling one; the kernel writes at most the size of the mask to it.
    let result =
        unsafe { libc::sched_getaffinity(0, size_of_val(&mask), mask.as_mut_ptr().cast()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((0..CPU_WORDS * WORD_BITS)
        .filter(|cpu| mask[cpu / WORD_BITS] >> (cpu % WORD_BITS) & 1 == 1)
        .collect())
}

/// How many threads can run at the same time: the allowed CPUs, or less where a cgroup (v1 or v2)
/// grants this process a smaller share of them. 1 if that can't be found out.
pub fn useful_parallelism() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// In the words the kernel counts in.
type CpuMask = [libc::c_ulong; CPU_WORDS];

const WORD_BITS: usize = libc::c_ulong::BITS as usize;
const CPU_WORDS: usize = 8192 / WORD_BITS;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pinning_leaves_one_cpu() {
        // In a thread of its own, so that no other test is pinned.
        thread::spawn(|| {
            let allowed = allowed_cpus().unwrap();
            let last = *allowed.last().unwrap();
            pin_current_thread(last).unwrap();
            assert_eq!(allowed_cpus().unwrap(), [last]);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn cpus_that_do_not_exist_are_refused() {
        for cpu in [8191, 8192, usize::MAX] {
            assert!(pin_current_thread(cpu).is_err(), "CPU {cpu}");
        }
    }

    #[test]
    fn parallelism_is_bounded_by_the_allowed_cpus() {
        let parallelism = useful_parallelism();
        assert!((1..=allowed_cpus().unwrap().len()).contains(&parallelism));
    }
}
