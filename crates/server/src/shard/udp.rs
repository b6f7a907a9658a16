//! The shard of UDP clients: waits in a level-triggered epoll loop of its own, takes datagrams in batches, and sends all that goes
//! to clients of one turn in one system call. DTLS clients of the same ports are told from plain ones by the first byte, and are the
//! matter of [`dtls`](super::dtls).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use turnbuckle_net::{Events, HEADROOM, Outbox, Received, Transmit, UdpListener, send_to};
use turnbuckle_proto::{Kind, classify};
use turnbuckle_relay::{
    ClientAddress, ClientPath, Decision, FiveTuple, Now, ServerAddress, Transport,
};

use crate::shard::dtls::{Dtls, DtlsService};
use crate::shard::rings::Doorbell;
use crate::shard::{Core, DOORBELL, DtlsRules, HANDOVERS_PER_TURN, Parts, Report};
use crate::sockets::Opener;

/// A UDP shard before and while it runs.
pub(crate) struct UdpShard {
    handle: Arc<Handle>,
    events: Events,
    clients: Clients,
}

/// What others may ask of a running shard.
#[derive(Debug)]
pub(crate) struct Handle {
    doorbell: Arc<Doorbell>,
    stop: AtomicBool,
}

/// All of a shard that its list of events is not a part of.
struct Clients {
    io: Io,
    /// `None`: datagrams of DTLS are nobody's.
    dtls: Option<Dtls>,
    /// The batch of a listener that is being handled.
    received: Vec<Received>,
    batch: Batch,
}

/// The core, and what leaves it for clients.
pub(super) struct Io {
    pub(super) core: Core,
    endpoints: Vec<Endpoint>,
    /// The first slot of the arena that holds nothing to be sent.
    next_slot: usize,
}

/// A datagram in a slot of the arena.
#[derive(Clone, Copy)]
pub(super) struct Held {
    pub(super) slot: usize,
    pub(super) len: usize,
    pub(super) tos: u8,
}

/// How far a batch has been handled: kept so that a panic over one packet does not lose those behind it.
#[derive(Clone, Copy, Default)]
struct Batch {
    endpoint: u32,
    first_slot: usize,
    next: usize,
}

/// A listener and what waits to leave it.
struct Endpoint {
    socket: UdpListener,
    outbox: Outbox,
    address: SocketAddr,
    wildcard: bool,
}

impl Endpoint {
    /// The address that datagrams leave from, where the kernel has a choice.
    #[inline]
    fn source(&self, path: &ClientPath) -> Option<IpAddr> {
        self.wildcard.then_some(path.five_tuple.server.0.ip())
    }
}

