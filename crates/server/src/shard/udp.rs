//! The shard of UDP clients: waits in a level-triggered epoll loop of its own, takes datagrams in batches, and sends all that goes
//! to clients of one turn in one system call. DTLS clients of the same ports are told from plain ones by the first byte, and are the
//! matter of [`dtls`](super::dtls).

use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use turnbuckle_net::{Events, Front, HEADROOM, Piece, Received, UdpListener};
use turnbuckle_proto::{Kind, classify, is_request};
use turnbuckle_relay::{
    ClientAddress, ClientPath, Decision, FiveTuple, Now, RelayedId, ServerAddress, Transport,
};

use crate::shard::dtls::{Dtls, DtlsService};
use crate::shard::figures::{Figures, ListenerFigures, ListenerKind};
use crate::shard::mailbox::{Command, Mailbox};
use crate::shard::reconfigure::Reconfigure;
use crate::shard::{Core, DOORBELL, DtlsRules, HANDOVERS_PER_TURN, Held, Parts, Report};

pub(super) use outgoing::Io;

use outgoing::Outgoing;

mod bundle;
mod departures;
mod outgoing;

/// A UDP shard before and while it runs.
pub(crate) struct UdpShard {
    events: Events,
    clients: Clients,
}

/// All of a shard that its list of events is not a part of.
struct Clients {
    io: Io,
    /// `None`: datagrams of DTLS are nobody's.
    dtls: Option<Dtls>,
    /// Clients without DTLS are not served.
    only_dtls: bool,
    /// The batch that is being handled.
    received: Vec<Received>,
    batch: Batch,
    /// Counts the turns, round and round.
    turn: u32,
    stops: bool,
}

/// How far a batch has been handled: kept so that a panic over one packet does not lose those behind it.
#[derive(Clone, Copy)]
struct Batch {
    from: From,
    first_slot: usize,
    next: usize,
}

/// The socket that a batch was taken from.
#[derive(Clone, Copy)]
enum From {
    Listener(u32),
    Relayed(RelayedId),
}

impl UdpShard {
    /// Fails if the kernel gives no epoll, no eventfd or no randomness.
    ///
    /// With `dtls`, DTLS clients are served on all listeners too.
    pub(crate) fn new(
        parts: Parts,
        listeners: Vec<UdpListener>,
        dtls: Option<(Arc<DtlsService>, DtlsRules)>,
    ) -> io::Result<Self> {
        let dtls = dtls
            .map(|(service, rules)| Dtls::new(service, rules, &parts.config))
            .transpose()?;
        let core = Core::new(parts, SLOTS + 1)?;
        Ok(Self {
            events: Events::with_capacity(EVENTS),
            clients: Clients {
                io: Io::new(core, listeners)?,
                only_dtls: dtls.as_ref().is_some_and(Dtls::is_alone),
                dtls,
                received: Vec::with_capacity(BATCH),
                batch: Batch {
                    from: From::Listener(0),
                    first_slot: 0,
                    next: 0,
                },
                turn: 0,
                stops: false,
            },
        })
    }

    /// Where others ask the shard for something.
    pub(crate) fn mailbox(&self) -> Arc<Mailbox> {
        Arc::clone(self.clients.io.core.mailbox())
    }

    /// Serves until it is told to stop. An error means that the shard cannot go on: the host is out of something that it
    /// cannot do without.
    pub(crate) fn run(mut self) -> io::Result<Report> {
        while !self.clients.stops {
            match catch_unwind(AssertUnwindSafe(|| self.turn())) {
                Ok(result) => result?,
                Err(_) => self.clients.recover()?,
            }
        }
        Ok(self.clients.finish())
    }

