//! Datagrams that leave one listener at the end of a turn.
//!
//! Owns the queue and the resumption behind a datagram that fails. Holds no payload: the bytes stay
//! in the [`Arena`] until the flush.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

use crate::arena::Arena;
use crate::cmsg::Control;
use crate::listener::UdpListener;
use crate::messages::{BATCH_MAX, Messages};
use crate::pending_error::{is_full, is_interrupted, is_pending};
use crate::send_report::SendReport;
use crate::sockaddr::RawAddress;

/// A bounded queue of [`Transmit`]s; sends them in the order they were pushed.
#[derive(Debug)]
pub struct Outbox {
    queue: Vec<Transmit>,
    capacity: usize,
    refused: u64,
    messages: Messages,
}

impl Outbox {
    /// Room for `capacity` datagrams between two flushes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            queue: Vec::with_capacity(capacity),
            capacity,
            refused: 0,
            messages: Messages::with_capacity(capacity),
        }
    }

    /// Queues a datagram. `false`: there is no room; the datagram is dropped, and counted by the next
    /// [`Self::flush`].
    #[inline]
    pub fn push(&mut self, transmit: Transmit) -> bool {
        if self.is_full() {
            self.refused += 1;
            return false;
        }
        self.queue.push(transmit);
        true
    }

    /// Sends everything queued, up to 1024 datagrams per system call, and leaves the queue empty.
    /// Each datagram ends in exactly one counter of `report`.
    ///
    /// A datagram that fails costs itself only: sending goes on with the next one. An ICMP error
    /// that waits at the socket costs none. If the send buffer is full, the rest is dropped. A
    /// datagram that lies outside of its slot counts as [`SendReport::dropped_error`].
    #[inline]
    pub fn flush(&mut self, listener: &UdpListener, arena: &Arena, report: &mut SendReport) {
        report.dropped_outbox_full += self.refused;
        self.refused = 0;
        let mut chunks = self.queue.chunks(BATCH_MAX);
        for chunk in chunks.by_ref() {
            let mut staged = 0;
            for transmit in chunk {
                let Some(bytes) = arena.bytes(
                    transmit.slot as usize,
                    transmit.start as usize,
                    transmit.len as usize,
                ) else {
                    report.dropped_error += 1;
                    continue;
                };
                let to = transmit.to;
                let control = Control::for_send(to.ip(), transmit.source, transmit.tos);
                self.messages
                    .stage(staged, bytes, RawAddress::from(to), control);
                staged += 1;
            }
            let headers = self.messages.prepare_send(staged);
            // SAFETY: `prepare_send` points the headers at names, vectors and control buffers of
            // `self.messages`, borrowed mutably as long as `headers` lives, and the vectors at bytes
            // of `arena`, borrowed until the end of this function.
            if !unsafe { send_all(listener, headers, report) } {
                break;
            }
        }
        for unsent in chunks {
            report.dropped_would_block += unsent.len() as u64;
        }
        self.queue.clear();
    }

    /// Whether the next [`Self::push`] would be refused.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.queue.len() == self.capacity
    }

    /// Whether nothing is queued.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How many datagrams are queued.
    #[inline]
    pub fn len(&self) -> usize {
        self.queue.len()
    }
}

/// Sends `headers` in order and counts each. `false` if the send buffer was full, so that the rest of
/// them was dropped.
///
/// # Safety
/// Every pointer in `headers` must be valid for reading the length beside it.
unsafe fn send_all(
    listener: &UdpListener,
    headers: &mut [libc::mmsghdr],
    report: &mut SendReport,
) -> bool {
    let mut next = 0;
    let mut retried = false;
    while next < headers.len() {
        let rest = &mut headers[next..];
        report.calls += 1;
        // SAFETY: the descriptor is open, `rest.len()` headers are there, and the caller vouches
        // for what they point at.
        let result = unsafe {
            libc::sendmmsg(
                listener.as_raw_fd(),
                rest.as_mut_ptr(),
                rest.len() as libc::c_uint,
                (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
            )
        };
        if let Ok(sent) = usize::try_from(result) {
            // The kernel stops at the first datagram that fails and says why in the next call.
            next += sent;
            report.sent += sent as u64;
            retried = false;
            continue;
        }
        let error = io::Error::last_os_error();
        if is_interrupted(&error) {
            continue;
        }
        if is_full(&error) {
            report.drop_for(&error, rest.len() as u64);
            return false;
        }
        if is_pending(&error) && !retried {
            retried = true;
            continue;
        }
        report.drop_for(&error, 1);
        next += 1;
        retried = false;
    }
    true
}

/// A datagram to send; its bytes are `arena.slot(slot)[start..start + len]` at the time of the flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where it goes.
    pub to: SocketAddr,
    /// The local address it leaves from: on a wildcard socket, the one the request came to. `None`:
    /// the kernel's choice.
    pub source: Option<IpAddr>,
    /// DSCP and ECN; 0: the socket's default.
    pub tos: u8,
    /// Slot of the arena.
    pub slot: u32,
    /// First byte in the slot, counted from its beginning (headroom included).
    pub start: u32,
    /// Bytes.
    pub len: u32,
}
