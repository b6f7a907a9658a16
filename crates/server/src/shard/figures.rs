//! What a shard tells about itself while it runs.

use std::net::SocketAddr;

use turnbuckle_relay::{Event, Transport};

use crate::shard::Report;

/// One shard at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    /// Everything since the start.
    pub(crate) report: Report,
    /// Live ones.
    pub(crate) allocations: Allocations,
    /// Open connections of clients, with allocation or without; 0 for a UDP shard.
    pub(crate) connections: usize,
    pub(crate) listeners: Vec<ListenerFigures>,
}

/// Live allocations by the transport of their clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Allocations {
    pub(crate) udp: usize,
    pub(crate) dtls: usize,
    pub(crate) tcp: usize,
    pub(crate) tls: usize,
}

/// One listener of one shard since it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListenerFigures {
    pub(crate) kind: ListenerKind,
    pub(crate) address: SocketAddr,
    /// It takes no new clients: a reload has removed it.
    pub(crate) given_up: bool,
    /// Live allocations that were made through it; 0 for streams, which do not need it for them.
    pub(crate) allocations: usize,
    /// Datagrams taken, each of a bundle's counted as one, or connections accepted.
    pub(crate) received: u64,
    /// Datagrams that the kernel had no room for; `None` where the kernel does not say, as for connections. Wraps around.
    pub(crate) kernel_drops: Option<u32>,
    /// Bytes of receive buffer that the kernel has granted; `None` for connections, whose buffers grow by themselves.
    pub(crate) receive_buffer: Option<usize>,
}

/// What comes to a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListenerKind {
    /// Datagrams; DTLS is told by the first byte.
    Udp,
    /// Connections; TLS is told by the first byte.
    Stream,
    /// Connections that begin with a PROXY protocol header.
    Proxied,
}

impl Allocations {
    /// Counts what the event tells.
    pub(crate) fn follow(&mut self, event: &Event) {
        match event {
            Event::AllocationCreated { path, .. } => {
                let count = self.of(path.five_tuple.transport);
                *count = count.saturating_add(1);
            }
            Event::AllocationDeleted { path, .. } => {
                let count = self.of(path.five_tuple.transport);
                *count = count.saturating_sub(1);
            }
            _ => {}
        }
    }

    /// Adds those of another shard.
    pub(crate) const fn add(&mut self, other: Self) {
        self.udp += other.udp;
        self.dtls += other.dtls;
        self.tcp += other.tcp;
        self.tls += other.tls;
    }

    pub(crate) const fn total(self) -> usize {
        self.udp + self.dtls + self.tcp + self.tls
    }

    const fn of(&mut self, transport: Transport) -> &mut usize {
        match transport {
            Transport::Udp => &mut self.udp,
            Transport::Dtls => &mut self.dtls,
            Transport::Tcp => &mut self.tcp,
            Transport::Tls => &mut self.tls,
        }
    }
}
