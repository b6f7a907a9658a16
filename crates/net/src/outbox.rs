//! Datagrams that leave one listener at the end of a turn.
//!
//! Owns the queue and the resumption behind a datagram that fails. Holds no payload: the bytes stay
//! in the [`Arena`] until the flush.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::AsRawFd;

use crate::arena::Arena;
use crate::cmsg::Control;
use crate::listener::UdpListener;
use crate::messages::{BATCH_MAX, Messages};
use crate::pending_error::{is_full, is_interrupted, is_pending};
use crate::segmentation::{self, SEGMENTS_MAX, TRAIN_MAX_BYTES};
use crate::send_report::SendReport;
use crate::sockaddr::RawAddress;

/// A bounded queue of [`Transmit`]s; sends them in the order they were pushed.
#[derive(Debug)]
pub struct Outbox {
    queue: Vec<Transmit>,
    capacity: usize,
    refused: u64,
    messages: Messages,
    /// Which part of the queue each staged message holds.
    parts: Vec<Range<usize>>,
    /// Cleared once the kernel has refused a train.
    sends_trains: bool,
}

impl Outbox {
    /// Room for `capacity` datagrams between two flushes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            queue: Vec::with_capacity(capacity),
            capacity,
            refused: 0,
            messages: Messages::with_vectors(capacity, PIECES),
            parts: Vec::with_capacity(capacity.min(BATCH_MAX)),
            sends_trains: true,
        }
    }

    /// The same, which sends every datagram as a message of its own.
    #[must_use]
    pub fn without_trains(mut self) -> Self {
        self.sends_trains = false;
        self
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

    /// Sends everything queued, up to 1024 messages per system call, and leaves the queue empty.
    /// Each datagram ends in exactly one counter of `report`.
    ///
    /// Neighbours in the queue that go the same way and are equally long leave as one message. A
    /// datagram that fails costs itself only: sending goes on with the next one. An ICMP error
    /// that waits at the socket costs none. If the send buffer is full, the rest is dropped. A
    /// datagram that lies outside of its slot counts as [`SendReport::dropped_error`].
    #[inline]
    pub fn flush(&mut self, listener: &UdpListener, arena: &Arena, report: &mut SendReport) {
        report.dropped_outbox_full += self.refused;
        self.refused = 0;
        let mut next = 0;
        // Up to there, datagrams go one by one: they were refused as a train.
        let mut plain_until = 0;
        let mut counted = 0;
        while next < self.queue.len() {
            let end = self.stage(next, plain_until, arena, &mut counted, report);
            let headers = self.messages.prepare_send();
            // SAFETY: `prepare_send` points the headers at names, vectors and control buffers of
            // `self.messages`, borrowed mutably as long as `headers` lives, and the vectors at bytes
            // of `arena` and of `self.queue`, neither of which is changed before the call returns.
            match unsafe { send_all(listener, headers, &self.parts, report) } {
                Outcome::Sent => next = end,
                Outcome::Full => {
                    report.dropped_would_block += (self.queue.len() - end) as u64;
                    break;
                }
                Outcome::TrainRefused { message, for_good } => {
                    (next, plain_until) = (self.parts[message].start, self.parts[message].end);
                    self.sends_trains &= !for_good;
                }
            }
        }
        self.queue.clear();
    }

    /// Makes messages of the queue from `next` on, and counts what lies outside of its slot, once: `counted` is how
    /// far that was done. Returns where it stopped.
    #[inline]
    fn stage(
        &mut self,
        mut next: usize,
        plain_until: usize,
        arena: &Arena,
        counted: &mut usize,
        report: &mut SendReport,
    ) -> usize {
        self.messages.clear();
        self.parts.clear();
        while let Some(first) = self.queue.get(next) {
            if first.body(arena).is_none() {
                if next >= *counted {
                    report.dropped_error += 1;
                    *counted = next + 1;
                }
                next += 1;
                continue;
            }
            let train = if self.sends_trains && next >= plain_until {
                train_len(&self.queue[next..], arena)
            } else {
                1
            };
            if self.messages.room() < train * PIECES {
                break;
            }
            let mut control = Control::for_send(first.to.ip(), first.source, first.tos);
            if train > 1 {
                segmentation::push(&mut control, first.total() as u16);
            }
            if !self.messages.begin(RawAddress::from(first.to), control) {
                break;
            }
            self.parts.push(next..next + train);
            for transmit in &self.queue[next..next + train] {
                if !transmit.front.is_empty() {
                    self.messages.gather(transmit.front.bytes());
                }
                if let Some(body) = transmit.body(arena) {
                    self.messages.gather(body);
                }
            }
            next += train;
        }
        next
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

/// What became of the staged messages.
enum Outcome {
    /// Each was sent or counted as lost.
    Sent,
    /// The send buffer was full; the rest of them was counted.
    Full,
    /// All before this one were sent. It is a train that the kernel does not take: never, or not this one.
    TrainRefused { message: usize, for_good: bool },
}

/// Sends `headers` in order and counts their datagrams, as many as `parts` is long for each.
///
/// # Safety
/// Every pointer in `headers` must be valid for reading the length beside it.
unsafe fn send_all(
    listener: &UdpListener,
    headers: &mut [libc::mmsghdr],
    parts: &[Range<usize>],
    report: &mut SendReport,
) -> Outcome {
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
            // The kernel stops at the first message that fails and says why in the next call.
            for part in &parts[next..next + sent] {
                report.sent += part.len() as u64;
                report.trains += u64::from(part.len() > 1);
            }
            next += sent;
            retried = false;
            continue;
        }
        let error = io::Error::last_os_error();
        if is_interrupted(&error) {
            continue;
        }
        if is_full(&error) {
            let datagrams: usize = parts[next..].iter().map(Range::len).sum();
            report.drop_for(&error, datagrams as u64);
            return Outcome::Full;
        }
        let datagrams = parts[next].len();
        let for_good = segmentation::is_unsupported(&error);
        if datagrams > 1 && (for_good || segmentation::is_too_long(&error)) {
            return Outcome::TrainRefused {
                message: next,
                for_good,
            };
        }
        if is_pending(&error) && !retried {
            retried = true;
            continue;
        }
        report.drop_for(&error, datagrams as u64);
        next += 1;
        retried = false;
    }
    Outcome::Sent
}

