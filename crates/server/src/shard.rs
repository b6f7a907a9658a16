//! What every shard has: a relay, its sockets and its clock, on one thread. Nothing done for a packet is shared with another
//! thread, allocates, or logs. How clients are reached is the matter of [`udp`] and [`stream`].

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Duration;

use turnbuckle_net::{Arena, Events, HEADROOM, Poll, RelayOptions, SendReport, send_to};
use turnbuckle_proto::Icmp;
use turnbuckle_relay::{
    ClientPath, Config, Decision, EndReason, Event, Handover, Now, Packet, Quota, Relay, RelayedId,
    RelayedPorts, Session, ShardId, Span, Stats,
};

use crate::clock::Clock;
use crate::shard::figures::Allocations;
use crate::shard::mailbox::Mailbox;
use crate::shard::rings::{Doorbells, Rings};
use crate::sockets::{Opener, SocketTable};

pub(crate) use dtls_report::DtlsReport;
pub(crate) use dtls_rules::DtlsRules;

#[cfg_attr(not(feature = "dtls"), path = "shard/dtls_left_out.rs")]
pub(crate) mod dtls;
mod dtls_report;
#[cfg_attr(not(feature = "dtls"), allow(dead_code, reason = "nobody is bound"))]
mod dtls_rules;
#[allow(dead_code, reason = "read by whoever looks after the server")]
pub(crate) mod figures;
pub(crate) mod mailbox;
pub(crate) mod reconfigure;
pub(crate) mod rings;
pub(crate) mod stream;
#[cfg_attr(
    not(feature = "dtls"),
    allow(dead_code, reason = "some of it is for DTLS only")
)]
pub(crate) mod udp;

/// What a shard is made of.
pub(crate) struct Parts {
    pub(crate) id: ShardId,
    pub(crate) config: Arc<Config>,
    pub(crate) quota: Quota,
    pub(crate) ports: Arc<RelayedPorts>,
    pub(crate) relay_options: RelayOptions,
    pub(crate) clock: Clock,
    pub(crate) events: SyncSender<(ShardId, Event)>,
    /// Those of all shards.
    pub(crate) doorbells: Doorbells,
}

/// What a shard has done, told when it ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub(crate) stats: Stats,
    pub(crate) to_clients: SendReport,
    pub(crate) to_peers: SendReport,
    /// Waits of UDP shards.
    pub(crate) waits: u64,
    /// Calls by which UDP shards took datagrams.
    pub(crate) receives: u64,
    /// Datagrams from outside that were longer than a slot.
    pub(crate) truncated: u64,
    /// Events that the log could not take in time.
    pub(crate) events_lost: u64,
    /// Packets that made the shard panic.
    pub(crate) panics: u64,
    /// Data for another shard that its ring had no room for.
    pub(crate) ring_full: u64,
    /// Relayed messages that a client on a stream did not read in time.
    pub(crate) slow_reader: u64,
    /// Connections turned away because there are too many.
    pub(crate) connections_refused: u64,
    /// Connections without an allocation that made room for newer ones.
    pub(crate) connections_evicted: u64,
    /// TLS handshakes that were finished.
    pub(crate) tls_finished: u64,
    /// TLS handshakes that failed or took too long, or came where there is no certificate.
    pub(crate) tls_failed: u64,
    pub(crate) dtls: DtlsReport,
}

/// The part of a shard that does not depend on how its clients are reached.
pub(crate) struct Core {
    pub(crate) poll: Poll,
    pub(crate) relay: Relay,
    pub(crate) sockets: SocketTable,
    pub(crate) arena: Arena,
    /// Where the relay writes answers.
    pub(crate) answer: Box<[u8]>,
    pub(crate) clock: Clock,
    pub(crate) report: Report,
    /// Live ones, as the events tell.
    pub(crate) allocations: Allocations,
    mailbox: Arc<Mailbox>,
    rings: Rings,
    rebuild: Rebuild,
}

