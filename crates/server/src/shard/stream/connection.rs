//! One connection: PROXY header, TLS or not, then messages both ways.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::server::Acceptor;
use turnbuckle_net::HEADROOM;
use turnbuckle_proto::Frame;
use turnbuckle_relay::{ClientAddress, ClientPath, FiveTuple, ServerAddress, Transport};

use super::post::Reply;
use super::state::{MESSAGE_MAX_LEN, READ_MAX_LEN, State};
use super::{Shared, proxy_protocol, tcp_relay};
use crate::tls;

/// Serves one connection until it ends. Nothing of it is left then.
pub(super) async fn serve(
    shared: Rc<Shared>,
    id: u32,
    stream: TcpStream,
    peer: SocketAddr,
    proxied: bool,
) {
    let _guard = Guard {
        shared: Rc::clone(&shared),
        id,
    };
    match run(&shared, id, stream, peer, proxied).await {
        Ok(()) => {}
        Err(error) => tracing::debug!(client = %peer, "connection closed: {error}"),
    }
}

/// Gives up the connection's number and allocation, however its task ends.
struct Guard {
    shared: Rc<Shared>,
    id: u32,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.shared.state.borrow_mut().close(self.id);
    }
}

// compliance: 8489-6.2.2-01, 8489-6.2.2-02, 8489-6.2.2-04
async fn run(
    shared: &Shared,
    id: u32,
    mut stream: TcpStream,
    peer: SocketAddr,
    proxied: bool,
) -> io::Result<()> {
    tcp_relay::set_options(&stream)?;
    let patience = shared.rules.borrow().handshake_timeout;
    let opened = timeout(
        patience,
        unless_dismissed(shared, id, open(shared, &mut stream, peer, proxied)),
    );
    let Opened {
        client,
        server,
        encrypted,
    } = opened.await.map_err(|_| late())??;
    let transport = if encrypted {
        Transport::Tls
    } else {
        Transport::Tcp
    };
    let path = ClientPath {
        handle: id,
        five_tuple: FiveTuple {
            client: ClientAddress(client),
            server: ServerAddress(server),
            transport,
        },
    };
    shared.state.borrow_mut().identify(id, path.five_tuple);
    if !encrypted {
        return converse(Messages::new(shared, stream, path)).await;
    }
    let service = shared.rules.borrow().tls.clone();
    let Some(service) = service else {
        shared.state.borrow_mut().count_handshake(false);
        if shared
            .state
            .borrow_mut()
            .may_log_refusal(client.ip(), "no certificate")
        {
            tracing::info!(%client, "a TLS client is turned away: there is no certificate (cert, pkey)");
        }
        return Ok(());
    };
    let handshake = unless_dismissed(shared, id, async {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let config = service.server_config(&hello.client_hello());
        hello.into_stream(config).await
    });
    let handshake = timeout(patience, handshake).await;
    let finished = matches!(handshake, Ok(Ok(_)));
    shared.state.borrow_mut().count_handshake(finished);
    let stream = match handshake {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            if shared
                .state
                .borrow_mut()
                .may_log_refusal(client.ip(), "handshake")
            {
                tracing::info!(%client, "TLS handshake failed: {}", tls::explain(&error));
            }
            return Ok(());
        }
        Err(_) => return Err(late()),
    };
    // Boxed: most connections are not encrypted, and the task has room for the larger of the two.
    converse(Messages::new(shared, Box::new(stream), path)).await
}

/// Messages, until the connection ends or becomes one for data of a peer (RFC 6062 §5.4).
async fn converse<S>(mut messages: Messages<'_, S>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (shared, id) = (messages.shared, messages.path.handle);
    while let Some(request) = (&mut messages).await? {
        let asking = tcp_relay::ask_to_bind(shared, messages.path, request);
        let Reply { answer, loan } = unless_dismissed(shared, id, asking).await?;
        let pushed = {
            let mut state = shared.state.borrow_mut();
            let connection = state.connection(id);
            connection.is_none_or(|connection| connection.push_answer(&answer))
        };
        if !pushed {
            return Err(late());
        }
        match loan {
            None => messages.resume()?,
            Some(loan) => {
                shared.state.borrow_mut().bound(id);
                let Messages {
                    mut stream, begun, ..
                } = messages;
                let handshake_timeout = shared.rules.borrow().handshake_timeout;
                let flushing = unless_dismissed(shared, id, flush(shared, id, &mut stream));
                timeout(handshake_timeout, flushing)
                    .await
                    .map_err(|_| late())??;
                let serving = tcp_relay::serve_data(&mut stream, begun, loan);
                return unless_dismissed(shared, id, serving).await;
            }
        }
    }
    Ok(())
}

