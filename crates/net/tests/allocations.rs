//! No datagram costs a heap allocation once sockets, arena and outbox have been made.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use turnbuckle_net::{
    Arena, Events, Front, HEADROOM, ListenerOptions, Outbox, Piece, Poll, RelayOptions,
    RelaySocket, SendReport, Train, Transmit, UdpListener, send_to,
};

#[test]
fn datagrams_cost_no_allocation_in_either_direction() {
    for (wildcard, loopback) in [("0.0.0.0", "127.0.0.1"), ("::", "::1")] {
        let mut shard = Shard::new(wildcard, loopback);
        shard.round();
        let before = allocations();
        for _ in 0..100 {
            shard.round();
        }
        assert_eq!(allocations() - before, 0);
        assert_eq!(shard.report.sent, 101 * 2 * BATCH as u64);
        assert_eq!(shard.report.dropped(), 101);
    }
}

#[test]
fn the_counter_counts() {
    let before = allocations();
    drop(black_box(vec![0_u8; 100]));
    assert_eq!(allocations() - before, 1);
}

/// A client, a listener and a relay socket, on this thread.
struct Shard {
    client: RelaySocket,
    listener: UdpListener,
    listener_address: SocketAddr,
    sender: RelaySocket,
    relay: RelaySocket,
    train: Train,
    poll: Poll,
    events: Events,
    arena: Arena,
    received: Vec<turnbuckle_net::Received>,
    outbox: Outbox,
    report: SendReport,
}

impl Shard {
    fn new(wildcard: &str, loopback: &str) -> Self {
        let any = SocketAddr::new(wildcard.parse().unwrap(), 0);
        let local = SocketAddr::new(loopback.parse().unwrap(), 0);
        let listener = UdpListener::bind(&ListenerOptions::new(any)).unwrap();
        let relay = RelaySocket::bind(local, RelayOptions::default()).unwrap();
        let poll = Poll::new().unwrap();
        poll.add(&listener, 0).unwrap();
        poll.add(&relay, 1).unwrap();
        Self {
            client: RelaySocket::bind(local, RelayOptions::default()).unwrap(),
            listener_address: SocketAddr::new(local.ip(), listener.local_address().port()),
            listener,
            sender: RelaySocket::bind(local, RelayOptions::default()).unwrap(),
            relay,
            train: Train::new(),
            poll,
            events: Events::with_capacity(8),
            arena: Arena::new(BATCH, 2048),
            received: Vec::with_capacity(BATCH),
            outbox: Outbox::with_capacity(BATCH),
            report: SendReport::default(),
        }
    }

    /// Client to listener to relay socket (batch in, train out), and relay socket to listener to
    /// client (single in, batch out), with one datagram too many.
    fn round(&mut self) {
        for _ in 0..BATCH {
            send_to(
                self.client.as_fd(),
                b"up",
                self.listener_address,
                None,
                0xb8,
            )
            .unwrap();
        }
        let mut up = 0;
        while up < BATCH {
            self.poll.wait(None, &mut self.events).unwrap();
            self.received.clear();
            self.listener
                .receive(&mut self.arena, 0, BATCH, &mut self.received)
                .unwrap();
            for (slot, received) in self.received.iter().enumerate() {
                let to = self.relay.local_address();
                let piece = Piece {
                    slot: slot as u32,
                    start: HEADROOM as u32,
                    len: received.len as u32,
                };
                if !self.train.push(to, received.tos, piece) {
                    self.train.send(&self.sender, &self.arena, &mut self.report);
                    self.train.push(to, received.tos, piece);
                }
            }
            self.train.send(&self.sender, &self.arena, &mut self.report);
            up += self.received.len();
        }
        let mut down = 0;
        while down < BATCH {
            self.poll.wait(None, &mut self.events).unwrap();
            while let Some(received) = self.relay.receive(&mut self.arena, down % BATCH).unwrap() {
                self.outbox.push(Transmit {
                    to: self.client.local_address(),
                    source: Some(self.listener_address.ip()),
                    tos: received.tos,
                    front: Front::NONE,
                    slot: down as u32,
                    start: HEADROOM as u32,
                    len: received.len as u32,
                });
                down += 1;
            }
        }
        self.outbox.push(Transmit {
            to: self.client.local_address(),
            source: None,
            tos: 0,
            front: Front::NONE,
            slot: 0,
            start: 0,
            len: 0,
        });
        self.outbox
            .flush(&self.listener, &self.arena, &mut self.report);
        while self.client.receive(&mut self.arena, 0).unwrap().is_some() {}
    }
}

fn allocations() -> u64 {
    ALLOCATIONS.get()
}

/// Counts what the calling thread asks for.
struct Counting;

// SAFETY: hands every request on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of the same function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of the same function.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of the same function.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const BATCH: usize = 32;
