//! A UDP socket that stands for many hosts: it sends from the address of each and tells by the address a datagram
//! came to whom it was for.
//!
//! So thousands of clients cost the generator one `recvmmsg` and one `sendmmsg` per turn. Must not know what is sent.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};

use turnbuckle_net::{
    Arena, Front, HEADROOM, ListenerOptions, Outbox, Received, SendReport, Transmit, UdpListener,
};

use crate::bundle;
use crate::endpoint::DATAGRAM_BYTES;
use crate::network::Hosts;

/// The socket, its memory and its queue.
pub(crate) struct SharedSocket {
    socket: UdpListener,
    hosts: Hosts,
    inbound: Arena,
    received: Vec<Received>,
    outbound: Arena,
    queue: Queue,
    report: SendReport,
}

impl SharedSocket {
    /// Binds a port on every address of the namespace the calling thread is in.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn bind(hosts: Hosts) -> io::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let socket = UdpListener::bind(&ListenerOptions {
            receive_buffer: BUFFER_BYTES,
            send_buffer: BUFFER_BYTES,
            ..ListenerOptions::new(address)
        })?;
        Ok(Self {
            socket,
            hosts,
            inbound: Arena::new(RECEIVE_BATCH, DATAGRAM_BYTES),
            received: Vec::with_capacity(RECEIVE_BATCH),
            outbound: Arena::new(SEND_BATCH, DATAGRAM_BYTES),
            queue: Queue::Singles(Outbox::with_capacity(SEND_BATCH).without_trains()),
            report: SendReport::default(),
        })
    }

    /// The transport address of host `index`.
    pub(crate) fn address(&self, index: u32) -> SocketAddr {
        SocketAddr::from((
            self.hosts.address(index),
            self.socket.local_address().port(),
        ))
    }

    /// From now on, sends datagrams in a row that go the same way, and are equally long, as one bundle.
    pub(crate) fn bundle(&mut self) {
        self.flush();
        self.queue = Queue::Bundles(Vec::with_capacity(SEND_BATCH));
    }

    /// Queues what `fill` writes, of the length it returns, from host `from` to `to`. Sends what is queued first if
    /// there is no room.
    #[inline]
    pub(crate) fn stage(
        &mut self,
        from: u32,
        to: SocketAddr,
        fill: impl FnOnce(&mut [u8]) -> usize,
    ) {
        if self.queue.len() == SEND_BATCH {
            self.flush();
        }
        let slot = self.queue.len();
        let len = fill(&mut self.outbound.slot_mut(slot)[HEADROOM..HEADROOM + DATAGRAM_BYTES]);
        let transmit = Transmit {
            to,
            source: Some(self.hosts.address(from).into()),
            tos: 0,
            front: Front::NONE,
            slot: slot as u32,
            start: HEADROOM as u32,
            len: len as u32,
        };
        match &mut self.queue {
            Queue::Singles(outbox) => {
                outbox.push(transmit);
            }
            Queue::Bundles(queue) => queue.push(transmit),
        }
    }

    /// Sends what is queued.
    #[inline]
    pub(crate) fn flush(&mut self) {
        match &mut self.queue {
            Queue::Singles(outbox) => {
                outbox.flush(&self.socket, &self.outbound, &mut self.report);
            }
            Queue::Bundles(queue) => {
                send_bundles(queue, self.socket.as_fd(), &self.outbound, &mut self.report);
                queue.clear();
            }
        }
    }

    /// Receives a batch, to be looked at by [`Self::message`]; returns how many.
    ///
    /// # Errors
    /// What the kernel says.
    #[inline]
    pub(crate) fn receive(&mut self) -> io::Result<usize> {
        self.received.clear();
        self.socket
            .receive(&mut self.inbound, 0, RECEIVE_BATCH, &mut self.received)
    }

    /// Message `i` of the last batch: the host it came to, who sent it, what it says. `None` if it came to none of
    /// the hosts.
    #[inline]
    pub(crate) fn message(&self, i: usize) -> Option<(u32, SocketAddr, &[u8])> {
        let received = self.received.get(i)?;
        let host = self.hosts.index(received.destination?)?;
        let bytes = &self.inbound.slot(i)[HEADROOM..HEADROOM + received.len];
        Some((host, received.source, bytes))
    }

    /// How many datagrams the kernel took, and how many it did not.
    pub(crate) fn sent_and_dropped(&self) -> (u64, u64) {
        (self.report.sent, self.report.dropped())
    }

    /// Datagrams that arrived and were lost because the generator did not take them in time.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn missed(&self) -> io::Result<u32> {
        self.socket.kernel_drops()
    }
}