/// Writes all that waits for the client.
async fn flush(shared: &Shared, id: u32, stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    poll_fn(|context| {
        let mut state = shared.state.borrow_mut();
        match state.connection(id) {
            Some(connection) => connection.output.poll_write(stream, context),
            None => Poll::Ready(Ok(())),
        }
    })
    .await
}

/// What is known before the first byte of the protocol proper.
struct Opened {
    client: SocketAddr,
    server: SocketAddr,
    encrypted: bool,
}

async fn open(
    shared: &Shared,
    stream: &mut TcpStream,
    peer: SocketAddr,
    proxied: bool,
) -> io::Result<Opened> {
    let (mut client, mut server) = (peer, stream.local_addr()?);
    if proxied {
        if !shared.is_trusted_proxy(peer) {
            if shared
                .state
                .borrow_mut()
                .may_log_refusal(peer.ip(), server.port())
            {
                tracing::warn!(
                    client = %peer,
                    "a connection to the PROXY protocol port {} is refused: the address is not in proxy-trusted",
                    server.port()
                );
            }
            return Err(io::Error::other("not a trusted proxy"));
        }
        if let Some(addresses) = proxy_protocol::read(stream).await? {
            (client, server) = addresses;
        }
    }
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Opened {
        client,
        server,
        encrypted: first == [TLS_HANDSHAKE],
    })
}

/// Ends with an error as soon as the connection has to go.
async fn unless_dismissed<T>(
    shared: &Shared,
    id: u32,
    work: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let mut work = pin!(work);
    poll_fn(|context| {
        shared.state.borrow_mut().park(id, context.waker())?;
        work.as_mut().poll(context)
    })
    .await
}

