//! What is on its way to peers: gathered by relay socket while a batch is handled, so that datagrams of one flow leave as a train
//! also where other flows came between them. The order within a flow is kept.

use std::net::SocketAddr;

use turnbuckle_net::{Piece, Train};
use turnbuckle_relay::RelayedId;

use crate::shard::Core;

/// Datagrams that wait to leave relay sockets.
#[derive(Debug)]
pub(super) struct Departures {
    queue: Vec<Departure>,
    /// The first of each relay socket, in order of their arrival.
    firsts: Vec<u32>,
    /// The last of each relay socket, by its number.
    lasts: Vec<Last>,
    /// Tells entries of `lasts` of this round from older ones.
    round: u32,
    train: Train,
}

#[derive(Clone, Copy, Debug)]
struct Departure {
    peer: SocketAddr,
    piece: Piece,
    relayed: RelayedId,
    /// The next one of the same relay socket; its own place if there is none.
    next: u32,
    tos: u8,
}

#[derive(Clone, Copy, Debug, Default)]
struct Last {
    round: u32,
    at: u32,
}

impl Departures {
    pub(super) fn new() -> Self {
        Self {
            queue: Vec::with_capacity(WAITING_MAX),
            firsts: Vec::with_capacity(WAITING_MAX),
            lasts: Vec::new(),
            round: 1,
            train: Train::new(),
        }
    }

    /// Queues a datagram; `false` if all has to leave first.
    #[inline]
    pub(super) fn push(
        &mut self,
        relayed: RelayedId,
        peer: SocketAddr,
        piece: Piece,
        tos: u8,
    ) -> bool {
        if self.queue.len() == WAITING_MAX {
            return false;
        }
        let at = self.queue.len() as u32;
        let number = relayed.index() as usize;
        if number >= self.lasts.len() {
            // As many as there have ever been relay sockets at once: this ends when the server is warm.
            self.lasts.resize(number + 1, Last::default());
        }
        let last = &mut self.lasts[number];
        if last.round == self.round {
            self.queue[last.at as usize].next = at;
        } else {
            self.firsts.push(at);
        }
        *last = Last {
            round: self.round,
            at,
        };
        self.queue.push(Departure {
            peer,
            piece,
            relayed,
            next: at,
            tos,
        });
        true
    }

    /// Sends all of it.
    #[inline]
    pub(super) fn send(&mut self, core: &mut Core) {
        if self.queue.is_empty() {
            return;
        }
        for &first in &self.firsts {
            let mut at = first;
            let Some(socket) = core.sockets.get(self.queue[at as usize].relayed) else {
                continue;
            };
            let report = &mut core.report.to_peers;
            loop {
                let Departure {
                    peer,
                    piece,
                    next,
                    tos,
                    ..
                } = self.queue[at as usize];
                if !self.train.push(peer, tos, piece) {
                    self.train.send(socket, &core.arena, report);
                    self.train.push(peer, tos, piece);
                }
                if next == at {
                    break;
                }
                at = next;
            }
            self.train.send(socket, &core.arena, report);
        }
        self.queue.clear();
        self.firsts.clear();
        self.round = self.round.wrapping_add(1);
        if self.round == 0 {
            // Entries of the first rounds look new again.
            self.lasts.fill(Last::default());
            self.round = 1;
        }
    }
}

/// Datagrams that may wait; a bundle is many.
const WAITING_MAX: usize = 1_024;
