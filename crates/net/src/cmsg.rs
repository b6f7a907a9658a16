//! Control messages ("ancillary data") of one datagram.
//!
//! Owns the encoding and decoding of the control buffer; no `unsafe`, the layout is written out here
//! byte by byte as the kernel defines it (`struct cmsghdr`: length, level, type; everything aligned
//! to a machine word). Which options mean what is in `packet_info`, `segmentation` and `traffic_class`.

use std::net::IpAddr;
use std::num::NonZeroU16;

use crate::packet_info;
use crate::segmentation;
use crate::traffic_class;

/// A control buffer with room for a local address, a traffic class and a segment length.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub(crate) struct Control {
    bytes: [u8; CONTROL_BYTES],
    /// Bytes filled for a send.
    len: usize,
}

impl Control {
    /// Control data of a datagram that shall leave from `source` with traffic class `tos`. What is
    /// `None` or 0 is left to the kernel and takes no space. `to` decides the family of `tos`.
    #[inline]
    pub(crate) fn for_send(to: IpAddr, source: Option<IpAddr>, tos: u8) -> Self {
        let mut control = Self::default();
        if let Some(source) = source {
            packet_info::push(&mut control, source);
        }
        if tos != 0 {
            traffic_class::push(&mut control, to, tos);
        }
        control
    }

    /// Appends one message. `data` must fit: the buffer is made for the messages of this crate.
    #[inline]
    pub(crate) fn push(&mut self, level: libc::c_int, kind: libc::c_int, data: &[u8]) {
        let start = self.len;
        let end = start + HEADER_BYTES + data.len();
        let message = &mut self.bytes[start..end];
        message[..LEVEL].copy_from_slice(&(HEADER_BYTES + data.len()).to_ne_bytes());
        message[LEVEL..KIND].copy_from_slice(&level.to_ne_bytes());
        message[KIND..KIND_END].copy_from_slice(&kind.to_ne_bytes());
        message[HEADER_BYTES..].copy_from_slice(data);
        self.len = end.next_multiple_of(ALIGNMENT);
    }

    /// Reads the first `len` bytes as the kernel filled them on receive. Unknown and damaged
    /// messages are skipped.
    #[inline]
    pub(crate) fn decode(&self, len: usize) -> Ancillary {
        let mut ancillary = Ancillary::default();
        let mut rest = &self.bytes[..len.min(CONTROL_BYTES)];
        while let Some((message, behind)) = split_first(rest) {
            packet_info::read(&message, &mut ancillary);
            traffic_class::read(&message, &mut ancillary);
            segmentation::read(&message, &mut ancillary);
            rest = behind;
        }
        ancillary
    }

    /// The data of the first message of this kind among the first `len` bytes, as the kernel filled them on receive.
    pub(crate) fn find(&self, len: usize, level: libc::c_int, kind: libc::c_int) -> Option<&[u8]> {
        let mut rest = &self.bytes[..len.min(CONTROL_BYTES)];
        while let Some((message, behind)) = split_first(rest) {
            if (message.level, message.kind) == (level, kind) {
                return Some(message.data);
            }
            rest = behind;
        }
        None
    }

    /// Where the kernel reads [`Self::len`] bytes or writes at most [`CONTROL_BYTES`].
    #[inline]
    pub(crate) fn as_mut_ptr(&mut self) -> *mut libc::c_void {
        self.bytes.as_mut_ptr().cast()
    }

    /// Bytes to hand to the kernel.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Default for Control {
    #[inline]
    fn default() -> Self {
        Self {
            bytes: [0; CONTROL_BYTES],
            len: 0,
        }
    }
}

/// What the control messages of a received datagram said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ancillary {
    pub(crate) destination: Option<IpAddr>,
    pub(crate) tos: u8,
    pub(crate) segment_len: Option<NonZeroU16>,
}

/// One decoded control message.
pub(crate) struct Message<'a> {
    pub(crate) level: libc::c_int,
    pub(crate) kind: libc::c_int,
    pub(crate) data: &'a [u8],
}

