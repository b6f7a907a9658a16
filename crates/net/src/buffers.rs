//! Socket buffers: how many bytes the kernel queues, and how many datagrams it had to drop.
//!
//! Owns `SO_RCVBUF`, `SO_SNDBUF` and their privileged forms. Memory is charged only while used.

use std::io;
use std::os::fd::BorrowedFd;

use crate::option;

/// Asks for room for `receive` and `send` bytes; 0 leaves the kernel's default. Without
/// `CAP_NET_ADMIN` the kernel grants at most `net.core.rmem_max` and `wmem_max`, silently: see
/// [`granted_receive`].
pub(crate) fn request(fd: BorrowedFd<'_>, receive: usize, send: usize) -> io::Result<()> {
    for (bytes, forced, plain) in [
        (receive, libc::SO_RCVBUFFORCE, libc::SO_RCVBUF),
        (send, libc::SO_SNDBUFFORCE, libc::SO_SNDBUF),
    ] {
        if bytes == 0 {
            continue;
        }
        let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
        if option::set(fd, libc::SOL_SOCKET, forced, bytes).is_err() {
            option::set(fd, libc::SOL_SOCKET, plain, bytes)?;
        }
    }
    Ok(())
}

/// Bytes granted for receiving, in the unit they were asked for in.
pub(crate) fn granted_receive(fd: BorrowedFd<'_>) -> io::Result<usize> {
    let [bytes] = option::read(fd, libc::SOL_SOCKET, libc::SO_RCVBUF)?;
    // The kernel reports twice the request: it counts its own bookkeeping.
    Ok(bytes as usize / 2)
}

/// Datagrams dropped by the kernel since the socket was made, because its buffer was full or their
/// checksum was wrong. Wraps around.
pub(crate) fn kernel_drops(fd: BorrowedFd<'_>) -> io::Result<u32> {
    let info: [u32; MEMINFO_DROPS + 1] = option::read(fd, libc::SOL_SOCKET, libc::SO_MEMINFO)?;
    Ok(info[MEMINFO_DROPS])
}

/// Index of the drop counter in `SO_MEMINFO` (`SK_MEMINFO_DROPS`).
const MEMINFO_DROPS: usize = 8;
