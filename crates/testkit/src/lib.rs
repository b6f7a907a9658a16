//! What tests of the relay are written with: a fake clock, an in-memory network, a scripted client, generators.
//!
//! ```
//! use turnbuckle_testkit::{Client, Peer, Setup};
//!
//! let mut net = Setup::default().build();
//! let mut alice = Client::alice();
//! let relayed = alice.allocate(&mut net);
//! let peer = Peer::new("9.9.9.9:4000");
//! alice.permit(&mut net, &[peer.address]).expect_success();
//!
//! peer.send(&mut net, relayed, b"hello");
//! assert_eq!(alice.received_data(&mut net), [(peer.address, b"hello".to_vec())]);
//! ```
//!
//! Everything is deterministic: time moves when a test says so, randomness comes from seeds, and the network delivers in
//! an order that the seed decides. After each input the network checks the relay's invariants and that every message it sends
//! is well-formed, with padding of zeroes.
//!
//! It must not open a socket, read a clock, or be a dependency of anything but tests and benches.

#![warn(missing_docs)]

mod answer;
mod client;
mod clock;
mod counting_allocator;
mod fake_sockets;
mod generate;
mod lint;
mod network;
mod peer;
mod random;
mod request;
mod server;
mod setup;

pub use answer::Answer;
pub use client::{Client, Received, Signing};
pub use clock::Clock;
pub use counting_allocator::{CountingAllocator, HeapUse};
pub use fake_sockets::{Connecting, FakeSockets};
pub use generate::{
    ip_address, ipv4_address, ipv6_address, property_tests, public_ipv4_address, socket_address,
    spellings,
};
pub use lint::assert_well_formed;
pub use network::{Datagram, Faults, Input, Network, Step};
pub use peer::Peer;
pub use random::Random;
pub use request::Request;
pub use server::{Outcome, Server, Shard};
pub use setup::{ALICE, BOB, LISTENER_V4, LISTENER_V6, REALM, RELAY_V4, RELAY_V6, SECRET, Setup};
