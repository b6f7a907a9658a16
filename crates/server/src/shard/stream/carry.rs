//! The bytes of a client's data connection and its peer, both ways as they are (RFC 6062 §5.4).
//!
//! A side is not read from while the other does not take what there is, nor while it has had its share of a limited rate, so TCP
//! itself slows down who is too fast.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use crate::allowance::{Allowance, Side};
use crate::peer_sockets::Carried;

/// Carries until both sides have said all, or one fails. `first` has come from the client already.
///
/// The end of one side's stream is passed on (RFC 6062 §5.5 closes both sides when one is closed; whether more is to come from the
/// other only shows in time): the other may go on while it has something to say.
// compliance: 6062-5.4-03, 6062-5.4-04, 6062-5.5-02, 6062-5.5-03
pub(super) async fn carry(
    client: &mut (impl AsyncRead + AsyncWrite + Unpin),
    peer: &mut (impl AsyncRead + AsyncWrite + Unpin),
    first: Vec<u8>,
    carried: &Carried,
    allowance: Option<&Allowance>,
) -> io::Result<()> {
    carry_for(client, peer, first, carried, allowance, HALF_CLOSED_SILENCE).await
}

/// `patience` is how long a connection of which one side is closed may be silent.
async fn carry_for(
    client: &mut (impl AsyncRead + AsyncWrite + Unpin),
    peer: &mut (impl AsyncRead + AsyncWrite + Unpin),
    first: Vec<u8>,
    carried: &Carried,
    allowance: Option<&Allowance>,
    patience: Duration,
) -> io::Result<()> {
    let mut to_peer = Way::new(first, allowance.map(Allowance::to_peer));
    let mut to_client = Way::new(Vec::new(), allowance.map(Allowance::to_client));
    let mut silence: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|context| {
        let up = to_peer.poll(context, client, peer, &carried.to_peer)?;
        let down = to_client.poll(context, peer, client, &carried.to_client)?;
        if up.is_ready() && down.is_ready() {
            return Poll::Ready(Ok(()));
        }
        if up.is_pending() && down.is_pending() {
            return Poll::Pending;
        }
        let moved = to_peer.take_moved() | to_client.take_moved();
        let silence = silence.get_or_insert_with(|| Box::pin(sleep(patience)));
        if moved {
            silence.as_mut().reset(Instant::now() + patience);
        }
        silence.as_mut().poll(context).map(Ok)
    })
    .await
}

/// One of the two ways.
struct Way<'a> {
    limit: Option<Side<'a>>,
    /// Until the sender may be read from again.
    nap: Option<Pin<Box<Sleep>>>,
    buffer: Vec<u8>,
    written: usize,
    filled: usize,
    unflushed: bool,
    /// The sender has said all.
    ended: bool,
    /// And the receiver knows.
    done: bool,
    moved: bool,
}

impl<'a> Way<'a> {
    /// With bytes that are there already.
    fn new(first: Vec<u8>, limit: Option<Side<'a>>) -> Self {
        let filled = first.len();
        let mut buffer = first;
        buffer.resize(filled.max(BUFFER_BYTES), 0);
        Self {
            limit,
            nap: None,
            buffer,
            written: 0,
            filled,
            unflushed: false,
            ended: false,
            done: false,
            moved: false,
        }
    }