/// A payload that a peer sent or another shard handed over, wrapped for its client.
pub(crate) struct FromPeer {
    pub(crate) path: ClientPath,
    pub(crate) bytes: Span,
    pub(crate) tos: u8,
}

/// A datagram in a slot of the arena.
#[derive(Clone, Copy)]
pub(crate) struct Held {
    pub(crate) slot: usize,
    pub(crate) len: usize,
    pub(crate) tos: u8,
}

/// What a new relay is made of after a panic.
struct Rebuild {
    id: ShardId,
    config: Arc<Config>,
    quota: Quota,
    ports: Arc<RelayedPorts>,
    events: SyncSender<(ShardId, Event)>,
}

impl Core {
    /// Fails if the kernel gives no epoll or no randomness. `slots` is the number of datagrams held at once.
    pub(crate) fn new(parts: Parts, slots: usize) -> io::Result<Self> {
        let rebuild = Rebuild {
            id: parts.id,
            config: parts.config,
            quota: parts.quota,
            ports: parts.ports,
            events: parts.events,
        };
        let poll = Poll::new()?;
        let rings = Rings::new(parts.id, parts.doorbells)?;
        poll.add(rings.doorbell().waker(), DOORBELL)?;
        let mailbox = Mailbox::new(parts.id, Arc::clone(rings.doorbell()));
        Ok(Self {
            poll,
            mailbox: Arc::new(mailbox),
            allocations: Allocations::default(),
            rings,
            relay: rebuild.relay()?,
            sockets: SocketTable::new(parts.relay_options),
            arena: Arena::new(slots, PAYLOAD_MAX_BYTES),
            answer: vec![0; ANSWER_MAX_BYTES].into_boxed_slice(),
            clock: parts.clock,
            report: Report::default(),
            rebuild,
        })
    }

    /// One message from a client, in `buffer` with room in front.
    #[inline]
    pub(crate) fn handle_client(
        &mut self,
        now: Now,
        path: &ClientPath,
        packet: Packet<'_>,
    ) -> Decision {
        let mut sockets = Opener {
            table: &mut self.sockets,
            poll: &self.poll,
        };
        self.relay
            .handle_client(now, path, packet, &mut self.answer, &mut sockets)
    }

    /// As [`handle_client`](Self::handle_client), for a datagram of `len` bytes in a slot of the arena.
    #[inline]
    pub(crate) fn handle_slot(
        &mut self,
        now: Now,
        path: &ClientPath,
        slot: usize,
        len: usize,
    ) -> Option<Decision> {
        let payload = HEADROOM..HEADROOM.saturating_add(len);
        let packet = Packet::new(self.arena.slot_mut(slot), payload)?;
        #[cfg(test)]
        udp::tests::panic_if_asked(packet.payload());
        let mut sockets = Opener {
            table: &mut self.sockets,
            poll: &self.poll,
        };
        Some(
            self.relay
                .handle_client(now, path, packet, &mut self.answer, &mut sockets),
        )
    }

    /// Takes one datagram of the relay socket with this token into a slot: what is left behind it makes the socket ready again.
    #[inline]
    pub(crate) fn receive_from_peer(
        &mut self,
        now: Now,
        token: u64,
        slot: usize,
    ) -> Option<FromPeer> {
        let id = RelayedId::from_index(u32::try_from(token).ok()?);
        // Not there if it was given up earlier in this turn.
        let socket = self.sockets.get(id)?;
        let received = match socket.receive(&mut self.arena, slot) {
            Ok(received) => received?,
            Err(error) => {
                self.give_up_socket(id, &error);
                return None;
            }
        };
        if received.truncated {
            self.report.truncated = self.report.truncated.wrapping_add(1);
            return None;
        }
        let held = Held {
            slot,
            len: received.len,
            tos: received.tos,
        };
        self.handle_slot_from_peer(now, id, received.source, held)
    }