    /// Waits, and handles what is there.
    fn turn(&mut self) -> io::Result<()> {
        let clients = &mut self.clients;
        let timeout = if clients.batch_is_unfinished() {
            Some(Duration::ZERO)
        } else {
            clients.timeout()
        };
        clients.io.core.wait(timeout, &mut self.events)?;
        clients.turn = clients.turn.wrapping_add(1);
        clients.io.core.report.waits += 1;
        let now = clients.io.core.clock.now();
        if clients.batch_is_unfinished() {
            clients.handle_batch(now);
            clients.io.flush();
        }
        let mut called = false;
        for event in self.events.iter() {
            match event.token {
                DOORBELL => {
                    clients.io.core.answer_doorbell();
                    called = true;
                }
                token if token >= LISTENERS => clients.receive(token - LISTENERS, now)?,
                token => {
                    if event.error {
                        clients.receive_icmp(token, now);
                    }
                    clients.receive_from_peer(token, now);
                }
            }
        }
        clients.receive_from_shards(now);
        clients.io.flush();
        clients.end_expired(now);
        if called {
            clients.obey();
        }
        Ok(())
    }
}

impl Clients {
    /// One batch of a listener.
    // compliance: 8489-12-04, 8656-5-09
    fn receive(&mut self, endpoint: u64, now: Now) -> io::Result<()> {
        let io = &mut self.io;
        if io.next_slot.saturating_add(BATCH) > SLOTS {
            io.flush();
        }
        let Some((endpoint, from)) = u32::try_from(endpoint)
            .ok()
            .and_then(|index| Some((index, io.endpoints.get_mut(index as usize)?.as_mut()?)))
        else {
            return Ok(());
        };
        let first_slot = io.next_slot;
        self.received.clear();
        let asked = from.expected;
        let count =
            from.socket
                .receive(&mut io.core.arena, first_slot, asked, &mut self.received)?;
        io.core.report.receives += 1;
        from.received = from.received.wrapping_add(count as u64);
        from.expected = if count == asked {
            asked.saturating_mul(2).min(BATCH)
        } else {
            asked.midpoint(count.saturating_add(EXPECTED_MIN))
        };
        let in_trains = neighbours(&self.received);
        if from.pace.took(in_trains.saturating_mul(2) > count) {
            // Where the kernel does not know it, trains come as single datagrams.
            let _ = from.socket.set_receive_bundles(true);
        }
        if from.given_up {
            let address = from.address;
            self.turn_strangers_away(address);
        }
        self.handle_new_batch(From::Listener(endpoint), now);
        Ok(())
    }

    /// Empties the datagrams of a batch whose senders have no allocation: their listener is given up. Nothing can be in an empty one.
    #[cold]
    fn turn_strangers_away(&mut self, listener: SocketAddr) {
        let relay = &self.io.core.relay;
        for received in &mut self.received {
            let ip = received.destination.unwrap_or_else(|| listener.ip());
            let is_known = [Transport::Udp, Transport::Dtls]
                .into_iter()
                .any(|transport| {
                    relay.has_allocation(&FiveTuple {
                        client: ClientAddress(received.source),
                        server: ServerAddress(SocketAddr::new(ip, listener.port())),
                        transport,
                    })
                });
            if !is_known {
                received.len = 0;
                received.segment_len = None;
            }
        }
    }

    /// What a relay socket has: one datagram, or several where trains come.
    fn receive_from_peer(&mut self, token: u64, now: Now) {
        let io = &mut self.io;
        if io.next_slot.saturating_add(PEER_BATCH) > SLOTS {
            io.flush();
        }
        let Ok(id) = u32::try_from(token).map(RelayedId::from_index) else {
            return;
        };
        // Not there if it was given up earlier in this turn.
        let Some((socket, pace)) = io.core.sockets.with_pace(id) else {
            return;
        };
        let first_slot = io.next_slot;
        let arena = &mut io.core.arena;
        self.received.clear();
        let result = if pace.is_in_trains() {
            let result = socket.receive_batch(arena, first_slot, PEER_BATCH, &mut self.received);
            pace.took(neighbours(&self.received) > 0);
            result.map(drop)
        } else {
            if pace.took_one(self.turn) {
                // As above.
                let _ = socket.set_receive_bundles(true);
            }
            socket
                .receive(arena, first_slot)
                .map(|received| self.received.extend(received))
        };
        io.core.report.receives += 1;
        match result {
            Ok(()) => self.handle_new_batch(From::Relayed(id), now),
            Err(error) => {
                self.batch.next = self.received.len();
                io.core.give_up_socket(id, &error);
            }
        }
    }

