//! A bare UDP forwarder that answers a TURN client just enough to be driven like a server: the floor that no relay over
//! sockets gets far below.
//!
//! Owns one thread, two sockets and a table of who belongs to whom. It checks nothing and nobody: it must not be used for
//! anything but measuring.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use ahash::RandomState;
use turnbuckle_net::{
    Arena, Events, Front, HEADROOM, ListenerOptions, Outbox, Poll, Received, SendReport, Transmit,
    UdpListener, send_to,
};
use turnbuckle_proto::{
    CHANNEL_DATA_HEADER_LEN, Class, Kind, Message, MessageBuilder, Method, channel_data, classify,
};

/// The two sockets and who talks through them.
pub struct Reflector {
    listener: UdpListener,
    relay: UdpListener,
    /// The peer of each client.
    peers: HashMap<SocketAddr, SocketAddr, RandomState>,
    /// The client of each peer, and its channel.
    clients: HashMap<SocketAddr, (SocketAddr, u16), RandomState>,
    from_clients: Arena,
    from_peers: Arena,
    received: Vec<Received>,
    to_clients: Outbox,
    to_peers: Outbox,
    report: SendReport,
}

impl Reflector {
    /// Listens for clients on `address` and relays from one port of `relay`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn bind(address: SocketAddr, relay: IpAddr) -> io::Result<Self> {
        let hasher = || RandomState::with_seeds(1, 2, 3, 4);
        Ok(Self {
            listener: UdpListener::bind(&ListenerOptions::new(address))?,
            relay: UdpListener::bind(&ListenerOptions::new(SocketAddr::new(relay, 0)))?,
            peers: HashMap::with_hasher(hasher()),
            clients: HashMap::with_hasher(hasher()),
            from_clients: Arena::new(BATCH, DATAGRAM_BYTES),
            from_peers: Arena::new(BATCH, DATAGRAM_BYTES),
            received: Vec::with_capacity(BATCH),
            to_clients: Outbox::with_capacity(BATCH).without_trains(),
            to_peers: Outbox::with_capacity(BATCH).without_trains(),
            report: SendReport::default(),
        })
    }

    /// Where clients reach it.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_address()
    }

    /// Forwards until the process ends.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn run(&mut self) -> io::Result<()> {
        let mut poll = Poll::new()?;
        poll.add(self.listener.as_fd(), 0)?;
        poll.add(self.relay.as_fd(), 1)?;
        let mut events = Events::with_capacity(2);
        loop {
            poll.wait(None, &mut events)?;
            for event in events.iter() {
                if event.token == 0 {
                    self.forward_up()?;
                } else {
                    self.forward_down()?;
                }
            }
        }
    }

    fn forward_up(&mut self) -> io::Result<()> {
        self.received.clear();
        let count = self
            .listener
            .receive(&mut self.from_clients, 0, BATCH, &mut self.received)?;
        for slot in 0..count {
            let Received { len, source, .. } = self.received[slot];
            let bytes = &self.from_clients.slot(slot)[HEADROOM..HEADROOM + len];
            let is_data = bytes
                .first()
                .is_some_and(|&byte| classify(byte) == Kind::ChannelData);
            if !is_data {
                self.answer(slot, len, source)?;
            } else if let Some(&to) = self.peers.get(&source) {
                self.to_peers.push(Transmit {
                    to,
                    source: None,
                    tos: 0,
                    front: Front::NONE,
                    slot: slot as u32,
                    start: (HEADROOM + CHANNEL_DATA_HEADER_LEN) as u32,
                    len: len.saturating_sub(CHANNEL_DATA_HEADER_LEN) as u32,
                });
            }
        }
        self.to_peers
            .flush(&self.relay, &self.from_clients, &mut self.report);
        Ok(())
    }

    fn forward_down(&mut self) -> io::Result<()> {
        self.received.clear();
        let count = self
            .relay
            .receive(&mut self.from_peers, 0, BATCH, &mut self.received)?;
        for slot in 0..count {
            let Received { len, source, .. } = self.received[slot];
            let Some(&(to, channel)) = self.clients.get(&source) else {
                continue;
            };
            let start = HEADROOM - CHANNEL_DATA_HEADER_LEN;
            let header = channel_data::header(channel, len as u16);
            self.from_peers.slot_mut(slot)[start..HEADROOM].copy_from_slice(&header);
            self.to_clients.push(Transmit {
                to,
                source: None,
                tos: 0,
                front: Front::NONE,
                slot: slot as u32,
                start: start as u32,
                len: (CHANNEL_DATA_HEADER_LEN + len) as u32,
            });
        }
        self.to_clients
            .flush(&self.listener, &self.from_peers, &mut self.report);
        Ok(())
    }

    /// Grants whatever is asked for.
    fn answer(&mut self, slot: usize, len: usize, client: SocketAddr) -> io::Result<()> {
        let bytes = &self.from_clients.slot(slot)[HEADROOM..HEADROOM + len];
        let Ok(request) = Message::decode(bytes) else {
            return Ok(());
        };
        if request.class() != Class::Request {
            return Ok(());
        }
        if let (Ok(Some(peer)), Ok(Some(channel))) =
            (request.peer_address(), request.channel_number())
        {
            self.peers.insert(client, peer);
            self.clients.insert(peer, (client, channel));
        }
        let relayed = (request.method() == Method::ALLOCATE).then(|| self.relay.local_address());
        let mut buf = [0; 128];
        let len = grant(&request, client, relayed, &mut buf).map_err(io::Error::other)?;
        send_to(self.listener.as_fd(), &buf[..len], client, None, 0)
    }
}

fn grant(
    request: &Message<'_>,
    client: SocketAddr,
    relayed: Option<SocketAddr>,
    buf: &mut [u8],
) -> Result<usize, turnbuckle_proto::EncodeError> {
    let (method, id) = (request.method(), request.transaction_id());
    let mut builder = MessageBuilder::new(buf, Class::Success, method, id)?;
    builder.xor_mapped_address(client)?;
    if let Some(relayed) = relayed {
        builder.xor_relayed_address(relayed)?.lifetime(600)?;
    }
    Ok(builder.finish())
}

const BATCH: usize = 64;
const DATAGRAM_BYTES: usize = 1536;