    /// One datagram of a peer, in a slot of the arena.
    #[inline]
    pub(crate) fn handle_slot_from_peer(
        &mut self,
        now: Now,
        id: RelayedId,
        peer: SocketAddr,
        held: Held,
    ) -> Option<FromPeer> {
        let payload = HEADROOM..HEADROOM.saturating_add(held.len);
        let packet = Packet::new(self.arena.slot_mut(held.slot), payload)?;
        match self.relay.handle_peer(now, id, peer, packet) {
            Decision::ToClient { path, bytes } => Some(FromPeer {
                path,
                bytes,
                tos: held.tos,
            }),
            _ => None,
        }
    }

    /// Hands a part of a slot to another shard.
    #[inline]
    pub(crate) fn hand_slot_over(&mut self, to: &Handover, slot: usize, bytes: Span, tos: u8) {
        if let Some(bytes) = self.arena.slot(slot).get(bytes.range()) {
            hand_over(&mut self.rings, &mut self.report, to, bytes, tos);
        }
    }

    /// Hands bytes that lie elsewhere to another shard.
    #[inline]
    pub(crate) fn hand_over(&mut self, to: &Handover, bytes: &[u8], tos: u8) {
        hand_over(&mut self.rings, &mut self.report, to, bytes, tos);
    }

    /// Takes the next data of another shard into a slot. `None` if there is none, `Some(None)` if it is not for a client.
    #[inline]
    pub(crate) fn receive_from_shard(&mut self, now: Now, slot: usize) -> Option<Option<FromPeer>> {
        let slot = self.arena.slot_mut(slot);
        let arrival = self.rings.receive(slot)?;
        let to = Handover {
            shard: self.rebuild.id,
            relayed: arrival.relayed,
            local: arrival.local,
            source: arrival.source,
        };
        let payload = HEADROOM..HEADROOM.saturating_add(arrival.len);
        let decision =
            Packet::new(slot, payload).map(|packet| self.relay.handle_handover(now, &to, packet));
        Some(match decision {
            Some(Decision::ToClient { path, bytes }) => Some(FromPeer {
                path,
                bytes,
                tos: arrival.tos,
            }),
            _ => None,
        })
    }

    /// Where others ask the shard for something.
    pub(crate) const fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    /// Goes by these parameters from now on; allocations stay.
    pub(crate) fn configure(&mut self, config: Arc<Config>) {
        self.rebuild.config = Arc::clone(&config);
        self.relay.set_config(config);
    }

    /// The live allocations, or those of one stable name.
    pub(crate) fn sessions(&mut self, user: Option<&str>) -> Vec<Session> {
        let now = self.clock.now();
        let sessions = self.relay.sessions(now);
        sessions
            .filter(|session| user.is_none_or(|user| *session.user == *user))
            .collect()
    }

    /// Ends the allocations of one stable name; how many there were.
    pub(crate) fn end_sessions(&mut self, user: &str, why: EndReason) -> usize {
        let now = self.clock.now();
        let mut sockets = Opener {
            table: &mut self.sockets,
            poll: &self.poll,
        };
        self.relay
            .end_sessions(now, why, &mut sockets, |name| name == user)
    }

    /// What has been done so far.
    pub(crate) fn report(&self) -> Report {
        Report {
            stats: self.relay.stats().clone(),
            ..self.report.clone()
        }
    }

    /// The [`DOORBELL`] is ready.
    pub(crate) fn answer_doorbell(&self) {
        self.rings.doorbell().waker().drain();
    }

    /// Wakes the shards that something was handed to.
    pub(crate) fn tell_shards(&mut self) {
        self.rings.tell();
    }

    /// To be called before a wait: see [`Rings::fall_asleep`].
    pub(crate) fn fall_asleep(&mut self) -> bool {
        self.rings.fall_asleep()
    }

    /// To be called after a wait: see [`Rings::wake_up`].
    pub(crate) fn wake_up(&mut self) {
        self.rings.wake_up();
    }

    /// Waits for sockets and other shards.
    pub(crate) fn wait(
        &mut self,
        timeout: Option<Duration>,
        events: &mut Events,
    ) -> io::Result<()> {
        let timeout = if self.fall_asleep() {
            timeout
        } else {
            Some(Duration::ZERO)
        };
        let result = self.poll.wait(timeout, events);
        self.wake_up();
        result
    }

