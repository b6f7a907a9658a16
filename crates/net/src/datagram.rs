//! One system call: `sendto`, `sendmsg`, `recvmsg` for one datagram, `recvmmsg` for a batch.
//!
//! Owns the scratch of the former, on the stack. What leaves in batches is in `outbox` and `train`.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use crate::arena::{Arena, Received};
use crate::cmsg::{CONTROL_BYTES, Control};
use crate::messages::{describe, empty_message};
use crate::pending_error::{is_interrupted, is_pending};
use crate::sockaddr::RawAddress;

/// Sends `bytes` to `to` from the local address `source` (`None`: the kernel's choice) with DSCP
/// and ECN `tos` (0: the socket's default). Never blocks.
///
/// An ICMP error that waits at the socket belongs to an earlier datagram: the send is tried once
/// more, so it does not cost this one.
///
/// # Errors
/// `WouldBlock` if the send buffer is full; otherwise what the kernel says about this datagram.
/// [`SendReport::count`](crate::SendReport::count) sorts them.
#[inline]
pub fn send_to(
    fd: BorrowedFd<'_>,
    bytes: &[u8],
    to: SocketAddr,
    source: Option<IpAddr>,
    tos: u8,
) -> io::Result<()> {
    let mut name = RawAddress::from(to);
    let mut control = Control::for_send(to.ip(), source, tos);
    let mut retried = false;
    loop {
        let result = if control.is_empty() {
            send_plain(fd, bytes, &name)
        } else {
            send_with_control(fd, bytes, &mut name, &mut control)
        };
        let Err(error) = result else {
            return Ok(());
        };
        if is_interrupted(&error) {
            continue;
        }
        if retried || !is_pending(&error) {
            return Err(error);
        }
        retried = true;
    }
}

/// Receives one datagram into `payload`; `None` if there is none. A waiting ICMP error is skipped
/// once, see [`send_to`].
#[inline]
pub(crate) fn receive(fd: BorrowedFd<'_>, payload: &mut [u8]) -> io::Result<Option<Received>> {
    let mut retried = false;
    loop {
        let error = match receive_once(fd, payload) {
            Ok(received) => return Ok(Some(received)),
            Err(error) => error,
        };
        if error.kind() == io::ErrorKind::WouldBlock {
            return Ok(None);
        }
        if is_interrupted(&error) {
            continue;
        }
        if !is_pending(&error) {
            return Err(error);
        }
        if retried {
            return Ok(None);
        }
        retried = true;
    }
}

/// Receives up to `max` datagrams with one system call into the slots from `first_slot` on; see
/// [`UdpListener::receive`](crate::UdpListener::receive).
#[inline]
pub(crate) fn receive_batch(
    fd: BorrowedFd<'_>,
    arena: &mut Arena,
    first_slot: usize,
    max: usize,
    into: &mut Vec<Received>,
) -> io::Result<usize> {
    let count = max
        .min(arena.slots().saturating_sub(first_slot))
        .min(arena.messages.capacity())
        .min(into.capacity() - into.len());
    if count == 0 {
        return Ok(0);
    }
    let (messages, payloads) = arena.scratch(first_slot, count);
    let headers = messages.prepare_receive(payloads);
    let mut skipped = 0;
    let received = loop {
        // SAFETY: the descriptor is open; `headers` are `count` headers whose pointers lead to
        // names, vectors, control buffers and payloads that are all borrowed mutably in this
        // function, each with its size beside it.
        let result = unsafe {
            libc::recvmmsg(
                fd.as_raw_fd(),
                headers.as_mut_ptr(),
                count as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        if let Ok(received) = usize::try_from(result) {
            break received;
        }
        let error = io::Error::last_os_error();
        if error.kind() == io::ErrorKind::WouldBlock {
            return Ok(0);
        }
        if is_interrupted(&error) {
            continue;
        }
        if !is_pending(&error) {
            return Err(error);
        }
        skipped += 1;
        if skipped == PENDING_ERRORS_MAX {
            return Ok(0);
        }
    };
    into.extend((0..received).map(|i| arena.messages.received(i)));
    Ok(received)
}

#[inline]
fn send_plain(fd: BorrowedFd<'_>, bytes: &[u8], name: &RawAddress) -> io::Result<()> {
    // SAFETY: the descriptor is open for the borrow; the kernel reads `bytes.len()` bytes and the
    // address, whose length `name.len()` does not exceed its size.
    let result = unsafe {
        libc::sendto(
            fd.as_raw_fd(),
            bytes.as_ptr().cast(),
            bytes.len(),
            libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            ptr::from_ref(name).cast(),
            name.len(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[inline]
fn send_with_control(
    fd: BorrowedFd<'_>,
    bytes: &[u8],
    name: &mut RawAddress,
    control: &mut Control,
) -> io::Result<()> {
    let mut vector = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let mut header = empty_message();
    header.msg_namelen = name.len();
    header.msg_name = ptr::from_mut(name).cast();
    header.msg_iov = &mut vector;
    header.msg_iovlen = 1;
    header.msg_controllen = control.len() as _;
    header.msg_control = control.as_mut_ptr();
    // SAFETY: the descriptor is open for the borrow; every pointer in the header is to a value
    // that lives until the call returns, with its length beside it; the kernel only reads them.
    let result = unsafe {
        libc::sendmsg(
            fd.as_raw_fd(),
            &header,
            libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[inline]
fn receive_once(fd: BorrowedFd<'_>, payload: &mut [u8]) -> io::Result<Received> {
    let mut name = RawAddress::default();
    let mut control = Control::default();
    let mut vector = libc::iovec {
        iov_base: payload.as_mut_ptr().cast(),
        iov_len: payload.len(),
    };
    let mut header = empty_message();
    header.msg_name = ptr::from_mut(&mut name).cast();
    header.msg_namelen = RawAddress::CAPACITY;
    header.msg_iov = &mut vector;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr();
    header.msg_controllen = CONTROL_BYTES as _;
    // SAFETY: the descriptor is open for the borrow; every pointer in the header is to a value
    // that lives until the call returns and is borrowed mutably here, with its size beside it.
    let len = unsafe { libc::recvmsg(fd.as_raw_fd(), &mut header, libc::MSG_DONTWAIT) };
    match usize::try_from(len) {
        Ok(len) => Ok(describe(&header, len, &name, &control)),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// ICMP errors skipped in one call; the socket stays readable, so the rest is not lost.
const PENDING_ERRORS_MAX: usize = 4;