    fn handle_new_batch(&mut self, from: From, now: Now) {
        let first_slot = self.io.next_slot;
        self.io.next_slot = first_slot.saturating_add(self.received.len());
        self.batch = Batch {
            from,
            first_slot,
            next: 0,
        };
        self.handle_batch(now);
    }

    fn batch_is_unfinished(&self) -> bool {
        self.batch.next < self.received.len()
    }

    /// All packets of the batch that have not been handled yet.
    fn handle_batch(&mut self, now: Now) {
        let from = self.batch.from;
        while let Some(&received) = self.received.get(self.batch.next) {
            let slot = self.batch.first_slot.saturating_add(self.batch.next);
            self.batch.next = self.batch.next.saturating_add(1);
            if received.truncated {
                let report = &mut self.io.core.report;
                report.truncated = report.truncated.wrapping_add(1);
                continue;
            }
            let held = Held {
                slot,
                len: received.len,
                tos: received.tos,
            };
            match from {
                From::Relayed(id) if received.segment_len.is_some() => {
                    self.handle_peer_bundle(now, id, slot, received);
                }
                From::Relayed(id) => self.handle_from_peer(now, id, received.source, held),
                From::Listener(endpoint) => {
                    let Some(path) = self.path(endpoint, &received) else {
                        return;
                    };
                    if received.segment_len.is_some() {
                        self.handle_client_bundle(now, &path, slot, received);
                    } else {
                        self.handle_from_client(now, &path, held);
                    }
                }
            }
        }
    }

    /// How the client that sent this is reached.
    #[inline]
    fn path(&self, endpoint: u32, received: &Received) -> Option<ClientPath> {
        let local = self.io.endpoints.get(endpoint as usize)?.as_ref()?.address;
        let server = received
            .destination
            .map_or(local, |ip| SocketAddr::new(ip, local.port()));
        Some(ClientPath {
            handle: endpoint,
            five_tuple: FiveTuple {
                client: ClientAddress(received.source),
                server: ServerAddress(server),
                transport: Transport::Udp,
            },
        })
    }

    /// One datagram of a client, in a slot.
    #[inline]
    fn handle_from_client(&mut self, now: Now, path: &ClientPath, held: Held) {
        let payload = HEADROOM..HEADROOM.saturating_add(held.len);
        let bytes = self.io.core.arena.slot(held.slot).get(payload);
        let bytes = bytes.unwrap_or_default();
        let first = bytes.first().copied();
        if is_request(bytes) {
            // It may close the socket that earlier data waits to leave from.
            self.io.send_to_peers();
        }
        if let Some(dtls) = &mut self.dtls {
            if first.is_some_and(|first| classify(first) == Kind::Dtls) {
                self.io.send_to_peers();
                let mut path = *path;
                path.five_tuple.transport = Transport::Dtls;
                dtls.receive(&mut self.io, now, &path, held);
                return;
            }
            // Those that were there before a reload are served on.
            if self.only_dtls && !self.io.core.relay.has_allocation(&path.five_tuple) {
                return;
            }
        }
        let handled = self.io.core.handle_slot(now, path, held.slot, held.len);
        if let Some(decision) = handled {
            self.carry_out(now, decision, held.slot, path, held.tos);
        }
    }

