//! What leaves a UDP shard: all of it waits until the end of the turn, datagrams to clients in the outbox of their listener, datagrams
//! to peers in [`Departures`].

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use turnbuckle_net::{Front, HEADROOM, Outbox, Piece, Transmit, UdpListener, send_to};
use turnbuckle_relay::{
    ClientAddress, ClientPath, Event, FiveTuple, Now, RelayedId, ServerAddress, Transport,
};

use crate::pace::Pace;
use crate::shard::{Core, FromPeer};
use crate::sockets::Opener;

use super::departures::Departures;

/// The core, and what leaves it.
pub(in crate::shard) struct Io {
    pub(in crate::shard) core: Core,
    /// By the handle of their clients' paths; `None` where it has been closed.
    pub(super) endpoints: Vec<Option<Endpoint>>,
    /// The first slot of the arena that holds nothing to be sent.
    pub(super) next_slot: usize,
    to_peers: Departures,
}

/// A listener and what waits to leave it.
pub(super) struct Endpoint {
    pub(super) socket: UdpListener,
    pub(super) address: SocketAddr,
    pub(super) pace: Pace,
    /// Datagrams to ask for: somewhat more than came last, since each place costs a little.
    pub(super) expected: usize,
    /// Datagrams taken since the start.
    pub(super) received: u64,
    /// A reload has removed it: whoever has an allocation is served, and nobody else.
    pub(super) given_up: bool,
    /// Live ones that were made through it.
    pub(super) allocations: usize,
    outbox: Outbox,
    wildcard: bool,
}

/// The bytes of a slot that leave, and what goes in front of them.
#[derive(Clone, Copy)]
pub(super) struct Outgoing {
    pub(super) slot: usize,
    pub(super) start: usize,
    pub(super) len: usize,
    pub(super) tos: u8,
    pub(super) front: Front,
}

impl Endpoint {
    pub(super) fn new(socket: UdpListener) -> Self {
        let address = socket.local_address();
        Self {
            socket,
            address,
            pace: Pace::default(),
            expected: super::BATCH,
            received: 0,
            given_up: false,
            allocations: 0,
            outbox: Outbox::with_capacity(WAITING_MAX),
            wildcard: address.ip().is_unspecified(),
        }
    }

    /// The address that datagrams leave from, where the kernel has a choice.
    #[inline]
    fn source(&self, path: &ClientPath) -> Option<IpAddr> {
        self.wildcard.then_some(path.five_tuple.server.0.ip())
    }
}

impl Io {
    pub(super) fn new(core: Core, listeners: Vec<UdpListener>) -> io::Result<Self> {
        let mut io = Self {
            core,
            endpoints: Vec::with_capacity(listeners.len()),
            next_slot: 0,
            to_peers: Departures::new(),
        };
        for socket in listeners {
            io.add_listener(socket)?;
        }
        Ok(io)
    }

    /// Serves on these addresses and gives up all others; `new` are those of them that there is no listener for.
    ///
    /// A number is never used again: clients of a listener that was closed must not be answered from another one.
    pub(super) fn set_listeners(
        &mut self,
        wanted: &[SocketAddr],
        new: Vec<UdpListener>,
    ) -> io::Result<()> {
        for endpoint in self.endpoints.iter_mut().flatten() {
            endpoint.given_up = !wanted.contains(&endpoint.address);
        }
        new.into_iter()
            .try_for_each(|socket| self.add_listener(socket))
    }

    /// Closes those of these listeners that are given up. Nothing waits to leave them between two turns.
    pub(super) fn close(&mut self, addresses: &[SocketAddr]) {
        for place in &mut self.endpoints {
            let closes = |e: &Endpoint| e.given_up && addresses.contains(&e.address);
            if place.as_ref().is_some_and(closes) {
                *place = None;
            }
        }
    }

    /// Counts the allocations of each listener.
    pub(super) fn follow(&mut self, event: &Event) {
        match event {
            Event::AllocationCreated { path, .. } => {
                if let Some(endpoint) = self.endpoint_of(path) {
                    endpoint.allocations = endpoint.allocations.saturating_add(1);
                }
            }
            Event::AllocationDeleted { path, .. } => {
                if let Some(endpoint) = self.endpoint_of(path) {
                    endpoint.allocations = endpoint.allocations.saturating_sub(1);
                }
            }
            Event::AllocationMoved { from, to, .. } => {
                if let Some(endpoint) = self.endpoint_of(from) {
                    endpoint.allocations = endpoint.allocations.saturating_sub(1);
                }
                if let Some(endpoint) = self.endpoint_of(to) {
                    endpoint.allocations = endpoint.allocations.saturating_add(1);
                }
            }
            _ => {}
        }
    }

    /// The relay was made anew.
    pub(super) fn forget_allocations(&mut self) {
        for endpoint in self.endpoints.iter_mut().flatten() {
            endpoint.allocations = 0;
        }
    }

    /// The listener that a client sends to. The handle of a DTLS client's path is not that of a listener, so it is found by address.
    fn endpoint_of(&mut self, path: &ClientPath) -> Option<&mut Endpoint> {
        let server = path.five_tuple.server.0;
        let serves = |endpoint: &Endpoint| {
            let address = endpoint.address;
            address == server
                || endpoint.wildcard
                    && address.port() == server.port()
                    && address.is_ipv4() == server.is_ipv4()
        };
        self.endpoints.iter_mut().flatten().find(|e| serves(e))
    }

