//! What the host of the relay, peers and clients do with connections (RFC 6062).

use std::mem;
use std::net::SocketAddr;

use turnbuckle_relay::ConnectionId;
use turnbuckle_testkit::{Answer, Connecting, Request};

use super::{PEERS_MAX, Play};
use crate::input::Input;

/// What the host has been told, and has not done yet, and what there is.
#[derive(Default)]
pub(super) struct Host {
    /// With the shard that wants it.
    connecting: Vec<(usize, Connecting)>,
    open: Vec<ConnectionId>,
    /// Numbers of connections that clients were told of.
    told: Vec<u32>,
}

impl Host {
    pub(super) fn told<E>(&mut self, connection: Result<Option<u32>, E>) {
        if let Ok(Some(number)) = connection
            && self.told.len() < PEERS_MAX
        {
            self.told.push(number);
        }
    }
}

impl Play {
    /// Takes what the relays have asked of their host.
    pub(super) fn host_is_told(&mut self) {
        for (at, shard) in self.net.server.shards.iter_mut().enumerate() {
            for told in mem::take(&mut shard.sockets.connecting) {
                self.leave.connecting(&told);
                self.host.connecting.push((at, told));
            }
            for gone in mem::take(&mut shard.sockets.disconnected) {
                self.leave.closed(gone);
                self.host.open.retain(|&open| open != gone);
                self.host
                    .connecting
                    .retain(|(_, told)| told.connection != gone);
            }
        }
    }

    /// A connection that was asked for is open, or failed.
    pub(super) fn host_connects(&mut self, input: &mut Input<'_>) {
        self.host_is_told();
        if self.host.connecting.is_empty() {
            return;
        }
        let at = usize::from(input.byte()) % self.host.connecting.len();
        let (shard, told) = self.host.connecting.swap_remove(at);
        let is_open = !input.flag();
        let now = self.net.clock.now();
        let server = &mut self.net.server;
        let Some((to, bytes)) = server.handle_connected(now, shard, told.connection, is_open)
        else {
            return;
        };
        let answer = Answer::read(&bytes).expect("a response");
        assert_eq!(answer.is_success(), is_open);
        if is_open {
            self.leave
                .connected(now.instant, &to, told.connection, &answer);
            self.host.open.push(told.connection);
            self.host.told(answer.message().connection_id());
        }
    }

    /// A peer connects to a relayed transport address.
    pub(super) fn peer_connects(&mut self, input: &mut Input<'_>) {
        let (at, peer) = (self.peer(input), self.peer(input));
        let Some(local) = self.net.server.ports.find_tcp(at).map(|found| found.local) else {
            return;
        };
        let listens = self.net.server.relay_socket(local).is_some();
        if !listens || local.is_ipv4() != peer.is_ipv4() {
            return;
        }
        let now = self.net.clock.now();
        if let Ok((to, _, connection)) = self.net.server.handle_incoming(now, local, peer) {
            let ports = &self.net.server.ports;
            let (at, from) = (ports.as_advertised(local), ports.as_advertised(peer));
            self.leave
                .arrived(now.instant, &to, at, from.ip(), connection);
            self.host.open.push(connection);
            self.host.told::<()>(Ok(Some(connection.number())));
        }
    }

    /// A client, whoever it is, takes a connection over that somebody was told of.
    pub(super) fn binds(&mut self, client: usize, input: &mut Input<'_>) {
        let at = usize::from(input.byte());
        let number = match self.host.told.len() {
            0 => 7,
            // The last one is the likeliest to be open.
            len => self.host.told[len - 1 - at % len],
        };
        let before: SocketAddr = self.clients[client].address;
        // The shard that accepts it asks the one that has the connection, which is where it goes here at once.
        let shards = self.net.server.shards.len() as u16;
        let shard = u16::from(ConnectionId::new(number).shard().0) % shards;
        let port = 20_000 + u16::from(input.byte()) * shards;
        self.clients[client]
            .address
            .set_port(port - port % shards + shard);
        self.ask(client, &Request::connection_bind(number));
        self.clients[client].address = before;
    }

    /// A side of a connection closes it.
    pub(super) fn hangs_up(&mut self, input: &mut Input<'_>) {
        if self.host.open.is_empty() {
            return;
        }
        let at = usize::from(input.byte()) % self.host.open.len();
        let connection = self.host.open.swap_remove(at);
        self.net.server.connection_closed(connection);
        self.leave.closed(connection);
    }
}