impl Handle {
    /// Asks the shard to end its allocations and return.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.doorbell.waker().wake();
    }
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
        let core = Core::new(parts, SLOTS)?;
        let handle = Arc::new(Handle {
            doorbell: core.doorbell(),
            stop: AtomicBool::new(false),
        });
        let mut endpoints = Vec::with_capacity(listeners.len());
        for (token, socket) in (LISTENERS..).zip(listeners) {
            core.poll.add(&socket, token)?;
            let address = socket.local_address();
            endpoints.push(Endpoint {
                socket,
                outbox: Outbox::with_capacity(SLOTS),
                address,
                wildcard: address.ip().is_unspecified(),
            });
        }
        Ok(Self {
            handle,
            events: Events::with_capacity(EVENTS),
            clients: Clients {
                io: Io {
                    core,
                    endpoints,
                    next_slot: 0,
                },
                dtls,
                received: Vec::with_capacity(BATCH),
                batch: Batch::default(),
            },
        })
    }

    pub(crate) fn handle(&self) -> Arc<Handle> {
        Arc::clone(&self.handle)
    }

    /// Serves until it is told to stop. An error means that the shard cannot go on: the host is out of something that it
    /// cannot do without.
    pub(crate) fn run(mut self) -> io::Result<Report> {
        while !self.handle.stop.load(Ordering::Acquire) {
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
        let now = clients.io.core.clock.now();
        if clients.batch_is_unfinished() {
            clients.handle_batch(now);
            clients.io.flush();
        }
        for event in self.events.iter() {
            match event.token {
                DOORBELL => clients.io.core.answer_doorbell(),
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
        Ok(())
    }
}

impl Clients {
    /// One batch of a listener.
    fn receive(&mut self, endpoint: u64, now: Now) -> io::Result<()> {
        let io = &mut self.io;
        if io.next_slot.saturating_add(BATCH) > io.core.arena.slots() {
            io.flush();
        }
        let Some((endpoint, from)) = u32::try_from(endpoint)
            .ok()
            .and_then(|index| Some((index, io.endpoints.get(index as usize)?)))
        else {
            return Ok(());
        };
        let first_slot = io.next_slot;
        self.received.clear();
        from.socket
            .receive(&mut io.core.arena, first_slot, BATCH, &mut self.received)?;
        io.next_slot = first_slot.saturating_add(self.received.len());
        self.batch = Batch {
            endpoint,
            first_slot,
            next: 0,
        };
        self.handle_batch(now);
        Ok(())
    }

    fn batch_is_unfinished(&self) -> bool {
        self.batch.next < self.received.len()
    }

    /// All packets of the batch that have not been handled yet.
    fn handle_batch(&mut self, now: Now) {
        let Batch {
            endpoint,
            first_slot,
            ..
        } = self.batch;
        let Some(local) = self.io.endpoints.get(endpoint as usize).map(|e| e.address) else {
            return;
        };
        while let Some(&received) = self.received.get(self.batch.next) {
            let slot = first_slot.saturating_add(self.batch.next);
            self.batch.next = self.batch.next.saturating_add(1);
            if received.truncated {
                let report = &mut self.io.core.report;
                report.truncated = report.truncated.wrapping_add(1);
                continue;
            }
            let server = received
                .destination
                .map_or(local, |ip| SocketAddr::new(ip, local.port()));
            let mut path = ClientPath {
                handle: endpoint,
                five_tuple: FiveTuple {
                    client: ClientAddress(received.source),
                    server: ServerAddress(server),
                    transport: Transport::Udp,
                },
            };
            if let Some(dtls) = &mut self.dtls {
                let first = self.io.core.arena.slot(slot).get(HEADROOM);
                if received.len > 0 && first.is_some_and(|&b| classify(b) == Kind::Dtls) {
                    path.five_tuple.transport = Transport::Dtls;
                    let datagram = Held {
                        slot,
                        len: received.len,
                        tos: received.tos,
                    };
                    dtls.receive(&mut self.io, now, &path, datagram);
                    continue;
                }
                if dtls.is_alone() {
                    continue;
                }
            }
            let handled = self.io.core.handle_slot(now, &path, slot, received.len);
            if let Some(decision) = handled {
                self.carry_out(now, decision, slot, &path, received.tos);
            }
        }
    }

    fn receive_from_peer(&mut self, token: u64, now: Now) {
        let io = &mut self.io;
        if io.next_slot >= io.core.arena.slots() {
            io.flush();
        }
        let slot = io.next_slot;
        if let Some(from) = io.core.receive_from_peer(now, token, slot) {
            io.next_slot = slot.saturating_add(1);
            let (start, len) = (from.bytes.start(), from.bytes.len());
            self.deliver(now, &from.path, slot, start, len, from.tos);
        }
    }

    /// What other shards have handed over.
    fn receive_from_shards(&mut self, now: Now) {
        for _ in 0..HANDOVERS_PER_TURN {
            let io = &mut self.io;
            if io.next_slot >= io.core.arena.slots() {
                io.flush();
            }
            let slot = io.next_slot;
            let Some(arrival) = io.core.receive_from_shard(now, slot) else {
                return;
            };
            if let Some(from) = arrival {
                io.next_slot = slot.saturating_add(1);
                let (start, len) = (from.bytes.start(), from.bytes.len());
                self.deliver(now, &from.path, slot, start, len, from.tos);
            }
        }
    }

    /// An ICMP error about a datagram that was sent to a peer.
    #[cold]
    fn receive_icmp(&mut self, token: u64, now: Now) {
        let io = &mut self.io;
        if io.next_slot >= io.core.arena.slots() {
            io.flush();
        }
        let slot = io.next_slot;
        if let Some(from) = io.core.receive_icmp(now, token, slot) {
            io.next_slot = slot.saturating_add(1);
            let (start, len) = (from.bytes.start(), from.bytes.len());
            self.deliver(now, &from.path, slot, start, len, from.tos);
        }
    }

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
                let core = &mut self.io.core;
                core.send_slot_whole(relayed, peer, slot, bytes, tos);
            }
            Decision::ToPeer {
                relayed,
                peer,
                bytes,
                dont_fragment: false,
            } => self
                .io
                .core
                .send_slot_to_peer(relayed, peer, slot, bytes, tos),
            Decision::ToShard { to, bytes } => {
                self.io.core.hand_slot_over(&to, slot, bytes, tos);
            }
            Decision::ToClient { path, bytes } => {
                self.deliver(now, &path, slot, bytes.start(), bytes.len(), tos);
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
                    self.io.queue(sender, slot, HEADROOM, len, 0);
                }
            }
            Decision::Drop(_) => {}
        }
    }

    /// Sends relayed data on to its client.
    #[inline]
    fn deliver(
        &mut self,
        now: Now,
        path: &ClientPath,
        slot: usize,
        start: usize,
        len: usize,
        tos: u8,
    ) {
        if path.five_tuple.transport == Transport::Udp {
            self.io.queue(path, slot, start, len, tos);
        } else if let Some(dtls) = &mut self.dtls {
            let bytes = start..start.saturating_add(len);
            dtls.send_slot(&mut self.io, now, path, slot, bytes, tos);
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
            self.io.core.tell(event);
        }
    }

    /// After a panic: see [`Core::recover`].
    fn recover(&mut self) -> io::Result<()> {
        self.io.flush();
        let sound = self.io.core.recover()?;
        if let Some(dtls) = &mut self.dtls {
            let now = self.io.core.clock.now();
            dtls.recover(&mut self.io, now, sound);
        }
        Ok(())
    }

    fn finish(mut self) -> Report {
        if let Some(dtls) = &mut self.dtls {
            dtls.say_goodbye(&mut self.io);
        }
        self.io.core.finish()
    }
}

