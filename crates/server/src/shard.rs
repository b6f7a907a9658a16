//! One shard: a thread that waits for its sockets, lets the relay decide and sends. Nothing it does for a packet is shared
//! with another thread, allocates, or logs.

use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Duration;

use turnbuckle_net::{
    Arena, Events, HEADROOM, Outbox, Poll, Received, RelayOptions, SendReport, Transmit,
    UdpListener, Waker, send_to,
};
use turnbuckle_relay::{
    ClientAddress, ClientPath, Config, Decision, Event, FiveTuple, Now, Packet, Quota, Relay,
    RelayedId, RelayedPorts, ServerAddress, ShardId, Span, Stats, Transport,
};

use crate::clock::Clock;
use crate::sockets::{Opener, SocketTable};

/// What a shard is made of.
pub(crate) struct Parts {
    pub(crate) id: ShardId,
    pub(crate) listeners: Vec<UdpListener>,
    pub(crate) config: Arc<Config>,
    pub(crate) quota: Quota,
    pub(crate) ports: Arc<RelayedPorts>,
    pub(crate) relay_options: RelayOptions,
    pub(crate) clock: Clock,
    pub(crate) events: SyncSender<(ShardId, Event)>,
}

/// What others may ask of a running shard.
#[derive(Debug)]
pub(crate) struct Handle {
    waker: Waker,
    stop: AtomicBool,
}

/// What a shard has done, told when it ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub(crate) stats: Stats,
    pub(crate) to_clients: SendReport,
    pub(crate) to_peers: SendReport,
    /// Datagrams from outside that were longer than a slot.
    pub(crate) truncated: u64,
    /// Events that the log could not take in time.
    pub(crate) events_lost: u64,
    /// Packets that made the shard panic.
    pub(crate) panics: u64,
}

/// A shard before and while it runs.
pub(crate) struct Shard {
    handle: Arc<Handle>,
    poll: Poll,
    events: Events,
    core: Core,
}

/// All of a shard that the waiting does not borrow.
struct Core {
    relay: Relay,
    endpoints: Vec<Endpoint>,
    sockets: SocketTable,
    arena: Arena,
    /// The batch of a listener that is being handled.
    received: Vec<Received>,
    batch: Batch,
    answer: Box<[u8]>,
    /// The first slot of the arena that holds nothing to be sent.
    next_slot: usize,
    clock: Clock,
    report: Report,
    parts: Rebuild,
}

/// How far a batch has been handled: kept so that a panic over one packet does not lose those behind it.
#[derive(Clone, Copy, Default)]
struct Batch {
    endpoint: u32,
    first_slot: usize,
    next: usize,
}

/// What a new relay is made of after a panic.
struct Rebuild {
    id: ShardId,
    config: Arc<Config>,
    quota: Quota,
    ports: Arc<RelayedPorts>,
    events: SyncSender<(ShardId, Event)>,
}

/// A listener and what waits to leave it.
struct Endpoint {
    socket: UdpListener,
    outbox: Outbox,
    address: SocketAddr,
    wildcard: bool,
}

impl Handle {
    /// Asks the shard to end its allocations and return.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.waker.wake();
    }
}