/// How many datagrams at the head of the queue can leave as one.
#[inline]
fn train_len(queue: &[Transmit], arena: &Arena) -> usize {
    let Some((first, rest)) = queue.split_first() else {
        return 0;
    };
    let segment = first.total();
    let mut bytes = segment;
    let mut len = 1;
    for transmit in rest {
        let total = transmit.total();
        bytes += total;
        if transmit.to != first.to
            || total > segment
            || total == 0
            || transmit.source != first.source
            || transmit.tos != first.tos
            || len == SEGMENTS_MAX
            || bytes > TRAIN_MAX_BYTES
            || transmit.body(arena).is_none()
        {
            break;
        }
        len += 1;
        if total < segment {
            break;
        }
    }
    len
}

/// A datagram to send; its bytes are `front` and then `arena.slot(slot)[start..start + len]` at the time of the
/// flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where it goes.
    pub to: SocketAddr,
    /// The local address it leaves from: on a wildcard socket, the one the request came to. `None`:
    /// the kernel's choice.
    pub source: Option<IpAddr>,
    /// DSCP and ECN; 0: the socket's default.
    pub tos: u8,
    /// Goes in front of the bytes in the slot.
    pub front: Front,
    /// Slot of the arena.
    pub slot: u32,
    /// First byte in the slot, counted from its beginning (headroom included).
    pub start: u32,
    /// Bytes in the slot.
    pub len: u32,
}

impl Transmit {
    #[inline]
    fn body<'a>(&self, arena: &'a Arena) -> Option<&'a [u8]> {
        arena.bytes(self.slot as usize, self.start as usize, self.len as usize)
    }

    #[inline]
    fn total(&self) -> usize {
        self.front.bytes().len() + self.len as usize
    }
}

/// A few bytes in front of a datagram whose slot has no room for them: that of a bundle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Front(Option<[u8; FRONT_BYTES]>);

impl Front {
    /// Nothing: all of the datagram is in the slot.
    pub const NONE: Self = Self(None);

    /// These bytes.
    pub const fn new(bytes: [u8; FRONT_BYTES]) -> Self {
        Self(Some(bytes))
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], <[u8; FRONT_BYTES]>::as_slice)
    }

    #[inline]
    fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

/// The header of ChannelData.
const FRONT_BYTES: usize = 4;

/// A datagram is made of its front and its bytes in the slot.
const PIECES: usize = 2;
