//! The receive memory of one shard.
//!
//! Owns the bytes datagrams are received into and the description of each. Must not touch a socket.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::ops::Range;

use crate::messages::Messages;

/// `N` equal slots in one piece of memory. A payload is received at [`HEADROOM`] so that a header
/// can be written in front of it, and padding behind it, without moving it.
#[derive(Debug)]
pub struct Arena {
    memory: Box<[u8]>,
    slots: usize,
    payload: usize,
    stride: usize,
    /// Scratch for the headers of one batched receive.
    pub(crate) messages: Messages,
}

impl Arena {
    /// Memory for `slots` datagrams of at most `payload` bytes each. A longer datagram is cut to
    /// `payload` bytes and flagged as [`Received::truncated`].
    ///
    /// # Panics
    /// If `slots * payload` overflows the address space.
    pub fn new(slots: usize, payload: usize) -> Self {
        let stride = payload
            .checked_add(HEADROOM + TAILROOM)
            .and_then(|bytes| bytes.checked_next_multiple_of(CACHE_LINE_BYTES))
            .expect("slot size overflows");
        let size = stride.checked_mul(slots).expect("arena size overflows");
        Self {
            memory: vec![0; size].into_boxed_slice(),
            slots,
            payload,
            stride,
            messages: Messages::with_capacity(slots),
        }
    }

    /// The whole slot `i`, headroom included, to be written to.
    ///
    /// # Panics
    /// If `i` is not below [`Self::slots`].
    #[inline]
    pub fn slot_mut(&mut self, i: usize) -> &mut [u8] {
        let start = i * self.stride;
        &mut self.memory[start..start + self.stride]
    }

    /// Copies bytes of the slot `from` to where a payload is received in the slot `to`, which is another one. Bytes that
    /// lie outside of either are left out.
    ///
    /// # Panics
    /// If one of the slots does not exist.
    pub fn copy(&mut self, from: usize, bytes: Range<usize>, to: usize) {
        let end = bytes.end.min(self.stride);
        let start = bytes.start.min(end);
        let len = (end - start).min(self.payload);
        let source = from * self.stride + start;
        let target = to * self.stride + HEADROOM;
        assert!(from < self.slots && to < self.slots, "no such slot");
        self.memory.copy_within(source..source + len, target);
    }

    /// How many slots there are.
    #[inline]
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// The most bytes of one datagram a slot takes.
    pub fn payload_capacity(&self) -> usize {
        self.payload
    }

    /// The whole slot `i`, headroom included. Its length is at least
    /// `HEADROOM + payload_capacity() + TAILROOM`.
    ///
    /// # Panics
    /// If `i` is not below [`Self::slots`].
    #[inline]
    pub fn slot(&self, i: usize) -> &[u8] {
        let start = i * self.stride;
        &self.memory[start..start + self.stride]
    }

    /// `len` bytes at `start` of slot `i`; `None` if any of them lies outside of the slot.
    #[inline]
    pub(crate) fn bytes(&self, i: usize, start: usize, len: usize) -> Option<&[u8]> {
        if i >= self.slots {
            return None;
        }
        self.slot(i).get(start..start.checked_add(len)?)
    }

    /// The part of slot `i` that takes a payload.
    ///
    /// # Panics
    /// If `i` is not below [`Self::slots`].
    #[inline]
    pub(crate) fn payload_mut(&mut self, i: usize) -> &mut [u8] {
        let payload = self.payload;
        &mut self.slot_mut(i)[HEADROOM..HEADROOM + payload]
    }

    /// The receive scratch, and the payload parts of `count` slots from `first` on as pointers.
    ///
    /// # Panics
    /// If the slots lie outside of the arena.
    #[inline]
    pub(crate) fn scratch(
        &mut self,
        first: usize,
        count: usize,
    ) -> (
        &mut Messages,
        impl ExactSizeIterator<Item = &mut [u8]> + use<'_>,
    ) {
        let payload = self.payload;
        let memory = &mut self.memory[first * self.stride..(first + count) * self.stride];
        let payloads = memory
            .chunks_exact_mut(self.stride)
            .map(move |slot| &mut slot[HEADROOM..HEADROOM + payload]);
        (&mut self.messages, payloads)
    }
}

/// One received datagram; its payload is `slot[HEADROOM..HEADROOM + len]` of the slot it was
/// received into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes of the payload; 0 is a valid datagram.
    pub len: usize,
    /// Who sent it.
    pub source: SocketAddr,
    /// The local address it was sent to. Known on a socket bound to a wildcard address only.
    pub destination: Option<IpAddr>,
    /// The octet that holds DSCP and ECN (IPv4 TOS, IPv6 traffic class).
    pub tos: u8,
    /// A bundle: several datagrams of one sender behind one another, each this long but for the last, which may be
    /// shorter. Only on a socket that was told to take them.
    pub segment_len: Option<NonZeroU16>,
    /// The datagram was longer than the slot; the rest is lost.
    pub truncated: bool,
}

/// Bytes in front of each payload.
pub const HEADROOM: usize = 64;

/// Bytes guaranteed behind the longest payload: ChannelData padding on a stream.
pub const TAILROOM: usize = 4;

const CACHE_LINE_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_do_not_overlap_and_have_room_on_both_sides() {
        let mut arena = Arena::new(3, 100);
        for i in 0..3 {
            arena.slot_mut(i).fill(i as u8 + 1);
        }
        for i in 0..3 {
            assert!(arena.slot(i).len() >= HEADROOM + 100 + TAILROOM);
            assert!(arena.slot(i).iter().all(|&byte| byte == i as u8 + 1));
        }
    }

    #[test]
    fn payload_starts_behind_the_headroom() {
        let mut arena = Arena::new(2, 10);
        arena.payload_mut(1).fill(9);
        assert_eq!(arena.slot(1)[HEADROOM - 1..HEADROOM + 11], {
            let mut expected = [9; 12];
            expected[0] = 0;
            expected[11] = 0;
            expected
        });
    }

    #[test]
    fn copies_stay_within_their_slots() {
        let mut arena = Arena::new(3, 10);
        arena.slot_mut(0).fill(1);
        arena.slot_mut(2).fill(3);
        arena.copy(0, 70..75, 1);
        assert_eq!(arena.slot(1)[HEADROOM..][..6], [1, 1, 1, 1, 1, 0]);
        arena.copy(0, 0..usize::MAX, 1);
        assert_eq!(
            arena.slot(1)[HEADROOM..][..11],
            [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0]
        );
        assert!(arena.slot(2).iter().all(|&byte| byte == 3));
    }

    #[test]
    fn bytes_outside_of_a_slot_are_refused() {
        let arena = Arena::new(2, 10);
        let stride = arena.slot(0).len();
        assert_eq!(arena.bytes(1, 0, stride).map(<[u8]>::len), Some(stride));
        assert_eq!(arena.bytes(1, 1, stride), None);
        assert_eq!(arena.bytes(0, usize::MAX, 2), None);
        assert_eq!(arena.bytes(2, 0, 0), None);
    }
}