enum Queue {
    Singles(Outbox),
    Bundles(Vec<Transmit>),
}

impl Queue {
    #[inline]
    fn len(&self) -> usize {
        match self {
            Self::Singles(outbox) => outbox.len(),
            Self::Bundles(queue) => queue.len(),
        }
    }
}

fn send_bundles(
    queue: &[Transmit],
    socket: BorrowedFd<'_>,
    arena: &Arena,
    report: &mut SendReport,
) {
    let alike = |a: &Transmit, b: &Transmit| (a.to, a.source, a.len) == (b.to, b.source, b.len);
    for run in queue.chunk_by(alike) {
        for bundle in run.chunks(bundle::capacity(run[0].len as usize)) {
            let Transmit { to, source, .. } = bundle[0];
            // The hosts have IPv4 addresses only, and reach others only from there.
            let (SocketAddr::V4(to), Some(IpAddr::V4(source))) = (to, source) else {
                report.dropped_error += bundle.len() as u64;
                continue;
            };
            let mut datagrams = [IoSlice::new(&[]); bundle::DATAGRAMS_MAX];
            for (datagram, transmit) in datagrams.iter_mut().zip(bundle) {
                let start = transmit.start as usize;
                let slot = arena.slot(transmit.slot as usize);
                *datagram = IoSlice::new(&slot[start..start + transmit.len as usize]);
            }
            let result = bundle::send(socket, source, to, &datagrams[..bundle.len()]);
            for _ in bundle {
                report.count(&result);
            }
        }
    }
}

impl AsFd for SharedSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

const RECEIVE_BATCH: usize = 128;
const SEND_BATCH: usize = 64;
const BUFFER_BYTES: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(network: u8) -> Hosts {
        Hosts::from_network(Ipv4Addr::new(127, network, 0, 0))
    }

    fn receive(socket: &mut SharedSocket) -> (u32, SocketAddr, Vec<u8>) {
        loop {
            if socket.receive().unwrap() > 0 {
                let (host, source, bytes) = socket.message(0).unwrap();
                return (host, source, bytes.to_vec());
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn each_host_has_its_address() {
        let mut clients = SharedSocket::bind(hosts(1)).unwrap();
        let mut peers = SharedSocket::bind(hosts(2)).unwrap();
        for (client, peer) in [(0, 0), (299, 7), (9_999, 10_000)] {
            let (to, from) = (peers.address(peer), clients.address(client));
            clients.stage(client, to, |buf| {
                buf[..2].copy_from_slice(b"hi");
                2
            });
            clients.flush();
            assert_eq!(receive(&mut peers), (peer, from, b"hi".to_vec()));
        }
        assert_eq!(clients.sent_and_dropped(), (3, 0));
        assert_eq!(peers.missed().unwrap(), 0);
    }

    #[test]
    fn more_than_a_batch_is_sent_in_parts() {
        let mut clients = SharedSocket::bind(hosts(1)).unwrap();
        let peers = SharedSocket::bind(hosts(2)).unwrap();
        for _ in 0..SEND_BATCH + 1 {
            clients.stage(1, peers.address(1), |_| 0);
        }
        assert_eq!(clients.sent_and_dropped().0, SEND_BATCH as u64);
        clients.flush();
        assert_eq!(clients.sent_and_dropped().0, SEND_BATCH as u64 + 1);
    }
    #[test]
    fn bundles_arrive_as_single_datagrams_where_nobody_asked_for_bundles() {
        let mut clients = SharedSocket::bind(hosts(1)).unwrap();
        let mut peers = SharedSocket::bind(hosts(2)).unwrap();
        clients.bundle();
        let sent = [
            (1, 1, 1_400),
            (1, 1, 1_400),
            (1, 2, 1_400),
            (2, 2, 1_400),
            (2, 2, 16),
        ];
        for (number, &(client, peer, len)) in sent.iter().enumerate() {
            clients.stage(client, peers.address(peer), |buf| {
                buf[0] = number as u8;
                len
            });
        }
        clients.flush();
        assert_eq!(clients.sent_and_dropped(), (5, 0));
        let mut received = Vec::new();
        while received.len() < sent.len() {
            for i in 0..peers.receive().unwrap() {
                let (peer, source, bytes) = peers.message(i).unwrap();
                received.push((bytes[0], peer, source, bytes.len()));
            }
        }
        let expected = (0..)
            .zip(sent)
            .map(|(number, (client, peer, len))| (number, peer, clients.address(client), len));
        assert!(received.into_iter().eq(expected));
    }
}
