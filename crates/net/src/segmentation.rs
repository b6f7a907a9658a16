//! Several datagrams in one: `UDP_SEGMENT` (GSO) on send, `UDP_GRO` on receive.
//!
//! Owns the switch, the encoding and the decoding, and the kernel's bounds. The kernel cuts what it is
//! given every so many bytes, so all datagrams but the last have to be of exactly that length.

use std::io;
use std::num::NonZeroU16;
use std::os::fd::BorrowedFd;

use crate::cmsg::{Ancillary, Control, Message};
use crate::option;

/// Lets the kernel hand over datagrams of one sender that came back to back as one, or no longer.
pub(crate) fn set_receive(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    option::set(fd, libc::SOL_UDP, libc::UDP_GRO, on.into())
}

/// The bytes shall leave as datagrams of `segment_len` bytes.
#[inline]
pub(crate) fn push(control: &mut Control, segment_len: u16) {
    control.push(libc::SOL_UDP, libc::UDP_SEGMENT, &segment_len.to_ne_bytes());
}

/// Takes the length of a received bundle's datagrams from `message` if that is what it tells.
#[inline]
pub(crate) fn read(message: &Message<'_>, ancillary: &mut Ancillary) {
    if (message.level, message.kind) == (libc::SOL_UDP, libc::UDP_GRO)
        && let Some(&octets) = message.data.first_chunk()
    {
        let len = u16::try_from(libc::c_int::from_ne_bytes(octets)).ok();
        ancillary.segment_len = len.and_then(NonZeroU16::new);
    }
}

/// Whether the kernel refused a train because it cannot send any on this socket or this device.
pub(crate) fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL))
}

/// Whether the kernel refused a train because its datagrams are longer than the device takes. One by
/// one they are fragmented.
pub(crate) fn is_too_long(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EMSGSIZE)
}

/// Datagrams in one train that every kernel takes.
pub(crate) const SEGMENTS_MAX: usize = 64;

/// Bytes in one train: the longest UDP payload over IPv4.
pub(crate) const TRAIN_MAX_BYTES: usize = 65_507;
