//! What leaves a UDP shard: all of it waits until the end of the turn, datagrams to clients in the outbox of their listener, datagrams
//! to peers in [`Departures`].

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use turnbuckle_net::{Front, HEADROOM, Outbox, Piece, Transmit, UdpListener, send_to};
use turnbuckle_relay::{
    ClientAddress, ClientPath, FiveTuple, Now, RelayedId, ServerAddress, Transport,
};

use crate::pace::Pace;
use crate::shard::{Core, FromPeer};
use crate::sockets::Opener;

use super::departures::Departures;

/// The core, and what leaves it.
pub(in crate::shard) struct Io {
    pub(in crate::shard) core: Core,
    pub(super) endpoints: Vec<Endpoint>,
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
        let mut endpoints = Vec::with_capacity(listeners.len());
        for (token, socket) in (super::LISTENERS..).zip(listeners) {
            core.poll.add(&socket, token)?;
            endpoints.push(Endpoint::new(socket));
        }
        Ok(Self {
            core,
            endpoints,
            next_slot: 0,
            to_peers: Departures::new(),
        })
    }

    /// Queues a part of a slot for a client; the handle of its path is that of the listener.
    #[inline]
    pub(super) fn queue(&mut self, path: &ClientPath, outgoing: Outgoing) {
        let Some(endpoint) = self.endpoints.get_mut(path.handle as usize) else {
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
        let Some(at) = self.endpoints.iter().position(|e| e.address == from.0) else {
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
        if let Some(endpoint) = self.endpoints.get(path.handle as usize) {
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
        for endpoint in &mut self.endpoints {
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
        self.endpoints.iter().map(|e| e.outbox.len()).sum()
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