    /// Takes one ICMP error of the relay socket with this token; the message that tells the client of it is put into a slot.
    #[cold]
    pub(crate) fn receive_icmp(&mut self, now: Now, token: u64, slot: usize) -> Option<FromPeer> {
        let id = RelayedId::from_index(u32::try_from(token).ok()?);
        let error = self.sockets.get(id)?.take_icmp_error()?;
        let icmp = Icmp {
            icmp_type: error.icmp_type,
            code: error.code.into(),
            data: error.mtu,
        };
        let room = HEADROOM..HEADROOM.saturating_add(ICMP_INDICATION_MAX_BYTES);
        let packet = Packet::new(self.arena.slot_mut(slot), room)?;
        match self.relay.handle_icmp(now, id, error.peer, icmp, packet) {
            Decision::ToClient { path, bytes } => Some(FromPeer {
                path,
                bytes,
                tos: 0,
            }),
            _ => None,
        }
    }

    /// Sends a part of a slot to a peer as a datagram that nobody on the way fragments.
    #[cold]
    pub(crate) fn send_slot_whole(
        &mut self,
        relayed: RelayedId,
        peer: SocketAddr,
        slot: usize,
        bytes: Span,
        tos: u8,
    ) {
        if let Some(bytes) = self.arena.slot(slot).get(bytes.range()) {
            send_whole(&self.sockets, &mut self.report, relayed, peer, bytes, tos);
        }
    }

    /// As [`send_slot_whole`](Self::send_slot_whole), for bytes that lie elsewhere.
    #[cold]
    pub(crate) fn send_whole(
        &mut self,
        relayed: RelayedId,
        peer: SocketAddr,
        bytes: &[u8],
        tos: u8,
    ) {
        send_whole(&self.sockets, &mut self.report, relayed, peer, bytes, tos);
    }

    /// A relay socket fails: it would be ready, and fail, for ever.
    #[cold]
    pub(crate) fn give_up_socket(&mut self, id: RelayedId, error: &io::Error) {
        if let Some(socket) = self.sockets.get(id) {
            tracing::error!(
                "relay socket {} is given up: {error}",
                socket.local_address()
            );
            let _ = self.poll.remove(socket);
        }
    }

    /// Sends bytes that lie elsewhere to a peer.
    #[inline]
    pub(crate) fn send_to_peer(
        &mut self,
        relayed: RelayedId,
        peer: SocketAddr,
        bytes: &[u8],
        tos: u8,
    ) {
        send_from(&self.sockets, &mut self.report, relayed, peer, bytes, tos);
    }

    /// Ends what has expired.
    pub(crate) fn end_expired(&mut self, now: Now) {
        if self
            .relay
            .poll_timeout()
            .is_some_and(|due| due <= now.instant)
        {
            let mut sockets = Opener {
                table: &mut self.sockets,
                poll: &self.poll,
            };
            self.relay.handle_timeout(now, &mut sockets);
        }
    }

    /// How long the shard may sleep.
    pub(crate) fn timeout(&mut self) -> Option<Duration> {
        let due = self.relay.poll_timeout()?;
        Some(due.since(self.clock.now().instant))
    }

