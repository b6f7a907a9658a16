//! TCP allocations on a stream shard (RFC 6062): waits for peers and for connections to them, and answers ConnectionBind requests that
//! came to any shard.

use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task;
use tokio::time::{sleep, timeout};
use turnbuckle_net::HEADROOM;
use turnbuckle_proto::{Class, Message, Method};
use turnbuckle_relay::{
    CONNECT_TIMEOUT, ClientPath, ConnectionId, Decision, Incoming, LateAnswer, Packet, RelayedId,
};

use super::carry::carry;
use super::post::{Letter, Loan, Reply};
use super::state::State;
use super::{ACCEPT_PAUSE, Shared};
use crate::peer_sockets::{Lent, Work, connect};
use crate::sockets::Opener;

/// Does what the relay asks for and what other shards ask for, for ever.
pub(super) async fn tend(shared: Rc<Shared>, mut inbox: UnboundedReceiver<Letter>) {
    let wanted = shared.state.borrow_mut().peer_sockets().wanted();
    loop {
        tokio::select! {
            () = wanted.notified() => start(&shared),
            Some(letter) = inbox.recv() => {
                let answered = catch_unwind(AssertUnwindSafe(|| answer(&shared, letter)));
                if answered.is_err()
                    && let Err(error) = shared.state.borrow_mut().recover()
                {
                    tracing::error!("TCP is not relayed any more: {error}");
                    return;
                }
            }
        }
    }
}

/// Asks the shard that has the peer's connection to answer a ConnectionBind request.
pub(super) async fn ask_to_bind(
    shared: &Shared,
    path: ClientPath,
    request: Vec<u8>,
) -> io::Result<Reply> {
    let named = Message::decode(&request)
        .ok()
        .and_then(|message| message.connection_id().ok().flatten())
        .map_or(shared.id, |id| ConnectionId::new(id).shard());
    let reply = shared.directory.ask(named, shared.id, path, request).await;
    reply.ok_or_else(|| io::Error::other("the shard of its peer is gone"))
}

/// Carries bytes between a client and its peer until one of them, or the allocation, ends.
pub(super) async fn serve_data(
    client: &mut (impl AsyncRead + AsyncWrite + Unpin),
    first: Vec<u8>,
    loan: Loan,
) -> io::Result<()> {
    let Loan { lent, end: _end } = loan;
    let Lent {
        peer,
        carried,
        allowance,
        closed,
    } = lent;
    let allowance = allowance.as_deref();
    let mut peer = TcpStream::from_std(peer)?;
    tokio::select! {
        result = carry(client, &mut peer, first, &carried, allowance) => result,
        _ = closed => Ok(()),
    }
}

/// Whether the message asks for the connection it came on to become one for data.
pub(super) fn is_connection_bind(message: &[u8]) -> bool {
    message.get(..2) == Some(&CONNECTION_BIND)
        && Message::decode(message).is_ok_and(|message| {
            (message.class(), message.method()) == (Class::Request, Method::CONNECTION_BIND)
        })
}

/// What connections with clients and with peers have in common.
pub(super) fn set_options(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
    socket.set_tcp_notsent_lowat(UNSENT_MAX_BYTES)
}

fn answer(shared: &Shared, letter: Letter) {
    let mut state = shared.state.borrow_mut();
    match letter {
        Letter::Bind {
            path,
            request,
            reply,
        } => {
            let answer = state.answer_bind(shared, &path, &request);
            // A connection that is gone lets its loan go.
            let _ = reply.send(answer);
        }
        Letter::Ended(connection) => state.end_connection(connection),
    }
    shared.rearm(&mut state);
}

fn start(shared: &Rc<Shared>) {
    let work = shared.state.borrow_mut().peer_sockets().take_work();
    for work in work {
        match work {
            Work::Accept(relayed, listener) => {
                let accepting = accept(Rc::clone(shared), relayed, listener);
                let task = task::spawn_local(accepting).abort_handle();
                let mut state = shared.state.borrow_mut();
                state.peer_sockets().started_accepting(relayed, task);
            }
            Work::Connect {
                connection,
                from,
                peer,
            } => {
                let opening = open(Rc::clone(shared), connection, from, peer);
                let task = task::spawn_local(opening).abort_handle();
                let mut state = shared.state.borrow_mut();
                state.peer_sockets().started_connecting(connection, task);
            }
        }
    }
}

