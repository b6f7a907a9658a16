//! Datagrams that leave one relay socket for one peer, back to back.
//!
//! Owns the pieces and their send: several as one train where the kernel can, one as itself. Holds no
//! payload: the bytes stay in the [`Arena`] until the send.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use crate::arena::Arena;
use crate::cmsg::Control;
use crate::datagram::send_to;
use crate::messages::empty_message;
use crate::pending_error::{is_interrupted, is_pending};
use crate::relay_socket::RelaySocket;
use crate::segmentation::{self, SEGMENTS_MAX, TRAIN_MAX_BYTES};
use crate::send_report::SendReport;
use crate::sockaddr::RawAddress;

/// Up to 64 datagrams with the same way, equally long but for the last.
#[derive(Debug)]
pub struct Train {
    to: SocketAddr,
    tos: u8,
    pieces: Vec<Piece>,
    bytes: usize,
    /// A shorter datagram has been added: it is the last.
    ended: bool,
}

/// A datagram to send: `arena.slot(slot)[start..start + len]` at the time of the send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Slot of the arena.
    pub slot: u32,
    /// First byte in the slot, counted from its beginning (headroom included).
    pub start: u32,
    /// Bytes.
    pub len: u32,
}

impl Train {
    /// An empty one.
    pub fn new() -> Self {
        Self {
            to: (Ipv4Addr::UNSPECIFIED, 0).into(),
            tos: 0,
            pieces: Vec::with_capacity(SEGMENTS_MAX),
            bytes: 0,
            ended: false,
        }
    }

    /// Adds a datagram to `to` with DSCP and ECN `tos`. `false`: it does not fit behind those that are there,
    /// which have to be sent first; an empty train takes every datagram.
    #[inline]
    pub fn push(&mut self, to: SocketAddr, tos: u8, piece: Piece) -> bool {
        let Some(first) = self.pieces.first() else {
            self.to = to;
            self.tos = tos;
            self.bytes = piece.len as usize;
            self.ended = piece.len == 0;
            self.pieces.push(piece);
            return true;
        };
        let bytes = self.bytes + piece.len as usize;
        if self.ended
            || piece.len > first.len
            || piece.len == 0
            || to != self.to
            || tos != self.tos
            || self.pieces.len() == SEGMENTS_MAX
            || bytes > TRAIN_MAX_BYTES
        {
            return false;
        }
        self.ended = piece.len < first.len;
        self.bytes = bytes;
        self.pieces.push(piece);
        true
    }

    /// Whether there is nothing to send.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// How many datagrams there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Sends all of it and leaves it empty. Each datagram ends in exactly one counter of `report`.
    #[inline]
    pub fn send(&mut self, socket: &RelaySocket, arena: &Arena, report: &mut SendReport) {
        if self.pieces.len() > 1 && socket.sends_trains() {
            self.send_as_train(socket, arena, report);
        } else {
            self.send_one_by_one(socket, arena, report);
        }
        self.pieces.clear();
    }

    /// Gives up what has not been sent.
    pub fn clear(&mut self) {
        self.pieces.clear();
    }

    fn send_one_by_one(&self, socket: &RelaySocket, arena: &Arena, report: &mut SendReport) {
        for piece in &self.pieces {
            match piece.bytes(arena) {
                Some(bytes) => {
                    let result = send_to(socket.as_fd(), bytes, self.to, None, self.tos);
                    report.count(&result);
                    report.calls += 1;
                }
                None => report.dropped_error += 1,
            }
        }
    }

    fn send_as_train(&self, socket: &RelaySocket, arena: &Arena, report: &mut SendReport) {
        let Some(Ok(segment_len)) = self.pieces.first().map(|p| u16::try_from(p.len)) else {
            return self.send_one_by_one(socket, arena, report);
        };
        let mut vectors = [libc::iovec {
            iov_base: ptr::null_mut(),
            iov_len: 0,
        }; SEGMENTS_MAX];
        for (vector, piece) in vectors.iter_mut().zip(&self.pieces) {
            let Some(bytes) = piece.bytes(arena) else {
                return self.send_one_by_one(socket, arena, report);
            };
            vector.iov_base = bytes.as_ptr().cast_mut().cast();
            vector.iov_len = bytes.len();
        }
        let mut name = RawAddress::from(self.to);
        let mut control = Control::for_send(self.to.ip(), None::<IpAddr>, self.tos);
        segmentation::push(&mut control, segment_len);
        let mut header = empty_message();
        header.msg_namelen = name.len();
        header.msg_name = ptr::from_mut(&mut name).cast();
        header.msg_iov = vectors.as_mut_ptr();
        header.msg_iovlen = self.pieces.len() as _;
        header.msg_controllen = control.len() as _;
        header.msg_control = control.as_mut_ptr();
        let mut retried = false;
        let error = loop {
            report.calls += 1;
            // SAFETY: the descriptor is open for the borrow; every pointer in the header is to a value that lives
            // until the end of this function, with its length beside it, and the vectors are to bytes of `arena`,
            // borrowed as long; the kernel only reads them.
            let result = unsafe {
                libc::sendmsg(
                    socket.as_raw_fd(),
                    &header,
                    libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
                )
            };
            if result >= 0 {
                report.sent += self.pieces.len() as u64;
                report.trains += 1;
                return;
            }
            let error = io::Error::last_os_error();
            if is_interrupted(&error) {
                continue;
            }
            if retried || segmentation::is_too_long(&error) || !is_pending(&error) {
                break error;
            }
            retried = true;
        };
        if segmentation::is_unsupported(&error) {
            socket.send_trains_no_more();
        } else if !segmentation::is_too_long(&error) {
            report.drop_for(&error, self.pieces.len() as u64);
            return;
        }
        self.send_one_by_one(socket, arena, report);
    }
}

impl Default for Train {
    fn default() -> Self {
        Self::new()
    }
}

impl Piece {
    #[inline]
    fn bytes<'a>(&self, arena: &'a Arena) -> Option<&'a [u8]> {
        arena.bytes(self.slot as usize, self.start as usize, self.len as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(len: u32) -> Piece {
        Piece {
            slot: 0,
            start: 0,
            len,
        }
    }

    fn train(lens: &[u32]) -> Train {
        let mut train = Train::new();
        for &len in lens {
            assert!(train.push(([192, 0, 2, 1], 9).into(), 0, piece(len)));
        }
        train
    }

    #[test]
    fn only_the_last_is_shorter() {
        let to = ([192, 0, 2, 1], 9).into();
        assert!(!train(&[100]).push(to, 0, piece(101)), "longer");
        assert!(!train(&[100, 100, 60]).push(to, 0, piece(60)), "ended");
        assert!(!train(&[100]).push(to, 0, piece(0)), "empty");
        assert!(!train(&[0]).push(to, 0, piece(0)), "behind an empty one");
    }

    #[test]
    fn another_way_is_another_train() {
        let to = ([192, 0, 2, 1], 9).into();
        assert!(!train(&[100]).push(([192, 0, 2, 1], 10).into(), 0, piece(100)));
        assert!(!train(&[100]).push(to, 1, piece(100)));
        assert!(train(&[100]).push(to, 0, piece(100)));
    }

    #[test]
    fn number_and_bytes_are_bounded() {
        let to = ([192, 0, 2, 1], 9).into();
        assert!(!train(&[10; SEGMENTS_MAX]).push(to, 0, piece(10)));
        assert!(!train(&[1_200; 54]).push(to, 0, piece(1_200)));
    }
}