/// Messages both ways until one side ends it.
struct Messages<'a, S> {
    shared: &'a Shared,
    stream: S,
    path: ClientPath,
    /// The beginning of a message whose end has not come yet.
    begun: Vec<u8>,
    /// Runs while there is no allocation.
    deadline: Pin<Box<Sleep>>,
    was_allocated: bool,
    /// A ConnectionBind request that was read; what has come behind it may be no message.
    bind: Option<Vec<u8>>,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Messages<'a, S> {
    fn new(shared: &'a Shared, stream: S, path: ClientPath) -> Self {
        Self {
            shared,
            stream,
            path,
            begun: Vec::new(),
            deadline: Box::pin(sleep(shared.rules.borrow().allocate_timeout)),
            was_allocated: false,
            bind: None,
        }
    }

    /// Goes on with what came behind a ConnectionBind request that was refused.
    fn resume(&mut self) -> io::Result<()> {
        let shared = self.shared;
        let mut state = shared.state.borrow_mut();
        let begun = self.begun.len();
        let Some(place) = state.scratch.get_mut(HEADROOM..HEADROOM + begun) else {
            return Err(too_long());
        };
        place.copy_from_slice(&self.begun);
        self.begun.clear();
        self.handle(&mut state, begun)?;
        shared.rearm(&mut state);
        Ok(())
    }

    /// Ready at the end, or with a ConnectionBind request.
    fn turn(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Vec<u8>>>> {
        let shared = self.shared;
        let mut state = shared.state.borrow_mut();
        state.park(self.path.handle, context.waker())?;
        let mut reads = READS_PER_TURN;
        loop {
            if self.bind.is_some() {
                shared.rearm(&mut state);
                return Poll::Ready(Ok(self.bind.take()));
            }
            self.write(&mut state, context)?;
            if reads == 0 {
                // Others have their turn.
                context.waker().wake_by_ref();
                break;
            }
            reads -= 1;
            match self.read(&mut state, context) {
                Poll::Pending => break,
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => return Poll::Ready(Ok(None)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            }
        }
        shared.rearm(&mut state);
        self.keep_time(&mut state, context).map_ok(|()| None)
    }

    /// Writes what there is, as far as it goes.
    fn write(&mut self, state: &mut State, context: &mut Context<'_>) -> io::Result<()> {
        let Some(connection) = state.connection(self.path.handle) else {
            return Ok(());
        };
        match connection.output.poll_write(&mut self.stream, context) {
            Poll::Ready(result) => result,
            Poll::Pending => Ok(()),
        }
    }

    /// Reads once and handles the messages in it. `false` at the end of the stream.
    fn read(&mut self, state: &mut State, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let begun = self.begun.len();
        let Some(room) = state
            .scratch
            .get_mut(HEADROOM + begun..HEADROOM + begun + READ_MAX_LEN)
        else {
            return Poll::Ready(Err(too_long()));
        };
        let mut room = ReadBuf::new(room);
        match Pin::new(&mut self.stream).poll_read(context, &mut room) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => {}
        }
        let count = room.filled().len();
        if count == 0 {
            return Poll::Ready(Ok(false));
        }
        state.scratch[HEADROOM..HEADROOM + begun].copy_from_slice(&self.begun);
        self.begun.clear();
        Poll::Ready(self.handle(state, begun + count).map(|()| true))
    }

    /// Handles the messages in the first `len` bytes behind the headroom, and keeps what is left.
    fn handle(&mut self, state: &mut State, len: usize) -> io::Result<()> {
        let now = state.now();
        let end = HEADROOM + len;
        let mut start = HEADROOM;
        loop {
            match (self.shared.next_frame)(&state.scratch[start..end]) {
                Frame::Complete { len, consumed, .. } => {
                    if self.is_to_become_data(state, start..start + len) {
                        self.bind = Some(state.scratch[start..start + len].to_vec());
                        let behind = &state.scratch[start + consumed..end];
                        self.begun.extend_from_slice(behind);
                        return Ok(());
                    }
                    if !state.handle(now, &self.path, start, len) {
                        return Err(io::Error::other("it does not read its answers"));
                    }
                    start += consumed;
                }
                Frame::Incomplete { need } => {
                    let allocated = state
                        .connection(self.path.handle)
                        .is_some_and(|c| c.allocated);
                    let limit = if allocated {
                        MESSAGE_MAX_LEN
                    } else {
                        STRANGER_MESSAGE_MAX_LEN
                    };
                    if need > limit {
                        return Err(too_long());
                    }
                    self.begun.extend_from_slice(&state.scratch[start..end]);
                    return Ok(());
                }
                Frame::Invalid => {
                    let what = tls::not_tls(&state.scratch[start..end]);
                    return Err(io::Error::other(format!("it sent {what}")));
                }
            }
        }
    }

    /// Whether a message asks for this connection to carry data of a peer. One with an allocation is never that, and is refused
    /// like any other request that makes no sense.
    fn is_to_become_data(&self, state: &mut State, message: Range<usize>) -> bool {
        self.shared.relays_tcp
            && tcp_relay::is_connection_bind(&state.scratch[message])
            && !state
                .connection(self.path.handle)
                .is_some_and(|c| c.allocated)
    }

    /// Sends what is left to be said, as far as that goes without waiting.
    fn part(&mut self, context: &mut Context<'_>) {
        let shared = self.shared;
        let _ = self.write(&mut shared.state.borrow_mut(), context);
        let _ = Pin::new(&mut self.stream).poll_shutdown(context);
    }

    /// A connection without an allocation has a deadline.
    fn keep_time(&mut self, state: &mut State, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let allocated = state
            .connection(self.path.handle)
            .is_some_and(|c| c.allocated);
        if self.was_allocated && !allocated {
            let deadline = Instant::now() + self.shared.rules.borrow().allocate_timeout;
            self.deadline.as_mut().reset(deadline);
        }
        self.was_allocated = allocated;
        if !allocated && self.deadline.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(late()));
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Messages<'_, S> {
    type Output = io::Result<Option<Vec<u8>>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        match catch_unwind(AssertUnwindSafe(|| this.turn(context))) {
            Ok(Poll::Ready(Ok(Some(request)))) => Poll::Ready(Ok(Some(request))),
            Ok(Poll::Ready(result)) => {
                this.part(context);
                Poll::Ready(result)
            }
            Ok(Poll::Pending) => Poll::Pending,
            // A bug, which costs this connection.
            Err(_) => {
                let recovered = this.shared.state.borrow_mut().recover();
                Poll::Ready(recovered.map(|()| None))
            }
        }
    }
}

fn late() -> io::Error {
    io::Error::new(
        io::ErrorKind::TimedOut,
        "it did not make an allocation in time",
    )
}

fn too_long() -> io::Error {
    io::Error::other("it sent a message that is too long")
}

/// First byte of a TLS record with a handshake message (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 22;
/// Reads before others have their turn.
const READS_PER_TURN: usize = 4;
/// The longest message that is waited for without an allocation; requests are far shorter.
const STRANGER_MESSAGE_MAX_LEN: usize = 4 << 10;
