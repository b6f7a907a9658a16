//! What the tasks of a stream shard share: the core and the connections.

use std::collections::HashMap;
use std::hash::Hash;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::Waker;
use std::time::Duration;

use turnbuckle_net::{Events, HEADROOM};
use turnbuckle_relay::{ClientPath, Decision, Event, FiveTuple, Instant, Now, Packet};

use super::output::Output;
use super::pending::{Pending, Place, Source};
use super::{Rules, is_stream};
use crate::peer_sockets::PeerSockets;
use crate::shard::{Core, DOORBELL, HANDOVERS_PER_TURN, Report};
use crate::sockets::Opener;
use crate::throttle::Throttle;

pub(super) struct State {
    pub(super) core: Core,
    connections: Vec<Option<Connection>>,
    /// Numbers of connections whose client is known.
    identified: HashMap<FiveTuple, u32>,
    free: Vec<u32>,
    connections_max: usize,
    pending: Pending,
    /// Bytes just read from a connection, with [`HEADROOM`] in front.
    pub(super) scratch: Box<[u8]>,
    /// The deadline that is being slept for.
    armed: Option<Instant>,
    refusals: Throttle,
}

/// What others may do to a connection. The socket itself belongs to its task.
pub(super) struct Connection {
    pub(super) output: Output,
    waker: Option<Waker>,
    five_tuple: Option<FiveTuple>,
    place: Option<Place>,
    source: Source,
    pub(super) allocated: bool,
    /// Why it has to go, if it has to.
    dismissed: Option<&'static str>,
}

impl State {
    pub(super) fn new(core: Core, rules: &Rules) -> Self {
        Self {
            core,
            connections: Vec::new(),
            identified: HashMap::new(),
            free: Vec::new(),
            connections_max: rules.connections_max,
            pending: Pending::new(rules.pending_max, rules.pending_per_source_max),
            scratch: vec![0; SCRATCH_LEN].into_boxed_slice(),
            armed: None,
            refusals: Throttle::new("refused connections"),
        }
    }

    /// Goes by other bounds. Connections that are there stay.
    pub(super) const fn limit(&mut self, rules: &Rules) {
        self.connections_max = rules.connections_max;
        self.pending
            .limit(rules.pending_max, rules.pending_per_source_max);
    }

    /// A new connection from `peer`; `None` if there are too many. One from a trusted proxy counts when its client is known.
    pub(super) fn admit(&mut self, peer: SocketAddr, trusted_proxy: bool) -> Option<u32> {
        if self.connections() >= self.connections_max {
            self.core.report.connections_refused += 1;
            return None;
        }
        let id = match self.free.pop() {
            Some(id) => id,
            None => {
                self.connections.push(None);
                u32::try_from(self.connections.len() - 1).ok()?
            }
        };
        let source = Source::from(peer.ip());
        *self.connections.get_mut(id as usize)? = Some(Connection {
            output: Output::default(),
            waker: None,
            five_tuple: None,
            place: None,
            source,
            allocated: false,
            dismissed: None,
        });
        if !trusted_proxy {
            self.await_allocation(id);
        }
        Some(id)
    }

    /// The client behind the connection is known now.
    pub(super) fn identify(&mut self, id: u32, five_tuple: FiveTuple) {
        if let Some(older) = self.identified.insert(five_tuple, id) {
            // Both cannot be alive: the older one's end has not been noticed yet.
            if let Some(older) = self.connection(older) {
                older.five_tuple = None;
            }
            self.dismiss(older, "its client has come back with a new connection");
            self.disconnect(&five_tuple);
        }
        let Some(connection) = self.connection(id) else {
            return;
        };
        connection.five_tuple = Some(five_tuple);
        connection.source = Source::from(five_tuple.client.0.ip());
        if let Some(place) = connection.place.take() {
            self.pending.remove(place);
        }
        self.await_allocation(id);
    }

