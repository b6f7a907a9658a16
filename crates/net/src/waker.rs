//! Waking a thread that waits in [`Poll`](crate::Poll): an eventfd.
//!
//! Carries no message; what the wake is about is written elsewhere before.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Shared by the thread that waits (it adds the waker to its [`Poll`](crate::Poll)) and those that
/// wake it.
#[derive(Debug)]
pub struct Waker {
    fd: OwnedFd,
}

impl Waker {
    /// A waker that nobody has woken yet.
    ///
    /// # Errors
    /// What the kernel says, such as `EMFILE`.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes two numbers, returns a descriptor.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            // SAFETY: just made by the kernel and owned by nobody else.
            fd: unsafe { OwnedFd::from_raw_fd(fd) },
        })
    }

    /// Makes the waiting thread return from its wait, now or the next time. Never blocks.
    pub fn wake(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: the descriptor is open; eight bytes are read from an array of eight. The only
        // possible failure is a counter at its limit, and then the waker is readable anyway.
        unsafe { libc::write(self.fd.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Takes all wakes so far back, so that the next wait waits. Call it before looking at what the
    /// wake was about.
    pub fn drain(&self) {
        let mut count = [0; 8];
        // SAFETY: the descriptor is open; at most eight bytes are written to an array of eight. The
        // only possible failure is that nobody woke, and then there is nothing to take back.
        unsafe { libc::read(self.fd.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Waker {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
