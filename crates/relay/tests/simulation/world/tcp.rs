//! What the host of the relay, peers and clients do with connections (RFC 6062).

use std::mem;
use std::net::SocketAddr;

use turnbuckle_relay::{ConnectionId, FiveTuple};
use turnbuckle_testkit::{Client, Connecting, Datagram, Request};

use super::World;

/// What the host has been told, and has not done yet.
#[derive(Default)]
pub(super) struct Host {
    /// With the shard that wants it.
    connecting: Vec<(usize, Connecting)>,
    /// Connections that are open.
    open: Vec<ConnectionId>,
}

impl World {
    /// Takes what the relays have asked of their host.
    pub(super) fn host_is_told(&mut self) {
        let now = self.net.clock.now().instant;
        let mut disconnected = Vec::new();
        for (at, shard) in self.net.server.shards.iter_mut().enumerate() {
            for told in mem::take(&mut shard.sockets.connecting) {
                self.model.connecting(&told);
                self.tally.count("host connects");
                self.host.connecting.push((at, told));
            }
            disconnected.append(&mut shard.sockets.disconnected);
        }
        for connection in disconnected {
            self.model.disconnected(now, connection);
            self.tally.count("host disconnects");
            self.host.open.retain(|&open| open != connection);
        }
    }

    /// Connections are made, or not, in any order.
    pub(super) fn host_works(&mut self) {
        for (shard, told) in mem::take(&mut self.host.connecting) {
            if !self.random.chance(60) {
                self.host.connecting.push((shard, told));
                continue;
            }
            // One to a relayed transport address of this server is somebody's incoming one.
            let is_open = match self.net.server.relay_socket(told.peer) {
                Some(_) => self.arrives(told.peer, told.from),
                None => self.random.chance(60),
            };
            let now = self.net.clock.now();
            let late = self
                .net
                .server
                .handle_connected(now, shard, told.connection, is_open);
            self.model
                .connected(now.instant, told.connection, is_open, late.as_ref());
            let Some((to, bytes)) = late else { continue };
            self.tally.count(match is_open {
                true => "Connect granted",
                false => "Connect failed",
            });
            if is_open {
                self.host.open.push(told.connection);
            }
            self.tell(to, bytes);
        }
    }

    /// A peer connects to a relayed transport address.
    pub(super) fn peer_connects(&mut self) {
        let server = &self.net.server;
        let listening: Vec<SocketAddr> = self
            .relayed
            .iter()
            .filter_map(|&relayed| Some(server.ports.find_tcp(relayed)?.local))
            .collect();
        let Some(&local) = listening.get(self.random.below(listening.len().max(1))) else {
            return;
        };
        let same_family = self.peers.iter().map(|peer| peer.address);
        let same_family: Vec<_> = same_family
            .filter(|peer| peer.is_ipv4() == local.is_ipv4())
            .collect();
        let peer = *self.random.pick(&same_family);
        self.arrives(local, peer);
    }

    /// A client takes a connection over that it, or another, was told of.
    pub(super) fn client_binds(&mut self) {
        self.unused_connection = false;
        let told = self.clients.iter().flat_map(|p| &p.told);
        let told: Vec<u32> = told.copied().collect();
        let streams = self.clients.iter();
        let streams: Vec<&Client> = streams
            .map(|p| &p.client)
            .filter(|client| client.transport.is_stream())
            .collect();
        let Some(&client) = streams.get(self.random.below(streams.len().max(1))) else {
            return;
        };
        let recent = told.len().saturating_sub(4);
        let number = match told.get(recent..) {
            Some(recent) if !recent.is_empty() => *self.random.pick(recent),
            _ => 7,
        };
        let mut client = client.clone();
        client.relayed = None;
        // The shard that accepts it asks the one that has the connection, which is where it goes here at once.
        let shard = u16::from(ConnectionId::new(number).shard().0);
        let shards = self.net.server.shards.len() as u16;
        let port = 20_000 + shards * self.random.below(1000) as u16;
        client
            .address
            .set_port(port - port % shards + shard % shards);
        let request = Request::connection_bind(number);
        let bytes = client.encode(&request);
        client.post(&mut self.net, &bytes);
    }

    /// A side of a connection closes it.
    pub(super) fn somebody_hangs_up(&mut self) {
        if self.host.open.is_empty() {
            return;
        }
        let at = self.random.below(self.host.open.len());
        let connection = self.host.open.swap_remove(at);
        self.model.closed(connection);
        self.net.server.connection_closed(connection);
    }

    /// A connection from `peer` arrives at `local`; whether it stays.
    fn arrives(&mut self, local: SocketAddr, peer: SocketAddr) -> bool {
        let server = &mut self.net.server;
        let listens = server
            .relay_socket(local)
            .is_some_and(|(shard, id)| server.shards[shard].sockets.is_tcp(id));
        if !listens {
            return false;
        }
        let now = self.net.clock.now();
        let outcome = self.net.server.handle_incoming(now, local, peer);
        self.model.incoming(now.instant, local, peer, &outcome);
        match outcome {
            Ok((to, bytes, connection)) => {
                self.tally.count("ConnectionAttempt");
                self.host.open.push(connection);
                self.tell(to, bytes);
                true
            }
            Err(reason) => {
                self.tally
                    .count(&format!("no connection: {}", reason.name()));
                false
            }
        }
    }

    /// What the host sends over a control connection by itself.
    fn tell(&mut self, to: FiveTuple, bytes: Vec<u8>) {
        self.net.send(Datagram {
            from: to.server.0,
            to: to.client.0,
            transport: to.transport,
            bytes,
        });
    }
}