    /// Hands an event to the log, which must never hold up a packet.
    pub(crate) fn tell(&mut self, event: Event) {
        self.allocations.follow(&event);
        match self.rebuild.events.try_send((self.rebuild.id, event)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.report.events_lost = self.report.events_lost.wrapping_add(1);
            }
        }
    }

    /// After a panic, which is a bug: the packet that caused it is lost. If the relay is sound everything else goes on; if not it
    /// is made anew, and its clients have to allocate again. True if it was sound.
    pub(crate) fn recover(&mut self) -> io::Result<bool> {
        self.report.panics = self.report.panics.wrapping_add(1);
        self.rings.tell();
        let sound = catch_unwind(AssertUnwindSafe(|| self.relay.check_invariants())).is_ok();
        tracing::error!(
            shard = self.rebuild.id.0,
            "a packet made the shard panic, which is a bug; please report it. {}",
            if sound {
                "No session is lost"
            } else {
                "The shard's sessions are lost"
            }
        );
        if !sound {
            self.sockets.clear();
            self.rebuild.ports.release_shard(self.rebuild.id);
            self.relay = self.rebuild.relay()?;
            self.allocations = Allocations::default();
        }
        Ok(sound)
    }

    /// Ends every session and tells what was done.
    pub(crate) fn finish(mut self) -> Report {
        let now = self.clock.now();
        let mut sockets = Opener {
            table: &mut self.sockets,
            poll: &self.poll,
        };
        self.relay.handle_stop(now, &mut sockets);
        while let Some(event) = self.relay.poll_event() {
            self.tell(event);
        }
        self.mailbox.close();
        self.report()
    }
}

impl Report {
    /// Adds what another shard has done.
    pub(crate) fn add(&mut self, other: &Self) {
        self.stats.add(&other.stats);
        self.to_clients.add(&other.to_clients);
        self.to_peers.add(&other.to_peers);
        self.waits += other.waits;
        self.receives += other.receives;
        self.truncated += other.truncated;
        self.events_lost += other.events_lost;
        self.panics += other.panics;
        self.ring_full += other.ring_full;
        self.slow_reader += other.slow_reader;
        self.connections_refused += other.connections_refused;
        self.connections_evicted += other.connections_evicted;
        self.tls_finished += other.tls_finished;
        self.tls_failed += other.tls_failed;
        self.dtls.add(&other.dtls);
    }
}

#[inline]
fn send_from(
    sockets: &SocketTable,
    report: &mut Report,
    relayed: RelayedId,
    peer: SocketAddr,
    bytes: &[u8],
    tos: u8,
) {
    if let Some(socket) = sockets.get(relayed) {
        let result = send_to(socket.as_fd(), bytes, peer, None, tos);
        report.to_peers.count(&result);
    }
}

#[inline]
fn hand_over(rings: &mut Rings, report: &mut Report, to: &Handover, bytes: &[u8], tos: u8) {
    if !rings.send(to, bytes, tos) {
        report.ring_full = report.ring_full.wrapping_add(1);
    }
}

/// DF belongs to the socket and not to the datagram: it is set for this one (RFC 8656 §14).
fn send_whole(
    sockets: &SocketTable,
    report: &mut Report,
    relayed: RelayedId,
    peer: SocketAddr,
    bytes: &[u8],
    tos: u8,
) {
    let Some(socket) = sockets.get(relayed) else {
        return;
    };
    let result = socket
        .set_dont_fragment(true)
        .and_then(|()| send_to(socket.as_fd(), bytes, peer, None, tos));
    report.to_peers.count(&result);
    // If that failed, the socket would keep a bit that nobody asks for.
    if let Err(error) = socket.set_dont_fragment(false) {
        tracing::error!(
            "relay socket {} keeps setting DF: {error}",
            socket.local_address()
        );
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

/// The longest datagram there is. Only the part of a slot that is used takes memory.
const PAYLOAD_MAX_BYTES: usize = 65_535;
/// Header, XOR-PEER-ADDRESS with an IPv6 address, ICMP.
const ICMP_INDICATION_MAX_BYTES: usize = 20 + 24 + 12;
/// RFC 8489 §6.1 keeps messages below the least MTU of IPv6; those that a client has asked to be padded are fragmented on purpose
/// (RFC 5780 §7.6).
const ANSWER_MAX_BYTES: usize = 2_048;
/// The token of the doorbell in the poll; those of relay sockets are smaller.
pub(crate) const DOORBELL: u64 = u64::MAX;
/// Data of other shards that is handled before others have their turn.
const HANDOVERS_PER_TURN: usize = 128;

#[cfg(test)]
mod tests;
