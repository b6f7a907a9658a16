//! A host that a client exchanges data with.
//!
//! Owns an address. It must not speak STUN: a peer knows nothing of TURN.

use std::net::SocketAddr;

use turnbuckle_relay::Transport;

use crate::network::{Datagram, Network};

/// A peer somewhere in the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where it sends from and receives at.
    pub address: SocketAddr,
}

impl Peer {
    /// The peer at this address and port.
    ///
    /// # Panics
    /// If the text is none.
    pub fn new(address: &str) -> Self {
        Self {
            address: address.parse().expect("an address with a port"),
        }
    }

    /// Sends a datagram and lets the network deliver.
    pub fn send(&self, net: &mut Network, to: SocketAddr, bytes: &[u8]) {
        net.send(Datagram {
            from: self.address,
            to,
            transport: Transport::Udp,
            bytes: bytes.to_vec(),
        });
        net.settle();
    }

    /// Takes what has arrived, with who sent it.
    pub fn received(&self, net: &mut Network) -> Vec<(SocketAddr, Vec<u8>)> {
        let inbox = net.take_inbox(self.address).into_iter();
        inbox.map(|d| (d.from, d.bytes)).collect()
    }
}