    /// Remembers whom to wake for the connection. Fails if it has to go.
    pub(super) fn park(&mut self, id: u32, waker: &Waker) -> io::Result<()> {
        match self.connection(id) {
            Some(Connection {
                dismissed: Some(why),
                ..
            }) => Err(io::Error::other(*why)),
            Some(connection) => {
                connection.park(waker);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Number of open connections.
    pub(super) const fn connections(&self) -> usize {
        self.connections.len() - self.free.len()
    }

    pub(super) fn connection(&mut self, id: u32) -> Option<&mut Connection> {
        self.connections.get_mut(id as usize)?.as_mut()
    }

    /// The connection is over: its allocation goes with it (RFC 8656 §6), and its number is free.
    pub(super) fn close(&mut self, id: u32) {
        let five_tuple = self.connection(id).and_then(|c| c.five_tuple);
        if let Some(five_tuple) = five_tuple {
            self.disconnect(&five_tuple);
            self.identified.remove(&five_tuple);
        }
        let closed = self.connections.get_mut(id as usize).and_then(Option::take);
        if let Some(connection) = closed {
            if let Some(place) = connection.place {
                self.pending.remove(place);
            }
            self.free.push(id);
        }
    }

    /// Handles one message that lies in the scratch buffer. `false` if the connection cannot go on.
    pub(super) fn handle(&mut self, now: Now, path: &ClientPath, start: usize, len: usize) -> bool {
        let Some(packet) = Packet::new(&mut self.scratch, start..start + len) else {
            return false;
        };
        let goes_on = match self.core.handle_client(now, path, packet) {
            Decision::ToPeer {
                relayed,
                peer,
                bytes,
                dont_fragment,
            } => {
                let bytes = self.scratch.get(bytes.range()).unwrap_or_default();
                if dont_fragment {
                    self.core.send_whole(relayed, peer, bytes, 0);
                } else {
                    self.core.send_to_peer(relayed, peer, bytes, 0);
                }
                true
            }
            Decision::ToShard { to, bytes } => {
                let bytes = self.scratch.get(bytes.range()).unwrap_or_default();
                self.core.hand_over(&to, bytes, 0);
                true
            }
            Decision::ToClient { path, bytes } => {
                let bytes = self.scratch.get(bytes.range()).unwrap_or_default();
                if !deliver(&mut self.connections, &path, bytes) {
                    self.core.report.slow_reader += 1;
                }
                true
            }
            Decision::Answer { len } => {
                let answer = self.core.answer.get(..len).unwrap_or_default();
                let connection = self.connections.get_mut(path.handle as usize);
                connection
                    .and_then(Option::as_mut)
                    .is_some_and(|c| c.output.push_answer(answer))
            }
            Decision::Deferred | Decision::Drop(_) => true,
            // The answers to neither go back this way.
            Decision::AnswerFrom { .. } | Decision::Bound { .. } => false,
        };
        self.follow_events();
        goes_on
    }

    /// Takes what is at relay sockets, up to [`PASSES`] datagrams of each, so that they share a write to the connection; whether
    /// something may be left.
    pub(super) fn relay_from_peers(&mut self, events: &mut Events) -> io::Result<bool> {
        let now = self.core.clock.now();
        for _ in 0..PASSES {
            self.core.poll.wait(Some(Duration::ZERO), events)?;
            if events.is_empty() {
                return Ok(false);
            }
            for event in events.iter() {
                if event.token == DOORBELL {
                    self.core.answer_doorbell();
                    continue;
                }
                if event.error {
                    self.relay_icmp(now, event.token);
                }
                if let Some(from) = self.core.receive_from_peer(now, event.token, 0) {
                    let slot = self.core.arena.slot(0);
                    let bytes = slot.get(from.bytes.range()).unwrap_or_default();
                    if !deliver(&mut self.connections, &from.path, bytes) {
                        self.core.report.slow_reader += 1;
                    }
                }
            }
        }
        Ok(true)
    }

    /// Takes what other shards have handed over.
    pub(super) fn relay_from_shards(&mut self) {
        self.core.wake_up();
        let now = self.core.clock.now();
        for _ in 0..HANDOVERS_PER_TURN {
            let Some(arrival) = self.core.receive_from_shard(now, 0) else {
                return;
            };
            if let Some(from) = arrival {
                let slot = self.core.arena.slot(0);
                let bytes = slot.get(from.bytes.range()).unwrap_or_default();
                if !deliver(&mut self.connections, &from.path, bytes) {
                    self.core.report.slow_reader += 1;
                }
            }
        }
    }

    /// An ICMP error about a datagram that was sent to a peer.
    #[cold]
    fn relay_icmp(&mut self, now: Now, token: u64) {
        if let Some(from) = self.core.receive_icmp(now, token, 0) {
            let slot = self.core.arena.slot(0);
            let bytes = slot.get(from.bytes.range()).unwrap_or_default();
            if !deliver(&mut self.connections, &from.path, bytes) {
                self.core.report.slow_reader += 1;
            }
        }
    }

    /// To be called before waiting for relay sockets and other shards; then comes
    /// [`relay_from_shards`](Self::relay_from_shards).
    pub(super) fn fall_asleep(&mut self) -> bool {
        self.core.fall_asleep()
    }

    /// Wakes the shards that something was handed to.
    pub(super) fn tell_shards(&mut self) {
        self.core.tell_shards();
    }

    pub(super) fn end_expired(&mut self) {
        let now = self.core.clock.now();
        self.core.end_expired(now);
        self.follow_events();
    }

    /// Listeners and connections of TCP allocations.
    pub(super) const fn peer_sockets(&mut self) -> &mut PeerSockets {
        &mut self.core.sockets.peers
    }

    /// The connection carries data of a peer: it needs no allocation of its own.
    pub(super) fn bound(&mut self, id: u32) {
        let place = self.connection(id).and_then(|connection| {
            connection.allocated = true;
            connection.place.take()
        });
        if let Some(place) = place {
            self.pending.remove(place);
        }
    }

    /// Whether one more refused connection may be written down; see [`Throttle`].
    pub(super) fn may_log_refusal(&mut self, client: IpAddr, why: impl Hash) -> bool {
        let now = self.core.clock.now();
        self.refusals.admit(now.instant, (client, why))
    }

    /// A TLS handshake has ended, well or badly.
    pub(super) const fn count_handshake(&mut self, finished: bool) {
        let report = &mut self.core.report;
        let count = match finished {
            true => &mut report.tls_finished,
            false => &mut report.tls_failed,
        };
        *count = count.wrapping_add(1);
    }

    pub(super) fn now(&mut self) -> Now {
        self.core.clock.now()
    }

    /// How long may be slept, which is remembered.
    pub(super) fn arm(&mut self) -> Option<Duration> {
        self.armed = self.core.relay.poll_timeout();
        self.core.timeout()
    }

    pub(super) fn wants_earlier_timer(&self) -> bool {
        match (self.core.relay.poll_timeout(), self.armed) {
            (Some(wanted), Some(armed)) => wanted < armed,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }

    /// After a panic: see [`Core::recover`].
    pub(super) fn recover(&mut self) -> io::Result<()> {
        if !self.core.recover()? {
            for id in 0..self.connections.len() as u32 {
                if self.connection(id).is_some_and(|c| c.allocated) {
                    self.await_allocation(id);
                }
            }
        }
        Ok(())
    }

    /// Ends all sessions, before the end of their connections does.
    pub(super) fn stop(&mut self) {
        let now = self.core.clock.now();
        let mut sockets = Opener {
            table: &mut self.core.sockets,
            poll: &self.core.poll,
        };
        self.core.relay.handle_stop(now, &mut sockets);
        // What connections are left with does not matter any more.
        while let Some(event) = self.core.relay.poll_event() {
            self.core.tell(event);
        }
    }

    pub(super) fn finish(mut self) -> Report {
        self.refusals.tell_hidden();
        self.core.finish()
    }

    fn disconnect(&mut self, five_tuple: &FiveTuple) {
        let now = self.core.clock.now();
        let mut sockets = Opener {
            table: &mut self.core.sockets,
            poll: &self.core.poll,
        };
        self.core
            .relay
            .handle_disconnect(now, five_tuple, &mut sockets);
        self.follow_events();
    }

    /// Learns from events which connections have an allocation, and passes them on.
    pub(super) fn follow_events(&mut self) {
        while let Some(event) = self.core.relay.poll_event() {
            match &event {
                Event::AllocationCreated { path, .. } if is_stream(path) => {
                    let place = self.owner(path).and_then(|connection| {
                        connection.allocated = true;
                        connection.place.take()
                    });
                    if let Some(place) = place {
                        self.pending.remove(place);
                    }
                }
                Event::AllocationDeleted { path, .. }
                    if is_stream(path) && self.owner(path).is_some() =>
                {
                    self.await_allocation(path.handle);
                }
                _ => {}
            }
            self.core.tell(event);
        }
    }

    /// The connection behind this path, if it is still the same.
    pub(super) fn owner(&mut self, path: &ClientPath) -> Option<&mut Connection> {
        self.connection(path.handle)
            .filter(|connection| connection.five_tuple == Some(path.five_tuple))
    }

    /// The connection has no allocation, and its time to make one runs.
    fn await_allocation(&mut self, id: u32) {
        let Some(connection) = self.connection(id) else {
            return;
        };
        connection.allocated = false;
        connection.wake();
        let source = connection.source;
        let (place, evicted) = self.pending.insert(id, source);
        if let Some(connection) = self.connection(id) {
            connection.place = Some(place);
        }
        if let Some(evicted) = evicted {
            self.dismiss(
                evicted,
                "it had no allocation and had to make room for newer connections",
            );
            self.core.report.connections_evicted += 1;
        }
    }

    /// Has its task close the connection.
    fn dismiss(&mut self, id: u32, why: &'static str) {
        let Some(connection) = self.connection(id) else {
            return;
        };
        connection.dismissed = Some(why);
        connection.wake();
        if let Some(place) = connection.place.take() {
            self.pending.remove(place);
        }
    }
}

impl Connection {
    /// Remembers whom to wake.
    pub(super) fn park(&mut self, waker: &Waker) {
        match &mut self.waker {
            Some(known) => known.clone_from(waker),
            None => self.waker = Some(waker.clone()),
        }
    }

    /// An answer for the client, or an indication that must not be lost; see [`Output::push_answer`].
    pub(super) fn push_answer(&mut self, bytes: &[u8]) -> bool {
        let room = self.output.push_answer(bytes);
        self.wake();
        room
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

/// Puts relayed data into the output of the connection that it is for; `false` if that is full or gone.
#[inline]
fn deliver(connections: &mut [Option<Connection>], path: &ClientPath, bytes: &[u8]) -> bool {
    let Some(Some(connection)) = connections.get_mut(path.handle as usize) else {
        return false;
    };
    let room = connection.output.push_data(bytes);
    connection.wake();
    room
}

/// What one read may add.
pub(super) const READ_MAX_LEN: usize = 64 << 10;
/// The longest message: a ChannelData message with header and padding, or a STUN message.
pub(super) const MESSAGE_MAX_LEN: usize = 65_535 + 20;
/// A message that was begun, and the next read behind it.
const SCRATCH_LEN: usize = HEADROOM + MESSAGE_MAX_LEN + READ_MAX_LEN + turnbuckle_net::TAILROOM;

/// Datagrams taken from one relay socket before connections have their turn.
const PASSES: usize = 8;
