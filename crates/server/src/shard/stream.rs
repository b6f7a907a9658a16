//! The shard of TCP and TLS clients: a tokio runtime on one thread. Each connection is a task; one more task waits for the epoll set
//! that holds the relay sockets.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::task::{self, AbortHandle, LocalSet};
use tokio::time::{Instant, sleep, sleep_until};
use turnbuckle_net::Events;
use turnbuckle_proto::{Frame, next_frame, next_frame_rfc5766};
use turnbuckle_relay::{self as relay, ShardId};

use crate::shard::figures::{Figures, ListenerFigures, ListenerKind};
use crate::shard::mailbox::{Command, Mailbox};
use crate::shard::reconfigure::Reconfigure;
use crate::shard::{Core, Parts, Report};
use crate::tls::TlsService;

mod carry;
mod connection;
mod output;
mod pending;
mod post;
mod proxy_protocol;
mod state;
mod tcp_relay;

use post::Directory;
pub(crate) use post::Post;
use state::State;

/// A stream shard before and while it runs.
pub(crate) struct StreamShard {
    core: Core,
    listeners: Vec<StreamListener>,
    rules: Rules,
    next_frame: fn(&[u8]) -> Frame,
    id: ShardId,
    /// TCP allocations are served.
    relays_tcp: bool,
    post: Post,
}

/// A socket that connections are accepted from.
#[derive(Debug)]
pub(crate) struct StreamListener {
    pub(crate) socket: TcpListener,
    /// Each connection begins with a PROXY protocol header.
    pub(crate) proxied: bool,
}

/// What holds for every connection.
#[derive(Clone)]
pub(crate) struct Rules {
    /// `None`: there is no certificate, and TLS is refused.
    pub(crate) tls: Option<TlsService>,
    /// Where PROXY protocol headers are believed.
    pub(crate) proxies: Arc<[IpNet]>,
    /// Connections of this shard.
    pub(crate) connections_max: usize,
    /// Connections of this shard that have no allocation (yet); the oldest makes room for a new one.
    pub(crate) pending_max: usize,
    /// The same for one source: an IPv4 address or an IPv6 /64.
    pub(crate) pending_per_source_max: usize,
    /// How long PROXY header and TLS handshake may take.
    pub(crate) handshake_timeout: Duration,
    /// How long a connection may be without an allocation.
    pub(crate) allocate_timeout: Duration,
}

/// What all tasks of a shard hold.
pub(super) struct Shared {
    state: RefCell<State>,
    mailbox: Arc<Mailbox>,
    listening: RefCell<Vec<Open>>,
    rules: RefCell<Rules>,
    id: ShardId,
    relays_tcp: bool,
    /// Where other shards are asked.
    directory: Directory,
    /// How messages are told apart.
    next_frame: fn(&[u8]) -> Frame,
    /// The relay's next deadline is earlier than the one being slept for.
    timer: Notify,
}

/// A listener whose task accepts.
struct Listening {
    address: SocketAddr,
    proxied: Cell<bool>,
    /// Connections since it was opened.
    accepted: Cell<u64>,
}

/// A listener and its task, which is all that has the socket.
struct Open {
    listening: Rc<Listening>,
    task: AbortHandle,
}

impl StreamShard {
    /// Fails if the kernel gives no epoll or no randomness.
    pub(crate) fn new(
        parts: Parts,
        listeners: Vec<StreamListener>,
        rules: Rules,
        post: Post,
    ) -> io::Result<Self> {
        let next_frame = match parts.config.wide_channels {
            true => next_frame_rfc5766,
            false => next_frame,
        };
        Ok(Self {
            id: parts.id,
            relays_tcp: parts.config.tcp_relay.is_some(),
            core: Core::new(parts, SLOTS)?,
            listeners,
            rules,
            next_frame,
            post,
        })
    }

    /// Where others ask the shard for something.
    pub(crate) fn mailbox(&self) -> Arc<Mailbox> {
        Arc::clone(self.core.mailbox())
    }

    /// Serves until it is told to stop. An error means that the shard cannot go on.
    pub(crate) fn run(self) -> io::Result<Report> {
        self.run_until(std::future::pending())
    }