#[inline]
fn split_first(bytes: &[u8]) -> Option<(Message<'_>, &[u8])> {
    let len = usize::from_ne_bytes(bytes.get(..LEVEL)?.try_into().ok()?);
    let message = Message {
        level: libc::c_int::from_ne_bytes(bytes.get(LEVEL..KIND)?.try_into().ok()?),
        kind: libc::c_int::from_ne_bytes(bytes.get(KIND..KIND_END)?.try_into().ok()?),
        data: bytes.get(HEADER_BYTES..len)?,
    };
    let behind = len.next_multiple_of(ALIGNMENT).min(bytes.len());
    Some((message, &bytes[behind..]))
}

/// Bytes of control data per datagram: packet information (40), traffic class (24), segment
/// length (24).
pub(crate) const CONTROL_BYTES: usize = 88;

const ALIGNMENT: usize = size_of::<usize>();
const LEVEL: usize = size_of::<usize>();
const KIND: usize = LEVEL + size_of::<libc::c_int>();
const KIND_END: usize = KIND + size_of::<libc::c_int>();
const HEADER_BYTES: usize = KIND_END.next_multiple_of(ALIGNMENT);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_agrees_with_the_c_library() {
        assert_eq!(HEADER_BYTES, size_of::<libc::cmsghdr>());
        for payload in [1, 2, 4, 12, 20] {
            let mut control = Control::default();
            control.push(1, 2, &[7; 20][..payload]);
            // SAFETY: computes a number from a number.
            let space = unsafe { libc::CMSG_SPACE(payload as u32) } as usize;
            assert_eq!(control.len(), space, "payload of {payload}");
        }
    }

    #[test]
    fn messages_come_back_in_order() {
        let mut control = Control::default();
        control.push(1, 2, &[1, 2, 3]);
        control.push(3, 4, &[5; 20]);
        let (first, rest) = split_first(&control.bytes[..control.len()]).unwrap();
        assert_eq!(
            (first.level, first.kind, first.data),
            (1, 2, &[1, 2, 3][..])
        );
        let (second, rest) = split_first(rest).unwrap();
        assert_eq!(
            (second.level, second.kind, second.data),
            (3, 4, &[5; 20][..])
        );
        assert!(rest.is_empty());
    }

    #[test]
    fn longest_combination_fits() {
        let address: IpAddr = "2001:db8::1".parse().unwrap();
        let mut control = Control::for_send(address, Some(address), 0xff);
        control.push(0, 0, &[0; 4]);
        assert!(control.len() <= CONTROL_BYTES);
    }

    #[test]
    fn send_data_decodes_to_what_was_asked_for() {
        for address in ["192.0.2.1", "2001:db8::9"] {
            let address: IpAddr = address.parse().unwrap();
            let control = Control::for_send(address, Some(address), 0xb8);
            assert_eq!(control.decode(control.len()).tos, 0xb8);
        }
    }

    #[test]
    fn nothing_asked_for_takes_no_space() {
        let control = Control::for_send("192.0.2.1".parse().unwrap(), None, 0);
        assert!(control.is_empty());
    }

    #[test]
    fn damaged_lengths_end_the_walk() {
        for len in [0, 1, HEADER_BYTES - 1, CONTROL_BYTES + 1, usize::MAX] {
            let mut control = Control::for_send("192.0.2.1".parse().unwrap(), None, 4);
            control.bytes[..LEVEL].copy_from_slice(&len.to_ne_bytes());
            assert_eq!(control.decode(CONTROL_BYTES), Ancillary::default(), "{len}");
            assert_eq!(control.decode(usize::MAX), Ancillary::default(), "{len}");
        }
    }

    #[test]
    fn cut_off_buffer_is_not_read_past_its_end() {
        let control = Control::for_send("192.0.2.1".parse().unwrap(), None, 4);
        for len in 0..control.len() - ALIGNMENT {
            assert_eq!(control.decode(len), Ancillary::default(), "{len}");
        }
    }
}