/// RFC 6062 §5.3: accepts the connections of peers, until the relayed transport address is given up.
// compliance: 6062-5.3-01
async fn accept(shared: Rc<Shared>, relayed: RelayedId, listener: std::net::TcpListener) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!("peers cannot be waited for: {error}");
            return;
        }
    };
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let mut state = shared.state.borrow_mut();
                state.accept_peer(relayed, stream, peer);
                shared.rearm(&mut state);
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted
                ) => {}
            // Descriptors or memory have run out: peers wait in the kernel's queue.
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// RFC 6062 §5.2: opens a connection to a peer, and has the client answered.
async fn open(shared: Rc<Shared>, id: ConnectionId, from: SocketAddr, peer: SocketAddr) {
    let opened = match timeout(CONNECT_TIMEOUT, connect(from, peer)).await {
        Ok(Ok(stream)) => set_options(&stream).ok().map(|()| stream),
        Ok(Err(error)) => {
            tracing::debug!(%peer, relayed = %from, "a peer cannot be connected to: {error}");
            None
        }
        Err(_) => None,
    };
    let mut state = shared.state.borrow_mut();
    state.connected(id, opened);
    shared.rearm(&mut state);
}

impl State {
    /// A ConnectionBind request that came on a connection of any shard.
    fn answer_bind(&mut self, shared: &Shared, path: &ClientPath, request: &[u8]) -> Reply {
        let nothing = Reply {
            answer: Vec::new(),
            loan: None,
        };
        let now = self.now();
        let end = HEADROOM + request.len();
        let Some(place) = self.scratch.get_mut(HEADROOM..end) else {
            return nothing;
        };
        place.copy_from_slice(request);
        let Some(packet) = Packet::new(&mut self.scratch, HEADROOM..end) else {
            return nothing;
        };
        let decision = self.core.handle_client(now, path, packet);
        self.follow_events();
        match decision {
            Decision::Answer { len } => Reply {
                answer: self.core.answer.get(..len).unwrap_or_default().to_vec(),
                loan: None,
            },
            Decision::Bound { len, connection } => {
                let limit = self.core.relay.rate_of(connection);
                let lent = self.peer_sockets().loan(connection, limit);
                let loan = lent.and_then(|lent| shared.directory.loan(shared.id, connection, lent));
                if loan.is_none() {
                    self.end_connection(connection);
                    return nothing;
                }
                Reply {
                    answer: self.core.answer.get(..len).unwrap_or_default().to_vec(),
                    loan,
                }
            }
            _ => nothing,
        }
    }

    fn accept_peer(&mut self, relayed: RelayedId, stream: TcpStream, peer: SocketAddr) {
        let now = self.now();
        let core = &mut self.core;
        let mut sockets = Opener {
            table: &mut core.sockets,
            poll: &core.poll,
        };
        let incoming =
            core.relay
                .handle_incoming(now, relayed, peer, &mut core.answer, &mut sockets);
        let Ok(Incoming {
            connection,
            path,
            len,
        }) = incoming
        else {
            return;
        };
        if set_options(&stream).is_ok() {
            self.peer_sockets().keep(connection, stream);
            if self.tell_client(&path, len) {
                return;
            }
        }
        self.end_connection(connection);
    }

    fn connected(&mut self, connection: ConnectionId, stream: Option<TcpStream>) {
        let now = self.now();
        let is_open = stream.is_some();
        match stream {
            Some(stream) => self.peer_sockets().keep(connection, stream),
            None => self.peer_sockets().forget(connection),
        }
        let core = &mut self.core;
        let answer = core
            .relay
            .handle_connected(now, connection, is_open, &mut core.answer);
        self.follow_events();
        match answer {
            Some(LateAnswer { path, len }) => {
                if !self.tell_client(&path, len) {
                    self.end_connection(connection);
                }
            }
            None => self.peer_sockets().forget(connection),
        }
    }

    fn end_connection(&mut self, connection: ConnectionId) {
        let core = &mut self.core;
        let mut sockets = Opener {
            table: &mut core.sockets,
            poll: &core.poll,
        };
        core.relay
            .handle_connection_closed(connection, &mut sockets);
    }

    /// Sends what is in the answer buffer over a control connection; `false` if that cannot be.
    fn tell_client(&mut self, path: &ClientPath, len: usize) -> bool {
        let message = self.core.answer.get(..len).unwrap_or_default().to_vec();
        self.owner(path)
            .is_some_and(|connection| connection.push_answer(&message))
    }
}

/// Type of a ConnectionBind request (RFC 6062 §6.1).
const CONNECTION_BIND: [u8; 2] = [0x00, 0x0b];
const KEEPALIVE: Duration = Duration::from_secs(60);
/// What the kernel may hold that it cannot send yet: it would hold megabytes for somebody who does not read.
const UNSENT_MAX_BYTES: u32 = 128 << 10;