    /// Serves beside `end`, on the same thread, until that is ready or the shard is told to stop.
    fn run_until(self, end: impl Future<Output = ()>) -> io::Result<Report> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        // A descriptor of its own, so that the waiting does not borrow what is waited for.
        let poll = self.core.poll.as_fd().try_clone_to_owned()?;
        let shared = Rc::new(Shared {
            mailbox: Arc::clone(self.core.mailbox()),
            state: RefCell::new(State::new(self.core, &self.rules)),
            listening: RefCell::default(),
            rules: RefCell::new(self.rules),
            id: self.id,
            relays_tcp: self.relays_tcp,
            directory: self.post.directory,
            next_frame: self.next_frame,
            timer: Notify::new(),
        });
        let tasks = LocalSet::new();
        let result = tasks.block_on(&runtime, async {
            for listener in self.listeners {
                listen(&shared, listener)?;
            }
            if self.relays_tcp {
                let shared = Rc::clone(&shared);
                task::spawn_local(tcp_relay::tend(shared, self.post.inbox));
            }
            #[allow(
                deprecated,
                reason = "an OwnedFd stays open as long as the AsyncFd has it"
            )]
            let poll = AsyncFd::new(poll)?;
            tokio::select! {
                result = relay_from_peers(&shared, &poll) => result,
                () = end => Ok(()),
            }
        });
        shared.state.borrow_mut().stop();
        // Ends all connections.
        drop(tasks);
        drop(runtime);
        let shared = Rc::into_inner(shared).ok_or_else(|| io::Error::other("a task is left"))?;
        result.map(|()| shared.state.into_inner().finish())
    }
}

/// Starts a task that accepts.
fn listen(shared: &Rc<Shared>, listener: StreamListener) -> io::Result<()> {
    listener.socket.set_nonblocking(true)?;
    let listening = Rc::new(Listening {
        address: listener.socket.local_addr()?,
        proxied: Cell::new(listener.proxied),
        accepted: Cell::new(0),
    });
    let socket = tokio::net::TcpListener::from_std(listener.socket)?;
    let accepting = accept(Rc::clone(shared), socket, Rc::clone(&listening));
    let task = task::spawn_local(accepting).abort_handle();
    shared.listening.borrow_mut().push(Open { listening, task });
    Ok(())
}

