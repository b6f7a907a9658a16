//! Waiting for sockets: level-triggered epoll.
//!
//! Owns the epoll descriptor and the event buffer. Level triggered, so a caller may take one datagram
//! per event and come back for the rest.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

/// A set of descriptors to wait for.
#[derive(Debug)]
pub struct Poll {
    fd: OwnedFd,
    /// The kernel (5.11 and later) takes a timeout in nanoseconds.
    precise: bool,
}

impl Poll {
    /// An empty set.
    ///
    /// # Errors
    /// What the kernel says, such as `EMFILE`.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes a flag, returns a descriptor.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            // SAFETY: just made by the kernel and owned by nobody else.
            fd: unsafe { OwnedFd::from_raw_fd(fd) },
            precise: true,
        })
    }

    /// Waits until a member is ready or `timeout` is over (`None`: for ever; zero: not at all) and
    /// replaces the content of `events`. A signal ends the wait early with no events.
    ///
    /// # Errors
    /// What the kernel says; a signal is none.
    pub fn wait(&mut self, timeout: Option<Duration>, events: &mut Events) -> io::Result<()> {
        events.ready = 0;
        match self.wait_for(timeout, events) {
            Ok(ready) => {
                events.ready = ready;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Adds `fd`: its readiness to be read is reported with `token`. The kernel forgets it when the
    /// last descriptor of the socket is closed.
    ///
    /// # Errors
    /// `AlreadyExists` if it is a member; what else the kernel says.
    pub fn add(&self, fd: impl AsFd, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd.as_fd(), token)
    }

    /// Gives the member `fd` another token.
    ///
    /// # Errors
    /// `NotFound` if it is no member; what else the kernel says.
    pub fn modify(&self, fd: impl AsFd, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd.as_fd(), token)
    }

    /// Removes the member `fd`. Events already in an [`Events`] stay there.
    ///
    /// # Errors
    /// `NotFound` if it is no member; what else the kernel says.
    pub fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd.as_fd(), 0)
    }

    fn wait_for(&mut self, timeout: Option<Duration>, events: &mut Events) -> io::Result<usize> {
        if self.precise {
            let result = self.wait_precisely(timeout, events);
            match result.as_ref().map_err(io::Error::raw_os_error) {
                Err(Some(libc::ENOSYS | libc::EPERM)) => self.precise = false,
                _ => return result,
            }
        }
        // SAFETY: the kernel writes at most `capacity` events into memory that holds as many.
        let ready = unsafe {
            libc::epoll_wait(
                self.fd.as_raw_fd(),
                events.memory.as_mut_ptr(),
                events.capacity(),
                timeout.map_or(-1, whole_milliseconds),
            )
        };
        usize::try_from(ready).map_err(|_| io::Error::last_os_error())
    }

    fn wait_precisely(&self, timeout: Option<Duration>, events: &mut Events) -> io::Result<usize> {
        let timeout = timeout.map(|timeout| Timespec {
            seconds: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            nanoseconds: i64::from(timeout.subsec_nanos()),
        });
        // SAFETY: the kernel writes at most `capacity` events into memory that holds as many, reads
        // the timeout unless it is null, and no signal mask.
        let ready = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.fd.as_raw_fd(),
                events.memory.as_mut_ptr(),
                events.capacity(),
                timeout.as_ref().map_or(ptr::null(), ptr::from_ref),
                ptr::null::<libc::sigset_t>(),
                0_usize,
            )
        };
        usize::try_from(ready).map_err(|_| io::Error::last_os_error())
    }

    fn control(&self, operation: libc::c_int, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: token,
        };
        // SAFETY: both descriptors are open for their borrows; the kernel reads one event.
        let result =
            unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), operation, fd.as_raw_fd(), &mut event) };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

impl AsFd for Poll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Poll {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// What one [`Poll::wait`] reported.
pub struct Events {
    memory: Box<[libc::epoll_event]>,
    ready: usize,
}

impl Events {
    /// Room for `capacity` events per wait, at least one. More ready members than that are reported by
    /// the following waits, in turn.
    pub fn with_capacity(capacity: usize) -> Self {
        let capacity = capacity.clamp(1, EVENTS_MAX);
        Self {
            memory: vec![libc::epoll_event { events: 0, u64: 0 }; capacity].into_boxed_slice(),
            ready: 0,
        }
    }

    /// The events, each member at most once.
    #[inline]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Event> + '_ {
        self.memory[..self.ready].iter().map(|event| {
            let flags = event.events as libc::c_int;
            Event {
                token: event.u64,
                readable: flags & libc::EPOLLIN != 0,
                error: flags & libc::EPOLLERR != 0,
                hangup: flags & libc::EPOLLHUP != 0,
            }
        })
    }

    /// How many members were ready.
    #[inline]
    pub fn len(&self) -> usize {
        self.ready
    }

    /// Whether the wait ended without an event.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.ready == 0
    }

    fn capacity(&self) -> libc::c_int {
        self.memory.len() as libc::c_int
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// A member that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// As given to [`Poll::add`].
    pub token: u64,
    /// There is something to receive.
    pub readable: bool,
    /// An error waits; a receive or a send takes it.
    pub error: bool,
    /// The other side has closed; never on UDP sockets.
    pub hangup: bool,
}

/// Rounded up, so that a wait never ends before the time is over.
fn whole_milliseconds(timeout: Duration) -> libc::c_int {
    let milliseconds = timeout.as_nanos().div_ceil(1_000_000);
    libc::c_int::try_from(milliseconds).unwrap_or(libc::c_int::MAX)
}

/// `struct __kernel_timespec`.
#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

/// Events per wait; the kernel refuses buffers near the size of the address space.
const EVENTS_MAX: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_round_up() {
        assert_eq!(whole_milliseconds(Duration::ZERO), 0);
        assert_eq!(whole_milliseconds(Duration::from_nanos(1)), 1);
        assert_eq!(whole_milliseconds(Duration::from_millis(7)), 7);
        assert_eq!(whole_milliseconds(Duration::from_nanos(7_000_001)), 8);
        assert_eq!(whole_milliseconds(Duration::MAX), libc::c_int::MAX);
    }

    #[test]
    fn kernels_without_nanoseconds_are_waited_on_alike() {
        let mut poll = Poll::new().unwrap();
        poll.precise = false;
        let waker = crate::Waker::new().unwrap();
        poll.add(&waker, 5).unwrap();
        let mut events = Events::with_capacity(4);
        poll.wait(Some(Duration::ZERO), &mut events).unwrap();
        assert!(events.is_empty());
        waker.wake();
        poll.wait(None, &mut events).unwrap();
        assert_eq!(
            events.iter().map(|event| event.token).collect::<Vec<_>>(),
            [5]
        );
    }
}