    /// Ready when all has been said and passed on.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        count: &AtomicU64,
    ) -> Poll<io::Result<()>> {
        if self.done {
            return Poll::Ready(Ok(()));
        }
        loop {
            while let Some(rest) = self.buffer.get(self.written..self.filled)
                && !rest.is_empty()
            {
                let len = ready!(Pin::new(&mut *to).poll_write(context, rest))?;
                if len == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.written += len;
                self.unflushed = true;
                self.moved = true;
                count.fetch_add(len as u64, Ordering::Relaxed);
            }
            if self.ended {
                ready!(Pin::new(&mut *to).poll_flush(context))?;
                ready!(Pin::new(&mut *to).poll_shutdown(context))?;
                self.done = true;
                return Poll::Ready(Ok(()));
            }
            match self.poll_read(context, from) {
                Poll::Ready(read) => {
                    (self.written, self.filled) = (0, read?);
                    self.ended = self.filled == 0;
                }
                Poll::Pending => {
                    if self.unflushed {
                        ready!(Pin::new(&mut *to).poll_flush(context))?;
                        self.unflushed = false;
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// Reads what is there, as far as the rate allows.
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
    ) -> Poll<io::Result<usize>> {
        let most = ready!(self.poll_share(context));
        let mut room = ReadBuf::new(self.buffer.get_mut(..most).unwrap_or_default());
        let outcome = Pin::new(from).poll_read(context, &mut room);
        let read = room.filled().len();
        if let Some(limit) = self.limit {
            limit.give_back(most.saturating_sub(read));
        }
        outcome.map_ok(|()| read)
    }

    /// How much may be read at a time.
    fn poll_share(&mut self, context: &mut Context<'_>) -> Poll<usize> {
        let Some(limit) = self.limit else {
            return Poll::Ready(self.buffer.len());
        };
        loop {
            if let Some(nap) = &mut self.nap {
                ready!(nap.as_mut().poll(context));
                self.nap = None;
            }
            match limit.take(BUFFER_BYTES) {
                Ok(share) => return Poll::Ready(share),
                Err(time) => self.nap = Some(Box::pin(sleep(time))),
            }
        }
    }

    fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }
}

/// What is held of each way beside the kernel's own buffers.
const BUFFER_BYTES: usize = 16 << 10;
/// Whoever closes one side only is about to hear the rest.
const HALF_CLOSED_SILENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::task::yield_now;

    use super::*;

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(test);
    }

    #[test]
    fn all_arrives_in_order_and_is_counted() {
        run(async {
            let (mut near, mut client) = duplex(100);
            let (mut far, mut peer) = duplex(70);
            let carried = Carried::default();
            let sent: Vec<u8> = (0..200_000u32).map(|i| (i % 251) as u8).collect();
            let first = sent[..50_000].to_vec();
            let carrying = carry(&mut client, &mut peer, first, &carried, None);
            let talking = async {
                let (mut near_in, mut near_out) = tokio::io::split(&mut near);
                let (mut far_in, mut far_out) = tokio::io::split(&mut far);
                let up = async {
                    near_out.write_all(&sent[50_000..]).await.unwrap();
                    near_out.shutdown().await.unwrap();
                };
                let down = async {
                    far_out.write_all(&sent[..1000]).await.unwrap();
                    far_out.shutdown().await.unwrap();
                };
                let mut at_peer = Vec::new();
                let mut at_client = Vec::new();
                let (_, _, a, b) = tokio::join!(
                    up,
                    down,
                    far_in.read_to_end(&mut at_peer),
                    near_in.read_to_end(&mut at_client)
                );
                a.unwrap();
                b.unwrap();
                assert!(at_peer == sent);
                assert_eq!(at_client, sent[..1000]);
            };
            let (result, ()) = tokio::join!(carrying, talking);
            result.unwrap();
            assert_eq!(carried.to_peer.load(Ordering::Relaxed), 200_000);
            assert_eq!(carried.to_client.load(Ordering::Relaxed), 1000);
        });
    }

    #[test]
    fn who_does_not_read_stops_who_sends() {
        run(async {
            let (mut near, mut client) = duplex(100);
            let (far, mut peer) = duplex(100);
            let carried = Carried::default();
            let carrying = carry(&mut client, &mut peer, Vec::new(), &carried, None);
            let mut sent = 0;
            let sending = async {
                while let Ok(len) = near.write(&[7; 1000]).await {
                    sent += len;
                }
            };
            // Far more turns than it takes to fill all buffers.
            let turns = async {
                for _ in 0..10_000 {
                    yield_now().await;
                }
            };
            tokio::select! {
                _ = carrying => panic!("it goes on"),
                () = sending => panic!("it is not broken"),
                () = turns => {}
            }
            assert!(sent <= BUFFER_BYTES + 200, "{sent}");
            drop(far);
        });
    }

    #[test]
    fn one_side_may_end_while_the_other_speaks() {
        run(async {
            let (mut near, mut client) = duplex(100);
            let (mut far, mut peer) = duplex(100);
            let carried = Carried::default();
            let carrying = carry(&mut client, &mut peer, Vec::new(), &carried, None);
            let talking = async {
                near.shutdown().await.unwrap();
                assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 0);
                for _ in 0..5 {
                    far.write_all(b"more").await.unwrap();
                    near.read_exact(&mut [0; 4]).await.unwrap();
                }
                far.shutdown().await.unwrap();
            };
            let (result, ()) = tokio::join!(carrying, talking);
            result.unwrap();
        });
    }

    #[test]
    fn a_side_that_is_left_alone_and_silent_is_closed() {
        run(async {
            let (mut near, mut client) = duplex(100);
            let (_far, mut peer) = duplex(100);
            let carried = Carried::default();
            near.shutdown().await.unwrap();
            let patience = Duration::from_millis(1);
            carry_for(&mut client, &mut peer, Vec::new(), &carried, None, patience)
                .await
                .unwrap();
        });
    }

    #[test]
    fn a_side_that_breaks_ends_it() {
        run(async {
            let (near, mut client) = duplex(100);
            let (mut far, mut peer) = duplex(100);
            let carried = Carried::default();
            far.write_all(b"for nobody").await.unwrap();
            drop(near);
            carry(&mut client, &mut peer, Vec::new(), &carried, None)
                .await
                .unwrap_err();
        });
    }

    #[test]
    fn a_limited_way_is_no_faster_and_loses_nothing() {
        run(async {
            const RATE: u64 = 200_000;
            let (mut near, mut client) = duplex(1 << 16);
            let (mut far, mut peer) = duplex(1 << 16);
            let carried = Carried::default();
            let allowance = Allowance::new(NonZeroU64::new(RATE).unwrap());
            // What a full bucket holds, and a fifth of a second more.
            let sent: Vec<u8> = (0..240_000u32).map(|i| (i % 251) as u8).collect();
            let carrying = carry(
                &mut client,
                &mut peer,
                Vec::new(),
                &carried,
                Some(&allowance),
            );
            let start = Instant::now();
            let talking = async {
                let sending = async {
                    near.write_all(&sent).await.unwrap();
                    near.shutdown().await.unwrap();
                };
                let mut arrived = Vec::new();
                let (_, read) = tokio::join!(sending, far.read_to_end(&mut arrived));
                read.unwrap();
                let took = start.elapsed();
                assert!(arrived == sent);
                assert!(took >= Duration::from_millis(200), "{took:?}");
                far.shutdown().await.unwrap();
            };
            let (result, ()) = tokio::join!(carrying, talking);
            result.unwrap();
        });
    }

    #[test]
    fn the_connections_of_an_allocation_share_its_rate() {
        let allowance = Allowance::new(NonZeroU64::new(65_536).unwrap());
        run(async {
            let (first, second) = (allowance.to_peer(), allowance.to_peer());
            let mut taken = 0;
            while let Ok(share) = first
                .take(BUFFER_BYTES)
                .and_then(|_| second.take(BUFFER_BYTES))
            {
                taken += 2 * share;
            }
            assert!(taken <= 65_536 + BUFFER_BYTES, "{taken}");
            assert!(second.take(BUFFER_BYTES).is_err());
            second.give_back(BUFFER_BYTES);
            assert!(first.take(BUFFER_BYTES).is_ok());
            assert!(allowance.to_client().take(BUFFER_BYTES).is_ok());
        });
    }
}