    /// One datagram of a peer, in a slot.
    #[inline]
    fn handle_from_peer(&mut self, now: Now, from: RelayedId, peer: SocketAddr, held: Held) {
        if let Some(from) = self.io.core.handle_slot_from_peer(now, from, peer, held) {
            self.deliver(now, &from.path, Outgoing::from_peer(held.slot, &from));
        }
    }

    /// What other shards have handed over.
    fn receive_from_shards(&mut self, now: Now) {
        for _ in 0..HANDOVERS_PER_TURN {
            let io = &mut self.io;
            if io.next_slot >= SLOTS {
                io.flush();
            }
            let slot = io.next_slot;
            let Some(arrival) = io.core.receive_from_shard(now, slot) else {
                return;
            };
            if let Some(from) = arrival {
                io.next_slot = slot.saturating_add(1);
                self.deliver(now, &from.path, Outgoing::from_peer(slot, &from));
            }
        }
    }

    /// An ICMP error about a datagram that was sent to a peer.
    #[cold]
    fn receive_icmp(&mut self, token: u64, now: Now) {
        let io = &mut self.io;
        if io.next_slot >= SLOTS {
            io.flush();
        }
        let slot = io.next_slot;
        if let Some(from) = io.core.receive_icmp(now, token, slot) {
            io.next_slot = slot.saturating_add(1);
            self.deliver(now, &from.path, Outgoing::from_peer(slot, &from));
        }
    }

    // compliance: 8656-13-01, 8656-13-02, 8656-14-01, 8656-14-02
    #[inline]
    fn carry_out(
        &mut self,
        now: Now,
        decision: Decision,
        slot: usize,
        sender: &ClientPath,
        tos: u8,
    ) {
        match decision {
            Decision::ToPeer {
                relayed,
                peer,
                bytes,
                dont_fragment: true,
            } => {
                // What was queued before it goes first.
                self.io.send_to_peers();
                let core = &mut self.io.core;
                core.send_slot_whole(relayed, peer, slot, bytes, tos);
            }
            Decision::ToPeer {
                relayed,
                peer,
                bytes,
                dont_fragment: false,
            } => {
                let piece = Piece {
                    slot: slot as u32,
                    start: bytes.start() as u32,
                    len: bytes.len() as u32,
                };
                self.io.send_to_peer(relayed, peer, piece, tos);
            }
            Decision::ToShard { to, bytes } => {
                self.io.core.hand_slot_over(&to, slot, bytes, tos);
            }
            Decision::ToClient { path, bytes } => {
                let outgoing = Outgoing {
                    slot,
                    start: bytes.start(),
                    len: bytes.len(),
                    tos,
                    front: Front::NONE,
                };
                self.deliver(now, &path, outgoing);
            }
            // The request is done with, so its slot takes the answer.
            Decision::Answer { len } => {
                let core = &mut self.io.core;
                let to = core
                    .arena
                    .slot_mut(slot)
                    .get_mut(HEADROOM..HEADROOM.saturating_add(len));
                if let (Some(to), Some(answer)) = (to, core.answer.get(..len)) {
                    to.copy_from_slice(answer);
                    self.io.queue(sender, Outgoing::payload(slot, len, 0));
                }
            }
            Decision::AnswerFrom { len, from, to } => {
                self.io.answer_from(slot, len, from, to);
            }
            // TCP is relayed for clients over streams alone.
            Decision::Deferred | Decision::Bound { .. } | Decision::Drop(_) => {}
        }
    }

    /// Sends relayed data on to its client.
    #[inline]
    fn deliver(&mut self, now: Now, path: &ClientPath, outgoing: Outgoing) {
        if path.five_tuple.transport == Transport::Udp {
            self.io.queue(path, outgoing);
        } else if let Some(dtls) = &mut self.dtls {
            let bytes = outgoing.start..outgoing.start.saturating_add(outgoing.len);
            dtls.send_slot(&mut self.io, now, path, outgoing.slot, bytes, outgoing.tos);
        }
    }

