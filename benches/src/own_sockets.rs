//! A UDP socket for each of many clients, or peers, on one address: the way to a server on another host, where nobody
//! would send answers to addresses made up here.
//!
//! Costs a system call for each datagram. Must not know what is sent.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use turnbuckle_net::{
    Arena, Events, HEADROOM, Poll, Received, RelayOptions, RelaySocket, SendReport, send_to,
};

use crate::endpoint::DATAGRAM_BYTES;

/// The sockets, their readiness and memory for a batch.
pub(crate) struct OwnSockets {
    sockets: Vec<RelaySocket>,
    poll: Poll,
    events: Events,
    arena: Arena,
    /// Which socket each slot was received at.
    received: Vec<(u32, Received)>,
    staging: Box<[u8]>,
    report: SendReport,
}

impl OwnSockets {
    /// Binds `count` ports of `address`.
    ///
    /// # Errors
    /// What the kernel says, such as too many open files.
    pub(crate) fn bind(address: IpAddr, count: u32) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut sockets = Vec::with_capacity(count as usize);
        for index in 0..count {
            let options = RelayOptions::default();
            let socket = RelaySocket::bind(SocketAddr::new(address, 0), options)?;
            poll.add(&socket, u64::from(index))?;
            sockets.push(socket);
        }
        Ok(Self {
            sockets,
            poll,
            events: Events::with_capacity(BATCH),
            arena: Arena::new(BATCH, DATAGRAM_BYTES),
            received: Vec::with_capacity(BATCH),
            staging: vec![0; DATAGRAM_BYTES].into(),
            report: SendReport::default(),
        })
    }

    /// How many there are.
    pub(crate) fn len(&self) -> u32 {
        self.sockets.len() as u32
    }

    /// The transport address of number `index`.
    pub(crate) fn address(&self, index: u32) -> SocketAddr {
        self.sockets[index as usize].local_address()
    }

    /// Sends what `fill` writes, of the length it returns, from number `from` to `to`.
    #[inline]
    pub(crate) fn send(
        &mut self,
        from: u32,
        to: SocketAddr,
        fill: impl FnOnce(&mut [u8]) -> usize,
    ) {
        let len = fill(&mut self.staging);
        let socket = self.sockets[from as usize].as_fd();
        self.report
            .count(&send_to(socket, &self.staging[..len], to, None, 0));
    }

    /// Receives one datagram from each socket that has some, up to a batch; returns how many.
    ///
    /// # Errors
    /// What the kernel says.
    #[inline]
    pub(crate) fn receive(&mut self) -> io::Result<usize> {
        self.received.clear();
        self.poll.wait(Some(Duration::ZERO), &mut self.events)?;
        for event in self.events.iter() {
            let index = event.token as u32;
            let slot = self.received.len();
            let socket = &self.sockets[index as usize];
            if let Some(received) = socket.receive(&mut self.arena, slot)? {
                self.received.push((index, received));
            }
        }
        Ok(self.received.len())
    }

    /// Message `i` of the last batch: to whom it came, who sent it, what it says.
    #[inline]
    pub(crate) fn message(&self, i: usize) -> Option<(u32, SocketAddr, &[u8])> {
        let &(index, received) = self.received.get(i)?;
        let bytes = &self.arena.slot(i)[HEADROOM..HEADROOM + received.len];
        Some((index, received.source, bytes))
    }

    /// How many datagrams the kernel took, and how many it did not.
    pub(crate) fn sent_and_dropped(&self) -> (u64, u64) {
        (self.report.sent, self.report.dropped())
    }
}

impl AsFd for OwnSockets {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poll.as_fd()
    }
}

const BATCH: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_port() {
        for address in ["127.0.0.1", "::1"] {
            let address = address.parse().unwrap();
            let mut clients = OwnSockets::bind(address, 3).unwrap();
            let mut peers = OwnSockets::bind(address, 3).unwrap();
            for index in 0..3 {
                let to = peers.address(2 - index);
                clients.send(index, to, |buf| {
                    buf[0] = index as u8;
                    1
                });
            }
            let mut received = Vec::new();
            while received.len() < 3 {
                for i in 0..peers.receive().unwrap() {
                    let (index, source, bytes) = peers.message(i).unwrap();
                    received.push((index, source, bytes.to_vec()));
                }
            }
            received.sort();
            let expected = [2, 1, 0].map(|client: u8| {
                (
                    2 - u32::from(client),
                    clients.address(client.into()),
                    vec![client],
                )
            });
            assert_eq!(received, expected);
            assert_eq!(clients.sent_and_dropped(), (3, 0));
        }
    }
}