    fn add_listener(&mut self, socket: UdpListener) -> io::Result<()> {
        let token = super::LISTENERS.saturating_add(self.endpoints.len() as u64);
        self.core.poll.add(&socket, token)?;
        self.endpoints.push(Some(Endpoint::new(socket)));
        Ok(())
    }

    /// Queues a part of a slot for a client; the handle of its path is that of the listener.
    #[inline]
    pub(super) fn queue(&mut self, path: &ClientPath, outgoing: Outgoing) {
        let Some(Some(endpoint)) = self.endpoints.get_mut(path.handle as usize) else {
            return;
        };
        if endpoint.outbox.is_full() {
            let report = &mut self.core.report.to_clients;
            endpoint
                .outbox
                .flush(&endpoint.socket, &self.core.arena, report);
        }
        // Slots and offsets are small numbers.
        endpoint.outbox.push(Transmit {
            to: path.five_tuple.client.0,
            source: endpoint.source(path),
            tos: outgoing.tos,
            front: outgoing.front,
            slot: outgoing.slot as u32,
            start: outgoing.start as u32,
            len: outgoing.len as u32,
        });
    }

    /// Queues the answer at another listener than the one its request came to (RFC 5780 §6.1): every shard has them all.
    #[cold]
    pub(super) fn answer_from(
        &mut self,
        slot: usize,
        len: usize,
        from: ServerAddress,
        to: ClientAddress,
    ) {
        let is_there = |e: &Endpoint| e.address == from.0;
        let mut endpoints = self.endpoints.iter();
        let Some(at) = endpoints.position(|e| e.as_ref().is_some_and(is_there)) else {
            return;
        };
        let path = ClientPath {
            handle: at as u32,
            five_tuple: FiveTuple {
                client: to,
                server: from,
                transport: Transport::Udp,
            },
        };
        let core = &mut self.core;
        let place = core
            .arena
            .slot_mut(slot)
            .get_mut(HEADROOM..HEADROOM.saturating_add(len));
        if let (Some(place), Some(answer)) = (place, core.answer.get(..len)) {
            place.copy_from_slice(answer);
            self.queue(&path, Outgoing::payload(slot, len, 0));
        }
    }

    /// Queues a part of a slot for a peer.
    #[inline]
    pub(super) fn send_to_peer(
        &mut self,
        relayed: RelayedId,
        peer: SocketAddr,
        piece: Piece,
        tos: u8,
    ) {
        if !self.to_peers.push(relayed, peer, piece, tos) {
            self.send_to_peers();
            self.to_peers.push(relayed, peer, piece, tos);
        }
    }

    /// Sends what waits for peers.
    #[inline]
    pub(super) fn send_to_peers(&mut self) {
        self.to_peers.send(&mut self.core);
    }

    /// Puts bytes into a slot that is done with, and queues them.
    pub(in crate::shard) fn answer_in_slot(
        &mut self,
        path: &ClientPath,
        slot: usize,
        bytes: &[u8],
        tos: u8,
    ) {
        let end = HEADROOM.saturating_add(bytes.len());
        if let Some(to) = self.core.arena.slot_mut(slot).get_mut(HEADROOM..end) {
            to.copy_from_slice(bytes);
            self.queue(path, Outgoing::payload(slot, bytes.len(), tos));
        }
    }

    /// Sends bytes that lie in no slot.
    pub(in crate::shard) fn send_now(&mut self, path: &ClientPath, bytes: &[u8], tos: u8) {
        if let Some(Some(endpoint)) = self.endpoints.get(path.handle as usize) {
            let to = path.five_tuple.client.0;
            let source = endpoint.source(path);
            let result = send_to(endpoint.socket.as_fd(), bytes, to, source, tos);
            self.core.report.to_clients.count(&result);
        }
    }

    /// A client is gone: its allocation goes with it.
    pub(in crate::shard) fn disconnect(&mut self, now: Now, five_tuple: &FiveTuple) {
        let mut sockets = Opener {
            table: &mut self.core.sockets,
            poll: &self.core.poll,
        };
        self.core
            .relay
            .handle_disconnect(now, five_tuple, &mut sockets);
    }

    /// Sends all that waits; the slots it lies in are still taken.
    pub(in crate::shard) fn send_queued(&mut self) {
        self.send_to_peers();
        for endpoint in self.endpoints.iter_mut().flatten() {
            if !endpoint.outbox.is_empty() {
                endpoint.outbox.flush(
                    &endpoint.socket,
                    &self.core.arena,
                    &mut self.core.report.to_clients,
                );
            }
        }
    }

    /// Sends all that waits, which makes all slots free.
    pub(super) fn flush(&mut self) {
        self.send_queued();
        self.next_slot = 0;
    }

    /// Datagrams that wait to leave for clients.
    #[cfg(test)]
    pub(in crate::shard) fn queued(&self) -> usize {
        self.endpoints
            .iter()
            .flatten()
            .map(|e| e.outbox.len())
            .sum()
    }
}

impl Outgoing {
    /// What a peer sent, wrapped in its slot.
    #[inline]
    pub(super) const fn from_peer(slot: usize, from: &FromPeer) -> Self {
        Self {
            slot,
            start: from.bytes.start(),
            len: from.bytes.len(),
            tos: from.tos,
            front: Front::NONE,
        }
    }

    /// All of a slot's payload.
    #[inline]
    pub(super) const fn payload(slot: usize, len: usize, tos: u8) -> Self {
        Self {
            slot,
            start: HEADROOM,
            len,
            tos,
            front: Front::NONE,
        }
    }
}

/// Datagrams that may wait at one listener; a bundle is many.
const WAITING_MAX: usize = 1_024;