impl Io {
    /// Queues a part of a slot for a client; the handle of its path is that of the listener.
    #[inline]
    fn queue(&mut self, path: &ClientPath, slot: usize, start: usize, len: usize, tos: u8) {
        let Some(endpoint) = self.endpoints.get_mut(path.handle as usize) else {
            return;
        };
        // There are as many places as slots, so none is refused; slots and offsets are small numbers.
        endpoint.outbox.push(Transmit {
            to: path.five_tuple.client.0,
            source: endpoint.source(path),
            tos,
            slot: slot as u32,
            start: start as u32,
            len: len as u32,
        });
    }

    /// Puts bytes into a slot that is done with, and queues them.
    pub(super) fn answer_in_slot(&mut self, path: &ClientPath, slot: usize, bytes: &[u8], tos: u8) {
        let end = HEADROOM.saturating_add(bytes.len());
        if let Some(to) = self.core.arena.slot_mut(slot).get_mut(HEADROOM..end) {
            to.copy_from_slice(bytes);
            self.queue(path, slot, HEADROOM, bytes.len(), tos);
        }
    }

    /// Sends bytes that lie in no slot.
    pub(super) fn send_now(&mut self, path: &ClientPath, bytes: &[u8], tos: u8) {
        if let Some(endpoint) = self.endpoints.get(path.handle as usize) {
            let to = path.five_tuple.client.0;
            let source = endpoint.source(path);
            let result = send_to(endpoint.socket.as_fd(), bytes, to, source, tos);
            self.core.report.to_clients.count(&result);
        }
    }

    /// A client is gone: its allocation goes with it.
    pub(super) fn disconnect(&mut self, now: Now, five_tuple: &FiveTuple) {
        let mut sockets = Opener {
            table: &mut self.core.sockets,
            poll: &self.core.poll,
        };
        self.core
            .relay
            .handle_disconnect(now, five_tuple, &mut sockets);
    }

    fn flush(&mut self) {
        for endpoint in &mut self.endpoints {
            if !endpoint.outbox.is_empty() {
                endpoint.outbox.flush(
                    &endpoint.socket,
                    &self.core.arena,
                    &mut self.core.report.to_clients,
                );
            }
        }
        self.next_slot = 0;
    }
}

/// Datagrams taken from a listener by one system call.
const BATCH: usize = 64;
/// Datagrams that may wait to leave in one turn.
const SLOTS: usize = 192;
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

    impl Io {
        /// Datagrams that wait to leave.
        pub(crate) fn queued(&self) -> usize {
            self.endpoints.iter().map(|e| e.outbox.len()).sum()
        }

        pub(crate) fn send_queued(&mut self) {
            self.flush();
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
        let handle = shard.handle();
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
        handle.stop();
        let report = running.join().unwrap();
        assert_eq!(report.panics, 1);
        assert_eq!(report.stats.allocations, 1);
    }
}
