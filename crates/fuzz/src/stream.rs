//! A byte stream that arrives in pieces: the same messages come out however it is cut.

use turnbuckle_proto::{Frame, Kind, next_frame, next_frame_rfc5766};

use crate::input::Input;

/// Frames the input at once and in pieces of the sizes that it says itself.
///
/// # Panics
/// If the two differ, a message reaches beyond what has arrived, or more bytes are asked for than are needed.
pub fn stream(input: &[u8]) {
    let mut input = Input::new(input);
    let next = if input.flag() {
        next_frame_rfc5766
    } else {
        next_frame
    };
    let cuts = input.byte();
    let cuts = input.take(usize::from(cuts & 31));
    let bytes = input.rest();
    let whole = frames(bytes, next);
    let in_pieces = frames_in_pieces(bytes, cuts, next);
    assert_eq!(in_pieces, whole);
    let taken: usize = whole.messages.iter().map(|m| m.consumed).sum();
    assert!(taken <= bytes.len());
}

#[derive(Debug, PartialEq, Eq)]
struct Framed {
    messages: Vec<Found>,
    is_broken: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Found {
    kind: Kind,
    bytes: Vec<u8>,
    consumed: usize,
}

fn frames(mut bytes: &[u8], next: fn(&[u8]) -> Frame) -> Framed {
    let mut messages = Vec::new();
    loop {
        match next(bytes) {
            Frame::Complete {
                kind,
                len,
                consumed,
            } => {
                assert!(len <= consumed && consumed < len + 4 && consumed % 4 == 0);
                messages.push(Found {
                    kind,
                    bytes: bytes[..len].to_vec(),
                    consumed,
                });
                bytes = &bytes[consumed..];
            }
            Frame::Incomplete { need } => {
                assert!(need > bytes.len() && need <= 65_552);
                // What has arrived so far would be no other message with anything less than that.
                let mut more = bytes.to_vec();
                more.resize(need - 1, 0);
                if bytes.len() >= 4 {
                    assert!(!matches!(next(&more), Frame::Complete { .. }));
                }
                return Framed {
                    messages,
                    is_broken: false,
                };
            }
            Frame::Invalid => {
                return Framed {
                    messages,
                    is_broken: true,
                };
            }
        }
    }
}

fn frames_in_pieces(bytes: &[u8], cuts: &[u8], next: fn(&[u8]) -> Frame) -> Framed {
    let mut sizes = cuts.iter().map(|&size| usize::from(size).max(1)).cycle();
    let mut buffer = Vec::new();
    let mut rest = bytes;
    let mut framed = Framed {
        messages: Vec::new(),
        is_broken: false,
    };
    loop {
        let mut part = frames(&buffer, next);
        let taken: usize = part.messages.iter().map(|m| m.consumed).sum();
        buffer.drain(..taken);
        framed.messages.append(&mut part.messages);
        framed.is_broken = part.is_broken;
        if framed.is_broken || rest.is_empty() {
            return framed;
        }
        let size = sizes.next().unwrap_or(rest.len());
        let (piece, behind) = rest.split_at(size.min(rest.len()));
        buffer.extend_from_slice(piece);
        rest = behind;
    }
}