    /// How long the shard may sleep.
    fn timeout(&mut self) -> Option<Duration> {
        let timeout = self.io.core.timeout();
        let Some(due) = self.dtls.as_ref().and_then(Dtls::poll_timeout) else {
            return timeout;
        };
        let dtls = due.since(self.io.core.clock.now().instant);
        Some(timeout.map_or(dtls, |timeout| timeout.min(dtls)))
    }

    /// Ends what has expired, and tells of it and of all that has happened.
    fn end_expired(&mut self, now: Now) {
        self.io.core.end_expired(now);
        self.follow_events(now);
        if let Some(dtls) = &mut self.dtls {
            dtls.handle_timeout(&mut self.io, now);
            self.follow_events(now);
        }
    }

    fn follow_events(&mut self, now: Now) {
        while let Some(event) = self.io.core.relay.poll_event() {
            if let Some(dtls) = &mut self.dtls {
                dtls.follow(&event, now.instant);
            }
            self.io.follow(&event);
            self.io.core.tell(event);
        }
    }

    /// After a panic: see [`Core::recover`].
    fn recover(&mut self) -> io::Result<()> {
        self.io.flush();
        let sound = self.io.core.recover()?;
        if !sound {
            self.io.forget_allocations();
        }
        if let Some(dtls) = &mut self.dtls {
            let now = self.io.core.clock.now();
            dtls.recover(&mut self.io, now, sound);
        }
        Ok(())
    }

    /// Does what the shard is asked for.
    #[cold]
    fn obey(&mut self) {
        while let Some(command) = self.io.core.mailbox().take() {
            match command {
                Command::Report(reply) => reply.send(self.figures()),
                Command::Sessions { user, reply } => {
                    reply.send(self.io.core.sessions(user.as_deref()));
                }
                Command::End { user, why, reply } => {
                    let ended = self.io.core.end_sessions(&user, why);
                    let now = self.io.core.clock.now();
                    self.follow_events(now);
                    reply.send(ended);
                }
                Command::Configure(new, reply) => reply.send(self.configure(*new)),
                Command::Close(addresses) => self.io.close(&addresses),
                Command::Stop => self.stops = true,
            }
        }
    }

    fn configure(&mut self, new: Reconfigure) -> io::Result<()> {
        match (new.dtls, &mut self.dtls) {
            (Some((service, rules)), Some(dtls)) => dtls.configure(service, rules, &new.config),
            (Some((service, rules)), none) => *none = Some(Dtls::new(service, rules, &new.config)?),
            (None, Some(dtls)) => dtls.refuse_new(),
            (None, None) => {}
        }
        self.only_dtls = self.dtls.as_ref().is_some_and(Dtls::is_alone);
        self.io.core.configure(new.config);
        self.io.set_listeners(&new.listeners.udp, new.new_udp)
    }

    fn figures(&self) -> Figures {
        let endpoints = self.io.endpoints.iter().flatten();
        let listeners = endpoints.map(|endpoint| ListenerFigures {
            kind: ListenerKind::Udp,
            address: endpoint.address,
            given_up: endpoint.given_up,
            allocations: endpoint.allocations,
            received: endpoint.received,
            kernel_drops: endpoint.socket.kernel_drops().ok(),
            receive_buffer: endpoint.socket.granted_receive_buffer().ok(),
        });
        Figures {
            report: self.io.core.report(),
            allocations: self.io.core.allocations,
            connections: 0,
            listeners: listeners.collect(),
        }
    }

    fn finish(mut self) -> Report {
        if let Some(dtls) = &mut self.dtls {
            dtls.say_goodbye(&mut self.io);
        }
        self.io.core.finish()
    }
}

/// How many datagrams are part of a train: they have come in a bundle, or behind one of the same sender and length.
fn neighbours(received: &[Received]) -> usize {
    let bundles = received.iter().filter(|r| r.segment_len.is_some()).count();
    let alike = received
        .windows(2)
        .filter(|pair| match pair {
            [a, b] => a.len == b.len && a.source == b.source,
            _ => false,
        })
        .count();
    bundles.saturating_add(alike)
}