impl Shard {
    /// Fails if the kernel gives no epoll, no eventfd or no randomness.
    pub(crate) fn new(parts: Parts) -> io::Result<Self> {
        let poll = Poll::new()?;
        let handle = Arc::new(Handle {
            waker: Waker::new()?,
            stop: AtomicBool::new(false),
        });
        poll.add(&handle.waker, WAKER)?;
        let mut endpoints = Vec::with_capacity(parts.listeners.len());
        for (index, socket) in (LISTENERS..).zip(parts.listeners) {
            poll.add(&socket, index)?;
            let address = socket.local_address();
            endpoints.push(Endpoint {
                socket,
                outbox: Outbox::with_capacity(SLOTS),
                address,
                wildcard: address.ip().is_unspecified(),
            });
        }
        let rebuild = Rebuild {
            id: parts.id,
            config: parts.config,
            quota: parts.quota,
            ports: parts.ports,
            events: parts.events,
        };
        Ok(Self {
            handle,
            poll,
            events: Events::with_capacity(EVENTS),
            core: Core {
                relay: rebuild.relay()?,
                endpoints,
                sockets: SocketTable::new(parts.relay_options),
                arena: Arena::new(SLOTS, PAYLOAD_MAX_BYTES),
                received: Vec::with_capacity(BATCH),
                batch: Batch::default(),
                answer: vec![0; ANSWER_MAX_BYTES].into_boxed_slice(),
                next_slot: 0,
                clock: parts.clock,
                report: Report::default(),
                parts: rebuild,
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
                Err(_) => self.core.recover()?,
            }
        }
        let now = self.core.clock.now();
        self.core.relay.handle_stop(
            now,
            &mut Opener {
                table: &mut self.core.sockets,
                poll: &self.poll,
            },
        );
        self.core.tell_events();
        self.core.report.stats = self.core.relay.stats().clone();
        Ok(self.core.report)
    }

    /// Waits, and handles what is there.
    fn turn(&mut self) -> io::Result<()> {
        let timeout = self.core.timeout();
        self.poll.wait(timeout, &mut self.events)?;
        let now = self.core.clock.now();
        if self.core.batch.next < self.core.received.len() {
            self.core.handle_batch(now, &self.poll);
            self.core.flush();
        }
        for event in self.events.iter() {
            match event.token {
                WAKER => self.handle.waker.drain(),
                token if token >= LISTENERS => {
                    self.core
                        .receive_from_clients(token - LISTENERS, now, &self.poll)?;
                }
                token => self.core.receive_from_peer(token, now, &self.poll),
            }
        }
        self.core.flush();
        self.core.end_expired(now, &self.poll);
        self.core.tell_events();
        Ok(())
    }
}

impl Core {
    /// One batch of a listener.
    fn receive_from_clients(&mut self, endpoint: u64, now: Now, poll: &Poll) -> io::Result<()> {
        if self.next_slot.saturating_add(BATCH) > self.arena.slots() {
            self.flush();
        }
        let Some((handle, from)) = u32::try_from(endpoint)
            .ok()
            .and_then(|handle| Some((handle, self.endpoints.get(handle as usize)?)))
        else {
            return Ok(());
        };
        let first_slot = self.next_slot;
        self.received.clear();
        from.socket
            .receive(&mut self.arena, first_slot, BATCH, &mut self.received)?;
        self.next_slot = first_slot.saturating_add(self.received.len());
        self.batch = Batch {
            endpoint: handle,
            first_slot,
            next: 0,
        };
        self.handle_batch(now, poll);
        Ok(())
    }

    /// All packets of the batch that have not been handled yet.
    fn handle_batch(&mut self, now: Now, poll: &Poll) {
        let Batch {
            endpoint,
            first_slot,
            ..
        } = self.batch;
        let Some(local) = self.endpoints.get(endpoint as usize).map(|e| e.address) else {
            return;
        };
        while let Some(&received) = self.received.get(self.batch.next) {
            let slot = first_slot.saturating_add(self.batch.next);
            self.batch.next = self.batch.next.saturating_add(1);
            if received.truncated {
                self.report.truncated = self.report.truncated.wrapping_add(1);
                continue;
            }
            let server = received
                .destination
                .map_or(local, |ip| SocketAddr::new(ip, local.port()));
            let path = ClientPath {
                handle: endpoint,
                five_tuple: FiveTuple {
                    client: ClientAddress(received.source),
                    server: ServerAddress(server),
                    transport: Transport::Udp,
                },
            };
            let payload = HEADROOM..HEADROOM.saturating_add(received.len);
            let Some(packet) = Packet::new(self.arena.slot_mut(slot), payload) else {
                continue;
            };
            #[cfg(test)]
            tests::panic_if_asked(packet.payload());
            let mut sockets = Opener {
                table: &mut self.sockets,
                poll,
            };
            let decision =
                self.relay
                    .handle_client(now, &path, packet, &mut self.answer, &mut sockets);
            self.carry_out(decision, slot, &path, received.tos);
        }
    }

