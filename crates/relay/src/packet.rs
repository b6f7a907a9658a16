//! Received bytes and what is decided about them.

use core::ops::Range;
use std::net::SocketAddr;

use crate::address::{ClientAddress, ClientPath, ServerAddress};
use crate::relayed::{RelayedId, ShardId};
use crate::stats::DropReason;
use crate::tcp_relay::ConnectionId;

/// Room in front of a payload that lets every header the relay may need be written in place.
///
/// A Data indication from an IPv6 peer takes 20 + 24 + 4 bytes.
pub const HEADROOM: usize = 48;

/// Room behind a payload for the padding of an attribute or of ChannelData over a stream.
pub const TAILROOM: usize = 3;

/// Received bytes inside a larger buffer of the host.
///
/// With [`HEADROOM`] in front and [`TAILROOM`] behind, relaying copies nothing. A packet with less room is
/// dropped where a header does not fit.
#[derive(Debug)]
pub struct Packet<'a> {
    buffer: &'a mut [u8],
    payload: Span,
}

impl<'a> Packet<'a> {
    /// The bytes `payload` of `buffer`; `None` if they lie outside of it.
    #[inline]
    pub fn new(buffer: &'a mut [u8], payload: Range<usize>) -> Option<Self> {
        if payload.start > payload.end || payload.end > buffer.len() {
            return None;
        }
        Some(Self {
            payload: Span::new(payload.start, payload.end)?,
            buffer,
        })
    }

    /// The received bytes.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        self.buffer.get(self.payload.range()).unwrap_or(&[])
    }

    /// The received bytes, as a part of the buffer.
    #[inline]
    pub(crate) const fn span(&self) -> Span {
        self.payload
    }

    /// The place of the received bytes, to be written over by a message of the relay's own.
    pub(crate) fn payload_mut(&mut self) -> &mut [u8] {
        self.buffer.get_mut(self.payload.range()).unwrap_or(&mut [])
    }

    /// Writes `header` directly in front of `body` and `padding` zeroes behind it.
    #[inline]
    pub(crate) fn wrap(&mut self, body: Span, header: &[u8], padding: usize) -> Option<Span> {
        let front = u32::try_from(header.len()).ok()?;
        let span = Span {
            start: body.start.checked_sub(front)?,
            len: body
                .len
                .checked_add(front)?
                .checked_add(u32::try_from(padding).ok()?)?,
        };
        self.buffer
            .get_mut(span.start()..body.start())?
            .copy_from_slice(header);
        if padding > 0 {
            self.buffer.get_mut(body.end()..span.end())?.fill(0);
        }
        Some(span)
    }
}

/// A part of the buffer that a [`Packet`] was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    start: u32,
    len: u32,
}

impl Span {
    #[inline]
    pub(crate) fn new(start: usize, end: usize) -> Option<Self> {
        Some(Self {
            start: u32::try_from(start).ok()?,
            len: u32::try_from(end.checked_sub(start)?).ok()?,
        })
    }

    /// The part `offset..offset + len` of this one.
    #[inline]
    pub(crate) fn part(self, offset: usize, len: usize) -> Option<Self> {
        let start = self.start().checked_add(offset)?;
        let end = start.checked_add(len)?;
        if end > self.end() {
            return None;
        }
        Self::new(start, end)
    }

    /// First byte.
    pub const fn start(self) -> usize {
        self.start as usize
    }

    /// One past the last byte.
    pub const fn end(self) -> usize {
        (self.start as usize).saturating_add(self.len as usize)
    }

    /// Number of bytes.
    pub const fn len(self) -> usize {
        self.len as usize
    }

    /// True if there are no bytes: an empty datagram, which is relayed like any other.
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The bytes as a range of the buffer.
    pub const fn range(self) -> Range<usize> {
        self.start()..self.end()
    }
}

/// What becomes of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Send these bytes of the packet's buffer from a relayed transport address to a peer.
    ToPeer {
        relayed: RelayedId,
        peer: SocketAddr,
        bytes: Span,
        /// With the DF bit: only from an IPv4 client to an IPv4 peer (RFC 8656 §13.1 to §13.3, §14).
        dont_fragment: bool,
    },
    /// Hand these bytes of the packet's buffer to another shard of this server.
    ToShard { to: Handover, bytes: Span },
    /// Send these bytes of the packet's buffer to a client.
    ToClient { path: ClientPath, bytes: Span },
    /// Send the first `len` bytes of the answer buffer back to where the packet came from.
    Answer { len: usize },
    /// Send the first `len` bytes of the answer buffer from this listener to this address: not the way the request came (RFC 5780
    /// §6.1).
    AnswerFrom {
        len: usize,
        from: ServerAddress,
        to: ClientAddress,
    },
    /// Nothing is sent yet: the answer comes from [`Relay::handle_connected`](crate::Relay::handle_connected).
    Deferred,
    /// Send the first `len` bytes of the answer buffer back; whatever else comes on the client's connection belongs to the peer
    /// of `connection`, and the other way round (RFC 6062 §5.4).
    Bound {
        len: usize,
        connection: ConnectionId,
    },
    /// Nothing is sent; the reason has been counted.
    Drop(DropReason),
}

/// Where data of a hairpin goes when the other allocation is in another shard: see [`Relay::handle_handover`].
///
/// [`Relay::handle_handover`]: crate::Relay::handle_handover
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handover {
    /// The shard that has the destination.
    pub shard: ShardId,
    /// What that shard calls the destination.
    pub relayed: RelayedId,
    /// The destination as its socket is bound: the number above may stand for another one when the data arrives.
    pub local: SocketAddr,
    /// The relayed transport address that the data comes from, as clients know it.
    pub source: SocketAddr,
}

/// What becomes of a bundle: datagrams of one sender behind one another, equally long but for the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BundleDecision {
    /// Send a part of each datagram from a relayed transport address to a peer: as many bytes as said, from
    /// `offset` on.
    ToPeer {
        relayed: RelayedId,
        peer: SocketAddr,
        offset: usize,
        len: usize,
        last_len: usize,
    },
    /// Send each datagram to a client, with `front` in front of it, and `last_front` in front of the last.
    ToClient {
        path: ClientPath,
        front: [u8; 4],
        last_front: [u8; 4],
    },
    /// Send each datagram to a client: as many bytes as said. They have been rewritten in place.
    Rewritten {
        path: ClientPath,
        len: usize,
        last_len: usize,
    },
    /// Nothing has been decided or counted: hand each datagram in by itself.
    Apart,
}

/// The extent of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BundleSize {
    /// Bytes in all.
    pub len: usize,
    /// Bytes of each datagram but the last.
    pub segment_len: usize,
}

impl BundleSize {
    /// How many datagrams there are.
    #[inline]
    pub const fn count(self) -> usize {
        match self.segment_len {
            0 => 0,
            segment_len => self.len.div_ceil(segment_len),
        }
    }

    /// Bytes of the last datagram.
    #[inline]
    pub const fn last_len(self) -> usize {
        let before = self
            .count()
            .saturating_sub(1)
            .saturating_mul(self.segment_len);
        self.len.saturating_sub(before)
    }
}