/// Datagrams taken from a listener by one system call.
const BATCH: usize = 256;
/// Datagrams asked for where none are expected.
const EXPECTED_MIN: usize = 4;
/// Datagrams taken from a relay socket by one system call, where trains come.
const PEER_BATCH: usize = 16;
/// Datagrams held in one turn.
const SLOTS: usize = 512;
/// The slot behind them, for one datagram of a bundle.
const ASIDE: usize = SLOTS;
/// Events taken by one wait.
const EVENTS: usize = 128;
/// Tokens below are relay sockets, by their number.
const LISTENERS: u64 = 1 << 32;

#[cfg(test)]
pub(crate) mod tests {
    use std::net::UdpSocket;
    use std::thread;

    use turnbuckle_net::ListenerOptions;
    use turnbuckle_proto::{Class, Message, MessageBuilder, Method, TransactionId};

    use crate::shard::tests::parts;

    use super::*;

    const PANIC: &[u8] = b"panic, please";

    pub(crate) fn panic_if_asked(payload: &[u8]) {
        assert_ne!(payload, PANIC, "a panic was asked for");
    }

    fn shard() -> (UdpShard, SocketAddr) {
        shards_with(1, None).remove(0)
    }

    /// So many of one server, each on a port of its own.
    pub(crate) fn shards_with(
        count: usize,
        dtls: Option<(Arc<DtlsService>, DtlsRules)>,
    ) -> Vec<(UdpShard, SocketAddr)> {
        let loopback = ListenerOptions::new(([127, 0, 0, 1], 0).into());
        let shards = parts(count).into_iter().map(|parts| {
            let listener = UdpListener::bind(&loopback).unwrap();
            let address = listener.local_address();
            let shard = UdpShard::new(parts, vec![listener], dtls.clone()).unwrap();
            (shard, address)
        });
        shards.collect()
    }

    impl UdpShard {
        /// Waits for something to come, and handles it.
        pub(crate) fn turn_once(&mut self) {
            self.turn().unwrap();
        }

        /// Goes on until it is `done`.
        pub(crate) fn turn_until(&mut self, mut done: impl FnMut() -> bool) {
            while !done() {
                self.turn().unwrap();
            }
        }

        /// The two halves of a shard that has DTLS.
        pub(in crate::shard) fn halves(&mut self) -> (&mut Io, &mut Dtls) {
            (&mut self.clients.io, self.clients.dtls.as_mut().unwrap())
        }
    }

    fn request(client: &UdpSocket, method: Method) -> Class {
        let mut bytes = [0; 64];
        let id = TransactionId([7; 12]);
        let mut builder = MessageBuilder::new(&mut bytes, Class::Request, method, id).unwrap();
        if method == Method::ALLOCATE {
            builder.requested_transport(17).unwrap();
        }
        let len = builder.finish();
        client.send(&bytes[..len]).unwrap();
        let mut answer = [0; 512];
        let len = client.recv(&mut answer).unwrap();
        Message::decode(&answer[..len]).unwrap().class()
    }

    #[test]
    fn a_panic_costs_one_packet() {
        let (shard, address) = shard();
        let mailbox = shard.mailbox();
        let running = thread::spawn(move || shard.run().unwrap());
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(address).unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        assert_eq!(request(&client, Method::ALLOCATE), Class::Success);
        client.send(PANIC).unwrap();
        assert_eq!(request(&client, Method::BINDING), Class::Success);
        // The session is still there.
        assert_eq!(request(&client, Method::REFRESH), Class::Success);
        mailbox.post(Command::Stop);
        let report = running.join().unwrap();
        assert_eq!(report.panics, 1);
        assert_eq!(report.stats.allocations, 1);
    }
}