    /// One datagram of a relay socket: what is left behind it makes the socket ready again.
    fn receive_from_peer(&mut self, token: u64, now: Now, poll: &Poll) {
        if self.next_slot >= self.arena.slots() {
            self.flush();
        }
        let slot = self.next_slot;
        let Ok(index) = u32::try_from(token) else {
            return;
        };
        let id = RelayedId::from_index(index);
        // Given up earlier in this turn.
        let Some(socket) = self.sockets.get(id) else {
            return;
        };
        let received = match socket.receive(&mut self.arena, slot) {
            Ok(Some(received)) => received,
            Ok(None) => return,
            Err(error) => {
                tracing::error!(
                    "relay socket {} is given up: {error}",
                    socket.local_address()
                );
                // It would be ready, and fail, for ever.
                let _ = poll.remove(socket);
                return;
            }
        };
        if received.truncated {
            self.report.truncated = self.report.truncated.wrapping_add(1);
            return;
        }
        let payload = HEADROOM..HEADROOM.saturating_add(received.len);
        let Some(packet) = Packet::new(self.arena.slot_mut(slot), payload) else {
            return;
        };
        let decision = self.relay.handle_peer(now, id, received.source, packet);
        if let Decision::ToClient { path, bytes } = decision {
            self.next_slot = slot.saturating_add(1);
            self.queue(&path, slot, bytes, received.tos);
        }
    }

    #[inline]
    fn carry_out(&mut self, decision: Decision, slot: usize, sender: &ClientPath, tos: u8) {
        match decision {
            Decision::ToPeer {
                relayed,
                peer,
                bytes,
            } => {
                let bytes = self.arena.slot(slot).get(bytes.range());
                if let (Some(socket), Some(bytes)) = (self.sockets.get(relayed), bytes) {
                    use std::os::fd::AsFd;
                    let result = send_to(socket.as_fd(), bytes, peer, None, tos);
                    self.report.to_peers.count(&result);
                }
            }
            Decision::ToClient { path, bytes } => self.queue(&path, slot, bytes, tos),
            Decision::Answer { len } => {
                // The request is done with, so its slot takes the answer.
                let to = self
                    .arena
                    .slot_mut(slot)
                    .get_mut(HEADROOM..HEADROOM.saturating_add(len));
                if let (Some(to), Some(answer)) = (to, self.answer.get(..len)) {
                    to.copy_from_slice(answer);
                    self.queue_at(sender, slot, HEADROOM, len, 0);
                }
            }
            Decision::Drop(_) => {}
        }
    }

    #[inline]
    fn queue(&mut self, path: &ClientPath, slot: usize, bytes: Span, tos: u8) {
        self.queue_at(path, slot, bytes.start(), bytes.len(), tos);
    }

    #[inline]
    fn queue_at(&mut self, path: &ClientPath, slot: usize, start: usize, len: usize, tos: u8) {
        let Some(endpoint) = self.endpoints.get_mut(path.handle as usize) else {
            return;
        };
        // There are as many places as slots, so none is refused; slots and offsets are small numbers.
        endpoint.outbox.push(Transmit {
            to: path.five_tuple.client.0,
            source: endpoint.wildcard.then_some(path.five_tuple.server.0.ip()),
            tos,
            slot: slot as u32,
            start: start as u32,
            len: len as u32,
        });
    }

    fn flush(&mut self) {
        for endpoint in &mut self.endpoints {
            if !endpoint.outbox.is_empty() {
                endpoint
                    .outbox
                    .flush(&endpoint.socket, &self.arena, &mut self.report.to_clients);
            }
        }
        self.next_slot = 0;
    }

    fn end_expired(&mut self, now: Now, poll: &Poll) {
        if self
            .relay
            .poll_timeout()
            .is_some_and(|due| due <= now.instant)
        {
            let mut sockets = Opener {
                table: &mut self.sockets,
                poll,
            };
            self.relay.handle_timeout(now, &mut sockets);
        }
    }

