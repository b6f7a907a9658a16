//! Errors a socket call reports about an *earlier* datagram.
//!
//! A socket that is connected or asks for ICMP errors returns such an error once, from whichever
//! call comes next, and that call does nothing else: it has to be made again.

use std::io;

/// Whether `error` may stem from an ICMP message rather than from the call that returned it.
#[inline]
pub(crate) fn is_pending(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNREFUSED
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::ENOPROTOOPT
                | libc::EOPNOTSUPP
                | libc::EPROTO
                | libc::EMSGSIZE
                | libc::EACCES
        )
    )
}

/// Whether `error` says that the kernel has no room for more right now.
#[inline]
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM)
    )
}

#[inline]
pub(crate) fn is_interrupted(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EINTR)
}
