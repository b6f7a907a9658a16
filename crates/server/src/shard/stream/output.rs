//! What waits to be written to one connection: a bounded buffer, so that a client that does not read costs itself only.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

/// Bytes in order. What one wake-up leaves here goes out in as few writes as the transport allows.
#[derive(Debug, Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    written: usize,
    unflushed: bool,
    /// How many times in a row little was needed of a large buffer.
    calm: u16,
}

impl Output {
    /// Relayed data; `false` if there is no room, and the data is lost as it would be on a congested path.
    #[inline]
    pub(super) fn push_data(&mut self, bytes: &[u8]) -> bool {
        self.push(bytes, DATA_MAX_BYTES)
    }

    /// An answer; `false` if the client has not read for so long that it is given up.
    pub(super) fn push_answer(&mut self, bytes: &[u8]) -> bool {
        self.push(bytes, DATA_MAX_BYTES + ANSWERS_MAX_BYTES)
    }

    fn push(&mut self, bytes: &[u8], limit: usize) -> bool {
        if self.waiting() + bytes.len() > limit {
            return false;
        }
        if self.written > 0 && self.bytes.len() + bytes.len() > self.bytes.capacity() {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
        self.bytes.extend_from_slice(bytes);
        true
    }

    /// Writes as much as can be written now; ready when all of it is out.
    pub(super) fn poll_write(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.written < self.bytes.len() {
            let rest = &self.bytes[self.written..];
            let count = ready!(Pin::new(&mut *stream).poll_write(context, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
            self.unflushed = true;
        }
        self.clear();
        if self.unflushed {
            ready!(Pin::new(stream).poll_flush(context))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// A large buffer is given back when it has not been needed for a while: a busy connection must not get one anew for each
    /// wake-up.
    fn clear(&mut self) {
        let needed = self.bytes.len();
        self.bytes.clear();
        self.written = 0;
        if needed > KEPT_BYTES || self.bytes.capacity() <= KEPT_BYTES {
            self.calm = 0;
        } else if needed > 0 {
            self.calm += 1;
            if self.calm == CALM_MAX {
                self.calm = 0;
                self.bytes.shrink_to(KEPT_BYTES);
            }
        }
    }

    fn waiting(&self) -> usize {
        self.bytes.len() - self.written
    }
}

/// Some 200 packets of a video: more would only make them late.
const DATA_MAX_BYTES: usize = 256 << 10;
/// Answers may wait on top.
const ANSWERS_MAX_BYTES: usize = 16 << 10;
/// What every connection may keep.
const KEPT_BYTES: usize = 16 << 10;
/// Some seconds of a video.
const CALM_MAX: u16 = 1024;

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Takes a few bytes, then none.
    struct Slow {
        taken: Vec<u8>,
        room: usize,
    }

    impl AsyncWrite for Slow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let count = bytes.len().min(self.room);
            if count == 0 {
                return Poll::Pending;
            }
            self.room -= count;
            self.taken.extend_from_slice(&bytes[..count]);
            Poll::Ready(Ok(count))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn keeps_order_and_bounds() {
        let mut context = Context::from_waker(Waker::noop());
        let mut output = Output::default();
        let mut slow = Slow {
            taken: Vec::new(),
            room: 1500,
        };
        let mut expected = Vec::new();
        let mut lost = 0;
        for i in 0..1000u32 {
            let packet = [i as u8; 1000];
            if output.push_data(&packet) {
                expected.extend_from_slice(&packet);
            } else {
                lost += 1;
            }
        }
        assert!(lost > 0 && output.waiting() <= DATA_MAX_BYTES);
        assert!(output.push_answer(b"answer"));
        expected.extend_from_slice(b"answer");
        assert!(!output.push_answer(&[0; ANSWERS_MAX_BYTES + 1000]));
        while output.poll_write(&mut slow, &mut context).is_pending() {
            slow.room = 777;
        }
        assert_eq!(slow.taken, expected);
    }

    #[test]
    fn a_large_buffer_is_given_back_after_a_while() {
        let mut context = Context::from_waker(Waker::noop());
        let mut output = Output::default();
        let mut fast = Slow {
            taken: Vec::new(),
            room: usize::MAX,
        };
        let mut turn = |output: &mut Output, len| {
            assert!(output.push_data(&vec![0; len]));
            assert!(output.poll_write(&mut fast, &mut context).is_ready());
            output.bytes.capacity()
        };
        let large = turn(&mut output, 100 << 10);
        assert!(large >= 100 << 10);
        for _ in 1..CALM_MAX {
            assert_eq!(turn(&mut output, 1000), large);
        }
        // Needed once more in time.
        assert_eq!(turn(&mut output, 50 << 10), large);
        for _ in 1..CALM_MAX {
            assert_eq!(turn(&mut output, 1000), large);
        }
        assert!(turn(&mut output, 1000) <= KEPT_BYTES);
    }
}