    fn timeout(&mut self) -> Option<Duration> {
        if self.batch.next < self.received.len() {
            return Some(Duration::ZERO);
        }
        let due = self.relay.poll_timeout()?;
        Some(due.since(self.clock.now().instant))
    }

    /// Hands events to the log, which must never hold up a packet.
    fn tell_events(&mut self) {
        while let Some(event) = self.relay.poll_event() {
            match self.parts.events.try_send((self.parts.id, event)) {
                Ok(()) => {}
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                    self.report.events_lost = self.report.events_lost.wrapping_add(1);
                }
            }
        }
    }

    /// After a panic, which is a bug: the packet that caused it is lost. If the relay is sound everything else goes on; if not it
    /// is made anew behind the same listeners, and its clients have to allocate again.
    fn recover(&mut self) -> io::Result<()> {
        self.report.panics = self.report.panics.wrapping_add(1);
        self.flush();
        let sound = catch_unwind(AssertUnwindSafe(|| self.relay.check_invariants())).is_ok();
        tracing::error!(
            shard = self.parts.id.0,
            "a packet made the shard panic, which is a bug; please report it. {}",
            if sound {
                "No session is lost"
            } else {
                "The shard's sessions are lost"
            }
        );
        if !sound {
            self.sockets.clear();
            self.parts.ports.release_shard(self.parts.id);
            self.relay = self.parts.relay()?;
        }
        Ok(())
    }
}

impl Rebuild {
    fn relay(&self) -> io::Result<Relay> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(io::Error::other)?;
        Ok(Relay::new(
            self.id,
            Arc::clone(&self.config),
            self.quota.clone(),
            Arc::clone(&self.ports),
            seed,
        ))
    }
}

/// Datagrams taken from a listener by one system call.
const BATCH: usize = 64;
/// Datagrams that may wait to leave in one turn.
const SLOTS: usize = 192;
/// Events taken by one wait.
const EVENTS: usize = 128;
/// The longest datagram there is. Only the part of a slot that is used takes memory.
const PAYLOAD_MAX_BYTES: usize = 65_535;
/// RFC 8489 §6.1 keeps messages below the least MTU of IPv6.
const ANSWER_MAX_BYTES: usize = 1_280;
/// Tokens below are relay sockets, by their number.
const LISTENERS: u64 = 1 << 32;
const WAKER: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::UdpSocket;
    use std::sync::mpsc::sync_channel;
    use std::thread;

    use turnbuckle_net::ListenerOptions;
    use turnbuckle_proto::{Class, Message, MessageBuilder, Method, TransactionId};
    use turnbuckle_relay::{Credentials, Limits, NonceKey, RelayAddress};

    use super::*;

    const PANIC: &[u8] = b"panic, please";

    pub(super) fn panic_if_asked(payload: &[u8]) {
        assert_ne!(payload, PANIC, "a panic was asked for");
    }

    fn shard() -> (Shard, SocketAddr) {
        let loopback: SocketAddr = ([127, 0, 0, 1], 0).into();
        let listener = UdpListener::bind(&ListenerOptions::new(loopback)).unwrap();
        let address = listener.local_address();
        let credentials = Credentials {
            secrets: Vec::new(),
            separator: ':',
            users: BTreeMap::new(),
            anonymous: true,
        };
        let relay_address = RelayAddress {
            local: loopback.ip(),
            advertised: loopback.ip(),
        };
        let shard = Shard::new(Parts {
            id: ShardId(0),
            listeners: vec![listener],
            config: Arc::new(Config::new("test", credentials, NonceKey::new([1; 32]))),
            quota: Quota::new(Limits::default()),
            ports: Arc::new(RelayedPorts::new(&[relay_address], 49_152..=65_535)),
            relay_options: RelayOptions::default(),
            clock: Clock::start(),
            events: sync_channel(64).0,
        });
        (shard.unwrap(), address)
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
