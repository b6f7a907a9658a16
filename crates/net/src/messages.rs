//! The arrays `recvmmsg` and `sendmmsg` work on, made once and filled anew for each call.
//!
//! Owns message headers, gather vectors, addresses and control buffers. Keeps no pointer past a call.

use std::fmt;
use std::mem;
use std::ops::Range;
use std::ptr;

use crate::arena::Received;
use crate::cmsg::{CONTROL_BYTES, Control};
use crate::sockaddr::RawAddress;

/// Room for a batch of messages.
pub(crate) struct Messages {
    headers: Box<[libc::mmsghdr]>,
    vectors: Box<[libc::iovec]>,
    names: Box<[RawAddress]>,
    controls: Box<[Control]>,
    /// Which of the vectors make up which message to send.
    parts: Box<[Range<usize>]>,
    staged: usize,
    gathered: usize,
}

impl Messages {
    /// Room for `capacity` messages, at most [`BATCH_MAX`], of one piece each.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self::with_vectors(capacity, 1)
    }

    /// Room for `capacity` messages, at most [`BATCH_MAX`], of `pieces` pieces on average.
    pub(crate) fn with_vectors(capacity: usize, pieces: usize) -> Self {
        let capacity = capacity.min(BATCH_MAX);
        let vector = libc::iovec {
            iov_base: ptr::null_mut(),
            iov_len: 0,
        };
        Self {
            headers: vec![empty_header(); capacity].into_boxed_slice(),
            vectors: vec![vector; capacity * pieces].into_boxed_slice(),
            names: vec![RawAddress::default(); capacity].into_boxed_slice(),
            controls: vec![Control::default(); capacity].into_boxed_slice(),
            parts: vec![0..0; capacity].into_boxed_slice(),
            staged: 0,
            gathered: 0,
        }
    }

    /// Headers for receiving one datagram into each of `payloads`, for one `recvmmsg`. The
    /// pointers in them are valid while both `payloads` and the result are borrowed.
    ///
    /// # Panics
    /// If there are more payloads than [`Self::capacity`].
    #[inline]
    pub(crate) fn prepare_receive<'a>(
        &'a mut self,
        payloads: impl ExactSizeIterator<Item = &'a mut [u8]>,
    ) -> &'a mut [libc::mmsghdr] {
        let count = payloads.len();
        let headers = &mut self.headers[..count];
        let vectors = &mut self.vectors[..count];
        let names = &mut self.names[..count];
        let controls = &mut self.controls[..count];
        for ((((payload, header), vector), name), control) in payloads
            .zip(headers.iter_mut())
            .zip(vectors)
            .zip(names)
            .zip(controls)
        {
            vector.iov_base = payload.as_mut_ptr().cast();
            vector.iov_len = payload.len();
            header.msg_len = 0;
            let header = &mut header.msg_hdr;
            header.msg_name = ptr::from_mut(name).cast();
            header.msg_namelen = RawAddress::CAPACITY;
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            header.msg_control = control.as_mut_ptr();
            header.msg_controllen = CONTROL_BYTES as _;
            header.msg_flags = 0;
        }
        headers
    }

    /// What the kernel wrote about message `i` of the last receive.
    #[inline]
    pub(crate) fn received(&self, i: usize) -> Received {
        let header = &self.headers[i];
        describe(
            &header.msg_hdr,
            header.msg_len as usize,
            &self.names[i],
            &self.controls[i],
        )
    }

    /// Forgets what was staged.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.staged = 0;
        self.gathered = 0;
    }

    /// Begins a message to send, made of what is [gathered](Self::gather) from now on. `false`: no room for
    /// one more.
    #[inline]
    pub(crate) fn begin(&mut self, name: RawAddress, control: Control) -> bool {
        if self.staged == self.headers.len() {
            return false;
        }
        self.names[self.staged] = name;
        self.controls[self.staged] = control;
        self.parts[self.staged] = self.gathered..self.gathered;
        self.staged += 1;
        true
    }

    /// Adds bytes to the message begun last. The pointer to them stays in a vector, see
    /// [`Self::prepare_send`].
    ///
    /// # Panics
    /// If no message was begun, or there is no [room](Self::room) left.
    #[inline]
    pub(crate) fn gather(&mut self, bytes: &[u8]) {
        self.vectors[self.gathered] = libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        };
        self.gathered += 1;
        self.parts[self.staged - 1].end = self.gathered;
    }

    /// How many more pieces can be gathered.
    #[inline]
    pub(crate) fn room(&self) -> usize {
        self.vectors.len() - self.gathered
    }

    /// Headers of the staged messages, for `sendmmsg`. Sound to pass to the kernel only while the bytes given to
    /// [`Self::gather`] are borrowed.
    #[inline]
    pub(crate) fn prepare_send(&mut self) -> &mut [libc::mmsghdr] {
        let headers = &mut self.headers[..self.staged];
        for (((header, part), name), control) in headers
            .iter_mut()
            .zip(&self.parts)
            .zip(&mut self.names)
            .zip(&mut self.controls)
        {
            let vectors = &mut self.vectors[part.clone()];
            header.msg_len = 0;
            let header = &mut header.msg_hdr;
            header.msg_namelen = name.len();
            header.msg_name = ptr::from_mut(name).cast();
            header.msg_iov = vectors.as_mut_ptr();
            header.msg_iovlen = vectors.len() as _;
            header.msg_controllen = control.len() as _;
            header.msg_control = if control.is_empty() {
                ptr::null_mut()
            } else {
                control.as_mut_ptr()
            };
            header.msg_flags = 0;
        }
        headers
    }

    /// The most messages of one call.
    #[inline]
    pub(crate) fn capacity(&self) -> usize {
        self.headers.len()
    }
}

// SAFETY: the raw pointers inside are written and used within one call that holds `&mut self`;
// between calls they are never followed, so the thread that owns the value does not matter.
unsafe impl Send for Messages {}

// SAFETY: a shared reference reads lengths, flags, addresses and control bytes only, all of it plain
// data; no pointer is followed.
unsafe impl Sync for Messages {}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages")
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}

/// What a receive call wrote into a header, in the caller's words.
#[inline]
pub(crate) fn describe(
    header: &libc::msghdr,
    len: usize,
    name: &RawAddress,
    control: &Control,
) -> Received {
    let ancillary = control.decode(header.msg_controllen as _);
    Received {
        len,
        source: name.to_std(),
        destination: ancillary.destination,
        tos: ancillary.tos,
        // A bundle of one is a datagram.
        segment_len: ancillary
            .segment_len
            .filter(|segment| usize::from(segment.get()) < len),
        truncated: header.msg_flags & libc::MSG_TRUNC != 0,
    }
}

/// A header that points nowhere.
#[inline]
pub(crate) fn empty_message() -> libc::msghdr {
    // SAFETY: `msghdr` is a C struct of integers and raw pointers (and, with some C libraries,
    // private padding); all bits zero is a valid value of it.
    unsafe { mem::zeroed() }
}

fn empty_header() -> libc::mmsghdr {
    libc::mmsghdr {
        msg_hdr: empty_message(),
        msg_len: 0,
    }
}

/// The kernel's own bound on messages per call (`UIO_MAXIOV`).
pub(crate) const BATCH_MAX: usize = 1024;