/// Accepts for ever. Running out of descriptors or memory makes it wait, never spin: connections stay in the kernel's queue.
// compliance: 8489-12-04, 8656-5-10
async fn accept(shared: Rc<Shared>, listener: tokio::net::TcpListener, listening: Rc<Listening>) {
    let mut failing = false;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                failing = false;
                listening.accepted.set(listening.accepted.get() + 1);
                let proxied = listening.proxied.get();
                let trusted = proxied && shared.is_trusted_proxy(peer);
                let admitted = shared.state.borrow_mut().admit(peer, trusted);
                if let Some(id) = admitted {
                    let shared = Rc::clone(&shared);
                    task::spawn_local(connection::serve(shared, id, stream, peer, proxied));
                }
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted
                ) => {}
            Err(error) => {
                if !failing {
                    tracing::error!("connections cannot be accepted for now: {error}");
                    failing = true;
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Takes what arrives at relay sockets and from other shards, ends what expires, and does what the shard is asked for, until it is
/// told to stop.
// compliance: 8656-16-01
async fn relay_from_peers(shared: &Rc<Shared>, poll: &AsyncFd<OwnedFd>) -> io::Result<()> {
    let mut events = Events::with_capacity(EVENTS);
    loop {
        let deadline = shared.sleep_for();
        let may_sleep = shared.state.borrow_mut().fall_asleep();
        tokio::select! {
            biased;
            ready = poll.readable() => {
                let mut ready = ready?;
                let turn = catch_unwind(AssertUnwindSafe(|| {
                    shared.state.borrow_mut().relay_from_peers(&mut events)
                }));
                match turn {
                    // Level triggered: nothing is left only if nothing was there.
                    Ok(Ok(false)) => ready.clear_ready(),
                    Ok(Ok(true)) => {}
                    Ok(Err(error)) => return Err(error),
                    Err(_) => shared.state.borrow_mut().recover()?,
                }
            }
            () = sleep_until_some(deadline) => shared.state.borrow_mut().end_expired(),
            () = shared.timer.notified() => {}
            () = std::future::ready(()), if !may_sleep => {}
        }
        let turn = catch_unwind(AssertUnwindSafe(|| {
            shared.state.borrow_mut().relay_from_shards();
        }));
        if turn.is_err() {
            shared.state.borrow_mut().recover()?;
        }
        if shared.obey() {
            return Ok(());
        }
        // Connections have their turn in any case.
        task::yield_now().await;
    }
}

impl Shared {
    fn is_trusted_proxy(&self, peer: SocketAddr) -> bool {
        self.rules
            .borrow()
            .proxies
            .iter()
            .any(|net| net.contains(&peer.ip()))
    }

    /// Does what the shard is asked for; true if it is to stop.
    fn obey(self: &Rc<Self>) -> bool {
        let mut stops = false;
        while let Some(command) = self.mailbox.take() {
            match command {
                Command::Report(reply) => reply.send(self.figures()),
                Command::Sessions { user, reply } => {
                    let mut state = self.state.borrow_mut();
                    reply.send(state.core.sessions(user.as_deref()));
                }
                Command::End { user, why, reply } => {
                    let mut state = self.state.borrow_mut();
                    let ended = state.core.end_sessions(&user, why);
                    state.follow_events();
                    reply.send(ended);
                }
                Command::Configure(new, reply) => reply.send(self.configure(*new)),
                // Listeners for streams are closed at once.
                Command::Close(_) => {}
                Command::Stop => stops = true,
            }
        }
        stops
    }

    fn configure(self: &Rc<Self>, new: Reconfigure) -> io::Result<()> {
        {
            let mut state = self.state.borrow_mut();
            state.core.configure(new.config);
            state.limit(&new.rules);
        }
        *self.rules.borrow_mut() = new.rules;
        self.listening.borrow_mut().retain(|open| {
            let address = open.listening.address;
            let wanted = new.listeners.streams.iter().find(|w| w.address == address);
            match wanted {
                Some(wanted) => open.listening.proxied.set(wanted.proxied),
                None => open.task.abort(),
            }
            wanted.is_some()
        });
        let mut streams = new.new_streams.into_iter();
        streams.try_for_each(|listener| listen(self, listener))
    }

    fn figures(&self) -> Figures {
        let state = self.state.borrow();
        let listening = self.listening.borrow();
        let listening = listening.iter().map(|open| &open.listening);
        let listeners = listening.map(|listening| ListenerFigures {
            given_up: false,
            allocations: 0,
            kind: match listening.proxied.get() {
                true => ListenerKind::Proxied,
                false => ListenerKind::Stream,
            },
            address: listening.address,
            received: listening.accepted.get(),
            kernel_drops: None,
            receive_buffer: None,
        });
        Figures {
            report: state.core.report(),
            allocations: state.core.allocations,
            connections: state.connections(),
            listeners: listeners.collect(),
        }
    }

    /// When the relay wants to be called; remembered, so that an earlier wish is noticed.
    fn sleep_for(&self) -> Option<Instant> {
        let mut state = self.state.borrow_mut();
        let timeout = state.arm();
        timeout.map(|timeout| Instant::now() + timeout)
    }

    /// To be called after every input: the relay may want to be called earlier than before, and other shards may have been handed
    /// something.
    fn rearm(&self, state: &mut State) {
        state.tell_shards();
        if state.wants_earlier_timer() {
            self.timer.notify_one();
        }
    }
}

async fn sleep_until_some(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// True for what came over this shard's kind of transport.
const fn is_stream(path: &relay::ClientPath) -> bool {
    path.five_tuple.transport.is_stream()
}

/// A payload leaves its slot at once, into the output of a connection.
const SLOTS: usize = 1;
const EVENTS: usize = 64;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
